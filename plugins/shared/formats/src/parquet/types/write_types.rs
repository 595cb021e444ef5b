//! Maps logical types to a file: the schema that is written, and arrays in the form that it
//! requires. Values that a file cannot represent are found here, by row.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, ListArray,
    cast::AsArray,
    types::{
        Decimal128Type, Decimal256Type, Int32Type, Int64Type, IntervalMonthDayNano,
        IntervalMonthDayNanoType,
    },
};
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, FieldRef};
use parquet::{
    basic::{ConvertedType, LogicalType as Annotation, Repetition, TimeUnit, Type as Physical},
    errors::Result as PageResult,
    schema::types::{Type, TypePtr},
};
use transload_plugin_api::{Column, LogicalType};

/// Size of an interval in bytes.
const INTERVAL: i32 = 12;

/// The schema of a file with these columns.
pub(in crate::parquet) fn schema(columns: &[Column]) -> PageResult<TypePtr> {
    let fields = columns
        .iter()
        .map(|column| column_schema(&column.name, &column.logical, column.nullable).map(Arc::new));
    let root = Type::group_type_builder("schema").with_fields(fields.collect::<PageResult<_>>()?);
    Ok(Arc::new(root.build()?))
}

fn column_schema(name: &str, logical: &LogicalType, nullable: bool) -> PageResult<Type> {
    let repetition = if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    if let LogicalType::List(item) = logical {
        let item = Arc::new(column_schema("element", item, true)?);
        let list = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![item]);
        return Type::group_type_builder(name)
            .with_repetition(repetition)
            .with_logical_type(Some(Annotation::List))
            .with_fields(vec![Arc::new(list.build()?)])
            .build();
    }
    let (physical, annotation) = leaf(logical);
    let mut leaf = Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(annotation);
    match logical {
        LogicalType::Decimal { precision, scale } => {
            leaf = leaf.with_precision((*precision).into()).with_scale((*scale).into());
            if physical == Physical::FIXED_LEN_BYTE_ARRAY {
                leaf = leaf.with_length(decimal_width(*precision));
            }
        }
        LogicalType::Uuid => leaf = leaf.with_length(16),
        LogicalType::Interval => {
            leaf = leaf.with_length(INTERVAL).with_converted_type(ConvertedType::INTERVAL);
        }
        _ => {}
    }
    leaf.build()
}

/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md>
fn leaf(logical: &LogicalType) -> (Physical, Option<Annotation>) {
    let integer = |bits, signed| Some(Annotation::integer(bits, signed));
    let unit = |precision| if precision <= 6 { TimeUnit::MICROS } else { TimeUnit::NANOS };
    match logical {
        LogicalType::Boolean => (Physical::BOOLEAN, None),
        LogicalType::Int8 => (Physical::INT32, integer(8, true)),
        LogicalType::Int16 => (Physical::INT32, integer(16, true)),
        LogicalType::Int32 => (Physical::INT32, None),
        LogicalType::UInt8 => (Physical::INT32, integer(8, false)),
        LogicalType::UInt16 => (Physical::INT32, integer(16, false)),
        LogicalType::UInt32 => (Physical::INT32, integer(32, false)),
        LogicalType::UInt64 => (Physical::INT64, integer(64, false)),
        LogicalType::Float32 => (Physical::FLOAT, None),
        LogicalType::Float64 => (Physical::DOUBLE, None),
        LogicalType::Decimal { precision, scale } => {
            let physical = match precision {
                0..=9 => Physical::INT32,
                10..=18 => Physical::INT64,
                _ => Physical::FIXED_LEN_BYTE_ARRAY,
            };
            (physical, Some(Annotation::decimal((*scale).into(), (*precision).into())))
        }
        LogicalType::Text { .. } | LogicalType::Numeric => {
            (Physical::BYTE_ARRAY, Some(Annotation::String))
        }
        LogicalType::Json => (Physical::BYTE_ARRAY, Some(Annotation::Json)),
        LogicalType::Date => (Physical::INT32, Some(Annotation::Date)),
        LogicalType::Time { precision } => {
            (Physical::INT64, Some(Annotation::time(false, unit(*precision))))
        }
        LogicalType::Timestamp { precision } => {
            (Physical::INT64, Some(Annotation::timestamp(false, unit(*precision))))
        }
        LogicalType::TimestampTz { precision } => {
            (Physical::INT64, Some(Annotation::timestamp(true, unit(*precision))))
        }
        LogicalType::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(Annotation::Uuid)),
        LogicalType::Interval => (Physical::FIXED_LEN_BYTE_ARRAY, None),
        LogicalType::Int64 | LogicalType::Duration => (Physical::INT64, None),
        _ => (Physical::BYTE_ARRAY, None),
    }
}

/// The fewest bytes that hold every number with this many digits.
fn decimal_width(precision: u8) -> i32 {
    // log2(10) = 3.3219...; one more bit for the sign
    let bits = (f64::from(precision) * std::f64::consts::LOG2_10).ceil() as i32 + 1;
    (bits + 7) / 8
}

/// The Arrow field with which arrow-rs receives a column.
pub(in crate::parquet) fn field(name: &str, logical: &LogicalType, nullable: bool) -> FieldRef {
    let data_type = match logical {
        LogicalType::List(item) => DataType::List(field("element", item, true)),
        LogicalType::Decimal { precision: 0..=9, .. } => DataType::Int32,
        LogicalType::Decimal { precision: 10..=18, .. } => DataType::Int64,
        LogicalType::Interval => DataType::FixedSizeBinary(INTERVAL),
        other => other.data_type(),
    };
    Arc::new(Field::new(name, data_type, nullable))
}

/// The array for such a field. Values must have been [checked](unfit) before.
pub(in crate::parquet) fn to_physical(
    array: &ArrayRef,
    logical: &LogicalType,
) -> PageResult<ArrayRef> {
    Ok(match logical {
        LogicalType::Decimal { precision: 0..=9, .. } => {
            let decimals = array.as_primitive::<Decimal128Type>();
            Arc::new(decimals.unary::<_, Int32Type>(|value| value as i32))
        }
        LogicalType::Decimal { precision: 10..=18, .. } => {
            let decimals = array.as_primitive::<Decimal128Type>();
            Arc::new(decimals.unary::<_, Int64Type>(|value| value as i64))
        }
        LogicalType::Interval => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            let laid = intervals.iter().map(|value| value.and_then(interval));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(laid, INTERVAL)?)
        }
        LogicalType::List(item) => {
            let list = array.as_list::<i32>();
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            let (field, values) = (field("element", item, true), to_physical(list.values(), item)?);
            Arc::new(ListArray::try_new(field, offsets, values, nulls)?)
        }
        _ => array.clone(),
    })
}

/// Months, days and milliseconds without a sign, `None` if they cannot represent the interval.
fn interval(value: IntervalMonthDayNano) -> Option<[u8; INTERVAL as usize]> {
    if value.nanoseconds % 1_000_000 != 0 {
        return None;
    }
    let mut out = [0; INTERVAL as usize];
    out[..4].copy_from_slice(&u32::try_from(value.months).ok()?.to_le_bytes());
    out[4..8].copy_from_slice(&u32::try_from(value.days).ok()?.to_le_bytes());
    let millis = u32::try_from(value.nanoseconds / 1_000_000).ok()?;
    out[8..].copy_from_slice(&millis.to_le_bytes());
    Some(out)
}

/// Marks the rows whose value a file cannot represent, with the reason. `None` if there are none.
pub(in crate::parquet) fn unrepresentable(
    array: &ArrayRef,
    logical: &LogicalType,
) -> Option<(Vec<bool>, String)> {
    let (marks, why) = match logical {
        LogicalType::Decimal { precision, .. } => {
            (wide_decimals(array, *precision)?, format!("it has more than {precision} digits"))
        }
        LogicalType::Interval => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            let marks =
                intervals.iter().map(|value| value.is_some_and(|value| interval(value).is_none()));
            let why = "Parquet intervals cannot be negative, and have whole milliseconds and at most \
                       49 days of them";
            (marks.collect(), why.to_owned())
        }
        LogicalType::List(item) => {
            let list = array.as_list::<i32>();
            let (items, why) = unrepresentable(list.values(), item)?;
            let marks = list.offsets().windows(2).enumerate().map(|(row, pair)| {
                list.is_valid(row) && items[pair[0] as usize..pair[1] as usize].contains(&true)
            });
            (marks.collect(), why)
        }
        _ => return None,
    };
    marks.contains(&true).then_some((marks, why))
}

/// Marks numbers with too many digits. `None` if there are none.
fn wide_decimals(array: &ArrayRef, precision: u8) -> Option<Vec<bool>> {
    if precision > 38 {
        let limit = i256::from_i128(10).wrapping_pow(precision.into());
        let wide = |value: i256| value >= limit || value <= limit.wrapping_neg();
        let decimals = array.as_primitive::<Decimal256Type>();
        return Some(decimals.iter().map(|value| value.is_some_and(wide)).collect());
    }
    let limit = 10i128.pow(precision.into());
    let wide = |value: i128| value >= limit || value <= -limit;
    let decimals = array.as_primitive::<Decimal128Type>();
    // without early exit, so that it is vectorized; values under a NULL count only here
    if !decimals.values().iter().fold(false, |any, value| any | wide(*value)) {
        return None;
    }
    Some(decimals.iter().map(|value| value.is_some_and(wide)).collect())
}
