//! A whole row as a JSON object, from which each value can be taken back exactly: the form in which
//! dirty rows are kept. The JSON of files, which leaves out what JSON does not have, is written by
//! `transload-formats`.
//!
//! | type | form |
//! |---|---|
//! | integers, decimals, floats, `numeric` | a number with every digit; a text where JSON has none: `"NaN"`, `"-Infinity"`, `"+5"` |
//! | boolean | `true`, `false` |
//! | json | the document; `{"$json": "..."}` with its text if it is `null`, has line breaks, is not valid or begins as such an object does |
//! | interval | `{"months": 1, "days": 2, "nanoseconds": 3}` |
//! | list | an array |
//! | all others | their text; binary values as hexadecimal digits |

use arrow_array::{Array, ArrayRef};
use transload_plugin_api::LogicalType;

use crate::{View, write};

/// A JSON object that is being written.
#[derive(Clone, Debug)]
pub struct JsonRow(Vec<u8>);

impl Default for JsonRow {
    fn default() -> Self {
        Self(vec![b'{'])
    }
}

impl JsonRow {
    /// The row at an index of these arrays, by the names of the columns. A name that comes again is
    /// left out.
    pub fn of<'a>(
        columns: impl IntoIterator<Item = (&'a str, &'a LogicalType, &'a ArrayRef)>,
        row: usize,
    ) -> String {
        let (mut object, mut names) = (Self::default(), Vec::new());
        for (name, logical, array) in columns {
            if !names.contains(&name) {
                object.value(name, logical, array.as_ref(), row);
                names.push(name);
            }
        }
        object.finish()
    }

    /// Adds a value of an array.
    pub fn value(&mut self, name: &str, logical: &LogicalType, array: &dyn Array, row: usize) {
        self.key(name);
        value(logical, array, row, &mut self.0);
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        quoted(text, &mut self.0);
    }

    /// Adds bytes: as a text, or as `{"$bytes": "hexadecimal digits"}` if they are not UTF-8.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(name, text),
            Err(_) => {
                self.raw(name, &format!("{{\"$bytes\":\"{}\"}}", write::hex_string(bytes)));
            }
        }
    }

    /// Adds what is JSON already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.key(name);
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Adds a NULL.
    pub fn null(&mut self, name: &str) {
        self.raw(name, "null");
    }

    /// The object.
    pub fn finish(self) -> String {
        let mut bytes = self.0;
        bytes.push(b'}');
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn key(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        quoted(name, &mut self.0);
        self.0.push(b':');
    }
}

/// Appends one value.
fn value(logical: &LogicalType, array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let view = if array.is_null(row) { None } else { View::of(logical, array) };
    let Some(view) = view else { return out.extend_from_slice(b"null") };
    let start = out.len();
    match view {
        View::Json(values) => document(values.value(row), out),
        View::Interval(values) => {
            let it = values[row];
            let json = format!(
                "{{\"months\":{},\"days\":{},\"nanoseconds\":{}}}",
                it.months, it.days, it.nanoseconds
            );
            out.extend_from_slice(json.as_bytes());
        }
        View::List(lists) => {
            let LogicalType::List(item) = logical else { return out.extend_from_slice(b"null") };
            let items = lists.value(row);
            out.push(b'[');
            for index in 0..items.len() {
                if index > 0 {
                    out.push(b',');
                }
                value(item, items.as_ref(), index, out);
            }
            out.push(b']');
        }
        _ => {
            view.write(row, out);
            let text = String::from_utf8_lossy(&out[start..]).into_owned();
            if !is_bare(&view) || !is_json(&text) {
                out.truncate(start);
                quoted(&text, out);
            }
        }
    }
}

/// Whether the text of a value is JSON, unless it is one of few such as NaN.
fn is_bare(view: &View<'_>) -> bool {
    !matches!(
        view,
        View::Text(_)
            | View::Binary(_)
            | View::Uuid(_)
            | View::Date(_)
            | View::Time(..)
            | View::Timestamp(..)
            | View::TimestampTz(..)
            | View::Duration(_)
    )
}

fn document(text: &str, out: &mut Vec<u8>) {
    let as_it_is = is_json(text)
        && text != "null"
        && !text.starts_with("{\"$json\"")
        && memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none();
    if as_it_is {
        return out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(b"{\"$json\":");
    quoted(text, out);
    out.push(b'}');
}

fn is_json(text: &str) -> bool {
    !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    // A text can always be written, and memory takes it.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array,
        IntervalMonthDayNanoArray, ListArray, StringArray, TimestampMicrosecondArray,
        types::Int64Type,
    };
    use arrow_buffer::IntervalMonthDayNano;

    use super::*;

    fn of(logical: &str, array: ArrayRef) -> Vec<String> {
        let logical: LogicalType = logical.parse().unwrap();
        let row = |row| JsonRow::of([("c", &logical, &array)], row);
        (0..array.len()).map(|at| row(at)[5..].trim_end_matches('}').to_owned()).collect()
    }

    #[test]
    fn every_value_has_a_form_that_can_be_taken_back() {
        let texts =
            |texts: &[&'static str]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
        let decimals = Decimal128Array::from(vec![i128::from(i64::MAX) * 1_000_000_000_000])
            .with_precision_and_scale(38, 2)
            .unwrap();
        let lists: ListArray =
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])]);
        let cases: Vec<(&str, ArrayRef, Vec<&str>)> = vec![
            (
                "int64",
                Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
                vec!["-9223372036854775808", "null"],
            ),
            (
                "float64",
                Arc::new(Float64Array::from(vec![0.1, f64::NAN, f64::NEG_INFINITY])),
                vec!["0.1", "\"NaN\"", "\"-Infinity\""],
            ),
            ("decimal(38,2)", Arc::new(decimals), vec!["92233720368547758070000000000.00"]),
            ("numeric", texts(&["0.10", "NaN", "+5"]), vec!["0.10", "\"NaN\"", "\"+5\""]),
            ("boolean", Arc::new(BooleanArray::from(vec![true])), vec!["true"]),
            ("text", texts(&["", "a\"\n\0", "12"]), vec!["\"\"", "\"a\\\"\\n\\u0000\"", "\"12\""]),
            ("binary", Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"])), vec!["\"00ff\""]),
            (
                "timestamp(6)",
                Arc::new(TimestampMicrosecondArray::from(vec![1])),
                vec!["\"1970-01-01 00:00:00.000001\""],
            ),
            (
                "interval",
                Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(
                    1, -2, 3,
                )])),
                vec!["{\"months\":1,\"days\":-2,\"nanoseconds\":3"],
            ),
        ];
        for (logical, array, expected) in cases {
            assert_eq!(of(logical, array), expected, "{logical}");
        }
        let item = LogicalType::List(Box::new(LogicalType::Int64));
        let lists: ArrayRef = Arc::new(lists);
        if View::of(&item, lists.as_ref()).is_some() {
            assert_eq!(JsonRow::of([("c", &item, &lists)], 0), r#"{"c":[1,null]}"#);
        }
    }

    #[test]
    fn documents_that_are_not_kept_as_they_are_are_texts() {
        let documents = ["{\"a\": 1.0}", "null", "[1,\n2]", "{\"$json\":1}", "no", "\"x\""];
        let array: ArrayRef = Arc::new(StringArray::from(documents.to_vec()));
        let expected = [
            r#"{"c":{"a": 1.0}}"#,
            r#"{"c":{"$json":"null"}}"#,
            r#"{"c":{"$json":"[1,\n2]"}}"#,
            r#"{"c":{"$json":"{\"$json\":1}"}}"#,
            r#"{"c":{"$json":"no"}}"#,
            r#"{"c":"x"}"#,
        ];
        for (row, expected) in expected.into_iter().enumerate() {
            assert_eq!(JsonRow::of([("c", &LogicalType::Json, &array)], row), expected);
        }
    }

    #[test]
    fn a_name_comes_once() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let column = ("a", &LogicalType::Int64, &array);
        assert_eq!(JsonRow::of([column, column], 0), r#"{"a":1}"#);
        let mut row = JsonRow::default();
        row.bytes("b", b"\xff");
        row.null("c");
        assert_eq!(row.finish(), r#"{"b":{"$bytes":"ff"},"c":null}"#);
    }
}
