//! What the catalog knows of one library; `plugin list` and `plugin info` print it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Descriptor, Error, abi::AbiVersion};

/// What a plugin can do in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads from its store.
    Reader,
    /// Writes to its store.
    Writer,
}

impl Role {
    /// The roles that a descriptor declares.
    pub(super) fn of(descriptor: &Descriptor) -> Vec<Self> {
        let reader = descriptor.reader.is_some().then_some(Self::Reader);
        let writer = descriptor.writer.is_some().then_some(Self::Writer);
        reader.into_iter().chain(writer).collect()
    }

    pub(super) fn words(roles: &[Self]) -> String {
        roles.iter().map(Self::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
        })
    }
}

/// One library that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What `plugin = "..."` says; guessed from the file's name where the library cannot tell.
    pub name: String,
    /// The plugin's own version, where it could tell.
    pub version: Option<String>,
    /// What it offers.
    pub roles: Vec<Role>,
    /// Where it lies.
    pub path: PathBuf,
    /// The file's hash, in hexadecimal; empty if it could not be read.
    pub sha256: String,
    /// The ABI version that it was built for, where it could tell.
    pub abi: Option<AbiVersion>,
    /// Whether a manifest lists it.
    pub listed: bool,
    /// Whether it can be used.
    #[serde(flatten)]
    pub status: Status,
    /// Everything that it declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
}

/// Whether a library can be used.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// It can.
    Ok,
    /// It cannot.
    Refused {
        /// Why.
        reason: Error,
    },
    /// Another library of that name comes first.
    Shadowed {
        /// Where that one lies.
        by: PathBuf,
    },
}

impl Entry {
    /// An entry of which nothing is known but its place.
    pub(super) fn unknown(path: &Path) -> Self {
        Self {
            name: name_from_file(path),
            version: None,
            roles: Vec::new(),
            path: path.to_owned(),
            sha256: String::new(),
            abi: None,
            listed: false,
            status: Status::Ok,
            descriptor: None,
        }
    }

    pub(super) fn refused(mut self, reason: Error) -> Self {
        self.status = Status::Refused { reason };
        self
    }

    /// Whether it can be used.
    pub fn is_ok(&self) -> bool {
        matches!(self.status, Status::Ok)
    }

    /// What a user should know although it can be used.
    pub fn note(&self) -> Option<&'static str> {
        (self.is_ok() && !self.listed).then_some("not listed in a plugin manifest")
    }
}

/// `libtransload_plugin_object_store.so` is probably `object-store`.
fn name_from_file(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let bare = stem.strip_prefix("lib").unwrap_or(&stem);
    bare.strip_prefix("transload_plugin_").unwrap_or(bare).replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_guessed_from_files() {
        for (file, name) in [
            ("/p/libtransload_plugin_object_store.so", "object-store"),
            ("/p/libacme.so", "acme"),
            ("/p/acme.so", "acme"),
        ] {
            assert_eq!(name_from_file(Path::new(file)), name);
        }
    }
}
