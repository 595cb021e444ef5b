//! One task's chunks. A chunk is one transaction on the task's own connection; a lost connection
//! loses the open chunk and nothing else, so the host can replay it.

use std::{thread, time::Duration};

use arrow_array::RecordBatch;
use transload_plugin_api::{
    ChunkOutcome, Counters, Error, ErrorKind, Host, Position, Receipt, Result, WriteTask, Written,
};
use transload_tables::TableName;

use crate::{
    dialect::{quoted, quoted_table},
    failure::failure,
    load::Loader,
    options::Address,
    session::Session,
    target::TASK,
};

/// Waits between attempts to connect again, about half a minute in all.
const RECONNECTS: [u64; 7] = [100, 500, 1_000, 2_000, 4_000, 8_000, 16_000];

/// How a task reaches the server.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) address: Address,
    pub(crate) host: Host,
    /// Settings of writers.
    pub(crate) settings: String,
}

impl Way {
    pub(crate) fn open(&self) -> Result<Session> {
        Session::open(&self.address, &self.host, &self.settings)
    }

    /// As [`Way::open`], also after a stop signal.
    pub(crate) fn open_regardless(&self) -> Result<Session> {
        Session::open_regardless(&self.address, &self.host, &self.settings)
    }

    /// Connects again after a loss, patiently.
    fn reopen(&self) -> Result<Session> {
        for wait in RECONNECTS {
            match self.open() {
                Err(error) if error.kind == ErrorKind::Connection => {
                    thread::sleep(Duration::from_millis(wait));
                }
                outcome => return outcome,
            }
        }
        self.open()
    }
}

/// Writes one task's rows.
pub(crate) struct PostgresTask {
    way: Way,
    session: Option<Session>,
    loader: Loader,
    task: u32,
    /// Where rows are staged, if they are.
    stage: Option<TableName>,
    chunk: Chunk,
    /// Committed chunks are staged that nobody has answered for yet.
    staged: bool,
}

/// What the task is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    None,
    Open,
    /// Something failed: only a rollback is right.
    Broken,
}

impl PostgresTask {
    pub(crate) fn new(
        way: Way,
        mut loader: Loader,
        task: u32,
        stage: Option<TableName>,
    ) -> Result<Self> {
        let session = way.open()?;
        loader.prepare(&session)?;
        let session = Some(session);
        Ok(Self { way, session, loader, task, stage, chunk: Chunk::None, staged: false })
    }

    /// The session, made again if it was lost.
    fn ready(&mut self) -> Result<()> {
        if self.session.as_ref().is_some_and(|session| !session.is_lost()) {
            return Ok(());
        }
        let session = self.way.reopen()?;
        self.loader.prepare(&session)?;
        self.session = Some(session);
        Ok(())
    }

    fn open_session(&self) -> Result<&Session> {
        match (&self.session, self.chunk) {
            (Some(session), Chunk::Open) => Ok(session),
            _ => Err(Error::new(ErrorKind::Defect, "no chunk is open that could go on")
                .at(format!("task {}", self.task))),
        }
    }

    /// All of the chunk's rows are with the server. Until COMMIT has been said, a lost connection
    /// has taken the chunk with it.
    fn complete(&mut self) -> Result<()> {
        self.open_session()?;
        let Some(session) = &self.session else { return Ok(()) };
        self.loader.complete(session).map_err(|error| {
            self.chunk = Chunk::Broken;
            replayed(error)
        })
    }

    /// Undoes the open chunk, and what the task has staged.
    fn discard(&mut self) -> Result<()> {
        self.rollback_chunk()?;
        let Some(stage) = self.stage.as_ref().filter(|_| self.staged) else { return Ok(()) };
        let sql =
            format!("DELETE FROM {} WHERE {} = {}", quoted_table(stage), quoted(TASK), self.task);
        // Without a session the stage goes with the job's `abort`.
        if let Some(session) = &self.session {
            session.last_words("remove staged rows", &sql)?;
            self.staged = false;
        }
        Ok(())
    }
}

impl WriteTask for PostgresTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        if self.chunk != Chunk::None {
            let message = format!("chunk {sequence} begins before the one before it has ended");
            return Err(Error::new(ErrorKind::Defect, message));
        }
        self.ready()?;
        if let Some(session) = &self.session {
            // Deferrable constraints are checked row by row, so that rows can be named.
            let sql = "BEGIN; SET CONSTRAINTS ALL IMMEDIATE";
            session.batch("begin a chunk", sql).map_err(replayed)?;
        }
        self.chunk = Chunk::Open;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        self.open_session()?;
        let Some(session) = &self.session else {
            return Err(Error::new(ErrorKind::Defect, "the task has no session"));
        };
        let written = self.loader.write(session, batch);
        written.map_err(|error| {
            self.chunk = Chunk::Broken;
            replayed(error)
        })
    }

    fn commit_chunk(&mut self, _position: &Position, _counters: &Counters) -> Result<ChunkOutcome> {
        self.complete()?;
        let session = self.open_session()?;
        session.cancel().check()?;
        let committed = session.wait(session.client.batch_execute("COMMIT"));
        match committed {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.as_db_error().is_none() => {
                self.chunk = Chunk::Broken;
                let evidence = format!("no answer to COMMIT: {error}");
                return Ok(ChunkOutcome::Unknown { evidence });
            }
            Ok(Err(error)) => {
                self.chunk = Chunk::Broken;
                return Err(failure("commit a chunk", &error));
            }
            // The signal may have come while COMMIT was under way.
            Err(error) => {
                self.chunk = Chunk::Broken;
                return Ok(ChunkOutcome::Unknown { evidence: error.to_string() });
            }
        }
        self.chunk = Chunk::None;
        self.loader.committed();
        self.staged = self.stage.is_some();
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        self.loader.forget();
        if std::mem::replace(&mut self.chunk, Chunk::None) == Chunk::None {
            return Ok(());
        }
        let rolled_back = match &self.session {
            Some(session) if !session.is_lost() => {
                session.last_words("roll a chunk back", "ROLLBACK")
            }
            _ => Ok(()),
        };
        if rolled_back.is_err() {
            // The server rolls back what its client has left.
            self.session = None;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        if self.chunk != Chunk::None {
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

impl Drop for PostgresTask {
    fn drop(&mut self) {
        // There is nobody to tell; `abort` of the job removes a whole stage.
        let _ = self.discard();
    }
}

/// Before COMMIT a lost connection has taken the whole chunk with it: replaying it is safe.
fn replayed(mut error: Error) -> Error {
    if error.kind == ErrorKind::Connection {
        error.kind = ErrorKind::Retry;
    }
    error
}
