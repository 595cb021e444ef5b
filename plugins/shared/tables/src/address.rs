//! Where a server is and as whom to log in: the options of a connection, as one `url` or in parts,
//! declared and parsed here for all plugins that speak to servers. The password is not among
//! them: it is asked for at login.

use std::{net::TcpStream, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use transload_plugin_api::{
    Addressing, Backoff, Cancel, Error, OptionKind, OptionSpec, Options, Result, UrlForm, UrlPart,
};

use crate::{
    ConnectionStages, TlsMode, TlsSettings,
    tcp::{connect_socket, connect_tcp, keep_alive},
};

/// What differs between servers.
#[derive(Clone, Copy, Debug)]
pub struct AddressRules {
    /// What a `url` may begin with; the first is what messages show.
    pub schemes: &'static [&'static str],
    /// The usual port.
    pub port: u16,
    /// A database that is not named is the one that is named like the user.
    pub database_is_user: bool,
    /// The file of the Unix socket, from a `host` that begins with `/` and the port.
    pub socket: fn(&str, u16) -> PathBuf,
}

/// Where the server is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Address {
    /// The server's name or address, or the path of a Unix socket as the job gives it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The file of the Unix socket, where `host` is a path.
    pub socket: Option<PathBuf>,
    /// Whom to log in as.
    pub user: String,
    /// The database.
    pub database: String,
    /// How the connection is protected: verified in full unless nothing leaves the machine.
    pub tls: TlsSettings,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// After how long a silence of the server the connection counts as lost, unless the server is
    /// found to be at work.
    pub idle_timeout: Duration,
    /// How long a server that was lost is tried again.
    pub reconnect_window: Duration,
}

#[derive(Deserialize)]
struct RawAddress {
    url: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    database: Option<String>,
    tls: Option<TlsMode>,
    ca_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    /// In milliseconds, as durations are handed over.
    connect_timeout: u64,
    idle_timeout: u64,
    reconnect_window: u64,
}

impl Address {
    /// Parses the options of [`AddressRules::specs`]; those beside `url` win over its parts.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for what is missing or contradicts itself; no message repeats the
    /// `url`, which may hold a password.
    pub fn parse(options: &Options, rules: &AddressRules) -> Result<Self> {
        let raw: RawAddress = options.parse(&rules.specs())?;
        let url = raw.url.as_deref().map(|url| Url::parse(url, rules)).transpose()?;
        let url = url.unwrap_or_default();
        let host = raw.host.or(url.host);
        let host = host.ok_or_else(|| refuse("neither `host` nor `url` is given"))?;
        let user = raw.user.or(url.user);
        let user = user.ok_or_else(|| refuse("neither `user` nor `url` names the user"))?;
        let same = || rules.database_is_user.then(|| user.clone());
        let database = raw.database.or(url.database).or_else(same);
        let database =
            database.ok_or_else(|| refuse("neither `database` nor `url` names the database"))?;
        for (option, text) in [("host", &host), ("user", &user), ("database", &database)] {
            if text.contains('\0') {
                // Both protocols end a text at a NUL, so that the server would see another name.
                return Err(refuse(&format!("`{option}` has a NUL character")));
            }
        }
        let client_certificate = match (raw.client_certificate, raw.client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(refuse("`client_certificate` and `client_key` go together")),
        };
        let port = raw.port.or(url.port).unwrap_or(rules.port);
        let socket = host.starts_with('/').then(|| (rules.socket)(&host, port));
        let mode = raw.tls.unwrap_or_else(|| TlsMode::for_host(&host));
        if socket.is_some() && mode != TlsMode::Disable {
            return Err(refuse("`tls` goes with a server's name, not with a Unix socket")
                .hint("leave `tls` out: nothing leaves the machine"));
        }
        Ok(Self {
            port,
            socket,
            user,
            database,
            tls: TlsSettings { mode, ca_file: raw.ca_file, client_certificate },
            connect_timeout: Duration::from_millis(raw.connect_timeout),
            // The system takes zero for no limit, or refuses it.
            idle_timeout: Duration::from_millis(raw.idle_timeout.max(1)),
            reconnect_window: Duration::from_millis(raw.reconnect_window),
            host,
        })
    }

    /// Where the server is, for people: `host:port`, or the file of the socket.
    pub fn place(&self) -> String {
        match &self.socket {
            Some(file) => file.display().to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// A connection to the server, which notices a peer that vanishes without a word after
    /// `idle_timeout`.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Connection`] if nothing accepts within `limit`, and
    /// `Cancelled` as soon as the stop signal is given.
    pub fn connect(&self, limit: Duration, cancel: &Cancel) -> Result<TcpStream> {
        let stream = match &self.socket {
            Some(file) => connect_socket(file, limit, cancel)?,
            None => connect_tcp(&self.host, self.port, limit, cancel)?,
        };
        if self.socket.is_none() {
            let kept = keep_alive(&stream, self.idle_timeout);
            kept.map_err(|error| Error::from(error).at("keepalive of the connection"))?;
        }
        Ok(stream)
    }

    /// The first stages of `check`: the name and the port, or the socket.
    pub fn reach(&self, found: &mut ConnectionStages) -> bool {
        match &self.socket {
            Some(file) => found.reach_socket(file, self.connect_timeout),
            None => found.reach(&self.host, self.port, self.connect_timeout),
        }
    }
}

/// The parts of a `url`.
#[derive(Default)]
struct Url {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    database: Option<String>,
}

impl Url {
    fn parse(text: &str, rules: &AddressRules) -> Result<Self> {
        let form = || {
            let scheme = rules.schemes.first().unwrap_or(&"");
            refuse(&format!("`url` is not of the form `{scheme}://user@host:port/database`"))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        if !rules.schemes.contains(&scheme) {
            return Err(form());
        }
        if rest.contains(['?', '#']) {
            return Err(refuse("`url` has parameters").hint("give them as options, such as `tls`"));
        }
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = place.rsplit_once('@').unwrap_or(("", place));
        if user.contains(':') {
            return Err(refuse("`url` holds a password")
                .hint("leave it out of `url` and give `password`, which is never printed"));
        }
        let (host, port) = host_and_port(place).ok_or_else(form)?;
        let named = |part: &str| -> Result<Option<String>> {
            let text = decoded(part).ok_or_else(form)?;
            Ok((!text.is_empty()).then_some(text))
        };
        Ok(Self { host: named(host)?, port, user: named(user)?, database: named(database)? })
    }
}

/// `host`, `host:port` or `[address]:port`.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map(|port| port.parse().ok().filter(|port| *port > 0));
    let one = !host.contains([',', '[', ']', '/']);
    match port {
        Some(None) => None,
        port => one.then_some((host, port.flatten())),
    }
}

/// `%20` and the like undone; `None` for a `%` that is no escape, and
/// for what is no UTF-8 afterwards.
fn decoded(text: &str) -> Option<String> {
    let is_escape = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    text.split('%').skip(1).all(is_escape).then(|| decoded.into_owned())
}

fn refuse(message: &str) -> Error {
    Error::options(message)
}

impl AddressRules {
    /// The URLs and objects of a server's tables, as command lines name them.
    pub fn addressing(&self) -> Addressing {
        let scheme = self.schemes.first().unwrap_or(&"");
        let example = format!("{scheme}://<user>@<host>:{}/<database>?table=<table>", self.port);
        // The words of libpq, which people have in URLs; `prefer` and `allow` promise nothing.
        let modes = [
            ("disable", "disable"),
            ("require", "insecure-require"),
            ("verify-ca", "verify-ca"),
            ("verify-full", "verify-full"),
        ];
        let form = UrlForm::new(self.schemes, &example)
            .part(UrlPart::User, "user")
            .part(UrlPart::Password, "password")
            .part(UrlPart::Host, "host")
            .part(UrlPart::Port, "port")
            .part(UrlPart::Path, "database")
            .part(UrlPart::Fragment, "table")
            .parameter("sslmode", "tls", &modes)
            .parameter("sslrootcert", "ca_file", &[]);
        Addressing { object: "table".to_owned(), urls: vec![form], paths: None }
    }

    /// The options of a connection.
    pub fn specs(&self) -> Vec<OptionSpec> {
        let text = |key: &str, doc: &str| OptionSpec::new(key, OptionKind::Text, doc).connection();
        let path = |key: &str, doc: &str| OptionSpec::new(key, OptionKind::Path, doc).connection();
        let scheme = self.schemes.first().unwrap_or(&"");
        let url =
            format!("The address as one: `{scheme}://user@host:port/database`, without a password");
        let database = match self.database_is_user {
            true => "The database; default: named like the user",
            false => "Database of tables whose names do not include one",
        };
        vec![
            text("url", &url),
            text("host", "The server's name or address; or the path of a Unix socket"),
            OptionSpec::new(
                "port",
                OptionKind::Integer { min: 1, max: 65_535 },
                &format!("The server's port; default: {}", self.port),
            )
            .connection(),
            text("database", database),
            text("user", "Whom to log in as"),
            text("password", "The user's password").secret(),
            OptionSpec::new(
                "tls",
                OptionKind::choice(&["disable", "verify-full", "verify-ca", "insecure-require"]),
                "How the connection is protected; default: verify-full, and disable on the same \
                 machine",
            )
            .connection(),
            path("ca_file", "Certificates (PEM) that are trusted instead of the system's"),
            path(
                "client_certificate",
                "The client's certificate (PEM), where the server asks for one",
            ),
            path("client_key", "The private key (PEM) of the client's certificate"),
            OptionSpec::new(
                "connect_timeout",
                OptionKind::Duration,
                "How long connecting may take, up to the end of the login",
            )
            .default("10 s")
            .connection(),
            OptionSpec::new(
                "idle_timeout",
                OptionKind::Duration,
                "Time without a response after which the server is asked whether it is still working",
            )
            .default("30 s")
            .connection(),
            Backoff::window_spec(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use transload_plugin_api::ErrorKind;

    const RULES: AddressRules = AddressRules {
        schemes: &["db", "database"],
        port: 77,
        database_is_user: true,
        socket: |host, port| format!("{host}/.s.{port}").into(),
    };

    fn address(pairs: &[(&str, &str)]) -> Result<Address> {
        Address::parse(&Options::from_pairs(pairs.iter().copied()), &RULES)
    }

    #[test]
    fn an_address_comes_whole_or_in_parts() {
        for (url, host, port, user, database) in [
            ("db://me@db.example:6000/shop", "db.example", 6000, "me", "shop"),
            ("database://me@db.example", "db.example", 77, "me", "me"),
            ("db://me@[::1]:6000/shop", "::1", 6000, "me", "shop"),
            ("db://m%40e@h/a%2Fb%C3%A9", "h", 77, "m@e", "a/bé"),
        ] {
            let found = address(&[("url", url)]).unwrap();
            assert_eq!((found.host.as_str(), found.port), (host, port), "{url}");
            assert_eq!((found.user.as_str(), found.database.as_str()), (user, database), "{url}");
        }
        let parts = address(&[("host", "h"), ("user", "me")]).unwrap();
        assert_eq!((parts.port, parts.database.as_str()), (77, "me"));
        let both = address(&[("url", "db://me@h/shop"), ("host", "other"), ("user", "you")]);
        let both = both.unwrap();
        assert_eq!((both.host.as_str(), both.user.as_str()), ("other", "you"));
        assert_eq!((both.database.as_str(), both.connect_timeout.as_secs()), ("shop", 10));
    }

    #[test]
    fn a_path_is_a_unix_socket() {
        for (pairs, file) in [
            (&[("host", "/run/db"), ("user", "me")][..], Some("/run/db/.s.77")),
            (&[("host", "/run/db"), ("user", "me"), ("port", "8")], Some("/run/db/.s.8")),
            (&[("url", "db://me@%2Frun%2Fdb/shop")], Some("/run/db/.s.77")),
            (&[("url", "db://me@%2Frun%2Fdb:8/shop")], Some("/run/db/.s.8")),
            (&[("host", "run"), ("user", "me")], None),
        ] {
            let mut options = Options::from_pairs(pairs.iter().copied());
            if let Some(port) = options.values.get_mut("port") {
                *port = 8.into();
            }
            let found = Address::parse(&options, &RULES).unwrap();
            assert_eq!(found.socket.as_deref(), file.map(std::path::Path::new), "{pairs:?}");
            let place = if file.is_some() { found.place() } else { String::new() };
            assert_eq!(place, file.unwrap_or_default());
            assert_eq!(found.tls.mode == TlsMode::Disable, file.is_some());
        }
        let error = address(&[("host", "/run/db"), ("user", "me"), ("tls", "verify-ca")]);
        assert_eq!(error.unwrap_err().kind, ErrorKind::Options);
    }

    #[test]
    fn a_nul_is_refused_wherever_it_comes_from() {
        for pairs in [
            [("url", "db://me@h/a%00b"), ("user", "me")],
            [("url", "db://m%00e@h/a"), ("database", "d")],
            [("url", "db://me@h/a"), ("database", "a\0b")],
            [("url", "db://me@h/a"), ("host", "h\0")],
        ] {
            let error = address(&pairs).map(|_| ()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(error.message.contains("NUL"), "{error}");
        }
    }

    #[test]
    fn tls_is_verified_unless_nothing_leaves_the_machine() {
        for (host, tls, mode) in [
            ("db.example", None, TlsMode::VerifyFull),
            ("10.0.0.1", None, TlsMode::VerifyFull),
            ("127.0.0.1", None, TlsMode::Disable),
            ("::1", None, TlsMode::Disable),
            ("localhost", None, TlsMode::Disable),
            ("db.example", Some("disable"), TlsMode::Disable),
            ("127.0.0.1", Some("verify-ca"), TlsMode::VerifyCa),
        ] {
            let mut pairs = vec![("host", host), ("user", "me")];
            pairs.extend(tls.map(|tls| ("tls", tls)));
            assert_eq!(address(&pairs).unwrap().tls.mode, mode, "{host} {tls:?}");
        }
    }

    #[test]
    fn t60_a_password_in_the_url_is_refused_and_not_repeated() {
        for url in [
            "db://me:canary@h/d",
            "db://me:canary@h:x/d",
            "db://me:canary@h?tls=x",
            "other://me:canary@h/d",
            "db:canary",
        ] {
            let error = address(&[("url", url)]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for wrong in [
            &[][..],
            &[("host", "h")],
            &[("url", "db://h")],
            &[("url", "db://me@/d")],
            &[("url", "db://me@h:0")],
            &[("url", "db://me@h:99999")],
            &[("url", "db://me@h:")],
            &[("url", "db://me@a,b/d")],
            &[("url", "db://me@[::1/d")],
            &[("url", "db://me@h/%zz")],
            &[("url", "db://me@h/%ff")],
            &[("url", "db://me@h/d?tls=disable")],
            &[("url", "me@h/d")],
            &[("host", "h"), ("user", "u"), ("client_key", "/k")],
            &[("host", "h"), ("user", "u"), ("tls", "maybe")],
        ] {
            assert_eq!(address(wrong).unwrap_err().kind, ErrorKind::Options, "{wrong:?}");
        }
        let strict = AddressRules { database_is_user: false, ..RULES };
        let options = Options::from_pairs([("host", "h"), ("user", "u")]);
        let error = Address::parse(&options, &strict).unwrap_err();
        assert!(error.message.contains("`database`"), "{error}");
    }

    #[test]
    fn defaults_agree_with_the_descriptor() {
        let found = address(&[("host", "h"), ("user", "u")]).unwrap();
        let specs = RULES.specs();
        let spec = |key: &str| specs.iter().find(|spec| spec.key == key).unwrap();
        assert_eq!(spec("connect_timeout").default, Some("10 s".into()));
        assert_eq!(found.connect_timeout, Duration::from_secs(10));
        assert_eq!(spec("idle_timeout").default, Some("30 s".into()));
        assert_eq!(found.idle_timeout, Duration::from_secs(30));
        let none = address(&[("host", "h"), ("user", "u"), ("idle_timeout", "0 s")]).unwrap();
        assert!(!none.idle_timeout.is_zero());
        assert!(spec("port").doc.ends_with("77") && spec("password").secret);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "(db://)?[a@:/\\[\\]%0-9?]{0,12}") {
            let _ = address(&[("url", &text)]);
        }
    }
}
