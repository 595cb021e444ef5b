//! The host's own keys of a job file: section, name, kind and meaning, stated once. [`Section`] refuses
//! what is not listed here, and `json_schema` shows the list to editors. A plugin's options are in
//! its descriptor.
//!
//! [`Section`]: super::section::Section

/// Smallest `buffer`, in bytes.
pub(super) const MIN_BUFFER_BYTES: u64 = 1 << 20;
/// Shortest `stall_timeout`, in milliseconds.
pub(super) const MIN_STALL_MS: u64 = 1_000;
/// Most tasks that run at the same time.
pub(super) const MAX_PARALLELISM: i64 = 1024;
/// Most rows of a chunk.
pub(super) const MAX_CHUNK_ROWS: i64 = 100_000_000;
/// Oldest chunk, in seconds.
pub(super) const MAX_CHUNK_SECONDS: i64 = 3600;
/// Longest prefix of the token tables' names, in bytes.
pub(super) const MAX_PREFIX: usize = 40;
/// Longest job name, in bytes: it is part of the path of a run's folder.
pub(super) const MAX_NAME: usize = 100;

/// One key of a section.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// One sentence without a final period.
    pub(super) doc: &'static str,
}

/// What values a key takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A table with these keys, and in [`READER`] and [`WRITER`] also the plugin's options.
    Section(&'static [Key]),
    /// The name of a job: part of a path.
    JobName,
    /// The name of a plugin.
    Plugin,
    Text,
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    /// A number from 0 to 1.
    Ratio,
    /// Bytes, at least this many.
    Size {
        min: u64,
    },
    /// Time, at least this many milliseconds.
    Duration {
        min: u64,
    },
    /// A number of rows, or `"unlimited"`.
    Rows,
    /// One column name or a list of them.
    Names,
    /// One string or a list of them.
    Statements,
    /// A table of strings.
    Map,
    /// A table of logical types.
    Types,
    /// A table of strings and integers.
    Parameters,
    WriteMode,
    Load,
    /// Where a plugin runs.
    Isolation,
    Guarantee,
    /// A table of patterns, each with sections.
    Tables,
    /// What happens to the other tables if one fails.
    OnTableFailure,
    /// What names of tables begin with.
    TablePrefix,
    /// A text or an integer.
    Value,
    /// A time, or a number from 0.
    Lookback,
    OnNull,
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc }
}

/// The keys and sections at the top of a job file.
pub(super) const TOP: &[Key] = &[
    key("name", Kind::JobName, "The job's name; default: the file's name"),
    key("params", Kind::Parameters, "Values for `${name}`; `--param` has precedence"),
    key("time_zone", Kind::Text, "The zone of dates such as `${bizdate}`; default: the machine's"),
    key("reader", Kind::Section(READER), "The source"),
    key("writer", Kind::Section(WRITER), "The target"),
    key("map", Kind::Map, "Target column = source column, where the names differ"),
    key("channel", Kind::Section(CHANNEL), "Parallelism, buffer and rate limits"),
    key("dirty", Kind::Section(DIRTY), "How many dirty rows the job allows"),
    key("guarantee", Kind::Section(GUARANTEE), "What the plan must promise"),
    key("checkpoint", Kind::Section(CHECKPOINT), "How much is committed at once"),
    key("tables", Kind::Tables, "Of a job of many tables: sections that differ, by pattern"),
    key(
        "on_table_failure",
        Kind::OnTableFailure,
        "Of a job of many tables: `stop` (default) begins no other table after a failure",
    ),
    key("incremental", Kind::Section(INCREMENTAL), "Read only what is new since the last run"),
];

/// The host's own keys in `[reader]`. A plugin's options have other names.
pub(super) const READER: &[Key] = &[
    key("plugin", Kind::Plugin, "The plugin that reads"),
    key("connection", Kind::Text, "The connection that gives address and login"),
    key("isolation", Kind::Isolation, "Where the plugin runs at least; default: in the program"),
    key("columns", Kind::Names, "The columns to read, in this order; default: all"),
    key("schema", Kind::Types, "Types of columns, in place of those of the source or the sample"),
];

/// The host's own keys in `[writer]`.
pub(super) const WRITER: &[Key] = &[
    key("plugin", Kind::Plugin, "The plugin that writes"),
    key("connection", Kind::Text, "The connection that gives address and login"),
    key("isolation", Kind::Isolation, "Where the plugin runs at least; default: in the program"),
    key("write_mode", Kind::WriteMode, "What happens when a row's key exists in the target"),
    key("key", Kind::Names, "The key columns; default: the target's primary key"),
    key("update_columns", Kind::Names, "What an upsert updates; default: all columns but the key"),
    key("load", Kind::Load, "How rows are loaded; default: the fastest way that fits"),
    key("before", Kind::Statements, "SQL before the first row"),
    key("after", Kind::Statements, "SQL after the last row"),
    key("create_table", Kind::Boolean, "Create the table if it does not exist"),
];

const CHANNEL: &[Key] = &[
    key(
        "parallelism",
        Kind::Integer { min: 1, max: MAX_PARALLELISM },
        "Tasks that run at the same time; default: the number of cores",
    ),
    key(
        "buffer",
        Kind::Size { min: MIN_BUFFER_BYTES },
        "Batches in flight over all tasks; default: 16 MiB for each task",
    ),
    key("max_bytes_per_second", Kind::Size { min: 1 }, "Limit over all tasks"),
    key(
        "stall_timeout",
        Kind::Duration { min: MIN_STALL_MS },
        "A task without progress for this long is reported; default: 60 s",
    ),
    key("max_rows_per_second", Kind::Integer { min: 1, max: i64::MAX }, "Limit over all tasks"),
];

const DIRTY: &[Key] = &[
    key("max_rows", Kind::Rows, "Most dirty rows; default: 0, the first one stops the run"),
    key("max_ratio", Kind::Ratio, "Largest share of dirty rows among the rows read"),
    key("max_rows_of", Kind::Section(DIRTY_CLASSES), "Most dirty rows of each class"),
];

/// The keys are the words of the classes.
const DIRTY_CLASSES: &[Key] = &[
    key(
        "parse",
        Kind::Rows,
        "Records that cannot be divided, texts that are no value of their type",
    ),
    key("encoding", Kind::Rows, "Texts that are not in their encoding"),
    key("type", Kind::Rows, "Values that their column does not hold"),
    key("constraint", Kind::Rows, "What constraints and triggers refuse, missing values"),
];

const GUARANTEE: &[Key] = &[
    key("require", Kind::Guarantee, "The plan fails if it cannot promise this level"),
    key("create_tables", Kind::Boolean, "Create the tables for commit tokens if they are missing"),
    key("schema", Kind::Text, "The schema that holds them; default: the target's"),
    key("prefix", Kind::TablePrefix, "What their names begin with; default: `transload_`"),
];

const CHECKPOINT: &[Key] = &[
    key(
        "rows",
        Kind::Integer { min: 1, max: MAX_CHUNK_ROWS },
        "Most rows that a task commits at once; default: 50,000",
    ),
    key(
        "bytes",
        Kind::Size { min: 1 },
        "Most bytes; default: what suits the target; half of the task's part of `buffer` at most",
    ),
    key(
        "seconds",
        Kind::Integer { min: 1, max: MAX_CHUNK_SECONDS },
        "A smaller part is committed after this time; default: 5",
    ),
];

const INCREMENTAL: &[Key] = &[
    key("column", Kind::Text, "The source's column whose values grow"),
    key("key", Kind::Names, "Columns that order rows of the same value"),
    key("start", Kind::Value, "The first value of the first run; default: all rows"),
    key(
        "lookback",
        Kind::Lookback,
        "How far before the last value a run begins: a time, or a number for a column of numbers",
    ),
    key("on_null", Kind::OnNull, "What is done with rows without a value; default: `fail`"),
];

/// The names of keys.
pub(super) fn names<'n>(keys: &'static [Key]) -> impl Iterator<Item = &'n str> {
    keys.iter().map(|key| key.name)
}

/// The host's own keys in `[reader]`, by name.
pub(crate) fn reader_keys() -> Vec<&'static str> {
    names(READER).collect()
}

/// The host's own keys in `[writer]`, by name.
pub(crate) fn writer_keys() -> Vec<&'static str> {
    names(WRITER).collect()
}
