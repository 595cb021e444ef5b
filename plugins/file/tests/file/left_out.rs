//! No part of a file is left out without the job's consent; the error names what cannot be read.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use transload_plugin_api::{ErrorKind, Options, Reader, Result};

use crate::host::{options, read_columns, reader, reading};

/// A folder with one file; `content` as bytes.
fn one(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

/// A stored Parquet file of the tests of the formats.
fn parquet(name: &str) -> (TempDir, PathBuf) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/formats/tests/parquet/files/");
    one(&format!("{name}.parquet"), fs::read(format!("{folder}{name}.parquet")).unwrap())
}

fn with_columns(path: &std::path::Path, more: Value, columns: &[&str]) -> Options {
    let columns = Some(columns.iter().map(|name| (*name).to_owned()).collect());
    Options { columns, ..reading(path, more) }
}

fn rows(reader: &dyn Reader) -> Result<usize> {
    let columns = reader.schema()?.columns;
    Ok(read_columns(reader, &columns, 1)?.rows.len())
}

#[test]
fn parquet_columns_that_cannot_be_read_are_left_out_by_consent_only() {
    for (name, column) in [("double_name", "x"), ("nul_column_name", "\\0")] {
        let (_folder, path) = parquet(name);
        let refused = reader(reading(&path, json!({}))).schema().unwrap_err();
        assert_eq!(
            (refused.kind, refused.code.as_str()),
            (ErrorKind::Unsupported, "PARQUET-COLUMN")
        );
        assert!(refused.message.contains(column), "{refused}");
        assert!(refused.place.as_deref().unwrap().contains(name), "{refused:?}");
        assert!(refused.hint.unwrap().contains("on_unsupported"), "{name}");

        let skipping = reader(reading(&path, json!({"on_unsupported": "skip"})));
        let schema = skipping.schema().unwrap();
        assert!(schema.warnings[0].contains(column), "{:?}", schema.warnings);
        assert!(rows(skipping.as_ref()).unwrap() > 0);

        let names: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        let choosing = reader(with_columns(&path, json!({}), &names));
        let schema = choosing.schema().unwrap();
        assert_eq!(schema.warnings, [""; 0]);
        assert!(schema.notes[0].contains(column), "{:?}", schema.notes);
        assert!(rows(choosing.as_ref()).unwrap() > 0);
    }
    let (_folder, path) = parquet("double_name");
    let refused = reader(with_columns(&path, json!({}), &["id", "x"])).schema().unwrap_err();
    assert_eq!(
        (refused.code.as_str(), refused.hint.as_deref()),
        ("PARQUET-COLUMN", Some("leave it out of `columns`"))
    );
}

/// What the hint says works: the type is read as declared.
#[test]
fn a_timestamp_of_12_bytes_is_read_as_declared() {
    let (_folder, path) = parquet("int96");
    let mut declared = reading(&path, json!({}));
    declared.schema = crate::host::columns(&[("at", "timestamp(9)")]);
    let reader = reader(declared);
    let columns = reader.schema().unwrap().columns;
    assert_eq!(columns[1].logical.to_string(), "timestamp(9)");
    let found = read_columns(reader.as_ref(), &columns, 1).unwrap();
    assert_eq!(found.rows[1][1].as_deref(), Some("2024-02-29 12:00:00.123456789"));
    assert_eq!(found.dirty[0].place.as_deref(), Some("int96.parquet, row 2"));
    assert_eq!(found.places[1..], ["int96.parquet, row 3", "int96.parquet, row 4"]);
}

#[test]
fn a_name_with_nul_is_an_error_of_the_file_that_names_it() {
    for (name, content, code, part) in [
        ("a.csv", &b"a,b\0\n1,2\n"[..], "CSV-HEADER", "column 2"),
        ("a.jsonl", b"{\"a\":1,\"\\u0000\":2}\n", "JSON-KEY", "\\0"),
    ] {
        let (_folder, path) = one(name, content);
        let error = reader(reading(&path, json!({}))).schema().unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(part), "{error}");
        assert!(error.place.as_deref().unwrap().contains(name), "{error:?}");
    }
    let (_folder, path) = one("a.jsonl", "{\"a\":1,\"\\u0000\":2}\n");
    let left_out = reader(reading(&path, json!({"unknown_keys": "ignore"})));
    assert_eq!(rows(left_out.as_ref()).unwrap(), 1);
    let counts = left_out.counts().unwrap();
    assert_eq!(counts[0].value, 1);
}

#[test]
fn keys_that_are_left_out_are_counted_also_in_a_part_of_a_file() {
    let (_folder, path) =
        one("a.jsonl", "{\"a\":1}\n".to_owned() + &"{\"a\":1,\"b\":2}\n".repeat(3));
    let reader = reader(with_columns(&path, json!({"sample_rows": 1}), &["a"]));
    assert_eq!(rows(reader.as_ref()).unwrap(), 4);
    let counts = reader.counts().unwrap();
    assert_eq!((counts[0].value, counts[0].name.as_str()), (3, "values_left_out"));
    assert!(counts[0].left_out.as_deref().unwrap().ends_with("`b`"), "{counts:?}");
}

#[test]
fn a_file_without_rows_has_the_columns_that_the_target_names() {
    for (name, content) in [("a.jsonl", ""), ("a.json", "[\n]\n"), ("a.csv", "")] {
        let (_folder, path) = one(name, content);
        let reader = reader(reading(&path, json!({})));
        let schema = reader.schema().unwrap();
        assert!(schema.open && schema.columns.is_empty(), "{name}");
        let wanted = crate::host::columns(&[("id", "int64"), ("day", "date")]);
        assert_eq!(reader.produces(&wanted).unwrap(), wanted);
        assert_eq!(read_columns(reader.as_ref(), &wanted, 2).unwrap().rows.len(), 0);
    }
    let (_folder, path) = one("a.csv", "id\n1\n");
    assert!(!reader(options(json!({"path": [path]}))).schema().unwrap().open);
}
