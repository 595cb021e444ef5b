//! The plugin's options: declared once here, for the descriptor and for parsing.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use transload_plugin_api::{
    Addressing, Error, OptionKind, OptionSpec, Options, PathForm, Result, UrlForm, UrlPart,
};
use transload_tables::{Sources, TableName, TargetTable, source_specs, target_specs};

/// Where the reader looks.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    pub(crate) path: PathBuf,
    /// The file does not change while it is read, so that nothing is locked.
    pub(crate) immutable: bool,
}

impl ReaderOptions {
    /// Parses the options; what is read comes apart.
    pub(crate) fn parse(options: &Options) -> Result<(Self, Sources)> {
        let sources = Sources::parse(options, main_table)?.with_whole_queries()?;
        Ok((options.parse(&[connection_specs(), reader_specs()].concat())?, sources))
    }
}

/// How the writer writes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    pub(crate) path: PathBuf,
    /// In milliseconds, as durations are handed over.
    busy_timeout: u64,
    pub(crate) synchronous: Synchronous,
    pub(crate) journal_mode: JournalMode,
}

impl WriterOptions {
    /// Parses the options and the target's name.
    pub(crate) fn parse(options: &Options) -> Result<(Self, TargetTable)> {
        let specs = [connection_specs(), writer_specs()].concat();
        Ok((options.parse(&specs)?, TargetTable::parse(options, main_table)?))
    }

    pub(crate) fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout)
    }
}

/// When SQLite waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Synchronous {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JournalMode {
    Keep,
    Wal,
    Delete,
}

/// The file has no schemas besides its own.
pub(crate) fn main_table(mut name: TableName) -> Result<TableName> {
    match &name.schema {
        Some(schema) if !schema.eq_ignore_ascii_case("main") => {
            let message = format!("`{schema}` is no schema of a database file");
            return Err(Error::options(message)
                .hint("leave the schema out; quote a table's name that holds a dot: `\"a.b\"`"));
        }
        _ => name.schema = Some("main".to_owned()),
    }
    Ok(name)
}

/// The URLs and paths that command lines take.
pub(crate) fn addressing() -> Addressing {
    let url = UrlForm::new(&["sqlite", "sqlite3"], "sqlite:warehouse.db#orders")
        .part(UrlPart::Path, "path")
        .part(UrlPart::Fragment, "table");
    let extensions = ["db", "db3", "sqlite", "sqlite3"].map(str::to_owned).to_vec();
    let (option, fragment) = ("path".to_owned(), "table".to_owned());
    let paths = PathForm { option, extensions, fragment, ..PathForm::default() };
    Addressing { object: "table".to_owned(), urls: vec![url], paths: Some(paths) }
}

/// Options of both roles.
pub(crate) fn connection_specs() -> Vec<OptionSpec> {
    let path = OptionSpec::new("path", OptionKind::Path, "The database file");
    vec![path.required().connection()]
}

/// Options of the reader.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    let immutable = OptionSpec::new(
        "immutable",
        OptionKind::Boolean,
        "The file does not change while it is read: it is not locked, and its folder need not be \
         writable. What is read is wrong if it changes all the same",
    );
    let sources = source_specs("default: its rowid or primary key");
    sources.into_iter().chain([immutable.default(false)]).collect()
}

/// Options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    let own = [
        OptionSpec::new(
            "busy_timeout",
            OptionKind::Duration,
            "How long to wait while another process writes to the database",
        )
        .default("10 s"),
        OptionSpec::choice(
            "synchronous",
            &["full", "normal", "off"],
            "When to wait for the disk; with `off` a power cut can damage the database, with \
             `normal` it can lose the last commits of a WAL database",
        ),
        OptionSpec::choice(
            "journal_mode",
            &["keep", "wal", "delete"],
            "The database's journal, changed for good unless `keep`; `wal` lets others read \
             while the job writes",
        ),
    ];
    target_specs().into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn reader(pairs: &[(&str, &str)]) -> Result<(ReaderOptions, Sources)> {
        let all = pairs.iter().chain(&[("path", "/x.db")]);
        ReaderOptions::parse(&Options::from_pairs(all.map(|(key, value)| (*key, *value))))
    }

    #[test]
    fn what_a_file_does_not_have_is_refused() {
        assert!(reader(&[("table", "main.t")]).is_ok());
        assert!(reader(&[("query", "SELECT 1")]).is_ok());
        for (key, value) in [("table", "other.t"), ("table", "other.t[0-3]")] {
            let error = reader(&[(key, value)]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{value}");
            assert_eq!(error.key.as_deref(), Some("table"));
        }
        let divided = reader(&[("query", "SELECT 1"), ("split_key", "a")]);
        assert_eq!(divided.unwrap_err().kind, ErrorKind::Options);
    }

    #[test]
    fn a_table_is_of_the_main_schema() {
        let options = Options::from_pairs([("path", "/x.db"), ("table", "\"a.b\"")]);
        let (_, table) = WriterOptions::parse(&options).unwrap();
        assert_eq!(table.table().unwrap().to_string(), "main.\"a.b\"");
    }
}
