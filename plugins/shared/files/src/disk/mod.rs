//! A local folder as an [`UploadStore`]. An upload is a staged file below the run's hidden folder,
//! its completion a rename on the same file system; all of it is synced, so that it is still there
//! after a power cut.

mod append;
mod durable;
mod join;
mod local_file;

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use transload_formats::Encoding;
use transload_plugin_api::{Backoff, Column, Error, ErrorKind, Finding, Result};

use self::durable::{at, folder_of, make_folders, rename_new, sync_folder};
use crate::write::{
    Condition, FOLDER, ListedObject, ObjectInfo, OwnershipProof, Part, Pending, Reply, UploadId,
    UploadStore, random_word,
};

pub(crate) use self::join::Joining;

/// A disk does not fail in passing, so a step is tried again once.
const PAUSE: Duration = Duration::from_millis(10);

/// A local folder as the writing side sees it; keys are paths below `/`.
pub struct DiskUploads {
    base: PathBuf,
    /// The key of the folder that all of the job lies in, with a final `/`.
    root: String,
}

impl DiskUploads {
    /// The folder under `root`, a path below `/` with a final `/`.
    pub fn new(root: &str) -> Self {
        Self { base: PathBuf::from("/"), root: root.to_owned() }
    }

    /// Whether the folder, or the nearest one above that is there, can be written to.
    fn reach(&self) -> Result<String> {
        let mut folder = self.path(&self.root);
        while !folder.exists() && folder.pop() {}
        let wrong = |message: &str| Err(Error::denied(message).at(folder.display().to_string()));
        match fs::metadata(&folder) {
            Err(error) => Err(at(error, &folder)),
            Ok(found) if !found.is_dir() => wrong("not a folder"),
            Ok(found) if found.permissions().readonly() => wrong("cannot be written to"),
            Ok(_) => Ok(format!("{} can be written to", folder.display())),
        }
    }

    /// Refuses a file to which rows of these columns cannot be added.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] with what the file has and what the job has.
    pub(crate) fn check_append(
        &self,
        key: &str,
        encoding: &Encoding,
        columns: &[Column],
    ) -> Result<()> {
        append::check(&self.path(key), encoding, columns)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.base.join(key)
    }

    /// Puts a finished file in its place.
    fn publish(&self, from: &Path, key: &str, new: bool) -> io::Result<()> {
        let to = self.path(key);
        let folder = folder_of(&to);
        make_folders(folder)?;
        if new {
            rename_new(from, &to)?;
        } else {
            if let Ok(found) = fs::metadata(&to) {
                fs::set_permissions(from, found.permissions())?;
            }
            fs::rename(from, &to)?;
        }
        sync_folder(folder)
    }

    /// Removes folders that have become empty, up to the job's own.
    fn prune(&self, key: &str) {
        let mut rest = key;
        while let Some((folder, _)) = rest.rsplit_once('/') {
            if folder.len() < self.root.len() || fs::remove_dir(self.path(folder)).is_err() {
                return;
            }
            rest = folder;
        }
    }

    fn walk(&self, folder: &Path, key: &str, listed: &mut Vec<ListedObject>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let key = format!("{key}{name}");
            // Links to folders are not followed: the files there belong to others.
            if entry.file_type()?.is_dir() {
                self.walk(&entry.path(), &format!("{key}/"), listed)?;
            } else {
                match entry.metadata() {
                    Ok(found) => {
                        listed.push(ListedObject {
                            key,
                            size: found.len(),
                            modified: found.mtime(),
                        });
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl UploadStore for DiskUploads {
    fn proof(&self) -> OwnershipProof {
        // Files have no metadata; their versions show which run wrote them.
        OwnershipProof::Version
    }

    fn backoff(&self) -> Backoff {
        Backoff::bounded(1, PAUSE, PAUSE)
    }

    fn disk(&self) -> Option<&DiskUploads> {
        Some(self)
    }

    fn folder_exists(&self, folder: &str) -> Result<bool> {
        let path = self.path(folder);
        path.try_exists().map_err(|error| at(error, &path))
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

    fn notes_uploads(&self) -> bool {
        false
    }

    fn begin(&self, _key: &str, token: &str) -> Result<String> {
        let mut words = token.split('/');
        let mut next = || words.next().unwrap_or_default();
        let (run, task, epoch, word) = (next(), next(), next(), next());
        let staged = format!("{}{FOLDER}{run}/t{task}.e{epoch}.{word}.part", self.root);
        let path = self.path(&staged);
        make_folders(folder_of(&path))
            .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path))
            .map_err(|error| at(error, &path))?;
        Ok(staged)
    }

    fn send(&self, upload: UploadId<'_>, part: Part) -> Pending {
        let path = self.path(upload.id);
        let written = OpenOptions::new().write(true).open(&path).and_then(|file| {
            let mut offset = part.offset;
            for piece in &part.pieces {
                file.write_all_at(piece, offset)?;
                offset += piece.len() as u64;
            }
            Ok(())
        });
        let name = format!("{}", part.index);
        Pending::answered(written.map(|()| name).map_err(|error| at(error, &path)))
    }

    fn settle(&self, upload: UploadId<'_>) -> Result<Option<String>> {
        let path = self.path(upload.id);
        let settled = File::open(&path).and_then(|file| {
            // The folder is synced with the task's list, which is put there behind all uploads.
            file.sync_all()?;
            file.metadata()
        });
        settled.map(|found| Some(version(&found))).map_err(|error| at(error, &path))
    }

    fn complete(&self, upload: UploadId<'_>, _parts: &[String], new: bool) -> Reply {
        let staged = self.path(upload.id);
        if let Err(error) = fs::symlink_metadata(&staged) {
            return match error.kind() {
                io::ErrorKind::NotFound => Reply::Gone(at(error, &staged)),
                _ => Reply::Refused(at(error, &staged)),
            };
        }
        match self.publish(&staged, upload.key, new) {
            Ok(()) => Reply::Done,
            Err(error) => {
                let error = at(error, &self.path(upload.key));
                match error.kind {
                    ErrorKind::Exists => Reply::Conflict(error),
                    _ => Reply::Refused(error),
                }
            }
        }
    }

    fn discard(&self, upload: UploadId<'_>) -> Result<()> {
        self.remove(vec![upload.id.to_owned()])
    }

    /// Staged files lie in the run's own folder and go with it.
    fn uploads(&self, _prefix: &str) -> Result<Option<Vec<(String, String)>>> {
        Ok(None)
    }

    fn look(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                Err(Error::options("a folder is there, and the job wants a file")
                    .at(path.display().to_string())
                    .hint("end `path` by `/` to write into the folder"))
            }
            Ok(metadata) => Ok(Some(found(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(error, &path)),
        }
    }

    fn get(&self, key: &str) -> Result<Option<(Bytes, ObjectInfo)>> {
        let Some(found) = self.look(key)? else { return Ok(None) };
        let path = self.path(key);
        match fs::read(&path) {
            Ok(content) => Ok(Some((Bytes::from(content), found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(error, &path)),
        }
    }

    fn put(&self, key: &str, content: Bytes, condition: Condition<'_>, _token: &str) -> Result<()> {
        let path = self.path(key);
        // A folder cannot compare and swap: what remains is a look before the rename.
        if let Condition::Unchanged(before) = condition
            && self.look(key)?.as_ref() != Some(before)
        {
            return Err(at(io::ErrorKind::AlreadyExists.into(), &path));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let staged = path.with_file_name(format!(".{name}.{}", random_word()?));
        let written = make_folders(folder_of(&path)).and_then(|()| {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&staged)?;
            file.write_all(&content)?;
            file.sync_all()?;
            self.publish(&staged, key, matches!(condition, Condition::New))
        });
        written.map_err(|error| {
            // What cannot be removed is hidden and small.
            let _ = fs::remove_file(&staged);
            at(error, &path)
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<ListedObject>> {
        let (folder, mut listed) = (self.path(prefix), Vec::new());
        self.walk(&folder, prefix, &mut listed).map_err(|error| at(error, &folder))?;
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    fn remove(&self, keys: Vec<String>) -> Result<()> {
        let mut folders = BTreeSet::new();
        for key in &keys {
            let path = self.path(key);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at(error, &path));
                }
                _ => self.prune(key),
            }
            folders.insert(folder_of(&path).to_owned());
        }
        for folder in folders {
            match sync_folder(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at(error, &folder));
                }
                _ => {}
            }
        }
        Ok(())
    }
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
