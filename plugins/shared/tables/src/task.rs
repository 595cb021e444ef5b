//! One task's chunks. A chunk is one transaction on the task's own session, which is opened again
//! when it is lost. This is the one state machine of chunks: how rows travel is the loader's part,
//! and what is kept of them in the store beside the rows is `token`'s.

use std::sync::Arc;

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Backoff, Cancel, ChunkOutcome, Counters, Error, ErrorKind, Position, Receipt, Result,
    TaskContext, TaskProgress, WritePlan, WriteTask, Written, failpoint, has_defect,
};

use crate::{
    Access, Commit, Destination, Loader, Session, TableName, WriteDatabase,
    draft::converges,
    receipt::{no_stage, receipt},
    token::{TaskToken, Tokens},
};

mod losses;

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
    /// What the store keeps of the task, if the plan asks for that.
    token: Option<TaskToken>,
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
        let mut opened = Self {
            database: Arc::clone(database),
            cancel: cancel.clone(),
            destination,
            loader,
            session: None,
            task: task.task,
            converges: converges(plan),
            token: None,
            state: ChunkState::None,
            has_staged: false,
            committed: 0,
            pending: 0,
            last: None,
        };
        match &plan.tokens {
            Some(tables) => {
                let found = database.find_table(&mut session, name)?;
                let name = found.as_ref().map_or(name, |table| database.name_of(table));
                let tokens = Tokens::new(D::DIALECT, tables, Some(name), &plan.run);
                opened.claim(&mut session, tokens)?;
            }
            // What an attempt of another process has staged is not told from what this one stages.
            None if plan.is_resumed => opened.restart(&mut session)?,
            None => {}
        }
        opened.session = Some(session);
        Ok(opened)
    }

    /// Removes what earlier attempts have staged.
    fn restart(&self, session: &mut D::Session) -> Result<()> {
        match self.destination.stage() {
            None => Ok(()),
            Some(stage) if self.database.find_table(session, stage)?.is_none() => {
                Err(no_stage(&D::DIALECT.shown(stage)))
            }
            Some(_) => self.destination.restart_task(session, self.task),
        }
    }

    /// Claims the task, and continues where the store says that earlier attempts have come.
    fn claim(&mut self, session: &mut D::Session, tokens: Tokens) -> Result<()> {
        let mut token =
            TaskToken::claim(&*self.database, &self.cancel, session, tokens, self.task)?;
        self.committed = token.progress.counters.inserted;
        if let Some(stage) = self.destination.stage() {
            let is_there = self.database.find_table(session, stage)?.is_some();
            // The stage of a task that has finished may be published.
            if !is_there && !token.progress.is_finished {
                return Err(no_stage(&D::DIALECT.shown(stage)));
            }
            // A server that has crashed empties stages that it does not log, but not the tokens.
            let is_known = is_there && token.progress.chunks > 0;
            if is_known && self.destination.count_task(session, self.task)? != self.committed {
                self.destination.restart_task(session, self.task)?;
                token.restart(session)?;
                self.committed = 0;
            }
        }
        self.token = Some(token);
        Ok(())
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
                let mut session = Backoff::within(self.database.reconnect_window())
                    .reconnect(&self.cancel, connect)?;
                self.loader.prepare(&mut session).map_err(replayable)?;
                match self.token {
                    Some(_) => self.reclaim(&mut session).map_err(replayable)?,
                    None => self.ensure_kept(&mut session).map_err(replayable)?,
                }
                session
            }
        };
        Ok(self.session.insert(session))
    }

    /// Notes that the open chunk is in.
    fn committed(&mut self, mark: Mark<D>) -> ChunkOutcome {
        (self.state, self.last) = (ChunkState::None, Some(mark));
        self.committed += std::mem::take(&mut self.pending);
        self.has_staged |= self.destination.stage().is_some();
        failpoint("K7");
        ChunkOutcome::Committed
    }

    /// Keeps the token of the open chunk in its transaction. `false` if a newer attempt owns the task.
    fn keep_token(&mut self, next: &Token<'_>) -> Result<bool> {
        let (Some(token), Some(session)) = (&self.token, &mut self.session) else {
            return Ok(true);
        };
        let kept = token.advance(session, next.position, next.counters);
        self.broken(kept)
    }

    /// Begins a transaction, and looks in it whether the task is still this attempt's.
    fn begin_fenced(&mut self) -> Result<()> {
        self.connected()?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let begun = session.begin().and_then(|()| match &self.token {
            Some(token) => token.fence(session),
            None => Ok(()),
        });
        if begun.is_err() {
            // Its end undoes the transaction.
            self.session = None;
        }
        begun
    }

    /// Notes that the open chunk can only be rolled back.
    fn broken<T>(&mut self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            self.state = ChunkState::Broken;
            replayable(error)
        })
    }

    /// Notes in the store that the task has finished; once more if the session is lost meanwhile.
    fn finish_token(&mut self) -> Result<()> {
        for is_last in [false, true] {
            self.connected()?;
            let (Some(token), Some(session)) = (&mut self.token, &mut self.session) else {
                return Ok(());
            };
            match token.finish(session) {
                Err(error) if error.kind == ErrorKind::Connection && !is_last => {
                    self.session = None;
                }
                finished => return finished,
            }
        }
        Ok(())
    }

    /// Undoes the open chunk, and what the task has staged. After a stop signal the job's `abort`
    /// drops the whole stage at once: deleting millions of rows before that would only take time.
    fn undo(&mut self) -> Result<()> {
        self.rollback_chunk()?;
        if self.token.is_some() {
            // Its rows are committed, and another attempt continues behind them.
            return Ok(());
        }
        if std::mem::take(&mut self.has_staged) && !self.cancel.is_cancelled() {
            let mut session = self.database.connect(Access::CleanUp)?;
            self.destination.remove_task(&mut session, self.task)?;
        }
        Ok(())
    }
}

/// What is kept with the rows of a chunk.
struct Token<'a> {
    position: &'a Position,
    counters: &'a Counters,
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
        if let Some(token) = &self.token
            && token.progress.chunks != sequence
        {
            let chunks = token.progress.chunks;
            return Err(self.defect(format!("chunk {sequence} begins where {chunks} is the next")));
        }
        // Between chunks the server may have closed the session: one more attempt with a new one.
        if let Err(error) = self.begin_fenced() {
            if error.kind != ErrorKind::Connection {
                return Err(error);
            }
            self.begin_fenced().map_err(replayable)?;
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

    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome> {
        let (session, loader) = self.in_chunk()?;
        let completed = loader.complete(session);
        self.broken(completed)?;
        // The last moment at which a stop has a certain outcome.
        let stopped = self.cancel.check();
        self.broken(stopped)?;
        let next = Token { position, counters };
        if !self.keep_token(&next)? {
            self.rollback_chunk()?;
            return Ok(ChunkOutcome::Fenced);
        }
        let (session, loader) = self.in_chunk()?;
        let mark = loader.mark(session);
        failpoint("K5");
        let committed = session.commit();
        failpoint("K6");
        match (committed, &mut self.token) {
            (Ok(Commit::Committed), token) => {
                if let Some(token) = token {
                    token.advanced(position, counters);
                }
                Ok(self.committed(mark))
            }
            (Ok(Commit::Lost(evidence)), None) => self.settle(mark, evidence),
            (Ok(Commit::Lost(evidence)), Some(_)) => self.settle_by_token(mark, &next, evidence),
            (Err(error), _) => {
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
        if self.token.is_some() {
            self.finish_token()?;
        }
        self.has_staged = false;
        receipt(self.task, self.destination.stage().map(|_| self.committed))
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.undo()
    }

    fn progress(&mut self) -> Result<Option<TaskProgress>> {
        let kept = self.token.as_ref().filter(|_| !has_defect("journal-only"));
        let progress = kept.map(|token| token.progress.clone());
        Ok(progress.filter(|progress| progress.chunks > 0 || progress.is_finished))
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
