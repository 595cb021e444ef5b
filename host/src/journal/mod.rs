//! What is kept of a run, so that another process can continue it.
//!
//! | file | what it does |
//! |---|---|
//! | `folder` | the run's name and folder, with plan, journal, dirty rows and report |
//! | `lock` | which process works on the run |
//! | `record` | the lines of a journal |
//! | `past` | a journal read back: how far the run has come, where each task continues |
//! | `runs` | all runs below a state folder, and the one that a command names |
//! | `shape` | what must be the same when a run continues: the job, the plugins, both tables |
//!
//! The target decides what is committed; a journal only follows it. Records of chunks are left to the
//! system's cache: a process that is killed loses none of them, and a machine that stops loses some,
//! after which the run continues from an earlier position. All others are on the disk before the run
//! continues.

mod folder;
mod lock;
mod past;
mod record;
mod runs;
mod shape;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use transload_plugin_api::{Counters, Position, Receipt, WriteMode, failpoint};

pub(crate) use folder::{
    RunFolder, create_private_folder, failed, new_run, private, state_folder, write_private,
};
pub(crate) use past::{Damage, Past, State, TaskStart};
pub(crate) use record::{Failure, RunRecord};
pub(crate) use runs::{
    TABLES, find, find_open, is_running, runs, runs_of, unfinished, unfinished_increment,
};
pub(crate) use shape::{SourceShape, job_changes, plugin_change, source_changes, target_changes};

use crate::{
    Error, Exit, Result,
    increment::PlannedIncrement,
    job::{Job, Redactor},
    plan::Plan,
    report::local,
};
use record::{ChunkRecord, FORM, Moment, Record};

/// The journal's file.
const JOURNAL: &str = "journal";
/// A copy of its first line, from which a damaged one is rebuilt.
const RUN_COPY: &str = "journal-run";

/// The journal of a run that this process works on.
pub(crate) struct Journal {
    /// Where each task starts: at the beginning, or where an earlier process has come to.
    pub(crate) starts: Vec<TaskStart>,
    /// Files of dirty rows may be missing that earlier processes have written.
    pub(crate) is_loss_accepted: bool,
    path: PathBuf,
    appender: Mutex<Appender>,
    redactor: Redactor,
    /// What the run leaves for the next one, if the target does not keep it.
    increment: Option<PlannedIncrement>,
}

/// The end of the file.
struct Appender {
    file: File,
    lines: u64,
    length: u64,
}

impl Journal {
    /// Begins the journal of a new run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn create(folder: &RunFolder, job: &Job, plan: &Plan) -> Result<Self> {
        Self::begin(folder, RunRecord::new(job, plan, folder)?)
    }

    fn begin(folder: &RunFolder, run: RunRecord) -> Result<Self> {
        let starts = vec![TaskStart::default(); run.plan.splits.len()];
        let increment = run.plan.increment.clone();
        let path = folder.path().join(JOURNAL);
        let write = || -> io::Result<Appender> {
            let line = record::line(1, &serde_json::to_string(&Record::Run(Box::new(run)))?);
            write_durably(&folder.path().join(RUN_COPY), &line)?;
            Appender::begin(&path, &line)
        };
        let appender = Mutex::new(write().map_err(|error| failed(&path, &error))?);
        let redactor = folder.redactor().clone();
        Ok(Self { starts, is_loss_accepted: false, path, appender, redactor, increment })
    }

    /// Continues the journal of a run that was begun before, its tasks at these places. A last line that
    /// was not written to its end is removed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn reopen(folder: &RunFolder, past: &Past, starts: Vec<TaskStart>) -> Result<Self> {
        let journal = Self { starts, ..Self::at_end(folder, past)? };
        journal.append(&Record::Resumed(Moment::now()), true)?;
        Ok(journal)
    }

    /// Continues the journal of a run that is given up now.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn reopen_to_abort(folder: &RunFolder, past: &Past) -> Result<Self> {
        let journal = Self::at_end(folder, past)?;
        journal.append(&Record::Aborting(Moment::now()), true)?;
        Ok(journal)
    }

    fn at_end(folder: &RunFolder, past: &Past) -> Result<Self> {
        let path = folder.path().join(JOURNAL);
        let open = || -> io::Result<Appender> {
            let file = private().append(true).open(&path)?;
            file.set_len(past.length)?;
            Ok(Appender { file, lines: past.lines, length: past.length })
        };
        let appender = Mutex::new(open().map_err(|error| failed(&path, &error))?);
        let redactor = folder.redactor().clone();
        let (starts, increment) = (Vec::new(), past.run.plan.increment.clone());
        Ok(Self { starts, is_loss_accepted: false, path, appender, redactor, increment })
    }

    /// Replaces a journal whose lines about tasks are lost.
    ///
    /// # Errors
    /// The damage, if the run itself is not known any more, or if nothing but the journal knew where
    /// tasks continue, because the target keeps no commit tokens; or if nothing can be written.
    pub(crate) fn rebuild(folder: &RunFolder, damage: Damage) -> Result<Past> {
        let error = damage.error(folder.path());
        let run = match damage {
            Damage::Line(_, Some(run)) => run,
            _ => Past::read_copy(folder.path()).map_err(|_| error.clone())?,
        };
        if run.plan.write.tokens.is_none() {
            return Err(error.hint(way_out(&run)));
        }
        let path = folder.path().join(JOURNAL);
        let write = || -> io::Result<()> {
            if path.exists() {
                fs::rename(&path, unused(&folder.path().join("journal-damaged")))?;
            }
            let first = record::line(1, &serde_json::to_string(&Record::Run(run))?);
            let rebuilt = serde_json::to_string(&Record::Rebuilt(Moment::now()))?;
            write_durably(&path, &(first + &record::line(2, &rebuilt)))
        };
        write().map_err(|error| failed(&path, &error))?;
        Past::read(folder.path()).map_err(|damage| damage.error(folder.path()))
    }

    /// The target is prepared.
    pub(crate) fn prepared(&self) -> Result<()> {
        self.append(&Record::Prepared(Moment::now()), true)
    }

    /// A chunk of a task is committed: the task's totals including it, and the length of its file of
    /// dirty rows.
    pub(crate) fn chunk(
        &self,
        task: u32,
        chunks: u64,
        checkpoint: &Position,
        counters: &Counters,
        dirty_bytes: u64,
    ) -> Result<()> {
        let (checkpoint, counters) = (checkpoint.clone(), *counters);
        let chunk = ChunkRecord { task, chunks, checkpoint, counters, dirty_bytes };
        self.append(&Record::Chunk(chunk), false)
    }

    /// A task has finished.
    pub(crate) fn finished(&self, receipt: &Receipt) -> Result<()> {
        self.append(&Record::Finished(receipt.clone()), true)
    }

    /// The commit of the job begins.
    pub(crate) fn publishing(&self) -> Result<()> {
        self.append(&Record::Publishing(Moment::now()), true)
    }

    /// The run is complete: the watermark is kept before the journal says so, because the next run
    /// begins behind it.
    pub(crate) fn done(&self) -> Result<()> {
        self.keep_watermark()?;
        self.append(&Record::Done(Moment::now()), true)
    }

    fn keep_watermark(&self) -> Result<()> {
        let Some(PlannedIncrement { before, after: Some(after), file: Some(file), .. }) =
            &self.increment
        else {
            return Ok(());
        };
        failpoint("K15");
        if !file.advance(before.as_ref(), after)? {
            tracing::warn!("the watermark has changed since the run began, and stays as it is");
        }
        failpoint("K15");
        Ok(())
    }

    /// The run has failed.
    pub(crate) fn failed(&self, mut failure: Failure) -> Result<()> {
        failure.message = self.redactor.redact(&failure.message).into_owned();
        self.append(&Record::Failed(failure), true)
    }

    /// What a run that is given up has left is removed.
    pub(crate) fn aborted(&self) -> Result<()> {
        self.append(&Record::Aborted(Moment::now()), true)
    }

    /// Appends a record; a durable one is on the disk afterwards, with all before it.
    fn append(&self, record: &Record, is_durable: bool) -> Result<()> {
        let json = serde_json::to_string(record).map_err(io::Error::from);
        let append = |json: String| self.appender.lock().append(&json, is_durable);
        json.and_then(append).map_err(|error| failed(&self.path, &error))
    }
}

impl Appender {
    /// A new file with its first line.
    fn begin(path: &Path, line: &str) -> io::Result<Self> {
        write_durably(path, line)?;
        let file = private().append(true).open(path)?;
        Ok(Self { file, lines: 1, length: line.len() as u64 })
    }

    fn append(&mut self, json: &str, is_durable: bool) -> io::Result<()> {
        let line = record::line(self.lines + 1, json);
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Without the part of the line that was written, the journal can still be read.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        (self.lines, self.length) = (self.lines + 1, self.length + line.len() as u64);
        if is_durable { self.file.sync_data() } else { Ok(()) }
    }
}

impl RunRecord {
    fn new(job: &Job, plan: &Plan, folder: &RunFolder) -> Result<Self> {
        let job_file = std::path::absolute(&job.inputs.file).map_err(|error| {
            Error::new(Exit::Failed, format!("the working folder is not known: {error}"))
        })?;
        Ok(Self {
            form: FORM,
            started: local(std::time::SystemTime::now()),
            job_file,
            job: shape::job_hashes(job),
            source: plan.source.clone(),
            plan: plan.for_journal(folder.redactor()),
        })
    }
}

/// What to do about a run that only its journal could continue.
fn way_out(run: &RunRecord) -> String {
    let (job, target) = (run.job_file.display(), &run.plan.target.name);
    let begin = format!("transload run {job}");
    match run.plan.write.mode {
        WriteMode::Overwrite => format!("begin again, which replaces all rows: {begin}"),
        WriteMode::Upsert | WriteMode::Replace | WriteMode::Ignore => {
            format!("begin again, which finds the rows in {target} by their key: {begin}")
        }
        WriteMode::Insert => format!(
            "`insert` would add rows that are in {target} already: see which are, by `transload verify \
             {job}`, remove them, and begin again: {begin}"
        ),
    }
}

/// Writes a file and its name to the disk.
fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let mut file = private().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// This path, or the first one with a number behind it that does not exist.
fn unused(path: &Path) -> PathBuf {
    let numbered = |number: u32| PathBuf::from(format!("{}-{number}", path.display()));
    let paths = std::iter::once(path.to_owned()).chain((2..).map(numbered));
    paths.into_iter().find(|path| !path.exists()).unwrap_or_else(|| path.to_owned())
}
