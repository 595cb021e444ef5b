//! The plugin's options: declared once here, for the descriptor and for parsing.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use transload_plugin_api::{Error, ErrorKind, OptionKind, OptionSpec, Options, Result};
use transload_sql::TableName;

/// What the reader is asked for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    pub(crate) path: PathBuf,
    table: Option<String>,
    query: Option<String>,
    #[serde(rename = "where")]
    pub(crate) filter: Option<String>,
    pub(crate) split_key: Option<String>,
}

/// What is read.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A table or view.
    Table(TableName),
    /// The rows of a query.
    Query(String),
}

impl ReaderOptions {
    /// Parses the options; what is read comes apart, because it is one of two.
    pub(crate) fn parse(options: &Options) -> Result<(Self, Source)> {
        let parsed: Self = options.parse()?;
        let source = match (&parsed.table, &parsed.query) {
            (Some(table), None) => Source::Table(main_table(table)?),
            (None, Some(query)) => Source::Query(query.clone()),
            (Some(_), Some(_)) => return Err(refuse("`table` and `query` exclude each other")),
            (None, None) => return Err(refuse("neither `table` nor `query` is given")),
        };
        if matches!(source, Source::Query(_)) {
            let extra =
                [("where", parsed.filter.is_some()), ("split_key", parsed.split_key.is_some())];
            if let Some((key, _)) = extra.iter().find(|(_, given)| *given) {
                return Err(refuse(&format!("`{key}` goes with `table`, not with `query`")));
            }
        }
        Ok((parsed, source))
    }
}

/// How the writer writes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    pub(crate) path: PathBuf,
    table: String,
    /// In milliseconds, as durations are handed over.
    #[serde(default = "default_busy_timeout")]
    busy_timeout: u64,
    #[serde(default)]
    pub(crate) synchronous: Synchronous,
    #[serde(default)]
    pub(crate) journal_mode: JournalMode,
}

fn default_busy_timeout() -> u64 {
    10_000
}

impl WriterOptions {
    /// Parses the options and the target's name.
    pub(crate) fn parse(options: &Options) -> Result<(Self, TableName)> {
        let parsed: Self = options.parse()?;
        let table = main_table(&parsed.table)?;
        Ok((parsed, table))
    }

    pub(crate) fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout)
    }
}

/// When SQLite waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Synchronous {
    #[default]
    Full,
    Normal,
    Off,
}

impl Synchronous {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
            Self::Off => "OFF",
        }
    }
}

/// How the database keeps what a transaction changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JournalMode {
    #[default]
    Keep,
    Wal,
    Delete,
}

/// The file has no schemas besides its own.
fn main_table(text: &str) -> Result<TableName> {
    let mut name: TableName = text.parse()?;
    match &name.schema {
        Some(schema) if !schema.eq_ignore_ascii_case("main") => {
            let message = format!("`{schema}` is no schema of a database file");
            return Err(Error::new(ErrorKind::Options, message)
                .at("option `table`")
                .hint("leave the schema out; quote a table's name that holds a dot: `\"a.b\"`"));
        }
        _ => name.schema = Some("main".to_owned()),
    }
    Ok(name)
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::Options, message).hint("give exactly one of `table` and `query`")
}

/// Options of both roles.
pub(crate) fn connection_specs() -> Vec<OptionSpec> {
    let path = OptionSpec::new("path", OptionKind::Path, "The database file");
    vec![path.required().connection()]
}

/// Options of the reader.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new("table", OptionKind::Text, "The table or view to read; or give `query`"),
        OptionSpec::new("query", OptionKind::Text, "The SELECT to read; or give `table`"),
        OptionSpec::new("where", OptionKind::Text, "A condition on the table's rows, as SQL"),
        OptionSpec::new(
            "split_key",
            OptionKind::Text,
            "The column by whose ranges the table is divided; default: its rowid or primary key",
        ),
    ]
}

/// Options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new("table", OptionKind::Text, "The table to write").required(),
        OptionSpec::new(
            "busy_timeout",
            OptionKind::Duration,
            "How long to wait while somebody else writes to the database",
        )
        .default("10 s"),
        OptionSpec::new(
            "synchronous",
            OptionKind::choice(&["full", "normal", "off"]),
            "When to wait for the disk; with `off` a power cut can damage the database, with \
             `normal` it can lose the last commits of a WAL database",
        )
        .default("full"),
        OptionSpec::new(
            "journal_mode",
            OptionKind::choice(&["keep", "wal", "delete"]),
            "The database's journal, changed for good unless `keep`; `wal` lets others read \
             while the job writes",
        )
        .default("keep"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pairs: &[(&str, &str)]) -> Result<(ReaderOptions, Source)> {
        let all = pairs.iter().chain(&[("path", "/x.db")]);
        ReaderOptions::parse(&Options::from_pairs(all.map(|(key, value)| (*key, *value))))
    }

    #[test]
    fn table_and_query_exclude_each_other() {
        assert!(reader(&[("table", "t")]).is_ok());
        assert!(reader(&[("query", "SELECT 1")]).is_ok());
        for wrong in [
            &[][..],
            &[("table", "t"), ("query", "SELECT 1")],
            &[("query", "SELECT 1"), ("where", "a")],
            &[("query", "SELECT 1"), ("split_key", "a")],
            &[("table", "other.t")],
        ] {
            assert_eq!(reader(wrong).unwrap_err().kind, ErrorKind::Options, "{wrong:?}");
        }
    }

    #[test]
    fn defaults_agree_with_the_descriptor() {
        let options = Options::from_pairs([("path", "/x.db"), ("table", "\"a.b\"")]);
        let (parsed, table) = WriterOptions::parse(&options).unwrap();
        assert_eq!((table.table.as_str(), parsed.busy_timeout()), ("a.b", Duration::from_secs(10)));
        assert_eq!(parsed.synchronous, Synchronous::Full);
        assert_eq!(parsed.journal_mode, JournalMode::Keep);
        let words: Vec<_> = writer_specs().into_iter().filter_map(|spec| spec.default).collect();
        assert_eq!(words, ["10 s", "full", "keep"]);
    }
}
