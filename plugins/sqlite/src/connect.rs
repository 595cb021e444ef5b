//! Opening the database file, for reading or for writing, and waiting for other processes that
//! hold it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use transload_plugin_api::{Cancel, Error, Result};

use crate::{
    failure::failure,
    options::{JournalMode, WriterOptions},
};

/// How long a reader waits for a writer that is about to commit.
const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// Pages kept in memory while writing, in KiB: about a chunk's worth, so that dirty pages reach
/// the file at commit and not before.
const WRITER_CACHE: u32 = 65_536;

/// Opens an existing file for reading only.
pub(crate) fn open_to_read(path: &Path, cancel: &Cancel) -> Result<Connection> {
    open_existing(path, OpenFlags::SQLITE_OPEN_READ_ONLY, BUSY_LIMIT, cancel)
}

/// Opens an existing file to look at what a writer would write to. Unlike a reader it may undo
/// what a killed process has left half done, without which a run could not be repeated.
pub(crate) fn open_to_look(options: &WriterOptions, cancel: &Cancel) -> Result<Connection> {
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = open_existing(&options.path, access, options.busy_timeout(), cancel)?;
    run(&connection, "open the file", "PRAGMA query_only = ON")?;
    Ok(connection)
}

fn open_existing(
    path: &Path,
    access: OpenFlags,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Connection> {
    if !path.is_file() {
        return Err(missing_file(path));
    }
    let mut connection = open(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    wait_for_others(&mut connection, limit, cancel)?;
    // The file is opened lazily: what is no database shows here.
    let doing = format!("open `{}`", path.display());
    connection
        .query_row("SELECT count(*) FROM main.sqlite_schema", [], |_| Ok(()))
        .map_err(|error| failure(&doing, &error))?;
    Ok(connection)
}

/// Opens a file for writing; makes it if it is missing, but not its folder.
pub(crate) fn open_to_write(options: &WriterOptions, cancel: &Cancel) -> Result<Connection> {
    check_folder(&options.path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = open(&options.path, flags)?;
    wait_for_others(&mut connection, options.busy_timeout(), cancel)?;
    set_journal(&connection, options.journal_mode)?;
    let synchronous = options.synchronous.word();
    let sql = format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; \
         PRAGMA cache_size = -{WRITER_CACHE}; PRAGMA temp_store = MEMORY;"
    );
    run(&connection, &format!("open `{}` for writing", options.path.display()), &sql)?;
    Ok(connection)
}

/// SQLite returns the journal mode that it has, which is not always the one that was set.
fn set_journal(connection: &Connection, mode: JournalMode) -> Result<()> {
    let word = match mode {
        JournalMode::Keep => return Ok(()),
        JournalMode::Wal => "wal",
        JournalMode::Delete => "delete",
    };
    let answer: String = connection
        .query_row(&format!("PRAGMA journal_mode = {word}"), [], |row| row.get(0))
        .map_err(|error| failure("set the journal mode", &error))?;
    if answer == word {
        return Ok(());
    }
    let message = format!("the journal stays `{answer}` where `{word}` was asked for");
    Err(Error::unsupported(message)
        .at("option `journal_mode`")
        .hint("`keep` leaves the journal as it is; `wal` needs a local file system"))
}

/// The folder that a new database file would stand in must be there.
pub(crate) fn check_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.is_dir() {
        let message = format!("`{}` is a folder, not a database file", path.display());
        return Err(Error::options(message));
    }
    match folder {
        Some(folder) if !folder.is_dir() => {
            let message = format!("the folder `{}` does not exist", folder.display());
            Err(Error::not_found(message)
                .hint("create the folder, or correct `path`; the database file is then created"))
        }
        _ => Ok(()),
    }
}

fn missing_file(path: &Path) -> Error {
    Error::not_found(format!("there is no database file `{}`", path.display()))
        .hint("check `path`; a reader never makes the file")
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    Connection::open_with_flags(path, flags)
        .map_err(|error| failure(&format!("open `{}`", path.display()), &error))
}

/// Waits in short steps, so that a stop is noticed.
fn wait_for_others(connection: &mut Connection, limit: Duration, cancel: &Cancel) -> Result<()> {
    let (cancel, mut since) = (cancel.clone(), Instant::now());
    let handler = move |attempt: i32| {
        if attempt == 0 {
            since = Instant::now();
        }
        if since.elapsed() >= limit {
            return false;
        }
        cancel.sleep(Duration::from_millis(if attempt < 10 { 1 } else { 20 })).is_ok()
    };
    connection.busy_handler(Some(handler)).map_err(|error| failure("set the wait", &error))
}

/// Runs statements that are ours, not the job's.
pub(crate) fn run(connection: &Connection, doing: &str, sql: &str) -> Result<()> {
    connection.execute_batch(sql).map_err(|error| failure(doing, &error))
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::Options;

    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn a_missing_file_is_not_made_by_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.db");
        let error = open_to_read(&path, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.db");
        std::fs::write(&path, "this is certainly not a database file".repeat(50)).unwrap();
        assert_eq!(open_to_read(&path, &Cancel::new()).unwrap_err().kind, ErrorKind::Data);
    }

    #[test]
    fn the_journal_is_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        for (mode, answer) in [("wal", "wal"), ("keep", "wal"), ("delete", "delete")] {
            let pairs = [("path", path.to_str().unwrap()), ("table", "t"), ("journal_mode", mode)];
            let (options, _) = WriterOptions::parse(&Options::from_pairs(pairs)).unwrap();
            let connection = open_to_write(&options, &Cancel::new()).unwrap();
            let found: String =
                connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
            assert_eq!(found, answer, "{mode}");
        }
        let memory = Connection::open_in_memory().unwrap();
        let error = set_journal(&memory, JournalMode::Wal).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }

    #[test]
    fn a_missing_folder_is_not_made_by_writing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/x.db");
        let pairs = [("path", path.to_str().unwrap()), ("table", "t")];
        let (options, _) = WriterOptions::parse(&Options::from_pairs(pairs)).unwrap();
        let error = open_to_write(&options, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
    }
}
