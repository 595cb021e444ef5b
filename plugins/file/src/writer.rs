//! The writing side: tasks fill staged parts, the job's commit publishes them.
//!
//! | mode | target is a file | target is a folder |
//! |---|---|---|
//! | `insert`, `if_exists = "error"` | must not exist | must have no data set and no visible file |
//! | `insert`, `if_exists = "append"` | old rows stay, as a staged copy | new files beside the old |
//! | `overwrite` | replaced | new files, then the manifest's old ones are removed |

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use transload_formats::{Encoding, Format, WriteOptions};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Error, ErrorKind, Finding, Guarantee, Host, Options, Receipt, Result,
    Statement, TableInfo, TargetInfo, TaskContext, WriteDraft, WriteMode, WritePlan, WriteTask,
    Writer,
};

use crate::{
    durable::{self, Identity},
    header,
    listing::at,
    manifest::Manifest,
    options::{IfExists, WriterOptions},
    part::{Frame, PartTask},
    publish::{Publication, parts_of, withdraw_parts},
    stage::{self, Before, Stage},
    target::Target,
};

/// Writes files.
pub(crate) struct FileWriter {
    target: Target,
    if_exists: IfExists,
    encoding: Arc<Encoding>,
    cancel: Cancel,
    /// Runs that this process has committed: their staging folders may be gone already.
    committed: Mutex<HashSet<String>>,
}

impl FileWriter {
    /// A writer for a job's options.
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let formats = WriteOptions::parse(options)?;
        let options = WriterOptions::parse(options)?;
        let target = Target::resolve(&options)?;
        let encoding = Arc::new(Encoding::new(&formats, &target.path().to_string_lossy())?);
        Ok(Self {
            target,
            if_exists: options.if_exists,
            encoding,
            cancel: host.cancel().clone(),
            committed: Mutex::default(),
        })
    }

    fn stage(&self, plan: &WritePlan) -> Result<Stage> {
        Stage::new(self.target.stage_parent(), &plan.run)
    }

    /// The target as it stands, if the plan may write there.
    fn look(&self, plan: &WritePlan) -> Result<Before> {
        let replace = match plan.mode {
            WriteMode::Insert => false,
            WriteMode::Overwrite => true,
            mode => return Err(no_such_mode(mode)),
        };
        match &self.target {
            Target::File(path) => self.look_at_file(path, plan, replace),
            Target::Folder(path) => self.look_at_folder(path, replace),
        }
    }

    fn look_at_file(&self, path: &Path, plan: &WritePlan, replace: bool) -> Result<Before> {
        let folder = durable::folder_of(path);
        if !folder.is_dir() {
            return Err(Error::new(ErrorKind::NotFound, "the file's folder does not exist")
                .at(folder.display().to_string())
                .hint("make the folder first"));
        }
        let file = Identity::of(path)?;
        let before = Before { file, ..Before::default() };
        let Some(found) = file.filter(|_| !replace) else { return Ok(before) };
        if self.if_exists == IfExists::Error {
            return Err(durable::taken(path));
        }
        self.encoding.check_append()?;
        let append = found.size > 0;
        if append {
            header::check(path, &self.encoding, &plan.columns)?;
        }
        Ok(Before { append, ..before })
    }

    fn look_at_folder(&self, path: &Path, replace: bool) -> Result<Before> {
        if !path.exists() {
            return Ok(Before { made_folder: true, ..Before::default() });
        }
        let manifest = Manifest::read(path)?;
        if !replace && self.if_exists == IfExists::Error {
            let data = manifest.as_ref().is_some_and(|manifest| !manifest.files.is_empty());
            if data || !visible_files(path)?.is_empty() {
                return Err(Error::new(ErrorKind::Exists, "the folder has files already")
                    .with_code("FILE-EXISTS")
                    .at(path.display().to_string())
                    .hint("use `if_exists = \"append\"`, or `write_mode = \"overwrite\"`"));
            }
        }
        Ok(Before { manifest, append: !replace, ..Before::default() })
    }

    fn statements(&self, plan: &WritePlan, before: &Before) -> Vec<Statement> {
        let step = |text: String, destructive| Statement { text, destructive };
        let path = self.target.path().display();
        let overwrite = plan.mode == WriteMode::Overwrite;
        match (&before.file, &before.manifest) {
            (Some(file), _) if overwrite => {
                vec![step(format!("replace the file {path} ({} bytes)", file.size), true)]
            }
            (Some(file), _) => {
                vec![step(format!("add to a copy of {path} ({} bytes)", file.size), false)]
            }
            (None, Some(manifest)) if overwrite => manifest
                .files
                .iter()
                .map(|file| step(format!("remove {path}/{}, {} rows", file.name, file.rows), true))
                .collect(),
            _ if before.made_folder => vec![step(format!("make the folder {path}"), false)],
            _ => Vec::new(),
        }
    }

    fn warnings(&self, plan: &WritePlan, before: &Before) -> Result<Vec<String>> {
        let parent = self.target.stage_parent();
        let mut warnings: Vec<_> = stage::others(parent, &plan.run)
            .iter()
            .map(|name| {
                format!(
                    "{} is a run in progress, or left by a killed one",
                    parent.join(name).display()
                )
            })
            .collect();
        if let Target::Folder(path) = &self.target
            && plan.mode == WriteMode::Overwrite
            && path.exists()
        {
            let ours = before.manifest.iter().flat_map(|manifest| &manifest.files);
            let ours: HashSet<_> = ours.map(|file| file.name.as_str()).collect();
            let foreign = visible_files(path)?;
            let foreign: Vec<_> =
                foreign.iter().filter(|name| !ours.contains(name.as_str())).collect();
            if let Some(first) = foreign.first() {
                warnings.push(format!(
                    "{} file(s) that this program did not write stay in the folder, such as {first}",
                    foreign.len()
                ));
            }
        }
        Ok(warnings)
    }

    /// What surrounds a task's rows in its own file.
    fn frame(&self, before: &Before, task: u32) -> Frame {
        match self.target {
            // Parquet files are joined by their footers, so each part is whole.
            Target::File(_) if self.encoding.format() == Format::Parquet => {
                Frame { start: true, end: true, hash: false }
            }
            Target::File(_) => {
                Frame { start: task == 0 && !before.append, end: false, hash: false }
            }
            Target::Folder(_) => Frame { start: true, end: true, hash: true },
        }
    }

    fn is_committed(&self, plan: &WritePlan) -> bool {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).contains(&plan.run)
    }

    fn note_committed(&self, plan: &WritePlan) {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed.insert(plan.run.clone());
    }

    fn publish(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let stage = self.stage(plan)?;
        let Some(before) = stage.before()? else {
            return match &self.target {
                _ if self.is_committed(plan) => Ok(ChunkOutcome::AlreadyCommitted),
                Target::Folder(path) if is_ours(path, plan)? => Ok(ChunkOutcome::AlreadyCommitted),
                _ => Err(not_prepared(plan)),
            };
        };
        let parts = parts_of(receipts)?;
        let publication = Publication {
            plan,
            stage: &stage,
            before: &before,
            encoding: &self.encoding,
            parts: &parts,
        };
        match &self.target {
            Target::File(path) => publication.publish_file(path),
            Target::Folder(path) => publication.publish_folder(path),
        }
    }
}

impl Writer for FileWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let parent = match &self.target {
            Target::File(path) => durable::folder_of(path),
            Target::Folder(path) if path.exists() => path,
            Target::Folder(path) => durable::folder_of(path),
        };
        let finding = |ok, detail: String| Finding { stage: "folder".to_owned(), ok, detail };
        let shown = parent.display();
        Ok(vec![match fs::metadata(parent) {
            Err(error) => finding(false, format!("{shown}: {error}")),
            Ok(found) if !found.is_dir() => finding(false, format!("{shown} is not a folder")),
            Ok(found) if found.permissions().readonly() => {
                finding(false, format!("{shown} cannot be written to"))
            }
            Ok(_) => finding(true, format!("{shown} is there")),
        }])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let table = |name: String| TableInfo { name, kind: "file".to_owned(), rows: None };
        match &self.target {
            Target::File(path) if path.exists() => Ok(vec![table(path.display().to_string())]),
            Target::Folder(path) if path.exists() => {
                let names = visible_files(path)?.into_iter();
                Ok(names.map(|name| table(path.join(name).display().to_string())).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let path = self.target.path();
        Ok(TargetInfo {
            name: path.display().to_string(),
            exists: path.exists(),
            ..TargetInfo::default()
        })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        let before = self.look(plan)?;
        self.encoding.check_columns(&plan.columns)?;
        let (guarantee, because) = match self.target {
            Target::File(_) => (Guarantee::AtomicJob, ""),
            Target::Folder(_) => (
                Guarantee::AtomicUnit,
                "files appear one by one; only readers of the manifest see all or nothing",
            ),
        };
        Ok(WriteDraft {
            columns: plan.columns.clone(),
            statements: self.statements(plan, &before),
            guarantee,
            because: because.to_owned(),
            warnings: self.warnings(plan, &before)?,
        })
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let stage = self.stage(plan)?;
        if stage.before()?.is_some() {
            return Ok(());
        }
        let before = self.look(plan)?;
        self.encoding.check_columns(&plan.columns)?;
        if before.made_folder {
            let path = self.target.path();
            fs::create_dir(path).map_err(|error| at(error, path))?;
        }
        stage.create(&before)
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let stage = self.stage(plan)?;
        let before = stage.before()?.ok_or_else(|| not_prepared(plan))?;
        let frame = self.frame(&before, task.task);
        let (encoding, columns) = (&self.encoding, &plan.columns);
        let part = PartTask::create(encoding, columns, &stage, task, frame, &self.cancel)?;
        Ok(Box::new(part))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let outcome = self.publish(plan, receipts)?;
        if matches!(outcome, ChunkOutcome::Committed | ChunkOutcome::AlreadyCommitted) {
            self.note_committed(plan);
        }
        Ok(outcome)
    }

    fn abort(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<()> {
        let stage = self.stage(plan)?;
        let before = stage.before()?;
        if let Target::Folder(path) = &self.target
            && path.exists()
            && !is_ours(path, plan)?
        {
            let tasks = receipts.iter().map(|receipt| receipt.task);
            withdraw_parts(path, plan, &self.encoding, tasks)?;
        }
        stage.remove()?;
        if let Some(Before { made_folder: true, .. }) = before {
            // Fails while it holds something, which then is somebody's.
            let _ = fs::remove_dir(self.target.path());
        }
        Ok(())
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.stage(plan)?.remove()
    }
}

/// Whether the folder's manifest is this run's: then its files are published.
fn is_ours(folder: &Path, plan: &WritePlan) -> Result<bool> {
    Ok(Manifest::read(folder)?.is_some_and(|manifest| manifest.run == plan.run))
}

fn visible_files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| at(error, folder))? {
        let entry = entry.map_err(|error| at(error, folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(['.', '_']) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn no_such_mode(mode: WriteMode) -> Error {
    let message = format!("files have no keys, so `{}` cannot be done", mode.word());
    Error::new(ErrorKind::Unsupported, message)
        .hint("use `insert` (with `if_exists = \"append\"` to add rows) or `overwrite`")
}

fn not_prepared(plan: &WritePlan) -> Error {
    let message = format!("run `{}` is not prepared, or is over", plan.run);
    Error::new(ErrorKind::Defect, message)
}
