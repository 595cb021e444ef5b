//! What the server's errors mean, by SQLSTATE
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). Only the class of data
//! errors can make dirty rows; what is not listed stops the job with the server's own text.

use std::{fmt, io};

use transload_plugin_api::{Cancel, Error, ErrorKind};

use crate::wire::invalid;

/// The code of errors of a lost connection.
const LOST: &str = "PG-LOST";
/// Longer texts of a server are cut.
const LONGEST_TEXT: usize = 4 << 10;

/// An error of a connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused.
    Server(Box<ServerError>),
    /// The connection broke, or the server broke the protocol.
    Lost(io::Error),
}

/// The server's error message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// The SQLSTATE.
    pub(crate) state: String,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Where in the server's work it happened: `COPY t, line 3, column c`.
    pub(crate) context: Option<String>,
    pub(crate) column: Option<String>,
    /// It is about the text of the statement, and not about a value.
    pub(crate) has_position: bool,
    /// The server ends the session with this error.
    pub(crate) is_fatal: bool,
}

impl ServerError {
    /// The body of an ErrorResponse: fields of a type byte and a text that a zero byte ends.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, text)) = field.split_first() else { break };
            let text = || cut(text);
            match kind {
                // Unlike the severity `S`, this one is not translated.
                b'V' => error.is_fatal = matches!(&*text(), "FATAL" | "PANIC"),
                b'C' => error.state = text(),
                b'M' => error.message = text(),
                b'D' => error.detail = Some(text()),
                b'H' => error.hint = Some(text()),
                b'W' => error.context = Some(text()),
                b'c' => error.column = Some(text()),
                b'P' => error.has_position = true,
                _ => {}
            }
        }
        error
    }

    /// The error as the host sees it.
    fn into_error(self, doing: &str) -> Error {
        let message = format!("{doing}: {}", sentence(&self.message));
        let mut made =
            Error::new(kind_of(&self.state), message).with_code(format!("PG-{}", self.state));
        made.causes.extend(self.detail);
        made.causes.extend(self.context);
        // The server's own hint is to read a part of the rows, or to use statements of INSERT.
        made.hint = match self.state == "42501" && self.message.contains("row-level security") {
            true => Some(
                "use the owner of the table or a role with BYPASSRLS; a reader may set \
                 `enable_row_security = true`"
                    .to_owned(),
            ),
            false => self.hint,
        };
        made
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", sentence(&self.message), self.state)
    }
}

/// A server's text, at most some kilobytes of it.
fn cut(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(LONGEST_TEXT)]);
    text.trim_end_matches('\u{FFFD}').to_owned()
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl Failure {
    /// The server's messages are not those that the protocol asks for.
    pub(crate) fn protocol(message: &str) -> Self {
        Self::Lost(invalid(message))
    }

    /// The server's error, if it is one.
    pub(crate) fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            Self::Lost(_) => None,
        }
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::Server(error) => error.is_fatal,
            Self::Lost(_) => true,
        }
    }

    /// The error as the host sees it. `doing` is what was tried: `read table t`.
    pub(crate) fn into_error(self, doing: &str, cancel: &Cancel) -> Error {
        // After a stop signal the connection is closed, or the statement cancelled, by ourselves.
        if let Err(stopped) = cancel.check() {
            return stopped;
        }
        match self {
            Self::Server(error) => error.into_error(doing),
            Self::Lost(error) => Error::connection(format!("{doing}: the connection was lost"))
                .caused_by(&error)
                .with_code(LOST),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

/// The server's text without what our messages do not have.
pub(crate) fn sentence(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}

/// What can be done about an error of this state.
pub(crate) fn kind_of(state: &str) -> ErrorKind {
    match state {
        // serialization failure, deadlock, lock not available, statement timeout
        "40001" | "40P01" | "55P03" | "57014" => ErrorKind::Retry,
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" => ErrorKind::Connection,
        "53100" | "53200" => ErrorKind::Space,
        "42501" => ErrorKind::Denied,
        "42P01" | "3F000" => ErrorKind::NotFound,
        "42P07" => ErrorKind::Exists,
        "42703" | "42804" => ErrorKind::Schema,
        "0A000" => ErrorKind::Unsupported,
        // our own COPY stream is broken: no row is at fault
        "22P04" => ErrorKind::Defect,
        // limits of a statement or a table, not of a row
        "54011" | "54023" => ErrorKind::Other,
        // a value of type `name` that is too long
        "42622" => ErrorKind::Data,
        // a trigger's or function's own refusal, by RAISE EXCEPTION
        "P0001" => ErrorKind::Data,
        _ => match state.get(..2).unwrap_or_default() {
            "08" | "28" | "3D" => ErrorKind::Connection,
            // a row refused by a view's check option counts as refused by a constraint
            "22" | "23" | "44" => ErrorKind::Data,
            // limits that one value or row passes: of an index, a page, a nesting
            "54" => ErrorKind::Data,
            _ => ErrorKind::Other,
        },
    }
}

/// What is wrong with a row that the server refused.
#[derive(Debug)]
pub(crate) struct RowFault {
    pub(crate) code: &'static str,
    pub(crate) column: Option<String>,
    pub(crate) reason: String,
}

/// The fault of a single row; `None` if the error is not about a row's values.
pub(crate) fn row_fault(error: &ServerError) -> Option<RowFault> {
    let state = error.state.as_str();
    // `tsquery` and `jsonpath` report their own syntax like that of SQL.
    let is_syntax = state == "42601" && !error.has_position;
    if kind_of(state) != ErrorKind::Data && !is_syntax {
        return None;
    }
    let code = match state {
        "23502" => "null",
        "23503" => "foreign-key",
        "23505" => "unique",
        "23514" | "44000" | "P0001" => "check",
        "23P01" => "exclusion",
        "22001" | "42622" | "54000" | "54001" => "length",
        "22003" | "22008" => "range",
        "22021" | "22P05" => "utf8",
        _ => "parse",
    };
    let mut reason = sentence(&error.message).to_owned();
    if let Some(detail) = &error.detail {
        reason = format!("{reason}: {}", sentence(detail));
    }
    let column = error.column.clone().or_else(|| column_of_context(error.context.as_deref()?));
    Some(RowFault { code, column, reason })
}

/// The column in `COPY orders, line 3, column amount: "x"`. A name that holds `: "` is cut there:
/// it is for people.
fn column_of_context(context: &str) -> Option<String> {
    let line = context.lines().next()?.strip_prefix("COPY ")?;
    let (_, rest) = line.split_once(", column ")?;
    Some(rest.split(": \"").next().unwrap_or(rest).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t05_only_data_errors_can_make_dirty_rows() {
        for (state, kind) in [
            ("40001", ErrorKind::Retry),
            ("40P01", ErrorKind::Retry),
            ("55P03", ErrorKind::Retry),
            ("57014", ErrorKind::Retry),
            ("08006", ErrorKind::Connection),
            ("57P01", ErrorKind::Connection),
            ("53300", ErrorKind::Connection),
            ("53100", ErrorKind::Space),
            ("53200", ErrorKind::Space),
            ("22003", ErrorKind::Data),
            ("23505", ErrorKind::Data),
            ("22P04", ErrorKind::Defect),
            ("54000", ErrorKind::Data),
            ("54001", ErrorKind::Data),
            ("54011", ErrorKind::Other),
            ("42622", ErrorKind::Data),
            ("28P01", ErrorKind::Connection),
            ("3D000", ErrorKind::Connection),
            ("42501", ErrorKind::Denied),
            ("42P01", ErrorKind::NotFound),
            ("42601", ErrorKind::Other),
            ("XX000", ErrorKind::Other),
            ("P0001", ErrorKind::Data),
            ("", ErrorKind::Other),
        ] {
            assert_eq!(kind_of(state), kind, "{state}");
        }
    }

    #[test]
    fn the_column_stands_in_the_context() {
        for (context, column) in [
            ("COPY t, line 3, column amount: \"x\"", Some("amount")),
            ("COPY t, line 3, column my name", Some("my name")),
            ("COPY t, line 3", None),
            ("SQL function \"f\" statement 1", None),
        ] {
            assert_eq!(column_of_context(context).as_deref(), column, "{context}");
        }
    }
}
