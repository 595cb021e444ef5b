use serde_json::{Value, json};
use transload_plugin_api::LogicalType;

use super::*;

/// CSV of text columns.
pub(in crate::repair) fn csv_form(names: &[&str], delimiter: char, quote: Option<char>) -> Form {
    let columns = names.iter().map(|name| Column::new(*name, LogicalType::TEXT, true)).collect();
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let dialect = RecordDialect { delimiter, quote, ..usual_dialect() };
    let records = Records::Csv(names, dialect);
    let (texts, folders) = (Texts::default(), Vec::new());
    Form { columns, texts, folders, is_own: true, records }
}

/// JSON lines with the columns `id` and `note`.
pub(in crate::repair) fn lines_form() -> Form {
    Form { records: Records::Lines, ..csv_form(&["id", "note"], ',', Some('"')) }
}

fn record(form: &Form, row: Value) -> Result<String, String> {
    let mut row = row;
    row["errors"] = json!([{"column": null, "code": "parse", "found": null, "reason": ""}]);
    let row: KeptRow = serde_json::from_str(&row.to_string()).unwrap();
    form.record("ab12cd34.0.1", &row).map(|record| String::from_utf8(record).unwrap())
}

#[test]
fn a_kept_text_is_exported_verbatim() {
    let form = csv_form(&["id", "note"], ';', Some('"'));
    assert_eq!(form.header().unwrap(), b"_dirty;id;note\n");
    let kept = json!({"stage": "read", "text": "x;\"a\nb\" ;;", "row": {"id": "x"}});
    assert_eq!(record(&form, kept.clone()).unwrap(), "ab12cd34.0.1;x;\"a\nb\" ;;\n");
    let line = json!({"stage": "read", "text": "{ \"id\": 1.50 }"});
    let expected = "{\"_dirty\":\"ab12cd34.0.1\", \"id\": 1.50 }\n";
    assert_eq!(record(&lines_form(), line).unwrap(), expected);
    for (text, expected) in
        [("{}", "}\n"), ("nonsense", "}nonsense\n"), ("{\"a\":\n1", ",\"a\": 1\n")]
    {
        let line = record(&lines_form(), json!({"stage": "read", "text": text})).unwrap();
        assert_eq!(line, format!("{{\"_dirty\":\"ab12cd34.0.1\"{expected}"));
    }
}

#[test]
fn other_rows_are_written_from_their_values() {
    let form = csv_form(&["id", "note", "not read"], ',', Some('"'));
    let row = |note: Value| json!({"stage": "write", "row": {"id": 7, "note": note}});
    for (note, cell) in [
        (json!("a"), "a"),
        (json!(null), ""),
        (json!(""), "\"\""),
        (json!("a,b\n\"c\""), "\"a,b\n\"\"c\"\"\""),
        (json!(1.50), "1.5"),
        (json!([1, null]), "\"[1,null]\""),
    ] {
        assert_eq!(record(&form, row(note)).unwrap(), format!("ab12cd34.0.1,7,{cell},\n"));
    }
    let line = record(&lines_form(), row(json!("a\nb"))).unwrap();
    assert_eq!(line, "{\"_dirty\":\"ab12cd34.0.1\",\"id\":7,\"note\":\"a\\nb\"}\n");
    // A file with its columns in another order.
    let moved = json!({
        "stage": "read", "text": "a,x", "columns": ["note", "id"], "row": {"id": "x", "note": "a"},
    });
    assert_eq!(record(&form, moved).unwrap(), "ab12cd34.0.1,x,a,\n");
}

#[test]
fn what_cannot_be_exported_says_why() {
    let form = csv_form(&["id", "note"], ',', None);
    // The dialect of the source is not known: its texts would be read by another one.
    let unknown = Form { is_own: false, ..csv_form(&["id", "note"], ',', Some('"')) };
    let text = json!({"stage": "read", "text": "x;a", "row": {"id": "x", "note": "a"}});
    assert_eq!(record(&unknown, text).unwrap(), "ab12cd34.0.1,x,a\n");
    assert!(record(&unknown, json!({"stage": "read", "text": "x;a"})).is_err());
    for (row, why) in [
        (json!({"stage": "write", "row": {"id": 1}, "cut": true}), "16 MiB"),
        (json!({"stage": "write", "row": {"id": 1}, "redacted": true}), "secret"),
        (json!({"stage": "read"}), "values are not known"),
        (json!({"stage": "read", "text": "a", "columns": ["note", "id"]}), "another order"),
        (
            json!({"stage": "write", "row": {"id": 1, "note": "a,b"}}),
            "column `note`: the source's dialect has no quotes",
        ),
        (json!({"stage": "read", "row": {"id": {"$bytes": "ff"}}}), "not UTF-8"),
    ] {
        let error = record(&form, row).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn the_values_of_folders_are_behind_those_of_the_file() {
    let form = Form { folders: vec!["day".to_owned()], ..csv_form(&["id"], ',', Some('"')) };
    assert_eq!(form.header().unwrap(), b"_dirty,id,day\n");
    let row = json!({"stage": "read", "text": "x", "file": "/in/day=2026-11-30%201/a.csv"});
    assert_eq!(record(&form, row).unwrap(), "ab12cd34.0.1,x,2026-11-30 1\n");
}
