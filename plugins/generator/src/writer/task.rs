//! The writing of one task: its chunks, the effect of key conflicts, and the faults that a job can
//! request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Cancel, ChunkOutcome, Counters, DirtyRow, Error, Position, Receipt, Result, TaskContext,
    WriteMode, WritePlan, WriteTask, Written,
};

use crate::{
    checksum::{self, NULL},
    options::WriterOptions,
    random::mix,
    table::{Chunk, SharedTable},
};

/// The writing of one task.
pub(super) struct GeneratorTask {
    pub(super) plan: WritePlan,
    pub(super) context: TaskContext,
    pub(super) options: Arc<WriterOptions>,
    pub(super) table: SharedTable,
    pub(super) cancel: Cancel,
    pub(super) retried: Arc<AtomicBool>,
    /// Indexes of the key columns; empty if rows are not kept by key.
    pub(super) key: Vec<usize>,
    /// Indexes of the columns that a conflict replaces.
    pub(super) replaces: Vec<usize>,
    pub(super) chunk: Option<OpenChunk>,
    /// Number of rows in committed chunks.
    pub(super) rows: u64,
    pub(super) chunks: u64,
}

/// The open chunk.
pub(super) struct OpenChunk {
    sequence: u64,
    /// Number of rows in this chunk.
    rows: u64,
    changes: Chunk,
}

impl GeneratorTask {
    /// Fails or panics if the job requests it at one of the next `count` rows.
    fn fault(&self, sequence: u64, first: u64, count: u64) -> Result<()> {
        let here = |row: &u64| (first..first + count).contains(row);
        if let Some(row) = self.options.panic_at.filter(here) {
            panic!("panics at row {row} because of `panic_at`");
        }
        if let Some(row) = self.options.fail_at.filter(here) {
            let message = "fails because of `fail_at`";
            return Err(Error::other(message).at(format!("row {row}")));
        }
        self.ask_for_replay("retry_at", self.options.retry_at, sequence)
    }

    /// Requests a replay, once per job, if this is the chunk that the option names.
    fn ask_for_replay(&self, option: &str, chunk: Option<u64>, sequence: u64) -> Result<()> {
        if chunk != Some(sequence) || self.retried.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let message = format!("requests a replay because of `{option}`");
        Err(Error::retry(message).at(format!("chunk {sequence}")))
    }

    /// The rows, by index, that are dirty on request.
    fn dirty_rows(&self, first: u64, count: u64) -> Vec<DirtyRow> {
        let every = self.options.dirty_every;
        if every == 0 {
            return Vec::new();
        }
        let hit = |index: &u64| (first + index + 1).is_multiple_of(every);
        let reason = "dirty because of `dirty_every`";
        (0..count).filter(hit).map(|row| dirty(row, None, "generated", reason)).collect()
    }

    /// Adds the rows to the chunk by key, according to the plan's write mode.
    fn write_keyed(&self, columns: &[Vec<u64>], written: &mut Written, changes: &mut Chunk) {
        let mut table = self.table.lock();
        let content = table.content(&self.plan);
        let refused = std::mem::take(&mut written.dirty);
        let mut refused = refused.into_iter().peekable();
        let mut row = vec![NULL; columns.len()];
        let rows = columns.first().map_or(0, Vec::len) as u64;
        for index in 0..rows {
            if let Some(dirty) = refused.next_if(|dirty| dirty.row == index) {
                written.dirty.push(dirty);
                continue;
            }
            row.iter_mut().zip(columns).for_each(|(cell, from)| *cell = from[index as usize]);
            let Some(key) = key_of(&row, &self.key) else {
                let name = self.null_key(&row);
                written.dirty.push(dirty(index, name, "null", "a key column is NULL"));
                continue;
            };
            let was_there = content.has(key);
            match (self.plan.mode, was_there || changes.has(key)) {
                (_, false) => written.inserted += 1,
                (WriteMode::Upsert | WriteMode::Replace, true) => written.updated += 1,
                (WriteMode::Ignore, true) => {
                    written.skipped += 1;
                    continue;
                }
                (WriteMode::Insert | WriteMode::Overwrite, true) => {
                    let name = self.plan.key.first().map(String::as_str);
                    written.dirty.push(dirty(index, name, "unique", "the key already exists"));
                    continue;
                }
            }
            changes.put(key, &row, was_there);
        }
    }

    fn null_key(&self, row: &[u64]) -> Option<&str> {
        let index = self.key.iter().find(|index| row[**index] == NULL)?;
        Some(&self.plan.columns[*index].name)
    }
}

/// The fingerprint of a row's key; `None` if a part of it is NULL.
fn key_of(row: &[u64], key: &[usize]) -> Option<u64> {
    let mut state = 0;
    for index in key {
        if row[*index] == NULL {
            return None;
        }
        state = mix(state ^ row[*index]);
    }
    Some(state)
}

fn dirty(row: u64, column: Option<&str>, code: &str, reason: &str) -> DirtyRow {
    DirtyRow { column: column.map(str::to_owned), ..DirtyRow::new(code, reason).row(row) }
}

fn no_chunk() -> Error {
    Error::defect("no chunk is open")
}

impl WriteTask for GeneratorTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        if self.chunk.is_some() {
            return Err(Error::defect("a chunk is open already"));
        }
        let changes = Chunk::new(self.replaces.clone());
        self.chunk = Some(OpenChunk { sequence, rows: 0, changes });
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        self.cancel.sleep(Duration::from_millis(self.options.delay))?;
        let mut chunk = self.chunk.take().ok_or_else(no_chunk)?;
        let (first, count) = (self.rows + chunk.rows, batch.num_rows() as u64);
        self.fault(chunk.sequence, first, count)?;
        let columns = batch.columns().iter().map(|column| checksum::fingerprints(column));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut written = Written { dirty: self.dirty_rows(first, count), ..Written::default() };
        if self.key.is_empty() {
            let leave_out: Vec<u64> = written.dirty.iter().map(|dirty| dirty.row).collect();
            chunk.changes.loose.add_columns(&columns, count, &leave_out);
            written.inserted = count - leave_out.len() as u64;
        } else {
            self.write_keyed(&columns, &mut written, &mut chunk.changes);
        }
        chunk.rows += count;
        self.chunk = Some(chunk);
        Ok(written)
    }

    fn commit_chunk(&mut self, _position: &Position, _counters: &Counters) -> Result<ChunkOutcome> {
        let OpenChunk { sequence, rows, changes } = self.chunk.take().ok_or_else(no_chunk)?;
        self.ask_for_replay("retry_commit_at", self.options.retry_commit_at, sequence)?;
        let mut table = self.table.lock();
        let newest = table.epochs.get(&(self.plan.run.clone(), self.context.task));
        if newest.is_some_and(|newest| *newest > self.context.epoch) {
            return Ok(ChunkOutcome::Fenced);
        }
        table.content(&self.plan).merge(&self.plan, changes)?;
        table.chunks += 1;
        self.rows += rows;
        self.chunks += 1;
        if self.options.commit_unknown_at == Some(sequence) {
            let evidence = "requested by `commit_unknown_at`".to_owned();
            return Ok(ChunkOutcome::Unknown { evidence });
        }
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        self.chunk = None;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        if self.chunk.is_some() {
            return Err(Error::defect("the last chunk is still open"));
        }
        let data = serde_json::json!({"rows": self.rows, "chunks": self.chunks}).to_string();
        Ok(Receipt { task: self.context.task, data })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(()) // an open chunk is dropped with the task; `abort` removes a run's stage
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use arrow_array::Int64Array;
    use serde_json::{Value, json};
    use transload_plugin_api::{Column, Host, LogicalType, Options, Writer, schema_of};

    use super::*;
    use crate::writer::GeneratorWriter;
    use transload_plugin_api::ErrorKind;

    fn writer(values: Value) -> GeneratorWriter {
        let Value::Object(values) = values else { panic!("an object") };
        GeneratorWriter::new(&Options { values, ..Options::default() }, &Host::detached()).unwrap()
    }

    fn plan(mode: WriteMode) -> WritePlan {
        let columns = vec![Column::new("id", LogicalType::Int64, false)];
        let key = vec!["id".to_owned()];
        WritePlan { run: "run".to_owned(), columns, mode, key, ..WritePlan::default() }
    }

    fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
        let ids = Arc::new(Int64Array::from_iter_values(ids));
        RecordBatch::try_new(schema_of(&plan(WriteMode::Insert).columns), vec![ids]).unwrap()
    }

    fn task(writer: &GeneratorWriter, epoch: u32) -> Box<dyn WriteTask> {
        writer.open(&plan(WriteMode::Insert), &TaskContext { task: 0, epoch }).unwrap()
    }

    fn commit(task: &mut dyn WriteTask) -> Result<ChunkOutcome> {
        task.commit_chunk(&Position::default(), &Counters::default())
    }

    fn rows(writer: &GeneratorWriter) -> u64 {
        writer.table.lock().tally().rows
    }

    #[test]
    fn faults_come_at_their_row_and_leave_nothing() {
        for fault in ["fail_at", "panic_at"] {
            let writer = writer(json!({fault: 7}));
            let mut task = task(&writer, 0);
            task.begin_chunk(0).unwrap();
            task.write(&batch(0..5)).unwrap();
            let write = || task.write(&batch(5..10));
            let Ok(result) = catch_unwind(AssertUnwindSafe(write)) else {
                assert_eq!(fault, "panic_at");
                continue;
            };
            assert_eq!(result.unwrap_err().place.as_deref(), Some("row 7"));
            task.rollback_chunk().unwrap();
            assert_eq!(rows(&writer), 0);
        }
    }

    #[test]
    fn a_replay_is_asked_for_once() {
        let writer = writer(json!({"retry_at": 1}));
        let mut task = task(&writer, 0);
        for (sequence, replays) in [(0, 0), (1, 1), (2, 0)] {
            for _ in 0..replays {
                task.begin_chunk(sequence).unwrap();
                assert_eq!(task.write(&batch(0..3)).unwrap_err().kind, ErrorKind::Retry);
                task.rollback_chunk().unwrap();
            }
            task.begin_chunk(sequence).unwrap();
            task.write(&batch(0..3)).unwrap();
            commit(&mut *task).unwrap();
        }
        assert_eq!(rows(&writer), 9);
    }

    #[test]
    fn dirty_rows_are_counted_over_batches_and_replays() {
        let writer = writer(json!({"dirty_every": 4}));
        let mut task = task(&writer, 0);
        for _ in 0..2 {
            task.begin_chunk(0).unwrap();
            for (ids, expected) in [(0..3, vec![]), (3..9, vec![0, 4])] {
                let written = task.write(&batch(ids)).unwrap();
                let dirty: Vec<_> = written.dirty.iter().map(|dirty| dirty.row).collect();
                assert_eq!(dirty, expected);
            }
            task.rollback_chunk().unwrap();
        }
    }

    #[test]
    fn an_unknown_commit_is_in() {
        let writer = writer(json!({"commit_unknown_at": 0}));
        let mut task = task(&writer, 0);
        task.begin_chunk(0).unwrap();
        task.write(&batch(0..3)).unwrap();
        assert!(matches!(commit(&mut *task).unwrap(), ChunkOutcome::Unknown { .. }));
        assert_eq!(rows(&writer), 3);
    }

    #[test]
    fn a_newer_attempt_fences_the_older_one() {
        let writer = writer(json!({}));
        let (mut old, mut new) = (task(&writer, 0), task(&writer, 1));
        for (task, outcome) in
            [(&mut old, ChunkOutcome::Fenced), (&mut new, ChunkOutcome::Committed)]
        {
            task.begin_chunk(0).unwrap();
            task.write(&batch(0..3)).unwrap();
            assert_eq!(commit(&mut **task).unwrap(), outcome);
        }
        assert_eq!(rows(&writer), 3);
    }

    #[test]
    fn calls_out_of_order_are_defects() {
        let writer = writer(json!({}));
        let mut task = task(&writer, 0);
        let defect = |result: Result<()>| {
            assert_eq!(result.unwrap_err().kind, ErrorKind::Defect);
        };
        defect(task.write(&batch(0..1)).map(drop));
        defect(commit(&mut *task).map(drop));
        task.begin_chunk(0).unwrap();
        defect(task.begin_chunk(1));
        defect(task.finish().map(drop));
    }

    #[test]
    fn the_report_tells_rows_checksums_and_nulls() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let writer = writer(json!({"report": path}));
        let mut task = task(&writer, 0);
        task.begin_chunk(0).unwrap();
        task.write(&batch(0..3)).unwrap();
        commit(&mut *task).unwrap();
        writer.commit(&plan(WriteMode::Insert), &[task.finish().unwrap()]).unwrap();
        let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let cells = checksum::fingerprints(batch(0..3).column(0)).unwrap();
        let sum = cells.into_iter().fold(0, u64::wrapping_add);
        let column = json!({"name": "id", "checksum": format!("{sum:016x}"), "nulls": 0});
        assert_eq!(report, json!({"run": "run", "chunks": 1, "rows": 3, "columns": [column]}));
    }
}
