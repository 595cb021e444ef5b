//! Does what a job's machine asks for, on threads of its own. Lanes take tasks in the plan's order; the
//! first failure stops the others. What comes next, after which result, is decided by `protocol`.

use std::{
    collections::{BTreeMap, HashSet},
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
use transload_plugin_api::{ChunkOutcome, Count, Counters, ErrorKind, Receipt, code, failpoint};

use super::{
    dirty::DirtyFile,
    limits::Rates,
    pool::Pool,
    progress::{Progress, TaskStats},
    protocol::{self, Job, JobEffect, JobEvent, Reached},
    shared::{Shared, fenced},
    stop::Stop,
    task,
    watch::Watch,
};
use crate::{
    Error, Exit, Result,
    journal::{Failure, Journal, RunFolder},
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
    /// Both, by the code of the error that was the reason.
    pub(crate) retries: BTreeMap<String, u64>,
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

impl Engine {
    /// An engine for one plan.
    pub(crate) fn new(
        plan: Arc<Plan>,
        stores: Stores,
        folder: Arc<RunFolder>,
        journal: Arc<Journal>,
        stop: Stop,
    ) -> Self {
        Self { shared: Arc::new(Shared::new(plan, stores, folder, journal, stop, None)) }
    }

    /// An engine whose tasks run in the lanes of several runs.
    pub(crate) fn in_pool(
        plan: Arc<Plan>,
        stores: Stores,
        folder: Arc<RunFolder>,
        journal: Arc<Journal>,
        stop: Stop,
        pool: &Pool,
    ) -> Self {
        let pool = Some(pool.clone());
        Self { shared: Arc::new(Shared::new(plan, stores, folder, journal, stop, pool)) }
    }

    /// Sees the run also when no caller waits for it any more.
    pub(crate) fn observer(&self) -> Observer {
        Observer(Arc::downgrade(&self.shared))
    }

    /// Starts the job on a thread of its own.
    ///
    /// # Errors
    /// If the system refuses the thread.
    pub(crate) fn start(self) -> Result<Running> {
        let progress = self.shared.progress.clone();
        let watch = Watch::new(&self.shared);
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
            retries: shared.progress.retries(),
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
    /// Does what the job's machine asks for, until the job has ended.
    fn run(self) -> Outcome {
        let started = Instant::now();
        let shared = &self.shared;
        let mut job = Job::new(shared.memory(), shared.before());
        let mut event = JobEvent::Begun;
        loop {
            let effect = job.step(event);
            *shared.reached.lock() = job.reached();
            if effect == JobEffect::End {
                break;
            }
            event = self.perform(effect);
        }
        let failure = shared.stop.failure();
        let is_cleaned = failure.is_none() || job.is_clean();
        if let Some(failure) = &failure {
            let failure = Failure {
                is_cleaned,
                is_unknown: job.reached() == Reached::Unknown,
                is_empty: shared.progress.committed() == Counters::default(),
                ..Failure::new(failure)
            };
            if let Err(error) = shared.journal.failed(failure) {
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

    fn perform(&self, effect: JobEffect) -> JobEvent {
        let shared = &self.shared;
        match effect {
            JobEffect::Wait | JobEffect::End => JobEvent::Done,
            JobEffect::OpenSource => {
                self.done(shared.open_first().and_then(|()| shared.stop.check()))
            }
            JobEffect::Prepare => {
                tracing::info!("preparing target {}", shared.plan.target.name);
                self.done(shared.stores.writer.prepare(&shared.plan.write).map_err(Error::from))
            }
            JobEffect::RecordPrepared => self.done(shared.journal.prepared()),
            JobEffect::RunTasks => self.run_tasks(),
            JobEffect::Balance => self.done(self.ensure_balanced()),
            JobEffect::RecordPublishing => {
                self.done(shared.stop.check().and_then(|()| shared.journal.publishing()))
            }
            JobEffect::Publish => self.publish(),
            JobEffect::RecordDone => {
                failpoint("K13");
                if let Err(error) = shared.journal.done() {
                    tracing::warn!("{error}");
                }
                JobEvent::Done
            }
            JobEffect::Finalise => {
                failpoint("K13");
                if let Err(error) = shared.stores.writer.finalise(&shared.plan.write) {
                    // The job's result stands, so this is a warning and not a failure.
                    tracing::warn!("cannot remove what the run left behind: {error}");
                }
                JobEvent::Done
            }
            JobEffect::Abort => self.abort(),
        }
    }

    fn done(&self, result: Result<()>) -> JobEvent {
        result.map_or_else(|error| self.failed(error), |()| JobEvent::Done)
    }

    fn failed(&self, error: Error) -> JobEvent {
        self.shared.stop.fail(error);
        JobEvent::Failed
    }

    /// Runs the tasks in lanes.
    fn run_tasks(&self) -> JobEvent {
        let shared = &self.shared;
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
        match shared.stop.failure() {
            None => JobEvent::Done,
            Some(_) => JobEvent::TaskFailed { is_unknown: shared.outcome_is_unknown() },
        }
    }

    /// Takes one task after another until none is left or the job stops.
    fn run_lane(&self) {
        let Shared { plan, stop, pool, .. } = &*self.shared;
        loop {
            let lane = pool.as_ref().map(|pool| pool.lane(stop));
            if matches!(lane, Some(None)) {
                return;
            }
            let task = self.next_task.fetch_add(1, Relaxed);
            if task >= plan.splits.len() || stop.is_stopped() {
                return;
            }
            let label = &plan.splits[task].label;
            tracing::info!("task {task} begins: {label}");
            match task::run(&self.shared, task as u32) {
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
    fn publish(&self) -> JobEvent {
        let Shared { plan, stores, .. } = &*self.shared;
        let mut receipts = self.receipts.lock().clone();
        if receipts.is_empty() {
            match self.take_over() {
                Ok(finished) => receipts = finished,
                Err(error) => return self.failed(error),
            }
        }
        receipts.sort_by_key(|receipt| receipt.task);
        tracing::info!("committing the job");
        match stores.writer.commit(&plan.write, &receipts) {
            Ok(outcome) => {
                match &outcome {
                    ChunkOutcome::Committed | ChunkOutcome::AlreadyCommitted => {}
                    ChunkOutcome::Fenced => self.shared.stop.fail(fenced()),
                    ChunkOutcome::Unknown { evidence } => {
                        self.shared.stop.fail(self.shared.unknown(evidence));
                    }
                }
                JobEvent::Outcome(protocol::Outcome::of(&outcome))
            }
            Err(error) if error.code == code::RUN_AFTER => {
                self.shared.stop.fail(error.into());
                JobEvent::FailedBehindRows
            }
            Err(error) => self.failed(error.into()),
        }
    }

    /// Counts what tasks have written that an earlier process has finished, and that do not run again.
    /// Returns their receipts.
    fn take_over(&self) -> Result<Vec<Receipt>> {
        let Shared { journal, folder, progress, dirty, .. } = &*self.shared;
        for (task, start) in journal.starts.iter().enumerate() {
            let Some(known) = &start.progress else { continue };
            let kept = (start.dirty_bytes, known.counters.dirty);
            let mut file = DirtyFile::new(folder, task as u32);
            let lines = file.resume_at(kept, journal.is_loss_accepted)?;
            self.shared.report_lost(task as u32, &lines);
            dirty.resume(known.counters.read, lines);
            progress.commit(&known.counters);
        }
        Ok(journal.starts.iter().filter_map(|start| start.receipt.clone()).collect())
    }

    /// Removes what the run staged.
    fn abort(&self) -> JobEvent {
        tracing::info!("removing what the run staged");
        let receipts = self.receipts.lock().clone();
        match self.shared.stores.writer.abort(&self.shared.plan.write, &receipts) {
            Ok(()) => JobEvent::Done,
            Err(error) => {
                if error.kind != ErrorKind::Cancelled {
                    let run = &self.shared.plan.run;
                    tracing::warn!(
                        "cannot remove what the run staged, so it stays: {error}; \
                         try again: transload abort {run}"
                    );
                }
                JobEvent::Failed
            }
        }
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
