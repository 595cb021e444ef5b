//! A local folder as an [`UploadStore`]. An upload is a staged file below the run's hidden folder,
//! its completion a rename on the same file system; all of it is synced, so that it is still there
//! after a power cut.

mod append;
mod beneath;
mod durable;
mod folders;
mod join;
mod kept;
mod local_file;
mod run_lock;
mod sync;
mod trace;
mod unnamed;
mod uploads;
mod walk;

#[cfg(test)]
mod power_cut;

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::{
    fd::OwnedFd,
    fs::{
        AtFlags, FileType, Mode, OFlags, XattrFlags, chmodat, fgetxattr, fsetxattr, fsync,
        renameat, statat, unlinkat,
    },
    io::Errno,
};
use transload_formats::Encoding;
use transload_plugin_api::{Column, Error, Result, failpoint, has_defect};

use self::{
    beneath::Links,
    durable::{Place, rename_new},
    folders::{Folders, is_hidden},
    run_lock::RunLock,
    sync::Deferred,
    trace::{Operation, Trace},
};

pub(crate) use self::join::Joining;
pub use self::{
    beneath::{open_below, stat_below},
    durable::error_at,
    unnamed::unnamed_file,
};

/// The attribute of a single file that names the run which has written it.
const MARK: &str = "user.transload.run";

/// Tests ask for it, to show that they would notice.
const DEFECT: &str = "rename-before-fsync";

/// A local folder as the writing side sees it; keys are paths below `/`.
pub struct DiskUploads {
    base: PathBuf,
    /// The key of the folder that all of the job lies in, with a final `/`.
    root: String,
    folders: Folders,
    /// The folders of runs that this process works on.
    held: Mutex<HashMap<String, RunLock>>,
    deferred: Deferred,
    trace: Trace,
}

impl DiskUploads {
    /// The folder under `root`, a path below `/` with a final `/`.
    pub fn new(root: &str) -> Self {
        let base = PathBuf::from("/");
        Self {
            folders: Folders::new(base.join(root)),
            base,
            root: root.to_owned(),
            held: Mutex::default(),
            deferred: Deferred::default(),
            trace: Trace::default(),
        }
    }

    /// Whether the folder, or the nearest one above that is there, can be written to.
    fn reach(&self) -> Result<String> {
        let mut folder = self.path(&self.root);
        while !folder.exists() && folder.pop() {}
        let wrong = |message: &str| Err(Error::denied(message).at(folder.display().to_string()));
        match fs::metadata(&folder) {
            Err(error) => Err(error_at(error, &folder)),
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
        append::check(self, key, encoding, columns)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.base.join(key)
    }

    /// A key's name below the job's folder.
    fn below<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(self.root.as_str()).unwrap_or(key)
    }

    /// What a run stages is never reached through a link.
    fn links(&self, key: &str) -> Links {
        if is_hidden(self.below(key)) { Links::Never } else { Links::Inside }
    }

    /// Opens what is under a key.
    fn open(&self, key: &str, flags: OFlags) -> io::Result<File> {
        self.folders.open(Path::new(self.below(key)), flags, self.links(key)).map(File::from)
    }

    /// The folder that holds a key, and its last part.
    fn place<'k>(&self, key: &'k str, links: Links) -> io::Result<(Arc<OwnedFd>, &'k OsStr)> {
        self.folders.parent(self.below(key), links)
    }

    /// Works in the folder that holds a key, which is made if it is not there; `synced` at once, or
    /// with all that is deferred.
    fn in_new_folder<T>(
        &self,
        key: &str,
        synced: bool,
        work: impl Fn(&OwnedFd, &OsStr) -> io::Result<T>,
    ) -> io::Result<T> {
        self.folders.in_new(self.below(key), (self.links(key), synced), work)
    }

    /// A staged file that is open still, or is opened.
    fn staged(&self, id: &str, flags: OFlags) -> io::Result<Arc<File>> {
        self.folders.kept.file(id).map_or_else(|| self.open(id, flags).map(Arc::new), Ok)
    }

    /// Writes the run into a file's attributes, which the rename keeps. On a file system without
    /// attributes nothing shows which run wrote a file once the run's folder is gone.
    fn mark(&self, key: &str, run: &str) {
        let flags = XattrFlags::empty();
        let marked = self.open(key, OFlags::RDWR);
        let marked = marked.and_then(|file| Ok(fsetxattr(file, MARK, run.as_bytes(), flags)?));
        if let Err(error) = marked {
            tracing::debug!(key, %error, "the file cannot be marked");
        }
    }

    /// The run that has marked a file.
    pub(crate) fn run_of(&self, key: &str) -> Option<String> {
        let file = self.open(key, OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
        let mut run = [0; 256];
        let size = fgetxattr(file, MARK, &mut run).ok()?;
        String::from_utf8(run[..size].to_vec()).ok()
    }

    /// A file that is there, for reading.
    fn read(&self, key: &str) -> Result<File> {
        self.open(key, OFlags::RDONLY | OFlags::NONBLOCK)
            .map_err(|error| error_at(error, &self.path(key)))
    }

    /// A file that is there, for reading and writing.
    fn write(&self, key: &str) -> Result<File> {
        self.open(key, OFlags::RDWR).map_err(|error| error_at(error, &self.path(key)))
    }

    /// Puts a finished file, whose key is `staged`, in its place.
    fn publish(
        &self,
        from: Place<'_>,
        staged: &str,
        key: &str,
        (new, synced): (bool, bool),
    ) -> io::Result<()> {
        self.in_new_folder(key, synced, |folder, name| {
            let to = (folder, name);
            match rename_new(from, to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !new => {
                    replace(from, to)?;
                }
                outcome => outcome?,
            }
            self.trace.note(|| Operation::Rename(staged.to_owned(), key.to_owned()));
            failpoint(if is_hidden(self.below(key)) { "K10" } else { "K11" });
            if has_defect(DEFECT) {
                self.open(key, OFlags::RDONLY)?.sync_all()?;
                self.trace.note(|| Operation::Sync(key.to_owned()));
            }
            if synced {
                fsync(folder)?;
                let above = &key[..key.rfind('/').map_or(0, |at| at + 1)];
                self.trace.note(|| Operation::SyncFolder(above.to_owned()));
            }
            Ok(())
        })
    }

    /// Removes folders that have become empty, up to the job's own.
    fn prune(&self, key: &str) {
        let mut rest = key;
        while let Some((folder, _)) = rest.rsplit_once('/') {
            if folder.len() < self.root.len() {
                return;
            }
            let Ok((above, name)) = self.place(folder, Links::Never) else { return };
            if unlinkat(&above, name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
            self.folders.kept.forget_folders();
            rest = folder;
        }
    }

    fn remove_one(&self, key: &str) -> io::Result<()> {
        match self.place(key, Links::Never) {
            Ok((folder, name)) => match unlinkat(&folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Replaces a file, whose rights stay. A link is replaced, not what it leads to.
fn replace(from: Place<'_>, to: Place<'_>) -> io::Result<()> {
    if let Ok(found) = statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW)
        && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
    {
        chmodat(from.0, from.1, Mode::from_raw_mode(found.st_mode), AtFlags::empty())?;
    }
    Ok(renameat(from.0, from.1, to.0, to.1)?)
}
