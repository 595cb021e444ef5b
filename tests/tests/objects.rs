//! Jobs with object stores through the real program: splitting, overwriting, partitions, several
//! objects per task, compressions. Values of all types are in `pairs`, faults in `object_faults`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::collections::BTreeSet;

use transload_tests::Workplace;
use transload_tests_buckets::Bucket;

fn stores() -> [Bucket; 2] {
    [Bucket::s3(), Bucket::azure()]
}

fn csv(rows: u64) -> String {
    let line = |row| format!("{row},d{},\"line one\nline {row}\"\n", row % 3);
    format!("id,day,words\n{}", (1..=rows).map(line).collect::<String>())
}

fn into_sqlite(workplace: &Workplace, reader: &str, tasks: u32) -> serde_json::Value {
    workplace.execute("out.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, day TEXT, words TEXT)");
    let (ended, report) = workplace.job(&format!(
        "[reader]\n{reader}[writer]\nplugin = \"sqlite\"\npath = \"out.db\"\ntable = \"t\"\n\
         write_mode = \"upsert\"\n[channel]\nparallelism = {tasks}\n"
    ));
    ended.exits(0);
    report
}

fn into_bucket(workplace: &Workplace, bucket: &Bucket, more: &str) -> transload_tests::Ended {
    workplace.put(
        "out.toml",
        format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\n{}{more}",
            bucket.lines("out/")
        ),
    );
    workplace.run(&["run", "out.toml", "--progress", "none"])
}

/// T53, T54: split only where a record certainly begins, although cells contain line ends.
#[test]
fn one_csv_object_is_read_by_several_tasks() {
    const ROWS: u64 = 120_000;
    let padding = "- ".repeat(70);
    for bucket in stores() {
        let workplace = Workplace::new();
        bucket.put("in.csv", csv(ROWS).replace("line one", &padding).as_bytes());
        let report = into_sqlite(&workplace, &bucket.lines("in.csv"), 4);
        let tasks = report["tasks"].as_array().unwrap();
        assert!(tasks.len() >= 4, "{:?}: {} tasks", bucket.kind, tasks.len());
        let query = format!(
            "SELECT count(*), sum(id), sum(words = '{padding}' || char(10) || 'line ' || id) FROM t"
        );
        let sum = ROWS * (ROWS + 1) / 2;
        assert_eq!(workplace.sqlite("out.db", &query), [format!("{ROWS}|{sum}|{ROWS}")]);
    }
}

#[test]
fn every_compression_is_read_by_its_first_bytes_and_written_by_its_name() {
    let bucket = Bucket::s3();
    for compression in ["none", "gzip", "zstd", "bzip2", "lz4", "snappy"] {
        let workplace = Workplace::new();
        workplace.put("in.csv", csv(1000));
        let more = format!(
            "format = \"csv\"\ncompression = \"{compression}\"\nwrite_mode = \"overwrite\"\n"
        );
        into_bucket(&workplace, &bucket, &more).exits(0);
        let object = bucket.data().pop().unwrap();
        bucket.put("unnamed.csv", bucket.get(&object));
        into_sqlite(&workplace, &bucket.lines("unnamed.csv"), 1);
        bucket.remove("unnamed.csv");
        let found = workplace.sqlite("out.db", "SELECT count(*), sum(id) FROM t");
        assert_eq!(found, ["1000|500500"], "{compression}");
    }
}

#[test]
fn objects_are_rolled_over_and_read_back() {
    for (bucket, format) in stores().into_iter().zip(["jsonl", "parquet"]) {
        let workplace = Workplace::new();
        workplace.put("in.csv", csv(1000));
        let more = format!("format = \"{format}\"\nmax_rows_per_object = 300\n");
        into_bucket(&workplace, &bucket, &more).exits(0);
        assert_eq!(bucket.data().len(), 4, "{:?}", bucket.names());
        into_sqlite(&workplace, &bucket.lines("out/"), 2);
        let found = workplace.sqlite("out.db", "SELECT count(*), sum(id) FROM t");
        assert_eq!(found, ["1000|500500"], "{format}");
    }
}

#[test]
fn partitions_are_folders_both_ways_and_prune_the_listing() {
    for bucket in stores() {
        let workplace = Workplace::new();
        workplace.put("in.csv", csv(900));
        into_bucket(&workplace, &bucket, "format = \"csv\"\npartition_by = [\"day\"]\n").exits(0);
        let folder = |key: String| key.split('/').nth(1).unwrap().to_owned();
        let folders: BTreeSet<_> = bucket.data().into_iter().map(folder).collect();
        assert_eq!(folders, ["day=d0", "day=d1", "day=d2"].map(str::to_owned).into());
        let reader = bucket.lines("out/") + "partition_filter = [\"day = d1\"]\n";
        into_sqlite(&workplace, &reader, 2);
        let found = workplace.sqlite("out.db", "SELECT count(*), min(day), max(day) FROM t");
        assert_eq!(found, ["300|'d1'|'d1'"], "{:?}", bucket.kind);
    }
}

/// T45: the plan lists what it will remove, planning writes nothing, and objects of others stay.
#[test]
fn t45_an_overwrite_prints_what_it_removes() {
    for bucket in stores() {
        let workplace = Workplace::new();
        workplace.put("in.csv", csv(10));
        into_bucket(&workplace, &bucket, "format = \"csv\"\n").exits(0);
        bucket.put("out/theirs.csv", b"id\n1\n");
        bucket.put("outside/x.csv", b"id\n1\n");
        let before = bucket.names();
        let old = bucket.data().into_iter().find(|key| key.contains("out/part-")).unwrap();
        into_bucket(&workplace, &bucket, "format = \"csv\"\n"); // refused: there is a data set
        assert_eq!(bucket.names(), before);
        let job = workplace.read("out.toml") + "write_mode = \"overwrite\"\n";
        workplace.put("out.toml", job);
        let plan = workplace.run(&["plan", "out.toml"]);
        let name = old.rsplit('/').next().unwrap();
        assert!(plan.exits(0).stdout.contains(name), "{}\n{}", plan.stdout, plan.stderr);
        let removed = plan.stdout.lines().filter(|line| line.contains("remove "));
        assert_eq!(removed.count(), 1, "{}", plan.stdout);
        assert_eq!(bucket.names(), before, "a plan wrote something");
        workplace.run(&["run", "out.toml", "--progress", "none"]).exits(0);
        let after = bucket.data();
        assert!(!after.contains(&old), "{after:?}");
        for kept in ["out/theirs.csv", "outside/x.csv"] {
            assert!(after.iter().any(|key| key == kept), "{after:?}");
        }
    }
}

#[test]
fn a_folder_is_a_store_too() {
    let workplace = Workplace::new();
    workplace.put("in.csv", csv(100));
    let url =
        format!("plugin = \"object-store\"\nurl = \"file://{}\"\n", workplace.path().display());
    workplace.put(
        "out.toml",
        format!(
            "[reader]\n{url}path = \"in.csv\"\n[writer]\n{url}path = \"out/\"\nformat = \"parquet\"\n"
        ),
    );
    workplace.run(&["run", "out.toml"]).exits(0);
    into_sqlite(&workplace, &format!("{url}path = \"out/\"\n"), 1);
    let found = workplace.sqlite("out.db", "SELECT count(*), sum(id) FROM t");
    assert_eq!(found, ["100|5050"]);
}

/// `file` and `object-store` on `file:///` have one manifest, one staging folder, one set of rules.
#[test]
fn folders_of_file_and_object_store_are_one() {
    let workplace = Workplace::new();
    let path = workplace.path().display().to_string();
    let writers = [
        format!("plugin = \"file\"\npath = \"{path}/out/\"\n"),
        format!("plugin = \"object-store\"\nurl = \"file://{path}\"\npath = \"out/\"\n"),
    ];
    let write = |number: usize, rows: u64, more: &str| {
        workplace.put("in.csv", csv(rows));
        let writer = &writers[number];
        workplace.put(
            "out.toml",
            format!(
                "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\n{writer}\
                 format = \"csv\"\npartition_by = [\"day\"]\n{more}"
            ),
        );
        workplace.run(&["run", "out.toml"]).exits(0);
    };
    let count = || {
        workplace.execute("out.db", "DROP TABLE IF EXISTS t");
        let reader = "plugin = \"file\"\npath = \"out/\"\n";
        into_sqlite(&workplace, reader, 1);
        workplace.sqlite("out.db", "SELECT count(*), max(id) FROM t")
    };
    for (one, other) in [(0, 1), (1, 0)] {
        write(one, 10, "write_mode = \"overwrite\"\n");
        assert_eq!(count(), ["10|10"]);
        write(other, 20, "if_exists = \"append\"\n");
        assert_eq!(count(), ["20|20"], "the same ids again, and ten more");
        let manifest = workplace.path().join("out/_transload_manifest.json");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(
            (&manifest["version"], manifest["files"].as_array().unwrap().len()),
            (&1.into(), 6)
        );
    }
}
