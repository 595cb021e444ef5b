//! How far a library is trusted, and what decides it.

use std::fmt;

use serde::{Deserialize, Serialize};
use transload_plugin_api::code;

/// Why the code of a library may run, or may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It belongs to the installation.
    Builtin,
    /// Signed by a publisher whose plugins may run in this process, and locked.
    Trusted,
    /// Signed by a publisher who is known.
    Signed,
    /// Its hash was pinned.
    Pinned,
    /// No one vouches for it.
    Unsigned,
    /// It is not what was signed, listed or pinned.
    Modified,
    /// It was revoked.
    Revoked,
    /// It was built for another program, version or machine.
    WrongAbi,
}

impl Trust {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Trusted => "trusted",
            Self::Signed => "signed",
            Self::Pinned => "pinned",
            Self::Unsigned => "unsigned",
            Self::Modified => "modified",
            Self::Revoked => "revoked",
            Self::WrongAbi => "wrong-abi",
        }
    }

    /// What a refusal with this code says about it.
    pub(super) fn of_refusal(refusal: &str) -> Option<Self> {
        match refusal {
            code::PLUGIN_HASH | code::PLUGIN_SIGNATURE => Some(Self::Modified),
            code::PLUGIN_REVOKED => Some(Self::Revoked),
            code::PLUGIN_UNSIGNED | code::PLUGIN_PUBLISHER => Some(Self::Unsigned),
            code::PLUGIN_ABI
            | code::PLUGIN_HEADER
            | code::PLUGIN_LAYOUT
            | code::PLUGIN_HOST
            | code::PLUGIN_PLATFORM => Some(Self::WrongAbi),
            _ => None,
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
