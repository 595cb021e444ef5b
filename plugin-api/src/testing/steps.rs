//! A run step by step, for a plugin's own tests: short plans and arrays, a reader's rows, a
//! writer's chunks. Requirements on every plugin are in the suite; these functions only make tests
//! shorter.
//!
//! ```
//! use transload_plugin_api::{WriteMode, testing::steps};
//!
//! let plan = steps::plan(WriteMode::Insert, &[("id", "int64"), ("name", "text")], &["id"]);
//! let arrays = vec![steps::integers([1, 2]), steps::texts([Some("a"), None])];
//! let rows = steps::batch(&plan, arrays);
//! assert_eq!((rows.num_rows(), rows.num_columns()), (2, 2));
//! ```

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::expect;
use crate::{
    ChunkOutcome, Column, Counters, DirtyRow, ErrorKind, Position, ReadBatch, ReadTask, Reader,
    Result, SplitRequest, TaskContext, WriteMode, WritePlan, WriteTask, Writer, Written, schema_of,
};

/// A plan for columns given as (name, type); all nullable.
pub fn plan(mode: WriteMode, columns: &[(&str, &str)], key: &[&str]) -> WritePlan {
    let column = |(name, logical): &(&str, &str)| {
        Column::new(*name, expect(logical.parse(), "a column's type"), true)
    };
    WritePlan {
        run: "r-1".to_owned(),
        columns: columns.iter().map(column).collect(),
        mode,
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        tasks: 1,
        ..WritePlan::default()
    }
}

/// Rows for a plan.
pub fn batch(plan: &WritePlan, arrays: Vec<ArrayRef>) -> RecordBatch {
    expect(RecordBatch::try_new(schema_of(&plan.columns), arrays), "a batch of the plan's columns")
}

/// An `int64` array.
pub fn integers(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values.into_iter().map(Into::into)))
}

/// A `text` array.
pub fn texts<'a>(values: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values.into_iter().map(Into::into)))
}

/// Drafts, prepares, writes each batch in a chunk of its own, and commits twice: the second commit
/// must return [`ChunkOutcome::AlreadyCommitted`].
///
/// # Errors
/// The writer's first error.
pub fn write_all(
    writer: &dyn Writer,
    plan: &WritePlan,
    batches: &[RecordBatch],
) -> Result<Vec<Written>> {
    writer.draft(plan)?;
    writer.prepare(plan)?;
    let mut task = writer.open(plan, &TaskContext { task: 0, epoch: 0 })?;
    let chunks = (0..).zip(batches).map(|(sequence, batch)| chunk(&mut *task, sequence, batch));
    let all = chunks.collect::<Result<Vec<_>>>()?;
    let receipt = task.finish()?;
    assert_eq!(writer.commit(plan, std::slice::from_ref(&receipt))?, ChunkOutcome::Committed);
    assert_eq!(writer.commit(plan, &[receipt])?, ChunkOutcome::AlreadyCommitted);
    writer.finalise(plan)?;
    Ok(all)
}

/// Writes a chunk of one batch, again as often as the writer asks for a replay.
///
/// # Errors
/// The writer's first error that does not ask for a replay.
pub fn chunk(task: &mut dyn WriteTask, sequence: u64, batch: &RecordBatch) -> Result<Written> {
    for _ in 0..10 {
        match try_chunk(task, sequence, batch) {
            Err(error) if error.kind == ErrorKind::Retry => task.rollback_chunk()?,
            outcome => return outcome,
        }
    }
    panic!("the chunk is replayed without end");
}

fn try_chunk(task: &mut dyn WriteTask, sequence: u64, batch: &RecordBatch) -> Result<Written> {
    task.begin_chunk(sequence)?;
    let written = task.write(batch)?;
    let outcome = task.commit_chunk(&Position::default(), &Counters::default())?;
    assert_eq!(outcome, ChunkOutcome::Committed);
    let Written { inserted, updated, skipped, dirty, .. } = &written;
    let sum = inserted + updated + skipped + dirty.len() as u64;
    assert_eq!(sum, batch.num_rows() as u64, "t12: every row is accounted for");
    Ok(written)
}

/// The counts of inserted, updated, skipped and dirty rows.
pub fn counts(written: &Written) -> (u64, u64, u64, usize) {
    (written.inserted, written.updated, written.skipped, written.dirty.len())
}

/// The reader's own columns, as it produces them.
pub fn own_columns(reader: &dyn Reader) -> Vec<Column> {
    let columns = expect(reader.schema(), "`schema`").columns;
    expect(reader.produces(&columns), "`produces`")
}

/// Reads every split to its end, in the reader's own columns.
pub fn read_all(reader: &dyn Reader, max: u32) -> Vec<Vec<ReadBatch>> {
    read_columns(reader, &own_columns(reader), max)
}

/// Reads every split to its end, in columns that the reader produces.
pub fn read_columns(reader: &dyn Reader, columns: &[Column], max: u32) -> Vec<Vec<ReadBatch>> {
    let request = SplitRequest::new(max, columns.to_vec());
    let splits = expect(reader.splits(&request), "`splits`");
    let read = |split| {
        let mut task = expect(reader.open(split, columns, None), "`open`");
        let next = || {
            let read = expect(task.next_batch(), "`next_batch`")?;
            assert_eq!(read.batch.schema(), schema_of(columns));
            Some(read)
        };
        std::iter::from_fn(next).collect()
    };
    splits.iter().map(read).collect()
}

/// Opens the first split of an undivided source, in the reader's own columns.
pub fn open_first(reader: &dyn Reader) -> Box<dyn ReadTask> {
    let columns = own_columns(reader);
    let request = SplitRequest::new(1, columns.clone());
    let splits = expect(reader.splits(&request), "`splits`");
    let first = splits.first().unwrap_or_else(|| panic!("a reader without splits"));
    expect(reader.open(first, &columns, None), "`open`")
}

/// The dirty rows of all batches.
pub fn dirty_rows(batches: &[Vec<ReadBatch>]) -> Vec<DirtyRow> {
    batches.iter().flatten().flat_map(|batch| batch.dirty.clone()).collect()
}
