//! WHAT ONE LINE ASKS: `copy FROM TO` becomes the text of a job file, which is read like any other.
//!
//! | file | what it does |
//! |---|---|
//! | `argument` | FROM or TO by its form: URL, path, connection and object, standard stream |
//! | `url` | the parts of a URL, each with its place |
//! | `side` | a form and the plugin that declares it: its options with their values |
//! | `text` | the sections of the job file, and which argument each line is from |
//! | `commented` | the same text with comments, to start from |
//! | `first_rows` | the first rows of FROM, and where types come from |
//! | `hint` | hints about keys of a job file in the words of the command line |
//!
//! Nothing here knows a plugin, a scheme or an extension by name: descriptors declare them.

mod argument;
mod commented;
mod first_rows;
mod hint;
mod side;
mod text;
mod url;

use transload_plugin_api::Descriptor;

pub(crate) use commented::commented;
pub(crate) use first_rows::{FirstRows, SeenColumn, SourceColumns};
pub(crate) use hint::in_flags;
pub(crate) use side::{Named, Naming, name_side};
pub(crate) use text::{Settings, job_text, source_text};

use crate::catalog::{Catalog, Entry, Role};

/// FROM or TO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The source.
    From,
    /// The target.
    To,
}

impl End {
    /// As the command's usage has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::From => "FROM",
            Self::To => "TO",
        }
    }

    /// How its flags begin: `--from-format`.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::From => "--from",
            Self::To => "--to",
        }
    }

    /// The role of its plugin.
    pub(crate) fn role(self) -> Role {
        match self {
            Self::From => Role::Reader,
            Self::To => Role::Writer,
        }
    }
}

/// The plugins that can take a role, by what they declare.
pub(crate) fn plugins(catalog: &Catalog, role: Role) -> Vec<&Descriptor> {
    let usable = catalog.list().iter().filter(|entry| entry.is_ok() && entry.roles.contains(&role));
    usable.filter_map(|entry: &Entry| entry.descriptor.as_ref()).collect()
}
