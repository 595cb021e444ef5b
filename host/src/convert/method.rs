//! Which pairs of types convert, how, and what the plan says about each.

use std::fmt;

use arrow_array::ArrayRef;
use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};
use transload_plugin_api::LogicalType;

use super::{
    applied::{Applied, cast, misfits},
    check, list, text,
};

/// What the plan says about a pair of columns; best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// As the store keeps it: source and target are of one kind and have the same type.
    Native,
    /// The same type.
    Lossless,
    /// The target's type holds every value of the source's.
    Widening,
    /// Only the run can tell: each value is checked, and a row with one that does not fit is dirty.
    Checked,
    /// No value can pass; the plan fails.
    Impossible,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Lossless => "lossless",
            Self::Widening => "widening",
            Self::Checked => "checked",
            Self::Impossible => "impossible",
        })
    }
}

/// How a column is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The array passes.
    Same,
    /// Cast; every value fits.
    Cast,
    /// Cast there and back; a value that does not come back the same is dirty.
    RoundTrip,
    /// Text no longer than the target's characters.
    Length,
    /// A time with no more fraction digits than the target's.
    Fraction,
    /// A time of day as the time since midnight, and back if it is less than a day.
    Clock,
    /// Parsed from text.
    Parse,
    /// Parsed from an exact number; what a float does not keep is dirty.
    ParseExact,
    /// Printed as text.
    Print,
    /// Lists printed as JSON.
    PrintList,
    /// Refused by the plan.
    Impossible,
}

impl Method {
    pub(super) fn apply(
        self,
        array: &ArrayRef,
        source: &LogicalType,
        target: &LogicalType,
    ) -> Result<Applied, ArrowError> {
        let clean = |array: ArrayRef| Applied { array, misfits: Vec::new() };
        Ok(match self {
            Self::Same => clean(array.clone()),
            Self::Cast => clean(cast(array, &target.data_type())?),
            Self::RoundTrip => check::round_trip(array, &target.data_type())?,
            Self::Length => check::length(array, target),
            Self::Fraction => check::fraction(array, target)?,
            Self::Clock => check::clock(array, target)?,
            Self::Parse => text::parse(array, target)?,
            Self::ParseExact => text::parse_exact(array, target)?,
            Self::Print => check::length(&text::print(array, source)?, target),
            Self::PrintList => {
                let LogicalType::List(item) = source else {
                    return Err(ArrowError::CastError(format!("{source} is no list")));
                };
                let mut printed = list::print(array, item)?;
                printed.misfits.extend(check::length(&printed.array, target).misfits);
                printed
            }
            Self::Impossible => Applied {
                array: arrow_array::new_null_array(&target.data_type(), array.len()),
                misfits: misfits(array.len(), "type", |_| true),
            },
        })
    }
}

/// What the plan says about carrying `from` into `to`.
pub(crate) fn verdict(from: &LogicalType, to: &LogicalType) -> Verdict {
    pair(from, to).0
}

pub(super) fn method(from: &LogicalType, to: &LogicalType) -> Method {
    pair(from, to).1
}

fn pair(from: &LogicalType, to: &LogicalType) -> (Verdict, Method) {
    use LogicalType as L;
    use Method::{
        Cast, Clock, Fraction, Impossible, Length, Parse, ParseExact, Print, PrintList, RoundTrip,
        Same,
    };
    const IMPOSSIBLE: (Verdict, Method) = (Verdict::Impossible, Impossible);
    if from == to {
        let is_native = matches!(from, L::Native(_));
        return (if is_native { Verdict::Native } else { Verdict::Lossless }, Same);
    }
    if let (Some(from), Some(to)) = (integer(from), integer(to)) {
        return if to.0 <= from.0 && from.1 <= to.1 {
            (Verdict::Widening, Cast)
        } else {
            (Verdict::Checked, RoundTrip)
        };
    }
    match (from, to) {
        (L::Text { .. }, L::Text { length: None }) => (Verdict::Widening, Same),
        (L::Text { length: Some(from) }, L::Text { length: Some(to) }) if from <= to => {
            (Verdict::Widening, Same)
        }
        (L::Text { .. } | L::Json | L::Numeric, L::Text { length: Some(_) }) => {
            (Verdict::Checked, Length)
        }
        (L::Json | L::Numeric, L::Text { length: None }) => (Verdict::Widening, Same),
        (L::Text { .. }, L::Binary) => (Verdict::Widening, Cast),
        (L::Numeric, L::Float32 | L::Float64) => (Verdict::Checked, ParseExact),
        (L::Text { .. } | L::Numeric, to) if text::parses(to) => (Verdict::Checked, Parse),
        (from, L::Text { length }) if text::prints(from) => match length {
            None => (Verdict::Widening, Print),
            Some(_) => (Verdict::Checked, Print),
        },
        (L::List(item), L::Text { .. } | L::Json) if list::prints(item) => {
            let fits = list::always_prints(item) && !matches!(to, L::Text { length: Some(_) });
            (if fits { Verdict::Widening } else { Verdict::Checked }, PrintList)
        }
        (from, L::Numeric) if exact_number(from) => (Verdict::Widening, Print),
        (L::Decimal { precision: p, scale: s }, L::Decimal { precision: q, scale: t }) => {
            let fits = t >= s && i16::from(*q) - i16::from(*t) >= i16::from(*p) - i16::from(*s);
            if fits { (Verdict::Widening, Cast) } else { (Verdict::Checked, RoundTrip) }
        }
        (from, L::Decimal { precision, scale }) if integer(from).is_some() => {
            let digits = i16::from(*precision) - i16::from(*scale);
            let fits = digits >= integer_digits(from);
            if fits { (Verdict::Widening, Cast) } else { (Verdict::Checked, RoundTrip) }
        }
        (L::Decimal { .. }, to) if integer(to).is_some() => (Verdict::Checked, RoundTrip),
        (L::Decimal { .. }, L::Float32 | L::Float64) => (Verdict::Checked, RoundTrip),
        (L::Float32 | L::Float64, L::Decimal { .. }) => (Verdict::Checked, RoundTrip),
        (L::Float32, L::Float64) => (Verdict::Widening, Cast),
        (L::Float64, L::Float32) => (Verdict::Checked, RoundTrip),
        (from, L::Float32 | L::Float64) if integer(from).is_some() => {
            let digits = if *to == L::Float64 { 15 } else { 7 };
            let fits = integer_digits(from) <= digits;
            if fits { (Verdict::Widening, Cast) } else { (Verdict::Checked, RoundTrip) }
        }
        (L::Float32 | L::Float64, to) if integer(to).is_some() => (Verdict::Checked, RoundTrip),
        (L::Boolean, to) if integer(to).is_some() => (Verdict::Widening, Cast),
        (from, L::Boolean) if integer(from).is_some() => (Verdict::Checked, RoundTrip),
        (L::Date, L::Timestamp { precision }) if *precision <= 6 => (Verdict::Widening, Cast),
        (L::Timestamp { .. }, L::Date) => (Verdict::Checked, RoundTrip),
        (L::Timestamp { precision: p }, L::Timestamp { precision: q })
        | (L::TimestampTz { precision: p }, L::TimestampTz { precision: q })
        | (L::Time { precision: p }, L::Time { precision: q }) => {
            if from.data_type() == to.data_type() {
                if p <= q { (Verdict::Widening, Same) } else { (Verdict::Checked, Fraction) }
            } else {
                (Verdict::Checked, RoundTrip)
            }
        }
        (L::Time { precision }, L::Duration) if *precision <= 6 => (Verdict::Widening, Clock),
        (L::Duration, L::Time { precision }) if *precision <= 6 => (Verdict::Checked, Clock),
        // An interval counts nanoseconds: 292 years of them. A duration has no months and days.
        (L::Duration, L::Interval) | (L::Interval, L::Duration) => (Verdict::Checked, RoundTrip),
        (L::Uuid, L::Binary) => (Verdict::Widening, Cast),
        _ => IMPOSSIBLE,
    }
}

fn exact_number(logical: &LogicalType) -> bool {
    integer(logical).is_some() || matches!(logical, LogicalType::Decimal { .. })
}

/// The smallest and largest value of an integer type.
fn integer(logical: &LogicalType) -> Option<(i128, i128)> {
    use LogicalType as L;
    Some(match logical {
        L::Int8 => (i8::MIN.into(), i8::MAX.into()),
        L::Int16 => (i16::MIN.into(), i16::MAX.into()),
        L::Int32 => (i32::MIN.into(), i32::MAX.into()),
        L::Int64 => (i64::MIN.into(), i64::MAX.into()),
        L::UInt8 => (0, u8::MAX.into()),
        L::UInt16 => (0, u16::MAX.into()),
        L::UInt32 => (0, u32::MAX.into()),
        L::UInt64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// Digits of the largest value of an integer type.
fn integer_digits(logical: &LogicalType) -> i16 {
    use LogicalType as L;
    match logical {
        L::Int8 | L::UInt8 => 3,
        L::Int16 | L::UInt16 => 5,
        L::Int32 | L::UInt32 => 10,
        L::Int64 => 19,
        _ => 20,
    }
}
