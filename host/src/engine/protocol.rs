//! The commit protocol: what a task and a job do next, by what has happened so far. Pure state
//! machines without stores, threads or clocks. `task`, `chunk` and `driver` do what a machine says and
//! report the result; the simulator does the same against a model of a store that fails at every step.
//!
//! A machine waits for the result of one effect at a time, so its state is that effect, the chunk that
//! is open, and what is committed.

use transload_plugin_api::{ChunkOutcome, Counters, SplitAbility};

/// When a chunk is committed, and how often it is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkLimits {
    /// Most rows read.
    pub(super) rows: u64,
    /// Most bytes.
    pub(super) bytes: u64,
    /// How often one chunk is replayed before a transient error counts as permanent.
    pub(super) replays: u32,
}

/// What remembers the progress of attempts that ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The store, in the transactions of the rows: commit tokens. Rows stay when a run fails.
    Token,
    /// The store, as far as it finds what was staged. Nothing is visible before the job's commit.
    Stage,
    /// The run's journal. The rows of the chunk behind its last record may be in already.
    Journal,
}

/// How far earlier attempts of a task have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Chunks committed.
    pub(super) chunks: u64,
    /// Rows of these chunks.
    pub(super) counters: Counters,
    /// Nothing is left to write.
    pub(super) is_finished: bool,
}

/// Who knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Store,
    Journal,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// At the start of the split.
    Start,
    /// At the position that this source knows.
    Position(Source),
    /// At the start, without the first rows, which are committed.
    Row(u64, Source),
}

/// The outcome of a commit, without its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// By this call or an earlier one.
    Committed,
    Fenced,
    Unknown,
}

impl Outcome {
    pub(super) fn of(outcome: &ChunkOutcome) -> Self {
        match outcome {
            ChunkOutcome::Committed | ChunkOutcome::AlreadyCommitted => Self::Committed,
            ChunkOutcome::Fenced => Self::Fenced,
            ChunkOutcome::Unknown { .. } => Self::Unknown,
        }
    }
}

/// Why an effect failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A replay of the chunk may succeed.
    Transient,
    /// A newer attempt owns the task.
    Fenced,
    /// Anything else, the stop signal included.
    Permanent,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a receipt.
    Finished,
    /// The journal has its receipt.
    FinishedBefore,
    Failed,
    /// One replay too many was asked for.
    GaveUp,
    Fenced,
    /// A commit was sent, and its outcome is unknown.
    Unknown,
    /// A part of the split is committed, and which rows are missing is unknown.
    NotReadable,
}

/// What a task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskEffect {
    /// Nothing has been asked for yet.
    Wait,
    /// Open the task at the writer, and ask how far it has come.
    Claim,
    /// Begin to read, and cut the dirty file to what is committed.
    Read(From),
    /// Wait for a batch.
    Receive,
    /// Begin this chunk at the writer.
    Begin(u64),
    /// Write this batch of the open chunk.
    Write(usize),
    /// Sync the chunk's dirty rows to the disk.
    KeepDirty,
    /// Commit the chunk, with the task's totals including it.
    Commit(Counters),
    /// Record the committed chunk in the journal.
    Record,
    /// Roll the open chunk back, and take back what it has counted.
    Rollback,
    /// Pause before the chunk is written again.
    Pause,
    /// End the task at the writer.
    Finish,
    /// Record its receipt in the journal.
    RecordFinished,
    /// End the task, and remove what it has staged.
    Abort,
    /// End the task, and remove nothing.
    Leave,
    /// Nothing: the task has ended.
    End(Ended),
}

/// What has happened to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskEvent {
    /// It begins; what the journal knows of earlier attempts.
    Begun(Option<Known>),
    /// The effect is done.
    Done,
    /// The task is claimed; what the store knows of earlier attempts.
    Claimed(Option<Known>),
    /// A batch arrived, or a piece of one. Reading can continue behind it if it is whole or the last
    /// piece.
    Batch { read: u64, bytes: u64, is_whole: bool },
    /// The open chunk is old, or the reader waits for the memory that it holds.
    Due,
    /// The split has no more batches.
    LastBatch,
    /// A batch is written.
    Written(Counters),
    /// The writer has returned from the chunk's commit.
    Outcome(Outcome),
    /// The effect failed.
    Failed(Failure),
}

/// A chunk that is not committed.
#[derive(Clone, Copy, Debug, Default)]
struct OpenChunk {
    batches: usize,
    read: u64,
    bytes: u64,
    /// Rows of the batches that this attempt has written.
    counters: Counters,
    replays: u32,
    /// Reading can continue behind its last batch.
    is_whole: bool,
    /// It is committed as soon as all of its batches are written.
    is_due: bool,
}

/// One task.
#[derive(Clone, Debug)]
pub(super) struct Task {
    memory: Memory,
    ability: SplitAbility,
    limits: ChunkLimits,
    /// The effect whose result is awaited.
    awaited: TaskEffect,
    journal: Option<Known>,
    /// Chunks committed, also by earlier attempts.
    chunks: u64,
    /// How many of them the writer does not know: it counts chunks on from what it has returned.
    unknown_chunks: u64,
    /// Rows of these chunks.
    total: Counters,
    open: Option<OpenChunk>,
    /// The reader has ended.
    is_read: bool,
    /// How it will have ended.
    end: Ended,
}

impl Task {
    pub(super) fn new(memory: Memory, ability: SplitAbility, limits: ChunkLimits) -> Self {
        Self {
            memory,
            ability,
            limits,
            awaited: TaskEffect::Wait,
            journal: None,
            chunks: 0,
            unknown_chunks: 0,
            total: Counters::default(),
            open: None,
            is_read: false,
            end: Ended::Finished,
        }
    }

    /// How many chunks are committed.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The number of the next chunk at the writer.
    fn chunk(&self) -> u64 {
        self.chunks - self.unknown_chunks
    }

    /// Rows of committed chunks.
    pub(super) fn total(&self) -> Counters {
        self.total
    }

    /// A chunk is open, and may be committed.
    pub(super) fn can_commit(&self) -> bool {
        self.open.is_some_and(|chunk| chunk.is_whole)
    }

    /// What follows from an event.
    pub(super) fn step(&mut self, event: TaskEvent) -> TaskEffect {
        self.awaited = self.next(event);
        self.awaited
    }

    fn next(&mut self, event: TaskEvent) -> TaskEffect {
        use TaskEffect as Do;
        use TaskEvent as Was;
        match (self.awaited, event) {
            (_, Was::Failed(failure)) => self.fail(failure),
            (Do::Wait, Was::Begun(journal)) => self.begin(journal),
            (Do::Claim, Was::Claimed(store)) => self.resume(store),
            (Do::Read(_), Was::Done) => Do::Receive,
            (Do::Receive, Was::Batch { read, bytes, is_whole }) => self.add(read, bytes, is_whole),
            (Do::Receive, Was::Due) => self.commit(Do::Receive),
            (Do::Receive, Was::LastBatch) => {
                self.is_read = true;
                self.commit(Do::Finish)
            }
            (Do::Begin(_), Was::Done) => Do::Write(0),
            (Do::Write(batch), Was::Written(counters)) => self.count(batch, &counters),
            (Do::KeepDirty, Was::Done) => {
                let mut total = self.total;
                total.add(&self.open.unwrap_or_default().counters);
                Do::Commit(total)
            }
            (Do::Commit(_), Was::Outcome(outcome)) => self.settle(outcome),
            (Do::Record, Was::Done) if self.is_read => Do::Finish,
            (Do::Record, Was::Done) => Do::Receive,
            (Do::Rollback, Was::Done) if self.end == Ended::Finished => Do::Pause,
            (Do::Rollback, Was::Done) => self.part(),
            (Do::Pause, Was::Done) => Do::Begin(self.chunk()),
            (Do::Finish, Was::Done) => Do::RecordFinished,
            (Do::RecordFinished | Do::Abort | Do::Leave, Was::Done) => Do::End(self.end),
            (awaited, event) => {
                debug_assert!(false, "{event:?} is no result of {awaited:?}");
                self.fail(Failure::Permanent)
            }
        }
    }

    fn begin(&mut self, journal: Option<Known>) -> TaskEffect {
        self.journal = journal;
        match (self.memory, journal) {
            // Committed rows without a token: the store knows no more than the journal.
            (Memory::Journal, Some(known)) if known.is_finished => {
                self.total = known.counters;
                TaskEffect::End(Ended::FinishedBefore)
            }
            _ => TaskEffect::Claim,
        }
    }

    /// Where the task continues. What the store knows comes first: its transactions have the rows.
    fn resume(&mut self, store: Option<Known>) -> TaskEffect {
        let journal = self.journal.filter(|_| self.memory == Memory::Journal);
        let known = store.map(|known| (known, Source::Store));
        let Some((known, source)) = known.or(journal.map(|known| (known, Source::Journal))) else {
            return TaskEffect::Read(From::Start);
        };
        (self.chunks, self.total) = (known.chunks, known.counters);
        self.unknown_chunks = if source == Source::Journal { known.chunks } else { 0 };
        match self.journal.filter(|journal| known.is_finished && journal.is_finished) {
            // A store that has ended the whole run has forgotten how much each task has written.
            Some(journal) if known.chunks == 0 => {
                (self.chunks, self.total) = (journal.chunks, journal.counters);
                return TaskEffect::End(Ended::FinishedBefore);
            }
            _ if known.is_finished => return TaskEffect::Finish,
            _ => {}
        }
        match self.ability {
            _ if known.chunks == 0 => TaskEffect::Read(From::Start),
            SplitAbility::Seekable => TaskEffect::Read(From::Position(source)),
            SplitAbility::Replayable => TaskEffect::Read(From::Row(known.counters.read, source)),
            // The rows are written once more, as the run was allowed to.
            SplitAbility::Bounded if source == Source::Journal => {
                (self.chunks, self.unknown_chunks, self.total) = (0, 0, Counters::default());
                TaskEffect::Read(From::Start)
            }
            SplitAbility::Bounded | SplitAbility::Volatile => {
                self.end = Ended::NotReadable;
                TaskEffect::Leave
            }
        }
    }

    fn add(&mut self, read: u64, bytes: u64, is_whole: bool) -> TaskEffect {
        let (is_fresh, number) = (self.open.is_none(), self.chunk());
        let chunk = self.open.get_or_insert_default();
        chunk.batches += 1;
        chunk.read += read;
        chunk.bytes += bytes;
        chunk.is_whole = is_whole;
        chunk.is_due = chunk.read >= self.limits.rows || chunk.bytes >= self.limits.bytes;
        match is_fresh {
            true => TaskEffect::Begin(number),
            false => TaskEffect::Write(chunk.batches - 1),
        }
    }

    fn count(&mut self, batch: usize, counters: &Counters) -> TaskEffect {
        let chunk = self.open.get_or_insert_default();
        chunk.counters.add(counters);
        match chunk.is_due && chunk.is_whole {
            _ if batch + 1 < chunk.batches => TaskEffect::Write(batch + 1),
            true => TaskEffect::KeepDirty,
            false => TaskEffect::Receive,
        }
    }

    /// Commits the open chunk; without one, `otherwise` follows.
    fn commit(&mut self, otherwise: TaskEffect) -> TaskEffect {
        match &mut self.open {
            None => otherwise,
            Some(chunk) if !chunk.is_whole => TaskEffect::Receive,
            Some(chunk) => {
                chunk.is_due = true;
                TaskEffect::KeepDirty
            }
        }
    }

    fn settle(&mut self, outcome: Outcome) -> TaskEffect {
        match outcome {
            Outcome::Committed => {
                self.total.add(&self.open.take().unwrap_or_default().counters);
                self.chunks += 1;
                TaskEffect::Record
            }
            Outcome::Fenced => self.fail(Failure::Fenced),
            // The chunk may be in: neither a replay nor a rollback is right.
            Outcome::Unknown => {
                self.end = Ended::Unknown;
                self.part()
            }
        }
    }

    fn fail(&mut self, failure: Failure) -> TaskEffect {
        use TaskEffect as Do;
        match self.awaited {
            // The writer holds nothing yet, or nothing any more.
            Do::Wait | Do::Claim | Do::Finish | Do::RecordFinished | Do::End(_) => {
                let is_fenced = failure == Failure::Fenced;
                self.end = if is_fenced { Ended::Fenced } else { Ended::Failed };
                return Do::End(self.end);
            }
            Do::Abort | Do::Leave => return Do::End(self.end),
            Do::Rollback => {
                if self.end == Ended::Finished {
                    self.end = Ended::Failed;
                }
                return self.part();
            }
            _ => {}
        }
        let can_replay = matches!(self.awaited, Do::Begin(_) | Do::Write(_) | Do::Commit(_));
        match (failure, &mut self.open) {
            (Failure::Transient, Some(chunk)) if can_replay => {
                chunk.counters = Counters::default();
                match chunk.replays < self.limits.replays {
                    true => chunk.replays += 1,
                    false => self.end = Ended::GaveUp,
                }
            }
            (Failure::Fenced, _) => self.end = Ended::Fenced,
            _ => self.end = Ended::Failed,
        }
        Do::Rollback
    }

    /// Ends the task early. Only what is certainly of no use to anybody is removed.
    fn part(&self) -> TaskEffect {
        match (self.end, self.memory) {
            (Ended::Unknown | Ended::Fenced, _) | (_, Memory::Token) => TaskEffect::Leave,
            _ => TaskEffect::Abort,
        }
    }
}

/// How far a run has come at the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The target is untouched.
    #[default]
    Nothing,
    /// It was prepared, at least in part.
    Target,
    /// All tasks are done; the job's commit has begun.
    Commit,
    /// All rows are in.
    Rows,
    /// The outcome of a commit is unknown.
    Unknown,
}

/// What a job does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobEffect {
    /// Nothing has been asked for yet.
    Wait,
    /// Open the first split: a source that cannot be read must not lead to a truncated target.
    OpenSource,
    /// Prepare the target.
    Prepare,
    /// Record in the journal that the target is prepared.
    RecordPrepared,
    /// Run the tasks that have not finished.
    RunTasks,
    /// Check that every row read is accounted for, and the limits over all rows.
    Balance,
    /// Record in the journal that all tasks have finished.
    RecordPublishing,
    /// Commit the job.
    Publish,
    /// Remove what the run has left.
    Finalise,
    /// Record in the journal that the run is complete.
    RecordDone,
    /// Remove what the run has staged.
    Abort,
    /// Nothing: the job has ended.
    End,
}

/// What has happened to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobEvent {
    /// It begins.
    Begun,
    /// The effect is done.
    Done,
    /// The writer has returned from the job's commit.
    Outcome(Outcome),
    /// A task failed; whether the outcome of one of its commits is unknown.
    TaskFailed { is_unknown: bool },
    /// The commit failed in a step behind the rows.
    FailedBehindRows,
    /// The effect failed.
    Failed,
}

/// What earlier processes have done for a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Before {
    /// Nothing: it is a new run.
    #[default]
    Nothing,
    /// The target may be prepared, and tasks may have written.
    Target,
    /// All tasks have finished, and the job's commit may have begun.
    Tasks,
}

/// A job: its tasks together, and what comes before and after them.
#[derive(Clone, Debug)]
pub(super) struct Job {
    memory: Memory,
    before: Before,
    /// The effect whose result is awaited.
    awaited: JobEffect,
    reached: Reached,
    /// Nothing is left of what the run staged.
    is_clean: bool,
}

impl Job {
    pub(super) fn new(memory: Memory, before: Before) -> Self {
        Self { memory, before, awaited: JobEffect::Wait, reached: Reached::Nothing, is_clean: true }
    }

    /// How far it has come at the target.
    pub(super) fn reached(&self) -> Reached {
        self.reached
    }

    /// What it had staged is removed, or there was nothing to remove.
    pub(super) fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// What follows from an event.
    pub(super) fn step(&mut self, event: JobEvent) -> JobEffect {
        self.awaited = self.next(event);
        match self.awaited {
            JobEffect::Prepare => self.reached = Reached::Target,
            JobEffect::Publish => self.reached = Reached::Commit,
            _ => {}
        }
        self.awaited
    }

    fn next(&mut self, event: JobEvent) -> JobEffect {
        use JobEffect as Do;
        use JobEvent as Was;
        match (self.awaited, event) {
            (Do::Wait, Was::Begun) if self.before == Before::Nothing => Do::OpenSource,
            (Do::Wait, Was::Begun) | (Do::OpenSource, Was::Done) => Do::Prepare,
            (Do::Prepare, Was::Done) => Do::RecordPrepared,
            // Tasks of which a part is published can neither be written again nor asked for their rows.
            (Do::RecordPrepared, Was::Done) if self.may_be_published() => Do::Publish,
            (Do::RecordPrepared, Was::Done) => Do::RunTasks,
            (Do::RunTasks, Was::Done) => Do::Balance,
            (Do::Balance, Was::Done) => Do::RecordPublishing,
            (Do::RecordPublishing, Was::Done) => Do::Publish,
            (Do::Publish, Was::Outcome(Outcome::Committed)) => {
                self.reached = Reached::Rows;
                Do::Finalise
            }
            (Do::Publish, Was::FailedBehindRows) => {
                self.reached = Reached::Rows;
                self.close()
            }
            (Do::Publish, Was::Outcome(Outcome::Unknown))
            | (Do::RunTasks, Was::TaskFailed { is_unknown: true }) => {
                self.reached = Reached::Unknown;
                self.close()
            }
            (Do::Publish, Was::Outcome(Outcome::Fenced)) => {
                self.is_clean = false;
                Do::End
            }
            // The rows are in: what fails behind them is no failure of the run. It is recorded as done
            // last: a process that continues the run before removes what is left.
            (Do::Finalise, Was::Done | Was::Failed) => Do::RecordDone,
            (Do::RecordDone, Was::Done | Was::Failed) => Do::End,
            (Do::Abort, Was::Done) => Do::End,
            (Do::Abort, Was::Failed) => {
                self.is_clean = false;
                Do::End
            }
            (_, Was::Failed | Was::TaskFailed { .. }) => self.close(),
            (awaited, event) => {
                debug_assert!(false, "{event:?} is no result of {awaited:?}");
                self.close()
            }
        }
    }

    /// An earlier process may have published a part of what is staged.
    fn may_be_published(&self) -> bool {
        self.memory == Memory::Stage && self.before == Before::Tasks
    }

    /// Ends a job that failed. What it staged is removed, unless that may be the only copy of rows, or
    /// a resume continues from it.
    fn close(&mut self) -> JobEffect {
        let is_kept = match self.reached {
            Reached::Nothing => return JobEffect::End,
            Reached::Unknown => true,
            _ => self.may_be_published() || self.memory == Memory::Token,
        };
        self.is_clean = !is_kept;
        if is_kept { JobEffect::End } else { JobEffect::Abort }
    }
}
