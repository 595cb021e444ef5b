//! Files that are still there after a power cut: folders made and synced one by one, files renamed
//! to new names without replacing another.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use transload_plugin_api::Error;

use crate::write::FOLDER;

/// Makes folders that are not there: the hidden ones for us alone, others as the user's rights say.
pub(super) fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    make_folders(above)?;
    let hidden = folder.components().any(|part| part.as_os_str() == FOLDER.trim_end_matches('/'));
    match DirBuilder::new().mode(if hidden { 0o700 } else { 0o777 }).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(above),
    }
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Moves a file to a name that does not exist.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    // A hard link is the portable rename that never replaces.
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Some file systems have no hard links; what remains is a look before the rename.
        Err(_) if fs::symlink_metadata(to).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

pub(super) fn at(error: io::Error, path: &Path) -> Error {
    Error::from(error).at(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_never_replaces_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        rename_new(&from, &to).unwrap();
        assert!(!from.exists());
        fs::write(&from, "newer").unwrap();
        assert_eq!(rename_new(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        assert_eq!(fs::read_to_string(&from).unwrap(), "newer");
    }
}
