//! Every state of a run with every verb, on a database in memory.

use transload_plugin_api::{Counters, ErrorKind, Position, code};

use super::*;
use crate::memory::{Fault, Memory, batch, plan, target};

fn writer(memory: &Memory) -> TableWriter<Memory> {
    TableWriter::new(memory.clone(), target(), &Cancel::new())
}

/// A plan with two statements before and after the rows.
fn statements(run: &str, mode: WriteMode) -> WritePlan {
    let list = |word: &str| [1, 2].map(|at| format!("{word} {at}")).to_vec();
    WritePlan { before: list("before"), after: list("after"), ..plan(run, mode) }
}

/// One task that writes these rows.
fn write(writer: &TableWriter<Memory>, plan: &WritePlan, rows: &[i64]) -> Vec<Receipt> {
    let mut task = writer.open(plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    task.begin_chunk(0).unwrap();
    task.write(&batch(rows)).unwrap();
    task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    vec![task.finish().unwrap()]
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind
}

/// What of the log is about statements, the stage and the lock.
fn steps(memory: &Memory) -> Vec<String> {
    let other =
        ["connect", "find_table", "draft", "prepare", "begin", "write", "complete", "finish"];
    let log = std::mem::take(&mut memory.server().log);
    log.into_iter().filter(|it| !other.contains(&it.as_str()) && it != "commit").collect()
}

#[test]
fn a_run_goes_through_its_states_in_order() {
    let memory = Memory::with_table();
    let (writer, plan) = (writer(&memory), statements("r", WriteMode::Overwrite));
    writer.prepare(&plan).unwrap();
    assert_eq!(steps(&memory), ["lock", "before 1", "before 2", "make"]);
    writer.prepare(&plan).unwrap();
    assert!(steps(&memory).is_empty(), "prepared twice");
    let receipts = write(&writer, &plan, &[1, 2]);
    assert_eq!(memory.server().rows("t").unwrap(), [0; 0]);
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!(steps(&memory), ["publish", "after 1", "after 2"]);
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
    assert!(steps(&memory).is_empty(), "committed twice");
    assert_eq!(memory.server().locks.len(), 1);
    for _ in 0..2 {
        writer.finalise(&plan).unwrap();
        writer.abort(&plan, &receipts).unwrap();
    }
    assert!(memory.server().locks.is_empty());
    assert_eq!(memory.server().rows("t").unwrap(), [1, 2]);
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
}

#[test]
fn rows_that_are_not_staged_stay_whatever_follows() {
    let memory = Memory::with_table();
    let (writer, plan) = (writer(&memory), statements("r", WriteMode::Upsert));
    let plan = WritePlan { mode: WriteMode::Insert, ..plan };
    writer.prepare(&plan).unwrap();
    write(&writer, &plan, &[1]);
    writer.abort(&plan, &[]).unwrap();
    assert_eq!(memory.server().rows("t").unwrap(), [1]);
    assert!(memory.server().locks.is_empty());
}

#[test]
fn refusals_come_before_anything_is_made() {
    let memory = Memory::default();
    let (writer, mut plan) = (writer(&memory), statements("r", WriteMode::Insert));
    assert_eq!(kind(writer.draft(&plan)), ErrorKind::NotFound);
    assert_eq!(kind(writer.prepare(&plan)), ErrorKind::NotFound);
    assert!(steps(&memory).is_empty());
    plan.create_table = true;
    let draft = writer.draft(&plan).unwrap();
    let texts: Vec<_> = draft.statements.iter().map(|step| step.text.as_str()).collect();
    let create = r#"CREATE TABLE "t" ("a" INT NOT NULL)"#;
    assert_eq!(texts, [create, "before 1", "before 2", "after 1", "after 2"]);
    assert!(!writer.inspect().unwrap().exists);
    assert!(steps(&memory).is_empty());
    writer.prepare(&plan).unwrap();
    assert_eq!(steps(&memory), [create, "lock", "before 1", "before 2"]);
    assert!(writer.inspect().unwrap().exists);
}

#[test]
fn a_table_that_is_there_is_drafted_again_under_the_lock() {
    let memory = Memory::with_table();
    let (writer, mut plan) = (writer(&memory), plan("r", WriteMode::Insert));
    plan.create_table = true;
    writer.prepare(&plan).unwrap();
    let log = memory.server().log.clone();
    let last = |verb: &str| log.iter().rposition(|it| it == verb).unwrap();
    assert!(last("draft") > last("lock"), "{log:?}");
    assert_eq!(memory.server().rows("t").unwrap(), [0; 0]);
}

#[test]
fn after_statements_continue_where_they_stopped() {
    for mode in [WriteMode::Insert, WriteMode::Overwrite] {
        for fault in [Fault::Refused, Fault::Lost] {
            let memory = Memory::with_table();
            let (writer, plan) = (writer(&memory), statements("r", mode));
            writer.prepare(&plan).unwrap();
            let receipts = write(&writer, &plan, &[1]);
            let plan =
                WritePlan { after: vec!["one".into(), "two".into(), "three".into()], ..plan };
            steps(&memory);
            writer.publish(&mut writer.run(&plan), &plan, &receipts).unwrap();
            let one = WritePlan { after: plan.after[..1].to_vec(), ..plan.clone() };
            writer.run_after(&mut writer.run(&plan), &one).unwrap();
            memory.server().fail("run", fault);
            let error = writer.commit(&plan, &receipts).unwrap_err();
            assert_eq!(error.code, code::RUN_AFTER);
            assert_eq!(writer.run.lock().state, RunState::Published { after: 1 });
            let published =
                if mode == WriteMode::Insert { vec!["one"] } else { vec!["publish", "one"] };
            assert_eq!(steps(&memory), published);
            assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
            assert_eq!(steps(&memory), ["two", "three"], "{mode:?} {fault:?}");
        }
    }
}

#[test]
fn another_process_finds_a_published_run_committed() {
    let memory = Memory::with_table();
    let (first, plan) = (writer(&memory), statements("r", WriteMode::Overwrite));
    first.prepare(&plan).unwrap();
    let receipts = write(&first, &plan, &[1]);
    // It crashes between publishing and the statements after.
    first.publish(&mut first.run(&plan), &plan, &receipts).unwrap();
    drop(first);
    steps(&memory);
    let second = writer(&memory);
    assert_eq!(second.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
    assert_eq!(steps(&memory), ["lock"]);
    assert_eq!(memory.server().rows("t").unwrap(), [1]);
}

#[test]
fn another_process_can_commit_what_the_first_has_staged() {
    let memory = Memory::with_table();
    let (first, plan) = (writer(&memory), statements("r", WriteMode::Overwrite));
    first.prepare(&plan).unwrap();
    let receipts = write(&first, &plan, &[1]);
    drop(first);
    let second = writer(&memory);
    assert_eq!(second.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!(memory.server().rows("t").unwrap(), [1]);
}

#[test]
fn a_stage_that_somebody_dropped_is_no_success() {
    let memory = Memory::with_table();
    let (writer, plan) = (writer(&memory), plan("r", WriteMode::Overwrite));
    writer.prepare(&plan).unwrap();
    let receipts = write(&writer, &plan, &[1]);
    memory.server().tables.remove("t__r");
    let error = writer.commit(&plan, &receipts).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(error.message, "the stage table `t__r` and its rows no longer exist");
}

/// The server restarts and loses staged rows, or another session writes to the stage.
#[test]
fn a_stage_with_other_rows_than_were_committed_is_not_published() {
    for found in [&[][..], &[1], &[1, 2, 3]] {
        let memory = Memory::with_table();
        memory.server().tables.insert("t".to_owned(), vec![(0, 9)]);
        let (writer, plan) = (writer(&memory), statements("r", WriteMode::Overwrite));
        writer.prepare(&plan).unwrap();
        let receipts = write(&writer, &plan, &[1, 2]);
        let rows = found.iter().map(|row| (0, *row)).collect();
        memory.server().tables.insert("t__r".to_owned(), rows);
        let error = writer.commit(&plan, &receipts).unwrap_err();
        assert_eq!(error.code, code::RUN_STAGE);
        assert!(error.message.contains(&format!("holds {} rows, but 2 were", found.len())));
        writer.abort(&plan, &receipts).unwrap();
        assert_eq!(memory.server().rows("t").unwrap(), [9], "published");
        assert!(memory.server().rows("t__r").is_none());
    }
}

#[test]
fn a_publication_without_a_reply_is_looked_for() {
    for (fault, published) in [(Fault::ReplyLost, true), (Fault::Lost, false)] {
        let memory = Memory::with_table();
        let (writer, plan) = (writer(&memory), statements("r", WriteMode::Overwrite));
        writer.prepare(&plan).unwrap();
        let receipts = write(&writer, &plan, &[1]);
        steps(&memory);
        memory.server().fail("publish", fault);
        assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
        let steps = steps(&memory);
        let first: &[&str] = if published { &["publish", "lock"] } else { &["lock", "publish"] };
        assert_eq!(steps, [first, &["after 1", "after 2"]].concat(), "{fault:?}");
        assert_eq!(memory.server().rows("t").unwrap(), [1]);
    }
}

#[test]
fn a_publication_that_cannot_be_looked_for_is_unknown_and_keeps_everything() {
    for (fault, published) in [(Fault::ReplyLost, true), (Fault::Lost, false)] {
        let memory = Memory::with_table();
        let (writer, plan) = (writer(&memory), statements("r", WriteMode::Overwrite));
        writer.prepare(&plan).unwrap();
        let receipts = write(&writer, &plan, &[1]);
        memory.server().fail("publish", fault);
        (0..LOOKS).for_each(|_| memory.server().fail("connect", Fault::Refused));
        let outcome = writer.commit(&plan, &receipts).unwrap();
        assert!(matches!(outcome, ChunkOutcome::Unknown { .. }), "{outcome:?}");
        assert_eq!(kind(writer.finalise(&plan)), ErrorKind::Defect);
        writer.abort(&plan, &receipts).unwrap();
        assert_eq!(memory.server().rows("t__r").is_none(), published);
        steps(&memory);
        // A second commit looks, publishes what is not in, and runs the rest.
        assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
        let again: &[&str] = if published { &[] } else { &["publish"] };
        let expected = [&["lock"], again, &["after 1", "after 2"]].concat();
        assert_eq!(steps(&memory), expected, "{fault:?}");
        assert_eq!(memory.server().rows("t").unwrap(), [1]);
    }
}

/// A stop signal cuts the connection while the publication is on its way.
#[test]
fn a_stop_at_the_publication_leaves_a_certain_outcome() {
    for (fault, published) in [(Fault::ReplyLost, true), (Fault::Lost, false)] {
        let (memory, cancel) = (Memory::with_table(), Cancel::new());
        let writer = TableWriter::new(memory.clone(), target(), &cancel);
        let plan = plan("r", WriteMode::Overwrite);
        writer.prepare(&plan).unwrap();
        let receipts = write(&writer, &plan, &[1]);
        memory.server().fail("publish", fault);
        memory.server().stop_at_commit = Some(cancel);
        let outcome = writer.commit(&plan, &receipts).map_err(|error| error.kind);
        let expected =
            if published { Ok(ChunkOutcome::Committed) } else { Err(ErrorKind::Cancelled) };
        assert_eq!(outcome, expected);
        writer.abort(&plan, &receipts).unwrap();
        let rows: &[i64] = if published { &[1] } else { &[] };
        assert_eq!(memory.server().rows("t").unwrap(), rows);
        assert!(memory.server().rows("t__r").is_none() && memory.server().locks.is_empty());
    }
}

/// What follows the last row, such as moving a sequence on, is tried again with a new session.
#[test]
fn a_connection_lost_behind_the_last_row_is_opened_again() {
    let memory = Memory::with_table();
    let (writer, plan) = (writer(&memory), statements("r", WriteMode::Insert));
    writer.prepare(&plan).unwrap();
    let receipts = write(&writer, &plan, &[1]);
    memory.server().fail("finish", Fault::Lost);
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!(memory.server().count("finish"), 1);
}

#[test]
fn a_failure_behind_the_last_row_says_that_all_rows_are_in() {
    for (mode, words) in [
        (WriteMode::Insert, "do not run the job again"),
        (WriteMode::Upsert, "running the job again writes the same rows"),
    ] {
        let memory = Memory::default();
        let (writer, plan) = (writer(&memory), statements("r", mode));
        let plan = WritePlan { key: vec!["a".to_owned()], create_table: true, ..plan };
        writer.prepare(&plan).unwrap();
        let receipts = write(&writer, &plan, &[1]);
        memory.server().fail("finish", Fault::Refused);
        let error = writer.commit(&plan, &receipts).unwrap_err();
        assert_eq!((error.kind, &*error.code), (ErrorKind::Other, code::RUN_AFTER));
        assert!(error.message.starts_with("every row is in the target, but"), "{error}");
        assert!(error.hint.unwrap().starts_with(words));
    }
}

#[test]
fn a_lost_lock_is_taken_again_before_publishing() {
    let memory = Memory::with_table();
    let (first, plan) = (writer(&memory), plan("r", WriteMode::Overwrite));
    first.prepare(&plan).unwrap();
    let receipts = write(&first, &plan, &[1]);
    memory.server().fail("find_table", Fault::Lost);
    assert_eq!(first.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!(memory.server().count("lock"), 2);

    let other = WritePlan { run: "s".to_owned(), ..plan.clone() };
    let second = writer(&memory);
    assert_eq!(kind(second.prepare(&other)), ErrorKind::Locked);
    first.finalise(&plan).unwrap();
    second.prepare(&other).unwrap();
    let receipts = write(&second, &other, &[2]);
    // The lock goes with its session, and another run is quicker.
    second.run.lock().session = None;
    let third = writer(&memory);
    third.prepare(&WritePlan { run: "u".to_owned(), ..plan }).unwrap();
    assert_eq!(kind(second.commit(&other, &receipts)), ErrorKind::Locked);
    assert_eq!(memory.server().rows("t").unwrap(), [1], "published without the lock");
    drop(third);
    assert_eq!(second.commit(&other, &receipts).unwrap(), ChunkOutcome::Committed);
}

#[test]
fn a_refused_publication_can_be_repeated() {
    let memory = Memory::with_table();
    let (writer, plan) = (writer(&memory), plan("r", WriteMode::Overwrite));
    writer.prepare(&plan).unwrap();
    let receipts = write(&writer, &plan, &[1]);
    memory.server().fail("publish", Fault::Refused);
    assert_eq!(kind(writer.commit(&plan, &receipts)), ErrorKind::Data);
    assert_eq!(writer.run.lock().state, RunState::Prepared);
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!(memory.server().rows("t").unwrap(), [1]);
}

#[test]
fn an_aborted_run_leaves_nothing_and_can_begin_again() {
    let memory = Memory::with_table();
    let (writer, plan) = (writer(&memory), plan("r", WriteMode::Overwrite));
    writer.abort(&plan, &[]).unwrap();
    writer.prepare(&plan).unwrap();
    write(&writer, &plan, &[1]);
    for _ in 0..2 {
        writer.abort(&plan, &[]).unwrap();
        assert!(memory.server().rows("t__r").is_none() && memory.server().locks.is_empty());
    }
    writer.prepare(&plan).unwrap();
    let receipts = write(&writer, &plan, &[2]);
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!(memory.server().rows("t").unwrap(), [2]);
}

#[test]
fn a_prepare_that_fails_can_be_repeated() {
    for verb in ["lock", "run", "make"] {
        let memory = Memory::with_table();
        let (writer, plan) = (writer(&memory), statements("r", WriteMode::Overwrite));
        memory.server().fail(verb, Fault::Lost);
        writer.prepare(&plan).unwrap_err();
        assert_eq!(writer.run.lock().state, RunState::Unprepared, "{verb}");
        writer.prepare(&plan).unwrap();
        assert_eq!(writer.run.lock().state, RunState::Prepared, "{verb}");
        assert_eq!(memory.server().locks.len(), 1, "{verb}");
    }
}

#[test]
fn a_run_that_is_not_committed_is_not_finalised() {
    let memory = Memory::with_table();
    let (writer, plan) = (writer(&memory), plan("r", WriteMode::Overwrite));
    writer.prepare(&plan).unwrap();
    write(&writer, &plan, &[1]);
    assert_eq!(kind(writer.finalise(&plan)), ErrorKind::Defect);
    assert_eq!(memory.server().rows("t__r").unwrap(), [1]);
}

#[test]
fn a_new_run_of_the_same_writer_begins_from_nothing() {
    let memory = Memory::with_table();
    let (writer, first) = (writer(&memory), plan("r", WriteMode::Overwrite));
    writer.prepare(&first).unwrap();
    let receipts = write(&writer, &first, &[1]);
    writer.commit(&first, &receipts).unwrap();
    // The lock of the run before would keep this one out.
    let second = plan("s", WriteMode::Overwrite);
    writer.prepare(&second).unwrap();
    let receipts = write(&writer, &second, &[2]);
    assert_eq!(writer.commit(&second, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!(memory.server().rows("t").unwrap(), [2]);
    assert_eq!(memory.server().locks.len(), 1);
}

/// Of a run that fails, nothing but rows stays, and least of all a table of types that were guessed.
#[test]
fn a_table_that_a_failed_run_has_created_is_dropped_if_it_is_empty() {
    for mode in [WriteMode::Insert, WriteMode::Overwrite] {
        for rows in [&[][..], &[1]] {
            let memory = Memory::default();
            let writer = writer(&memory);
            let plan = WritePlan { create_table: true, ..plan("r", mode) };
            writer.prepare(&plan).unwrap();
            if !rows.is_empty() {
                write(&writer, &plan, rows);
            }
            for _ in 0..2 {
                writer.abort(&plan, &[]).unwrap();
            }
            let stays = mode == WriteMode::Insert && !rows.is_empty();
            assert_eq!(memory.server().rows("t").is_some(), stays, "{mode:?} {rows:?}");
            assert!(memory.server().locks.is_empty());
            writer.prepare(&plan).unwrap();
        }
    }
    // One that was there, one that another run uses, and one of a run that has committed.
    let memory = Memory::with_table();
    let plan = WritePlan { create_table: true, ..plan("r", WriteMode::Insert) };
    let first = writer(&memory);
    first.prepare(&plan).unwrap();
    first.abort(&plan, &[]).unwrap();
    assert_eq!(memory.server().rows("t").unwrap(), [0; 0]);
    let memory = Memory::default();
    let (first, second) = (writer(&memory), writer(&memory));
    first.prepare(&plan).unwrap();
    second.prepare(&plan).unwrap();
    first.abort(&plan, &[]).unwrap();
    assert_eq!(memory.server().rows("t").unwrap(), [0; 0]);
    let memory = Memory::default();
    let writer = writer(&memory);
    writer.prepare(&plan).unwrap();
    writer.commit(&plan, &[]).unwrap();
    writer.abort(&plan, &[]).unwrap();
    assert_eq!(memory.server().rows("t").unwrap(), [0; 0]);
}

#[test]
fn a_before_statement_that_fails_leaves_no_table() {
    let memory = Memory::default();
    let writer = writer(&memory);
    let plan = WritePlan { create_table: true, ..statements("r", WriteMode::Insert) };
    // The first `run` creates the table.
    memory.server().fail_later("run", 1, Fault::Refused);
    writer.prepare(&plan).unwrap_err();
    assert!(memory.server().rows("t").is_some());
    writer.abort(&plan, &[]).unwrap();
    assert!(memory.server().rows("t").is_none());
}

/// A killed run leaves its stage. Who overwrites next has the lock alone, so that run is dead.
#[test]
fn stages_of_dead_runs_are_swept_by_the_next_overwrite_and_named_before() {
    let stages =
        ["t__transload_20261130t133835-d56fea35", "t__transload_old_20261130t133835-aaaaaaaa"];
    let others = ["t__transload_mine", "tt__transload_20261130t133835-d56fea35"];
    for mode in [WriteMode::Insert, WriteMode::Overwrite] {
        let memory = Memory::with_table();
        for table in stages.iter().chain(&others) {
            memory.server().tables.insert((*table).to_owned(), vec![(0, 1)]);
        }
        let (writer, plan) = (writer(&memory), plan("20261130t140000-00000000", mode));
        let warnings = writer.draft(&plan).unwrap().warnings;
        let words = format!("left stage tables: `{}`, `{}`;", stages[0], stages[1]);
        assert!(warnings.iter().any(|it| it.contains(&words)), "{warnings:?}");
        memory.server().fail("drop_left", Fault::Refused);
        writer.prepare(&plan).unwrap();
        let server = memory.server();
        let left = |table: &&&str| server.tables.contains_key(**table);
        assert_eq!(others.iter().filter(left).count(), 2);
        // One that a session still uses stays.
        let expected = if mode == WriteMode::Overwrite { 1 } else { 2 };
        assert_eq!(stages.iter().filter(left).count(), expected, "{mode:?}");
    }
}

/// What can be known about the job's statements is known before the run, all at once, each at its
/// key; what cannot is said.
#[test]
fn statements_are_tried_before_the_run() {
    let memory = Memory::with_table();
    let mut plan = plan("r", WriteMode::Insert);
    plan.before = ["DELETE FROM gone", "SELECT wrong", "CREATE TABLE x", "DELETE FROM gone"]
        .map(str::to_owned)
        .to_vec();
    plan.after = vec!["SELECT 1; UPDATE t denied".to_owned()];
    let draft = writer(&memory).draft(&plan).unwrap();
    let problems: Vec<_> = draft
        .problems
        .iter()
        .map(|problem| (problem.key.as_deref().unwrap(), problem.message.as_str()))
        .collect();
    assert_eq!(
        problems,
        [
            ("before[0]", "`before` statement 1: no table `gone`"),
            ("before[1]", "`before` statement 2: syntax error"),
            ("after[0]", "`after` statement 1: permission denied"),
        ]
    );
    assert_eq!(draft.problems[1].kind, ErrorKind::Options, "the job is wrong");
    assert_eq!(
        draft.notes,
        [
            "not tried: `before` statement 3, of which only the syntax was looked at",
            "not tried: `before` statement 4, which may need what `before` statement 3 does: no \
             table `gone`",
        ]
    );
    assert_eq!(memory.server().rows("t"), Some(Vec::new()), "nothing was run");
}

#[test]
fn a_missing_table_and_wrong_statements_are_told_together() {
    let mut plan = plan("r", WriteMode::Insert);
    plan.before = vec!["SELECT wrong".to_owned(), "DELETE FROM gone".to_owned()];
    let draft = writer(&Memory::default()).draft(&plan).unwrap();
    let keys: Vec<_> = draft.problems.iter().map(|problem| problem.key.as_deref()).collect();
    assert_eq!(keys, [Some("table"), Some("before[0]")], "{:?}", draft.problems);
    assert_eq!(draft.problems[0].code, code::TABLE_MISSING);
    assert!(
        draft.notes[0].contains("may need the table that the run creates"),
        "{:?}",
        draft.notes
    );
}

#[test]
fn the_rows_of_a_target_are_counted_as_long_as_they_are_few() {
    let memory = Memory::with_table();
    memory.server().tables.insert("t".to_owned(), vec![(0, 1), (0, 2)]);
    let found = writer(&memory).inspect().unwrap();
    assert_eq!((found.rows, found.is_counted), (Some(2), true));
    memory.server().tables.insert("t".to_owned(), vec![(0, 1); COUNTED as usize + 1]);
    let found = writer(&memory).inspect().unwrap();
    assert_eq!((found.rows, found.is_counted), (None, false), "an estimate, if there is one");
}
