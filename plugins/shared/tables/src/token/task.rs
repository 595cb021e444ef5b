//! The row of one task in the store: the claim of an attempt, the fence before each chunk, and the
//! token that is committed with a chunk's rows. `task` one level up is the state machine around it.

use std::time::{Duration, Instant};

use transload_plugin_api::{
    Cancel, Counters, Error, ErrorKind, Position, Result, TaskProgress, Waiting, code, failpoint,
    has_defect,
};

use super::{Phase, SessionIdentity, Tokens, number, text};
use crate::{Session, WriteDatabase};

const CLAIM: &str = "claim the task";
const FENCE: &str = "look at the task's token";
const ADVANCE: &str = "keep the task's token";
/// How long a claim waits for the row before it ends the session that holds it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a claim tries in all: longer than servers let a silent session be.
const CLAIM_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 90 });
/// As long after a stop signal.
const STOPPED_LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

const OPEN: &str = "open";
const FINISHED: &str = "finished";

/// What is in the store of a task.
struct TaskRow {
    epoch: u64,
    progress: TaskProgress,
    owner: SessionIdentity,
}

/// A claimed task.
pub(crate) struct TaskToken {
    tokens: Tokens,
    task: u32,
    epoch: u64,
    /// The session that has tried to claim the task last. It may have, if the reply was lost.
    tried: SessionIdentity,
    /// As it is in the store.
    pub(crate) progress: TaskProgress,
    /// Not if the run is done, and the rows of its tasks are removed.
    has_row: bool,
}

impl TaskToken {
    /// Claims the task for the session: attempts before this one write nothing more. Ends their
    /// session if it keeps the row to itself and may be ended.
    ///
    /// # Errors
    /// [`code::RUN_CLAIM`] with the session that keeps the row.
    pub(crate) fn claim<D: WriteDatabase>(
        database: &D,
        cancel: &Cancel,
        session: &mut D::Session,
        tokens: Tokens,
        task: u32,
    ) -> Result<Self> {
        let (tried, progress) = Default::default();
        let mut token = Self { tokens, task, epoch: 0, tried, progress, has_row: true };
        token.claim_as(database, cancel, session, None)?;
        failpoint("K4");
        Ok(token)
    }

    /// Claims the task again, after the session was lost, and returns how many chunks the store has;
    /// `None` if a newer attempt has claimed it.
    pub(crate) fn reclaim<D: WriteDatabase>(
        &mut self,
        database: &D,
        cancel: &Cancel,
        session: &mut D::Session,
    ) -> Result<Option<u64>> {
        let known = self.progress.clone();
        let is_held = self.claim_as(database, cancel, session, Some(self.epoch))?;
        let found = std::mem::replace(&mut self.progress, known).chunks;
        Ok(is_held.then_some(found))
    }

    fn claim_as<D: WriteDatabase>(
        &mut self,
        database: &D,
        cancel: &Cancel,
        session: &mut D::Session,
        held: Option<u64>,
    ) -> Result<bool> {
        database.guard(session)?;
        database.set_patience(session, Some(PATIENCE))?;
        let claimed = self.wait_for_claim(database, cancel, session, held);
        database.set_patience(session, None)?;
        claimed
    }

    fn wait_for_claim<D: WriteDatabase>(
        &mut self,
        database: &D,
        cancel: &Cancel,
        session: &mut D::Session,
        held: Option<u64>,
    ) -> Result<bool> {
        let (own, begun) = (session.identity()?, Instant::now());
        let limit = if cancel.is_cancelled() { STOPPED_LIMIT } else { CLAIM_LIMIT };
        let mut waiting = None;
        loop {
            let before = self.read(session)?;
            let error = match self.try_claim(session, &own, before.as_ref(), held) {
                Ok(claimed) => return Ok(claimed),
                // The row was made in the meantime, or a lock on it was not given.
                Err(error) if matches!(error.kind, ErrorKind::Data | ErrorKind::Retry) => error,
                Err(error) => return Err(error),
            };
            let blocker = match &before {
                Some(row) if row.owner != own => database.end_session(session, &row.owner)?,
                _ => None,
            };
            let blocker = blocker.unwrap_or_else(|| error.message.clone());
            if begun.elapsed() >= limit {
                return Err(self.blocked(&blocker).caused_by(&error));
            }
            waiting.get_or_insert_with(|| {
                let task = self.task;
                Waiting::new(format_args!("waiting for task {task}, held by {blocker}"))
            });
            match limit == STOPPED_LIMIT {
                true => std::thread::sleep(PAUSE),
                false => cancel.sleep(PAUSE)?,
            }
        }
    }

    /// One attempt. `false` if the task is no longer held with that epoch.
    fn try_claim<S: Session>(
        &mut self,
        session: &mut S,
        own: &SessionIdentity,
        before: Option<&TaskRow>,
        held: Option<u64>,
    ) -> Result<bool> {
        let (table, of_task) = (self.tokens.task_table(), self.tokens.of_task(self.task));
        let (id, start) = (own.id, self.tokens.text(&own.start));
        let Some(before) = before else {
            if held.is_some() {
                return Ok(false);
            }
            // A run that has ended gets no new task.
            let (of_run, task) = (self.tokens.of_run(), self.task);
            let sql = format!(
                "INSERT INTO {table} (run_id, task_id, epoch, seq, state, rows_read, \
                 rows_inserted, rows_updated, rows_skipped, rows_dirty, owner_id, owner_start) \
                 SELECT run_id, {task}, 1, 0, '{OPEN}', 0, 0, 0, 0, 0, {id}, {start} FROM {} \
                 WHERE {of_run} AND state = '{}'",
                self.tokens.run_table(),
                Phase::Writing.word()
            );
            let is_new = session.change(CLAIM, &sql)? == 1;
            let is_finished = !is_new && self.tokens.is_done(session)?;
            if !is_new && !is_finished {
                let message = format!("run `{}` does not write any more", self.tokens.id);
                return Err(Error::locked(message)
                    .at(self.place())
                    .with_code(code::RUN_TOKEN)
                    .hint("it was given up: run the job again as a new run"));
            }
            self.has_row = is_new;
            (self.epoch, self.progress) = (1, TaskProgress { is_finished, ..Default::default() });
            return Ok(true);
        };
        let is_own = |held| before.epoch == held + 1 && before.owner == self.tried;
        if held.is_some_and(|held| held != before.epoch && !is_own(held)) {
            return Ok(false);
        }
        self.tried = own.clone();
        let sql = format!(
            "UPDATE {table} SET epoch = epoch + 1, owner_id = {id}, owner_start = {start} \
             WHERE {of_task} AND epoch = {}",
            before.epoch
        );
        if session.change(CLAIM, &sql)? != 1 {
            return match held {
                Some(_) => Ok(false),
                None => Err(Error::retry("another attempt has claimed the task")),
            };
        }
        // Only now: what was read before may have changed until the row was free.
        let now = self.read(session)?.filter(|row| row.epoch == before.epoch + 1);
        let Some(now) = now else {
            return Err(Error::retry("another attempt has claimed the task"));
        };
        (self.epoch, self.progress) = (now.epoch, now.progress);
        Ok(true)
    }

    fn blocked(&self, blocker: &str) -> Error {
        let (task, seconds) = (self.task, CLAIM_LIMIT.as_secs());
        let message =
            format!("an earlier attempt of task {task} does not end within {seconds} s: {blocker}");
        Error::locked(message)
            .with_code(code::RUN_CLAIM)
            .hint("end that session, then continue the run: transload resume")
    }

    fn read<S: Session>(&self, session: &mut S) -> Result<Option<TaskRow>> {
        let tokens = &self.tokens;
        let sql = format!(
            "SELECT epoch, seq, state, {}, rows_read, rows_inserted, rows_updated, rows_skipped, \
             rows_dirty, owner_id, owner_start FROM {} WHERE {}",
            tokens.dialect.hex("checkpoint"),
            tokens.task_table(),
            tokens.of_task(self.task)
        );
        let rows = session.rows(FENCE, &sql)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let position = from_hex(text(row, 3));
        let Some(position) = position else {
            return Err(Error::other("a checkpoint in the token table cannot be read")
                .at(self.place())
                .with_code(code::RUN_TOKEN));
        };
        let progress = TaskProgress {
            chunks: number(row, 1)?,
            position: Position(position),
            counters: Counters {
                read: number(row, 4)?,
                inserted: number(row, 5)?,
                updated: number(row, 6)?,
                skipped: number(row, 7)?,
                dirty: number(row, 8)?,
            },
            is_finished: text(row, 2) == FINISHED,
        };
        let id = text(row, 9).parse().unwrap_or_default();
        let owner = SessionIdentity { id, start: text(row, 10).to_owned() };
        Ok(Some(TaskRow { epoch: number(row, 0)?, progress, owner }))
    }

    /// The first statement of a chunk: locks the row, so that a newer attempt waits for the chunk's
    /// end, and finds out whether there is one.
    ///
    /// # Errors
    /// [`code::RUN_FENCED`] if there is one; [`code::RUN_TOKEN`] if the row has changed otherwise.
    pub(crate) fn fence<S: Session>(&self, session: &mut S) -> Result<()> {
        if has_defect("no-fence") {
            return Ok(());
        }
        let sql = format!(
            "SELECT seq FROM {} WHERE {} AND epoch = {}{}",
            self.tokens.task_table(),
            self.tokens.of_task(self.task),
            self.epoch,
            self.tokens.dialect.for_update()
        );
        let rows = session.rows(FENCE, &sql)?;
        match rows.first().map(|row| number(row, 0)).transpose()? {
            None => Err(self.fenced()),
            Some(seq) if seq != self.progress.chunks && !has_defect("journal-only") => {
                Err(self.jumped(seq))
            }
            Some(_) => Ok(()),
        }
    }

    /// Keeps the open chunk's token in its transaction. `false` if a newer attempt owns the task.
    pub(crate) fn advance<S: Session>(
        &self,
        session: &mut S,
        position: &Position,
        counters: &Counters,
    ) -> Result<bool> {
        if has_defect("journal-only") {
            return Ok(true);
        }
        let Counters { read, inserted, updated, skipped, dirty } = counters;
        let mut sql = format!(
            "UPDATE {} SET seq = seq + 1, checkpoint = {}, rows_read = {read}, rows_inserted = \
             {inserted}, rows_updated = {updated}, rows_skipped = {skipped}, rows_dirty = {dirty} \
             WHERE {}",
            self.tokens.task_table(),
            self.tokens.dialect.bytes(&position.0),
            self.tokens.of_task(self.task),
        );
        if !has_defect("no-fence") {
            sql = format!("{sql} AND epoch = {} AND seq = {}", self.epoch, self.progress.chunks);
        }
        Ok(session.change(ADVANCE, &sql)? == 1)
    }

    /// Notes that the chunk of [`TaskToken::advance`] is in.
    pub(crate) fn advanced(&mut self, position: &Position, counters: &Counters) {
        self.progress.chunks += 1;
        self.progress.position = position.clone();
        self.progress.counters = *counters;
    }

    /// Begins the task again: the rows of its committed chunks are gone.
    pub(crate) fn restart<S: Session>(&mut self, session: &mut S) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET seq = 0, state = '{OPEN}', checkpoint = NULL, rows_read = 0, \
             rows_inserted = 0, rows_updated = 0, rows_skipped = 0, rows_dirty = 0 \
             WHERE {} AND epoch = {}",
            self.tokens.task_table(),
            self.tokens.of_task(self.task),
            self.epoch
        );
        session.change(ADVANCE, &sql)?;
        self.progress = TaskProgress::default();
        Ok(())
    }

    /// Notes that the task has finished.
    ///
    /// # Errors
    /// [`code::RUN_FENCED`] if a newer attempt owns the task.
    pub(crate) fn finish<S: Session>(&mut self, session: &mut S) -> Result<()> {
        if !self.has_row {
            return Ok(());
        }
        let sql = format!(
            "UPDATE {} SET state = '{FINISHED}' WHERE {} AND epoch = {}",
            self.tokens.task_table(),
            self.tokens.of_task(self.task),
            self.epoch
        );
        // Some servers count only rows that differ afterwards.
        if session.change(ADVANCE, &sql)? != 1 {
            let now = self.read(session)?.filter(|row| row.epoch == self.epoch);
            if now.is_none_or(|row| !row.progress.is_finished) && !has_defect("no-fence") {
                return Err(self.fenced());
            }
        }
        self.progress.is_finished = true;
        failpoint("K9");
        Ok(())
    }

    fn place(&self) -> String {
        format!("task {}", self.task)
    }

    /// The refusal of an attempt that is no longer the newest.
    pub(crate) fn fenced(&self) -> Error {
        Error::locked("a newer attempt owns the task; nothing was written")
            .at(self.place())
            .with_code(code::RUN_FENCED)
    }

    /// The store has another number of chunks than this attempt has committed.
    pub(crate) fn jumped(&self, seq: u64) -> Error {
        let known = self.progress.chunks;
        let message = format!("the token has {seq} committed chunks, and {known} were committed");
        let (code, hint) = match seq < known {
            true => (
                code::RUN_LOST,
                "the server has lost what it had confirmed, the rows and their token together: \
                 continue from there with `transload resume`",
            ),
            false => (
                code::RUN_TOKEN,
                "something else changes the token tables: compare the target with the source",
            ),
        };
        Error::other(message).at(self.place()).with_code(code).hint(hint)
    }
}

impl Tokens {
    /// The run's tasks that have rows and have not finished.
    pub(crate) fn unfinished<S: Session>(&self, session: &mut S) -> Result<Vec<u32>> {
        let sql = format!(
            "SELECT task_id FROM {} WHERE {} AND state <> '{FINISHED}' ORDER BY task_id",
            self.task_table(),
            self.of_run()
        );
        let rows = session.rows(FENCE, &sql)?;
        rows.iter().map(|row| Ok(number(row, 0)? as u32)).collect()
    }

    /// Removes the rows of the run's tasks; the run's own row stays.
    pub(crate) fn forget_tasks<S: Session>(&self, session: &mut S) -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE {}", self.task_table(), self.of_run());
        session.change("remove the tokens of the run's tasks", &sql).map(drop)
    }
}

/// Bytes of hexadecimal digits.
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_bytes() {
        assert_eq!(from_hex("00fFa1"), Some(vec![0, 255, 0xa1]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for broken in ["0", "zz", "0x", "é1"] {
            assert_eq!(from_hex(broken), None, "{broken}");
        }
    }
}
