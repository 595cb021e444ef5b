//! One task's dirty rows as JSON lines. A chunk's rows are on disk before the chunk is committed,
//! and those of a chunk that is written again take the place of the earlier ones.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use transload_plugin_api::{DirtyClass, Error as PluginError, code};

use super::{count::ClassCounts, line::DirtyLine};
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

    /// The length of the part that belongs to committed chunks, and that a checkpoint records: in
    /// bytes, with the open chunk if `commit_chunk` is about to be called.
    pub(in crate::engine) fn committed_length(&self) -> u64 {
        self.kept + self.open
    }

    /// Continues the file of an earlier attempt at the task: cuts it behind the rows of committed
    /// chunks. Returns how many these are, by class. `is_loss_accepted`: what is missing is counted as
    /// lost, and the file continues behind its last whole line.
    ///
    /// # Errors
    /// If the file is shorter, or holds something else.
    pub(in crate::engine) fn resume_at(
        &mut self,
        (length, rows): (u64, u64),
        is_loss_accepted: bool,
    ) -> Result<ClassCounts> {
        let resumed = match self.cut(length).and_then(|()| self.count(length)) {
            Err(error) if is_loss_accepted => {
                tracing::warn!("{}: {error}; it continues with what it has", self.path.display());
                self.mend(length)
            }
            resumed => resumed,
        };
        // An earlier resume may have accepted a loss.
        let resumed = resumed.map(|counts| counts.of_all(rows));
        resumed.map_err(|error| self.not_continued(&error))
    }

    fn not_continued(&self, error: &io::Error) -> Error {
        let run = self.path.parent().and_then(Path::file_name).unwrap_or_default();
        let (run, name) = (run.to_string_lossy(), self.path.file_name().unwrap_or_default());
        let message = format!("cannot continue the file of dirty rows: {error}");
        let hint = format!(
            "copy `{}` from the folder of the run on the machine that began it; or continue without \
             those rows, which stay counted: transload resume {run} --accept-changes dirty-rows",
            name.to_string_lossy()
        );
        let error = PluginError::data(message).at(self.path.display().to_string());
        Error::from(error).code(code::DIRTY_FILE).hint(hint)
    }

    /// Cuts the file behind its last whole line that belongs to committed chunks, and counts those
    /// that can be read.
    fn mend(&mut self, length: u64) -> io::Result<ClassCounts> {
        let file = private().create(true).append(true).open(&self.path)?;
        let (mut counts, mut kept, mut line) = (ClassCounts::default(), 0, Vec::new());
        let mut lines = BufReader::new(File::open(&self.path)?);
        while lines.read_until(b'\n', &mut line)? > 0 && kept + line.len() as u64 <= length {
            let Ok(class) = class_of(&line) else { break };
            counts[class] += 1;
            kept += line.len() as u64;
            line.clear();
        }
        file.set_len(kept)?;
        file.sync_data()?;
        (self.file, self.kept, self.open) = (Some(file), kept, 0);
        Ok(counts)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        if !self.path.exists() {
            return match length {
                0 => Ok(()),
                _ => Err(io::Error::other("it does not exist")),
            };
        }
        let file = private().append(true).open(&self.path)?;
        let found = file.metadata()?.len();
        if found < length {
            let message = format!("it has {found} bytes, {length} bytes are committed");
            return Err(io::Error::other(message));
        }
        file.set_len(length)?;
        file.sync_data()?;
        (self.file, self.kept, self.open) = (Some(file), length, 0);
        Ok(())
    }

    /// The rows of the file, which ends at a line end.
    fn count(&self, length: u64) -> io::Result<ClassCounts> {
        let mut counts = ClassCounts::default();
        if length == 0 {
            return Ok(counts);
        }
        let mut lines = BufReader::new(File::open(&self.path)?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            counts[class_of(&line)?] += 1;
            line.clear();
        }
        Ok(counts)
    }

    /// Replaces what follows the committed chunks by these lines, and syncs them to the disk.
    fn replace(&mut self, lines: &[u8]) -> io::Result<()> {
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

    fn failed(&self, error: &io::Error) -> Error {
        let message = format!("cannot write dirty rows: {error}");
        let error = PluginError::space(message);
        Error::from(error.at(self.path.display().to_string())).code(code::DIRTY_FILE)
    }
}

/// The class of a row by its line.
fn class_of(line: &[u8]) -> io::Result<DirtyClass> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        errors: Vec<RowCode<'a>>,
    }
    #[derive(Deserialize)]
    struct RowCode<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
    }
    if line.last() != Some(&b'\n') {
        return Err(io::Error::other("it does not end with a line end"));
    }
    let line: Line<'_> = serde_json::from_slice(line)?;
    Ok(DirtyClass::of(line.errors.first().map_or("", |error| &error.code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dirty::line::tests::lines_of;

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

    /// What a killed attempt had written behind its last commit goes, what is committed stays.
    #[test]
    fn a_file_is_cut_where_an_earlier_attempt_had_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dirty");
        let new = || DirtyFile { path: path.clone(), file: None, kept: 0, open: 0 };
        assert_eq!(new().resume_at((0, 0), false).unwrap(), ClassCounts::default());
        assert!(!path.exists());
        let rows = [lines_of("parse", 2), lines_of("unique", 1)].concat();
        let mut first = new();
        first.write(&rows).unwrap();
        let committed = first.committed_length();
        assert_eq!(committed, std::fs::metadata(&path).unwrap().len());
        first.keep();
        first.write(&lines_of("range", 3)).unwrap();
        assert!(first.committed_length() > committed);
        drop(first);

        let mut second = new();
        let counts = second.resume_at((committed, 3), false).unwrap();
        let classes = [DirtyClass::Parse, DirtyClass::Constraint, DirtyClass::Type];
        assert_eq!(classes.map(|class| counts[class]), [2, 1, 0]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), committed);
        second.write(&lines_of("check", 1)).unwrap();
        second.keep();
        let all = new().resume_at((second.committed_length(), 4), false).unwrap();
        assert_eq!(classes.map(|class| all[class]), [2, 2, 0]);

        let lost = new().resume_at((committed + 10_000, 90), false).unwrap_err();
        assert!(lost.to_string().contains("bytes are committed"), "{lost}");
        assert!(new().resume_at((committed - 1, 3), false).is_err());
    }

    /// The folder was copied without the file, or with an older copy of it.
    #[test]
    fn lost_rows_are_counted_if_the_loss_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dirty");
        let new = || DirtyFile { path: path.clone(), file: None, kept: 0, open: 0 };
        let missing = new().resume_at((500, 7), false).unwrap_err();
        assert!(missing.to_string().contains("does not exist"), "{missing}");
        assert!(!path.exists());
        let mut first = new();
        let counts = first.resume_at((500, 7), true).unwrap();
        assert_eq!((counts.lost(), first.committed_length()), (7, 0));
        first.write(&lines_of("parse", 2)).unwrap();
        first.keep();
        let two = first.committed_length();
        first.write(&lines_of("check", 1)).unwrap();
        drop(first);
        let mut second = new();
        let counts = second.resume_at((two + 1_000, 9), true).unwrap();
        assert_eq!((counts[DirtyClass::Parse], counts.lost()), (2, 6), "the third line is whole");
        assert!(second.committed_length() > two);
    }
}
