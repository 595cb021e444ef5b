//! Where the rows of the database in memory go: a table or a stage, and the loader that writes them.

use arrow_array::{RecordBatch, cast::AsArray, types::Int64Type};
use transload_plugin_api::{Result, Written};

use super::{Fault, session::MemorySession};
use crate::{Commit, Destination, Loader, TableName, check_noted, check_stage};

pub(crate) struct MemoryDestination {
    pub(super) stage: Option<TableName>,
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
    pub(super) table: String,
    pub(super) task: u32,
    /// The session that was prepared.
    pub(super) session: Option<u64>,
    /// The server's restarts before it.
    pub(super) restarts: u64,
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
