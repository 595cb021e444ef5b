//! Failures that data does not cause: locks, deadlocks, lost connections, a stop. No row is lost,
//! duplicated, or dirty because of them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use arrow_array::{RecordBatch, cast::AsArray, types::Int32Type};
use support::{Fixture, Server, integers, plan, texts};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Counters, Error, ErrorKind, Host, LogicalType, Options, Plugin,
    Position, Reader, Result, Split, SplitRequest, TaskContext, WriteMode, WritePlan, WriteTask,
    Writer, schema_of, testing::proxy,
};
use transload_plugin_mysql::MysqlPlugin;

const TABLE: &str = "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(50));";
const TEXT: LogicalType = LogicalType::Text { length: Some(50) };
const WORD: &str = "a word of some length that fills a few bytes";

fn servers() -> [Server; 2] {
    [Server::mariadb(), Server::mysql()]
}

fn drafted(writer: &dyn Writer, mode: WriteMode) -> WritePlan {
    let mut plan = plan(mode, &[("id", "int64"), ("s", "text")], &["id"]);
    plan.columns = writer.draft(&plan).unwrap().columns;
    plan
}

fn rows(plan: &WritePlan, ids: std::ops::Range<i64>) -> RecordBatch {
    let arrays = vec![integers(ids.clone()), texts(ids.map(|_| WORD))];
    RecordBatch::try_new(schema_of(&plan.columns), arrays).unwrap()
}

fn with(fixture: &Fixture, pairs: &[(&str, &str)]) -> Options {
    let mut options = fixture.options(&[("table", "t")]);
    for (key, value) in pairs {
        let number = value.parse::<u64>().map(Into::into);
        options.values.insert((*key).to_owned(), number.unwrap_or_else(|_| (*value).into()));
    }
    options
}

fn open(writer: &dyn Writer, plan: &WritePlan) -> Box<dyn WriteTask> {
    writer.prepare(plan).unwrap();
    writer.open(plan, &TaskContext { task: 0, epoch: 0 }).unwrap()
}

/// One attempt at a chunk.
fn attempt(task: &mut dyn WriteTask, batches: &[RecordBatch]) -> Result<ChunkOutcome> {
    task.begin_chunk(0)?;
    for batch in batches {
        assert_eq!(task.write(batch)?.dirty, [], "an outage made a dirty row");
    }
    task.commit_chunk(&Position::default(), &Counters::default())
}

fn asks_for_replay(outcome: Result<ChunkOutcome>, code: &str) {
    let error = outcome.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Retry, code), "{error:?}");
}

#[test]
fn t05_a_lock_wait_replays_the_chunk() {
    for server in servers() {
        for mode in [WriteMode::Insert, WriteMode::Upsert] {
            let fixture = Fixture::new(&server, TABLE);
            let options = with(&fixture, &[("lock_timeout", "1000")]);
            let writer = MysqlPlugin.writer(options, fixture.host()).unwrap();
            let plan = drafted(&*writer, mode);
            let mut task = open(&*writer, &plan);
            thread::scope(|scope| {
                // The same key in an open transaction, so that a conflict is not decided yet.
                scope.spawn(|| {
                    fixture.run("BEGIN; INSERT INTO t VALUES (2, 'x'); SELECT SLEEP(4); ROLLBACK;");
                });
                fixture.wait_for_sleeper();
                asks_for_replay(attempt(&mut *task, &[rows(&plan, 1..4)]), "MYSQL-1205");
                task.rollback_chunk().unwrap();
            });
            attempt(&mut *task, &[rows(&plan, 1..4)]).unwrap();
            assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["3"], "{mode:?}");
        }
    }
}

#[test]
fn t05_a_deadlock_replays_the_chunk() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let values: Vec<_> = (1..=500).map(|id| format!("({id}, 'old')")).collect();
        fixture.run(&format!("INSERT INTO t VALUES {}", values.join(", ")));
        let writer = fixture.writer("t");
        let plan = drafted(&*writer, WriteMode::Upsert);
        let mut task = open(&*writer, &plan);
        task.begin_chunk(0).unwrap();
        task.write(&rows(&plan, 1..2)).unwrap();
        thread::scope(|scope| {
            // The other session has changed more rows, so that the plugin's session is the victim.
            scope.spawn(|| {
                fixture.run(
                    "BEGIN; UPDATE t SET s = 'other' WHERE id > 1; SELECT SLEEP(2); \
                     UPDATE t SET s = 'other' WHERE id = 1; COMMIT;",
                );
            });
            fixture.wait_for_sleeper();
            let written = task.write(&rows(&plan, 2..3)).map(|_| ChunkOutcome::Committed);
            asks_for_replay(written, "MYSQL-1213");
            task.rollback_chunk().unwrap();
        });
        let all = [rows(&plan, 1..2), rows(&plan, 2..3)];
        attempt(&mut *task, &all).unwrap();
        let found = format!("SELECT SUM(s = '{WORD}'), SUM(s = 'other') FROM t");
        assert_eq!(fixture.lines(&found), ["2\t498"]);
    }
}

fn kill_all(fixture: &Fixture) {
    let kill = format!(
        "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = '{}' \
         AND id <> CONNECTION_ID()",
        fixture.database
    );
    for kill in fixture.lines(&kill) {
        // It may have ended already.
        let _ = fixture.try_ask(&kill);
    }
}

/// Writes a chunk as the host does, until it is committed; returns how often it was written again.
fn persist(task: &mut dyn WriteTask, batches: &[RecordBatch], fixture: &Fixture) -> u32 {
    let mut replays = 0;
    loop {
        match attempt(task, batches) {
            Ok(ChunkOutcome::Committed) => return replays,
            Ok(ChunkOutcome::Unknown { .. }) => {
                // The host leaves this to the user: checking whether the chunk was committed.
                let last = batches.last().unwrap().column(0).clone();
                let last = last.as_primitive::<arrow_array::types::Int64Type>();
                let sql = format!("SELECT COUNT(*) FROM t WHERE id = {}", last.value(0));
                if fixture.lines(&sql) == ["1"] {
                    // Acknowledges the unknown outcome, and undoes nothing.
                    task.rollback_chunk().unwrap();
                    return replays;
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                let passing = matches!(error.kind, ErrorKind::Retry | ErrorKind::Connection);
                assert!(passing, "{error:?}");
            }
        }
        task.rollback_chunk().unwrap();
        replays += 1;
        assert!(replays < 50, "the chunk never gets in");
    }
}

#[test]
fn t05_killed_at_random_while_writing() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let writer = fixture.writer("t");
        let plan = drafted(&*writer, WriteMode::Insert);
        let mut task = open(&*writer, &plan);
        let done = AtomicBool::new(false);
        let replays: u32 = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    kill_all(&fixture);
                    thread::sleep(Duration::from_millis(30));
                }
            });
            let chunk = |at: i64| {
                let from = at * 30_000;
                let batches = [0, 1, 2]
                    .map(|part| rows(&plan, from + part * 10_000..from + (part + 1) * 10_000));
                persist(&mut *task, &batches, &fixture)
            };
            let replays = (0..12).map(chunk).sum();
            done.store(true, SeqCst);
            replays
        });
        assert!(replays > 0, "no kill has hit");
        assert_eq!(
            fixture.lines("SELECT COUNT(*), MIN(id), MAX(id) FROM t"),
            ["360000\t0\t359999"]
        );
    }
}

#[test]
fn t07_a_commit_whose_answer_is_lost_is_looked_for_by_key() {
    for server in servers() {
        for (table, mode) in [
            (TABLE, WriteMode::Insert),
            (
                "CREATE TABLE t(id BIGINT NOT NULL, s VARCHAR(50) NOT NULL, UNIQUE(s, id));",
                WriteMode::Insert,
            ),
            ("CREATE TABLE t(id BIGINT, s VARCHAR(50));", WriteMode::Overwrite),
        ] {
            let fixture = Fixture::new(&server, table);
            let port = fixture.options(&[]).values["port"].as_u64().unwrap();
            let (port, faults) = proxy::start(port as u16, b"\x03COMMIT");
            let options = with(&fixture, &[("port", &port.to_string())]);
            let writer = MysqlPlugin.writer(options, fixture.host()).unwrap();
            let plan = drafted(&*writer, mode);
            let mut task = open(&*writer, &plan);
            for from in [1, 4] {
                faults.at_commit.store(true, SeqCst);
                let outcome = attempt(&mut *task, &[rows(&plan, from..from + 3)]).unwrap();
                assert_eq!(outcome, ChunkOutcome::Committed, "{table} {mode:?}");
            }
            let receipts = [task.finish().unwrap()];
            assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
            assert_eq!(fixture.lines("SELECT COUNT(*), COUNT(DISTINCT id) FROM t"), ["6\t6"]);
        }
    }
}

#[test]
fn t07_a_commit_whose_answer_is_lost_is_unknown_without_a_key() {
    for server in servers() {
        let fixture = Fixture::new(&server, "CREATE TABLE t(id BIGINT, s VARCHAR(50));");
        let port = fixture.options(&[]).values["port"].as_u64().unwrap();
        let (port, faults) = proxy::start(port as u16, b"\x03COMMIT");
        let options = with(&fixture, &[("port", &port.to_string())]);
        let writer = MysqlPlugin.writer(options, fixture.host()).unwrap();
        let plan = drafted(&*writer, WriteMode::Insert);
        let mut task = open(&*writer, &plan);
        faults.at_commit.store(true, SeqCst);
        let outcome = attempt(&mut *task, &[rows(&plan, 1..4)]).unwrap();
        let ChunkOutcome::Unknown { evidence } = outcome else { panic!("{outcome:?}") };
        assert!(evidence.contains("commit"), "{evidence}");
        let words = "task 0 has inserted 0 rows for certain, and 3 more may be in";
        assert!(evidence.contains(words), "{evidence}");
        // It was committed: a replay would have duplicated its rows in a table without a key.
        assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["3"]);
        drop(task);
        assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["3"]);
    }
}

#[test]
fn t06_a_stream_cut_anywhere_is_an_error_and_reading_goes_on_behind() {
    for server in servers() {
        let fixture = Fixture::new(&server, "CREATE TABLE t(id INT PRIMARY KEY, s VARCHAR(50));");
        for from in (0..30_000).step_by(10_000) {
            let values: Vec<_> =
                (from..from + 10_000).map(|id| format!("({id}, '{WORD}')")).collect();
            fixture.run(&format!("INSERT INTO t VALUES {}", values.join(", ")));
        }
        let port = fixture.options(&[]).values["port"].as_u64().unwrap();
        let (port, faults) = proxy::start(port as u16, b"\x03COMMIT");
        let options = with(&fixture, &[("port", &port.to_string())]);
        let reader = MysqlPlugin.reader(options, fixture.host()).unwrap();
        let columns = reader.schema().unwrap().columns;
        let request = SplitRequest::new(1, columns.clone());
        let split = reader.splits(&request).unwrap().remove(0);
        for bytes in [1, 3_000, 20_000, 300_000, 900_000] {
            let (mut found, mut position, mut losses) = (Vec::new(), None, 0);
            faults.after_received.store(bytes, SeqCst);
            while let Err(error) = read_on(&*reader, &split, &mut position, &mut found) {
                assert_eq!(error.kind, ErrorKind::Connection, "{error:?}");
                losses += 1;
            }
            assert_eq!(losses, 1, "after {bytes} bytes");
            assert_eq!(found, (0..30_000).collect::<Vec<_>>(), "after {bytes} bytes");
        }
    }
}

/// Reads the split's first column from a position, to its end or until the connection is lost.
fn read_on(
    reader: &dyn Reader,
    split: &Split,
    position: &mut Option<Position>,
    found: &mut Vec<i32>,
) -> Result<()> {
    let columns = [Column::new("id", LogicalType::Int32, false), Column::new("s", TEXT, true)];
    let mut task = reader.open(split, &columns, position.as_ref())?;
    while let Some(read) = task.next_batch()? {
        found.extend_from_slice(read.batch.column(0).as_primitive::<Int32Type>().values());
        *position = Some(read.position);
    }
    Ok(())
}

#[test]
fn a_stop_ends_what_the_server_is_doing() {
    for server in servers() {
        let fixture = Fixture::new(&server, "CREATE TABLE t(id INT PRIMARY KEY);");
        let cancel = Cancel::new();
        let host = Host::new(fixture.secrets_of_its_own(), cancel.clone());
        let mut options = fixture.options(&[("query", "SELECT SLEEP(60) AS s FROM t")]);
        options.values.remove("table");
        fixture.run("INSERT INTO t VALUES (1)");
        let reader = MysqlPlugin.reader(options, host).unwrap();
        let columns = reader.schema().unwrap().columns;
        let split = reader.splits(&SplitRequest::new(1, columns.clone())).unwrap();
        let begun = Instant::now();
        let error: Error = thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut task = match reader.open(&split[0], &columns, None) {
                    Ok(task) => task,
                    Err(error) => return error,
                };
                task.next_batch().expect_err("rows before the stop")
            });
            fixture.wait_for_sleeper();
            cancel.cancel();
            reading.join().unwrap()
        });
        assert_eq!(error.kind, ErrorKind::Cancelled, "{error:?}");
        // The statement does not continue on the server.
        let sleeps = "SELECT COUNT(*) FROM information_schema.processlist \
             WHERE db = DATABASE() AND state = 'User sleep'";
        while fixture.lines(sleeps) != ["0"] {
            assert!(begun.elapsed() < Duration::from_secs(30), "the server sleeps on");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
