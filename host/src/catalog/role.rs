//! The two roles of a plugin.

use std::fmt;

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Descriptor, OptionSpec};

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

    /// Several roles for a message: `reader, writer`.
    pub(super) fn words(roles: &[Self]) -> String {
        roles.iter().map(|role| role.word()).collect::<Vec<_>>().join(", ")
    }

    /// The role's name, which is also that of its section in a job file.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
        }
    }

    /// The other role.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Reader => Self::Writer,
            Self::Writer => Self::Reader,
        }
    }

    /// The options of this role alone; `None` if the plugin does not have it.
    pub(crate) fn options(self, descriptor: &Descriptor) -> Option<&[OptionSpec]> {
        match self {
            Self::Reader => descriptor.reader.as_ref().map(|reader| reader.options.as_slice()),
            Self::Writer => descriptor.writer.as_ref().map(|writer| writer.options.as_slice()),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
