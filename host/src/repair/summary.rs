//! The dirty rows of a run by cause: how many, and one of them as an example.

use std::collections::HashMap;

use serde::Serialize;

use super::{
    replays::Replays,
    row::{KeptError, KeptRow},
    run::KeptRun,
};
use crate::{
    Result,
    report::{Cell, Page, Style, grouped},
};

/// All dirty rows of a run, most frequent cause first.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    run: String,
    job: String,
    /// The run whose dirty rows this one has sent again.
    replay_of: Option<String>,
    /// The status of the run's report; none if it has none.
    status: Option<String>,
    /// How many rows.
    rows: u64,
    /// How many of them were sent again.
    replayed: u64,
    causes: Vec<Cause>,
    dirty_files: Vec<std::path::PathBuf>,
}

/// Rows with the same error in the same column.
#[derive(Debug, Serialize)]
struct Cause {
    class: &'static str,
    code: String,
    /// The source's column; none if the row as a whole is at fault.
    column: Option<String>,
    rows: u64,
    example: Example,
}

/// The first such row.
#[derive(Debug, Serialize)]
struct Example {
    place: Option<String>,
    found: Option<String>,
    reason: String,
}

impl Summary {
    /// Reads the run's dirty files.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn of(run: &KeptRun) -> Result<Self> {
        let (mut rows, mut causes) = (0, Vec::<Cause>::new());
        let mut known = HashMap::<(String, Option<String>), usize>::new();
        run.each_row(|_, row| {
            rows += 1;
            for error in &row.errors {
                let key = (error.code.clone(), error.column.clone());
                let at = *known.entry(key).or_insert_with(|| {
                    causes.push(Cause::of(error, &row));
                    causes.len() - 1
                });
                causes[at].rows += 1;
            }
        })?;
        // Stable: of equally frequent causes the one met first.
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.rows));
        let (status, dirty_files) = (run.status(), run.dirty_files()?);
        let replayed = Replays::read(run)?.sent() as u64;
        let replay_of = run.plan.replay_of.clone();
        let (job, run) = (run.plan.job.clone(), run.plan.run.clone());
        Ok(Self { run, job, replay_of, status, rows, replayed, causes, dirty_files })
    }

    /// Puts it on a page.
    pub(crate) fn describe(&self, page: &mut Page) {
        let plural = if self.rows == 1 { "row" } else { "rows" };
        page.heading(&format!("{} {}: {} dirty {plural}", self.job, self.run, grouped(self.rows)));
        let status = match self.status.as_deref() {
            Some("done") => None,
            Some(status) => Some(format!("the run failed (`{status}`)")),
            None => Some("the run was killed or is at work: it has no report".to_owned()),
        };
        let replayed =
            (self.replayed > 0).then(|| format!("{} sent again", grouped(self.replayed)));
        let replay = self.replay_of.as_ref().map(|run| format!("a replay of rows of run {run}"));
        for note in replay.into_iter().chain(status).chain(replayed) {
            page.line(2, &note);
        }
        if self.causes.is_empty() {
            return;
        }
        page.gap();
        let head = ["rows", "class", "code", "column", "the first one"];
        let head = head.map(|word| Cell::styled(word, Style::Label));
        let rows = self.causes.iter().map(Cause::cells);
        page.table(2, &std::iter::once(head.to_vec()).chain(rows).collect::<Vec<_>>());
    }
}

impl Cause {
    fn of(error: &KeptError, row: &KeptRow) -> Self {
        let KeptError { column, code, found, reason } = error;
        let (found, reason) = (found.clone(), reason.clone());
        let example = Example { place: row.place.clone(), found, reason };
        let class = error.class().word();
        Self { class, code: code.clone(), column: column.clone(), rows: 0, example }
    }

    fn cells(&self) -> Vec<Cell> {
        let Example { place, reason, .. } = &self.example;
        let place = place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        vec![
            Cell::number(grouped(self.rows)),
            self.class.into(),
            self.code.as_str().into(),
            self.column.as_deref().unwrap_or("-").into(),
            format!("{place}{reason}").into(),
        ]
    }
}
