//! The lines of a journal. Each is a checksum, a blank, a record as JSON and a line break. The
//! checksum covers the line's number, too, so that a line that is missing is found as well as a
//! damaged one.

use std::{collections::BTreeMap, path::PathBuf, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use transload_plugin_api::{Counters, Position, Receipt};

use super::shape::SourceShape;
use crate::{Error, plan::Plan, report::local};

/// The form of journals. A journal of another form is refused.
pub(super) const FORM: u32 = 1;

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub(super) enum Record {
    /// The first line: what the run does.
    Run(Box<RunRecord>),
    /// The target is prepared.
    Prepared(Moment),
    /// A chunk is committed.
    Chunk(ChunkRecord),
    /// A task has finished.
    Finished(Receipt),
    /// The commit of the job begins.
    Publishing(Moment),
    /// The run is complete, and nothing is left behind.
    Done(Moment),
    /// The run has failed.
    Failed(Failure),
    /// Another process continues the run.
    Resumed(Moment),
    /// The run is given up, and what it left is being removed.
    Aborting(Moment),
    /// What it left is removed.
    Aborted(Moment),
    /// The journal was damaged, and what it said of tasks is lost.
    Rebuilt(Moment),
}

/// When something was recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Local time with its offset.
    pub(crate) at: String,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { at: local(SystemTime::now()) }
    }
}

/// What a run does, for a process that continues it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// [`FORM`].
    pub(super) form: u32,
    /// When it began.
    pub(crate) started: String,
    /// The job file, absolute.
    pub(crate) job_file: PathBuf,
    /// The hashes of what the job says about rows, by key: see `shape`.
    pub(super) job: BTreeMap<String, String>,
    /// The source as the plan found it.
    pub(super) source: SourceShape,
    /// The plan without `before` and `after`, which the job has: they may contain secrets.
    pub(crate) plan: Plan,
}

/// A committed chunk: the task's totals including it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChunkRecord {
    pub(super) task: u32,
    /// How many chunks are committed.
    pub(super) chunks: u64,
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub(super) checkpoint: Position,
    pub(super) counters: Counters,
    /// Bytes of the task's file of dirty rows.
    pub(super) dirty_bytes: u64,
}

/// Why a run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// When.
    pub(crate) at: String,
    /// The exit code.
    pub(crate) exit: u8,
    /// The error's code; empty if it has none.
    pub(crate) code: String,
    /// The error's message.
    pub(crate) message: String,
    /// What the run had staged is removed.
    pub(crate) is_cleaned: bool,
    /// A commit was sent whose outcome is unknown.
    pub(crate) is_unknown: bool,
    /// No chunk was committed, also none that the journal could not record.
    #[serde(default)]
    pub(crate) is_empty: bool,
}

impl Failure {
    /// Of an error: what a run that ended early has left is not known yet.
    pub(crate) fn new(error: &Error) -> Self {
        Self {
            at: Moment::now().at,
            exit: error.exit as u8,
            code: error.error.code.clone(),
            message: error.error.message.clone(),
            is_cleaned: false,
            is_unknown: false,
            is_empty: false,
        }
    }
}

fn encode<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(&position.0))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Position).map_err(D::Error::custom)
}

/// The line of that number, counted from 1, with its line break.
pub(super) fn line(number: u64, json: &str) -> String {
    format!("{:08x} {json}\n", checksum(number, json))
}

/// The record in a line without its line break; `None` if the line is damaged.
pub(super) fn parse(number: u64, line: &[u8]) -> Option<Record> {
    let (sum, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let is_right = sum == format!("{:08x}", checksum(number, json));
    if is_right { serde_json::from_str(json).ok() } else { None }
}

fn checksum(number: u64, json: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(json.as_bytes());
    hasher.finalize()
}
