//! A local folder, `file:///`, as an object store: its files without what a bucket does not have.
//! Links that lead out of the folder are refused; pipes, sockets and devices are not objects.

use std::{
    fs::{self, Metadata},
    io::ErrorKind::{NotADirectory, NotFound},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use transload_files::{error_at, is_hidden, stat_below};
use transload_plugin_api::{Error, Result};

use crate::address::Address;

/// The folder that the url names.
fn root(address: &Address) -> PathBuf {
    Path::new("/").join(&address.prefix)
}

/// What is under a key; `None` if nothing is.
///
/// # Errors
/// `FILE-LINK` if a link leads out of the folder of the url.
fn stat(address: &Address, key: &str) -> Result<Option<Metadata>> {
    let (root, path) = (root(address), Path::new("/").join(key));
    // The url itself may name a file, and what the user names is followed.
    let found = match path.strip_prefix(&root) {
        Ok(name) if !name.as_os_str().is_empty() => stat_below(&root, name),
        _ => fs::metadata(&path),
    };
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(error_at(error, &path)),
    }
}

/// Refuses what is under a key if it is no file that may be read.
///
/// # Errors
/// As [`stat`], and [`transload_plugin_api::ErrorKind::Unsupported`] for a pipe, a socket or a
/// device.
pub(crate) fn check(address: &Address, key: &str) -> Result<()> {
    match stat(address, key)? {
        Some(found) if !found.is_file() && !found.is_dir() => {
            Err(Error::unsupported("neither a file nor a folder").at(format!("/{key}")))
        }
        _ => Ok(()),
    }
}

/// The names in a folder of keys.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Keys of files.
    pub(crate) files: Vec<String>,
    /// Keys of folders, without a final `/`.
    pub(crate) folders: Vec<String>,
}

/// All files below a folder, or the files and folders directly in it. `folder` has no final `/`.
///
/// # Errors
/// As [`stat`], for links that are not hidden.
pub(crate) fn names(address: &Address, folder: &str, first_level: bool) -> Result<Names> {
    let mut names = Names::default();
    list(address, folder, first_level, &mut Vec::new(), &mut names)?;
    Ok(names)
}

/// `above` identifies the folders on the way, which a link may lead back to.
fn list(
    address: &Address,
    folder: &str,
    first_level: bool,
    above: &mut Vec<(u64, u64)>,
    names: &mut Names,
) -> Result<()> {
    let path = Path::new("/").join(folder);
    let entries = match fs::read_dir(&path) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(()),
        entries => entries.map_err(|error| error_at(error, &path))?,
    };
    let found = fs::metadata(&path).map_err(|error| error_at(error, &path))?;
    let identity = (found.dev(), found.ino());
    if above.contains(&identity) {
        return Ok(());
    }
    above.push(identity);
    for entry in entries {
        let entry = entry.map_err(|error| error_at(error, &path))?;
        let name = entry.file_name();
        // A name that is not UTF-8 is no key.
        let Some(name) = name.to_str() else { continue };
        let key = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().map_err(|error| error_at(error, &entry.path()))?;
        let found = match kind.is_symlink() {
            true => match stat(address, &key) {
                Ok(found) => found.map(|found| found.file_type()),
                Err(_) if is_hidden(name) => continue,
                Err(error) => return Err(error),
            },
            false => Some(kind),
        };
        match found {
            Some(kind) if kind.is_dir() && first_level => names.folders.push(key),
            Some(kind) if kind.is_dir() => list(address, &key, first_level, above, names)?,
            Some(kind) if kind.is_file() => names.files.push(key),
            _ => {}
        }
    }
    above.pop();
    Ok(())
}
