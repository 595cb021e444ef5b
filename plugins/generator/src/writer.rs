//! The writing side: counts and sums up what it is given, in memory, and fails on request.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_array::RecordBatch;
use serde::Serialize;
use transload_plugin_api::{
    ChunkOutcome, Column, Counters, DirtyRow, Error, ErrorKind, Finding, Guarantee, Host, Options,
    Position, Receipt, Result, Statement, TableInfo, TargetInfo, TaskContext, WriteDraft,
    WriteMode, WritePlan, WriteTask, Writer, Written,
};

use crate::{
    checksum::{self, NULL},
    options::WriterOptions,
    pause::Pause,
    random::mix,
    table::{self, Chunk, SharedTable, Tally, lock},
};

/// A destination that keeps fingerprints of rows.
pub(crate) struct GeneratorWriter {
    options: Arc<WriterOptions>,
    target: TargetInfo,
    table: SharedTable,
    pause: Pause,
    /// `retry_at` has had its effect.
    retried: Arc<AtomicBool>,
}

impl GeneratorWriter {
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let options = WriterOptions::parse(options)?;
        let columns = options.target_columns()?;
        let target = TargetInfo {
            name: options.table.clone().unwrap_or_else(|| "generator".to_owned()),
            exists: true,
            keys: options.target_keys(&columns)?,
            columns,
            notes: Vec::new(),
        };
        Ok(Self {
            table: table::named(options.table.as_deref()),
            target,
            pause: Pause::new(host.cancel()),
            options: Arc::new(options),
            retried: Arc::default(),
        })
    }

    /// Whether rows are kept by key.
    fn keyed(&self, plan: &WritePlan) -> bool {
        self.options.key_dedup && !plan.key.is_empty()
    }

    fn check_mode(&self, plan: &WritePlan) -> Result<()> {
        let needs_key =
            matches!(plan.mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace);
        if !needs_key || self.keyed(plan) {
            return Ok(());
        }
        let message = format!("the write mode `{}` needs keys", plan.mode.word());
        Err(Error::new(ErrorKind::Schema, message)
            .hint("set `key_dedup = true` and give the job a `key`"))
    }

    /// The target's column of that name, or the plan's own where any column will do.
    fn target_column(&self, planned: &Column) -> Result<Column> {
        if self.target.columns.is_empty() {
            return Ok(planned.clone());
        }
        let column = self.target.columns.iter().find(|column| column.name == planned.name);
        column.cloned().ok_or_else(|| {
            let message = format!("the target has no column `{}`", planned.name);
            Error::new(ErrorKind::Schema, message)
        })
    }

    fn report(&self, plan: &WritePlan, path: &Path) -> Result<()> {
        let table = lock(&self.table);
        let report = Report { run: &plan.run, chunks: table.chunks, tally: table.tally() };
        let text = serde_json::to_vec_pretty(&report)
            .map_err(|error| Error::new(ErrorKind::Defect, error.to_string()))?;
        // Whoever waits for the file finds all of it or nothing.
        let unfinished = path.with_extension("unfinished");
        let place = |error: std::io::Error| Error::from(error).at(path.display().to_string());
        std::fs::write(&unfinished, text).map_err(place)?;
        std::fs::rename(&unfinished, path).map_err(place)
    }
}

/// The report file: what the table holds after the run.
#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    chunks: u64,
    #[serde(flatten)]
    tally: Tally,
}

impl Writer for GeneratorWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let detail = format!("`{}` is kept in memory", self.target.name);
        Ok(vec![Finding { stage: "options".to_owned(), ok: true, detail }])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let info = |(name, rows)| TableInfo { name, kind: "memory".to_owned(), rows: Some(rows) };
        Ok(table::all().into_iter().map(info).collect())
    }

    fn inspect(&self) -> Result<TargetInfo> {
        Ok(self.target.clone())
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        self.check_mode(plan)?;
        key_indices(plan)?;
        update_indices(plan)?;
        if plan.create_table || !plan.before.is_empty() || !plan.after.is_empty() {
            let message = "the generator neither makes tables nor runs statements";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let overwrites = plan.mode == WriteMode::Overwrite;
        let clears = || Statement {
            text: format!("replace all rows of `{}`", self.target.name),
            destructive: true,
        };
        Ok(WriteDraft {
            columns: plan.columns.iter().map(|it| self.target_column(it)).collect::<Result<_>>()?,
            statements: overwrites.then(clears).into_iter().collect(),
            guarantee: match plan.mode {
                WriteMode::Overwrite => Guarantee::AtomicJob,
                _ if self.keyed(plan) => Guarantee::Convergent,
                _ => Guarantee::AtLeastOnce,
            },
            because: "the rows live in memory, without a record of progress".to_owned(),
            warnings: Vec::new(),
        })
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.check_mode(plan)?;
        lock(&self.table).content(plan);
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        self.check_mode(plan)?;
        let mut table = lock(&self.table);
        let epoch = table.epochs.entry((plan.run.clone(), task.task)).or_default();
        *epoch = task.epoch.max(*epoch);
        Ok(Box::new(GeneratorTask {
            key: if self.keyed(plan) { key_indices(plan)? } else { Vec::new() },
            replaces: update_indices(plan)?,
            plan: plan.clone(),
            context: *task,
            options: Arc::clone(&self.options),
            table: Arc::clone(&self.table),
            pause: self.pause.clone(),
            retried: Arc::clone(&self.retried),
            chunk: None,
            rows: 0,
            chunks: 0,
        }))
    }

    fn commit(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<ChunkOutcome> {
        {
            let mut table = lock(&self.table);
            if table.finished.contains(&plan.run) {
                return Ok(ChunkOutcome::AlreadyCommitted);
            }
            table.publish(plan);
            table.finished.insert(plan.run.clone());
        }
        if let Some(path) = &self.options.report {
            self.report(plan, path)?;
        }
        Ok(ChunkOutcome::Committed)
    }

    fn abort(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        lock(&self.table).drop_stage(&plan.run);
        Ok(())
    }

    fn finalise(&self, _plan: &WritePlan) -> Result<()> {
        Ok(()) // a commit leaves nothing behind
    }
}

fn index_of(plan: &WritePlan, name: &str) -> Result<usize> {
    plan.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let message = format!("the plan has no column `{name}`");
        Error::new(ErrorKind::Schema, message)
    })
}

fn key_indices(plan: &WritePlan) -> Result<Vec<usize>> {
    plan.key.iter().map(|name| index_of(plan, name)).collect()
}

/// The columns that a row replaces in the one with its key: an upsert's `update_columns` (all
/// that are not key if it names none), otherwise all.
fn update_indices(plan: &WritePlan) -> Result<Vec<usize>> {
    if plan.mode != WriteMode::Upsert {
        return Ok((0..plan.columns.len()).collect());
    }
    if !plan.update_columns.is_empty() {
        return plan.update_columns.iter().map(|name| index_of(plan, name)).collect();
    }
    let not_key = |index: &usize| !plan.key.contains(&plan.columns[*index].name);
    Ok((0..plan.columns.len()).filter(not_key).collect())
}

/// The writing of one task.
struct GeneratorTask {
    plan: WritePlan,
    context: TaskContext,
    options: Arc<WriterOptions>,
    table: SharedTable,
    pause: Pause,
    retried: Arc<AtomicBool>,
    /// Where the key columns stand; empty if rows are not kept by key.
    key: Vec<usize>,
    /// Where the columns stand that a conflict replaces.
    replaces: Vec<usize>,
    chunk: Option<OpenChunk>,
    /// Rows taken in committed chunks.
    rows: u64,
    chunks: u64,
}

/// The chunk that is being written.
struct OpenChunk {
    sequence: u64,
    /// Rows taken in this chunk.
    rows: u64,
    changes: Chunk,
}

impl GeneratorTask {
    /// Fails or panics if the job asks for it at one of the next `count` rows.
    fn fault(&self, sequence: u64, first: u64, count: u64) -> Result<()> {
        let here = |row: &u64| (first..first + count).contains(row);
        if let Some(row) = self.options.panic_at.filter(here) {
            panic!("panics at row {row} because `panic_at` asks for it");
        }
        if let Some(row) = self.options.fail_at.filter(here) {
            let message = "fails because `fail_at` asks for it";
            return Err(Error::new(ErrorKind::Other, message).at(format!("row {row}")));
        }
        if self.options.retry_at == Some(sequence) && !self.retried.swap(true, Ordering::Relaxed) {
            let message = "asks for a replay because `retry_at` does";
            return Err(Error::new(ErrorKind::Retry, message).at(format!("chunk {sequence}")));
        }
        Ok(())
    }

    /// The rows, by index, that are dirty on request.
    fn dirty_rows(&self, first: u64, count: u64) -> Vec<DirtyRow> {
        let every = self.options.dirty_every;
        if every == 0 {
            return Vec::new();
        }
        let hit = |index: &u64| (first + index + 1).is_multiple_of(every);
        let reason = "dirty because `dirty_every` asks for it";
        (0..count).filter(hit).map(|row| dirty(row, None, "generated", reason)).collect()
    }

    /// Sorts the rows into the chunk by key, by the plan's write mode.
    fn write_keyed(&self, columns: &[Vec<u64>], written: &mut Written, changes: &mut Chunk) {
        let mut table = lock(&self.table);
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
                    written.dirty.push(dirty(index, name, "unique", "the key is there already"));
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
    DirtyRow {
        row,
        place: None,
        column: column.map(str::to_owned),
        value: None,
        code: code.to_owned(),
        reason: reason.to_owned(),
    }
}

fn no_chunk() -> Error {
    Error::new(ErrorKind::Defect, "no chunk is open")
}

impl WriteTask for GeneratorTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        if self.chunk.is_some() {
            return Err(Error::new(ErrorKind::Defect, "a chunk is open already"));
        }
        let changes = Chunk::new(self.replaces.clone());
        self.chunk = Some(OpenChunk { sequence, rows: 0, changes });
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        self.pause.wait(self.options.delay)?;
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
        let mut table = lock(&self.table);
        let newest = table.epochs.get(&(self.plan.run.clone(), self.context.task));
        if newest.is_some_and(|newest| *newest > self.context.epoch) {
            return Ok(ChunkOutcome::Fenced);
        }
        table.content(&self.plan).merge(&self.plan, changes)?;
        table.chunks += 1;
        self.rows += rows;
        self.chunks += 1;
        if self.options.commit_unknown_at == Some(sequence) {
            let evidence = "`commit_unknown_at` asks for it".to_owned();
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
            return Err(Error::new(ErrorKind::Defect, "the last chunk is still open"));
        }
        let data = serde_json::json!({"rows": self.rows, "chunks": self.chunks}).to_string();
        Ok(Receipt { task: self.context.task, data })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(()) // an open chunk is dropped with the task; a stage goes with the run's abort
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use arrow_array::Int64Array;
    use serde_json::{Value, json};
    use transload_plugin_api::{LogicalType, schema_of};

    use super::*;

    fn writer(values: Value) -> GeneratorWriter {
        let Value::Object(values) = values else { panic!("an object") };
        GeneratorWriter::new(&Options { values, schema: Vec::new() }, &Host::detached()).unwrap()
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
        lock(&writer.table).tally().rows
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
    fn t44_modes_that_need_a_key_are_refused_without() {
        for mode in [WriteMode::Ignore, WriteMode::Upsert, WriteMode::Replace] {
            assert!(writer(json!({"key_dedup": true})).draft(&plan(mode)).is_ok());
            let error = writer(json!({})).draft(&plan(mode)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Schema);
            let keyless = WritePlan { key: Vec::new(), ..plan(mode) };
            assert!(writer(json!({"key_dedup": true})).draft(&keyless).is_err());
        }
    }

    #[test]
    fn a_target_with_columns_takes_no_others() {
        let writer = writer(json!({"columns": {"id": "int32 not null"}, "key": ["id"]}));
        let draft = writer.draft(&plan(WriteMode::Insert)).unwrap();
        assert_eq!(draft.columns[0].logical, LogicalType::Int32);
        let mut other = plan(WriteMode::Insert);
        other.columns.push(Column::new("more", LogicalType::TEXT, true));
        assert_eq!(writer.draft(&other).unwrap_err().kind, ErrorKind::Schema);
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
