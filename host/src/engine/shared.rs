//! What all threads of a run share: the plan, both stores, the stop signal, the counts and limits.
//! Who runs when is left to `driver`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use transload_plugin_api::{ChunkOutcome, ReadTask, code};

use super::{dirty::DirtyCount, driver::Reached, limits::Throttle, progress::Progress, stop::Stop};
use crate::{
    Error, Exit, Result,
    journal::{Journal, RunFolder},
    plan::Plan,
    stores::Stores,
};

/// What all threads of a run share.
pub(super) struct Shared {
    pub(super) plan: Arc<Plan>,
    pub(super) stores: Stores,
    pub(super) folder: Arc<RunFolder>,
    pub(super) journal: Arc<Journal>,
    pub(super) stop: Stop,
    pub(super) progress: Arc<Progress>,
    pub(super) dirty: DirtyCount,
    pub(super) throttle: Arc<Throttle>,
    /// How often a chunk was rolled back and written again.
    pub(super) replays: AtomicU64,
    /// How often a lost source was opened again.
    pub(super) reopened: AtomicU64,
    /// Task 0's reading, opened before anything is written, until its lane takes it.
    first_reading: Mutex<Option<Box<dyn ReadTask>>>,
    /// How far the run has come at the target.
    pub(super) reached: Mutex<Reached>,
    /// A commit whose outcome is unknown forbids cleaning up.
    unknown_outcome: AtomicBool,
}

impl Shared {
    /// The state of a run that begins now.
    pub(super) fn new(
        plan: Arc<Plan>,
        stores: Stores,
        folder: Arc<RunFolder>,
        journal: Arc<Journal>,
        stop: Stop,
    ) -> Self {
        let throttle = Arc::new(Throttle::new(&plan.channel));
        Self {
            progress: Arc::new(Progress::new(&plan, throttle.clone())),
            dirty: DirtyCount::new(plan.dirty.clone()),
            throttle,
            replays: AtomicU64::new(0),
            reopened: AtomicU64::new(0),
            first_reading: Mutex::default(),
            reached: Mutex::default(),
            unknown_outcome: AtomicBool::new(false),
            plan,
            stores,
            folder,
            journal,
            stop,
        }
    }

    /// Opens the first split, so that a source that cannot be read fails the run before anything
    /// is changed at the destination.
    pub(super) fn open_first(&self) -> Result<()> {
        if !self.plan.splits.is_empty() {
            let reading = self.open_split(0)?;
            *self.first_reading.lock() = Some(reading);
        }
        Ok(())
    }

    /// A task's reading, from the start of its split.
    pub(super) fn open(&self, task: u32) -> Result<Box<dyn ReadTask>> {
        let opened = if task == 0 { self.first_reading.lock().take() } else { None };
        opened.map_or_else(|| self.open_split(task), Ok)
    }

    fn open_split(&self, task: u32) -> Result<Box<dyn ReadTask>> {
        let split = &self.plan.splits[task as usize];
        Ok(self.stores.reader.open(split, &self.plan.produced(), None)?)
    }

    /// How many tasks run at a time.
    pub(super) fn lanes(&self) -> usize {
        (self.plan.channel.parallelism.get() as usize).min(self.plan.splits.len())
    }

    /// An error unless the chunk, or the job, is committed.
    pub(super) fn ensure_committed(&self, outcome: ChunkOutcome) -> Result<()> {
        match outcome {
            ChunkOutcome::Committed | ChunkOutcome::AlreadyCommitted => Ok(()),
            ChunkOutcome::Fenced => Err(Error::new(
                Exit::Locked,
                "a newer attempt of this run owns the task; this one wrote nothing",
            )
            .code(code::RUN_FENCED)),
            ChunkOutcome::Unknown { evidence } => {
                self.unknown_outcome.store(true, Relaxed);
                let message = format!("the outcome of a commit is unknown: {evidence}");
                Err(Error::new(Exit::Failed, message)
                    .code(code::RUN_COMMIT_UNKNOWN)
                    .hint("check whether the last rows are in the target; nothing was removed"))
            }
        }
    }

    /// Whether a commit was sent and its outcome could not be determined.
    pub(super) fn outcome_is_unknown(&self) -> bool {
        self.unknown_outcome.load(Relaxed)
    }
}
