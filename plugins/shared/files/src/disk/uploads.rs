//! The folder as an [`UploadStore`]: what is staged, synced and renamed, in which order.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Mode, OFlags, openat, statat, unlinkat},
};
use sha2::{Digest, Sha256};
use transload_plugin_api::{
    Backoff, Cancel, Error, ErrorKind, Finding, Result, failpoint, has_defect,
};

use super::{
    DEFECT, DiskUploads,
    beneath::Links,
    error_at,
    run_lock::{self, RunLock, lock_folder},
    trace::Operation,
    walk::{regular, walk},
};
use crate::write::{
    ABREAST, Condition, FOLDER, ListedObject, ObjectInfo, OpenUpload, OwnershipProof, Part,
    Pending, Reply, UploadId, UploadStore, hexadecimal, random_word,
};

/// A disk does not fail in passing, so a step is tried again once.
const PAUSE: Duration = Duration::from_millis(10);

/// Rights of a new file, before the user's mask.
const FILE_MODE: u32 = 0o666;

impl UploadStore for DiskUploads {
    fn proof(&self) -> OwnershipProof {
        // Files have no metadata; their versions show which run wrote them.
        OwnershipProof::Version
    }

    fn backoff(&self) -> Backoff {
        Backoff::bounded(1, PAUSE, PAUSE)
    }

    fn abreast(&self) -> usize {
        // Without waiting for the disk, a rename takes less than handing it to another thread.
        if self.deferred.is_begun() { 1 } else { ABREAST }
    }

    fn disk(&self) -> Option<&DiskUploads> {
        Some(self)
    }

    fn missing_folders(&self, folder: &str) -> Result<Vec<String>> {
        let (mut rest, mut missing) = (folder.trim_end_matches('/'), Vec::new());
        while !rest.is_empty() {
            let path = self.path(rest);
            if path.try_exists().map_err(|error| error_at(error, &path))? {
                break;
            }
            missing.insert(0, format!("{rest}/"));
            rest = rest.rfind('/').map_or("", |at| &rest[..at]);
        }
        match missing.first() {
            // More likely a mistake than a wish.
            Some(highest) if rest.is_empty() => {
                let place = format!("/{}", highest.trim_end_matches('/'));
                Err(Error::not_found("the folder does not exist, and none is made directly in `/`")
                    .hint(format!("correct `path`, or make the folder first: mkdir {place}"))
                    .at(place))
            }
            _ => Ok(missing),
        }
    }

    fn remove_folder(&self, folder: &str) {
        // Fails while it holds something, which then is not this run's.
        let _ = fs::remove_dir(self.path(folder));
    }

    fn check(&self) -> Vec<Finding> {
        let (ok, detail) = match self.reach() {
            Ok(detail) => (true, detail),
            Err(error) => (false, error.to_string()),
        };
        vec![Finding { stage: "folder".to_owned(), ok, detail }]
    }

    fn name(&self, key: &str) -> String {
        self.path(key).display().to_string()
    }

    fn smallest_part(&self) -> u64 {
        1
    }

    fn writes_through(&self) -> bool {
        true
    }

    fn notes_uploads(&self) -> bool {
        false
    }

    fn check_removal(&self, key: &str) -> Result<()> {
        match self.place(key, Links::Never) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error_at(error, &self.path(key)))
            }
            _ => Ok(()),
        }
    }

    fn lock(&self, cancel: &Cancel) -> Result<Option<Box<dyn Send>>> {
        // What is published goes to where the folders are now.
        self.folders.kept.forget_folders();
        let root = self.folders.root();
        let folder = self.folders.make("", Links::Inside, true);
        let locked = lock_folder(folder.map_err(|error| error_at(error, root))?, root, cancel)?;
        Ok(locked.map(|lock| Box::new(lock) as Box<dyn Send>))
    }

    fn hold(&self, folder: &str) -> Result<Option<String>> {
        let mut held = self.held.lock();
        if !held.contains_key(folder) {
            let path = self.path(folder);
            let name = self.below(folder.trim_end_matches('/'));
            let lock = run_lock::hold_new(&path, || {
                self.folders.kept.forget_folders();
                self.folders.make(name, Links::Never, true)
            });
            match lock.map_err(|error| error_at(error, &path))? {
                Some(lock) => held.insert(folder.to_owned(), lock),
                None => return Ok(None),
            };
            self.folders.kept.begin();
        }
        Ok(run_lock::boot())
    }

    fn defer_sync(&self, uploads: usize) {
        let held = self.held.lock();
        self.deferred.begin(uploads, held.values().next().map(RunLock::folder));
    }

    fn sync(&self) -> Result<()> {
        let held = self.held.lock();
        let synced = self.deferred.sync(held.values().next().map(RunLock::folder));
        self.trace.note(|| Operation::SyncAll);
        synced.map_err(|error| error_at(error, self.folders.root()))
    }

    /// On the same disk as the output, which has room for the rows.
    fn scratch(&self, folder: &str) -> Result<File> {
        let key = format!("{folder}{}.rows", random_word()?);
        let made = self.in_new_folder(&key, true, |folder, name| {
            let file = new_file(folder, name)?;
            unlinkat(folder, name, AtFlags::empty())?;
            Ok(file)
        });
        made.map_err(|error| error_at(error, &self.path(&key)))
    }

    fn scratch_place(&self) -> String {
        self.name(&format!("{}{FOLDER}", self.root))
    }

    fn release(&self, folder: &str) {
        if self.held.lock().remove(folder).is_some() {
            self.folders.kept.end();
            if self.held.lock().is_empty() {
                self.deferred.end();
            }
        }
    }

    fn is_abandoned(&self, folder: &str, holder: &str) -> bool {
        let is_ours = run_lock::boot().is_some_and(|boot| boot == holder);
        let opened = self.open(folder, OFlags::RDONLY | OFlags::DIRECTORY);
        is_ours && opened.is_ok_and(|folder| run_lock::is_free(&folder.into()))
    }

    fn begin(&self, _key: &str, token: &str) -> Result<String> {
        let mut words = token.split('/');
        let mut next = || words.next().unwrap_or_default();
        let (run, task, epoch, word) = (next(), next(), next(), next());
        let staged = format!("{}{FOLDER}{run}/t{task}.e{epoch}.{word}.part", self.root);
        let made = self.in_new_folder(&staged, true, new_file);
        let made = made.map_err(|error| error_at(error, &self.path(&staged)))?;
        self.trace.note(|| Operation::Make(staged.clone()));
        self.folders.kept.keep_file(&staged, &Arc::new(made));
        Ok(staged)
    }

    fn send(&self, upload: UploadId<'_>, part: Part) -> Pending {
        let written = self.staged(upload.id, OFlags::WRONLY).and_then(|file| {
            let mut offset = part.offset;
            for piece in &part.pieces {
                file.write_all_at(piece, offset)?;
                self.trace.note(|| Operation::Write(upload.id.to_owned(), offset, piece.clone()));
                offset += piece.len() as u64;
            }
            Ok(())
        });
        let name = format!("{}", part.index);
        let failed = |error| error_at(error, &self.path(upload.id));
        Pending::answered(written.map(|()| name).map_err(failed))
    }

    fn settle(&self, upload: UploadId<'_>, durable: bool) -> Result<Option<String>> {
        let settled = self.staged(upload.id, OFlags::RDONLY).and_then(|file| {
            self.folders.kept.forget_file(upload.id);
            // The folder is synced with the task's list, which is put there behind all uploads.
            if durable && !self.deferred.defers() && !has_defect(DEFECT) {
                file.sync_all()?;
                self.trace.note(|| Operation::Sync(upload.id.to_owned()));
            }
            file.metadata()
        });
        let failed = |error| error_at(error, &self.path(upload.id));
        settled.map(|found| Some(version(&found))).map_err(failed)
    }

    fn complete(&self, upload: UploadId<'_>, _parts: &[String], new: bool) -> Reply {
        let staged = || self.place(upload.id, Links::Never);
        let synced = !self.deferred.defers();
        let publish = |(folder, name): (Arc<OwnedFd>, &OsStr)| {
            self.publish((&folder, name), upload.id, upload.key, (new, synced))
        };
        let published = staged().and_then(publish);
        let Err(error) = published else { return Reply::Done };
        let is_staged = |(folder, name): (Arc<OwnedFd>, &OsStr)| {
            Ok(statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map(drop)?)
        };
        if error.kind() == io::ErrorKind::NotFound
            && let Err(error) = staged().and_then(is_staged)
        {
            return Reply::Gone(error_at(error, &self.path(upload.id)));
        }
        let error = error_at(error, &self.path(upload.key));
        match error.kind {
            ErrorKind::Exists => Reply::Conflict(error),
            _ => Reply::Refused(error),
        }
    }

    fn discard(&self, upload: UploadId<'_>) -> Result<()> {
        self.remove(vec![upload.id.to_owned()])
    }

    /// Staged files lie in the run's own folder and go with it.
    fn uploads(&self, _prefix: &str) -> Result<Option<Vec<OpenUpload>>> {
        Ok(None)
    }

    fn look(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key);
        match self.open(key, OFlags::PATH).and_then(|file| file.metadata()) {
            Ok(metadata) => regular(&metadata, &path).map(|()| Some(found(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error_at(error, &path)),
        }
    }

    fn content_hash(&self, key: &str) -> Result<Option<String>> {
        let (mut file, mut hash) = (self.read(key)?, Sha256::new());
        let mut block = vec![0; 1 << 20];
        loop {
            match file.read(&mut block).map_err(|error| error_at(error, &self.path(key)))? {
                0 => return Ok(Some(hexadecimal(&hash.finalize()))),
                read => hash.update(&block[..read]),
            }
        }
    }

    fn get(&self, key: &str) -> Result<Option<(Bytes, ObjectInfo)>> {
        let path = self.path(key);
        let failed = |error| error_at(error, &path);
        let mut file = match self.open(key, OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let metadata = file.metadata().map_err(failed)?;
        regular(&metadata, &path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed)?;
        Ok(Some((Bytes::from(content), found(&metadata))))
    }

    fn put(&self, key: &str, content: Bytes, condition: Condition<'_>, token: &str) -> Result<()> {
        let path = self.path(key);
        // A folder cannot compare and swap: what remains is a look before the rename. Where it
        // matters, the caller holds the lock of `UploadStore::lock`.
        if let Condition::Unchanged(before) = condition
            && self.look(key)?.as_ref() != Some(before)
        {
            return Err(error_at(io::ErrorKind::AlreadyExists.into(), &path));
        }
        let staged_key = self.staged_key(key, token)?;
        let written = self.in_new_folder(&staged_key, true, |folder, staged| {
            let mut file = new_file(folder, staged)?;
            self.trace.note(|| Operation::Make(staged_key.clone()));
            file.write_all(&content)?;
            self.trace.note(|| Operation::Write(staged_key.clone(), 0, content.clone()));
            if !has_defect(DEFECT) {
                file.sync_all()?;
                self.trace.note(|| Operation::Sync(staged_key.clone()));
            }
            let new = matches!(condition, Condition::New);
            let published = self.publish((folder, staged), &staged_key, key, (new, true));
            published.inspect_err(|_| {
                // What cannot be removed is hidden and small.
                let _ = unlinkat(folder, staged, AtFlags::empty());
            })
        });
        written.map_err(|error| error_at(error, &path))?;
        // The run's folder may have been removed before, and made again for this.
        self.prune(&staged_key);
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<ListedObject>> {
        let mut listed = Vec::new();
        let folder = self.open(prefix, OFlags::RDONLY | OFlags::DIRECTORY);
        match folder.and_then(|folder| walk(&OwnedFd::from(folder), prefix, &mut listed)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error_at(error, &self.path(prefix)));
            }
            _ => listed.sort_by(|a, b| a.key.cmp(&b.key)),
        }
        Ok(listed)
    }

    fn remove(&self, keys: Vec<String>) -> Result<()> {
        let mut folders = BTreeSet::new();
        for key in &keys {
            self.remove_one(key).map_err(|error| error_at(error, &self.path(key)))?;
            self.trace.note(|| Operation::Remove(key.clone()));
            failpoint("K13");
            self.prune(key);
            folders.insert(key.rfind('/').map_or("", |at| &key[..=at]));
        }
        for folder in folders {
            let opened = self.open(folder, OFlags::RDONLY | OFlags::DIRECTORY);
            self.trace.note(|| Operation::SyncFolder(folder.to_owned()));
            match opened.and_then(|opened| opened.sync_all()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error_at(error, &self.path(folder)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl DiskUploads {
    /// The hidden name under which a content is written before it gets its own: in the folder of the
    /// run that its token names, so that what a killed run has left goes with it.
    fn staged_key(&self, key: &str, token: &str) -> Result<String> {
        let runs = format!("{}{FOLDER}", self.root);
        let (folder, name) = key.split_at(key.rfind('/').map_or(0, |at| at + 1));
        let word = random_word()?;
        Ok(match token.split('/').next() {
            Some(run) if !key.starts_with(&runs) => format!("{runs}{run}/.{name}.{word}"),
            _ => format!("{folder}.{name}.{word}"),
        })
    }
}

/// Makes a file that is not there yet.
fn new_file(folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, name, flags, Mode::from_raw_mode(FILE_MODE))?))
}

fn found(metadata: &Metadata) -> ObjectInfo {
    let version = version(metadata);
    ObjectInfo { size: metadata.len(), version, generation: None, token: None }
}

/// What a rename keeps and a new content changes; the same words as the reading side's ETag.
fn version(metadata: &Metadata) -> String {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let micros = modified.unwrap_or_default().as_micros();
    format!("\"{:x}-{micros:x}-{:x}\"", metadata.ino(), metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A killed run leaves nothing outside of its own folder, which the run after it removes.
    #[test]
    fn contents_are_staged_in_the_folder_of_their_run() {
        let disk = DiskUploads::new("out/");
        for (key, token, expected) in [
            (
                "out/_transload_manifest.json",
                "r-1",
                "out/_transload/r-1/._transload_manifest.json.",
            ),
            ("out/day=1/x.csv", "r-1/0/0/word", "out/_transload/r-1/.x.csv."),
            ("out/_transload/r-1/before.json", "before.json", "out/_transload/r-1/.before.json."),
        ] {
            let staged = disk.staged_key(key, token).unwrap();
            assert!(staged.starts_with(expected), "{staged}");
        }
    }
}
