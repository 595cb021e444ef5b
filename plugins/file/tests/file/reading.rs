//! How the reader handles files: columns, values, dirty rows, errors.

use std::{fs, io::Write, path::Path};

use serde_json::json;
use tempfile::tempdir;
use transload_formats::Compression;
use transload_plugin_api::{Column, Error, ErrorKind, LogicalType, Result};

use crate::host::{Read, columns, options, read, read_columns, read_split, reader, reading, row};

fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// Reads one file of this content, all columns as text.
fn texts(name: &str, content: impl AsRef<[u8]>, more: serde_json::Value) -> Result<Read> {
    let folder = tempdir().unwrap();
    let reader = reader(reading(&file(folder.path(), name, content), more));
    let mut columns = reader.schema()?.columns;
    columns.iter_mut().for_each(|column| column.logical = LogicalType::TEXT);
    read_columns(reader.as_ref(), &columns, 1)
}

fn packed(compression: Compression, content: &[u8]) -> Vec<u8> {
    let mut stream = compression.writer(Vec::new()).unwrap();
    stream.write_all(content).unwrap();
    stream.finish().unwrap()
}

fn schema_of(name: &str, content: &str) -> Vec<String> {
    let folder = tempdir().unwrap();
    let reader = reader(reading(&file(folder.path(), name, content), json!({})));
    let columns = reader.schema().unwrap().columns;
    assert!(columns.iter().all(|column| column.inferred && column.nullable));
    columns.iter().map(|column| format!("{} {}", column.name, column.logical)).collect()
}

fn dirty_of(read: &Read) -> Vec<(String, String)> {
    let place = |d: &transload_plugin_api::DirtyRow| d.place.clone().unwrap();
    read.dirty.iter().map(|d| (place(d), d.code.clone())).collect()
}

#[test]
fn columns_and_types_are_inferred() {
    let csv = "id,price,day,name\n1,1.50,2024-01-31,x\n2,,,\n";
    let expected = ["id int64", "price decimal(18,2)", "day date", "name text"];
    assert_eq!(schema_of("x.csv", csv), expected);
    let jsonl = "{\"id\":1,\"price\":1.50,\"day\":\"2024-01-31\"}\n{\"name\":\"x\"}\n";
    assert_eq!(schema_of("x.jsonl", jsonl), expected);
    let json = "[{\"id\":1,\"price\":1.50,\"day\":\"2024-01-31\"},{\"name\":\"x\"}]";
    assert_eq!(schema_of("x.json", json), expected);
    assert_eq!(schema_of("x.tsv", "a\tb,c\n1\t2\n"), ["a int64", "b,c int64"]);
}

#[test]
fn the_jobs_own_schema_overrides_inference() {
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "x.csv", "id,zip\n1,01234\n");
    let mut options = reading(&path, json!({}));
    options.schema = columns(&[("id", "decimal(10,2)")]);
    let found = reader(options.clone()).schema().unwrap().columns;
    assert_eq!(found[0], Column::new("id", "decimal(10,2)".parse().unwrap(), true));
    options.schema = columns(&[("nobody", "text")]);
    let error = reader(options).schema().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Schema);

    let path = file(folder.path(), "no_header.csv", "1,x\n");
    let mut options = reading(&path, json!({"header": false}));
    assert_eq!(read(options.clone(), 1).unwrap().rows, [row(&["1", "x"])]);
    options.schema = columns(&[("id", "int64"), ("name", "text(1)")]);
    let names: Vec<_> =
        reader(options.clone()).schema().unwrap().columns.into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["id", "name"]);
    assert_eq!(read(options, 1).unwrap().rows, [row(&["1", "x"])]);
}

#[test]
fn a_price_becomes_the_targets_decimal() {
    let folder = tempdir().unwrap();
    for (name, content) in [
        ("x.csv", "price,id\n1.10,1\n12345678901234567890.12,2\n1.123,3\n"),
        (
            "x.jsonl",
            "{\"price\":1.10,\"id\":1}\n{\"price\":12345678901234567890.12,\"id\":2}\n{\"price\":1.123,\"id\":3}\n",
        ),
    ] {
        let reader = reader(reading(&file(folder.path(), name, content), json!({})));
        let wanted = columns(&[("id", "int8"), ("price", "decimal(22,2)")]);
        let found = read_columns(reader.as_ref(), &wanted, 1).unwrap();
        assert_eq!(found.rows, [row(&["1", "1.10"]), row(&["2", "12345678901234567890.12"])]);
        assert_eq!(found.dirty.len(), 1);
        assert_eq!(found.dirty[0].column.as_deref(), Some("price"));
    }
}

#[test]
fn t09_null_and_empty_text_are_two_things() {
    let csv = texts("x.csv", "a,b\n,x\n\"\",y\n", json!({})).unwrap();
    assert_eq!(csv.rows, [row(&["NULL", "x"]), row(&["", "y"])]);
    let marked = texts("x.csv", "a,b\n\\N,x\n,y\n\"\\N\",z\n", json!({"null": "\\N"})).unwrap();
    assert_eq!(marked.rows, [row(&["NULL", "x"]), row(&["", "y"]), row(&["\\N", "z"])]);
    let jsonl = "{\"a\":null,\"b\":\"x\"}\n{\"a\":\"\",\"b\":\"y\"}\n{\"b\":\"z\"}\n";
    let expected = [row(&["NULL", "x"]), row(&["", "y"]), row(&["NULL", "z"])];
    assert_eq!(texts("x.jsonl", jsonl, json!({})).unwrap().rows, expected);
}

#[test]
fn t22_booleans_have_a_list_of_words() {
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "x.csv", "b\nt\nNO\n1\nja\nTRUE \n");
    let wanted = columns(&[("b", "boolean")]);
    let default = reader(reading(&path, json!({})));
    let found = read_columns(default.as_ref(), &wanted, 1).unwrap();
    assert_eq!(found.rows, [row(&["true"]), row(&["false"]), row(&["true"])]);
    assert_eq!(dirty_of(&found).len(), 2);
    let words = json!({"true_words": ["ja"], "false_words": ["nein"]});
    let german = reader(reading(&path, words.clone()));
    let found = read_columns(german.as_ref(), &wanted, 1).unwrap();
    assert_eq!((found.rows, found.dirty.len()), (vec![row(&["true"])], 4));
    // JSON's own booleans do not depend on the job's words.
    let path = file(folder.path(), "x.jsonl", "{\"b\":true}\n{\"b\":\"nein\"}\n");
    let german = reader(reading(&path, words));
    let found = read_columns(german.as_ref(), &wanted, 1).unwrap();
    assert_eq!(found.rows, [row(&["true"]), row(&["false"])]);
}

#[test]
fn t38_binary_is_text_in_a_named_form() {
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "x.csv", "b\n00ff\n\"\"\nAP8=\nxy\n");
    let wanted = columns(&[("b", "binary")]);
    let hex = read_columns(reader(reading(&path, json!({}))).as_ref(), &wanted, 1).unwrap();
    assert_eq!((hex.rows, hex.dirty.len()), (vec![row(&["00ff"]), row(&[""])], 2));
    let base64 = json!({"binary": "base64"});
    let base64 = read_columns(reader(reading(&path, base64)).as_ref(), &wanted, 1).unwrap();
    assert_eq!(base64.rows, [row(&["d347df"]), row(&[""]), row(&["00ff"])]);
}

#[test]
fn t53_line_ends_delimiters_and_quotes_inside_of_quotes() {
    let content = "\u{feff}\"a,\n1\",b\r\n\"x\r\ny\",\"q\"\"q\"\r\n\",\",\"\r\"\n";
    let found = texts("x.csv", content, json!({})).unwrap();
    assert_eq!(found.rows, [row(&["x\r\ny", "q\"q"]), row(&[",", "\r"])]);
}

#[test]
fn t55_short_and_long_rows_are_dirty_with_their_line() {
    let content = "a,b\n1,2\n3\n4,5,6\n\"7\n\",8\n9,10\n";
    let found = texts("x.csv", content, json!({})).unwrap();
    assert_eq!(found.rows.len(), 3);
    let expected = [("x.csv, line 3", "ragged"), ("x.csv, line 4", "ragged")];
    assert_eq!(dirty_of(&found), expected.map(|(place, code)| (place.into(), code.into())));
    let error = texts("x.csv", content, json!({"ragged": "error"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert_eq!(error.place.as_deref(), Some("x.csv, line 3"));
}

#[test]
fn t55_a_lone_quote_is_an_error_that_names_it() {
    let mut content = b"a,b\n1,2\n3,\"x\n".to_vec();
    content.extend(b"4,5\n".repeat(5 << 20));
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "x.csv", &content);
    let reader = reader(reading(&path, json!({"sample_rows": 1})));
    let error = read_columns(reader.as_ref(), &columns(&[("a", "text")]), 1).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, "CSV-QUOTE"));
    assert_eq!(error.place.as_deref(), Some("x.csv, line 3, byte 10"));
}

#[test]
fn t57_members_are_joined_and_damage_is_an_error() {
    let content = b"a,b\n1,2\n3,4\n";
    for compression in [Compression::Gzip, Compression::Zstd] {
        // The name shows no compression, or a wrong one: the first bytes decide.
        for name in ["x.csv", "x.csv.gz", "x.csv.zst"] {
            let two = [packed(compression, &content[..7]), packed(compression, &content[7..])];
            let found = texts(name, two.concat(), json!({})).unwrap();
            assert_eq!(found.rows, [row(&["1", "2"]), row(&["3", "4"])]);
            assert_eq!(found.bytes, two.concat().len() as u64);
        }
        let whole = packed(compression, content);
        let folder = tempdir().unwrap();
        for cut in [5, whole.len() / 2, whole.len() - 1] {
            let error = texts("x.csv", &whole[..cut], json!({})).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Data, "{cut}: {error}");
            assert!(error.place.unwrap().starts_with("x.csv"));
        }
        let path = file(folder.path(), "x.csv", &whole);
        let plain = read(reading(&path, json!({"compression": "none"})), 1);
        assert!(plain.is_err() || plain.unwrap().rows != [row(&["1", "2"]), row(&["3", "4"])]);
    }
}

#[test]
fn several_files_are_one_table() {
    let folder = tempdir().unwrap();
    file(folder.path(), "1.csv", "a,b\n1,x\n");
    file(folder.path(), "2.csv", "b,a\ny,2\n");
    file(folder.path(), "3.csv", "");
    fs::write(folder.path().join("4.csv"), packed(Compression::Gzip, b"a,b\n3,z\n")).unwrap();
    let found = read(reading(&folder.path().join("*.csv"), json!({})), 1).unwrap();
    assert_eq!(found.rows, [row(&["1", "x"]), row(&["2", "y"]), row(&["3", "z"])]);
    assert_eq!(found.places, ["1.csv, line 2", "2.csv, line 2", "4.csv, line 2"]);
    file(folder.path(), "5.csv", "a,c\n1,x\n");
    let error = read(reading(&folder.path().join("*.csv"), json!({})), 1).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Schema, "FILE-HEADER"));
    assert_eq!(error.place.as_deref(), Some("5.csv"));
    file(folder.path(), "5.jsonl", "{}\n");
    let mixed = json!({"path": [folder.path().join("[1-4].csv"), folder.path().join("5.jsonl")]});
    assert_eq!(read(options(mixed), 1).unwrap_err().kind, ErrorKind::Options);
}

#[test]
fn what_is_not_there_is_not_found() {
    let folder = tempdir().unwrap();
    let missing = reader(reading(&folder.path().join("x.csv"), json!({})));
    assert_eq!(missing.schema().unwrap_err().kind, ErrorKind::NotFound);
    let findings = missing.check().unwrap();
    assert_eq!(findings.iter().map(|finding| finding.ok).collect::<Vec<_>>(), [false]);
    file(folder.path(), "x.txt", "a\n");
    let error = reader(reading(&folder.path().join("x.txt"), json!({}))).schema().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Options);
    let findings =
        reader(reading(&folder.path().join("x.txt"), json!({"format": "csv"}))).check().unwrap();
    assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let error = texts("x.csv", "a,b,a\n1,2,3\n", json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Schema);
    assert!(error.message.contains("`a`"), "{error}");
}

#[test]
fn t58_a_file_changed_after_planning_is_an_error() {
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "x.csv", "a\n1\n");
    let reader = reader(reading(&path, json!({})));
    let wanted = reader.schema().unwrap().columns;
    let splits =
        reader.splits(&transload_plugin_api::SplitRequest::new(1, wanted.clone())).unwrap();
    file(folder.path(), "x.csv", "a\n1\n2\n");
    let error: Error = match reader.open(&splits[0], &wanted, None) {
        Err(error) => error,
        Ok(_) => panic!("a changed file was opened"),
    };
    assert_eq!(error.code, "FILE-CHANGED");
}

#[test]
fn t10_a_file_that_ends_early_is_an_error_and_no_end() {
    let folder = tempdir().unwrap();
    let rows: String = (0..400_000).map(|row| format!("{row},xxxxxxxx\n")).collect();
    let path = file(folder.path(), "x.csv", format!("a,b\n{rows}"));
    let reader = reader(reading(&path, json!({})));
    let wanted = columns(&[("a", "int64")]);
    let request = transload_plugin_api::SplitRequest::new(1, wanted.clone());
    let splits = reader.splits(&request).unwrap();
    let mut task = reader.open(&splits[0], &wanted, None).unwrap();
    task.next_batch().unwrap().unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(3_000_000).unwrap();
    let error = loop {
        match task.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut file ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, "FILE-SHORT"));
}

#[test]
fn a_file_that_is_written_to_while_it_is_read_fails_the_run() {
    for more in ["", "more rows\n"] {
        let folder = tempdir().unwrap();
        let rows: String = (0..400_000).map(|row| format!("{row},xxxxxxxx\n")).collect();
        let path = file(folder.path(), "x.csv", format!("a,b\n{rows}"));
        let reader = reader(reading(&path, json!({})));
        let fingerprint = reader.schema().unwrap().fingerprint;
        let wanted = columns(&[("a", "int64")]);
        let request = transload_plugin_api::SplitRequest::new(1, wanted.clone());
        let splits = reader.splits(&request).unwrap();
        let mut task = reader.open(&splits[0], &wanted, None).unwrap();
        task.next_batch().unwrap().unwrap();
        // Of the same length as before, or longer.
        let mut other =
            fs::OpenOptions::new().append(!more.is_empty()).write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut other, if more.is_empty() { b"A" } else { more.as_bytes() })
            .unwrap();
        let error = loop {
            match task.next_batch() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a changed file was read to its end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, "FILE-CHANGED", "{error}");
        let changed = crate::host::reader(reading(&path, json!({}))).schema().unwrap().fingerprint;
        assert!(fingerprint.is_some() && changed != fingerprint);
    }
}

#[test]
fn a_stop_is_heard_between_batches() {
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "x.csv", "a\n1\n");
    let cancel = transload_plugin_api::Cancel::new();
    let host = transload_plugin_api::Host::new(std::sync::Arc::new(()), cancel.clone());
    use transload_plugin_api::Plugin;
    let reader = transload_plugin_file::FilePlugin.reader(reading(&path, json!({})), host).unwrap();
    let wanted = reader.schema().unwrap().columns;
    let request = transload_plugin_api::SplitRequest::new(1, wanted.clone());
    let splits = reader.splits(&request).unwrap();
    let mut task = reader.open(&splits[0], &wanted, None).unwrap();
    cancel.cancel();
    assert_eq!(task.next_batch().unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn reading_goes_on_behind_any_position() {
    let folder = tempdir().unwrap();
    let count = 20_000;
    let csv: String = (0..count).map(|row| format!("{row},\"x\n{row}\"\n")).collect();
    let csv = format!("a,b\n{csv}");
    let object = |row: i32| format!("{{\"a\":{row},\"b\":\"x{row}\"}}");
    let objects: Vec<_> = (0..count).map(object).collect();
    let (lines, array) = (objects.join("\n"), format!("[{}]\n", objects.join(",\n")));
    for (name, content) in [
        ("x.csv", csv.clone().into_bytes()),
        ("x.csv.gz", packed(Compression::Gzip, csv.as_bytes())),
        ("x.jsonl", lines.into_bytes()),
        ("x.json", array.clone().into_bytes()),
        ("x.json.zst", packed(Compression::Zstd, array.as_bytes())),
    ] {
        let path = file(folder.path(), name, content);
        let reader = reader(reading(&path, json!({})));
        let wanted = reader.schema().unwrap().columns;
        let whole = read_columns(reader.as_ref(), &wanted, 1).unwrap();
        assert_eq!(whole.rows.len(), count as usize, "{name}");
        assert!(whole.positions.len() > 1, "{name}");
        for (number, position, rows) in &whole.positions {
            let mut rest = Read::default();
            let split = (*number, &whole.splits[*number]);
            read_split(reader.as_ref(), split, &wanted, Some(position), &mut rest).unwrap();
            assert_eq!(rest.rows, whole.rows[*rows..], "{name} from row {rows}");
            assert_eq!(rest.places, whole.places[*rows..], "{name} from row {rows}");
        }
    }
}

#[test]
fn unknown_keys_are_ignored_or_dirty() {
    let content = "{\"a\":1}\n{\"a\":2,\"b\":3}\n";
    let ignore = json!({"sample_rows": 1, "unknown_keys": "ignore"});
    let ignored = texts("x.jsonl", content, ignore).unwrap();
    assert_eq!((ignored.rows.len(), ignored.dirty.len()), (2, 0));
    let refused = texts("x.jsonl", content, json!({"sample_rows": 1})).unwrap();
    assert_eq!(
        (refused.rows.len(), dirty_of(&refused)),
        (1, vec![("x.jsonl, line 2".into(), "unknown".into())])
    );
}

#[test]
fn lists_come_as_json_and_what_has_no_text_form_as_text() {
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "x.jsonl", "{\"a\":[1, 2],\"i\":0,\"n\":0}\n");
    let reader = reader(reading(&path, json!({})));
    let wanted = columns(&[("a", "list<int32>"), ("i", "interval"), ("n", "int16")]);
    let produced = reader.produces(&wanted).unwrap();
    let types: Vec<_> = produced.iter().map(|column| column.logical.to_string()).collect();
    assert_eq!(types, ["json", "text", "int16"]);
    // Objects may have more keys than the sample shows, and the target may name one.
    assert_eq!(reader.produces(&columns(&[("b", "text")])).unwrap().len(), 1);
}

#[test]
fn t30_encodings_are_strict_and_named() {
    let rows = |content: &[u8], more| texts("x.csv", content, more).unwrap().rows;
    let expected = [row(&["1", "é"])];
    assert_eq!(rows("\u{feff}a,b\n1,é\n".as_bytes(), json!({})), expected);
    assert_eq!(rows(b"a,b\n1,\xe9\n", json!({"encoding": "latin1"})), expected);
    let utf16: Vec<u8> = "\u{feff}a,b\n1,é\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(rows(&utf16, json!({"encoding": "utf-16"})), expected);
    let gbk = json!({"encoding": "gbk"});
    assert_eq!(rows(b"a,b\n1,\xd6\xd0\n", gbk.clone()), [row(&["1", "中"])]);
    // In a UTF-8 file, one of three policies applies; in other encodings, invalid bytes are errors.
    let wrong = b"a,b\n1,\xe9\n2,x\n";
    let dirty = texts("x.csv", wrong, json!({})).unwrap();
    assert_eq!(
        (dirty.rows.len(), dirty_of(&dirty)),
        (1, vec![("x.csv, line 2".into(), "utf8".into())])
    );
    assert_eq!(rows(wrong, json!({"invalid": "latin1"}))[0], expected[0]);
    assert_eq!(rows(wrong, json!({"invalid": "replace"}))[0], row(&["1", "\u{fffd}"]));
    let error = texts("x.csv", b"a,b\n1,\xff\xff\n", gbk).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, "FORMAT-ENCODING"));
    assert_eq!(error.place.as_deref(), Some("x.csv, line 2, byte 6"));
}

#[test]
fn t57_packings_that_nobody_reads_are_refused_by_name() {
    let error = texts("x.csv", b"PK\x03\x04rest of a zip", json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("zip"), "{error}");
}
