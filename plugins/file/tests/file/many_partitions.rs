//! More partitions than may be written at a time: one file each all the same, whatever the order of
//! the rows, and no row more or less.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::tempdir;
use transload_plugin_api::{Column, Counters, Position, TaskContext, WriteMode};

use crate::host::{
    batch, columns, names, plan, read, reading, row, write, write_task, writer, writing,
};

const PARTITIONS: usize = 299;

fn three_columns() -> Vec<Column> {
    columns(&[("id", "int64"), ("k", "text"), ("f", "float64")])
}

/// Rows of mixed partitions; every 50th has a value that JSON cannot hold.
fn mixed(ids: std::ops::Range<usize>) -> RecordBatch {
    let cells = |id: usize| {
        let value = if id % 50 == 7 { "NaN" } else { "1.5" };
        row(&[&id.to_string(), &format!("p{}", id * 7919 % PARTITIONS), value])
    };
    batch(&three_columns(), &ids.map(cells).collect::<Vec<_>>())
}

fn options(more: Value) -> Value {
    let mut options = json!({
        "layout": "folder", "partition_by": ["k"], "max_open_partitions": 8,
        "success_marker": false,
    });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

/// The number of files in each partition's folder.
fn files(out: &Path) -> BTreeMap<String, usize> {
    let folders = names(out).into_iter().filter(|name| name.starts_with("k="));
    folders.map(|name| (name.clone(), names(&out.join(name)).len())).collect()
}

fn ids(out: &Path) -> Vec<usize> {
    let found = read(reading(out, json!({})), 1).unwrap();
    let id = |row: &Vec<Option<String>>| {
        let id: usize = row[0].as_ref().unwrap().parse().unwrap();
        let last = row.last().unwrap().as_ref().unwrap();
        assert_eq!(*last, format!("p{}", id * 7919 % PARTITIONS));
        id
    };
    let mut ids: Vec<_> = found.rows.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn mixed_rows_of_many_partitions_become_one_file_each() {
    let folder = tempdir().unwrap();
    for (format, compression) in
        [("csv", "none"), ("csv", "gzip"), ("jsonl", "zstd"), ("json", "none"), ("parquet", "none")]
    {
        let out = folder.path().join(format!("{format}-{compression}"));
        let more = json!({"format": format, "compression": compression});
        let batches = |task: usize| (0..5).map(move |at| task * 5_000 + at * 1_000);
        let tasks = [0, 1].map(|task| batches(task).map(|at| mixed(at..at + 1_000)).collect());
        let insert = plan("r1", &three_columns(), WriteMode::Insert);
        let dirty = write(writing(&out, options(more)), &insert, &tasks).unwrap();
        let json = format.starts_with("json");
        let refused: Vec<_> = dirty.iter().map(|row| (row.row, row.column.clone())).collect();
        let expected = (0..10 * 20).map(|at| (at % 20 * 50 + 7, Some("f".to_owned())));
        assert_eq!(refused, if json { expected.collect() } else { Vec::new() }, "{format}");
        let all: Vec<_> = (0..10_000).filter(|id| !json || id % 50 != 7).collect();
        assert_eq!(ids(&out), all, "{format} {compression}");
        let files = files(&out);
        assert_eq!(files.len(), PARTITIONS);
        assert!(files.values().all(|count| *count == 2), "{format}: one a task: {files:?}");
        assert_eq!(names(&out).len(), PARTITIONS + 1, "nothing else stays");
    }
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_batch_of_many_partitions_is_not_encoded_for_each_of_them() {
    let text = "a longer text without any byte that would need quotes ".repeat(4);
    let columns = columns(&[("k", "text"), ("t", "text")]);
    let took = |partitions: usize| {
        let rows: Vec<_> =
            (0..8_192).map(|id| row(&[&format!("p{}", id % partitions), &text])).collect();
        let batch = batch(&columns, &rows);
        let folder = tempdir().unwrap();
        let insert = plan("r1", &columns, WriteMode::Insert);
        let more = json!({"layout": "folder", "format": "csv", "partition_by": ["k"]});
        let writer = writer(writing(folder.path(), more));
        writer.prepare(&insert).unwrap();
        let mut task = writer.open(&insert, &TaskContext { task: 0, epoch: 0 }).unwrap();
        task.begin_chunk(0).unwrap();
        task.write(&batch).unwrap();
        let before = processor_time();
        (0..3).for_each(|_| drop(task.write(&batch).unwrap()));
        let took = processor_time() - before;
        task.rollback_chunk().unwrap();
        task.abort().unwrap();
        took
    };
    let (few, many) = (took(50), took(3_000));
    assert!(many < few * 4, "{few:?} for 50 partitions, {many:?} for 3,000");
}

#[test]
fn sorted_rows_of_many_partitions_become_one_file_each() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let sorted = (0..40).flat_map(|key| (0..20).map(move |at| (key, key * 1_000 + at * 10)));
    let batches: Vec<_> = sorted
        .map(|(key, from)| {
            let cells = |id: usize| row(&[&id.to_string(), &format!("p{key}"), "1"]);
            batch(&three_columns(), &(from..from + 10).map(cells).collect::<Vec<_>>())
        })
        .collect();
    let insert = plan("r1", &three_columns(), WriteMode::Insert);
    write(writing(&out, options(json!({"format": "csv"}))), &insert, &[batches]).unwrap();
    let files = files(&out);
    assert!(files.len() == 40 && files.values().all(|count| *count == 1), "{files:?}");
}

#[test]
fn a_chunk_that_is_rolled_back_leaves_no_rows_that_wait() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let insert = plan("r1", &three_columns(), WriteMode::Insert);
    let writer = writer(writing(&out, options(json!({"format": "csv"}))));
    let statements = writer.draft(&insert).unwrap().statements;
    let told = "write 8 partitions at a time in each task";
    assert!(statements.iter().any(|it| it.text.starts_with(told)), "{statements:?}");
    writer.prepare(&insert).unwrap();
    let mut task = writer.open(&insert, &TaskContext { task: 0, epoch: 0 }).unwrap();
    for (at, keep) in [(0, true), (1, false), (1, true), (2, false), (2, true)] {
        task.begin_chunk(at).unwrap();
        task.write(&mixed(at as usize * 1_000..at as usize * 1_000 + 1_000)).unwrap();
        if keep {
            task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
        } else {
            task.rollback_chunk().unwrap();
        }
    }
    let first = task.finish().unwrap();
    let second = write_task(&*writer, &insert, 1, &[mixed(3_000..4_000)]).unwrap().0;
    writer.commit(&insert, &[first, second]).unwrap();
    writer.finalise(&insert).unwrap();
    assert_eq!(ids(&out), (0..4_000).collect::<Vec<_>>());
    let manifest: Value =
        serde_json::from_slice(&fs::read(out.join("_transload_manifest.json")).unwrap()).unwrap();
    let rows =
        manifest["files"].as_array().unwrap().iter().map(|file| file["rows"].as_u64().unwrap());
    assert_eq!(rows.sum::<u64>(), 4_000);
}
