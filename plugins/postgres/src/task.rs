//! One task's chunks. A chunk is one transaction on the task's own connection; a lost connection
//! loses the open chunk and nothing else, so the host can replay it.

use std::time::Duration;

use arrow_array::RecordBatch;
use transload_plugin_api::{
    ChunkOutcome, Counters, Error, ErrorKind, Position, Receipt, Result, WriteTask, Written,
};
use transload_tables::TableName;

use crate::{
    connect::Connector,
    dialect::{quoted, quoted_table},
    load::Loader,
    session::Session,
    target::TASK,
};

/// Waits between attempts to connect again, about half a minute in all.
const RECONNECTS: [u64; 7] = [100, 500, 1_000, 2_000, 4_000, 8_000, 16_000];

/// Writes one task's rows.
pub(crate) struct PostgresTask {
    connector: Connector,
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
        connector: Connector,
        mut loader: Loader,
        task: u32,
        stage: Option<TableName>,
    ) -> Result<Self> {
        let mut session = connector.connect()?;
        loader.prepare(&mut session)?;
        let session = Some(session);
        Ok(Self { connector, session, loader, task, stage, chunk: Chunk::None, staged: false })
    }

    /// The session, made again if it was lost.
    fn ready(&mut self) -> Result<()> {
        if self.session.as_mut().is_some_and(|session| !session.is_lost()) {
            return Ok(());
        }
        let mut session = self.reconnect()?;
        self.loader.prepare(&mut session)?;
        self.session = Some(session);
        Ok(())
    }

    /// Connects again after a loss, for about half a minute.
    fn reconnect(&self) -> Result<Session> {
        for wait in RECONNECTS {
            match self.connector.connect() {
                Err(error) if error.kind == ErrorKind::Connection => {
                    std::thread::sleep(Duration::from_millis(wait));
                }
                outcome => return outcome,
            }
        }
        self.connector.connect()
    }

    /// What the open chunk is written with.
    fn open_chunk(&mut self) -> Result<(&mut Session, &mut Loader)> {
        match (&mut self.session, self.chunk) {
            (Some(session), Chunk::Open) => Ok((session, &mut self.loader)),
            _ => Err(Error::new(ErrorKind::Defect, "no open chunk to write to")
                .at(format!("task {}", self.task))),
        }
    }

    /// All of the chunk's rows are with the server. Until COMMIT has been sent, a lost connection
    /// has taken the chunk with it.
    fn complete(&mut self) -> Result<()> {
        let (session, loader) = self.open_chunk()?;
        loader.complete(session).map_err(|error| {
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
        if let Some(session) = &mut self.session {
            session.clean_up("remove staged rows", &sql)?;
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
        if let Some(session) = &mut self.session {
            // Deferrable constraints are checked row by row, so that rows can be named.
            let sql = "BEGIN; SET CONSTRAINTS ALL IMMEDIATE";
            session.run("begin a chunk", sql).map_err(replayed)?;
        }
        self.chunk = Chunk::Open;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let (session, loader) = self.open_chunk()?;
        let written = loader.write(session, batch);
        written.map_err(|error| {
            self.chunk = Chunk::Broken;
            replayed(error)
        })
    }

    fn commit_chunk(&mut self, _position: &Position, _counters: &Counters) -> Result<ChunkOutcome> {
        self.complete()?;
        let (session, _) = self.open_chunk()?;
        session.cancel().check()?;
        let outcome = session.commit("commit a chunk");
        if !matches!(outcome, Ok(ChunkOutcome::Committed)) {
            self.chunk = Chunk::Broken;
            return outcome;
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
        let rolled_back = match &mut self.session {
            Some(session) => session.clean_up("roll a chunk back", "ROLLBACK"),
            None => Ok(()),
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
