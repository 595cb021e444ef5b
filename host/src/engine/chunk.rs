//! The chunks of a task: what a writer commits at once.
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
    Backoff, ChunkOutcome, Counters, Error as PluginError, ErrorKind, Position, Receipt, WriteTask,
    Written,
};

use super::{
    converted_batch::ConvertedBatch,
    dirty::{DirtyFile, DirtyLine, DirtyLines},
    progress::TaskProgress,
    ring::Lease,
    shared::Shared,
};
use crate::{Error, Result, waits::Waiting};

/// Most rows of a chunk.
const ROWS: u64 = 50_000;
/// Most bytes of a chunk, unless the writer's descriptor gives a size.
const BYTES: u64 = 64 << 20;
/// A chunk is committed at this age even if it is small, so that a slow source shows progress.
const MAX_AGE: Duration = Duration::from_secs(5);
/// How often one chunk is replayed before a transient error counts as permanent.
const REPLAYS: u32 = 10;
/// Replays of a run that are logged as warnings; later ones are counted, and logged as information.
const WARNINGS: u64 = 10;
/// Pauses between replays: locks and deadlocks pass quickly.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Writes the chunks of one task, one after the other.
pub(super) struct ChunkWriter<'a> {
    shared: &'a Shared,
    writing: Box<dyn WriteTask>,
    lines: DirtyLines<'a>,
    file: DirtyFile,
    progress: &'a TaskProgress,
    sequence: u64,
    open: Option<Chunk>,
    /// Counters of all committed chunks.
    total: Counters,
    max_bytes: u64,
}

/// A chunk that is not committed. It holds leases, so that its bytes count against the ring's budget
/// until its batches can no longer be needed for a replay.
struct Chunk {
    batches: Vec<Lease<ConvertedBatch>>,
    bytes: u64,
    begun: Instant,
    counters: Counters,
    dirty: Vec<Arc<DirtyLine>>,
    /// Rows read that were reported to the job's limit, as all of `dirty` were.
    admitted: u64,
    /// The pauses before the replays that are left.
    replays: Backoff,
}

impl<'a> ChunkWriter<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        writing: Box<dyn WriteTask>,
        task: u32,
        progress: &'a TaskProgress,
    ) -> Self {
        let lanes = u64::from(shared.plan.channel.parallelism.get());
        // Half of the ring, so that reading continues while a chunk is being committed.
        let half = shared.plan.channel.buffer_bytes / lanes / 2;
        let max_bytes = shared.stores.chunk_bytes().unwrap_or(BYTES).min(half).max(1);
        let (open, total) = (None, Counters::default());
        let lines = DirtyLines::new(&shared.plan, task, shared.folder.redactor());
        let file = DirtyFile::new(&shared.folder, task);
        Self { shared, writing, lines, file, progress, sequence: 0, open, total, max_bytes }
    }

    /// When the open chunk must be committed; `None` while the rest of a batch is on its way.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.as_ref().filter(|chunk| chunk.position().is_some()).map(|it| it.begun + MAX_AGE)
    }

    /// Writes one batch, and begins a chunk for it if none is open.
    pub(super) fn add(&mut self, converted: Lease<ConvertedBatch>) -> Result<()> {
        let fresh = self.open.is_none();
        let chunk = self.open.get_or_insert_with(Chunk::new);
        chunk.bytes += converted.bytes() as u64;
        chunk.batches.push(converted);
        let last = chunk.batches.len() - 1;
        let written = if fresh { self.begin() } else { Ok(()) }.and_then(|()| self.write(last));
        if let Err(error) = written {
            self.replay(error)?;
        }
        let full = self
            .open
            .as_ref()
            .is_some_and(|chunk| chunk.counters.read >= ROWS || chunk.bytes >= self.max_bytes);
        if full { self.commit() } else { Ok(()) }
    }

    /// Commits the open chunk, if there is one and it ends with a whole batch.
    pub(super) fn commit(&mut self) -> Result<()> {
        let Some(chunk) = &self.open else {
            thread::yield_now();
            return Ok(());
        };
        let Some(position) = chunk.position().cloned() else { return Ok(()) };
        let outcome = loop {
            match self.try_commit(&position)? {
                Ok(outcome) => break outcome,
                Err(error) => self.replay(error.into())?,
            }
        };
        self.shared.ensure_committed(outcome)?;
        self.file.keep();
        if let Some(chunk) = self.open.take() {
            self.total.add(&chunk.counters);
            self.shared.progress.commit(&chunk.counters);
        }
        tracing::debug!("chunk {} of task {} is committed", self.sequence, self.progress.task());
        self.progress.count_chunk();
        self.sequence += 1;
        let (task, dirty_bytes) = (self.progress.task(), self.file.committed_length());
        self.shared.journal.chunk(task, self.sequence, &position, &self.total, dirty_bytes)
    }

    /// The outer error is the host's, the inner one the plugin's.
    fn try_commit(&mut self, position: &Position) -> Result<Result<ChunkOutcome, PluginError>> {
        let mut total = self.total;
        if let Some(chunk) = &self.open {
            // On disk before the rows beside them are committed; a replay may have found others.
            self.file.write(&chunk.dirty)?;
            total.add(&chunk.counters);
        }
        Ok(self.writing.commit_chunk(position, &total))
    }

    /// Ends the task.
    pub(super) fn finish(self) -> Result<Receipt> {
        Ok(self.writing.finish()?)
    }

    /// Rolls back the open chunk and removes what the task staged.
    pub(super) fn abort(mut self) {
        let rolled_back = self.writing.rollback_chunk();
        if let Err(error) = rolled_back.and_then(|()| self.writing.abort()) {
            tracing::warn!("cannot remove what a task staged: {error}");
        }
    }

    /// Begins the chunk at the writer.
    fn begin(&mut self) -> Result<(), ChunkError> {
        Ok(self.writing.begin_chunk(self.sequence)?)
    }

    /// Writes the batch at `index` of the open chunk and counts its rows by outcome.
    fn write(&mut self, index: usize) -> Result<(), ChunkError> {
        let Some(chunk) = &self.open else { return Ok(()) };
        let converted = &chunk.batches[index];
        let rows = converted.batch.num_rows() as u64;
        let (found, read) = (converted.dirty.clone(), converted.read);
        // Before they are written: rows beside too many dirty ones will be rolled back.
        self.admit(found, read)?;
        let Some(chunk) = &self.open else { return Ok(()) };
        let converted = &chunk.batches[index];
        let Written { inserted, updated, skipped, dirty } =
            if rows == 0 { Written::default() } else { self.writing.write(&converted.batch)? };
        let line = |row| Arc::new(self.lines.written(row, converted));
        let refused: Vec<_> = dirty.into_iter().map(line).collect();
        let dirty = (converted.dirty.len() + refused.len()) as u64;
        self.admit(refused, 0)?;
        if let Some(chunk) = &mut self.open {
            chunk.counters.add(&Counters { read, inserted, updated, skipped, dirty });
        }
        Ok(())
    }

    /// Adds dirty rows to the open chunk, and these and rows read to what the job's limit counts.
    fn admit(&mut self, rows: Vec<Arc<DirtyLine>>, read: u64) -> Result<()> {
        let Some(chunk) = &mut self.open else { return Ok(()) };
        chunk.admitted += read;
        let admitted = self.shared.dirty.admit(&rows, read);
        chunk.dirty.extend(rows);
        let Err(error) = admitted else { return Ok(()) };
        // Not committed, but the user needs the reasons now.
        let kept = self.file.explain(&chunk.dirty)?;
        let cause = self.shared.dirty.hint(&self.shared.plan, &self.shared.stores);
        Err(error.hint(cause.into_iter().chain([kept]).collect::<Vec<_>>().join("\n")))
    }

    /// Writes the whole chunk again after a transient error; returns any other error.
    fn replay(&mut self, mut error: ChunkError) -> Result<()> {
        loop {
            let ChunkError::Transient(cause) = &error else { return Err(error.into()) };
            let Some(pause) = self.open.as_mut().and_then(|chunk| chunk.replays.next()) else {
                return Err(gave_up(cause));
            };
            let _waiting = Waiting::new(&format!("waiting to write again: {cause}"));
            self.count_replay(cause);
            self.writing.rollback_chunk()?;
            self.reset_counters();
            self.shared.stop.sleep(pause)?;
            match self.write_all() {
                Ok(()) => return Ok(()),
                Err(next) => error = next,
            }
        }
    }

    /// Counts and logs a replay of the open chunk.
    fn count_replay(&self, cause: &PluginError) {
        let before = self.shared.replays.fetch_add(1, Relaxed);
        let message = format!("chunk {} is rolled back and written again: {cause}", self.sequence);
        if before < WARNINGS {
            tracing::warn!("{message}");
        } else {
            tracing::info!("{message}");
        }
    }

    /// Takes back what the open chunk has counted.
    fn reset_counters(&mut self) {
        let Some(chunk) = &mut self.open else { return };
        let read = std::mem::take(&mut chunk.admitted);
        self.shared.dirty.release(&chunk.dirty, read);
        chunk.counters = Counters::default();
        chunk.dirty.clear();
    }

    /// Writes all batches of the open chunk again.
    fn write_all(&mut self) -> Result<(), ChunkError> {
        self.begin()?;
        let batches = self.open.as_ref().map_or(0, |chunk| chunk.batches.len());
        (0..batches).try_for_each(|index| self.write(index))
    }
}

impl Chunk {
    /// Where reading continues after its rows; `None` within a batch.
    fn position(&self) -> Option<&Position> {
        self.batches.last()?.position.as_ref()
    }

    fn new() -> Self {
        Self {
            batches: Vec::new(),
            bytes: 0,
            begun: Instant::now(),
            counters: Counters::default(),
            dirty: Vec::new(),
            admitted: 0,
            replays: Backoff::bounded(REPLAYS, FIRST_PAUSE, LONGEST_PAUSE),
        }
    }
}

/// The error for a writer that asks for one replay too many.
fn gave_up(cause: &PluginError) -> Error {
    let message = format!("{} (after {REPLAYS} replays of the chunk)", cause.message);
    Error::from(PluginError { message, ..cause.clone() })
}

/// Why a chunk could not be written.
enum ChunkError {
    /// Worth a replay.
    Transient(PluginError),
    Permanent(Error),
}

impl From<PluginError> for ChunkError {
    fn from(error: PluginError) -> Self {
        if error.kind == ErrorKind::Retry {
            Self::Transient(error)
        } else {
            Self::Permanent(error.into())
        }
    }
}

impl From<Error> for ChunkError {
    fn from(error: Error) -> Self {
        Self::Permanent(error)
    }
}

impl From<ChunkError> for Error {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Transient(error) => error.into(),
            ChunkError::Permanent(error) => error,
        }
    }
}
