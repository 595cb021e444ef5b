//! Text to typed values and back, for columns that are text on one side and typed on the other.
//! Parsing is strict: what is not exactly a value of the type makes the row dirty.

use std::{fmt::Write as _, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, FixedSizeBinaryArray, PrimitiveArray,
    StringArray,
    builder::{FixedSizeBinaryBuilder, StringBuilder},
    cast::AsArray,
    timezone::Tz,
    types as t,
};
use arrow_buffer::i256;
use arrow_cast::{
    CastOptions, cast_with_options,
    display::{ArrayFormatter, FormatOptions},
    parse::{Parser, string_to_datetime},
};
use arrow_schema::{ArrowError, DataType};
use transload_plugin_api::LogicalType;

use super::applied::{Applied, cast, flag_rows};

/// Types that text can be parsed into.
pub(super) fn parses(to: &LogicalType) -> bool {
    use LogicalType as L;
    !matches!(to, L::Text { .. } | L::Binary | L::Interval | L::List(_))
}

/// Types that print as text.
pub(super) fn prints(from: &LogicalType) -> bool {
    use LogicalType as L;
    !matches!(from, L::Text { .. } | L::Json | L::Numeric | L::Binary | L::Interval | L::List(_))
}

/// Parses a text column into the target's type.
pub(super) fn parse(array: &ArrayRef, target: &LogicalType) -> Result<Applied, ArrowError> {
    use LogicalType as L;
    let texts = array.as_string::<i32>();
    let parsed: ArrayRef = match target {
        L::Boolean => {
            Arc::new(texts.iter().map(|text| text.and_then(boolean)).collect::<BooleanArray>())
        }
        L::Int8 => primitive::<t::Int8Type>(texts, |text| text.parse().ok()),
        L::Int16 => primitive::<t::Int16Type>(texts, |text| text.parse().ok()),
        L::Int32 => primitive::<t::Int32Type>(texts, |text| text.parse().ok()),
        L::Int64 => primitive::<t::Int64Type>(texts, |text| text.parse().ok()),
        L::UInt8 => primitive::<t::UInt8Type>(texts, |text| text.parse().ok()),
        L::UInt16 => primitive::<t::UInt16Type>(texts, |text| text.parse().ok()),
        L::UInt32 => primitive::<t::UInt32Type>(texts, |text| text.parse().ok()),
        L::UInt64 => primitive::<t::UInt64Type>(texts, |text| text.parse().ok()),
        L::Float32 => primitive::<t::Float32Type>(texts, |text| {
            float(text).filter(|_| significant_digits(text) <= 9).map(|value| value as f32)
        }),
        L::Float64 => primitive::<t::Float64Type>(texts, float),
        L::Decimal { precision, scale } => decimals(texts, *precision, *scale)?,
        L::Date => primitive::<t::Date32Type>(texts, date),
        L::Time { precision } => return times(array, texts, *precision, target),
        L::Timestamp { precision } => timestamps(texts, *precision, false)?,
        L::TimestampTz { precision } => timestamps(texts, *precision, true)?,
        L::Duration => primitive::<t::DurationMicrosecondType>(texts, duration),
        L::Uuid => uuids(texts)?,
        L::Json | L::Numeric => return Ok(validate(array, texts, target)),
        L::Text { .. } | L::Binary | L::Interval | L::List(_) => {
            arrow_array::new_null_array(&target.data_type(), array.len())
        }
        _ => arrow_array::new_null_array(&target.data_type(), array.len()),
    };
    Ok(unparsed_are_bad(array, parsed))
}

fn unparsed_are_bad(source: &ArrayRef, array: ArrayRef) -> Applied {
    let bad = if source.null_count() == array.null_count() {
        None
    } else {
        flag_rows(source.len(), |row| source.is_valid(row) && array.is_null(row))
    };
    Applied { array, bad, code: "parse" }
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringArray,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> ArrayRef {
    Arc::new(values::<T>(texts, parse))
}

fn values<T: ArrowPrimitiveType>(
    texts: &StringArray,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    texts.iter().map(|text| text.and_then(&parse)).collect()
}

/// JSON and number text stay the bytes they are; only what is not one is bad.
fn validate(array: &ArrayRef, texts: &StringArray, target: &LogicalType) -> Applied {
    let valid = |text: &str| match target {
        LogicalType::Json => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        _ => is_number(text),
    };
    let bad = flag_rows(texts.len(), |row| texts.is_valid(row) && !valid(texts.value(row)));
    Applied { array: array.clone(), bad, code: "parse" }
}

fn boolean(text: &str) -> Option<bool> {
    const TRUE: [&str; 6] = ["true", "t", "yes", "y", "on", "1"];
    const FALSE: [&str; 6] = ["false", "f", "no", "n", "off", "0"];
    let is = |word: &&str| word.eq_ignore_ascii_case(text);
    TRUE.iter().any(is).then_some(true).or_else(|| FALSE.iter().any(is).then_some(false))
}

/// A number's text: digits with at most one point and an exponent, or one of the three words.
fn is_number(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
        || (text.parse::<f64>().is_ok() && text.bytes().any(|b| b.is_ascii_digit()))
}

/// The nearest double, if the text has no more digits than a double can tell apart.
fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let word = !text.bytes().any(|b| b.is_ascii_digit());
    let overflow = value.is_infinite() && !word;
    (!overflow && significant_digits(text) <= 17).then_some(value)
}

fn significant_digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let first = digits.iter().position(|d| *d != b'0').unwrap_or(digits.len());
    let last = digits.iter().rposition(|d| *d != b'0').map_or(first, |last| last + 1);
    last - first
}

fn decimals(texts: &StringArray, precision: u8, scale: i8) -> Result<ArrayRef, ArrowError> {
    let parse = |text| decimal(text, precision, scale);
    if precision <= 38 {
        let values = texts.iter().map(|text| text.and_then(parse).and_then(|v| v.to_i128()));
        let array: PrimitiveArray<t::Decimal128Type> = values.collect();
        return Ok(Arc::new(array.with_precision_and_scale(precision, scale)?));
    }
    let array: PrimitiveArray<t::Decimal256Type> =
        texts.iter().map(|text| text.and_then(parse)).collect();
    Ok(Arc::new(array.with_precision_and_scale(precision, scale)?))
}

/// Digits with at most one point. More fraction than the scale must be zeros.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i256> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let scale = usize::try_from(scale).ok()?;
    let (kept, rest) = fraction.split_at(scale.min(fraction.len()));
    let whole = whole.trim_start_matches('0');
    if rest.bytes().any(|b| b != b'0') || whole.len() + scale > usize::from(precision) {
        return None;
    }
    let unscaled = format!("{whole}{kept:0<scale$}");
    let value = i256::from_string(if unscaled.is_empty() { "0" } else { &unscaled })?;
    Some(if negative { value.wrapping_neg() } else { value })
}

fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10
        && bytes.iter().enumerate().all(|(i, b)| match i {
            4 | 7 => *b == b'-',
            _ => b.is_ascii_digit(),
        });
    if shaped { t::Date32Type::parse(text) } else { None }
}

/// Whether a time's fraction, if it has one, has at most `precision` digits that are not zeros.
fn fraction_fits(text: &str, precision: u8) -> bool {
    let Some((_, rest)) = text.split_once('.') else { return true };
    let digits = rest.bytes().take_while(u8::is_ascii_digit);
    digits.skip(usize::from(precision)).all(|digit| digit == b'0')
}

fn times(
    array: &ArrayRef,
    texts: &StringArray,
    precision: u8,
    target: &LogicalType,
) -> Result<Applied, ArrowError> {
    let parse = |text: &str| {
        let shaped =
            text.len() >= 8 && text.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.');
        let nanos = shaped.then(|| t::Time64NanosecondType::parse(text)).flatten()?;
        fraction_fits(text, precision).then_some(nanos)
    };
    let nanos = primitive::<t::Time64NanosecondType>(texts, parse);
    Ok(unparsed_are_bad(array, cast(&nanos, &target.data_type())?))
}

fn timestamps(texts: &StringArray, precision: u8, zoned: bool) -> Result<ArrayRef, ArrowError> {
    let utc: Tz = "+00:00".parse()?;
    let instant = |text: &str| {
        let named_zone =
            text.len() > 10 && (text.ends_with(['Z', 'z']) || text[10..].contains(['+', '-']));
        if named_zone != zoned || !fraction_fits(text, precision) || !text.is_ascii() {
            return None;
        }
        string_to_datetime(&utc, text).ok()
    };
    // Only the label: a cast from a zone-less type would look for a zone database.
    let zone = zoned.then_some("UTC");
    if precision > 6 {
        let parse = |text: &str| instant(text)?.timestamp_nanos_opt();
        return Ok(Arc::new(
            values::<t::TimestampNanosecondType>(texts, parse).with_timezone_opt(zone),
        ));
    }
    let parse = |text: &str| Some(instant(text)?.timestamp_micros());
    Ok(Arc::new(values::<t::TimestampMicrosecondType>(texts, parse).with_timezone_opt(zone)))
}

/// `[-]H:MM:SS[.ffffff]` in microseconds; hours are not limited to a day.
fn duration(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().filter(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let sixty = |text: &str| text.parse::<i64>().ok().filter(|n| *n < 60);
    if !fraction_fits(text, 6) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{:0<6}", &fraction[..fraction.len().min(6)]).parse().ok()?;
    let seconds =
        hours.parse::<i64>().ok()?.checked_mul(3600)? + sixty(minutes)? * 60 + sixty(whole)?;
    Some(sign * (seconds.checked_mul(1_000_000)? + micros))
}

fn uuids(texts: &StringArray) -> Result<ArrayRef, ArrowError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
    for text in texts {
        match text.and_then(uuid) {
            Some(bytes) => builder.append_value(bytes)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// The canonical form of RFC 9562: 8-4-4-4-12 hexadecimal digits.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let dashes = |(i, b): (usize, u8)| matches!(i, 8 | 13 | 18 | 23) == (b == b'-');
    if text.len() != 36 || !text.bytes().enumerate().all(dashes) {
        return None;
    }
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

/// Prints a typed column as text that [`parse`] reads back.
pub(super) fn print(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::FixedSizeBinary(16) => Ok(print_uuids(array.as_fixed_size_binary())),
        DataType::Duration(_) => Ok(print_durations(array.as_primitive())),
        _ => {
            let zoned = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
            let array = &without_zone(array)?;
            let form = if zoned { "%Y-%m-%dT%H:%M:%S%.fZ" } else { "%Y-%m-%d %H:%M:%S%.f" };
            let format_options = FormatOptions::default().with_timestamp_format(Some(form));
            cast_with_options(array, &DataType::Utf8, &CastOptions { safe: false, format_options })
        }
    }
}

/// An instant as UTC's wall clock: Arrow prints named zones only with a zone database.
pub(super) fn without_zone(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, Some(_)) = array.data_type() else { return Ok(array.clone()) };
    cast(&cast(array, &DataType::Int64)?, &DataType::Timestamp(*unit, None))
}

/// A value in words, for messages.
pub(super) fn show(array: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default();
    without_zone(&array.slice(row, 1))
        .and_then(|value| ArrayFormatter::try_new(&value, &options)?.value(0).try_to_string())
        .unwrap_or_else(|_| "value that cannot be shown".to_owned())
}

fn print_uuids(uuids: &FixedSizeBinaryArray) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(uuids.len(), uuids.len() * 36);
    for uuid in uuids {
        let Some(uuid) = uuid else {
            builder.append_null();
            continue;
        };
        for (index, byte) in uuid.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            // Writing into a builder cannot fail.
            let _ = write!(builder, "{dash}{byte:02x}");
        }
        builder.append_value("");
    }
    Arc::new(builder.finish())
}

fn print_durations(durations: &PrimitiveArray<t::DurationMicrosecondType>) -> ArrayRef {
    let text = |micros: i64| {
        let (sign, all) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
        let (seconds, fraction) = (all / 1_000_000, all % 1_000_000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        let mut text = format!("{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60);
        if fraction != 0 {
            let _ = write!(text, ".{fraction:06}");
        }
        text
    };
    Arc::new(durations.iter().map(|micros| micros.map(text)).collect::<StringArray>())
}
