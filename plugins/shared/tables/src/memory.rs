//! A database in memory for the tests of `writer` and `task`: tables of one integer column, a
//! stage, locks, token tables that SQLite keeps, and verbs that fail when a test asks for it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow_array::{Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, types::ValueRef};
use transload_plugin_api::{
    Cancel, Column, Error, Finding, Key, LogicalType, Options, Result, TableInfo, TargetInfo,
    TaskContext, WriteMode, WritePlan, Written, schema_of,
};

use crate::{
    Access, Commit, Destination, Dialect, Draft, Drafting, Loader, Session, SessionIdentity,
    TableName, TargetTable, TextRows, Wording, WriteDatabase, check_noted, check_stage,
    dialect::tests::Standard,
};

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
    /// Nobody may end a session.
    pub(crate) is_strict: bool,
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
    /// Begins the session's transaction, or goes on with it.
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

pub(crate) struct MemorySession {
    memory: Memory,
    number: u64,
    is_lost: bool,
    /// The open transaction: rows by table.
    pending: Option<Vec<(String, u32, i64)>>,
    /// The transaction's number.
    transaction: u64,
}

impl MemorySession {
    /// Notes what is done; fails as the test wants.
    fn call(&mut self, verb: &'static str, entry: String) -> Result<Option<Fault>> {
        let lost = || Error::connection(format!("{verb}: the connection was lost"));
        if self.is_lost {
            return Err(lost());
        }
        let mut server = self.memory.server();
        if server.ended.contains(&self.number) {
            self.is_lost = true;
            return Err(lost());
        }
        let at = server.faults.iter().position(|(name, ..)| *name == verb);
        let fault = at.and_then(|at| match &mut server.faults[at] {
            (_, 0, _) => Some(server.faults.remove(at).2),
            (_, calls, _) => {
                *calls -= 1;
                None
            }
        });
        self.is_lost = matches!(fault, Some(Fault::Lost | Fault::ReplyLost));
        match fault {
            Some(Fault::Lost) if verb != "commit" && verb != "publish" => Err(lost()),
            Some(Fault::Refused) => Err(Error::data(format!("{verb} is refused"))),
            Some(Fault::Deadlock) => Err(Error::retry(format!("{verb} met a deadlock"))),
            fault => {
                if fault != Some(Fault::Lost) {
                    server.log.push(entry);
                }
                Ok(fault)
            }
        }
    }
}

fn token_rows(connection: &Connection, sql: &str) -> rusqlite::Result<TextRows> {
    let mut statement = connection.prepare(&sql.replace(" FOR UPDATE", ""))?;
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

impl Drop for MemorySession {
    fn drop(&mut self) {
        self.memory.server().tokens.leave(self.number, "ROLLBACK");
        self.memory.server().locks.retain(|(number, _)| *number != self.number);
    }
}

impl Session for MemorySession {
    fn run(&mut self, _doing: &str, sql: &str) -> Result<()> {
        self.call("run", sql.to_owned())?;
        if sql.contains("transload_") {
            let server = self.memory.server();
            let text = sql.split("\n;\n").last().unwrap();
            return server.tokens.connection.execute_batch(text).map_err(|error| refused(&error));
        }
        if sql.starts_with("CREATE TABLE") {
            self.memory.server().tables.insert("t".to_owned(), Vec::new());
        }
        Ok(())
    }

    fn rows(&mut self, _doing: &str, sql: &str) -> Result<TextRows> {
        self.call("rows", "rows".to_owned())?;
        let mut server = self.memory.server();
        if sql.ends_with(" FOR UPDATE") {
            server.tokens.enter(self.number, self.pending.is_some())?;
        }
        token_rows(&server.tokens.connection, sql).map_err(|error| refused(&error))
    }

    fn change(&mut self, _doing: &str, sql: &str) -> Result<u64> {
        let fault = self.call("change", "change".to_owned())?;
        let mut server = self.memory.server();
        server.tokens.enter(self.number, self.pending.is_some())?;
        let changed = server.tokens.connection.execute(sql, []);
        match fault {
            Some(_) => Err(Error::connection("change: no reply")),
            None => changed.map(|rows| rows as u64).map_err(|error| refused(&error)),
        }
    }

    fn identity(&mut self) -> Result<SessionIdentity> {
        Ok(SessionIdentity { id: self.number as i64, start: format!("session {}", self.number) })
    }

    fn begin(&mut self) -> Result<()> {
        self.call("begin", "begin".to_owned())?;
        assert!(self.pending.is_none(), "a transaction within a transaction");
        self.pending = Some(Vec::new());
        let mut server = self.memory.server();
        server.begun += 1;
        self.transaction = server.begun;
        Ok(())
    }

    fn commit(&mut self) -> Result<Commit> {
        let fault = self.call("commit", "commit".to_owned())?;
        let rows = self.pending.take().expect("a commit outside of a transaction");
        if let Some(cancel) = self.memory.server().stop_at_commit.take() {
            cancel.cancel();
        }
        let mut server = self.memory.server();
        if fault == Some(Fault::Lost) {
            server.tokens.leave(self.number, "ROLLBACK");
            return Ok(Commit::Lost("no reply to COMMIT".to_owned()));
        }
        server.tokens.leave(self.number, "COMMIT");
        server.transactions.push(self.transaction);
        for (table, task, row) in rows {
            server.tables.entry(table).or_default().push((task, row));
        }
        match fault {
            None => Ok(Commit::Committed),
            Some(_) => Ok(Commit::Lost("no reply to COMMIT".to_owned())),
        }
    }

    fn rollback(&mut self) -> Result<()> {
        self.call("rollback", "rollback".to_owned())?;
        self.pending = None;
        self.memory.server().tokens.leave(self.number, "ROLLBACK");
        Ok(())
    }
}

pub(crate) struct MemoryDestination {
    stage: Option<TableName>,
}

impl Destination<MemorySession> for MemoryDestination {
    fn stage(&self) -> Option<&TableName> {
        self.stage.as_ref()
    }

    fn make(&self, session: &mut MemorySession) -> Result<()> {
        let Some(stage) = &self.stage else { return Ok(()) };
        session.call("make", "make".to_owned())?;
        session.memory.server().tables.insert(stage.table.clone(), Vec::new());
        Ok(())
    }

    fn publish(
        &self,
        session: &mut MemorySession,
        rows: u64,
        note: Option<&str>,
    ) -> Result<Commit> {
        if self.stage.is_none() {
            session.call("finish", "finish".to_owned())?;
            return Ok(Commit::Committed);
        }
        if let Some(stage) = &self.stage {
            let found = session.memory.server().rows(&stage.table).expect("a stage to publish");
            check_stage(&stage.table, rows, found.len() as u64)?;
        }
        if let Some(cancel) = session.memory.server().stop_at_commit.take() {
            cancel.cancel();
        }
        let fault = session.call("publish", "publish".to_owned())?;
        if fault == Some(Fault::Lost) {
            return Ok(Commit::Lost("no reply to the publication".to_owned()));
        }
        if let Some(stage) = &self.stage {
            let mut server = session.memory.server();
            let locked = server.locks.contains(&(session.number, true));
            assert!(locked, "published by a session without the lock");
            if let Some(note) = note {
                let noted = server.tokens.connection.execute(note, []).unwrap();
                check_noted(noted as u64)?;
            }
            let rows = server.tables.remove(&stage.table).expect("a stage to publish");
            server.tables.insert("t".to_owned(), rows);
        }
        match fault {
            None => Ok(Commit::Committed),
            Some(_) => Ok(Commit::Lost("no reply to the publication".to_owned())),
        }
    }

    fn remove(&self, session: &mut MemorySession) -> Result<()> {
        let Some(stage) = &self.stage else { return Ok(()) };
        session.call("remove", "remove".to_owned())?;
        session.memory.server().tables.remove(&stage.table);
        Ok(())
    }

    fn count_task(&self, session: &mut MemorySession, task: u32) -> Result<u64> {
        let Some(stage) = &self.stage else { return Ok(0) };
        session.call("count_task", "count task".to_owned())?;
        let server = session.memory.server();
        let rows = server.tables.get(&stage.table).map_or(&[][..], Vec::as_slice);
        Ok(rows.iter().filter(|(owner, _)| *owner == task).count() as u64)
    }

    fn remove_task(&self, session: &mut MemorySession, task: u32) -> Result<()> {
        let Some(stage) = &self.stage else { return Ok(()) };
        session.call("remove_task", format!("remove task {task}"))?;
        let mut server = session.memory.server();
        if let Some(rows) = server.tables.get_mut(&stage.table) {
            rows.retain(|(owner, _)| *owner != task);
        }
        Ok(())
    }
}

pub(crate) struct MemoryLoader {
    table: String,
    task: u32,
    /// The session that was prepared.
    session: Option<u64>,
    /// The server's restarts before it.
    restarts: u64,
}

impl Loader<MemorySession> for MemoryLoader {
    /// The transaction, and the server's restarts before it.
    type Mark = (u64, u64);

    fn prepare(&mut self, session: &mut MemorySession) -> Result<()> {
        session.call("prepare", "prepare".to_owned())?;
        self.session = Some(session.number);
        self.restarts = session.memory.server().restarts;
        Ok(())
    }

    fn write(&mut self, session: &mut MemorySession, batch: &RecordBatch) -> Result<Written> {
        assert_eq!(self.session, Some(session.number), "rows in an unprepared session");
        session.call("write", "write".to_owned())?;
        let pending = session.pending.as_mut().expect("rows outside of a transaction");
        let rows = batch.column(0).as_primitive::<Int64Type>().values();
        pending.extend(rows.iter().map(|row| (self.table.clone(), self.task, *row)));
        Ok(Written { inserted: rows.len() as u64, ..Written::default() })
    }

    fn complete(&mut self, session: &mut MemorySession) -> Result<()> {
        session.call("complete", "complete".to_owned()).map(drop)
    }

    fn mark(&mut self, session: &mut MemorySession) -> (u64, u64) {
        (session.transaction, self.restarts)
    }

    fn is_same_server(&self, mark: &(u64, u64)) -> bool {
        mark.1 == self.restarts
    }

    fn is_in(
        &mut self,
        session: &mut MemorySession,
        mark: &(u64, u64),
        _confirmed: bool,
    ) -> Result<Option<bool>> {
        session.call("is_in", "is in".to_owned())?;
        let server = session.memory.server();
        Ok((!server.is_blind).then(|| server.transactions.contains(&mark.0)))
    }

    fn discard(&mut self, session: &mut MemorySession) {
        let _ = session.call("discard", "discard".to_owned());
    }
}

pub(crate) struct MemoryTable {
    name: TableName,
    /// Of a token table.
    columns: Vec<String>,
}

impl From<MemoryTable> for TargetInfo {
    fn from(table: MemoryTable) -> Self {
        let columns = table.columns.iter();
        let columns = columns.map(|name| Column::new(name.as_str(), LogicalType::Int64, true));
        // The model looks at no keys of its own tables.
        let keys = [&["run_id"][..], &["active_key"], &["run_id", "task_id"]].map(|key| Key {
            name: String::new(),
            columns: key.iter().map(|name| (*name).to_owned()).collect(),
            primary: false,
            unusable: false,
        });
        let (columns, keys) = (columns.collect(), keys.to_vec());
        Self { name: table.name.table, exists: true, columns, keys, ..Self::default() }
    }
}

impl WriteDatabase for Memory {
    const DIALECT: &'static (dyn Dialect + Sync) = &Standard;
    const WORDING: Wording<'static> = Wording { overwrite: "staged", null_key: "always new" };

    type Session = MemorySession;
    type Table = MemoryTable;
    type Destination = MemoryDestination;
    type Loader = MemoryLoader;

    fn connect(&self, _access: Access) -> Result<MemorySession> {
        let number = {
            let mut server = self.server();
            server.sessions += 1;
            server.sessions
        };
        let memory = self.clone();
        let mut session =
            MemorySession { memory, number, is_lost: false, pending: None, transaction: 0 };
        session.call("connect", "connect".to_owned())?;
        Ok(session)
    }

    fn check(&self, _target: &TargetTable) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn tables(&self, _session: &mut MemorySession) -> Result<Vec<TableInfo>> {
        Ok(Vec::new())
    }

    fn find_table(
        &self,
        session: &mut MemorySession,
        name: &TableName,
    ) -> Result<Option<MemoryTable>> {
        session.call("find_table", "find_table".to_owned())?;
        let server = self.server();
        let sql = format!("SELECT name FROM pragma_table_info('{}')", name.table);
        let columns = server.ask(&sql);
        let is_there = server.tables.contains_key(&name.table) || !columns.is_empty();
        Ok(is_there.then(|| MemoryTable { name: name.clone(), columns }))
    }

    fn draft(
        &self,
        session: &mut MemorySession,
        drafting: Drafting<'_>,
        name: &TableName,
        target: Option<&MemoryTable>,
    ) -> Result<Draft> {
        session.call("draft", "draft".to_owned())?;
        match target {
            None => drafting.new_table(name, |_| Some("INT".to_owned())),
            Some(_) => {
                let columns = &drafting.plan.columns;
                drafting.existing_table(name, columns, &[], |own, _| Ok(own.clone()))
            }
        }
    }

    fn try_statement(&self, _session: &mut MemorySession, sql: &str, is_plain: bool) -> Result<()> {
        match sql.split_whitespace().last() {
            Some("gone") => Err(Error::not_found("no table `gone`")),
            Some("wrong") => Err(Error::other("syntax error")),
            Some("denied") if is_plain => Err(Error::denied("permission denied")),
            _ => Ok(()),
        }
    }

    fn count_rows(
        &self,
        _session: &mut MemorySession,
        _table: &MemoryTable,
        most: u64,
    ) -> Result<Option<u64>> {
        let rows = self.server().rows("t").unwrap_or_default().len() as u64;
        Ok(Some(rows).filter(|rows| *rows <= most))
    }

    fn lock(
        &self,
        session: &mut MemorySession,
        _name: &TableName,
        mode: WriteMode,
        _patience: Duration,
    ) -> Result<()> {
        session.call("lock", "lock".to_owned())?;
        let exclusive = mode == WriteMode::Overwrite;
        let locks = &mut self.server().locks;
        if locks.iter().any(|(_, other)| exclusive || *other) {
            return Err(Error::locked("another run writes table `t`"));
        }
        locks.push((session.number, exclusive));
        Ok(())
    }

    fn tables_beside(
        &self,
        session: &mut MemorySession,
        _name: &TableName,
        prefix: &str,
    ) -> Result<Vec<TableName>> {
        session.call("find_table", "find_table".to_owned())?;
        let server = self.server();
        let of_tokens = server.ask("SELECT name FROM sqlite_master WHERE type = 'table'");
        let beside = server.tables.keys().chain(&of_tokens);
        let beside = beside.filter(|table| table.starts_with(prefix));
        Ok(beside.map(TableName::bare).collect())
    }

    fn drop_left(&self, session: &mut MemorySession, stage: &TableName) -> Result<()> {
        session.call("drop_left", format!("drop {}", stage.table))?;
        let mut server = self.server();
        assert!(server.locks.contains(&(session.number, true)), "dropped without the lock");
        server.tables.remove(&stage.table);
        Ok(())
    }

    fn drop_empty(&self, session: &mut MemorySession, name: &TableName) -> Result<bool> {
        session.call("drop", "drop".to_owned())?;
        let mut server = self.server();
        assert!(server.locks.contains(&(session.number, true)), "dropped without the lock");
        let is_empty = server.tables.get(&name.table).is_some_and(Vec::is_empty);
        if is_empty {
            server.tables.remove(&name.table);
        }
        Ok(is_empty)
    }

    fn destination(
        &self,
        _session: &mut MemorySession,
        name: &TableName,
        plan: &WritePlan,
    ) -> Result<MemoryDestination> {
        let staged = plan.mode == WriteMode::Overwrite;
        let stage = staged.then(|| TableName::bare(format!("{}__{}", name.table, plan.run)));
        Ok(MemoryDestination { stage })
    }

    fn name_of<'t>(&self, table: &'t MemoryTable) -> &'t TableName {
        &table.name
    }

    fn token_obstacle(
        &self,
        _session: &mut MemorySession,
        _table: &MemoryTable,
    ) -> Result<Option<String>> {
        Ok(self.server().is_blind.then(|| "`t` forgets".to_owned()))
    }

    fn creation_problem(
        &self,
        _session: &mut MemorySession,
        _name: &TableName,
        _create: &str,
    ) -> Result<Option<Error>> {
        Ok(None)
    }

    fn set_patience(
        &self,
        _session: &mut MemorySession,
        _patience: Option<Duration>,
    ) -> Result<()> {
        Ok(())
    }

    fn guard(&self, _session: &mut MemorySession) -> Result<()> {
        Ok(())
    }

    fn end_session(
        &self,
        _session: &mut MemorySession,
        other: &SessionIdentity,
    ) -> Result<Option<String>> {
        let mut server = self.server();
        if server.is_strict {
            return Ok(Some(format!("session {}", other.id)));
        }
        server.ended.push(other.id as u64);
        server.tokens.leave(other.id as u64, "ROLLBACK");
        Ok(None)
    }

    fn loader(
        &self,
        _session: &mut MemorySession,
        name: &TableName,
        _plan: &WritePlan,
        destination: &MemoryDestination,
        task: &TaskContext,
    ) -> Result<MemoryLoader> {
        let table = destination.stage().unwrap_or(name).table.clone();
        Ok(MemoryLoader { table, task: task.task, session: None, restarts: 0 })
    }
}
