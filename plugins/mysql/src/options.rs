//! The plugin's options: declared once here, for the descriptor and for parsing. Options shared by
//! all SQL plugins are in `transload_tables`.

use std::{ops::Deref, path::PathBuf};

use serde::Deserialize;
use transload_plugin_api::{Addressing, Error, OptionKind, OptionSpec, Options, Result};
use transload_tables::{
    AddressRules, Dialect as _, Sources, TableName, TargetTable, source_specs, target_specs,
};

use crate::dialect::MysqlDialect;

/// The options of a connection that other servers have as well.
const ADDRESS: AddressRules = AddressRules {
    schemes: &["mysql", "mariadb"],
    port: 3306,
    database_is_user: false,
    // The path is that of the socket's file.
    socket: |host, _port| host.into(),
};

/// Where the server is, and how far it is trusted there.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    place: transload_tables::Address,
    /// A copy of the server's public key (PEM).
    server_public_key: Option<PathBuf>,
    /// Whether a key that the server sends without TLS is used.
    pub(crate) allow_public_key_retrieval: bool,
}

#[derive(Deserialize)]
struct RawAddress {
    server_public_key: Option<PathBuf>,
    allow_public_key_retrieval: bool,
}

impl Address {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let place = transload_tables::Address::parse(options, &ADDRESS)?;
        let raw: RawAddress = options.parse(&connection_specs())?;
        Ok(Self {
            place,
            server_public_key: raw.server_public_key,
            allow_public_key_retrieval: raw.allow_public_key_retrieval,
        })
    }

    /// The server's public key, if the connection names its file.
    pub(crate) fn server_key(&self) -> Result<Option<Vec<u8>>> {
        let Some(file) = &self.server_public_key else { return Ok(None) };
        let key = std::fs::read(file).map_err(|error| {
            Error::options(format!("cannot read the server's public key: {error}"))
                .at(file.display().to_string())
        })?;
        Ok(Some(key))
    }
}

impl Deref for Address {
    type Target = transload_tables::Address;

    fn deref(&self) -> &transload_tables::Address {
        &self.place
    }
}

/// The reader's options, except for the address and the sources.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    pub(crate) zero_dates: ZeroDates,
    pub(crate) consistency: Consistency,
}

/// How invalid dates such as `0000-00-00` are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ZeroDates {
    /// The row is dirty.
    Reject,
    /// They become NULL if the column is nullable, else the row is dirty.
    Null,
    /// They become 1970-01-01.
    Epoch,
    /// All dates of the source are read as text.
    Text,
}

/// Whether all splits see the same state of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Consistency {
    /// Each split sees the state at its own start.
    Split,
    /// All splits see the same state.
    Snapshot,
}

impl ReaderOptions {
    /// Parses the options; returns the address and the sources separately.
    pub(crate) fn parse(options: &Options) -> Result<(Self, Address, Sources)> {
        let parsed: Self = options.parse(&reader_specs())?;
        let address = Address::parse(options)?;
        let resolve = |name| named(name, &address);
        let sources = Sources::parse(options, resolve)?.with_whole_queries()?;
        if sources.are_many() && parsed.consistency == Consistency::Snapshot {
            let message = "`consistency = \"snapshot\"` reads one table, not several";
            return Err(Error::unsupported(message)
                .of_key("consistency")
                .hint("leave it out, or put the tables into one `query` with UNION ALL"));
        }
        Ok((parsed, address, sources))
    }
}

/// The writer's options, except for the address and the target.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    pub(crate) overwrite: Overwrite,
    /// In milliseconds, as durations are passed.
    lock_timeout: u64,
}

/// What write mode `overwrite` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Overwrite {
    /// Rows are staged, and the stage takes the target's name.
    Swap,
    /// The target is emptied first and filled chunk by chunk.
    Truncate,
}

impl WriterOptions {
    /// How long to wait for rows locked by another session; the servers count whole seconds.
    pub(crate) fn lock_seconds(&self) -> u64 {
        self.lock_timeout.div_ceil(1000).max(1)
    }

    /// Parses the options; returns the address and the target separately.
    pub(crate) fn parse(options: &Options) -> Result<(Self, Address, TargetTable)> {
        let parsed: Self = options.parse(&writer_specs())?;
        let address = Address::parse(options)?;
        let target = TargetTable::parse(options, |name| named(name, &address))?;
        Ok((parsed, address, target))
    }
}

/// The table with its database; the connection's database if the job names none.
fn named(mut name: TableName, address: &Address) -> Result<TableName> {
    for part in name.schema.iter().chain([&name.table]) {
        if let Some(limit) = MysqlDialect.passed_limit(part) {
            let message = format!("`{part}` is longer than {limit}");
            return Err(Error::options(message));
        }
    }
    name.schema.get_or_insert_with(|| address.database.clone());
    Ok(name)
}

/// The URLs that command lines take.
pub(crate) fn addressing() -> Addressing {
    ADDRESS.addressing()
}

/// Options of both roles.
pub(crate) fn connection_specs() -> Vec<OptionSpec> {
    let own = [
        OptionSpec::new(
            "server_public_key",
            OptionKind::Path,
            "A copy of the server's public_key.pem, which encrypts the password without TLS",
        )
        .connection(),
        OptionSpec::new(
            "allow_public_key_retrieval",
            OptionKind::Boolean,
            "Accept the public key that the server sends for encrypting the password without TLS; an impostor of the server can read the password",
        )
        .default(false)
        .connection(),
    ];
    ADDRESS.specs().into_iter().chain(own).collect()
}

/// Options of the reader.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    let own = [
        OptionSpec::choice(
            "zero_dates",
            &["reject", "null", "epoch", "text"],
            "How invalid dates such as 0000-00-00 or 2024-00-10 are read: as a dirty row (unless \
             the target is MySQL or MariaDB and has the same type), NULL if the column is \
             nullable, 1970-01-01, or text (then all date columns are read as text)",
        ),
        OptionSpec::choice(
            "consistency",
            &["split", "snapshot"],
            "`snapshot`: all splits see the same state of the table, which is locked against writes \
             for a moment (a single split without the right to lock); `split`: each split sees the \
             state at its own start",
        ),
    ];
    let sources = source_specs("default: the first of its primary key");
    sources.into_iter().chain(own).collect()
}

/// Options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    let mut specs = target_specs();
    let overwrite = OptionSpec::choice(
        "overwrite",
        &["swap", "truncate"],
        "What write_mode `overwrite` does: `swap` stages the rows in a table that then takes \
         the target's name atomically; `truncate` empties the target first, which cannot be undone, \
         and fills it chunk by chunk",
    );
    let lock = OptionSpec::new(
        "lock_timeout",
        OptionKind::Duration,
        "How long to wait for rows locked by another session, in whole seconds",
    );
    specs.extend([overwrite, lock.default("10 s")]);
    specs
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn reader(pairs: &[(&str, &str)]) -> Result<(ReaderOptions, Address, Sources)> {
        let all = [("host", "127.0.0.1"), ("user", "u"), ("database", "d")];
        let all = pairs.iter().chain(&all).rev();
        ReaderOptions::parse(&Options::from_pairs(all.map(|(key, value)| (*key, *value))))
    }

    #[test]
    fn what_mysql_does_not_have_is_refused() {
        assert!(reader(&[("table", "t[0-3]")]).is_ok());
        assert!(reader(&[("query", "SELECT 1")]).is_ok());
        let long = "x".repeat(65);
        for (pairs, kind) in [
            (&[("table", long.as_str())][..], ErrorKind::Options),
            (&[("query", "SELECT 1"), ("split_key", "a")], ErrorKind::Options),
            (&[("table", "t[0-3]"), ("consistency", "snapshot")], ErrorKind::Unsupported),
        ] {
            assert_eq!(reader(pairs).unwrap_err().kind, kind, "{pairs:?}");
        }
        let options = Options::from_pairs([("host", "h"), ("user", "u"), ("table", "t")]);
        assert!(WriterOptions::parse(&options).unwrap_err().message.contains("`database`"));
    }

    #[test]
    fn a_table_is_completed_with_the_database() {
        let (_, address, _) = reader(&[("table", "\"a.b\"")]).unwrap();
        let name = named("\"a.b\"".parse().unwrap(), &address).unwrap();
        assert_eq!((name.schema.as_deref(), name.table.as_str()), (Some("d"), "a.b"));
    }
}
