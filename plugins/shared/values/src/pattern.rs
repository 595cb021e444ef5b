//! Dates and times as a job says that they are written: a strftime pattern, compiled once for a
//! column. The usual forms of values are left to `parse` and `write`, which are faster.

use crate::{
    Fault, Ticks,
    calendar::{DAY_SECONDS, date_of, day_of},
    parse::{Parse, temporal::offset},
};

/// A compiled pattern, such as `%d.%m.%Y`.
///
/// | directive | read | written |
/// |---|---|---|
/// | `%Y` | four digits | the same |
/// | `%y` | two digits: 69 to 99 are 1969 to 1999, the others 2000 to 2068 | the same |
/// | `%m` `%d` `%H` `%I` `%M` `%S` | one or two digits | two; with `-` (`%-d`) without a zero |
/// | `%e` `%j` | day, blank before it or not; day of the year, one to three digits | two characters; three digits |
/// | `%b` `%B` | an English month, short or long, in any case | short; long |
/// | `%a` `%A` | an English weekday, short or long; not compared with the date | short; long |
/// | `%p` | `AM` or `PM`, in any case | the same |
/// | `%f` | one to nine digits of a fraction | as many as the type has |
/// | `%.f` | nothing, or a point or comma and a fraction | nothing for a whole second |
/// | `%z` | `Z`, `UTC`, `+HH`, `+HHMM`, `+HH:MM`, a blank before it or not | `+0000` |
/// | `%s` | seconds since 1970, signed | the same |
/// | `%F` `%T` `%R` `%D` | `%Y-%m-%d`, `%H:%M:%S`, `%H:%M`, `%m/%d/%y` | the same |
/// | `%%` | `%` | the same |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Literal(u8),
    Year,
    ShortYear,
    Month { padded: bool },
    MonthName { long: bool },
    Day { padded: bool },
    BlankDay,
    YearDay,
    Weekday { long: bool },
    Hour { padded: bool },
    Hour12 { padded: bool },
    Half,
    Minute { padded: bool },
    Second { padded: bool },
    Fraction,
    PointFraction,
    Offset,
    Epoch,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The first is that of day 0, 1970-01-01.
const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// What a text says.
#[derive(Clone, Copy, Default)]
struct Fields {
    year: i64,
    month: u32,
    day: u32,
    year_day: u32,
    hour: u32,
    half: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    /// Seconds east of UTC.
    offset: i64,
    epoch: Option<i64>,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut items = Vec::new();
        compile(text, &mut items)?;
        Ok(Self { text: text.to_owned(), items })
    }

    /// The pattern as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it has a whole date.
    pub fn has_date(&self) -> bool {
        let day = |item: &Item| matches!(item, Item::Day { .. } | Item::BlankDay);
        let month = |item: &Item| matches!(item, Item::Month { .. } | Item::MonthName { .. });
        let year = self.any(|item| matches!(item, Item::Year | Item::ShortYear));
        let in_year = self.any(day) && self.any(month) || self.any(|item| *item == Item::YearDay);
        year && in_year || self.any(|item| *item == Item::Epoch)
    }

    /// Whether it has a time of day, at least its hour.
    pub fn has_time(&self) -> bool {
        let hour12 = self.any(|item| matches!(item, Item::Hour12 { .. }));
        let half = self.any(|item| *item == Item::Half);
        let hour = self.any(|item| matches!(item, Item::Hour { .. }));
        hour || hour12 && half || self.any(|item| *item == Item::Epoch)
    }

    /// Whether it tells an instant: it has an offset from UTC, or counts from one.
    pub fn has_offset(&self) -> bool {
        self.any(|item| matches!(item, Item::Offset | Item::Epoch))
    }

    fn any(&self, is: impl Fn(&Item) -> bool) -> bool {
        self.items.iter().any(is)
    }

    /// A date, in days since 1970-01-01.
    ///
    /// # Errors
    /// As [`crate::parse`].
    pub fn date(&self, text: &[u8]) -> Result<i32, Fault> {
        let days = self.read(text)?.days()?;
        i32::try_from(days).map_err(|_| Fault::Range)
    }

    /// A time of day, in ticks since midnight.
    ///
    /// # Errors
    /// As [`crate::parse`].
    pub fn time(&self, text: &[u8], ticks: Ticks) -> Result<i64, Fault> {
        let fields = self.read(text)?;
        Ok(fields.seconds()? * ticks.per_second() + fields.fraction(ticks)?)
    }

    /// A timestamp, in ticks since 1970-01-01 00:00:00: of UTC if the pattern has an offset, else of
    /// the wall clock.
    ///
    /// # Errors
    /// As [`crate::parse`].
    pub fn timestamp(&self, text: &[u8], ticks: Ticks) -> Result<i64, Fault> {
        let fields = self.read(text)?;
        let seconds = match fields.epoch {
            Some(seconds) => seconds,
            None => fields.days()? * DAY_SECONDS + fields.seconds()? - fields.offset,
        };
        let whole = i128::from(seconds) * i128::from(ticks.per_second());
        i64::try_from(whole + i128::from(fields.fraction(ticks)?)).map_err(|_| Fault::Range)
    }

    fn read(&self, text: &[u8]) -> Result<Fields, Fault> {
        let (mut fields, mut rest) = (Fields::default(), text);
        for item in &self.items {
            rest = fields.take(*item, rest).ok_or(Fault::Parse)?;
        }
        if rest.is_empty() { Ok(fields) } else { Err(Fault::Parse) }
    }

    /// Appends a date, in days since 1970-01-01. `false`, with nothing appended, if the pattern
    /// cannot say it.
    #[must_use]
    pub fn write_date(&self, days: i64, out: &mut Vec<u8>) -> bool {
        self.write(days, 0, 0, 0, out)
    }

    /// Appends a time of day, or ticks since 1970-01-01 00:00:00. `false`, with nothing appended, if
    /// the pattern cannot say all of it.
    #[must_use]
    pub fn write_ticks(&self, value: i64, ticks: Ticks, out: &mut Vec<u8>) -> bool {
        let seconds = value.div_euclid(ticks.per_second());
        let fraction = value.rem_euclid(ticks.per_second());
        let (days, clock) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
        self.write(days, clock, fraction, ticks.digits(), out)
    }

    fn write(
        &self,
        days: i64,
        clock: i64,
        fraction: i64,
        digits: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let before = out.len();
        let moment = Moment { days, clock, fraction, digits, date: date_of(days) };
        if !self.says(&moment) {
            return false;
        }
        let all = self.items.iter().all(|item| moment.put(*item, out).is_some());
        if !all {
            out.truncate(before);
        }
        all
    }

    /// Whether no part of the moment is lost.
    fn says(&self, moment: &Moment) -> bool {
        let epoch = self.any(|item| *item == Item::Epoch);
        let has = |wanted: fn(&Item) -> bool| epoch || self.any(wanted);
        let fraction = self.any(|item| matches!(item, Item::Fraction | Item::PointFraction));
        (moment.clock % 60 == 0 || has(|item| matches!(item, Item::Second { .. })))
            && (moment.clock / 60 % 60 == 0 || has(|item| matches!(item, Item::Minute { .. })))
            && (moment.clock / 3600 == 0 || self.has_time())
            && (moment.fraction == 0 || fraction)
    }
}

/// A moment to be written.
struct Moment {
    days: i64,
    /// Seconds of the day.
    clock: i64,
    fraction: i64,
    /// Of the fraction.
    digits: usize,
    date: (i64, u32, u32),
}

impl Moment {
    /// Appends one part; `None` if it has no such form.
    fn put(&self, item: Item, out: &mut Vec<u8>) -> Option<()> {
        let (year, month, day) = self.date;
        let (hour, minute) = (self.clock / 3600, self.clock / 60 % 60);
        let hour12 = (hour + 11) % 12 + 1;
        match item {
            Item::Literal(byte) => out.push(byte),
            Item::Year => number((0..=9999).contains(&year).then_some(year)?, 4, out),
            Item::ShortYear => number((1969..=2068).contains(&year).then_some(year % 100)?, 2, out),
            Item::Month { padded } => number(month.into(), width(padded), out),
            Item::MonthName { long } => name(MONTHS[month as usize - 1], long, out),
            Item::Day { padded } => number(day.into(), width(padded), out),
            Item::BlankDay => {
                if day < 10 {
                    out.push(b' ');
                }
                number(day.into(), 1, out);
            }
            Item::YearDay => number(self.days - day_of(year, 1, 1)? + 1, 3, out),
            Item::Weekday { long } => name(WEEKDAYS[self.days.rem_euclid(7) as usize], long, out),
            Item::Hour { padded } => number(hour, width(padded), out),
            Item::Hour12 { padded } => number(hour12, width(padded), out),
            Item::Half => out.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
            Item::Minute { padded } => number(minute, width(padded), out),
            Item::Second { padded } => number(self.clock % 60, width(padded), out),
            Item::Fraction => number(self.fraction, self.digits.max(1), out),
            Item::PointFraction if self.fraction == 0 => {}
            Item::PointFraction => {
                out.push(b'.');
                number(self.fraction, self.digits, out);
            }
            Item::Offset => out.extend_from_slice(b"+0000"),
            Item::Epoch => number(self.days * DAY_SECONDS + self.clock, 1, out),
        }
        Some(())
    }
}

/// Dates of a pattern.
pub(crate) struct PatternDate<'p>(pub(crate) &'p Pattern);

/// Times of a pattern.
pub(crate) struct PatternTime<'p>(pub(crate) &'p Pattern, pub(crate) Ticks);

/// Timestamps of a pattern.
pub(crate) struct PatternTimestamp<'p>(pub(crate) &'p Pattern, pub(crate) Ticks);

impl Parse for PatternDate<'_> {
    type Value = i32;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i32, Fault> {
        self.0.date(&window[start..end])
    }
}

impl Parse for PatternTime<'_> {
    type Value = i64;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i64, Fault> {
        self.0.time(&window[start..end], self.1)
    }
}

impl Parse for PatternTimestamp<'_> {
    type Value = i64;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i64, Fault> {
        self.0.timestamp(&window[start..end], self.1)
    }
}

fn width(padded: bool) -> usize {
    if padded { 2 } else { 1 }
}

/// Appends a number with zeros before it.
fn number(value: i64, width: usize, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // writing to a vector cannot fail
    let _ = write!(out, "{value:0width$}");
}

fn name(name: &str, long: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if long { name.as_bytes() } else { &name.as_bytes()[..3] });
}

fn compile(text: &str, items: &mut Vec<Item>) -> Result<(), String> {
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            items.push(Item::Literal(*byte));
            continue;
        }
        let (padded, directive, tail) = match rest {
            [b'-', directive @ (b'm' | b'd' | b'H' | b'I' | b'M' | b'S'), tail @ ..] => {
                (false, *directive, tail)
            }
            [b'.', b'f', tail @ ..] => (true, b'.', tail),
            [directive, tail @ ..] => (true, *directive, tail),
            [] => return Err("it ends with `%`".to_owned()),
        };
        rest = tail;
        match directive {
            b'F' => compile("%Y-%m-%d", items)?,
            b'T' => compile("%H:%M:%S", items)?,
            b'R' => compile("%H:%M", items)?,
            b'D' => compile("%m/%d/%y", items)?,
            _ => items.push(item(directive, padded).ok_or_else(|| {
                format!("there is no `%{}`", char::from(directive).escape_default())
            })?),
        }
    }
    Ok(())
}

fn item(directive: u8, padded: bool) -> Option<Item> {
    Some(match directive {
        b'Y' => Item::Year,
        b'y' => Item::ShortYear,
        b'm' => Item::Month { padded },
        b'b' | b'h' => Item::MonthName { long: false },
        b'B' => Item::MonthName { long: true },
        b'd' => Item::Day { padded },
        b'e' => Item::BlankDay,
        b'j' => Item::YearDay,
        b'a' => Item::Weekday { long: false },
        b'A' => Item::Weekday { long: true },
        b'H' => Item::Hour { padded },
        b'I' => Item::Hour12 { padded },
        b'p' => Item::Half,
        b'M' => Item::Minute { padded },
        b'S' => Item::Second { padded },
        b'f' => Item::Fraction,
        b'.' => Item::PointFraction,
        b'z' => Item::Offset,
        b's' => Item::Epoch,
        b'%' => Item::Literal(b'%'),
        _ => return None,
    })
}

impl Fields {
    /// Takes one part from the start of a text; `None` if it does not have the form.
    #[inline]
    fn take<'t>(&mut self, item: Item, text: &'t [u8]) -> Option<&'t [u8]> {
        let two = |text| digits(text, 1, 2);
        let (value, rest) = match item {
            Item::Literal(byte) => {
                return text.split_first().filter(|it| *it.0 == byte).map(|it| it.1);
            }
            Item::Year => digits(text, 4, 4)?,
            Item::ShortYear => digits(text, 2, 2)?,
            Item::YearDay => digits(text, 1, 3)?,
            Item::BlankDay => two(text.strip_prefix(b" ").unwrap_or(text))?,
            Item::MonthName { .. } => named(text, &MONTHS)?,
            Item::Weekday { .. } => return named(text, &WEEKDAYS).map(|it| it.1),
            Item::Half => {
                let (half, rest) = text.split_at_checked(2)?;
                let pm = half.eq_ignore_ascii_case(b"PM");
                self.half = (pm || half.eq_ignore_ascii_case(b"AM")).then_some(pm);
                return self.half.map(|_| rest);
            }
            Item::PointFraction => match text {
                [b'.' | b',', rest @ ..] => return self.take(Item::Fraction, rest),
                _ => return Some(text),
            },
            Item::Fraction => {
                let (value, rest) = digits(text, 1, 9)?;
                self.nanos = value * 10_u32.pow(9 - (text.len() - rest.len()) as u32);
                return Some(rest);
            }
            Item::Offset => return self.take_offset(text),
            Item::Epoch => return self.take_epoch(text),
            _ => two(text)?,
        };
        match item {
            Item::Year => self.year = value.into(),
            Item::ShortYear => self.year = i64::from(if value < 69 { 2000 } else { 1900 } + value),
            Item::Month { .. } => self.month = value,
            Item::MonthName { .. } => self.month = value + 1,
            Item::YearDay => self.year_day = value,
            Item::Hour { .. } | Item::Hour12 { .. } => self.hour = value,
            Item::Minute { .. } => self.minute = value,
            Item::Second { .. } => self.second = value,
            _ => self.day = value,
        }
        Some(rest)
    }

    fn take_offset<'t>(&mut self, text: &'t [u8]) -> Option<&'t [u8]> {
        let rest = text.strip_prefix(b" ").unwrap_or(text);
        let length = match rest {
            [b'U', b'T', b'C', ..] => 3,
            [b'Z' | b'z', ..] => 1,
            [_, tail @ ..] => {
                1 + tail.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b':').count()
            }
            [] => return None,
        };
        let (text, rest) = rest.split_at(length);
        self.offset = offset(text).ok()?;
        Some(rest)
    }

    fn take_epoch<'t>(&mut self, text: &'t [u8]) -> Option<&'t [u8]> {
        let start = usize::from(matches!(text.first(), Some(b'-' | b'+')));
        let count = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (text, rest) = text.split_at(start + count);
        self.epoch = Some(std::str::from_utf8(text).ok()?.parse().ok()?);
        Some(rest)
    }

    fn days(&self) -> Result<i64, Fault> {
        if let Some(seconds) = self.epoch {
            return Ok(seconds.div_euclid(DAY_SECONDS));
        }
        if self.year_day == 0 {
            return day_of(self.year, self.month, self.day).ok_or(Fault::Range);
        }
        let first = day_of(self.year, 1, 1).ok_or(Fault::Range)?;
        let day = first + i64::from(self.year_day) - 1;
        if date_of(day).0 == self.year { Ok(day) } else { Err(Fault::Range) }
    }

    /// Seconds of the day.
    fn seconds(&self) -> Result<i64, Fault> {
        let hour = match self.half {
            None => self.hour,
            Some(_) if !(1..=12).contains(&self.hour) => return Err(Fault::Range),
            Some(pm) => self.hour % 12 + if pm { 12 } else { 0 },
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return Err(Fault::Range);
        }
        Ok(i64::from(hour * 3600 + self.minute * 60 + self.second))
    }

    fn fraction(&self, ticks: Ticks) -> Result<i64, Fault> {
        let unit = 1_000_000_000 / ticks.per_second();
        let lost = 10_i64.pow(9 - u32::from(ticks.precision));
        let nanos = i64::from(self.nanos);
        if nanos % lost == 0 { Ok(nanos / unit) } else { Err(Fault::Range) }
    }
}

/// A number of `least` to `most` digits at the start of a text, as many as there are.
#[inline]
fn digits(text: &[u8], least: usize, most: usize) -> Option<(u32, &[u8])> {
    let (mut value, mut count) = (0, 0);
    for byte in text.iter().take(most).take_while(|byte| byte.is_ascii_digit()) {
        value = value * 10 + u32::from(byte - b'0');
        count += 1;
    }
    (count >= least).then(|| (value, &text[count..]))
}

/// The index of a long or short name at the start of a text.
fn named<'t>(text: &'t [u8], names: &[&str]) -> Option<(u32, &'t [u8])> {
    let begins =
        |name: &[u8]| text.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name));
    let of = |length: fn(&str) -> usize| {
        let found = names.iter().position(|name| begins(&name.as_bytes()[..length(name)]))?;
        Some((found as u32, &text[length(names[found])..]))
    };
    of(str::len).or_else(|| of(|_| 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write;

    fn date(pattern: &str, text: &str) -> Result<String, Fault> {
        let days = Pattern::new(pattern).unwrap().date(text.as_bytes())?;
        let mut out = Vec::new();
        write::date(days.into(), &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    fn timestamp(pattern: &str, text: &str, precision: u8) -> Result<String, Fault> {
        let ticks = Ticks::new(precision);
        let value = Pattern::new(pattern).unwrap().timestamp(text.as_bytes(), ticks)?;
        let mut out = Vec::new();
        write::timestamp(value, ticks, b' ', &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn dates_by_their_patterns() {
        for (pattern, text, expected) in [
            ("%d.%m.%Y", "31.12.2026", "2026-12-31"),
            ("%d.%m.%Y", "1.2.2026", "2026-02-01"),
            ("%m/%d/%y", "12/31/69", "1969-12-31"),
            ("%D", "12/31/68", "2068-12-31"),
            ("%Y%m%d", "20260228", "2026-02-28"),
            ("%d-%b-%Y", "05-mar-2026", "2026-03-05"),
            ("%B %e, %Y", "March  5, 2026", "2026-03-05"),
            ("%B %e, %Y", "May 15, 2026", "2026-05-15"),
            ("%a %d %b %Y", "Thu 01 Jan 1970", "1970-01-01"),
            ("%Y/%j", "2024/366", "2024-12-31"),
            ("%s", "86400", "1970-01-02"),
            ("100%% %F", "100% 2026-01-02", "2026-01-02"),
        ] {
            assert_eq!(date(pattern, text).as_deref(), Ok(expected), "{pattern} {text}");
        }
        for (pattern, text, fault) in [
            ("%d.%m.%Y", "31.02.2026", Fault::Range),
            ("%d.%m.%Y", "12.31.2026", Fault::Range),
            ("%d.%m.%Y", "2026-12-31", Fault::Parse),
            ("%d.%m.%Y", "31.12.2026 ", Fault::Parse),
            ("%d.%m.%Y", "31.12.26", Fault::Parse),
            ("%d.%m.%Y", "", Fault::Parse),
            ("%Y/%j", "2025/366", Fault::Range),
            ("%d %b %Y", "1 Foo 2026", Fault::Parse),
        ] {
            assert_eq!(date(pattern, text), Err(fault), "{pattern} {text}");
        }
    }

    #[test]
    fn timestamps_by_their_patterns() {
        for (pattern, text, expected) in [
            ("%d.%m.%Y %H:%M", "31.12.2026 7:05", "2026-12-31 07:05:00"),
            ("%d/%m/%Y %I:%M:%S %p", "31/12/2026 12:00:01 am", "2026-12-31 00:00:01"),
            ("%d/%m/%Y %I:%M:%S %p", "31/12/2026 12:00:01 PM", "2026-12-31 12:00:01"),
            ("%F %T.%f", "2026-12-31 01:02:03.5", "2026-12-31 01:02:03.5"),
            ("%FT%T%.f", "2026-12-31T01:02:03,000001", "2026-12-31 01:02:03.000001"),
            ("%FT%T%.f", "2026-12-31T01:02:03", "2026-12-31 01:02:03"),
            ("%Y%m%d%H%M%S", "20261231010203", "2026-12-31 01:02:03"),
            ("%F %T%z", "2026-12-31 01:02:03 +0100", "2026-12-31 00:02:03"),
            ("%F %T %z", "2026-12-31 01:02:03 Z", "2026-12-31 01:02:03"),
            ("%s.%f", "1.25", "1970-01-01 00:00:01.25"),
        ] {
            assert_eq!(timestamp(pattern, text, 6).as_deref(), Ok(expected), "{pattern} {text}");
        }
        let refused = |text, precision| timestamp("%F %T.%f", text, precision).unwrap_err();
        assert_eq!(refused("2026-12-31 24:00:00.0", 6), Fault::Range);
        assert_eq!(refused("2026-12-31 23:60:00.0", 6), Fault::Range);
        assert_eq!(refused("2026-12-31 23:00:00.001", 2), Fault::Range);
        assert_eq!(timestamp("%F %I %p", "2026-12-31 13 PM", 6), Err(Fault::Range));
        assert_eq!(timestamp("%F %T%z", "2026-12-31 01:02:03", 6), Err(Fault::Parse));
    }

    #[test]
    fn a_pattern_says_what_it_has() {
        let of =
            |text| Pattern::new(text).map(|it| (it.has_date(), it.has_time(), it.has_offset()));
        assert_eq!(of("%d.%m.%Y"), Ok((true, false, false)));
        assert_eq!(of("%H:%M"), Ok((false, true, false)));
        assert_eq!(of("%I:%M"), Ok((false, false, false)));
        assert_eq!(of("%F %T%z"), Ok((true, true, true)));
        assert_eq!(of("%m.%Y"), Ok((false, false, false)));
        assert_eq!(of("%s"), Ok((true, true, true)));
        assert_eq!(of("%Q"), Err("there is no `%Q`".to_owned()));
        assert_eq!(of("%d%"), Err("it ends with `%`".to_owned()));
    }

    #[test]
    fn what_is_written_reads_back_or_is_refused() {
        let ticks = Ticks::new(6);
        for (pattern, value, expected) in [
            ("%d.%m.%Y %H:%M:%S%.f", 1_500_000, Some("01.01.1970 00:00:01.500000")),
            ("%d.%m.%Y %H:%M:%S%.f", -1_000_000, Some("31.12.1969 23:59:59")),
            ("%-d/%-m/%y %-I:%M %p", 46_800_000_000, Some("1/1/70 1:00 PM")),
            ("%a %e %B %Y %H", 0, Some("Thu  1 January 1970 00")),
            ("%d.%m.%Y %H:%M", 1_000_000, None),
            ("%d.%m.%Y %H:%M:%S", 1, None),
            ("%d.%m.%Y", 3_600_000_000, None),
            ("%Y/%j %T%z", 86_400_000_000, Some("1970/002 00:00:00+0000")),
        ] {
            let (pattern, mut out) = (Pattern::new(pattern).unwrap(), b"x".to_vec());
            let written = pattern.write_ticks(value, ticks, &mut out);
            let text = std::str::from_utf8(&out[1..]).unwrap();
            assert_eq!(written.then_some(text), expected, "{}", pattern.text());
            assert!(written || text.is_empty());
            if written {
                assert_eq!(pattern.timestamp(text.as_bytes(), ticks), Ok(value), "{text}");
            }
        }
        let short = Pattern::new("%d.%m.%y").unwrap();
        assert!(!short.write_date(-40_000, &mut Vec::new()));
        let mut out = Vec::new();
        assert!(short.write_date(20_818, &mut out));
        assert_eq!(out, b"31.12.26");
    }
}
