//! Casts that are checked: by way there and back, by length, by fraction digits.

use arrow_array::{
    Array, ArrayRef, BooleanArray,
    cast::AsArray,
    types::{
        Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
        TimestampNanosecondType,
    },
};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, DataType, IntervalUnit, TimeUnit};
use transload_plugin_api::LogicalType;
use transload_values::{calendar::DAY_MICROS, is_longer};

use super::applied::{Applied, Misfit, cast, misfits};

/// Casts there and back; what does not come back as it was did not fit.
pub(super) fn round_trip(array: &ArrayRef, to: &DataType) -> Result<Applied, ArrowError> {
    let there = cast(array, to)?;
    let back = cast(&there, array.data_type())?;
    let misfits = differences(array, &back);
    Ok(Applied { array: there, misfits })
}

/// Rows that hold a value in `left` and not the same one in `right`.
fn differences(left: &ArrayRef, right: &ArrayRef) -> Vec<Misfit> {
    let equal = equal_values(left, right);
    misfits(left.len(), "range", |row| {
        left.is_valid(row) && !(right.is_valid(row) && equal.value(row))
    })
}

/// Equality of the raw values of two arrays of one fixed-width type. Floats compare as numbers,
/// except that NaN equals NaN: it does come back.
fn equal_values(left: &ArrayRef, right: &ArrayRef) -> BooleanArray {
    macro_rules! compare {
        ($kind:ty) => {{
            let (left, right) = (left.as_primitive::<$kind>(), right.as_primitive::<$kind>());
            left.values().iter().zip(right.values()).map(|(a, b)| Some(a == b)).collect()
        }};
    }
    macro_rules! compare_floats {
        ($kind:ty) => {{
            let (left, right) = (left.as_primitive::<$kind>(), right.as_primitive::<$kind>());
            let same = |(a, b): (&_, &_)| {
                Some(a == b || (f64::from(*a).is_nan() && f64::from(*b).is_nan()))
            };
            left.values().iter().zip(right.values()).map(same).collect()
        }};
    }
    use arrow_array::types as t;
    match left.data_type() {
        DataType::Int8 => compare!(t::Int8Type),
        DataType::Int16 => compare!(t::Int16Type),
        DataType::Int32 => compare!(t::Int32Type),
        DataType::Int64 => compare!(t::Int64Type),
        DataType::UInt8 => compare!(t::UInt8Type),
        DataType::UInt16 => compare!(t::UInt16Type),
        DataType::UInt32 => compare!(t::UInt32Type),
        DataType::UInt64 => compare!(t::UInt64Type),
        DataType::Float32 => compare_floats!(t::Float32Type),
        DataType::Float64 => compare_floats!(t::Float64Type),
        DataType::Decimal128(..) => compare!(t::Decimal128Type),
        DataType::Decimal256(..) => compare!(t::Decimal256Type),
        DataType::Timestamp(TimeUnit::Microsecond, _) => compare!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => compare!(TimestampNanosecondType),
        DataType::Time64(TimeUnit::Microsecond) => compare!(Time64MicrosecondType),
        DataType::Time64(TimeUnit::Nanosecond) => compare!(Time64NanosecondType),
        DataType::Duration(TimeUnit::Microsecond) => compare!(t::DurationMicrosecondType),
        DataType::Interval(IntervalUnit::MonthDayNano) => compare!(t::IntervalMonthDayNanoType),
        // No other type has a round trip in the table of pairs: call everything different.
        _ => BooleanArray::new(BooleanBuffer::new_unset(left.len()), None),
    }
}

/// Text of at most the target's length, in characters.
pub(super) fn length(array: &ArrayRef, target: &LogicalType) -> Applied {
    let LogicalType::Text { length: Some(limit) } = *target else {
        return Applied { array: array.clone(), misfits: Vec::new() };
    };
    let texts = array.as_string::<i32>();
    let misfits = misfits(array.len(), "length", |row| {
        texts.is_valid(row) && is_longer(texts.value(row).as_bytes(), limit)
    });
    Applied { array: array.clone(), misfits }
}

/// Microseconds since midnight as a duration and back, where they are less than a day and have at
/// most the target's fraction digits.
pub(super) fn clock(array: &ArrayRef, target: &LogicalType) -> Result<Applied, ArrowError> {
    let raw = cast(array, &DataType::Int64)?;
    let there = cast(&raw, &target.data_type())?;
    let LogicalType::Time { .. } = target else {
        return Ok(Applied { array: there, misfits: Vec::new() });
    };
    let raw = raw.as_primitive::<arrow_array::types::Int64Type>();
    let mut misfits = misfits(array.len(), "range", |row| {
        raw.is_valid(row) && !(0..DAY_MICROS).contains(&raw.value(row))
    });
    misfits.extend(fraction(&there, target)?.misfits);
    Ok(Applied { array: there, misfits })
}

/// A time whose fraction has at most the target's digits, both carried in the same unit.
pub(super) fn fraction(array: &ArrayRef, target: &LogicalType) -> Result<Applied, ArrowError> {
    let (LogicalType::Time { precision }
    | LogicalType::Timestamp { precision }
    | LogicalType::TimestampTz { precision }) = *target
    else {
        return Ok(Applied { array: array.clone(), misfits: Vec::new() });
    };
    let digits = match array.data_type() {
        DataType::Time64(TimeUnit::Nanosecond) | DataType::Timestamp(TimeUnit::Nanosecond, _) => 9,
        _ => 6,
    };
    let step = 10_i64.pow(digits - u32::from(precision).min(digits));
    let raw = cast(array, &DataType::Int64)?;
    let raw = raw.as_primitive::<arrow_array::types::Int64Type>();
    let misfits =
        misfits(array.len(), "range", |row| raw.is_valid(row) && raw.value(row) % step != 0);
    Ok(Applied { array: array.clone(), misfits })
}
