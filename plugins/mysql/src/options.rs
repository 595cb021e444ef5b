//! The plugin's options: declared once here, for the descriptor and for parsing.

use std::path::PathBuf;

use serde::Deserialize;
use transload_plugin_api::{Error, ErrorKind, OptionKind, OptionSpec, Options, Result};
use transload_sql::{TableName, TlsMode, TlsSettings};

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
    table: Option<String>,
    query: Option<String>,
    #[serde(rename = "where")]
    pub(crate) filter: Option<String>,
    pub(crate) split_key: Option<String>,
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
            (Some(table), None) => Source::Table(named(table, &parsed.address)?),
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
    #[serde(flatten)]
    pub(crate) address: Address,
    table: String,
}

impl WriterOptions {
    /// Parses the options and the target's name.
    pub(crate) fn parse(options: &Options) -> Result<(Self, TableName)> {
        let parsed: Self = options.parse()?;
        let table = named(&parsed.table, &parsed.address)?;
        Ok((parsed, table))
    }
}

/// The table with its database, which is the connection's where the job names none.
fn named(text: &str, address: &Address) -> Result<TableName> {
    let mut name: TableName = text.parse()?;
    for part in name.schema.iter().chain([&name.table]) {
        if part.chars().count() > 64 {
            let message = format!("`{part}` is longer than 64 characters");
            return Err(Error::new(ErrorKind::Options, message).at("option `table`"));
        }
    }
    name.schema.get_or_insert_with(|| address.database.clone());
    Ok(name)
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::Options, message).hint("give exactly one of `table` and `query`")
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
    vec![
        OptionSpec::new("table", OptionKind::Text, "The table or view to read; or give `query`"),
        OptionSpec::new("query", OptionKind::Text, "The SELECT to read; or give `table`"),
        OptionSpec::new("where", OptionKind::Text, "A condition on the table's rows, as SQL"),
        OptionSpec::new(
            "split_key",
            OptionKind::Text,
            "The column by whose ranges the table is divided; default: the first of its primary \
             key",
        ),
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
    ]
}

/// Options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    vec![OptionSpec::new("table", OptionKind::Text, "The table to write").required()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pairs: &[(&str, &str)]) -> Result<(ReaderOptions, Source)> {
        let all = [("host", "127.0.0.1"), ("user", "u"), ("database", "d")];
        let all = pairs.iter().chain(&all).rev();
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
            &[("table", "a.b.c")],
        ] {
            assert_eq!(reader(wrong).unwrap_err().kind, ErrorKind::Options, "{wrong:?}");
        }
        let long = "x".repeat(65);
        assert_eq!(reader(&[("table", &long)]).unwrap_err().kind, ErrorKind::Options);
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
        let (parsed, source) = reader(&[("table", "\"a.b\"")]).unwrap();
        assert_eq!((parsed.address.port, parsed.address.tls.mode), (3306, TlsMode::Disable));
        assert_eq!(parsed.zero_dates, ZeroDates::Reject);
        assert_eq!(parsed.consistency, Consistency::Split);
        let Source::Table(name) = source else { panic!() };
        assert_eq!((name.schema.as_deref(), name.table.as_str()), (Some("d"), "a.b"));
        let words: Vec<_> = reader_specs().into_iter().filter_map(|spec| spec.default).collect();
        assert_eq!(words, ["reject", "split"]);
    }
}
