//! What a run records of one upload: beside the output while it runs, and in the manifest once the
//! object is published.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use transload_plugin_api::Result;

use super::{
    hexadecimal, random_word,
    upload_store::{ObjectInfo, UploadId, UploadStore},
};

/// An upload that the job's commit can complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadEntry {
    pub(crate) key: String,
    /// The upload as the store names it.
    pub(crate) upload: String,
    /// Our mark in the object's metadata.
    pub(crate) token: String,
    /// The parts as the store names them.
    #[serde(default)]
    pub(crate) parts: Vec<String>,
    /// Bytes as stored.
    #[serde(default)]
    pub(crate) size: u64,
    /// Rows, the header not counted.
    #[serde(default)]
    pub(crate) rows: u64,
    /// Of the bytes as stored, in hexadecimal digits.
    #[serde(default)]
    pub(crate) sha256: String,
    /// The version that the object will have, where that is known before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

impl UploadEntry {
    /// An upload that begins; `origin` is `run/task/epoch`.
    pub(crate) fn new(key: &str, origin: &str) -> Result<Self> {
        Ok(Self {
            key: key.to_owned(),
            upload: String::new(),
            token: format!("{origin}/{}", random_word()?),
            parts: Vec::new(),
            size: 0,
            rows: 0,
            sha256: String::new(),
            version: None,
        })
    }

    /// For a small object that is put in one go.
    pub(crate) fn of_content(key: &str, run: &str, content: &[u8]) -> Result<Self> {
        let mut entry = Self::of_commit(key, run)?;
        entry.size = content.len() as u64;
        entry.sha256 = hexadecimal(&Sha256::digest(content));
        Ok(entry)
    }

    /// For an upload that the job's commit makes.
    pub(crate) fn of_commit(key: &str, run: &str) -> Result<Self> {
        Self::new(key, &format!("{run}/0/0"))
    }

    /// The random part of the token.
    pub(crate) fn word(&self) -> &str {
        self.token.rsplit('/').next().unwrap_or_default()
    }

    /// The run that the token names.
    pub(crate) fn run(&self) -> &str {
        self.token.split('/').next().unwrap_or_default()
    }

    /// The task that the token names.
    pub(crate) fn task(&self) -> Option<u32> {
        self.token.split('/').nth(1)?.parse().ok()
    }

    /// Whether a file without our token has the content of this upload: by its version, or by its
    /// hash where a copy has changed that (a restored backup).
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn is_content(
        &self,
        store: &dyn UploadStore,
        key: &str,
        found: &ObjectInfo,
    ) -> Result<bool> {
        if found.size != self.size {
            return Ok(false);
        }
        if self.version.as_ref() == Some(&found.version) {
            return Ok(true);
        }
        let is_hashed = !self.sha256.is_empty();
        Ok(is_hashed && store.content_hash(key)?.is_some_and(|hash| hash == self.sha256))
    }

    pub(crate) fn id(&self) -> UploadId<'_> {
        UploadId { key: &self.key, id: &self.upload, token: &self.token }
    }
}
