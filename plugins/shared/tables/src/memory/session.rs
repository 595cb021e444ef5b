//! A session of the database in memory: statements on the token tables, transactions, and calls that
//! fail.

use rusqlite::{Connection, types::ValueRef};
use transload_plugin_api::{Error, Result};

use super::{Fault, Memory, refused};
use crate::{Commit, Session, SessionIdentity, TextRows};

pub(crate) struct MemorySession {
    pub(super) memory: Memory,
    pub(super) number: u64,
    pub(super) is_lost: bool,
    /// The open transaction: rows by table.
    pub(super) pending: Option<Vec<(String, u32, i64)>>,
    /// The transaction's number.
    pub(super) transaction: u64,
}

impl MemorySession {
    /// Notes what is done; fails as the test wants.
    pub(super) fn call(&mut self, verb: &'static str, entry: String) -> Result<Option<Fault>> {
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

pub(super) fn token_rows(connection: &Connection, sql: &str) -> rusqlite::Result<TextRows> {
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
