//! Which times a run is for: the scheduled time, from `--cyctime`, and the business date, from
//! `--bizdate`, which is the day before it. Expressions of them are read by `date_expression`.
//!
//! | given | scheduled time | business date |
//! |---|---|---|
//! | `--cyctime` | that | the day before it |
//! | `--bizdate` | midnight of the day after it | that |
//! | both | that of `--cyctime` | `--bizdate`, which must be the day before |
//! | none | now | yesterday |

use jiff::{
    Timestamp, Zoned,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, Disambiguation, TimeZone},
};

use super::date_expression::{Base, DateExpression, Refusal, is_meant};

/// The dates with names, and what they are short for.
const NAMED: &[(&str, Base, &str)] = &[
    ("bizdate", Base::Business, "yyyymmdd"),
    ("cyctime", Base::Scheduled, "yyyymmddhh24miss"),
    ("gmtdate", Base::Scheduled, "yyyymmdd"),
    // The month of the business date, or the one before it if that is the current one.
    ("bizmonth", Base::Scheduled, "add_months(yyyymm,-1)"),
    // The names of DolphinScheduler.
    ("system.biz.date", Base::Business, "yyyymmdd"),
    ("system.biz.curdate", Base::Scheduled, "yyyymmdd"),
    ("system.datetime", Base::Scheduled, "yyyymmddhh24miss"),
];
/// What only a scheduler with instances knows.
const OF_INSTANCES: &[&str] = &["jobid", "nodeid", "taskid"];
const CYCTIME: &str = "%Y%m%d%H%M%S";
const BIZDATE: &str = "%Y%m%d";

/// The names of dates that `$name` without braces stands for.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, ..)| *name).filter(|name| !name.contains('.'))
}

/// Whether `$name` is what a scheduler replaces and this program cannot.
pub(super) fn is_of_instance(name: &str) -> bool {
    OF_INSTANCES.contains(&name)
}

/// A business date as the command line gives it.
pub(super) fn date(text: &str) -> Option<Date> {
    Date::strptime(BIZDATE, text).ok().filter(|_| text.len() == 8)
}

/// A scheduled time as the command line gives it.
#[derive(Clone, Debug)]
pub(super) enum GivenTime {
    /// `20251101000000`, `2025-11-01T00:00:00`: in the job's time zone.
    Civil(DateTime),
    /// `2025-11-01T00:00:00Z`
    Instant(Timestamp),
    /// `2025-11-01T00:00:00+08:00[Asia/Shanghai]`, as a run keeps it.
    Zoned(Box<Zoned>),
}

impl GivenTime {
    /// Reads a time; `None` if the text is not one.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return DateTime::strptime(CYCTIME, text).ok().map(Self::Civil);
        }
        // A date alone is no time.
        if !text.contains(['T', 't', ' ']) {
            return None;
        }
        if let Ok(zoned) = text.parse() {
            return Some(Self::Zoned(Box::new(zoned)));
        }
        let instant = text.parse().ok().map(Self::Instant);
        instant.or_else(|| text.parse().ok().map(Self::Civil))
    }

    fn within(&self, zone: &TimeZone) -> Result<Zoned, Refusal> {
        let time = match self {
            Self::Zoned(zoned) => return Ok((**zoned).clone()),
            Self::Instant(instant) => return Ok(instant.to_zoned(zone.clone())),
            Self::Civil(time) => time,
        };
        let ambiguous = zone.to_ambiguous_zoned(*time);
        if matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
            let name = zone.iana_name().unwrap_or("the machine's time zone");
            let message = format!("there is no {time} in {name}: clocks are put forward");
            return Err((message, "give the time with its offset from UTC".to_owned()));
        }
        let zoned = ambiguous.disambiguate(Disambiguation::Compatible);
        zoned.map_err(|error| (error.to_string(), "give another time".to_owned()))
    }
}

/// The times of a run, found out when a job first needs them.
pub(super) struct Schedule {
    cyctime: Option<GivenTime>,
    bizdate: Option<Date>,
    /// The job's time zone; `None` for the machine's.
    zone: Option<TimeZone>,
    at: Option<Result<Zoned, Refusal>>,
}

impl Schedule {
    pub(super) fn new(
        cyctime: Option<GivenTime>,
        bizdate: Option<Date>,
        zone: Option<TimeZone>,
    ) -> Self {
        Self { cyctime, bizdate, zone, at: None }
    }

    /// The scheduled time, if it was needed.
    pub(super) fn needed(&self) -> Option<&Zoned> {
        self.at.as_ref()?.as_ref().ok()
    }

    /// The value of `${name}`, as far as it is one of a date; `None` if it is none.
    pub(super) fn value(&mut self, name: &str) -> Option<Result<String, Refusal>> {
        if let Some((_, base, text)) = NAMED.iter().find(|(it, ..)| *it == name) {
            return Some(self.read(text, *base));
        }
        is_meant(name).then(|| self.read(name, Base::Business))
    }

    /// The value of `$[text]`.
    pub(super) fn expression(&mut self, text: &str) -> Result<String, Refusal> {
        self.read(text, Base::Scheduled)
    }

    fn read(&mut self, text: &str, base: Base) -> Result<String, Refusal> {
        let expression = DateExpression::read(text, base)?;
        expression.value(&self.at()?)
    }

    fn at(&mut self) -> Result<Zoned, Refusal> {
        if self.at.is_none() {
            self.at = Some(self.find());
        }
        self.at.clone().unwrap_or_else(|| self.find())
    }

    fn find(&self) -> Result<Zoned, Refusal> {
        let zone = match &self.zone {
            Some(zone) => zone.clone(),
            None => system_zone()?,
        };
        let unknown =
            |error: jiff::Error| (error.to_string(), "give --cyctime YYYYMMDDHHMMSS".to_owned());
        let at = match (&self.cyctime, self.bizdate) {
            (Some(time), _) => time.within(&zone)?,
            (None, Some(day)) => {
                day.tomorrow().and_then(|day| day.to_zoned(zone)).map_err(unknown)?
            }
            (None, None) => Timestamp::now().to_zoned(zone),
        };
        let at = at.round(
            jiff::ZonedRound::new().smallest(jiff::Unit::Second).mode(jiff::RoundMode::Trunc),
        );
        let at = at.map_err(unknown)?;
        let of_time = at.date().yesterday().map_err(unknown)?;
        match self.bizdate {
            Some(day) if day != of_time => Err((
                format!(
                    "--bizdate is {}, and the day before --cyctime is {}",
                    day.strftime(BIZDATE),
                    of_time.strftime(BIZDATE)
                ),
                "give one of the two".to_owned(),
            )),
            _ => Ok(at),
        }
    }
}

/// The machine's time zone.
fn system_zone() -> Result<TimeZone, Refusal> {
    match TimeZone::try_system() {
        Ok(zone) => Ok(zone),
        // Without a zone the machine uses UTC, as the C library does. A zone that is named but not
        // found would shift the date for some hours of each day.
        Err(_) if std::env::var_os("TZ").is_none() => Ok(TimeZone::UTC),
        Err(error) => Err((
            format!("the time zone in `TZ` is unknown: {error}"),
            "set `time_zone` in the job".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cyctime: Option<&str>, bizdate: Option<&str>, zone: &str) -> Schedule {
        let cyctime = cyctime.map(|text| GivenTime::read(text).unwrap());
        let bizdate = bizdate.map(|text| date(text).unwrap());
        Schedule::new(cyctime, bizdate, Some(TimeZone::get(zone).unwrap()))
    }

    #[test]
    fn the_times_of_a_run() {
        for (cyctime, bizdate, zone, expected) in [
            (Some("20251101000000"), None, "Asia/Shanghai", ["20251031", "20251101000000"]),
            (None, Some("20251031"), "Asia/Shanghai", ["20251031", "20251101000000"]),
            (Some("20251101053000"), Some("20251031"), "UTC", ["20251031", "20251101053000"]),
            // The same instant is another day elsewhere.
            (Some("2025-10-31T16:00:00Z"), None, "Asia/Shanghai", ["20251031", "20251101000000"]),
            (Some("2025-10-31T16:00:00Z"), None, "UTC", ["20251030", "20251031160000"]),
            (Some("2025-10-31T16:00:00+00:00"), None, "UTC", ["20251030", "20251031160000"]),
            (Some("2025-11-01 07:08:09.9"), None, "UTC", ["20251031", "20251101070809"]),
            // A run continues in the zone in which it began.
            (
                Some("2025-11-01T00:00:00+08:00[Asia/Shanghai]"),
                None,
                "UTC",
                ["20251031", "20251101000000"],
            ),
            (Some("20240301000000"), None, "UTC", ["20240229", "20240301000000"]),
            // Clocks in Sao Paulo were put forward at midnight.
            (None, Some("20181103"), "America/Sao_Paulo", ["20181103", "20181104010000"]),
        ] {
            let mut schedule = schedule(cyctime, bizdate, zone);
            let found = ["bizdate", "cyctime"].map(|name| schedule.value(name).unwrap().unwrap());
            assert_eq!(found, expected, "{cyctime:?} {bizdate:?} {zone}");
        }
    }

    #[test]
    fn named_dates() {
        for (cyctime, name, expected) in [
            ("20251101000000", "gmtdate", "20251101"),
            ("20251101000000", "bizmonth", "202510"),
            ("20251115000000", "bizmonth", "202510"),
            ("20260101000000", "bizmonth", "202512"),
            ("20251101000000", "system.biz.date", "20251031"),
            ("20251101000000", "system.biz.curdate", "20251101"),
            ("20251101000000", "system.datetime", "20251101000000"),
        ] {
            let found = schedule(Some(cyctime), None, "UTC").value(name).unwrap().unwrap();
            assert_eq!(found, expected, "{cyctime} {name}");
        }
        assert!(schedule(None, None, "UTC").value("region").is_none());
    }

    #[test]
    fn what_is_no_scheduled_time() {
        for text in ["20251101", "2025-11-01", "20251301000000", "now", "", "2025-11-01T25:00:00"] {
            assert!(GivenTime::read(text).is_none(), "{text}");
        }
        let mut gap = schedule(Some("20250330023000"), None, "Europe/Berlin");
        let (message, _) = gap.value("cyctime").unwrap().unwrap_err();
        assert_eq!(
            message,
            "there is no 2025-03-30T02:30:00 in Europe/Berlin: clocks are put forward"
        );
        let mut both = schedule(Some("20251101000000"), Some("20251030"), "UTC");
        let (message, _) = both.value("bizdate").unwrap().unwrap_err();
        assert_eq!(message, "--bizdate is 20251030, and the day before --cyctime is 20251031");
    }
}
