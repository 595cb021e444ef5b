//! Test data: values at the edge of every type, and small tables with keys. What is expected of
//! them is left to the suite's other modules.
//!
//! ```
//! use transload_plugin_api::{LogicalType, testing::samples};
//!
//! let types = samples::types_of("decimal");
//! let batch = samples::edge_batch(&types); // `id`, then one column for each type
//! assert_eq!(batch.num_columns(), 1 + types.len());
//! assert_eq!(samples::edges(&LogicalType::Boolean, None).len(), 3); // true, false, NULL
//! ```

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Int64Array, ListArray,
    PrimitiveArray, RecordBatch, StringArray,
    cast::AsArray as _,
    types::{
        ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, Time64NanosecondType,
        TimestampMicrosecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_buffer::{IntervalMonthDayNano, NullBuffer, OffsetBuffer, i256};

use super::{DirtyBatch, expect};
use crate::{Column, LogicalType, schema_of};

/// Types to try for a family: several where parameters matter.
pub fn types_of(family: &str) -> Vec<LogicalType> {
    let names: &[&str] = match family {
        "decimal" => &["decimal(15,2)", "decimal(38,0)", "decimal(38,10)", "decimal(76,20)"],
        "text" => &["text", "text(5)"],
        "time" => &["time", "time(0)"],
        "timestamp" => &["timestamp", "timestamp(3)", "timestamp(9)"],
        "timestamptz" => &["timestamptz", "timestamptz(0)", "timestamptz(9)"],
        "list" => &["list<int32>", "list<text>"],
        other => return other.parse().into_iter().collect(),
    };
    names.iter().map(|name| expect(name.parse(), name)).collect()
}

/// The name of the key column of [`edge_batch`] and [`keyed_batch`].
pub const KEY: &str = "id";

/// A batch with a column `id` (`int64`, counted from 1) and one nullable column `c0`, `c1`, ... for
/// each type. A column repeats the edge values of its type and NULL until the longest one is
/// complete.
pub fn edge_batch(types: &[LogicalType]) -> RecordBatch {
    let rows = types.iter().map(|logical| edges(logical, None).len()).max().unwrap_or(0);
    let mut columns = vec![Column::new(KEY, LogicalType::Int64, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(1..=rows as i64))];
    for (index, logical) in types.iter().enumerate() {
        columns.push(Column::new(format!("c{index}"), logical.clone(), true));
        arrays.push(edges(logical, Some(rows)));
    }
    expect(RecordBatch::try_new(schema_of(&columns), arrays), "edge values make a batch")
}

/// The columns of [`keyed_batch`]: `id` (`int64`), `name` (`text`) and `size` (`int32`).
pub fn keyed_columns() -> Vec<Column> {
    vec![
        Column::new(KEY, LogicalType::Int64, false),
        Column::new("name", LogicalType::TEXT, true),
        Column::new("size", LogicalType::Int32, true),
    ]
}

/// Rows given as key, version of `name` and version of `size`.
pub fn keyed_batch(rows: &[(i64, i32, i32)]) -> RecordBatch {
    let names = rows.iter().map(|(key, name, _)| format!("name {key} version {name}"));
    let sizes = rows.iter().map(|(key, _, size)| *key as i32 * 100 + size);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(names)),
        Arc::new(PrimitiveArray::<Int32Type>::from_iter_values(sizes)),
    ];
    expect(RecordBatch::try_new(schema_of(&keyed_columns()), arrays), "keyed rows make a batch")
}

/// Rows with these keys, all values of one version.
pub fn keyed(keys: impl IntoIterator<Item = i64>, version: i32) -> RecordBatch {
    let rows: Vec<_> = keys.into_iter().map(|key| (key, version, version)).collect();
    keyed_batch(&rows)
}

/// Rows for a store with keys and text of limited length: the second text is too long, the last
/// key exists.
pub fn refused() -> DirtyBatch {
    let columns = vec![
        Column::new("id", LogicalType::Int64, false),
        Column::new("s", LogicalType::Text { length: Some(2) }, true),
    ];
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 2, 4, 4])),
        Arc::new(StringArray::from(vec!["ab", "abc", "é", "x", "y"])),
    ];
    let batch = expect(RecordBatch::try_new(schema_of(&columns), arrays), "refused rows");
    DirtyBatch { columns, key: vec!["id".to_owned()], batch, dirty: vec![1, 4] }
}

/// Rows of [`keyed_columns`] as SQL, each in parentheses, for tests that insert them by other means
/// than the plugin's.
pub fn keyed_as_sql(rows: &RecordBatch) -> Vec<String> {
    let row = |row: usize| {
        let id = rows.column(0).as_primitive::<Int64Type>().value(row);
        let name = rows.column(1).as_string::<i32>().value(row);
        let size = rows.column(2).as_primitive::<Int32Type>().value(row);
        format!("({id}, '{}', {size})", name.replace('\'', "''"))
    };
    (0..rows.num_rows()).map(row).collect()
}

/// All edge values of a type and then NULL; with `rows`, that many of them, repeated from the start
/// as often as needed.
pub fn edges(logical: &LogicalType, rows: Option<usize>) -> ArrayRef {
    use LogicalType as T;
    match logical {
        T::Boolean => {
            let values = cycle(&[true, false], rows);
            Arc::new(BooleanArray::from_iter(values.map(|value| value.copied())))
        }
        T::Int8 => primitive::<Int8Type>(&[i8::MIN, i8::MAX, 0, 1, -1], rows),
        T::Int16 => primitive::<Int16Type>(&[i16::MIN, i16::MAX, 0, 1, -1], rows),
        T::Int32 => primitive::<Int32Type>(&[i32::MIN, i32::MAX, 0, 1, -1], rows),
        T::Int64 => primitive::<Int64Type>(&[i64::MIN, i64::MAX, 0, 1, -1, 1 << 53 | 1], rows),
        T::UInt8 => primitive::<UInt8Type>(&[0, u8::MAX, 128], rows),
        T::UInt16 => primitive::<UInt16Type>(&[0, u16::MAX, 1 << 15], rows),
        T::UInt32 => primitive::<UInt32Type>(&[0, u32::MAX, 1 << 31], rows),
        T::UInt64 => primitive::<UInt64Type>(&[0, u64::MAX, 1 << 63, 1 << 53 | 1], rows),
        T::Float32 => primitive::<Float32Type>(FLOATS_32, rows),
        T::Float64 => primitive::<Float64Type>(FLOATS, rows),
        T::Decimal { precision, scale } => decimals(*precision, *scale, rows),
        T::Numeric => strings(NUMERICS, rows),
        T::Text { length } => {
            let limit = length.map_or(usize::MAX, |length| length as usize);
            let mut texts = TEXTS.to_vec();
            texts.retain(|text| text.chars().count() <= limit);
            strings(&texts, rows)
        }
        T::Json => strings(JSONS, rows),
        T::Binary => Arc::new(BinaryArray::from_iter(cycle(BINARIES, rows))),
        T::Uuid => uuids(rows),
        T::Interval => primitive::<IntervalMonthDayNanoType>(INTERVALS, rows),
        T::List(item) => lists(item, rows),
        T::Date | T::Time { .. } | T::Duration | T::Timestamp { .. } | T::TimestampTz { .. } => {
            moments(logical, rows)
        }
        // What is a value of a store's own form, only the store knows.
        T::Native(_) => arrow_array::new_null_array(&logical.data_type(), rows.unwrap_or(1)),
    }
}

/// The values and then `None`, once or until there are `rows` of them.
fn cycle<V>(values: &[V], rows: Option<usize>) -> impl Iterator<Item = Option<&V>> {
    let count = values.len() + 1;
    (0..rows.unwrap_or(count)).map(move |row| values.get(row % count))
}

fn typed<P: ArrowPrimitiveType>(values: &[P::Native], rows: Option<usize>) -> PrimitiveArray<P> {
    cycle(values, rows).map(|value| value.copied()).collect()
}

fn primitive<P: ArrowPrimitiveType>(values: &[P::Native], rows: Option<usize>) -> ArrayRef {
    Arc::new(typed::<P>(values, rows))
}

fn strings(values: &[&str], rows: Option<usize>) -> ArrayRef {
    Arc::new(StringArray::from_iter(cycle(values, rows)))
}

fn decimals(precision: u8, scale: i8, rows: Option<usize>) -> ArrayRef {
    let ten = i256::from_i128(10);
    let high = ten.wrapping_pow(precision.into()).wrapping_sub(i256::ONE);
    let one = ten.wrapping_pow(scale.unsigned_abs().max(1).into()); // 10 without a scale
    let values = [
        high,
        high.wrapping_neg(),
        i256::ZERO,
        i256::ONE,
        i256::MINUS_ONE,
        one,
        one.wrapping_neg(),
    ];
    let what = "a decimal within its precision";
    if precision > 38 {
        let array = typed::<Decimal256Type>(&values, rows);
        return Arc::new(expect(array.with_precision_and_scale(precision, scale), what));
    }
    let values = values.map(|value| value.as_i128());
    let array = typed::<Decimal128Type>(&values, rows);
    Arc::new(expect(array.with_precision_and_scale(precision, scale), what))
}

fn uuids(rows: Option<usize>) -> ArrayRef {
    let values = [[0; 16], [0xFF; 16], *b"0123456789abcdef"];
    let values = cycle(&values, rows).map(|value| value.copied());
    let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16);
    Arc::new(expect(array, "16 bytes each"))
}

/// NULL, no item, one item, all edge items with NULL among them.
fn lists(item: &LogicalType, rows: Option<usize>) -> ArrayRef {
    let all = edges(item, None).len();
    let lengths: Vec<usize> = cycle(&[0, 1, all], rows).map(|it| *it.unwrap_or(&0)).collect();
    let valid: Vec<bool> = cycle(&[0, 1, all], rows).map(|it| it.is_some()).collect();
    let items = edges(item, Some(lengths.iter().sum()));
    let (field, offsets) =
        (Arc::new(item.field("item", true)), OffsetBuffer::from_lengths(lengths));
    let lists = ListArray::try_new(field, offsets, items, Some(NullBuffer::from(valid)));
    Arc::new(expect(lists, "lists of edge values"))
}

const DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 of 0001-01-01, 9999-12-31, around the epoch, a leap day, and one that
/// only the proleptic Gregorian calendar has.
const DAYS: [i64; 6] = [-719_162, 2_932_896, 0, -1, 11_016, -141_418];

fn moments(logical: &LogicalType, rows: Option<usize>) -> ArrayRef {
    use LogicalType as T;
    match logical {
        T::Date => {
            let days = DAYS.map(|day| day as i32);
            primitive::<Date32Type>(&days, rows)
        }
        T::Duration => {
            let longest = (838 * 3_600 + 59 * 60 + 59) * 1_000_000 + 999_999;
            primitive::<DurationMicrosecondType>(&[0, longest, -longest, 1, -1, DAY], rows)
        }
        T::Time { precision } if *precision > 6 => {
            primitive::<Time64NanosecondType>(&times(*precision, 1_000), rows)
        }
        T::Time { precision } => primitive::<Time64MicrosecondType>(&times(*precision, 1), rows),
        T::Timestamp { precision } if *precision > 6 => {
            primitive::<TimestampNanosecondType>(&instants(*precision, 1_000), rows)
        }
        T::TimestampTz { precision } if *precision > 6 => {
            let array = typed::<TimestampNanosecondType>(&instants(*precision, 1_000), rows);
            Arc::new(array.with_timezone("UTC"))
        }
        T::TimestampTz { precision } => {
            let array = typed::<TimestampMicrosecondType>(&instants(*precision, 1), rows);
            Arc::new(array.with_timezone("UTC"))
        }
        T::Timestamp { precision } => {
            primitive::<TimestampMicrosecondType>(&instants(*precision, 1), rows)
        }
        other => unreachable!("`{other}` is no moment"),
    }
}

/// Ends of the day in a unit of `scale` to the microsecond, as fine as the precision allows.
fn times(precision: u8, scale: i64) -> Vec<i64> {
    let day = DAY * scale;
    let step = day / 86_400 / 10i64.pow(precision.into());
    let mut times = vec![0, day - step, day / 2, step, day / 86_400];
    times.dedup(); // whole seconds have the last two alike
    times
}

/// Both ends of the edge days that the unit can count.
fn instants(precision: u8, scale: i64) -> Vec<i64> {
    let last = times(precision, scale)[1];
    let midnights = DAYS.iter().filter_map(|day| day.checked_mul(DAY * scale));
    midnights.flat_map(|midnight| [Some(midnight), midnight.checked_add(last)]).flatten().collect()
}

const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    0.1 + 0.2,
    9_007_199_254_740_993.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

const FLOATS_32: &[f32] = &[
    0.0,
    -0.0,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-45,
    0.1,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
];

const NUMERICS: &[&str] = &[
    "0",
    "-0.00",
    "1.10",
    "12345678901234567890123456789012345678901234567890123456789012345",
    "-0.000000000000000000000000000001",
    "NaN",
    "Infinity",
    "-Infinity",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    " a ",
    "\"",
    "a\"\"b",
    "it's",
    "a,b;c\td|e",
    "two\nlines",
    "two\r\nlines",
    "\r",
    "back\\slash \\N",
    "a\0b",
    "NULL",
    "#not a comment",
    "😀",
    "e\u{301} é 中文",
    "\u{feff}mark",
    "12345",
    "true",
    "1e5",
    "5 %_",
];

const JSONS: &[&str] = &[
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

const BINARIES: &[&[u8]] = &[b"", b"\0", b"\xff\xfe\x80", b"\"\n,\\", b"text", &[0x7F; 300]];

const INTERVALS: &[IntervalMonthDayNano] = &[
    IntervalMonthDayNano::ZERO,
    IntervalMonthDayNano::new(-13, 45, -1_000),
    IntervalMonthDayNano::new(14, -32, 86_400_000_000_000),
    IntervalMonthDayNano::new(i32::MAX, i32::MIN, i64::MAX),
];

#[cfg(test)]
mod tests {
    use arrow_array::Array;

    use super::*;
    use crate::columns_of;

    #[test]
    fn every_type_has_edges_and_a_null() {
        let families = [
            "boolean",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "float32",
            "float64",
            "decimal",
            "numeric",
            "text",
            "binary",
            "date",
            "time",
            "duration",
            "timestamp",
            "timestamptz",
            "interval",
            "json",
            "uuid",
            "list",
        ];
        let types: Vec<_> = families.iter().flat_map(|family| types_of(family)).collect();
        assert!(types.len() > families.len());
        for logical in &types {
            let edges = edges(logical, None);
            assert_eq!(*edges.data_type(), logical.data_type());
            assert_eq!(edges.null_count(), 1, "{logical}");
            assert!(edges.len() > 2, "{logical}");
        }
        let batch = edge_batch(&types);
        let columns = columns_of(&batch.schema()).unwrap();
        let logical: Vec<_> = columns.into_iter().skip(1).map(|column| column.logical).collect();
        assert_eq!(logical, types);
    }

    #[test]
    fn times_are_as_fine_as_their_precision() {
        assert_eq!(times(0, 1)[1], DAY - 1_000_000);
        assert_eq!(times(6, 1)[1], DAY - 1);
        assert_eq!(times(9, 1_000)[1], DAY * 1_000 - 1);
        assert!(instants(9, 1_000).len() < instants(6, 1).len());
    }
}
