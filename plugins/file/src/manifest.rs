//! The list of files that our runs have put into a folder. It is the commit point of a run into a
//! folder, and the only thing that says which files a later overwrite may remove.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, ErrorKind, Result};

use crate::{durable, listing::at};

/// Begins with `_`, so that readers of the folder leave it out.
const NAME: &str = "_transload_manifest.json";

/// The manifest's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The run that wrote it last.
    pub(crate) run: String,
    /// All files of the data set, in reading order.
    pub(crate) files: Vec<ManifestFile>,
}

/// One file of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestFile {
    /// Its name in the manifest's folder.
    pub(crate) name: String,
    /// Bytes as stored.
    pub(crate) size: u64,
    /// Rows, the header not counted.
    pub(crate) rows: u64,
    /// Of the bytes as stored, in hexadecimal digits.
    pub(crate) sha256: String,
}

impl Manifest {
    /// The folder's manifest, if it has one.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] for one that cannot be understood, or that names files elsewhere.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(error, &path)),
        };
        let wrong = |message: String| {
            Error::new(ErrorKind::Data, message)
                .at(path.display().to_string())
                .hint("remove the manifest if you no longer need it; its files then stay")
        };
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("not a manifest: {error}")))?;
        match manifest.files.iter().find(|file| !is_plain_name(&file.name)) {
            Some(file) => Err(wrong(format!("`{}` is not a name in this folder", file.name))),
            None => Ok(Some(manifest)),
        }
    }

    /// Puts the manifest in its place, atomically.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(ErrorKind::Defect, "manifest").caused_by(&error))?;
        text.push(b'\n');
        durable::replace(&folder.join(NAME), &text)
    }
}

/// A name of a file in the folder itself: what stands in a manifest is deleted one day.
fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_refuses_what_points_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), None);
        let file = |name: &str| ManifestFile {
            name: name.to_owned(),
            size: 1,
            rows: 2,
            sha256: "00".to_owned(),
        };
        let mut manifest =
            Manifest { run: "r1".to_owned(), files: vec![file("part-r1-00000.csv")] };
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), Some(manifest.clone()));
        for name in ["../x", "/etc/passwd", "..", ""] {
            manifest.files = vec![file(name)];
            manifest.write(folder.path()).unwrap();
            let error = Manifest::read(folder.path()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Data, "{name}");
        }
        fs::write(folder.path().join(NAME), "{").unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap_err().kind, ErrorKind::Data);
    }
}
