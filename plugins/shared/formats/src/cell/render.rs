//! Typed values to their texts, exact and re-readable by [`super::ColumnBuilder`]. Nothing is
//! allocated per value; quoting is left to the formats.

use std::io::Write;

use arrow_array::{
    Array, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray,
    StringArray, types::*,
};
use arrow_buffer::{NullBuffer, ScalarBuffer, i256};
use transload_plugin_api::{Column, Error, ErrorKind, LogicalType, Result, calendar::date_of};

use super::{BinaryText, bytes};

/// The texts of one column's values.
pub struct CellRenderer<'a> {
    values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
    binary: BinaryText,
}

/// The values of one array, by how they are written.
enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a ScalarBuffer<i8>),
    Int16(&'a ScalarBuffer<i16>),
    Int32(&'a ScalarBuffer<i32>),
    Int64(&'a ScalarBuffer<i64>),
    UInt8(&'a ScalarBuffer<u8>),
    UInt16(&'a ScalarBuffer<u16>),
    UInt32(&'a ScalarBuffer<u32>),
    UInt64(&'a ScalarBuffer<u64>),
    Float32(&'a ScalarBuffer<f32>),
    Float64(&'a ScalarBuffer<f64>),
    Decimal128(&'a ScalarBuffer<i128>, usize),
    Decimal256(&'a ScalarBuffer<i256>, usize),
    Date(&'a ScalarBuffer<i32>),
    Time(&'a ScalarBuffer<i64>, Ticks),
    Timestamp(&'a ScalarBuffer<i64>, Ticks),
    TimestampTz(&'a ScalarBuffer<i64>, Ticks),
    Duration(&'a ScalarBuffer<i64>),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
}

/// Ticks of a second and how many digits write one.
#[derive(Clone, Copy)]
struct Ticks {
    per_second: i64,
    digits: usize,
}

impl Ticks {
    fn of(precision: u8) -> Self {
        let digits = if precision <= 6 { 6 } else { 9 };
        Self { per_second: 10i64.pow(digits), digits: digits as usize }
    }
}

impl<'a> CellRenderer<'a> {
    /// A renderer for one column of a batch.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] if the array is not what carries the column's type,
    /// [`ErrorKind::Unsupported`] for types without a text form (list, interval).
    pub fn new(column: &Column, array: &'a dyn Array) -> Result<Self> {
        let mismatch = || {
            let expected = column.logical.data_type();
            let found = array.data_type();
            let name = &column.name;
            Error::new(
                ErrorKind::Schema,
                format!("column `{name}`: expected `{expected}`, found `{found}`"),
            )
        };
        if *array.data_type() != column.logical.data_type() {
            return Err(mismatch());
        }
        let values = values_of(column, array)?.ok_or_else(mismatch)?;
        Ok(Self { values, nulls: array.nulls(), binary: BinaryText::Hex })
    }

    /// Writes binary values in another way than [`BinaryText::Hex`].
    #[must_use]
    pub fn binary(self, binary: BinaryText) -> Self {
        Self { binary, ..self }
    }

    /// Whether the row's value is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the text of the row's value, which must not be NULL.
    #[inline]
    pub fn render(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Boolean(values) => {
                out.extend_from_slice(if values.value(row) { b"true" } else { b"false" });
            }
            Values::Int8(values) => integer(values[row], out),
            Values::Int16(values) => integer(values[row], out),
            Values::Int32(values) => integer(values[row], out),
            Values::Int64(values) => integer(values[row], out),
            Values::UInt8(values) => integer(values[row], out),
            Values::UInt16(values) => integer(values[row], out),
            Values::UInt32(values) => integer(values[row], out),
            Values::UInt64(values) => integer(values[row], out),
            Values::Float32(values) => {
                let value = values[row];
                if value.is_infinite() { infinite(value < 0.0, out) } else { float(value, out) }
            }
            Values::Float64(values) => {
                let value = values[row];
                if value.is_infinite() { infinite(value < 0.0, out) } else { float(value, out) }
            }
            Values::Decimal128(values, scale) => decimal(values[row], *scale, out),
            Values::Decimal256(values, scale) => wide_decimal(values[row], *scale, out),
            Values::Date(values) => date(i64::from(values[row]), out),
            Values::Time(values, ticks) => time(values[row], *ticks, out),
            Values::Timestamp(values, ticks) => timestamp(values[row], *ticks, b' ', out),
            Values::TimestampTz(values, ticks) => {
                timestamp(values[row], *ticks, b'T', out);
                out.push(b'Z');
            }
            Values::Duration(values) => duration(values[row], out),
            Values::Text(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Values::Binary(values) => match self.binary {
                BinaryText::Hex => bytes::to_hex(values.value(row), out),
                BinaryText::Base64 => bytes::to_base64(values.value(row), out),
            },
            Values::Uuid(values) => bytes::to_uuid(values.value(row), out),
        }
    }
}

fn numbers<A: ArrowPrimitiveType>(array: &dyn Array) -> Option<&ScalarBuffer<A::Native>> {
    array.as_any().downcast_ref::<PrimitiveArray<A>>().map(PrimitiveArray::values)
}

/// `None` if the array is of another kind than its type says.
fn values_of<'a>(column: &Column, array: &'a dyn Array) -> Result<Option<Values<'a>>> {
    use LogicalType as L;
    let any = array.as_any();
    Ok(match &column.logical {
        L::Boolean => any.downcast_ref().map(Values::Boolean),
        L::Int8 => numbers::<Int8Type>(array).map(Values::Int8),
        L::Int16 => numbers::<Int16Type>(array).map(Values::Int16),
        L::Int32 => numbers::<Int32Type>(array).map(Values::Int32),
        L::Int64 => numbers::<Int64Type>(array).map(Values::Int64),
        L::UInt8 => numbers::<UInt8Type>(array).map(Values::UInt8),
        L::UInt16 => numbers::<UInt16Type>(array).map(Values::UInt16),
        L::UInt32 => numbers::<UInt32Type>(array).map(Values::UInt32),
        L::UInt64 => numbers::<UInt64Type>(array).map(Values::UInt64),
        L::Float32 => numbers::<Float32Type>(array).map(Values::Float32),
        L::Float64 => numbers::<Float64Type>(array).map(Values::Float64),
        L::Decimal { precision, scale } if *precision <= 38 => numbers::<Decimal128Type>(array)
            .map(|v| Values::Decimal128(v, (*scale).max(0) as usize)),
        L::Decimal { scale, .. } => numbers::<Decimal256Type>(array)
            .map(|v| Values::Decimal256(v, (*scale).max(0) as usize)),
        L::Date => numbers::<Date32Type>(array).map(Values::Date),
        L::Time { precision } => {
            let values = match *precision {
                0..=6 => numbers::<Time64MicrosecondType>(array),
                _ => numbers::<Time64NanosecondType>(array),
            };
            values.map(|v| Values::Time(v, Ticks::of(*precision)))
        }
        L::Timestamp { precision } => {
            instants(array, *precision).map(|v| Values::Timestamp(v, Ticks::of(*precision)))
        }
        L::TimestampTz { precision } => {
            instants(array, *precision).map(|v| Values::TimestampTz(v, Ticks::of(*precision)))
        }
        L::Duration => numbers::<DurationMicrosecondType>(array).map(Values::Duration),
        L::Text { .. } | L::Numeric | L::Json => any.downcast_ref().map(Values::Text),
        L::Binary => any.downcast_ref().map(Values::Binary),
        L::Uuid => any.downcast_ref().map(Values::Uuid),
        other => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("column `{}`: type `{other}` has no text form", column.name),
            )
            .hint("write the column as `text` or `json`"));
        }
    })
}

fn instants(array: &dyn Array, precision: u8) -> Option<&ScalarBuffer<i64>> {
    match precision {
        0..=6 => numbers::<TimestampMicrosecondType>(array),
        _ => numbers::<TimestampNanosecondType>(array),
    }
}

#[inline]
fn integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The shortest text that reads back; `NaN` too. Writing to a vector cannot fail.
fn float(value: impl std::fmt::Debug, out: &mut Vec<u8>) {
    let _ = write!(out, "{value:?}");
}

fn infinite(negative: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if negative { b"-Infinity" } else { b"Infinity" });
}

#[inline]
fn decimal(value: i128, scale: usize, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    // most decimals fit 64 bits, where division is cheap
    let digits = match u64::try_from(value.unsigned_abs()) {
        Ok(value) => buffer.format(value),
        Err(_) => buffer.format(value.unsigned_abs()),
    };
    pointed(digits.as_bytes(), scale, out);
}

fn wide_decimal(value: i256, scale: usize, out: &mut Vec<u8>) {
    match value.to_i128() {
        Some(value) => decimal(value, scale, out),
        None => {
            let text = value.to_string();
            let digits = text.strip_prefix('-').unwrap_or(&text);
            if digits.len() < text.len() {
                out.push(b'-');
            }
            pointed(digits.as_bytes(), scale, out);
        }
    }
}

/// Digits with a point `scale` places from their end.
#[inline]
fn pointed(digits: &[u8], scale: usize, out: &mut Vec<u8>) {
    if scale == 0 {
        out.extend_from_slice(digits);
    } else if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + scale - digits.len(), b'0');
        out.extend_from_slice(digits);
    }
}

#[inline]
fn two(value: u32) -> [u8; 2] {
    [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

#[inline]
fn date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = date_of(days);
    // what text formats are full of; the other years have a sign
    if (0..=9999).contains(&year) {
        let year = year as u32;
        let ([a, b], [c, d], [e, f], [g, h]) = (two(year / 100), two(year), two(month), two(day));
        out.extend_from_slice(&[a, b, c, d, b'-', e, f, b'-', g, h]);
    } else {
        let _ = write!(out, "{year:+05}-{month:02}-{day:02}");
    }
}

/// A time of day: from 0 to less than one day of ticks, all that the type holds.
fn time(value: i64, ticks: Ticks, out: &mut Vec<u8>) {
    clock(value / ticks.per_second, out);
    fraction(value % ticks.per_second, ticks.digits, out);
}

#[inline]
fn clock(seconds: i64, out: &mut Vec<u8>) {
    let seconds = seconds as u32;
    let ([a, b], [c, d], [e, f]) = (two(seconds / 3600), two(seconds / 60 % 60), two(seconds % 60));
    out.extend_from_slice(&[a, b, b':', c, d, b':', e, f]);
}

/// `.ffffff` without zeros at its end; nothing for a whole second.
#[inline]
fn fraction(ticks: i64, digits: usize, out: &mut Vec<u8>) {
    if ticks == 0 {
        return;
    }
    let _ = write!(out, ".{ticks:0digits$}");
    let end = out.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
    out.truncate(end);
}

fn timestamp(value: i64, ticks: Ticks, between: u8, out: &mut Vec<u8>) {
    let seconds = value.div_euclid(ticks.per_second);
    date(seconds.div_euclid(86_400), out);
    out.push(between);
    clock(seconds.rem_euclid(86_400), out);
    fraction(value.rem_euclid(ticks.per_second), ticks.digits, out);
}

fn duration(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let value = value.unsigned_abs();
    let seconds = value / 1_000_000;
    let (hours, minutes, rest) =
        (seconds / 3600, (seconds / 60 % 60) as u32, (seconds % 60) as u32);
    if hours < 10 {
        out.push(b'0');
    }
    integer(hours, out);
    let ([a, b], [c, d]) = (two(minutes), two(rest));
    out.extend_from_slice(&[b':', a, b, b':', c, d]);
    fraction((value % 1_000_000) as i64, 6, out);
}
