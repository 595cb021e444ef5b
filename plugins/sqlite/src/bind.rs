//! Arrow values into statement parameters. Each column is downcast once a batch; what SQLite would
//! store as another value is refused, by the rules in `refusal`.

use arrow_array::{Array, RecordBatch};
use arrow_buffer::NullBuffer;
use rusqlite::{
    Statement,
    types::{Null, ToSqlOutput, ValueRef},
};
use transload_plugin_api::{Error, Result};
use transload_values::{Ticks, View, calendar::first_day_of, parse::float_of_decimal, write};

use crate::refusal::{BoundColumn, Refusal};

/// The first day that ISO text without a sign can express: of the year 0.
const FIRST_DAY: i64 = first_day_of(0);
/// The last day that ISO text without a sign can express: of the year 9999.
const LAST_DAY: i64 = first_day_of(10_000) - 1;

/// One column of a batch, ready to bind.
pub(crate) struct Cells<'a> {
    column: &'a BoundColumn,
    nulls: Option<&'a NullBuffer>,
    view: View<'a>,
}

/// The batch's columns, in the order of `columns`.
pub(crate) fn cells_of<'a>(
    columns: &'a [BoundColumn],
    batch: &'a RecordBatch,
) -> Result<Vec<Cells<'a>>> {
    if batch.num_columns() != columns.len() {
        let message =
            format!("a batch of {} columns, expected {}", batch.num_columns(), columns.len());
        return Err(Error::defect(message));
    }
    columns.iter().zip(batch.columns()).map(|(column, array)| Cells::new(column, array)).collect()
}

impl<'a> Cells<'a> {
    fn new(column: &'a BoundColumn, array: &'a dyn Array) -> Result<Self> {
        let logical = &column.logical;
        if *array.data_type() != logical.data_type() {
            let message = format!("a batch holds `{}`, expected `{logical}`", array.data_type());
            return Err(Error::defect(message).at(format!("column `{}`", column.name)));
        }
        let stored = |view: &View<'_>| !matches!(view, View::Interval(_) | View::List(_));
        let view = View::of(logical, array).filter(stored).ok_or_else(|| {
            Error::unsupported(format!("sqlite stores no `{logical}`"))
                .at(format!("column `{}`", column.name))
        })?;
        Ok(Self { column, nulls: array.nulls(), view })
    }

    /// The column's name in the target.
    pub(crate) fn name(&self) -> &str {
        &self.column.name
    }

    /// Binds the row's value as parameter `index`. `scratch` holds text while it is bound.
    #[inline]
    pub(crate) fn bind(
        &self,
        row: usize,
        statement: &mut Statement<'_>,
        index: usize,
        scratch: &mut Vec<u8>,
    ) -> std::result::Result<(), Refusal> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            self.column.check_null()?;
            return put(statement, index, Null);
        }
        match self.view {
            View::Boolean(array) => put(statement, index, array.value(row)),
            View::Int8(values) => put(statement, index, values[row]),
            View::Int16(values) => put(statement, index, values[row]),
            View::Int32(values) => put(statement, index, values[row]),
            View::Int64(values) => put(statement, index, values[row]),
            View::UInt8(values) => put(statement, index, values[row]),
            View::UInt16(values) => put(statement, index, values[row]),
            View::UInt32(values) => put(statement, index, values[row]),
            View::UInt64(values) => {
                let value = i64::try_from(values[row]).map_err(|_| Refusal::Unsigned)?;
                put(statement, index, value)
            }
            View::Float32(values) => self.bind_double(values[row].into(), statement, index),
            View::Float64(values) => self.bind_double(values[row], statement, index),
            View::Text(array) | View::Json(array) => {
                let text = array.value(row);
                self.column.check_text(text)?;
                put_text(statement, index, text.as_bytes())
            }
            View::Binary(array) => put_blob(statement, index, array.value(row)),
            View::Decimal128(values, scale) => {
                self.bind_decimal(values[row], scale, statement, index, scratch)
            }
            _ => {
                scratch.clear();
                self.write(row, scratch)?;
                put_text(statement, index, scratch)
            }
        }
    }

    /// Appends the text under which a value is stored that is stored as text.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> std::result::Result<(), Refusal> {
        match self.view {
            View::Decimal256(..) | View::Numeric(_) => {
                self.view.write(row, out);
                self.column.check_number(out)?;
            }
            View::Date(days) => {
                check_day(days[row].into())?;
                write::date(days[row].into(), out);
            }
            View::Time(values, ticks) => {
                if !(0..ticks.per_day()).contains(&values[row]) {
                    return Err(Refusal::Calendar);
                }
                write::time(values[row], ticks.padded(), out);
            }
            View::Timestamp(values, ticks) => write_timestamp(values[row], ticks, out)?,
            View::TimestampTz(values, ticks) => {
                write_timestamp(values[row], ticks, out)?;
                out.push(b'Z');
            }
            View::Duration(values) => write::duration(values[row], Ticks::new(6).padded(), out),
            _ => self.view.write(row, out),
        }
        Ok(())
    }

    #[inline]
    fn bind_double(
        &self,
        value: f64,
        statement: &mut Statement<'_>,
        index: usize,
    ) -> std::result::Result<(), Refusal> {
        self.column.check_double(value)?;
        put(statement, index, value)
    }

    fn bind_decimal(
        &self,
        value: i128,
        scale: usize,
        statement: &mut Statement<'_>,
        index: usize,
        scratch: &mut Vec<u8>,
    ) -> std::result::Result<(), Refusal> {
        if self.column.makes_numbers()
            && let Some(double) = float_of_decimal(value, scale)
        {
            // where it is whole, the column's affinity makes it an integer again
            return put(statement, index, double);
        }
        scratch.clear();
        write::decimal(value, scale, scratch);
        if self.column.makes_numbers() {
            // `12345678901234567.00` is an integer that SQLite would otherwise convert through a double.
            trim_fraction(scratch);
        }
        self.column.check_number(scratch)?;
        put_text(statement, index, scratch)
    }

    /// The value as text, for messages.
    pub(crate) fn shown(&self, row: usize) -> Option<String> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        match self.view {
            View::Binary(array) => Some(format!("{} bytes", array.value(row).len())),
            // not a time of day, so that no text says it
            View::Time(values, ticks) if !(0..ticks.per_day()).contains(&values[row]) => {
                Some(values[row].to_string())
            }
            view => {
                let mut out = Vec::new();
                view.write(row, &mut out);
                Some(String::from_utf8_lossy(&out).into_owned())
            }
        }
    }
}

/// Refuses a day outside of the years 0 to 9999, which SQLite's own functions cannot read.
fn check_day(day: i64) -> std::result::Result<(), Refusal> {
    if (FIRST_DAY..=LAST_DAY).contains(&day) { Ok(()) } else { Err(Refusal::Calendar) }
}

fn write_timestamp(
    value: i64,
    ticks: Ticks,
    out: &mut Vec<u8>,
) -> std::result::Result<(), Refusal> {
    check_day(value.div_euclid(ticks.per_day()))?;
    write::timestamp(value, ticks.padded(), b' ', out);
    Ok(())
}

#[inline]
fn put(
    statement: &mut Statement<'_>,
    index: usize,
    value: impl rusqlite::ToSql,
) -> std::result::Result<(), Refusal> {
    // Of all that binding can answer, only the size can be about the value.
    statement.raw_bind_parameter(index, value).map_err(|_| Refusal::TooBig)
}

#[inline]
fn put_text(
    statement: &mut Statement<'_>,
    index: usize,
    text: &[u8],
) -> std::result::Result<(), Refusal> {
    put(statement, index, ToSqlOutput::Borrowed(ValueRef::Text(text)))
}

fn put_blob(
    statement: &mut Statement<'_>,
    index: usize,
    bytes: &[u8],
) -> std::result::Result<(), Refusal> {
    put(statement, index, ToSqlOutput::Borrowed(ValueRef::Blob(bytes)))
}

/// Takes the zeros, and the point, off the end of a decimal's text.
fn trim_fraction(text: &mut Vec<u8>) {
    if !text.contains(&b'.') {
        return;
    }
    while text.last() == Some(&b'0') {
        text.pop();
    }
    if text.last() == Some(&b'.') {
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_zeros_are_taken_off() {
        for (text, wanted) in [("12.00", "12"), ("12.10", "12.1"), ("100", "100"), ("0.0", "0")] {
            let mut bytes = text.as_bytes().to_vec();
            trim_fraction(&mut bytes);
            assert_eq!(bytes, wanted.as_bytes());
        }
    }
}
