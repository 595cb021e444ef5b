//! Tables read in parallel: every row once, whatever the keys.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::Workplace;

/// Reads table `t` of `source.db` with this many tasks and returns the rows' numbers, sorted.
fn numbers(workplace: &Workplace, parallelism: u32, more: &str) -> (Vec<u64>, Value) {
    let job = format!(
        "[reader]\nplugin = \"sqlite\"\npath = \"source.db\"\ntable = \"t\"\ncolumns = [\"number\"]\n{more}\
         [writer]\nplugin = \"file\"\npath = \"out.jsonl\"\nwrite_mode = \"overwrite\"\n\
         [channel]\nparallelism = {parallelism}\n"
    );
    let (ended, report) = workplace.job(&job);
    ended.exits(0);
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64();
    let mut numbers: Vec<u64> =
        workplace.read("out.jsonl").lines().map(|line| number(line).unwrap()).collect();
    numbers.sort_unstable();
    (numbers, report)
}

/// A table of `rows` rows whose key is an expression of `n`, counted from 1.
fn table(key: &str, rows: u32) -> Workplace {
    let workplace = Workplace::new();
    let sql = format!(
        "CREATE TABLE t (number INTEGER NOT NULL, key {key});
         WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
         INSERT INTO t SELECT n, {{}} FROM c"
    );
    workplace.put("table.sql", sql);
    workplace
}

#[test]
fn t01_t02_t04_every_row_is_read_once_whatever_its_key_is() {
    const ROWS: u32 = 20_000;
    for (declared, key) in [
        ("INTEGER PRIMARY KEY", "n"),
        ("INTEGER", "CASE WHEN n % 7 = 0 THEN NULL ELSE n END"),
        ("INTEGER", "NULL"),
        ("INTEGER", "n / 1000"),
        ("INTEGER", "CASE WHEN n < 10 THEN -n ELSE 1000000000000 + n END"),
        (
            "INTEGER",
            "CASE n WHEN 1 THEN -9223372036854775807 WHEN 2 THEN 9223372036854775807 ELSE n END",
        ),
        ("TEXT", "CASE n % 3 WHEN 0 THEN 'É' || n WHEN 1 THEN 'a''' || n ELSE '😀' || n END"),
        ("REAL", "n / 3.0"),
    ] {
        let workplace = table(declared, ROWS);
        workplace.execute("source.db", &workplace.read("table.sql").replace("{}", key));
        for parallelism in [1, 2, 7] {
            let (numbers, report) = numbers(&workplace, parallelism, "split_key = \"key\"\n");
            assert!(
                numbers.iter().copied().eq(1..=ROWS.into()),
                "{declared} {key}: {}",
                numbers.len()
            );
            let tasks = report["tasks"].as_array().unwrap().len();
            assert!(tasks <= parallelism as usize * 4 + 1, "{tasks} tasks for {key}");
        }
    }
}

#[test]
fn t48_the_last_version_of_a_key_wins_over_chunks_and_batches() {
    let workplace = Workplace::new();
    let lines = (0..60_000).map(|row| format!("{},{row}\n", row % 1_000));
    workplace.put("in.csv", format!("id,version\n{}", lines.collect::<String>()));
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, version INTEGER)");
    let (ended, report) = workplace.job(
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\nplugin = \"sqlite\"\n\
         path = \"target.db\"\ntable = \"t\"\nwrite_mode = \"upsert\"\n[channel]\nparallelism = 1\n",
    );
    ended.exits(0);
    assert_eq!(
        (&report["rows"]["inserted"], &report["rows"]["updated"]),
        (&1_000.into(), &59_000.into())
    );
    let wrong = "SELECT count(*), sum(version <> id + 59000) FROM t";
    assert_eq!(workplace.sqlite("target.db", wrong), ["1000|0"]);
}

/// A position holds the last key of a batch, so that a long key makes a long position.
#[test]
fn rows_with_long_keys_are_read() {
    let workplace = Workplace::new();
    let sql = "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, n INTEGER);
               INSERT INTO t VALUES (printf('%.3000c', 'a'), 1), (printf('%.3000c', 'b'), 2);";
    workplace.execute("from.db", sql);
    let (ended, report) = workplace.job(
        "[reader]\nplugin = \"sqlite\"\npath = \"from.db\"\ntable = \"t\"\n\
         [writer]\nplugin = \"file\"\npath = \"to.csv\"\n",
    );
    ended.exits(0);
    assert_eq!(report["rows"]["inserted"], 2);
}
