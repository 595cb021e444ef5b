//! Structs, maps and objects become columns as `nested` says, with one meaning for Parquet and JSON.
//! `nested.parquet` has the columns `id`, `address` (a struct with a struct), `items` (a list of
//! structs), `tags` (a map) and `words` (a list of texts), and was written by pyarrow.

use std::{fs, path::PathBuf};

use serde_json::json;
use tempfile::{TempDir, tempdir};
use transload_plugin_api::{Column, Options, Reader};

use crate::host::{Row, columns, read_columns, reader, reading, row};

const JSON: &str = concat!(
    r#"{"id":1,"address":{"city":"Köln","since":"2024-02-29","geo":{"lat":50.9,"lon":6.9}},"#,
    r#""items":[{"sku":"a","price":1.50}],"words":["x"]}"#,
    "\n",
    r#"{"id":2,"address":null,"items":[],"words":null}"#,
    "\n",
    r#"{"id":3,"address":{"city":null,"geo":null},"items":null,"words":[]}"#,
    "\n",
);

fn parquet() -> PathBuf {
    let stored = "/../shared/formats/tests/parquet/files/nested.parquet";
    PathBuf::from(format!("{}{stored}", env!("CARGO_MANIFEST_DIR")))
}

fn jsonl(content: &str) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn types(reader: &dyn Reader) -> Vec<String> {
    let columns = reader.schema().unwrap().columns;
    columns.iter().map(|column| format!("{} {}", column.name, column.logical)).collect()
}

/// Rows of these columns; lists as JSON.
fn rows(reader: &dyn Reader, names: &[&str]) -> Vec<Row> {
    let wanted = |name: &&str| {
        let columns = reader.schema().unwrap().columns;
        let column = columns.into_iter().find(|column| column.name == **name).unwrap();
        let is_list = column.logical.to_string().starts_with("list");
        let logical = if is_list { "json".parse().unwrap() } else { column.logical };
        Column { logical, ..column }
    };
    let wanted: Vec<_> = names.iter().map(wanted).collect();
    let found = read_columns(reader, &wanted, 1).unwrap();
    assert_eq!(found.dirty, []);
    found.rows
}

#[test]
fn structs_of_parquet_become_columns_and_the_rest_json() {
    let path = parquet();
    let by_default = reader(reading(&path, json!({})));
    let expected = [
        "id int64",
        "address.city text",
        "address.since date",
        "address.geo.lat float64",
        "address.geo.lon float64",
        "items json",
        "tags json",
        "words list<text>",
    ];
    assert_eq!(types(by_default.as_ref()), expected);
    let notes = by_default.schema().unwrap().notes;
    let said = [
        "column `address` (struct) is read as `address.city`, `address.since`, `address.geo.lat`, \
         `address.geo.lon`",
        "column `items` (LIST) is read as JSON text",
        "column `tags` (MAP) is read as JSON text",
    ];
    assert_eq!(notes[..3], said);
    let names = ["address.geo.lat", "address.city", "items", "tags", "words"];
    let items = r#"[{"sku":"a","price":1.50},{"sku":"b","price":null}]"#;
    let rows_expected = [
        row(&["50.9", "Köln", items, r#"{"k":1}"#, r#"["x"]"#]),
        row(&["NULL", "NULL", "[]", "NULL", "NULL"]),
        row(&["NULL", "NULL", "NULL", "{}", "[]"]),
    ];
    assert_eq!(rows(by_default.as_ref(), &names), rows_expected);

    let whole = reader(reading(&path, json!({"nested": "json"})));
    let expected = ["id int64", "address json", "items json", "tags json", "words list<text>"];
    assert_eq!(types(whole.as_ref()), expected);
    let address = r#"{"city":"Köln","since":"2024-02-29","geo":{"lat":50.9,"lon":6.9}}"#;
    let empty = r#"{"city":null,"since":null,"geo":null}"#;
    assert_eq!(
        rows(whole.as_ref(), &["address"]),
        [row(&[address]), row(&["NULL"]), row(&[empty])]
    );

    let refused = reader(reading(&path, json!({"nested": "fail"}))).schema().unwrap_err();
    assert_eq!(refused.code, "PARQUET-COLUMN");
    assert!(refused.message.contains("`address`: `struct` is a nested type"), "{refused}");
    assert!(refused.hint.unwrap().contains("nested = \"flatten\""));
}

#[test]
fn columns_are_chosen_by_the_names_of_fields() {
    let path = parquet();
    let names = ["id".to_owned(), "address.city".to_owned()];
    let options = Options { columns: Some(names.to_vec()), ..reading(&path, json!({})) };
    let notes = reader(options).schema().unwrap().notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
    let mut declared = reading(&path, json!({}));
    declared.schema = columns(&[("address", "json")]);
    assert_eq!(types(reader(declared).as_ref())[1], "address json");
}

#[test]
fn objects_of_json_are_divided_as_structs_are() {
    let (_folder, path) = jsonl(JSON);
    let by_default = reader(reading(&path, json!({})));
    let expected = ["id int64", "address json", "items json", "words json"];
    assert_eq!(types(by_default.as_ref()), expected);

    let flat = reader(reading(&path, json!({"nested": "flatten"})));
    let expected = [
        "id int64",
        "address.city text",
        "address.since date",
        "address.geo.lat decimal(18,2)",
        "address.geo.lon decimal(18,2)",
        "items json",
        "words json",
    ];
    assert_eq!(types(flat.as_ref()), expected);
    let names = ["address.geo.lat", "address.city", "address.since", "items", "words"];
    let first = ["50.90", "Köln", "2024-02-29", r#"[{"sku":"a","price":1.50}]"#, r#"["x"]"#];
    let expected = [
        row(&first),
        row(&["NULL", "NULL", "NULL", "[]", "NULL"]),
        row(&["NULL", "NULL", "NULL", "NULL", "[]"]),
    ];
    assert_eq!(rows(flat.as_ref(), &names), expected);

    let refused = reader(reading(&path, json!({"nested": "fail"}))).schema().unwrap_err();
    assert_eq!(refused.code, "JSON-KEY");
    assert_eq!(refused.message, "keys have objects, and `nested` is `fail`: `address`, `items`");
}

#[test]
fn what_does_not_fit_a_divided_object_makes_its_row_dirty() {
    let later = r#"{"id":4,"address":"Bonn"}
{"id":5,"address":{"city":"Bonn","zip":53111}}
{"id":6,"address.city":"Bonn"}
{"id":7,"address":{"city":"Bonn"},"address.city":"Bonn"}
"#;
    let (_folder, path) = jsonl(&format!("{JSON}{later}"));
    let flat = reader(reading(&path, json!({"nested": "flatten", "sample_rows": 3})));
    let columns = flat.schema().unwrap().columns;
    let found = read_columns(flat.as_ref(), &columns[..2], 1).unwrap();
    assert_eq!(found.rows[3], row(&["6", "Bonn"]));
    let reasons: Vec<_> = found.dirty.iter().map(|row| row.reason.as_str()).collect();
    assert_eq!(reasons[0], "expected an object, found `\"Bonn\"`");
    assert!(reasons[1].starts_with("the key `address.zip` is not in the schema"), "{reasons:?}");
    assert_eq!(reasons[2], "the same key twice");
}

/// A flattened row is written and read with the names of its fields.
#[test]
fn names_of_fields_are_read_back() {
    let (_folder, path) = jsonl("{\"id\":1,\"a.b\":2}\n");
    for nested in ["auto", "flatten"] {
        let reader = reader(reading(&path, json!({"nested": nested})));
        assert_eq!(rows(reader.as_ref(), &["a.b"]), [row(&["2"])]);
    }
}
