//! Does at the writer what a task's machine asks for: claims the task, writes and commits its chunks,
//! ends it. What comes next, after which result, is decided by `protocol`.
//!
//! A chunk keeps its batches until its commit is known, so that a transient error (a lock, a
//! deadlock) leads to a rollback and a replay of the whole chunk, never of a part. Dirty rows are
//! checked against the job's limit before the commit that would exceed it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use transload_plugin_api::{
    self as api, Backoff, ChunkOutcome, Counters, Error as PluginError, ErrorKind, Position,
    Receipt, TaskContext, WriteTask, Written, code, failpoint, has_defect,
};

use super::{
    checkpoint::Checkpoint,
    converted_batch::ConvertedBatch,
    dirty::{DirtyFile, DirtyLine, DirtyLines},
    memory::Share,
    progress::TaskProgress,
    protocol::{
        ChunkLimits, Ended, Failure, From, Known, Outcome, Source, Task, TaskEffect, TaskEvent,
    },
    reading::Start,
    ring::{Lease, Received},
    shared::{Shared, fenced},
};
use crate::{Error, Exit, Result, waits::Waiting};

/// Most bytes of a chunk, unless the job or the writer's descriptor gives a size.
const BYTES: u64 = 64 << 20;
/// More than this a writer does not keep of one batch; it protects the sum from a plugin's error.
const MOST_KEPT: u64 = 1 << 40;
/// How often one chunk is replayed before a transient error counts as permanent.
const REPLAYS: u32 = 10;
/// Replays of a run that are logged as warnings; later ones are counted, and logged as information.
const WARNINGS: u64 = 10;
/// Pauses between replays: locks and deadlocks pass quickly.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The writing of one task.
pub(super) struct TaskWriter<'a> {
    shared: &'a Shared,
    machine: Task,
    /// From the claim until the task has ended.
    writing: Option<Box<dyn WriteTask>>,
    lines: DirtyLines<'a>,
    file: DirtyFile,
    progress: &'a TaskProgress,
    open: Chunk,
    /// Where earlier attempts have come to, as the store knows it.
    kept: Option<Position>,
    /// What they have committed is counted.
    is_accounted: bool,
    receipt: Option<Receipt>,
    /// Why the task ends early.
    error: Option<Error>,
    /// Why the open chunk is written again.
    cause: Option<PluginError>,
    /// It is being written again.
    waiting: Option<Waiting>,
}

/// The chunk that is not committed, if it has batches. It holds leases, so that its bytes count against
/// the ring's budget until its batches can no longer be needed for a replay.
struct Chunk {
    batches: Vec<Lease<ConvertedBatch>>,
    begun: Instant,
    counters: Counters,
    dirty: Vec<Arc<DirtyLine>>,
    /// Rows read that were reported to the job's limit, as all of `dirty` were.
    admitted: u64,
    /// The pauses before the replays that are left.
    pauses: Backoff,
    /// What the writer keeps of the rows beside the batches, once it has said that it does.
    kept: Option<Share>,
    /// The part of it that the limit of the chunk's bytes does not know yet.
    unreported: u64,
}

impl<'a> TaskWriter<'a> {
    pub(super) fn new(shared: &'a Shared, task: u32, progress: &'a TaskProgress) -> Self {
        let split = &shared.plan.splits[task as usize];
        Self {
            machine: Task::new(shared.memory_of_tasks(), split.ability, limits(shared)),
            writing: None,
            lines: DirtyLines::new(&shared.plan, task, shared.folder.redactor()),
            file: DirtyFile::new(&shared.folder, task),
            progress,
            open: Chunk::new(),
            kept: None,
            is_accounted: false,
            receipt: None,
            error: None,
            cause: None,
            waiting: None,
            shared,
        }
    }

    /// The task begins, with what the journal knows of it.
    pub(super) fn begin_task(&mut self) -> TaskEffect {
        let start = &self.shared.journal.starts[self.progress.task() as usize];
        self.receipt.clone_from(&start.receipt);
        let known = start.progress.as_ref().map(|it| known(it, start.receipt.is_some()));
        let finished =
            start.receipt.as_ref().map(|_| Known { is_finished: true, ..Known::default() });
        self.advance(TaskEvent::Begun(known.or(finished)))
    }

    /// Does what follows from an event, until the machine waits for the reader or has ended.
    pub(super) fn advance(&mut self, mut event: TaskEvent) -> TaskEffect {
        use TaskEffect as Do;
        loop {
            let effect = self.machine.step(event);
            event = match effect {
                Do::Finish if !self.is_accounted => match self.account(Some(Source::Store)) {
                    Ok(_) => self.finish(),
                    Err(error) => self.failed(error),
                },
                Do::End(Ended::FinishedBefore) => {
                    if let Err(error) = self.account(Some(Source::Journal)) {
                        self.failed(error);
                    }
                    return effect;
                }
                Do::Wait | Do::Read(_) | Do::Receive | Do::End(_) => {
                    self.waiting = None;
                    return effect;
                }
                Do::Claim => self.claim(),
                Do::Begin(chunk) => self.begin(chunk),
                Do::Write(batch) => self.write(batch),
                Do::KeepDirty => {
                    let kept = self.file.write(&self.open.dirty);
                    self.done(kept)
                }
                Do::Commit(total) => self.commit(&total),
                Do::Record => self.record(),
                Do::Rollback => self.rollback(),
                Do::Pause => self.pause(),
                Do::Finish => self.finish(),
                Do::RecordFinished => {
                    let receipt = self.receipt.as_ref();
                    let recorded = receipt.map_or(Ok(()), |it| self.shared.journal.finished(it));
                    self.done(recorded)
                }
                Do::Abort => self.abort(),
                Do::Leave => {
                    self.writing = None;
                    TaskEvent::Done
                }
            };
        }
    }

    /// When the open chunk must be committed; `None` while the rest of a batch is on its way.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.can_commit().then(|| self.open.begun + self.shared.plan.checkpoint.age())
    }

    /// What the ring gave.
    pub(super) fn received(&mut self, received: Received<Lease<ConvertedBatch>>) -> TaskEvent {
        match received {
            Received::Item(converted) => {
                if self.open.batches.is_empty() {
                    self.open = Chunk::new();
                }
                let beside = std::mem::take(&mut self.open.unreported);
                let (read, bytes) = (converted.read, converted.bytes() as u64 + beside);
                let is_whole = converted.position.is_some();
                self.open.batches.push(converted);
                TaskEvent::Batch { read, bytes, is_whole }
            }
            Received::Starved | Received::TimedOut => {
                if self.open.batches.is_empty() {
                    thread::yield_now();
                }
                TaskEvent::Due
            }
            Received::End => TaskEvent::LastBatch,
            // The reader ended early, and has the reason.
            Received::Poisoned => TaskEvent::Failed(Failure::Permanent),
        }
    }

    /// Ends the task for a reason of the host's.
    pub(super) fn failed(&mut self, error: Error) -> TaskEvent {
        self.error.get_or_insert(error);
        TaskEvent::Failed(Failure::Permanent)
    }

    /// The receipt of a task that has ended. `Err(None)`: the reader has the reason.
    pub(super) fn end(self, ended: Ended) -> Result<Receipt, Option<Error>> {
        match ended {
            Ended::Finished | Ended::FinishedBefore => match self.error {
                None => self.receipt.ok_or(None),
                error => Err(error),
            },
            Ended::GaveUp => Err(self.error.or(self.cause.as_ref().map(gave_up))),
            Ended::Fenced => Err(self.error.or_else(|| Some(fenced()))),
            Ended::NotReadable => Err(Some(not_readable(&self.shared.plan.run))),
            Ended::Failed | Ended::Unknown => Err(self.error.or(self.cause.map(Error::from))),
        }
    }

    /// Where the reader begins. What earlier attempts have committed is counted, and dirty rows that
    /// they have not committed are removed.
    pub(super) fn resume(&mut self, from: From) -> Result<Start> {
        Ok(match from {
            From::Start => {
                self.account(None)?;
                Start::Beginning
            }
            From::Row(rows, source) => {
                self.account(Some(source))?;
                Start::Skipping(rows)
            }
            From::Position(source) => Start::After(self.account(Some(source))?.position),
        })
    }

    /// Counts what earlier attempts have committed, as this source knows it, and cuts the dirty file
    /// to it. Returns the point behind it.
    fn account(&mut self, source: Option<Source>) -> Result<Checkpoint> {
        self.is_accounted = true;
        let start = &self.shared.journal.starts[self.progress.task() as usize];
        let position = match source {
            Some(Source::Store) => self.kept.as_ref(),
            Some(Source::Journal) => start.progress.as_ref().map(|progress| &progress.position),
            None => None,
        };
        // A task without a chunk has none.
        let position = position.filter(|position| !position.0.is_empty());
        let checkpoint = position
            .map(|it| Checkpoint::decode(it).ok_or_else(|| not_readable(&self.shared.plan.run)));
        let checkpoint = checkpoint.transpose()?.unwrap_or_default();
        let total = self.machine.total();
        let accepted = self.shared.journal.is_loss_accepted;
        let dirty = self.file.resume_at((checkpoint.dirty_bytes, total.dirty), accepted)?;
        self.shared.report_lost(self.progress.task(), &dirty);
        self.shared.dirty.resume(total.read, dirty);
        self.shared.progress.commit(&total);
        Ok(checkpoint)
    }

    fn done(&mut self, result: Result<()>) -> TaskEvent {
        result.map_or_else(|error| self.failed(error), |()| TaskEvent::Done)
    }

    /// An error of the writer while a chunk is written.
    fn refused(&mut self, error: PluginError) -> TaskEvent {
        let failure = match error.kind {
            ErrorKind::Retry => {
                self.cause = Some(error);
                return TaskEvent::Failed(Failure::Transient);
            }
            _ if error.code == code::RUN_FENCED => Failure::Fenced,
            _ => Failure::Permanent,
        };
        self.error.get_or_insert(error.into());
        TaskEvent::Failed(failure)
    }

    fn claim(&mut self) -> TaskEvent {
        let context = TaskContext { task: self.progress.task(), epoch: 0 };
        let opened = self.shared.stores.writer.open(&self.shared.plan.write, &context);
        let claimed = opened.and_then(|mut writing| {
            let progress = writing.progress()?;
            Ok((writing, progress))
        });
        match claimed {
            Ok((writing, progress)) => {
                self.writing = Some(writing);
                // A defect that a test asks for.
                let progress = progress.filter(|_| !has_defect("journal-only"));
                let claimed = progress.as_ref().map(|it| known(it, it.is_finished));
                self.kept = progress.map(|progress| progress.position);
                failpoint("K4");
                TaskEvent::Claimed(claimed)
            }
            Err(error) => self.refused(error),
        }
    }

    fn begin(&mut self, chunk: u64) -> TaskEvent {
        let Some(writing) = &mut self.writing else { return self.unclaimed() };
        match writing.begin_chunk(chunk) {
            Ok(()) => TaskEvent::Done,
            Err(error) => self.refused(error),
        }
    }

    /// Writes the batch at `index` of the open chunk and counts its rows by outcome.
    fn write(&mut self, index: usize) -> TaskEvent {
        let converted = &self.open.batches[index];
        let (found, read) = (converted.dirty.clone(), converted.read);
        // Before they are written: rows beside too many dirty ones will be rolled back.
        if let Err(error) = self.admit(found, read) {
            return self.failed(error);
        }
        let Some(writing) = &mut self.writing else { return self.unclaimed() };
        let converted = &self.open.batches[index];
        let written = match converted.batch.num_rows() {
            0 => Ok(Written::default()),
            _ => writing.write(&converted.batch),
        };
        let Written { inserted, updated, skipped, dirty, held } = match written {
            Ok(written) => written,
            Err(error) => return self.refused(error),
        };
        let line = |row| Arc::new(self.lines.written(row, converted));
        let refused: Vec<_> = dirty.into_iter().map(line).collect();
        let dirty = (converted.dirty.len() + refused.len()) as u64;
        self.shared.dirty.note_untried(&self.shared.plan, refused.len(), skipped);
        if let Err(error) = self.admit(refused, 0) {
            return self.failed(error);
        }
        let counters = Counters { read, inserted, updated, skipped, dirty };
        self.open.counters.add(&counters);
        self.keep(held);
        TaskEvent::Written(counters)
    }

    /// Counts what the writer keeps of the rows until their commit.
    fn keep(&mut self, bytes: u64) {
        let bytes = bytes.min(MOST_KEPT);
        if bytes > 0 {
            let budget = &self.shared.budget;
            self.open.kept.get_or_insert_with(|| budget.nothing()).add(bytes);
            self.open.unreported += bytes;
        }
    }

    /// Adds dirty rows to the open chunk, and these and rows read to what the job's limit counts.
    fn admit(&mut self, rows: Vec<Arc<DirtyLine>>, read: u64) -> Result<()> {
        self.open.admitted += read;
        let admitted = self.shared.dirty.admit(&rows, read);
        self.open.dirty.extend(rows);
        let Err(error) = admitted else { return Ok(()) };
        // Not committed, but the user needs the reasons now.
        let kept = self.file.explain(&self.open.dirty)?;
        let cause = self.shared.dirty.hint(&self.shared.plan, &self.shared.stores);
        Err(error.hint(cause.into_iter().chain([kept]).collect::<Vec<_>>().join("\n")))
    }

    fn commit(&mut self, total: &Counters) -> TaskEvent {
        let position = self.checkpoint().encode();
        let Some(writing) = &mut self.writing else { return self.unclaimed() };
        failpoint("K5");
        match writing.commit_chunk(&position, total) {
            Ok(outcome) => {
                failpoint("K7");
                if let ChunkOutcome::Unknown { evidence } = &outcome {
                    self.error.get_or_insert(self.shared.unknown(evidence));
                }
                TaskEvent::Outcome(Outcome::of(&outcome))
            }
            Err(error) => self.refused(error),
        }
    }

    /// The point behind the open chunk.
    fn checkpoint(&self) -> Checkpoint {
        let position = self.open.batches.last().and_then(|batch| batch.position.clone());
        Checkpoint {
            position: position.unwrap_or_default(),
            dirty_bytes: self.file.committed_length(),
        }
    }

    fn record(&mut self) -> TaskEvent {
        let checkpoint = self.checkpoint();
        self.file.keep();
        self.cause = None;
        let chunk = std::mem::replace(&mut self.open, Chunk::new());
        self.shared.dirty.warn_of_doubled(&chunk.dirty, chunk.counters.read, self.shared);
        self.shared.progress.commit(&chunk.counters);
        self.progress.count_chunk();
        let (task, chunks, total) =
            (self.progress.task(), self.machine.chunks(), self.machine.total());
        tracing::debug!("chunk {} of task {task} is committed", chunks - 1);
        let (position, dirty_bytes) = (checkpoint.encode(), checkpoint.dirty_bytes);
        let recorded = self.shared.journal.chunk(task, chunks, &position, &total, dirty_bytes);
        failpoint("K8");
        self.done(recorded)
    }

    fn rollback(&mut self) -> TaskEvent {
        let Some(writing) = &mut self.writing else { return TaskEvent::Done };
        let rolled_back = writing.rollback_chunk();
        if let (Err(error), true) = (&rolled_back, self.error.is_some()) {
            tracing::warn!("cannot roll back a chunk: {error}");
        }
        self.done(rolled_back.map_err(Error::from))
    }

    /// Waits before the open chunk is written again.
    fn pause(&mut self) -> TaskEvent {
        // What a failed run has met stays counted; this chunk's rows will be met again.
        self.shared.dirty.release(&self.open.dirty, std::mem::take(&mut self.open.admitted));
        self.open.counters = Counters::default();
        self.open.kept = None;
        self.open.dirty.clear();
        let cause = self.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        let message =
            format!("chunk {} is rolled back and written again: {cause}", self.machine.chunks());
        let code = self.cause.as_ref().map(|cause| cause.code.as_str()).unwrap_or_default();
        self.shared.progress.count_retry(code);
        if self.shared.replays.fetch_add(1, Relaxed) < WARNINGS {
            tracing::warn!("{message}");
        } else {
            tracing::info!("{message}");
        }
        self.waiting = Some(Waiting::new(&format!("waiting to write again: {cause}")));
        let pause = self.open.pauses.next().unwrap_or(LONGEST_PAUSE);
        let slept = self.shared.stop.sleep(pause);
        self.done(slept)
    }

    fn finish(&mut self) -> TaskEvent {
        let Some(writing) = self.writing.take() else { return self.unclaimed() };
        match writing.finish() {
            Ok(receipt) => {
                failpoint("K9");
                self.receipt = Some(receipt);
                TaskEvent::Done
            }
            Err(error) => self.refused(error),
        }
    }

    fn abort(&mut self) -> TaskEvent {
        if let Some(Err(error)) = self.writing.take().map(|writing| writing.abort()) {
            tracing::warn!(
                "cannot remove what a task staged: {error}; it stays until the job's own abort, \
                 which follows"
            );
        }
        TaskEvent::Done
    }

    fn unclaimed(&mut self) -> TaskEvent {
        self.failed(PluginError::defect("a task is used that is not open").into())
    }
}

impl Chunk {
    fn new() -> Self {
        Self {
            batches: Vec::new(),
            begun: Instant::now(),
            counters: Counters::default(),
            dirty: Vec::new(),
            admitted: 0,
            pauses: Backoff::bounded(REPLAYS, FIRST_PAUSE, LONGEST_PAUSE),
            kept: None,
            unreported: 0,
        }
    }
}

/// How far a task has come.
fn known(progress: &api::TaskProgress, is_finished: bool) -> Known {
    Known { chunks: progress.chunks, counters: progress.counters, is_finished }
}

fn not_readable(run: &str) -> Error {
    let message = "a part of the task's rows is committed, and which rows are left cannot be known: \
                   the source does not return its rows in the same order again";
    Error::new(Exit::Failed, message).code(code::RESUME_SPLIT).hint(format!(
        "give the run up: transload abort {run}; remove its rows from the target before the job runs \
         again, unless they have a key"
    ))
}

/// The limits of a chunk: those of the job, and half of the task's part of the buffer, so that reading
/// continues while a chunk is being committed.
fn limits(shared: &Shared) -> ChunkLimits {
    let half = shared.plan.channel.task_buffer() / 2;
    let wanted = shared.plan.checkpoint.bytes.or_else(|| shared.stores.chunk_bytes());
    ChunkLimits {
        rows: shared.plan.checkpoint.rows,
        bytes: wanted.unwrap_or(BYTES).min(half).max(1),
        replays: REPLAYS,
    }
}

/// The error for a writer that asks for one replay too many.
fn gave_up(cause: &PluginError) -> Error {
    let message = format!("{} (after {REPLAYS} replays of the chunk)", cause.message);
    Error::from(PluginError { message, ..cause.clone() })
}
