//! Rows as text that is equal exactly if the values are, for comparing what was written with what
//! was read: NULL differs from every text, floats differ by their bits, except that all NaN are
//! equal.

use std::{collections::BTreeMap, fmt::Write as _};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, RecordBatch,
    cast::AsArray,
    temporal_conversions as temporal,
    types::{
        Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
        Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::DataType;

use super::expect;
use crate::{Column, LogicalType, columns_of};

/// Rows as text, with the names and types of their columns.
///
/// # Examples
/// ```
/// use transload_plugin_api::testing::{Rows, samples};
///
/// let rows = Rows::of(&[samples::keyed(1..=3, 1)]);
/// assert_eq!(rows.row(0), ["1", "\"name 1 version 1\"", "101"]);
/// let reversed = Rows::of(&[samples::keyed([3, 2, 1], 1)]);
/// rows.assert_same(&reversed, "the order does not matter");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    columns: Vec<(String, LogicalType)>,
    rows: Vec<Vec<String>>,
}

impl Rows {
    /// The rows of some batches, in order. All must have the same columns.
    ///
    /// # Panics
    /// If they differ, or if a type does not travel.
    pub fn of(batches: &[RecordBatch]) -> Self {
        let mut all = Self::default();
        for batch in batches {
            let columns = expect(columns_of(&batch.schema()), "columns of types that travel");
            all.push(&columns, batch.columns(), batch.num_rows());
        }
        all
    }

    /// The same rows with only the columns of these names, in their order.
    ///
    /// # Panics
    /// If there is no such column.
    #[must_use]
    pub fn project(&self, names: &[&str]) -> Self {
        if self.columns.is_empty() {
            return Self::default();
        }
        let place = |name: &&str| {
            let place = self.columns.iter().position(|(known, _)| known == name);
            place.unwrap_or_else(|| panic!("there is no column `{name}` in {:?}", self.columns))
        };
        let places: Vec<usize> = names.iter().map(place).collect();
        Self {
            columns: places.iter().map(|place| self.columns[*place].clone()).collect(),
            rows: self.rows.iter().map(|row| pick(row, &places)).collect(),
        }
    }

    /// Names and types of the columns; empty if there was no batch.
    pub fn columns(&self) -> &[(String, LogicalType)] {
        &self.columns
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The cells of one row.
    pub fn row(&self, index: usize) -> &[String] {
        &self.rows[index]
    }

    /// Compares rows in any order, each as often.
    ///
    /// # Panics
    /// With the differences, at most five of each kind.
    #[track_caller]
    pub fn assert_same(&self, actual: &Self, when: &str) {
        self.assert_columns(actual, when);
        let mut counts: BTreeMap<&[String], i64> = BTreeMap::new();
        self.rows.iter().for_each(|row| *counts.entry(row).or_default() += 1);
        actual.rows.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
        counts.retain(|_, count| *count != 0);
        if !counts.is_empty() {
            let (expected, found) = (self.len(), actual.len());
            panic!("{when}: expected {expected} rows, found {found}{}", differences(&counts));
        }
    }

    /// Compares rows in order.
    ///
    /// # Panics
    /// With the first difference.
    #[track_caller]
    pub fn assert_equal(&self, actual: &Self, when: &str) {
        self.assert_same(actual, when);
        for (index, (expected, found)) in self.rows.iter().zip(&actual.rows).enumerate() {
            assert_eq!(found, expected, "{when}: the order differs from row {index} on");
        }
    }

    #[track_caller]
    fn assert_columns(&self, actual: &Self, when: &str) {
        // Without a batch the columns are unknown.
        if !self.columns.is_empty() && !actual.columns.is_empty() {
            assert_eq!(actual.columns, self.columns, "{when}: the columns differ");
        }
    }

    /// Appends the rows of one batch.
    fn push(&mut self, columns: &[Column], arrays: &[ArrayRef], rows: usize) {
        let columns: Vec<_> =
            columns.iter().map(|column| (column.name.clone(), column.logical.clone())).collect();
        if self.columns.is_empty() {
            self.columns = columns;
        } else {
            assert_eq!(columns, self.columns, "batches of one table have the same columns");
        }
        for row in 0..rows {
            self.rows.push(arrays.iter().map(|array| cell(array, row)).collect());
        }
    }
}

fn pick(row: &[String], places: &[usize]) -> Vec<String> {
    places.iter().map(|place| row[*place].clone()).collect()
}

/// At most five rows that are missing and five that are unexpected.
fn differences(counts: &BTreeMap<&[String], i64>) -> String {
    let mut text = String::new();
    for (sign, word) in [(1, "missing"), (-1, "unexpected")] {
        let rows: Vec<_> = counts.iter().filter(|(_, count)| count.signum() == sign).collect();
        for (row, count) in rows.iter().take(5) {
            let _ = write!(text, "\n  {word} {}x: {}", count.abs(), row.join(" | "));
        }
        if rows.len() > 5 {
            let _ = write!(text, "\n  and {} more {word}", rows.len() - 5);
        }
    }
    text
}

/// A cell's value as text: `NULL`, `5`, `1.50`, `"text"`, `0xFF`, `2024-02-29 00:00:00`.
///
/// # Panics
/// If the type does not travel.
pub fn cell(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => value::<Int8Type>(array, row).to_string(),
        DataType::Int16 => value::<Int16Type>(array, row).to_string(),
        DataType::Int32 => value::<Int32Type>(array, row).to_string(),
        DataType::Int64 => value::<Int64Type>(array, row).to_string(),
        DataType::UInt8 => value::<UInt8Type>(array, row).to_string(),
        DataType::UInt16 => value::<UInt16Type>(array, row).to_string(),
        DataType::UInt32 => value::<UInt32Type>(array, row).to_string(),
        DataType::UInt64 => value::<UInt64Type>(array, row).to_string(),
        DataType::Float32 => format!("{:?}", value::<Float32Type>(array, row)),
        DataType::Float64 => format!("{:?}", value::<Float64Type>(array, row)),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => format!("{:?}", array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => format!("{:?}", array.as_string::<i64>().value(row)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(row)),
        DataType::Interval(_) => {
            let span = value::<IntervalMonthDayNanoType>(array, row);
            format!("{} months {} days {} ns", span.months, span.days, span.nanoseconds)
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items: Vec<_> = (0..items.len()).map(|item| cell(&items, item)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => moment(array, row),
    }
}

fn value<P: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> P::Native {
    array.as_primitive::<P>().value(row)
}

fn bytes(bytes: &[u8]) -> String {
    let mut text = "0x".to_owned();
    bytes.iter().for_each(|byte| {
        let _ = write!(text, "{byte:02X}");
    });
    text
}

/// Dates, times, timestamps and durations; the bare number where the calendar ends.
fn moment(array: &dyn Array, row: usize) -> String {
    use arrow_schema::TimeUnit::{Microsecond, Nanosecond};
    let named = |number: i64, text: Option<String>| text.unwrap_or_else(|| number.to_string());
    match array.data_type() {
        DataType::Date32 => {
            let day = value::<Date32Type>(array, row);
            let date = temporal::date32_to_datetime(day).map(|date| date.date().to_string());
            named(day.into(), date)
        }
        DataType::Time64(Microsecond) => {
            let micros = value::<Time64MicrosecondType>(array, row);
            named(micros, temporal::time64us_to_time(micros).map(|time| time.to_string()))
        }
        DataType::Time64(Nanosecond) => {
            let nanos = value::<Time64NanosecondType>(array, row);
            named(nanos, temporal::time64ns_to_time(nanos).map(|time| time.to_string()))
        }
        DataType::Timestamp(Microsecond, zone) => {
            let micros = value::<TimestampMicrosecondType>(array, row);
            let moment = temporal::timestamp_us_to_datetime(micros).map(|it| it.to_string());
            named(micros, moment) + if zone.is_some() { "Z" } else { "" }
        }
        DataType::Timestamp(Nanosecond, zone) => {
            let nanos = value::<TimestampNanosecondType>(array, row);
            let moment = temporal::timestamp_ns_to_datetime(nanos).map(|it| it.to_string());
            named(nanos, moment) + if zone.is_some() { "Z" } else { "" }
        }
        DataType::Duration(Microsecond) => {
            format!("{} us", value::<DurationMicrosecondType>(array, row))
        }
        other => panic!("cells of type `{other}` do not travel"),
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, sync::Arc};

    use arrow_array::{Float64Array, StringArray};

    use super::{super::samples, *};
    use crate::schema_of;

    fn texts(values: &[Option<&str>]) -> Rows {
        let columns = [Column::new("c", LogicalType::TEXT, true)];
        let array = Arc::new(StringArray::from(values.to_vec()));
        Rows::of(&[RecordBatch::try_new(schema_of(&columns), vec![array]).unwrap()])
    }

    #[test]
    fn cells_of_edge_values_are_told_apart() {
        for family in ["int64", "float64", "decimal", "numeric", "text", "binary", "date", "time"]
            .into_iter()
            .chain(["duration", "timestamp", "timestamptz", "interval", "json", "uuid", "list"])
        {
            for logical in samples::types_of(family) {
                let edges = samples::edges(&logical, None);
                let mut cells: Vec<_> = (0..edges.len()).map(|row| cell(&edges, row)).collect();
                cells.sort();
                cells.dedup();
                assert_eq!(cells.len(), edges.len(), "{logical}: {cells:?}");
            }
        }
    }

    #[test]
    fn t09_null_the_empty_text_and_the_word_differ() {
        let rows = texts(&[None, Some(""), Some("NULL")]);
        assert_eq!(rows.rows, [["NULL"], ["\"\""], ["\"NULL\""]]);
    }

    #[test]
    fn floats_differ_by_sign_of_zero_but_not_by_kind_of_nan() {
        let odd_nan = f64::from_bits(f64::NAN.to_bits() | 1);
        let floats = Float64Array::from(vec![0.0, -0.0, f64::NAN, odd_nan]);
        let cells: Vec<_> = (0..4).map(|row| cell(&floats, row)).collect();
        assert_eq!(cells, ["0.0", "-0.0", "NaN", "NaN"]);
    }

    #[test]
    fn rows_are_the_same_in_any_order_but_each_as_often() {
        let rows = texts(&[Some("a"), Some("b"), Some("b")]);
        rows.assert_same(&texts(&[Some("b"), Some("a"), Some("b")]), "test");
        for other in [&[Some("a"), Some("b")][..], &[Some("a"), Some("a"), Some("b")]] {
            assert!(catch_unwind(|| rows.assert_same(&texts(other), "test")).is_err());
        }
        let swapped = texts(&[Some("b"), Some("a"), Some("b")]);
        assert!(catch_unwind(|| rows.assert_equal(&swapped, "test")).is_err());
    }
}
