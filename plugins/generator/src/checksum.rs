//! A 64-bit fingerprint of each cell, equal for equal values of different types: `5` has the same
//! fingerprint in `int8` and `uint64`, an instant the same in micro- and nanoseconds. Sums of
//! fingerprints compare columns regardless of the order of rows. Not cryptographically secure.

use arrow_array::{
    Array, ArrowPrimitiveType,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
        Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::i256;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use transload_plugin_api::{Error, Result};

use crate::random::mix;

/// The fingerprint of NULL, and of nothing else.
pub(crate) const NULL: u64 = 0;

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The fingerprints of an array's cells, in order.
pub(crate) fn fingerprints(array: &dyn Array) -> Result<Vec<u64>> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            cells(array, |row| number(array.value(row).into()))
        }
        DataType::Int8 => numbers::<Int8Type>(array, |n| number(n.into())),
        DataType::Int16 => numbers::<Int16Type>(array, |n| number(n.into())),
        DataType::Int32 => numbers::<Int32Type>(array, |n| number(n.into())),
        DataType::Int64 => numbers::<Int64Type>(array, |n| number(n.into())),
        DataType::UInt8 => numbers::<UInt8Type>(array, |n| number(n.into())),
        DataType::UInt16 => numbers::<UInt16Type>(array, |n| number(n.into())),
        DataType::UInt32 => numbers::<UInt32Type>(array, |n| number(n.into())),
        DataType::UInt64 => numbers::<UInt64Type>(array, |n| number(n.into())),
        DataType::Float32 => numbers::<Float32Type>(array, |n| float(n.into())),
        DataType::Float64 => numbers::<Float64Type>(array, float),
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            numbers::<Decimal128Type>(array, move |n| mix(number(n) ^ scale as u64))
        }
        DataType::Decimal256(_, scale) => {
            let scale = *scale;
            numbers::<Decimal256Type>(array, move |n| mix(wide(n) ^ scale as u64))
        }
        DataType::Date32 => numbers::<Date32Type>(array, |n| number(n.into())),
        DataType::Time64(_) | DataType::Timestamp(..) | DataType::Duration(_) => moments(array)?,
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            numbers::<IntervalMonthDayNanoType>(array, |span| {
                let parts = [span.months.into(), span.days.into(), span.nanoseconds.into()];
                parts.into_iter().fold(ODD, |state, part| mix(state ^ number(part)))
            })
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            cells(array, |row| bytes(array.value(row).as_bytes()))
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            cells(array, |row| bytes(array.value(row).as_bytes()))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            cells(array, |row| bytes(array.value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            cells(array, |row| bytes(array.value(row)))
        }
        DataType::List(_) => lists(array)?,
        other => return Err(unsupported(other)),
    })
}

fn unsupported(data_type: &DataType) -> Error {
    Error::unsupported(format!("cells of type `{data_type}` have no fingerprint"))
}

fn cells(array: &dyn Array, cell: impl Fn(usize) -> u64) -> Vec<u64> {
    // A fingerprint that would be 0 becomes 1, because 0 is reserved for NULL.
    match array.nulls() {
        None => (0..array.len()).map(|row| cell(row).max(1)).collect(),
        Some(nulls) => (0..array.len())
            .map(|row| if nulls.is_null(row) { NULL } else { cell(row).max(1) })
            .collect(),
    }
}

fn numbers<P: ArrowPrimitiveType>(array: &dyn Array, cell: impl Fn(P::Native) -> u64) -> Vec<u64> {
    let array = array.as_primitive::<P>();
    cells(array, |row| cell(array.value(row)))
}

/// Times, timestamps and durations as nanoseconds.
fn moments(array: &dyn Array) -> Result<Vec<u64>> {
    let micro = |micros: i64| number(i128::from(micros) * 1_000);
    let nano = |nanos: i64| number(nanos.into());
    Ok(match array.data_type() {
        DataType::Time64(TimeUnit::Microsecond) => numbers::<Time64MicrosecondType>(array, micro),
        DataType::Time64(TimeUnit::Nanosecond) => numbers::<Time64NanosecondType>(array, nano),
        DataType::Duration(TimeUnit::Microsecond) => {
            numbers::<DurationMicrosecondType>(array, micro)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(array, micro)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            numbers::<TimestampNanosecondType>(array, nano)
        }
        other => return Err(unsupported(other)),
    })
}

fn lists(array: &dyn Array) -> Result<Vec<u64>> {
    let array = array.as_list::<i32>();
    let items = fingerprints(array.values())?;
    let offsets = array.value_offsets();
    Ok(cells(array, |row| {
        let items = &items[offsets[row] as usize..offsets[row + 1] as usize];
        items.iter().fold(mix(ODD ^ items.len() as u64), |state, item| mix(state ^ item))
    }))
}

#[inline]
fn number(number: i128) -> u64 {
    let (low, high) = (number as u64, (number >> 64) as u64);
    mix(low.wrapping_add(ODD) ^ high.wrapping_mul(ODD))
}

fn wide(number_: i256) -> u64 {
    match number_.to_i128() {
        Some(short) => number(short),
        None => {
            let (low, high) = number_.to_parts();
            mix(number(low as i128) ^ number(high))
        }
    }
}

#[inline]
fn float(float: f64) -> u64 {
    let float = if float.is_nan() { f64::NAN } else { float };
    mix(float.to_bits().wrapping_add(ODD))
}

#[inline]
fn bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = ODD ^ bytes.len() as u64;
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(ODD);
        state ^= state >> 32;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state ^ u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, Decimal128Array, Decimal256Array, Float64Array, Int8Array, Int64Array,
        StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
    };

    use super::*;

    fn of(array: impl Array + 'static) -> Vec<u64> {
        let array: ArrayRef = Arc::new(array);
        fingerprints(&array).unwrap()
    }

    #[test]
    fn equal_values_agree_across_the_types_that_carry_them() {
        assert_eq!(of(Int8Array::from(vec![-1, 5])), of(Int64Array::from(vec![-1, 5])));
        assert_eq!(of(Int64Array::from(vec![5])), of(UInt64Array::from(vec![5])));
        assert_eq!(
            of(Decimal128Array::from(vec![-150]).with_precision_and_scale(9, 2).unwrap()),
            of(Decimal256Array::from(vec![i256::from_i128(-150)])
                .with_precision_and_scale(40, 2)
                .unwrap())
        );
        assert_eq!(
            of(TimestampMicrosecondArray::from(vec![-7])),
            of(TimestampNanosecondArray::from(vec![-7_000]))
        );
    }

    #[test]
    fn different_values_differ() {
        let texts = ["", "\0", "\0\0", "a", "a\0", "12345678", "12345678\0", "123456789"];
        let mut texts = of(StringArray::from_iter_values(texts));
        let mut numbers = of(UInt64Array::from(vec![0, 1, u64::MAX]));
        numbers.extend(of(Int64Array::from(vec![-1, i64::MIN])));
        let mut floats = of(Float64Array::from(vec![0.0, -0.0, 1.0, f64::NAN, f64::INFINITY]));
        for cells in [&mut texts, &mut numbers, &mut floats] {
            let count = cells.len();
            cells.sort_unstable();
            cells.dedup();
            assert_eq!(cells.len(), count);
            assert!(!cells.contains(&NULL));
        }
    }

    #[test]
    fn t09_null_is_not_the_empty_text() {
        let cells = of(StringArray::from(vec![None, Some("")]));
        assert!(cells[0] == NULL && cells[1] != NULL);
    }
}
