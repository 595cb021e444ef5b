//! What a plugin declares about itself. Validation, help, forms and the reference all come from
//! here, so each option, default and type is stated once.

use serde::{Deserialize, Serialize};

use crate::OptionSpec;

/// Everything a plugin declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What `plugin = "..."` says: lower case letters, digits and `-`.
    pub name: String,
    /// The plugin's own version, by semantic versioning.
    pub version: String,
    /// One line: which store it speaks to.
    pub summary: String,
    /// Who ships it; empty for the installation's own plugins.
    #[serde(default)]
    pub vendor: String,
    /// Options that both roles know.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// Present if the plugin reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<ReaderDescriptor>,
    /// Present if the plugin writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<WriterDescriptor>,
}

/// What a reader declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReaderDescriptor {
    /// Options of the reader alone.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// Types it makes.
    pub types: Vec<TypeSupport>,
    /// The best ability any of its splits can have; each split says its own.
    pub ability: SplitAbility,
    /// It parses text, so it makes whatever type is wanted of a column that has no native type.
    #[serde(default)]
    pub parses_text: bool,
}

/// What a writer declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WriterDescriptor {
    /// Options of the writer alone.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// Types it takes.
    pub types: Vec<TypeSupport>,
    /// Write modes it has, its default first.
    pub modes: Vec<WriteModeSpec>,
    /// Ways to send rows besides `auto`.
    #[serde(default)]
    pub loads: Vec<crate::LoadMethod>,
    /// `create_table = true` works.
    #[serde(default)]
    pub creates_table: bool,
    /// `before` and `after` statements work.
    #[serde(default)]
    pub runs_statements: bool,
    /// What the store cannot exceed.
    #[serde(default)]
    pub limits: Limits,
}

/// One logical type that a plugin supports, and the store's types behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeSupport {
    /// A type family's name, as [`crate::LogicalType::family`] prints it.
    pub logical: String,
    /// The store's type names.
    pub native: Vec<String>,
    /// What one should know, such as "more than 15 digits become dirty rows".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl TypeSupport {
    /// A supported family with the native types behind it.
    pub fn new(logical: &str, native: &[&str]) -> Self {
        let native = native.iter().map(|name| (*name).to_owned()).collect();
        Self { logical: logical.to_owned(), native, note: String::new() }
    }

    /// Adds what one should know.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }
}

/// What happens when a row's key is in the destination already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteMode {
    /// The row is dirty.
    #[default]
    Insert,
    /// The row is skipped.
    Ignore,
    /// The named columns are updated.
    Upsert,
    /// The old row is deleted and the new one inserted.
    Replace,
    /// The destination's content is replaced as a whole.
    Overwrite,
}

impl WriteMode {
    /// The word in job files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Ignore => "ignore",
            Self::Upsert => "upsert",
            Self::Replace => "replace",
            Self::Overwrite => "overwrite",
        }
    }
}

/// One write mode of a writer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteModeSpec {
    /// Which mode.
    pub mode: WriteMode,
    /// What it needs of the target.
    pub needs: KeyNeed,
    /// What a conflict does.
    pub conflict: ConflictEffect,
    /// The best guarantee it can give; the draft of a plan says what it gives here.
    pub guarantee: Guarantee,
    /// One line for help and reference.
    pub doc: String,
}

impl WriteModeSpec {
    /// A mode with everything that is declared of it.
    pub fn new(
        mode: WriteMode,
        needs: KeyNeed,
        conflict: ConflictEffect,
        guarantee: Guarantee,
        doc: &str,
    ) -> Self {
        Self { mode, needs, conflict, guarantee, doc: doc.to_owned() }
    }
}

/// What a write mode needs of the target's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyNeed {
    /// Nothing.
    Nothing,
    /// A primary key or any unique key over exactly the job's key columns.
    UniqueKey,
    /// A primary key.
    PrimaryKey,
}

/// What a key conflict does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictEffect {
    /// The row is counted dirty.
    Dirty,
    /// The row is counted skipped.
    Skip,
    /// The row in the target is updated.
    Update,
    /// The row in the target is deleted first.
    Replace,
    /// There are no keys here, so there are no conflicts between rows.
    None,
}

/// How sure a job can be that each row's effect is there once; weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Every row read is applied one or more times.
    #[default]
    AtLeastOnce,
    /// A completed run leaves what one pass would, because the key makes it idempotent.
    Convergent,
    /// In the committed state every row's effect appears exactly once, at every moment.
    EffectivelyOnce,
    /// Effectively once, and nothing of a unit is visible before all of it is.
    AtomicUnit,
    /// Effectively once, and nothing of the job is visible before all of it is.
    AtomicJob,
}

impl Guarantee {
    /// The word in job files and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at-least-once",
            Self::Convergent => "convergent",
            Self::EffectivelyOnce => "effectively-once",
            Self::AtomicUnit => "atomic-unit",
            Self::AtomicJob => "atomic-job",
        }
    }
}

/// What a split's reader can promise about reading it again; weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitAbility {
    /// Nothing.
    #[default]
    Volatile,
    /// The same set of rows, in unknown order.
    Bounded,
    /// The same rows in the same order, but only from the start.
    Replayable,
    /// Reading can start after a given position.
    Seekable,
}

/// What a store cannot exceed; `None` where there is no such limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest identifier, in bytes.
    #[serde(default)]
    pub identifier_bytes: Option<u32>,
    /// Most digits of a decimal.
    #[serde(default)]
    pub decimal_digits: Option<u8>,
    /// Largest single request, in bytes.
    #[serde(default)]
    pub packet_bytes: Option<u64>,
    /// The chunk size that suits the store, in bytes; the host's own where absent.
    #[serde(default)]
    pub chunk_bytes: Option<u64>,
    /// A chunk is one transaction that can be rolled back.
    #[serde(default)]
    pub transactional: bool,
}
