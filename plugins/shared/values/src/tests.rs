//! Texts of every type through [`ColumnParser`] and [`ColumnRenderer`].

use arrow_array::{Array, ArrayRef};
use transload_plugin_api::{Column, LogicalType};

use super::*;

fn column(logical: &str) -> Column {
    Column::new("c", logical.parse::<LogicalType>().unwrap(), true)
}

fn render(column: &Column, array: &ArrayRef, row: usize) -> String {
    let mut out = Vec::new();
    ColumnRenderer::new(column, array).unwrap().render(row, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn texts_in_and_out() {
    for (logical, input, output) in [
        ("boolean", "Yes", "true"),
        ("boolean", "0", "false"),
        ("int8", "-0", "0"),
        ("uint64", "18446744073709551615", "18446744073709551615"),
        ("float32", "0.1", "0.1"),
        ("float64", "1e300", "1e300"),
        ("float64", "-inf", "-Infinity"),
        ("float64", "NaN", "NaN"),
        ("float64", "-0", "-0.0"),
        ("decimal(15,2)", "-0.05", "-0.05"),
        ("decimal(15,2)", "7", "7.00"),
        ("decimal(5,0)", "12345", "12345"),
        (
            "decimal(76,2)",
            "-12345678901234567890123456789012345678901234567890.12",
            "-12345678901234567890123456789012345678901234567890.12",
        ),
        ("numeric", "1.500", "1.500"),
        ("text(3)", "é😀x", "é😀x"),
        ("date", "0001-01-01", "0001-01-01"),
        ("date", "-0044-03-15", "-0044-03-15"),
        ("date", "+12345-06-07", "+12345-06-07"),
        ("time", "01:02:03.100", "01:02:03.1"),
        ("time(9)", "23:59:59.000000001", "23:59:59.000000001"),
        ("duration", "-838:59:59.5", "-838:59:59.5"),
        ("duration", "1:00:00", "01:00:00"),
        ("timestamp", "1969-12-31T23:59:59.999999", "1969-12-31 23:59:59.999999"),
        ("timestamptz", "2024-01-01 01:00:00+02", "2023-12-31T23:00:00Z"),
        ("binary", r"\xDEad", "dead"),
        ("uuid", "123E4567-E89B-12D3-A456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("json", "{\"b\": 1.10,\"b\":2}", "{\"b\": 1.10,\"b\":2}"),
    ] {
        let column = column(logical);
        let mut parser = ColumnParser::new(&column, &CellWords::default()).unwrap();
        parser.append_text(input.as_bytes()).unwrap();
        parser.append_null().unwrap();
        assert_eq!(parser.len(), 2);
        let array = parser.finish();
        assert!(parser.is_empty());
        assert_eq!(array.data_type(), &column.logical.data_type());
        assert_eq!(render(&column, &array, 0), output, "{logical}");
        let renderer = ColumnRenderer::new(&column, &array).unwrap();
        assert_eq!([0, 1].map(|row| renderer.is_null(row)), [false, true]);
    }
}

#[test]
fn a_text_that_is_no_value_appends_nothing_and_says_why() {
    for (logical, text, code) in [
        ("boolean", "maybe", "parse"),
        ("boolean", "", "parse"),
        ("int8", "128", "range"),
        ("int8", "", "parse"),
        ("decimal(3,1)", "100", "range"),
        ("decimal(3,1)", "0.15", "range"),
        ("numeric", "1,5", "parse"),
        ("float32", "1e39", "range"),
        ("text(2)", "é😀x", "length"),
        ("text", "\u{1}\u{2}\u{3}", ""),
        ("json", "{", "parse"),
        ("binary", "abc", "parse"),
        ("uuid", "123", "parse"),
        ("date", "2023-02-29", "range"),
        ("time(3)", "00:00:00.0001", "range"),
        ("timestamptz", "2024-01-01 00:00:00", "parse"),
    ] {
        let mut parser = ColumnParser::new(&column(logical), &CellWords::default()).unwrap();
        match parser.append_text(text.as_bytes()) {
            Ok(()) => assert_eq!(code, "", "{logical} {text}"),
            Err(error) => {
                assert_eq!(error.code, code, "{logical} {text}");
                assert!(parser.is_empty());
                assert!(error.reason.contains(logical), "{}", error.reason);
            }
        }
    }
    for logical in ["text", "text(9)", "json"] {
        let mut parser = ColumnParser::new(&column(logical), &CellWords::default()).unwrap();
        assert_eq!(parser.append_text(b"\"\xFF\"").unwrap_err().code, "utf8");
        assert!(parser.is_empty());
    }
}

#[test]
fn null_is_refused_in_a_required_column() {
    let required = Column::new("c", LogicalType::Int32, false);
    let mut parser = ColumnParser::new(&required, &CellWords::default()).unwrap();
    assert_eq!(parser.append_null().unwrap_err().code, "null");
    assert!(parser.is_empty());
}

#[test]
fn rows_are_dropped_from_every_kind_of_parser() {
    for (logical, kept, dropped) in [
        ("int32", "1", "2"),
        ("boolean", "true", "false"),
        ("text", "a", "bcd"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "00000000-0000-0000-0000-000000000000"),
    ] {
        let column = column(logical);
        let mut parser = ColumnParser::new(&column, &CellWords::default()).unwrap();
        for text in [kept, dropped] {
            parser.append_null().unwrap();
            parser.append_text(text.as_bytes()).unwrap();
        }
        parser.truncate_to(2);
        parser.append_text(kept.as_bytes()).unwrap();
        let array = parser.finish();
        assert_eq!((array.len(), array.null_count()), (3, 1));
        assert_eq!([1, 2].map(|row| render(&column, &array, row)), [kept, kept]);
    }
}

#[test]
fn words_of_a_column_are_its_own() {
    let words = CellWords {
        yes: vec!["ja".to_owned()],
        no: vec!["nein".to_owned()],
        binary: BinaryText::Base64,
    };
    let mut parser = ColumnParser::new(&column("boolean"), &words).unwrap();
    assert!(parser.append_text(b"JA").is_ok());
    assert!(parser.append_text(b"true").is_err());
    let mut parser = ColumnParser::new(&column("binary"), &words).unwrap();
    assert!(parser.append_text(b"AAE=").is_ok());
    assert!(parser.append_text(b"0001ff").is_err());
}

#[test]
fn types_without_a_text_form_are_refused() {
    for logical in ["interval", "list<int32>"] {
        let error = ColumnParser::new(&column(logical), &CellWords::default()).err().unwrap();
        assert_eq!(error.kind, transload_plugin_api::ErrorKind::Unsupported);
        assert!(error.message.contains(logical));
    }
}
