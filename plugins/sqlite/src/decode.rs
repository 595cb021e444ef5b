//! Stored values into Arrow columns. A text is parsed as every text is; whether a number or a blob
//! is of the column's type is decided in `fit`.

use arrow_array::ArrayRef;
use rusqlite::types::ValueRef;
use transload_plugin_api::{Column, LogicalType, Result};
use transload_values::{CellWords, ColumnParser, Fault};

use crate::fit::{Fit, Misfit, push_blob, push_integer, push_real};

/// Builds one column of a batch.
pub(crate) struct ColumnDecoder {
    column: Column,
    cells: ColumnParser,
}

impl ColumnDecoder {
    /// A decoder for the column's type.
    pub(crate) fn new(column: &Column) -> Result<Self> {
        let cells = ColumnParser::new(column, &CellWords::default())?;
        Ok(Self { column: column.clone(), cells })
    }

    /// Appends a value. After a misfit nothing was appended.
    #[inline]
    pub(crate) fn append(&mut self, value: ValueRef<'_>) -> Fit<()> {
        let logical = &self.column.logical;
        match value {
            ValueRef::Integer(number) => {
                self.cells.push(|builder| push_integer(builder, logical, number))
            }
            ValueRef::Real(number) => {
                self.cells.push(|builder| push_real(builder, logical, number))
            }
            // the text of bytes is a matter of files; here bytes are blobs
            ValueRef::Text(_) if *logical == LogicalType::Binary => Err(Misfit::Class),
            ValueRef::Text(text) => Ok(self.cells.try_append(text)?),
            ValueRef::Blob(bytes) => self.cells.push(|builder| push_blob(builder, bytes)),
            ValueRef::Null if self.column.nullable => {
                self.cells.push_null();
                Ok(())
            }
            ValueRef::Null => Err(Misfit::Value(Fault::Null)),
        }
    }

    /// Fills up to `rows`; for a row that turned out dirty and is filtered out afterwards.
    pub(crate) fn fill_to(&mut self, rows: usize) {
        while self.cells.len() < rows {
            self.cells.push_null();
        }
    }

    /// The values so far; the decoder is empty again.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        self.cells.finish()
    }
}

/// Whether a column can be made of this type.
pub(crate) fn can_make(logical: &LogicalType) -> bool {
    ColumnParser::new(&Column::new("", logical.clone(), true), &CellWords::default()).is_ok()
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array as _, cast::AsArray, types::Decimal128Type};
    use transload_values::View;

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
            ("int64", Text(b"abc"), Misfit::Value(Fault::Parse)),
            ("int64", Text(b"1.0"), Misfit::Value(Fault::Parse)),
            ("int64", Real(1.5), Misfit::Class),
            ("int64", Null, Misfit::Value(Fault::Null)),
            ("int8", Integer(128), Misfit::Value(Fault::Range)),
            ("uint64", Integer(-1), Misfit::Value(Fault::Range)),
            ("boolean", Integer(2), Misfit::Value(Fault::Range)),
            ("boolean", Text(b"maybe"), Misfit::Value(Fault::Parse)),
            ("float64", Integer(i64::MAX), Misfit::Value(Fault::Range)),
            ("float64", Text(b"1,0"), Misfit::Value(Fault::Parse)),
            ("float32", Real(0.1), Misfit::Value(Fault::Range)),
            ("decimal(5,2)", Real(1.234), Misfit::Value(Fault::Range)),
            ("decimal(5,2)", Integer(1000), Misfit::Value(Fault::Range)),
            ("decimal(5,2)", Text(b"x"), Misfit::Value(Fault::Parse)),
            ("decimal(50,2)", Text(b"1.234"), Misfit::Value(Fault::Range)),
            ("numeric", Text(b"12a"), Misfit::Value(Fault::Parse)),
            ("text", Blob(b"a"), Misfit::Class),
            ("text", Text(b"\xff"), Misfit::Value(Fault::Utf8)),
            ("text(2)", Text("äöü".as_bytes()), Misfit::Value(Fault::Length)),
            ("binary", Text(b"a"), Misfit::Class),
            ("date", Integer(20240101), Misfit::Class),
            ("date", Text(b"2024-02-30"), Misfit::Value(Fault::Range)),
            ("time(0)", Text(b"00:00:00.5"), Misfit::Value(Fault::Range)),
            ("timestamp", Text(b"2024-01-01"), Misfit::Value(Fault::Parse)),
            ("timestamptz", Text(b"2024-01-01 00:00:00"), Misfit::Value(Fault::Parse)),
            ("json", Text(b"{"), Misfit::Value(Fault::Parse)),
            ("json", Blob(b"{}"), Misfit::Class),
            ("uuid", Text(b"123e4567-e89b-12d3-a456-42661417400"), Misfit::Value(Fault::Parse)),
            ("uuid", Blob(b"short"), Misfit::Value(Fault::Length)),
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
    fn texts_are_parsed_for_every_type() {
        for (logical, text, shown) in [
            ("int64", "1", "1"),
            ("boolean", "Yes", "true"),
            ("float64", "1e5", "100000.0"),
            ("decimal(9,2)", "1e5", "100000.00"),
            ("date", "-0044-03-15", "-0044-03-15"),
            ("timestamptz", "2024-01-01 00:00:00+0130", "2023-12-31T22:30:00Z"),
        ] {
            let array = append(logical, ValueRef::Text(text.as_bytes())).unwrap();
            let mut out = Vec::new();
            View::of(&logical.parse().unwrap(), &array).unwrap().write(0, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), shown, "{logical}");
        }
    }

    #[test]
    fn intervals_and_lists_are_not_made() {
        for name in ["interval", "list<int8>"] {
            assert!(!can_make(&name.parse().unwrap()));
        }
    }
}
