//! Connections that are lost without a word: a way that swallows everything, a proxy that closes one
//! side only. They are noticed in time, a server that works is not given up, and a lost session does
//! not keep its locks.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use support::{Fixture, Server, integers, plan, texts};
use transload_plugin_api::{
    Counters, ErrorKind, Options, Plugin, Position, ReadTask, Result, SplitRequest, TaskContext,
    WriteMode, WritePlan, WriteTask, schema_of,
};
use transload_plugin_mysql::MysqlPlugin;

const TABLE: &str = "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(2000));";
const IDLE: u64 = 900;

fn servers() -> [Server; 2] {
    [Server::mariadb(), Server::mysql()]
}

/// What the way to the server does.
const OPEN: u8 = 0;
/// Nothing gets through, and nothing is closed.
const HOLE: u8 = 1;
/// The connections that there are close on this side only.
const HALF: u8 = 2;
/// The connections that there are close on both sides.
const CUT: u8 = 3;

/// A way to the port that can be told to fail.
fn way_to(port: u16) -> (u16, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let state = Arc::new(AtomicU8::new(OPEN));
    let shared = Arc::clone(&state);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let ends = || (client.try_clone().unwrap(), server.try_clone().unwrap());
            let ((up, down), (near, far)) = (ends(), ends());
            let (state, other) = (Arc::clone(&shared), Arc::clone(&shared));
            let closing = client.try_clone().unwrap();
            thread::spawn(move || forward(up, down, &closing, &state));
            thread::spawn(move || forward(far, near, &client, &other));
        }
    });
    (own, state)
}

fn forward(mut from: TcpStream, mut to: TcpStream, client: &TcpStream, state: &AtomicU8) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 16 << 10];
    loop {
        match state.load(SeqCst) {
            HOLE => {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            HALF => {
                client.shutdown(Shutdown::Both).unwrap();
                // The server's side stays open as long as the test runs.
                return std::mem::forget((from, to));
            }
            CUT => break,
            _ => {}
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) if to.write_all(&buffer[..count]).is_err() => break,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
            _ => {}
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn options(fixture: &Fixture, pairs: &[(&str, &str)], idle: u64) -> Options {
    let mut options = fixture.options(pairs);
    options.values.insert("idle_timeout".to_owned(), idle.into());
    options
}

/// Options whose connections go through a way that can fail.
fn through(fixture: &Fixture, pairs: &[(&str, &str)]) -> (Options, Arc<AtomicU8>) {
    let mut options = options(fixture, pairs, IDLE);
    let (port, state) = way_to(options.values["port"].as_u64().unwrap() as u16);
    options.values.insert("port".to_owned(), port.into());
    (options, state)
}

fn reading(fixture: &Fixture, options: Options) -> Box<dyn ReadTask> {
    let reader = MysqlPlugin.reader(options, fixture.host()).unwrap();
    let columns = reader.schema().unwrap().columns;
    let split = reader.splits(&SplitRequest::new(1, columns.clone())).unwrap().remove(0);
    reader.open(&split, &columns, None).unwrap()
}

fn writing(
    fixture: &Fixture,
    options: Options,
    mode: WriteMode,
) -> (WritePlan, Box<dyn WriteTask>) {
    let writer = MysqlPlugin.writer(options, fixture.host()).unwrap();
    let mut plan = plan(mode, &[("id", "int64"), ("s", "text")], &["id"]);
    plan.columns = writer.draft(&plan).unwrap().columns;
    writer.prepare(&plan).unwrap();
    let task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    (plan, task)
}

fn rows(plan: &WritePlan, ids: std::ops::Range<i64>) -> RecordBatch {
    let arrays = vec![integers(ids.clone()), texts(ids.map(|_| "a word of some length"))];
    RecordBatch::try_new(schema_of(&plan.columns), arrays).unwrap()
}

fn chunk(task: &mut dyn WriteTask, batch: &RecordBatch) -> Result<()> {
    task.begin_chunk(0)?;
    finish(task, batch)
}

/// The rest of a chunk that has begun.
fn finish(task: &mut dyn WriteTask, batch: &RecordBatch) -> Result<()> {
    task.write(batch)?;
    task.commit_chunk(&Position::default(), &Counters::default()).map(drop)
}

#[test]
fn a_way_that_swallows_everything_is_noticed() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        // More than the buffers of four sockets hold.
        let values: Vec<_> = (0..20_000).map(|id| format!("({id}, REPEAT('x', 2000))")).collect();
        fixture.run(&format!("INSERT INTO t VALUES {}", values.join(", ")));
        let (options, state) = through(&fixture, &[("table", "t")]);
        let mut task = reading(&fixture, options);
        task.next_batch().unwrap().unwrap();
        state.store(HOLE, SeqCst);
        let begun = Instant::now();
        let error = loop {
            match task.next_batch() {
                Ok(read) => assert!(read.is_some(), "the rows end"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind, &*error.code), (ErrorKind::Connection, "MYSQL-LOST"), "{error}");
        assert!(begun.elapsed() < Duration::from_millis(3 * IDLE), "{:?}", begun.elapsed());
        // The server's own locks go with its side of the connection.
        state.store(CUT, SeqCst);
        for mode in [WriteMode::Insert, WriteMode::Upsert] {
            fixture.run("TRUNCATE TABLE t");
            let (options, state) = through(&fixture, &[("table", "t")]);
            let (plan, mut task) = writing(&fixture, options, mode);
            chunk(&mut *task, &rows(&plan, 0..10)).unwrap();
            // A chunk that has begun: before that, a new connection would be tried for minutes.
            task.begin_chunk(1).unwrap();
            state.store(HOLE, SeqCst);
            let begun = Instant::now();
            let error = finish(&mut *task, &rows(&plan, 10..100_000)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Retry, "{error:?}");
            assert!(begun.elapsed() < Duration::from_millis(3 * IDLE), "{:?}", begun.elapsed());
            state.store(CUT, SeqCst);
            task.rollback_chunk().unwrap();
        }
    }
}

#[test]
fn a_server_that_works_is_waited_for() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let query = "SELECT SLEEP(2) AS s, 1 AS n";
        let mut task = reading(&fixture, options(&fixture, &[("query", query)], 450));
        assert_eq!(task.next_batch().unwrap().unwrap().batch.num_rows(), 1);
        for mode in [WriteMode::Insert, WriteMode::Upsert] {
            let (plan, mut task) =
                writing(&fixture, options(&fixture, &[("table", "t")], 450), mode);
            fixture.run("DELETE FROM t");
            thread::scope(|scope| {
                let held =
                    "START TRANSACTION; INSERT INTO t VALUES (5, 'x'); SELECT SLEEP(2); ROLLBACK;";
                scope.spawn(|| fixture.run(held));
                fixture.wait_for_sleeper();
                chunk(&mut *task, &rows(&plan, 0..100_000)).unwrap();
            });
            assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["100000"]);
        }
    }
}

#[test]
fn a_session_that_only_this_side_has_lost_keeps_no_locks() {
    for server in servers() {
        for mode in [WriteMode::Insert, WriteMode::Upsert] {
            let fixture = Fixture::new(&server, TABLE);
            let (options, state) = through(&fixture, &[("table", "t")]);
            let (plan, mut task) = writing(&fixture, options, mode);
            let batch = rows(&plan, 0..1_000);
            task.begin_chunk(0).unwrap();
            task.write(&batch).unwrap();
            state.store(HALF, SeqCst);
            thread::sleep(Duration::from_millis(100));
            state.store(OPEN, SeqCst);
            let begun = Instant::now();
            assert_eq!(finish(&mut *task, &batch).unwrap_err().kind, ErrorKind::Retry);
            task.rollback_chunk().unwrap();
            chunk(&mut *task, &batch).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
            assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["1000"]);
        }
    }
}

#[test]
fn the_lock_of_a_dead_machine_is_free_soon_and_that_of_a_quiet_run_is_kept() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let plan = |run: &str| WritePlan {
            run: run.to_owned(),
            ..plan(WriteMode::Overwrite, &[("id", "int64"), ("s", "text")], &["id"])
        };
        let (options, state) = through(&fixture, &[("table", "t")]);
        let first = MysqlPlugin.writer(options, fixture.host()).unwrap();
        first.prepare(&plan("r-1")).unwrap();
        // Longer than the server keeps a session that says nothing.
        thread::sleep(Duration::from_millis(4 * IDLE));
        let second = fixture.writer("t");
        assert_eq!(second.prepare(&plan("r-2")).unwrap_err().kind, ErrorKind::Locked);
        state.store(HOLE, SeqCst);
        let begun = Instant::now();
        while let Err(error) = second.prepare(&plan("r-2")) {
            assert_eq!(error.kind, ErrorKind::Locked, "{error:?}");
            assert!(begun.elapsed() < Duration::from_secs(10), "the lock is not given up");
        }
        state.store(CUT, SeqCst);
        drop(first);
    }
}
