//! The dirty rows of a run: listed by cause, exported, repaired in an editor, and sent again once.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, process::Stdio};

use serde_json::{Value, json};
use transload_tests::{Ended, Workplace};

const TARGET: &str = "[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
                      [channel]\nparallelism = 1\n[dirty]\nmax_rows = 100\n";

/// Runs a job called `job` and returns its run's name.
fn run(workplace: &Workplace, reader: &str, target: &str) -> String {
    let (ended, report) = workplace.job(&format!("{reader}\n{target}"));
    ended.exits(0);
    report["run"].as_str().unwrap().to_owned()
}

/// What `dirty export` prints.
fn export(workplace: &Workplace, arguments: &[&str]) -> String {
    let ended = workplace.run(&[&["dirty", "export"], arguments].concat());
    ended.exits(0);
    ended.stdout.clone()
}

/// A replay of these repaired rows, with its report.
fn replay(workplace: &Workplace, run: &str, file: &str, more: &[&str]) -> (Ended, Value) {
    let arguments = ["dirty", "replay", run, "--from", file, "--output", "json"];
    let ended = workplace.run(&[&arguments[..], more].concat());
    let report = serde_json::from_str(&ended.stdout).unwrap_or_default();
    (ended, report)
}

const ORDERS: &str = "id;customer;amount;day\n1;007;19,90;20.11.2026\n2;王伟;12 50;20.11.2026\n\
                      3;\"Smith;\nAnn\";7,5;31.11.2026\n4;012;12,00\n1;a;1,00;01.11.2026\n5;-;x;y\n";
const ORDERS_READER: &str = "[reader]\nplugin = \"file\"\npath = \"orders.csv\"\n\
    date_format = \"%d.%m.%Y\"\ndecimal_comma = true\nnull = \"-\"\ndelimiter = \";\"\n\
    [reader.schema]\namount = \"decimal(12,2)\"\nday = \"date\"\ncustomer = \"text\"\n";

fn orders(workplace: &Workplace) -> String {
    workplace.put("orders.csv", ORDERS);
    workplace.execute(
        "target.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, customer TEXT, amount DECIMAL(12,2), day DATE)",
    );
    run(workplace, ORDERS_READER, TARGET)
}

#[test]
fn dirty_rows_are_listed_by_cause() {
    let workplace = Workplace::new();
    let run = orders(&workplace);
    let listed = workplace.run(&["dirty", "list", "job", "--width", "80"]);
    listed.exits(0);
    let expected = format!(
        "\
job {run}: 5 dirty rows

  rows  class       code    column  the first one
     2  parse       parse   amount  orders.csv, line 3: expected decimal(12,2),
                                    found `12 50`
     1  type        range   day     orders.csv, line 4: expected date, found
                                    `31.11.2026`
     1  parse       ragged  -       orders.csv, line 6: expected 4 cells, found
                                    3
     1  parse       parse   day     orders.csv, line 8: expected date, found `y`
     1  constraint  unique  id      orders.csv, line 7: UNIQUE constraint
                                    failed: t.id
"
    );
    assert_eq!(listed.stdout, expected, "{}", listed.stdout);
    // By the beginning of its name, for programs.
    let listed = workplace.run(&["dirty", "list", &run[..18], "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((&listed["rows"], &listed["status"]), (&json!(5), &json!("done")));
    assert_eq!(
        listed["causes"][0],
        json!({"class": "parse", "code": "parse", "column": "amount", "rows": 2, "example": {
            "place": "orders.csv, line 3", "found": "12 50",
            "reason": "expected decimal(12,2), found `12 50`"}})
    );
    for (name, exit, words) in
        [("jobs", 4, "did you mean `job`?"), ("2", 0, ""), ("1999", 4, "transload history")]
    {
        let ended = workplace.run(&["dirty", "list", name]);
        ended.exits(exit);
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}

/// The file for the editor has the source's dialect and header, kept texts unchanged; after the
/// repair the target is as if the source had been right.
#[test]
fn repaired_rows_of_csv_are_sent_again_once() {
    let workplace = Workplace::new();
    let run_name = orders(&workplace);
    let mark = run_name.rsplit('-').next().unwrap();
    let exported = export(&workplace, &["job"]);
    let expected = format!(
        "_dirty;id;customer;amount;day\n{mark}.0.1;2;王伟;12 50;20.11.2026\n\
         {mark}.0.2;3;\"Smith;\nAnn\";7,5;31.11.2026\n{mark}.0.3;4;012;12,00\n\
         {mark}.0.5;1;a;1,00;01.11.2026\n{mark}.0.4;5;-;x;y\n"
    );
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // Rows of the reader and of the writer come in the order in which they were met.
    let row = |text: &str| {
        text.replace(&format!("{mark}.0.4;"), "#;").replace(&format!("{mark}.0.5;"), "#;")
    };
    assert_eq!(sorted(&row(&exported)), sorted(&row(&expected)));
    let one = export(&workplace, &["job", "--code", "ragged"]);
    assert_eq!(one, format!("_dirty;id;customer;amount;day\n{mark}.0.3;4;012;12,00\n"));
    let some = export(&workplace, &["job", "--code", "parse", "--column", "day"]);
    assert_eq!(some.lines().count(), 2, "{some}");

    let fixed = exported
        .replace("12 50", "12,50")
        .replace("31.11.", "30.11.")
        .replace("012;12,00", "012;12,00;22.11.2026")
        .replace(";1;a;", ";6;a;")
        .replace(";x;y", ";0,01;23.11.2026");
    workplace.put("fix.csv", &fixed);
    let (ended, report) = replay(&workplace, "job", "fix.csv", &[]);
    ended.exits(0);
    assert_eq!(
        report["rows"],
        json!({"read": 5, "inserted": 5, "updated": 0, "skipped": 0, "dirty": 0})
    );
    let rows = "SELECT id, customer, amount, day FROM t ORDER BY id";
    assert_eq!(
        workplace.sqlite("target.db", rows),
        [
            "1|'007'|19.9|'2026-11-20'",
            "2|'王伟'|12.5|'2026-11-20'",
            "3|'Smith;\nAnn'|7.5|'2026-11-30'",
            "4|'012'|12|'2026-11-22'",
            "5|NULL|0.01|'2026-11-23'",
            "6|'a'|1|'2026-11-01'",
        ]
    );
    // A run of its own, which names the other one.
    let replayed = report["run"].as_str().unwrap();
    let folder = fs::canonicalize(report["folder"].as_str().unwrap()).unwrap();
    let plan: Value = serde_json::from_slice(&fs::read(folder.join("plan.json")).unwrap()).unwrap();
    assert_eq!(plan["replay_of"], run_name.as_str());

    // Once.
    let (ended, _) = replay(&workplace, &run_name, "fix.csv", &[]);
    ended.exits(2).says("[DIRTY-REPLAYED]");
    ended.says(&format!("5 of 5 rows were already replayed by run {replayed}")).says("--again");
    let ended = workplace.run(&["dirty", "replay", &run_name]);
    ended.exits(2).says("all 5 rows were already replayed");
    workplace.run(&["dirty", "list", &run_name]).exits(0);
    assert_eq!(workplace.run(&["dirty", "export", &run_name]).exit, Some(4));
    assert_eq!(export(&workplace, &[&run_name, "--again"]), exported);
    assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["6"]);
    // Unless it is meant: they are dirty now, because their keys are there.
    let (ended, report) = replay(&workplace, &run_name, "fix.csv", &["--again"]);
    ended.exits(0);
    assert_eq!(report["rows"]["dirty"], 5);
}

/// Rows that are wrong again are in the replay's own dirty file, at their lines of the repaired file,
/// and are repaired from there.
#[test]
fn rows_that_are_wrong_again_belong_to_the_replay() {
    let workplace = Workplace::new();
    let first = orders(&workplace);
    let fixed = export(&workplace, &["job"]).replace("12 50", "12,50").replace("31.11.", "29.02.");
    let keep = |line: &&str| {
        !line.ends_with("012;12,00") && !line.contains(";1;a;") && !line.ends_with(";x;y")
    };
    let fixed: String = fixed.lines().filter(keep).map(|line| line.to_owned() + "\n").collect();
    workplace.put("fix.csv", &fixed);
    let (ended, report) = replay(&workplace, &first, "fix.csv", &[]);
    ended.exits(0);
    assert_eq!((&report["rows"]["inserted"], &report["rows"]["dirty"]), (&json!(1), &json!(1)));
    let dirty = workplace.dirty_rows(&report);
    assert_eq!(
        (&dirty[0]["line"], &dirty[0]["text"]),
        (&json!(3), &json!("3;\"Smith;\nAnn\";7,5;29.02.2026"))
    );
    assert!(dirty[0]["file"].as_str().unwrap().ends_with("/repaired/fix.csv"), "{dirty:?}");

    // `job` is the last run with dirty rows: the replay.
    let again = export(&workplace, &["job"]);
    assert!(
        again.starts_with("_dirty;id;customer;amount;day\n") && again.lines().count() == 3,
        "{again}"
    );
    workplace.put("again.csv", again.replace("29.02.", "28.02."));
    let (ended, report) = replay(&workplace, "job", "again.csv", &[]);
    ended.exits(0);
    assert_eq!(report["rows"]["inserted"], 1);
    assert_eq!(workplace.sqlite("target.db", "SELECT day FROM t WHERE id = 3"), ["'2026-02-28'"]);
    // Of the first run three rows are left.
    let left = export(&workplace, &[&first]);
    assert_eq!(left.lines().count(), 4, "{left}");
}

#[test]
fn what_does_not_belong_to_the_run_is_refused_before_anything_is_written() {
    let workplace = Workplace::new();
    let run = orders(&workplace);
    let good = export(&workplace, &["job"]);
    let mark = run.rsplit('-').next().unwrap();
    for (text, words) in [
        (
            good.replace(mark, "0badc0de"),
            "fix.csv: line 2: the record has no id (4 more such lines)",
        ),
        (good.replace(".0.1;", ".0.77;"), "line 2: the run has no dirty row"),
        (good.clone() + "9;new;1,00;01.11.2026\n", "line 8: the record has no id"),
        (good.replace("_dirty;", ""), "line 1: the first column must be `_dirty`"),
        (good.clone() + good.lines().nth(1).unwrap(), "comes twice"),
    ] {
        workplace.put("fix.csv", text);
        let (ended, _) = replay(&workplace, "job", "fix.csv", &[]);
        ended.exits(2).says("[DIRTY-ID]").says(words);
    }
    let ended = workplace.run(&["dirty", "replay", "job", "--from", "none.csv"]);
    ended.exits(4).says("none.csv");
    // The job is another one, or the target.
    workplace.put("fix.csv", &good);
    let job = workplace.read("job.toml");
    workplace.put("job.toml", job.replace("null = \"-\"", "null = \"\""));
    let (ended, _) = replay(&workplace, "job", "fix.csv", &[]);
    ended.exits(2).says("[DIRTY-CHANGED]").says("its job has changed: `reader.null`\n");
    fs::rename(workplace.path().join("job.toml"), workplace.path().join("moved.toml")).unwrap();
    let (ended, _) = replay(&workplace, "job", "fix.csv", &[]);
    ended.exits(2).says("its job file cannot be read").says("--job names where it is now");
    workplace.put("moved.toml", job);
    workplace.execute("target.db", "ALTER TABLE t RENAME COLUMN customer TO client");
    let (ended, _) = replay(&workplace, "job", "fix.csv", &["--job", "moved.toml"]);
    ended.exits(6).says("[PLAN-COLUMN]").says("t has no column `customer`");
    assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["1"]);
    let runs = fs::read_dir(workplace.path().join("state/runs/job")).unwrap().count();
    assert_eq!(runs, 1, "a replay that was refused leaves no folder");
}

/// A run that failed is run again; its dirty rows are not sent on their own.
#[test]
fn rows_of_a_failed_run_are_listed_and_exported_but_not_sent() {
    let workplace = Workplace::new();
    workplace.put("orders.csv", ORDERS);
    workplace.execute(
        "target.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, customer TEXT, amount DECIMAL(12,2), day DATE)",
    );
    let target = TARGET.replace("max_rows = 100", "max_rows = 1");
    workplace.job(&format!("{ORDERS_READER}\n{target}")).0.exits(3);
    let listed = workplace.run(&["dirty", "list", "job"]);
    listed.exits(0);
    assert!(listed.stdout.contains("the run failed (`dirty-limit`)"), "{listed:?}");
    workplace.put("fix.csv", export(&workplace, &["job"]));
    let (ended, _) = replay(&workplace, "job", "fix.csv", &[]);
    ended.exits(2).says("[DIRTY-UNDONE]").says("failed (`dirty-limit`)");
}

/// JSON lines stay as they are, whatever is wrong with them.
#[test]
fn repaired_rows_of_json_lines_are_sent_again() {
    let workplace = Workplace::new();
    workplace.put(
        "in.jsonl",
        "{\"id\":1,\"n\":1}\n{\"id\":\"x\", \"n\":1.50 }\n{\"id\":3,\n{\"id\":1,\"n\":12345678901234567}\n",
    );
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)");
    let reader = "[reader]\nplugin = \"file\"\npath = \"in.jsonl\"\n[reader.schema]\nid = \"int64\"\nn = \"int64\"";
    let run = run(&workplace, reader, TARGET);
    let mark = run.rsplit('-').next().unwrap();
    let exported = export(&workplace, &["job"]);
    let lines: Vec<_> = exported.lines().collect();
    assert_eq!(lines[0], format!("{{\"_dirty\":\"{mark}.0.1\",\"id\":\"x\", \"n\":1.50 }}"));
    assert_eq!(lines[1], format!("{{\"_dirty\":\"{mark}.0.2\",\"id\":3,"));
    assert_eq!(lines[2], format!("{{\"_dirty\":\"{mark}.0.3\",\"id\":1,\"n\":12345678901234567}}"));
    let ended = workplace.run(&["dirty", "export", "job", "--format", "csv"]);
    ended.exits(2).says("the rows are jsonl, as their source is");
    let fixed = exported
        .replace("\"x\", \"n\":1.50", "2, \"n\":15")
        .replace(",\"id\":3,", ",\"id\":3,\"n\":3}")
        .replace("\"id\":1,\"n\":1234", "\"id\":4,\"n\":1234");
    workplace.put("fix.jsonl", fixed);
    let (ended, report) = replay(&workplace, "job", "fix.jsonl", &[]);
    ended.exits(0);
    assert_eq!(report["rows"]["inserted"], 3);
    let rows = workplace.sqlite("target.db", "SELECT id, n FROM t ORDER BY id");
    assert_eq!(rows, ["1|1", "2|15", "3|3", "4|12345678901234567"]);
}

/// Rows of a table, in both formats, and without a file after the target was repaired.
#[test]
fn rows_of_a_table_are_exported_by_option_and_sent_again() {
    let source =
        "CREATE TABLE s (id INTEGER PRIMARY KEY, day DATE, data BLOB, note TEXT, n NUMERIC);
        INSERT INTO s VALUES (1, '2026-01-01', NULL, 'a', 1), (2, 'never', x'00ff', '', 2),
            (3, '2026-01-02', NULL, 'bad', 3.5), (4, '2026-01-03', x'', 'b,\"c\"\n', NULL)";
    for format in ["csv", "jsonl"] {
        let workplace = Workplace::new();
        workplace.execute("source.db", source);
        workplace.execute(
            "target.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, day DATE, data BLOB, note TEXT, n NUMERIC,
                CHECK (note <> 'bad'), CHECK (id <> 4))",
        );
        let run = run(
            &workplace,
            "[reader]\nplugin = \"sqlite\"\npath = \"source.db\"\ntable = \"s\"",
            TARGET,
        );
        let exported = export(&workplace, &["job", "--format", format]);
        let fixed = exported.replace("never", "2026-01-09").replace("bad", "good");
        workplace.put("fix", &fixed);
        let (ended, report) = replay(&workplace, &run, "fix", &["--format", format]);
        ended.exits(0);
        assert_eq!(
            (&report["rows"]["inserted"], &report["rows"]["dirty"]),
            (&json!(2), &json!(1)),
            "{fixed}"
        );
        // The last one is right; the target was wrong.
        workplace.execute(
            "target.db",
            "CREATE TABLE u AS SELECT * FROM t; DROP TABLE t;
             CREATE TABLE t (id INTEGER PRIMARY KEY, day DATE, data BLOB, note TEXT, n NUMERIC);
             INSERT INTO t SELECT * FROM u",
        );
        let ended = workplace.run(&["dirty", "replay", "job"]);
        ended.exits(0);
        let rows = "SELECT id, day, data, note, n FROM t ORDER BY id";
        assert_eq!(
            workplace.sqlite("target.db", rows),
            [
                "1|'2026-01-01'|NULL|'a'|1",
                "2|'2026-01-09'|00ff|''|2",
                "3|'2026-01-02'|NULL|'good'|3.5",
                "4|'2026-01-03'||'b,\"c\"\n'|NULL",
            ],
            "{format}: {exported}"
        );
    }
}

/// A run that replaces all rows has replaced them; the repaired ones come to them. What the job does
/// once, it does not do again.
#[test]
fn a_replay_adds_rows_also_where_the_run_replaced_all() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,n\n1,1\nx,2\n");
    workplace.execute(
        "target.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE log (text);
         INSERT INTO t VALUES (99, 0)",
    );
    let writer = TARGET.replace(
        "table = \"t\"\n",
        "table = \"t\"\nwrite_mode = \"overwrite\"\nbefore = \"INSERT INTO log VALUES ('before')\"\n",
    );
    let reader = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nid = \"int64\"";
    run(&workplace, reader, &writer);
    workplace.put("fix.csv", export(&workplace, &["job"]).replace(",x,", ",2,"));
    replay(&workplace, "job", "fix.csv", &[]).0.exits(0);
    assert_eq!(workplace.sqlite("target.db", "SELECT id, n FROM t ORDER BY id"), ["1|1", "2|2"]);
    assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM log"), ["1"]);
}

/// A row without all of its bytes is named, with the exit code of a failure; all others are exported.
#[test]
fn rows_that_are_not_whole_are_named() {
    let workplace = Workplace::new();
    let long = "y".repeat(17 << 20);
    workplace.put("in.csv", format!("id,note\nx,a\nz,{long}\n"));
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)");
    let reader = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\nmax_record = \"64 MiB\"\n\
                  [reader.schema]\nid = \"int64\"\nnote = \"text\"";
    run(&workplace, reader, TARGET);
    let ended = workplace.run(&["dirty", "export", "job"]);
    ended.exits(1).says("[DIRTY-EXPORT] 1 of 2 rows are not exported");
    ended.says("not exported: in.csv, line 3: it has more than 16 MiB and was cut");
    assert!(
        ended.stdout.starts_with("_dirty,id,note\n") && ended.stdout.ends_with(",x,a\n"),
        "{}",
        ended.stdout
    );
    let ended = workplace.run(&["dirty", "replay", "job"]);
    ended.exits(1).says("[DIRTY-EXPORT]");
}

/// Files in another order of columns, in folders that name a column, and without quotes.
#[test]
fn files_of_other_orders_and_folders_are_exported_in_one_form() {
    let workplace = Workplace::new();
    workplace.put("in/day=2026-11-01/a.csv", "id,note\nx,a\n1,b\n");
    workplace.put("in/day=2026-11-02/b.csv", "note,id\n\"c,d\",y\nragged\n");
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT, day DATE)");
    let reader = "[reader]\nplugin = \"file\"\npath = \"in/\"\n[reader.schema]\nid = \"int64\"";
    let run = run(&workplace, reader, TARGET);
    let mark = run.rsplit('-').next().unwrap();
    let ended = workplace.run(&["dirty", "export", "job"]);
    ended.exits(1).says("line 3: the columns of its file have another order");
    let rows =
        format!("_dirty,id,note,day\n{mark}.0.1,x,a,2026-11-01\n{mark}.0.2,y,\"c,d\",2026-11-02\n");
    assert_eq!(ended.stdout, rows);
    workplace.put("fix.csv", rows.replace(",x,", ",2,").replace(",y,", ",3,"));
    replay(&workplace, "job", "fix.csv", &[]).0.exits(0);
    let rows = workplace.sqlite("target.db", "SELECT id, note, day FROM t ORDER BY id");
    assert_eq!(rows, ["1|'b'|'2026-11-01'", "2|'a'|'2026-11-01'", "3|'c,d'|'2026-11-02'"]);
}

/// A replay that was killed may have written its rows: the next one of them is refused where it could
/// double them, and not where a key keeps it from that.
#[test]
fn a_replay_that_was_killed_is_not_repeated_blindly() {
    for (mode, exit) in [("insert", 2), ("upsert", 0)] {
        let workplace = Workplace::new();
        workplace.put("in.csv", "id,n\n1,1\nx,2\ny,3\n");
        workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)");
        let reader =
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nid = \"int64\"";
        let target =
            TARGET.replace("table = \"t\"\n", &format!("table = \"t\"\nwrite_mode = \"{mode}\"\n"));
        let run = run(&workplace, reader, &target);
        workplace.put(
            "fix.csv",
            export(&workplace, &["job"]).replace(",x,", ",2,").replace(",y,", ",3,"),
        );
        // Its writer waits for the lock that this connection holds, and is killed there.
        let held = workplace.connect("target.db");
        held.execute_batch("BEGIN IMMEDIATE").unwrap();
        let record = workplace.path().join(format!("state/runs/job/{run}/replays.jsonl"));
        let mut child = workplace.command();
        child.args(["dirty", "replay", "job", "--from", "fix.csv"]);
        let mut child = child.spawn().unwrap();
        transload_tests::wait_until("the replay has begun", || {
            fs::metadata(&record).is_ok_and(|file| file.len() > 0)
        });
        // A second one at the same time.
        let (second, _) = replay(&workplace, &run, "fix.csv", &[]);
        second.exits(9).says("another replay of run").says("is at work");
        child.kill().unwrap();
        child.wait().unwrap();
        drop(held);
        let (ended, _) = replay(&workplace, &run, "fix.csv", &[]);
        ended.exits(exit);
        if mode == "insert" {
            ended.says("[DIRTY-REPLAYED]").says("was cut off").says("transload resume");
            replay(&workplace, &run, "fix.csv", &["--again"]).0.exits(0);
        }
        assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["3"]);
    }
}

/// A closed pipe ends an export without a word.
#[test]
fn an_export_into_a_closed_pipe_ends() {
    let workplace = Workplace::new();
    orders(&workplace);
    let mut export = workplace.command();
    let mut child = export.args(["dirty", "export", "job"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// Where the job requires that each row takes effect once, a replay that was killed between its commit
/// and its record is continued by `resume`, and no row is in the target twice.
#[test]
fn a_replay_that_was_killed_behind_its_commit_is_resumed() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,n\n1,1\nx,2\ny,3\n");
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER, n INTEGER)");
    let reader = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nid = \"int64\"";
    let once = "[guarantee]\nrequire = \"effectively-once\"\ncreate_tables = true\n";
    let first = run(&workplace, reader, &format!("{TARGET}{once}"));
    let fixed = export(&workplace, &["job"]).replace(",x,", ",2,").replace(",y,", ",3,");
    workplace.put("fix.csv", fixed);
    let mut killed = workplace.command();
    killed.args(["dirty", "replay", "job", "--from", "fix.csv"]).env("TRANSLOAD_FAILPOINT", "K7");
    assert_ne!(Ended::from(killed.output().unwrap()).exit, Some(0));
    let rows = "SELECT id, n FROM t ORDER BY id";
    assert_eq!(workplace.sqlite("target.db", rows), ["1|1", "2|2", "3|3"], "it had committed");

    let (again, _) = replay(&workplace, &first, "fix.csv", &[]);
    assert_ne!(again.exit, Some(0));
    again.says("transload resume");
    let mut runs: Vec<_> = fs::read_dir(workplace.path().join("state/runs/job")).unwrap().collect();
    assert_eq!(runs.len(), 2, "a replay that was refused leaves no folder");
    runs.sort_by_key(|run| run.as_ref().unwrap().file_name() == first.as_str());
    let replayed = runs[0].as_ref().unwrap().file_name().into_string().unwrap();
    workplace.run(&["resume", &replayed]).exits(0);
    assert_eq!(workplace.sqlite("target.db", rows), ["1|1", "2|2", "3|3"]);
    let (again, _) = replay(&workplace, &first, "fix.csv", &[]);
    again.exits(2).says(&format!("2 of 2 rows were already replayed by run {replayed}"));
}
