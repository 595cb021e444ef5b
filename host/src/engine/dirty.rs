//! Dirty rows: counted exactly for the job, limited, and kept as JSON lines for each task.
//! What makes a row dirty is decided by readers, writers and `convert`.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use serde::Serialize;
use transload_plugin_api::{DirtyRow, Error as PluginError, code};

use crate::{
    Error, Exit, Result,
    job::{DirtyLimit, Redactor},
    journal::{RunFolder, private},
};

/// Below this many rows a ratio says little, so it is checked at the end only.
const RATIO_SAMPLE: u64 = 1000;
/// Longest value kept in the file, in bytes.
const VALUE_BYTES: usize = 256;
/// Most rows kept of the chunk that exceeds the limit.
const EXPLAINED_ROWS: usize = 10_000;

/// The dirty rows of all tasks together, and the job's limit.
pub(super) struct DirtyCount {
    limit: DirtyLimit,
    state: Mutex<State>,
    /// Dirty rows that reading and conversion have found; their batches may wait in the rings.
    found: AtomicU64,
}

/// Rows of all chunks that are committed or being written.
#[derive(Default)]
struct State {
    dirty: u64,
    read: u64,
    /// The first dirty row in words.
    first: String,
}

impl DirtyCount {
    pub(super) fn new(limit: DirtyLimit) -> Self {
        Self { limit, state: Mutex::default(), found: AtomicU64::new(0) }
    }

    /// Counts dirty rows of a batch that goes to the writing side. Returns whether it is the last one
    /// that is worth reading: the job fails when its rows are admitted.
    pub(super) fn found_too_many(&self, dirty: usize) -> bool {
        // Relaxed: a count, which publishes nothing.
        let found = self.found.fetch_add(dirty as u64, Relaxed) + dirty as u64;
        self.limit.max_rows.is_some_and(|most| found > most)
    }

    /// Counts rows of a chunk that is not committed yet; `first` is the first of the dirty ones.
    ///
    /// # Errors
    /// If the limit is exceeded; the message describes the first dirty row of the job.
    pub(super) fn admit(&self, dirty: u64, read: u64, first: Option<&DirtyRow>) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(first) = first.filter(|_| state.first.is_empty()) {
            state.first = describe(first);
        }
        state.dirty += dirty;
        state.read += read;
        if dirty == 0 && (self.limit.max_ratio.is_none() || state.dirty == 0) {
            return Ok(());
        }
        let sampled = state.read >= RATIO_SAMPLE;
        let Some(limit) = self.exceeded(&state, sampled) else { return Ok(()) };
        Err(limit_error(&state, &limit))
    }

    /// Takes back what a chunk had counted before it is written again.
    pub(super) fn release(&self, dirty: u64, read: u64) {
        let mut state = self.state.lock();
        state.dirty -= dirty;
        state.read -= read;
    }

    /// Checks the limits over all rows of the job.
    ///
    /// # Errors
    /// If one is exceeded.
    pub(super) fn check_at_end(&self, read: u64) -> Result<()> {
        let state = self.state.lock();
        debug_assert_eq!(state.read, read, "every batch read has been admitted");
        self.exceeded(&state, true).map_or(Ok(()), |limit| Err(limit_error(&state, &limit)))
    }

    /// Dirty rows met so far.
    pub(super) fn met(&self) -> u64 {
        self.state.lock().dirty
    }

    /// The limit that is exceeded, as the job writes it.
    fn exceeded(&self, state: &State, judge_ratio: bool) -> Option<String> {
        if let Some(most) = self.limit.max_rows.filter(|most| state.dirty > *most) {
            return Some(format!("dirty.max_rows = {most}"));
        }
        let most = self.limit.max_ratio.filter(|_| judge_ratio)?;
        let ratio = state.dirty as f64 / state.read.max(1) as f64;
        (ratio > most).then(|| format!("dirty.max_ratio = {most}"))
    }
}

fn limit_error(state: &State, limit: &str) -> Error {
    let State { dirty, read, first } = state;
    let message = format!("{dirty} of {read} rows are dirty, more than {limit} allows{first}");
    Error::new(Exit::DirtyLimit, message).code(code::DIRTY_LIMIT)
}

/// The first dirty row, for the message that the limit is exceeded.
fn describe(row: &DirtyRow) -> String {
    let column =
        row.column.as_ref().map(|column| format!("column `{column}`: ")).unwrap_or_default();
    let place = row.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
    format!("; the first one: {place}{column}{}", row.reason)
}

/// One task's dirty rows as JSON lines; the file is created with the first row.
pub(super) struct DirtyFile {
    path: PathBuf,
    task: u32,
    redactor: Redactor,
    file: Option<File>,
    /// Bytes of committed chunks, which stay.
    kept: u64,
    /// Bytes of the open chunk behind them.
    open: u64,
}

/// One line of the file; the fields are documented in docs/reference.md.
#[derive(Serialize)]
struct Line<'a> {
    task: u32,
    place: Option<&'a str>,
    column: Option<&'a str>,
    value: Option<&'a str>,
    code: &'a str,
    reason: &'a str,
}

impl DirtyFile {
    pub(super) fn new(folder: &RunFolder, task: u32) -> Self {
        let redactor = folder.redactor().clone();
        Self { path: folder.dirty_file(task), task, redactor, file: None, kept: 0, open: 0 }
    }

    /// Stores the rows of the chunk that exceeds the limit. Returns the hint of the error about them.
    pub(super) fn explain(&mut self, rows: &[DirtyRow]) -> Result<String> {
        let kept = &rows[..rows.len().min(EXPLAINED_ROWS)];
        self.write(kept)?;
        let path = self.path.display();
        Ok(match rows.len() {
            all if all == kept.len() => format!("those of this task are kept in {path}"),
            _ => format!("the first {EXPLAINED_ROWS} of this chunk are kept in {path}"),
        })
    }

    /// Stores these rows as those of the open chunk, in place of an earlier attempt at it, and
    /// syncs the file.
    pub(super) fn write(&mut self, rows: &[DirtyRow]) -> Result<()> {
        if rows.is_empty() && self.open == 0 {
            return Ok(());
        }
        let mut lines = Vec::with_capacity(rows.len() * 128);
        for row in rows {
            // Before it is shortened: a part of a secret would not be recognised.
            let value = row.value.as_deref().map(|value| self.redactor.redact(value));
            let reason = self.redactor.redact(&row.reason);
            let line = Line {
                task: self.task,
                place: row.place.as_deref(),
                column: row.column.as_deref(),
                value: value.as_deref().map(shorten),
                code: &row.code,
                reason: &reason,
            };
            serde_json::to_writer(&mut lines, &line)
                .map_err(std::io::Error::from)
                .map_err(|e| self.failed(&e))?;
            lines.push(b'\n');
        }
        self.replace(&lines).map_err(|error| self.failed(&error))
    }

    /// Keeps the open chunk's rows, because it is committed.
    pub(super) fn keep(&mut self) {
        self.kept += std::mem::take(&mut self.open);
    }

    /// Replaces what follows the committed chunks by these lines, and syncs them to the disk.
    fn replace(&mut self, lines: &[u8]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = private().create(true).append(true).open(&self.path)?;
                self.kept = file.metadata()?.len();
                none.insert(file)
            }
        };
        file.set_len(self.kept)?;
        file.write_all(lines)?;
        self.open = lines.len() as u64;
        file.sync_data()
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        let message = format!("cannot write dirty rows: {error}");
        let error = PluginError::space(message);
        Error::from(error.at(self.path.display().to_string())).code(code::DIRTY_FILE)
    }
}

/// At most [`VALUE_BYTES`] of a value, cut between characters.
fn shorten(value: &str) -> &str {
    let mut end = value.len().min(VALUE_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(max_rows: Option<u64>, max_ratio: Option<f64>) -> DirtyCount {
        DirtyCount::new(DirtyLimit { max_rows, max_ratio })
    }

    #[test]
    fn t14_the_limit_is_exact() {
        let limited = count(Some(10), None);
        limited.admit(10, 500, None).unwrap();
        assert!(limited.admit(0, 500, None).is_ok());
        assert_eq!(limited.admit(1, 1, None).unwrap_err().exit, Exit::DirtyLimit);
    }

    #[test]
    fn t13_the_count_goes_on_beyond_any_limit() {
        let limited = count(None, None);
        for _ in 0..25 {
            limited.admit(1, 1, None).unwrap();
        }
        assert_eq!(limited.met(), 25);
    }

    #[test]
    fn a_ratio_is_judged_from_a_sample_on_and_at_the_end() {
        let limited = count(None, Some(0.01));
        limited.admit(5, 100, None).unwrap();
        assert!(limited.check_at_end(100).is_err());
        let limited = count(None, Some(0.01));
        limited.admit(10, 999, None).unwrap();
        assert!(limited.admit(1, 1, None).is_err());
    }

    #[test]
    fn both_limits_hold() {
        assert!(count(Some(1), Some(0.5)).admit(2, 10_000, None).is_err());
        assert!(count(Some(5000), Some(0.1)).admit(2000, 10_000, None).is_err());
    }

    #[test]
    fn a_replayed_chunk_counts_once() {
        let limited = count(Some(1), None);
        limited.admit(1, 10, None).unwrap();
        limited.release(1, 10);
        limited.admit(1, 10, None).unwrap();
        assert_eq!(limited.met(), 1);
    }

    #[test]
    fn a_replayed_chunk_is_in_the_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dirty");
        let redactor = Redactor::default();
        let mut file =
            DirtyFile { path: path.clone(), task: 0, redactor, file: None, kept: 0, open: 0 };
        let row = |code: &str| DirtyRow {
            row: 0,
            place: None,
            column: None,
            value: None,
            code: code.to_owned(),
            reason: String::new(),
        };
        let codes = || {
            let lines = std::fs::read_to_string(&path).unwrap();
            let code = |line: &str| line.split("\"code\":\"").nth(1).unwrap()[..1].to_owned();
            lines.lines().map(code).collect::<Vec<_>>()
        };
        file.write(&[row("a")]).unwrap();
        file.write(&[row("b"), row("c")]).unwrap();
        assert_eq!(codes(), ["b", "c"]);
        file.keep();
        file.write(&[row("d")]).unwrap();
        file.write(&[]).unwrap();
        file.keep();
        file.write(&[row("e")]).unwrap();
        assert_eq!(codes(), ["b", "c", "e"]);
    }

    #[test]
    fn values_are_cut_between_characters() {
        assert_eq!(shorten(&"é".repeat(200)).len(), 256);
        assert_eq!(shorten(&format!("a{}", "é".repeat(200))).len(), 255);
    }
}
