//! Folders named after values become columns, and a filter skips files.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use transload_plugin_api::{Column, ErrorKind, WriteMode};

use crate::host::{
    Row, batch, columns, plan, read, read_columns, reader, reading, row, write, writing,
};

/// `day=.../region=.../x.FORMAT` with two rows each.
fn table(format: &str) -> TempDir {
    let folder = tempdir().unwrap();
    let names = [
        ("2026-11-20", "eu"),
        ("2026-11-20", "us"),
        ("2026-11-21", "eu"),
        ("2026-11-21", "__HIVE_DEFAULT_PARTITION__"),
    ];
    for (number, (day, region)) in names.iter().enumerate() {
        let path = folder.path().join(format!("day={day}/region={region}"));
        fs::create_dir_all(&path).unwrap();
        put(&path.join(format!("x.{format}")), number as i64 * 10);
        fs::write(path.join("_SUCCESS"), "").unwrap();
    }
    folder
}

fn put(path: &Path, first: i64) {
    let id = columns(&[("id", "int64")]);
    let rows: Vec<Row> = (first..first + 2).map(|id| row(&[&id.to_string()])).collect();
    let plan = plan("r", &id, WriteMode::Insert);
    write(writing(path, json!({})), &plan, &[vec![batch(&id, &rows)]]).unwrap();
}

fn cells(folder: &Path, more: Value) -> Vec<String> {
    let found = read(reading(folder, more), 3).unwrap();
    let text = |cell: &Option<String>| cell.clone().unwrap_or("NULL".to_owned());
    found.rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn folders_give_columns_with_types() {
    for format in ["csv", "jsonl", "json", "parquet"] {
        let folder = table(format);
        let reader = reader(reading(folder.path(), json!({})));
        let schema = reader.schema().unwrap().columns;
        let words: Vec<_> = schema.iter().map(|it| format!("{} {}", it.name, it.logical)).collect();
        assert_eq!(words, ["id int64", "day date", "region text"], "{format}");
        let expected = [
            "0 2026-11-20 eu",
            "1 2026-11-20 eu",
            "10 2026-11-20 us",
            "11 2026-11-20 us",
            "30 2026-11-21 NULL",
            "31 2026-11-21 NULL",
            "20 2026-11-21 eu",
            "21 2026-11-21 eu",
        ];
        assert_eq!(cells(folder.path(), json!({})), expected, "{format}");
        // in any order and type, and without any column of the files
        let wanted = columns(&[("region", "text"), ("day", "text")]);
        let found = read_columns(reader.as_ref(), &wanted, 1).unwrap().rows;
        assert_eq!(found.len(), 8, "{format}");
        assert_eq!(found[2], row(&["us", "2026-11-20"]));
        let wanted = columns(&[("day", "int64")]);
        let error = read_columns(reader.as_ref(), &wanted, 1).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, "FILE-PARTITION"));
    }
}

#[test]
fn a_filter_leaves_files_out() {
    let folder = table("csv");
    let filtered = |filter: &[&str]| {
        let rows = cells(folder.path(), json!({"partition_filter": filter}));
        rows.iter()
            .map(|row| row.split(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(filtered(&["day >= 2026-11-21"]), "30 31 20 21");
    assert_eq!(filtered(&["day = 2026-11-20", "region in eu, asia"]), "0 1");
    assert_eq!(filtered(&["region != us"]), "0 1 20 21");
    let pattern = folder.path().join("*/region=*/*.csv");
    let more = json!({"partition_filter": ["region = us"]});
    assert_eq!(cells(&pattern, more), ["10 2026-11-20 us", "11 2026-11-20 us"]);
    for (filter, kind) in [
        ("hour = 1", ErrorKind::Options),
        ("region", ErrorKind::Options),
        ("region = asia", ErrorKind::NotFound),
    ] {
        let options = reading(folder.path(), json!({"partition_filter": [filter]}));
        let error = transload_plugin_api::Plugin::reader(
            &transload_plugin_file::FilePlugin,
            options,
            transload_plugin_api::Host::detached(),
        )
        .and_then(|reader| reader.schema())
        .unwrap_err();
        assert_eq!(error.kind, kind, "{filter}: {error}");
    }
}

#[test]
fn folders_can_be_left_alone() {
    let folder = table("csv");
    assert_eq!(cells(folder.path(), json!({"partitions": "none"}))[0], "0");
    // different folders have no keys in common, so `auto` finds no columns
    put(&folder.path().join("y.csv"), 90);
    assert_eq!(cells(folder.path(), json!({}))[0], "0");
    let error = read(reading(folder.path(), json!({"partitions": "hive"})), 1).unwrap_err();
    assert_eq!(error.code, "FILE-PARTITION");
    assert!(error.message.contains("y.csv"), "{error}");
}

#[test]
fn a_folder_s_value_takes_the_place_of_the_file_s() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("id=7");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("x.csv"), "id,name\n1,a\n").unwrap();
    let reader = reader(reading(folder.path(), json!({})));
    let schema = reader.schema().unwrap();
    assert!(schema.notes.iter().any(|note| note.contains("`id` is taken from")), "{schema:?}");
    let names: Vec<_> = schema.columns.iter().map(|column: &Column| column.name.as_str()).collect();
    assert_eq!(names, ["name", "id"]);
    assert_eq!(cells(folder.path(), json!({})), ["a 7"]);
}

#[test]
fn rows_are_divided_by_the_day_of_a_timestamp() {
    let of_time = columns(&[("id", "int64"), ("t", "timestamptz"), ("w", "timestamp")]);
    let rows = [
        ["1", "2026-11-30T23:30:00+01:00", "2026-11-30 23:30:00"],
        ["2", "2026-11-30T23:30:00Z", "2026-12-01 00:00:00"],
        ["3", "2026-12-01T00:15:00+01:00", "NULL"],
        ["4", "NULL", "2026-11-30 23:59:59"],
    ];
    let batch = batch(&of_time, &rows.map(|cells| row(&cells)));
    for (by, folders) in [
        ("day(t)", vec!["t_day=2026-11-30", "t_day=__HIVE_DEFAULT_PARTITION__"]),
        (
            "hour(w)",
            vec![
                "w_hour=2026-11-30-23",
                "w_hour=2026-12-01-00",
                "w_hour=__HIVE_DEFAULT_PARTITION__",
            ],
        ),
        (
            "month(w)",
            vec!["w_month=2026-11", "w_month=2026-12", "w_month=__HIVE_DEFAULT_PARTITION__"],
        ),
        ("year(t)", vec!["t_year=2026", "t_year=__HIVE_DEFAULT_PARTITION__"]),
    ] {
        let folder = tempdir().unwrap();
        let out = folder.path().join("out");
        let more = json!({
            "layout": "folder", "format": "csv", "success_marker": false, "partition_by": [by],
        });
        let insert = plan("r", &of_time, WriteMode::Insert);
        let draft = crate::host::writer(writing(&out, more.clone())).draft(&insert).unwrap();
        let zone = if by.ends_with("(t)") { "in UTC" } else { "as wall clocks" };
        assert!(draft.statements.iter().any(|it| it.text.contains(zone)), "{:?}", draft.statements);
        write(writing(&out, more), &insert, &[vec![batch.clone()]]).unwrap();
        let mut found = crate::host::names(&out);
        found.retain(|name| !name.starts_with('_'));
        assert_eq!(found, folders, "{by}");
        // The whole values stay in the files, and the folder gives a column more.
        let words: Vec<_> = reader(reading(&out, json!({})))
            .schema()
            .unwrap()
            .columns
            .into_iter()
            .map(|it| it.name)
            .collect();
        let label = folders[0].split('=').next().unwrap();
        assert_eq!(words, ["id", "t", "w", label]);
    }
}

#[test]
fn columns_that_cannot_name_folders_are_refused_by_the_plan() {
    let given = columns(&[("created_at", "timestamptz"), ("day", "date"), ("t", "text")]);
    let folder = tempdir().unwrap();
    for (by, message, hint) in [
        ("created", "no column `created`", "created_at"),
        ("day(creatd_at)", "no column `creatd_at`", "created_at"),
        ("hour(day)", "the column is date", "a year, a month and a day"),
        ("day(t)", "the column is text", "[reader.schema]"),
    ] {
        let more = json!({"layout": "folder", "format": "csv", "partition_by": [by]});
        let insert = plan("r", &given, WriteMode::Insert);
        let error = crate::host::writer(writing(folder.path(), more)).draft(&insert).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Options);
        assert!(error.message.contains(message), "{error}");
        assert!(error.hint.as_ref().unwrap().contains(hint), "{error:?}");
    }
}
