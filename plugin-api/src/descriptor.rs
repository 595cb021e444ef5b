//! What a plugin declares about itself. The host derives validation, help and the reference from
//! it, so each type, write mode and limit is stated once. Options are in `option`.

use serde::{Deserialize, Serialize};

use crate::{Addressing, OptionSpec};

/// Everything a plugin declares. The same each time, whatever the options of a job.
///
/// # Examples
/// ```
/// use transload_plugin_api::{
///     ConflictEffect, Descriptor, Guarantee, KeyNeed, Limits, TypeSupport, WriteMode,
///     WriteModeSpec, WriterDescriptor,
/// };
///
/// let types = ["int64", "text"].map(|name| TypeSupport::new(name, &[name])).to_vec();
/// let upsert = WriteModeSpec::new(
///     WriteMode::Upsert,
///     KeyNeed::UniqueKey,
///     ConflictEffect::Update,
///     Guarantee::Convergent,
///     "updates rows whose key exists",
/// );
/// let descriptor = Descriptor {
///     name: "store".to_owned(),
///     version: "0.1.0".to_owned(),
///     summary: "an example store".to_owned(),
///     writer: Some(WriterDescriptor {
///         types,
///         modes: vec![upsert],
///         limits: Limits { identifier_bytes: Some(63), ..Limits::default() },
///         ..WriterDescriptor::default()
///     }),
///     ..Descriptor::default()
/// };
/// assert!(descriptor.reader.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The name for `plugin = "..."` in job files: lower case letters, digits and `-`.
    pub name: String,
    /// The plugin's own version, by semantic versioning.
    pub version: String,
    /// One line: which store it is for.
    pub summary: String,
    /// Who ships it; empty for the installation's own plugins.
    #[serde(default)]
    pub vendor: String,
    /// A short job that uses the plugin, as the text of its file: help shows it. It passes `check`
    /// beside the installation's own plugins, without secrets and environment variables.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub example: String,
    /// The dialect of the options that hold SQL, and of `before` and `after`.
    #[serde(default)]
    pub dialect: Dialect,
    /// Options of both roles.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// The URLs and paths that name its sources and targets on a command line.
    #[serde(default, skip_serializing_if = "Addressing::is_empty")]
    pub addressing: Addressing,
    /// Its own error codes, such as `ACME-1234`: `transload explain` shows their pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<CodePage>,
    /// What [`crate::Reader::counts`] and [`crate::Writer::counts`] count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<CountSpec>,
    /// Present if the plugin reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<ReaderDescriptor>,
    /// Present if the plugin writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<WriterDescriptor>,
}

/// One error code of a plugin, with the page that `transload explain` shows.
///
/// # Examples
/// ```
/// use transload_plugin_api::CodePage;
///
/// let page = "**Cause.** The index is rebuilt.\n\n**What to do.** Run the job again later.";
/// let code = CodePage::new("ACME-1234", "the index of the table is not ready", page);
/// assert!(code.covers("ACME-1234"));
/// assert!(CodePage::new("ACME-...", "a code of the server", page).covers("ACME-99"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodePage {
    /// Upper case letters, digits and `-`, with the vendor's prefix; or a prefix and `...` for all codes
    /// that begin with it and have no page of their own.
    pub code: String,
    /// One line for the list of codes, without a final period.
    pub meaning: String,
    /// Markdown: the cause, an example, what to do.
    pub page: String,
}

impl CodePage {
    /// A code with its page.
    pub fn new(code: &str, meaning: &str, page: &str) -> Self {
        Self { code: code.to_owned(), meaning: meaning.to_owned(), page: page.to_owned() }
    }

    /// Whether the page is about this code.
    pub fn covers(&self, code: &str) -> bool {
        match self.code.strip_suffix("...") {
            Some(prefix) => code.starts_with(prefix),
            None => self.code == code,
        }
    }
}

/// What one [count](crate::Count) of a plugin means.
///
/// # Examples
/// ```
/// use transload_plugin_api::CountSpec;
///
/// let listed = CountSpec::new("keys_listed", "keys were listed").in_summary();
/// assert!(listed.summary);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountSpec {
    /// The name of the count.
    pub name: String,
    /// The words behind the number: `keys were listed`.
    pub doc: String,
    /// The summary of a run shows it if it is not 0; the report has it anyway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub summary: bool,
}

impl CountSpec {
    /// A count that the report alone shows.
    pub fn new(name: &str, doc: &str) -> Self {
        Self { name: name.to_owned(), doc: doc.to_owned(), summary: false }
    }

    /// The summary shows it, too.
    #[must_use]
    pub fn in_summary(mut self) -> Self {
        self.summary = true;
        self
    }
}

/// How a store writes literals, names and comments in SQL. The host needs it to put parameters of a
/// job into statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Dialect {
    /// Also `E'text'`, `$tag$text$tag$` and nested comments.
    Postgres,
    /// Backslash escapes, `"text"`, `` `name` `` and `# comment`.
    Mysql,
    /// Also `` `name` `` and `[name]`.
    Sqlite,
    /// Standard SQL: `'text'`, `"name"`, `-- comment`. A dialect that this side does not know reads
    /// as this one.
    #[default]
    #[serde(other)]
    Standard,
}

/// What a reader declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReaderDescriptor {
    /// Options of the reader alone.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// Types that its batches can have.
    pub types: Vec<TypeSupport>,
    /// The best ability that any of its splits can have; each split states its own.
    pub ability: SplitAbility,
    /// It parses text, so [`crate::Reader::produces`] accepts any wanted type for a column without
    /// a native type.
    #[serde(default)]
    pub parses_text: bool,
}

/// What a writer declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WriterDescriptor {
    /// Options of the writer alone.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// Types that it accepts.
    pub types: Vec<TypeSupport>,
    /// Its write modes, the default first.
    pub modes: Vec<WriteModeSpec>,
    /// Its load methods besides `auto`.
    #[serde(default)]
    pub loads: Vec<crate::LoadMethod>,
    /// Whether it supports `create_table = true`.
    #[serde(default)]
    pub creates_table: bool,
    /// Whether it runs `before` and `after` statements.
    #[serde(default)]
    pub runs_statements: bool,
    /// The store knows no keys, as one of keys and values: the `key` of the job decides conflicts,
    /// and [`crate::Writer::inspect`] reports none. A host before ABI 1.4 refuses modes that need
    /// a key then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub job_names_key: bool,
    /// The limits of the store.
    #[serde(default)]
    pub limits: Limits,
}

/// One logical type that a plugin supports, and the store's types behind it.
///
/// # Examples
/// ```
/// use transload_plugin_api::TypeSupport;
///
/// let decimals = TypeSupport::new("decimal", &["decimal", "money"])
///     .note("at most 38 digits; longer values are dirty rows");
/// assert_eq!(decimals.native.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeSupport {
    /// A type family's name, as [`crate::LogicalType::family`] prints it.
    pub logical: String,
    /// The store's type names.
    pub native: Vec<String>,
    /// A restriction, such as "more than 15 digits become dirty rows".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl TypeSupport {
    /// A supported family with the native types behind it.
    pub fn new(logical: &str, native: &[&str]) -> Self {
        let native = native.iter().map(|name| (*name).to_owned()).collect();
        Self { logical: logical.to_owned(), native, note: String::new() }
    }

    /// Adds a restriction.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }
}

/// What happens if a row's key exists in the destination.
///
/// | mode | existing row | counted as |
/// |---|---|---|
/// | `insert` | stays | dirty |
/// | `ignore` | stays | skipped |
/// | `upsert` | its update columns change | updated |
/// | `replace` | is deleted, the new one inserted | updated |
/// | `overwrite` | all existing rows go at the job's commit | inserted |
///
/// A store without keys has no conflicts: `insert` adds every row there.
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
    /// Which key the target must have.
    pub needs: KeyNeed,
    /// What a conflict does.
    pub conflict: ConflictEffect,
    /// The strongest guarantee that it can give; the draft of a plan states the one for that plan.
    pub guarantee: Guarantee,
    /// One line for help and reference.
    pub doc: String,
}

impl WriteModeSpec {
    /// A mode with all its properties.
    pub fn new(
        mode: WriteMode,
        needs: KeyNeed,
        conflict: ConflictEffect,
        guarantee: Guarantee,
        doc: &str,
    ) -> Self {
        Self { mode, needs, conflict, guarantee, doc: doc.to_owned() }
    }

    /// An insert that needs no key and finds no conflicts, and whose rerun adds the rows again.
    pub fn insert(doc: &str) -> Self {
        let (mode, needs) = (WriteMode::Insert, KeyNeed::Nothing);
        Self::new(mode, needs, ConflictEffect::None, Guarantee::AtLeastOnce, doc)
    }
}

/// Which key a write mode needs in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyNeed {
    /// None.
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
    /// The store has no keys, so rows never conflict.
    None,
}

/// What a job promises about the effect of each row in the target; weakest first, so guarantees
/// can be compared.
///
/// # Examples
/// ```
/// use transload_plugin_api::Guarantee;
///
/// assert!(Guarantee::AtomicJob > Guarantee::Convergent);
/// assert_eq!(Guarantee::default().word(), "at-least-once");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Every row is applied one or more times: a rerun after a failure may duplicate rows.
    #[default]
    AtLeastOnce,
    /// A completed run leaves the same target as a single pass would, because the key makes rows
    /// idempotent. While it runs, earlier versions of rows may be visible.
    Convergent,
    /// The committed state contains the effect of every row exactly once, at every moment.
    EffectivelyOnce,
    /// Effectively once, and no part of a unit (a partition, a file) is visible before all of it.
    AtomicUnit,
    /// Effectively once, and no part of the job is visible before all of it.
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

/// What a reader promises about reading a split again; weakest first. The host relies on it after
/// a lost connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitAbility {
    /// Nothing: rows that were returned may not be returned again. Never opened twice.
    #[default]
    Volatile,
    /// The same set of rows, in any order. Opened again only if no batch has been returned.
    Bounded,
    /// The same rows in the same order, but only from the start. Opened again there; the host skips
    /// the rows that came before.
    Replayable,
    /// The same rows in the same order, from any position. Opened again after the last position.
    Seekable,
}

/// The limits of a store; `None` for no limit.
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
    /// The chunk size that suits the store, in bytes; the host's default if absent.
    #[serde(default)]
    pub chunk_bytes: Option<u64>,
    /// A chunk is one transaction that can be rolled back.
    #[serde(default)]
    pub transactional: bool,
}
