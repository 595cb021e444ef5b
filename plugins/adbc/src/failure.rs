//! What the failures of drivers mean, and what of their messages may be printed.

use std::fmt;

use transload_plugin_api::{Error, ErrorKind, code};
use zeroize::Zeroizing;

use crate::driver::{Failure, LoadFailure};

/// Texts that no message may contain.
#[derive(Default)]
pub(crate) struct Hidden(Vec<Zeroizing<String>>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Hidden {
    /// Hides a text; very short ones would hide everything.
    pub(crate) fn add(&mut self, text: &str) {
        if text.len() > 2 {
            self.0.push(Zeroizing::new(text.to_owned()));
        }
    }

    /// Hides the password of a URI.
    pub(crate) fn add_uri(&mut self, uri: &str) {
        let authority = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((_, password)) = user.split_once(':')
        {
            self.add(password);
        }
        for part in uri.split(['?', '&', ' ', ';']) {
            if let Some((key, value)) = part.split_once('=')
                && is_secret(key)
            {
                self.add(value);
            }
        }
    }

    fn without(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, hidden| text.replace(hidden.as_str(), "[redacted]"))
    }
}

/// Whether an option of a driver holds a secret, by its name.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "passwd", "pwd", "secret", "token", "credential", "private_key", "api_key"]
        .iter()
        .any(|word| key.contains(word))
}

/// The name of an `AdbcStatusCode`, and what it lets the caller do.
fn meaning(status: u8) -> (&'static str, ErrorKind) {
    match status {
        2 => ("NOT_IMPLEMENTED", ErrorKind::Unsupported),
        3 => ("NOT_FOUND", ErrorKind::NotFound),
        4 => ("ALREADY_EXISTS", ErrorKind::Exists),
        5 => ("INVALID_ARGUMENT", ErrorKind::Options),
        6 => ("INVALID_STATE", ErrorKind::Other),
        7 => ("INVALID_DATA", ErrorKind::Data),
        8 => ("INTEGRITY", ErrorKind::Data),
        9 => ("INTERNAL", ErrorKind::Other),
        10 => ("IO", ErrorKind::Connection),
        11 => ("CANCELLED", ErrorKind::Other),
        12 => ("TIMEOUT", ErrorKind::Connection),
        13 => ("UNAUTHENTICATED", ErrorKind::Denied),
        14 => ("UNAUTHORIZED", ErrorKind::Denied),
        _ => ("UNKNOWN", ErrorKind::Other),
    }
}

/// The error of a call that failed. `doing` begins its message.
pub(crate) fn failed(doing: &str, failure: &Failure, hidden: &Hidden) -> Error {
    let (name, status) = meaning(failure.status);
    let kind = of_sqlstate(&failure.sqlstate).unwrap_or(status);
    let said = hidden.without(failure.message.trim());
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = if said.is_empty() { "no message".to_owned() } else { said };
    Error::new(kind, format!("{doing}: the driver reports {name}: {said}"))
        .with_code(code_of(failure))
}

/// SQLSTATE says more than the status where a driver has it.
fn of_sqlstate(sqlstate: &str) -> Option<ErrorKind> {
    Some(match sqlstate.get(..2)? {
        "08" | "57" => ErrorKind::Connection,
        "22" | "23" => ErrorKind::Data,
        "28" => ErrorKind::Denied,
        "40" => ErrorKind::Retry,
        "53" => ErrorKind::Space,
        _ if sqlstate == "42501" => ErrorKind::Denied,
        _ if sqlstate == "42P01" => ErrorKind::NotFound,
        _ => return None,
    })
}

/// `ADBC-23505`, or `ADBC-STATUS`.
fn code_of(failure: &Failure) -> String {
    match failure.sqlstate.len() == 5 && failure.sqlstate != "00000" {
        true => format!("ADBC-{}", failure.sqlstate),
        false => code::ADBC_STATUS.to_owned(),
    }
}

/// The error of a library that is no driver. `library` is its path.
pub(crate) fn not_loaded(library: &str, failure: &LoadFailure, hidden: &Hidden) -> Error {
    let error = match failure {
        LoadFailure::Library(words) => {
            Error::other(format!("the library cannot be loaded: {words}"))
                .hint("the driver must be built for this system, and what it needs be installed")
        }
        LoadFailure::Entrypoint(names) => {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let message = format!("the library has no entry point {}", names.join(" or "));
            Error::options(message)
                .hint("it may be no ADBC driver; else name its function: entrypoint = \"...\"")
        }
        LoadFailure::Init(failure) => failed("initialise the driver", failure, hidden),
    };
    error.with_code(code::ADBC_LOAD).at(library.to_owned()).of_key("driver")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_in_no_message() {
        let mut hidden = Hidden::default();
        hidden.add("canary1");
        hidden.add_uri("postgresql://me:canary2@db:5432/x?sslpassword=canary3&a=b");
        hidden.add_uri("host=db password=canary4 user=me");
        let message = "canary1 postgresql://me:canary2@db canary3 canary4 b".to_owned();
        let failure = Failure { status: 13, message, sqlstate: "28P01".to_owned() };
        let error = failed("connect", &failure, &hidden);
        assert!(!error.message.contains("canary"), "{error}");
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Denied, "ADBC-28P01"));
    }

    #[test]
    fn a_status_without_sqlstate_has_a_kind_and_a_code() {
        let failure = Failure { status: 8, ..Failure::default() };
        let error = failed("write", &failure, &Hidden::default());
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, code::ADBC_STATUS));
        assert_eq!(error.message, "write: the driver reports INTEGRITY: no message");
    }
}
