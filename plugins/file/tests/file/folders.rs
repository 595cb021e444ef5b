//! Folders of files: partitions, rolling, manifests of older versions, what killed runs left.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::tempdir;
use transload_plugin_api::{Column, ErrorKind, TaskContext, WriteMode};

use crate::host::{
    Row, batch, columns, names, plan, read, reading, row, write, write_task, writer, writing,
};

fn three_columns() -> Vec<Column> {
    columns(&[("id", "int64"), ("day", "date"), ("land", "text")])
}

fn rows(cells: &[[&str; 3]]) -> RecordBatch {
    let rows: Vec<Row> = cells.iter().map(|cells| row(cells)).collect();
    batch(&three_columns(), &rows)
}

fn ids(ids: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<Row> = ids.map(|id| row(&[&id.to_string(), "2026-11-21", "DE"])).collect();
    batch(&three_columns(), &rows)
}

/// A job of one task into the folder `out`.
fn job(out: &Path, run: &str, mode: WriteMode, batch: RecordBatch, more: Value) {
    let mut options = json!({"layout": "folder", "format": "csv", "success_marker": false});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let plan = plan(run, &three_columns(), mode);
    assert_eq!(write(writing(out, options), &plan, &[vec![batch]]).unwrap(), []);
}

/// Contents of all visible files below a folder.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for name in names(folder).into_iter().filter(|name| !name.starts_with(['.', '_'])) {
        let path = folder.join(&name);
        if path.is_dir() {
            let below = contents(&path).into_iter();
            found.extend(below.map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    found
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn read_ids(out: &Path) -> Vec<String> {
    let read = read(reading(out, json!({})), 1).unwrap();
    let mut ids: Vec<_> = read.rows.into_iter().map(|row| row[0].clone().unwrap()).collect();
    ids.sort();
    ids
}

#[test]
fn partitions_are_folders_and_read_back() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let cells = [
        ["0", "2026-11-21", "DE"],
        ["1", "2026-11-22", "a b/ü"],
        ["2", "2026-11-21", "DE"],
        ["3", "NULL", "DE"],
    ];
    let more = json!({"partition_by": ["day", "land"], "name": "{number}.csv"});
    job(&out, "r1", WriteMode::Insert, rows(&cells), more);
    let expected = texts([
        ("day=2026-11-21/land=DE/00000.csv", "id\n0\n2\n"),
        ("day=2026-11-22/land=a%20b%2F%C3%BC/00001.csv", "id\n1\n"),
        ("day=__HIVE_DEFAULT_PARTITION__/land=DE/00002.csv", "id\n3\n"),
    ]);
    assert_eq!(contents(&out), expected);
    let found = read(reading(&out, json!({})), 1).unwrap();
    let mut found: Vec<_> = found.rows;
    found.sort();
    assert_eq!(found, cells.map(|cells| row(&cells)));
    // An overwrite leaves no empty folder behind.
    let more = json!({"partition_by": ["land"], "name": "{number}-{run}.csv"});
    job(&out, "r2", WriteMode::Overwrite, rows(&cells[..1]), more);
    assert_eq!(names(&out), ["_transload_manifest.json", "land=DE"]);
}

#[test]
fn files_roll_over_by_rows_and_bytes() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let more = json!({"max_rows_per_object": 4, "name": "{task}-{number}.csv"});
    job(&out, "r1", WriteMode::Insert, ids(0..10), more);
    let counts = contents(&out).into_iter().map(|(name, text)| (name, text.lines().count() - 1));
    let expected = [("00000-00000.csv", 4), ("00000-00001.csv", 4), ("00000-00002.csv", 2)];
    assert_eq!(counts.collect::<Vec<_>>(), expected.map(|(name, rows)| (name.to_owned(), rows)));
    let out = folder.path().join("bytes");
    let options = json!({
        "layout": "folder", "format": "csv", "max_bytes_per_object": 2000, "name": "{number}.csv",
    });
    let batches: Vec<_> = (0..20).map(|at| ids(at * 50..at * 50 + 50)).collect();
    let insert = plan("r1", &three_columns(), WriteMode::Insert);
    write(writing(&out, options), &insert, &[batches]).unwrap();
    let sizes: Vec<_> = contents(&out).into_values().map(|text| text.len()).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size < 4000), "{sizes:?}");
}

#[test]
fn one_file_is_not_divided() {
    let folder = tempdir().unwrap();
    for more in [json!({"partition_by": ["day"]}), json!({"max_rows_per_object": 4})] {
        let options = writing(&folder.path().join("x.csv"), more);
        let host = transload_plugin_api::Host::detached();
        use transload_plugin_api::Plugin;
        let refused = transload_plugin_file::FilePlugin.writer(options, host).map(drop);
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Options);
    }
}

/// A folder as version 0 of the manifest has it: no version, nothing but name, size, rows, hash.
fn old_folder(out: &Path) {
    fs::create_dir(out).unwrap();
    fs::write(out.join("part-r0-00000.csv"), "id,day,land\n70,2026-11-21,DE\n").unwrap();
    let manifest = json!({"run": "r0", "files": [
        {"name": "part-r0-00000.csv", "size": 29, "rows": 1, "sha256": "00"},
    ]});
    fs::write(out.join("_transload_manifest.json"), manifest.to_string()).unwrap();
}

#[test]
fn folders_with_manifests_of_version_0_are_appended_to_and_overwritten() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    old_folder(&out);
    job(&out, "r1", WriteMode::Insert, ids(1..2), json!({"if_exists": "append"}));
    assert_eq!(read_ids(&out), ["1", "70"]);
    job(&out, "r2", WriteMode::Overwrite, ids(2..3), json!({}));
    assert_eq!(read_ids(&out), ["2"]);
    assert_eq!(names(&out), ["_transload_manifest.json", "part-r2-00000-00000.csv"]);
}

#[test]
fn what_a_killed_run_left_is_named_and_removed_after_a_week() {
    for (name, layout) in [("out", "folder"), ("x.csv", "file")] {
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        let options = || writing(&path, json!({"layout": layout, "format": "csv"}));
        let killed = plan("r1", &three_columns(), WriteMode::Overwrite);
        let first = writer(options());
        first.prepare(&killed).unwrap();
        write_task(&*first, &killed, 0, &[ids(0..5)]).unwrap();
        let mut task = first.open(&killed, &TaskContext { task: 1, epoch: 0 }).unwrap();
        task.begin_chunk(0).unwrap();
        task.write(&ids(5..9)).unwrap();
        std::mem::forget(task);
        let parent = if layout == "folder" { path.clone() } else { folder.path().to_owned() };
        let left = parent.join("_transload/r1");
        let next = plan("r2", &three_columns(), WriteMode::Overwrite);
        let second = writer(options());
        let warnings = second.draft(&next).unwrap().warnings;
        assert!(warnings.iter().any(|it| it.contains("run r1")), "{warnings:?}");
        second.prepare(&next).unwrap();
        assert!(left.exists(), "it may be alive");
        second.abort(&next, &[]).unwrap();
        let old = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
        for entry in fs::read_dir(&left).unwrap() {
            fs::File::open(entry.unwrap().path()).unwrap().set_modified(old).unwrap();
        }
        let third = writer(options());
        third.prepare(&next).unwrap();
        assert!(!left.exists());
        let receipt = write_task(&*third, &next, 0, &[ids(0..3)]).unwrap().0;
        third.commit(&next, &[receipt]).unwrap();
        third.finalise(&next).unwrap();
        assert_eq!(read_ids(&path), ["0", "1", "2"]);
        assert!(!parent.join("_transload").exists());
        // The killed one, had it been alive, would not have committed.
        assert!(first.commit(&killed, &[]).is_err());
    }
}

#[test]
fn what_a_dead_process_left_is_removed_by_the_next_run() {
    for (name, layout) in [("out", "folder"), ("x.csv", "file")] {
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        let options = || writing(&path, json!({"layout": layout, "format": "csv"}));
        let killed = plan("r1", &three_columns(), WriteMode::Overwrite);
        let first = writer(options());
        first.prepare(&killed).unwrap();
        let receipt = write_task(&*first, &killed, 0, &[ids(0..5)]).unwrap().0;
        let parent = if layout == "folder" { path.clone() } else { folder.path().to_owned() };
        let left = parent.join("_transload/r1");
        let next = plan("r2", &three_columns(), WriteMode::Overwrite);
        let second = writer(options());
        second.prepare(&next).unwrap();
        assert!(left.exists(), "its process is alive");
        second.abort(&next, &[]).unwrap();
        // With the process, its locks go.
        drop(first);
        let warnings = writer(options()).draft(&next).unwrap().warnings;
        let words = "run r1 was left by a killed process";
        assert!(warnings.iter().any(|it| it.contains(words)), "{warnings:?}");
        let third = writer(options());
        third.prepare(&next).unwrap();
        assert!(!left.exists());
        third.abort(&next, &[]).unwrap();
        assert!(writer(options()).commit(&killed, &[receipt]).is_err());
        // A note of another machine, or of an earlier start of this one, proves nothing.
        let first = writer(options());
        first.prepare(&killed).unwrap();
        drop(first);
        let note = left.join("before.json");
        let mut text: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
        text["holder"] = json!("elsewhere");
        fs::write(&note, text.to_string()).unwrap();
        let fourth = writer(options());
        fourth.prepare(&next).unwrap();
        assert!(left.exists());
        fourth.abort(&next, &[]).unwrap();
    }
}

#[test]
fn a_list_with_other_rows_than_its_receipt_publishes_nothing() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let options = writing(&out, json!({"layout": "folder", "format": "csv"}));
    let insert = plan("r1", &three_columns(), WriteMode::Insert);
    let writer = writer(options);
    writer.prepare(&insert).unwrap();
    let mut receipt = write_task(&*writer, &insert, 0, &[ids(0..5)]).unwrap().0;
    let mut told: Value = serde_json::from_str(&receipt.data).unwrap();
    told["rows"] = json!(6);
    receipt.data = told.to_string();
    let error = writer.commit(&insert, std::slice::from_ref(&receipt)).unwrap_err();
    assert_eq!(error.code, "RUN-STAGE");
    assert!(error.message.contains("hold 5 rows, and 6 row(s)"), "{error}");
    writer.abort(&insert, &[receipt]).unwrap();
    assert!(!out.exists());
}

#[test]
fn an_overwrite_of_partitions_replaces_those_with_rows() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let options = |more: Value| {
        let mut options = json!({"partition_by": ["day", "land"], "overwrite": "partitions"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options
    };
    let old = [
        ["1", "2026-11-21", "DE"],
        ["2", "2026-11-22", "DE"],
        ["3", "2026-11-22", "FR"],
        ["4", "NULL", "DE"],
    ];
    job(&out, "r1", WriteMode::Insert, rows(&old), options(json!({})));
    fs::write(out.join("day=2026-11-22/land=DE/other.csv"), "id\n9\n").unwrap();
    let plan = plan("r2", &three_columns(), WriteMode::Overwrite);
    let mut more = options(json!({"layout": "folder", "format": "csv", "success_marker": false}));
    let target = writer(writing(&out, more.clone()));
    let statements = target.draft(&plan).unwrap().statements;
    let place = |name: &str| format!("replace {}/{name}/ if there are rows for it", out.display());
    let named: Vec<_> = statements.iter().filter(|it| it.destructive).map(|it| &it.text).collect();
    assert_eq!(
        named,
        [
            &place("day=2026-11-21/land=DE"),
            &place("day=2026-11-22/land=DE"),
            &place("day=2026-11-22/land=FR"),
            &place("day=__HIVE_DEFAULT_PARTITION__/land=DE"),
        ]
    );
    let new = rows(&[["5", "2026-11-22", "DE"], ["6", "2026-11-23", "DE"], ["7", "NULL", "DE"]]);
    target.prepare(&plan).unwrap();
    let receipt = write_task(&*target, &plan, 0, &[new]).unwrap().0;
    for _ in 0..2 {
        target.commit(&plan, std::slice::from_ref(&receipt)).unwrap();
    }
    target.finalise(&plan).unwrap();
    // The file that another program has put there stays, as for every overwrite by manifest.
    assert_eq!(read_ids(&out), ["1", "3", "5", "6", "7", "9"]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(out.join("_transload_manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let runs: Vec<_> = files.iter().map(|file| file["run"].as_str().unwrap()).collect();
    assert_eq!(runs, ["r1", "r1", "r2", "r2", "r2"]);
    assert!(files.iter().all(|file| out.join(file["name"].as_str().unwrap()).exists()));
    more["partition_by"] = json!([]);
    let host = transload_plugin_api::Host::detached();
    let refused = transload_plugin_api::Plugin::writer(
        &transload_plugin_file::FilePlugin,
        writing(&out, more),
        host,
    );
    assert_eq!(refused.map(drop).unwrap_err().kind, ErrorKind::Options);
}
