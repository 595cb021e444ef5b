//! The list of runs as text and as JSON.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    page::{Cell, Page, Style},
    summary::{duration, grouped},
};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RunState {
    /// A process works on it.
    Running,
    /// It is complete.
    Done,
    /// It ended with an error.
    Failed,
    /// Its process ended without a word: it was killed, or the machine stopped.
    Interrupted,
    /// Giving it up was interrupted.
    Aborting,
    /// It is given up.
    Aborted,
}

impl RunState {
    fn cell(self) -> Cell {
        let (word, style) = match self {
            Self::Running => ("running", Style::Strong),
            Self::Done => ("done", Style::Good),
            Self::Failed => ("failed", Style::Bad),
            Self::Interrupted => ("interrupted", Style::Warning),
            Self::Aborting => ("aborting", Style::Warning),
            Self::Aborted => ("aborted", Style::Plain),
        };
        Cell::styled(word, style)
    }
}

/// One run of the list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HistoryEntry {
    /// The job's name.
    pub(crate) job: String,
    /// The run's name.
    pub(crate) run: String,
    /// How it stands.
    pub(crate) state: RunState,
    /// When it began: local time with its offset.
    pub(crate) started: String,
    /// When it ended, or was last active; `None` while it runs.
    pub(crate) ended: Option<String>,
    /// Rows read of committed chunks.
    pub(crate) rows: u64,
    /// Dirty ones among them.
    pub(crate) dirty: u64,
    /// The plan's guarantee.
    pub(crate) guarantee: String,
    /// The target's name.
    pub(crate) target: String,
    /// How often it was resumed.
    pub(crate) resumed: u64,
    /// The exit code of its last process; `None` if that did not end by itself.
    pub(crate) exit: Option<u8>,
    /// The message of the error that ended it.
    pub(crate) error: Option<String>,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Why more is not known.
    pub(crate) problem: Option<String>,
}

impl HistoryEntry {
    /// How long it took, or has taken.
    fn took(&self) -> Option<u64> {
        let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
        let begun = moment(&self.started)?;
        let ended = match &self.ended {
            Some(ended) => moment(ended)?,
            None => jiff::Timestamp::now(),
        };
        u64::try_from(ended.as_millisecond() - begun.as_millisecond()).ok()
    }
}

/// Puts runs on a page, a table for each job, with the reason where the last one failed.
pub(crate) fn list_history(page: &mut Page, entries: &[HistoryEntry]) {
    if entries.is_empty() {
        return page.line(0, "no runs: `transload run JOB.toml` begins one");
    }
    let mut jobs: Vec<_> = entries.iter().map(|entry| entry.job.as_str()).collect();
    jobs.sort_unstable();
    jobs.dedup();
    for (index, job) in jobs.into_iter().enumerate() {
        if index > 0 {
            page.gap();
        }
        list_job(page, job, entries.iter().filter(|entry| entry.job == job));
    }
}

fn list_job<'a>(page: &mut Page, job: &str, entries: impl Iterator<Item = &'a HistoryEntry>) {
    let entries: Vec<_> = entries.collect();
    page.heading(job);
    let head = ["run", "state", "exit", "took", "rows", "dirty", "guarantee"];
    let mut rows = vec![head.map(|word| Cell::styled(word, Style::Label)).to_vec()];
    rows.extend(entries.iter().map(|entry| row(entry)));
    page.table(2, &rows);
    if let Some(last) = entries.last() {
        hint(page, last);
    }
}

fn row(entry: &HistoryEntry) -> Vec<Cell> {
    let exit = entry.exit.map(|exit| exit.to_string()).unwrap_or_default();
    let took = entry.took().map(duration).unwrap_or_default();
    vec![
        entry.run.as_str().into(),
        entry.state.cell(),
        Cell::number(exit),
        Cell::number(took),
        Cell::number(grouped(entry.rows)),
        Cell::number(grouped(entry.dirty)),
        entry.guarantee.as_str().into(),
    ]
}

/// What to do about the last run, if it is not complete.
fn hint(page: &mut Page, last: &HistoryEntry) {
    if let Some(problem) = last.problem.as_ref().or(last.error.as_ref()) {
        page.led(2, (Style::Bad, "the last one: "), problem);
    }
    let run = &last.run;
    match last.state {
        RunState::Failed | RunState::Interrupted if last.problem.is_none() => {
            page.led(2, (Style::Label, "hint: "), &format!("continue it: transload resume {run}"));
        }
        RunState::Aborting => {
            page.led(2, (Style::Label, "hint: "), &format!("go on with it: transload abort {run}"));
        }
        _ => {}
    }
}
