//! What a plan says of the writing: its steps, what it leaves, what it can promise.

use std::collections::{BTreeSet, HashSet};

use transload_plugin_api::{
    Column, ErrorKind, Guarantee, LogicalType, Result, Statement, WriteMode, WritePlan,
};

use super::FilesWriter;
use crate::write::{
    destination::{Destination, NAMED},
    partition::partition_of,
    partition_part::Part,
    prior_state::PriorState,
    rolling::most_open,
    sweep::leftovers,
    task_memory::TaskMemory,
    upload_store::{OwnershipProof, UploadStore},
};

impl FilesWriter {
    pub(super) fn warnings(
        &self,
        store: &dyn UploadStore,
        plan: &WritePlan,
        before: &PriorState,
    ) -> Result<Vec<String>> {
        let root = self.destination.root();
        let mut warnings: Vec<_> = leftovers(store, root, &plan.run)?
            .into_iter()
            .map(|left| left.words(store, root, self.options.abandoned_after()))
            .collect();
        if let Destination::Folder { .. } = self.destination {
            if !self.template.has_extension() && !self.options.name.contains('.') {
                warnings.push("`name` has no `{ext}`: names do not say the format".to_owned());
            }
            // Of an overwrite of some partitions it goes without saying.
            if plan.mode == WriteMode::Overwrite && !self.replaces_partitions() {
                warnings.extend(self.foreign(store, before)?);
            }
        } else if store.disk().is_none() {
            warnings.push(
                "one object is written by one task: a source that is read in several splits is \
                 refused, unless `[channel] parallelism = 1`"
                    .to_owned(),
            );
        }
        warnings.extend(store.notes());
        Ok(warnings)
    }

    /// The columns, with the types that the files have for them. Names of folders have none.
    pub(super) fn native_types(&self, plan: &WritePlan) -> Result<Vec<Column>> {
        let kept = self.encoding()?.native_types(&self.kept(plan)?)?;
        let own = |column: &Column| {
            let kept = kept.iter().find(|kept| kept.name == column.name);
            kept.unwrap_or(column).clone()
        };
        Ok(plan.columns.iter().map(own).collect())
    }

    /// Which partitions an overwrite of those with rows may replace.
    pub(super) fn replaced_partitions(
        &self,
        store: &dyn UploadStore,
        before: &PriorState,
    ) -> Vec<Statement> {
        let root = self.destination.root();
        let levels = self.options.partition_by.len();
        let names = before.doomed.iter().filter_map(|key| key.strip_prefix(root));
        let folders: BTreeSet<_> = names.map(|name| partition_of(name, levels)).collect();
        let (count, shown) = (folders.len(), folders.into_iter().take(NAMED));
        let mut statements = self
            .destination
            .statements(store, &PriorState { doomed: Vec::new(), ..before.clone() });
        let replaced = shown.map(|folder| Statement {
            text: format!(
                "replace {} if there are rows for it",
                store.name(&format!("{root}{folder}"))
            ),
            destructive: true,
        });
        statements.extend(replaced);
        if count > NAMED {
            let text = format!("so for {} more, {count} partitions in all", count - NAMED);
            statements.push(Statement { text, destructive: true });
        }
        statements
    }

    /// By which part of a column's values folders are named.
    pub(super) fn parts(&self, plan: &WritePlan) -> Option<Statement> {
        let words = self.template.columns().iter().filter(|column| column.part != Part::Whole);
        let words = words.map(|column| {
            let logical =
                plan.columns.iter().find(|it| it.name == column.name).map(|it| &it.logical);
            let zone = match logical {
                Some(LogicalType::TimestampTz { .. }) => ", in UTC",
                Some(LogicalType::Timestamp { .. }) => ", as wall clocks, without a zone",
                _ => "",
            };
            format!("`{}` from the values of `{}`{zone}", column.label(), column.name)
        });
        let words: Vec<_> = words.collect();
        let text = format!("name folders by {}", words.join(", and by "));
        (!words.is_empty()).then_some(Statement { text, destructive: false })
    }

    /// How many partitions are written at a time, and where the rows of others wait.
    pub(super) fn bound(
        &self,
        store: &dyn UploadStore,
        plan: &WritePlan,
    ) -> Result<Option<Statement>> {
        if self.template.columns().is_empty() {
            return Ok(None);
        }
        let most = most_open(&*self.encoding()?, self.kept(plan)?.len());
        let most = most.min(self.options.max_open_partitions);
        let place = store.scratch_place();
        let text = format!(
            "write {most} partitions at a time in each task; rows of further ones wait in a \
             temporary file in {place} until the task ends"
        );
        Ok(Some(Statement { text, destructive: false }))
    }

    /// The most that a task keeps across chunks.
    pub(super) fn task_memory(
        &self,
        store: &dyn UploadStore,
        plan: &WritePlan,
    ) -> Result<Option<u64>> {
        let is_divided = !self.template.columns().is_empty();
        let open = is_divided.then_some(self.options.max_open_partitions);
        let memory = TaskMemory::new(plan, self.options.part_size);
        Ok(memory.most(store, &*self.encoding()?, (self.kept(plan)?.len(), open)))
    }

    /// What an overwrite leaves where it is.
    fn foreign(&self, store: &dyn UploadStore, before: &PriorState) -> Result<Option<String>> {
        let doomed: HashSet<_> = before.doomed.iter().collect();
        let mut keys = self.destination.visible(store)?;
        keys.retain(|key| !doomed.contains(key));
        Ok(keys.first().map(|first| {
            let count = keys.len();
            let first = store.name(first);
            format!("{count} file(s) that this program did not write stay, such as {first}")
        }))
    }

    /// What can be promised, and why not more.
    pub(super) fn promise(
        &self,
        store: &dyn UploadStore,
        plan: &WritePlan,
    ) -> Result<(Guarantee, String)> {
        let (best, lower, because) = match self.destination {
            Destination::File { .. } => (Guarantee::AtomicJob, Guarantee::AtomicUnit, ""),
            Destination::Folder { .. } => (
                Guarantee::AtomicUnit,
                Guarantee::EffectivelyOnce,
                "files appear one by one; only readers of the manifest see all or nothing",
            ),
        };
        // A name with the run in it is proof enough of whose an object is.
        let is_proven = self.template.has_run() || store.proof() == OwnershipProof::Version;
        let asked =
            if is_proven { Ok(true) } else { self.gives_tokens(store, &self.run_folder(plan)?) };
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
            "{doubt}: after a lost reply it is not known whether an object is this run's{also}"
        );
        Ok((lower, because))
    }
}
