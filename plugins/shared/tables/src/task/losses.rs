//! What is still true after a connection was lost: whether the task is this attempt's, whether its
//! committed rows are there, and whether the chunk of a COMMIT without a reply is in.

use transload_plugin_api::{Backoff, ChunkOutcome, Error, Result, code};

use super::{ChunkState, ChunkTask, Mark, Token};
use crate::{Access, Destination as _, Loader as _, WriteDatabase, check_stage};

impl<D: WriteDatabase> ChunkTask<D> {
    /// After a loss: no newer attempt owns the task, and what it has committed is still there.
    pub(super) fn reclaim(&mut self, session: &mut D::Session) -> Result<()> {
        let Some(token) = &mut self.token else { return Ok(()) };
        match token.reclaim(&*self.database, &self.cancel, session)? {
            None => Err(token.fenced()),
            Some(found) if found == token.progress.chunks => Ok(()),
            Some(found) => Err(token.jumped(found)),
        }
    }

    /// After a loss: what the task has committed is still there. A server that was not restarted
    /// has kept it.
    pub(super) fn ensure_kept(&mut self, session: &mut D::Session) -> Result<()> {
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

    /// A new session. After a stop signal there is one attempt, which the signal does not end.
    fn session_to_look(&mut self) -> Result<D::Session> {
        let mut session = match self.cancel.is_cancelled() {
            true => self.database.connect(Access::CleanUp)?,
            false => {
                let connect = || self.database.connect(Access::Write);
                Backoff::within(self.database.reconnect_window())
                    .reconnect(&self.cancel, connect)?
            }
        };
        self.loader.prepare(&mut session)?;
        Ok(session)
    }

    /// Finds out, over a new session, whether the chunk of a COMMIT without a reply is in; `None`
    /// if that cannot be known.
    fn look(&mut self, mark: &Mark<D>) -> Result<Option<bool>> {
        let mut session = self.session_to_look()?;
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

    /// The outcome of a chunk whose COMMIT got no reply.
    pub(super) fn settle(&mut self, mark: Mark<D>, evidence: String) -> Result<ChunkOutcome> {
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

    /// As [`Self::look`], by the token: whether the chunk with this token is in, `None` if a newer
    /// attempt owns the task by now.
    fn look_for_token(&mut self, next: &Token<'_>) -> Result<Option<bool>> {
        let is_stopped = self.cancel.is_cancelled();
        let mut session = self.session_to_look()?;
        let Some(token) = &mut self.token else { return Ok(None) };
        let Some(found) = token.reclaim(&*self.database, &self.cancel, &mut session)? else {
            return Ok(None);
        };
        if !is_stopped {
            self.session = Some(session);
        }
        if found == token.progress.chunks + 1 {
            token.advanced(next.position, next.counters);
            return Ok(Some(true));
        }
        match found == token.progress.chunks {
            true => Ok(Some(false)),
            false => Err(token.jumped(found)),
        }
    }

    /// The outcome of a chunk with a token whose COMMIT got no reply.
    pub(super) fn settle_by_token(
        &mut self,
        mark: Mark<D>,
        next: &Token<'_>,
        evidence: String,
    ) -> Result<ChunkOutcome> {
        (self.state, self.session) = (ChunkState::Unknown, None);
        match self.look_for_token(next) {
            Ok(Some(true)) => Ok(self.committed(mark)),
            Ok(Some(false)) => {
                self.state = ChunkState::Broken;
                self.cancel.check()?;
                Err(Error::retry(format!("the server did not commit the chunk: {evidence}")))
            }
            Ok(None) => {
                self.state = ChunkState::Broken;
                Ok(ChunkOutcome::Fenced)
            }
            Err(error) if [code::RUN_TOKEN, code::RUN_LOST].contains(&&*error.code) => {
                self.state = ChunkState::Broken;
                Err(error)
            }
            Err(error) => {
                let task = self.task;
                Ok(ChunkOutcome::Unknown {
                    evidence: format!(
                        "{evidence}; asking for the token of task {task} failed: {error}"
                    ),
                })
            }
        }
    }
}
