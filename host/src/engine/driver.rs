//! Runs a plan on threads of its own. Lanes take tasks in the plan's order; the first failure
//! stops the others, and only a job without a failure is committed.

use std::{
    collections::HashSet,
    mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use transload_plugin_api::{Count, Counters, ErrorKind, Receipt, code};

use super::{
    limits::Rates,
    progress::{Progress, TaskStats},
    shared::Shared,
    stop::Stop,
    task,
    watch::Watch,
};
use crate::{
    Error, Exit, Result,
    journal::{Journal, RunFolder},
    plan::Plan,
    stores::Stores,
};

/// A plan about to run.
pub(crate) struct Engine {
    shared: Arc<Shared>,
}

/// What is known about a run that has not ended. Does not keep its stores open.
pub(crate) struct Observer(Weak<Shared>);

/// A run in progress.
pub(crate) struct Running {
    job: thread::JoinHandle<Outcome>,
    /// Disconnected when the job's thread ends.
    ended: mpsc::Receiver<()>,
    progress: Arc<Progress>,
    watch: Watch,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Rows of committed chunks, by what happened to them.
    pub(crate) counters: Counters,
    /// One entry for each task that ran.
    pub(crate) tasks: Vec<TaskStats>,
    /// Dirty rows met, including those of a chunk that the dirty limit rolled back.
    pub(crate) dirty_met: u64,
    /// How often a chunk was rolled back and written again.
    pub(crate) replays: u64,
    /// How often a lost source was opened again.
    pub(crate) reopened: u64,
    /// Bytes taken from the source.
    pub(crate) bytes_read: u64,
    /// What the reader counted, such as requests to its store.
    pub(crate) reader_counts: Vec<Count>,
    /// What the writer counted.
    pub(crate) writer_counts: Vec<Count>,
    /// The rate limits at the end, and how often they were changed.
    pub(crate) limits: (Rates, u64),
    /// How long tasks and commit took.
    pub(crate) elapsed: Duration,
    /// What ended the run early.
    pub(crate) failure: Option<Error>,
    /// How far it came at the target.
    pub(crate) reached: Reached,
    /// What it had staged was removed, or there was nothing to remove.
    pub(crate) is_cleaned: bool,
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

impl Engine {
    /// An engine for one plan.
    pub(crate) fn new(
        plan: Arc<Plan>,
        stores: Stores,
        folder: Arc<RunFolder>,
        journal: Arc<Journal>,
        stop: Stop,
    ) -> Self {
        Self { shared: Arc::new(Shared::new(plan, stores, folder, journal, stop)) }
    }

    /// Sees the run also when nobody waits for it any more.
    pub(crate) fn observer(&self) -> Observer {
        Observer(Arc::downgrade(&self.shared))
    }

    /// Starts the job on a thread of its own.
    ///
    /// # Errors
    /// If the system refuses the thread.
    pub(crate) fn start(self) -> Result<Running> {
        let progress = self.shared.progress.clone();
        let watch = Watch::new(self.shared.folder.clone(), self.shared.throttle.clone());
        let driver =
            Driver { shared: self.shared, receipts: Mutex::default(), next_task: 0.into() };
        let (alive, ended) = mpsc::channel();
        let job = thread::Builder::new().name("job".into()).spawn(move || {
            let outcome = driver.run();
            drop(alive);
            outcome
        });
        let job = job.map_err(|error| {
            Error::new(Exit::Failed, format!("cannot start the job's thread: {error}"))
        })?;
        Ok(Running { job, ended, progress, watch })
    }
}

impl Running {
    /// The live counts.
    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Waits at most `time` for the end; whether it has come. Call it often: requests for other limits
    /// are looked for here.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        self.watch.look();
        // Nothing is ever sent: the channel is disconnected when the thread ends.
        self.ended.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Disconnected)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Only if the job's own thread panicked, which is a defect of the host.
    pub(crate) fn join(self) -> Result<Outcome> {
        self.job.join().map_err(|_| {
            Error::new(Exit::Failed, "the job's thread panicked").code(code::RUN_PANIC)
        })
    }
}

impl Observer {
    /// The outcome of a run that ends now for this reason; `None` if it has ended by itself. Calls no
    /// plugin, which may block.
    pub(crate) fn outcome(&self, failure: Error) -> Option<Outcome> {
        let shared = self.0.upgrade()?;
        let elapsed = shared.progress.elapsed();
        let outcome = Outcome::of(&shared, elapsed, Some(failure), false);
        // Closing its stores may block as well.
        mem::forget(shared);
        Some(outcome)
    }
}

impl Outcome {
    /// The outcome without the plugins' counts.
    fn of(shared: &Shared, elapsed: Duration, failure: Option<Error>, is_cleaned: bool) -> Self {
        Self {
            counters: shared.progress.committed(),
            tasks: shared.progress.tasks(),
            dirty_met: shared.dirty.met(),
            replays: shared.replays.load(Relaxed),
            reopened: shared.reopened.load(Relaxed),
            bytes_read: shared.progress.bytes_read(),
            reader_counts: Vec::new(),
            writer_counts: Vec::new(),
            limits: (shared.throttle.rates(), shared.throttle.changes()),
            elapsed,
            failure,
            reached: match shared.outcome_is_unknown() {
                true => Reached::Unknown,
                false => *shared.reached.lock(),
            },
            is_cleaned,
        }
    }
}

/// The job's own thread: lanes, balance, commit, cleaning up.
struct Driver {
    shared: Arc<Shared>,
    receipts: Mutex<Vec<Receipt>>,
    next_task: AtomicUsize,
}

impl Driver {
    /// Runs all tasks and commits, or cleans up after the first failure.
    fn run(self) -> Outcome {
        let started = Instant::now();
        let shared = &self.shared;
        if let Err(error) = self.run_tasks().and_then(|()| self.commit()) {
            shared.stop.fail(error);
        }
        let failure = shared.stop.failure();
        let is_cleaned = failure.is_none() || self.clean_up();
        if let Some(failure) = &failure {
            let is_unknown = shared.outcome_is_unknown();
            if let Err(error) = shared.journal.failed(failure, is_cleaned, is_unknown) {
                tracing::warn!("{error}");
            }
        }
        let reader_counts = usable_counts("reader", shared.stores.reader.counts());
        let writer_counts = usable_counts("writer", shared.stores.writer.counts());
        let elapsed = started.elapsed();
        Outcome {
            reader_counts,
            writer_counts,
            ..Outcome::of(shared, elapsed, failure, is_cleaned)
        }
    }

    /// Prepares the target and runs the tasks in lanes.
    ///
    /// The source is opened first: a source that cannot be read must not lead to a truncated target.
    fn run_tasks(&self) -> Result<()> {
        let shared = &self.shared;
        shared.open_first()?;
        shared.stop.check()?;
        *self.shared.reached.lock() = Reached::Target;
        tracing::info!("preparing target {}", shared.plan.target.name);
        shared.stores.writer.prepare(&shared.plan.write)?;
        shared.journal.prepared()?;
        thread::scope(|scope| {
            for lane in 0..shared.lanes() {
                let started = thread::Builder::new()
                    .name(format!("write-{lane}"))
                    .spawn_scoped(scope, || self.run_lane());
                if let Err(error) = started {
                    let message = format!("cannot start writer thread {lane}: {error}");
                    shared.stop.fail(Error::new(Exit::Failed, message));
                }
            }
        });
        shared.stop.failure().map_or(Ok(()), Err)?;
        self.ensure_balanced()
    }

    /// Takes one task after another until none is left or the job stops.
    fn run_lane(&self) {
        let Shared { plan, stop, .. } = &*self.shared;
        loop {
            let task = self.next_task.fetch_add(1, Relaxed);
            if task >= plan.splits.len() || stop.is_stopped() {
                return;
            }
            let label = &plan.splits[task].label;
            tracing::info!("task {task} begins: {label}");
            let ended = task::run(&self.shared, task as u32).and_then(|receipt| {
                self.shared.journal.finished(&receipt)?;
                Ok(receipt)
            });
            match ended {
                Ok(receipt) => {
                    tracing::info!("task {task} is done");
                    self.receipts.lock().push(receipt);
                }
                Err(error) => {
                    return stop.fail(error.within(&format!("task {task} ({label})")));
                }
            }
        }
    }

    /// Every row read is accounted for, or the job fails before it is published.
    fn ensure_balanced(&self) -> Result<()> {
        let Counters { read, inserted, updated, skipped, dirty } = self.shared.progress.committed();
        let accounted = inserted + updated + skipped + dirty;
        if read == accounted {
            return self.shared.dirty.check_at_end(read);
        }
        let message = format!(
            "{read} rows were read, but {inserted} inserted, {updated} updated, {skipped} skipped \
             and {dirty} dirty make {accounted}"
        );
        Err(Error::new(Exit::Plugin, message).code(code::RUN_BALANCE))
    }

    /// Commits the job with the receipts in the order of tasks, whichever ended first.
    fn commit(&self) -> Result<()> {
        let Shared { plan, stores, stop, .. } = &*self.shared;
        let mut receipts = self.receipts.lock().clone();
        receipts.sort_by_key(|receipt| receipt.task);
        stop.check()?;
        *self.shared.reached.lock() = Reached::Commit;
        self.shared.journal.publishing()?;
        tracing::info!("committing the job");
        let outcome = stores.writer.commit(&plan.write, &receipts).inspect_err(|error| {
            if error.code == code::RUN_AFTER {
                *self.shared.reached.lock() = Reached::Rows;
            }
        })?;
        self.shared.ensure_committed(outcome)?;
        *self.shared.reached.lock() = Reached::Rows;
        if let Err(error) = stores.writer.finalise(&plan.write) {
            // The job's result stands, so this is a warning and not a failure.
            tracing::warn!("cannot remove what the run left behind: {error}");
        }
        self.shared.journal.done()
    }

    /// Removes what the run staged, unless the outcome of a commit is unknown: then the staged data may be
    /// the only copy of the rows. Returns whether nothing is left to remove.
    fn clean_up(&self) -> bool {
        if self.shared.outcome_is_unknown() {
            return false;
        }
        tracing::info!("removing what the run staged");
        let receipts = self.receipts.lock().clone();
        let removed = self.shared.stores.writer.abort(&self.shared.plan.write, &receipts);
        if let Err(error) = &removed
            && error.kind != ErrorKind::Cancelled
        {
            tracing::warn!("cannot remove what the run staged: {error}");
        }
        removed.is_ok()
    }
}

/// A plugin's counts, without those whose names the report cannot use or has already. A plugin
/// that cannot report its counts does not fail the run.
fn usable_counts(role: &str, counts: transload_plugin_api::Result<Vec<Count>>) -> Vec<Count> {
    let mut counts = counts.unwrap_or_else(|error| {
        tracing::debug!("the {role} does not report its counts: {error}");
        Vec::new()
    });
    let mut names = HashSet::new();
    counts.retain(|count| count.has_name() && names.insert(count.name.clone()));
    counts
}
