//! Remembers what probes found, so that a start costs no child process per library. Keyed by path,
//! size, time and hash of the file and by this program's version; anything unreadable or stale is
//! simply probed again, and a cache that cannot be written is not missed. Refusals are not kept:
//! their reason may be mended elsewhere, such as a library that was not installed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::abi::ABI;

use super::probe::Probed;

/// What tells one file from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    size: u64,
    modified_ns: u128,
    sha256: String,
    program: String,
}

impl Identity {
    pub(super) fn new(metadata: &fs::Metadata, sha256: &str) -> Self {
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            size: metadata.len(),
            modified_ns: since.map_or(0, |since| since.as_nanos()),
            sha256: sha256.to_owned(),
            program: format!("{} {ABI}", env!("CARGO_PKG_VERSION")),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Remembered {
    identity: Identity,
    probed: Probed,
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

    pub(super) fn get(&self, path: &Path, identity: &Identity) -> Option<Probed> {
        let found = self.known.get(path).filter(|known| known.identity == *identity)?;
        Some(found.probed.clone())
    }

    pub(super) fn put(&mut self, path: &Path, identity: Identity, probed: &Probed) {
        self.known.insert(path.to_owned(), Remembered { identity, probed: probed.clone() });
        self.changed = true;
    }

    /// Writes what is new, by rename, so that another process sees the old file or the new one.
    pub(super) fn save(mut self) {
        if !self.changed {
            return;
        }
        self.known.retain(|path, _| path.exists());
        if let Some(file) = &self.file
            && let Err(error) = replace(file, &self.known)
        {
            tracing::debug!(file = %file.display(), %error, "the probe cache was not written");
        }
    }
}

fn replace(file: &Path, known: &BTreeMap<PathBuf, Remembered>) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = file.with_extension(format!("{}.tmp", std::process::id()));
    let written = fs::write(&fresh, serde_json::to_vec(known)?);
    let renamed = written.and_then(|()| fs::rename(&fresh, file));
    if renamed.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    renamed
}
