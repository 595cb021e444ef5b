//! One plugin's folder, opened below a plugins folder without following links: what is checked is what
//! is read, whoever renames folders meanwhile. Only root and this user may change anything in it.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::fd::AsFd,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};
use transload_plugin_api::{Error, ErrorKind, Result, code};

use super::access;

/// An open folder.
pub(super) struct PluginFolder {
    folder: File,
    path: PathBuf,
}

impl PluginFolder {
    /// Opens a plugins folder. Its own path may contain links: the user has named it.
    ///
    /// # Errors
    /// `PLUGIN-FOLDER`, `PLUGIN-ACCESS`.
    pub(super) fn of_all(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::from(error).with_code(code::PLUGIN_FOLDER).at(path.display().to_string())
        };
        let folder = File::open(path).map_err(failed)?;
        access::ensure_own_open(&folder, path)?;
        Ok(Self { folder, path: path.to_owned() })
    }

    /// Its path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder directly in this one.
    ///
    /// # Errors
    /// `PLUGIN-ACCESS` for a link and for one that others can change; `PLUGIN-FILE`.
    pub(super) fn inner(&self, name: &OsStr) -> Result<Self> {
        let path = self.path.join(name);
        let folder = open(&self.folder, name, OFlags::DIRECTORY, &path)?;
        Ok(Self { folder, path })
    }

    /// Opens a file below this folder.
    ///
    /// # Errors
    /// As for [`Self::inner`]; [`ErrorKind::NotFound`] if it does not exist.
    pub(super) fn file(&self, inner: &Path) -> Result<File> {
        let (mut folder, mut path) = (self.folder.try_clone()?, self.path.clone());
        let names: Vec<_> = inner.components().filter_map(normal).collect();
        let Some((last, above)) = names.split_last() else {
            return Err(Error::options("a file without a name").with_code(code::PLUGIN_FILE));
        };
        for name in above {
            path.push(name);
            folder = open(&folder, name, OFlags::DIRECTORY, &path)?;
        }
        path.push(last);
        // A pipe would wait for its other end.
        let file = open(&folder, last, OFlags::NONBLOCK, &path)?;
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        let message = "not a regular file";
        Err(Error::data(message).with_code(code::PLUGIN_FILE).at(path.display().to_string()))
    }

    /// The same for a file that need not exist.
    ///
    /// # Errors
    /// As for [`Self::file`].
    pub(super) fn file_if_any(&self, inner: &Path) -> Result<Option<File>> {
        match self.file(inner) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            file => file.map(Some),
        }
    }
}

fn normal(part: Component<'_>) -> Option<&OsStr> {
    match part {
        Component::Normal(name) => Some(name),
        _ => None,
    }
}

fn open(folder: &File, name: &OsStr, kind: OFlags, path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
    let opened = openat(folder.as_fd(), name, flags, Mode::empty());
    let file = opened.map(File::from).map_err(|error| failed(error, path))?;
    access::ensure_own_open(&file, path)?;
    Ok(file)
}

fn failed(error: Errno, path: &Path) -> Error {
    let shown = path.display();
    let is_link = path.is_symlink() && [Errno::LOOP, Errno::NOTDIR].contains(&error);
    if is_link {
        return Error::denied(format!("`{shown}` is a symbolic link"))
            .with_code(code::PLUGIN_ACCESS)
            .hint("put the files themselves into the plugin's folder");
    }
    Error::from(io::Error::from(error)).with_code(code::PLUGIN_FILE).at(shown.to_string())
}
