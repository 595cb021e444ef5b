//! Where the last run of an incremental job ended, and the file that keeps it where the target does not.
//! The file changes after everything else of a run, before the run's journal says that it is complete.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error as PluginError, code};

use crate::{
    Error, Exit, Result,
    journal::{create_private_folder, failed, private},
};

/// Where the last run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watermark {
    /// The column that grows, and those that order rows of the same value.
    pub(crate) columns: Vec<String>,
    /// The column's type.
    #[serde(rename = "type")]
    pub(crate) logical: String,
    /// Their values in the last row that was read. A watermark that was set by hand has only the first.
    pub(crate) values: Vec<String>,
    /// The run that has kept it.
    pub(crate) run: String,
    /// The table that rows went to.
    pub(crate) target: String,
}

impl Watermark {
    /// In one line, for people.
    pub(crate) fn shown(&self) -> String {
        self.values.join(", ")
    }

    /// As stores keep it.
    pub(crate) fn text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(Exit::Failed, format!("cannot write a watermark: {error}")))
    }

    /// As [`Watermark::text`] wrote it. `place` is where it is kept.
    pub(crate) fn read(text: &str, place: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            Error::new(Exit::Failed, format!("the watermark cannot be read: {error}"))
                .at(place.to_owned())
                .code(code::WATERMARK_UNFIT)
                .hint("set it anew: transload state set JOB VALUE")
        })
    }
}

/// The file that keeps a job's watermark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatermarkFile(pub(crate) PathBuf);

impl WatermarkFile {
    /// The file of a job in an environment, below the state folder.
    pub(crate) fn of(state: &Path, job: &str, environment: Option<&str>) -> Self {
        let end = environment.map(|name| format!("@{name}")).unwrap_or_default();
        Self(state.join("watermarks").join(format!("{job}{end}.json")))
    }

    /// What it holds; `None` if there is no such file.
    pub(crate) fn read(&self) -> Result<Option<Watermark>> {
        let path = &self.0;
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path, &error)),
            Ok(text) => Watermark::read(&text, &path.display().to_string()).map(Some),
        }
    }

    /// Keeps the watermark if it is still the one from which the run began: a run that was resumed
    /// late does not take it back. Whether it was kept.
    pub(crate) fn advance(&self, before: Option<&Watermark>, next: &Watermark) -> Result<bool> {
        let now = self.read()?;
        if now.as_ref() == Some(next) {
            return Ok(true);
        }
        if now.as_ref() != before {
            return Ok(false);
        }
        self.keep(next).map(|()| true)
    }

    /// Keeps the watermark, whatever was kept before.
    pub(crate) fn keep(&self, next: &Watermark) -> Result<()> {
        let path = &self.0;
        let folder = path.parent().unwrap_or(Path::new("."));
        create_private_folder(folder).map_err(|error| failed(folder, &error))?;
        let text = next.text()? + "\n";
        replace(path, text.as_bytes()).map_err(|error| failed(path, &error))
    }

    /// Forgets it.
    pub(crate) fn forget(&self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&self.0, &error)),
            _ => Ok(()),
        }
    }
}

/// Replaces a file as a whole: after a power cut, too, it is the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = private().write(true).create(true).truncate(true).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// A held lock on a job's increments; released when dropped, or with the process.
pub(crate) struct IncrementLock {
    _file: fs::File,
}

impl IncrementLock {
    /// Takes the lock of a job, by the file of its watermark.
    ///
    /// # Errors
    /// [`code::RUN_ACTIVE`] if another process holds it.
    pub(crate) fn take(file: &WatermarkFile, job: &str) -> Result<Self> {
        let path = file.0.with_extension("lock");
        let folder = path.parent().unwrap_or(Path::new("."));
        create_private_folder(folder).map_err(|error| failed(folder, &error))?;
        let opened = private().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| failed(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs::TryLockError::Error(error)) => Err(failed(&path, &error)),
            Err(fs::TryLockError::WouldBlock) => {
                let message = format!("another run of the incremental job `{job}` is at work");
                let error = PluginError::locked(message).with_code(code::RUN_ACTIVE);
                Err(error.hint("wait for its end: `transload history` shows it").into())
            }
        }
    }
}
