//! Commit tokens in a database file: runs that are killed at every point and continued by another
//! process, and a second run on the same table.
#![allow(clippy::unwrap_used)] // helpers of tests fail as loudly as tests

mod support;

use std::path::Path;

use rusqlite::Connection;
use transload_plugin_api::{
    ErrorKind, Guarantee, Host, Options, Plugin, TokenTables, WriteMode, WritePlan, code,
    testing::{attempt, killing},
};
use transload_plugin_sqlite::SqlitePlugin;

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT)";
const KEYLESS: &str = "CREATE TABLE t(id INTEGER, s TEXT)";

fn options(path: &Path) -> Options {
    Options::from_pairs([("path", path.to_str().unwrap()), ("table", "t")])
}

fn rows(path: &Path, sql: &str) -> String {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// How many rows there are, and how many different ones.
fn counts(path: &Path) -> String {
    rows(path, "SELECT count(*) || ' ' || count(DISTINCT id) FROM t")
}

fn all() -> String {
    format!("{0} {0}", killing::ROWS)
}

#[test]
fn child() {
    killing::child(&SqlitePlugin, Host::detached());
}

#[test]
fn a_run_killed_at_any_point_is_continued_and_writes_each_row_once() {
    let modes = [
        WriteMode::Insert,
        WriteMode::Upsert,
        WriteMode::Ignore,
        WriteMode::Replace,
        WriteMode::Overwrite,
    ];
    for mode in modes {
        for points in killing::POINTS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.db");
            let table = if mode == WriteMode::Insert { KEYLESS } else { TABLE };
            Connection::open(&path).unwrap().execute_batch(table).unwrap();
            let log = "CREATE TABLE log(s TEXT)";
            Connection::open(&path).unwrap().execute_batch(log).unwrap();
            let mut plan = attempt::plan("r", mode);
            plan.before = vec!["INSERT INTO log VALUES ('before')".to_owned()];
            plan.after = vec!["INSERT INTO log VALUES ('after')".to_owned()];
            killing::Processes::new("child", options(&path), plan).write(points);
            assert_eq!(counts(&path), all(), "{mode:?} {points:?}");
            let statements = "SELECT group_concat(s, ' ') FROM log";
            assert_eq!(rows(&path, statements), "before after", "{mode:?} {points:?}");
            let run = "SELECT state || ' ' || coalesce(active_key, 'free') FROM transload_run";
            assert_eq!(rows(&path, run), "done free");
        }
    }
}

#[test]
fn progress_in_a_journal_alone_doubles_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    Connection::open(&path).unwrap().execute_batch(KEYLESS).unwrap();
    let processes =
        killing::Processes::new("child", options(&path), attempt::plan("r", WriteMode::Insert));
    processes.with_defect("journal-only").write(&["K7#2"]);
    assert_ne!(counts(&path), all(), "the test would not notice doubled rows");
}

#[test]
fn an_older_attempt_writes_nothing_and_without_the_fence_it_would() {
    for (defect, writes) in [("", false), ("no-fence", true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        Connection::open(&path).unwrap().execute_batch(KEYLESS).unwrap();
        let plan = attempt::plan("r", WriteMode::Insert);
        let processes = killing::Processes::new("child", options(&path), plan);
        assert_eq!(processes.with_defect(defect).revive(), writes, "{defect}");
    }
}

#[test]
fn a_run_that_is_given_up_frees_the_table_also_if_that_is_killed() {
    for mode in [WriteMode::Insert, WriteMode::Overwrite] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        Connection::open(&path).unwrap().execute_batch(KEYLESS).unwrap();
        let mut processes =
            killing::Processes::new("child", options(&path), attempt::plan("r", mode));
        processes.leave(&["K7#2"]);
        let writer = SqlitePlugin.writer(options(&path), Host::detached()).unwrap();
        let error = writer.prepare(&attempt::plan("s", mode)).unwrap_err();
        assert_eq!((error.kind, &*error.code), (ErrorKind::Locked, code::RUN_ACTIVE));
        assert!(error.message.starts_with("run `r` of job `nightly` writes table `t`"), "{error}");
        processes.give_up(&["K14"]);
        writer.prepare(&attempt::plan("s", mode)).unwrap();
        let kept = if mode == WriteMode::Insert { 10 } else { 0 };
        assert_eq!(counts(&path), format!("{kept} {kept}"), "rows of committed chunks stay");
    }
}

#[test]
fn another_prefix_is_another_pair_of_tables_and_another_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    Connection::open(&path).unwrap().execute_batch(TABLE).unwrap();
    let mut plan = attempt::plan("r", WriteMode::Insert);
    let tables = TokenTables { prefix: "tl ".to_owned(), create: true, schema: None };
    plan.tokens = Some(tables.clone());
    let writer = SqlitePlugin.writer(options(&path), Host::detached()).unwrap();
    let draft = writer.draft(&plan).unwrap();
    assert_eq!(draft.guarantee, Guarantee::EffectivelyOnce);
    writer.prepare(&plan).unwrap();
    assert_eq!(rows(&path, "SELECT state FROM \"tl run\""), "writing");
    plan.tokens = Some(TokenTables { schema: Some("other".to_owned()), ..tables });
    let error = writer.draft(&WritePlan { run: "s".to_owned(), ..plan }).unwrap_err();
    assert_eq!(error.code, code::TOKENS_MISSING, "{error}");
    let again = Connection::open(&path)
        .unwrap()
        .execute_batch(&writer.token_ddl(&TokenTables::default()).unwrap().join(";"));
    again.unwrap();
}
