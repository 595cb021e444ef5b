//! DOING IT: a plan's tasks, each a reader thread and a writer thread with the ring between.
//!
//! [`Engine::start`] runs the job on threads of its own; [`Running`] is what the caller holds
//! meanwhile: the live figures, the stop signal and the way to join. Lanes take tasks in the
//! plan's order; the first failure stops the others, and only a job without one is committed.

mod chunk;
mod dirty;
mod limits;
mod progress;
mod reading;
mod ring;
mod stop;
mod stretch;
mod task;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use transload_plugin_api::{ChunkOutcome, Count, Counters, ErrorKind, ReadTask, Receipt};

pub use progress::{Progress, TaskFigures};
pub use ring::{Gauge, Lease, Received, Receiver, RingFigures, RingLimits, Sender, ring};
pub use stop::{Stop, StopReason};

use crate::{Error, Exit, Result, journal::RunFolder, plan::Plan, stores::Stores};
use dirty::DirtyCount;
use limits::Throttle;

/// A plan about to run.
pub struct Engine {
    plan: Arc<Plan>,
    stores: Stores,
    folder: Arc<RunFolder>,
    stop: Stop,
}

/// What all threads of a run share.
struct Run {
    plan: Arc<Plan>,
    stores: Stores,
    folder: Arc<RunFolder>,
    stop: Stop,
    progress: Arc<Progress>,
    dirty: DirtyCount,
    throttle: Throttle,
    receipts: Mutex<Vec<Receipt>>,
    next_task: AtomicUsize,
    /// Task 0's reading, opened before anything is written, until its lane takes it.
    opened: Mutex<Option<Box<dyn ReadTask>>>,
    replays: AtomicU64,
    /// How often a lost source was opened again.
    reopened: AtomicU64,
    /// A commit whose outcome is unknown forbids cleaning up.
    unknown_outcome: AtomicBool,
}

/// A run in progress.
pub struct Running {
    job: thread::JoinHandle<Outcome>,
    /// Disconnected when the job's thread ends.
    ended: mpsc::Receiver<()>,
    progress: Arc<Progress>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Rows by what became of them, committed chunks only.
    pub counters: Counters,
    /// One entry for each task that ran.
    pub tasks: Vec<TaskFigures>,
    /// Dirty rows met, those of a chunk that was rolled back for them included.
    pub dirty_met: u64,
    /// Chunks that were rolled back and written again.
    pub replays: u64,
    /// How often a lost source was opened again.
    pub reopened: u64,
    /// Bytes taken from the source.
    pub bytes_read: u64,
    /// What the reader has counted of its dealings with the source.
    pub reader_counts: Vec<Count>,
    /// The same of the writer.
    pub writer_counts: Vec<Count>,
    /// How long it took.
    pub elapsed: Duration,
    /// What ended it early.
    pub failure: Option<Error>,
}

impl Engine {
    /// An engine for one plan.
    pub fn new(plan: Arc<Plan>, stores: Stores, folder: Arc<RunFolder>, stop: Stop) -> Self {
        Self { plan, stores, folder, stop }
    }

    /// Starts the job on a thread of its own.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(self) -> Result<Running> {
        let progress = Arc::new(Progress::new(&self.plan));
        let run = Run {
            dirty: DirtyCount::new(self.plan.dirty.clone()),
            throttle: Throttle::new(&self.plan.channel),
            progress: progress.clone(),
            receipts: Mutex::default(),
            next_task: AtomicUsize::new(0),
            opened: Mutex::default(),
            replays: AtomicU64::new(0),
            reopened: AtomicU64::new(0),
            unknown_outcome: AtomicBool::new(false),
            plan: self.plan,
            stores: self.stores,
            folder: self.folder,
            stop: self.stop,
        };
        let (alive, ended) = mpsc::channel();
        let job = thread::Builder::new().name("job".into()).spawn(move || {
            let outcome = run.drive();
            drop(alive);
            outcome
        });
        let job = job.map_err(|error| Error::new(Exit::Failed, format!("no thread: {error}")))?;
        Ok(Running { job, ended, progress })
    }
}

impl Running {
    /// The live figures.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Waits for the end, but not longer; whether it has come.
    pub fn wait(&self, time: Duration) -> bool {
        // Nothing is ever sent: the channel only tells that the thread is gone.
        self.ended.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Disconnected)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Only if the job's own thread panicked, which is a defect of the host.
    pub fn join(self) -> Result<Outcome> {
        self.job.join().map_err(|_| Error::new(Exit::Failed, "the job's thread panicked"))
    }
}

impl Run {
    fn drive(self) -> Outcome {
        let started = Instant::now();
        if let Err(error) = self.all_tasks().and_then(|()| self.commit()) {
            self.stop.fail(error);
        }
        let failure = self.stop.failure();
        if failure.is_some() {
            self.clean_up();
        }
        Outcome {
            counters: self.progress.committed(),
            tasks: self.progress.tasks(),
            dirty_met: self.dirty.met(),
            replays: self.replays.load(Relaxed),
            reopened: self.reopened.load(Relaxed),
            bytes_read: self.progress.bytes_read(),
            reader_counts: counts_of("reader", self.stores.reader.counts()),
            writer_counts: counts_of("writer", self.stores.writer.counts()),
            elapsed: started.elapsed(),
            failure,
        }
    }

    fn all_tasks(&self) -> Result<()> {
        // The source is opened before anything destructive happens at the destination.
        if let Some(split) = self.plan.splits.first() {
            let reading = self.stores.reader.open(split, &self.plan.produced(), None)?;
            *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        }
        self.stop.check()?;
        self.stores.writer.prepare(&self.plan.write)?;
        let lanes = (self.plan.channel.parallelism.get() as usize).min(self.plan.splits.len());
        thread::scope(|scope| {
            for lane in 0..lanes {
                let lane = thread::Builder::new()
                    .name(format!("write-{lane}"))
                    .spawn_scoped(scope, || self.lane());
                if let Err(error) = lane {
                    self.stop.fail(Error::new(Exit::Failed, format!("no thread: {error}")));
                }
            }
        });
        self.stop.failure().map_or(Ok(()), Err)?;
        self.balance()
    }

    /// Takes one task after another until none is left or the job stops.
    fn lane(&self) {
        loop {
            let task = self.next_task.fetch_add(1, Relaxed);
            if task >= self.plan.splits.len() || self.stop.is_stopped() {
                return;
            }
            match task::run(self, task as u32) {
                Ok(receipt) => {
                    self.receipts.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
                }
                Err(error) => {
                    let label = &self.plan.splits[task].label;
                    return self.stop.fail(error.within(&format!("task {task} ({label})")));
                }
            }
        }
    }

    /// A task's reading: task 0's is open already.
    fn open(&self, task: u32) -> Result<Box<dyn ReadTask>> {
        let opened = (task == 0)
            .then(|| self.opened.lock().unwrap_or_else(PoisonError::into_inner).take())
            .flatten();
        match opened {
            Some(reading) => Ok(reading),
            None => {
                let split = &self.plan.splits[task as usize];
                Ok(self.stores.reader.open(split, &self.plan.produced(), None)?)
            }
        }
    }

    /// Every row read is accounted for, or the job fails before it is published.
    fn balance(&self) -> Result<()> {
        let Counters { read, inserted, updated, skipped, dirty } = self.progress.committed();
        if read == inserted + updated + skipped + dirty {
            return self.dirty.check_at_end(read);
        }
        let message = format!(
            "{read} rows were read, but {inserted} inserted, {updated} updated, {skipped} skipped \
             and {dirty} dirty make {}",
            inserted + updated + skipped + dirty
        );
        Err(Error::new(Exit::Plugin, message).code("RUN-BALANCE"))
    }

    fn commit(&self) -> Result<()> {
        let mut receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        receipts.sort_by_key(|receipt| receipt.task);
        self.stop.check()?;
        let outcome = self.stores.writer.commit(&self.plan.write, &receipts)?;
        self.understand(outcome)?;
        if let Err(error) = self.stores.writer.finalise(&self.plan.write) {
            // The job's result stands: leftovers are worth a word, not a failure.
            tracing::warn!("leftovers of the run could not be removed: {error}");
        }
        Ok(())
    }

    /// What a commit's outcome means for the run.
    fn understand(&self, outcome: ChunkOutcome) -> Result<()> {
        match outcome {
            ChunkOutcome::Committed | ChunkOutcome::AlreadyCommitted => Ok(()),
            ChunkOutcome::Fenced => Err(Error::new(
                Exit::Locked,
                "a newer attempt of this run owns the task; nothing was written by this one",
            )
            .code("RUN-FENCED")),
            ChunkOutcome::Unknown { evidence } => {
                self.unknown_outcome.store(true, Relaxed);
                let message = format!("the outcome of a commit is unknown: {evidence}");
                Err(Error::new(Exit::Failed, message)
                    .code("RUN-COMMIT-UNKNOWN")
                    .hint("look whether the last rows are in the target; nothing was removed"))
            }
        }
    }

    fn clean_up(&self) {
        if self.unknown_outcome.load(Relaxed) {
            return;
        }
        let receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = self.stores.writer.abort(&self.plan.write, &receipts)
            && error.kind != ErrorKind::Cancelled
        {
            tracing::warn!("what the run had staged could not be removed: {error}");
        }
    }
}

/// A plugin's counts, without those whose names a report cannot rely on, or has already. What cannot be told is
/// no reason to call a run failed.
fn counts_of(role: &str, counts: transload_plugin_api::Result<Vec<Count>>) -> Vec<Count> {
    let mut counts = counts.unwrap_or_else(|error| {
        tracing::debug!("the {role} does not tell what it has counted: {error}");
        Vec::new()
    });
    let mut named = HashSet::new();
    counts.retain(|count| count.has_name() && named.insert(count.name.clone()));
    counts
}
