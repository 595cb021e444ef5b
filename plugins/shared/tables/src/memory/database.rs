//! The database in memory as a writer sees it: its catalogue, its lock, and the end of sessions.

use std::time::Duration;

use transload_plugin_api::{
    Backoff, Column, Error, Finding, Key, LogicalType, Result, TableInfo, TargetInfo, TaskContext,
    WriteMode, WritePlan,
};

use super::{
    Memory,
    rows::{MemoryDestination, MemoryLoader},
    session::MemorySession,
};
use crate::{
    Access, Destination as _, Dialect, Draft, Drafting, SessionIdentity, TableName, TargetTable,
    Wording, WriteDatabase, dialect::tests::Standard,
};

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

    fn reconnect_window(&self) -> Duration {
        self.server().window.unwrap_or(Backoff::WINDOW)
    }

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
