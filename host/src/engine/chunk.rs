//! The chunks of a task: what a writer commits at once.
//!
//! A chunk keeps its batches until its commit is known, so that passing trouble (a lock, a
//! deadlock) is answered by a rollback and a replay of the whole chunk, never by half of it. Dirty
//! rows are admitted against the job's limit before the commit that would exceed it.

use std::{
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use transload_plugin_api::{
    ChunkOutcome, Counters, DirtyRow, Error as PluginError, ErrorKind, Position, Receipt, WriteTask,
};

use super::{Lease, Run, dirty::DirtyFile, progress::TaskGauge, stretch::Stretch};
use crate::{Error, Result};

/// Most rows of a chunk.
const ROWS: u64 = 50_000;
/// Most bytes of a chunk, unless the writer names what suits it.
const BYTES: u64 = 64 << 20;
/// A chunk is committed after this time even if it is small, so that a slow source shows progress.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a chunk is replayed before the trouble counts as lasting.
const REPLAYS: u32 = 10;

/// The chunks of one task, one after the other.
pub(super) struct Chunks<'a> {
    run: &'a Run,
    writing: Box<dyn WriteTask>,
    file: DirtyFile,
    gauge: &'a TaskGauge,
    sequence: u64,
    open: Option<Chunk>,
    /// What has been committed.
    total: Counters,
    most_bytes: u64,
}

struct Chunk {
    stretches: Vec<Lease<Stretch>>,
    bytes: u64,
    begun: Instant,
    counters: Counters,
    dirty: Vec<DirtyRow>,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(
        run: &'a Run,
        writing: Box<dyn WriteTask>,
        file: DirtyFile,
        gauge: &'a TaskGauge,
    ) -> Self {
        let lanes = u64::from(run.plan.channel.parallelism.get());
        // Half of the ring, so that reading goes on while a chunk is being committed.
        let half = run.plan.channel.buffer_bytes / lanes / 2;
        let most_bytes = run.stores.chunk_bytes().unwrap_or(BYTES).min(half).max(1);
        let (open, total) = (None, Counters::default());
        Self { run, writing, file, gauge, sequence: 0, open, total, most_bytes }
    }

    /// When the open chunk must be committed.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.as_ref().map(|chunk| chunk.begun + PATIENCE)
    }

    /// Writes one stretch, in a chunk that is begun for it if none is open.
    pub(super) fn add(&mut self, stretch: Lease<Stretch>) -> Result<()> {
        let fresh = self.open.is_none();
        let chunk = self.open.get_or_insert_with(Chunk::new);
        chunk.bytes += stretch.bytes() as u64;
        chunk.stretches.push(stretch);
        let last = chunk.stretches.len() - 1;
        let written = if fresh { self.begin() } else { Ok(()) }.and_then(|()| self.write(last));
        if let Err(error) = written {
            self.replay(error)?;
        }
        let full = self
            .open
            .as_ref()
            .is_some_and(|chunk| chunk.counters.read >= ROWS || chunk.bytes >= self.most_bytes);
        if full { self.commit() } else { Ok(()) }
    }

    /// Commits the open chunk, if there is one.
    pub(super) fn commit(&mut self) -> Result<()> {
        let Some(chunk) = &self.open else {
            thread::yield_now();
            return Ok(());
        };
        let Some(position) = chunk.stretches.last().map(|stretch| stretch.position.clone()) else {
            return Ok(());
        };
        let outcome = loop {
            match self.try_commit(&position)? {
                Ok(outcome) => break outcome,
                Err(error) => self.replay(error)?,
            }
        };
        self.run.understand(outcome)?;
        self.file.keep();
        if let Some(chunk) = self.open.take() {
            self.total.add(&chunk.counters);
            self.run.progress.commit(&chunk.counters);
        }
        self.gauge.count_chunk();
        self.sequence += 1;
        Ok(())
    }

    /// The outer error is ours, the inner one the plugin's.
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

    /// Rolls back what is open and removes what the task staged.
    pub(super) fn abort(mut self) {
        let rolled_back = self.writing.rollback_chunk();
        if let Err(error) = rolled_back.and_then(|()| self.writing.abort()) {
            tracing::warn!("a task could not clean up behind itself: {error}");
        }
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        Ok(self.writing.begin_chunk(self.sequence)?)
    }

    /// Writes the stretch at `index` of the open chunk and counts what became of its rows.
    fn write(&mut self, index: usize) -> Result<(), Trouble> {
        let Some(chunk) = &mut self.open else { return Ok(()) };
        let stretch = &chunk.stretches[index];
        let rows = stretch.batch.num_rows() as u64;
        let written =
            if rows == 0 { Default::default() } else { self.writing.write(&stretch.batch)? };
        let refused = written.dirty.len() as u64;
        if written.inserted + written.updated + written.skipped + refused != rows {
            return Err(Trouble::Lasting(miscounted(rows, &written).into()));
        }
        chunk.dirty.extend(stretch.dirty.iter().cloned());
        chunk.dirty.extend(
            written.dirty.into_iter().map(|row| DirtyRow { place: stretch.place(row.row), ..row }),
        );
        let dirty = stretch.dirty.len() as u64 + refused;
        chunk.counters.add(&Counters {
            read: stretch.read,
            inserted: written.inserted,
            updated: written.updated,
            skipped: written.skipped,
            dirty,
        });
        if let Err(error) = self.run.dirty.admit(dirty, stretch.read, &chunk.dirty) {
            // Not committed, but the reasons are what the user needs now.
            self.file.write(&chunk.dirty)?;
            return Err(Trouble::Lasting(error.hint(self.file.hint())));
        }
        Ok(())
    }

    /// Answers passing trouble by writing the whole chunk again, and gives up on any other.
    fn replay(&mut self, trouble: impl Into<Trouble>) -> Result<()> {
        let mut trouble = trouble.into();
        for attempt in 0..REPLAYS {
            let Trouble::Passing(error) = &trouble else { break };
            tracing::info!("chunk {} is written again: {error}", self.sequence);
            self.run.replays.fetch_add(1, Relaxed);
            self.writing.rollback_chunk()?;
            self.forget();
            self.run.stop.sleep(backoff(attempt))?;
            match self.write_all() {
                Ok(()) => return Ok(()),
                Err(next) => trouble = next,
            }
        }
        Err(trouble.into())
    }

    /// Takes back what the open chunk has counted.
    fn forget(&mut self) {
        let Some(chunk) = &mut self.open else { return };
        self.run.dirty.release(chunk.counters.dirty, chunk.counters.read);
        chunk.counters = Counters::default();
        chunk.dirty.clear();
    }

    fn write_all(&mut self) -> Result<(), Trouble> {
        self.begin()?;
        let stretches = self.open.as_ref().map_or(0, |chunk| chunk.stretches.len());
        (0..stretches).try_for_each(|index| self.write(index))
    }
}

impl Chunk {
    fn new() -> Self {
        Self {
            stretches: Vec::new(),
            bytes: 0,
            begun: Instant::now(),
            counters: Counters::default(),
            dirty: Vec::new(),
        }
    }
}

/// Doubling from 20 ms to about 5 s, with the last bits of the clock as jitter.
fn backoff(attempt: u32) -> Duration {
    let base = Duration::from_millis(20) * 2_u32.pow(attempt.min(8));
    let jitter = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos() % 1000);
    base + base / 1000 * jitter / 2
}

fn miscounted(rows: u64, written: &transload_plugin_api::Written) -> PluginError {
    let transload_plugin_api::Written { inserted, updated, skipped, dirty } = written;
    let message = format!(
        "the writer took {rows} rows and accounts for {inserted} inserted, {updated} updated, \
         {skipped} skipped and {} dirty",
        dirty.len()
    );
    PluginError::new(ErrorKind::Defect, message).with_code("RUN-BALANCE")
}

/// Trouble with a chunk: worth a replay, or not.
enum Trouble {
    Passing(PluginError),
    Lasting(Error),
}

impl From<PluginError> for Trouble {
    fn from(error: PluginError) -> Self {
        if error.kind == ErrorKind::Retry {
            Self::Passing(error)
        } else {
            Self::Lasting(error.into())
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Passing(error) => error.into(),
            Trouble::Lasting(error) => error,
        }
    }
}
