//! Converts stored values to their logical type: exactly, or with an error.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array,
    DurationMicrosecondArray, FixedSizeBinaryArray, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
    cast::AsArray,
    new_null_array,
    types::{
        ArrowPrimitiveType, Date32Type, Decimal128Type, Float16Type, Float32Type, Int8Type,
        Int16Type, Int32Type, Int64Type, IntervalMonthDayNano, Time64MicrosecondType,
        Time64NanosecondType, UInt8Type, UInt16Type,
    },
};
use arrow_buffer::{ArrowNativeType, NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::nullif::nullif;
use transload_plugin_api::LogicalType;

use super::column_type::{ColumnType, LeafType, Storage};

/// `Err` describes an invalid value.
type Converted<T = ArrayRef> = Result<T, String>;

/// The reason of a text that is none.
pub(in crate::parquet) const NOT_UTF8: &str = "the text is not valid UTF-8";

const DAY_SECONDS: i64 = 86_400;
/// The Julian day of 1970-01-01.
const JULIAN_EPOCH: i64 = 2_440_588;

/// The array in the shape's logical type.
pub(in crate::parquet) fn to_logical(array: ArrayRef, column_type: &ColumnType) -> Converted {
    match column_type {
        ColumnType::Leaf(leaf) => leaf_to_logical(array, leaf),
        ColumnType::List(item) => {
            let Items { offsets, items, nulls } = Items::of(&array)?;
            let values = to_logical(items, item)?;
            let DataType::List(field) = column_type.field("", true).data_type().clone() else {
                return Err("a list does not have type list".into());
            };
            let list = ListArray::try_new(field, offsets, values, nulls);
            list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| error.to_string())
        }
        ColumnType::Struct(fields) => {
            let stored = array.as_struct_opt().ok_or("a struct was read as another type")?;
            let converted = stored.columns().iter().zip(fields);
            let converted = converted.map(|(array, (_, of))| to_logical(array.clone(), of));
            structs(column_type, converted.collect::<Converted<_>>()?, &array)
        }
        ColumnType::Map(entry) => map_to_logical(&array, column_type, entry),
    }
}

fn structs(column_type: &ColumnType, columns: Vec<ArrayRef>, stored: &ArrayRef) -> Converted {
    let DataType::Struct(fields) = column_type.field("", true).data_type().clone() else {
        return Err("a struct does not have type struct".into());
    };
    let nulls = stored.nulls().cloned();
    let structs = StructArray::try_new_with_length(fields, columns, nulls, stored.len());
    structs.map(|structs| Arc::new(structs) as ArrayRef).map_err(|error| error.to_string())
}

fn map_to_logical(
    array: &ArrayRef,
    column_type: &ColumnType,
    (key, value): &(ColumnType, ColumnType),
) -> Converted {
    let Items { offsets, items, nulls } = Items::of(array)?;
    let stored = items.as_struct_opt().ok_or("a map was read as another type")?;
    let [keys, values] = stored.columns() else {
        return Err("a map was read as another type".into());
    };
    let columns = vec![to_logical(keys.clone(), key)?, to_logical(values.clone(), value)?];
    if columns[0].null_count() > 0 {
        return Err("a map has a NULL as key".into());
    }
    let DataType::Map(field, sorted) = column_type.field("", true).data_type().clone() else {
        return Err("a map does not have type map".into());
    };
    let DataType::Struct(fields) = field.data_type().clone() else {
        return Err("a map does not have type map".into());
    };
    let entries = StructArray::try_new(fields, columns, None);
    let map = entries.and_then(|entries| MapArray::try_new(field, offsets, entries, nulls, sorted));
    map.map(|map| Arc::new(map) as ArrayRef).map_err(|error| error.to_string())
}

/// The items of a list or a map, and where those of each row end.
struct Items {
    offsets: OffsetBuffer<i32>,
    items: ArrayRef,
    nulls: Option<NullBuffer>,
}

impl Items {
    fn of(array: &ArrayRef) -> Converted<Self> {
        let list = array.as_list_opt::<i32>().ok_or("a list was read as another type")?;
        let (start, end) = (list.offsets()[0], list.offsets()[list.len()]);
        // a slice of a list array still has the items of all of it
        let items = list.values().slice(start as usize, (end - start) as usize);
        let offsets = match start {
            0 => list.offsets().clone(),
            _ => OffsetBuffer::new(list.offsets().iter().map(|at| at - start).collect()),
        };
        Ok(Self { offsets, items, nulls: list.nulls().cloned() })
    }
}

/// The field that is found `depth` structs within a column: NULL where one of them is NULL.
pub(in crate::parquet) fn field_within(mut array: ArrayRef, depth: usize) -> Converted {
    for _ in 0..depth {
        let around = array.as_struct_opt().ok_or("a struct was read as another type")?;
        let field = around.columns().first().ok_or("a struct without fields")?;
        array = match around.nulls() {
            // arrow-rs marks what is missing in the field, too
            Some(nulls) if field.null_count() < nulls.null_count() => {
                let missing = BooleanArray::new(!nulls.inner(), None);
                nullif(field, &missing).map_err(|error| error.to_string())?
            }
            _ => field.clone(),
        };
    }
    Ok(array)
}

/// The type of stored numbers, whatever they stand for; `None` for what is no number of 64 bits.
pub(in crate::parquet) fn stored_type(array: &ArrayRef) -> Option<LogicalType> {
    match array.data_type() {
        DataType::Int32 => Some(LogicalType::Int32),
        DataType::Int64 => Some(LogicalType::Int64),
        _ => None,
    }
}

/// The number that is stored, as text.
pub(in crate::parquet) fn stored_number(array: &ArrayRef, row: usize) -> Option<String> {
    let ints = array.as_primitive_opt::<Int32Type>().map(|ints| ints.value(row).to_string());
    ints.or_else(|| Some(array.as_primitive_opt::<Int64Type>()?.value(row).to_string()))
}

fn leaf_to_logical(array: ArrayRef, leaf: &LeafType) -> Converted {
    match leaf.storage {
        Storage::Boolean | Storage::Float | Storage::Double => Ok(array),
        Storage::Text => texts(array.as_binary()),
        Storage::Int32 => from_int32(array, leaf),
        Storage::Int64 => from_int64(array, leaf),
        Storage::Half => {
            let halves = array.as_primitive::<Float16Type>();
            Ok(Arc::new(halves.unary::<_, Float32Type>(|half| half.to_f32())))
        }
        Storage::Bytes => match leaf.logical {
            LogicalType::Decimal { precision, scale } => {
                let bytes = array.as_binary::<i32>();
                decimals(bytes.iter(), precision, scale)
            }
            _ => Ok(array),
        },
        Storage::Int96 => from_int96(array.as_fixed_size_binary(), leaf),
        Storage::Fixed(_) => from_fixed(array, leaf),
        Storage::Nothing if array.null_count() == array.len() => {
            Ok(new_null_array(&DataType::Utf8, array.len()))
        }
        Storage::Nothing => Err("there are values in a column of only NULLs".into()),
    }
}

/// Bytes as texts; they are not copied.
fn texts(bytes: &BinaryArray) -> Converted {
    // A slice has the bytes of all rows, of which others may be at fault.
    let (start, end) = (bytes.offsets()[0], bytes.offsets()[bytes.len()]);
    let values = bytes.values().slice_with_length(start as usize, (end - start) as usize);
    let offsets = match start {
        0 => bytes.offsets().clone(),
        _ => OffsetBuffer::new(bytes.offsets().iter().map(|at| at - start).collect()),
    };
    let texts = StringArray::try_new(offsets, values, bytes.nulls().cloned());
    texts.map(|texts| Arc::new(texts) as ArrayRef).map_err(|_| NOT_UTF8.to_owned())
}

fn from_int32(array: ArrayRef, leaf: &LeafType) -> Converted {
    let ints: &Int32Array = array.as_primitive();
    Ok(match leaf.logical {
        LogicalType::Int8 => Arc::new(narrow::<Int8Type>(ints)?),
        LogicalType::Int16 => Arc::new(narrow::<Int16Type>(ints)?),
        LogicalType::UInt8 => Arc::new(narrow::<UInt8Type>(ints)?),
        LogicalType::UInt16 => Arc::new(narrow::<UInt16Type>(ints)?),
        // the bits of an unsigned integer, as the format defines
        LogicalType::UInt32 => {
            Arc::new(UInt32Array::new(same_bits(ints.values()), ints.nulls().cloned()))
        }
        LogicalType::Date => Arc::new(ints.reinterpret_cast::<Date32Type>()),
        LogicalType::Time { .. } => {
            let wide = ints.unary::<_, Int64Type>(i64::from);
            return times(&wide, leaf);
        }
        LogicalType::Decimal { precision, scale } => {
            let limit = 10i64.pow(u32::from(precision.min(18)));
            check(
                ints.values(),
                |v| i64::from(v) < limit && i64::from(v) > -limit,
                || format!("a decimal has more than {precision} digits"),
            )?;
            decimal128(ints.unary::<_, Decimal128Type>(i128::from), precision, scale)?
        }
        _ => array,
    })
}

fn from_int64(array: ArrayRef, leaf: &LeafType) -> Converted {
    let ints: &Int64Array = array.as_primitive();
    Ok(match leaf.logical {
        LogicalType::UInt64 => {
            Arc::new(UInt64Array::new(same_bits(ints.values()), ints.nulls().cloned()))
        }
        LogicalType::Decimal { precision, scale } => {
            let limit = 10i64.pow(u32::from(precision.min(18)));
            check(
                ints.values(),
                |v| v < limit && v > -limit,
                || format!("a decimal has more than {precision} digits"),
            )?;
            decimal128(ints.unary::<_, Decimal128Type>(i128::from), precision, scale)?
        }
        LogicalType::Time { .. } => return times(ints, leaf),
        LogicalType::Timestamp { precision } | LogicalType::TimestampTz { precision } => {
            let scaled = rescale(ints, leaf.per_second, ticks(precision))?;
            return Ok(timestamps(scaled, &leaf.logical));
        }
        LogicalType::Duration => {
            let scaled = rescale(ints, leaf.per_second, ticks(6))?;
            Arc::new(DurationMicrosecondArray::new(
                scaled.values().clone(),
                scaled.nulls().cloned(),
            ))
        }
        _ => array,
    })
}

fn from_fixed(array: ArrayRef, leaf: &LeafType) -> Converted {
    let fixed = array.as_fixed_size_binary();
    match leaf.logical {
        LogicalType::Decimal { precision, scale } => decimals(fixed.iter(), precision, scale),
        LogicalType::Interval => intervals(fixed),
        LogicalType::Uuid => Ok(array),
        _ => {
            let lengths = std::iter::repeat_n(fixed.value_size(), fixed.len());
            let offsets = OffsetBuffer::from_lengths(lengths);
            let values = fixed.values().clone();
            let bytes = BinaryArray::try_new(offsets, values, fixed.nulls().cloned());
            bytes.map(|bytes| Arc::new(bytes) as ArrayRef).map_err(|error| error.to_string())
        }
    }
}

/// Integers that fit into fewer bits according to the file. A NULL is stored as 0.
fn narrow<T: ArrowPrimitiveType>(ints: &Int32Array) -> Converted<PrimitiveArray<T>>
where
    T::Native: TryFrom<i32> + Default,
{
    let fits = |v: i32| T::Native::try_from(v).is_ok();
    check(ints.values(), fits, || format!("an integer does not fit `{}`", T::DATA_TYPE))?;
    Ok(ints.unary(|v| T::Native::try_from(v).unwrap_or_default()))
}

fn check<N: ArrowNativeType>(
    values: &[N],
    fits: impl Fn(N) -> bool,
    text: impl Fn() -> String,
) -> Converted<()> {
    // no early exit, so that it is vectorized
    if values.iter().fold(true, |all, value| all & fits(*value)) { Ok(()) } else { Err(text()) }
}

fn same_bits<A: ArrowNativeType, B: ArrowNativeType>(values: &ScalarBuffer<A>) -> ScalarBuffer<B> {
    ScalarBuffer::new(values.inner().clone(), 0, values.len())
}

fn decimal128(array: Decimal128Array, precision: u8, scale: i8) -> Converted {
    let array = array.with_precision_and_scale(precision, scale).map_err(|e| e.to_string())?;
    Ok(Arc::new(array))
}

/// How many units per second a type with this many fractional digits uses.
fn ticks(precision: u8) -> i64 {
    if precision <= 6 { 1_000_000 } else { 1_000_000_000 }
}

/// Converts counts of one fraction of a second to counts of another.
fn rescale(ints: &Int64Array, from: i64, to: i64) -> Converted<Int64Array> {
    if from == to {
        return Ok(ints.clone());
    }
    if from < to {
        let factor = to / from;
        let limit = i64::MAX / factor;
        check(
            ints.values(),
            |v| v <= limit && v >= -limit,
            || "a timestamp is out of range for microseconds".to_owned(),
        )?;
        return Ok(ints.unary(|v| v * factor));
    }
    let divisor = from / to;
    check(
        ints.values(),
        |v| v % divisor == 0,
        || "a duration has nanoseconds, but durations have microseconds".to_owned(),
    )?;
    Ok(ints.unary(|v| v / divisor))
}

fn times(ints: &Int64Array, leaf: &LeafType) -> Converted {
    let end = DAY_SECONDS * leaf.per_second;
    // 24:00:00 is a time of day in SQL
    check(
        ints.values(),
        |v| (0..=end).contains(&v),
        || "a time of day is not within a day".to_owned(),
    )?;
    let LogicalType::Time { precision } = leaf.logical else {
        return Err("a time of day does not have type time".into());
    };
    let scaled = rescale(ints, leaf.per_second, ticks(precision))?;
    Ok(match precision {
        0..=6 => Arc::new(scaled.reinterpret_cast::<Time64MicrosecondType>()),
        _ => Arc::new(scaled.reinterpret_cast::<Time64NanosecondType>()),
    })
}

fn timestamps(ints: Int64Array, logical: &LogicalType) -> ArrayRef {
    let (_, values, nulls) = ints.into_parts();
    let DataType::Timestamp(unit, zone) = logical.data_type() else {
        return Arc::new(Int64Array::new(values, nulls));
    };
    match unit {
        TimeUnit::Nanosecond => {
            Arc::new(TimestampNanosecondArray::new(values, nulls).with_timezone_opt(zone))
        }
        _ => Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone_opt(zone)),
    }
}

/// Converts nanoseconds of the day and a Julian day to a wall-clock time: no time zone is applied,
/// because none is stored.
fn from_int96(array: &FixedSizeBinaryArray, leaf: &LeafType) -> Converted {
    let LogicalType::Timestamp { precision } = leaf.logical else {
        return Err("a timestamp does not have type timestamp".into());
    };
    let ticks = ticks(precision);
    let turned = array.iter().map(|value| value.map(|bytes| int96(bytes, ticks)).transpose());
    let values: Int64Array = turned.collect::<Converted<_>>()?;
    Ok(timestamps(values, &leaf.logical))
}

fn int96(bytes: &[u8], ticks: i64) -> Converted<i64> {
    let Some((nanos, day)) = bytes.split_first_chunk::<8>() else {
        return Err("a timestamp has too few bytes".into());
    };
    let day = day.try_into().map(i32::from_le_bytes).unwrap_or_default();
    let nanos = i64::from_le_bytes(*nanos);
    let part = 1_000_000_000 / ticks;
    if nanos % part != 0 {
        return Err(
            "a timestamp has nanoseconds: declare it as `timestamp(9)` in [reader.schema]".into()
        );
    }
    (i64::from(day) - JULIAN_EPOCH)
        .checked_mul(DAY_SECONDS * ticks)
        .and_then(|start| start.checked_add(nanos / part))
        .ok_or_else(|| "a timestamp is out of range for its unit".into())
}

/// Months, days and milliseconds, each of 32 bits without a sign.
fn intervals(array: &FixedSizeBinaryArray) -> Converted {
    let turned = array.iter().map(|value| value.map(interval).transpose());
    let values: IntervalMonthDayNanoArray = turned.collect::<Converted<_>>()?;
    Ok(Arc::new(values))
}

fn interval(bytes: &[u8]) -> Converted<IntervalMonthDayNano> {
    let part = |at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or("an interval has too few bytes")
    };
    let small = |part| i32::try_from(part).map_err(|_| "an interval has too many months or days");
    let nanos = i64::from(part(8)?) * 1_000_000;
    Ok(IntervalMonthDayNano::new(small(part(0)?)?, small(part(4)?)?, nanos))
}

/// Big-endian two's complement of any width.
fn decimals<'a>(
    values: impl Iterator<Item = Option<&'a [u8]>>,
    precision: u8,
    scale: i8,
) -> Converted {
    let text = || format!("a decimal has more than {precision} digits");
    if precision <= 38 {
        let limit = 10i128.pow(u32::from(precision));
        let turned = values.map(|value| {
            let Some(bytes) = value else { return Ok(None) };
            let value = i128::from_be_bytes(extended::<16>(bytes).ok_or_else(text)?);
            if value < limit && value > -limit { Ok(Some(value)) } else { Err(text()) }
        });
        let array: Decimal128Array = turned.collect::<Converted<_>>()?;
        return decimal128(array, precision, scale);
    }
    let turned = values.map(|value| {
        let Some(bytes) = value else { return Ok(None) };
        Ok(Some(i256::from_be_bytes(extended::<32>(bytes).ok_or_else(text)?)))
    });
    let array: Decimal256Array = turned.collect::<Converted<_>>()?;
    let array = array.with_precision_and_scale(precision, scale).map_err(|e| e.to_string())?;
    array.validate_decimal_precision(precision).map_err(|_| text())?;
    Ok(Arc::new(array))
}

/// The number in `WIDTH` bytes; `None` if it does not fit.
fn extended<const WIDTH: usize>(bytes: &[u8]) -> Option<[u8; WIDTH]> {
    let sign = match bytes.first() {
        Some(first) if *first >= 0x80 => 0xFF,
        Some(_) => 0,
        None => return None,
    };
    let mut out = [sign; WIDTH];
    match WIDTH.checked_sub(bytes.len()) {
        Some(start) => out[start..].copy_from_slice(bytes),
        None => {
            let (above, rest) = bytes.split_at(bytes.len() - WIDTH);
            if above.iter().any(|byte| *byte != sign) || (rest[0] ^ sign) & 0x80 != 0 {
                return None;
            }
            out.copy_from_slice(rest);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_width_keep_their_sign() {
        for (bytes, expected) in [
            (&[0x7F][..], Some(127i128)),
            (&[0x80], Some(-128)),
            (&[0, 0x80], Some(128)),
            (&[0xFF; 20], Some(-1)),
            (&[0; 40], Some(0)),
            (&[], None),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
            // 17 bytes: the first one only repeats the sign, or changes the number
            (&[0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
            (&[0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Some(i128::MIN)),
        ] {
            assert_eq!(extended::<16>(bytes).map(i128::from_be_bytes), expected, "{bytes:?}");
        }
    }

    /// T23: a timestamp of 12 bytes is exact in its unit, or an error.
    #[test]
    fn t23_timestamps_of_twelve_bytes() {
        let bytes = |nanos: i64, day: i32| [&nanos.to_le_bytes()[..], &day.to_le_bytes()].concat();
        let epoch = JULIAN_EPOCH as i32;
        assert_eq!(int96(&bytes(1_000, epoch), 1_000_000), Ok(1));
        assert_eq!(int96(&bytes(0, epoch - 1), 1_000_000), Ok(-86_400_000_000));
        assert_eq!(int96(&bytes(1, epoch), 1_000_000_000), Ok(1));
        assert!(int96(&bytes(1, epoch), 1_000_000).unwrap_err().contains("timestamp(9)"));
        assert!(int96(&bytes(0, i32::MAX), 1_000_000_000).unwrap_err().contains("out of range"));
    }

    #[test]
    fn counts_of_seconds_are_rescaled_exactly() {
        let ints = |values: &[i64]| Int64Array::from(values.to_vec());
        assert_eq!(rescale(&ints(&[-1, 2]), 1_000, 1_000_000), Ok(ints(&[-1_000, 2_000])));
        assert_eq!(rescale(&ints(&[-3_000]), 1_000_000_000, 1_000_000), Ok(ints(&[-3])));
        assert!(rescale(&ints(&[1]), 1_000_000_000, 1_000_000).is_err());
        assert!(rescale(&ints(&[i64::MAX / 1_000 + 1]), 1_000, 1_000_000).is_err());
    }

    #[test]
    fn integers_that_do_not_fit_are_errors() {
        let leaf = |logical| LeafType { storage: Storage::Int32, per_second: 1_000, logical };
        let array = |value| Arc::new(Int32Array::from(vec![Some(value), None])) as ArrayRef;
        for (logical, good, bad) in [
            (LogicalType::Int8, -128, 128),
            (LogicalType::UInt8, 255, -1),
            (LogicalType::UInt16, 65_535, 65_536),
            (LogicalType::Decimal { precision: 2, scale: 0 }, -99, 100),
            (LogicalType::Time { precision: 3 }, 86_399_999, -1),
        ] {
            let leaf = leaf(logical);
            assert!(leaf_to_logical(array(good), &leaf).is_ok(), "{leaf:?}");
            assert!(leaf_to_logical(array(bad), &leaf).is_err(), "{leaf:?}");
        }
    }
}
