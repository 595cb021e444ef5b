//! Sessions of a writer. SQLite has one writer, so all tasks of a job write through one connection
//! and take turns; a session is a task's handle to it. Opening the file is in `connect`, the turns
//! in `queue`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use rusqlite::{Connection, functions::FunctionFlags, types::ValueRef};
use transload_plugin_api::{Cancel, Error, ErrorKind, Result};
use transload_tables::{Commit, SessionIdentity, TextRows};

use crate::{
    connect::{open_to_write, run},
    failure::failure,
    load::CONFLICT_FUNCTION,
    options::WriterOptions,
    queue::{Queue, Turn},
};

/// The one connection through which all tasks write.
pub(crate) struct SharedConnection {
    /// `None` once a rollback has failed: closing was the only way to undo the chunk.
    connection: Mutex<Option<Connection>>,
    queue: Arc<Queue>,
    /// Calls of the conflict function so far.
    conflicts: Arc<AtomicU64>,
}

impl SharedConnection {
    pub(crate) fn open(options: &WriterOptions, cancel: &Cancel) -> Result<Self> {
        let connection = open_to_write(options, cancel)?;
        let conflicts = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&conflicts);
        // Not deterministic, so that SQLite calls it for every conflict.
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
        connection
            .create_scalar_function(CONFLICT_FUNCTION, 0, flags, move |_| {
                counter.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            })
            .map_err(|error| failure("add the conflict function", &error))?;
        let interrupt = connection.get_interrupt_handle();
        cancel.on_cancel(move || interrupt.interrupt());
        Ok(Self { connection: Mutex::new(Some(connection)), queue: Arc::default(), conflicts })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.connection.lock().is_some()
    }
}

/// A task's or the job's session.
pub(crate) struct Session {
    attached: Attached,
    /// What ends waiting for a turn.
    cancel: Cancel,
    /// The open transaction's turn.
    turn: Option<Turn>,
    /// Its number among the process's sessions, once it has claimed something.
    handle: Option<u64>,
}

enum Attached {
    /// There is no database file yet.
    Nothing,
    /// A connection that only looks.
    Own(Connection),
    Shared(Arc<SharedConnection>),
}

impl Session {
    /// A session without a database file.
    pub(crate) fn without_file() -> Self {
        Self { attached: Attached::Nothing, cancel: Cancel::new(), turn: None, handle: None }
    }

    pub(crate) fn looking(connection: Connection) -> Self {
        Self {
            attached: Attached::Own(connection),
            cancel: Cancel::new(),
            turn: None,
            handle: None,
        }
    }

    pub(crate) fn writing(shared: Arc<SharedConnection>, cancel: &Cancel) -> Self {
        Self {
            attached: Attached::Shared(shared),
            cancel: cancel.clone(),
            turn: None,
            handle: None,
        }
    }

    /// Uses the connection; the default where there is no file. Whoever writes has the turn, so
    /// this never waits for long.
    pub(crate) fn with<T: Default>(
        &self,
        use_it: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        match &self.attached {
            Attached::Nothing => Ok(T::default()),
            Attached::Own(connection) => use_it(connection),
            Attached::Shared(shared) => match &*shared.connection.lock() {
                Some(connection) => use_it(connection),
                None => Err(Error::connection("the database was closed to undo a chunk")),
            },
        }
    }

    /// As [`Session::with`], with a turn of its own: outside of any transaction.
    pub(crate) fn in_turn<T: Default>(
        &self,
        use_it: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let _turn = match &self.attached {
            Attached::Shared(shared) => Some(shared.queue.wait(&self.cancel)?),
            Attached::Nothing | Attached::Own(_) => None,
        };
        self.with(use_it)
    }

    /// As [`Session::with`], with the counter of conflicts.
    pub(crate) fn with_conflicts<T: Default>(
        &self,
        use_it: impl FnOnce(&Connection, &AtomicU64) -> Result<T>,
    ) -> Result<T> {
        match &self.attached {
            Attached::Shared(shared) => {
                let conflicts = &shared.conflicts;
                self.with(|connection| use_it(connection, conflicts))
            }
            Attached::Nothing | Attached::Own(_) => Err(Error::defect("the session cannot write")),
        }
    }
}

impl transload_tables::Session for Session {
    fn run(&mut self, doing: &str, sql: &str) -> Result<()> {
        self.in_turn(|connection| in_transaction(connection, doing, sql))
    }

    fn rows(&mut self, doing: &str, sql: &str) -> Result<TextRows> {
        self.with(|connection| text_rows(connection, sql).map_err(|error| failure(doing, &error)))
    }

    fn change(&mut self, doing: &str, sql: &str) -> Result<u64> {
        if self.turn.is_some() {
            return self.with(|connection| change(connection, doing, sql));
        }
        self.in_turn(|connection| {
            in_transaction(connection, doing, sql)?;
            Ok(connection.changes())
        })
    }

    /// Sessions are handles to one connection, so that their process is all that others see.
    fn identity(&mut self) -> Result<SessionIdentity> {
        static HANDLES: AtomicU64 = AtomicU64::new(0);
        let handle = *self.handle.get_or_insert_with(|| HANDLES.fetch_add(1, Ordering::Relaxed));
        Ok(SessionIdentity { id: std::process::id().into(), start: format!("handle {handle}") })
    }

    fn begin(&mut self) -> Result<()> {
        let Attached::Shared(shared) = &self.attached else {
            return Err(Error::defect("the session cannot write"));
        };
        let turn = shared.queue.wait(&self.cancel)?;
        self.with(|connection| run(connection, "begin a chunk", "BEGIN IMMEDIATE"))?;
        self.turn = Some(turn);
        Ok(())
    }

    /// A refused commit is never in: SQLite rolls back, or keeps the transaction open.
    fn commit(&mut self) -> Result<Commit> {
        self.with(|connection| {
            connection.execute_batch("COMMIT").map_err(|error| uncommitted(&error))
        })?;
        self.turn = None;
        Ok(Commit::Committed)
    }

    fn rollback(&mut self) -> Result<()> {
        let (Some(_turn), Attached::Shared(shared)) = (self.turn.take(), &self.attached) else {
            return Ok(());
        };
        let mut kept = shared.connection.lock();
        let rolled_back = match &*kept {
            // Some errors roll back by themselves.
            Some(connection) if !connection.is_autocommit() => {
                run(connection, "roll a chunk back", "ROLLBACK")
            }
            _ => Ok(()),
        };
        if rolled_back.is_err() {
            // Closing undoes the chunk for certain.
            *kept = None;
        }
        rolled_back
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Where it fails the connection is closed, which undoes the chunk as well.
        let _ = transload_tables::Session::rollback(self);
    }
}

/// Changes rows in the open transaction.
pub(crate) fn change(connection: &Connection, doing: &str, sql: &str) -> Result<u64> {
    let changed = connection.execute(sql, []).map_err(|error| failure(doing, &error))?;
    Ok(changed as u64)
}

pub(crate) fn text_rows(connection: &Connection, sql: &str) -> rusqlite::Result<TextRows> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let cell = |value: ValueRef<'_>| match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value.to_string()),
        ValueRef::Real(value) => Some(value.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
    };
    let rows = statement.query_map([], |row| {
        (0..columns).map(|at| Ok(cell(row.get_ref(at)?))).collect::<rusqlite::Result<_>>()
    })?;
    rows.collect()
}

/// One statement of the job's, all of it or nothing.
fn in_transaction(connection: &Connection, doing: &str, sql: &str) -> Result<()> {
    run(connection, doing, "BEGIN IMMEDIATE")?;
    let done = run(connection, doing, sql).and_then(|()| {
        if connection.is_autocommit() {
            let message = format!("{doing} ends the transaction it runs in");
            return Err(Error::options(message).hint("leave COMMIT and ROLLBACK out"));
        }
        run(connection, doing, "COMMIT")
    });
    if done.is_err() && !connection.is_autocommit() {
        run(connection, doing, "ROLLBACK")?;
    }
    done
}

/// A refused commit. Deferred foreign keys are only checked here, and no row can be named.
fn uncommitted(error: &rusqlite::Error) -> Error {
    let mapped = failure("commit a chunk", error);
    if mapped.kind != ErrorKind::Data {
        return mapped;
    }
    Error::data("deferred foreign keys do not hold at the end of the chunk")
        .caused_by(error)
        .hint("write the tables that are referred to first; the chunk was rolled back")
}
