//! The live counts of a run: its threads count, the display and the report read. All of them are
//! statistics: nothing is published through the atomics, hence `Relaxed` throughout.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;
use transload_plugin_api::{Counters, Split};

use super::{
    converted_batch::ConvertedBatch,
    limits::{Rates, Throttle},
    ring::{RingMonitor, RingStats},
    stall::{Pulse, Stall},
};
use crate::plan::Plan;

/// The live counts of a run.
pub(crate) struct Progress {
    started: Instant,
    /// About how many rows and bytes there are, if every split knows.
    expected_rows: Option<u64>,
    expected_bytes: Option<u64>,
    all_tasks: usize,
    throttle: Arc<Throttle>,
    /// Tasks without progress now.
    stalled: Mutex<Vec<Stall>>,
    /// How often something was tried again, by the code of the error.
    retries: Mutex<BTreeMap<String, u64>>,
    committed: Mutex<Counters>,
    tasks: Mutex<Vec<Arc<TaskProgress>>>,
}

/// The live counts of one task.
pub(super) struct TaskProgress {
    task: u32,
    began: Instant,
    ring: RingMonitor<ConvertedBatch>,
    rows: AtomicU64,
    bytes: AtomicU64,
    chunks: AtomicU64,
    stalls: AtomicU64,
    /// How long the job's own limits held the reader, in microseconds.
    throttled: AtomicU64,
    /// How long the task took, once it has ended.
    elapsed: Mutex<Option<Duration>>,
}

/// What one task did.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TaskStats {
    /// Its number.
    pub(crate) task: u32,
    /// Its split; filled in by the report.
    pub(crate) split: String,
    /// Rows read.
    pub(crate) rows: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Chunks committed.
    pub(crate) chunks: u64,
    /// How often it made no progress for `stall_timeout`.
    pub(crate) stalls: u64,
    /// How long it ran.
    #[serde(serialize_with = "milliseconds", rename = "elapsed_ms")]
    pub(crate) elapsed: Duration,
    /// How long the job's own limits held its reader.
    #[serde(skip)]
    pub(crate) throttled: Duration,
    /// How its ring was used.
    #[serde(skip)]
    pub(crate) ring: RingStats,
}

fn milliseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_millis() as u64)
}

impl Progress {
    /// The counts of a run that begins now.
    pub(super) fn new(plan: &Plan, throttle: Arc<Throttle>) -> Self {
        let sum = |of: fn(&Split) -> Option<u64>| plan.splits.iter().map(of).sum::<Option<u64>>();
        Self {
            started: Instant::now(),
            expected_rows: sum(|split| split.rows),
            expected_bytes: sum(|split| split.bytes),
            all_tasks: plan.splits.len(),
            throttle,
            stalled: Mutex::default(),
            retries: Mutex::default(),
            committed: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// Adds a task that begins now.
    pub(super) fn begin(&self, task: u32, ring: RingMonitor<ConvertedBatch>) -> Arc<TaskProgress> {
        let progress = Arc::new(TaskProgress {
            task,
            began: Instant::now(),
            ring,
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            elapsed: Mutex::new(None),
        });
        self.tasks.lock().push(progress.clone());
        progress
    }

    /// Stops the clock of a task.
    pub(super) fn end(&self, task: &TaskProgress) {
        *task.elapsed.lock() = Some(task.began.elapsed());
    }

    /// Adds the counters of a chunk that is committed.
    pub(super) fn commit(&self, chunk: &Counters) {
        self.committed.lock().add(chunk);
    }

    /// Rows of committed chunks, by what happened to them.
    pub(crate) fn committed(&self) -> Counters {
        *self.committed.lock()
    }

    /// Rows read, committed or not.
    pub(crate) fn rows_read(&self) -> u64 {
        self.tasks.lock().iter().map(|task| task.rows.load(Relaxed)).sum()
    }

    /// Bytes taken from the source.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.tasks.lock().iter().map(|task| task.bytes.load(Relaxed)).sum()
    }

    /// About how many rows there are, if known.
    pub(crate) fn expected_rows(&self) -> Option<u64> {
        self.expected_rows
    }

    /// About how many bytes there are, if known.
    pub(crate) fn expected_bytes(&self) -> Option<u64> {
        self.expected_bytes
    }

    /// The rate limits now.
    pub(crate) fn rates(&self) -> Rates {
        self.throttle.rates()
    }

    /// Counts that something is tried again after an error with this code.
    pub(super) fn count_retry(&self, code: &str) {
        let class = if code.is_empty() { "other" } else { code };
        *self.retries.lock().entry(class.to_owned()).or_default() += 1;
    }

    /// How often something was tried again, by the code of the error; `other` has none.
    pub(crate) fn retries(&self) -> BTreeMap<String, u64> {
        self.retries.lock().clone()
    }

    /// What each task that has begun and not ended has done so far.
    pub(super) fn pulses(&self) -> Vec<(u32, Pulse)> {
        let tasks = self.tasks.lock();
        let running = tasks.iter().filter(|task| task.elapsed.lock().is_none());
        running.map(|task| (task.task, task.pulse())).collect()
    }

    /// Keeps which tasks make no progress, and counts at those in `begun` that they stalled.
    pub(super) fn stall(&self, begun: &[Stall], all: Vec<Stall>) {
        for task in self.tasks.lock().iter() {
            let stalls = begun.iter().filter(|stall| stall.task == task.task).count();
            task.stalls.fetch_add(stalls as u64, Relaxed);
        }
        *self.stalled.lock() = all;
    }

    /// Tasks without progress now.
    pub(crate) fn stalled(&self) -> Vec<Stall> {
        self.stalled.lock().clone()
    }

    /// How many tasks have ended, and how many there are.
    pub(crate) fn tasks_ended(&self) -> (usize, usize) {
        let ended = self.tasks.lock().iter().filter(|task| task.elapsed.lock().is_some()).count();
        (ended, self.all_tasks)
    }

    /// How long the run has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// One entry for each task that has begun, by number.
    pub(crate) fn tasks(&self) -> Vec<TaskStats> {
        let mut tasks: Vec<_> = self.tasks.lock().iter().map(|task| task.stats()).collect();
        tasks.sort_by_key(|stats| stats.task);
        tasks
    }
}

impl TaskProgress {
    /// Adds rows of the reader, dirty ones included, and the bytes that it took for them.
    pub(super) fn count_read(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Adds time that the job's own limits held the reader.
    pub(super) fn count_throttled(&self, time: Duration) {
        self.throttled.fetch_add(time.as_micros() as u64, Relaxed);
    }

    /// The task's number.
    pub(super) fn task(&self) -> u32 {
        self.task
    }

    /// Adds one committed chunk.
    pub(super) fn count_chunk(&self) {
        self.chunks.fetch_add(1, Relaxed);
    }

    fn pulse(&self) -> Pulse {
        let load = self.ring.load();
        Pulse {
            rows: self.rows.load(Relaxed),
            chunks: self.chunks.load(Relaxed),
            items: load.items,
            bytes: load.bytes,
            is_hungry: load.receiver_waits,
        }
    }

    fn stats(&self) -> TaskStats {
        let elapsed = *self.elapsed.lock();
        TaskStats {
            task: self.task,
            split: String::new(),
            rows: self.rows.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            chunks: self.chunks.load(Relaxed),
            stalls: self.stalls.load(Relaxed),
            throttled: Duration::from_micros(self.throttled.load(Relaxed)),
            elapsed: elapsed.unwrap_or_else(|| self.began.elapsed()),
            ring: self.ring.stats(),
        }
    }
}
