//! The manifest of a folder: the list of files that Transload has put there. It is the commit point
//! of a run, and the only thing that says which files a later overwrite may remove.
//!
//! Its format is documented in `docs/files.md`. Manifests without `version` were written before
//! version 1, by the plugin `file` without `etag`, `token` and the files' `run`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result};

use super::{
    entry::UploadEntry,
    upload_store::{Condition, ObjectInfo, UploadStore},
};

/// Begins with `_`, so that readers of the folder leave it out.
pub(crate) const NAME: &str = "_transload_manifest.json";

/// The version of the format that is written.
const VERSION: u32 = 1;

/// The manifest's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Of the format; 0 where it is missing.
    #[serde(default)]
    version: u32,
    /// The run that wrote it last.
    pub(crate) run: String,
    /// All files of the data set, in reading order.
    pub(crate) files: Vec<ManifestFile>,
}

/// One file of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestFile {
    /// Its name below the manifest's folder.
    pub(crate) name: String,
    /// The run that wrote it; empty if that is not known.
    #[serde(default)]
    pub(crate) run: String,
    /// Bytes as stored.
    pub(crate) size: u64,
    /// Rows, the header not counted.
    pub(crate) rows: u64,
    /// Of the bytes as stored, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Its ETag; empty if that is not known.
    #[serde(default)]
    pub(crate) etag: String,
    /// The token in its metadata, where the store keeps some.
    #[serde(default)]
    pub(crate) token: String,
}

impl ManifestFile {
    /// An entry for a file that was found published.
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
    /// A manifest that a run writes.
    pub(crate) fn new(run: &str, files: Vec<ManifestFile>) -> Self {
        Self { version: VERSION, run: run.to_owned(), files }
    }

    /// The folder's manifest, if it has one, and the object that it is.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] for one that cannot be understood, or that names files elsewhere.
    pub(crate) fn read(store: &dyn UploadStore, root: &str) -> Result<Option<(Self, ObjectInfo)>> {
        let key = format!("{root}{NAME}");
        let Some((text, found)) = store.get(&key)? else { return Ok(None) };
        let wrong = |message: String| {
            Error::data(message)
                .at(store.name(&key))
                .hint("remove the manifest if you no longer need it; its files then stay")
        };
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("not a manifest: {error}")))?;
        if manifest.version > VERSION {
            let message = "the manifest was written by a newer version of this program";
            return Err(Error::data(message).at(store.name(&key)).hint("update this program"));
        }
        match manifest.files.iter().find(|file| !is_below(&file.name)) {
            Some(file) => Err(wrong(format!("`{}` is not a name below the folder", file.name))),
            None => Ok(Some((manifest, found))),
        }
    }

    /// Puts the manifest, if what is there is still what was there before.
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
            .map_err(|error| Error::defect("manifest").caused_by(&error))?;
        text.push(b'\n');
        let condition = before.map_or(Condition::New, Condition::Unchanged);
        store.put(&format!("{root}{NAME}"), Bytes::from(text), condition, &self.run)
    }

    /// Whether a run is in it: then the run is committed.
    pub(crate) fn has(&self, run: &str) -> bool {
        self.run == run || self.files.iter().any(|file| file.run == run && !run.is_empty())
    }
}

/// A name of a file below the folder: what stands in a manifest is deleted one day.
fn is_below(name: &str) -> bool {
    name.split('/').all(|segment| !matches!(segment, "" | "." | "..")) && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskUploads;
    use transload_plugin_api::ErrorKind;

    fn read(text: &str) -> Result<Manifest> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), text).unwrap();
        let root = format!("{}/", folder.path().to_str().unwrap().trim_matches('/'));
        Manifest::read(&DiskUploads::new(&root), &root).map(|read| read.unwrap().0)
    }

    #[test]
    fn manifests_of_all_versions_are_read() {
        let file = r#"{"run":"r1","files":[{"name":"part-r1-00000.csv","size":16,"rows":2,"sha256":"aa"}]}"#;
        let old = read(file).unwrap();
        assert_eq!((old.version, old.files[0].rows, old.files[0].run.as_str()), (0, 2, ""));
        assert!(old.has("r1") && !old.has(""));
        let object_store = r#"{"run":"r2","files":[{"name":"day=1/x.csv","run":"r1","size":16,
            "rows":2,"sha256":"aa","etag":"\"1\"","token":"r1/0/0/ab"}]}"#;
        let old = read(object_store).unwrap();
        assert!(old.has("r1") && old.has("r2"));
        let new = Manifest::new("r3", old.files);
        assert_eq!(read(&serde_json::to_string(&new).unwrap()).unwrap(), new);
        for text in ["{", "[]", r#"{"version":2,"run":"r","files":[]}"#] {
            assert_eq!(read(text).unwrap_err().kind, ErrorKind::Data, "{text}");
        }
        let elsewhere = file.replace("part-r1", "../part-r1");
        assert_eq!(read(&elsewhere).unwrap_err().kind, ErrorKind::Data);
    }

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
