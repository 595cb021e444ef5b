//! One task's chunks. A chunk is one transaction on the task's own connection, which is opened
//! again when it was lost.

use std::{sync::Arc, thread, time::Duration};

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Cancel, ChunkOutcome, Counters, Error, ErrorKind, Position, Receipt, Result, WriteTask, Written,
};
use transload_tables::TableName;

use crate::{connect::Connector, load::Loader, session::Session, stage};

/// How often a lost server is tried again before a chunk is given up: about a minute in all.
const ATTEMPTS: u32 = 8;

/// Writes one task's rows.
pub(crate) struct MysqlTask {
    connector: Arc<Connector>,
    session: Option<Session>,
    loader: Loader,
    task: u32,
    /// Where rows are staged, if they are.
    stage: Option<TableName>,
    open: bool,
    /// Something failed in the open chunk: only a rollback is right.
    broken: bool,
    /// Committed chunks are staged that nobody has answered for yet.
    staged: bool,
}

impl MysqlTask {
    pub(crate) fn new(
        connector: Arc<Connector>,
        session: Session,
        loader: Loader,
        task: u32,
        stage: Option<TableName>,
    ) -> Self {
        let session = Some(session);
        let (open, broken, staged) = (false, false, false);
        Self { connector, session, loader, task, stage, open, broken, staged }
    }

    fn place(&self) -> String {
        format!("task {}", self.task)
    }

    /// The connection and the loader of an open chunk that can go on.
    fn in_chunk(&mut self) -> Result<(&mut Session, &mut Loader)> {
        match &mut self.session {
            Some(session) if self.open && !self.broken => Ok((session, &mut self.loader)),
            _ => Err(Error::new(ErrorKind::Defect, "no chunk is open that could go on")
                .at(format!("task {}", self.task))),
        }
    }

    /// A connection that works, a new one where the old one was lost.
    fn connected(&mut self) -> Result<&mut Session> {
        let kept = self.session.take().filter(|session| !session.lost);
        let session = match kept {
            Some(session) => session,
            None => reconnect(&self.connector)?,
        };
        Ok(self.session.insert(session))
    }

    /// Undoes the open chunk, and what the task has staged.
    fn discard(&mut self) -> Result<()> {
        self.rollback_chunk()?;
        if let Some(stage) = self.stage.as_ref().filter(|_| self.staged) {
            // Cleaning up goes on after a stop.
            let mut session = self.connector.connect(&Cancel::new())?;
            stage::remove_task(&mut session, stage, self.task)?;
            self.staged = false;
        }
        Ok(())
    }
}

fn reconnect(connector: &Connector) -> Result<Session> {
    let mut attempt = 0;
    loop {
        match connector.connect(connector.host.cancel()) {
            Err(error) if error.kind == ErrorKind::Connection && attempt < ATTEMPTS => {
                attempt += 1;
                thread::sleep(Duration::from_millis(100 << attempt));
            }
            done => return done,
        }
    }
}

/// A connection lost inside a chunk has rolled it back, so the chunk can be replayed.
fn passing(error: Error) -> Error {
    match error.kind {
        ErrorKind::Connection => Error { kind: ErrorKind::Retry, ..error },
        _ => error,
    }
}

impl WriteTask for MysqlTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        if self.open {
            let message = format!("chunk {sequence} begins before the one before it has ended");
            return Err(Error::new(ErrorKind::Defect, message).at(self.place()));
        }
        let session = self.connected()?;
        // Between chunks the server may have ended the connection.
        if let Err(error) = session.run("begin a chunk", "START TRANSACTION") {
            if !session.lost {
                return Err(error);
            }
            self.connected()?.run("begin a chunk", "START TRANSACTION")?;
        }
        (self.open, self.broken) = (true, false);
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let (session, loader) = self.in_chunk()?;
        let written = loader.write(session, batch);
        self.broken = written.is_err();
        written.map_err(passing)
    }

    fn commit_chunk(&mut self, _position: &Position, _counters: &Counters) -> Result<ChunkOutcome> {
        let (session, loader) = self.in_chunk()?;
        if let Err(error) = loader.finish_chunk(session) {
            self.broken = true;
            return Err(passing(error));
        }
        match session.run("commit a chunk", "COMMIT") {
            Ok(_) => {
                self.open = false;
                self.staged = self.stage.is_some();
                Ok(ChunkOutcome::Committed)
            }
            Err(error) if session.lost => {
                self.open = false;
                // It may be in the stage.
                self.staged = self.stage.is_some();
                Ok(ChunkOutcome::Unknown { evidence: error.to_string() })
            }
            Err(error) => {
                self.rollback_chunk()?;
                Err(error)
            }
        }
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let Some(mut session) = self.session.take() else { return Ok(()) };
        self.loader.give_up(&mut session);
        if session.lost {
            return Ok(());
        }
        // Where it does not work the connection is closed, which rolls back as well.
        if session.run("roll a chunk back", "ROLLBACK").is_ok() {
            self.session = Some(session);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        if self.open {
            self.rollback_chunk()?;
            let message = "the task ends inside a chunk";
            return Err(Error::new(ErrorKind::Defect, message).at(self.place()));
        }
        self.staged = false;
        Ok(Receipt { task: self.task, data: String::new() })
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.discard()
    }
}

impl Drop for MysqlTask {
    fn drop(&mut self) {
        // There is nobody to tell; `abort` of the job removes a whole stage.
        let _ = self.discard();
    }
}
