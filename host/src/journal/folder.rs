//! A run's name and its folder, which keeps the plan, the journal, the dirty rows and the report. The
//! process that works on the run holds its lock for as long as it lives.

use std::{
    fs::{DirBuilder, OpenOptions},
    hash::{BuildHasher, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use transload_plugin_api::code;

use super::lock::RunLock;
use crate::{Error, Exit, Result, job::Redactor};

/// A new run's name: local time to the second, then 8 hexadecimal digits: 3 of the millisecond, so that
/// names sort by time, and 5 random ones, so that they do not collide.
pub(crate) fn new_run() -> String {
    let now = jiff::Zoned::now();
    // Each `RandomState` of the standard library is seeded by the system.
    let random = std::hash::RandomState::new().build_hasher().finish();
    let (time, millisecond) = (now.strftime("%Y%m%dt%H%M%S"), now.millisecond());
    format!("{time}-{millisecond:03x}{:05x}", random & 0xf_ffff)
}

/// The folder for runs: `$TRANSLOAD_STATE`, else `$XDG_STATE_HOME/transload`, else
/// `~/.local/state/transload`, else `.transload` in the working folder.
pub(crate) fn state_folder() -> PathBuf {
    let from_env =
        |key: &str| std::env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    from_env("TRANSLOAD_STATE")
        .or_else(|| from_env("XDG_STATE_HOME").map(|folder| folder.join("transload")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/state/transload")))
        .unwrap_or_else(|| PathBuf::from(".transload"))
}

/// One run's folder. Secrets are redacted in its files.
pub(crate) struct RunFolder {
    path: PathBuf,
    redactor: Redactor,
    /// Held by the process that works on the run.
    _lock: Option<RunLock>,
}

impl RunFolder {
    /// Creates `<state>/runs/<job>/<run>`.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub(crate) fn create(state: &Path, job: &str, run: &str, redactor: Redactor) -> Result<Self> {
        let path = runs_folder(state, job).join(run);
        create_private_folder(&path).map_err(|error| failed(&path, &error))?;
        Self::open(path, redactor)
    }

    /// The folder of a run that was begun before.
    ///
    /// # Errors
    /// [`code::RUN_ACTIVE`] if another process works on the run; the message names it.
    pub(crate) fn open(path: PathBuf, redactor: Redactor) -> Result<Self> {
        let lock = RunLock::take(&path)?;
        Ok(Self { path, redactor, _lock: Some(lock) })
    }

    /// The folder of the run with this name, whatever its job, for a process that does not work on it.
    ///
    /// # Errors
    /// If the folder has no run.
    pub(crate) fn find(state: &Path, run: &str, redactor: Redactor) -> Result<Self> {
        let runs = state.join("runs");
        // A name is one folder, not a path.
        let is_name = !run.is_empty() && !run.contains(['/', '\\']) && !run.starts_with('.');
        let jobs = std::fs::read_dir(&runs).into_iter().flatten().flatten();
        let mut folders = jobs.map(|job| job.path().join(run)).filter(|path| path.is_dir());
        let found = |path| Self { path, redactor, _lock: None };
        folders.next().filter(|_| is_name).map(found).ok_or_else(|| {
            Error::new(Exit::NotFound, format!("there is no run `{run}`"))
                .at(runs.display().to_string())
                .code(code::RUN_MISSING)
                .hint(format!("list them: ls {}/*", runs.display()))
        })
    }

    /// The path of a request for other limits.
    pub(crate) fn limits_request(&self) -> PathBuf {
        self.path.join("limits.json")
    }

    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Redacts secrets in texts that are kept here.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The path of a task's dirty rows.
    pub(crate) fn dirty_file(&self, task: u32) -> PathBuf {
        self.path.join(format!("dirty-{task:05}.jsonl"))
    }

    /// Writes a value as pretty JSON to a file of this name.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn keep(&self, name: &str, value: &impl Serialize) -> Result<PathBuf> {
        let path = self.path.join(name);
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from);
        let write = |text: String| write_private(&path, self.redactor.redact(&text).as_bytes());
        text.and_then(write).map_err(|error| failed(&path, &error))?;
        Ok(path)
    }
}

/// The folder of a job's runs.
pub(super) fn runs_folder(state: &Path, job: &str) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    state.join("runs").join(job.chars().map(plain).collect::<String>())
}

/// Creates a folder and those above it; new ones can be entered by this user only.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// For files that only this user may read: they hold rows, plans and addresses.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Writes a file that only this user may read, in place of one that may be there. A process that is
/// killed meanwhile leaves the old one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    private().write(true).create(true).truncate(true).open(&fresh)?.write_all(bytes)?;
    std::fs::rename(fresh, path)
}

/// The error for a file of the run that cannot be written.
pub(crate) fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Exit::Failed, format!("cannot write the run's folder: {error}"))
        .at(path.display().to_string())
        .code(code::RUN_FOLDER)
        .hint("name another folder with --state or TRANSLOAD_STATE")
}
