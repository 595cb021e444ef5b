//! The scheduled time of an instance of a flow: `20261201000000`, by which its state is kept and which its
//! jobs get as `--cyctime`. The business date is the day before it.

use std::fmt;

use jiff::{
    Span, ToSpan as _, Zoned,
    civil::{Date, DateTime},
};
use serde::{Deserialize, Serialize};

const CYCTIME: &str = "%Y%m%d%H%M%S";
const BIZDATE: &str = "%Y%m%d";

/// A scheduled time, to the second, in the zone of the flow's jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ScheduledTime(DateTime);

impl ScheduledTime {
    /// `20261201013000`; `None` if the text is not such a time.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_whole = text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit());
        DateTime::strptime(CYCTIME, text).ok().filter(|_| is_whole).map(Self)
    }

    /// Midnight after a business date such as `20261130`; `None` if the text is not one.
    pub(crate) fn after_business_date(text: &str) -> Option<Self> {
        let date = Date::strptime(BIZDATE, text).ok().filter(|_| text.len() == 8)?;
        Some(Self(date.tomorrow().ok()?.to_datetime(jiff::civil::Time::midnight())))
    }

    /// The last midnight.
    pub(crate) fn today() -> Self {
        Self(Zoned::now().date().to_datetime(jiff::civil::Time::midnight()))
    }

    /// The time of the instance before, where `every` lies between two of them.
    pub(crate) fn before(self, every: Span) -> Option<Self> {
        self.0.checked_sub(every).ok().map(Self)
    }

    /// `20261130`
    pub(crate) fn business_date(self) -> String {
        let day = self.0.date().checked_sub(1.day()).unwrap_or_else(|_| self.0.date());
        day.strftime(BIZDATE).to_string()
    }
}

impl fmt::Display for ScheduledTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime(CYCTIME))
    }
}

impl From<ScheduledTime> for String {
    fn from(time: ScheduledTime) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for ScheduledTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text).ok_or_else(|| format!("`{text}` is not a time such as `20261201000000`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let time = ScheduledTime::read("20260301013000").unwrap();
        assert_eq!(time.to_string(), "20260301013000");
        assert_eq!(time.business_date(), "20260228");
        assert_eq!(
            ScheduledTime::after_business_date("20241231").unwrap().to_string(),
            "20250101000000"
        );
        for wrong in ["20260230000000", "202603010130", "2026-03-01T00:00", "20260301013000 "] {
            assert_eq!(ScheduledTime::read(wrong), None, "{wrong}");
        }
        assert_eq!(ScheduledTime::after_business_date("20260230"), None);
    }

    #[test]
    fn the_instance_before_is_a_span_earlier() {
        let time = ScheduledTime::read("20260301000000").unwrap();
        for (every, expected) in
            [("1 d", "20260228000000"), ("1 h", "20260228230000"), ("1 month", "20260201000000")]
        {
            let every: Span = every.parse().unwrap();
            assert_eq!(time.before(every).unwrap().to_string(), expected);
        }
    }
}
