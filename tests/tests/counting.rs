//! Every row is accounted for, and the limits on dirty rows hold exactly.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use transload_tests::{Ended, Workplace};
use transload_tests_buckets::Bucket;
use transload_tests_s3::{Fault, Rule};

/// The report that the last run of a workplace left in its folder.
fn kept_report(workplace: &Workplace) -> Value {
    let jobs = workplace.path().join("state");
    let mut found = Vec::new();
    let mut folders = vec![jobs];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with("report.json") => found.push(path),
                false => {}
            }
        }
    }
    let last = found.into_iter().max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    serde_json::from_str(&fs::read_to_string(last.unwrap()).unwrap()).unwrap()
}

/// Asserts that the report's rows add up, in total and over its tasks.
#[track_caller]
fn assert_balanced(report: &Value) {
    let rows = |key: &str| report["rows"][key].as_u64().unwrap();
    let sum = rows("inserted") + rows("updated") + rows("skipped") + rows("dirty");
    assert_eq!(rows("read"), sum, "{report:#}");
}

/// A job over this many files and tasks, in which the rows with these ids do not contain a number.
fn many_files(
    workplace: &Workplace,
    wrong: &BTreeSet<u32>,
    mode: &str,
    dirty: &str,
) -> (Ended, Value) {
    for file in 0..8 {
        let cell = |id: u32| if wrong.contains(&id) { "x".to_owned() } else { id.to_string() };
        let lines = (file * 100..(file + 1) * 100).map(|id| format!("{id},{}\n", cell(id)));
        workplace.put(&format!("in/{file}.csv"), format!("id,n\n{}", lines.collect::<String>()));
    }
    workplace.execute(
        "target.db",
        "DROP TABLE IF EXISTS t; CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)",
    );
    workplace.job(&format!(
        "[reader]\nplugin = \"file\"\npath = \"in/*.csv\"\n\
         [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\nwrite_mode = \"{mode}\"\n\
         [channel]\nparallelism = 4\n[dirty]\n{dirty}\n"
    ))
}

#[test]
fn t13_dirty_rows_are_counted_exactly_and_kept_once_each() {
    let wrong: BTreeSet<u32> = (0..800).filter(|id| id % 19 == 3).collect();
    assert!(wrong.len() > 40);
    let workplace = Workplace::new();
    let (ended, report) = many_files(&workplace, &wrong, "insert", "max_rows = \"unlimited\"");
    ended.exits(0);
    assert_balanced(&report);
    assert_eq!(report["rows"]["dirty"], wrong.len());
    assert_eq!(
        workplace.sqlite("target.db", "SELECT count(*) FROM t"),
        [(800 - wrong.len()).to_string()]
    );
    let rows = workplace.dirty_rows(&report);
    // Line 1 of each file is its header.
    let expected: BTreeSet<String> =
        wrong.iter().map(|id| format!("{}.csv, line {}", id / 100, id % 100 + 2)).collect();
    let found: Vec<&str> = rows.iter().map(|row| row["place"].as_str().unwrap()).collect();
    assert_eq!(found.len(), wrong.len());
    for place in &expected {
        assert_eq!(
            found.iter().filter(|found| found.ends_with(place.as_str())).count(),
            1,
            "{place}"
        );
    }
    for row in rows {
        let error = &row["errors"][0];
        assert_eq!(
            (&error["column"], &error["found"], &error["code"]),
            (&json!("n"), &json!("x"), &json!("parse"))
        );
    }
}

#[test]
fn t14_the_limit_is_exact_wherever_the_row_is() {
    for last in [0, 250, 799] {
        let wrong: BTreeSet<u32> = [last].into_iter().chain((400..410).map(|id| id + 1)).collect();
        let workplace = Workplace::new();
        let (ended, report) = many_files(&workplace, &wrong, "overwrite", "max_rows = 11");
        ended.exits(0);
        assert_eq!(report["rows"]["dirty"], 11);
        let (ended, report) = many_files(&workplace, &wrong, "overwrite", "max_rows = 10");
        ended.exits(3).says("[DIRTY-LIMIT]").says("dirty.max_rows = 10");
        assert_eq!((&report["status"], &report["dirty_met"]), (&json!("dirty-limit"), &json!(11)));
        assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["0"]);
    }
}

#[test]
fn t14_the_ratio_is_judged_at_the_end() {
    let wrong: BTreeSet<u32> = (0..8).map(|file| file * 100).collect();
    let run = |ratio: &str| {
        let workplace = Workplace::new();
        let limit = format!("max_rows = \"unlimited\"\nmax_ratio = {ratio}");
        let (ended, _) = many_files(&workplace, &wrong, "overwrite", &limit);
        (ended, workplace.sqlite("target.db", "SELECT count(*) FROM t").remove(0))
    };
    let (ended, rows) = run("0.01");
    ended.exits(0);
    assert_eq!(rows, "792");
    let (ended, rows) = run("0.0099");
    ended.exits(3).says("dirty.max_ratio = 0.0099");
    assert_eq!(rows, "0");
}

/// Limits of classes hold beside those of all rows, exactly, and the message names the class.
#[test]
fn t14_each_class_has_its_limit() {
    // 11 texts that are no numbers, and 2 keys that are there already.
    let wrong: BTreeSet<u32> = (100..111).collect();
    let run = |limits: &str| {
        let workplace = Workplace::new();
        workplace.put("in.csv", {
            let row = |id: &u32| format!("{id},{}\n", if wrong.contains(id) { "x" } else { "1" });
            format!("id,n\n{}7,1\n8,1\n", (0..800).map(|id| row(&id)).collect::<String>())
        });
        workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)");
        let (ended, report) = workplace.job(&format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nn = \"int64\"\n\
             [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n[dirty]\n{limits}\n"
        ));
        (ended, report, workplace.sqlite("target.db", "SELECT count(*) FROM t").remove(0))
    };
    for limits in [
        "max_rows_of = { parse = 11, constraint = 2 }",
        "max_rows = 13\nmax_rows_of = { constraint = 2 }",
        "max_rows = \"unlimited\"\nmax_rows_of = { parse = 11 }",
        "max_ratio = 0.1\nmax_rows_of = { constraint = \"unlimited\" }",
    ] {
        let (ended, report, rows) = run(limits);
        ended.exits(0);
        assert_eq!((&report["rows"]["dirty"], rows.as_str()), (&json!(13), "789"), "{limits}");
    }
    for (limits, key, words) in [
        ("max_rows_of = { parse = 10, constraint = 2 }", "parse = 10", "line 102: column `n`"),
        ("max_rows_of = { parse = 11, constraint = 1 }", "constraint = 1", "line 802"),
        ("max_rows_of = { parse = 11 }", "constraint = 0", "line 802"),
        ("max_ratio = 0.1\nmax_rows_of = { constraint = 1 }", "constraint = 1", "line 802"),
    ] {
        let (ended, _, rows) = run(limits);
        let class = key.split(' ').next().unwrap();
        ended.exits(3).says(&format!("dirty.max_rows_of.{key}"));
        ended.says(&format!("(class `{class}`)")).says(words);
        assert_eq!(rows, "0", "{limits}");
    }
    let (ended, _, _) = run("max_rows = 12\nmax_rows_of = { parse = 11, constraint = 2 }");
    ended.exits(3).says("13 of ").says("dirty.max_rows = 12");
}

#[test]
fn t15_no_limit_said_means_not_one() {
    let workplace = Workplace::new();
    let (ended, _) = many_files(&workplace, &BTreeSet::from([5]), "overwrite", "");
    ended.exits(3).says("dirty.max_rows = 0");
    assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["0"]);
    for wrong in ["-1", "\"none\"", "\"\""] {
        let limit = format!("max_rows = {wrong}");
        workplace.put("job.toml", format!("[reader]\nplugin = \"file\"\npath = \"a.csv\"\n[writer]\nplugin = \"file\"\npath = \"b.csv\"\n[dirty]\n{limit}\n"));
        workplace.run(&["check", "job.toml"]).exits(2).says("job.toml:8:");
    }
}

#[test]
fn t12_the_balance_holds_in_every_write_mode() {
    for (mode, inserted, updated, skipped, dirty) in [
        ("insert", 5, 0, 0, 3),
        ("ignore", 5, 0, 2, 1),
        ("upsert", 5, 2, 0, 1),
        ("replace", 5, 2, 0, 1),
        ("overwrite", 7, 0, 0, 1),
    ] {
        let workplace = Workplace::new();
        workplace.execute(
            "target.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 0), (2, 0)",
        );
        workplace.put("in.csv", "id,n\n1,1\n2,2\n3,3\n4,4\nx,5\n6,6\n7,7\n8,8\n");
        let (ended, report) = workplace.job(&format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\nplugin = \"sqlite\"\n\
             path = \"target.db\"\ntable = \"t\"\nwrite_mode = \"{mode}\"\n[dirty]\nmax_rows = 3\n"
        ));
        ended.exits(0);
        let expected = json!({"read": 8, "inserted": inserted, "updated": updated, "skipped": skipped, "dirty": dirty});
        assert_eq!(report["rows"], expected, "{mode}");
        assert_eq!(workplace.dirty_rows(&report).len(), dirty, "{mode}");
        assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["7"], "{mode}");
    }
}

#[test]
fn t12_a_writer_that_loses_rows_is_found_out() {
    let plugins = transload_tests::sample_folder();
    let workplace = Workplace::new();
    workplace.put("in.csv", "id\n1\n2\n");
    workplace.put(
        "job.toml",
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\nplugin = \"sample\"\nfault = \"lost row\"\n",
    );
    let ended = {
        let plugins = plugins.path().to_str().unwrap();
        workplace.run(&["run", "job.toml", "--allow-unsigned-plugins", "--plugins", plugins])
    };
    ended.exits(7).says("[RUN-BALANCE]").says("2 rows");
}

/// The counts of a plugin are in the report under their names; the summary shows only those that a
/// user can act on.
#[test]
fn what_plugins_count_of_their_stores_is_reported() {
    let plugins = transload_tests::sample_folder();
    let workplace = Workplace::new();
    workplace.put("in.csv", "id\n1\n");
    let plugins = plugins.path().to_str().unwrap();
    for (reader, writer, counts, said) in [
        (
            "sample",
            "generator",
            json!({ "reader": { "verbs_called": 7, "verbs_asked_to_fail": 0 }, "writer": {} }),
            None,
        ),
        (
            "file",
            "sample",
            json!({ "reader": {}, "writer": { "answers_lost": u64::MAX } }),
            Some("trouble     18,446,744,073,709,551,615 answers to the target were lost\n"),
        ),
    ] {
        let path = if reader == "file" { "path = \"in.csv\"\n" } else { "" };
        let job = format!(
            "[reader]\nplugin = \"{reader}\"\n{path}columns = [\"id\"]\n\
             [writer]\nplugin = \"{writer}\"\n[channel]\nparallelism = 1\n[dirty]\nmax_rows = 100\n"
        );
        workplace.put("job.toml", job);
        let ended =
            workplace.run(&["run", "job.toml", "--allow-unsigned-plugins", "--plugins", plugins]);
        // The sample refuses to commit its rows, but has counted them.
        let report = kept_report(&workplace);
        assert_eq!(report["counts"], counts, "{ended:?}");
        assert!(!ended.stderr.contains("no name"), "{ended:?}");
        match said {
            Some(said) => assert!(ended.stderr.contains(said), "{ended:?}"),
            None => assert!(!ended.stderr.contains("trouble"), "{ended:?}"),
        }
    }
}

/// Throttling by a store is respected, and the number of throttled requests is reported, by name
/// and in the summary, whether the run succeeds or not.
#[test]
fn throttled_requests_are_reported() {
    let (bucket, faults) = Bucket::failing();
    bucket.put("in.csv", b"id\n1\n2\n");
    let workplace = Workplace::new();
    let job = |path: &str| {
        format!(
            "[reader]\n{}retries = 4\n[writer]\n{}format = \"csv\"\nretries = 4\n\
             [channel]\nparallelism = 1\n",
            bucket.lines("in.csv"),
            bucket.lines(path)
        )
    };

    let reading = faults.arm(Rule::on("GetObject").times(2), Fault::SLOW_DOWN);
    let writing = faults.arm(Rule::on("PutObject").times(1), Fault::SLOW_DOWN);
    workplace.put("job.toml", job("good/"));
    let ended = workplace.run(&["run", "job.toml"]);
    ended.exits(0);
    assert_eq!((reading.hits(), writing.hits()), (2, 1));
    let counts = &kept_report(&workplace)["counts"];
    for (side, throttled) in [("reader", 2), ("writer", 1)] {
        let counts = &counts[side];
        assert_eq!(counts["requests_throttled"], throttled, "{counts}");
        assert!(counts["requests"].as_u64().unwrap() > throttled, "{counts}");
        for none in ["requests_failed", "requests_late", "connections_broken"] {
            assert_eq!(counts[none], 0, "{counts}");
        }
    }
    ended.says("trouble     2 of ").says(" requests to the source were throttled");
    ended.says("trouble     1 of ").says(" requests to the target was throttled");

    let failing = faults.arm(Rule::on("PutObject"), Fault::SLOW_DOWN);
    workplace.put("job.toml", job("bad/"));
    let ended = workplace.run(&["run", "job.toml"]);
    assert_ne!(ended.exit, Some(0));
    ended.says(" requests to the target were throttled");
    let counts = &kept_report(&workplace)["counts"];
    assert_eq!(counts["writer"]["requests_throttled"], failing.hits());
    assert_eq!(counts["reader"]["requests_throttled"], 0);
}

/// A source of nothing but wrong rows: reading stops after the first batch, not after the file.
#[test]
fn t14_reading_stops_within_a_batch() {
    const ROWS: u64 = 200_000;
    for (limit, suffix) in [("0", "csv"), ("100", "csv"), ("0", "jsonl")] {
        let workplace = Workplace::new();
        let row = |id| {
            if suffix == "csv" {
                format!("{id},x\n")
            } else {
                format!("{{\"id\":{id},\"n\":\"x\"}}\n")
            }
        };
        let header = if suffix == "csv" { "id,n\n" } else { "" };
        workplace.put(
            &format!("in.{suffix}"),
            header.to_owned() + &(1..=ROWS).map(row).collect::<String>(),
        );
        workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)");
        let (ended, report) = workplace.job(&format!(
            "[reader]\nplugin = \"file\"\npath = \"in.{suffix}\"\n[writer]\nplugin = \"sqlite\"\n\
             path = \"target.db\"\ntable = \"t\"\n[channel]\nparallelism = 1\n[dirty]\nmax_rows = {limit}\n"
        ));
        ended.exits(3).says("the first one: ");
        let first = if suffix == "csv" { "line 2: " } else { "line 1: " };
        ended.says(first);
        let met = report["dirty_met"].as_u64().unwrap();
        assert!(met <= 8_192, "{met} rows for {limit} {suffix}");
        assert_eq!(workplace.dirty_rows(&report).len() as u64, met);
    }
}

/// A target that refuses every row: each task writes one batch at most beyond the limit, and keeps
/// the rows of it.
#[test]
fn t14_writing_stops_within_a_batch() {
    const ROWS: u64 = 100_000;
    for (tasks, limit) in [(1, 0), (4, 0), (4, 500)] {
        let workplace = Workplace::new();
        workplace.execute(
            "target.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY CHECK (id < 0)); INSERT INTO t VALUES (-1)",
        );
        let (ended, report) = workplace.job(&format!(
            "[reader]\nplugin = \"generator\"\nrows = {ROWS}\nspecs = {{ id = \"int64 sequence\" }}\n\
             [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
             [channel]\nparallelism = {tasks}\n[dirty]\nmax_rows = {limit}\n"
        ));
        ended.exits(3).says("; the first one: generator, row ");
        let met = report["dirty_met"].as_u64().unwrap();
        assert!(met > limit && met <= limit + tasks * 8_192, "{met} rows of {tasks} tasks");
        assert!(workplace.dirty_rows(&report).len() as u64 <= met);
        assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["1"]);
    }
}

/// The place of a row is that in the source, also behind rows that the reader refused.
#[test]
fn a_row_that_the_writer_refuses_has_its_place_in_the_source() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,note\n1,a\n2\n3,b\n4,bad\n");
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT CHECK (note <> 'bad'))";
    workplace.execute("target.db", table);
    let (ended, report) = workplace.job(
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\nplugin = \"sqlite\"\n\
         path = \"target.db\"\ntable = \"t\"\n[dirty]\nmax_rows = 2\n",
    );
    ended.exits(0);
    let rows = workplace.dirty_rows(&report);
    let places: Vec<_> = rows.iter().map(|row| row["place"].as_str().unwrap()).collect();
    assert_eq!(places.len(), 2, "{places:?}");
    for (place, line) in places.iter().zip(["line 3", "line 5"]) {
        assert!(place.ends_with(line), "{places:?}");
    }
}
