//! How rows are divided into objects: sizes, partitions, names, large objects.

use std::collections::BTreeMap;

use arrow_array::{Array, RecordBatch, cast::AsArray, types::Int64Type};
use serde_json::{Value, json};
use transload_plugin_api::{Column, Plugin, SplitRequest, TaskContext, WriteMode};
use transload_plugin_object_store::ObjectStorePlugin;
use transload_tests_buckets::{Bucket, Kind};

use crate::host::{batch, chunk, columns, ids, plan, rows, two_columns, write, writer};

fn partitioned(rows: &[(&str, &str)]) -> RecordBatch {
    let rows: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(id, (day, land))| vec![id.to_string(), (*day).to_owned(), (*land).to_owned()])
        .collect();
    batch(&three_columns(), &rows)
}

fn three_columns() -> Vec<Column> {
    columns(&[("id", "int64"), ("day", "date"), ("land", "text")])
}

/// The content of all data objects, by name.
fn contents(bucket: &Bucket) -> BTreeMap<String, String> {
    bucket.data().into_iter().map(|name| (name.clone(), bucket.text(&name))).collect()
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn run(bucket: &Bucket, more: Value, columns: &[Column], tasks: &[Vec<RecordBatch>]) -> usize {
    let insert = plan("r", columns, WriteMode::Insert);
    write(bucket, more, &insert, tasks).unwrap().len()
}

#[test]
fn objects_roll_over_at_exactly_so_many_rows() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let more = json!({"path": "o/", "format": "csv", "max_rows_per_object": 4, "name": "{task}-{number}.csv"});
        let tasks = [vec![rows(0..3), rows(3..11)], vec![rows(20..24), rows(24..24)]];
        assert_eq!(run(&bucket, more, &two_columns(), &tasks), 0);
        let counts: Vec<_> = contents(&bucket)
            .into_iter()
            .map(|(name, text)| (name, text.lines().count() - 1))
            .collect();
        let expected =
            [("00000-00000", 4), ("00000-00001", 4), ("00000-00002", 3), ("00001-00000", 4)];
        assert_eq!(
            counts,
            expected.map(|(name, rows)| (format!("o/{name}.csv"), rows)),
            "{kind:?}"
        );
        assert_eq!(ids(&bucket), (0..11).chain(20..24).collect::<Vec<_>>());
    }
}

#[test]
fn rows_that_the_format_refuses_do_not_fill_an_object() {
    let bucket = Bucket::new(Kind::Folder);
    let columns = columns(&[("f", "float64")]);
    let cells = ["1", "NaN", "2", "3", "NaN", "4", "5"].map(|cell| vec![cell.to_owned()]);
    let more = json!({"path": "o/", "format": "jsonl", "max_rows_per_object": 2, "name": "{number}.jsonl"});
    let insert = plan("r", &columns, WriteMode::Insert);
    let dirty = write(&bucket, more, &insert, &[vec![batch(&columns, &cells)]]).unwrap();
    let found: Vec<_> = dirty.iter().map(|row| row.row).collect();
    assert_eq!(found, [1, 4]);
    let expected = texts([
        ("o/00000.jsonl", "{\"f\":1.0}\n{\"f\":2.0}\n"),
        ("o/00001.jsonl", "{\"f\":3.0}\n{\"f\":4.0}\n"),
        ("o/00002.jsonl", "{\"f\":5.0}\n"),
    ]);
    assert_eq!(contents(&bucket), expected);
}

#[test]
fn objects_roll_over_by_bytes_to_the_size_of_a_batch() {
    // A format that compresses its rows reports its size a little later than others.
    for (format, batch, limit, slack) in
        [("csv", 200, 2000, 3_000), ("jsonl", 200, 2000, 9_000), ("csv.gz", 8000, 50_000, 150_000)]
    {
        let bucket = Bucket::new(Kind::Folder);
        let name = format!("{{number}}.{format}");
        let more = json!({"path": "o/", "max_bytes_per_object": limit, "name": name});
        let batches: Vec<_> = (0..40).map(|at| rows(at * 9000..at * 9000 + batch)).collect();
        run(&bucket, more, &two_columns(), &[batches]);
        let names = bucket.data();
        assert!(names.len() > 3, "{names:?}");
        let largest = names.iter().map(|name| bucket.get(name).len()).max().unwrap();
        assert!((limit..limit + slack).contains(&largest), "{format}: {largest}");
    }
}

#[test]
fn a_rollback_takes_back_what_has_rolled_over() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let plan = plan("r", &two_columns(), WriteMode::Insert);
        let more = json!({"path": "o/", "format": "csv", "max_rows_per_object": 3, "name": "{number}.csv"});
        let writer = writer(&bucket, more);
        writer.prepare(&plan).unwrap();
        let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
        chunk(&mut *task, &rows(0..2));
        for _ in 0..2 {
            task.begin_chunk(1).unwrap();
            task.write(&rows(100..110)).unwrap();
            task.rollback_chunk().unwrap();
        }
        chunk(&mut *task, &rows(2..8));
        let receipt = task.finish().unwrap();
        writer.commit(&plan, &[receipt]).unwrap();
        writer.finalise(&plan).unwrap();
        let expected = texts([
            ("o/00000.csv", "id,name\n0,x\n1,x\n2,x\n"),
            ("o/00001.csv", "id,name\n3,x\n4,x\n5,x\n"),
            ("o/00002.csv", "id,name\n6,x\n7,x\n"),
        ]);
        assert_eq!((contents(&bucket), bucket.uploads()), (expected, 0), "{kind:?}");
    }
}

#[test]
fn partitions_get_hive_folders() {
    let cells = [
        ("2026-11-21", "DE"),
        ("2026-11-22", "a b/ü"),
        ("2026-11-21", "DE"),
        ("NULL", "DE"),
        ("2026-11-21", "NULL"),
    ];
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let more = json!({"path": "o/", "format": "csv", "partition_by": ["day", "land"], "name": "{number}.csv"});
        run(&bucket, more, &three_columns(), &[vec![partitioned(&cells)]]);
        let expected = texts([
            ("o/day=2026-11-21/land=DE/00000.csv", "id\n0\n2\n"),
            ("o/day=2026-11-21/land=__HIVE_DEFAULT_PARTITION__/00003.csv", "id\n4\n"),
            ("o/day=2026-11-22/land=a%20b%2F%C3%BC/00001.csv", "id\n1\n"),
            ("o/day=__HIVE_DEFAULT_PARTITION__/land=DE/00002.csv", "id\n3\n"),
        ]);
        assert_eq!(contents(&bucket), expected, "{kind:?}");
    }
    let bucket = Bucket::new(Kind::Folder);
    let more = json!({
        "path": "o/", "format": "csv", "name": "{land}/{number}.csv", "partition_by": ["day"],
        "keep_partition_columns": true,
    });
    run(&bucket, more, &three_columns(), &[vec![partitioned(&cells[..1])]]);
    let expected = texts([("o/day=2026-11-21/DE/00000.csv", "id,day,land\n0,2026-11-21,DE\n")]);
    assert_eq!(contents(&bucket), expected);
}

#[test]
fn what_partitions_say_reads_back() {
    let lands = ["DE", "a b/ü%20", "NULL", "", "__HIVE_DEFAULT_PARTITION__", "x=y", "..", "100%"];
    let cells: Vec<_> = lands.iter().map(|land| ("2026-11-21", *land)).collect();
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let more = json!({"path": "o/", "format": "csv", "partition_by": ["land"]});
        run(&bucket, more, &three_columns(), &[vec![partitioned(&cells)]]);
        let options = bucket.options(json!({"path": ["o/"], "format": "csv"}));
        let reader = ObjectStorePlugin.reader(options, bucket.host()).unwrap();
        let request = SplitRequest::new(1, three_columns());
        let mut found = BTreeMap::new();
        for split in reader.splits(&request).unwrap() {
            let mut task = reader.open(&split, &three_columns(), None).unwrap();
            while let Some(read) = task.next_batch().unwrap() {
                let ids = read.batch.column(0).as_primitive::<Int64Type>();
                let lands = read.batch.column(2).as_string::<i32>();
                for row in 0..read.batch.num_rows() {
                    let land = if lands.is_null(row) { "NULL" } else { lands.value(row) };
                    found.insert(ids.value(row) as usize, land.to_owned());
                }
            }
        }
        let expected: BTreeMap<_, _> =
            lands.iter().enumerate().map(|(row, land)| (row, (*land).to_owned())).collect();
        assert_eq!(found, expected, "{kind:?}");
    }
}

#[test]
fn a_value_that_cannot_name_an_object_is_a_dirty_row() {
    let bucket = Bucket::new(Kind::Folder);
    let long = "x".repeat(1100);
    let lands = ["_hidden", "DE", "", "..", "NULL", &long, "FR"];
    let cells: Vec<_> = lands.iter().map(|land| ("2026-11-21", *land)).collect();
    let more = json!({"path": "o/", "format": "csv", "name": "{land}/{number}.csv"});
    let insert = plan("r", &three_columns(), WriteMode::Insert);
    let dirty = write(&bucket, more, &insert, &[vec![partitioned(&cells)]]).unwrap();
    let found: Vec<_> = dirty.iter().map(|row| row.row).collect();
    assert_eq!(found, [0, 2, 3, 4, 5], "{dirty:?}");
    assert!(dirty.iter().all(|row| row.code == "partition" && row.reason.len() < 2000));
    assert_eq!(bucket.data(), ["o/DE/00000.csv", "o/FR/00001.csv"]);
    assert!(bucket.text("o/DE/00000.csv").ends_with("1,2026-11-21,DE\n"), "its value stays");
}

#[test]
fn more_partitions_than_may_be_open_take_turns() {
    for kind in [Kind::Folder, Kind::S3] {
        let bucket = Bucket::new(kind);
        let cells: Vec<_> = (0..60).map(|row| ["A", "B", "C", "D", "E"][row % 5]).collect();
        let cells: Vec<_> = cells.into_iter().map(|land| ("2026-11-21", land)).collect();
        let batches: Vec<_> = cells.chunks(15).map(partitioned).collect();
        let more = json!({
            "path": "o/", "format": "csv", "partition_by": ["land"], "max_open_partitions": 2,
        });
        let draft = writer(&bucket, more.clone())
            .draft(&plan("r-1", &three_columns(), WriteMode::Insert))
            .unwrap();
        let told = draft.statements.iter().any(|it| it.text.starts_with("write 2 partitions"));
        assert!(told, "{:?}", draft.statements);
        run(&bucket, more, &three_columns(), &[batches]);
        let contents = contents(&bucket);
        for land in ["A", "B", "C", "D", "E"] {
            let folder = format!("o/land={land}/");
            let rows: usize = contents
                .iter()
                .filter(|(name, _)| name.starts_with(&folder))
                .map(|(_, text)| text.lines().count() - 1)
                .sum();
            assert_eq!(rows, 12, "{land}");
        }
        assert_eq!(contents.len(), 5, "one object each: {:?}", contents.keys());
    }
}

#[test]
fn partitions_of_many_bytes_take_turns_in_memory() {
    let columns = columns(&[("land", "text"), ("name", "text")]);
    for format in ["csv", "parquet"] {
        let bucket = Bucket::new(Kind::S3);
        // Every batch has different texts that do not compress well.
        let batches = (0..20).map(|number| {
            let text = |row: usize| {
                let hash = (row + number * 3000) as u64;
                let words = (1..60u64).map(|at| {
                    format!("{:x}", hash.wrapping_mul(at.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
                });
                words.collect::<String>()
            };
            let rows: Vec<_> =
                (0..3000).map(|row| vec![format!("L{}", row % 20), text(row)]).collect();
            batch(&columns, &rows)
        });
        let more = json!({
            "path": "o/", "format": format, "compression": "none", "partition_by": ["land"],
            "part_size": 5 << 20,
        });
        run(&bucket, more, &columns, &[batches.collect()]);
        assert!(bucket.data().len() > 20, "{format}: some have ended before their time");
        let options = bucket.options(json!({"path": ["o/"], "format": format}));
        let reader = ObjectStorePlugin.reader(options, bucket.host()).unwrap();
        let request = SplitRequest::new(1, columns.clone());
        let mut rows = 0;
        for split in reader.splits(&request).unwrap() {
            let mut task = reader.open(&split, &columns, None).unwrap();
            while let Some(read) = task.next_batch().unwrap() {
                rows += read.batch.num_rows();
            }
        }
        assert_eq!(rows, 60_000, "{format}");
    }
}

#[test]
fn an_object_of_many_parts_is_whole() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let long = "z".repeat(400);
        let more = json!({"path": "x.csv", "part_size": 5 << 20});
        let batches: Vec<_> = (0..10)
            .map(|at| {
                let row = |id: i32| vec![(at * 6000 + id).to_string(), long.clone()];
                batch(&two_columns(), &(0..6000).map(row).collect::<Vec<_>>())
            })
            .collect();
        run(&bucket, more, &two_columns(), &[batches]);
        let text = bucket.text("x.csv");
        assert!(text.len() > 22 << 20, "several parts");
        assert_eq!(ids(&bucket), (0..60_000).collect::<Vec<_>>(), "{kind:?}");
        let line = |line: &str| line.ends_with(&long) || line == "id,name";
        assert!(text.lines().all(line), "{kind:?}");
    }
}

/// Peak memory of this process, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// To run it: `cargo test -p transload-plugin-object-store -- --ignored memory`.
#[test]
#[ignore = "measures the memory of the whole process, so it must run alone"]
fn memory_does_not_grow_with_the_object() {
    let bucket = Bucket::new(Kind::S3);
    let plan = plan("r", &two_columns(), WriteMode::Insert);
    let made = ObjectStorePlugin.writer(bucket.options(json!({"path": "x.csv"})), bucket.host());
    let writer = made.unwrap();
    writer.prepare(&plan).unwrap();
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    let long = "z".repeat(400);
    let rows: Vec<_> = (0..12_000).map(|id| vec![id.to_string(), long.clone()]).collect();
    let batch = batch(&two_columns(), &rows);
    (0..20).for_each(|_| drop(chunk(&mut *task, &batch)));
    let early = peak();
    (0..60).for_each(|_| drop(chunk(&mut *task, &batch)));
    let late = peak();
    let receipt = task.finish().unwrap();
    writer.commit(&plan, &[receipt]).unwrap();
    writer.finalise(&plan).unwrap();
    assert!(late < early + (16 << 20), "after 100 MB {early}, after 390 MB {late}");
    assert!(late < 150 << 20, "{late}");
}
