//! Failures that data does not cause: locks, deadlocks, lost connections, a stop signal. No row is
//! lost, duplicated, or dirty because of them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::{
    sync::atomic::Ordering::SeqCst,
    thread,
    time::{Duration, Instant},
};

use arrow_array::{RecordBatch, cast::AsArray};
use support::{Fixture, batch, chunk, integers, plan, read_rows, secrets, texts};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Counters, Error, ErrorKind, Host, Options, Plugin, Position, ReadBatch,
    Result, Split, SplitAbility, SplitRequest, TaskContext, WriteMode, WritePlan, WriteTask,
    Writer, code, testing::proxy::Faults,
};
use transload_plugin_postgres::PostgresPlugin;

const PAIR: &[(&str, &str)] = &[("id", "int64"), ("s", "text")];
const TABLE: &str = "CREATE TABLE t(id int8 PRIMARY KEY, s text)";

fn rows(plan: &WritePlan, ids: std::ops::RangeInclusive<i64>) -> RecordBatch {
    let word = "a word of some length that fills a few bytes";
    batch(plan, vec![integers(ids.clone()), texts(ids.map(|_| word))])
}

fn open(writer: &dyn Writer, plan: &WritePlan) -> Box<dyn WriteTask> {
    writer.prepare(plan).unwrap();
    writer.open(plan, &TaskContext { task: 0, epoch: 0 }).unwrap()
}

/// One attempt at a chunk.
fn attempt(task: &mut dyn WriteTask, batches: &[RecordBatch]) -> Result<()> {
    task.begin_chunk(0)?;
    for batch in batches {
        assert_eq!(task.write(batch)?.dirty, [], "an outage made a dirty row");
    }
    let outcome = task.commit_chunk(&Position::default(), &Counters::default())?;
    assert_eq!(outcome, ChunkOutcome::Committed);
    Ok(())
}

fn asks_for_replay(outcome: Result<()>, code: &str) {
    let error = outcome.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Retry, code), "{error:?}");
}

#[test]
fn t05_a_lock_wait_replays_the_chunk() {
    for mode in [WriteMode::Insert, WriteMode::Upsert] {
        let fixture = Fixture::new(TABLE);
        let plan = plan(mode, PAIR, &["id"]);
        let mut options = fixture.options(&[("table", "t")]);
        options.values.insert("lock_timeout".to_owned(), 200.into());
        let writer = PostgresPlugin.writer(options, support::host()).unwrap();
        let mut task = open(&*writer, &plan);
        // The same key in an open transaction, so that a conflict is not decided yet.
        fixture.run("BEGIN; INSERT INTO t VALUES (2, 'other')");
        let error = attempt(&mut *task, &[rows(&plan, 1..=3)]).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Retry, "PG-55P03"), "{error:?}");
        let holder = fixture.rows("SELECT pg_backend_pid()").remove(0);
        let hint = error.hint.unwrap();
        let words = format!("uses the table: process {holder}, user ");
        assert!(hint.starts_with(&words), "{hint}");
        task.rollback_chunk().unwrap();
        fixture.run("ROLLBACK");
        attempt(&mut *task, &[rows(&plan, 1..=3)]).unwrap();
        assert_eq!(fixture.rows("SELECT count(*) FROM t"), ["3"]);
    }
}

/// Another session locks the whole table: the plan, a chunk and the end of an overwrite name it.
#[test]
fn the_holder_of_a_lock_on_the_table_is_named() {
    let fixture = Fixture::new(TABLE);
    let mut options = fixture.options(&[("table", "t")]);
    options.values.insert("lock_timeout".to_owned(), 100.into());
    let writer = || PostgresPlugin.writer(options.clone(), support::host()).unwrap();
    let holder = fixture.connect();
    holder.run("SET application_name = 'nightly report'");
    let process = holder.rows("SELECT pg_backend_pid()").remove(0);
    let assert_named = |what: &str, outcome: Result<()>, words: &str| {
        let error = outcome.unwrap_err();
        assert_eq!(error.code, "PG-55P03", "{what}: {error:?}");
        let hint = error.hint.unwrap();
        let named = format!("{words}: process {process}, user ");
        assert!(hint.starts_with(&named), "{what}: {hint}");
        assert!(hint.contains(", application nightly report, from "), "{what}: {hint}");
        assert!(hint.contains(", its last statement since 20"), "{what}: {hint}");
        let way_out = format!("or end it: SELECT pg_terminate_backend({process})");
        assert!(hint.ends_with(&way_out), "{what}: {hint}");
    };
    let insert = plan(WriteMode::Insert, PAIR, &[]);
    let mut task = open(&*writer(), &insert);
    holder.run("BEGIN; LOCK TABLE t");
    assert_named("chunk", attempt(&mut *task, &[rows(&insert, 1..=3)]), "locks the table");
    task.rollback_chunk().unwrap();
    assert_named("plan", writer().inspect().map(drop), "locks the table");
    holder.run("ROLLBACK");

    // A reader of the table keeps TRUNCATE out.
    let overwrite = plan(WriteMode::Overwrite, PAIR, &[]);
    let writer = writer();
    let mut task = open(&*writer, &overwrite);
    attempt(&mut *task, &[rows(&overwrite, 1..=3)]).unwrap();
    let receipts = [task.finish().unwrap()];
    holder.run("BEGIN; SELECT count(*) FROM t");
    let committed = writer.commit(&overwrite, &receipts).map(drop);
    assert_named("publication", committed, "uses the table");
    holder.run("ROLLBACK");
    writer.commit(&overwrite, &receipts).unwrap();
    assert_eq!(fixture.rows("SELECT count(*) FROM t"), ["3"]);
}

#[test]
fn t05_a_deadlock_replays_the_chunk() {
    let fixture = Fixture::new(TABLE);
    fixture.run("INSERT INTO t VALUES (1, 'old'), (2, 'old')");
    let plan = plan(WriteMode::Upsert, PAIR, &["id"]);
    let writer = fixture.writer("t");
    let mut task = open(&*writer, &plan);
    // The other session detects deadlocks late, so that the plugin's session is the victim.
    let other = fixture.connect();
    other.run("SET deadlock_timeout = '60s'; BEGIN; UPDATE t SET s = 'other' WHERE id = 2");
    let outcome = thread::scope(|scope| {
        task.begin_chunk(0).unwrap();
        task.write(&rows(&plan, 1..=1)).unwrap();
        let waiting = scope.spawn(|| other.run("UPDATE t SET s = 'other' WHERE id = 1; COMMIT"));
        fixture.await_waiting("UPDATE t SET s = 'other' WHERE id = 1%");
        let outcome = task.write(&rows(&plan, 2..=2)).map(drop);
        task.rollback_chunk().unwrap();
        waiting.join().unwrap();
        outcome
    });
    asks_for_replay(outcome, "PG-40P01");
    attempt(&mut *task, &[rows(&plan, 1..=1), rows(&plan, 2..=2)]).unwrap();
    assert_eq!(fixture.rows("SELECT count(*) FROM t WHERE s LIKE 'a word%'"), ["2"]);
}

#[test]
fn t05_a_serialization_failure_replays_the_chunk() {
    let fixture = Fixture::new(TABLE);
    fixture.run(
        "INSERT INTO t VALUES (2, 'old');
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = \
           ''repeatable read''', current_database()); END $$",
    );
    let plan = plan(WriteMode::Upsert, PAIR, &["id"]);
    let writer = fixture.writer("t");
    let mut task = open(&*writer, &plan);
    task.begin_chunk(0).unwrap();
    task.write(&rows(&plan, 1..=1)).unwrap();
    fixture.run("UPDATE t SET s = 'other' WHERE id = 2");
    asks_for_replay(task.write(&rows(&plan, 2..=2)).map(drop), "PG-40001");
    task.rollback_chunk().unwrap();
    attempt(&mut *task, &[rows(&plan, 1..=1), rows(&plan, 2..=2)]).unwrap();
    assert_eq!(fixture.rows("SELECT count(*) FROM t WHERE s LIKE 'a word%'"), ["2"]);
}

#[test]
fn t05_a_writer_whose_session_is_killed_replays_the_chunk() {
    for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Overwrite] {
        let fixture = Fixture::new(TABLE);
        let plan = plan(mode, PAIR, &["id"]);
        let writer = fixture.writer("t");
        let mut task = open(&*writer, &plan);
        task.begin_chunk(0).unwrap();
        task.write(&rows(&plan, 1..=3)).unwrap();
        fixture.end_sessions();
        let ended = task
            .write(&rows(&plan, 4..=6))
            .and_then(|_| task.commit_chunk(&Position::default(), &Counters::default()).map(drop));
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Retry);
        task.rollback_chunk().unwrap();
        attempt(&mut *task, &[rows(&plan, 1..=3), rows(&plan, 4..=6)]).unwrap();
        let receipt = task.finish().unwrap();
        writer.commit(&plan, &[receipt]).unwrap();
        assert_eq!(fixture.rows("SELECT count(*), min(id), max(id) FROM t"), ["6|1|6"]);
    }
}

/// Connections are lost after this many bytes: at the login, within the rows, near their end.
#[test]
fn t05_a_connection_lost_anywhere_loses_the_chunk_alone() {
    let fixture = Fixture::new(TABLE);
    let plan = plan(WriteMode::Insert, PAIR, &[]);
    let (writer, faults) = fixture.writer_through_proxy("t");
    let mut task = open(&*writer, &plan);
    for (turn, bytes) in [1, 60, 900, 70_000, 140_000, 240_000].into_iter().enumerate() {
        let first = 10_000 * turn as i64;
        let batches = [1, 2, 3, 4].map(|at| first + at * 1_000);
        let batches = batches.map(|from| rows(&plan, from..=from + 999));
        faults.after_sent.store(bytes, SeqCst);
        match attempt(&mut *task, &batches) {
            // A session that is lost as the chunk begins is opened again by the task itself.
            Ok(()) => assert!(bytes < 900, "after {bytes} bytes"),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Retry, "after {bytes} bytes");
                task.rollback_chunk().unwrap();
                attempt(&mut *task, &batches).unwrap();
            }
        }
        let all = 4_000 * (turn + 1);
        assert_eq!(fixture.rows("SELECT count(*) FROM t"), [all.to_string()]);
    }
}

#[test]
fn t06_a_connection_lost_anywhere_is_no_end_of_data() {
    let fixture = Fixture::new(
        "CREATE TABLE t AS SELECT i, repeat('x', 100) AS s FROM generate_series(1, 200000) i",
    );
    let (reader, faults) = fixture.reader_through_proxy("t");
    for bytes in [1, 50, 1_000, 100_000, 1_000_000, 10_000_000] {
        let mut task = support::open_first(&*reader);
        faults.after_received.store(bytes, SeqCst);
        let error = read_rows(&mut *task).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection, "after {bytes} bytes: {error:?}");
        assert!(task.next_batch().is_err(), "reading continues after an error");
        faults.after_received.store(0, SeqCst);
    }
    assert_eq!(read_rows(&mut *support::open_first(&*reader)).unwrap(), 200_000);
}

#[test]
fn a_stop_signal_ends_a_statement_that_waits() {
    let fixture = Fixture::new(TABLE);
    let cancel = Cancel::new();
    let host = Host::new(secrets(), cancel.clone());
    let mut options = fixture.options(&[("table", "t")]);
    options.values.insert("lock_timeout".to_owned(), 60_000.into());
    let plan = plan(WriteMode::Insert, PAIR, &[]);
    let writer = PostgresPlugin.writer(options, host).unwrap();
    let mut task = open(&*writer, &plan);
    fixture.run("BEGIN; LOCK TABLE t");
    let begun = Instant::now();
    let stopped: Error = thread::scope(|scope| {
        scope.spawn(|| {
            fixture.await_waiting("%");
            cancel.cancel();
        });
        attempt(&mut *task, &[rows(&plan, 1..=3)]).unwrap_err()
    });
    assert_eq!(stopped.kind, ErrorKind::Cancelled, "{stopped:?}");
    assert!(begun.elapsed() < Duration::from_secs(50), "the lock's time limit ended it");
    // The server was asked to stop as well: no session waits any more.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'transload' \
                   AND datname = current_database() AND wait_event_type = 'Lock'";
    fixture.await_value(waiting, "0");
    fixture.run("ROLLBACK");
    assert_eq!(fixture.rows("SELECT count(*) FROM t"), ["0"]);
}

#[test]
fn a_source_whose_session_is_killed_resumes_by_key() {
    // More bytes than the buffers of a connection, so that a killed session is noticed.
    let fixture = Fixture::new(
        "CREATE TABLE t(k varchar(120) PRIMARY KEY, d date);
         INSERT INTO t SELECT 'k' || chr(39) || repeat('x', 90) || i, '2024-01-01'
           FROM generate_series(1, 100000) i;
         UPDATE t SET d = 'infinity' WHERE k LIKE '%7777'",
    );
    let keys = |read: &ReadBatch| {
        let keys = read.batch.column(0).as_string::<i32>();
        keys.iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    for max in [1, 3] {
        let reader = fixture.reader(&[("table", "t"), ("consistency", "split")]);
        let schema = reader.schema().unwrap();
        assert_eq!(schema.notes, [""; 0]);
        let columns = reader.produces(&schema.columns).unwrap();
        let request = SplitRequest::new(max, columns.clone());
        let (mut all, mut dirty, mut kills) = (Vec::new(), 0, 0);
        for split in reader.splits(&request).unwrap() {
            assert_eq!(split.ability, SplitAbility::Seekable, "{}", split.label);
            let mut position = None;
            'opened: loop {
                let mut task = reader.open(&split, &columns, position.as_ref()).unwrap();
                for at in 0.. {
                    match task.next_batch() {
                        Ok(None) => break 'opened,
                        Ok(Some(read)) => {
                            all.extend(keys(&read));
                            dirty += read.dirty.len();
                            position = Some(read.position);
                        }
                        Err(error) => {
                            assert_eq!(error.kind, ErrorKind::Connection, "{error:?}");
                            break;
                        }
                    }
                    if at == 1 && kills < 3 {
                        kills += 1;
                        fixture.end_sessions();
                    }
                }
            }
        }
        assert!(kills > 1);
        all.sort_unstable();
        assert_eq!((all.len(), dirty), (99_990, 10), "{max}");
        all.dedup();
        assert_eq!(all.len(), 99_990, "{max}");
    }
    let told = |pairs: &[(&str, &str)], ability| told(&fixture, pairs, ability);
    let needed = Some(SplitAbility::Replayable);
    let (ability, note, hint) = told(&[("table", "t")], None);
    assert_eq!(ability, SplitAbility::Bounded);
    assert!(
        note.contains("with `consistency = \"split\"` reading resumes in the order of `k`"),
        "{note}"
    );
    assert!(hint.contains("in the order of `k`"), "{hint}");
    let (ability, note, hint) = told(&[("table", "t")], needed);
    assert_eq!((ability, hint.as_str()), (SplitAbility::Seekable, ""));
    assert!(note.starts_with("`consistency = \"split\"` is chosen, because"), "{note}");
    let (ability, _, hint) = told(&[("table", "t"), ("consistency", "snapshot")], needed);
    assert_eq!(ability, SplitAbility::Bounded);
    assert!(hint.starts_with("leave `consistency` out"), "{hint}");
    let (ability, note, hint) = told(&[("query", "SELECT 1 AS a")], needed);
    assert_eq!(ability, SplitAbility::Bounded);
    assert!(note.contains("a query has no order"), "{note}");
    assert!(hint.starts_with("name a table in the place of the query"), "{hint}");
    fixture.run("ALTER TABLE t DROP CONSTRAINT t_pkey");
    for split in [&[("table", "t"), ("consistency", "split")][..], &[("table", "t")]] {
        let (ability, note, hint) = told(split, needed);
        assert_eq!(ability, SplitAbility::Bounded);
        assert!(note.contains("has no key of one column"), "{note}");
        assert!(hint.starts_with("give the table a key of one column"), "{hint}");
    }
}

/// The ability, the note and the hint of the splits that these options have where the job needs an
/// ability.
fn told(
    fixture: &Fixture,
    pairs: &[(&str, &str)],
    ability: Option<SplitAbility>,
) -> (SplitAbility, String, String) {
    let reader = fixture.reader(pairs);
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    let splits = reader.splits(&SplitRequest { ability, ..SplitRequest::new(3, columns) }).unwrap();
    let said = |split: &Split| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (split.ability, text(&split.note), text(&split.hint))
    };
    assert!(splits.iter().all(|split| said(split) == said(&splits[0])));
    said(&splits[0])
}

/// Options with short time limits.
fn impatient(mut options: Options) -> Options {
    options.values.insert("idle_timeout".to_owned(), 300.into());
    options.values.insert("connect_timeout".to_owned(), 1_000.into());
    options
}

#[test]
fn a_silent_statement_that_works_is_not_cut_off() {
    let fixture = Fixture::new(TABLE);
    let query = [("query", "SELECT 1 AS a, pg_sleep(2)::text AS b")];
    let reader =
        PostgresPlugin.reader(impatient(fixture.options(&query)), support::host()).unwrap();
    assert_eq!(read_rows(&mut *support::open_first(&*reader)).unwrap(), 1);

    let mut options = impatient(fixture.options(&[("table", "t")]));
    options.values.insert("lock_timeout".to_owned(), 60_000.into());
    let plan = plan(WriteMode::Insert, PAIR, &[]);
    let writer = PostgresPlugin.writer(options, support::host()).unwrap();
    let mut task = open(&*writer, &plan);
    fixture.run("BEGIN; LOCK TABLE t");
    thread::scope(|scope| {
        scope.spawn(|| {
            fixture.await_waiting("%");
            thread::sleep(Duration::from_millis(1_500));
            fixture.run("COMMIT");
        });
        // More than the buffers on the way hold: writing blocks as well.
        let batches = (0..20).map(|at| rows(&plan, at * 9_000..=at * 9_000 + 8_999));
        attempt(&mut *task, &batches.collect::<Vec<_>>()).unwrap();
    });
    assert_eq!(fixture.rows("SELECT count(*) FROM t"), ["180000"]);
}

/// Nothing comes any more and nothing is closed: on this connection, or on all of them.
#[test]
fn a_black_hole_is_noticed_on_both_sides() {
    let fixture = Fixture::new(
        "CREATE TABLE s AS SELECT i, repeat('x', 100) AS s FROM generate_series(1, 400000) i; \
         CREATE TABLE t(id int8 PRIMARY KEY, s text)",
    );
    for all in [false, true] {
        let silence = |faults: &Faults| match all {
            true => faults.silence_all(),
            false => faults.silence_open(),
        };
        let (options, faults) = fixture.through_proxy(&[("table", "s")]);
        let reader = PostgresPlugin.reader(impatient(options), support::host()).unwrap();
        let mut task = support::open_first(&*reader);
        task.next_batch().unwrap();
        silence(&faults);
        let begun = Instant::now();
        let error = read_rows(&mut *task).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection, "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{error:?}");

        let (options, faults) = fixture.through_proxy(&[("table", "t")]);
        let plan = plan(WriteMode::Insert, PAIR, &[]);
        let writer = PostgresPlugin.writer(impatient(options), support::host()).unwrap();
        let mut task = open(&*writer, &plan);
        task.begin_chunk(0).unwrap();
        silence(&faults);
        let begun = Instant::now();
        let batches = (0..100).map(|at| rows(&plan, at * 9_000..=at * 9_000 + 8_999));
        let failed = batches.map(|batch| task.write(&batch)).find_map(Result::err);
        let failed =
            failed.or_else(|| task.commit_chunk(&Position::default(), &Counters::default()).err());
        assert_eq!(failed.unwrap().kind, ErrorKind::Retry);
        assert!(begun.elapsed() < Duration::from_secs(8));
        faults.heal();
        task.rollback_chunk().unwrap();
        attempt(&mut *task, &[rows(&plan, 1..=3)]).unwrap();
        fixture.run("TRUNCATE t");
    }
}

/// A row that a trigger suppresses is counted as skipped, not as inserted.
#[test]
fn t12_rows_that_a_trigger_suppresses_are_not_counted_as_inserted() {
    let fixture = Fixture::new(TABLE);
    fixture.run(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
           $$ BEGIN IF NEW.id % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;
         CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    );
    let plan = plan(WriteMode::Insert, PAIR, &[]);
    let writer = fixture.writer("t");
    let mut task = open(&*writer, &plan);
    let written = chunk(&mut *task, 0, &rows(&plan, 1..=5)).unwrap();
    assert_eq!(support::counts(&written), (3, 0, 2, 0));
    assert_eq!(fixture.rows("SELECT count(*) FROM t"), ["3"]);
}

/// A restart empties unlogged tables, and an administrator may empty any.
#[test]
fn a_stage_with_other_rows_than_were_committed_is_not_published() {
    for (change, found) in [("DELETE FROM {} WHERE id = 2", 2), ("TRUNCATE {}", 0)] {
        let fixture =
            Fixture::new("CREATE TABLE t(id int8, s text); INSERT INTO t VALUES (9, 'old')");
        let (writer, plan) = (fixture.writer("t"), plan(WriteMode::Overwrite, PAIR, &[]));
        let mut task = open(&*writer, &plan);
        chunk(&mut *task, 0, &rows(&plan, 1..=3)).unwrap();
        let receipts = [task.finish().unwrap()];
        fixture.run(&change.replace("{}", "\"t__transload_r-1\""));
        let error = writer.commit(&plan, &receipts).unwrap_err();
        assert_eq!(error.code, code::RUN_STAGE, "{error:?}");
        let words = format!("holds {found} rows, but 3 were committed");
        assert!(error.message.contains(&words), "{error:?}");
        writer.abort(&plan, &receipts).unwrap();
        assert_eq!(fixture.rows("SELECT * FROM t"), ["9|old"], "published");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(fixture.rows(tables), ["1"]);
    }
}

/// The stages of killed runs are dropped by the next overwrite, but for those that a session uses.
#[test]
fn stages_of_dead_runs_are_swept() {
    let stage = |number: u32| format!("\"t__transload_20261130t13383{number}-d56fea35\"");
    let fixture = Fixture::new(&format!(
        "CREATE TABLE t(id int8, s text); CREATE TABLE {}(id int8); CREATE UNLOGGED TABLE {}(id int8)",
        stage(1),
        stage(2)
    ));
    let (writer, plan) = (fixture.writer("t"), plan(WriteMode::Overwrite, PAIR, &[]));
    let named = |it: &String| it.contains("stage tables: `public.t__transload_20261130t133831");
    assert!(writer.draft(&plan).unwrap().warnings.iter().any(named));
    let other = fixture.connect();
    other.run(&format!("BEGIN; SELECT FROM {}", stage(2)));
    open(&*writer, &plan).abort().unwrap();
    writer.abort(&plan, &[]).unwrap();
    let tables =
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 't%' ORDER BY 1";
    assert_eq!(fixture.rows(tables), ["t", "t__transload_20261130t133832-d56fea35"]);
    other.run("ROLLBACK");
    open(&*writer, &plan).abort().unwrap();
    writer.abort(&plan, &[]).unwrap();
    assert_eq!(fixture.rows(tables), ["t"]);
}
