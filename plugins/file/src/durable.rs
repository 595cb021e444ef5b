//! Files that are still there after a power cut: written, synced, renamed, and the folder synced.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, ErrorKind, Result};

use crate::listing::at;

/// What a file is recognised by. A rename keeps all of it; a new content changes some of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    /// Bytes.
    pub(crate) size: u64,
    changed: (i64, i64),
}

impl Identity {
    /// Of the file at `path`, if there is one.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(Self {
                device: found.dev(),
                inode: found.ino(),
                size: found.len(),
                changed: (found.mtime(), found.mtime_nsec()),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(error, path)),
        }
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at(error, folder))
}

/// Makes a file's content durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<()> {
    file.sync_all().map_err(|error| at(error, path))
}

/// Replaces a small file as a whole: a reader sees the old content or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(|error| at(error, &temporary))?;
    file.write_all(content).map_err(|error| at(error, &temporary))?;
    sync_file(&file, &temporary)?;
    fs::rename(&temporary, path).map_err(|error| at(error, path))?;
    sync_folder(folder_of(path))
}

/// Moves a file to a name that nobody has.
///
/// # Errors
/// [`ErrorKind::Exists`] if somebody has it; both files stay as they are.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<()> {
    // A hard link is the portable rename that never replaces.
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from).map_err(|error| at(error, from)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(taken(to)),
        // Some file systems have no hard links; what remains is a look before the rename.
        Err(_) if fs::symlink_metadata(to).is_ok() => Err(taken(to)),
        Err(_) => fs::rename(from, to).map_err(|error| at(error, to)),
    }
}

/// The error for a name that somebody has.
pub(crate) fn taken(path: &Path) -> Error {
    Error::new(ErrorKind::Exists, "there is a file already")
        .with_code("FILE-EXISTS")
        .at(path.display().to_string())
        .hint("use `if_exists = \"append\"`, or `write_mode = \"overwrite\"` to replace it")
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(error, path)),
        _ => Ok(()),
    }
}

/// The folder a file stands in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_is_never_taken_from_somebody() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        rename_new(&from, &to).unwrap();
        assert!(!from.exists());
        fs::write(&from, "newer").unwrap();
        assert_eq!(rename_new(&from, &to).unwrap_err().kind, ErrorKind::Exists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        assert_eq!(fs::read_to_string(&from).unwrap(), "newer");
    }

    #[test]
    fn an_identity_survives_a_rename_and_no_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "one").unwrap();
        let before = Identity::of(&a).unwrap();
        fs::rename(&a, &b).unwrap();
        assert_eq!(Identity::of(&b).unwrap(), before);
        assert_eq!(Identity::of(&a).unwrap(), None);
        replace(&b, b"two").unwrap();
        assert_ne!(Identity::of(&b).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
