//! The writing side's verbs: tasks send uploads that are not visible, the job's commit completes
//! them.
//!
//! | mode | target is one object | target is a prefix |
//! |---|---|---|
//! | `insert`, `if_exists = "error"` | must not exist | must have no data set and no visible object |
//! | `insert`, `if_exists = "append"` | refused | new objects beside the old |
//! | `overwrite` | replaced | new objects, then the manifest's old ones (or all) are removed |

mod draft;

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use transload_formats::{Encoding, Format, WriteOptions};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Error, ErrorKind, Finding, Host, Options, Receipt, Result,
    TableInfo, TargetInfo, TaskContext, WriteDraft, WriteMode, WritePlan, WriteTask, Writer,
};

use super::{
    abort::abort_run,
    destination::Destination,
    finished_task::FinishedWriteTask,
    manifest::Manifest,
    name_template::NameTemplate,
    object::Frame,
    options::{Empty, IfExists, Overwrite, WriterOptions},
    partition::Partitioner,
    prior_state::PriorState,
    publish::{Publication, is_token_of, stage_is_gone},
    rolling::Rolling,
    run_folder::RunFolder,
    sweep::{published_by_others, report, sweep},
    task::{FilesWriteTask, TaskSettings},
    task_memory::{FLIGHTS, TaskMemory},
    upload::UploadSettings,
    upload_store::{OwnershipProof, PartLimit, UploadStore},
};

/// Opens the store at the first call that needs it: options can be checked without.
pub type OpenUploads = Box<dyn Fn() -> Result<Arc<dyn UploadStore>> + Send + Sync>;

/// Writes files to a folder, or to one key, of any store.
pub struct FilesWriter {
    open: OpenUploads,
    cancel: Cancel,
    store: OnceLock<Arc<dyn UploadStore>>,
    destination: Destination,
    options: WriterOptions,
    template: Arc<NameTemplate>,
    /// Not there where neither an option nor a name says which format it is, which a connection's
    /// test need not know.
    encoding: Result<Arc<Encoding>>,
    /// Runs that this process has committed: their staging may be gone already.
    committed: Mutex<HashSet<String>>,
    /// Whether the store gives our tokens back, once it has been asked.
    tokens: OnceLock<bool>,
    /// The run that is resumed, and the names that earlier processes have left in its folder.
    left: Mutex<Option<(String, Arc<[String]>)>>,
}

impl FilesWriter {
    /// A writer for a job's options. Does not open the store yet.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for what is wrong with the options.
    pub fn new(
        open: OpenUploads,
        destination: Destination,
        options: &Options,
        host: &Host,
    ) -> Result<Self> {
        let formats = WriteOptions::parse(options)?;
        let options = WriterOptions::parse(options)?;
        let (template, named) = match &destination {
            Destination::File { root, key } => {
                let name = &key[root.len()..];
                (NameTemplate::fixed(name), name.to_owned())
            }
            Destination::Folder { .. } => {
                (NameTemplate::parse(&options.name, &options.partition_by)?, options.name.clone())
            }
        };
        let encoding = Encoding::new(&formats, &named).map(Arc::new);
        let writer = Self {
            open,
            cancel: host.cancel().clone(),
            store: OnceLock::new(),
            destination,
            options,
            template: Arc::new(template),
            encoding,
            committed: Mutex::default(),
            tokens: OnceLock::new(),
            left: Mutex::new(None),
        };
        writer.check_options()?;
        Ok(writer)
    }

    fn encoding(&self) -> Result<Arc<Encoding>> {
        self.encoding.clone()
    }

    /// The same with row groups of at most this memory.
    fn encoding_within(&self, memory: &TaskMemory) -> Result<Arc<Encoding>> {
        let encoding = self.encoding()?;
        Ok(Arc::new(encoding.as_ref().clone().with_row_group_bytes(memory.row_group)))
    }

    /// Refuses options and names that do not say which format is written.
    ///
    /// # Errors
    /// [`ErrorKind::Options`].
    pub fn check_format(&self) -> Result<()> {
        self.encoding().map(drop)
    }

    fn check_options(&self) -> Result<()> {
        let rolls = self.rolling().rolls();
        if self.options.overwrite == Overwrite::Partitions && self.options.partition_by.is_empty() {
            let message = "`overwrite = \"partitions\"` without `partition_by`";
            return Err(Error::options(message)
                .hint("name the columns that divide the data: `partition_by = [\"day\"]`"));
        }
        if matches!(self.destination, Destination::Folder { .. }) {
            return self.template.check_unique(1, rolls, self.shares());
        }
        if !rolls && self.options.partition_by.is_empty() {
            return Ok(());
        }
        let message = "`path` is the key of one object, which cannot be divided";
        Err(Error::options(message)
            .hint("end `path` by `/` for `partition_by` and the largest sizes of objects"))
    }

    /// Objects of other runs may lie beside this one's.
    fn shares(&self) -> bool {
        self.options.if_exists == IfExists::Append
    }

    fn rolling(&self) -> Rolling {
        Rolling {
            rows: self.options.max_rows_per_object,
            bytes: self.options.max_bytes_per_object,
            open: self.options.max_open_partitions,
        }
    }

    /// The store, opened at the first call.
    fn store(&self) -> Result<Arc<dyn UploadStore>> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let store = (self.open)()?;
        Ok(Arc::clone(self.store.get_or_init(|| store)))
    }

    fn run_folder(&self, plan: &WritePlan) -> Result<RunFolder> {
        RunFolder::new(self.destination.root(), &plan.run)
    }

    /// The current state of the destination, if the plan may write there.
    fn look(&self, store: &dyn UploadStore, plan: &WritePlan) -> Result<PriorState> {
        let kept = self.kept(plan)?;
        self.encoding()?.check_columns(&kept)?;
        let several = plan.tasks > 1;
        match &self.destination {
            Destination::Folder { .. } => {
                let shares = self.shares() || plan.mode == WriteMode::Overwrite;
                self.template.check_unique(plan.tasks, self.rolling().rolls(), shares)?;
            }
            Destination::File { key, .. } if several && store.disk().is_none() => {
                let message = format!("{} tasks cannot write to one object", plan.tasks);
                return Err(Error::options(message).at(store.name(key)).hint(
                    "end `path` by `/` to get an object for each task, or set \
                     `[channel] parallelism = 1`",
                ));
            }
            Destination::File { .. } => {}
        }
        let options = &self.options;
        let mut before =
            self.destination.before(store, plan.mode, options.if_exists, options.overwrite)?;
        if let (Destination::Folder { root }, WriteMode::Overwrite) = (&self.destination, plan.mode)
        {
            before.doomed.extend(published_by_others(store, root, &plan.run)?);
            before.doomed.sort();
            before.doomed.dedup();
        }
        if let (Destination::File { key, .. }, Some(_), true, Some(disk)) =
            (&self.destination, &before.object, plan.mode == WriteMode::Insert, store.disk())
        {
            let encoding = self.encoding()?;
            encoding.check_append()?;
            if before.append {
                disk.check_append(key, &encoding, &plan.columns)?;
            }
        }
        Ok(before)
    }

    /// What surrounds a task's rows in its own object.
    fn frame(&self, store: &dyn UploadStore, before: &PriorState, task: u32) -> Result<Frame> {
        let joined = matches!(self.destination, Destination::File { .. }) && store.disk().is_some();
        // Parquet files are joined by their footers, so each is whole.
        Ok(match joined && self.encoding()?.format() != Format::Parquet {
            true => Frame { start: task == 0 && !before.append, end: false },
            false => Frame::WHOLE,
        })
    }

    /// The columns that go into the objects.
    fn kept(&self, plan: &WritePlan) -> Result<Vec<Column>> {
        let keep = self.options.keep_partition_columns;
        Ok(Partitioner::new(&self.template, &plan.columns, keep)?.kept())
    }

    fn replaces_partitions(&self) -> bool {
        self.options.overwrite == Overwrite::Partitions
    }

    /// A task that an earlier attempt has finished; what an unfinished one has left is removed.
    fn resume(
        &self,
        store: &dyn UploadStore,
        run_folder: &RunFolder,
        (plan, task): (&WritePlan, &TaskContext),
    ) -> Result<Option<FinishedWriteTask>> {
        if task.epoch > 0 {
            return run_folder.resume(store, task.task, &run_folder.names(store)?);
        }
        if !plan.is_resumed {
            return Ok(None);
        }
        // Listed once: what the tasks of this process begin is not among it.
        let names = {
            let mut left = self.left.lock();
            match &*left {
                Some((run, names)) if *run == plan.run => Arc::clone(names),
                _ => {
                    let names: Arc<[String]> = run_folder.names(store)?.into();
                    *left = Some((plan.run.clone(), Arc::clone(&names)));
                    names
                }
            }
        };
        run_folder.resume(store, task.task, &names)
    }

    fn is_committed(&self, run: &str) -> bool {
        self.committed.lock().contains(run)
    }

    /// Whether a run whose staging is gone has come through.
    fn was_committed(&self, store: &dyn UploadStore, run: &str) -> Result<bool> {
        match &self.destination {
            Destination::Folder { root } => {
                Ok(Manifest::read(store, root)?.is_some_and(|(manifest, _)| manifest.has(run)))
            }
            Destination::File { key, .. } => match store.disk() {
                Some(disk) => Ok(disk.run_of(key).is_some_and(|it| it == run)),
                None => Ok(store.look(key)?.is_some_and(|found| is_token_of(&found, run))),
            },
        }
    }

    /// Whether the store gives our tokens back. One that is in doubt is asked, once, by an object
    /// below the run's hidden folder that is removed again.
    fn gives_tokens(&self, store: &dyn UploadStore, run_folder: &RunFolder) -> Result<bool> {
        if let Some(known) = self.tokens.get() {
            return Ok(*known);
        }
        let gives = match store.proof() {
            OwnershipProof::Token => true,
            OwnershipProof::Version => false,
            OwnershipProof::Unknown => run_folder.probe(store)?,
        };
        Ok(*self.tokens.get_or_init(|| gives))
    }

    /// What killed runs have left; a store that may not be listed says so in other findings.
    fn left_by_others(&self, store: &dyn UploadStore) -> Option<Finding> {
        let root = self.destination.root();
        let detail = report(store, root, self.options.abandoned_after()).ok()??;
        Some(Finding { stage: "leftovers".to_owned(), ok: true, detail })
    }
}

impl Writer for FilesWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        Ok(match self.store() {
            Ok(store) => store.check().into_iter().chain(self.left_by_others(&*store)).collect(),
            Err(error) => {
                let (stage, detail) = ("folder".to_owned(), error.to_string());
                vec![Finding { stage, ok: false, detail }]
            }
        })
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let store = self.store()?;
        let table = |key: &String| TableInfo::new(store.name(key), "file");
        Ok(self.destination.visible(&*store)?.iter().map(table).collect())
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let store = self.store()?;
        Ok(TargetInfo {
            name: store.name(self.destination.key()),
            exists: !self.destination.visible(&*store)?.is_empty(),
            ..TargetInfo::default()
        })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        let store = self.store()?;
        let before = self.look(&*store, plan)?;
        let (guarantee, because) = self.promise(&*store, plan)?;
        let mut statements = match self.replaces_partitions() && plan.mode == WriteMode::Overwrite {
            true => self.replaced_partitions(&*store, &before),
            false => self.destination.statements(&*store, &before),
        };
        statements.extend(self.parts(plan));
        statements.extend(self.bound(&*store, plan)?);
        Ok(WriteDraft {
            columns: self.native_types(plan)?,
            statements,
            guarantee,
            because,
            warnings: self.warnings(&*store, plan, &before)?,
            task_memory: self.task_memory(&*store, plan)?,
            ..WriteDraft::default()
        })
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let (store, run_folder) = (self.store()?, self.run_folder(plan)?);
        if run_folder.before(&*store)?.is_some() {
            if run_folder.is_swept(&*store)? {
                return Err(stage_is_gone(&*store, self.destination.root()));
            }
            return run_folder.hold(&*store).map(drop);
        }
        if plan.is_resumed {
            return match self.was_committed(&*store, &plan.run)? {
                true => Ok(()),
                false => Err(stage_is_gone(&*store, self.destination.root())),
            };
        }
        sweep(&*store, self.destination.root(), &plan.run, self.options.abandoned_after())?;
        let mut before = self.look(&*store, plan)?;
        before.tokens = self.gives_tokens(&*store, &run_folder)?;
        before.job.clone_from(&plan.job);
        run_folder.create(&*store, &before)
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let (store, run_folder) = (self.store()?, self.run_folder(plan)?);
        let before = run_folder.before(&*store)?.ok_or_else(|| not_prepared(plan))?;
        if let Some(finished) = self.resume(&*store, &run_folder, (plan, task))? {
            return Ok(Box::new(finished));
        }
        let memory = TaskMemory::new(plan, self.options.part_size);
        let order = TaskSettings {
            root: self.destination.root().to_owned(),
            run: plan.run.clone(),
            template: Arc::clone(&self.template),
            encoding: self.encoding_within(&memory)?,
            rolling: self.rolling(),
            many_partitions: self.options.many_partitions,
            frame: self.frame(&*store, &before, task.task)?,
            memory,
        };
        let is_folder = matches!(self.destination, Destination::Folder { .. });
        let settings = UploadSettings {
            durable: is_folder || store.disk().is_none(),
            store,
            run_folder,
            limit: PartLimit::new(FLIGHTS),
            cancel: self.cancel.clone(),
            hash: is_folder,
            part_size: self.options.part_size,
            origin: format!("{}/{}/{}", plan.run, task.task, task.epoch),
            task: task.task,
            epoch: task.epoch,
        };
        let keep = self.options.keep_partition_columns;
        Ok(Box::new(FilesWriteTask::new(order, settings, &plan.columns, keep)?))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let (store, run_folder) = (self.store()?, self.run_folder(plan)?);
        let Some(before) = run_folder.before(&*store)? else {
            if self.is_committed(&plan.run) || self.was_committed(&*store, &plan.run)? {
                return Ok(ChunkOutcome::AlreadyCommitted);
            }
            return Err(not_prepared(plan));
        };
        run_folder.hold(&*store)?;
        let kept = self.kept(plan)?;
        let publication = Publication {
            store: &*store,
            plan,
            run_folder: &run_folder,
            destination: &self.destination,
            before: &before,
            template: &self.template,
            encoding: &*self.encoding()?,
            kept: &kept,
            // One object is wanted, rows or not.
            empty: match self.destination {
                Destination::File { .. } => Empty::Object,
                Destination::Folder { .. } => self.options.empty,
            },
            success_marker: self.options.success_marker,
            levels: self.replaces_partitions().then_some(self.options.partition_by.len()),
            cancel: &self.cancel,
        };
        // The one file of a disk says so itself; the parts may be removed already.
        if store.disk().is_some()
            && matches!(self.destination, Destination::File { .. })
            && self.was_committed(&*store, &plan.run)?
        {
            return Ok(ChunkOutcome::AlreadyCommitted);
        }
        let entries = match publication.entries(receipts) {
            // Killed while it cleaned up.
            Err(_) if self.was_committed(&*store, &plan.run)? => {
                return Ok(ChunkOutcome::AlreadyCommitted);
            }
            entries => entries.map_err(with_hint)?,
        };
        let outcome = publication.publish(&entries).map_err(with_hint)?;
        if matches!(outcome, ChunkOutcome::Unknown { .. }) {
            return Ok(outcome);
        }
        let mut committed = self.committed.lock();
        let new = committed.insert(plan.run.clone());
        Ok(if new { outcome } else { ChunkOutcome::AlreadyCommitted })
    }

    fn abort(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        let (store, run_folder) = (self.store()?, self.run_folder(plan)?);
        let before = run_folder.before(&*store)?;
        abort_run(&*store, &self.destination, (&run_folder, &plan.run), self.template.has_run())?;
        for folder in before.iter().flat_map(|before| before.new_folders.iter().rev()) {
            store.remove_folder(folder);
        }
        Ok(())
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.run_folder(plan)?.remove(&*self.store()?)
    }
}

/// What a failed commit leaves, and what another run does; nothing is published then.
fn with_hint(error: Error) -> Error {
    if error.hint.is_some() || error.kind == ErrorKind::Cancelled {
        return error;
    }
    error.hint(
        "no file of this run is published, and those that were in place are removed; run the job \
         again once the cause is gone",
    )
}

fn not_prepared(plan: &WritePlan) -> Error {
    let message = format!("run `{}` is not prepared, or is over", plan.run);
    Error::defect(message)
}
