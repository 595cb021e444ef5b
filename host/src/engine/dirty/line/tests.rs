use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use serde_json::{Value, json};
use transload_plugin_api::{LogicalType, SplitAbility, schema_of};

use super::*;
use crate::{
    convert::Verdict,
    engine::dirty::kept::{PART_BYTES, ROW_BYTES},
};

/// Dirty rows without place, column and value.
pub(in crate::engine::dirty) fn dirty_lines(count: usize) -> Vec<Arc<DirtyLine>> {
    let line = || {
        let (json, message) = (String::new(), String::new());
        Arc::new(DirtyLine { json, message, errors: Vec::new(), misread: None, number: None })
    };
    (0..count).map(|_| line()).collect()
}

/// Dirty rows with an error of this code.
pub(in crate::engine::dirty) fn lines_of(code: &str, count: usize) -> Vec<Arc<DirtyLine>> {
    let line = || {
        let json = format!("{}\n", json!({"errors": [{"column": "id", "code": code}]}));
        let (message, errors) = (format!("a `{code}`"), vec![("id".to_owned(), code.to_owned())]);
        Arc::new(DirtyLine { json, message, errors, misread: None, number: None })
    };
    (0..count).map(|_| line()).collect()
}

fn mapping(source: &str, target: &str, logical: LogicalType) -> Mapping {
    let column = |name: &str| Column::new(name, logical.clone(), false);
    Mapping {
        declared: logical.clone(),
        source: column(source),
        target: column(target),
        verdict: Verdict::Lossless,
        checks: Vec::new(),
        refused: Vec::new(),
    }
}

/// The lines of a split of table `orders`, or of files, with the columns `id` and `note`.
fn describe<T>(table: Option<&str>, work: impl FnOnce(&DirtyLines<'_>) -> T) -> T {
    let mut split = Split::new("part 1", "", SplitAbility::Seekable);
    split.table = table.map(str::to_owned);
    let mapping =
        [mapping("id", "id", LogicalType::Int64), mapping("note", "remark", LogicalType::TEXT)];
    let redactor = Redactor::new();
    redactor.learn("password", "hunter2-hunter2");
    redactor.learn("pin", "480123");
    work(&DirtyLines {
        task: 3,
        split: Some(&split),
        mapping: &mapping,
        key: &["id".to_owned()],
        redactor: &redactor,
    })
}

fn value(line: &DirtyLine) -> Value {
    assert_eq!(line.json.find('\n'), Some(line.json.len() - 1));
    serde_json::from_str(&line.json).unwrap()
}

#[test]
fn a_row_that_the_reader_refused_is_whole() {
    let row = DirtyRow::new("parse", "expected int64, found `x`")
        .column("id")
        .value("x")
        .number(7)
        .text(*b"x,\"a\"")
        .values(r#"{"id":"x","note":"a"}"#)
        .error(RowError::new("utf8", "expected UTF-8").column("note"));
    let origin = Origin { file: Some("/in/a.csv".into()), ..Origin::new("a.csv", "line", 2) };
    let line = describe(None, |lines| lines.read(row, Some(&origin)));
    let expected = json!({
        "version": 1, "task": 3, "split": "part 1", "stage": "read", "place": "a.csv, line 7",
        "file": "/in/a.csv", "line": 7, "key": {"id": "x"},
        "row": {"id": "x", "note": "a"}, "text": "x,\"a\"",
        "errors": [
            {"column": "id", "code": "parse", "expected": "int64 not null", "found": "x",
             "reason": "expected int64, found `x`"},
            {"column": "note", "code": "utf8", "expected": "text not null", "found": "a",
             "reason": "expected UTF-8"},
        ],
    });
    assert_eq!(value(&line), expected);
    assert_eq!(line.message, "a.csv, line 7: column `id`: expected int64, found `x`");
    assert_eq!(line.errors[1], ("note".to_owned(), "utf8".to_owned()));
}

#[test]
fn a_row_of_a_table_has_its_key() {
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![862, 863])),
        Arc::new(StringArray::from(vec!["a", "b"])),
    ];
    let columns = [
        Column::new("id", LogicalType::Int64, false),
        Column::new("note", LogicalType::TEXT, false),
    ];
    let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
    let row = DirtyRow::new("length", "text `b` does not fit").column("remark").row(1);
    let origin = Origin::new("shop.orders", "row", 1);
    let line = describe(Some("shop.orders"), |lines| lines.converted(row, &batch, Some(&origin)));
    let expected = json!({
        "version": 1, "task": 3, "split": "part 1", "stage": "convert",
        "place": "shop.orders, row 2", "table": "shop.orders", "number": 2, "unit": "row",
        "key": {"id": 863}, "row": {"id": 863, "note": "b"},
        "errors": [{"column": "note", "target_column": "remark", "code": "length",
                    "expected": "text not null", "found": "b",
                    "reason": "text `b` does not fit"}],
    });
    assert_eq!(value(&line), expected);
    let message = "shop.orders, row 2 (id 863): column `remark`: text `b` does not fit";
    assert_eq!(line.message, message);
}

#[test]
fn secrets_of_the_job_are_removed_and_the_line_says_so() {
    let read = |values: &str, text: &[u8]| {
        let row = DirtyRow::new("parse", "found `hunter2-hunter2`").values(values).text(text);
        value(&describe(None, |lines| lines.read(row, None)))
    };
    let line = read(
        r#"{"id":480123,"note":["hunter2-hunter2"],"url":"http://a:b@c/"}"#,
        b"480123,hunter2-hunter2",
    );
    assert_eq!(
        line["row"],
        json!({"id": "[redacted:pin]", "note": ["[redacted:password]"], "url": "http://a:b@c/"})
    );
    assert_eq!(line["text"], "[redacted:pin],[redacted:password]");
    assert_eq!(line["redacted"], true);
    assert_eq!(line["errors"][0]["reason"], "found `[redacted:password]`");
    assert_eq!(read("{}", b"1").get("redacted"), None);
}

#[test]
fn a_row_beyond_the_limit_is_cut_and_says_so() {
    let long = "é".repeat(ROW_BYTES / 2);
    let row = DirtyRow::new("length", "long")
        .values(json!({"id": 1, "note": long}).to_string())
        .text(format!("1,{long}"));
    let line = value(&describe(None, |lines| lines.read(row, None)));
    assert_eq!(line["cut"], true);
    assert_eq!(line["row"]["id"], 1);
    assert_eq!(line["row"]["note"].as_str().unwrap().len(), PART_BYTES);
    assert!(line["text"].as_str().unwrap().len() > ROW_BYTES - 4);
}

#[test]
fn values_beside_errors_are_cut_between_characters() {
    assert_eq!(shorten(&"é".repeat(200)).len(), 256);
    assert_eq!(shorten(&format!("a{}", "é".repeat(200))).len(), 255);
}
