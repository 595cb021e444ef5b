//! The careful way of rows into the server: each batch is tried as a whole within a savepoint and
//! halved again and again where data is at fault, until each refused row is known. Only the bytes
//! to send are cut, nothing is encoded twice.
//!
//! Rows that have to meet what is there go to a temporary table of the session first and from
//! there by one statement.

use std::ops::Range;

use tokio_postgres::Error as PgError;
use transload_plugin_api::{DirtyRow, Result, Written};

use crate::{
    encode::Encoded,
    failure::{RowFault, failure, row_fault},
    load::{LoadPlan, Statements, TEMPORARY, copy},
    session::Session,
};

/// Rows that the server takes are in afterwards, all others are dirty.
pub(crate) fn write(
    session: &Session,
    plan: &LoadPlan,
    statements: &Statements,
    encoded: &mut Encoded,
) -> Result<Written> {
    let mut written = Written::default();
    let all = 0..encoded.rows.len();
    let mut pending = vec![all];
    // The first of a pair is taken first: of equal keys the first row is in.
    while let Some(rows) = pending.pop() {
        if rows.is_empty() {
            continue;
        }
        match attempt(session, statements, encoded, rows.clone())? {
            Ok(counts) => counts.add_to(&mut written, rows.len() as u64, plan),
            Err(error) => match row_fault(&error) {
                None => return Err(failure("write rows", &error)),
                Some(fault) => {
                    let undo = "ROLLBACK TO SAVEPOINT transload; RELEASE SAVEPOINT transload";
                    session.batch("undo refused rows", undo)?;
                    if rows.len() == 1 {
                        written.dirty.push(dirty(encoded.rows[rows.start], fault));
                    } else {
                        let middle = rows.start + rows.len() / 2;
                        pending.push(middle..rows.end);
                        pending.push(rows.start..middle);
                    }
                }
            },
        }
    }
    written.dirty.append(&mut encoded.dirty);
    written.dirty.sort_by_key(|dirty| dirty.row);
    Ok(written)
}

/// Sends some rows within a savepoint.
fn attempt(
    session: &Session,
    statements: &Statements,
    encoded: &Encoded,
    rows: Range<usize>,
) -> Result<Result<Counts, PgError>> {
    let start = rows.start.checked_sub(1).map_or(0, |before| encoded.ends[before]);
    let bytes = &encoded.bytes[start..encoded.ends[rows.end - 1]];
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

/// What became of rows that were sent together.
#[derive(Clone, Copy)]
struct Counts {
    inserted: u64,
    updated: u64,
}

impl Counts {
    fn add_to(self, written: &mut Written, sent: u64, plan: &LoadPlan) {
        written.inserted += self.inserted;
        let rest = sent.saturating_sub(self.inserted);
        if plan.way.as_ref().is_some_and(|way| way.updates) {
            // Rows of a key that came again in the batch are as good as updated.
            written.updated += rest;
        } else {
            // What a trigger has suppressed is not in the table either.
            written.skipped += rest;
        }
        debug_assert!(self.updated <= rest);
    }
}

fn dirty(row: u32, fault: RowFault) -> DirtyRow {
    DirtyRow {
        row: row.into(),
        place: None,
        column: fault.column,
        value: None,
        code: fault.code.to_owned(),
        reason: fault.reason,
    }
}
