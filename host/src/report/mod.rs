//! WHAT HAPPENED: progress during a run, its report as JSON and as text; also the text forms of plans,
//! plugins and connections.

mod conformance;
mod display;
mod history;
mod many;
mod page;
mod plan;
mod plugins;
mod preview;
mod remains;
mod resumed;
mod status;
mod summary;
mod tables;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};
use transload_plugin_api::{Count, Counters, Guarantee, SourceFiles};

pub(crate) use conformance::list_conformance;
pub(crate) use display::{Activity, Display, ProgressMode};
pub(crate) use history::{HistoryEntry, RunState, list_history};
pub(crate) use many::{
    TablePlan, TableResult, TablesPlan, TablesReport, describe_tables, summary_of_tables,
};
pub(crate) use page::{Cell, Page, Style};
pub(crate) use plan::describe_plan;
pub(crate) use plugins::{
    describe_detail, describe_plugin, detail, list_connections, list_findings, list_plugins,
};
pub(crate) use preview::preview;
pub(crate) use resumed::Resumed;
pub(crate) use summary::{bytes, duration, grouped, plural, summary};
pub(crate) use tables::{describe_table, list_tables};

use self::remains::Remains;
use crate::{
    Error, Exit,
    engine::{Outcome, Rates, Reached, TaskStats},
    increment::PlannedIncrement,
    job::Inputs,
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
    /// When it began, and when it ended: local time with its offset.
    pub(crate) started: String,
    /// See `started`.
    pub(crate) ended: String,
    /// The job file, its hash and the parameters that it uses.
    pub(crate) inputs: Inputs,
    /// The files that were read, if the source is files.
    pub(crate) files: Option<SourceFiles>,
    /// The reader's plugin.
    pub(crate) reader: Side,
    /// The writer's plugin.
    pub(crate) writer: Side,
    /// The target's name.
    pub(crate) target: String,
    /// How many rows the target of an `insert` held before, if that is known and not 0.
    pub(crate) target_rows_before: Option<u64>,
    /// The write mode.
    pub(crate) write_mode: &'static str,
    /// The plan's guarantee.
    pub(crate) guarantee: &'static str,
    /// The exit code's name.
    pub(crate) status: Exit,
    /// The error that ended it early.
    pub(crate) error: Option<Error>,
    /// Rows read, committed or not.
    pub(crate) rows_read: u64,
    /// Rows of committed chunks, by outcome; none if they were staged and not published.
    pub(crate) rows: Counters,
    /// Rows that were staged and not published, because the run failed.
    pub(crate) discarded: u64,
    /// What a run that failed has left in the target, and what running the job again does.
    pub(crate) remains: Vec<String>,
    /// What was new since the run before, if the job reads only that; `after` holds if the run is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) increment: Option<PlannedIncrement>,
    /// Where the run continued, if an earlier process had begun it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resumed: Option<Resumed>,
    /// The command that continues the run, if it failed and can be continued where it stopped.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub(crate) resume: Option<String>,
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
    /// The rate limits at the end of the run.
    pub(crate) limits: Limits,
    /// Which side was slower.
    pub(crate) bottleneck: Bottleneck,
    /// How often a task made no progress for `stall_timeout`.
    pub(crate) stalls: u64,
    /// Chunks committed.
    pub(crate) chunks: u64,
    /// Chunks rolled back and written again.
    pub(crate) replays: u64,
    /// How often a lost source was opened again.
    pub(crate) reopened: u64,
    /// Both, by the code of the error that was the reason; `other` has none.
    pub(crate) retries: BTreeMap<String, u64>,
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
    /// How many of these are the plan's; they come first.
    #[serde(skip)]
    pub(crate) plan_warnings: usize,
}

/// Rate limits.
#[derive(Debug, Serialize)]
pub(crate) struct Limits {
    /// The limits.
    #[serde(flatten)]
    pub(crate) rates: Rates,
    /// How often `transload throttle` changed them.
    pub(crate) changes: u64,
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
    /// `reader`, `writer`, `limit` for the job's own limits, or `balanced`.
    pub(crate) side: &'static str,
    /// Share of the tasks' time that readers waited for room in the ring, from 0 to 1.
    pub(crate) reader_waited: f64,
    /// Share of the tasks' time that writers waited for rows, from 0 to 1.
    pub(crate) writer_waited: f64,
    /// Share of the tasks' time that the job's own limits held readers, from 0 to 1.
    pub(crate) limit_waited: f64,
}

impl Report {
    /// The report of a run that has ended.
    pub(crate) fn new(plan: &Plan, outcome: Outcome, folder: &RunFolder) -> Self {
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let now = SystemTime::now();
        let per_second = |amount: u64| (amount as f64 / seconds) as u64;
        let Remains { sentences, discarded } = Remains::of(plan, &outcome);
        let resume = resume(plan, &outcome);
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
            started: local(now.checked_sub(outcome.elapsed).unwrap_or(now)),
            ended: local(now),
            inputs: plan.inputs.clone(),
            files: plan.files.clone(),
            reader: plan.reader.clone(),
            writer: plan.writer.clone(),
            target: plan.target.name.clone(),
            target_rows_before: plan.rows_added_to(),
            write_mode: plan.write.mode.word(),
            guarantee: plan.guarantee.word(),
            status: outcome.failure.as_ref().map_or(Exit::Done, |error| error.exit),
            error: outcome.failure,
            rows_read: tasks.iter().map(|task| task.rows).sum(),
            rows,
            discarded: discarded.unwrap_or_default(),
            remains: sentences,
            increment: plan.increment.clone(),
            resumed: None,
            resume,
            dirty_met: outcome.dirty_met,
            bytes_read: outcome.bytes_read,
            elapsed_ms: outcome.elapsed.as_millis() as u64,
            rows_per_second: per_second(outcome.counters.read),
            bytes_per_second: per_second(outcome.bytes_read),
            limits: Limits { rates: outcome.limits.0, changes: outcome.limits.1 },
            bottleneck: Bottleneck::of(&tasks),
            stalls: tasks.iter().map(|task| task.stalls).sum(),
            chunks: tasks.iter().map(|task| task.chunks).sum(),
            replays: outcome.replays,
            reopened: outcome.reopened,
            retries: outcome.retries,
            counts: Counts { reader: outcome.reader_counts, writer: outcome.writer_counts },
            dirty_files: dirty_files.filter(|path| path.exists()).collect(),
            tasks,
            folder: folder.path().to_owned(),
            warnings: plan.warnings.iter().cloned().chain(left_out).collect(),
            plan_warnings: plan.warnings.len(),
        }
    }
}

/// The command that continues a run behind its committed chunks.
fn resume(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let keeps_rows = plan.write.tokens.is_some() || plan.draft.guarantee == Guarantee::Convergent;
    let is_begun = !matches!(outcome.reached, Reached::Nothing | Reached::Rows);
    let can = outcome.failure.is_some() && is_begun && keeps_rows;
    can.then(|| format!("transload resume {}", plan.run))
}

/// The first event of a run's progress as JSON: what the run is made from.
pub(crate) fn start(plan: &Plan, folder: &RunFolder) -> serde_json::Value {
    serde_json::json!({
        "event": "start",
        "job": plan.job,
        "run": plan.run,
        "environment": plan.environment,
        "transload": env!("CARGO_PKG_VERSION"),
        "started": local(SystemTime::now()),
        "inputs": plan.inputs,
        "files": plan.files,
        "reader": plan.reader,
        "writer": plan.writer,
        "target": plan.target.name,
        "tasks": plan.splits.len(),
        "folder": folder.path(),
    })
}

/// A moment as local time with its offset: `2026-11-30T16:40:12.345+01:00`.
pub(crate) fn local(moment: SystemTime) -> String {
    let moment = jiff::Timestamp::try_from(moment).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let moment = moment.to_zoned(jiff::tz::TimeZone::system());
    moment.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
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
    const NOTICEABLE: f64 = 0.2;

    /// The slower side of all tasks together. A side that waited was the faster one.
    fn of(tasks: &[TaskStats]) -> Self {
        let total: f64 = tasks.iter().map(|task| task.elapsed.as_secs_f64()).sum();
        let share = |waited: fn(&TaskStats) -> Duration| {
            let waited: f64 = tasks.iter().map(|task| waited(task).as_secs_f64()).sum();
            if total > 0.0 { (waited / total).min(1.0) } else { 0.0 }
        };
        let reader_waited = share(|task| task.ring.sender_blocked);
        let writer_waited = share(|task| task.ring.receiver_blocked);
        let limit_waited = share(|task| task.throttled);
        let most = reader_waited.max(writer_waited).max(limit_waited);
        let side = if most < Self::NOTICEABLE {
            "balanced"
        } else if limit_waited > reader_waited && limit_waited > writer_waited / 2.0 {
            // The writer waits while the limit holds the reader.
            "limit"
        } else if reader_waited > writer_waited {
            "writer"
        } else {
            "reader"
        };
        Self { side, reader_waited, writer_waited, limit_waited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_slower_is_said_only_if_it_is_clear() {
        let side = |reader: u64, writer: u64, limit: u64| {
            let seconds = Duration::from_secs;
            let mut task = TaskStats { elapsed: seconds(100), ..TaskStats::default() };
            task.throttled = seconds(limit);
            task.ring.sender_blocked = seconds(reader);
            task.ring.receiver_blocked = seconds(writer);
            Bottleneck::of(&[task]).side
        };
        assert_eq!(side(0, 0, 0), "balanced");
        assert_eq!(side(19, 15, 0), "balanced");
        assert_eq!(side(55, 3, 0), "writer");
        assert_eq!(side(3, 55, 0), "reader");
        assert_eq!(side(0, 97, 96), "limit");
        assert_eq!(side(0, 97, 10), "reader");
        assert_eq!(Bottleneck::of(&[]).side, "balanced");
    }
}
