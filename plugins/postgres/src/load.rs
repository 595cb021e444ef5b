//! Rows into the server by COPY BINARY. As a rule a chunk is one COPY, which stays open from its
//! first batch to its end, so that the server works while the next rows are encoded. If it refuses
//! a row then, nobody knows which: the chunk is asked for again, and it and some more go by the
//! careful way of `bisect`, batch by batch. Rows that have to meet what is there (keys, casts)
//! always go that way.

use std::pin::Pin;

use arrow_array::RecordBatch;
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, CopyInSink, Error as PgError, Statement};
use transload_plugin_api::{Error, ErrorKind, Result, Written};
use transload_tables::Care;

use crate::{
    bisect,
    encode::{Encoded, EncodedColumn, Suffix, encode},
    failure::{failure, row_fault, sentence},
    session::Session,
};

/// What stands before the rows: a signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind them.
const TRAILER: &[u8] = &[0xFF, 0xFF];
/// So much is handed to the server at a time.
const PIECE: usize = 64 << 10;

/// The statements that rows of one task need.
#[derive(Clone, Debug)]
pub(crate) struct LoadPlan {
    pub(crate) columns: Vec<EncodedColumn>,
    pub(crate) suffix: Suffix,
    /// `COPY ... FROM STDIN BINARY`.
    pub(crate) copy: String,
    /// Present if the rows go by way of a temporary table.
    pub(crate) way: Option<Way>,
}

/// The way by a temporary table.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// Makes the table, once a session.
    pub(crate) make: String,
    /// Moves the rows on; answers how many are new and how many were updated.
    pub(crate) apply: String,
    /// Rows that are neither new nor first with their key in a batch count as updated.
    pub(crate) updates: bool,
}

/// The temporary table's name.
pub(crate) const TEMPORARY: &str = "pg_temp.transload_rows";

/// Loads batches over one session.
pub(crate) struct Loader {
    plan: LoadPlan,
    statements: Option<Statements>,
    encoded: Encoded,
    /// The open chunk's COPY.
    copy: Option<Copy>,
    care: Care,
}

/// Prepared once a session.
pub(crate) struct Statements {
    pub(crate) copy: Statement,
    pub(crate) apply: Option<Statement>,
}

impl Loader {
    pub(crate) fn new(plan: LoadPlan) -> Self {
        Self {
            plan,
            statements: None,
            encoded: Encoded::default(),
            copy: None,
            care: Care::default(),
        }
    }

    /// Makes the session ready; outside a transaction, again after a reconnect.
    pub(crate) fn prepare(&mut self, session: &Session) -> Result<()> {
        let doing = "prepare the load";
        if let Some(way) = &self.plan.way {
            session.batch(doing, &way.make)?;
        }
        let copy = session.run(doing, session.client.prepare(&self.plan.copy))?;
        let apply = match &self.plan.way {
            Some(way) => Some(session.run(doing, session.client.prepare(&way.apply))?),
            None => None,
        };
        self.statements = Some(Statements { copy, apply });
        Ok(())
    }

    /// Loads a batch inside the open transaction. What it counts holds once [`Loader::complete`]
    /// has succeeded.
    pub(crate) fn write(&mut self, session: &Session, batch: &RecordBatch) -> Result<Written> {
        encode(batch, &self.plan.columns, self.plan.suffix, &mut self.encoded)?;
        let Some(statements) = &self.statements else {
            return Err(Error::new(ErrorKind::Defect, "rows are written in an unready session"));
        };
        if self.plan.way.is_some() || self.care.is_needed() {
            return bisect::write(session, &self.plan, statements, &mut self.encoded);
        }
        let copy = match &mut self.copy {
            Some(copy) => copy,
            none => none
                .insert(session.run("write rows", Copy::start(&session.client, &statements.copy))?),
        };
        let rows = self.encoded.rows.len() as u64;
        copy.rows += rows;
        session.run("write rows", copy.send(&self.encoded.bytes))?;
        let dirty = std::mem::take(&mut self.encoded.dirty);
        Ok(Written { inserted: rows, dirty, ..Written::default() })
    }

    /// Ends the chunk's COPY, before its commit.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] if the server has not taken every row.
    pub(crate) fn complete(&mut self, session: &Session) -> Result<()> {
        let Some(copy) = self.copy.take() else { return Ok(()) };
        let sent = copy.rows;
        let error = match session.wait(copy.finish())? {
            Ok(taken) if taken == sent => return Ok(()),
            Ok(taken) => format!("the server took {taken} of {sent} rows"),
            Err(error) => match row_fault(&error) {
                None => return Err(failure("write rows", &error)),
                Some(fault) => format!("the server refused a row: {}", sentence(&fault.reason)),
            },
        };
        self.care.raise();
        Err(Error::new(ErrorKind::Retry, error))
    }

    /// Forgets the open chunk.
    pub(crate) fn forget(&mut self) {
        self.copy = None;
    }

    /// A chunk has been committed.
    pub(crate) fn committed(&mut self) {
        self.care.relax();
    }
}

/// A COPY to the server that is under way.
pub(crate) struct Copy {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    /// Rows sent so far.
    rows: u64,
}

impl Copy {
    async fn start(client: &Client, statement: &Statement) -> Result<Self, PgError> {
        let sink = client.copy_in(statement).await?;
        let mut sink = Box::pin(sink);
        sink.feed(Bytes::from_static(HEADER)).await?;
        Ok(Self { sink, rows: 0 })
    }

    /// Sends encoded rows. If the server has stopped taking them, its reason comes with the end.
    async fn send(&mut self, rows: &[u8]) -> Result<(), PgError> {
        for piece in rows.chunks(PIECE) {
            // A copy is cheap beside a buffer that comes back only when the driver lets go of it.
            self.sink.feed(Bytes::copy_from_slice(piece)).await?;
        }
        Ok(())
    }

    /// How many rows the server has taken.
    async fn finish(mut self) -> Result<u64, PgError> {
        let sent = self.sink.feed(Bytes::from_static(TRAILER)).await;
        // If the server has stopped taking rows, its reason comes with the end.
        match self.sink.as_mut().finish().await {
            Ok(count) => sent.map(|()| count),
            Err(error) => Err(error),
        }
    }
}

/// One COPY of these rows; how many the server has taken.
pub(crate) async fn copy(
    client: &Client,
    statement: &Statement,
    rows: &[u8],
) -> Result<u64, PgError> {
    let mut copy = Copy::start(client, statement).await?;
    let sent = copy.send(rows).await;
    match copy.finish().await {
        Ok(count) => sent.map(|()| count),
        Err(error) => Err(error),
    }
}
