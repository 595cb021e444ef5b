//! The live figures of a run: counted by its threads, looked at by the display and the report.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use transload_plugin_api::{Counters, ReadBatch};

use super::{Gauge, RingFigures, stretch::Stretch};
use crate::plan::Plan;

/// Live figures. All counters are statistics: nothing is published through them.
pub struct Progress {
    started: Instant,
    /// About how many rows and bytes there are, if every split knows.
    expected_rows: Option<u64>,
    expected_bytes: Option<u64>,
    all_tasks: usize,
    committed: Mutex<Counters>,
    tasks: Mutex<Vec<Arc<TaskGauge>>>,
}

/// One task's counters.
pub(super) struct TaskGauge {
    task: u32,
    began: Instant,
    ring: Gauge<Stretch>,
    rows: AtomicU64,
    bytes: AtomicU64,
    chunks: AtomicU64,
    ended: AtomicBool,
    elapsed: Mutex<Option<Duration>>,
}

/// What one task did.
#[derive(Clone, Debug, Serialize)]
pub struct TaskFigures {
    /// Its number.
    pub task: u32,
    /// Its split; filled in by the report.
    pub split: String,
    /// Rows read.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Chunks committed.
    pub chunks: u64,
    /// How long it ran.
    #[serde(serialize_with = "milliseconds", rename = "elapsed_ms")]
    pub elapsed: Duration,
    /// What its ring saw.
    #[serde(skip)]
    pub ring: RingFigures,
}

fn milliseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_millis() as u64)
}

impl Progress {
    pub(super) fn new(plan: &Plan) -> Self {
        let sum = |figure: fn(&transload_plugin_api::Split) -> Option<u64>| {
            plan.splits.iter().map(figure).sum::<Option<u64>>()
        };
        Self {
            started: Instant::now(),
            expected_rows: sum(|split| split.rows),
            expected_bytes: sum(|split| split.bytes),
            all_tasks: plan.splits.len(),
            committed: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    pub(super) fn begin(&self, task: u32, ring: Gauge<Stretch>) -> Arc<TaskGauge> {
        let gauge = Arc::new(TaskGauge {
            task,
            began: Instant::now(),
            ring,
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            elapsed: Mutex::new(None),
        });
        self.gauges().push(gauge.clone());
        gauge
    }

    pub(super) fn end(&self, gauge: &TaskGauge) {
        *gauge.elapsed.lock().unwrap_or_else(PoisonError::into_inner) = Some(gauge.began.elapsed());
        gauge.ended.store(true, Relaxed);
    }

    pub(super) fn commit(&self, chunk: &Counters) {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).add(chunk);
    }

    fn gauges(&self) -> MutexGuard<'_, Vec<Arc<TaskGauge>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows by what became of them, committed chunks only.
    pub fn committed(&self) -> Counters {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows read, committed or not.
    pub fn rows_read(&self) -> u64 {
        self.gauges().iter().map(|gauge| gauge.rows.load(Relaxed)).sum()
    }

    /// Bytes taken from the source.
    pub fn bytes_read(&self) -> u64 {
        self.gauges().iter().map(|gauge| gauge.bytes.load(Relaxed)).sum()
    }

    /// About how many rows there are, if known.
    pub fn expected_rows(&self) -> Option<u64> {
        self.expected_rows
    }

    /// About how many bytes there are, if known.
    pub fn expected_bytes(&self) -> Option<u64> {
        self.expected_bytes
    }

    /// Tasks ended, of all.
    pub fn tasks_ended(&self) -> (usize, usize) {
        let ended = self.gauges().iter().filter(|gauge| gauge.ended.load(Relaxed)).count();
        (ended, self.all_tasks)
    }

    /// How long the run has been going.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// One entry for each task begun.
    pub fn tasks(&self) -> Vec<TaskFigures> {
        let mut tasks: Vec<_> = self.gauges().iter().map(|gauge| gauge.figures()).collect();
        tasks.sort_by_key(|figures| figures.task);
        tasks
    }
}

impl TaskGauge {
    pub(super) fn count_read(&self, batch: &ReadBatch) {
        let rows = batch.batch.num_rows() + batch.dirty.len();
        self.rows.fetch_add(rows as u64, Relaxed);
        self.bytes.fetch_add(batch.bytes, Relaxed);
    }

    pub(super) fn count_chunk(&self) {
        self.chunks.fetch_add(1, Relaxed);
    }

    fn figures(&self) -> TaskFigures {
        let elapsed = *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner);
        TaskFigures {
            task: self.task,
            split: String::new(),
            rows: self.rows.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            chunks: self.chunks.load(Relaxed),
            elapsed: elapsed.unwrap_or_else(|| self.began.elapsed()),
            ring: self.ring.figures(),
        }
    }
}
