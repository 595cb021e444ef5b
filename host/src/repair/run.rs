//! A run that has ended: found in the state folder by its name, the beginning of its name, or the
//! name of its job.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use transload_plugin_api::{Column, LogicalType, SourceFiles, WritePlan, code};

use crate::{Error, Exit, Result, job::Inputs, journal};

/// The folder of a run and the plan in it.
pub(crate) struct KeptRun {
    pub(crate) path: PathBuf,
    pub(crate) plan: KeptPlan,
}

/// What a `plan.json` says that is needed to send its rows again.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KeptPlan {
    pub(crate) run: String,
    pub(crate) job: String,
    pub(crate) environment: Option<String>,
    pub(crate) inputs: Inputs,
    pub(crate) target: KeptTarget,
    pub(crate) mapping: Vec<KeptMapping>,
    pub(crate) write: WritePlan,
    #[serde(default)]
    pub(crate) files: Option<SourceFiles>,
    /// The run whose dirty rows this one has sent again.
    #[serde(default)]
    pub(crate) replay_of: Option<String>,
}

/// The target of a plan.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KeptTarget {
    pub(crate) name: String,
}

/// A column of a plan.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KeptMapping {
    pub(crate) source: Column,
    pub(crate) target: Column,
}

impl KeptPlan {
    /// The columns that the run read, as a text file has them.
    pub(crate) fn columns(&self) -> Vec<Column> {
        // What no text format holds as it is.
        let text_form = |logical: &LogicalType| match logical {
            LogicalType::Native(_) | LogicalType::Interval => LogicalType::TEXT,
            LogicalType::List(_) => LogicalType::Json,
            other => other.clone(),
        };
        let column = |KeptMapping { source, .. }: &KeptMapping| Column {
            logical: text_form(&source.logical),
            native: String::new(),
            native_form: None,
            inferred: false,
            ..source.clone()
        };
        self.mapping.iter().map(column).collect()
    }
}

/// The end of a run's report, if it has one.
#[derive(Deserialize)]
struct KeptReport {
    status: String,
}

impl KeptRun {
    /// The run in a folder.
    ///
    /// # Errors
    /// If its plan cannot be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let file = path.join("plan.json");
        let plan =
            fs::read(&file).and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from));
        match plan {
            Ok(plan) => Ok(Self { path, plan }),
            Err(error) => Err(unreadable(&file, &error)),
        }
    }

    /// The files with its dirty rows, in the order of tasks.
    ///
    /// # Errors
    /// If its folder cannot be read.
    pub(crate) fn dirty_files(&self) -> Result<Vec<PathBuf>> {
        let files = dirty_files(&self.path);
        files.map_err(|error| unreadable(&self.path, &error))
    }

    /// How it ended: the status of its report; `None` if it has none, because it was killed or is
    /// at work.
    pub(crate) fn status(&self) -> Option<String> {
        status_of(&self.path)
    }

    /// The random part of its name, with which the ids of its rows begin.
    pub(crate) fn mark(&self) -> &str {
        let name = &self.plan.run;
        name.rsplit('-').next().unwrap_or(name)
    }
}

pub(super) fn status_of(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join("report.json")).ok()?;
    let report: KeptReport = serde_json::from_slice(&text).ok()?;
    Some(report.status)
}

fn dirty_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_dirty = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("dirty-") && name.ends_with(".jsonl")
    };
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<_> = entries.collect::<io::Result<_>>()?;
    files.retain(is_dirty);
    files.sort();
    Ok(files)
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::new(Exit::Failed, format!("cannot read the run's folder: {error}"))
        .at(path.display().to_string())
        .code(code::RUN_FOLDER)
}

/// The run of this name, the only one whose name begins so, or the last run with dirty rows of the
/// job of this name.
///
/// # Errors
/// [`code::RUN_MISSING`] if there is no such run, or more than one.
pub(crate) fn find(state: &Path, wanted: &str) -> Result<KeptRun> {
    let all = journal::runs(state, None)?;
    if let Some(run) = all.iter().find(|run| name(run) == wanted) {
        return KeptRun::open(run.clone());
    }
    if let Ok(of_job) = journal::runs_of(state, wanted) {
        let none = || {
            let message = format!("no run of job `{wanted}` has dirty rows");
            Error::new(Exit::NotFound, message).code(code::RUN_MISSING)
        };
        let dirty = of_job.into_iter().rev().find(|run| has_dirty_rows(run));
        return KeptRun::open(dirty.ok_or_else(none)?);
    }
    let begins = |run: &&PathBuf| !wanted.is_empty() && name(run).starts_with(wanted);
    match &all.iter().filter(begins).collect::<Vec<_>>()[..] {
        [] => Err(journal::find(state, wanted).err().unwrap_or_else(|| missing(wanted))),
        [run] => KeptRun::open(run.to_path_buf()),
        several => {
            let message = format!("{} runs begin with `{wanted}`", several.len());
            let names: Vec<_> = several.iter().rev().take(5).map(|run| name(run)).collect();
            Err(Error::new(Exit::Usage, message)
                .code(code::RUN_MISSING)
                .hint(format!("the last ones are {}", names.join(", "))))
        }
    }
}

fn missing(wanted: &str) -> Error {
    let message = format!("there is no run and no job `{wanted}`");
    Error::new(Exit::NotFound, message).code(code::RUN_MISSING)
}

fn name(folder: &Path) -> &str {
    folder.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn has_dirty_rows(run: &Path) -> bool {
    let is_filled = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() > 0);
    dirty_files(run).is_ok_and(|files| files.iter().any(is_filled))
}
