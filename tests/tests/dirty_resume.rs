//! Dirty rows across restarts: a run that was killed and resumed counts and keeps each of them once,
//! and its limits hold over all attempts together.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use transload_tests::{Ended, Workplace};

const ROWS: u64 = 40_000;

/// A job whose rows 500, 1500, ... are dirty, with this limit.
fn job(limit: &str) -> String {
    format!(
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nn = \"int64\"\n\
         [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
         [channel]\nparallelism = 1\n[checkpoint]\nrows = 1_000\n\
         [guarantee]\nrequire = \"effectively-once\"\ncreate_tables = true\n[dirty]\n{limit}\n"
    )
}

/// A run of it that was killed at a point.
fn killed(point: &str) -> Workplace {
    let workplace = Workplace::new();
    let row = |id: u64| format!("{id},{}\n", if id % 1_000 == 500 { "x" } else { "1" });
    workplace.put("in.csv", format!("id,n\n{}", (1..=ROWS).map(row).collect::<String>()));
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER, n INTEGER)");
    workplace.put("job.toml", job("max_rows = 100"));
    let mut command = workplace.command();
    command.args(["run", "job.toml", "--progress", "none"]).env("TRANSLOAD_FAILPOINT", point);
    assert_ne!(Ended::from(command.output().unwrap()).exit, Some(0), "{point} was passed");
    workplace
}

/// The same, resumed with another limit.
fn killed_and_resumed(point: &str, limit: &str) -> (Workplace, Ended, Value) {
    let workplace = killed(point);
    workplace.put("job.toml", job(limit));
    let ended = workplace.run(&["resume", "job", "--output", "json"]);
    let report = serde_json::from_str(&ended.stdout).unwrap();
    (workplace, ended, report)
}

#[test]
fn t13_dirty_rows_are_counted_and_kept_once_over_all_attempts() {
    // Before a commit, when the file has rows of the open chunk, and behind one.
    for point in ["K5#3", "K7#3"] {
        let (workplace, ended, report) = killed_and_resumed(point, "max_rows = 40");
        ended.exits(0);
        let counted =
            json!({"read": ROWS, "inserted": ROWS - 40, "updated": 0, "skipped": 0, "dirty": 40});
        assert_eq!(report["rows"], counted, "{point}");
        let lines: Vec<u64> =
            workplace.dirty_rows(&report).iter().map(|row| row["line"].as_u64().unwrap()).collect();
        assert_eq!(lines.len(), 40, "{point}");
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 40, "{point}: {lines:?}");
        let rows = "SELECT count(*), count(DISTINCT id) FROM t";
        assert_eq!(workplace.sqlite("target.db", rows), ["39960|39960"], "{point}");
        let list = workplace.run(&["dirty", "list", "job", "--output", "json"]);
        let list: Value = serde_json::from_str(&list.exits(0).stdout).unwrap();
        assert_eq!(list["rows"], 40, "{point}");
    }
}

/// One dirty row fewer is allowed than all attempts have met together.
#[test]
fn t14_limits_hold_over_all_attempts() {
    for (limit, key) in [
        ("max_rows = 39", "dirty.max_rows = 39"),
        ("max_rows = 100\nmax_rows_of = { parse = 39 }", "dirty.max_rows_of.parse = 39"),
    ] {
        let (_, ended, report) = killed_and_resumed("K7#3", limit);
        ended.exits(3).says("40 of ").says(key);
        assert_eq!(report["status"], "dirty-limit");
    }
}

/// The state folder comes to another machine without the file: the counts stay right, and what is lost
/// is said.
#[test]
fn a_run_continues_without_its_dirty_file_if_that_is_accepted() {
    let workplace = killed("K7#3");
    fs::rename(workplace.path().join("state"), workplace.path().join("copied")).unwrap();
    let runs = workplace.path().join("copied/runs/job");
    let run = fs::read_dir(&runs).unwrap().next().unwrap().unwrap();
    let file = run.path().join("dirty-00000.jsonl");
    let lost = fs::read(&file).unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
    assert!(lost > 0);
    fs::remove_file(&file).unwrap();
    let resume = ["resume", "job", "--state", "copied", "--output", "json"];
    let name = run.file_name().into_string().unwrap();
    workplace
        .run(&resume)
        .exits(1)
        .says("DIRTY-FILE")
        .says("it does not exist")
        .says("copy `dirty-00000.jsonl`")
        .says(&format!("transload resume {name} --accept-changes dirty-rows"));
    assert!(!file.exists());
    let accepted = [&resume[..], &["--accept-changes", "dirty-rows"]].concat();
    // Those that are lost count for the limit.
    workplace.put("job.toml", job("max_rows = 39"));
    workplace.run(&accepted).exits(3).says("dirty.max_rows = 39");
    workplace.put("job.toml", job("max_rows = 40"));
    let ended = workplace.run(&accepted);
    let report: Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    assert_eq!(report["rows"]["dirty"], 40);
    ended.says("what was kept of 25 dirty rows of task 0 is lost; they stay counted");
    let list = workplace.run(&["dirty", "list", "job", "--state", "copied", "--output", "json"]);
    let list: Value = serde_json::from_str(&list.exits(0).stdout).unwrap();
    assert!(list["rows"].as_u64().unwrap() < 40, "{list}");
    assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["39960"]);
}
