//! `transload verify`: what was changed behind a run's back is found, row by row, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::{Value as Json, json};
use transload_tests::{
    Workplace,
    verification::{counts, keys, verified},
};

/// A job between two tables of a SQLite file.
fn between_tables(create: &str) -> Workplace {
    let workplace = Workplace::new();
    workplace.execute("db", create);
    workplace.put("job.toml", job("[reader]", ""));
    workplace
}

fn job(reader: &str, writer: &str) -> String {
    format!(
        "{reader}\nplugin = \"sqlite\"\npath = \"db\"\ntable = \"s\"\n\
         [writer]\nplugin = \"sqlite\"\npath = \"db\"\ntable = \"t\"\n{writer}"
    )
}

#[test]
fn each_kind_of_difference_is_listed_with_its_key_and_values() {
    let workplace = between_tables(
        "CREATE TABLE s (id INTEGER PRIMARY KEY, amount DECIMAL(9,2), note TEXT);
         INSERT INTO s VALUES (1, '1.50', 'a'), (2, '2.00', NULL), (3, '3.00', ''), (10, '4', 'd');
         CREATE TABLE t (id INTEGER PRIMARY KEY, amount DECIMAL(9,2), note TEXT);",
    );
    workplace.run(&["run", "job.toml", "-q"]).exits(0);
    let ended = workplace.run(&["verify", "job.toml", "--width", "80"]);
    ended.exits(0);
    assert_eq!(
        timeless(&ended.stdout),
        "\
job: source and target are equal
  source      4 rows in sqlite
  target      4 rows in t, sqlite
  key         id
  columns     id, amount, note
  equal       4 rows
  method      checksums in both stores, 2 queries; 0 and 0 rows read in TIME
"
    );
    workplace.execute(
        "db",
        "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (20, '9', 'more');
         UPDATE t SET note = '' WHERE id = 2; UPDATE t SET amount = 3.5, note = NULL WHERE id = 3;",
    );
    let ended = workplace.run(&["verify", "job.toml", "--width", "80"]);
    ended.exits(8);
    assert_eq!(
        timeless(&ended.stdout),
        "\
job: source and target differ
  source      4 rows in sqlite
  target      4 rows in t, sqlite
  key         id
  columns     id, amount, note
  equal       1 row
  missing     1 row in the source only
  extra       1 row in the target only
  different   2 rows: amount 1, note 2
  method      checksums in both stores, 2 queries; 8 and 8 rows read in TIME

  missing     id 1: amount 1.50, note a
  different   id 2: note NULL, in the target ``
  different   id 3: amount 3.00, in the target 3.50; note ``, in the target NULL
  extra       id 20: amount 9.00, note more
"
    );
    let (_, result) = verified(&workplace, &[]);
    assert_eq!(result["status"], "different");
    assert_eq!(result["by_column"], json!({"amount": 1, "note": 2}));
    assert_eq!(
        result["differences"][1],
        json!({
            "kind": "different", "key": [{"column": "id", "value": "2"}],
            "values": [{"column": "note", "source": null, "target": ""}],
        })
    );
}

/// Without times.
fn timeless(text: &str) -> String {
    let line = |line: &str| match line.rfind("rows read in ") {
        Some(at) => format!("{}TIME\n", &line[..at + "rows read in ".len()]),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn rows_without_a_key_are_counted_as_often_as_they_occur() {
    let workplace = between_tables(
        "CREATE TABLE s (a INTEGER, b TEXT);
         INSERT INTO s VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL), (2, 'y');
         CREATE TABLE t (a INTEGER, b TEXT);",
    );
    workplace.run(&["run", "job.toml", "-q"]).exits(0);
    let (ended, result) = verified(&workplace, &[]);
    ended.exits(0);
    assert_eq!((counts(&result), &result["key"]), ([6, 0, 0, 0], &json!([])));
    workplace.execute(
        "db",
        "DELETE FROM t WHERE rowid IN (SELECT min(rowid) FROM t WHERE a = 1);
         INSERT INTO t VALUES (NULL, NULL), (3, 'z');",
    );
    let (ended, result) = verified(&workplace, &[]);
    ended.exits(8);
    assert_eq!(counts(&result), [5, 1, 2, 0]);
    let shown = result["differences"].as_array().unwrap();
    assert!(
        shown.iter().any(|it| it["key"]
            == json!([{"column": "a", "value": null}, {"column": "b", "value": null}])),
        "{shown:?}"
    );
    // Of a key that is none, rows pair off all the same.
    let (_, result) = verified(&workplace, &["--key", "a"]);
    assert_eq!(counts(&result), [5, 1, 2, 0]);
}

#[test]
fn null_keys_and_composite_keys_tell_rows_apart() {
    let workplace = between_tables(
        "CREATE TABLE s (a INTEGER, b TEXT, v INTEGER, UNIQUE (a, b));
         INSERT INTO s VALUES (1, 'x', 1), (1, 'y', 2), (NULL, 'x', 3), (1, NULL, 4), (11, '', 5);
         CREATE TABLE t (a INTEGER, b TEXT, v INTEGER, UNIQUE (a, b));",
    );
    workplace.run(&["run", "job.toml", "-q"]).exits(0);
    let (ended, result) = verified(&workplace, &[]);
    ended.exits(0);
    assert_eq!((counts(&result), &result["key"]), ([5, 0, 0, 0], &json!(["a", "b"])));
    workplace.execute("db", "UPDATE t SET v = v + 1 WHERE a IS NULL OR b IS NULL;");
    workplace.execute("db", "UPDATE t SET b = '1' WHERE a = 11;");
    let (ended, result) = verified(&workplace, &[]);
    ended.exits(8);
    assert_eq!(counts(&result), [2, 1, 1, 2]);
}

#[test]
fn what_a_run_would_refuse_is_no_difference_and_is_told() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,n\n1,10\n2,many\n3,30\n");
    workplace.execute("db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);");
    workplace.put(
        "job.toml",
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\nplugin = \"sqlite\"\n\
         path = \"db\"\ntable = \"t\"\n[dirty]\nmax_rows = 1\n",
    );
    workplace.run(&["run", "job.toml", "-q"]).exits(0);
    let (ended, result) = verified(&workplace, &[]);
    ended.exits(0);
    assert_eq!((counts(&result), &result["rows"]["refused"]), ([2, 0, 0, 0], &json!(1)));
    let note = result["notes"][0].as_str().unwrap();
    assert!(note.contains("in.csv, line 3") && note.contains("many"), "{note}");
}

#[test]
fn a_part_of_the_target_can_be_verified() {
    let workplace = between_tables(
        "CREATE TABLE s (id INTEGER PRIMARY KEY, day TEXT);
         INSERT INTO s VALUES (1, 'mon'), (2, 'tue');
         CREATE TABLE t (id INTEGER PRIMARY KEY, day TEXT);
         INSERT INTO t VALUES (1, 'mon'), (2, 'tue'), (3, 'sun'), (4, 'sun');",
    );
    let (ended, result) = verified(&workplace, &[]);
    ended.exits(8);
    assert_eq!(counts(&result), [2, 0, 2, 0]);
    let (ended, result) = verified(&workplace, &["--allow-extra"]);
    ended.exits(0);
    assert_eq!((counts(&result), &result["status"]), ([2, 0, 2, 0], &json!("done")));
    let (ended, result) = verified(&workplace, &["--target-where", "day <> 'sun'"]);
    ended.exits(0);
    assert_eq!(counts(&result), [2, 0, 0, 0]);
    let ended = workplace.run(&["verify", "job.toml", "-q"]);
    ended.exits(8);
    assert!(ended.stdout.contains("differ"), "{ended:?}");
    let ended = workplace.run(&["verify", "job.toml", "-q", "--allow-extra"]);
    assert_eq!((ended.exits(0).stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[test]
fn a_run_is_verified_by_its_name() {
    let workplace = Workplace::new();
    workplace.execute(
        "db",
        "CREATE TABLE s (id INTEGER PRIMARY KEY, d TEXT);
         INSERT INTO s VALUES (1, 'a'), (2, 'b');
         CREATE TABLE t (id INTEGER PRIMARY KEY, d TEXT);",
    );
    let text = job("[reader]\nwhere = \"d = '${letter}'\"", "");
    workplace.put("job.toml", &text);
    let arguments = ["run", "job.toml", "--param", "letter=b", "--output", "json"];
    let ended = workplace.run(&arguments);
    let report: Json = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    let run = report["run"].as_str().unwrap();
    let ended = workplace.run(&["verify", run, "--output", "json"]);
    let result: Json = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    assert_eq!((counts(&result), &result["run"]), ([1, 0, 0, 0], &json!(run)));
    assert_eq!(result["inputs"]["parameters"]["letter"], "b");
    workplace.put("job.toml", format!("{text}\n# later\n"));
    let ended = workplace.run(&["verify", run]);
    assert!(ended.exits(0).stdout.contains("has changed since the run"), "{ended:?}");
    let ended = workplace.run(&["verify", "20200101t000000-00000000"]);
    ended.exits(4).says("RUN-MISSING");
}

/// What only the target refused is no difference for the run that has recorded it, as long as the source
/// is what it was; for the job, which knows of no run, it is missing.
#[test]
fn rows_that_the_target_refused_are_excused_by_their_run() {
    for (mode, key) in [("insert", ""), ("insert", " PRIMARY KEY"), ("upsert", " PRIMARY KEY")] {
        let workplace = between_tables(&format!(
            "CREATE TABLE s (id INTEGER{key}, amount DECIMAL(9,2), day DATE);
             INSERT INTO s VALUES (1, '1.50', '2024-01-01'), (2, '-2.00', '2024-01-02'),
                 (3, '-3', NULL), (4, '4', '2024-01-04');
             CREATE TABLE t (id INTEGER{key}, amount DECIMAL(9,2) CHECK (amount > 0), day DATE);"
        ));
        let writer = format!("write_mode = \"{mode}\"\n[dirty]\nmax_rows = 9\n");
        workplace.put("job.toml", job("[reader]", &writer));
        if mode == "upsert" {
            // It stays, because its update is refused.
            workplace.execute("db", "INSERT INTO t VALUES (2, 9, NULL)");
        }
        let report = workplace.run(&["run", "job.toml", "--output", "json"]);
        let report: Json = serde_json::from_str(&report.exits(0).stdout).unwrap();
        let run = report["run"].as_str().unwrap();
        assert_eq!(report["rows"]["dirty"], 2);
        let verify = |more: &[&str]| {
            let arguments = [&["verify", run, "--output", "json"], more].concat();
            let ended = workplace.run(&arguments);
            let result: Json = serde_json::from_str(&ended.stdout).unwrap();
            (ended, result)
        };
        for more in [&[][..], &["--every-row"]] {
            let (ended, result) = verify(more);
            ended.exits(0);
            assert_eq!((counts(&result), &result["rows"]["dirty"]), ([2, 0, 0, 0], &json!(2)));
            assert_eq!(result["rows"]["source"], 4);
            let notes = result["notes"].to_string();
            assert!(
                notes.contains("dirty rows of the run, which the target refused: 2"),
                "{notes}"
            );
        }
        let ended = workplace.run(&["verify", run, "--width", "80"]);
        let line = "  dirty       2 rows were refused by the target, as the run recorded\n";
        assert!(ended.exits(0).stdout.contains(line), "{ended:?}");
        let (ended, result) = verified(&workplace, &[]);
        ended.exits(8);
        assert_eq!(result["rows"]["dirty"], 0);
        // Another value than the one that was refused; and a row that is missing for no known reason.
        workplace
            .execute("db", "UPDATE s SET amount = 5 WHERE id = 3; DELETE FROM t WHERE id = 4;");
        let (ended, result) = verify(&["--key", "id", "--repair", "mend.sql"]);
        ended.exits(8);
        assert_eq!((counts(&result), &result["rows"]["dirty"]), ([1, 2, 0, 0], &json!(1)));
        assert_eq!(keys(&result, "missing"), [3, 4]);
        workplace.execute("db", &workplace.read("mend.sql"));
        verify(&[]).0.exits(0);
    }
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let workplace = between_tables(
        "CREATE TABLE s (id INTEGER PRIMARY KEY); CREATE TABLE t (id INTEGER PRIMARY KEY);",
    );
    workplace.run(&["verify", "job.toml", "--key", "nope"]).exits(2).says("`nope` is not compared");
    workplace.put(
        "job.toml",
        "[reader]\nplugin = \"sqlite\"\npath = \"db\"\ntable = \"s\"\n\
         [writer]\nplugin = \"file\"\npath = \"-\"\nformat = \"csv\"\n",
    );
    workplace.run(&["verify", "job.toml"]).exits(2).says("standard output cannot be read again");
    workplace.put(
        "job.toml",
        "[reader]\nplugin = \"sqlite\"\npath = \"db\"\ntable = \"s\"\n\
         [writer]\nplugin = \"file\"\npath = \"none.csv\"\n",
    );
    workplace.run(&["verify", "job.toml"]).exits(4).says("there is no such file");
}

/// A signal ends a comparison at once.
#[test]
fn a_signal_stops_the_comparison() {
    let workplace = Workplace::new();
    workplace.execute("db", "CREATE TABLE t (id INTEGER PRIMARY KEY);");
    workplace.put(
        "job.toml",
        "[reader]\nplugin = \"generator\"\nrows = 1_000_000_000\nspecs = { id = \"int64\" }\n\
         [writer]\nplugin = \"sqlite\"\npath = \"db\"\ntable = \"t\"\n",
    );
    let running = workplace.start(&["verify", "job.toml", "--every-row"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!((ended.exit, ended.stdout.as_str()), (Some(143), ""), "{ended:?}");
    ended.says("stopped by a signal");
}

/// What an upsert does not update may differ.
#[test]
fn columns_that_an_upsert_leaves_alone_are_not_compared() {
    let workplace = between_tables(
        "CREATE TABLE s (id INTEGER PRIMARY KEY, a TEXT, b TEXT);
         INSERT INTO s VALUES (1, 'new', 'new');
         CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT);
         INSERT INTO t VALUES (1, 'old', 'old');",
    );
    let upsert = "write_mode = \"upsert\"\nupdate_columns = [\"a\"]\n";
    workplace.put("job.toml", job("[reader]", upsert));
    verified(&workplace, &[]).0.exits(8);
    workplace.run(&["run", "job.toml", "-q"]).exits(0);
    let (ended, result) = verified(&workplace, &[]);
    ended.exits(0);
    assert_eq!(result["columns"], json!(["id", "a"]));
    assert!(result["notes"][0].as_str().unwrap().contains("`b`"), "{result}");
}

#[test]
fn a_repair_takes_one_of_equal_rows_and_none_of_a_file() {
    let workplace = between_tables(
        "CREATE TABLE s (a INTEGER, b TEXT);
         INSERT INTO s VALUES (1, 'x'), (1, 'x'), (2, NULL), (3, 'z');
         CREATE TABLE t (a INTEGER, b TEXT);
         INSERT INTO t VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL), (2, NULL);",
    );
    workplace.run(&["verify", "job.toml", "--repair", "mend.sql", "-q"]).exits(8);
    workplace.execute("db", &workplace.read("mend.sql"));
    verified(&workplace, &[]).0.exits(0);
    workplace.put(
        "job.toml",
        "[reader]\nplugin = \"sqlite\"\npath = \"db\"\ntable = \"s\"\n\
         [writer]\nplugin = \"file\"\npath = \"out.csv\"\n",
    );
    workplace.run(&["run", "job.toml", "-q"]).exits(0);
    workplace.execute("db", "INSERT INTO s VALUES (9, '9');");
    let ended = workplace.run(&["verify", "job.toml", "--repair", "file.sql"]);
    assert!(ended.exits(8).stdout.contains("the target is no table"), "{ended:?}");
    assert!(!workplace.path().join("file.sql").exists());
}
