//! A journal that is read back: how far a run has come, and where each task continues. What is found
//! to be damaged is reported by its line; that the last line was not written to its end is normal.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use transload_plugin_api::{Counters, Receipt, TaskProgress, code};

use super::{
    JOURNAL, RUN_COPY,
    record::{self, ChunkRecord, FORM, Failure, Record, RunRecord},
};
use crate::{Error, Exit};

/// What a journal says.
pub(crate) struct Past {
    /// The run.
    pub(crate) run: Box<RunRecord>,
    /// How far it has come.
    pub(crate) state: State,
    /// The target was prepared.
    pub(crate) is_prepared: bool,
    /// Where each task continues.
    pub(crate) starts: Vec<TaskStart>,
    /// How often the run was resumed.
    pub(crate) resumed: u64,
    /// When the last line but those of chunks was written.
    pub(crate) last: String,
    /// The number of the last line.
    pub(super) lines: u64,
    /// Bytes up to the end of the last whole line.
    pub(super) length: u64,
}

/// How far a run has come.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Nothing is known to have changed at the target.
    Planned,
    /// The target is prepared, and tasks write.
    Writing,
    /// The commit of the job has begun.
    Publishing,
    /// It is complete.
    Done,
    /// It has failed, and can be resumed.
    Failed(Failure),
    /// It is given up, and what it left may remain.
    Aborting,
    /// It is given up, and what it left is removed.
    Aborted,
}

/// Where a task continues, as the journal knows it. What the store has kept of the task is stronger.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TaskStart {
    /// After the last chunk that was committed; the position is the checkpoint.
    pub(crate) progress: Option<TaskProgress>,
    /// The committed length of the task's file of dirty rows.
    pub(crate) dirty_bytes: u64,
    /// The receipt of a task that has finished.
    pub(crate) receipt: Option<Receipt>,
}

/// Why a journal cannot be read.
#[derive(Debug)]
pub(crate) enum Damage {
    /// The run has none.
    Missing,
    /// The system refuses to read it.
    Unreadable(io::Error),
    /// This line is damaged, or one before it is missing. The run itself, if its line is sound.
    Line(u64, Option<Box<RunRecord>>),
    /// It has a form that this program does not know.
    Form(u32),
}

impl Past {
    /// Reads the journal of a run's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, Damage> {
        let bytes = read(folder.join(JOURNAL))?;
        let mut lines = whole_lines(&bytes);
        let first = lines.next().ok_or(Damage::Line(1, None))?;
        let mut past = Self::new(run_of(first)?, first.len() as u64 + 1);
        for line in lines {
            let number = past.lines + 1;
            let Some(record) = record::parse(number, line) else {
                return Err(Damage::Line(number, Some(past.run)));
            };
            past.take(record);
            past.lines = number;
            past.length += line.len() as u64 + 1;
        }
        Ok(past)
    }

    /// The run as its copy beside the journal has it.
    pub(super) fn read_copy(folder: &Path) -> Result<Box<RunRecord>, Damage> {
        let bytes = read(folder.join(RUN_COPY))?;
        run_of(whole_lines(&bytes).next().ok_or(Damage::Line(1, None))?)
    }

    fn new(run: Box<RunRecord>, length: u64) -> Self {
        let starts = vec![TaskStart::default(); run.plan.splits.len()];
        let last = run.started.clone();
        let state = State::Planned;
        Self { run, state, is_prepared: false, starts, resumed: 0, last, lines: 1, length }
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Run(_) => {}
            Record::Prepared(moment) => {
                (self.is_prepared, self.state, self.last) = (true, State::Writing, moment.at);
            }
            Record::Chunk(chunk) => self.take_chunk(chunk),
            Record::Finished(receipt) => {
                if let Some(start) = self.starts.get_mut(receipt.task as usize) {
                    start.receipt = Some(receipt);
                }
            }
            Record::Publishing(moment) => {
                (self.state, self.last) = (State::Publishing, moment.at);
            }
            Record::Done(moment) => (self.state, self.last) = (State::Done, moment.at),
            Record::Failed(failure) => {
                self.last.clone_from(&failure.at);
                self.state = State::Failed(failure);
            }
            Record::Resumed(moment) => {
                let state = if self.is_prepared { State::Writing } else { State::Planned };
                (self.resumed, self.state, self.last) = (self.resumed + 1, state, moment.at);
            }
            Record::Aborting(moment) => (self.state, self.last) = (State::Aborting, moment.at),
            Record::Aborted(moment) => (self.state, self.last) = (State::Aborted, moment.at),
            Record::Rebuilt(moment) => {
                (self.is_prepared, self.state, self.last) = (true, State::Writing, moment.at);
            }
        }
    }

    fn take_chunk(&mut self, chunk: ChunkRecord) {
        let ChunkRecord { task, chunks, checkpoint, counters, dirty_bytes } = chunk;
        let Some(start) = self.starts.get_mut(task as usize) else { return };
        let position = checkpoint;
        start.progress = Some(TaskProgress { chunks, position, counters, is_finished: false });
        start.dirty_bytes = dirty_bytes;
    }

    /// Rows of committed chunks of all tasks.
    pub(crate) fn counters(&self) -> Counters {
        let mut total = Counters::default();
        let progress = self.starts.iter().filter_map(|start| start.progress.as_ref());
        progress.for_each(|progress| total.add(&progress.counters));
        total
    }

    /// The run has failed before a chunk was committed, and what it had made is removed: it can begin
    /// again.
    pub(crate) fn left_nothing(&self) -> bool {
        match &self.state {
            State::Failed(failure) => failure.is_cleaned && failure.is_empty && !failure.is_unknown,
            _ => false,
        }
    }

    /// A commit may have been sent whose outcome is not known.
    pub(crate) fn is_uncertain(&self) -> bool {
        match &self.state {
            State::Publishing => true,
            State::Failed(failure) => failure.is_unknown,
            _ => false,
        }
    }
}

impl Damage {
    /// The error for a run that cannot be continued because of it.
    pub(crate) fn error(&self, folder: &Path) -> Error {
        let path = folder.join(JOURNAL);
        let again = "nothing can be continued without it: remove what the run has written, if that \
                     matters, and run the job again";
        let error =
            |code, message: String| Error::new(Exit::Failed, message).code(code).hint(again);
        let error = match self {
            Self::Missing => error(code::JOURNAL_MISSING, "the run has no journal".to_owned()),
            Self::Unreadable(cause) => {
                let message = format!("the journal cannot be read: {cause}");
                Error::new(Exit::Failed, message).code(code::JOURNAL_MISSING)
            }
            Self::Line(line, _) => {
                let message = "a line of the journal is damaged, or one before it is missing";
                let error = error(code::JOURNAL_DAMAGED, message.to_owned());
                return error.at(format!("{}, line {line}", path.display()));
            }
            Self::Form(form) => {
                let message = format!(
                    "the journal has form {form}, and this version of the program knows {FORM}"
                );
                let error = Error::new(Exit::Failed, message).code(code::JOURNAL_FORM);
                error.hint("continue the run with the version that began it: see `plan.json`")
            }
        };
        error.at(path.display().to_string())
    }
}

fn read(path: PathBuf) -> Result<Vec<u8>, Damage> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Damage::Missing,
        _ => Damage::Unreadable(error),
    })
}

/// The lines that end with a line break, without it.
fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes[..end].split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1])
}

fn run_of(line: &[u8]) -> Result<Box<RunRecord>, Damage> {
    match record::parse(1, line) {
        Some(Record::Run(run)) if run.form != FORM => Err(Damage::Form(run.form)),
        Some(Record::Run(run)) => Ok(run),
        _ => Err(Damage::Line(1, None)),
    }
}
