//! WHAT THE USER ASKED: a job file becomes a [`Job`] in two stages; only the job leaves this folder.
//!
//! | file | what it does |
//! |---|---|
//! | `document` | the TOML as written: every key and value with its place |
//! | `parameters` | fills `${name}` in its strings |
//! | `schedule`, `date_expression` | the dates of a run, as DataWorks writes them |
//! | `keys` | the host's own keys and their kinds |
//! | `many` | jobs of many tables: the file as a job of one of them would be written |
//! | `section`, `value` | keys by name, unknown keys refused; values in the type of their key |
//! | `connection` | the connection files; the connections that the job names, in one environment |
//! | `file` | [`Job::load`]: the checks that need no plugin; a [`DraftJob`] with its problems |
//! | `resolve` | [`DraftJob::resolve`]: options against descriptors; the [`Job`], or all problems |
//! | `replay` | the job of a run whose dirty rows are sent again: it reads one file |
//! | `json_schema` | the same keys and the plugins' options as JSON Schema, for editors |
//! | `places` | [`Places`]: where each key stands, for errors met later |
//! | `problem` | [`Problem`]: place, key, message, hint |
//! | `incremental` | `[incremental]`: which rows are new since the last run |
//! | `sql` | parameters in options that hold SQL, as values |
//! | `secret`, `redact` | references to secrets, resolved late; redaction of their values |
//!
//! Nothing here opens a store or names a plugin.

mod connection;
mod date_expression;
mod document;
mod file;
mod incremental;
mod json_schema;
mod keys;
mod many;
mod parameters;
mod places;
mod problem;
mod redact;
mod replay;
mod resolve;
mod schedule;
mod secret;
mod section;
mod sql;
#[cfg(test)]
mod tests;
mod value;

#[cfg(test)]
mod fuzz;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{DirtyClass, Guarantee, LoadMethod, Options, TokenTables, WriteMode};

use crate::{catalog::Isolation, increment::Scope};

pub(crate) use connection::{
    ConnectionEntry, DraftConnection, learn_secret_variables, list_connections,
};
pub(crate) use document::JobText;
pub(crate) use file::{DraftJob, is_of_many};
pub(crate) use incremental::{Incremental, Lookback, OnNull};
pub(crate) use json_schema::{of_connections as schema_of_connections, of_jobs as schema_of_jobs};
pub(crate) use keys::{reader_keys, writer_keys};
pub(crate) use many::{ChosenTable, ManyTables};
pub(crate) use places::Places;
pub(crate) use problem::{Location, Problem, Problems};
pub(crate) use redact::Redactor;
pub(crate) use replay::{FILE_READER, ReplayFile};
pub(crate) use secret::{JobSecrets, SecretRefs, give_secret, learn_lost_paths, without_secrets};

/// A job file, with what the command line says about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobRequest {
    /// The job file.
    pub(crate) path: PathBuf,
    /// The environment for every connection that has environments.
    pub(crate) env: Option<String>,
    /// `--param name=value`, in order.
    pub(crate) params: Vec<(String, String)>,
    /// The business date as `YYYYMMDD`; the day before the scheduled time if not given.
    pub(crate) bizdate: Option<String>,
    /// The scheduled time; now if neither is given.
    pub(crate) cyctime: Option<String>,
    /// Its text, if it is no file; `path` is then where it would be.
    pub(crate) text: Option<JobText>,
    /// There is a source alone, for [`DraftJob::resolve_source`].
    pub(crate) is_source: bool,
    /// The connection files, nearest first; missing ones are ignored.
    pub(crate) connection_files: Vec<PathBuf>,
    /// Of a job of many tables, the one that is meant.
    pub(crate) table: Option<ChosenTable>,
}

impl JobRequest {
    /// A job without parameters, with the connection files that apply to its folder.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let connection_files = connection_files(path.parent().unwrap_or(Path::new("")));
        Self { path, connection_files, ..Self::default() }
    }
}

/// The connection files: in `folder`, then the user's (`$XDG_CONFIG_HOME/transload`, else
/// `~/.config/transload`), then `/etc/transload`.
pub(crate) fn connection_files(folder: &Path) -> Vec<PathBuf> {
    const NAME: &str = "connections.toml";
    let user = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    let mut files = vec![folder.join(NAME)];
    files.extend(user.map(|folder| folder.join("transload").join(NAME)));
    files.push(PathBuf::from("/etc/transload").join(NAME));
    files
}

/// A job checked against its plugins' descriptors, with defaults filled in and paths absolute. It
/// can be serialised, and holds no secret value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The job's name; default: the file's name without its extension.
    pub(crate) name: String,
    /// The environment that was requested. Each side's connection names the one in use.
    pub(crate) environment: Option<String>,
    /// The source.
    pub(crate) reader: JobReader,
    /// The destination.
    pub(crate) writer: JobWriter,
    /// Pairs of target column and source column whose names differ, in the file's order.
    pub(crate) map: Vec<(String, String)>,
    /// Parallelism, buffer and rate limits.
    pub(crate) channel: Channel,
    /// How many dirty rows the job allows.
    pub(crate) dirty: DirtyLimit,
    /// The guarantee that the job requires, if any.
    pub(crate) require: Option<Guarantee>,
    /// Where commit tokens are kept, if the guarantee needs them.
    pub(crate) tokens: TokenTables,
    /// How much is committed at once.
    pub(crate) checkpoint: Checkpoints,
    /// What is new since the last run, if the job reads only that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) incremental: Option<Incremental>,
    /// Which of its rows this run is about.
    #[serde(skip)]
    pub(crate) scope: Scope,
    /// Notes for the user that need no change.
    pub(crate) warnings: Vec<Problem>,
    /// Where its keys stand.
    #[serde(skip)]
    pub(crate) places: Places,
    /// What the job was made from.
    pub(crate) inputs: Inputs,
    /// Of a job of many tables: what it says about them.
    #[serde(skip)]
    pub(crate) many: Option<ManyTables>,
}

/// What a job was made from besides its connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    /// The job file as the user named it.
    pub(crate) file: PathBuf,
    /// The same, absolute.
    #[serde(default)]
    pub(crate) path: PathBuf,
    /// The hash of its text, in hexadecimal.
    pub(crate) sha256: String,
    /// The parameters that it uses, with their values; the business date is one of them.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Those of them that follow from the scheduled time.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) dates: BTreeSet<String>,
    /// The scheduled time with its zone, if there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scheduled: Option<String>,
    /// Its text, if it is no file: a command line said the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

impl Inputs {
    /// The parameters that a person has given, without those of the scheduled time.
    pub(crate) fn given(&self) -> BTreeMap<String, String> {
        let mut given = self.parameters.clone();
        given.retain(|name, _| !self.dates.contains(name));
        if self.scheduled.is_none() {
            given.remove("bizdate");
        }
        given
    }

    /// The business date of a run that has kept no scheduled time.
    pub(crate) fn bizdate(&self) -> Option<String> {
        self.parameters.get("bizdate").filter(|_| self.scheduled.is_none()).cloned()
    }

    /// The text of a job that is no file.
    pub(crate) fn job_text(&self) -> Option<JobText> {
        self.text.clone().map(|text| JobText { text, places: Vec::new() })
    }

    /// The command that begins with `words` for the same job; a line of its own for one that is no file.
    pub(crate) fn command(&self, words: &str) -> String {
        match (&self.text, words) {
            (None, words) => format!("transload {words} {}", self.file.display()),
            (Some(_), "plan") => "the same command with --plan".to_owned(),
            (Some(_), _) => "the same command again".to_owned(),
        }
    }
}

/// The source of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobReader {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// The connection that gave some of the `options`.
    pub(crate) connection: Option<ConnectionName>,
    /// The plugin's options, and the column types that the job declares.
    pub(crate) options: Options,
    /// References to its secret options.
    pub(crate) secrets: SecretRefs,
    /// Where the plugin runs at least. No part of what a run is.
    #[serde(skip)]
    pub(crate) isolation: Isolation,
    /// The columns to read, in order; all if `None`.
    pub(crate) columns: Option<Vec<String>>,
}

/// The destination of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobWriter {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// The connection that gave some of the `options`.
    pub(crate) connection: Option<ConnectionName>,
    /// The plugin's options.
    pub(crate) options: Options,
    /// References to its secret options.
    pub(crate) secrets: SecretRefs,
    /// Where the plugin runs at least. No part of what a run is.
    #[serde(skip)]
    pub(crate) isolation: Isolation,
    /// What happens on a key conflict; default: the writer's first mode.
    pub(crate) write_mode: WriteMode,
    /// The key columns; `None` means the target's primary key.
    pub(crate) key: Option<Vec<String>>,
    /// The columns that an upsert updates; `None` means all except the key.
    pub(crate) update_columns: Option<Vec<String>>,
    /// How rows are loaded.
    pub(crate) load: LoadMethod,
    /// Statements before the first row.
    pub(crate) before: Vec<String>,
    /// Statements after the last row.
    pub(crate) after: Vec<String>,
    /// Whether to create the target if it does not exist.
    pub(crate) create_table: bool,
}

/// A connection's name and environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionName {
    /// Its name in the connection file.
    pub(crate) name: String,
    /// The environment in use, if the connection has environments.
    pub(crate) environment: Option<String>,
}

/// A connection without a job, checked against its plugin's descriptor.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoneConnection {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// Its name and environment.
    pub(crate) connection: ConnectionName,
    /// Its options for the plugin's reader, or for its writer if it has no reader, with the defaults
    /// of the options that only a job gives.
    pub(crate) options: Options,
    /// The options for the plugin's writer, where one option may have another meaning.
    #[serde(skip)]
    pub(crate) writer_options: Options,
    /// References to its secret options.
    pub(crate) secrets: SecretRefs,
    /// Where the plugin runs at least. No part of what a run is.
    #[serde(skip)]
    pub(crate) isolation: Isolation,
    /// Notes for the user that need no change.
    pub(crate) warnings: Vec<Problem>,
}

/// Parallelism, buffer and rate limits. Their defaults are defined here only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Channel {
    /// Tasks that run at a time; default: the number of cores.
    pub(crate) parallelism: NonZeroU32,
    /// Bytes of batches that may wait between readers and writers, for all tasks together.
    pub(crate) buffer_bytes: u64,
    /// Limit for all tasks together.
    pub(crate) max_bytes_per_second: Option<u64>,
    /// Limit for all tasks together.
    pub(crate) max_rows_per_second: Option<u64>,
    /// A task without progress for this long is reported, in milliseconds.
    pub(crate) stall_timeout_ms: u64,
}

/// The default buffer of one task: two chunks of 50,000 rows of 160 bytes, one being written and one
/// being read. A larger buffer was not faster and used more memory.
const TASK_BUFFER_BYTES: u64 = 16 << 20;

impl Channel {
    /// Only a limit of tasks that run at a time.
    pub(crate) fn of(parallelism: NonZeroU32) -> Self {
        Self {
            parallelism,
            buffer_bytes: TASK_BUFFER_BYTES * u64::from(parallelism.get()),
            max_bytes_per_second: None,
            max_rows_per_second: None,
            stall_timeout_ms: 60_000,
        }
    }

    /// The part of the buffer that each task has.
    pub(crate) fn task_buffer(&self) -> u64 {
        self.buffer_bytes / u64::from(self.parallelism.get())
    }

    /// After which time without progress a task is reported.
    pub(crate) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }
}

impl Default for Channel {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(NonZeroU32::new(cores as u32).unwrap_or(NonZeroU32::MIN))
    }
}

/// When a task commits what it has written. Their defaults are defined here only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoints {
    /// Most rows at once.
    pub(crate) rows: u64,
    /// Most bytes at once; `None` for what suits the target.
    pub(crate) bytes: Option<u64>,
    /// A smaller part is committed after this number of seconds, so that a slow source shows progress.
    pub(crate) seconds: u64,
}

impl Checkpoints {
    /// The age at which a part is committed even if it is small.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { rows: 50_000, bytes: None, seconds: 5 }
    }
}

/// How many dirty rows the job allows: the run fails when one of the limits is exceeded. The default
/// allows none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DirtyLimit {
    /// Most dirty rows; `None` if the job says `"unlimited"` or gives a ratio only.
    pub(crate) max_rows: Option<u64>,
    /// Largest share of dirty rows among the rows read, from 0 to 1.
    pub(crate) max_ratio: Option<f64>,
    /// Most dirty rows of each class; a class without an entry has no limit of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) max_rows_of: BTreeMap<DirtyClass, u64>,
}

impl DirtyLimit {
    /// The most rows of all classes together that these limits allow; none without such a limit.
    pub(crate) fn most_rows(&self) -> Option<u64> {
        let of_classes = DirtyClass::ALL.iter().map(|class| self.max_rows_of.get(class).copied());
        let of_classes = of_classes.sum::<Option<u64>>();
        self.max_rows.into_iter().chain(of_classes).min()
    }
}

impl Default for DirtyLimit {
    fn default() -> Self {
        Self { max_rows: Some(0), max_ratio: None, max_rows_of: BTreeMap::new() }
    }
}
