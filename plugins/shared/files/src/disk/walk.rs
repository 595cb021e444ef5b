//! What is in a folder: files as a listing has them, and what is no file.

use std::{ffi::OsStr, fs::Metadata, io, os::unix::ffi::OsStrExt, path::Path};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};
use transload_plugin_api::{Error, Result};

use crate::write::ListedObject;

/// Lists what is in an open folder, and in those in it. Links to folders are not followed: the
/// files there belong to others.
pub(super) fn walk(folder: &OwnedFd, key: &str, listed: &mut Vec<ListedObject>) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        let Some(name) = OsStr::from_bytes(bytes).to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        let found = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            found => found?,
        };
        let key = format!("{key}{name}");
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(folder, name, flags, Mode::empty()) {
                Ok(below) => walk(&below, &format!("{key}/"), listed)?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        } else {
            let (size, modified) = (found.st_size as u64, found.st_mtime as i64);
            listed.push(ListedObject { key, size, modified });
        }
    }
    Ok(())
}

/// Refuses what a job can neither read nor replace.
pub(super) fn regular(metadata: &Metadata, path: &Path) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let place = path.display().to_string();
    if metadata.is_dir() {
        return Err(Error::options("a folder is there, and the job wants a file")
            .at(place)
            .hint("end `path` by `/` to write into the folder"));
    }
    Err(Error::unsupported("neither a file nor a folder").at(place))
}
