//! Caches the results of probes, so that a start needs no child process per library. The key is the
//! file's path, size, time and hash and this program's version. An unreadable or stale entry is
//! probed again, and a cache that cannot be written is ignored. Refusals are not cached, because
//! their reason may lie outside the file, such as a missing shared library.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use transload_plugin_api::abi::ABI;

use super::probe::Probed;

use crate::journal::{create_private_folder, write_private};

/// Identifies one version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    size: u64,
    modified_ns: u128,
    sha256: String,
    program: String,
}

impl Identity {
    /// The identity of a file with these metadata and this hash.
    pub(super) fn new(metadata: &fs::Metadata, sha256: &str) -> Self {
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            size: metadata.len(),
            modified_ns: since.map_or(0, |since| since.as_nanos()),
            sha256: sha256.to_owned(),
            program: format!("{} {ABI} {FORM}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// The form of what is cached: raised with each field that a descriptor gets, as an entry without it
/// looks like a plugin that declares nothing there.
const FORM: u32 = 3;

/// One cached result; a different identity of the file makes it stale.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Remembered {
    identity: Identity,
    /// A [`Probed`], kept as it is: that of a newer program has more fields than this one knows.
    probed: Value,
}

/// Probe results by path.
#[derive(Default)]
pub(super) struct ProbeCache {
    file: Option<PathBuf>,
    known: BTreeMap<PathBuf, Remembered>,
    changed: bool,
}

impl ProbeCache {
    /// The cache in this file; empty if it cannot be read. Without a file, nothing is kept.
    pub(super) fn open(file: Option<PathBuf>) -> Self {
        let known = file
            .as_deref()
            .and_then(|file| fs::read(file).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { file, known, changed: false }
    }

    /// The cached result for this version of the file.
    pub(super) fn get(&self, path: &Path, identity: &Identity) -> Option<Probed> {
        let found = self.known.get(path).filter(|known| known.identity == *identity)?;
        Probed::deserialize(&found.probed).ok()
    }

    /// Adds a result; [`Self::save`] writes it.
    pub(super) fn put(&mut self, path: &Path, identity: Identity, probed: &Probed) {
        let Ok(probed) = serde_json::to_value(probed) else { return };
        self.known.insert(path.to_owned(), Remembered { identity, probed });
        self.changed = true;
    }

    /// Writes the cache if it changed, by rename, so that other processes see the old or the new file.
    pub(super) fn save(mut self) {
        if !self.changed {
            return;
        }
        self.known.retain(|path, _| path.exists());
        if let Some(file) = &self.file
            && let Err(error) = replace(file, &self.known)
        {
            tracing::debug!(file = %file.display(), %error, "cannot write the probe cache");
        }
    }
}

/// Writes a temporary file beside the target and renames it.
fn replace(file: &Path, known: &BTreeMap<PathBuf, Remembered>) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        create_private_folder(folder)?;
    }
    let fresh = file.with_extension(format!("{}.tmp", std::process::id()));
    let written = write_private(&fresh, &serde_json::to_vec(known)?);
    let renamed = written.and_then(|()| fs::rename(&fresh, file));
    if renamed.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    renamed
}
