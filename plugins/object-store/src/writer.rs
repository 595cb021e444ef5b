//! The writing side's verbs: tasks send uploads that nobody sees, the job's commit completes them.
//!
//! | mode | target is one object | target is a prefix |
//! |---|---|---|
//! | `insert`, `if_exists = "error"` | must not exist | must have no data set and no visible object |
//! | `insert`, `if_exists = "append"` | refused | new objects beside the old |
//! | `overwrite` | replaced | new objects, then the manifest's old ones (or all) are removed |

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use transload_formats::{Encoding, WriteOptions};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, ConflictEffect, Count, Error, ErrorKind, Finding, Guarantee,
    Host, KeyNeed, Limits, Options, Receipt, Result, TableInfo, TargetInfo, TaskContext,
    TypeSupport, WriteDraft, WriteMode, WriteModeSpec, WritePlan, WriteTask, Writer,
    WriterDescriptor,
};

use crate::{
    access::Access,
    address::Scheme,
    check,
    write::{
        Before, BucketPlace, FolderPlace, Gate, Manifest, ObjectTask, Order, Partitioner, Patience,
        Place, Publication, Rolling, Sending, Stage, Target, Template, is_token_of, leftovers,
        options::{Empty, IfExists, WriterOptions, writer_specs},
        published_by_others, sweep, withdraw,
    },
};

/// Parts that one task has under way.
const FLIGHTS: usize = 2;
/// A chunk is held back until it is whole; a larger one costs memory.
const CHUNK_BYTES: u64 = 16 << 20;

/// What the plugin declares of its writer.
pub(crate) fn descriptor(types: Vec<TypeSupport>) -> WriterDescriptor {
    let mode = |mode, doc| {
        let (needs, conflict) = (KeyNeed::Nothing, ConflictEffect::None);
        WriteModeSpec::new(mode, needs, conflict, Guarantee::AtomicJob, doc)
    };
    let insert = "new objects, or with `if_exists = \"append\"` more objects beside the old";
    let overwrite = "the old objects are replaced: new ones first, then the old ones go";
    WriterDescriptor {
        options: writer_specs(),
        types,
        modes: vec![mode(WriteMode::Insert, insert), mode(WriteMode::Overwrite, overwrite)],
        limits: Limits { chunk_bytes: Some(CHUNK_BYTES), transactional: true, ..Limits::default() },
        ..WriterDescriptor::default()
    }
}

/// Writes objects.
pub(crate) struct ObjectWriter {
    access: Access,
    cancel: Cancel,
    place: OnceLock<Arc<dyn Place>>,
    target: Target,
    options: WriterOptions,
    template: Arc<Template>,
    /// Not there where neither an option nor a name says which format it is, which a connection's
    /// test need not know.
    encoding: Result<Arc<Encoding>>,
    /// Runs that this process has committed: their staging may be gone already.
    committed: Mutex<HashSet<String>>,
    /// Whether the store gives our tokens back, once it has been asked.
    tokens: OnceLock<bool>,
}

impl ObjectWriter {
    /// A writer for a job's options. Asks the store for nothing yet.
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let access = Access::new(options, host)?;
        let formats = WriteOptions::parse(options)?;
        let options = WriterOptions::parse(options)?;
        let target = Target::new(&access.address, &options.path)?;
        let (template, named) = match &target {
            Target::Object { root, key } => {
                let name = &key[root.len()..];
                (Template::fixed(name), name.to_owned())
            }
            Target::Prefix { .. } => {
                (Template::parse(&options.name, &options.partition_by)?, options.name.clone())
            }
        };
        let encoding = Encoding::new(&formats, &named).map(Arc::new);
        let writer = Self {
            access,
            cancel: host.cancel().clone(),
            place: OnceLock::new(),
            target,
            options,
            template: Arc::new(template),
            encoding,
            committed: Mutex::default(),
            tokens: OnceLock::new(),
        };
        writer.check_options()?;
        Ok(writer)
    }

    fn encoding(&self) -> Result<Arc<Encoding>> {
        self.encoding.clone()
    }

    fn check_options(&self) -> Result<()> {
        let rolls = self.rolling().rolls();
        if matches!(self.target, Target::Prefix { .. }) {
            return self.template.check_unique(1, rolls, self.shares());
        }
        if !rolls && self.options.partition_by.is_empty() {
            return Ok(());
        }
        let message = "`path` is the key of one object, which cannot be divided";
        Err(Error::new(ErrorKind::Options, message)
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
    fn place(&self) -> Result<Arc<dyn Place>> {
        if let Some(place) = self.place.get() {
            return Ok(Arc::clone(place));
        }
        let place: Arc<dyn Place> = match self.access.address.scheme {
            Scheme::File => Arc::new(FolderPlace::new(self.target.root())),
            _ => Arc::new(BucketPlace::new(&self.access.bucket()?)?),
        };
        Ok(Arc::clone(self.place.get_or_init(|| place)))
    }

    fn stage(&self, plan: &WritePlan) -> Result<Stage> {
        Stage::new(self.target.root(), &plan.run)
    }

    /// The target as it stands, if the plan may write there.
    fn look(&self, place: &dyn Place, plan: &WritePlan) -> Result<Before> {
        let kept = self.kept(plan)?;
        self.encoding()?.check_columns(&kept)?;
        let several = plan.tasks > 1;
        match &self.target {
            Target::Prefix { .. } => {
                let shares = self.shares() || plan.mode == WriteMode::Overwrite;
                self.template.check_unique(plan.tasks, self.rolling().rolls(), shares)?;
            }
            Target::Object { key, .. } if several => {
                let message = format!("{} tasks cannot write to one object", plan.tasks);
                return Err(Error::new(ErrorKind::Options, message).at(place.name(key)).hint(
                    "end `path` by `/` to get an object for each task, or set \
                     `[channel] parallelism = 1`",
                ));
            }
            Target::Object { .. } => {}
        }
        let options = &self.options;
        let mut before =
            self.target.before(place, plan.mode, options.if_exists, options.overwrite)?;
        if let (Target::Prefix { root }, WriteMode::Overwrite) = (&self.target, plan.mode) {
            before.doomed.extend(published_by_others(place, root, &plan.run)?);
            before.doomed.sort();
            before.doomed.dedup();
        }
        Ok(before)
    }

    /// The columns that go into the objects.
    fn kept(&self, plan: &WritePlan) -> Result<Vec<Column>> {
        let keep = self.options.keep_partition_columns;
        Ok(Partitioner::new(&self.template, &plan.columns, keep)?.kept())
    }

    fn warnings(
        &self,
        place: &dyn Place,
        plan: &WritePlan,
        before: &Before,
    ) -> Result<Vec<String>> {
        let root = self.target.root();
        let mut warnings: Vec<_> = leftovers(place, root, &plan.run)?
            .into_iter()
            .map(|left| left.words(place, root, self.options.abandoned_after()))
            .collect();
        if let Target::Prefix { .. } = self.target {
            if !self.template.has_extension() && !self.options.name.contains('.') {
                warnings.push("`name` has no `{ext}`: names do not say the format".to_owned());
            }
            if plan.mode == WriteMode::Overwrite {
                warnings.extend(self.foreign(place, before)?);
            }
        } else {
            warnings.push(
                "one object is written by one task: a source that is read in several splits is \
                 refused, unless `[channel] parallelism = 1`"
                    .to_owned(),
            );
        }
        if self.access.address.scheme == Scheme::Azure {
            warnings.push(
                "Azure keeps the parts of a run that is given up for a week; they cannot be seen"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }

    /// What an overwrite leaves where it is.
    fn foreign(&self, place: &dyn Place, before: &Before) -> Result<Option<String>> {
        let doomed: HashSet<_> = before.doomed.iter().collect();
        let mut keys = self.target.visible(place)?;
        keys.retain(|key| !doomed.contains(key));
        Ok(keys.first().map(|first| {
            let count = keys.len();
            let first = place.name(first);
            format!("{count} object(s) that this program did not write stay, such as {first}")
        }))
    }

    fn is_committed(&self, run: &str) -> bool {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).contains(run)
    }

    /// Whether a run whose staging is gone has come through.
    fn was_committed(&self, place: &dyn Place, run: &str) -> Result<bool> {
        match &self.target {
            Target::Prefix { root } => {
                Ok(Manifest::read(place, root)?.is_some_and(|(manifest, _)| manifest.has(run)))
            }
            Target::Object { key, .. } => {
                Ok(place.look(key)?.is_some_and(|found| is_token_of(&found, run)))
            }
        }
    }

    /// Whether the store gives our tokens back. One that is in doubt is asked, once, by an object
    /// below the run's hidden folder that is removed again.
    fn gives_tokens(&self, place: &dyn Place, stage: &Stage) -> Result<bool> {
        if let Some(known) = self.tokens.get() {
            return Ok(*known);
        }
        let gives = match self.access.address.scheme {
            // Files have no metadata; their versions tell whose they are.
            Scheme::File => false,
            _ if keeps_metadata(self.access.bucket()?.endpoint.as_ref()) => true,
            _ => stage.probe(place)?,
        };
        Ok(*self.tokens.get_or_init(|| gives))
    }

    /// What can be promised, and why not more.
    fn promise(&self, place: &dyn Place, plan: &WritePlan) -> Result<(Guarantee, String)> {
        let (best, lower, because) = match self.target {
            Target::Object { .. } => (Guarantee::AtomicJob, Guarantee::AtomicUnit, ""),
            Target::Prefix { .. } => (
                Guarantee::AtomicUnit,
                Guarantee::EffectivelyOnce,
                "objects appear one by one; only readers of the manifest see all or nothing",
            ),
        };
        // A name with the run in it is proof enough of whose an object is.
        let is_proven = self.template.has_run() || self.access.address.scheme == Scheme::File;
        let asked = if is_proven { Ok(true) } else { self.gives_tokens(place, &self.stage(plan)?) };
        let doubt = match asked {
            Ok(true) => return Ok((best, because.to_owned())),
            Ok(false) => "the store does not give metadata back".to_owned(),
            // Who may not write may still want a plan.
            Err(error) if error.kind == ErrorKind::Denied => {
                format!("the store may not give metadata back, and cannot be asked ({error})")
            }
            Err(error) => return Err(error),
        };
        let also = if because.is_empty() { String::new() } else { format!("; {because}") };
        let because = format!(
            "{doubt}: after a lost reply nobody can say whether an object is this run's{also}"
        );
        Ok((lower, because))
    }

    fn patience(&self) -> Result<Patience> {
        Ok(match self.access.address.scheme {
            Scheme::File => Patience::SHORT,
            _ => Patience::of(&self.access.bucket()?.retry),
        })
    }
}

impl Writer for ObjectWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut findings, _) = check::reach(&self.access)?;
        if self.access.address.scheme == Scheme::File {
            let outcome = FolderPlace::new(self.target.root()).reach();
            findings.push(check::finding("folder", &outcome));
        }
        Ok(findings)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let place = self.place()?;
        let table = |key: &String| TableInfo {
            name: place.name(key),
            kind: "object".to_owned(),
            rows: None,
        };
        Ok(self.target.visible(&*place)?.iter().map(table).collect())
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let place = self.place()?;
        Ok(TargetInfo {
            name: place.name(self.target.key()),
            exists: !self.target.visible(&*place)?.is_empty(),
            ..TargetInfo::default()
        })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        let place = self.place()?;
        let before = self.look(&*place, plan)?;
        let (guarantee, because) = self.promise(&*place, plan)?;
        Ok(WriteDraft {
            columns: plan.columns.clone(),
            statements: self.target.statements(&*place, &before),
            guarantee,
            because,
            warnings: self.warnings(&*place, plan, &before)?,
        })
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let (place, stage) = (self.place()?, self.stage(plan)?);
        if stage.before(&*place)?.is_some() {
            return Ok(());
        }
        sweep(&*place, self.target.root(), &plan.run, self.options.abandoned_after())?;
        let mut before = self.look(&*place, plan)?;
        before.tokens = self.gives_tokens(&*place, &stage)?;
        stage.create(&*place, &before)
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let (place, stage) = (self.place()?, self.stage(plan)?);
        stage.before(&*place)?.ok_or_else(|| not_prepared(plan))?;
        let order = Order {
            root: self.target.root().to_owned(),
            run: plan.run.clone(),
            template: Arc::clone(&self.template),
            encoding: self.encoding()?,
            rolling: self.rolling(),
        };
        let sending = Sending {
            place,
            stage,
            gate: Gate::new(FLIGHTS),
            cancel: self.cancel.clone(),
            part_size: self.options.part_size,
            origin: format!("{}/{}/{}", plan.run, task.task, task.epoch),
            task: task.task,
            epoch: task.epoch,
        };
        let keep = self.options.keep_partition_columns;
        Ok(Box::new(ObjectTask::new(order, sending, &plan.columns, keep)?))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let (place, stage) = (self.place()?, self.stage(plan)?);
        let Some(before) = stage.before(&*place)? else {
            if self.is_committed(&plan.run) || self.was_committed(&*place, &plan.run)? {
                return Ok(ChunkOutcome::AlreadyCommitted);
            }
            return Err(not_prepared(plan));
        };
        let kept = self.kept(plan)?;
        let publication = Publication {
            place: &*place,
            plan,
            stage: &stage,
            target: &self.target,
            before: &before,
            template: &self.template,
            encoding: &*self.encoding()?,
            kept: &kept,
            // One object is wanted, rows or not.
            empty: match self.target {
                Target::Object { .. } => Empty::Object,
                Target::Prefix { .. } => self.options.empty,
            },
            success_marker: self.options.success_marker,
            patience: self.patience()?,
        };
        let outcome = publication.publish(receipts)?;
        if matches!(outcome, ChunkOutcome::Unknown { .. }) {
            return Ok(outcome);
        }
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let new = committed.insert(plan.run.clone());
        Ok(if new { outcome } else { ChunkOutcome::AlreadyCommitted })
    }

    fn abort(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        let (place, stage) = (self.place()?, self.stage(plan)?);
        withdraw(&*place, &self.target, (&stage, &plan.run), self.template.has_run())
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.stage(plan)?.remove(&*self.place()?)
    }

    fn counts(&self) -> Result<Vec<Count>> {
        Ok(self.access.counts())
    }
}

/// Whether metadata is known to come back. Whoever speaks S3 or is a gateway to something else may
/// drop it, and so does Google Cloud Storage for some logins.
fn keeps_metadata(endpoint: Option<&reqwest::Url>) -> bool {
    const KNOWN: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".blob.core.windows.net"];
    let host = endpoint.and_then(reqwest::Url::host_str).unwrap_or_default();
    KNOWN.iter().any(|known| host.ends_with(known))
}

fn not_prepared(plan: &WritePlan) -> Error {
    let message = format!("run `{}` is not prepared, or is over", plan.run);
    Error::new(ErrorKind::Defect, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_stores_are_known_to_keep_metadata() {
        for (url, known) in [
            ("https://b.s3.eu-west-1.amazonaws.com", true),
            ("https://s3.cn-north-1.amazonaws.com.cn/b", true),
            ("https://account.blob.core.windows.net/", true),
            ("https://storage.googleapis.com", false),
            ("http://127.0.0.1:9000", false),
            ("https://amazonaws.com.example.org", false),
            ("https://notamazonaws.com", false),
        ] {
            assert_eq!(keeps_metadata(Some(&url.parse().unwrap())), known, "{url}");
        }
        assert!(!keeps_metadata(None));
    }
}
