//! One task's chunks. A chunk is one transaction on the task's own session, which is opened again
//! when it is lost. This is the one state machine of chunks: how rows travel is the loader's part.

use std::sync::Arc;

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Backoff, Cancel, ChunkOutcome, Counters, Error, ErrorKind, Position, Receipt, Result,
    TaskContext, WritePlan, WriteTask, Written,
};

use crate::{
    Access, Commit, Destination, Loader, Session, TableName, WriteDatabase, receipt::receipt,
};

/// What the task is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// Between chunks.
    None,
    /// A chunk is open and can be written to.
    Open,
    /// Something failed in the open chunk: only a rollback is right.
    Broken,
    /// The reply to the last COMMIT was lost. Only a rollback ends this state. It undoes nothing:
    /// its caller has found out what the outcome was.
    Unknown,
}

/// Writes one task's rows.
pub(crate) struct ChunkTask<D: WriteDatabase> {
    database: Arc<D>,
    cancel: Cancel,
    destination: D::Destination,
    loader: D::Loader,
    /// `None` once it was lost.
    session: Option<D::Session>,
    task: u32,
    state: ChunkState,
    /// Chunks are in the stage that an `abort` or a drop has to remove.
    has_staged: bool,
    /// Rows of committed chunks that are new in the destination.
    committed: u64,
    /// As `committed`, of the open chunk.
    pending: u64,
}

impl<D: WriteDatabase> ChunkTask<D> {
    pub(crate) fn open(
        database: &Arc<D>,
        cancel: &Cancel,
        name: &TableName,
        plan: &WritePlan,
        task: &TaskContext,
    ) -> Result<Self> {
        let mut session = database.connect(Access::Write)?;
        let destination = database.destination(&mut session, name, plan)?;
        let mut loader = database.loader(&mut session, name, plan, &destination, task)?;
        loader.prepare(&mut session)?;
        Ok(Self {
            database: Arc::clone(database),
            cancel: cancel.clone(),
            destination,
            loader,
            session: Some(session),
            task: task.task,
            state: ChunkState::None,
            has_staged: false,
            committed: 0,
            pending: 0,
        })
    }

    fn defect(&self, message: impl Into<String>) -> Error {
        Error::defect(message).at(format!("task {}", self.task))
    }

    /// The session and loader of a chunk that can be written to.
    fn in_chunk(&mut self) -> Result<(&mut D::Session, &mut D::Loader)> {
        match (&mut self.session, self.state) {
            (Some(session), ChunkState::Open) => Ok((session, &mut self.loader)),
            _ => Err(Error::defect("no open chunk to write to").at(format!("task {}", self.task))),
        }
    }

    /// The session, opened again if it was lost.
    fn connected(&mut self) -> Result<&mut D::Session> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let connect = || self.database.connect(Access::Write);
                let mut session = Backoff::new().reconnect(&self.cancel, connect)?;
                self.loader.prepare(&mut session).map_err(replayable)?;
                session
            }
        };
        Ok(self.session.insert(session))
    }

    /// Notes that the open chunk can only be rolled back.
    fn broken<T>(&mut self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            self.state = ChunkState::Broken;
            replayable(error)
        })
    }

    /// Undoes the open chunk, and what the task has staged.
    fn undo(&mut self) -> Result<()> {
        self.rollback_chunk()?;
        if std::mem::take(&mut self.has_staged) {
            let mut session = self.database.connect(Access::CleanUp)?;
            self.destination.remove_task(&mut session, self.task)?;
        }
        Ok(())
    }
}

/// Before COMMIT a lost connection has taken the whole chunk with it, so it can be replayed.
fn replayable(error: Error) -> Error {
    match error.kind {
        ErrorKind::Connection => Error { kind: ErrorKind::Retry, ..error },
        _ => error,
    }
}

impl<D: WriteDatabase> WriteTask for ChunkTask<D> {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        match self.state {
            ChunkState::None => {}
            ChunkState::Unknown => {
                return Err(self.defect(format!(
                    "chunk {sequence} begins after one whose commit has an unknown outcome"
                )));
            }
            ChunkState::Open | ChunkState::Broken => {
                return Err(self.defect(format!(
                    "chunk {sequence} begins before the previous chunk has ended"
                )));
            }
        }
        // Between chunks the server may have closed the session: one more attempt with a new one.
        if let Err(error) = self.connected()?.begin() {
            self.session = None;
            if error.kind != ErrorKind::Connection {
                return Err(error);
            }
            let begun = self.connected()?.begin();
            if begun.is_err() {
                self.session = None;
            }
            begun.map_err(replayable)?;
        }
        (self.state, self.pending) = (ChunkState::Open, 0);
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let (session, loader) = self.in_chunk()?;
        let written = loader.write(session, batch);
        let written = self.broken(written)?;
        self.pending += written.inserted;
        Ok(written)
    }

    fn commit_chunk(&mut self, _position: &Position, _counters: &Counters) -> Result<ChunkOutcome> {
        let (session, loader) = self.in_chunk()?;
        let completed = loader.complete(session);
        self.broken(completed)?;
        // The last moment at which a stop has a certain outcome.
        let stopped = self.cancel.check();
        self.broken(stopped)?;
        let (session, _) = self.in_chunk()?;
        match session.commit() {
            Ok(Commit::Committed) => {
                self.state = ChunkState::None;
                self.committed += std::mem::take(&mut self.pending);
                self.has_staged |= self.destination.stage().is_some();
                Ok(ChunkOutcome::Committed)
            }
            Ok(Commit::Lost(evidence)) => {
                self.state = ChunkState::Unknown;
                self.session = None;
                // What may be in is kept, in a stage as well: the run ends here.
                self.has_staged = false;
                Ok(ChunkOutcome::Unknown { evidence })
            }
            Err(error) => {
                self.rollback_chunk()?;
                Err(replayable(error))
            }
        }
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        let state = std::mem::replace(&mut self.state, ChunkState::None);
        if !matches!(state, ChunkState::Open | ChunkState::Broken) {
            return Ok(());
        }
        if let Some(session) = &mut self.session {
            self.loader.discard(session);
            if session.rollback().is_err() {
                // Dropping the session undoes the chunk as well.
                self.session = None;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        match self.state {
            ChunkState::None => {}
            ChunkState::Unknown => {
                return Err(self.defect("the task ends after a commit with an unknown outcome"));
            }
            ChunkState::Open | ChunkState::Broken => {
                self.rollback_chunk()?;
                return Err(self.defect("the task ends inside a chunk"));
            }
        }
        self.has_staged = false;
        receipt(self.task, self.destination.stage().map(|_| self.committed))
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.undo()
    }
}

impl<D: WriteDatabase> Drop for ChunkTask<D> {
    fn drop(&mut self) {
        // Nothing can be reported from here; the job's `abort` removes the whole stage.
        let _ = self.undo();
    }
}

#[cfg(test)]
mod tests;
