//! The typed view of an array: which Arrow type carries which logical type is looked up once for a
//! column of a batch, not for every value. How a value is written for a server is left to each
//! plugin; its text in files and text columns is [`View::write`].

use arrow_array::{
    Array, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray,
    StringArray, cast::AsArray, types::*,
};
use arrow_buffer::{IntervalMonthDayNano, i256};
use transload_plugin_api::{Column, Error, LogicalType, NativeEncoding, Result};

use crate::{NativeText, Ticks, write};

/// The values of one array by their logical type. NULLs are the array's own: a row that is NULL
/// has a value here, which means nothing.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the variants are those of `LogicalType`")]
pub enum View<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    /// The values times `10^scale`, and the scale.
    Decimal128(&'a [i128], usize),
    /// The values times `10^scale`, and the scale.
    Decimal256(&'a [i256], usize),
    Numeric(&'a StringArray),
    Text(&'a StringArray),
    Json(&'a StringArray),
    Binary(&'a BinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
    /// Days since 1970-01-01.
    Date(&'a [i32]),
    /// Ticks since midnight.
    Time(&'a [i64], Ticks),
    /// Ticks since 1970-01-01 00:00:00 of the same wall clock.
    Timestamp(&'a [i64], Ticks),
    /// Ticks since 1970-01-01 00:00:00 UTC.
    TimestampTz(&'a [i64], Ticks),
    /// Microseconds.
    Duration(&'a [i64]),
    Interval(&'a [IntervalMonthDayNano]),
    /// Values in a store's own form that has a text.
    Native(&'a BinaryArray, NativeText),
    /// The items have a view of their own.
    List(&'a ListArray),
}

fn numbers<A: ArrowPrimitiveType>(array: &dyn Array) -> Option<&[A::Native]> {
    array.as_primitive_opt::<A>().map(|array| &array.values()[..])
}

impl<'a> View<'a> {
    /// The view of an array; `None` if the array does not carry the type.
    pub fn of(logical: &LogicalType, array: &'a dyn Array) -> Option<Self> {
        use LogicalType as L;
        if *array.data_type() != logical.data_type() {
            return None;
        }
        match logical {
            L::Boolean => array.as_boolean_opt().map(Self::Boolean),
            L::Int8 => numbers::<Int8Type>(array).map(Self::Int8),
            L::Int16 => numbers::<Int16Type>(array).map(Self::Int16),
            L::Int32 => numbers::<Int32Type>(array).map(Self::Int32),
            L::Int64 => numbers::<Int64Type>(array).map(Self::Int64),
            L::UInt8 => numbers::<UInt8Type>(array).map(Self::UInt8),
            L::UInt16 => numbers::<UInt16Type>(array).map(Self::UInt16),
            L::UInt32 => numbers::<UInt32Type>(array).map(Self::UInt32),
            L::UInt64 => numbers::<UInt64Type>(array).map(Self::UInt64),
            L::Float32 => numbers::<Float32Type>(array).map(Self::Float32),
            L::Float64 => numbers::<Float64Type>(array).map(Self::Float64),
            L::Decimal { precision, scale } => decimals(array, *precision, *scale),
            L::Numeric => array.as_string_opt().map(Self::Numeric),
            L::Text { .. } => array.as_string_opt().map(Self::Text),
            L::Json => array.as_string_opt().map(Self::Json),
            L::Binary => array.as_binary_opt().map(Self::Binary),
            L::Uuid => array.as_fixed_size_binary_opt().map(Self::Uuid),
            L::Date => numbers::<Date32Type>(array).map(Self::Date),
            L::Time { precision } => times(array, *precision),
            L::Timestamp { precision } => timestamps(array, *precision)
                .map(|values| Self::Timestamp(values, Ticks::new(*precision))),
            L::TimestampTz { precision } => timestamps(array, *precision)
                .map(|values| Self::TimestampTz(values, Ticks::new(*precision))),
            L::Duration => numbers::<DurationMicrosecondType>(array).map(Self::Duration),
            L::Interval => numbers::<IntervalMonthDayNanoType>(array).map(Self::Interval),
            L::List(_) => array.as_list_opt().map(Self::List),
            L::Native(form) => match form.encoding {
                NativeEncoding::Text => array.as_string_opt().map(Self::Text),
                NativeEncoding::Binary => {
                    let values = array.as_binary_opt()?;
                    Some(match NativeText::of(form) {
                        Some(text) => Self::Native(values, text),
                        None => Self::Binary(values),
                    })
                }
            },
            _ => None,
        }
    }

    /// The view of a column of a batch.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] if the array does not carry the type of the column.
    pub fn of_column(column: &Column, array: &'a dyn Array) -> Result<Self> {
        Self::of(&column.logical, array).ok_or_else(|| {
            let Column { name, logical, .. } = column;
            let (expected, found) = (logical.data_type(), array.data_type());
            let message = format!("column `{name}`: expected `{expected}`, found `{found}`");
            Error::schema(message)
        })
    }

    /// Appends the text of the value of a row, as the documentation of the crate has it; nothing
    /// for types without a text form (list, interval). Binary values are written as hexadecimal
    /// digits.
    #[inline]
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Boolean(values) => write::boolean(values.value(row), out),
            Self::Int8(values) => write::integer(values[row], out),
            Self::Int16(values) => write::integer(values[row], out),
            Self::Int32(values) => write::integer(values[row], out),
            Self::Int64(values) => write::integer(values[row], out),
            Self::UInt8(values) => write::integer(values[row], out),
            Self::UInt16(values) => write::integer(values[row], out),
            Self::UInt32(values) => write::integer(values[row], out),
            Self::UInt64(values) => write::integer(values[row], out),
            Self::Float32(values) => write::float(values[row], out),
            Self::Float64(values) => write::float(values[row], out),
            Self::Decimal128(values, scale) => write::decimal(values[row], *scale, out),
            Self::Decimal256(values, scale) => write::wide_decimal(values[row], *scale, out),
            Self::Numeric(values) | Self::Text(values) | Self::Json(values) => {
                out.extend_from_slice(values.value(row).as_bytes());
            }
            Self::Binary(values) => write::hex(values.value(row), out),
            Self::Native(values, text) => text.write(values.value(row), out),
            Self::Uuid(values) => write::uuid(values.value(row), out),
            Self::Date(values) => write::date(i64::from(values[row]), out),
            Self::Time(values, ticks) => write::time(values[row], *ticks, out),
            Self::Timestamp(values, ticks) => write::timestamp(values[row], *ticks, b' ', out),
            Self::TimestampTz(values, ticks) => {
                write::timestamp(values[row], *ticks, b'T', out);
                out.push(b'Z');
            }
            Self::Duration(values) => write::duration(values[row], Ticks::new(6), out),
            Self::Interval(_) | Self::List(_) => {}
        }
    }
}

fn decimals(array: &dyn Array, precision: u8, scale: i8) -> Option<View<'_>> {
    // the type knows no negative scales
    let scale = usize::from(scale.max(0).unsigned_abs());
    match precision {
        0..=38 => numbers::<Decimal128Type>(array).map(|values| View::Decimal128(values, scale)),
        _ => numbers::<Decimal256Type>(array).map(|values| View::Decimal256(values, scale)),
    }
}

fn times(array: &dyn Array, precision: u8) -> Option<View<'_>> {
    let values = match precision {
        0..=6 => numbers::<Time64MicrosecondType>(array),
        _ => numbers::<Time64NanosecondType>(array),
    };
    values.map(|values| View::Time(values, Ticks::new(precision)))
}

fn timestamps(array: &dyn Array, precision: u8) -> Option<&[i64]> {
    match precision {
        0..=6 => numbers::<TimestampMicrosecondType>(array),
        _ => numbers::<TimestampNanosecondType>(array),
    }
}
