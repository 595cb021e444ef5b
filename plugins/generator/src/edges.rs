//! Edge values of each type: values that plugins tend to lose, truncate, shift or confuse.

use arrow_buffer::{IntervalMonthDayNano, i256};
use transload_plugin_api::LogicalType;
use transload_values::calendar::{day_of, first_day_of};

use crate::spec;

/// The first and the last date that databases agree on, and days around special dates.
const DAYS: [i64; 6] =
    [first_day_of(1), first_day_of(10_000) - 1, 0, -1, day(2000, 2, 29), day(1582, 10, 10)];

const fn day(year: i64, month: u32, date: u32) -> i64 {
    match day_of(year, month, date) {
        Some(day) => day,
        None => panic!("a date of the calendar"),
    }
}

/// Edge values of the types stored as 64-bit integers that count days, times or durations.
pub(crate) fn moments(logical: &LogicalType) -> Vec<i64> {
    let (day, step) = (spec::day(logical), spec::step(logical));
    let last = day - step;
    match logical {
        LogicalType::Date => DAYS.to_vec(),
        LogicalType::Time { .. } => vec![0, last, day / 2],
        LogicalType::Duration => {
            let hours = 838 * (day / 24) + 59 * (day / 1_440) + 59 * (day / 86_400) + 999_999;
            vec![0, -hours, hours, -1, 1]
        }
        _ => DAYS
            .iter()
            .filter_map(|date| date.checked_mul(day)) // the years 1 and 9999 are out of range for nanoseconds
            .flat_map(|midnight| [midnight, midnight.saturating_add(last)])
            .collect(),
    }
}

/// The largest and smallest decimals of a precision, and those around zero.
pub(crate) fn decimals(precision: u8) -> Vec<i256> {
    let ten = i256::from_i128(10);
    let high = ten.wrapping_pow(precision.into()).wrapping_sub(i256::ONE);
    vec![high, high.wrapping_neg(), i256::ZERO, i256::ONE, i256::MINUS_ONE]
}

/// Finite numbers first; the last three are not finite.
pub(crate) const FLOATS: [f64; 12] = [
    0.0,
    -0.0,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    0.1 + 0.2,
    -1.0,
    9_007_199_254_740_993.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

/// The same for single precision.
pub(crate) const FLOATS_32: [f32; 12] = [
    0.0,
    -0.0,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-45,
    0.1,
    -1.0,
    16_777_217.0,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
];

/// How many of the last floats and numerics are not finite.
pub(crate) const NOT_FINITE: usize = 3;

/// Numbers that fit neither a float nor 38 digits; the last three are not finite.
pub(crate) const NUMERICS: [&str; 10] = [
    "0",
    "-0.00",
    "1.10",
    "12345678901234567890123456789012345678901234567890123456789012345",
    "-99999999999999999999999999999999999.999999999999999999999999999999",
    "0.000000000000000000000000000000000000000000001",
    "9007199254740993",
    "NaN",
    "Infinity",
    "-Infinity",
];

/// Texts that break quoting, splitting, trimming and encoding.
pub(crate) const TEXTS: [&str; 16] = [
    "",
    " ",
    " both ends ",
    "\"",
    "a \"quoted\" word",
    "it's",
    "a,b;c\td",
    "two\nlines",
    "two\r\nlines",
    "back\\slash \\N",
    "a\0b",
    "NULL",
    "😀 emoji",
    "e\u{301} é 中文",
    "\u{feff}mark",
    "1e5",
];

/// Bytes, most of them not valid as text.
pub(crate) const BINARIES: [&[u8]; 5] = [b"", b"\0", b"\xff\xfe\x80", b"\"\n,\\", b"text"];

/// JSON that a parser would change.
pub(crate) const JSONS: [&str; 10] = [
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "12345678901234567890",
    "1.10",
    "{\"b\": 1, \"a\" : 2}",
    "{\"a\":1,\"a\":2}",
    "\"\\u0001 \\\" 😀\"",
];

/// Intervals whose parts do not carry into each other.
pub(crate) const INTERVALS: [IntervalMonthDayNano; 4] = [
    IntervalMonthDayNano::ZERO,
    IntervalMonthDayNano::new(-13, 45, -1_000),
    IntervalMonthDayNano::new(14, -32, 86_400_000_000_000),
    IntervalMonthDayNano::new(i32::MAX, i32::MIN, i64::MAX),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_obey_their_precision() {
        for name in ["time(0)", "timestamp(3)", "timestamptz(9)", "timestamp", "date", "duration"] {
            let logical: LogicalType = name.parse().unwrap();
            let moments = moments(&logical);
            assert!(moments.len() > 2, "{name}");
            assert!(moments.iter().all(|moment| moment % spec::step(&logical) == 0), "{name}");
        }
    }

    #[test]
    fn the_last_floats_are_the_ones_that_are_not_finite() {
        let finite = FLOATS.len() - NOT_FINITE;
        assert!(FLOATS[..finite].iter().all(|float| float.is_finite()));
        assert!(FLOATS[finite..].iter().all(|float| !float.is_finite()));
        assert!(FLOATS_32[finite..].iter().all(|float| !float.is_finite()));
    }
}
