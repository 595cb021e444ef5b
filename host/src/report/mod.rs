//! WHAT HAPPENED: progress during a run, its report as JSON and as text; also the text forms of plans,
//! plugins and connections.

mod display;
mod plan;
mod plugins;
mod remains;
mod summary;

use std::path::PathBuf;

use serde::{Serialize, Serializer};
use transload_plugin_api::{Count, Counters};

pub(crate) use display::{Display, ProgressMode};
pub(crate) use plan::describe_plan;
pub(crate) use plugins::{describe_plugin, list_connections, list_findings, list_plugins};
pub(crate) use summary::summary;

use self::remains::Remains;
use crate::{
    Error, Exit,
    engine::{Outcome, RingStats, TaskStats},
    journal::RunFolder,
    plan::Plan,
    stores::Side,
};

/// The result of a run, as `report.json` and `--output json` show it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The job's name.
    pub(crate) job: String,
    /// The run's name.
    pub(crate) run: String,
    /// The environment whose connections were used.
    pub(crate) environment: Option<String>,
    /// The program's version.
    pub(crate) transload: &'static str,
    /// The reader's plugin.
    pub(crate) reader: Side,
    /// The writer's plugin.
    pub(crate) writer: Side,
    /// The target's name.
    pub(crate) target: String,
    /// The write mode.
    pub(crate) write_mode: &'static str,
    /// The plan's guarantee.
    pub(crate) guarantee: &'static str,
    /// The exit code's name.
    pub(crate) status: Exit,
    /// The error that ended it early.
    pub(crate) error: Option<Error>,
    /// Rows of committed chunks, by outcome; none if they were staged and not published.
    pub(crate) rows: Counters,
    /// Rows that were staged and not published, because the run failed.
    pub(crate) discarded: u64,
    /// What a run that failed has left in the target, and what running the job again does.
    pub(crate) remains: Vec<String>,
    /// Dirty rows met, including those of a chunk that the dirty limit rolled back.
    pub(crate) dirty_met: u64,
    /// Bytes taken from the source.
    pub(crate) bytes_read: u64,
    /// How long tasks and commit took, in milliseconds.
    pub(crate) elapsed_ms: u64,
    /// Rows read per second.
    pub(crate) rows_per_second: u64,
    /// Bytes read per second.
    pub(crate) bytes_per_second: u64,
    /// Which side was slower.
    pub(crate) bottleneck: Bottleneck,
    /// Chunks committed.
    pub(crate) chunks: u64,
    /// Chunks rolled back and written again.
    pub(crate) replays: u64,
    /// How often a lost source was opened again.
    pub(crate) reopened: u64,
    /// The plugins' own counts, such as requests, by name.
    pub(crate) counts: Counts,
    /// One entry for each task.
    pub(crate) tasks: Vec<TaskStats>,
    /// The run's folder.
    pub(crate) folder: PathBuf,
    /// Files with dirty rows.
    pub(crate) dirty_files: Vec<PathBuf>,
    /// The plan's warnings, and what either plugin counted as left out.
    pub(crate) warnings: Vec<String>,
}

/// The counts of each side's plugin; empty if it does not count.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    /// The reader's.
    #[serde(serialize_with = "by_name")]
    pub(crate) reader: Vec<Count>,
    /// The writer's.
    #[serde(serialize_with = "by_name")]
    pub(crate) writer: Vec<Count>,
}

/// `{"requests": 12, "requests_throttled": 3}`
fn by_name<S: Serializer>(counts: &[Count], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|count| (&count.name, count.value)))
}

/// Which side was slower, that is, which one the other side waited for.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Bottleneck {
    /// `reader`, `writer` or `neither`.
    pub(crate) side: &'static str,
    /// Share of the tasks' time that readers waited for room in the ring, from 0 to 1.
    pub(crate) reader_waited: f64,
    /// Share of the tasks' time that writers waited for rows, from 0 to 1.
    pub(crate) writer_waited: f64,
}

impl Report {
    /// The report of a run that has ended.
    pub(crate) fn new(plan: &Plan, outcome: Outcome, folder: &RunFolder) -> Self {
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let per_second = |amount: u64| (amount as f64 / seconds) as u64;
        let Remains { sentences, discarded } = Remains::of(plan, &outcome);
        let rows = if discarded.is_some() { Counters::default() } else { outcome.counters };
        let mut tasks = outcome.tasks;
        for task in &mut tasks {
            task.split.clone_from(&plan.splits[task.task as usize].label);
        }
        let left_out = left_out(outcome.reader_counts.iter().chain(&outcome.writer_counts));
        let dirty_files = tasks.iter().map(|task| folder.dirty_file(task.task));
        Self {
            job: plan.job.clone(),
            run: plan.run.clone(),
            environment: plan.environment.clone(),
            transload: env!("CARGO_PKG_VERSION"),
            reader: plan.reader.clone(),
            writer: plan.writer.clone(),
            target: plan.target.name.clone(),
            write_mode: plan.write.mode.word(),
            guarantee: plan.guarantee.word(),
            status: outcome.failure.as_ref().map_or(Exit::Done, |error| error.exit),
            error: outcome.failure,
            rows,
            discarded: discarded.unwrap_or_default(),
            remains: sentences,
            dirty_met: outcome.dirty_met,
            bytes_read: outcome.bytes_read,
            elapsed_ms: outcome.elapsed.as_millis() as u64,
            rows_per_second: per_second(outcome.counters.read),
            bytes_per_second: per_second(outcome.bytes_read),
            bottleneck: Bottleneck::of(&tasks),
            chunks: tasks.iter().map(|task| task.chunks).sum(),
            replays: outcome.replays,
            reopened: outcome.reopened,
            counts: Counts { reader: outcome.reader_counts, writer: outcome.writer_counts },
            dirty_files: dirty_files.filter(|path| path.exists()).collect(),
            tasks,
            folder: folder.path().to_owned(),
            warnings: plan.warnings.iter().cloned().chain(left_out).collect(),
        }
    }
}

/// `3 values of key `b` are left out`, for each count of that kind that is not 0.
fn left_out<'a>(counts: impl Iterator<Item = &'a Count>) -> Vec<String> {
    let met = counts.filter(|count| count.value > 0);
    met.filter_map(|count| {
        Some(format!("{} {}", summary::grouped(count.value), count.left_out.as_ref()?))
    })
    .collect()
}

impl Bottleneck {
    /// Below this share of waiting no side is called slower.
    const NOTICEABLE: f64 = 0.05;

    /// The slower side of all tasks together. A side that waited was the faster one.
    fn of(tasks: &[TaskStats]) -> Self {
        let total: f64 = tasks.iter().map(|task| task.elapsed.as_secs_f64()).sum();
        let share = |blocked: fn(&RingStats) -> std::time::Duration| {
            let waited: f64 = tasks.iter().map(|task| blocked(&task.ring).as_secs_f64()).sum();
            if total > 0.0 { (waited / total).min(1.0) } else { 0.0 }
        };
        let reader_waited = share(|ring| ring.sender_blocked);
        let writer_waited = share(|ring| ring.receiver_blocked);
        let side = if reader_waited.max(writer_waited) < Self::NOTICEABLE {
            "neither"
        } else if reader_waited > writer_waited {
            "writer"
        } else {
            "reader"
        };
        Self { side, reader_waited, writer_waited }
    }
}
