//! Temporary files without a name: no other process sees them, and they go when they are closed.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt};

use transload_plugin_api::{Error, Result};

use crate::write::random_word;

/// A new file in the folder for temporary files, for reading and writing.
///
/// # Errors
/// Those of the folder.
pub fn unnamed_file() -> Result<File> {
    let folder = std::env::temp_dir();
    let place = |error: io::Error| Error::from(error).at(folder.display().to_string());
    let path = folder.join(format!(".transload-{}", random_word()?));
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(place)?;
    std::fs::remove_file(&path).map_err(place)?;
    Ok(file)
}
