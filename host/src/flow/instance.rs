//! What has become of each job of a flow for one scheduled time: `<state>/flows/<flow>/<time>/flow.json`,
//! written by a rename after each change. The process that works on an instance holds its lock.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error as PluginError, code};

use super::time::ScheduledTime;
use crate::{Error, Exit, Result, journal};

const FILE: &str = "flow.json";
const LOCK: &str = "lock";

/// How a job of an instance stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobState {
    /// It has not begun.
    #[default]
    Waiting,
    /// It runs, or ran when its process ended without a word.
    Running,
    Done,
    Failed,
    /// A job that it needs has failed.
    Blocked,
    /// A condition was not met, and the flow file leaves the job out then.
    Skipped,
}

impl JobState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Skipped => "skipped",
        }
    }
}

/// What is kept of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) state: JobState,
    /// Its last run, if one has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    /// Rows that it has read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u64>,
    /// The exit code of its last process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<i32>,
    /// Why it has failed or was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// When it began: local time with its offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
}

/// A flow for one scheduled time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) flow: String,
    /// The flow file when it last ran.
    pub(crate) file: PathBuf,
    pub(crate) cyctime: Option<ScheduledTime>,
    pub(crate) jobs: BTreeMap<String, JobRecord>,
    /// All jobs are done or left out.
    pub(crate) is_done: bool,
}

/// The folder of an instance, held by this process.
pub(crate) struct HeldInstance {
    folder: PathBuf,
    _lock: fs::File,
}

impl Instance {
    /// The folder of a flow's instance.
    fn folder(state: &Path, flow: &str, time: ScheduledTime) -> PathBuf {
        let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        let flow: String = flow.chars().map(plain).collect();
        state.join("flows").join(flow).join(time.to_string())
    }

    /// What is kept of an instance; `None` if it has never run.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn find(state: &Path, flow: &str, time: ScheduledTime) -> Result<Option<Self>> {
        let file = Self::folder(state, flow, time).join(FILE);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| unusable(&file, &error.to_string()))?,
        };
        serde_json::from_str(&text).map(Some).map_err(|error| unusable(&file, &error.to_string()))
    }

    /// Whether a process works on the instance.
    pub(crate) fn is_held(state: &Path, flow: &str, time: ScheduledTime) -> bool {
        let lock = fs::File::open(Self::folder(state, flow, time).join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
    }

    /// Takes the instance for this process.
    ///
    /// # Errors
    /// `FLOW-ACTIVE` if another process works on it.
    pub(crate) fn hold(state: &Path, flow: &str, time: ScheduledTime) -> Result<HeldInstance> {
        let folder = Self::folder(state, flow, time);
        journal::create_private_folder(&folder)
            .map_err(|error| unusable(&folder, &error.to_string()))?;
        let path = folder.join(LOCK);
        let open = || journal::private().write(true).create(true).truncate(false).open(&path);
        let lock = open().map_err(|error| unusable(&path, &error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => Ok(HeldInstance { folder, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => {
                let message = format!("another process runs flow `{flow}` for {time}");
                let error = PluginError::locked(message).with_code(code::FLOW_ACTIVE);
                Err(error.hint("wait for its end").into())
            }
            Err(fs::TryLockError::Error(error)) => Err(unusable(&path, &error.to_string())),
        }
    }
}

impl HeldInstance {
    /// Keeps what has become of the jobs.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn keep(&self, instance: &Instance) -> Result<()> {
        let file = self.folder.join(FILE);
        let text = serde_json::to_string_pretty(instance)
            .map_err(|error| unusable(&file, &error.to_string()))?;
        journal::write_private(&file, text.as_bytes())
            .map_err(|error| unusable(&file, &error.to_string()))
    }
}

fn unusable(file: &Path, why: &str) -> Error {
    Error::new(Exit::Failed, format!("the state of the flow cannot be used: {why}"))
        .at(file.display().to_string())
        .code(code::FLOW_STATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_kept_and_held_by_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let time = ScheduledTime::read("20261201000000").unwrap();
        assert_eq!(Instance::find(folder.path(), "a/b", time).unwrap(), None);
        let held = Instance::hold(folder.path(), "a/b", time).unwrap();
        let job = JobRecord { state: JobState::Failed, exit: Some(5), ..JobRecord::default() };
        let instance = Instance {
            flow: "a/b".to_owned(),
            cyctime: Some(time),
            jobs: [("orders".to_owned(), job)].into(),
            ..Instance::default()
        };
        held.keep(&instance).unwrap();
        assert_eq!(Instance::find(folder.path(), "a/b", time).unwrap(), Some(instance));
        let second = Instance::hold(folder.path(), "a/b", time).err().unwrap();
        assert_eq!((second.exit, second.error.code.as_str()), (Exit::Locked, code::FLOW_ACTIVE));
        drop(held);
        Instance::hold(folder.path(), "a/b", time).unwrap();
    }
}
