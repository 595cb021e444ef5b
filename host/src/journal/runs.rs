//! The runs below a state folder: all of them, those of a job, and the one that a command names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use transload_plugin_api::code;

use super::{
    folder::runs_folder,
    lock::RunLock,
    past::{Past, State},
};
use crate::{Error, Exit, Result, nearest::nearest};

/// The folders of all runs, or of a job's, oldest first: names of runs begin with their time.
///
/// # Errors
/// If a folder cannot be read.
pub(crate) fn runs(state: &Path, job: Option<&str>) -> Result<Vec<PathBuf>> {
    let jobs = match job {
        Some(job) => vec![runs_folder(state, job)],
        None => folders(&state.join("runs"))?,
    };
    let mut runs = Vec::new();
    for job in jobs {
        runs.extend(folders(&job)?);
    }
    runs.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(runs)
}

/// The folder of the run of this name, or of the last run of the job of this name or file.
///
/// # Errors
/// [`code::RUN_MISSING`] without such a run.
pub(crate) fn find(state: &Path, name: &str) -> Result<PathBuf> {
    let all = runs(state, None)?;
    if let Some(run) = all.iter().find(|path| path.file_name().is_some_and(|it| it == name)) {
        return Ok(run.clone());
    }
    let is_file = Path::new(name).extension().is_some_and(|extension| extension == "toml");
    let last = match is_file {
        true => last_of_file(&all, Path::new(name)),
        false => runs(state, Some(name))?.pop(),
    };
    last.ok_or_else(|| missing(state, name, &all))
}

/// The folders of the runs of the job of this name or file, oldest first.
///
/// # Errors
/// [`code::RUN_MISSING`] without such a run.
pub(crate) fn runs_of(state: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let own = runs(state, Some(name))?;
    if !own.is_empty() {
        return Ok(own);
    }
    let last = find(state, name)?;
    last.parent().map_or(Ok(Vec::new()), folders)
}

/// Whether a process works on the run in this folder.
pub(crate) fn is_running(folder: &Path) -> bool {
    RunLock::is_held(folder)
}

/// The last run of a job whose target keeps commit tokens, if it is not complete and not given up.
pub(crate) fn unfinished(state: &Path, job: &str) -> Option<Past> {
    let last = runs(state, Some(job)).ok()?.pop()?;
    let past = Past::read(&last).ok()?;
    let is_open = !matches!(past.state, State::Planned | State::Done | State::Aborted);
    (is_open && past.run.plan.write.tokens.is_some()).then_some(past)
}

fn last_of_file(runs: &[PathBuf], file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    let is_of_file =
        |folder: &&PathBuf| Past::read_copy(folder).is_ok_and(|run| run.job_file == file);
    runs.iter().rev().find(is_of_file).cloned()
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error: &io::Error| {
        let message = format!("cannot read the folder of runs: {error}");
        Error::new(Exit::Failed, message).at(path.display().to_string()).code(code::RUN_FOLDER)
    };
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failed(&error))?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(&error))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn missing(state: &Path, name: &str, runs: &[PathBuf]) -> Error {
    let of_run = runs.iter().filter_map(|run| run.file_name()?.to_str());
    let of_job = runs.iter().filter_map(|run| run.parent()?.file_name()?.to_str());
    let hint = match nearest(name, of_run.chain(of_job)) {
        Some(near) => format!("did you mean `{near}`? All of them: transload history"),
        None => "all of them: transload history".to_owned(),
    };
    Error::new(Exit::NotFound, format!("there is no run and no job `{name}`"))
        .at(state.join("runs").display().to_string())
        .code(code::RUN_MISSING)
        .hint(hint)
}
