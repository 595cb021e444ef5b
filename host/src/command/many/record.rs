//! What is kept of a run of many tables: which tables, in which order. How far each has come is in its own
//! journal.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::code;

use super::{super::resume, planning::ManyJob};
use crate::{
    Error, Exit, Result,
    cli::JobArgs,
    job::{ChosenTable, Inputs},
    journal::{self, Past, State},
    report::TablesPlan,
};

/// The file in the run's folder.
pub(super) const NAME: &str = journal::TABLES;

/// A run of many tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TablesRecord {
    pub(super) run: String,
    pub(super) job: String,
    /// Absolute.
    pub(super) job_file: PathBuf,
    pub(super) environment: Option<String>,
    pub(super) inputs: Inputs,
    /// In the order in which they begin.
    pub(super) tables: Vec<ChosenTable>,
    /// The run is given up.
    pub(super) is_aborted: bool,
}

/// Whether the folder is that of a run of many tables.
pub(in crate::command) fn is_run(folder: &Path) -> bool {
    folder.join(NAME).exists()
}

/// The folder that is the state folder of the table with this number.
pub(super) fn state_of(folder: &Path, table: usize) -> PathBuf {
    folder.join("tables").join(format!("{table:05}"))
}

/// The last run of a table, if it has begun. A process that was killed before the journal began had
/// written nothing.
pub(super) fn last_run(folder: &Path, table: usize) -> Option<PathBuf> {
    let last = journal::runs(&state_of(folder, table), None).ok()?.pop()?;
    let has_begun = last.join("journal").exists() || last.join("journal-run").exists();
    has_begun.then_some(last)
}

fn is_done(folder: &Path, table: usize) -> bool {
    let past = last_run(folder, table).and_then(|own| Past::read(&own).ok());
    past.is_some_and(|past| matches!(past.state, State::Done))
}

impl TablesRecord {
    pub(super) fn new(run: &str, many: &ManyJob, plan: &TablesPlan) -> Self {
        Self {
            run: run.to_owned(),
            job: plan.job.clone(),
            job_file: many.inputs.path.clone(),
            environment: many.environment.clone(),
            inputs: many.inputs.clone(),
            tables: plan.tables.iter().map(|table| table.chosen.clone()).collect(),
            is_aborted: false,
        }
    }

    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let read = fs::read(&path).map_err(|error| error.to_string());
        let record = read
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        record.map_err(|error: String| {
            let message = format!("cannot read the list of the run's tables: {error}");
            Error::new(Exit::Failed, message).at(path.display().to_string()).code(code::RUN_FOLDER)
        })
    }

    /// What the command line of the run was.
    pub(super) fn job_args(&self) -> JobArgs {
        resume::args_of(&self.job_file, self.environment.clone(), &self.inputs)
    }

    /// How many tables are done.
    pub(super) fn done(&self, folder: &Path) -> usize {
        (0..self.tables.len()).filter(|at| is_done(folder, *at)).count()
    }

    pub(super) fn is_complete(&self, folder: &Path) -> bool {
        (0..self.tables.len()).all(|at| is_done(folder, at))
    }
}

/// # Errors
/// If a table of the job's last run holds its target: its commit tokens wait for a `resume`.
pub(super) fn refuse_second(state: &Path, job: &str) -> Result<()> {
    let Some(last) = journal::runs(state, Some(job))?.pop().filter(|last| is_run(last)) else {
        return Ok(());
    };
    let record = TablesRecord::read(&last)?;
    for at in (0..record.tables.len()).filter(|_| !record.is_aborted) {
        let Some(past) = last_run(&last, at).and_then(|own| Past::read(&own).ok()) else {
            continue;
        };
        let is_open = !matches!(past.state, State::Planned | State::Done | State::Aborted);
        if is_open && past.run.plan.write.tokens.is_some() {
            let message = format!(
                "run {} of this job, begun at {}, is not complete, and holds `{}`",
                record.run, past.run.started, past.run.plan.target.name
            );
            let hint = format!(
                "continue it: transload resume {0}; or give it up: transload abort {0}",
                record.run
            );
            let error = transload_plugin_api::Error::locked(message).with_code(code::RUN_ACTIVE);
            return Err(error.hint(hint).into());
        }
    }
    Ok(())
}
