//! One task's chunks. A chunk is one transaction on the task's own session, which is opened again
//! when it is lost. This is the one state machine of chunks: how rows travel is the loader's part.

use std::sync::Arc;

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Backoff, Cancel, ChunkOutcome, Counters, Error, ErrorKind, Position, Receipt, Result,
    TaskContext, WritePlan, WriteTask, Written, code,
};

use crate::{
    Access, Commit, Destination, Loader, Session, TableName, WriteDatabase, check_stage,
    draft::converges, receipt::receipt,
};

type Mark<D> = <<D as WriteDatabase>::Loader as Loader<<D as WriteDatabase>::Session>>::Mark;

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
    /// Writing a chunk again leaves what writing it once does.
    converges: bool,
    state: ChunkState,
    /// Chunks are in the stage that an `abort` or a drop has to remove.
    has_staged: bool,
    /// Rows of committed chunks that are new in the destination.
    committed: u64,
    /// As `committed`, of the open chunk.
    pending: u64,
    /// The mark of the last committed chunk.
    last: Option<Mark<D>>,
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
            converges: converges(plan),
            state: ChunkState::None,
            has_staged: false,
            committed: 0,
            pending: 0,
            last: None,
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
                self.ensure_kept(&mut session).map_err(replayable)?;
                session
            }
        };
        Ok(self.session.insert(session))
    }

    /// After a loss: what the task has committed is still there. A server that was not restarted
    /// has kept it.
    fn ensure_kept(&mut self, session: &mut D::Session) -> Result<()> {
        let Some(mark) = self.last.as_ref().filter(|mark| !self.loader.is_same_server(mark)) else {
            return Ok(());
        };
        if let Some(stage) = self.destination.stage() {
            let found = self.destination.count_task(session, self.task)?;
            return check_stage(&D::DIALECT.shown(stage), self.committed, found);
        }
        if self.loader.is_in(session, mark, true)? != Some(false) {
            return Ok(());
        }
        let message = format!(
            "the server was restarted and has lost rows whose commit it had confirmed, up to {} \
             of them",
            self.committed
        );
        Err(Error::other(message).at(format!("task {}", self.task)).with_code(code::RUN_LOST).hint(
            "let the server write its log to disk before it confirms a commit, and run the job \
             again into an empty table",
        ))
    }

    /// Finds out, over a new session, whether the chunk of a COMMIT without a reply is in; `None`
    /// if that cannot be known.
    fn look(&mut self, mark: &Mark<D>) -> Result<Option<bool>> {
        // After a stop signal there is one attempt, which the signal does not end.
        let mut session = match self.cancel.is_cancelled() {
            true => self.database.connect(Access::CleanUp)?,
            false => {
                let connect = || self.database.connect(Access::Write);
                Backoff::new().reconnect(&self.cancel, connect)?
            }
        };
        self.loader.prepare(&mut session)?;
        let mut found = self.loader.is_in(&mut session, mark, false)?;
        if let (None, Some(stage)) = (found, self.destination.stage()) {
            let rows = self.destination.count_task(&mut session, self.task)?;
            found = Some(rows == self.committed + self.pending);
            if found == Some(false) {
                check_stage(&D::DIALECT.shown(stage), self.committed, rows)?;
            }
        }
        if !self.cancel.is_cancelled() {
            self.session = Some(session);
        }
        Ok(found.or(self.converges.then_some(false)))
    }

    /// Notes that the open chunk is in.
    fn committed(&mut self, mark: Mark<D>) -> ChunkOutcome {
        (self.state, self.last) = (ChunkState::None, Some(mark));
        self.committed += std::mem::take(&mut self.pending);
        self.has_staged |= self.destination.stage().is_some();
        ChunkOutcome::Committed
    }

    /// The outcome of a chunk whose COMMIT got no reply.
    fn settle(&mut self, mark: Mark<D>, evidence: String) -> Result<ChunkOutcome> {
        (self.state, self.session) = (ChunkState::Unknown, None);
        let reason = match self.look(&mark) {
            Ok(Some(true)) => return Ok(self.committed(mark)),
            Ok(Some(false)) => {
                self.state = ChunkState::Broken;
                self.cancel.check()?;
                let message = format!("the server did not commit the chunk: {evidence}");
                return Err(Error::retry(message));
            }
            Ok(None) => "the table has no key by which its last rows could be found".to_owned(),
            Err(error) if error.code == code::RUN_STAGE => {
                self.state = ChunkState::Broken;
                return Err(error);
            }
            Err(error) => format!("looking for them failed: {error}"),
        };
        // What may be in is kept, in a stage as well: the run ends here.
        self.has_staged = false;
        let (task, committed, pending) = (self.task, self.committed, self.pending);
        Ok(ChunkOutcome::Unknown {
            evidence: format!(
                "{evidence}; task {task} has inserted {committed} rows for certain, and {pending} \
                 more may be in: {reason}"
            ),
        })
    }

    /// Notes that the open chunk can only be rolled back.
    fn broken<T>(&mut self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            self.state = ChunkState::Broken;
            replayable(error)
        })
    }

    /// Undoes the open chunk, and what the task has staged. After a stop signal the job's `abort`
    /// drops the whole stage at once: deleting millions of rows before that would only take time.
    fn undo(&mut self) -> Result<()> {
        self.rollback_chunk()?;
        if std::mem::take(&mut self.has_staged) && !self.cancel.is_cancelled() {
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
        let (session, loader) = self.in_chunk()?;
        let mark = loader.mark(session);
        match session.commit() {
            Ok(Commit::Committed) => Ok(self.committed(mark)),
            Ok(Commit::Lost(evidence)) => self.settle(mark, evidence),
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
