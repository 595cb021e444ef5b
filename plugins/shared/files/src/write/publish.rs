//! The commit of a run: uploads become objects, some at a time, and the manifest names them in the
//! tasks' order.
//! Every step can be repeated after a crash, by another process too. What the store replies decides
//! nothing alone: the object under the key does, by our token, its size or its version.

mod settle;

use std::collections::HashSet;

use bytes::Bytes;
use transload_formats::Encoding;
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Error, ErrorKind, Receipt, Result, WriteMode, WritePlan, code,
    failpoint,
};

use self::settle::{same_object, told};
use super::{
    abort::{discard_all, discard_unrecorded},
    concurrent::{joined, run_concurrently, try_concurrently},
    destination::{Destination, SUCCESS},
    entry::UploadEntry,
    manifest::{Manifest, ManifestFile},
    name_template::{NameTemplate, Naming},
    options::Empty,
    partition::partition_of,
    prior_state::PriorState,
    run_folder::RunFolder,
    upload_store::{Condition, ObjectInfo, Reply, UploadStore},
};
use crate::disk::Joining;

/// What a commit works with.
pub(crate) struct Publication<'a> {
    pub(crate) store: &'a dyn UploadStore,
    pub(crate) plan: &'a WritePlan,
    pub(crate) run_folder: &'a RunFolder,
    pub(crate) destination: &'a Destination,
    pub(crate) before: &'a PriorState,
    pub(crate) template: &'a NameTemplate,
    pub(crate) encoding: &'a Encoding,
    /// The columns in the objects.
    pub(crate) kept: &'a [Column],
    pub(crate) empty: Empty,
    pub(crate) success_marker: bool,
    /// The levels of folders that make a partition, if only partitions with rows are replaced.
    pub(crate) levels: Option<usize>,
    pub(crate) cancel: &'a Cancel,
}

/// The outcome of a step: done, or the evidence if it is unknown.
type Step<T> = std::result::Result<T, String>;

impl Publication<'_> {
    /// The uploads that the receipts name, in the order of tasks.
    ///
    /// # Errors
    /// If the notes of one are missing: a committed run that is cleaned up has none.
    pub(crate) fn entries(&self, receipts: &[Receipt]) -> Result<Vec<UploadEntry>> {
        let mut receipts: Vec<_> = receipts.iter().collect();
        receipts.sort_by_key(|receipt| receipt.task);
        let lists =
            try_concurrently(&receipts, |receipt| self.run_folder.done(self.store, receipt))?;
        Ok(lists.concat())
    }

    /// Publishes these uploads.
    pub(crate) fn publish(&self, entries: &[UploadEntry]) -> Result<ChunkOutcome> {
        tracing::info!("publishing in {}: {} files", self.destination.root(), entries.len());
        let step = match self.destination {
            Destination::Folder { root } => self.publish_folder(root, entries)?,
            Destination::File { key, .. } => self.publish_file(key, entries)?,
        };
        match step {
            Ok(outcome) => {
                if let Err(error) = self.discard_strays(entries) {
                    tracing::warn!(%error, "uploads of attempts that were given up stay");
                }
                if self.template.has_run() {
                    discard_unrecorded(self.store, self.destination.root(), entries);
                }
                Ok(outcome)
            }
            Err(mut evidence) => {
                // The outcome is no more known for that.
                if let Err(error) = self.run_folder.note_unknown(self.store, &evidence) {
                    evidence = format!("{evidence}; nor could that be noted ({error})");
                }
                Ok(ChunkOutcome::Unknown { evidence })
            }
        }
    }

    /// Attempts that were given up without a word have left uploads. What is unknown no longer is.
    fn discard_strays(&self, entries: &[UploadEntry]) -> Result<()> {
        discard_all(self.store, &self.run_folder.strays(self.store, entries)?)?;
        if self.run_folder.is_unknown(self.store)? {
            self.run_folder.forget_unknown(self.store)
        } else {
            Ok(())
        }
    }

    /// The commit point is the manifest; old objects of an overwrite go after it.
    fn publish_folder(&self, root: &str, entries: &[UploadEntry]) -> Result<Step<ChunkOutcome>> {
        let _lock = self.store.lock(self.cancel)?;
        let current = Manifest::read(self.store, root)?;
        let outcome = match &current {
            Some((manifest, _)) if manifest.has(&self.plan.run) => ChunkOutcome::AlreadyCommitted,
            _ if !same(current.as_ref(), self.before.manifest.as_ref()) => {
                return Err(self.changed(root, run_of(current.as_ref())));
            }
            _ => match self.put_in(root, entries)? {
                Ok(()) => ChunkOutcome::Committed,
                Err(evidence) => return Ok(Err(evidence)),
            },
        };
        match self.tidy(root, entries) {
            Ok(()) => Ok(Ok(outcome)),
            // The rows are committed. A repeated commit, or the next run, completes the rest.
            Err(error) => Ok(Err(format!(
                "the rows are in and the manifest names them, but what was to follow was not done \
                 ({error}); old objects may still be there"
            ))),
        }
    }

    /// Completes every upload and names the objects in the manifest.
    fn put_in(&self, root: &str, entries: &[UploadEntry]) -> Result<Step<()>> {
        let again = self.run_folder.note_publishing(self.store)?;
        let replaced = self.replaced(root, entries);
        let old = self.before.manifest.iter().flat_map(|(manifest, _)| &manifest.files);
        let mut files: Vec<_> = old.filter(|file| !replaced(&file.name)).cloned().collect();
        match self.settle_all(entries, again)? {
            Ok(found) => files.extend(
                entries
                    .iter()
                    .zip(&found)
                    .map(|(entry, found)| ManifestFile::new(root, &self.plan.run, entry, found)),
            ),
            Err(evidence) => return Ok(Err(evidence)),
        }
        // A partition that no row has named has no folder to lie in.
        if entries.is_empty() && self.empty == Empty::Object && self.template.columns().is_empty() {
            match self.put_empty(&format!("{root}{}", self.first_name()), None)? {
                Ok((entry, found)) => {
                    files.push(ManifestFile::new(root, &self.plan.run, &entry, &found));
                }
                Err(evidence) => return Ok(Err(evidence)),
            }
        }
        if !self.run_folder.is_alive(self.store)? {
            return Err(stage_is_gone(self.store, root));
        }
        self.put_manifest(root, &Manifest::new(&self.plan.run, files))
    }

    /// Whether what is there under a name goes, because the run overwrites it.
    fn replaced<'e>(
        &self,
        root: &str,
        entries: &'e [UploadEntry],
    ) -> impl Fn(&str) -> bool + use<'e> {
        let overwrites = self.plan.mode == WriteMode::Overwrite;
        let (levels, skip) = (self.levels, root.len());
        let with_rows: HashSet<_> = levels
            .map(|levels| entries.iter().map(move |entry| partition_of(&entry.key[skip..], levels)))
            .into_iter()
            .flatten()
            .collect();
        move |name| {
            overwrites && levels.is_none_or(|levels| with_rows.contains(partition_of(name, levels)))
        }
    }

    /// Makes all uploads objects, some at a time; what they are is in the uploads' order.
    ///
    /// What is unknown of one of them outweighs that another was refused: nothing may be deleted.
    fn settle_all(&self, entries: &[UploadEntry], again: bool) -> Result<Step<Vec<ObjectInfo>>> {
        let new = !self.template.has_run();
        self.store.defer_sync(entries.len());
        // Folder by folder, though several tasks have written to each.
        let mut order: Vec<_> = entries.iter().enumerate().collect();
        order.sort_by_key(|(_, entry)| &entry.key);
        let settled = run_concurrently(
            &order,
            self.store.abreast(),
            |step| matches!(step, Ok(Ok(_))),
            |(_, entry)| self.settle(entry, new, None, again),
        );
        let (mut found, mut unknown, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for ((at, _), step) in order.iter().zip(settled) {
            let Some(step) = step else { continue };
            match step {
                Ok(Ok(object)) => found.push((at, object)),
                Ok(Err(evidence)) => unknown.push(evidence),
                Err(error) => errors.push(error),
            }
        }
        match (unknown.is_empty(), joined(errors)) {
            (true, None) => {
                self.store.sync()?;
                found.sort_by_key(|(at, _)| *at);
                Ok(Ok(found.into_iter().map(|(_, object)| object).collect()))
            }
            (true, Some(error)) => Err(error),
            (false, error) => {
                unknown.extend(error.map(|error| error.to_string()));
                Ok(Err(unknown.join("; ")))
            }
        }
    }

    fn first_name(&self) -> String {
        self.template.render(Naming {
            run: &self.plan.run,
            task: 0,
            number: 0,
            extension: self.encoding.extension(),
            values: &[],
        })
    }

    /// The commit point is the completion of the one upload.
    fn publish_file(&self, key: &str, entries: &[UploadEntry]) -> Result<Step<ChunkOutcome>> {
        let old = self.before.object.as_ref();
        let upload = self.one_upload(key, entries)?;
        let _lock = self.store.lock(self.cancel)?;
        let Some(entry) = upload else {
            self.run_folder.note_publishing(self.store)?;
            let step = self.put_empty(key, old)?;
            return Ok(step.map(|_| ChunkOutcome::Committed));
        };
        let now = self.store.look(key)?;
        if now.as_ref().is_some_and(|found| self.is_of_run(found, &entry)) {
            return Ok(Ok(ChunkOutcome::AlreadyCommitted));
        }
        if now.is_some() && !old.is_some_and(|old| same_object(now.as_ref(), Some(old))) {
            return Err(self.changed(key, now.as_ref().and_then(ObjectInfo::run)));
        }
        let again = self.run_folder.note_publishing(self.store)?;
        let step = self.settle(&entry, old.is_none(), old, again)?;
        Ok(step.map(|_| ChunkOutcome::Committed))
    }

    /// The upload that becomes the one file; none if there are no rows and nothing was uploaded.
    /// A disk joins those of all tasks, once: the joined one is noted before it is published.
    fn one_upload(&self, key: &str, entries: &[UploadEntry]) -> Result<Option<UploadEntry>> {
        let Some(disk) = self.store.disk() else {
            if entries.len() > 1 {
                let message = format!("{} tasks have written to one object", entries.len());
                return Err(Error::defect(message).at(self.store.name(key)));
            }
            return Ok(entries.first().cloned());
        };
        if let Some(joined) = self.run_folder.joined(self.store)? {
            return Ok(Some(joined));
        }
        let joining = Joining {
            disk,
            run: &self.plan.run,
            run_folder: self.run_folder,
            key,
            append: self.before.append,
            encoding: self.encoding,
            columns: self.kept,
        };
        let joined = joining.join(entries)?;
        self.run_folder.note_joined(self.store, &joined)?;
        Ok(Some(joined))
    }

    /// An object with a header and no rows. Its content says whether it is there already.
    fn put_empty(
        &self,
        key: &str,
        old: Option<&ObjectInfo>,
    ) -> Result<Step<(UploadEntry, ObjectInfo)>> {
        let mut text = Vec::new();
        let mut encoder = self.encoding.encoder(self.kept)?;
        encoder.start(&mut text)?;
        encoder.commit(&mut text)?;
        encoder.end(&mut text)?;
        let content = Bytes::from(self.encoding.pack(&text)?);
        let entry = UploadEntry::of_content(key, &self.plan.run, &content)?;
        self.run_folder.note_begun(self.store, 0, 0, &entry)?;
        let condition = old.map_or(Condition::New, Condition::Unchanged);
        let mut backoff = self.store.backoff();
        loop {
            let put = self.store.put(key, content.clone(), condition, &entry.token);
            let now = self.store.get(key);
            let reply = match (put, &now) {
                (_, Ok(Some((there, found)))) if *there == content => {
                    return Ok(Ok((entry, found.clone())));
                }
                (Ok(()), Err(_)) => return Ok(Ok((entry.clone(), told(&entry)))),
                (Err(error), Ok(now)) if error.kind == ErrorKind::Exists => {
                    let run = now.as_ref().and_then(|(_, found)| found.run());
                    return Err(self.changed(key, run));
                }
                (Err(error), Ok(_)) if is_definite(&error) => return Err(error),
                (put, _) => put.map_or_else(Reply::Lost, |()| Reply::Done),
            };
            if !self.waits(&mut backoff) {
                let now = now.map(|now| now.map(|(_, found)| found));
                return Ok(Err(self.evidence(&entry, &reply, now)));
            }
        }
    }

    fn put_manifest(&self, root: &str, manifest: &Manifest) -> Result<Step<()>> {
        let before = self.before.manifest.as_ref();
        let mut backoff = self.store.backoff();
        loop {
            failpoint("K11");
            let put = manifest.write(self.store, root, before.map(|(_, found)| found));
            failpoint("K11");
            let Err(error) = put else { return Ok(Ok(())) };
            match Manifest::read(self.store, root) {
                Ok(Some((now, _))) if now.has(&self.plan.run) => return Ok(Ok(())),
                Ok(now) if error.kind == ErrorKind::Exists || !same(now.as_ref(), before) => {
                    return Err(self.changed(root, run_of(now.as_ref())));
                }
                Ok(_) if is_definite(&error) => return Err(error),
                _ => {}
            }
            if !self.waits(&mut backoff) {
                return Ok(Err(format!("the manifest below {}: {error}", self.store.name(root))));
            }
        }
    }

    /// Another run has won; this one publishes nothing.
    fn changed(&self, key: &str, run: Option<&str>) -> Error {
        let message = match run {
            Some(run) => format!("run `{run}` has written there during this run"),
            None => "another process has written there during this run".to_owned(),
        };
        let hint = match self.plan.mode {
            WriteMode::Overwrite => "no file of this run stays; run the job again to replace it",
            _ => {
                "no file of this run stays; run the job again, with `if_exists = \"append\"` to add \
                 to what is there now"
            }
        };
        Error::exists(message).with_code(code::FILE_CHANGED).at(self.store.name(key)).hint(hint)
    }

    /// What follows the commit point: it can be repeated, and nothing depends on it.
    fn tidy(&self, root: &str, entries: &[UploadEntry]) -> Result<()> {
        if self.success_marker {
            let key = format!("{root}{SUCCESS}");
            self.store.put(&key, Bytes::new(), Condition::Any, &self.plan.run)?;
        }
        let mut doomed = self.before.doomed.clone();
        let new: HashSet<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let replaced = self.replaced(root, entries);
        let named: HashSet<_> = self
            .before
            .manifest
            .iter()
            .flat_map(|(manifest, _)| &manifest.files)
            .map(|file| file.name.as_str())
            .collect();
        // What no manifest names was left by a run that never came to its end.
        let goes = |key: &str| {
            let name = key.strip_prefix(root).unwrap_or(key);
            !new.contains(key) && (replaced(name) || !named.contains(name))
        };
        doomed.retain(|key| goes(key));
        failpoint("K13");
        if doomed.is_empty() { Ok(()) } else { self.store.remove(doomed) }
    }
}

/// Whether an object's token names a run.
pub(crate) fn is_token_of(found: &ObjectInfo, run: &str) -> bool {
    found.run() == Some(run)
}

/// Nothing was done, and trying again does not help.
fn is_definite(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Denied | ErrorKind::Space | ErrorKind::Unsupported | ErrorKind::Options
    )
}

fn same(now: Option<&(Manifest, ObjectInfo)>, before: Option<&(Manifest, ObjectInfo)>) -> bool {
    now.map(|(manifest, _)| manifest) == before.map(|(manifest, _)| manifest)
}

pub(crate) fn stage_is_gone(store: &dyn UploadStore, root: &str) -> Error {
    Error::other("the staged files of this run are no longer there")
        .with_code(code::FILE_ABANDONED)
        .at(store.name(root))
        .hint(
            "run the job again, nothing was published: the run itself removed them when it failed, \
             or another run did, to which it seemed abandoned (`abandoned_after`)",
        )
}

/// The run that wrote a folder's manifest.
fn run_of(manifest: Option<&(Manifest, ObjectInfo)>) -> Option<&str> {
    manifest.map(|(manifest, _)| manifest.run.as_str()).filter(|run| !run.is_empty())
}
