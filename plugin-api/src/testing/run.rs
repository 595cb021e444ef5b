//! Drives a writer through one run as the host does, and checks every result: outcomes, sums of
//! rows, order of dirty rows, size of receipts. The cases are in `writer` and `modes`.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;

use super::{Subject, Target, expect, host};
use crate::{
    ChunkOutcome, Column, Counters, ErrorKind, Host, Plugin, Position, Receipt, Result,
    TaskContext, WriteMode, WritePlan, WriteTask, Writer, Written, schema_of,
};

/// How many replays of a chunk a writer may ask for.
const REPLAYS: u32 = 10;

/// A writer with the plan of one run.
pub(super) struct Run {
    pub(super) writer: Box<dyn Writer>,
    pub(super) plan: WritePlan,
}

/// A plan with a run id of its own.
pub(super) fn plan(mode: WriteMode, columns: &[Column], key: &[String]) -> WritePlan {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    WritePlan {
        run: format!("conformance-{}-{number}", std::process::id()),
        columns: columns.to_vec(),
        mode,
        key: key.to_vec(),
        tasks: 1,
        ..WritePlan::default()
    }
}

impl Run {
    /// A writer and a plan that it has drafted. The plan's columns are then the draft's.
    pub(super) fn draft(
        plugin: &dyn Plugin,
        subject: &dyn Subject,
        target: &dyn Target,
        plan: WritePlan,
    ) -> Result<Self> {
        Self::draft_by(plugin, host(subject), target, plan)
    }

    /// The same with a host of the caller's.
    pub(super) fn draft_by(
        plugin: &dyn Plugin,
        host: Host,
        target: &dyn Target,
        mut plan: WritePlan,
    ) -> Result<Self> {
        let writer = plugin.writer(target.writer_options(plan.mode), host)?;
        let draft = writer.draft(&plan)?;
        let names = |columns: &[Column]| {
            columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&draft.columns), names(&plan.columns), "`draft` changes the columns");
        plan.columns = draft.columns;
        Ok(Self { writer, plan })
    }

    /// Prepares the target for tasks.
    pub(super) fn prepare(&self) {
        expect(self.writer.prepare(&self.plan), "`prepare`");
    }

    /// Opens a task.
    pub(super) fn task(&self, task: u32) -> TaskRun {
        self.attempt(task, 0)
    }

    /// Opens a task as this attempt, which continues where the store says that the last one has come.
    pub(super) fn attempt(&self, task: u32, epoch: u32) -> TaskRun {
        let context = TaskContext { task, epoch };
        let mut task = expect(self.writer.open(&self.plan, &context), "`open`");
        let known = expect(task.progress(), "`progress`").unwrap_or_default();
        let (plan, chunk) = (self.plan.clone(), Vec::new());
        TaskRun { task, plan, sequence: known.chunks, replays: 0, chunk, total: known.counters }
    }

    /// Commits the run and finalises it.
    pub(super) fn commit(&self, receipts: &[Receipt]) {
        let outcome = expect(self.writer.commit(&self.plan, receipts), "`commit` of the job");
        assert_eq!(outcome, ChunkOutcome::Committed, "`commit` of the job");
        expect(self.writer.finalise(&self.plan), "`finalise`");
    }

    /// The whole run of one task: each inner slice of batches is a chunk.
    pub(super) fn complete(&self, chunks: &[&[RecordBatch]]) -> (Counters, Vec<Written>) {
        self.prepare();
        let mut task = self.task(0);
        let mut all = Vec::new();
        for chunk in chunks {
            task.begin();
            for batch in *chunk {
                task.write(batch);
            }
            all.extend(task.commit());
        }
        let total = task.total;
        self.commit(&[task.finish()]);
        (total, all)
    }
}

/// A task that is writing.
pub(super) struct TaskRun {
    pub(super) task: Box<dyn WriteTask>,
    plan: WritePlan,
    sequence: u64,
    replays: u32,
    /// The open chunk's batches and their results.
    chunk: Vec<(RecordBatch, Written)>,
    /// Of committed chunks.
    pub(super) total: Counters,
}

impl TaskRun {
    /// Begins the next chunk.
    pub(super) fn begin(&mut self) {
        self.chunk.clear();
        let what = format!("`begin_chunk` {}", self.sequence);
        expect(self.task.begin_chunk(self.sequence), &what);
    }

    /// Writes a batch, and the chunk again if the writer asks for that.
    pub(super) fn write(&mut self, batch: &RecordBatch) {
        let batch = in_columns(batch, &self.plan.columns);
        match self.try_write(&batch) {
            Some(written) => self.chunk.push((batch, written)),
            None => {
                self.chunk.push((batch, Written::default()));
                self.replay();
            }
        }
    }

    /// Writes a batch and checks the result: every row is counted once, dirty rows are in order and
    /// have a reason. `None` if the writer asks for a replay.
    fn try_write(&mut self, batch: &RecordBatch) -> Option<Written> {
        let written = passed(self.task.write(batch), "`write`")?;
        let Written { inserted, updated, skipped, dirty, .. } = &written;
        let rows = batch.num_rows() as u64;
        let sum = inserted + updated + skipped + dirty.len() as u64;
        assert_eq!(sum, rows, "inserted, updated, skipped and dirty of {rows} rows: {written:?}");
        let rising = dirty.windows(2).all(|pair| pair[0].row < pair[1].row);
        assert!(rising, "dirty rows come in the batch's order, each once: {dirty:?}");
        for row in dirty {
            assert!(row.row < rows, "a dirty row beyond the batch: {row:?}");
            assert!(!row.code.is_empty() && !row.reason.is_empty(), "without a reason: {row:?}");
        }
        Some(written)
    }

    /// Rolls the chunk back and writes it again, until the writer asks for no further replay.
    fn replay(&mut self) {
        let batches: Vec<_> = self.chunk.iter().map(|(batch, _)| batch.clone()).collect();
        loop {
            expect(self.task.rollback_chunk(), "`rollback_chunk` before a replay");
            self.replays += 1;
            assert!(self.replays <= REPLAYS, "chunk {} is replayed without end", self.sequence);
            self.begin();
            let written: Option<Vec<_>> =
                batches.iter().map(|batch| self.try_write(batch)).collect();
            if let Some(written) = written {
                self.chunk = batches.into_iter().zip(written).collect();
                return;
            }
        }
    }

    /// Commits the chunk and returns the results of its batches.
    pub(super) fn commit(&mut self) -> Vec<Written> {
        let position = Position(self.sequence.to_string().into_bytes());
        let outcome = loop {
            let mut total = self.total;
            self.chunk.iter().for_each(|(batch, written)| total.add(&counted(batch, written)));
            match passed(self.task.commit_chunk(&position, &total), "`commit_chunk`") {
                Some(outcome) => {
                    self.total = total;
                    break outcome;
                }
                None => self.replay(),
            }
        };
        assert_eq!(outcome, ChunkOutcome::Committed, "`commit_chunk` {}", self.sequence);
        self.sequence += 1;
        self.replays = 0;
        self.chunk.drain(..).map(|(_, written)| written).collect()
    }

    /// Finishes the task. Its receipt is small.
    pub(super) fn finish(self) -> Receipt {
        let receipt = expect(self.task.finish(), "`finish`");
        let bytes = receipt.data.len();
        assert!(bytes <= 4_096, "a receipt of {bytes} bytes");
        receipt
    }
}

/// The result, or `None` if the writer asks for a replay.
fn passed<T>(outcome: Result<T>, what: &str) -> Option<T> {
    match outcome {
        Err(error) if error.kind == ErrorKind::Retry => None,
        outcome => Some(expect(outcome, what)),
    }
}

/// The counters of one batch.
fn counted(batch: &RecordBatch, written: &Written) -> Counters {
    Counters {
        read: batch.num_rows() as u64,
        inserted: written.inserted,
        updated: written.updated,
        skipped: written.skipped,
        dirty: written.dirty.len() as u64,
    }
}

/// The batch with the schema of the plan's columns: the types are the same, the metadata may
/// differ.
pub(super) fn in_columns(batch: &RecordBatch, columns: &[Column]) -> RecordBatch {
    let batch = RecordBatch::try_new(schema_of(columns), batch.columns().to_vec());
    expect(batch, "the draft takes the batch's types")
}
