//! Any text as a value of every type: what is accepted is written, and reads back as the same value.

use arrow_array::{Array as _, ArrayRef};
use transload_plugin_api::{Column, LogicalType};
use transload_tests_fuzz::fuzz;

use crate::{CellWords, ColumnParser, ColumnRenderer};

const TYPES: &[&str] = &[
    "boolean",
    "int8",
    "int64",
    "uint64",
    "float32",
    "float64",
    "decimal(15,2)",
    "decimal(38,10)",
    "decimal(76,20)",
    "numeric",
    "text",
    "text(5)",
    "binary",
    "date",
    "time",
    "time(0)",
    "timestamp",
    "timestamp(9)",
    "timestamptz",
    "timestamptz(0)",
    "duration",
    "uuid",
    "json",
];

const WORDS: &[&str] = &[
    "-",
    "+",
    ".",
    "e",
    "E5",
    "e-400",
    "e2147483648",
    "00",
    ":",
    "T",
    "Z",
    " UTC",
    "+01:30",
    "NaN",
    "Infinity",
    "\\x",
    "{",
    "}",
    "é",
    "9999",
];

#[test]
fn texts_of_values() {
    let seeds = [
        "true",
        "-128",
        "18446744073709551615",
        "1.7976931348623157e308",
        "1234567890123.45",
        "-0.0000000001",
        "NaN",
        "deadBEEF",
        "-0044-03-15",
        "2024-02-29",
        "23:59:59.999999",
        "2024-02-29 00:00:00.123456789",
        "2024-02-29T12:00:00+01:30",
        "-838:59:59.999999",
        "00112233-4455-6677-8899-aabbccddeeff",
        "{\"a\":[1,2.50,\"\\u00e9\"]}",
    ];
    let columns: Vec<_> = TYPES
        .iter()
        .map(|name| Column::new("c", name.parse::<LogicalType>().expect("a type"), true))
        .collect();
    fuzz("texts_of_values", seeds, WORDS, |input| {
        columns.iter().map(|column| reads_back(column, input)).collect::<Vec<_>>()
    });
}

/// Whether the text is a value of the column; what is written of it is the same value again.
fn reads_back(column: &Column, text: &[u8]) -> bool {
    let Some(value) = read(column, text) else { return false };
    let text = written(column, &value);
    let again = read(column, text.as_bytes());
    let again = again.unwrap_or_else(|| panic!("{}: `{text}` is refused", column.logical));
    // All forms of NaN are one value, and their bits differ.
    let same = text == "NaN" || value.to_data() == again.to_data();
    assert!(same, "{}: `{text}` is another value", column.logical);
    true
}

/// The text as a value of the column, `None` if it is not one.
fn read(column: &Column, text: &[u8]) -> Option<ArrayRef> {
    let mut parser = ColumnParser::new(column, &CellWords::default()).expect("a type with a text");
    parser.append_text(text).ok()?;
    Some(parser.finish())
}

fn written(column: &Column, value: &ArrayRef) -> String {
    let mut out = Vec::new();
    let renderer = ColumnRenderer::new(column, value).expect("a type with a text");
    renderer.render(0, &mut out);
    String::from_utf8(out).expect("text in UTF-8")
}
