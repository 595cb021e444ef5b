//! One task's dirty rows as JSON lines. A chunk's rows are on disk before the chunk is committed,
//! and those of a chunk that is written again take the place of the earlier ones.

use std::{fs::File, io::Write, path::PathBuf, sync::Arc};

use transload_plugin_api::{Error as PluginError, code};

use super::line::DirtyLine;
use crate::{
    Error, Result,
    journal::{RunFolder, private},
};

/// Most rows kept of the chunk that exceeds the limit.
const EXPLAINED_ROWS: usize = 10_000;

/// One task's dirty rows as JSON lines; the file is created with the first row.
pub(in crate::engine) struct DirtyFile {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of committed chunks, which stay.
    kept: u64,
    /// Bytes of the open chunk behind them.
    open: u64,
}

impl DirtyFile {
    pub(in crate::engine) fn new(folder: &RunFolder, task: u32) -> Self {
        Self { path: folder.dirty_file(task), file: None, kept: 0, open: 0 }
    }

    /// Stores the rows of the chunk that exceeds the limit. Returns the hint of the error about them.
    pub(in crate::engine) fn explain(&mut self, rows: &[Arc<DirtyLine>]) -> Result<String> {
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
    pub(in crate::engine) fn write(&mut self, rows: &[Arc<DirtyLine>]) -> Result<()> {
        if rows.is_empty() && self.open == 0 {
            return Ok(());
        }
        let lines: Vec<u8> = rows.iter().flat_map(|row| row.json.bytes()).collect();
        self.replace(&lines).map_err(|error| self.failed(&error))
    }

    /// Keeps the open chunk's rows, because it is committed.
    pub(in crate::engine) fn keep(&mut self) {
        self.kept += std::mem::take(&mut self.open);
    }

    /// Bytes of committed chunks.
    pub(in crate::engine) fn kept(&self) -> u64 {
        self.kept
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replayed_chunk_is_in_the_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dirty");
        let mut file = DirtyFile { path: path.clone(), file: None, kept: 0, open: 0 };
        let row = |name: &str| {
            let (json, message) = (format!("{name}\n"), String::new());
            Arc::new(DirtyLine { json, message, errors: Vec::new(), misread: None, number: None })
        };
        let lines = || {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        file.write(&[row("a")]).unwrap();
        file.write(&[row("b"), row("c")]).unwrap();
        assert_eq!(lines(), ["b", "c"]);
        file.keep();
        file.write(&[row("d")]).unwrap();
        file.write(&[]).unwrap();
        file.keep();
        file.write(&[row("e")]).unwrap();
        assert_eq!(lines(), ["b", "c", "e"]);
    }
}
