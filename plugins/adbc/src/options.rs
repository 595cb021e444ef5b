//! The plugin's options: declared once here, for the descriptor and for parsing.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;
use transload_plugin_api::{Addressing, OptionKind, OptionSpec, Options, Result};
use transload_tables::{Sources, TargetTable, source_specs, target_specs};

/// Which driver, and what it is told.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConnectionOptions {
    pub(crate) driver: String,
    pub(crate) entrypoint: Option<String>,
    pub(crate) additional_search_path: Vec<PathBuf>,
    pub(crate) uri: Option<String>,
    pub(crate) username: Option<String>,
    /// Of the database, by the driver's names.
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) connection_options: BTreeMap<String, String>,
    pub(crate) statement_options: BTreeMap<String, String>,
    /// In milliseconds, as durations are handed over.
    connect_timeout: u64,
}

impl ConnectionOptions {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout)
    }
}

/// The reader's options, and what is read.
pub(crate) fn parse_reader(options: &Options) -> Result<(ConnectionOptions, Sources)> {
    let sources = Sources::parse(options, Ok)?.with_whole_queries()?;
    Ok((options.parse(&[connection_specs(), reader_specs()].concat())?, sources))
}

/// The writer's options, and its target.
pub(crate) fn parse_writer(options: &Options) -> Result<(ConnectionOptions, TargetTable)> {
    let parsed = options.parse(&[connection_specs(), writer_specs()].concat())?;
    Ok((parsed, TargetTable::parse(options, Ok)?))
}

/// `CONNECTION:TABLE`; every driver has URIs of its own.
pub(crate) fn addressing() -> Addressing {
    Addressing { object: "table".to_owned(), ..Addressing::default() }
}

/// Options of both roles.
pub(crate) fn connection_specs() -> Vec<OptionSpec> {
    let text = |key: &str, doc: &str| OptionSpec::new(key, OptionKind::Text, doc).connection();
    let map = |key: &str, doc: &str| OptionSpec::new(key, OptionKind::Map, doc).connection();
    vec![
        text(
            "driver",
            "The driver: its name, looked for as ADBC says (`ADBC_DRIVER_PATH`, \
             `~/.config/adbc/drivers`, `/etc/adbc/drivers`), or the absolute path of its library \
             or manifest",
        )
        .required(),
        text(
            "entrypoint",
            "The function of the library that makes the driver; default: what the manifest names, \
             or the usual ones",
        ),
        OptionSpec::new(
            "additional_search_path",
            OptionKind::Paths,
            "Folders in which the driver is looked for first",
        )
        .connection(),
        text("uri", "The database, in the driver's own form"),
        text("username", "The user, where the driver takes one beside the URI"),
        text("password", "The password; it goes into a URI that has a user and no password")
            .secret(),
        map("options", "Options of the database, by the driver's names"),
        map("connection_options", "Options of each connection, by the driver's names"),
        map("statement_options", "Options of each statement, by the driver's names"),
        OptionSpec::new(
            "connect_timeout",
            OptionKind::Duration,
            "How long the driver may take to connect",
        )
        .default("30 s")
        .connection(),
    ]
}

/// Options of the reader.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    source_specs("an integer column; default: the table is one split")
}

/// Options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    target_specs()
}
