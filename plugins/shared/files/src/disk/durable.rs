//! Files renamed to new names without replacing another; errors of the system about files.

use std::{ffi::OsStr, io, path::Path};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, statat, unlinkat},
    io::Errno,
};
use transload_plugin_api::Error;

/// A name in an open folder.
pub(super) type Place<'a> = (&'a OwnedFd, &'a OsStr);

/// Moves a file to a name that does not exist.
pub(super) fn rename_new(from: Place<'_>, to: Place<'_>) -> io::Result<()> {
    match renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
        // Not every file system, kernel and sandbox can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => link_new(from, to),
        outcome => Ok(outcome?),
    }
}

/// As [`rename_new`], by a hard link: the portable rename that never replaces.
fn link_new(from: Place<'_>, to: Place<'_>) -> io::Result<()> {
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
        for rename in [rename_new, link_new] {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let opened = OwnedFd::from(fs::File::open(folder.path()).unwrap());
            let (from, to) = ((&opened, OsStr::new("from")), (&opened, OsStr::new("to")));
            assert_eq!(rename(from, to).unwrap_err().kind(), io::ErrorKind::NotFound);
            fs::write(path("from"), "new").unwrap();
            rename(from, to).unwrap();
            assert!(!path("from").exists());
            fs::write(path("from"), "newer").unwrap();
            assert_eq!(rename(from, to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(path("to")).unwrap(), "new");
            assert_eq!(fs::read_to_string(path("from")).unwrap(), "newer");
        }
    }
}
