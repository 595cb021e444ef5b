//! The commit of a run: uploads become objects, some at a time, and the manifest names them in the
//! tasks' order.
//! Every step can be repeated after a crash, by another process too. What the store replies decides
//! nothing alone: the object under the key does, by our token, its size or its version.

use std::collections::HashSet;

use bytes::Bytes;
use transload_formats::Encoding;
use transload_plugin_api::{
    Backoff, Cancel, ChunkOutcome, Column, Error, ErrorKind, Receipt, Result, WriteMode, WritePlan,
    code, failpoint,
};

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
    upload_store::{Condition, ObjectInfo, OwnershipProof, Reply, UploadStore},
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
            return Err(taken_for_dead(self.store, root));
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

    /// Makes an upload an object. `old` is what an overwrite replaces; `again` says that an earlier
    /// commit may have come so far.
    fn settle(
        &self,
        entry: &UploadEntry,
        new: bool,
        old: Option<&ObjectInfo>,
        again: bool,
    ) -> Result<Step<ObjectInfo>> {
        if again
            && let Some(found) = self.store.look(&entry.key)?
            && (self.is_ours(&found, entry) || self.is_content(&found, entry)?)
        {
            return Ok(Ok(found));
        }
        let (mut new, mut tried, mut backoff) = (new, 0, self.store.backoff());
        loop {
            failpoint("K11");
            let reply = self.store.complete(entry.id(), &entry.parts, new);
            failpoint("K11");
            if let (Reply::Done, Some(_)) = (&reply, &entry.version) {
                // What a disk says is so, and the staged file's version is the published one's.
                return Ok(Ok(told(entry)));
            }
            let now = self.store.look(&entry.key);
            let there = match &now {
                Ok(Some(found)) if self.is_ours(found, entry) || is_told(&reply, found, entry) => {
                    return Ok(Ok(found.clone()));
                }
                Ok(Some(found)) => !same_object(Some(found), old),
                _ => false,
            };
            match &reply {
                // The store reported success, and nothing contradicts it.
                Reply::Done if now.is_err() => return Ok(Ok(told(entry))),
                // The look just now stands in for the condition.
                Reply::Unconditional if now.is_ok() && !there => {
                    new = false;
                    continue;
                }
                Reply::Conflict(_) | Reply::Unconditional if there => {
                    let found = now.as_ref().ok().and_then(Option::as_ref);
                    return Err(self.changed(&entry.key, found.and_then(ObjectInfo::run)));
                }
                Reply::Refused(error) if now.is_ok() => return Err(error.clone()),
                _ => {}
            }
            if let (Reply::Gone(error), Ok(None), false) = (&reply, &now, again || tried > 0)
                && self.store.proof() == OwnershipProof::Version
            {
                // It cannot have been published: no reply of this store is lost.
                return Err(error.clone());
            }
            let hopeless = matches!(reply, Reply::Gone(_)) && tried >= 2;
            if hopeless || !self.waits(&mut backoff) {
                return Ok(Err(self.evidence(entry, &reply, now)));
            }
            tried += 1;
        }
    }

    /// Waits before a step is tried again; `false` if there have been enough tries, or the job is
    /// being stopped. What was tried until then may have been done.
    fn waits(&self, backoff: &mut Backoff) -> bool {
        backoff.wait(self.cancel).unwrap_or(false)
    }

    fn evidence(
        &self,
        entry: &UploadEntry,
        reply: &Reply,
        now: Result<Option<ObjectInfo>>,
    ) -> String {
        let name = self.store.name(&entry.key);
        let said = match reply {
            Reply::Done => "the store said that it was done".to_owned(),
            Reply::Unconditional => "the store cannot complete on a condition".to_owned(),
            Reply::Gone(error) => format!("the store does not know the upload any more ({error})"),
            Reply::Refused(error) | Reply::Conflict(error) | Reply::Lost(error) => {
                format!("the store said: {error}")
            }
        };
        let found = match now {
            Ok(None) => "no object has the key".to_owned(),
            Ok(Some(found)) => format!(
                "an object of {} bytes has the key, and which run wrote it is unknown",
                found.size
            ),
            Err(error) => format!("the key cannot be looked at ({error})"),
        };
        format!("upload of {} bytes to {name}: {said}; {found}", entry.size)
    }

    /// Whether an object is the one that an upload has become.
    fn is_ours(&self, found: &ObjectInfo, entry: &UploadEntry) -> bool {
        let proven = match (&found.token, &entry.version) {
            (Some(token), _) => *token == entry.token,
            (None, Some(version)) => *version == found.version,
            // The key contains the run: only this run makes it.
            (None, None) => !self.before.tokens && self.template.has_run(),
        };
        proven && found.size == entry.size
    }

    /// Whether a file of a disk has the content of an upload, though its version has changed.
    fn is_content(&self, found: &ObjectInfo, entry: &UploadEntry) -> Result<bool> {
        Ok(found.token.is_none() && entry.is_content(self.store, &entry.key, found)?)
    }

    /// Whether the one object is of this run.
    fn is_of_run(&self, found: &ObjectInfo, entry: &UploadEntry) -> bool {
        is_token_of(found, &self.plan.run) || self.is_ours(found, entry)
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

/// The store said that it was done, and an object that lost its token on the way fits.
fn is_told(reply: &Reply, found: &ObjectInfo, entry: &UploadEntry) -> bool {
    matches!(reply, Reply::Done) && found.token.is_none() && found.size == entry.size
}

/// An object as we know it without having seen it.
fn told(entry: &UploadEntry) -> ObjectInfo {
    let version = entry.version.clone().unwrap_or_default();
    ObjectInfo { size: entry.size, version, generation: None, token: Some(entry.token.clone()) }
}

fn same(now: Option<&(Manifest, ObjectInfo)>, before: Option<&(Manifest, ObjectInfo)>) -> bool {
    now.map(|(manifest, _)| manifest) == before.map(|(manifest, _)| manifest)
}

fn same_object(now: Option<&ObjectInfo>, before: Option<&ObjectInfo>) -> bool {
    let identity = |found: &ObjectInfo| (found.size, found.version.clone());
    now.map(identity) == before.map(identity)
}

pub(crate) fn taken_for_dead(store: &dyn UploadStore, root: &str) -> Error {
    Error::other("another run treated this one as abandoned and removed its staged files")
        .with_code(code::FILE_ABANDONED)
        .at(store.name(root))
        .hint("nothing was published; set `abandoned_after` to more than a run may be inactive")
}

/// The run that wrote a folder's manifest.
fn run_of(manifest: Option<&(Manifest, ObjectInfo)>) -> Option<&str> {
    manifest.map(|(manifest, _)| manifest.run.as_str()).filter(|run| !run.is_empty())
}
