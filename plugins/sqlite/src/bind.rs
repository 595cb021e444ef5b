//! Arrow values into statement parameters. Each column is downcast once a batch; what SQLite would
//! store as another value is refused, by the rules in `refusal`.

use arrow_array::{
    Array, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    RecordBatch, StringArray,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
        Time64NanosecondType, TimestampMicrosecondType, TimestampNanosecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::NullBuffer;
use rusqlite::{
    Statement,
    types::{Null, ToSqlOutput, ValueRef},
};
use transload_plugin_api::{Error, ErrorKind, LogicalType, Result};

use crate::{
    calendar,
    decimal::{POWERS, write_scaled, write_scaled_wide},
    refusal::{BoundColumn, Refusal},
};

/// One column of a batch, ready to bind.
pub(crate) struct Cells<'a> {
    column: &'a BoundColumn,
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
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
    Decimal(&'a Decimal128Array, i8),
    WideDecimal(&'a Decimal256Array, i8),
    Numeric(&'a StringArray),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
    Date(&'a [i32]),
    Time(&'a [i64], i64),
    Timestamp(&'a [i64], i64),
    Instant(&'a [i64], i64),
    Duration(&'a [i64]),
}

/// The batch's columns, in the order of `columns`.
pub(crate) fn cells_of<'a>(
    columns: &'a [BoundColumn],
    batch: &'a RecordBatch,
) -> Result<Vec<Cells<'a>>> {
    if batch.num_columns() != columns.len() {
        let message =
            format!("a batch of {} columns, expected {}", batch.num_columns(), columns.len());
        return Err(Error::new(ErrorKind::Defect, message));
    }
    columns.iter().zip(batch.columns()).map(|(column, array)| Cells::new(column, array)).collect()
}

impl<'a> Cells<'a> {
    fn new(column: &'a BoundColumn, array: &'a dyn Array) -> Result<Self> {
        let logical = &column.logical;
        if *array.data_type() != logical.data_type() {
            let message = format!("a batch holds `{}`, expected `{logical}`", array.data_type());
            return Err(
                Error::new(ErrorKind::Defect, message).at(format!("column `{}`", column.name))
            );
        }
        let values = values_of(logical, array).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("sqlite stores no `{logical}`"))
                .at(format!("column `{}`", column.name))
        })?;
        Ok(Self { column, nulls: array.nulls(), values })
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
        match self.values {
            Values::Boolean(array) => put(statement, index, array.value(row)),
            Values::Int8(values) => put(statement, index, values[row]),
            Values::Int16(values) => put(statement, index, values[row]),
            Values::Int32(values) => put(statement, index, values[row]),
            Values::Int64(values) => put(statement, index, values[row]),
            Values::UInt8(values) => put(statement, index, values[row]),
            Values::UInt16(values) => put(statement, index, values[row]),
            Values::UInt32(values) => put(statement, index, values[row]),
            Values::UInt64(values) => {
                let value = i64::try_from(values[row]).map_err(|_| Refusal::Unsigned)?;
                put(statement, index, value)
            }
            Values::Float32(values) => self.bind_double(values[row].into(), statement, index),
            Values::Float64(values) => self.bind_double(values[row], statement, index),
            Values::Text(array) => {
                let text = array.value(row);
                self.column.check_text(text)?;
                put_text(statement, index, text.as_bytes())
            }
            Values::Binary(array) => put_blob(statement, index, array.value(row)),
            Values::Decimal(array, scale) => {
                self.bind_decimal(array.value(row), scale, statement, index, scratch)
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
        match self.values {
            Values::WideDecimal(array, scale) => {
                write_scaled_wide(array.value(row), scale, out);
                self.column.check_number(out)
            }
            Values::Numeric(array) => {
                out.extend_from_slice(array.value(row).as_bytes());
                self.column.check_number(out)
            }
            Values::Uuid(array) => {
                write_uuid(array.value(row), out);
                Ok(())
            }
            Values::Duration(values) => {
                calendar::write_duration(values[row], out);
                Ok(())
            }
            Values::Date(values) => {
                calendar::write_date(values[row].into(), out).ok_or(Refusal::Calendar)
            }
            Values::Time(values, units) => {
                calendar::write_time(values[row], units, out).ok_or(Refusal::Calendar)
            }
            Values::Timestamp(values, units) => {
                calendar::write_timestamp(values[row], units, out).ok_or(Refusal::Calendar)
            }
            Values::Instant(values, units) => {
                calendar::write_timestamp(values[row], units, out).ok_or(Refusal::Calendar)?;
                out.push(b'Z');
                Ok(())
            }
            _ => Ok(()),
        }
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
        scale: i8,
        statement: &mut Statement<'_>,
        index: usize,
        scratch: &mut Vec<u8>,
    ) -> std::result::Result<(), Refusal> {
        if self.column.makes_numbers()
            && value.unsigned_abs() < 1_000_000_000_000_000
            && let Some(power) = POWERS.get(usize::from(scale.unsigned_abs()))
        {
            // Both are exact in a double, so the quotient is the double nearest to the decimal;
            // where it is whole, the column's affinity makes it an integer again.
            return put(statement, index, value as i64 as f64 / power);
        }
        scratch.clear();
        write_scaled(value, scale, scratch);
        if self.column.makes_numbers() {
            // `12345678901234567.00` is an integer that would go through a double as it stands.
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
        Some(match self.values {
            Values::Boolean(array) => array.value(row).to_string(),
            Values::Int8(values) => values[row].to_string(),
            Values::Int16(values) => values[row].to_string(),
            Values::Int32(values) => values[row].to_string(),
            Values::Int64(values) => values[row].to_string(),
            Values::UInt8(values) => values[row].to_string(),
            Values::UInt16(values) => values[row].to_string(),
            Values::UInt32(values) => values[row].to_string(),
            Values::UInt64(values) => values[row].to_string(),
            Values::Float32(values) => values[row].to_string(),
            Values::Float64(values) => values[row].to_string(),
            Values::Text(array) => array.value(row).to_owned(),
            Values::Binary(array) => format!("{} bytes", array.value(row).len()),
            _ => {
                let mut out = Vec::new();
                if let Values::Decimal(array, scale) = self.values {
                    write_scaled(array.value(row), scale, &mut out);
                } else if self.write(row, &mut out) == Err(Refusal::Calendar) {
                    return self.raw(row).map(|number| number.to_string());
                }
                String::from_utf8_lossy(&out).into_owned()
            }
        })
    }

    /// The number that a date or time travels as, where no text can say it.
    fn raw(&self, row: usize) -> Option<i64> {
        match self.values {
            Values::Date(values) => Some(values[row].into()),
            Values::Time(values, _) | Values::Timestamp(values, _) | Values::Instant(values, _) => {
                Some(values[row])
            }
            _ => None,
        }
    }
}

fn values_of<'a>(logical: &LogicalType, array: &'a dyn Array) -> Option<Values<'a>> {
    Some(match *logical {
        LogicalType::Boolean => Values::Boolean(array.as_boolean()),
        LogicalType::Int8 => Values::Int8(array.as_primitive::<Int8Type>().values()),
        LogicalType::Int16 => Values::Int16(array.as_primitive::<Int16Type>().values()),
        LogicalType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
        LogicalType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
        LogicalType::UInt8 => Values::UInt8(array.as_primitive::<UInt8Type>().values()),
        LogicalType::UInt16 => Values::UInt16(array.as_primitive::<UInt16Type>().values()),
        LogicalType::UInt32 => Values::UInt32(array.as_primitive::<UInt32Type>().values()),
        LogicalType::UInt64 => Values::UInt64(array.as_primitive::<UInt64Type>().values()),
        LogicalType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values()),
        LogicalType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values()),
        LogicalType::Decimal { precision, scale } if precision <= 38 => {
            Values::Decimal(array.as_primitive::<Decimal128Type>(), scale)
        }
        LogicalType::Decimal { scale, .. } => {
            Values::WideDecimal(array.as_primitive::<Decimal256Type>(), scale)
        }
        LogicalType::Numeric => Values::Numeric(array.as_string()),
        LogicalType::Text { .. } | LogicalType::Json => Values::Text(array.as_string()),
        LogicalType::Binary => Values::Binary(array.as_binary()),
        LogicalType::Uuid => Values::Uuid(array.as_fixed_size_binary()),
        LogicalType::Date => Values::Date(array.as_primitive::<Date32Type>().values()),
        LogicalType::Duration => {
            Values::Duration(array.as_primitive::<DurationMicrosecondType>().values())
        }
        LogicalType::Time { precision } => {
            let values = match precision {
                0..=6 => array.as_primitive::<Time64MicrosecondType>().values(),
                _ => array.as_primitive::<Time64NanosecondType>().values(),
            };
            Values::Time(values, calendar::units_of(precision))
        }
        LogicalType::Timestamp { precision } => {
            Values::Timestamp(timestamps(array, precision), calendar::units_of(precision))
        }
        LogicalType::TimestampTz { precision } => {
            Values::Instant(timestamps(array, precision), calendar::units_of(precision))
        }
        _ => return None,
    })
}

fn timestamps(array: &dyn Array, precision: u8) -> &[i64] {
    match precision {
        0..=6 => array.as_primitive::<TimestampMicrosecondType>().values(),
        _ => array.as_primitive::<TimestampNanosecondType>().values(),
    }
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

fn write_uuid(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
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
