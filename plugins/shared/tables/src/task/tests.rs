//! Every state of a chunk with every event, on a database in memory.

use transload_plugin_api::{WriteMode, Writer as _, code};

use super::*;
use crate::memory::{Fault, Memory, batch, plan, target};

const STAGE: &str = "t__r";

fn open(memory: &Memory, mode: WriteMode) -> ChunkTask<Memory> {
    open_until(memory, mode, &Cancel::new())
}

fn open_until(memory: &Memory, mode: WriteMode, cancel: &Cancel) -> ChunkTask<Memory> {
    if mode == WriteMode::Overwrite {
        memory.server().tables.entry(STAGE.to_owned()).or_default();
    }
    let (database, context) = (Arc::new(memory.clone()), TaskContext { task: 7, epoch: 0 });
    let (target, plan) = (target(), plan("r", mode));
    ChunkTask::open(&database, cancel, target.table().unwrap(), &plan, &context).unwrap()
}

fn commit(task: &mut ChunkTask<Memory>) -> Result<ChunkOutcome> {
    task.commit_chunk(&Position::default(), &Counters::default())
}

/// A whole chunk of these rows.
fn chunk(task: &mut ChunkTask<Memory>, rows: &[i64]) -> Result<ChunkOutcome> {
    task.begin_chunk(0)?;
    task.write(&batch(rows))?;
    commit(task)
}

fn rows(memory: &Memory, table: &str) -> Vec<i64> {
    memory.server().rows(table).unwrap()
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind
}

#[test]
fn chunks_commit_one_after_the_other() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Insert);
    assert_eq!(chunk(&mut task, &[1, 2]).unwrap(), ChunkOutcome::Committed);
    assert_eq!(chunk(&mut task, &[3]).unwrap(), ChunkOutcome::Committed);
    let receipt = Box::new(task).finish().unwrap();
    assert_eq!((receipt.task, receipt.data.as_str()), (7, ""));
    assert_eq!(rows(&memory, "t"), [1, 2, 3]);
    assert_eq!(memory.server().count("connect"), 1);
}

#[test]
fn events_in_the_wrong_state_are_defects_and_change_nothing() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Insert);
    let error = task.write(&batch(&[1])).unwrap_err();
    assert_eq!(error.to_string(), "task 7: no open chunk to write to");
    assert_eq!(kind(commit(&mut task)), ErrorKind::Defect, "commit between chunks");
    task.rollback_chunk().unwrap();
    task.begin_chunk(0).unwrap();
    assert_eq!(kind(task.begin_chunk(1)), ErrorKind::Defect, "begin twice");
    task.write(&batch(&[1])).unwrap();
    assert_eq!(commit(&mut task).unwrap(), ChunkOutcome::Committed);
    assert_eq!(kind(commit(&mut task)), ErrorKind::Defect, "commit twice");
    assert_eq!(rows(&memory, "t"), [1]);
}

#[test]
fn a_broken_chunk_can_only_be_rolled_back() {
    for (fault, asked) in [(Fault::Deadlock, ErrorKind::Retry), (Fault::Refused, ErrorKind::Data)] {
        for verb in ["write", "complete"] {
            let memory = Memory::with_table();
            let mut task = open(&memory, WriteMode::Insert);
            memory.server().fail(verb, fault);
            assert_eq!(kind(chunk(&mut task, &[1])), asked, "{verb} {fault:?}");
            assert_eq!(kind(task.write(&batch(&[1]))), ErrorKind::Defect);
            assert_eq!(kind(commit(&mut task)), ErrorKind::Defect);
            assert_eq!(kind(task.begin_chunk(0)), ErrorKind::Defect);
            task.rollback_chunk().unwrap();
            assert_eq!(memory.server().count("rollback"), 1);
            assert_eq!(chunk(&mut task, &[1]).unwrap(), ChunkOutcome::Committed);
            assert_eq!(rows(&memory, "t"), [1]);
        }
    }
}

#[test]
fn a_loss_between_chunks_is_not_noticed() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Insert);
    chunk(&mut task, &[1]).unwrap();
    memory.server().fail("begin", Fault::Lost);
    assert_eq!(chunk(&mut task, &[2]).unwrap(), ChunkOutcome::Committed);
    assert_eq!(rows(&memory, "t"), [1, 2]);
    let server = memory.server();
    assert_eq!((server.count("connect"), server.count("prepare")), (2, 2));
}

#[test]
fn a_second_loss_at_begin_asks_for_a_replay() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Insert);
    memory.server().fail("begin", Fault::Lost);
    memory.server().fail("begin", Fault::Lost);
    assert_eq!(kind(task.begin_chunk(0)), ErrorKind::Retry);
    task.rollback_chunk().unwrap();
    assert_eq!(chunk(&mut task, &[1]).unwrap(), ChunkOutcome::Committed);
}

#[test]
fn a_loss_before_commit_asks_for_a_replay() {
    for verb in ["write", "complete"] {
        let memory = Memory::with_table();
        let mut task = open(&memory, WriteMode::Upsert);
        memory.server().fail(verb, Fault::Lost);
        assert_eq!(kind(chunk(&mut task, &[1])), ErrorKind::Retry, "{verb}");
        task.rollback_chunk().unwrap();
        assert_eq!(chunk(&mut task, &[1]).unwrap(), ChunkOutcome::Committed);
        assert_eq!(rows(&memory, "t"), [1], "{verb}");
        assert_eq!(memory.server().count("connect"), 2);
    }
}

#[test]
fn a_server_that_comes_back_late_is_waited_for_and_a_stop_is_heard_meanwhile() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Insert);
    memory.server().fail("write", Fault::Lost);
    assert_eq!(kind(chunk(&mut task, &[1])), ErrorKind::Retry);
    task.rollback_chunk().unwrap();
    memory.server().fail("connect", Fault::Lost);
    assert_eq!(chunk(&mut task, &[1]).unwrap(), ChunkOutcome::Committed);

    let cancel = Cancel::new();
    let mut task = open_until(&memory, WriteMode::Insert, &cancel);
    (0..50).for_each(|_| memory.server().fail("connect", Fault::Lost));
    memory.server().fail("begin", Fault::Lost);
    let begun = std::time::Instant::now();
    let signal = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        signal.cancel();
    });
    assert_eq!(kind(task.begin_chunk(0)), ErrorKind::Cancelled);
    assert!(begun.elapsed() < std::time::Duration::from_secs(1));
}

#[test]
fn t07_a_commit_without_a_reply_is_looked_for() {
    // The transaction's number tells, or the rows of the task in the stage.
    for (mode, is_blind) in
        [(WriteMode::Insert, false), (WriteMode::Overwrite, false), (WriteMode::Overwrite, true)]
    {
        for (fault, arrived) in [(Fault::ReplyLost, true), (Fault::Lost, false)] {
            let memory = Memory::with_table();
            memory.server().is_blind = is_blind;
            let mut task = open(&memory, mode);
            chunk(&mut task, &[1]).unwrap();
            memory.server().fail("commit", fault);
            let outcome = chunk(&mut task, &[2, 3]);
            if arrived {
                assert_eq!(outcome.unwrap(), ChunkOutcome::Committed, "{mode:?} {is_blind}");
            } else {
                assert_eq!(kind(outcome), ErrorKind::Retry, "{mode:?} {is_blind}");
                task.rollback_chunk().unwrap();
                chunk(&mut task, &[2, 3]).unwrap();
            }
            chunk(&mut task, &[4]).unwrap();
            let table = if mode == WriteMode::Insert { "t" } else { STAGE };
            assert_eq!(rows(&memory, table), [1, 2, 3, 4], "{mode:?} {is_blind} {fault:?}");
            let receipt = Box::new(task).finish().unwrap();
            let staged = if mode == WriteMode::Insert { "" } else { r#"{"staged":4}"# };
            assert_eq!(receipt.data, staged);
        }
    }
}

#[test]
fn t07_a_chunk_that_converges_is_written_again() {
    for (mode, nullable, again) in [
        (WriteMode::Upsert, false, true),
        (WriteMode::Ignore, false, true),
        (WriteMode::Upsert, true, false),
        (WriteMode::Insert, false, false),
    ] {
        let memory = Memory::with_table();
        memory.server().is_blind = true;
        let mut plan = WritePlan { key: vec!["a".to_owned()], ..plan("r", mode) };
        plan.columns[0].nullable = nullable;
        let (database, context) = (Arc::new(memory.clone()), TaskContext { task: 7, epoch: 0 });
        let (cancel, target) = (Cancel::new(), target());
        let name = target.table().unwrap();
        let mut task = ChunkTask::open(&database, &cancel, name, &plan, &context).unwrap();
        memory.server().fail("commit", Fault::Lost);
        match again {
            true => assert_eq!(kind(chunk(&mut task, &[1])), ErrorKind::Retry, "{mode:?}"),
            false => {
                let outcome = chunk(&mut task, &[1]).unwrap();
                assert!(matches!(outcome, ChunkOutcome::Unknown { .. }), "{mode:?} {nullable}");
            }
        }
    }
}

/// What the server had confirmed is not there any more.
#[test]
fn rows_that_a_restarted_server_has_lost_end_the_task() {
    for (mode, table, code) in
        [(WriteMode::Insert, "t", code::RUN_LOST), (WriteMode::Overwrite, STAGE, code::RUN_STAGE)]
    {
        for kept in [true, false] {
            let memory = Memory::with_table();
            let mut task = open(&memory, mode);
            chunk(&mut task, &[1, 2]).unwrap();
            let rows: &[_] = if kept { &[(7, 1), (7, 2)] } else { &[] };
            memory.server().restart(table, rows);
            memory.server().is_blind = kept;
            memory.server().fail("write", Fault::Lost);
            assert_eq!(kind(chunk(&mut task, &[3])), ErrorKind::Retry);
            task.rollback_chunk().unwrap();
            let outcome = chunk(&mut task, &[3]);
            match kept {
                true => assert_eq!(outcome.unwrap(), ChunkOutcome::Committed, "{mode:?}"),
                false => assert_eq!(outcome.unwrap_err().code, code, "{mode:?}"),
            }
        }
    }
}

#[test]
fn a_stage_that_lost_rows_with_the_reply_ends_the_task() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Overwrite);
    chunk(&mut task, &[1, 2]).unwrap();
    memory.server().is_blind = true;
    task.begin_chunk(1).unwrap();
    task.write(&batch(&[3])).unwrap();
    memory.server().tables.insert(STAGE.to_owned(), vec![(7, 1)]);
    memory.server().fail("commit", Fault::Lost);
    assert_eq!(commit(&mut task).unwrap_err().code, code::RUN_STAGE);
}

#[test]
fn a_stop_at_commit_leaves_a_certain_outcome() {
    for (fault, expected) in
        [(Fault::ReplyLost, Ok(ChunkOutcome::Committed)), (Fault::Lost, Err(ErrorKind::Cancelled))]
    {
        let (memory, cancel) = (Memory::with_table(), Cancel::new());
        let mut task = open_until(&memory, WriteMode::Insert, &cancel);
        task.begin_chunk(0).unwrap();
        task.write(&batch(&[1])).unwrap();
        memory.server().fail("commit", fault);
        memory.server().stop_at_commit = Some(cancel);
        assert_eq!(commit(&mut task).map_err(|error| error.kind), expected);
    }
}

#[test]
fn t07_a_commit_that_nothing_tells_of_is_unknown_and_ends_the_chunks() {
    for (fault, expected) in [(Fault::ReplyLost, &[1][..]), (Fault::Lost, &[])] {
        let memory = Memory::with_table();
        memory.server().is_blind = true;
        let mut task = open(&memory, WriteMode::Insert);
        memory.server().fail("commit", fault);
        let ChunkOutcome::Unknown { evidence } = chunk(&mut task, &[1]).unwrap() else { panic!() };
        let words =
            "no reply to COMMIT; task 7 has inserted 0 rows for certain, and 1 more may be in";
        assert!(evidence.starts_with(words), "{evidence}");
        assert_eq!(kind(task.write(&batch(&[2]))), ErrorKind::Defect);
        assert_eq!(kind(commit(&mut task)), ErrorKind::Defect);
        assert_eq!(kind(task.begin_chunk(1)), ErrorKind::Defect);
        assert_eq!(rows(&memory, "t"), expected);
        // The caller has looked and decided: a rollback undoes nothing.
        task.rollback_chunk().unwrap();
        assert_eq!(memory.server().count("rollback"), 0);
        assert_eq!(chunk(&mut task, &[2]).unwrap(), ChunkOutcome::Committed);
        assert_eq!(rows(&memory, "t"), [expected, &[2]].concat());
    }
}

#[test]
fn nothing_is_removed_after_an_unknown_outcome() {
    for end in ["abort", "rollback and abort", "drop", "finish"] {
        let memory = Memory::with_table();
        let mut task = open(&memory, WriteMode::Overwrite);
        chunk(&mut task, &[1]).unwrap();
        memory.server().fail("commit", Fault::ReplyLost);
        memory.server().fail("prepare", Fault::Refused);
        assert!(matches!(chunk(&mut task, &[2]).unwrap(), ChunkOutcome::Unknown { .. }));
        match end {
            "abort" => Box::new(task).abort().unwrap(),
            "rollback and abort" => {
                task.rollback_chunk().unwrap();
                Box::new(task).abort().unwrap();
            }
            "drop" => drop(task),
            _ => assert_eq!(kind(Box::new(task).finish()), ErrorKind::Defect),
        }
        assert_eq!(rows(&memory, STAGE), [1, 2], "{end}");
    }
}

#[test]
fn a_refused_commit_is_rolled_back_at_once() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Insert);
    memory.server().fail("commit", Fault::Refused);
    assert_eq!(kind(chunk(&mut task, &[1])), ErrorKind::Data);
    assert_eq!(memory.server().count("rollback"), 1);
    task.rollback_chunk().unwrap();
    assert_eq!(chunk(&mut task, &[2]).unwrap(), ChunkOutcome::Committed);
    assert_eq!(rows(&memory, "t"), [2]);
}

#[test]
fn a_rollback_that_fails_closes_the_session() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Insert);
    task.begin_chunk(0).unwrap();
    task.write(&batch(&[1])).unwrap();
    memory.server().fail("rollback", Fault::Refused);
    task.rollback_chunk().unwrap();
    assert_eq!(chunk(&mut task, &[2]).unwrap(), ChunkOutcome::Committed);
    assert_eq!(rows(&memory, "t"), [2]);
    assert_eq!(memory.server().count("connect"), 2);
}

#[test]
fn a_stop_before_commit_leaves_nothing() {
    let (memory, cancel) = (Memory::with_table(), Cancel::new());
    let mut task = open_until(&memory, WriteMode::Insert, &cancel);
    task.begin_chunk(0).unwrap();
    task.write(&batch(&[1])).unwrap();
    cancel.cancel();
    assert_eq!(kind(commit(&mut task)), ErrorKind::Cancelled);
    task.rollback_chunk().unwrap();
    assert_eq!(rows(&memory, "t"), [0; 0]);
    assert_eq!(memory.server().count("commit"), 0);
}

#[test]
fn a_task_that_ends_inside_a_chunk_leaves_nothing_of_itself() {
    for end in ["abort", "drop", "finish"] {
        for broken in [false, true] {
            let memory = Memory::with_table();
            let mut task = open(&memory, WriteMode::Overwrite);
            memory.server().tables.get_mut(STAGE).unwrap().push((3, 100));
            chunk(&mut task, &[1]).unwrap();
            task.begin_chunk(1).unwrap();
            if broken {
                memory.server().fail("write", Fault::Lost);
                task.write(&batch(&[2])).unwrap_err();
            }
            match end {
                "abort" => Box::new(task).abort().unwrap(),
                "drop" => drop(task),
                _ => assert_eq!(kind(Box::new(task).finish()), ErrorKind::Defect),
            }
            // Another task's rows stay.
            assert_eq!(rows(&memory, STAGE), [100], "{end} {broken}");
            assert_eq!(memory.server().count("remove task 7"), 1);
        }
    }
}

#[test]
fn a_finished_task_keeps_its_staged_rows() {
    let memory = Memory::with_table();
    let mut task = open(&memory, WriteMode::Overwrite);
    chunk(&mut task, &[1]).unwrap();
    memory.server().fail("write", Fault::Deadlock);
    assert_eq!(kind(chunk(&mut task, &[2])), ErrorKind::Retry);
    task.rollback_chunk().unwrap();
    chunk(&mut task, &[2, 3]).unwrap();
    // A replayed chunk counts once.
    assert_eq!(Box::new(task).finish().unwrap().data, r#"{"staged":3}"#);
    assert_eq!(rows(&memory, STAGE), [1, 2, 3]);
    let unused = open(&memory, WriteMode::Overwrite);
    Box::new(unused).abort().unwrap();
    assert_eq!(memory.server().count("remove task 7"), 0);
}

#[test]
fn after_a_stop_the_jobs_abort_drops_what_a_task_has_staged() {
    let (memory, cancel) = (Memory::with_table(), Cancel::new());
    let mut task = open_until(&memory, WriteMode::Overwrite, &cancel);
    chunk(&mut task, &[1]).unwrap();
    cancel.cancel();
    Box::new(task).abort().unwrap();
    assert_eq!(memory.server().count("remove task 7"), 0);
    let target = target();
    let writer = crate::TableWriter::new(memory.clone(), target, &cancel);
    writer.abort(&plan("r", WriteMode::Overwrite), &[]).unwrap();
    assert!(memory.server().rows(STAGE).is_none());
}

#[test]
fn a_server_that_stays_away_is_tried_for_the_window_of_its_connection() {
    let memory = Memory::with_table();
    memory.server().window = Some(std::time::Duration::from_millis(300));
    let mut task = open(&memory, WriteMode::Insert);
    memory.server().fail("begin", Fault::Lost);
    (0..1_000).for_each(|_| memory.server().fail("connect", Fault::Lost));
    let error = task.begin_chunk(0).unwrap_err();
    assert!(error.message.ends_with(" attempts in 0 s)"), "{error}");
}
