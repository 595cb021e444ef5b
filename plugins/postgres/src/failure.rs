//! What the server's errors mean, by SQLSTATE
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). Only the class of data
//! errors can make dirty rows; what is not listed stops the job with the server's own text.

use tokio_postgres::{Error as PgError, error::DbError};
use transload_plugin_api::{Error, ErrorKind};

/// The error as the host sees it. `doing` is what was tried: `read table t`.
pub(crate) fn failure(doing: &str, error: &PgError) -> Error {
    match error.as_db_error() {
        Some(error) => server_failure(doing, error),
        None => {
            let message = format!("{doing}: the connection is lost or was not made");
            Error::new(ErrorKind::Connection, message).caused_by(error)
        }
    }
}

fn server_failure(doing: &str, error: &DbError) -> Error {
    let state = error.code().code();
    let mut made = Error::new(kind_of(state), format!("{doing}: {}", sentence(error.message())))
        .with_code(format!("PG-{state}"));
    made.causes.extend(error.detail().map(str::to_owned));
    made.causes.extend(error.where_().map(str::to_owned));
    made.hint = error.hint().map(str::to_owned);
    made
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
        _ => match state.get(..2).unwrap_or_default() {
            "08" | "28" | "3D" => ErrorKind::Connection,
            // a row refused by a view's check option counts as refused by a constraint
            "22" | "23" | "44" => ErrorKind::Data,
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
pub(crate) fn row_fault(error: &PgError) -> Option<RowFault> {
    let error = error.as_db_error()?;
    let state = error.code().code();
    if kind_of(state) != ErrorKind::Data {
        return None;
    }
    let code = match state {
        "23502" => "null",
        "23503" => "foreign-key",
        "23505" => "unique",
        "23514" | "44000" => "check",
        "23P01" => "exclusion",
        "22001" => "length",
        "22003" | "22008" => "range",
        "22021" | "22P05" => "utf8",
        _ => "parse",
    };
    let mut reason = sentence(error.message()).to_owned();
    if let Some(detail) = error.detail() {
        reason = format!("{reason}: {}", sentence(detail));
    }
    let column = error.column().map(str::to_owned).or_else(|| column_of_context(error.where_()?));
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
            ("28P01", ErrorKind::Connection),
            ("3D000", ErrorKind::Connection),
            ("42501", ErrorKind::Denied),
            ("42P01", ErrorKind::NotFound),
            ("42601", ErrorKind::Other),
            ("XX000", ErrorKind::Other),
            ("P0001", ErrorKind::Other),
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
