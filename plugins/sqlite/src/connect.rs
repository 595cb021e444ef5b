//! Opening the database file, for reading or for writing, and waiting for other processes that
//! hold it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use transload_plugin_api::{Cancel, Error, Result};
use transload_tables::running;

use crate::{
    failure::failure,
    options::{JournalMode, WriterOptions},
};

/// How long a reader waits for a writer that is about to commit.
const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// Pages kept in memory while writing, in KiB: about a chunk's worth, so that dirty pages reach
/// the file at commit and not before.
const WRITER_CACHE: u32 = 65_536;

/// Opens an existing file for reading only. An `immutable` one is not locked.
pub(crate) fn open_to_read(path: &Path, immutable: bool, cancel: &Cancel) -> Result<Connection> {
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY;
    if !immutable {
        return open_existing(path, path, access, BUSY_LIMIT, cancel);
    }
    for end in ["-wal", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        if fs::metadata(&beside).is_ok_and(|found| found.is_file() && found.len() > 0) {
            let message = "the database has changes that are not in the file yet";
            return Err(Error::unsupported(message).at(beside.display().to_string()).hint(
                "leave `immutable` out; or let `sqlite3 FILE .tables` move them into the file",
            ));
        }
    }
    let uri = PathBuf::from(immutable_uri(path));
    open_existing(path, &uri, access | OpenFlags::SQLITE_OPEN_URI, BUSY_LIMIT, cancel)
}

/// The address by which SQLite opens a file without its locks.
fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(uri, "%{byte:02x}")),
        }
    }
    uri + "?immutable=1"
}

/// Opens an existing file to look at what a writer would write to. Unlike a reader it may undo
/// what a killed process has left half done, without which a run could not be repeated.
pub(crate) fn open_to_look(options: &WriterOptions, cancel: &Cancel) -> Result<Connection> {
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let (path, limit) = (&options.path, options.busy_timeout());
    let connection = open_existing(path, path, access, limit, cancel)?;
    run(&connection, "open the file", "PRAGMA query_only = ON")?;
    Ok(connection)
}

/// Opens the file at `path` under a name for SQLite.
fn open_existing(
    path: &Path,
    name: &Path,
    access: OpenFlags,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Connection> {
    if !path.is_file() {
        return Err(missing_file(path));
    }
    let mut connection = open(name, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    wait_for_others(&mut connection, limit, cancel)?;
    // The file is opened lazily: what is no database shows here.
    let doing = format!("open `{}`", path.display());
    connection.query_row("SELECT count(*) FROM main.sqlite_schema", [], |_| Ok(())).map_err(
        |error| match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) if is_in_wal_mode(path) => no_shared_memory(path),
            _ => failure(&doing, &error),
        },
    )?;
    Ok(connection)
}

/// Whether the database's header says that its journal is a WAL.
fn is_in_wal_mode(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header[18..] == [2, 2]
}

/// Readers of a WAL agree by a file beside it, which has to be made.
fn no_shared_memory(path: &Path) -> Error {
    let message =
        "the database is in WAL mode, and the files that it needs beside it cannot be made";
    Error::denied(message).at(path.display().to_string()).hint(
        "make its folder writable; if no program writes the database meanwhile, set `immutable = true`",
    )
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
        .of_key("journal_mode")
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
        .hint("check `path`; a reader never creates the file")
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        // The file may be anybody's: its schema calls no function that does more than compute, and
        // no statement can damage it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        Ok(connection)
    });
    opened.map_err(|error| failure(&format!("open `{}`", path.display()), &error))
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
    let _running = running(doing, sql);
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
        let error = open_to_read(&path, false, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.db");
        std::fs::write(&path, "this is certainly not a database file".repeat(50)).unwrap();
        assert_eq!(open_to_read(&path, false, &Cancel::new()).unwrap_err().kind, ErrorKind::Data);
    }

    #[test]
    fn an_immutable_file_needs_no_files_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd %41?#ä.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(a)").unwrap();
        drop(connection);
        let connection = open_to_read(&path, true, &Cancel::new()).unwrap();
        let tables = "SELECT count(*) FROM sqlite_schema";
        assert_eq!(connection.query_row(tables, [], |row| row.get(0)), Ok(1));
        assert!(!folder.path().join("odd %41?#ä.db-shm").exists());
        assert!(is_in_wal_mode(&path));
    }

    #[test]
    fn the_schema_of_a_file_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let connection = Connection::open(&path).unwrap();
        let schema = "CREATE VIEW v AS SELECT writefile('/tmp/x', 'x'); CREATE TABLE t(a)";
        connection.execute_batch(schema).unwrap();
        let connection = open_to_read(&path, false, &Cancel::new()).unwrap();
        let get = |config| connection.db_config(config).unwrap();
        assert!(!get(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA));
        assert!(get(DbConfig::SQLITE_DBCONFIG_DEFENSIVE));
        let pairs = [("path", path.to_str().unwrap()), ("table", "t")];
        let (options, _) = WriterOptions::parse(&Options::from_pairs(pairs)).unwrap();
        let connection = open_to_write(&options, &Cancel::new()).unwrap();
        let damage = "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema";
        assert!(connection.execute_batch(damage).is_err());
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
