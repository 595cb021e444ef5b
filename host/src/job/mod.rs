//! What the user asked: a job file becomes a [`Job`] in two stages, and only the job travels.
//!
//! | file | what it does |
//! |---|---|
//! | `document` | the TOML as written, every key and value with its place |
//! | `parameters` | `${name}` in its strings |
//! | `section`, `value` | keys by name, unknown ones refused; values as the types that keys take |
//! | `connection` | the connections that there are, those that the job names, in one environment |
//! | `file` | [`Job::load`]: all that needs no plugin; a [`DraftJob`] and its problems so far |
//! | `resolve` | [`DraftJob::resolve`]: options against descriptors; the [`Job`] or all problems |
//! | `problem` | [`Problem`]: place, key, message, hint |
//! | `secret`, `redact` | references to secrets, resolved late; values kept out of every output |
//!
//! Nothing here opens a store or names a plugin.

mod connection;
mod document;
mod file;
mod parameters;
mod problem;
mod redact;
mod resolve;
mod secret;
mod section;
#[cfg(test)]
mod tests;
mod value;

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Guarantee, LoadMethod, Options, WriteMode};

pub(crate) use connection::{ConnectionEntry, DraftConnection, list_connections};
pub(crate) use file::DraftJob;
pub(crate) use file::{READER_KEYS, WRITER_KEYS};
pub(crate) use problem::{Problem, Problems};
pub(crate) use redact::Redactor;
pub(crate) use secret::{JobSecrets, SecretRefs};

/// Which job is wanted, and what the command line says about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobRequest {
    /// The job file.
    pub(crate) path: PathBuf,
    /// The environment of every connection that has some.
    pub(crate) env: Option<String>,
    /// `--param name=value`, in order.
    pub(crate) params: Vec<(String, String)>,
    /// The business date as `YYYYMMDD`; yesterday by local time if not given.
    pub(crate) bizdate: Option<String>,
    /// Where connections are looked for, nearest first; files that are not there do not matter.
    pub(crate) connection_files: Vec<PathBuf>,
}

impl JobRequest {
    /// A job with nothing else said, and the connections that are looked for from beside it.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let connection_files = connection_files(path.parent().unwrap_or(Path::new("")));
        Self { path, connection_files, ..Self::default() }
    }
}

/// Where connections are looked for: `folder`, then the user's (`$XDG_CONFIG_HOME/transload`, else
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

/// A job as meant: checked against its plugins' descriptors, defaults filled in, paths absolute.
/// It travels, and holds no secret value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The job's name; the file's, without its ending, where the job gives none.
    pub(crate) name: String,
    /// The environment that was asked for; each side's connection says which one it has.
    pub(crate) environment: Option<String>,
    /// The source.
    pub(crate) reader: JobReader,
    /// The destination.
    pub(crate) writer: JobWriter,
    /// Target column and source column, where names differ; in the file's order.
    pub(crate) map: Vec<(String, String)>,
    /// Limits of running.
    pub(crate) channel: Channel,
    /// How many dirty rows are bearable.
    pub(crate) dirty: DirtyLimit,
    /// The guarantee that the plan must reach, if the job demands one.
    pub(crate) require: Option<Guarantee>,
    /// What the user should know and may leave as it is.
    pub(crate) warnings: Vec<Problem>,
}

/// What a job says of its source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobReader {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// The connection whose options are among `options`.
    pub(crate) connection: Option<ConnectionName>,
    /// The plugin's options, and the types that the job declares.
    pub(crate) options: Options,
    /// Where its secret options come from.
    pub(crate) secrets: SecretRefs,
    /// The columns to read, in order; all if `None`.
    pub(crate) columns: Option<Vec<String>>,
}

/// What a job says of its destination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobWriter {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// The connection whose options are among `options`.
    pub(crate) connection: Option<ConnectionName>,
    /// The plugin's options.
    pub(crate) options: Options,
    /// Where its secret options come from.
    pub(crate) secrets: SecretRefs,
    /// What happens on a key conflict; the writer's first mode where the job gives none.
    pub(crate) write_mode: WriteMode,
    /// The key columns; `None`: the target's primary key.
    pub(crate) key: Option<Vec<String>>,
    /// What an upsert updates; `None`: all columns that are not key.
    pub(crate) update_columns: Option<Vec<String>>,
    /// How rows travel.
    pub(crate) load: LoadMethod,
    /// Statements before the first row.
    pub(crate) before: Vec<String>,
    /// Statements after the last row.
    pub(crate) after: Vec<String>,
    /// Make the target if it is not there.
    pub(crate) create_table: bool,
}

/// A connection, and its environment if it has some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionName {
    /// Its name in the connection file.
    pub(crate) name: String,
    /// The environment that was picked.
    pub(crate) environment: Option<String>,
}

/// A connection by itself, checked against its plugin's descriptor.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoneConnection {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// Its name, and the environment that was picked.
    pub(crate) connection: ConnectionName,
    /// Its options, and the defaults of those that only a job gives, for its first role.
    pub(crate) options: Options,
    /// As `options`, for the plugin's writer: an option may mean one thing to the reader and
    /// another one to it.
    #[serde(skip)]
    pub(crate) writer_options: Options,
    /// Where its secret options come from.
    pub(crate) secrets: SecretRefs,
    /// What the user should know and may leave as it is.
    pub(crate) warnings: Vec<Problem>,
}

/// Limits of running. The defaults stand here and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Channel {
    /// Tasks at a time; the machine's cores where the job gives none.
    pub(crate) parallelism: NonZeroU32,
    /// Bytes of batches that may wait between readers and writers, all tasks together.
    pub(crate) buffer_bytes: u64,
    /// Limit of all tasks together.
    pub(crate) max_bytes_per_second: Option<u64>,
    /// Limit of all tasks together.
    pub(crate) max_rows_per_second: Option<u64>,
}

/// The buffer of one task, unless a job says what all share: two chunks of 50,000 rows of 160 bytes,
/// one being written and one being read. More was no faster and stayed in memory.
const TASK_BUFFER_BYTES: u64 = 16 << 20;

impl Channel {
    /// No limits but so many tasks at a time.
    pub(crate) fn of(parallelism: NonZeroU32) -> Self {
        Self {
            parallelism,
            buffer_bytes: TASK_BUFFER_BYTES * u64::from(parallelism.get()),
            max_bytes_per_second: None,
            max_rows_per_second: None,
        }
    }
}

impl Default for Channel {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(NonZeroU32::new(cores as u32).unwrap_or(NonZeroU32::MIN))
    }
}

/// How many dirty rows are bearable: the run fails when one of the limits is exceeded. A job that
/// gives none bears not one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DirtyLimit {
    /// Most dirty rows; `None`: no such limit, because the job says `"unlimited"` or a ratio.
    pub(crate) max_rows: Option<u64>,
    /// Largest share of dirty rows among the rows read, 0 to 1.
    pub(crate) max_ratio: Option<f64>,
}

impl Default for DirtyLimit {
    fn default() -> Self {
        Self { max_rows: Some(0), max_ratio: None }
    }
}
