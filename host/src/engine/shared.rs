//! What all threads of a run share: the plan, both stores, the stop signal, the counts and limits.
//! Who runs when is left to `driver`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use transload_plugin_api::{Position, ReadTask, code, has_defect};

use super::{
    dirty::{ClassCounts, DirtyCount},
    drift,
    limits::Throttle,
    memory::Budget,
    pool::Pool,
    progress::Progress,
    protocol::{Before, Memory, Reached},
    stop::Stop,
};
use crate::{
    Error, Exit, Result,
    journal::{Journal, RunFolder},
    plan::Plan,
    report::plural,
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
    pub(super) budget: Arc<Budget>,
    /// The lanes of several runs, of which this is one.
    pub(super) pool: Option<Pool>,
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
        pool: Option<Pool>,
    ) -> Self {
        let own = || Arc::new(Throttle::new(&plan.channel));
        let throttle = pool.as_ref().map_or_else(own, Pool::throttle);
        Self {
            progress: Arc::new(Progress::new(&plan, throttle.clone())),
            dirty: DirtyCount::new(plan.dirty.clone()),
            throttle,
            budget: Budget::new(plan.channel.buffer_bytes),
            pool,
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
    /// is changed at the destination, and looks whether the target is what was planned.
    pub(super) fn open_first(&self) -> Result<()> {
        if !self.plan.splits.is_empty() {
            let reading = self.open(0, None)?;
            *self.first_reading.lock() = Some(reading);
        }
        drift::check(&self.plan, &*self.stores.writer)
    }

    /// A task's reading, after a position of its split or from its start.
    pub(super) fn open(&self, task: u32, after: Option<&Position>) -> Result<Box<dyn ReadTask>> {
        let is_first = task == 0 && after.is_none();
        let opened = if is_first { self.first_reading.lock().take() } else { None };
        let open = || {
            let split = &self.plan.splits[task as usize];
            Ok(self.stores.reader.open(split, &self.plan.produced(), after)?)
        };
        opened.map_or_else(open, Ok)
    }

    /// How many tasks run at a time.
    pub(super) fn lanes(&self) -> usize {
        (self.plan.channel.parallelism.get() as usize).min(self.plan.splits.len())
    }

    /// What earlier processes have done for the run.
    pub(super) fn before(&self) -> Before {
        let starts = &self.journal.starts;
        match self.plan.write.is_resumed {
            false => Before::Nothing,
            true if starts.iter().all(|start| start.receipt.is_some()) => Before::Tasks,
            true => Before::Target,
        }
    }

    /// What remembers the progress of attempts that end early.
    pub(super) fn memory(&self) -> Memory {
        match (&self.plan.write.tokens, self.plan.is_staged()) {
            (Some(_), _) => Memory::Token,
            (None, true) => Memory::Stage,
            (None, false) => Memory::Journal,
        }
    }

    /// The same for tasks: a test may ask for a build that forgets the tokens.
    pub(super) fn memory_of_tasks(&self) -> Memory {
        if has_defect("journal-only") { Memory::Journal } else { self.memory() }
    }

    /// The error of a commit whose outcome is unknown. It forbids that anything is removed.
    pub(super) fn unknown(&self, evidence: &str) -> Error {
        self.unknown_outcome.store(true, Relaxed);
        let message = format!("the outcome of a commit is unknown: {evidence}");
        Error::new(Exit::Failed, message)
            .code(code::RUN_COMMIT_UNKNOWN)
            .hint("check whether the last rows are in the target; nothing was removed")
    }

    /// That dirty rows of a task are lost that earlier attempts have met.
    pub(super) fn report_lost(&self, task: u32, dirty: &ClassCounts) {
        if dirty.lost() > 0 {
            tracing::warn!(
                "what was kept of {} of task {task} is lost; they stay counted",
                plural(dirty.lost(), "dirty row", "dirty rows")
            );
        }
    }

    /// Whether a commit was sent and its outcome could not be determined.
    pub(super) fn outcome_is_unknown(&self) -> bool {
        self.unknown_outcome.load(Relaxed)
    }
}

/// The error of an attempt that is not the newest one.
pub(super) fn fenced() -> Error {
    let message = "a newer attempt of this run owns the task; this one wrote nothing";
    Error::new(Exit::Locked, message).code(code::RUN_FENCED)
}
