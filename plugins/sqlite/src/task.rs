//! One task's chunks. A chunk is one transaction; while it is open its task has the turn, and
//! nobody else writes through this job.

use std::sync::Arc;

use arrow_array::RecordBatch;
use transload_plugin_api::{
    ChunkOutcome, Counters, Error, ErrorKind, Position, Receipt, Result, WriteTask, Written,
};
use transload_tables::TableName;

use crate::{failure::failure, load::Loader, queue::Turn, stage, writer::Session};

/// Writes one task's rows.
pub(crate) struct SqliteTask {
    session: Arc<Session>,
    loader: Loader,
    task: u32,
    /// Where rows are staged, if they are.
    stage: Option<TableName>,
    /// The open chunk's turn.
    turn: Option<Turn>,
    /// Something failed in the open chunk: only a rollback is right.
    broken: bool,
    /// Committed chunks are staged that nobody has answered for yet.
    staged: bool,
}

impl SqliteTask {
    pub(crate) fn new(
        session: Arc<Session>,
        loader: Loader,
        task: u32,
        stage: Option<TableName>,
    ) -> Self {
        Self { session, loader, task, stage, turn: None, broken: false, staged: false }
    }

    fn require_chunk(&self) -> Result<()> {
        if self.turn.is_none() || self.broken {
            let message = "no chunk is open that could go on";
            return Err(Error::new(ErrorKind::Defect, message).at(format!("task {}", self.task)));
        }
        Ok(())
    }

    /// Undoes the open chunk, and what the task has staged.
    fn discard(&mut self) -> Result<()> {
        self.rollback_chunk()?;
        if let Some(stage) = self.stage.as_ref().filter(|_| self.staged) {
            let _turn = self.session.queue.wait(&Default::default())?;
            stage::remove_task(&self.session.connection(), stage, self.task)?;
            self.staged = false;
        }
        Ok(())
    }
}

impl WriteTask for SqliteTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        if self.turn.is_some() {
            let message = format!("chunk {sequence} begins before the one before it has ended");
            return Err(Error::new(ErrorKind::Defect, message));
        }
        let turn = self.session.queue.wait(&self.session.cancel)?;
        self.session
            .connection()
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|error| failure("begin a chunk", &error))?;
        (self.turn, self.broken) = (Some(turn), false);
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        self.require_chunk()?;
        let session = Arc::clone(&self.session);
        let written = self.loader.write(&session.connection(), batch, &session.conflicts);
        self.broken = written.is_err();
        written
    }

    fn commit_chunk(&mut self, _position: &Position, _counters: &Counters) -> Result<ChunkOutcome> {
        self.require_chunk()?;
        let committed = self.session.connection().execute_batch("COMMIT");
        if let Err(error) = committed {
            // Whatever it was, the transaction is not in: SQLite says so or keeps it open.
            self.rollback_chunk()?;
            return Err(uncommitted(&error));
        }
        self.turn = None;
        self.staged = self.stage.is_some();
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        let Some(turn) = self.turn.take() else { return Ok(()) };
        let connection = self.session.connection();
        // Some errors roll back by themselves.
        let rolled_back = match connection.is_autocommit() {
            true => Ok(()),
            false => connection.execute_batch("ROLLBACK"),
        };
        drop(connection);
        drop(turn);
        rolled_back.map_err(|error| failure("roll a chunk back", &error))
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        if self.turn.is_some() {
            self.rollback_chunk()?;
            return Err(Error::new(ErrorKind::Defect, "the task ends inside a chunk"));
        }
        self.staged = false;
        Ok(Receipt { task: self.task, data: String::new() })
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.discard()
    }
}

impl Drop for SqliteTask {
    fn drop(&mut self) {
        // There is nobody to tell; `abort` of the job removes a whole stage.
        let _ = self.discard();
    }
}

/// A refused commit. Deferred foreign keys are only checked here, and no row can be named.
fn uncommitted(error: &rusqlite::Error) -> Error {
    let mapped = failure("commit a chunk", error);
    if mapped.kind != ErrorKind::Data {
        return mapped;
    }
    Error::new(ErrorKind::Data, "deferred foreign keys do not hold at the end of the chunk")
        .caused_by(error)
        .hint("write the tables that are referred to first; the chunk was rolled back")
}
