//! The host's side of the plugin: whole jobs through its methods, and tables as texts.

use arrow_array::RecordBatch;
use serde_json::Value;
use transload_plugin_api::{
    ChunkOutcome, Column, Counters, DirtyRow, Plugin, Position, Receipt, Result, TaskContext,
    WriteMode, WritePlan, WriteTask, Writer, schema_of,
};
use transload_plugin_object_store::ObjectStorePlugin;
use transload_tests_buckets::Bucket;
use transload_values::{CellWords, ColumnParser};

pub(crate) fn columns(list: &[(&str, &str)]) -> Vec<Column> {
    list.iter().map(|(name, logical)| Column::new(*name, logical.parse().unwrap(), true)).collect()
}

/// A batch of these texts; `NULL` is NULL.
pub(crate) fn batch(columns: &[Column], rows: &[Vec<String>]) -> RecordBatch {
    let words = CellWords::default();
    let build = |(index, column): (usize, &Column)| {
        let mut builder = ColumnParser::new(column, &words).unwrap();
        for row in rows {
            match row[index].as_str() {
                "NULL" => builder.append_null().unwrap(),
                text => builder.append_text(text.as_bytes()).unwrap(),
            }
        }
        builder.finish()
    };
    let arrays = columns.iter().enumerate().map(build).collect();
    RecordBatch::try_new(schema_of(columns), arrays).unwrap()
}

pub(crate) fn two_columns() -> Vec<Column> {
    columns(&[("id", "int64"), ("name", "text")])
}

/// Rows `id,x`.
pub(crate) fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let rows: Vec<_> = ids.into_iter().map(|id| vec![id.to_string(), "x".to_owned()]).collect();
    batch(&two_columns(), &rows)
}

pub(crate) fn writer(bucket: &Bucket, more: Value) -> Box<dyn Writer> {
    ObjectStorePlugin.writer(bucket.options(more), bucket.host()).unwrap()
}

pub(crate) fn plan(run: &str, columns: &[Column], mode: WriteMode) -> WritePlan {
    WritePlan {
        run: run.to_owned(),
        columns: columns.to_vec(),
        mode,
        tasks: 1,
        ..WritePlan::default()
    }
}

/// Writes a batch as a chunk.
pub(crate) fn chunk(task: &mut dyn WriteTask, batch: &RecordBatch) -> Vec<DirtyRow> {
    task.begin_chunk(0).unwrap();
    let written = task.write(batch).unwrap();
    assert_eq!(written.inserted as usize + written.dirty.len(), batch.num_rows());
    let outcome = task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    assert_eq!(outcome, ChunkOutcome::Committed);
    written.dirty
}

/// Writes one task's batches, each as a chunk, and finishes the task.
pub(crate) fn write_task(
    writer: &dyn Writer,
    plan: &WritePlan,
    task: u32,
    batches: &[RecordBatch],
) -> Result<(Receipt, Vec<DirtyRow>)> {
    let mut open = writer.open(plan, &TaskContext { task, epoch: 0 })?;
    let mut dirty = Vec::new();
    for batch in batches {
        dirty.extend(chunk(&mut *open, batch));
    }
    let receipt = open.finish()?;
    assert!(receipt.data.len() <= 4096, "{} bytes", receipt.data.len());
    Ok((receipt, dirty))
}

/// A whole job: each inner list is a task.
pub(crate) fn write(
    bucket: &Bucket,
    more: Value,
    plan: &WritePlan,
    tasks: &[Vec<RecordBatch>],
) -> Result<Vec<DirtyRow>> {
    let writer = ObjectStorePlugin.writer(bucket.options(more), bucket.host())?;
    writer.draft(plan)?;
    let plan = WritePlan { tasks: tasks.len() as u32, ..plan.clone() };
    writer.prepare(&plan)?;
    let (mut receipts, mut dirty) = (Vec::new(), Vec::new());
    for (task, batches) in tasks.iter().enumerate() {
        let (receipt, refused) = write_task(&*writer, &plan, task as u32, batches)?;
        receipts.push(receipt);
        dirty.extend(refused);
    }
    assert_eq!(writer.commit(&plan, &receipts)?, ChunkOutcome::Committed);
    assert_eq!(writer.commit(&plan, &receipts)?, ChunkOutcome::AlreadyCommitted);
    writer.finalise(&plan)?;
    writer.finalise(&plan)?;
    assert_eq!(writer.commit(&plan, &receipts)?, ChunkOutcome::AlreadyCommitted);
    assert_eq!(bucket.uploads(), 0, "an upload stays");
    assert!(
        !bucket.names().iter().any(|name| name.starts_with("_transload/")),
        "{:?}",
        bucket.names()
    );
    Ok(dirty)
}

/// The ids of all CSV or JSON-lines data below the prefix, sorted.
pub(crate) fn ids(bucket: &Bucket) -> Vec<i64> {
    let mut ids = Vec::new();
    for name in bucket.data() {
        let text = bucket.text(&name);
        let cells = text.lines().filter_map(|line| {
            let cell = line.split([',', '}']).next()?;
            cell.trim_start_matches("{\"id\":").parse::<i64>().ok()
        });
        ids.extend(cells);
    }
    ids.sort_unstable();
    ids
}
