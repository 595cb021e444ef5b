//! The folders of a job: opened below its root, made where they are not there, and kept open while
//! a run works.

use std::{
    ffi::OsStr,
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags, fsync, mkdirat},
    io::Errno,
};

use super::{
    beneath::{Beneath, Links},
    kept::Kept,
};
use crate::write::FOLDER;

/// How often a folder is made anew that another run has removed because it was empty.
const TRIES: usize = 100;

/// How a folder is opened.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// A job's folder and those below it.
pub(super) struct Folders {
    root: PathBuf,
    pub(super) kept: Kept,
}

impl Folders {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, kept: Kept::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Opens something that is there.
    pub(super) fn open(&self, name: &Path, flags: OFlags, links: Links) -> io::Result<OwnedFd> {
        let root = self.kept.root(&self.root)?;
        Beneath::new(&self.root, root).open(name, flags, links)
    }

    /// The folder that holds `name`, to rename or remove it there, and its last part.
    pub(super) fn parent<'n>(
        &self,
        name: &'n str,
        links: Links,
    ) -> io::Result<(Arc<OwnedFd>, &'n OsStr)> {
        let (above, last) = divided(name)?;
        // A link may lead to a folder of data, so the one that is kept is not what is asked for.
        if !is_hidden(above) {
            return Ok((Arc::new(self.open(Path::new(above), FLAGS, links)?), last));
        }
        if let Some(folder) = self.kept.folder(above) {
            return Ok((folder, last));
        }
        let folder = Arc::new(self.open(Path::new(above), FLAGS, links)?);
        self.kept.keep_folder(above, &folder);
        Ok((folder, last))
    }

    /// Works in the folder that holds `name`, which is made if it is not there; `synced` at once, or
    /// by the caller later. Another run may remove the folder as long as it is empty: then it is made
    /// and worked in again.
    pub(super) fn in_new<T>(
        &self,
        name: &str,
        (links, synced): (Links, bool),
        work: impl Fn(&OwnedFd, &OsStr) -> io::Result<T>,
    ) -> io::Result<T> {
        let (above, last) = divided(name)?;
        self.again(|| work(&*self.make_once(above, links, synced)?, last))
    }

    /// Makes the folder `name`, and the job's folder itself, where they are not there. What is
    /// returned is not kept: a lock on it ends with it.
    pub(super) fn make(&self, name: &str, links: Links, synced: bool) -> io::Result<OwnedFd> {
        self.again(|| self.open_or_make(name, links, synced))
    }

    fn again<T>(&self, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let mut tries = 0;
        loop {
            match work() {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                    self.kept.forget_folders();
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn make_once(&self, name: &str, links: Links, synced: bool) -> io::Result<Arc<OwnedFd>> {
        if let Some(folder) = self.kept.folder(name) {
            return Ok(folder);
        }
        let folder = Arc::new(self.open_or_make(name, links, synced)?);
        self.kept.keep_folder(name, &folder);
        Ok(folder)
    }

    fn open_or_make(&self, name: &str, links: Links, synced: bool) -> io::Result<OwnedFd> {
        match self.open(Path::new(name), FLAGS, links) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
        if name.is_empty() {
            make_root(&self.root)?;
            return self.open(Path::new(name), FLAGS, links);
        }
        let (above, last) = divided(name)?;
        let above = self.make_once(above, links, synced)?;
        match mkdirat(&above, last, Mode::from_raw_mode(mode_of(name))) {
            Ok(()) if synced => fsync(&above)?,
            Ok(()) => {}
            // Another task has made it, or what is there is a link to nowhere.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.open(Path::new(name), FLAGS, links)
    }
}

/// A name's folder, which may be empty, and its last part.
fn divided(name: &str) -> io::Result<(&str, &OsStr)> {
    let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
    if last.is_empty() {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    Ok((above, OsStr::new(last)))
}

/// Whether a run keeps it to itself.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(FOLDER.trim_end_matches('/'))
}

/// The hidden folders are for us alone, others as the user's rights say.
fn mode_of(name: &str) -> u32 {
    let hidden = name.split('/').any(|part| part == FOLDER.trim_end_matches('/'));
    if hidden { 0o700 } else { 0o777 }
}

/// Makes the job's own folder and those above it.
fn make_root(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    make_root(above)?;
    match DirBuilder::new().mode(0o777).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsFd};

    use super::*;

    #[test]
    fn folders_are_made_although_others_remove_empty_ones() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let made = &|name: &str| {
            Folders::new(root.clone()).make(name, Links::Never, true).unwrap();
            let _ = fs::remove_dir(root.join(name));
            let _ = fs::remove_dir(root.join("_transload"));
        };
        std::thread::scope(|scope| {
            for run in ["_transload/r1", "_transload/r2", "_transload/r3"] {
                scope.spawn(move || (0..300).for_each(|_| made(run)));
            }
        });
    }

    #[test]
    fn a_kept_folder_is_made_anew_if_it_is_removed_and_not_left_by_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let folders = Folders::new(root.clone());
        folders.kept.begin();
        let put = |name: &str| {
            folders.in_new(name, (Links::Inside, false), |folder, name| {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o600))?;
                Ok(())
            })
        };
        put("k=1/a").unwrap();
        fs::remove_dir_all(root.join("k=1")).unwrap();
        put("k=1/b").unwrap();
        assert!(root.join("k=1/b").exists(), "the folder was made anew");
        // What takes the place of a kept folder does not lead elsewhere.
        fs::rename(root.join("k=1"), root.join("moved")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("k=1")).unwrap();
        put("k=1/c").unwrap();
        assert!(root.join("moved/c").exists());
        folders.kept.forget_folders();
        put("k=1/d").unwrap_err();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        // Nothing is kept beyond the run.
        folders.kept.end();
        assert!(folders.kept.folder("k=1").is_none());
        let root = folders.kept.root(&root).unwrap();
        assert!(rustix::fs::fstat(root.as_fd()).is_ok());
    }
}
