//! A database in memory for the tests of `writer` and `task`: tables of one integer column, a
//! stage, locks, token tables that SQLite keeps, and verbs that fail when a test asks for it.
//!
//! What all sessions see is here; a session is in `session`, where rows go in `rows`, the catalogue and
//! what else the database is asked for in `database`.

mod database;
mod rows;
mod session;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow_array::{Int64Array, RecordBatch};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;
use transload_plugin_api::{
    Cancel, Column, Error, LogicalType, Options, Result, WriteMode, WritePlan, schema_of,
};

use crate::TargetTable;
use session::token_rows;

/// How a verb fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is lost before the server hears of it.
    Lost,
    /// The server does it, and the connection is lost before its reply.
    ReplyLost,
    /// The server refuses.
    Refused,
    /// The server asks for a replay.
    Deadlock,
}

/// What all sessions see.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// Rows with the task that wrote them; tasks matter in a stage only.
    pub(crate) tables: BTreeMap<String, Vec<(u32, i64)>>,
    /// What was done, in order.
    pub(crate) log: Vec<String>,
    /// Sessions that hold the lock on the target, with the exclusive one marked.
    pub(crate) locks: Vec<(u64, bool)>,
    /// With how many calls of the verb come before.
    faults: Vec<(&'static str, u32, Fault)>,
    sessions: u64,
    /// Transactions that were committed, by number.
    transactions: Vec<u64>,
    /// Nothing shows whether a transaction was committed.
    pub(crate) is_blind: bool,
    /// A stop signal that is given while a commit is on its way.
    pub(crate) stop_at_commit: Option<Cancel>,
    /// How often it was restarted.
    restarts: u64,
    begun: u64,
    /// The token tables, and whose transaction is open on them.
    tokens: TokenStore,
    /// Sessions that were ended by others.
    pub(crate) ended: Vec<u64>,
    /// No session may end another one.
    pub(crate) is_strict: bool,
    /// How long it is tried again, if not for long.
    pub(crate) window: Option<Duration>,
}

/// SQLite keeps the token tables. One transaction at a time is open on them: a session that meets
/// another's waits in vain.
#[derive(Debug)]
struct TokenStore {
    connection: Connection,
    owner: Option<u64>,
}

impl Default for TokenStore {
    fn default() -> Self {
        Self { connection: Connection::open_in_memory().unwrap(), owner: None }
    }
}

impl TokenStore {
    /// Begins the session's transaction, or continues it.
    fn enter(&mut self, session: u64, is_open: bool) -> Result<()> {
        match self.owner {
            Some(owner) if owner != session => Err(Error::retry("the lock was not given")),
            Some(_) => Ok(()),
            None if is_open => {
                self.owner = Some(session);
                self.connection.execute_batch("BEGIN").unwrap();
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn leave(&mut self, session: u64, how: &str) {
        if self.owner == Some(session) {
            self.owner = None;
            self.connection.execute_batch(how).unwrap();
        }
    }
}

fn refused(error: &rusqlite::Error) -> Error {
    Error::data(error.to_string())
}

impl Server {
    /// The next call of `verb` fails. Several faults of one verb come in order.
    pub(crate) fn fail(&mut self, verb: &'static str, fault: Fault) {
        self.fail_later(verb, 0, fault);
    }

    /// As [`Server::fail`], after this many calls.
    pub(crate) fn fail_later(&mut self, verb: &'static str, calls: u32, fault: Fault) {
        self.faults.push((verb, calls, fault));
    }

    pub(crate) fn rows(&self, table: &str) -> Option<Vec<i64>> {
        Some(self.tables.get(table)?.iter().map(|(_, row)| *row).collect())
    }

    /// A restart, after which only these rows of a table are there and no transaction is known.
    pub(crate) fn restart(&mut self, table: &str, rows: &[(u32, i64)]) {
        self.restarts += 1;
        self.transactions.clear();
        self.tables.insert(table.to_owned(), rows.to_vec());
    }

    /// Rows of the token tables, their values separated by `|`.
    pub(crate) fn ask(&self, sql: &str) -> Vec<String> {
        let rows = token_rows(&self.tokens.connection, sql).unwrap();
        let line = |row: &Vec<Option<String>>| {
            row.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect::<Vec<_>>().join("|")
        };
        rows.iter().map(line).collect()
    }

    /// The sessions that hold the lock are ended, as by an administrator.
    pub(crate) fn end_lockers(&mut self) {
        let lockers = self.locks.drain(..).map(|(number, _)| number);
        self.ended.extend(lockers);
    }

    /// Changes the token tables without any session's knowledge.
    pub(crate) fn tamper(&self, sql: &str) {
        self.tokens.connection.execute_batch(sql).unwrap();
    }

    /// How often this was done.
    pub(crate) fn count(&self, entry: &str) -> usize {
        self.log.iter().filter(|it| *it == entry).count()
    }
}

/// The database.
#[derive(Clone, Default)]
pub(crate) struct Memory(pub(crate) Arc<Mutex<Server>>);

impl Memory {
    /// One with the empty table `t`.
    pub(crate) fn with_table() -> Self {
        let memory = Self::default();
        memory.server().tables.insert("t".to_owned(), Vec::new());
        memory
    }

    pub(crate) fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock()
    }
}

/// A plan for rows of the column `a`.
pub(crate) fn plan(run: &str, mode: WriteMode) -> WritePlan {
    let columns = vec![Column::new("a", LogicalType::Int64, false)];
    WritePlan { run: run.to_owned(), mode, columns, ..WritePlan::default() }
}

/// The table `t`.
pub(crate) fn target() -> TargetTable {
    TargetTable::parse(&Options::from_pairs([("table", "t")]), Ok).unwrap()
}

/// A batch of rows.
pub(crate) fn batch(rows: &[i64]) -> RecordBatch {
    let schema = schema_of(&[Column::new("a", LogicalType::Int64, false)]);
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(rows.to_vec()))]).unwrap()
}
