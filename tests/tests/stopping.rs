//! Signals and kills in the middle of a run: committed work is complete, and a later run succeeds.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use transload_tests::{Running, Workplace, sample_folder, wait_until};

/// An endless run into a file, with a pause before each batch.
const INTO_A_FILE: &str = r#"
[reader]
plugin = "generator"
rows = 100_000_000
batch_rows = 100
delay = "5 ms"
specs = { id = "int64 sequence", text = "text words 3..8" }
[writer]
plugin = "file"
path = "out/rows.csv"
[channel]
parallelism = 2
"#;

const RUN: [&str; 4] = ["run", "job.toml", "--progress", "none"];

/// Milliseconds into a run at which a signal comes.
const MOMENTS: [u64; 5] = [0, 15, 60, 200, 500];

/// The report of a run; `None` if the run did not get that far.
fn report(workplace: &Workplace, job: &str) -> Option<Value> {
    let runs = workplace.path().join("state/runs").join(job);
    let run = fs::read_dir(runs).ok()?.next()?.ok()?;
    serde_json::from_slice(&fs::read(run.path().join("report.json")).ok()?).ok()
}

/// A run of `job.toml`, the given time after its plan was made.
fn started(workplace: &Workplace, arguments: &[&str], moment: u64) -> Running {
    let _ = fs::remove_dir_all(workplace.path().join("state"));
    let mut running = workplace.start(arguments);
    let runs = workplace.path().join("state/runs/job");
    wait_until("the plan is there", || runs.is_dir() || running.has_ended());
    thread::sleep(Duration::from_millis(moment));
    assert!(!running.has_ended(), "ended before it could be stopped: {:?}", running.wait());
    running
}

#[test]
fn t62_a_signal_leaves_no_file_and_no_stage() {
    let workplace = Workplace::new();
    fs::create_dir(workplace.path().join("out")).unwrap();
    for (signal, exit) in [("INT", 130), ("TERM", 143)] {
        for moment in MOMENTS {
            workplace.put("job.toml", INTO_A_FILE);
            let running = started(&workplace, &RUN, moment);
            running.signal(signal);
            running.wait().exits(exit).says("stopped by a signal");
            assert!(workplace.names("out").is_empty(), "{:?}", workplace.names("out"));
            let report = report(&workplace, "job").unwrap();
            let status = if exit == 130 { "interrupted" } else { "terminated" };
            assert_eq!(report["status"], status);
        }
    }
    workplace.job(&INTO_A_FILE.replace("100_000_000", "1_000")).0.exits(0);
    assert_eq!(workplace.names("out"), ["rows.csv"]);
    assert_eq!(workplace.read("out/rows.csv").lines().count(), 1_001);
}

#[test]
fn t56_a_killed_run_leaves_no_visible_file_and_does_not_disturb_the_next() {
    let workplace = Workplace::new();
    fs::create_dir(workplace.path().join("out")).unwrap();
    for moment in MOMENTS {
        workplace.put("job.toml", INTO_A_FILE);
        let running = started(&workplace, &RUN, moment);
        running.signal("KILL");
        assert_eq!(running.wait().exit, None);
        let names = workplace.names("out");
        // Listings skip what begins with these; the run's staging is in `_transload/`.
        assert!(names.iter().all(|name| name.starts_with(['.', '_'])), "{names:?}");
    }
    workplace.job(&INTO_A_FILE.replace("100_000_000", "1_000")).0.exits(0);
    assert_eq!(workplace.read("out/rows.csv").lines().count(), 1_001);
}

/// A CSV file of several splits and chunks.
fn numbers(rows: u32) -> String {
    let line = |row| format!("{row},{:060}\n", row);
    "id,text\n".to_owned() + &(1..=rows).map(line).collect::<String>()
}

fn into_sqlite(mode: &str) -> String {
    format!(
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\nschema = {{ text = \"text\" }}\n\
         [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\nwrite_mode = \"{mode}\"\n\
         [channel]\nparallelism = 2\nbuffer = \"2 MiB\"\n"
    )
}

#[test]
fn t56_a_killed_run_leaves_the_old_table_and_does_not_disturb_the_next() {
    const ROWS: u32 = 100_000;
    let workplace = Workplace::new();
    workplace.put("in.csv", numbers(ROWS));
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT NOT NULL)");
    workplace.execute("target.db", "INSERT INTO t VALUES (-1, 'old')");
    workplace.put("job.toml", into_sqlite("overwrite"));
    for moment in MOMENTS {
        let _ = fs::remove_dir_all(workplace.path().join("state"));
        let mut running = workplace.start(&RUN);
        thread::sleep(Duration::from_millis(150 + moment));
        running.signal("KILL");
        wait_until("it is dead", || running.has_ended());
        let rows = workplace.sqlite("target.db", "SELECT count(*), min(id) FROM t").remove(0);
        let all = format!("{ROWS}|1");
        assert!(rows == "1|-1" || rows == all, "{rows}");
        assert_eq!(workplace.sqlite("target.db", "PRAGMA integrity_check"), ["'ok'"]);
    }
    workplace.job(&into_sqlite("overwrite")).0.exits(0);
    assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), [ROWS.to_string()]);
}

#[test]
fn t62_a_signal_leaves_whole_chunks_and_no_stage_table() {
    const ROWS: u32 = 200_000;
    let workplace = Workplace::new();
    workplace.put("in.csv", numbers(ROWS));
    for (mode, before) in [("insert", 0), ("overwrite", 3)] {
        workplace.put("job.toml", into_sqlite(mode));
        for moment in MOMENTS {
            let _ = fs::remove_file(workplace.path().join("target.db"));
            let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
            workplace.execute("target.db", sql);
            (1..=before).for_each(|id| {
                workplace.execute("target.db", &format!("INSERT INTO t VALUES (-{id}, 'old')"));
            });
            let running = started(&workplace, &RUN, moment);
            running.signal("TERM");
            let ended = running.wait();
            let rows = workplace.sqlite("target.db", "SELECT count(*) FROM t").remove(0);
            let report = report(&workplace, "job").unwrap();
            if ended.exit == Some(0) {
                assert_eq!(rows, ROWS.to_string()); // the machine was faster than the signal
            } else {
                ended.exits(143);
                let committed =
                    if mode == "insert" { &report["rows"]["inserted"] } else { &before.into() };
                assert_eq!(&rows, &committed.to_string(), "{report:#}");
            }
            let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'";
            assert_eq!(workplace.sqlite("target.db", tables), ["'t'"]);
            assert_eq!(workplace.sqlite("target.db", "PRAGMA integrity_check"), ["'ok'"]);
        }
        workplace.job(&into_sqlite("overwrite")).0.exits(0);
        let sum = workplace.sqlite("target.db", "SELECT count(*), sum(id) FROM t");
        assert_eq!(sum, [format!("{ROWS}|{}", u64::from(ROWS) * u64::from(ROWS + 1) / 2)]);
    }
}

#[test]
fn t62_whoever_waits_hears_the_signal() {
    let rate = "[channel]\nmax_rows_per_second = 10\n";
    let slow = "[writer]\nplugin = \"generator\"\ndelay = \"10 min\"\n";
    let reader = "[reader]\nplugin = \"generator\"\nrows = 1_000_000\nspecs = { id = \"int64\" }\n";
    let late = format!("{reader}delay = \"10 min\"\n");
    let quick = slow.replace("10 min", "0 s");
    let held = "[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
                busy_timeout = \"50 s\"\n";
    let workplace = Workplace::new();
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER)");
    let holder = workplace.connect("target.db");
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for job in [
        format!("{reader}{quick}{rate}"),
        format!("{reader}{slow}"),
        format!("{late}{quick}"),
        format!("{reader}{held}"),
    ] {
        workplace.put("job.toml", &job);
        let begun = Instant::now();
        let _ = fs::remove_dir_all(workplace.path().join("state"));
        let running = workplace.start(&RUN);
        thread::sleep(Duration::from_millis(1_000));
        running.signal("TERM");
        running.wait().exits(143);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?} for {job}", begun.elapsed());
    }
}

#[test]
fn t62_a_second_signal_ends_at_once() {
    let plugins = sample_folder();
    let workplace = Workplace::new();
    // A reader that ignores the first signal for longer than this test waits.
    let job = "[reader]\nplugin = \"sample\"\nfault = \"deaf\"\ncolumns = [\"int64\"]\n\
               [writer]\nplugin = \"file\"\npath = \"out.jsonl\"\n";
    workplace.put("job.toml", job);
    let plugins = plugins.path().to_str().unwrap();
    let arguments = ["run", "job.toml", "--allow-unsigned-plugins", "--plugins", plugins];
    for (first, second, exit) in [("INT", "INT", 130), ("INT", "TERM", 143)] {
        let begun = Instant::now();
        let mut running = started(&workplace, &arguments, 100);
        running.signal(first);
        thread::sleep(Duration::from_millis(500));
        assert!(!running.has_ended(), "the reader is not deaf");
        running.signal(second);
        running.wait().exits(exit);
        assert!(begun.elapsed() < Duration::from_secs(55), "the run waited for the reader");
        assert!(!workplace.path().join("out.jsonl").exists());
    }
}
