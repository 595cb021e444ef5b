//! What a writer writes to: one file, or a folder with one file a task.

use std::{
    fs,
    path::{Path, PathBuf},
};

use transload_plugin_api::{Error, ErrorKind, Result};

use crate::{
    durable::folder_of,
    listing::at,
    options::{Layout, WriterOptions},
};

/// A resolved destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// One file; all tasks' rows stand in it, in the tasks' order.
    File(PathBuf),
    /// A folder; each task has its own file in it.
    Folder(PathBuf),
}

impl Target {
    /// Decides by the options: `layout` if it is given, else a final `/` or a folder that exists
    /// says folder.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for what is neither a file nor a folder,
    /// [`ErrorKind::Options`] if it is not what `layout` says.
    pub(crate) fn resolve(options: &WriterOptions) -> Result<Self> {
        let path = PathBuf::from(&options.path);
        let found = match fs::metadata(&path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(at(error, &path)),
        };
        let is_folder = found.as_ref().is_some_and(fs::Metadata::is_dir);
        let wants_folder = match options.layout {
            Layout::Auto => is_folder || options.path.ends_with('/'),
            Layout::File => false,
            Layout::Folder => true,
        };
        match found {
            Some(found) if !found.is_dir() && !found.is_file() => {
                let message = "neither a file nor a folder: output is published by a rename";
                Err(Error::new(ErrorKind::Unsupported, message).at(path.display().to_string()))
            }
            Some(_) if wants_folder != is_folder => {
                let (is, wanted) =
                    if is_folder { ("a folder", "file") } else { ("a file", "folder") };
                let message = format!("there is {is}, and the job wants a {wanted}");
                Err(Error::new(ErrorKind::Options, message).at(path.display().to_string()))
            }
            // The file that a link points to is replaced, not the link.
            Some(_) => {
                let path = fs::canonicalize(&path).map_err(|error| at(error, &path))?;
                Ok(if wants_folder { Self::Folder(path) } else { Self::File(path) })
            }
            None => Ok(if wants_folder { Self::Folder(path) } else { Self::File(path) }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) => path,
        }
    }

    /// The folder that holds the staging folder: on the target's own file system.
    pub(crate) fn stage_parent(&self) -> &Path {
        match self {
            Self::File(path) => folder_of(path),
            Self::Folder(path) => path,
        }
    }
}
