//! Stored values into Arrow builders, one decoder for each column. Whether a value is of the
//! column's type is decided in `fit`.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType,
    builder::{
        ArrayBuilder, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder,
        StringBuilder,
    },
    types::{
        Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
        Time64NanosecondType, TimestampMicrosecondType, TimestampNanosecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
};
use rusqlite::types::ValueRef;
use transload_plugin_api::{Column, Error, ErrorKind, LogicalType, Result};

use crate::{
    calendar,
    fit::{self, Fit, Misfit},
};

/// Builds one column of a batch.
pub(crate) struct ColumnDecoder {
    nullable: bool,
    cells: Box<dyn Cells>,
}

impl ColumnDecoder {
    /// A decoder for the column's type.
    pub(crate) fn new(column: &Column) -> Result<Self> {
        let cells = cells_for(&column.logical).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("sqlite makes no `{}`", column.logical))
                .at(format!("column `{}`", column.name))
        })?;
        Ok(Self { nullable: column.nullable, cells })
    }

    /// Appends a value. After a misfit nothing was appended.
    pub(crate) fn append(&mut self, value: ValueRef<'_>) -> Fit<()> {
        match value {
            ValueRef::Null if self.nullable => {
                self.cells.append_nothing();
                Ok(())
            }
            ValueRef::Null => Err(Misfit::Null),
            value => self.cells.append(value),
        }
    }

    /// Fills up to `rows`; for a row that turned out dirty and is filtered out afterwards.
    pub(crate) fn fill_to(&mut self, rows: usize) {
        while self.cells.rows() < rows {
            self.cells.append_nothing();
        }
    }

    /// The values so far; the decoder is empty again.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        self.cells.finish()
    }
}

/// Whether a column can be made of this type.
pub(crate) fn can_make(logical: &LogicalType) -> bool {
    cells_for(logical).is_some()
}

/// The values of one column. Dispatched once per cell, which costs less than the call to SQLite
/// that fetches it.
trait Cells: Send {
    fn append(&mut self, value: ValueRef<'_>) -> Fit<()>;
    fn append_nothing(&mut self);
    fn rows(&self) -> usize;
    fn finish(&mut self) -> ArrayRef;
}

/// Fixed-width values, converted one by one.
struct Values<T: ArrowPrimitiveType, F> {
    builder: PrimitiveBuilder<T>,
    convert: F,
}

impl<T, F> Cells for Values<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(ValueRef<'_>) -> Fit<T::Native> + Send,
{
    fn append(&mut self, value: ValueRef<'_>) -> Fit<()> {
        self.builder.append_value((self.convert)(value)?);
        Ok(())
    }

    fn append_nothing(&mut self) {
        self.builder.append_null();
    }

    fn rows(&self) -> usize {
        self.builder.len()
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// Values whose builder takes them itself.
struct Built<B, F> {
    builder: B,
    append: F,
    nothing: fn(&mut B),
}

impl<B, F> Cells for Built<B, F>
where
    B: ArrayBuilder,
    F: Fn(ValueRef<'_>, &mut B) -> Fit<()> + Send,
{
    fn append(&mut self, value: ValueRef<'_>) -> Fit<()> {
        (self.append)(value, &mut self.builder)
    }

    fn append_nothing(&mut self) {
        (self.nothing)(&mut self.builder);
    }

    fn rows(&self) -> usize {
        self.builder.len()
    }

    fn finish(&mut self) -> ArrayRef {
        self.builder.finish()
    }
}

fn values<T: ArrowPrimitiveType>(
    logical: &LogicalType,
    convert: impl Fn(ValueRef<'_>) -> Fit<T::Native> + Send + 'static,
) -> Option<Box<dyn Cells>> {
    // The builder's own type has no precision and no zone; the logical type's has.
    let builder = PrimitiveBuilder::<T>::new().with_data_type(logical.data_type());
    Some(Box::new(Values { builder, convert }))
}

fn built<B: ArrayBuilder>(
    builder: B,
    append: impl Fn(ValueRef<'_>, &mut B) -> Fit<()> + Send + 'static,
    nothing: fn(&mut B),
) -> Option<Box<dyn Cells>> {
    Some(Box::new(Built { builder, append, nothing }))
}

fn cells_for(logical: &LogicalType) -> Option<Box<dyn Cells>> {
    match *logical {
        LogicalType::Boolean => {
            built(BooleanBuilder::new(), fit::boolean, BooleanBuilder::append_null)
        }
        LogicalType::Int8 => values::<Int8Type>(logical, fit::integer),
        LogicalType::Int16 => values::<Int16Type>(logical, fit::integer),
        LogicalType::Int32 => values::<Int32Type>(logical, fit::integer),
        LogicalType::Int64 => values::<Int64Type>(logical, fit::integer),
        LogicalType::UInt8 => values::<UInt8Type>(logical, fit::integer),
        LogicalType::UInt16 => values::<UInt16Type>(logical, fit::integer),
        LogicalType::UInt32 => values::<UInt32Type>(logical, fit::integer),
        LogicalType::UInt64 => values::<UInt64Type>(logical, fit::integer),
        LogicalType::Float32 => values::<Float32Type>(logical, fit::single),
        LogicalType::Float64 => values::<Float64Type>(logical, fit::double),
        LogicalType::Decimal { precision, scale } if precision <= 38 => {
            values::<Decimal128Type>(logical, move |value| fit::decimal(value, precision, scale))
        }
        LogicalType::Decimal { precision, scale } => {
            values::<Decimal256Type>(logical, move |value| {
                fit::wide_decimal(value, precision, scale)
            })
        }
        LogicalType::Date => values::<Date32Type>(logical, |value| {
            let days = calendar::parse_date(fit::text_bytes(value)?).ok_or(Misfit::Parse)?;
            i32::try_from(days).map_err(|_| Misfit::Range)
        }),
        LogicalType::Duration => values::<DurationMicrosecondType>(logical, |value| {
            calendar::parse_duration(fit::text_bytes(value)?).ok_or(Misfit::Parse)
        }),
        LogicalType::Time { precision } => moment::<Time64MicrosecondType, Time64NanosecondType>(
            logical,
            precision,
            calendar::parse_time,
        ),
        LogicalType::Timestamp { precision } => moment::<
            TimestampMicrosecondType,
            TimestampNanosecondType,
        >(
            logical, precision, calendar::parse_timestamp
        ),
        LogicalType::TimestampTz { precision } => moment::<
            TimestampMicrosecondType,
            TimestampNanosecondType,
        >(
            logical, precision, calendar::parse_instant
        ),
        _ => bytes_for(logical),
    }
}

/// Text, binary and what is made of them.
fn bytes_for(logical: &LogicalType) -> Option<Box<dyn Cells>> {
    let nothing = StringBuilder::append_null;
    match *logical {
        LogicalType::Text { length: None } => built(StringBuilder::new(), fit::text, nothing),
        LogicalType::Text { length: Some(length) } => built(
            StringBuilder::new(),
            move |value, out| fit::limited_text(value, length, out),
            nothing,
        ),
        LogicalType::Numeric => built(StringBuilder::new(), fit::numeric, nothing),
        LogicalType::Json => built(StringBuilder::new(), fit::json, nothing),
        LogicalType::Binary => built(BinaryBuilder::new(), fit::binary, BinaryBuilder::append_null),
        LogicalType::Uuid => built(
            FixedSizeBinaryBuilder::new(16),
            |value, out| out.append_value(fit::uuid(value)?).map_err(|_| Misfit::Parse),
            FixedSizeBinaryBuilder::append_null,
        ),
        _ => None,
    }
}

/// Micro- or nanoseconds, by precision.
fn moment<Micro, Nano>(
    logical: &LogicalType,
    precision: u8,
    parse: fn(&[u8], u8) -> Option<i64>,
) -> Option<Box<dyn Cells>>
where
    Micro: ArrowPrimitiveType<Native = i64>,
    Nano: ArrowPrimitiveType<Native = i64>,
{
    let convert =
        move |value: ValueRef<'_>| parse(fit::text_bytes(value)?, precision).ok_or(Misfit::Parse);
    if precision <= 6 {
        return values::<Micro>(logical, convert);
    }
    values::<Nano>(logical, convert)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array as _, cast::AsArray, types::Decimal128Type};

    use super::*;

    fn append(logical: &str, value: ValueRef<'_>) -> Fit<ArrayRef> {
        let column = Column::new("c", logical.parse().unwrap(), false);
        let mut decoder = ColumnDecoder::new(&column).unwrap();
        decoder.append(value)?;
        Ok(decoder.finish())
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        use ValueRef::{Blob, Integer, Null, Real, Text};
        for (logical, value, misfit) in [
            ("int64", Text(b"abc"), Misfit::Class),
            ("int64", Text(b"1"), Misfit::Class),
            ("int64", Real(1.5), Misfit::Class),
            ("int64", Null, Misfit::Null),
            ("int8", Integer(128), Misfit::Range),
            ("uint64", Integer(-1), Misfit::Range),
            ("boolean", Integer(2), Misfit::Range),
            ("boolean", Text(b"true"), Misfit::Class),
            ("float64", Integer(i64::MAX), Misfit::Range),
            ("float64", Text(b"1.0"), Misfit::Class),
            ("float32", Real(0.1), Misfit::Range),
            ("decimal(5,2)", Real(1.234), Misfit::Range),
            ("decimal(5,2)", Integer(1000), Misfit::Range),
            ("decimal(5,2)", Text(b"x"), Misfit::Parse),
            ("decimal(50,2)", Text(b"1.234"), Misfit::Range),
            ("numeric", Text(b"12a"), Misfit::Parse),
            ("text", Blob(b"a"), Misfit::Class),
            ("text", Text(b"\xff"), Misfit::Utf8),
            ("text(2)", Text("äöü".as_bytes()), Misfit::Length),
            ("binary", Text(b"a"), Misfit::Class),
            ("date", Integer(20240101), Misfit::Class),
            ("date", Text(b"2024-02-30"), Misfit::Parse),
            ("time(0)", Text(b"00:00:00.5"), Misfit::Parse),
            ("timestamp", Text(b"2024-01-01"), Misfit::Parse),
            ("timestamptz", Text(b"2024-01-01 00:00:00"), Misfit::Parse),
            ("json", Text(b"{"), Misfit::Parse),
            ("json", Blob(b"{}"), Misfit::Class),
            ("uuid", Text(b"123e4567-e89b-12d3-a456-42661417400"), Misfit::Parse),
            ("uuid", Text(b"123e4567e89b12d3a456426614174000"), Misfit::Parse),
            ("uuid", Blob(b"short"), Misfit::Length),
        ] {
            assert_eq!(append(logical, value).err(), Some(misfit), "{logical} {value:?}");
        }
    }

    #[test]
    fn t18_decimals_come_from_every_storage_class() {
        for value in [ValueRef::Integer(7), ValueRef::Real(7.0), ValueRef::Text(b"7.00")] {
            let array = append("decimal(15,2)", value).unwrap();
            assert_eq!(array.as_primitive::<Decimal128Type>().value(0), 700);
            assert_eq!(array.data_type().to_string(), "Decimal128(15, 2)");
        }
    }

    #[test]
    fn t34_json_and_numbers_keep_their_text() {
        for (logical, stored) in [
            ("json", r#"{"b":1.10,"a":12345678901234567890,"a":2}"#),
            ("numeric", "00012.3400"),
            ("numeric", "NaN"),
            ("text", "0012"),
            ("text", ""),
        ] {
            let array = append(logical, ValueRef::Text(stored.as_bytes())).unwrap();
            assert_eq!(array.as_string::<i32>().value(0), stored);
        }
    }

    #[test]
    fn t38_every_byte_comes_through() {
        let bytes: Vec<u8> = (0..=255).collect();
        let array = append("binary", ValueRef::Blob(&bytes)).unwrap();
        assert_eq!(array.as_binary::<i32>().value(0), bytes);
    }

    #[test]
    fn uuids_come_as_text_or_bytes() {
        let text = append("uuid", ValueRef::Text(b"123E4567-e89b-12d3-a456-426614174000")).unwrap();
        let bytes = text.as_fixed_size_binary().value(0).to_vec();
        assert_eq!(bytes[..4], [0x12, 0x3e, 0x45, 0x67]);
        assert_eq!(&append("uuid", ValueRef::Blob(&bytes)).unwrap(), &text);
    }

    #[test]
    fn intervals_and_lists_are_not_made() {
        for name in ["interval", "list<int8>"] {
            assert!(!can_make(&name.parse().unwrap()));
        }
    }
}
