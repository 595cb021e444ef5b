//! Runs with commit tokens on a database in memory: claims, fences, lost replies, and what an ended
//! process leaves for the next one.

use transload_plugin_api::{
    Cancel, ChunkOutcome, Counters, Error, ErrorKind, Guarantee, Position, Receipt, Result,
    TaskContext, TaskProgress, TokenTables, WriteMode, WritePlan, WriteTask, Writer as _, code,
};

use crate::{
    TableWriter,
    memory::{Fault, Memory, batch, plan, target},
};

/// A process: a writer of its own.
fn process(memory: &Memory) -> TableWriter<Memory> {
    TableWriter::new(memory.clone(), target(), &Cancel::new())
}

fn tokened(run: &str, mode: WriteMode) -> WritePlan {
    let tables = TokenTables { create: true, ..TokenTables::default() };
    WritePlan { tokens: Some(tables), job: "nightly".to_owned(), ..plan(run, mode) }
}

fn resumed(run: &str, mode: WriteMode) -> WritePlan {
    WritePlan { is_resumed: true, ..tokened(run, mode) }
}

fn open(writer: &TableWriter<Memory>, plan: &WritePlan) -> Box<dyn WriteTask> {
    writer.open(plan, &TaskContext { task: 0, epoch: 0 }).unwrap()
}

/// A chunk of these rows, `before` of which are committed.
fn chunk(
    task: &mut dyn WriteTask,
    sequence: u64,
    before: u64,
    rows: &[i64],
) -> Result<ChunkOutcome> {
    task.begin_chunk(sequence)?;
    task.write(&batch(rows))?;
    let total = before + rows.len() as u64;
    let counters = Counters { read: total, inserted: total, ..Counters::default() };
    task.commit_chunk(&Position(vec![0, 0xff, sequence as u8]), &counters)
}

fn rows(memory: &Memory) -> Vec<i64> {
    memory.server().rows("t").unwrap()
}

fn coded<T: std::fmt::Debug>(outcome: Result<T>, code: &str) -> Error {
    let error = outcome.unwrap_err();
    assert_eq!(error.code, code, "{error:?}");
    error
}

/// A run that is prepared, with its task.
fn begun(memory: &Memory, mode: WriteMode) -> (TableWriter<Memory>, Box<dyn WriteTask>) {
    let writer = process(memory);
    writer.prepare(&tokened("r", mode)).unwrap();
    let task = open(&writer, &tokened("r", mode));
    (writer, task)
}

fn finish(task: Box<dyn WriteTask>) -> [Receipt; 1] {
    [task.finish().unwrap()]
}

#[test]
fn a_run_leaves_its_row_and_nothing_else() {
    for mode in [WriteMode::Insert, WriteMode::Overwrite] {
        let memory = Memory::with_table();
        let (writer, mut task) = begun(&memory, mode);
        assert_eq!(task.progress().unwrap(), None);
        assert_eq!(chunk(&mut *task, 0, 0, &[1, 2]).unwrap(), ChunkOutcome::Committed);
        assert_eq!(chunk(&mut *task, 1, 2, &[3]).unwrap(), ChunkOutcome::Committed);
        let row = "SELECT epoch, seq, state, hex(checkpoint), rows_read FROM transload_task";
        assert_eq!(memory.server().ask(row), ["1|2|open|00FF01|3"]);
        let receipts = finish(task);
        let plan = tokened("r", mode);
        assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
        let run = "SELECT run_id, job, target, active_key, state, epoch FROM transload_run";
        assert_eq!(memory.server().ask(run), ["r|nightly|t|-|done|1"]);
        writer.finalise(&plan).unwrap();
        assert_eq!(memory.server().ask("SELECT count(*) FROM transload_task"), ["0"]);
        // Another process that continues the run finds out that all is done, and has nothing to write.
        let late = process(&memory);
        late.prepare(&resumed("r", mode)).unwrap();
        let mut task = open(&late, &resumed("r", mode));
        let done = TaskProgress { is_finished: true, ..TaskProgress::default() };
        assert_eq!(task.progress().unwrap(), Some(done));
        finish(task);
        assert_eq!(late.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
        late.finalise(&plan).unwrap();
        assert_eq!(memory.server().ask("SELECT count(*) FROM transload_task"), ["0"]);
        assert_eq!(rows(&memory), [1, 2, 3]);
    }
}

#[test]
fn another_process_continues_behind_the_last_chunk() {
    for mode in [WriteMode::Insert, WriteMode::Overwrite] {
        let memory = Memory::with_table();
        let (first, mut task) = begun(&memory, mode);
        chunk(&mut *task, 0, 0, &[1, 2]).unwrap();
        task.begin_chunk(1).unwrap();
        task.write(&batch(&[3])).unwrap();
        drop((task, first));
        let (plan, writer) = (resumed("r", mode), process(&memory));
        writer.prepare(&plan).unwrap();
        let mut task = open(&writer, &plan);
        let progress = task.progress().unwrap().unwrap();
        assert_eq!((progress.chunks, progress.counters.inserted), (1, 2), "{mode:?}");
        assert_eq!(progress.position, Position(vec![0, 0xff, 0]));
        assert!(!progress.is_finished);
        let skipped = task.begin_chunk(0).unwrap_err();
        assert_eq!(skipped.kind, ErrorKind::Defect, "a chunk that is in begins again");
        chunk(&mut *task, 1, 2, &[3]).unwrap();
        let receipts = finish(task);
        // K9: the task has finished, and the host does not know it.
        let mut task = open(&writer, &plan);
        assert!(task.progress().unwrap().unwrap().is_finished);
        assert_eq!(finish(task), receipts);
        writer.commit(&plan, &receipts).unwrap();
        assert_eq!(rows(&memory), [1, 2, 3], "{mode:?}");
    }
}

#[test]
fn a_second_run_is_refused_and_names_the_first() {
    let memory = Memory::with_table();
    let (first, task) = begun(&memory, WriteMode::Insert);
    let writer = process(&memory);
    let error = coded(writer.prepare(&tokened("s", WriteMode::Insert)), code::RUN_ACTIVE);
    assert_eq!(error.kind, ErrorKind::Locked);
    assert!(
        error.message.starts_with("run `r` of job `nightly` writes table `t` since "),
        "{error}"
    );
    let hint = error.hint.unwrap();
    assert!(
        hint.contains("`transload resume r`") && hint.contains("`transload abort r`"),
        "{hint}"
    );
    // Giving the second one up leaves the first one alone.
    writer.abort(&tokened("s", WriteMode::Insert), &[]).unwrap();
    coded(writer.prepare(&tokened("s", WriteMode::Insert)), code::RUN_ACTIVE);
    drop(task);
    first.abort(&tokened("r", WriteMode::Insert), &[]).unwrap();
    writer.prepare(&tokened("s", WriteMode::Insert)).unwrap();
}

#[test]
fn a_run_without_tokens_is_refused_while_one_with_tokens_holds_the_target() {
    let memory = Memory::with_table();
    let (writer, task) = begun(&memory, WriteMode::Insert);
    let error =
        coded(process(&memory).prepare(&plan("other", WriteMode::Insert)), code::RUN_ACTIVE);
    assert!(error.message.starts_with("run `r` of job `nightly` writes table `t`"), "{error}");
    let receipts = finish(task);
    writer.commit(&tokened("r", WriteMode::Insert), &receipts).unwrap();
    process(&memory).prepare(&plan("other", WriteMode::Insert)).unwrap();
}

/// A table of the token table's name that is none, or that this login may not read, says nothing.
#[test]
fn a_run_without_tokens_does_without_token_tables() {
    let memory = Memory::with_table();
    process(&memory).prepare(&plan("other", WriteMode::Insert)).unwrap();
    assert_eq!(memory.server().ask("SELECT name FROM sqlite_master"), [""; 0]);
    memory.server().tamper("CREATE TABLE transload_run (a INT)");
    process(&memory).prepare(&plan("other", WriteMode::Insert)).unwrap();
}

#[test]
fn a_newer_attempt_ends_the_older_and_fences_it() {
    let memory = Memory::with_table();
    let (writer, mut zombie) = begun(&memory, WriteMode::Insert);
    // Between chunks: it finds out at the next one.
    let mut task = open(&writer, &tokened("r", WriteMode::Insert));
    let error = coded(zombie.begin_chunk(0), code::RUN_FENCED);
    assert_eq!((error.kind, error.place.as_deref()), (ErrorKind::Locked, Some("task 0")));
    zombie.rollback_chunk().unwrap();
    chunk(&mut *task, 0, 0, &[1]).unwrap();
    // Within a chunk: its session is ended, and it may not claim the task again.
    task.begin_chunk(1).unwrap();
    task.write(&batch(&[2])).unwrap();
    let mut newest = open(&writer, &tokened("r", WriteMode::Insert));
    assert_eq!(task.write(&batch(&[3])).unwrap_err().kind, ErrorKind::Retry);
    task.rollback_chunk().unwrap();
    coded(task.begin_chunk(1), code::RUN_FENCED);
    chunk(&mut *newest, 1, 1, &[2]).unwrap();
    assert_eq!(rows(&memory), [1, 2]);
}

#[test]
fn an_attempt_that_cannot_be_ended_is_named() {
    let memory = Memory::with_table();
    let (writer, mut task) = begun(&memory, WriteMode::Insert);
    memory.server().is_strict = true;
    task.begin_chunk(0).unwrap();
    let context = TaskContext { task: 0, epoch: 1 };
    let blocked = writer.open(&tokened("r", WriteMode::Insert), &context).map(drop);
    let error = coded(blocked, code::RUN_CLAIM);
    assert!(error.message.contains("task 0 does not end within 1 s: session "), "{error}");
}

#[test]
fn a_lost_reply_is_resolved_by_the_token() {
    for (fault, replays) in [(Fault::ReplyLost, false), (Fault::Lost, true)] {
        let memory = Memory::with_table();
        // Nothing else would tell: the table has no key.
        let (_writer, mut task) = begun(&memory, WriteMode::Insert);
        memory.server().is_blind = true;
        memory.server().fail("commit", fault);
        let outcome = chunk(&mut *task, 0, 0, &[1, 2]);
        if replays {
            assert_eq!(outcome.unwrap_err().kind, ErrorKind::Retry);
            task.rollback_chunk().unwrap();
            chunk(&mut *task, 0, 0, &[1, 2]).unwrap();
        } else {
            assert_eq!(outcome.unwrap(), ChunkOutcome::Committed);
        }
        chunk(&mut *task, 1, 2, &[3]).unwrap();
        assert_eq!(rows(&memory), [1, 2, 3], "{fault:?}");
    }
}

#[test]
fn a_lost_reply_of_a_fenced_attempt_is_no_commit_of_its_own() {
    let memory = Memory::with_table();
    let (writer, mut zombie) = begun(&memory, WriteMode::Insert);
    zombie.begin_chunk(0).unwrap();
    zombie.write(&batch(&[1])).unwrap();
    drop(open(&writer, &tokened("r", WriteMode::Insert)));
    let outcome = zombie.commit_chunk(&Position::default(), &Counters::default());
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Retry);
    zombie.rollback_chunk().unwrap();
    coded(zombie.begin_chunk(0), code::RUN_FENCED);
    assert_eq!(rows(&memory), [0; 0]);
}

#[test]
fn a_loss_at_any_call_neither_loses_nor_doubles_rows() {
    for verb in ["begin", "rows", "write", "complete", "change", "commit", "prepare"] {
        for calls in 0..6 {
            for fault in [Fault::Lost, Fault::ReplyLost] {
                let memory = Memory::with_table();
                let (writer, mut task) = begun(&memory, WriteMode::Insert);
                memory.server().fail_later(verb, calls, fault);
                for (sequence, row) in [1_i64, 2, 3].into_iter().enumerate() {
                    let sequence = sequence as u64;
                    while let Err(error) = chunk(&mut *task, sequence, sequence, &[row]) {
                        assert_eq!(
                            error.kind,
                            ErrorKind::Retry,
                            "{verb} {calls} {fault:?}: {error:?}"
                        );
                        task.rollback_chunk().unwrap();
                    }
                }
                let receipts = finish(task);
                writer.commit(&tokened("r", WriteMode::Insert), &receipts).unwrap();
                assert_eq!(rows(&memory), [1, 2, 3], "{verb} {calls} {fault:?}");
            }
        }
    }
}

#[test]
fn a_claim_whose_reply_is_lost_is_the_attempts_own() {
    let memory = Memory::with_table();
    let (writer, mut task) = begun(&memory, WriteMode::Insert);
    chunk(&mut *task, 0, 0, &[1]).unwrap();
    memory.server().fail("begin", Fault::Lost);
    memory.server().fail("change", Fault::ReplyLost); // of the claim that follows
    assert_eq!(task.begin_chunk(1).unwrap_err().kind, ErrorKind::Retry);
    task.rollback_chunk().unwrap();
    chunk(&mut *task, 1, 1, &[2]).unwrap();
    assert_eq!(memory.server().ask("SELECT epoch, seq FROM transload_task"), ["3|2"]);
    // Another attempt's is not.
    memory.server().fail("begin", Fault::Lost);
    drop(open(&writer, &tokened("r", WriteMode::Insert)));
    coded(task.begin_chunk(2), code::RUN_FENCED);
    assert_eq!(rows(&memory), [1, 2]);
}

#[test]
fn a_token_that_others_change_stops_the_task() {
    for (change, code) in [
        ("UPDATE transload_task SET seq = 7", code::RUN_TOKEN),
        ("UPDATE transload_task SET seq = 0", code::RUN_LOST),
        ("DELETE FROM transload_task", code::RUN_FENCED),
        ("UPDATE transload_task SET seq = -1", code::RUN_TOKEN),
    ] {
        let memory = Memory::with_table();
        let (_writer, mut task) = begun(&memory, WriteMode::Insert);
        chunk(&mut *task, 0, 0, &[1]).unwrap();
        memory.server().tamper(change);
        coded(task.begin_chunk(1), code);
        task.rollback_chunk().unwrap();
        assert_eq!(rows(&memory), [1]);
    }
}

#[test]
fn a_restored_database_does_not_know_the_run() {
    let memory = Memory::with_table();
    let (writer, task) = begun(&memory, WriteMode::Insert);
    drop((writer, task));
    memory.server().tamper("DELETE FROM transload_run; DELETE FROM transload_task");
    let plan = resumed("r", WriteMode::Insert);
    coded(process(&memory).prepare(&plan), code::RUN_LOST);
    coded(process(&memory).commit(&plan, &[]), code::RUN_LOST);
    process(&memory).abort(&plan, &[]).unwrap();
}

#[test]
fn statements_of_the_job_run_once_over_two_processes() {
    let memory = Memory::with_table();
    let statements = |mut plan: WritePlan| {
        plan.before = vec!["one".to_owned(), "two".to_owned()];
        plan.after = vec!["three".to_owned(), "four".to_owned()];
        plan
    };
    let noted = |sql: &str| {
        memory.server().log.iter().filter(|entry| entry.starts_with(&format!("{sql}\n"))).count()
    };
    let plan = statements(tokened("r", WriteMode::Insert));
    let first = process(&memory);
    first.prepare(&plan).unwrap();
    // The row as a process has left it that was killed between the two.
    memory.server().tamper("UPDATE transload_run SET state = 'preparing', step = 1");
    drop(first);
    let second = process(&memory);
    second.prepare(&plan).unwrap();
    assert_eq!((noted("one"), noted("two")), (1, 2));
    assert_eq!(
        memory.server().ask("SELECT state, step, epoch FROM transload_run"),
        ["writing|2|2"]
    );
    let receipts = finish(open(&second, &plan));
    // It fails between the two, and another process continues.
    memory.server().fail_later("run", 1, Fault::Refused);
    let error = coded(second.commit(&plan, &receipts), code::RUN_AFTER);
    assert_eq!(error.hint.as_deref(), Some("`transload resume r` repeats what failed, and no row"));
    assert_eq!(memory.server().ask("SELECT state, step FROM transload_run"), ["published|3"]);
    drop(second);
    let third = process(&memory);
    let plan = statements(resumed("r", WriteMode::Insert));
    assert_eq!(third.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!((noted("three"), noted("four")), (1, 1));
}

#[test]
fn an_earlier_process_of_the_run_cannot_end_it() {
    for mode in [WriteMode::Insert, WriteMode::Overwrite] {
        let memory = Memory::with_table();
        let (first, mut task) = begun(&memory, mode);
        chunk(&mut *task, 0, 0, &[1]).unwrap();
        let receipts = finish(task);
        memory.server().end_lockers();
        let second = process(&memory);
        second.prepare(&resumed("r", mode)).unwrap();
        if mode == WriteMode::Insert {
            coded(first.commit(&tokened("r", mode), &receipts), code::RUN_FENCED);
        } else {
            let late = first.commit(&tokened("r", mode), &receipts).unwrap_err();
            assert_eq!(late.kind, ErrorKind::Locked, "{late}");
            // Not even with the lock.
            memory.server().end_lockers();
            coded(first.commit(&tokened("r", mode), &receipts), code::RUN_FENCED);
        }
        assert_eq!(memory.server().ask("SELECT state FROM transload_run"), ["writing"], "{mode:?}");
    }
}

#[test]
fn a_failed_prepare_lets_go_of_the_target() {
    let memory = Memory::with_table();
    let mut plan = tokened("r", WriteMode::Insert);
    plan.before = vec!["one".to_owned()];
    memory.server().fail_later("run", 2, Fault::Refused); // behind the two tables
    let writer = process(&memory);
    writer.prepare(&plan).unwrap_err();
    assert_eq!(memory.server().ask("SELECT state, active_key FROM transload_run"), ["aborted|-"]);
    // The same run can be prepared again, but not continued.
    coded(
        process(&memory).prepare(&WritePlan { is_resumed: true, ..plan.clone() }),
        code::RUN_TOKEN,
    );
    process(&memory).prepare(&plan).unwrap();
    assert_eq!(memory.server().ask("SELECT state, active_key FROM transload_run"), ["writing|t"]);
}

#[test]
fn a_run_that_is_given_up_writes_nothing_more() {
    let memory = Memory::with_table();
    let (_writer, mut task) = begun(&memory, WriteMode::Insert);
    chunk(&mut *task, 0, 0, &[1]).unwrap();
    process(&memory).abort(&resumed("r", WriteMode::Insert), &[]).unwrap();
    coded(task.begin_chunk(1), code::RUN_FENCED);
    let late =
        process(&memory).open(&tokened("r", WriteMode::Insert), &TaskContext { task: 9, epoch: 0 });
    assert_eq!(coded(late.map(drop), code::RUN_TOKEN).kind, ErrorKind::Locked);
    assert_eq!(rows(&memory), [1]);
    assert_eq!(memory.server().ask("SELECT state, active_key FROM transload_run"), ["aborted|-"]);
    process(&memory).abort(&resumed("r", WriteMode::Insert), &[]).unwrap();
}

#[test]
fn a_stage_that_a_crash_has_emptied_is_filled_again() {
    let memory = Memory::with_table();
    let (first, mut task) = begun(&memory, WriteMode::Overwrite);
    chunk(&mut *task, 0, 0, &[1, 2]).unwrap();
    drop((first, task));
    memory.server().restart("t__r", &[]);
    let (plan, writer) = (resumed("r", WriteMode::Overwrite), process(&memory));
    writer.prepare(&plan).unwrap();
    let mut task = open(&writer, &plan);
    assert_eq!(task.progress().unwrap(), None);
    chunk(&mut *task, 0, 0, &[1, 2]).unwrap();
    let receipts = finish(task);
    writer.commit(&plan, &receipts).unwrap();
    assert_eq!(rows(&memory), [1, 2]);
}

#[test]
fn a_stage_without_tokens_begins_again_task_by_task() {
    let memory = Memory::with_table();
    let without = |is_resumed| WritePlan { is_resumed, ..plan("r", WriteMode::Overwrite) };
    let first = process(&memory);
    first.prepare(&without(false)).unwrap();
    let mut done = first.open(&without(false), &TaskContext { task: 1, epoch: 0 }).unwrap();
    chunk(&mut *done, 0, 0, &[5]).unwrap();
    let done = done.finish().unwrap();
    let mut task = open(&first, &without(false));
    chunk(&mut *task, 0, 0, &[1]).unwrap();
    // As after a kill: nothing is undone.
    std::mem::forget(task);
    drop(first);
    let writer = process(&memory);
    writer.prepare(&without(true)).unwrap();
    let mut task = open(&writer, &without(true));
    chunk(&mut *task, 0, 0, &[1, 2]).unwrap();
    let receipts = [task.finish().unwrap(), done];
    writer.commit(&without(true), &receipts).unwrap();
    assert_eq!(rows(&memory), [5, 1, 2]);
}

#[test]
fn drafts_say_what_tokens_give_and_what_is_missing() {
    let memory = Memory::with_table();
    let draft = process(&memory).draft(&tokened("r", WriteMode::Insert)).unwrap();
    assert_eq!(draft.guarantee, Guarantee::EffectivelyOnce);
    assert!(draft.because.contains("its token in `transload_task`"), "{}", draft.because);
    let creates =
        draft.statements.iter().filter(|it| it.text.starts_with("CREATE TABLE \"transload_"));
    assert_eq!(creates.count(), 2);
    let staged = process(&memory).draft(&tokened("r", WriteMode::Overwrite)).unwrap();
    assert_eq!(staged.guarantee, Guarantee::AtomicJob);

    let mut without = tokened("r", WriteMode::Insert);
    without.tokens = Some(TokenTables::default());
    let error = coded(process(&memory).draft(&without), code::TOKENS_MISSING);
    assert_eq!(
        error.message,
        "the tables for commit tokens do not exist: `transload_run`, `transload_task`"
    );
    assert!(error.hint.unwrap().contains("transload meta-ddl CONNECTION"));
    coded(process(&memory).prepare(&without), code::TOKENS_MISSING);
    assert_eq!(memory.server().ask("SELECT count(*) FROM sqlite_schema"), ["0"]);

    // An administrator has made them.
    for sql in process(&memory).token_ddl(&TokenTables::default()).unwrap() {
        memory.server().tamper(&sql);
    }
    let draft = process(&memory).draft(&without).unwrap();
    assert_eq!(draft.guarantee, Guarantee::EffectivelyOnce);
    assert!(draft.statements.iter().all(|it| !it.text.contains("transload_")));

    memory.server().tamper("ALTER TABLE transload_task DROP COLUMN checkpoint");
    let error = coded(process(&memory).draft(&without), code::TOKENS_UNFIT);
    assert!(error.message.ends_with("it lacks column `checkpoint`"), "{error}");

    let long = TokenTables { prefix: "p".repeat(61), create: true, ..TokenTables::default() };
    let long = WritePlan { tokens: Some(long), ..without.clone() };
    let error = process(&memory).draft(&long).unwrap_err();
    assert!(error.message.ends_with("is longer than 63 bytes"), "{error}");

    memory.server().is_blind = true;
    let draft = process(&memory).draft(&without).unwrap();
    assert_eq!(draft.guarantee, Guarantee::AtLeastOnce);
    assert_eq!(draft.because, "commit tokens cannot be used: `t` forgets");
}

#[test]
fn the_ddl_names_the_schema_and_the_prefix() {
    let tables =
        TokenTables { schema: Some("meta".to_owned()), prefix: "tl_".to_owned(), create: false };
    let ddl = process(&Memory::with_table()).token_ddl(&tables).unwrap();
    assert_eq!(ddl[0], "CREATE SCHEMA IF NOT EXISTS \"meta\"");
    assert!(ddl[1].starts_with("CREATE TABLE \"meta\".\"tl_run\" ("), "{}", ddl[1]);
    assert!(ddl[2].starts_with("CREATE TABLE \"meta\".\"tl_task\" ("), "{}", ddl[2]);
}
