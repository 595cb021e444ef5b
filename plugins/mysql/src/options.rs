//! The plugin's options: declared once here, for the descriptor and for parsing.

use std::path::PathBuf;

use serde::Deserialize;
use transload_plugin_api::{Error, ErrorKind, OptionKind, OptionSpec, Options, Result};
use transload_sql::{
    Dialect as _, Sources, TableName, Target, TlsMode, TlsSettings, source_specs, target_specs,
};

use crate::dialect::MysqlDialect;

/// Where the server is and as whom to log in. The password is asked for at login.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawAddress")]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) tls: TlsSettings,
}

#[derive(Deserialize)]
struct RawAddress {
    host: String,
    #[serde(default = "default_port")]
    port: u16,
    user: String,
    database: String,
    tls: Option<TlsMode>,
    ca_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

impl TryFrom<RawAddress> for Address {
    type Error = &'static str;

    fn try_from(raw: RawAddress) -> Result<Self, &'static str> {
        let client_certificate = match (raw.client_certificate, raw.client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("`client_certificate` and `client_key` go together"),
        };
        let mode = raw.tls.unwrap_or_else(|| TlsMode::for_host(&raw.host));
        let tls = TlsSettings { mode, ca_file: raw.ca_file, client_certificate };
        let RawAddress { host, port, user, database, .. } = raw;
        Ok(Self { host, port, user, database, tls })
    }
}

fn default_port() -> u16 {
    3306
}

/// What the reader is asked for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    #[serde(flatten)]
    pub(crate) address: Address,
    #[serde(default)]
    pub(crate) zero_dates: ZeroDates,
    #[serde(default)]
    pub(crate) consistency: Consistency,
}

/// What becomes of dates that are none, such as `0000-00-00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ZeroDates {
    /// The row is dirty.
    #[default]
    Reject,
    /// They become NULL where the column takes it, else the row is dirty.
    Null,
    /// They become 1970-01-01.
    Epoch,
    /// All dates of the source are read as text.
    Text,
}

/// Whether all splits see one state of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Consistency {
    /// Each split sees the state at its own start.
    #[default]
    Split,
    /// All see one state.
    Snapshot,
}

impl ReaderOptions {
    /// Parses the options; what is read comes apart.
    pub(crate) fn parse(options: &Options) -> Result<(Self, Sources)> {
        let parsed: Self = options.parse()?;
        let resolve = |name| named(name, &parsed.address);
        let sources = Sources::parse(options, resolve)?.with_whole_queries()?;
        if sources.are_many() && parsed.consistency == Consistency::Snapshot {
            let message = "`consistency = \"snapshot\"` reads one table, not several";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .at("option `consistency`")
                .hint("leave it out, or put the tables into one `query` with UNION ALL"));
        }
        Ok((parsed, sources))
    }
}

/// How the writer writes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    #[serde(flatten)]
    pub(crate) address: Address,
    #[serde(default)]
    pub(crate) overwrite: Overwrite,
    /// In milliseconds, as durations are handed over.
    #[serde(default = "default_lock_timeout")]
    lock_timeout: u64,
}

fn default_lock_timeout() -> u64 {
    10_000
}

/// What write mode `overwrite` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Overwrite {
    /// Rows are staged, and the stage takes the target's place.
    #[default]
    Swap,
    /// The target is emptied first and fills chunk by chunk.
    Truncate,
}

impl WriterOptions {
    /// How long to wait for a row that somebody else holds; the servers count whole seconds.
    pub(crate) fn lock_seconds(&self) -> u64 {
        self.lock_timeout.div_ceil(1000).max(1)
    }

    /// Parses the options and the target's name.
    pub(crate) fn parse(options: &Options) -> Result<(Self, Target)> {
        let parsed: Self = options.parse()?;
        let target = Target::parse(options, |name| named(name, &parsed.address))?;
        Ok((parsed, target))
    }
}

/// The table with its database, which is the connection's where the job names none.
fn named(mut name: TableName, address: &Address) -> Result<TableName> {
    for part in name.schema.iter().chain([&name.table]) {
        if let Some(limit) = MysqlDialect.passed_limit(part) {
            let message = format!("`{part}` is longer than {limit}");
            return Err(Error::new(ErrorKind::Options, message));
        }
    }
    name.schema.get_or_insert_with(|| address.database.clone());
    Ok(name)
}

/// Options of both roles.
pub(crate) fn connection_specs() -> Vec<OptionSpec> {
    let path = |key, doc| OptionSpec::new(key, OptionKind::Path, doc).connection();
    vec![
        OptionSpec::new("host", OptionKind::Text, "The server's name or address")
            .required()
            .connection(),
        OptionSpec::new("port", OptionKind::Integer { min: 1, max: 65_535 }, "The server's port")
            .default(3306)
            .connection(),
        OptionSpec::new("user", OptionKind::Text, "As whom to log in").required().connection(),
        OptionSpec::new("password", OptionKind::Text, "The user's password").secret(),
        OptionSpec::new("database", OptionKind::Text, "The database of tables named without one")
            .required()
            .connection(),
        OptionSpec::new(
            "tls",
            OptionKind::choice(&["disable", "verify-full", "verify-ca", "insecure-require"]),
            "How the connection is protected; default: verify-full, and disable on the same machine",
        )
        .connection(),
        path("ca_file", "Certificates (PEM) that are trusted instead of the system's"),
        path("client_certificate", "The client's certificate (PEM), where the server asks for one"),
        path("client_key", "The private key (PEM) of the client's certificate"),
    ]
}

/// Options of the reader.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    let own = [
        OptionSpec::new(
            "zero_dates",
            OptionKind::choice(&["reject", "null", "epoch", "text"]),
            "What becomes of dates that are none, such as 0000-00-00 or 2024-00-10: a dirty row, \
             NULL where the column is nullable, 1970-01-01, or text, as which then all columns of \
             dates are read",
        )
        .default("reject"),
        OptionSpec::new(
            "consistency",
            OptionKind::choice(&["split", "snapshot"]),
            "`snapshot`: all splits see one state of the table, which is locked against writing for \
             a moment (one split where the right to lock is missing); otherwise each split sees \
             the state at its own start",
        )
        .default("split"),
    ];
    let sources = source_specs("default: the first of its primary key");
    sources.into_iter().chain(own).collect()
}

/// Options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    let mut specs = target_specs();
    let overwrite = OptionSpec::new(
        "overwrite",
        OptionKind::choice(&["swap", "truncate"]),
        "What write_mode `overwrite` does: `swap` stages the rows in a table that takes the \
         target's place, all at once; `truncate` empties the target first, which cannot be taken \
         back, and fills it chunk by chunk",
    );
    let lock = OptionSpec::new(
        "lock_timeout",
        OptionKind::Duration,
        "How long to wait for a row that somebody else holds, in whole seconds",
    );
    specs.extend([overwrite.default("swap"), lock.default("10 s")]);
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pairs: &[(&str, &str)]) -> Result<(ReaderOptions, Sources)> {
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
    }

    #[test]
    fn nothing_leaves_the_machine_unprotected_unless_the_job_says_so() {
        for (host, tls, mode) in [
            ("127.0.0.1", None, TlsMode::Disable),
            ("db.example", None, TlsMode::VerifyFull),
            ("db.example", Some("disable"), TlsMode::Disable),
            ("127.0.0.1", Some("verify-ca"), TlsMode::VerifyCa),
        ] {
            let mut pairs = vec![("table", "t"), ("host", host)];
            pairs.extend(tls.map(|tls| ("tls", tls)));
            assert_eq!(reader(&pairs).unwrap().0.address.tls.mode, mode, "{host} {tls:?}");
        }
        let error = reader(&[("table", "t"), ("client_key", "/k")]).unwrap_err();
        assert!(error.kind == ErrorKind::Options && error.message.contains("client_certificate"));
    }

    #[test]
    fn defaults_agree_with_the_descriptor() {
        let (parsed, _) = reader(&[("table", "\"a.b\"")]).unwrap();
        assert_eq!((parsed.address.port, parsed.address.tls.mode), (3306, TlsMode::Disable));
        assert_eq!(parsed.zero_dates, ZeroDates::Reject);
        assert_eq!(parsed.consistency, Consistency::Split);
        let name = named("\"a.b\"".parse().unwrap(), &parsed.address).unwrap();
        assert_eq!((name.schema.as_deref(), name.table.as_str()), (Some("d"), "a.b"));
        let words: Vec<_> = reader_specs().into_iter().filter_map(|spec| spec.default).collect();
        assert_eq!(words, ["reject", "split"]);
    }
}
