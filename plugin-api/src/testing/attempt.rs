//! An attempt at a task of a run with commit tokens, as the process of the test makes it: its plan, and
//! chunks of three rows. Processes that are killed are `killing`'s.

use crate::{
    ChunkOutcome, Counters, Error, Position, Result, TaskContext, TokenTables, WriteMode,
    WritePlan, WriteTask, Writer,
};

use super::{expect, steps};

/// Bytes of the position that a chunk commits: as many as tokens hold.
const POSITION: usize = 8_192;

/// A plan with tokens for the columns `id` and `s`, of which `id` is the key where the mode needs one.
///
/// # Panics
/// Never.
pub fn plan(run: &str, mode: WriteMode) -> WritePlan {
    let tables = TokenTables { create: true, ..TokenTables::default() };
    let key = if mode == WriteMode::Insert { &[][..] } else { &["id"] };
    let plan = steps::plan(mode, &[("id", "int64"), ("s", "text")], key);
    let job = "nightly".to_owned();
    WritePlan { run: run.to_owned(), tokens: Some(tables), tasks: 2, job, ..plan }
}

/// An attempt at the first task of a run that is prepared.
///
/// # Panics
/// If that fails.
pub fn open(writer: &dyn Writer, plan: &WritePlan) -> Box<dyn WriteTask> {
    expect(writer.open(plan, &TaskContext { task: 0, epoch: 0 }), "`open`")
}

/// As [`open`], of a run that this call prepares.
///
/// # Panics
/// If that fails.
pub fn begun(writer: &dyn Writer, plan: &WritePlan) -> Box<dyn WriteTask> {
    expect(writer.prepare(plan), "`prepare`");
    open(writer, plan)
}

/// Writes and commits a chunk: three rows from three times its number on.
///
/// # Errors
/// Those of the task.
pub fn chunk(task: &mut dyn WriteTask, sequence: u64) -> Result<ChunkOutcome> {
    task.begin_chunk(sequence)?;
    finish(task, sequence)
}

/// As [`chunk`], of a chunk that is begun.
///
/// # Errors
/// Those of the task.
pub fn finish(task: &mut dyn WriteTask, sequence: u64) -> Result<ChunkOutcome> {
    let first = 3 * sequence as i64;
    let arrays = vec![steps::integers(first..first + 3), steps::texts(["a"; 3])];
    task.write(&steps::batch(&plan("", WriteMode::Insert), arrays))?;
    let total = 3 * (sequence + 1);
    let counters = Counters { read: total, inserted: total, ..Counters::default() };
    task.commit_chunk(&Position(vec![sequence as u8; POSITION]), &counters)
}

/// The error of an outcome, which has this code.
///
/// # Panics
/// If it has another one, or is no error.
pub fn coded<T>(outcome: Result<T>, code: &str) -> Error {
    match outcome {
        Err(error) if error.code == code => error,
        Err(error) => panic!("`{code}` was expected: {error:?}"),
        Ok(_) => panic!("`{code}` was expected, and nothing failed"),
    }
}
