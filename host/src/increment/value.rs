//! A value of a column that grows, at the full precision of its type: read from its text, compared and
//! moved as a number or a time, never as text.

use std::fmt;

use jiff::{
    SignedDuration,
    civil::{Date, DateTime},
};
use transload_plugin_api::LogicalType;

use crate::job::Lookback;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GrowingValue {
    Integer(i128),
    Date(Date),
    Time {
        at: DateTime,
        /// Decimals of a second.
        digits: u8,
        is_utc: bool,
    },
}

/// Whether a column of the type can grow, and what its values are called.
pub(crate) fn kind(logical: &LogicalType) -> Option<&'static str> {
    use LogicalType as L;
    match logical {
        L::Int8 | L::Int16 | L::Int32 | L::Int64 => Some("a whole number"),
        L::UInt8 | L::UInt16 | L::UInt32 | L::UInt64 => Some("a whole number"),
        L::Date => Some("a date such as `2026-11-20`"),
        L::Timestamp { precision } | L::TimestampTz { precision } if *precision <= 6 => {
            Some("a time such as `2026-11-20 10:30:00`")
        }
        _ => None,
    }
}

impl GrowingValue {
    /// Reads the text of a value, in UTC for a column with a time zone. A time may be a date alone.
    /// `None` if it is no value of the type.
    pub(crate) fn read(text: &str, logical: &LogicalType) -> Option<Self> {
        let text = text.trim();
        let found = match logical {
            LogicalType::Date => Self::Date(text.parse().ok()?),
            LogicalType::Timestamp { precision } | LogicalType::TimestampTz { precision } => {
                let is_utc = matches!(logical, LogicalType::TimestampTz { .. });
                let digits = Some(*precision).filter(|digits| *digits <= 6)?;
                Self::Time { at: time(text, is_utc)?, digits, is_utc }
            }
            _ => {
                kind(logical)?;
                Self::Integer(text.parse().ok()?)
            }
        };
        // What is finer than the column is no value of it.
        (found.floored() == found).then_some(found)
    }

    /// The smallest step between two values, down: what is greater than this is this value or greater.
    pub(crate) fn before(self) -> Option<Self> {
        match self {
            Self::Integer(number) => number.checked_sub(1).map(Self::Integer),
            Self::Date(date) => date.yesterday().ok().map(Self::Date),
            Self::Time { at, digits, is_utc } => {
                let step = SignedDuration::from_nanos(10_i64.pow(9 - u32::from(digits)));
                let at = at.checked_sub(step).ok()?;
                Some(Self::Time { at, digits, is_utc })
            }
        }
    }

    /// The value that lies this far before, or earlier.
    pub(crate) fn less(self, lookback: Lookback) -> Option<Self> {
        Some(match (self, lookback) {
            (Self::Integer(number), Lookback::Number(back)) => {
                Self::Integer(number.checked_sub(i128::from(back))?)
            }
            (Self::Date(date), Lookback::Time(back)) => {
                let days = i64::try_from(back.div_ceil(86_400_000)).ok()?;
                Self::Date(date.checked_sub(jiff::Span::new().try_days(days).ok()?).ok()?)
            }
            (Self::Time { at, digits, is_utc }, Lookback::Time(back)) => {
                let back = SignedDuration::from_millis(i64::try_from(back).ok()?);
                Self::Time { at: at.checked_sub(back).ok()?, digits, is_utc }.floored()
            }
            _ => return None,
        })
    }

    /// The value this far behind, for the steps of a backfill.
    pub(crate) fn plus(self, step: Lookback) -> Option<Self> {
        Some(match (self, step) {
            (Self::Integer(number), Lookback::Number(step)) => {
                Self::Integer(number.checked_add(i128::from(step))?)
            }
            (Self::Date(date), Lookback::Time(step)) if step.is_multiple_of(86_400_000) => {
                let days = i64::try_from(step / 86_400_000).ok()?;
                Self::Date(date.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?)
            }
            (Self::Time { at, digits, is_utc }, Lookback::Time(step)) => {
                let step = SignedDuration::from_millis(i64::try_from(step).ok()?);
                let later = Self::Time { at: at.checked_add(step).ok()?, digits, is_utc };
                (later.floored() == later).then_some(later)?
            }
            _ => return None,
        })
    }

    /// Without what its column does not keep.
    fn floored(self) -> Self {
        let Self::Time { at, digits, is_utc } = self else { return self };
        let unit = 10_i32.pow(9 - u32::from(digits));
        let kept = at.subsec_nanosecond() / unit * unit;
        let at = at.with().subsec_nanosecond(kept).build().unwrap_or(at);
        Self::Time { at, digits, is_utc }
    }
}

/// `2026-11-20`, `2026-11-20 10:30:00.5`, `2026-11-20T10:30:00Z`
fn time(text: &str, is_utc: bool) -> Option<DateTime> {
    if is_utc && let Some(instant) = text.parse::<jiff::Timestamp>().ok() {
        return Some(jiff::tz::TimeZone::UTC.to_datetime(instant));
    }
    if text.len() <= 10 {
        return text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0));
    }
    let is_zoned = text.get(10..).is_some_and(|time| time.contains(['Z', 'z', '+', '-', '[']));
    if is_zoned { None } else { text.parse().ok() }
}

impl fmt::Display for GrowingValue {
    /// The text by which stores know it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Date(date) => write!(f, "{date}"),
            Self::Time { at, is_utc, .. } => {
                write!(f, "{} {}{}", at.date(), at.time(), if *is_utc { "Z" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: LogicalType = LogicalType::Timestamp { precision: 6 };
    const INSTANT: LogicalType = LogicalType::TimestampTz { precision: 6 };
    const SECOND: LogicalType = LogicalType::Timestamp { precision: 0 };

    fn read(text: &str, logical: &LogicalType) -> GrowingValue {
        GrowingValue::read(text, logical).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn t11_values_keep_their_precision() {
        for (text, logical, expected, before) in [
            ("7", LogicalType::Int64, "7", "6"),
            (
                "-9223372036854775808",
                LogicalType::Int64,
                "-9223372036854775808",
                "-9223372036854775809",
            ),
            (
                "18446744073709551615",
                LogicalType::UInt64,
                "18446744073709551615",
                "18446744073709551614",
            ),
            ("2026-03-01", LogicalType::Date, "2026-03-01", "2026-02-28"),
            (
                "2026-11-20 10:00:00.123456",
                TIME,
                "2026-11-20 10:00:00.123456",
                "2026-11-20 10:00:00.123455",
            ),
            ("2026-11-20", TIME, "2026-11-20 00:00:00", "2026-11-19 23:59:59.999999"),
            ("2026-11-20 10:00:00", SECOND, "2026-11-20 10:00:00", "2026-11-20 09:59:59"),
            (
                "2026-11-20 10:00:00.5Z",
                INSTANT,
                "2026-11-20 10:00:00.5Z",
                "2026-11-20 10:00:00.499999Z",
            ),
            (
                "2026-11-20T10:00:00+08:00",
                INSTANT,
                "2026-11-20 02:00:00Z",
                "2026-11-20 01:59:59.999999Z",
            ),
            ("2026-11-20 10:00:00", INSTANT, "2026-11-20 10:00:00Z", "2026-11-20 09:59:59.999999Z"),
        ] {
            let value = read(text, &logical);
            assert_eq!(value.to_string(), expected);
            assert_eq!(value.before().unwrap().to_string(), before);
        }
        for (text, logical) in [
            ("infinity", TIME),
            ("2026-11-20 10:00:00.5", SECOND),
            ("2026-11-20 10:00:00.1234567", TIME),
            ("2026-11-20 10:00:00+08:00", TIME),
            ("1.5", LogicalType::Int64),
            ("", LogicalType::Date),
            ("x", LogicalType::TEXT),
        ] {
            assert_eq!(GrowingValue::read(text, &logical), None, "{text}");
        }
    }

    #[test]
    fn lookback_begins_at_the_value_or_earlier() {
        let back = |text: &str, logical: &LogicalType, lookback| {
            read(text, logical).less(lookback).map(|value| value.to_string())
        };
        for (text, logical, lookback, expected) in [
            ("100", LogicalType::Int64, Lookback::Number(30), Some("70")),
            ("2026-11-20 10:00:00", SECOND, Lookback::Time(1_500), Some("2026-11-20 09:59:58")),
            ("2026-11-20", LogicalType::Date, Lookback::Time(3_600_000), Some("2026-11-19")),
            ("2026-11-20", LogicalType::Date, Lookback::Number(1), None),
            ("100", LogicalType::Int64, Lookback::Time(30), None),
        ] {
            assert_eq!(back(text, &logical, lookback).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn texts_are_read_back(micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
            let instant = jiff::Timestamp::from_microsecond(micros).unwrap();
            let at = jiff::tz::TimeZone::UTC.to_datetime(instant);
            for (is_utc, logical) in [(true, INSTANT), (false, TIME)] {
                let value = GrowingValue::Time { at, digits: 6, is_utc };
                prop_assert_eq!(GrowingValue::read(&value.to_string(), &logical), Some(value));
                prop_assert!(value.before().unwrap() < value);
            }
        }
    }
}
