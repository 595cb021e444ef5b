//! What the catalog knows about one library. `plugin list` and `plugin info` print it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use transload_plugin_api::{Descriptor, Error, abi::AbiVersion};

use super::{capabilities::Capabilities, package::Isolation, role::Role, trust::Trust};

/// One library that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The plugin's name; guessed from the file's name if the library could not be probed.
    pub name: String,
    /// The plugin's version, if it was probed.
    pub version: Option<String>,
    /// The roles that it offers.
    pub roles: Vec<Role>,
    /// The library's path.
    pub path: PathBuf,
    /// The file's hash, in hexadecimal; empty if it could not be read.
    pub sha256: String,
    /// The ABI version that it was built for, if it was probed.
    pub abi: Option<AbiVersion>,
    /// Why its code may run, or may not; `None` if another reason keeps it from being used.
    pub trust: Option<Trust>,
    /// Who ships it, as its manifest says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// The least isolation under which it runs.
    pub isolation: Isolation,
    /// The most that it asks for, as its manifest says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Capabilities>,
    /// Whether it is in a folder with a vendor's manifest.
    #[serde(skip)]
    pub is_packed: bool,
    /// Whether it can be used.
    #[serde(flatten)]
    pub status: Status,
    /// Its descriptor, if it was probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
}

/// Whether a library can be used.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// It can be used.
    Ok,
    /// It cannot be used.
    Refused {
        /// The reason.
        reason: Error,
    },
    /// Another library of that name comes first.
    Shadowed {
        /// The path of that library.
        by: PathBuf,
    },
}

impl Entry {
    /// An entry of which only the path is known.
    pub(super) fn unknown(path: &Path) -> Self {
        Self {
            name: name_from_file(path),
            version: None,
            roles: Vec::new(),
            path: path.to_owned(),
            sha256: String::new(),
            abi: None,
            trust: None,
            publisher: None,
            isolation: Isolation::InProcess,
            capabilities: None,
            is_packed: false,
            status: Status::Ok,
            descriptor: None,
        }
    }

    /// The same entry, refused for a reason.
    pub(super) fn refused(mut self, reason: Error) -> Self {
        self.trust = Trust::of_refusal(&reason.code).or(self.trust);
        self.status = Status::Refused { reason };
        self
    }

    /// Whether it can be used.
    pub fn is_ok(&self) -> bool {
        matches!(self.status, Status::Ok)
    }

    /// Whether it runs although no one vouches for it.
    pub fn is_unsigned(&self) -> bool {
        self.is_ok() && self.trust == Some(Trust::Unsigned)
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
