//! Incremental jobs: no row is missed and none is doubled, whatever its neighbours' values and however
//! late it is committed; the watermark follows the rows through kills; what cannot be promised is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere
#![allow(clippy::print_stdout)] // how far the long run is, with --nocapture

use std::fmt::Write as _;

use serde_json::Value;
use transload_tests::{
    Ended, Workplace,
    servers::{Database, Product, Server, Session},
};

const TABLE: &str =
    "CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v INT, at TIMESTAMP(6) NULL)";

/// From the table `src` on a server to the table `dst` of a SQLite file.
struct Line {
    source: Database,
    workplace: Workplace,
}

impl Line {
    fn new(product: Product) -> Self {
        let source = Database::on(&Server::of(product), &format!("{};", table(product)));
        Self { source, workplace: Workplace::new() }
    }

    /// Writes a job; `tail` are its other sections, `mode` is the rest of the writer.
    fn job(&self, mode: &str, tail: &str) {
        let address = self.source.address(None);
        self.workplace.put(
            "job.toml",
            format!(
                "name = \"inc\"\n[reader]\n{address}table = \"src\"\n[writer]\nplugin = \"sqlite\"\n\
                 path = \"t.db\"\ntable = \"dst\"\ncreate_table = true\n{mode}\n{tail}\n"
            ),
        );
    }

    #[track_caller]
    fn run(&self, more: &[&str]) -> Value {
        let arguments = ["run", "job.toml", "--output", "json", "--progress", "none"];
        let ended = self.workplace.run(&[&arguments[..], more].concat());
        assert_eq!(ended.exit, Some(0), "{ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    fn rows(&self) -> Vec<String> {
        self.workplace.sqlite("t.db", "SELECT id, v FROM dst ORDER BY id, v")
    }

    fn source_rows(&self) -> Vec<String> {
        self.source.lines("SELECT id, v FROM src ORDER BY id")
    }

    fn state(&self, more: &[&str]) -> Ended {
        self.workplace.run(&[&["state"], more].concat())
    }

    /// The watermark's values.
    #[track_caller]
    fn watermark(&self) -> Vec<String> {
        let shown = self.state(&["show", "job.toml", "--output", "json"]);
        let json: Value = serde_json::from_str(&shown.exits(0).stdout).unwrap();
        let values = json["watermark"]["values"].as_array().cloned().unwrap_or_default();
        values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    }
}

fn table(product: Product) -> String {
    match product {
        Product::Postgres => TABLE.to_owned(),
        _ => TABLE.replace("TIMESTAMP(6)", "DATETIME(6)"),
    }
}

const UPSERT: &str = "write_mode = \"upsert\"\nkey = [\"id\"]";
const INSERT: &str = "write_mode = \"insert\"";
const TOKENS: &str = "[guarantee]\nrequire = \"effectively-once\"\ncreate_tables = true";

fn insert(rows: impl IntoIterator<Item = (i64, i64, &'static str)>) -> String {
    let mut sql = "INSERT INTO src VALUES ".to_owned();
    for (at, (id, v, time)) in rows.into_iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(sql, "{comma}({id}, {v}, {time})").unwrap();
    }
    sql + ";"
}

/// 60 rows of one microsecond over two runs, and a run without rows between others.
#[test]
fn t11_rows_of_one_moment_are_divided_by_the_key() {
    const MOMENT: &str = "'2026-11-20 10:00:00.123456'";
    for product in [Product::Postgres, Product::Mariadb] {
        let line = Line::new(product);
        line.job(INSERT, &format!("[incremental]\ncolumn = \"at\"\nkey = [\"id\"]\n{TOKENS}"));
        line.source.run(&insert((1..=30).map(|id| (id, id, MOMENT))));
        let first = line.run(&[]);
        assert_eq!(first["rows"]["inserted"], 30, "{first:#}");
        assert_eq!(line.watermark(), ["2026-11-20 10:00:00.123456", "30"]);
        line.source.run(&insert((31..=60).map(|id| (id, id, MOMENT))));
        assert_eq!(line.run(&[])["rows"]["inserted"], 30);
        let empty = line.run(&[]);
        assert_eq!(empty["rows"]["read"], 0);
        assert_eq!(empty["increment"]["after"], Value::Null, "{empty:#}");
        assert_eq!(line.watermark(), ["2026-11-20 10:00:00.123456", "60"], "an empty run keeps it");
        line.source.run(&insert([(61, 1, "'2026-11-20 10:00:00.123457'")]));
        assert_eq!(line.run(&[])["rows"]["inserted"], 1);
        assert_eq!(line.rows(), line.source_rows());
    }
}

/// The column need not be among those that are read, and no side cuts its digits.
#[test]
fn t11_the_watermark_keeps_what_the_target_does_not() {
    let line = Line::new(Product::Postgres);
    line.job(UPSERT, "[incremental]\ncolumn = \"at\"\nkey = [\"id\"]");
    let job = line.workplace.read("job.toml");
    line.workplace.put("job.toml", job.replace("[writer]", "columns = [\"id\", \"v\"]\n[writer]"));
    line.source.run(&insert([(1, 1, "'2026-11-20 10:00:00.999999'")]));
    line.run(&[]);
    line.source.run(&insert([(2, 2, "'2026-11-20 10:00:00.999999'")]));
    assert_eq!(line.run(&[])["rows"]["read"], 1);
    assert_eq!(line.watermark(), ["2026-11-20 10:00:00.999999", "2"]);
    assert_eq!(line.rows(), ["1|1", "2|2"]);
}

/// A row that is committed after a run with an earlier time is read by the next one.
#[test]
fn t11_late_commits_are_read_by_the_lookback() {
    for product in [Product::Postgres, Product::Mariadb] {
        let line = Line::new(product);
        line.job(UPSERT, "[incremental]\ncolumn = \"at\"\nlookback = \"10 s\"");
        let mut late = line.source.session();
        late.run("BEGIN");
        late.run(insert([(1, 1, "'2026-11-20 10:00:01'")]).trim_end_matches(';'));
        line.source.run(&insert([(2, 2, "'2026-11-20 10:00:05'")]));
        assert_eq!(line.run(&[])["rows"]["inserted"], 1);
        late.run("COMMIT");
        // Row 2 is read a second time, and is in the target once.
        assert_eq!(line.run(&[])["rows"]["inserted"], 1);
        assert_eq!(line.watermark(), ["2026-11-20 10:00:05"], "it never goes back");
        line.source.run("DELETE FROM src WHERE id = 2;");
        line.run(&[]);
        assert_eq!(line.watermark(), ["2026-11-20 10:00:05"], "not even if its row is gone");
        assert_eq!(line.rows(), ["1|1", "2|2"]);
    }
}

#[test]
fn t11_rows_without_a_value_are_never_left_out_silently() {
    let line = Line::new(Product::Postgres);
    line.source.run(&insert([(1, 1, "'2026-11-20 10:00:00'"), (2, 2, "NULL"), (3, 3, "NULL")]));
    let with = |policy: &str| {
        line.job(UPSERT, &format!("[incremental]\ncolumn = \"at\"\nkey = [\"id\"]\n{policy}"));
    };
    with("");
    let refused = line.workplace.run(&["plan", "job.toml"]);
    refused.exits(6).says(
        "[INCREMENT-NULL] job.toml:18:10: 2 rows have no value in `at`, so no run would read them",
    );
    refused.says("hint: `on_null = \"load\"` in [incremental] reads them with every run");
    with("on_null = \"skip\"");
    let skipped = line.run(&[]);
    assert_eq!((&skipped["rows"]["read"], &skipped["increment"]["nulls"]), (&1.into(), &2.into()));
    let warnings = skipped["warnings"].to_string();
    assert!(warnings.contains("2 rows have no value in `at` and will not be read"), "{warnings}");
    with("on_null = \"load\"");
    assert_eq!(line.run(&[])["rows"]["read"], 2);
    line.source.run("UPDATE src SET v = 9 WHERE id = 3;");
    assert_eq!(line.run(&[])["rows"]["read"], 2, "there is no sign of what has changed");
    assert_eq!(line.rows(), ["1|1", "2|2", "3|9"]);
}

/// What the plan promises is what the run does.
#[test]
fn the_plan_shows_the_range_and_both_watermarks() {
    let line = Line::new(Product::Postgres);
    line.job(UPSERT, "[incremental]\ncolumn = \"at\"\nkey = [\"id\"]\nstart = \"2026-11-20\"\n");
    line.source.run(&insert([
        (1, 1, "'2026-11-19 23:59:59.999999'"),
        (2, 2, "'2026-11-20 00:00:00'"),
        (3, 3, "'2026-11-21 08:30:00.5'"),
    ]));
    let increment = |ended: &Ended| {
        let lines = ended.exits(0).stdout.lines().skip_while(|line| !line.starts_with("increment"));
        let lines: Vec<_> = lines.take(4).map(str::to_owned).collect();
        let file = line.workplace.path().join("state/watermarks/inc.json").display().to_string();
        lines.join("\n").replace(&file, "FILE")
    };
    let plan = line.workplace.run(&["plan", "job.toml"]);
    assert_eq!(
        increment(&plan),
        "increment    at, then id\n  watermark  none (kept in FILE)\n  reads      >= 2026-11-20 \
         00:00:00, <= 2026-11-21 08:30:00.5, 3\n  afterwards 2026-11-21 08:30:00.5, 3"
    );
    let run = line.workplace.run(&["run", "job.toml"]);
    run.exits(0).says(
        "increment   at >= 2026-11-20 00:00:00, <= 2026-11-21 08:30:00.5, 3; the watermark is \
         2026-11-21 08:30:00.5, 3",
    );
    let plan = line.workplace.run(&["plan", "job.toml"]);
    assert_eq!(
        increment(&plan),
        "increment    at, then id\n  watermark  2026-11-21 08:30:00.5, 3 (kept in FILE)\n  reads      \
         > 2026-11-21 08:30:00.5, 3: no row is new\n  afterwards the watermark stays"
    );
    assert!(plan.stdout.contains("`lookback` reads the last ones again"), "{}", plan.stdout);
    assert_eq!(line.rows(), ["2|2", "3|3"]);
}

#[test]
fn what_would_double_or_lose_rows_is_refused() {
    let line = Line::new(Product::Postgres);
    line.source.run(&insert([(1, 1, "'2026-11-20 10:00:00'")]));
    let at = "[incremental]\ncolumn = \"at\"\n";
    for (mode, tail, exit, message, hint) in [
        (
            "write_mode = \"overwrite\"",
            at.to_owned(),
            2,
            "`overwrite` would remove the rows of earlier increments",
            "set `write_mode = \"upsert\"` and `key`, or `\"insert\"`",
        ),
        (
            INSERT,
            format!("{at}lookback = \"1 h\"\n{TOKENS}"),
            2,
            "`lookback` reads rows again, and `insert` would add them a second time",
            "set `write_mode = \"upsert\"` and `key`",
        ),
        (
            INSERT,
            format!("{at}on_null = \"load\"\n{TOKENS}"),
            2,
            "`on_null = \"load\"` reads rows again",
            "set `write_mode = \"upsert\"` and `key`",
        ),
        (
            INSERT,
            at.to_owned(),
            2,
            "an increment that is inserted needs `effectively-once`, the plan \
             reaches `at-least-once`",
            "set `require = \"effectively-once\"` in [guarantee], or `write_mode = \"upsert\"`",
        ),
        (
            UPSERT,
            "[incremental]\ncolumn = \"att\"\n".to_owned(),
            6,
            "the source has no column `att`",
            "it has `id`, `v`, `at`",
        ),
        (
            UPSERT,
            "[incremental]\ncolumn = \"id\"\nlookback = \"1 h\"\nstart = \"x\"".to_owned(),
            2,
            "expected a whole number for `int64`, found `x`",
            "",
        ),
        (
            UPSERT,
            format!("{at}start = \"2026-11-20 10:00:00+08:00\""),
            2,
            "expected a time such as `2026-11-20 10:30:00` for `timestamp`",
            "",
        ),
        (
            UPSERT,
            "[incremental]\nkey = \"id\"\n".to_owned(),
            2,
            "missing key `column` in [incremental]",
            "",
        ),
        (
            UPSERT,
            format!("{at}on_null = \"ignore\""),
            2,
            "`on_null` must be one of `fail`, `skip`, `load`, found `ignore`",
            "",
        ),
    ] {
        line.job(mode, &tail);
        let refused = line.workplace.run(&["plan", "job.toml"]);
        refused.exits(exit).says("job.toml:").says(message).says(hint);
    }
    // A lookback of the wrong kind is seen when there is something to look back from.
    line.job(UPSERT, &format!("{at}lookback = 5"));
    line.run(&[]);
    let refused = line.workplace.run(&["plan", "job.toml"]);
    refused.exits(2).says("this `lookback` is none of a column of type `timestamp`");
    // The watermark is of another column.
    line.job(UPSERT, "[incremental]\ncolumn = \"id\"\n");
    let refused = line.workplace.run(&["plan", "job.toml"]);
    refused.exits(2).says("the job has changed: its watermark is of `at`");
    line.state(&["reset", "job.toml"]).exits(0);
    assert_eq!(line.run(&[])["rows"]["read"], 1, "the hint helps");
}

#[test]
fn sources_without_an_order_are_refused() {
    let workplace = Workplace::new();
    workplace.put("a.csv", "id,at\n1,2026-11-20\n");
    workplace.execute("s.db", "CREATE TABLE src (id INTEGER PRIMARY KEY, at DATETIME, w TEXT)");
    let job = |reader: &str, column: &str| {
        workplace.put(
            "job.toml",
            format!(
                "[reader]\n{reader}\n[writer]\nplugin = \"sqlite\"\npath = \"t.db\"\ntable = \"dst\"\n\
                 create_table = true\n{UPSERT}\n[incremental]\ncolumn = \"{column}\"\n"
            ),
        );
        workplace.run(&["plan", "job.toml"])
    };
    let sqlite = "plugin = \"sqlite\"\npath = \"s.db\"\ntable = \"src\"";
    job(sqlite, "at")
        .exits(2)
        .says("`at` has no order that the program can rely on")
        .says("name a column of integers: dates have no type of their own here, and several forms");
    job(sqlite, "w")
        .exits(6)
        .says("[INCREMENT-COLUMN] job.toml:13:10: `w` is `text`, whose values do not grow");
    let query = "plugin = \"sqlite\"\npath = \"s.db\"\nquery = \"SELECT id, w FROM src\"";
    job(query, "id").says("an increment is read from a table, not from a query");
    let csv = "plugin = \"file\"\npath = \"a.csv\"";
    job(csv, "id")
        .exits(2)
        .says("[INCREMENT-READER] job.toml:12:10: plugin `file` reads no increments");
}

/// Numbers of a SQLite table into another file, the watermark beside the rows and not.
#[test]
fn numbers_grow_in_sqlite() {
    for tokens in [TOKENS, ""] {
        let workplace = Workplace::new();
        workplace.execute("s.db", "CREATE TABLE src (seq INTEGER, v INTEGER)");
        let mode =
            if tokens.is_empty() { "write_mode = \"upsert\"\nkey = [\"seq\"]" } else { INSERT };
        workplace.put(
            "job.toml",
            format!(
                "name = \"inc\"\n[reader]\nplugin = \"sqlite\"\npath = \"s.db\"\ntable = \"src\"\n\
                 [writer]\nplugin = \"sqlite\"\npath = \"t.db\"\ntable = \"dst\"\n{mode}\n\
                 [incremental]\ncolumn = \"seq\"\n{tokens}\n"
            ),
        );
        workplace.execute("t.db", "CREATE TABLE dst (seq INTEGER NOT NULL PRIMARY KEY, v INTEGER)");
        let mut next = 1;
        for rows in [0, 3, 0, 5] {
            for _ in 0..rows {
                workplace.execute("s.db", &format!("INSERT INTO src VALUES ({next}, {next})"));
                next += 1;
            }
            workplace.run(&["run", "job.toml"]).exits(0);
        }
        let rows =
            workplace.sqlite("t.db", "SELECT count(*), count(DISTINCT seq), max(v) FROM dst");
        assert_eq!(rows, ["8|8|8"]);
        let kept = workplace.path().join("state/watermarks/inc.json").exists();
        assert_eq!(kept, tokens.is_empty());
    }
}

#[test]
fn the_watermark_is_shown_set_and_forgotten_where_it_is_kept() {
    for (mode, tokens) in [(UPSERT, ""), (INSERT, TOKENS)] {
        let line = Line::new(Product::Postgres);
        line.job(mode, &format!("[incremental]\ncolumn = \"id\"\n{tokens}"));
        line.source.run(&insert((1..=9).map(|id| (id, id, "NULL"))));
        let shown = line.state(&["show", "job.toml", "--width", "80"]);
        let none = "watermark  none: the next run begins with `start`, or reads all rows\n";
        assert!(shown.exits(0).stdout.starts_with(none), "{shown:?}");
        let refused = line.state(&["set", "job.toml", "x"]);
        refused.exits(2).says("expected a whole number for `id` (`int64`), found `x`");
        line.state(&["set", "job.toml", "6"]).exits(0);
        assert_eq!(line.watermark(), ["6"]);
        assert_eq!(line.run(&[])["rows"]["inserted"], 3);
        let shown = line.state(&["show", "job.toml"]);
        let place = if tokens.is_empty() { "watermarks/inc.json" } else { "transload_watermark" };
        assert!(shown.stdout.starts_with("watermark  id = 9\n"), "{shown:?}");
        assert!(shown.stdout.contains(place) && shown.stdout.contains("by run"), "{shown:?}");
        line.state(&["reset", "job.toml"]).exits(0);
        assert!(line.watermark().is_empty());
        if tokens.is_empty() {
            assert_eq!(line.run(&[])["rows"]["read"], 9, "all rows again");
            assert_eq!(line.rows(), line.source_rows());
        }
    }
    let workplace = Workplace::new();
    workplace.put("a.csv", "id\n1\n");
    let job = "[reader]\nplugin = \"file\"\npath = \"a.csv\"\n[writer]\nplugin = \"file\"\npath = \"b.csv\"\n";
    workplace.put("job.toml", job);
    let refused = workplace.run(&["state", "show", "job.toml"]);
    refused.exits(2).says("job `job` has no [incremental], so it has no range to read");
}

/// Killed behind the rows, before and behind the watermark: the run continues, or the next one reads
/// the range again where that changes nothing.
#[test]
fn t11_kills_between_rows_and_watermark_lose_and_double_nothing() {
    for (mode, tokens, failpoints) in
        [(INSERT, TOKENS, ["K12#1", "K15#1", "K14#1"]), (UPSERT, "", ["K12#1", "K15#1", "K15#2"])]
    {
        for failpoint in failpoints {
            let line = Line::new(Product::Postgres);
            let tail = format!("[incremental]\ncolumn = \"at\"\nkey = [\"id\"]\n{tokens}");
            line.job(mode, &tail);
            line.source.run(&insert((1..=20).map(|id| (id, id, "'2026-11-20 10:00:00'"))));
            let mut killed = line.workplace.command();
            killed.args(["run", "job.toml", "-q"]).env("TRANSLOAD_FAILPOINT", failpoint);
            let was_killed = !killed.output().unwrap().status.success();
            line.source.run(&insert((21..=40).map(|id| (id, id, "'2026-11-20 10:00:00'"))));
            if was_killed && tokens.is_empty() {
                line.run(&[]);
            } else if was_killed {
                let next = line.workplace.run(&["run", "job.toml", "-q"]);
                assert!(matches!(next.exit, Some(0 | 9)), "{failpoint}: {next:?}");
                if next.exit == Some(9) {
                    next.says("[RUN-ACTIVE]");
                    line.workplace.run(&["resume", "inc", "-q"]).exits(0);
                }
            }
            line.run(&[]);
            assert_eq!(line.rows(), line.source_rows(), "{mode} {failpoint}");
            assert_eq!(line.watermark(), ["2026-11-20 10:00:00", "40"], "{mode} {failpoint}");
        }
    }
}

/// A run that fails, and one that is resumed after others, leave the watermark where it is.
#[test]
fn a_failed_run_does_not_advance_the_watermark() {
    let line = Line::new(Product::Postgres);
    line.workplace.execute(
        "t.db",
        "CREATE TABLE dst (id INTEGER PRIMARY KEY, v INTEGER CHECK (v < 100), at TEXT)",
    );
    line.job(UPSERT, "[incremental]\ncolumn = \"id\"");
    line.source.run(&insert([(1, 1, "NULL")]));
    line.run(&[]);
    line.source.run(&insert([(2, 500, "NULL")]));
    let failed = line.workplace.run(&["run", "job.toml"]);
    failed.exits(3).says("; the watermark stays 1");
    assert_eq!(line.watermark(), ["1"]);
    line.source.run("UPDATE src SET v = 5 WHERE id = 2;");
    line.source.run(&insert([(3, 3, "NULL")]));
    line.run(&[]);
    assert_eq!(line.watermark(), ["3"]);
    line.workplace.run(&["resume", "inc"]).exits(0);
    assert_eq!(line.watermark(), ["3"], "the earlier run ended later");
    assert_eq!(line.rows(), line.source_rows());
}

#[test]
fn two_runs_of_one_job_at_once_are_refused() {
    let line = Line::new(Product::Postgres);
    line.job(
        UPSERT,
        "[incremental]\ncolumn = \"id\"\n[channel]\nmax_rows_per_second = 5\nparallelism = 1",
    );
    line.source.run("INSERT INTO src SELECT n, n, NULL FROM generate_series(1, 20000) AS n;");
    let slow = line.workplace.start(&["run", "job.toml", "--progress", "none"]);
    let lock = line.workplace.path().join("state/runs/inc");
    transload_tests::wait_until("the first run has begun", || lock.exists());
    let second = line.workplace.run(&["run", "job.toml"]);
    second.exits(9).says("[RUN-ACTIVE] another run of the incremental job `inc` is at work");
    line.state(&["set", "job.toml", "5"]).exits(9);
    line.workplace.run(&["plan", "job.toml"]).exits(0);
    slow.signal("KILL");
}

#[test]
fn a_backfill_reads_a_range_step_by_step() {
    let line = Line::new(Product::Postgres);
    line.workplace.execute(
        "t.db",
        "CREATE TABLE dst (id INTEGER PRIMARY KEY, v INTEGER CHECK (v < 100), at TEXT)",
    );
    line.job(UPSERT, "[incremental]\ncolumn = \"at\"");
    line.source.run(&insert([
        (1, 1, "'2026-11-01 00:00:00'"),
        (2, 2, "'2026-11-01 23:59:59.999999'"),
        (3, 3, "'2026-11-02 00:00:00'"),
        (4, 500, "'2026-11-03 12:00:00'"),
        (5, 5, "'2026-11-04 00:00:00'"),
    ]));
    line.state(&["set", "job.toml", "2026-11-20"]).exits(0);
    let command = [
        "run",
        "job.toml",
        "--from",
        "2026-11-01",
        "--to=2026-11-04",
        "--step",
        "1d",
        "--progress",
        "none",
    ];
    let failed = line.workplace.run(&command);
    failed.exits(3).says("step 3 of 3, from 2026-11-03 00:00:00 to 2026-11-04 00:00:00, failed");
    failed.says("2 steps are complete").says("hint: the same command continues with this step");
    assert_eq!(line.rows(), ["1|1", "2|2", "3|3"]);
    let other =
        line.workplace.run(&[&command[..4], &["--to", "2026-11-05", "--step", "1d"]].concat());
    other
        .exits(2)
        .says("another backfill of the job, from 2026-11-01 to 2026-11-04, is not complete");
    line.source.run("UPDATE src SET v = 4 WHERE id = 4;");
    let again = line.workplace.run(&[&command[..], &["--output", "json"]].concat());
    let json: Value = serde_json::from_str(&again.exits(0).stdout).unwrap();
    again.says("inc: continuing with step 3 of 3");
    assert_eq!((&json["steps"], &json["complete"]), (&3.into(), &3.into()));
    assert_eq!(json["runs"].as_array().unwrap().len(), 1, "the third step alone");
    assert_eq!(line.rows(), ["1|1", "2|2", "3|3", "4|4"], "row 5 is behind the range");
    assert_eq!(line.watermark(), ["2026-11-20 00:00:00"], "it is left alone");
    for (arguments, message) in [
        (&["--from", "2026-11-04", "--to", "2026-11-04", "--step", "1d"][..], "is not behind"),
        (
            &["--from", "x", "--to", "2026-11-04", "--step", "1d"],
            "--from: expected a time such as `2026-11-20 10:30:00` for `timestamp`, found `x`",
        ),
        (&["--from", "2026-11-01", "--to", "2026-11-04", "--step", "7"], "the step does not fit"),
        (&["--from", "2026-11-01"], "--to"),
    ] {
        line.workplace.run(&[&["run", "job.toml"], arguments].concat()).exits(2).says(message);
    }
    line.job(INSERT, &format!("[incremental]\ncolumn = \"at\"\n{TOKENS}"));
    let whole = ["run", "job.toml", "--from", "2026-11-01", "--to", "2026-11-04"];
    line.workplace.run(&whole).exits(2).says("a backfill reads rows again, and `insert` would add");
}

/// A random number generator of its own seed, so that a schedule can be repeated.
struct Schedule(u64);

impl Schedule {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// How many rounds: `TRANSLOAD_ROUNDS`, by default a few.
fn rounds() -> u64 {
    std::env::var("TRANSLOAD_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// The time of this microsecond of the day.
fn tick(number: u64) -> String {
    let (seconds, micros) = (number / 1_000_000, number % 1_000_000);
    format!(
        "TIMESTAMP '2026-11-20 {:02}:{:02}:{:02}.{micros:06}'",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Most microseconds between the time of a row and its commit, but for one step.
const LATENESS: u64 = 400;

/// Sessions that insert and change rows and commit later, in any order; between their steps the job
/// runs. In the end source and target are the same.
fn concurrent_writers(product: Product, seed: u64) {
    let line = Line::new(product);
    line.job(UPSERT, "[incremental]\ncolumn = \"at\"\nlookback = \"1 ms\"\n");
    let mut schedule = Schedule(seed);
    let mut writers: Vec<(Session, Option<u64>)> =
        (0..4).map(|_| (line.source.session(), None)).collect();
    if product != Product::Postgres {
        // Without locks on gaps between rows, for which this one thread would wait.
        let level = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
        writers.iter_mut().for_each(|(session, _)| drop(session.run(level)));
    }
    let (mut now, mut next) = (1_000, 1);
    for round in 0..rounds() {
        for _ in 0..schedule.below(12) + 3 {
            now += schedule.below(40);
            let at = schedule.below(4) as usize;
            let (session, since) = &mut writers[at];
            match since {
                None => {
                    session.run("BEGIN");
                    *since = Some(now);
                }
                Some(begun) if now - *begun > LATENESS / 2 || schedule.below(4) == 0 => {
                    session.run("COMMIT");
                    *since = None;
                }
                Some(_) if schedule.below(4) == 0 && next > 1 => {
                    // Each session changes rows of its own, so that none waits for another.
                    let id = schedule.below(next) * 4 + at as u64;
                    session.run(&format!(
                        "UPDATE src SET v = v + 1, at = {} WHERE id = {id}",
                        tick(now)
                    ));
                }
                Some(_) => {
                    for _ in 0..=schedule.below(3) {
                        let id = next * 4 + at as u64;
                        next += 1;
                        session.run(&format!("INSERT INTO src VALUES ({id}, 0, {})", tick(now)));
                    }
                }
            }
            // No transaction stays open for longer than the lateness.
            for (session, since) in &mut writers {
                if since.is_some_and(|begun| now - begun > LATENESS) {
                    session.run("COMMIT");
                    *since = None;
                }
            }
        }
        line.run(&["-q"]);
        if round % 50 == 49 {
            println!("{product:?} seed {seed}: {} rounds, {next} rows", round + 1);
        }
    }
    for (session, since) in &mut writers {
        if since.take().is_some() {
            session.run("COMMIT");
        }
    }
    line.run(&[]);
    assert_eq!(line.rows(), line.source_rows(), "{product:?}, seed {seed}");
}

/// Rows that are only inserted, in the order of their commit, many of one moment, and exactly once.
fn growing_rows(product: Product, seed: u64) {
    let line = Line::new(product);
    line.job(INSERT, &format!("[incremental]\ncolumn = \"at\"\nkey = [\"id\"]\n{TOKENS}"));
    let mut schedule = Schedule(seed);
    let (mut now, mut next) = (1_000, 1);
    for _ in 0..rounds() {
        for _ in 0..schedule.below(4) {
            now += schedule.below(2);
            let time = tick(now);
            let values: Vec<_> =
                (0..=schedule.below(20)).map(|n| format!("({}, 0, {time})", next + n)).collect();
            next += values.len() as u64;
            line.source.run(&format!("INSERT INTO src VALUES {};", values.join(", ")));
        }
        line.run(&["-q"]);
    }
    assert_eq!(line.rows(), line.source_rows(), "{product:?}, seed {seed}");
}

#[test]
fn t11_no_row_of_concurrent_writers_is_missed_in_postgres() {
    concurrent_writers(Product::Postgres, 1);
}

#[test]
fn t11_no_row_of_concurrent_writers_is_missed_in_mariadb() {
    concurrent_writers(Product::Mariadb, 2);
}

#[test]
fn t11_no_row_of_one_moment_is_doubled() {
    growing_rows(Product::Postgres, 3);
    growing_rows(Product::Mariadb, 4);
}
