//! What SQLite's errors mean: which are passing, which are about a row's values, which end the
//! job. The classes follow the code alone; the text is SQLite's own.

use rusqlite::{Error as Sqlite, ErrorCode, ffi};
use transload_plugin_api::{Error, ErrorKind};

/// Turns a failed call into an error of the plugin API. `doing` says what was tried.
pub(crate) fn failure(doing: &str, error: &Sqlite) -> Error {
    let kind = kind_of(error);
    let mapped = Error::new(kind, format!("{doing}: {}", text_of(error)));
    match kind {
        ErrorKind::Retry => mapped.hint(
            "another process, or the job's own reader, holds the database; `busy_timeout` says how long to wait, and \
             readers and a writer work at once in a WAL database: `sqlite3 FILE 'PRAGMA \
             journal_mode = wal'`",
        ),
        ErrorKind::Denied if needs_recovery(error) => mapped.hint(
            "a writer was killed in the middle of a transaction; whoever next opens the file for \
             writing, such as `sqlite3 FILE .tables`, undoes what it left",
        ),
        _ => mapped,
    }
}

fn needs_recovery(error: &Sqlite) -> bool {
    let codes = [ffi::SQLITE_READONLY_ROLLBACK, ffi::SQLITE_READONLY_RECOVERY];
    code_of(error).is_some_and(|code| codes.contains(&code.extended_code))
}

fn kind_of(error: &Sqlite) -> ErrorKind {
    let Some(code) = code_of(error) else { return ErrorKind::Other };
    match code.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ErrorKind::Retry,
        ErrorCode::DiskFull | ErrorCode::OutOfMemory => ErrorKind::Space,
        ErrorCode::SystemIoFailure if is_full_disk(code.extended_code) => ErrorKind::Space,
        ErrorCode::OperationInterrupted => ErrorKind::Cancelled,
        ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::AuthorizationForStatementDenied => ErrorKind::Denied,
        ErrorCode::CannotOpen => ErrorKind::Connection,
        ErrorCode::SchemaChanged => ErrorKind::Schema,
        ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => ErrorKind::Data,
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
            ErrorKind::Data
        }
        _ => ErrorKind::Other,
    }
}

/// Writes that the disk refused; SQLite says `FULL` only for one of their causes.
fn is_full_disk(extended: i32) -> bool {
    [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_NOMEM, ffi::SQLITE_IOERR_TRUNCATE]
        .contains(&extended)
}

fn code_of(error: &Sqlite) -> Option<ffi::Error> {
    match error {
        Sqlite::SqliteFailure(code, _) | Sqlite::SqlInputError { error: code, .. } => Some(*code),
        _ => None,
    }
}

fn text_of(error: &Sqlite) -> String {
    match error {
        Sqlite::SqliteFailure(_, Some(text)) => text.clone(),
        // Its own text repeats the whole statement.
        Sqlite::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// A row's values are at fault: a stable code, SQLite's text and what the text names.
pub(crate) struct RowFault {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
    /// The columns that SQLite names; empty where it names none.
    pub(crate) columns: Vec<String>,
}

/// The fault of a row, or `None` where the error is about something else.
pub(crate) fn row_fault(error: &Sqlite) -> Option<RowFault> {
    let code = code_of(error)?;
    let word = match (code.code, code.extended_code) {
        (_, ffi::SQLITE_CONSTRAINT_UNIQUE)
        | (_, ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
        | (_, ffi::SQLITE_CONSTRAINT_ROWID) => "unique",
        (_, ffi::SQLITE_CONSTRAINT_NOTNULL) => "null",
        (_, ffi::SQLITE_CONSTRAINT_CHECK) => "check",
        (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => "foreign-key",
        (_, ffi::SQLITE_CONSTRAINT_DATATYPE) => "type",
        (_, ffi::SQLITE_CONSTRAINT_TRIGGER) => "trigger",
        (ErrorCode::TypeMismatch, _) => "type",
        (ErrorCode::TooBig, _) => "length",
        (ErrorCode::ConstraintViolation, _) => "constraint",
        (ErrorCode::Unknown, ffi::SQLITE_ERROR) if is_about_values(&text_of(error)) => "value",
        _ => return None,
    };
    let reason = text_of(error);
    let columns = columns_in(word, &reason);
    Some(RowFault { code: word, reason, columns })
}

/// Expressions of indexes, checks and generated columns fail with an error of no class of its own:
/// only its text says that a value of the row is at fault.
fn is_about_values(text: &str) -> bool {
    const TEXTS: [&str; 5] = [
        "malformed JSON",
        "integer overflow",
        "bad JSON path",
        "LIKE or GLOB pattern too complex",
        "ESCAPE expression must be a single character",
    ];
    TEXTS.iter().any(|known| text.contains(known))
}

/// `UNIQUE constraint failed: t.a, t.b` names columns; a check constraint's text names itself.
fn columns_in(word: &str, reason: &str) -> Vec<String> {
    if !matches!(word, "unique" | "null" | "type") {
        return Vec::new();
    }
    let Some((_, list)) = reason.rsplit_once("failed: ") else {
        return reason.rsplit_once('.').map(|(_, name)| name.to_owned()).into_iter().collect();
    };
    list.split(", ").filter_map(|name| Some(name.split_once('.')?.1.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(extended: i32, text: &str) -> Sqlite {
        Sqlite::SqliteFailure(ffi::Error::new(extended), Some(text.to_owned()))
    }

    #[test]
    fn t05_each_class_of_error_has_its_kind() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, ErrorKind::Retry),
            (ffi::SQLITE_BUSY_SNAPSHOT, ErrorKind::Retry),
            (ffi::SQLITE_LOCKED, ErrorKind::Retry),
            (ffi::SQLITE_FULL, ErrorKind::Space),
            (ffi::SQLITE_NOMEM, ErrorKind::Space),
            (ffi::SQLITE_IOERR_WRITE, ErrorKind::Space),
            (ffi::SQLITE_IOERR_READ, ErrorKind::Other),
            (ffi::SQLITE_READONLY, ErrorKind::Denied),
            (ffi::SQLITE_PERM, ErrorKind::Denied),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Connection),
            (ffi::SQLITE_INTERRUPT, ErrorKind::Cancelled),
            (ffi::SQLITE_CORRUPT, ErrorKind::Data),
            (ffi::SQLITE_NOTADB, ErrorKind::Data),
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, ErrorKind::Data),
            (ffi::SQLITE_ERROR, ErrorKind::Other),
            (ffi::SQLITE_MISUSE, ErrorKind::Other),
        ] {
            assert_eq!(failure("x", &sqlite(code, "y")).kind, kind, "{code}");
        }
    }

    #[test]
    fn t05_only_data_errors_are_a_rows_fault() {
        for (code, word) in [
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Some("unique")),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, Some("unique")),
            (ffi::SQLITE_CONSTRAINT_NOTNULL, Some("null")),
            (ffi::SQLITE_CONSTRAINT_CHECK, Some("check")),
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, Some("foreign-key")),
            (ffi::SQLITE_CONSTRAINT_DATATYPE, Some("type")),
            (ffi::SQLITE_CONSTRAINT_TRIGGER, Some("trigger")),
            (ffi::SQLITE_CONSTRAINT_VTAB, Some("constraint")),
            (ffi::SQLITE_MISMATCH, Some("type")),
            (ffi::SQLITE_TOOBIG, Some("length")),
            (ffi::SQLITE_BUSY, None),
            (ffi::SQLITE_FULL, None),
            (ffi::SQLITE_CORRUPT, None),
            (ffi::SQLITE_ERROR, None),
        ] {
            assert_eq!(row_fault(&sqlite(code, "y")).map(|fault| fault.code), word, "{code}");
        }
    }

    #[test]
    fn named_columns_are_found() {
        let fault = |code, text| row_fault(&sqlite(code, text)).unwrap().columns;
        let unique = ffi::SQLITE_CONSTRAINT_UNIQUE;
        assert_eq!(fault(unique, "UNIQUE constraint failed: t.a, t.b"), ["a", "b"]);
        assert_eq!(fault(unique, "UNIQUE constraint failed: index 'i'"), [""; 0]);
        let datatype = ffi::SQLITE_CONSTRAINT_DATATYPE;
        assert_eq!(fault(datatype, "cannot store TEXT value in INTEGER column t.a"), ["a"]);
        assert_eq!(fault(ffi::SQLITE_CONSTRAINT_CHECK, "CHECK constraint failed: t.a"), [""; 0]);
    }
}
