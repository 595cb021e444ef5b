//! Runs that fail: no partial result is published, the exit code shows the reason, the report the
//! place.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use transload_tests::Workplace;

const GENERATED: &str = "[reader]\nplugin = \"generator\"\nbatch_rows = 100\n\
                         specs = { id = \"int64 sequence\", text = \"text words 1..3\" }\n";
const TO_TABLE: &str = "[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\nwrite_mode = \"overwrite\"\n";
const TO_FILE: &str =
    "[writer]\nplugin = \"file\"\npath = \"out/rows.csv\"\nwrite_mode = \"overwrite\"\n";
const TO_GENERATOR: &str = "[writer]\nplugin = \"generator\"\nreport = \"table.json\"\n";
const ONE_TASK: &str = "[channel]\nparallelism = 1\n";

/// A folder with a table of three old rows and a file of one, both to be overwritten.
fn targets() -> Workplace {
    let workplace = Workplace::new();
    let old = "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);
               INSERT INTO t VALUES (-1, 'old'), (-2, 'old'), (-3, 'old')";
    workplace.execute("target.db", old);
    workplace.put("out/rows.csv", "id,text\n-1,old\n");
    workplace
}

/// Asserts that the targets are as [`targets`] made them, with nothing next to them.
#[track_caller]
fn assert_untouched(workplace: &Workplace) {
    let all = workplace.sqlite("target.db", "SELECT count(*), max(id), max(text) FROM t");
    assert_eq!(all, ["3|-1|'old'"]);
    let tables = workplace.sqlite("target.db", "SELECT name FROM sqlite_schema");
    assert_eq!(tables, ["'t'"]);
    assert_eq!(workplace.read("out/rows.csv"), "id,text\n-1,old\n");
    assert_eq!(workplace.names("out"), ["rows.csv"]);
}

fn table(workplace: &Workplace) -> Value {
    serde_json::from_str(&workplace.read("table.json")).unwrap()
}

#[test]
fn t46_a_missing_source_leaves_the_target_alone() {
    for writer in [TO_TABLE, TO_FILE] {
        for reader in [
            "[reader]\nplugin = \"file\"\npath = \"missing.csv\"\n",
            "[reader]\nplugin = \"file\"\npath = \"missing-*.csv\"\n",
            "[reader]\nplugin = \"sqlite\"\npath = \"missing.db\"\ntable = \"t\"\n",
            "[reader]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"missing\"\n",
        ] {
            let workplace = targets();
            workplace.put("job.toml", format!("{reader}{writer}"));
            let ended = workplace.run(&["run", "job.toml"]);
            assert_ne!(ended.exit, Some(0));
            ended.says("missing");
            assert!(!workplace.path().join("missing.db").exists());
            assert_untouched(&workplace);
        }
    }
}

#[test]
fn t10_an_error_in_the_last_split_publishes_nothing() {
    for (writer, expected) in [(TO_TABLE, "sqlite"), (TO_FILE, "file")] {
        let workplace = targets();
        let reader = format!("{GENERATED}rows = 10_000\nfail_at = 9_990\n");
        let (ended, report) =
            workplace.job(&format!("{reader}{writer}[channel]\nparallelism = 4\n"));
        ended.exits(1);
        assert_eq!(
            (&report["status"], &report["writer"]["plugin"]),
            (&"failed".into(), &expected.into())
        );
        let place = report["error"]["place"].as_str().unwrap();
        assert!(place.starts_with("task 3 (") && place.contains("row 9990"), "{place}");
        assert_untouched(&workplace);
    }
}

#[test]
fn t10_an_error_of_the_writer_publishes_nothing() {
    let workplace = targets();
    let writer = format!("{TO_GENERATOR}fail_at = 950\n");
    let (ended, report) = workplace.job(&format!("{GENERATED}rows = 1_000\n{writer}{ONE_TASK}"));
    ended.exits(1).says("fails because of `fail_at`");
    assert_eq!(report["status"], "failed");
    assert!(!workplace.path().join("table.json").exists());
}

#[test]
fn t61_a_panicking_plugin_ends_the_job_and_not_the_host() {
    let reader = format!("{GENERATED}rows = 1_000\npanic_at = 450\n{TO_TABLE}");
    let writer = format!("{GENERATED}rows = 1_000\n{TO_GENERATOR}panic_at = 450\n");
    for job in [reader, writer] {
        let workplace = targets();
        let (ended, report) = workplace.job(&format!("{job}{ONE_TASK}"));
        ended.exits(7).says("panics at row 450").says("generator");
        assert_eq!(report["status"], "plugin");
        assert_untouched(&workplace);
    }
}

#[test]
fn a_replay_writes_each_row_once() {
    let workplace = Workplace::new();
    let job = |more: &str| format!("{GENERATED}rows = 3_000\n{TO_GENERATOR}{more}{ONE_TASK}");
    workplace.job(&job("")).0.exits(0);
    let expected = table(&workplace);
    let (ended, report) = workplace.job(&job("retry_at = 0\n"));
    ended.exits(0);
    assert_eq!((&report["replays"], &report["rows"]["inserted"]), (&1.into(), &3_000.into()));
    assert_eq!(table(&workplace)["columns"], expected["columns"]);
    assert_eq!(table(&workplace)["rows"], 3_000);
}

#[test]
fn a_replay_counts_each_dirty_row_once() {
    for replay in ["retry_at = 0\n", "retry_commit_at = 0\n"] {
        let workplace = Workplace::new();
        let (ended, report) = workplace.job(&format!(
            "{GENERATED}rows = 3_000\ndirty_every = 500\n{TO_GENERATOR}dirty_every = 1_000\n\
             {replay}{ONE_TASK}[dirty]\nmax_rows = 8\n"
        ));
        ended.exits(0);
        assert_eq!((&report["replays"], &report["rows"]["dirty"]), (&1.into(), &8.into()));
        let file = fs::read_to_string(report["dirty_files"][0].as_str().unwrap()).unwrap();
        assert_eq!(file.lines().count(), 8, "{replay}");
    }
}

#[test]
fn t06_a_source_that_was_lost_is_read_on_from_where_it_stopped() {
    let workplace = Workplace::new();
    let job = |more: &str| format!("{GENERATED}rows = 3_000\n{more}{TO_GENERATOR}{ONE_TASK}");
    workplace.job(&job("")).0.exits(0);
    let expected = table(&workplace);
    for lost in [0, 1, 1_234] {
        let (ended, report) = workplace.job(&job(&format!("lose_at = {lost}\n")));
        ended.exits(0);
        assert_eq!((&report["reopened"], &report["rows"]["inserted"]), (&1.into(), &3_000.into()));
        assert_eq!(table(&workplace)["columns"], expected["columns"]);
    }
}

#[test]
fn t06_a_source_that_cannot_be_read_on_ends_the_run() {
    let workplace = Workplace::new();
    let job = |ability: &str, at: u64| {
        format!(
            "{GENERATED}rows = 3_000\nability = \"{ability}\"\nlose_at = {at}\n{TO_GENERATOR}{ONE_TASK}"
        )
    };
    workplace.job(&job("bounded", 1_234)).0.exits(5).says("loses the connection");
    workplace.job(&job("volatile", 0)).0.exits(5).says("loses the connection");
    // No row had been read yet, so none can be read twice; rows in the same order are skipped.
    for (ability, at) in [("bounded", 0), ("replayable", 0), ("replayable", 1_234)] {
        let (ended, report) = workplace.job(&job(ability, at));
        ended.exits(0);
        let counted = (&report["reopened"], &report["rows"]["inserted"]);
        assert_eq!(counted, (&1.into(), &3_000.into()), "{ability}, {at}");
    }
}

#[test]
fn t07_an_unknown_commit_stops_and_says_so() {
    let workplace = Workplace::new();
    let writer = format!("{TO_GENERATOR}commit_unknown_at = 0\n");
    let (ended, report) = workplace.job(&format!("{GENERATED}rows = 1_000\n{writer}{ONE_TASK}"));
    ended.exits(1).says("RUN-COMMIT-UNKNOWN").says("nothing was removed");
    assert_eq!(report["error"]["code"], "RUN-COMMIT-UNKNOWN");
    assert_eq!((&report["replays"], &report["rows"]["inserted"]), (&0.into(), &0.into()));
}

/// A text compressed by `gzip`.
fn gzip(workplace: &Workplace, text: &str) -> Vec<u8> {
    let file = workplace.put("packing", text);
    let packed = std::process::Command::new("gzip").arg("-c").arg(file).output().unwrap().stdout;
    assert!(packed.len() > 20, "gzip is needed for this test");
    packed
}

fn packed_job() -> String {
    format!("[reader]\nplugin = \"file\"\npath = \"in.csv.gz\"\nsample_rows = 10\n{TO_TABLE}")
}

#[test]
fn t57_all_members_of_a_gzip_file_are_read() {
    let workplace = targets();
    let mut whole = gzip(&workplace, "id,text\n1,a\n2,");
    whole.extend(gzip(&workplace, "b\n3,c\n"));
    workplace.put("in.csv.gz", whole);
    workplace.job(&packed_job()).0.exits(0);
    assert_eq!(workplace.sqlite("target.db", "SELECT * FROM t"), ["1|'a'", "2|'b'", "3|'c'"]);
}

#[test]
fn t57_a_truncated_gzip_file_is_an_error_and_publishes_nothing() {
    // The plan finds the truncated end if the file has fewer rows than its sample, the run
    // otherwise.
    let text = |id: u128| id.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    for (rows, found_by_the_run) in [(5, false), (1_000, true), (100_000, true)] {
        let line = |id| format!("{id},{0:x}{0:x}{0:x}{0:x}\n", text(id));
        let lines: String = (0..rows).map(line).collect();
        let workplace = targets();
        let packed = gzip(&workplace, &format!("id,text\n{lines}"));
        for less in [1, 9, packed.len() / 3] {
            workplace.put("in.csv.gz", &packed[..packed.len() - less]);
            workplace.put("job.toml", packed_job());
            let ended = workplace.run(&["run", "job.toml", "--progress", "none"]);
            ended.exits(1).says("[FILE-COMPRESSION]").says("in.csv.gz");
            assert_eq!(workplace.path().join("state").exists(), found_by_the_run);
            assert_untouched(&workplace);
        }
    }
}

#[test]
fn a_failed_run_is_in_its_folder() {
    let workplace = targets();
    let job = format!("{GENERATED}rows = 1_000\nfail_at = 10\n{TO_TABLE}");
    let (_, report) = workplace.job(&job);
    let folder = Path::new(report["folder"].as_str().unwrap()).to_owned();
    let kept: Value = serde_json::from_slice(
        &fs::read(workplace.path().join(folder).join("report.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(kept, report);
}

#[test]
fn t05_a_held_database_is_passing_trouble_and_no_dirty_row() {
    let workplace = targets();
    let holder = workplace.connect("target.db");
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let job = format!("{GENERATED}rows = 10\n{TO_TABLE}busy_timeout = \"100 ms\"\n");
    workplace.put("job.toml", &job);
    let begun = Instant::now();
    workplace.run(&["run", "job.toml"]).exits(75).says("busy_timeout");
    // Less than the wait of SQLite's readers, which have no such option.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    holder.execute_batch("ROLLBACK").unwrap();
    assert_untouched(&workplace);
    workplace.job(&job).0.exits(0);
    assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["10"]);
}

/// A CSV file of rows whose chunks are small, and a job into SQLite; `bad` is the row whose number
/// is none.
fn with_a_bad_row(workplace: &Workplace, bad: usize, writer: &str) {
    let row = |at: usize| {
        let id = if at == bad { "x".to_owned() } else { at.to_string() };
        format!("{id},{}\n", "text ".repeat(10))
    };
    workplace.put("in.csv", format!("id,text\n{}", (0..30_000).map(row).collect::<String>()));
    let reader = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\nschema = { id = \"int64\" }\n";
    let into = "[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n";
    let channel = "[channel]\nparallelism = 1\nbuffer = \"1 MiB\"\n";
    workplace.put("job.toml", format!("{reader}{into}{writer}{channel}"));
}

/// The report of a job that fails, with the sentences about what is left.
#[track_caller]
fn failed(workplace: &Workplace, exit: i32) -> (Value, Vec<String>) {
    let ended = workplace.run(&["run", "job.toml", "--output", "json", "--progress", "none"]);
    ended.exits(exit);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let remains = serde_json::from_value(report["remains"].clone()).unwrap();
    (report, remains)
}

#[test]
fn rows_that_stay_after_a_failure_are_named_with_what_a_rerun_does() {
    for (mode, again) in [
        ("insert", "running the job again inserts these rows a second time"),
        ("upsert", "running the job again writes these rows again and leaves one of each"),
    ] {
        for exists in [true, false] {
            let workplace = Workplace::new();
            if exists {
                workplace
                    .execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)");
            }
            let writer = format!("write_mode = \"{mode}\"\nkey = [\"id\"]\ncreate_table = true\n");
            with_a_bad_row(&workplace, 29_999, &writer);
            let (report, remains) = failed(&workplace, 3);
            let rows = report["rows"]["inserted"].as_u64().unwrap();
            assert!(rows > 0, "no chunk was committed: {report}");
            let there = workplace.sqlite("target.db", "SELECT count(*) FROM t");
            assert_eq!(there, [rows.to_string()]);
            let grouped =
                format!("{},{:03} inserted rows of the run are in `t`", rows / 1000, rows % 1000);
            assert!(remains[0].starts_with(&grouped), "{remains:?}");
            assert_eq!(remains[0].contains("which the run created"), !exists, "{remains:?}");
            assert!(remains[1].starts_with(again), "{remains:?}");
            if mode == "upsert" {
                workplace.run(&["run", "job.toml"]).says(" updated rows of the run are in `t`");
            }
        }
    }
}

#[test]
fn a_failed_run_leaves_no_empty_table_of_its_own() {
    for (bad, more) in [(0, ""), (30_000, "before = [\"nonsense\"]\n")] {
        for mode in ["insert", "overwrite"] {
            let workplace = Workplace::new();
            let writer = format!("write_mode = \"{mode}\"\ncreate_table = true\n{more}");
            with_a_bad_row(&workplace, bad, &writer);
            let (_, remains) = failed(&workplace, if bad == 0 { 3 } else { 1 });
            assert_eq!(remains, ["`t`, which the run created, was empty and is removed again"]);
            let tables = workplace.sqlite("target.db", "SELECT count(*) FROM sqlite_schema");
            assert_eq!(tables, ["0"]);
        }
    }
}

#[test]
fn staged_rows_of_a_failed_run_are_not_reported_as_inserted() {
    let workplace = targets();
    with_a_bad_row(&workplace, 29_999, "write_mode = \"overwrite\"\n");
    let (report, remains) = failed(&workplace, 3);
    assert_eq!(
        report["rows"],
        serde_json::json!(
            {"read": 0, "inserted": 0, "updated": 0, "skipped": 0, "dirty": 0}
        )
    );
    assert!(report["discarded"].as_u64().unwrap() > 0, "{report}");
    assert!(remains[0].starts_with("`t` is as it was before the run; "), "{remains:?}");
    assert!(remains[0].ends_with(" staged rows were not published"), "{remains:?}");
    assert_untouched(&workplace);
    workplace.run(&["run", "job.toml"]).says("none kept: ").says(" staged and not published");
}
