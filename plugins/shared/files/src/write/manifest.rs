//! The list of objects that our runs have put below a prefix. It is the commit point of a run, and
//! the only thing that says which objects a later overwrite may remove.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, ErrorKind, Result};

use super::{
    entry::UploadEntry,
    upload_store::{Condition, ObjectInfo, UploadStore},
};

/// Begins with `_`, so that readers of the prefix leave it out.
pub(crate) const NAME: &str = "_transload_manifest.json";

/// The manifest's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The run that wrote it last.
    pub(crate) run: String,
    /// All objects of the data set, in reading order.
    pub(crate) files: Vec<ManifestFile>,
}

/// One object of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestFile {
    /// Its name below the manifest's prefix.
    pub(crate) name: String,
    /// The run that wrote it.
    pub(crate) run: String,
    /// Bytes as stored.
    pub(crate) size: u64,
    /// Rows, the header not counted.
    pub(crate) rows: u64,
    /// Of the bytes as stored, in hexadecimal digits.
    pub(crate) sha256: String,
    /// The object's ETag.
    pub(crate) etag: String,
    /// Our mark in the object's metadata.
    pub(crate) token: String,
}

impl ManifestFile {
    /// An entry for an object that was found published.
    pub(crate) fn new(root: &str, run: &str, entry: &UploadEntry, found: &ObjectInfo) -> Self {
        Self {
            name: entry.key.strip_prefix(root).unwrap_or(&entry.key).to_owned(),
            run: run.to_owned(),
            size: found.size,
            rows: entry.rows,
            sha256: entry.sha256.clone(),
            etag: found.version.clone(),
            token: entry.token.clone(),
        }
    }
}

impl Manifest {
    /// The prefix's manifest, if it has one, and the object that it is.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] for one that cannot be understood, or that names objects elsewhere.
    pub(crate) fn read(store: &dyn UploadStore, root: &str) -> Result<Option<(Self, ObjectInfo)>> {
        let key = format!("{root}{NAME}");
        let Some((text, found)) = store.get(&key)? else { return Ok(None) };
        let wrong = |message: String| {
            Error::new(ErrorKind::Data, message)
                .at(store.name(&key))
                .hint("remove the manifest if you no longer need it; its objects then stay")
        };
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("not a manifest: {error}")))?;
        match manifest.files.iter().find(|file| !is_below(&file.name)) {
            Some(file) => Err(wrong(format!("`{}` is not a name below the prefix", file.name))),
            None => Ok(Some((manifest, found))),
        }
    }

    /// Puts the manifest in its place, if that is as it was.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if it is not.
    pub(crate) fn write(
        &self,
        store: &dyn UploadStore,
        root: &str,
        before: Option<&ObjectInfo>,
    ) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(ErrorKind::Defect, "manifest").caused_by(&error))?;
        text.push(b'\n');
        let condition = before.map_or(Condition::New, Condition::Unchanged);
        store.put(&format!("{root}{NAME}"), Bytes::from(text), condition, &self.run)
    }

    /// Whether a run is in it: then the run is committed.
    pub(crate) fn has(&self, run: &str) -> bool {
        self.run == run || self.files.iter().any(|file| file.run == run)
    }
}

/// A name of an object below the prefix: what stands in a manifest is deleted one day.
fn is_below(name: &str) -> bool {
    name.split('/').all(|segment| !matches!(segment, "" | "." | "..")) && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t45_what_points_elsewhere_is_no_name() {
        for name in ["", "..", "../x", "/x", "a//b", "a/../b", "a/", "x\0"] {
            assert!(!is_below(name), "{name:?}");
        }
        for name in ["x", "day=1/x.csv", "a..b", "...", "_transload/x"] {
            assert!(is_below(name), "{name:?}");
        }
    }
}
