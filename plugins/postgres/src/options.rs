//! The plugin's options: declared once here, for the descriptor and for parsing. The password is
//! not among the parsed ones, see `session`.

use std::{ops::Deref, path::PathBuf};

use serde::{
    Deserialize,
    de::{IntoDeserializer, value},
};
use transload_plugin_api::{Addressing, Error, OptionKind, OptionSpec, Options, Result};
use transload_tables::{AddressRules, source_specs, target_specs};

use crate::login::AuthMethod;

/// The options of a connection that other servers have as well.
const ADDRESS: AddressRules = AddressRules {
    schemes: &["postgres", "postgresql"],
    port: 5432,
    database_is_user: true,
    // The path is that of the socket's folder.
    socket: |host, port| PathBuf::from(host).join(format!(".s.PGSQL.{port}")),
};

/// Where the server is, and what sessions are called there.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    place: transload_tables::Address,
    pub(crate) application_name: String,
    /// How the server may ask who logs in; empty: what is safe.
    pub(crate) require_auth: Vec<AuthMethod>,
}

impl Address {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let place = transload_tables::Address::parse(options, &ADDRESS)?;
        let parsed: SessionOptions = options.parse(&connection_specs())?;
        let SessionOptions { application_name, require_auth } = parsed;
        let require_auth = require_auth.into_iter().map(auth_method).collect::<Result<_>>()?;
        Ok(Self { place, application_name, require_auth })
    }
}

fn auth_method(word: String) -> Result<AuthMethod> {
    AuthMethod::deserialize(word.as_str().into_deserializer()).map_err(|_: value::Error| {
        Error::options(format!("`require_auth` has no method `{word}`"))
            .hint(format!("its methods: {}", AuthMethod::WORDS.join(", ")))
    })
}

impl Deref for Address {
    type Target = transload_tables::Address;

    fn deref(&self) -> &transload_tables::Address {
        &self.place
    }
}

#[derive(Deserialize)]
struct SessionOptions {
    application_name: String,
    require_auth: Vec<String>,
}

/// Which moment of the source the splits of a job see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Consistency {
    /// All the same one.
    Snapshot,
    /// Each its own.
    Split,
}

/// How dates and timestamps beyond the calendar are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Infinity {
    /// The row is dirty.
    Dirty,
    /// They become NULL.
    Null,
    /// They become the last second of year 9999, and the first day of year 1.
    Max,
}

/// What the reader is asked for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    /// `None`: as the guarantee that the job requires needs.
    pub(crate) consistency: Option<Consistency>,
    pub(crate) query_is_stable: bool,
    pub(crate) infinity: Infinity,
    /// Rows that row security hides may be missing.
    pub(crate) enable_row_security: bool,
}

/// How the writer writes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    /// In milliseconds.
    pub(crate) lock_timeout: u64,
}

/// The URLs that command lines take.
pub(crate) fn addressing() -> Addressing {
    ADDRESS.addressing()
}

/// Options of both roles.
pub(crate) fn connection_specs() -> Vec<OptionSpec> {
    let name = OptionSpec::new(
        "application_name",
        OptionKind::Text,
        "Name of the session in the server's lists",
    );
    let auth = OptionSpec::new(
        "require_auth",
        OptionKind::List,
        "How the server may ask who logs in, as in libpq: `none`, `password`, `md5`, \
         `scram-sha-256`; default: all of them with TLS, and without it `none` and `scram-sha-256`",
    );
    let own = [name.default("transload").connection(), auth.connection()];
    ADDRESS.specs().into_iter().chain(own).collect()
}

/// Options of the reader.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    let own = [
        OptionSpec::new(
            "consistency",
            OptionKind::choice(&["snapshot", "split"]),
            "`snapshot`: all splits read one snapshot, held open by one transaction; `split`: each \
             split has its own, and is read in the order of a key if there is one, so that reading \
             can continue; default: `snapshot`, or `split` if the guarantee that the job requires \
             needs it",
        ),
        OptionSpec::new(
            "query_is_stable",
            OptionKind::Boolean,
            "`query` returns the same rows each time it runs on the same data, so `split_key` may \
             divide it: false for LIMIT, OFFSET, window functions and volatile functions",
        )
        .default(false),
        OptionSpec::choice(
            "infinity",
            &["dirty", "null", "max"],
            "How `infinity` and `-infinity` of dates and timestamps are read: the row is dirty \
             (unless the target is PostgreSQL and has the same type), NULL, or 9999-12-31 23:59:59 \
             and 0001-01-01",
        ),
        OptionSpec::new(
            "enable_row_security",
            OptionKind::Boolean,
            "Read only the rows that row security shows to the user, as pg_dump's option of this \
             name; otherwise a table with hidden rows is refused",
        )
        .default(false),
    ];
    let sources = source_specs("default: ranges of its pages");
    sources.into_iter().chain(own).collect()
}

/// Options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    let own = [OptionSpec::new(
        "lock_timeout",
        OptionKind::Duration,
        "How long to wait for a lock that another session holds",
    )
    .default("10 s")];
    target_specs().into_iter().chain(own).collect()
}
