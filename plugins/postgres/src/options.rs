//! The plugin's options: declared once here, for the descriptor and for parsing. The password is
//! not among the parsed ones, see `session`.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use tokio_postgres::config::Host as PgHost;
use transload_plugin_api::{Error, ErrorKind, OptionKind, OptionSpec, Options, Result};
use transload_sql::{TlsMode, TlsSettings, source_specs, target_specs};

/// Where the server is and how it is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) tls: TlsSettings,
    pub(crate) application_name: String,
    pub(crate) connect_timeout: Duration,
}

#[derive(Deserialize)]
struct RawAddress {
    url: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    tls: Option<TlsMode>,
    ca_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    #[serde(default = "default_application_name")]
    application_name: String,
    /// In milliseconds, as durations are handed over.
    #[serde(default = "default_timeout")]
    connect_timeout: u64,
}

fn default_application_name() -> String {
    "transload".to_owned()
}

fn default_timeout() -> u64 {
    10_000
}

impl Address {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let mut raw: RawAddress = options.parse()?;
        if let Some(url) = raw.url.take() {
            raw.fill_from(&url)?;
        }
        let host = raw.host.ok_or_else(|| refuse("neither `host` nor `url` is given"))?;
        let client_certificate = match (raw.client_certificate, raw.client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(refuse("`client_certificate` and `client_key` go together")),
        };
        let user = raw.user.ok_or_else(|| refuse("neither `user` nor `url` names the user"))?;
        let mode = raw.tls.unwrap_or_else(|| TlsMode::for_host(&host));
        Ok(Self {
            port: raw.port.unwrap_or(5432),
            database: raw.database.unwrap_or_else(|| user.clone()),
            user,
            tls: TlsSettings { mode, ca_file: raw.ca_file, client_certificate },
            application_name: raw.application_name,
            connect_timeout: Duration::from_millis(raw.connect_timeout),
            host,
        })
    }
}

impl RawAddress {
    /// Takes the parts of `postgres://user@host:port/database`; options given beside it win.
    fn fill_from(&mut self, url: &str) -> Result<()> {
        // The driver's error may repeat the text, and with it a password.
        let parsed: tokio_postgres::Config = url
            .parse()
            .map_err(|_| refuse("`url` is not of the form `postgres://user@host:port/database`"))?;
        if parsed.get_password().is_some() {
            return Err(refuse("`url` holds a password")
                .hint("leave it out of `url` and give `password`, which is never printed"));
        }
        if url.contains('?') {
            return Err(refuse("`url` has parameters").hint("give them as options, such as `tls`"));
        }
        let host = match parsed.get_hosts() {
            [] => None,
            [PgHost::Tcp(host)] => Some(host.clone()),
            _ => return Err(refuse("`url` must name one host, reached by TCP")),
        };
        self.host = self.host.take().or(host);
        self.port = self.port.or_else(|| parsed.get_ports().first().copied());
        self.database = self.database.take().or_else(|| parsed.get_dbname().map(str::to_owned));
        self.user = self.user.take().or_else(|| parsed.get_user().map(str::to_owned));
        Ok(())
    }
}

/// Which moment of the source the splits of a job see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Consistency {
    /// All the same one.
    #[default]
    Snapshot,
    /// Each its own.
    Split,
}

/// What the reader is asked for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    #[serde(default)]
    pub(crate) consistency: Consistency,
}

/// How the writer writes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    /// In milliseconds.
    #[serde(default = "default_timeout")]
    pub(crate) lock_timeout: u64,
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::Options, message)
}

/// Options of both roles.
pub(crate) fn connection_specs() -> Vec<OptionSpec> {
    let text = |key, doc| OptionSpec::new(key, OptionKind::Text, doc).connection();
    let path = |key, doc| OptionSpec::new(key, OptionKind::Path, doc).connection();
    vec![
        text("url", "The address as one: `postgres://user@host:port/database`, without a password"),
        text("host", "The server's name or address"),
        OptionSpec::new(
            "port",
            OptionKind::Integer { min: 1, max: 65_535 },
            "The server's port; default: 5432",
        )
        .connection(),
        text("database", "The database; default: named like the user"),
        text("user", "Whom to log in as"),
        text("password", "The user's password").secret(),
        OptionSpec::new(
            "tls",
            OptionKind::choice(&["disable", "verify-full", "verify-ca", "insecure-require"]),
            "How the connection is protected; default: verify-full, and disable on the same machine",
        )
        .connection(),
        path("ca_file", "Certificates (PEM) that are trusted instead of the system's"),
        path("client_certificate", "The client's certificate (PEM), where the server asks for one"),
        path("client_key", "The private key (PEM) of the client's certificate"),
        text("application_name", "What the server's list of sessions shows").default("transload"),
        OptionSpec::new(
            "connect_timeout",
            OptionKind::Duration,
            "How long connecting may take",
        )
        .default("10 s")
        .connection(),
    ]
}

/// Options of the reader.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    let own = [OptionSpec::new(
        "consistency",
        OptionKind::choice(&["snapshot", "split"]),
        "`snapshot`: all splits see the same moment, held open by one transaction; `split`: \
             each its own",
    )
    .default("snapshot")];
    let sources = source_specs("default: ranges of its pages; divides a query as well");
    sources.into_iter().chain(own).collect()
}

/// Options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    let own = [OptionSpec::new(
        "lock_timeout",
        OptionKind::Duration,
        "How long to wait for a lock that somebody else holds",
    )
    .default("10 s")];
    target_specs().into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(pairs: &[(&str, &str)]) -> Result<Address> {
        Address::parse(&Options::from_pairs(pairs.iter().copied()))
    }

    #[test]
    fn an_address_comes_whole_or_in_parts() {
        let whole = address(&[("url", "postgres://me@db.example:6000/shop")]).unwrap();
        assert_eq!((whole.host.as_str(), whole.port), ("db.example", 6000));
        assert_eq!((whole.user.as_str(), whole.database.as_str()), ("me", "shop"));
        let parts = address(&[("host", "db.example"), ("user", "me")]).unwrap();
        assert_eq!((parts.port, parts.database.as_str()), (5432, "me"));
    }

    #[test]
    fn tls_is_verified_unless_nothing_leaves_the_machine() {
        for (host, tls) in [
            ("db.example", TlsMode::VerifyFull),
            ("10.0.0.1", TlsMode::VerifyFull),
            ("127.0.0.1", TlsMode::Disable),
            ("::1", TlsMode::Disable),
            ("localhost", TlsMode::Disable),
        ] {
            assert_eq!(address(&[("host", host), ("user", "me")]).unwrap().tls.mode, tls, "{host}");
        }
    }

    #[test]
    fn t60_a_password_in_the_url_is_refused_and_not_repeated() {
        for url in ["postgres://me:canary@h/d", "postgres://me:canary@h:x/d"] {
            let error = address(&[("url", url)]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(!format!("{error:?}").contains("canary"));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for wrong in [
            &[][..],
            &[("host", "h")],
            &[("url", "postgres://me@h/d?sslmode=disable")],
            &[("host", "h"), ("user", "u"), ("client_key", "/k")],
        ] {
            assert_eq!(address(wrong).unwrap_err().kind, ErrorKind::Options, "{wrong:?}");
        }
    }
}
