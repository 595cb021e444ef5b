//! The plan is right or says that it does not know: verdicts, what the first rows break of them, what
//! is tried without effect, and the place in the job file of everything that is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::{Ended, Workplace};

/// From a CSV file into the table `t` of a SQLite file.
const JOB: &str = "[reader]\nplugin = \"file\"\npath = \"a.csv\"\n\n\
     [writer]\nplugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\n";

const ROWS: &str = "id,name,d\n1,abc,2024-01-01\n2,de,2024-02-30\n3,abcdefgh,x\n4,,2024-01-02\n";

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, name varchar(5) NOT NULL, d date)";

fn workplace(job: &str) -> Workplace {
    let workplace = Workplace::new();
    workplace.put("a.csv", ROWS);
    workplace.execute("t.db", TABLE);
    workplace.put("job.toml", job);
    workplace
}

/// The lines of a section of the plan, without its heading.
fn section<'a>(ended: &'a Ended, heading: &str) -> Vec<&'a str> {
    let lines = ended.stdout.lines().skip_while(|line| *line != heading).skip(1);
    lines.take_while(|line| line.starts_with("  ")).map(str::trim).collect()
}

/// Only the run can tell whether a text is a date, short enough or there at all; the first rows are
/// at hand and say so before it.
#[test]
fn verdicts_of_guesses_are_checked_and_tried_on_the_first_rows() {
    let workplace = workplace(JOB);
    let database = std::fs::read(workplace.path().join("t.db")).unwrap();
    let plan = workplace.run(&["plan", "job.toml", "--width", "80"]);
    let text = &plan.exits(0).stdout;
    let columns = text.split("\n\n").find(|part| part.starts_with("columns")).unwrap();
    assert_eq!(
        columns,
        "\
columns (all source types are inferred)
  id int64   ->  id INTEGER not null       checked  a whole number, not NULL
  name text  ->  name varchar(5) not null  checked  5 characters at most, not
                                                    NULL: 1 of 4 sampled rows is
                                                    longer (a.csv, line 4), 1 of
                                                    4 sampled rows is NULL
                                                    (a.csv, line 5)
  d text     ->  d date                    checked  a date: 1 of 4 sampled rows
                                                    is out of range (a.csv, line
                                                    3)"
    );
    assert!(plan.stdout.contains("\nsample       3 of 4 rows would be dirty\n"), "{}", plan.stdout);
    let json = workplace.run(&["plan", "job.toml", "--output", "json"]);
    let plan: Value = serde_json::from_str(&json.exits(0).stdout).unwrap();
    assert_eq!(plan["sample"], serde_json::json!({"rows": 4, "refused": 3}));
    let name = &plan["mapping"][1];
    assert_eq!(name["verdict"], "checked");
    assert_eq!(name["target"]["native"], "varchar(5)");
    assert_eq!(name["checks"], serde_json::json!(["5 characters at most", "not NULL"]));
    assert_eq!(name["refused"][0]["code"], "length");
    assert_eq!(name["refused"][0]["place"], "a.csv, line 4");
    assert_eq!(std::fs::read(workplace.path().join("t.db")).unwrap(), database, "no effect");
    let run = workplace.run(&["run", "job.toml"]);
    run.exits(3); // as the plan has said
}

#[test]
fn a_sample_that_fits_is_said_to_and_broken_rows_are_shown() {
    let workplace = workplace(JOB);
    workplace.put("a.csv", "id,name,d\n1,abc,2024-01-01\n");
    let plan = workplace.run(&["plan", "job.toml"]);
    assert!(plan.exits(0).stdout.contains("\nsample       1 row was tried, and it fits\n"));
    workplace.put("a.csv", "id,name,d\n1,abc,2024-01-01\n2,x\n");
    let plan = workplace.run(&["plan", "job.toml"]);
    let text = &plan.exits(0).stdout;
    assert!(text.contains("sample       1 of 2 rows would be dirty\n  a.csv, line 3: "), "{text}");
}

/// A column of a database is checked where the target holds less, and NULL may come.
#[test]
fn verdicts_of_databases_name_what_is_checked() {
    let workplace = Workplace::new();
    workplace.execute(
        "s.db",
        "CREATE TABLE s(a BIGINT NOT NULL, b TEXT NOT NULL, c DATE, d DECIMAL(10,4) NOT NULL, \
         e INT NOT NULL, f TIMESTAMP NOT NULL)",
    );
    workplace.execute(
        "t.db",
        "CREATE TABLE t(a SMALLINT, b VARCHAR(8), c DATE NOT NULL, d DECIMAL(10,2), e BIGINT, f DATE)",
    );
    let reader = "plugin = \"sqlite\"\npath = \"s.db\"\ntable = \"s\"";
    workplace.put("job.toml", JOB.replace("plugin = \"file\"\npath = \"a.csv\"", reader));
    let plan = workplace.run(&["plan", "job.toml"]);
    let lines: Vec<_> = section(plan.exits(0), "columns")
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "a BIGINT -> a SMALLINT checked from -32768 to 32767",
            "b TEXT -> b VARCHAR(8) checked 8 characters at most",
            "c DATE -> c DATE not null checked not NULL",
            "d DECIMAL(10,4) -> d DECIMAL(10,2) checked 8 digits before the point and 2 behind it \
             at most",
            "e INT -> e BIGINT lossless",
            "f TIMESTAMP -> f DATE checked midnight",
        ]
    );
    assert!(!plan.stdout.contains("sample"), "databases are not sampled");
}

/// Everything that can be tried is tried before the run, and all of it is reported with its place.
#[test]
fn the_plan_tries_conditions_and_statements_all_at_once() {
    let job = "[reader]\nplugin = \"sqlite\"\npath = \"s.db\"\ntable = \"s\"\nwhere = \"idd > 3\"\n\n\
         [writer]\nplugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\n\
         before = [\"DELETE FROM tt\", \"SELEC 1\", \"CREATE TABLE u(a)\", \"DELETE FROM u\"]\n\
         after = \"UPDATE t SET nam = 1\"\n";
    let workplace = workplace(job);
    workplace.execute("s.db", "CREATE TABLE s(id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
    for command in ["plan", "run"] {
        let ended = workplace.run(&[command, "job.toml"]);
        let errors: Vec<_> =
            ended.exits(6).stderr.lines().filter(|line| line.starts_with("error:")).collect();
        assert_eq!(
            errors,
            [
                "error: job.toml:5:9: `where`: no such column: idd",
                "error: job.toml:11:11: `before` statement 1: no such table: tt",
                "error: job.toml:11:29: `before` statement 2: near \"SELEC\": syntax error",
            ],
            "{}",
            ended.stderr
        );
    }
    workplace
        .put("job.toml", job.replace("\"DELETE FROM tt\", \"SELEC 1\", ", "").replace("idd", "id"));
    let plan = workplace.run(&["plan", "job.toml"]);
    let notes = section(plan.exits(0), "notes").join("\n");
    for note in [
        "not tried: `before` statement 1, of which only the syntax was looked at",
        "not tried: `before` statement 2, which may need what `before` statement 1 does: no such \
         table: u",
        "not tried: `after` statement 1, which may need what `before` statement 1 does",
    ] {
        assert!(notes.contains(note), "{notes}");
    }
    assert!(workplace.sqlite("t.db", "SELECT 1 FROM sqlite_schema WHERE name = 'u'").is_empty());
}

#[test]
fn a_missing_table_is_told_with_the_nearest_name_and_the_list() {
    let job = "[reader]\nplugin = \"sqlite\"\npath = \"s.db\"\ntable = \"custmers\"\n\n\
         [writer]\nplugin = \"sqlite\"\npath = \"s.db\"\ntable = \"order\"\n";
    let workplace = workplace(job);
    workplace.execute("s.db", "CREATE TABLE customers(id INT); CREATE TABLE orders(id INT)");
    let ended = workplace.run(&["plan", "job.toml"]);
    ended
        .exits(6)
        .says("error: [TABLE-MISSING] job.toml:4:9: no table `custmers`\n")
        .says("hint: did you mean `customers`? (2 tables: customers, orders)\n");
    workplace.put("job.toml", job.replace("custmers", "customers"));
    workplace
        .run(&["plan", "job.toml"])
        .exits(6)
        .says("[TABLE-MISSING] job.toml:9:9: no table `order`\n")
        .says("did you mean `orders`? (2 tables: customers, orders); `create_table = true`");
    workplace.put("job.toml", job.replace("custmers", "*"));
    let hint = "for many tables, write `tables = [\"*\"]` in [reader] and `table = \"{table}\"` in \
                [writer]";
    workplace.run(&["plan", "job.toml"]).exits(6).says(hint);
    // The hint works.
    let all = job.replace("table = \"custmers\"", "tables = [\"*\"]");
    let (before, writer) = all.split_once("[writer]").unwrap();
    let writer = writer.replace("s.db", "w.db").replace("\"order\"", "\"{table}\"");
    workplace.put("job.toml", format!("{before}[writer]{writer}create_table = true\n"));
    workplace.run(&["run", "job.toml"]).exits(0);
}

/// Every error about a key of the job says where the key stands.
#[test]
fn every_error_about_a_key_has_its_place() {
    let dangling = "path = \"a.csv\"\n";
    for (code, from, to, place) in [
        ("PLAN-COLUMN", dangling, "path = \"a.csv\"\ncolumns = [\"id\", \"nam\"]\n", "4:18"),
        ("PLAN-COLUMN", "table = \"t\"\n", "table = \"t\"\n[map]\nname = \"nme\"\n", "10:8"),
        ("PLAN-COLUMN", "table = \"t\"\n", "table = \"t\"\n[map]\nnme = \"name\"\n", "10:7"),
        ("PLAN-COLUMN", "table = \"t\"", "table = \"u\"", "5:2"),
        ("PLAN-GENERATED", "table = \"t\"", "table = \"g\"", "5:2"),
        ("PLAN-UNFILLED", dangling, "path = \"a.csv\"\ncolumns = [\"id\"]\n", "6:2"),
        (
            "PLAN-KEY",
            "table = \"t\"\n",
            "table = \"t\"\nwrite_mode = \"upsert\"\nkey = \"nme\"\n",
            "10:7",
        ),
        (
            "PLAN-KEY",
            "table = \"t\"\n",
            "table = \"t\"\nwrite_mode = \"upsert\"\nkey = \"d\"\n",
            "10:7",
        ),
        ("PLAN-KEY", "table = \"t\"\n", "table = \"k\"\nwrite_mode = \"upsert\"\n", "9:14"),
        (
            "PLAN-KEY",
            "table = \"t\"\n",
            "table = \"t\"\nwrite_mode = \"upsert\"\nupdate_columns = [\"d\", \"x\"]\n",
            "10:24",
        ),
        (
            "PLAN-TYPE",
            "path = \"a.csv\"\n",
            "path = \"a.csv\"\n[reader.schema]\nid = \"date\"\n",
            "5:6",
        ),
        (
            "PLAN-GUARANTEE",
            "table = \"t\"\n",
            "table = \"t\"\n[guarantee]\nrequire = \"convergent\"\n",
            "10:11",
        ),
        ("TABLE-MISSING", "table = \"t\"", "table = \"gone\"", "8:9"),
        ("", "table = \"t\"", "table = \"a.b.c\"", "8:9"),
        ("", "table = \"t\"\n", "table = \"t\"\nload = \"copy\"\n", "9:8"),
        ("", dangling, "path = \"a.csv\"\nencoding = \"klingon\"\n", "4:12"),
        ("", dangling, "path = \"a.csv\"\ndelimiter = \"\\\"\"\n", "4:13"),
    ] {
        assert!(JOB.contains(from), "{from}");
        let workplace = workplace(&JOB.replace(from, to));
        workplace.execute(
            "t.db",
            "CREATE TABLE u(id INT, name TEXT); CREATE TABLE k(id INT, name TEXT, d DATE);
             CREATE TABLE g(id INT, name TEXT, d DATE AS ('2024-01-01'))",
        );
        let ended = workplace.run(&["plan", "job.toml"]);
        assert_ne!(ended.exit, Some(0), "{to}\n{}", ended.stdout);
        let first = ended.stderr.lines().next().unwrap();
        assert!(first.contains(&format!("job.toml:{place}: ")), "{place}, {to}\n{}", ended.stderr);
        assert!(code.is_empty() || first.contains(&format!("[{code}]")), "{code}\n{first}");
    }
}

#[test]
fn what_the_target_holds_and_lacks_is_noted() {
    let workplace = workplace(&JOB.replace("a.csv", "b.csv"));
    workplace.put("b.csv", "id,name,d\n7,abc,2024-01-01\n");
    workplace.execute(
        "t.db",
        "INSERT INTO t SELECT value, 'a', NULL FROM (SELECT 1 AS value UNION SELECT 2)",
    );
    let plan = workplace.run(&["plan", "job.toml"]);
    let notes = section(plan.exits(0), "notes").join("\n");
    assert!(notes.contains("the target holds 2 rows already; `insert` adds to them"), "{notes}");
    let new = JOB.replace("table = \"t\"", "table = \"n\"\ncreate_table = true");
    workplace.put("new.toml", new);
    let plan = workplace.run(&["plan", "new.toml"]);
    let notes = section(plan.exits(0), "notes").join("\n");
    let note = "the new table has no key: later upserts will need one (`key = [\"...\"]`)";
    assert!(notes.contains(note), "{notes}");
}

/// The hint for a key that the target does not have is a statement that adds it.
#[test]
fn the_hint_for_a_missing_key_works() {
    let job =
        JOB.replace("table = \"t\"\n", "table = \"k\"\nwrite_mode = \"upsert\"\nkey = \"id\"\n");
    let workplace = workplace(&job);
    workplace.put("a.csv", "id,name\n1,a\n");
    workplace.execute("t.db", "CREATE TABLE k(id INT, name TEXT)");
    let ended = workplace.run(&["run", "job.toml"]);
    ended.exits(6).says("[PLAN-KEY] job.toml:10:7: `k` has no key over exactly (id)");
    let hint = ended.stderr.lines().find_map(|line| line.trim().strip_prefix("hint: ")).unwrap();
    workplace.execute("t.db", hint.split(';').next().unwrap());
    workplace.run(&["run", "job.toml"]).exits(0);
    workplace.run(&["run", "job.toml"]).exits(0);
    assert_eq!(workplace.sqlite("t.db", "SELECT * FROM k"), ["1|'a'"]);
}

/// Between the plan and the first row another session changes the table.
#[test]
fn a_target_that_changes_after_the_plan_is_refused_by_column() {
    for (change, said) in [
        ("ALTER TABLE t ADD COLUMN more TEXT NOT NULL DEFAULT 'x'", "column `more` is new"),
        ("ALTER TABLE t DROP COLUMN n", "column `n` is missing"),
        ("ALTER TABLE t RENAME COLUMN n TO m", "column `n` is missing; column `m` is new"),
        (
            "DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT)",
            "column `n` was `INTEGER` and is `TEXT`",
        ),
        (
            "DROP TABLE t; CREATE TABLE t (id INTEGER NOT NULL, n INTEGER)",
            "its keys were primary (id) and are none",
        ),
    ] {
        let workplace = Workplace::new();
        workplace.execute("t.db", "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, n INTEGER)");
        workplace.put(
            "job.toml",
            "[reader]\nplugin = \"generator\"\nrows = 3\nopen_delay = \"1 s\"\n\
             specs = { id = \"int64 sequence\", n = \"int32 null 100%\" }\n\
             [writer]\nplugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\n",
        );
        let running = workplace.start(&["run", "job.toml"]);
        let runs = workplace.path().join("state/runs/job");
        transload_tests::wait_until("the plan is made", || {
            let run = std::fs::read_dir(&runs).ok().and_then(|mut runs| runs.next());
            run.is_some_and(|run| run.unwrap().path().join("plan.json").is_file())
        });
        workplace.execute("t.db", change);
        let ended = running.wait();
        ended.exits(6).says(said);
        ended.says("error: [RUN-TARGET] job.toml:6:2: ");
        assert_eq!(workplace.sqlite("t.db", "SELECT count(*) FROM t"), ["0"]);
    }
}

/// A folder and a file for nearly every row are seen in the plan.
#[test]
fn very_many_partitions_are_warned_about_before_the_run() {
    let workplace = Workplace::new();
    let line =
        |id: u32| format!("{id},r{},2026-12-{:02} 10:00:{:02}\n", id % 3, id % 28 + 1, id % 60);
    let lines: String = (0..300).map(line).collect();
    workplace.put("a.csv", format!("id,region,at\n{lines}"));
    let plan = |partition_by: &str| {
        workplace.put(
            "job.toml",
            format!(
                "[reader]\nplugin = \"file\"\npath = \"a.csv\"\n[reader.schema]\n\
                 at = \"timestamp(0)\"\n[writer]\nplugin = \"file\"\npath = \"out/\"\n\
                 format = \"csv\"\npartition_by = [{partition_by}]\n"
            ),
        );
        let ended = workplace.run(&["plan", "job.toml", "--width", "80"]);
        ended.exits(0);
        section(&ended, "warnings").join("\n")
    };
    let warned = plan("\"at\"");
    assert!(
        warned.contains(
            "the 300 sampled rows fall into 300 partitions of partition_by = [\"at\"], each a\n\
             folder with a file: divide by a part of the time, such as \"day(at)\""
        ),
        "{warned}"
    );
    assert!(plan("\"region\", \"id\"").contains("divide by a column of few values"));
    for few in ["\"day(at)\"", "\"region\""] {
        assert!(!plan(few).contains("partitions"), "{few}");
    }
}

/// What dates became is shown before a row moves, and does not change when the run is repeated.
#[test]
fn dates_are_shown_resolved_in_plan_and_report() {
    let workplace = workplace(&format!(
        "time_zone = \"Asia/Shanghai\"\n{JOB}before = \"DELETE FROM t WHERE d < '${{day}}' AND name = \
         '$[hh24miss-1/24]'\"\n[params]\nday = \"${{yyyy-mm-dd-7}}\"\n"
    ));
    workplace.put("a.csv", "id,name,d\n1,abc,2024-01-01\n");
    let arguments = ["job.toml", "--cyctime", "2025-10-31T16:00:00Z", "--width", "80"];
    let plan = workplace.run(&[&["plan"], &arguments[..]].concat());
    let text = &plan.exits(0).stdout;
    let head: Vec<_> = text.lines().take(4).collect();
    assert_eq!(
        head[1..3],
        [
            "scheduled    2025-11-01T00:00:00+08:00[Asia/Shanghai]",
            "parameters   $[hh24miss-1/24]=230000, day=2025-10-24, yyyy-mm-dd-7=2025-10-24"
        ],
        "{text}"
    );
    assert!(text.contains("DELETE FROM t WHERE d < '2025-10-24' AND name = '230000'"), "{text}");
    let run = workplace.run(&[&["run"], &arguments[..]].concat());
    run.exits(0).says("day=2025-10-24");
    let days = workplace.run(&["check", "job.toml", "--cyctime", "20251101", "-p", "day=x"]);
    days.exits(2).says("--cyctime: expected a time as `YYYYMMDDHHMMSS`, found `20251101`");
    let late = workplace.run(&["plan", "job.toml", "--bizdate", "20251031", "--width", "80"]);
    assert!(late.exits(0).stdout.contains("yyyy-mm-dd-7=2025-10-24"), "{}", late.stdout);
}
