//! The runs below a state folder: all of them, those of a job, and the one that a command names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use transload_plugin_api::{WriteMode, code};

use super::{
    folder::runs_folder,
    lock::RunLock,
    past::{Past, State},
};
use crate::{Error, Exit, Result, nearest::nearest};

/// The file in the folder of a run of many tables.
pub(crate) const TABLES: &str = "tables.json";

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

/// The folder of the run of this name, or of the last run of the job of this name or file. Replays of
/// dirty rows are found by their own names only.
///
/// # Errors
/// [`code::RUN_MISSING`] without such a run.
pub(crate) fn find(state: &Path, name: &str) -> Result<PathBuf> {
    let all = runs(state, None)?;
    let found = match named(&all, name) {
        Some(run) => Some(run.clone()),
        None => own_runs(state, name, &all)?.next(),
    };
    found.ok_or_else(|| missing(state, name, &all))
}

/// As [`find`]; of a job's runs the last one that can be continued. A run is not continued if a later
/// one has the same parameters. If none can be, it is the job's last one.
///
/// # Errors
/// [`code::RUN_MISSING`] if there is none.
pub(crate) fn find_open(state: &Path, name: &str) -> Result<PathBuf> {
    let all = runs(state, None)?;
    if let Some(run) = named(&all, name) {
        return Ok(run.clone());
    }
    let (mut last, mut later) = (None, Vec::new());
    for folder in own_runs(state, name, &all)? {
        let is_last = last.is_none();
        last.get_or_insert_with(|| folder.clone());
        let (run, is_open) = match Past::read(&folder) {
            Ok(past) => (Some(past.run), can_continue(&past.state)),
            // Whether it can be continued is found out where it is.
            Err(_) => (Past::read_copy(&folder).ok(), true),
        };
        let given = run.map(|run| (run.plan.environment, run.plan.inputs.parameters));
        let is_newest = given.as_ref().map_or(is_last, |given| !later.contains(given));
        if is_open && is_newest {
            return Ok(folder);
        }
        later.extend(given);
    }
    last.ok_or_else(|| missing(state, name, &all))
}

fn can_continue(state: &State) -> bool {
    !matches!(state, State::Done | State::Aborting | State::Aborted)
}

fn named<'a>(runs: &'a [PathBuf], name: &str) -> Option<&'a PathBuf> {
    runs.iter().find(|path| path.file_name().is_some_and(|it| it == name))
}

/// The runs of the job of this name or file, newest first, without replays.
fn own_runs(
    state: &Path,
    name: &str,
    all: &[PathBuf],
) -> Result<impl Iterator<Item = PathBuf> + use<>> {
    let is_file = Path::new(name).extension().is_some_and(|extension| extension == "toml");
    let (file, mut own) = match std::path::absolute(name).ok().filter(|_| is_file) {
        Some(file) => (Some(file), all.to_vec()),
        None => (None, runs(state, Some(name))?),
    };
    own.reverse();
    let is_own = move |folder: &PathBuf| match Past::read_copy(folder) {
        Ok(run) => {
            run.plan.replay_of.is_none() && file.as_ref().is_none_or(|file| run.job_file == *file)
        }
        Err(_) => file.as_deref().is_none_or(|file| is_of_tables(folder, file)),
    };
    Ok(own.into_iter().filter(is_own))
}

/// Whether the folder is that of a run of many tables by this job file.
fn is_of_tables(folder: &Path, file: &Path) -> bool {
    let record = fs::read(folder.join(TABLES)).ok();
    let record = record.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    record.is_some_and(|record| record["job_file"].as_str().map(Path::new) == Some(file))
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

/// The last run of an incremental job that inserts, if rows of it may be in the target and its
/// watermark is not kept: reading the same range again would add them a second time.
pub(crate) fn unfinished_increment(state: &Path, job: &str) -> Option<Past> {
    let last = runs(state, Some(job)).ok()?.pop()?;
    let past = Past::read(&last).ok()?;
    let is_open = match &past.state {
        State::Planned | State::Done | State::Aborted => false,
        State::Failed(failure) => !failure.is_cleaned,
        State::Writing | State::Publishing | State::Aborting => true,
    };
    let plan = &past.run.plan;
    let is_inserted = plan.increment.is_some() && plan.write.mode == WriteMode::Insert;
    (is_open && is_inserted).then_some(past)
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
