//! The writing side: what the target is, what a plan would do to it, and the chunks of one task.
//! No verb but `counts` has a default: a writer that cannot do one says
//! [`crate::ErrorKind::Unsupported`].
//!
//! # The order of verbs
//!
//! Job: `inspect`, `draft`, then `prepare`, then tasks, then `commit` and `finalise`; `abort`
//! instead of `commit` when a task failed. Task: `begin_chunk`, `write`..., `commit_chunk` or
//! `rollback_chunk`, and so on; `finish`, or `abort`, or a plain drop, which must leave no more
//! than `abort` would.

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::{Column, Count, DirtyRow, Finding, Guarantee, Position, Result, TableInfo, WriteMode};

/// A destination. Verbs may be called from several of the host's threads at once and may block.
pub trait Writer: Send + Sync {
    /// Looks whether the destination can be reached and written, stage by stage, and writes
    /// nothing. A failed stage is a finding, not an error.
    fn check(&self) -> Result<Vec<Finding>>;

    /// The tables (files, collections) that this connection offers.
    fn discover(&self) -> Result<Vec<TableInfo>>;

    /// The target as it stands. A missing target is an answer, not an error.
    fn inspect(&self) -> Result<TargetInfo>;

    /// What this plan would do, checked against the target and against the store's rules. Changes
    /// nothing.
    ///
    /// # Errors
    /// Whatever makes the plan impossible: a mode the store has not, a key the target lacks.
    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft>;

    /// Makes ready: locks, `before` statements, created tables, stages. Called once a run, after
    /// the source has been opened. Calling it again with the same run changes nothing more.
    fn prepare(&self, plan: &WritePlan) -> Result<()>;

    /// Opens one task's writing. Nothing that it writes is visible before its first committed
    /// chunk, or before [`Writer::commit`] where the mode stages.
    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>>;

    /// Makes the job's result visible, in the tasks' order, and runs `after` statements.
    /// A second call with the same receipts answers [`ChunkOutcome::AlreadyCommitted`].
    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome>;

    /// Removes what the run has staged; committed chunks stay. Safe to call at any time after
    /// `prepare`, and more than once. Must not delete what an unknown outcome may have published.
    fn abort(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<()>;

    /// Removes leftovers after a commit. Safe to call more than once.
    fn finalise(&self, plan: &WritePlan) -> Result<()>;

    /// What the writer and its tasks have counted of their dealings with the destination, each
    /// name once. Asks the destination for nothing. By default nothing is counted.
    fn counts(&self) -> Result<Vec<Count>> {
        Ok(Vec::new())
    }
}

/// The writing of one task, by one thread.
pub trait WriteTask: Send {
    /// Starts chunk `sequence`, counted from 0.
    fn begin_chunk(&mut self, sequence: u64) -> Result<()>;

    /// Adds a batch to the chunk. Rows that the store refuses for their values come back as dirty
    /// rows, and all others are in; `inserted + updated + skipped + dirty` is the batch's count.
    /// [`crate::ErrorKind::Retry`] asks for a rollback and a replay of the whole chunk. What this
    /// answers holds once the chunk is committed: a writer that sends a chunk in one go may find
    /// refused rows no sooner, and asks for the replay then.
    fn write(&mut self, batch: &RecordBatch) -> Result<Written>;

    /// Commits the chunk. `position` is where the reader goes on, `counters` the task's totals
    /// including this chunk.
    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome>;

    /// Forgets the chunk: nothing of it stays. Also right when no chunk is open.
    fn rollback_chunk(&mut self) -> Result<()>;

    /// Ends the task after its last committed chunk.
    fn finish(self: Box<Self>) -> Result<Receipt>;

    /// Ends the task and removes what it staged.
    fn abort(self: Box<Self>) -> Result<()>;
}

/// What became of a batch's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Rows that are new in the target.
    pub inserted: u64,
    /// Rows whose key was there and that changed it, or replaced it.
    pub updated: u64,
    /// Rows whose key was there and that were left out.
    pub skipped: u64,
    /// Rows that the store refused, by index in the batch.
    #[serde(default)]
    pub dirty: Vec<DirtyRow>,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChunkOutcome {
    /// It is in.
    Committed,
    /// It was in before.
    AlreadyCommitted,
    /// A newer attempt owns the task: stop, nothing was written.
    Fenced,
    /// It may or may not be in. Keep everything and stop.
    Unknown {
        /// What is known.
        evidence: String,
    },
}

/// Row counts of a task or a job. `read = inserted + updated + skipped + dirty` at every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Rows taken from the source, dirty ones included.
    pub read: u64,
    /// Rows new in the target.
    pub inserted: u64,
    /// Rows that changed or replaced one in the target.
    pub updated: u64,
    /// Rows left out because their key was there.
    pub skipped: u64,
    /// Rows that could not be read, converted or written.
    pub dirty: u64,
}

impl Counters {
    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.skipped += other.skipped;
        self.dirty += other.dirty;
    }
}

/// How rows travel to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadMethod {
    /// The writer chooses.
    #[default]
    Auto,
    /// Statements with bound values.
    Insert,
    /// The store's bulk protocol.
    Copy,
}

impl LoadMethod {
    /// The word in job files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Insert => "insert",
            Self::Copy => "copy",
        }
    }
}

/// What a task hands to the job's commit; opaque to the host, at most 4 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The task's number.
    pub task: u32,
    /// What [`Writer::commit`] needs.
    pub data: String,
}

/// A primary or unique key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name in the store; may be empty.
    #[serde(default)]
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// Whether it is the primary key.
    pub primary: bool,
    /// It cannot decide conflicts: partial, deferrable, on an expression.
    #[serde(default)]
    pub unusable: bool,
}

/// A target as it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Its name, as messages print it.
    pub name: String,
    /// Whether it is there. If not, `columns` is empty.
    pub exists: bool,
    /// Its columns, in order. Empty for a target that takes any columns (files).
    pub columns: Vec<Column>,
    /// Primary and unique keys.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// What the plan should tell, such as triggers or cascades.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What the host has decided about the writing of a run. Travels to every process that writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WritePlan {
    /// The run's id: letters, digits and `-`.
    pub run: String,
    /// The columns of every batch, in order, by the target's names and types.
    pub columns: Vec<Column>,
    /// The write mode.
    pub mode: WriteMode,
    /// The key columns that decide conflicts; empty where the mode needs none.
    #[serde(default)]
    pub key: Vec<String>,
    /// Columns that an upsert updates.
    #[serde(default)]
    pub update_columns: Vec<String>,
    /// How rows travel.
    #[serde(default)]
    pub load: LoadMethod,
    /// Make the target if it is not there, with `columns` and `key` as primary key.
    #[serde(default)]
    pub create_table: bool,
    /// Statements before the first row.
    #[serde(default)]
    pub before: Vec<String>,
    /// Statements after the last row.
    #[serde(default)]
    pub after: Vec<String>,
    /// How many tasks will write.
    #[serde(default)]
    pub tasks: u32,
}

/// What a plan would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WriteDraft {
    /// The columns as the writer will take them: the plan's, each in the type that it needs.
    pub columns: Vec<Column>,
    /// Every statement or step that is not one of rows, in order.
    #[serde(default)]
    pub statements: Vec<Statement>,
    /// The guarantee that the writer's side can give.
    pub guarantee: Guarantee,
    /// Why not a better one.
    #[serde(default)]
    pub because: String,
    /// What the user should know before running it.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// SQL, or a sentence.
    pub text: String,
    /// It removes or replaces what is there.
    #[serde(default)]
    pub destructive: bool,
}

/// Which task is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskContext {
    /// The task's number in the run, from 0.
    pub task: u32,
    /// The attempt's number, from 0; a higher one fences a lower one where the store can.
    pub epoch: u32,
}
