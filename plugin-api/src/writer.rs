//! The writing side: the target, what a plan would do to it, and the chunks of one task. Choosing
//! the size of chunks, replaying them and counting rows are left to the host.
//!
//! # The order of calls
//!
//! * Job: `inspect` and `draft`, which change nothing; `prepare`; tasks; `commit` and `finalise`.
//!   `abort` instead of `commit` if a task failed.
//! * Task: `begin_chunk`, any number of `write`, then `commit_chunk` or `rollback_chunk`, and the
//!   next chunk. `finish` or `abort` ends it; so does a drop, which leaves no more than `abort`.
//!
//! A process may die between any two calls. The next run must find a target that its own
//! `prepare` can start from.

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::{
    Column, Count, DirtyRow, Error, Finding, Guarantee, KeepWatermark, KeptWatermark, Position,
    Result, TableInfo, WriteMode,
};

/// A destination.
///
/// The host calls it from several threads at once, and every method but `counts` may block on the
/// store. A call that blocks returns [`crate::ErrorKind::Cancelled`] within a second after the
/// stop signal; `abort` and `finalise` do their work regardless of it. A default does what is right
/// for any store, or returns [`crate::ErrorKind::Unsupported`], as a writer without an ability does.
///
/// The crate's documentation has a whole example.
pub trait Writer: Send + Sync {
    /// Checks stage by stage whether the destination can be reached and written, and writes
    /// nothing. A failed stage is a finding with `ok: false`, and the last one. The default has one
    /// stage, which inspects the target.
    ///
    /// # Errors
    /// Only if the check itself cannot run: wrong options, the stop signal.
    fn check(&self) -> Result<Vec<Finding>> {
        let target = |target: TargetInfo| match target.exists {
            true => format!("{} exists", target.name),
            false => format!("{} does not exist yet", target.name),
        };
        Finding::of("target", self.inspect().map(target))
    }

    /// The tables (files, collections) that this connection offers. The job's own `table` or
    /// `path` does not matter and may be missing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] if the store has no list of them, as by default.
    fn discover(&self) -> Result<Vec<TableInfo>> {
        Err(Error::unsupported("the store has no list of tables"))
    }

    /// The current target. A missing target is a result (`exists: false`), not an error.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Connection`], [`crate::ErrorKind::Denied`].
    fn inspect(&self) -> Result<TargetInfo>;

    /// What this plan would do, checked against the target and against the store's rules. Changes
    /// nothing, so it also serves `transload plan`.
    ///
    /// # Errors
    /// Whatever makes the plan impossible: [`crate::ErrorKind::Unsupported`] for a mode that the
    /// store does not have, [`crate::ErrorKind::Schema`] for a key or column that the target lacks.
    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft>;

    /// Prepares the run: locks, `before` statements, created tables, stages. Called once per run,
    /// after the source has been opened. A second call with the same run changes nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Locked`] if another run holds the target, [`crate::ErrorKind::Schema`]
    /// if the target changed since the draft.
    fn prepare(&self, plan: &WritePlan) -> Result<()>;

    /// Opens one task's writing. Nothing that it writes is visible before its first committed
    /// chunk, or before [`Writer::commit`] if the mode stages.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Connection`]; [`crate::ErrorKind::Defect`] before `prepare`.
    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>>;

    /// Makes the job's result visible, in the order of tasks, and runs `after` statements. Called
    /// when every task has finished. A second call with the same receipts, also from another
    /// process, returns [`ChunkOutcome::AlreadyCommitted`].
    ///
    /// # Errors
    /// Only if it is certain that nothing was committed. If that is uncertain, return
    /// [`ChunkOutcome::Unknown`].
    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome>;

    /// Removes what the run has staged, and a target that it has created and that holds no rows;
    /// committed chunks remain. Valid at any time after `prepare`, and more than once. Must not delete what an unknown outcome may have published.
    ///
    /// # Errors
    /// If something remains; the message names it.
    fn abort(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<()>;

    /// Removes leftovers of a committed run. Valid more than once.
    ///
    /// # Errors
    /// If something remains; the message names it. The run stays committed.
    fn finalise(&self, plan: &WritePlan) -> Result<()>;

    /// What the writer and its tasks have counted since they were made (requests, retries), each
    /// name once. Does not block and sends no request. The default counts nothing.
    ///
    /// # Errors
    /// None are expected; the host logs one and continues.
    fn counts(&self) -> Result<Vec<Count>> {
        Ok(Vec::new())
    }

    /// The statements that create the tables for commit tokens, for an administrator to run. Runs
    /// and checks nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] if the store keeps no tokens, as by default.
    fn token_ddl(&self, tables: &TokenTables) -> Result<Vec<String>> {
        let _ = tables;
        Err(Error::unsupported("the store keeps no commit tokens"))
    }
}

/// The writing of one task, by one thread at a time. Dropping it, at any moment, leaves no more
/// behind than [`WriteTask::abort`].
///
/// A chunk is in the target completely or not at all. The host keeps its batches until it is
/// committed, so that it can replay them.
pub trait WriteTask: Send {
    /// Starts chunk `sequence`, counted from 0. A replayed chunk has the same number again.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Defect`] if a chunk is open.
    fn begin_chunk(&mut self, sequence: u64) -> Result<()>;

    /// Adds a batch, of the plan's columns, to the chunk. Rows whose values the store refuses are
    /// returned as dirty rows, and all others are part of the chunk;
    /// `inserted + updated + skipped + dirty` is the number of rows of the batch. After
    /// [`WritePlan::enough_dirty`] dirty rows a writer may stop, and count the rows that it has not
    /// tried as skipped: the chunk will be rolled back.
    ///
    /// The counts become final when the chunk is committed. A writer that sends a chunk in one
    /// request learns of refused rows only then, and asks for a replay from `commit_chunk`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Retry`] asks for a rollback and a replay of the whole chunk: after a
    /// deadlock or a lost connection. Any other kind ends the task.
    fn write(&mut self, batch: &RecordBatch) -> Result<Written>;

    /// Commits the chunk. `position` is the source's position after it, `counters` the task's
    /// totals including it: a store that can keep both with the rows makes a run resumable.
    ///
    /// # Errors
    /// Only if it is certain that nothing was committed; [`crate::ErrorKind::Retry`] then asks for
    /// a replay. If it is uncertain, return [`ChunkOutcome::Unknown`].
    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome>;

    /// Discards the open chunk: none of its rows remains. Valid also without an open chunk, and
    /// after an error.
    ///
    /// # Errors
    /// An error ends the task. A lost connection is not one: the store has rolled back.
    fn rollback_chunk(&mut self) -> Result<()>;

    /// Ends the task after its last committed chunk.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Defect`] if a chunk is open.
    fn finish(self: Box<Self>) -> Result<Receipt>;

    /// Ends the task and removes what it has staged.
    ///
    /// # Errors
    /// If something remains; the message names it.
    fn abort(self: Box<Self>) -> Result<()>;

    /// How far earlier attempts of this task have come, as the store has kept it in the transactions
    /// of the rows: the position and counters of the last [`WriteTask::commit_chunk`]. `None` if no
    /// chunk was committed, and if the store keeps nothing of the kind, as by default. The host asks
    /// once, before the first chunk, continues from there, and counts chunks on.
    ///
    /// # Errors
    /// None are expected: [`Writer::open`] has asked the store.
    fn progress(&mut self) -> Result<Option<TaskProgress>> {
        Ok(None)
    }
}

/// What a store has kept of a task with its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// How many chunks are committed; the next one has this number.
    pub chunks: u64,
    /// The position that was passed with the last one.
    pub position: Position,
    /// The task's totals including the last one.
    pub counters: Counters,
    /// The task has finished: [`WriteTask::finish`] is all that is left to call, and returns the
    /// same receipt again. A store that has ended the whole run, and has forgotten its tasks, sets
    /// this and nothing else; the host then knows the counters from its journal.
    pub is_finished: bool,
}

/// The tables in which a database keeps commit tokens: one row for each run, one for each of its
/// tasks, changed in the transactions of the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTables {
    /// The schema (MySQL: the database) that holds them; by default the target's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// What their names begin with; `run` and `task` follow.
    pub prefix: String,
    /// They may be created if they are missing.
    #[serde(default)]
    pub create: bool,
}

impl Default for TokenTables {
    fn default() -> Self {
        Self { schema: None, prefix: "transload_".to_owned(), create: false }
    }
}

/// What happened to a batch's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Rows that are new in the target.
    pub inserted: u64,
    /// Rows whose key existed and that changed the existing row or replaced it.
    pub updated: u64,
    /// Rows whose key existed and that were left out.
    pub skipped: u64,
    /// Rows that the store refused, in the order of the batch, each once.
    #[serde(default)]
    pub dirty: Vec<DirtyRow>,
    /// Bytes that the writer keeps of these rows beside the batch until the chunk is committed, such
    /// as their text. The host counts them against the job's buffer. 0 where rows are sent at once.
    #[serde(default)]
    pub held: u64,
}

/// The outcome of a commit, of a chunk or of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChunkOutcome {
    /// The store has confirmed it.
    Committed,
    /// An earlier call, also of another process, had committed it. Nothing was written.
    AlreadyCommitted,
    /// A newer attempt owns the task. Nothing was written, and the host stops this attempt.
    Fenced,
    /// The connection was lost before the store's reply, and the store cannot be asked. The host
    /// keeps everything, stops, and reports the evidence.
    Unknown {
        /// What is known, for a human who decides.
        evidence: String,
    },
}

/// Row counts of a task or a job. `read = inserted + updated + skipped + dirty` at every commit.
///
/// # Examples
/// ```
/// use transload_plugin_api::Counters;
///
/// let mut total = Counters { read: 3, inserted: 2, dirty: 1, ..Counters::default() };
/// total.add(&Counters { read: 1, updated: 1, ..Counters::default() });
/// assert_eq!((total.read, total.inserted, total.updated, total.dirty), (4, 2, 1, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Rows taken from the source, dirty ones included.
    pub read: u64,
    /// Rows new in the target.
    pub inserted: u64,
    /// Rows that changed or replaced one in the target.
    pub updated: u64,
    /// Rows left out because their key existed.
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

/// How rows are sent to the store.
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

/// What a task passes to the job's commit, possibly in another process. Opaque to the host, at
/// most 4 KiB.
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

/// The current target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Its name, as messages print it.
    pub name: String,
    /// Whether it exists. If not, `columns` is empty.
    pub exists: bool,
    /// Its columns, in order. Empty for a target that takes any columns (files).
    pub columns: Vec<Column>,
    /// Primary and unique keys.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// About how many rows it holds, if the store knows it without counting or they are few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The rows were counted: their number is exact.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_counted: bool,
    /// Notes for the plan, such as triggers or cascades.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What the host has decided about the writing of a run. Travels as JSON to every process that
/// writes.
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
    /// How rows are sent.
    #[serde(default)]
    pub load: LoadMethod,
    /// Create the target if it does not exist, with `columns`, and `key` as primary key.
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
    /// Where commit tokens are kept, if the job requires them. A writer that cannot keep them drafts
    /// the guarantee that it can give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenTables>,
    /// The job's name, for messages to others that find its tokens or lock.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job: String,
    /// The run was prepared before, by a process that has ended: `prepare` runs no `before`
    /// statement again, and the target may hold rows of this run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_resumed: bool,
    /// A chunk with more dirty rows will not be committed; none if the job sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_dirty: Option<u64>,
    /// A task's part of the job's buffer, in bytes. What a task keeps across chunks should be a small
    /// multiple of it: a row group ends earlier where the buffer is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_buffer: Option<u64>,
    /// The job's watermark is kept beside the commit tokens. A writer that keeps it says so in
    /// [`WriteDraft::watermark`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<KeepWatermark>,
}

impl WritePlan {
    /// How many dirty rows of a batch are enough: some beyond the limit, which show what they have
    /// in common.
    pub fn enough_dirty(&self) -> Option<u64> {
        Some(self.max_dirty?.saturating_add(16))
    }
}

/// What a plan would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WriteDraft {
    /// The columns that the writer will accept: the plan's, each in the type that it needs. The
    /// host converts rows to them.
    pub columns: Vec<Column>,
    /// Every statement or step besides the sending of rows, in order.
    #[serde(default)]
    pub statements: Vec<Statement>,
    /// The guarantee that the writer's side can give.
    pub guarantee: Guarantee,
    /// Why it is not a stronger one.
    #[serde(default)]
    pub because: String,
    /// What the user should know before running it.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Notes for the plan: what could not be tried without effect, what the target holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the store refuses of the plan, tried without effect: statements, missing rights. One
    /// problem is an error of [`Writer::draft`]; here are several, so that all can be fixed at
    /// once. [`Writer::prepare`] returns the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Error>,
    /// The most bytes that a task keeps beside the batches and what [`Written::held`] reports: an
    /// open row group, parts on their way. `None` if that is less than 4 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_memory: Option<u64>,
    /// The job's watermark, if the plan has it kept with the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<KeptWatermark>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// SQL, or a sentence.
    pub text: String,
    /// It removes or replaces existing data.
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
