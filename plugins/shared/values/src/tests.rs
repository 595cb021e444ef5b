//! Texts of every type through [`ColumnParser`] and [`ColumnRenderer`].

use arrow_array::{Array, ArrayRef, StringArray, cast::AsArray};
use arrow_buffer::i256;
use proptest::prelude::*;
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
        ..CellWords::default()
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

/// What is written reads back as the same array.
fn reads_back(logical: &str, fill: impl FnOnce(&mut Builder)) {
    let column = column(logical);
    let mut builder = Builder::new(&column.logical, 0, 0).unwrap();
    fill(&mut builder);
    let array = builder.finish(&column.logical, None).unwrap();
    assert!(builder.is_empty());
    let mut parser = ColumnParser::new(&column, &CellWords::default()).unwrap();
    let view = View::of(&column.logical, &array).unwrap();
    let mut text = Vec::new();
    for row in 0..array.len() {
        text.clear();
        view.write(row, &mut text);
        let shown = String::from_utf8_lossy(&text);
        parser.append_text(&text).unwrap_or_else(|error| panic!("{shown}: {error:?}"));
    }
    assert_eq!(&parser.finish(), &array, "{logical}");
}

/// Fills one variant.
macro_rules! with {
    ($variant:ident, $values:expr) => {
        |builder: &mut Builder| {
            if let Builder::$variant(values) = builder {
                values.extend($values);
            }
            assert!(!builder.is_empty());
        }
    };
}

proptest! {
    #[test]
    fn integers_read_back(value in any::<i64>()) {
        reads_back("int8", with!(Int8, [value as i8]));
        reads_back("int16", with!(Int16, [value as i16]));
        reads_back("int32", with!(Int32, [value as i32]));
        reads_back("int64", with!(Int64, [value]));
        reads_back("uint8", with!(UInt8, [value as u8]));
        reads_back("uint16", with!(UInt16, [value as u16]));
        reads_back("uint32", with!(UInt32, [value as u32]));
        reads_back("uint64", with!(UInt64, [value as u64]));
    }

    #[test]
    fn floats_read_back(bits in any::<u64>()) {
        // NaN reads back as NaN, whose bits may differ
        let double = Some(f64::from_bits(bits)).filter(|value| !value.is_nan());
        reads_back("float64", with!(Float64, [double.unwrap_or(f64::INFINITY)]));
        let single = Some(f32::from_bits(bits as u32)).filter(|value| !value.is_nan());
        reads_back("float32", with!(Float32, [single.unwrap_or(f32::NEG_INFINITY)]));
    }

    #[test]
    fn decimals_read_back(value in any::<i128>(), scale in 0_u8..=38) {
        let short = value % 10_i128.pow(38);
        reads_back(&format!("decimal(38,{scale})"), with!(Decimal128, [short]));
        let wide = i256::from_i128(short).wrapping_mul(i256::from_i128(10_i128.pow(38) - 1));
        reads_back(&format!("decimal(76,{scale})"), with!(Decimal256, [wide]));
    }

    #[test]
    fn dates_and_times_read_back(days in any::<i32>(), value in any::<i64>()) {
        // years of up to 8 digits
        reads_back("date", with!(Date, [days]));
        for precision in 0_u8..=9 {
            let ticks = Ticks::new(precision);
            let value = value / ticks.step() * ticks.step();
            let time = value.rem_euclid(ticks.per_day());
            reads_back(&format!("time({precision})"), with!(Time, [time]));
            reads_back(&format!("timestamp({precision})"), with!(Timestamp, [value]));
            reads_back(&format!("timestamptz({precision})"), with!(TimestampTz, [value]));
        }
        reads_back("duration", with!(Duration, [value]));
    }

    #[test]
    fn bytes_read_back(bytes in any::<[u8; 16]>(), length in 0_usize..16) {
        reads_back("uuid", with!(Uuid, [bytes]));
        reads_back("binary", |builder| if let Builder::Binary(values) = builder {
            values.bytes.extend_from_slice(&bytes[..length]);
            values.close().unwrap();
        });
        let form = BinaryText::Base64;
        let words = CellWords { binary: form, ..CellWords::default() };
        let mut parser = ColumnParser::new(&column("binary"), &words).unwrap();
        let mut text = Vec::new();
        write::base64(&bytes[..length], &mut text);
        parser.append_text(&text).unwrap();
        let array = parser.finish();
        prop_assert_eq!(array.as_binary::<i32>().value(0), &bytes[..length]);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-+.:0-9TZe UC/]{0,30}") {
        for logical in ["int32", "float64", "decimal(15,2)", "decimal(76,10)", "numeric", "date",
            "time", "timestamp(9)", "timestamptz", "duration", "uuid", "binary", "boolean"] {
            let column = column(logical);
            let mut parser = ColumnParser::new(&column, &CellWords::default()).unwrap();
            let read = parser.append_text(text.as_bytes());
            prop_assert_eq!(parser.len(), usize::from(read.is_ok()));
            // an array of texts means what single texts mean
            let mut faults = Vec::new();
            let array = parser.finish();
            parser.append_array(&StringArray::from(vec![text.as_str()]), &mut faults);
            prop_assert_eq!(faults.is_empty(), read.is_ok());
            let all = parser.finish();
            prop_assert_eq!(all.len(), 1);
            prop_assert!(read.is_err() || all == array || logical == "float64");
        }
    }
}
