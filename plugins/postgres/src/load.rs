//! Rows into the server by COPY BINARY, and the search for those that it refuses: the batch is
//! tried as a whole within a savepoint and halved again and again where data is at fault. Only the
//! bytes to send are cut, nothing is encoded twice.
//!
//! Rows that have to meet what is there (keys, casts) go to a temporary table of the session first
//! and from there by one statement.

use std::ops::Range;

use arrow_array::RecordBatch;
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, CopyInSink, Error as PgError, Statement};
use transload_plugin_api::{DirtyRow, Result, Written};

use crate::{
    encode::{Encoded, EncodedColumn, Suffix, encode},
    failure::{RowFault, failure, row_fault},
    session::Session,
};

/// What stands before the rows: a signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind them.
const TRAILER: &[u8] = &[0xFF, 0xFF];
/// So much is handed to the server at a time.
const PIECE: usize = 128 << 10;

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
}

/// Prepared once a session.
struct Statements {
    copy: Statement,
    apply: Option<Statement>,
}

/// What became of rows that were sent together.
#[derive(Clone, Copy)]
struct Counts {
    inserted: u64,
    updated: u64,
}

impl Loader {
    pub(crate) fn new(plan: LoadPlan) -> Self {
        Self { plan, statements: None, encoded: Encoded::default() }
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

    /// Loads a batch inside the open transaction.
    pub(crate) fn write(&mut self, session: &Session, batch: &RecordBatch) -> Result<Written> {
        encode(batch, &self.plan.columns, self.plan.suffix, &mut self.encoded)?;
        let mut written = Written::default();
        let bytes = Bytes::from(std::mem::take(&mut self.encoded.bytes));
        let all = 0..self.encoded.rows.len();
        let mut pending = vec![all];
        // The first of a pair is taken first: of equal keys the first row is in.
        while let Some(rows) = pending.pop() {
            if rows.is_empty() {
                continue;
            }
            match self.attempt(session, &bytes, rows.clone())? {
                Ok(counts) => self.count(counts, rows.len() as u64, &mut written),
                Err(error) => match row_fault(&error) {
                    None => return Err(failure("write rows", &error)),
                    Some(fault) => {
                        let undo = "ROLLBACK TO SAVEPOINT transload; RELEASE SAVEPOINT transload";
                        session.batch("undo refused rows", undo)?;
                        if rows.len() == 1 {
                            written.dirty.push(self.dirty(rows.start, fault));
                        } else {
                            let middle = rows.start + rows.len() / 2;
                            pending.push(middle..rows.end);
                            pending.push(rows.start..middle);
                        }
                    }
                },
            }
        }
        // Nobody else holds the bytes any more, so this is the same buffer again.
        self.encoded.bytes = Vec::from(bytes);
        written.dirty.append(&mut self.encoded.dirty);
        written.dirty.sort_by_key(|dirty| dirty.row);
        Ok(written)
    }

    /// Sends some rows within a savepoint.
    fn attempt(
        &self,
        session: &Session,
        bytes: &Bytes,
        rows: Range<usize>,
    ) -> Result<Result<Counts, PgError>> {
        let Some(statements) = &self.statements else {
            return Err(transload_plugin_api::Error::new(
                transload_plugin_api::ErrorKind::Defect,
                "rows are written before the session is ready",
            ));
        };
        let start = rows.start.checked_sub(1).map_or(0, |before| self.encoded.ends[before]);
        let bytes = bytes.slice(start..self.encoded.ends[rows.end - 1]);
        let client = &session.client;
        session.wait(async {
            let begin = match statements.apply {
                Some(_) => format!("SAVEPOINT transload; TRUNCATE {TEMPORARY}"),
                None => "SAVEPOINT transload".to_owned(),
            };
            client.batch_execute(&begin).await?;
            let copied = copy(client, &statements.copy, bytes).await?;
            let counts = match &statements.apply {
                None => Counts { inserted: copied, updated: 0 },
                Some(apply) => {
                    let row = client.query_one(apply, &[]).await?;
                    let count = |at| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
                    Counts { inserted: count(0), updated: count(1) }
                }
            };
            client.batch_execute("RELEASE SAVEPOINT transload").await?;
            Ok(counts)
        })
    }

    fn count(&self, counts: Counts, sent: u64, written: &mut Written) {
        written.inserted += counts.inserted;
        let rest = sent.saturating_sub(counts.inserted);
        if self.plan.way.as_ref().is_some_and(|way| way.updates) {
            // Rows of a key that came again in the batch are as good as updated.
            written.updated += rest;
        } else {
            // What a trigger has suppressed is not in the table either.
            written.skipped += rest;
        }
        debug_assert!(counts.updated <= rest);
    }

    fn dirty(&self, index: usize, fault: RowFault) -> DirtyRow {
        DirtyRow {
            row: self.encoded.rows[index].into(),
            place: None,
            column: fault.column,
            value: None,
            code: fault.code.to_owned(),
            reason: fault.reason,
        }
    }
}

/// One COPY of these rows; how many the server has taken.
async fn copy(client: &Client, statement: &Statement, mut rows: Bytes) -> Result<u64, PgError> {
    let sink: CopyInSink<Bytes> = client.copy_in(statement).await?;
    let mut sink = std::pin::pin!(sink);
    let sent: Result<(), PgError> = async {
        sink.feed(Bytes::from_static(HEADER)).await?;
        while !rows.is_empty() {
            let piece = rows.split_to(PIECE.min(rows.len()));
            sink.feed(piece).await?;
        }
        sink.feed(Bytes::from_static(TRAILER)).await
    }
    .await;
    // If the server has stopped taking rows, its reason comes with the end.
    match sink.as_mut().finish().await {
        Ok(count) => sent.map(|()| count),
        Err(error) => Err(error),
    }
}
