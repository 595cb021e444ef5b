//! What the server's errors mean: transient, about a row's values, or the end of the job. The
//! classes follow the error's number; the text is the server's own.

use std::{fmt, io};

use transload_plugin_api::{Cancel, Error, ErrorKind, code};

/// An error as it comes off a connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server returned an error.
    Server(ServerError),
    /// The connection broke, or the server broke the protocol.
    Lost(io::Error),
}

/// The server's error packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) number: u16,
    pub(crate) state: String,
    pub(crate) text: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, SQLSTATE {})", self.text, self.number, self.state)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl Failure {
    /// The server broke the protocol.
    pub(crate) fn protocol(what: &str) -> Self {
        Self::Lost(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()))
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::Server(error) => ends_session(error.number),
            Self::Lost(_) => true,
        }
    }

    /// Turns it into an error of the plugin API. `doing` says what was tried.
    pub(crate) fn into_error(self, doing: &str, cancel: &Cancel) -> Error {
        if let Err(stopped) = cancel.check() {
            return stopped;
        }
        match self {
            Self::Server(error) => server_error(doing, &error),
            Self::Lost(error) => {
                let message = format!("{doing}: the connection was lost: {error}");
                Error::connection(message).with_code(code::MYSQL_LOST)
            }
        }
    }
}

fn server_error(doing: &str, error: &ServerError) -> Error {
    let mapped = Error::new(kind_of(error), format!("{doing}: {error}"))
        .with_code(format!("MYSQL-{}", error.number));
    match error.number {
        1045 | 1698 => mapped.hint("check `user`, `password` and from where the user may log in"),
        1205 => mapped.hint("another session holds locks on these rows; see `lock_timeout`"),
        1290 | 1836 => mapped.hint("the server only allows reading"),
        _ => mapped,
    }
}

/// Whether the connection is of no use after this error: shutting down, killed, network trouble on
/// the server's side, idle for too long.
pub(crate) fn ends_session(number: u16) -> bool {
    matches!(number, 1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 | 4031)
}

fn kind_of(error: &ServerError) -> ErrorKind {
    match error.number {
        // lock wait, deadlock, nowait
        1205 | 1213 | 3572 => ErrorKind::Retry,
        1040 | 1045 | 1129 | 1130 | 1203 | 1226 | 1251 | 1275 | 1698 => ErrorKind::Connection,
        number if ends_session(number) => ErrorKind::Connection,
        1044 | 1142 | 1143 | 1227 | 1290 | 1370 | 1836 | 3948 => ErrorKind::Denied,
        1049 | 1051 | 1146 => ErrorKind::NotFound,
        1050 => ErrorKind::Exists,
        1021 | 1114 => ErrorKind::Space,
        1054 | 1136 | 1412 => ErrorKind::Schema,
        1064 | 1149 => ErrorKind::Options,
        1317 => ErrorKind::Cancelled,
        _ if fault_of(error).is_some() => ErrorKind::Data,
        _ => ErrorKind::Other,
    }
}

/// The stable word for an error that is about the values of a row; `None` for all others. Triggers
/// choose their own numbers and states, so the state decides where the number says nothing.
pub(crate) fn fault_of(error: &ServerError) -> Option<&'static str> {
    Some(match error.number {
        1022 | 1062 | 1169 | 1586 => "unique",
        1048 | 1263 | 1364 => "null",
        1216 | 1217 | 1451 | 1452 => "foreign-key",
        1264 | 1265 | 1299 | 1365 | 1441 | 1690 | 1916 | 1917 | 3752 | 3904 => "range",
        // places on the earth
        3048 | 3616 | 3617 | 3643 | 3731 | 3732 => "range",
        1526 | 1737 | 1748 => "partition",
        1292 | 1366 | 1367 | 1411 | 1416 | 1525 | 1918 => "parse",
        3033 | 3037 | 3055 | 3548 | 4048..=4050 | 4076 => "parse",
        1118 | 1153 | 1301 | 1406 | 3751 | 3905..=3907 => "length",
        1300 | 1977 | 3854 | 3988 => "utf8",
        3069 | 3140..=3158 | 3853 | 3903 | 4035..=4040 => "json",
        3819 | 4025 => "check",
        1644 => "trigger",
        _ if error.state.starts_with("45") => "trigger",
        // data exceptions and integrity constraints
        _ if error.state.starts_with("22") || error.state.starts_with("23") => "value",
        _ => return None,
    })
}

/// The row that the server's text names (`... at row 17`), counted from 1.
pub(crate) fn named_row(text: &str) -> Option<usize> {
    let (_, number) = text.rsplit_once(" at row ")?;
    number.trim().parse().ok()
}

/// The column that the server's text names, as far as it does.
pub(crate) fn named_column(error: &ServerError) -> Option<String> {
    let text = &error.text;
    let (_, rest) = text.split_once("olumn ")?;
    let rest = rest.strip_prefix(['\'', '`'])?;
    let end = rest.find(['\'', '`'])?;
    let name = &rest[..end];
    // MariaDB names `db`.`table`.`column`.
    if let Some((_, qualified)) = text.split_once("olumn `")
        && let Some(last) = qualified.split("`.`").nth(2)
    {
        return last.split('`').next().map(str::to_owned);
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u16, text: &str) -> ServerError {
        ServerError { number, state: "HY000".into(), text: text.into() }
    }

    #[test]
    fn only_values_make_dirty_rows() {
        for (number, kind) in [
            (1205, ErrorKind::Retry),
            (1213, ErrorKind::Retry),
            (1053, ErrorKind::Connection),
            (1927, ErrorKind::Connection),
            (1045, ErrorKind::Connection),
            (1142, ErrorKind::Denied),
            (1146, ErrorKind::NotFound),
            (1062, ErrorKind::Data),
            (1406, ErrorKind::Data),
            (1114, ErrorKind::Space),
            (1099, ErrorKind::Other),
        ] {
            let failure = Failure::Server(server(number, "x"));
            assert_eq!(failure.into_error("y", &Cancel::new()).kind, kind, "{number}");
        }
        for number in [1205, 1213, 1317, 1053, 1114, 1927, 2006, 2013] {
            assert_eq!(fault_of(&server(number, "x")), None, "{number}");
        }
        for (number, state, word) in [
            (30_001, "45000", Some("trigger")),
            (30_001, "22012", Some("value")),
            (30_001, "23000", Some("value")),
            (30_001, "42000", None),
            (1213, "40001", None),
        ] {
            let error = ServerError { number, state: state.into(), text: String::new() };
            assert_eq!(fault_of(&error), word, "{number} {state}");
        }
    }

    #[test]
    fn texts_name_columns_and_rows() {
        for (text, column, row) in [
            ("Data too long for column 's' at row 17", Some("s"), Some(17)),
            ("Column 'n' cannot be null", Some("n"), None),
            ("Incorrect integer value: 'x' for column `d`.`t`.`n` at row 2", Some("n"), Some(2)),
            ("Duplicate entry '1' for key 'PRIMARY'", None, None),
        ] {
            assert_eq!(named_column(&server(1, text)).as_deref(), column, "{text}");
            assert_eq!(named_row(text), row, "{text}");
        }
    }

    #[test]
    fn a_stop_is_no_lost_connection() {
        let cancel = Cancel::new();
        cancel.cancel();
        let failure = Failure::protocol("x");
        assert_eq!(failure.into_error("y", &cancel).kind, ErrorKind::Cancelled);
    }
}
