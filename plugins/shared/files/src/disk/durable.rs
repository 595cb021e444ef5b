//! Files that are still there after a power cut: folders made and synced one by one, files renamed
//! to new names without replacing another.

use std::{
    ffi::OsStr,
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Mode, OFlags, fsync, linkat, mkdirat, renameat, statat, unlinkat},
    io::Errno,
};
use transload_plugin_api::Error;

use super::beneath::{Beneath, Links};
use crate::write::FOLDER;

/// How often a folder is made anew that another run has removed because it was empty.
const TRIES: usize = 100;

/// Makes the folder `name` below `root`, and `root` itself, where they are not there; `synced` one by
/// one, or by the caller later.
pub(super) fn make_folders(
    root: &Path,
    name: &Path,
    links: Links,
    synced: bool,
) -> io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match make_folder(root, name, links, synced) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

fn make_folder(root: &Path, name: &Path, links: Links, synced: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match Beneath::new(root).open(name, flags, links) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    let (Some(last), Some(above)) = (name.file_name(), name.parent()) else {
        make_root(root)?;
        return Beneath::new(root).open(name, flags, links);
    };
    let above = make_folder(root, above, links, synced)?;
    match mkdirat(&above, last, Mode::from_raw_mode(mode_of(name))) {
        Ok(()) if synced => fsync(&above)?,
        Ok(()) => {}
        // Another task has made it, or what is there is a link to nowhere.
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Beneath::new(root).open(name, flags, links)
}

/// The hidden folders are for us alone, others as the user's rights say.
fn mode_of(name: &Path) -> u32 {
    let hidden = name.components().any(|part| part.as_os_str() == FOLDER.trim_end_matches('/'));
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

/// A name in an open folder.
pub(super) type Place<'a> = (&'a OwnedFd, &'a OsStr);

/// Moves a file to a name that does not exist.
pub(super) fn rename_new(from: Place<'_>, to: Place<'_>) -> io::Result<()> {
    // A hard link is the portable rename that never replaces.
    match linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
        Ok(()) => Ok(unlinkat(from.0, from.1, AtFlags::empty())?),
        Err(Errno::EXIST) => Err(Errno::EXIST.into()),
        // Some file systems have no hard links; what remains is a look before the rename.
        Err(_) if statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW).is_ok() => Err(Errno::EXIST.into()),
        Err(_) => Ok(renameat(from.0, from.1, to.0, to.1)?),
    }
}

/// An error of the system about a file.
pub fn error_at(error: io::Error, path: &Path) -> Error {
    Error::from(error).at(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_new_name_never_replaces_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let opened = make_folders(folder.path(), Path::new(""), Links::Never, true).unwrap();
        let (from, to) = ((&opened, OsStr::new("from")), (&opened, OsStr::new("to")));
        fs::write(path("from"), "new").unwrap();
        rename_new(from, to).unwrap();
        assert!(!path("from").exists());
        fs::write(path("from"), "newer").unwrap();
        assert_eq!(rename_new(from, to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(path("to")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("from")).unwrap(), "newer");
    }

    #[test]
    fn folders_are_made_although_others_remove_empty_ones() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let made = &|name: &str| {
            make_folders(&root, Path::new(name), Links::Never, true).unwrap();
            let _ = fs::remove_dir(root.join(name));
            let _ = fs::remove_dir(root.join("_transload"));
        };
        std::thread::scope(|scope| {
            for run in ["_transload/r1", "_transload/r2", "_transload/r3"] {
                scope.spawn(move || (0..300).for_each(|_| made(run)));
            }
        });
    }
}
