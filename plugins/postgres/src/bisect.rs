//! The careful way of rows into the server: each batch is tried as a whole within a savepoint and
//! halved again and again where data is at fault, until each refused row is known. Only the bytes
//! to send are cut, nothing is encoded twice.
//!
//! Rows that have to meet what is there go to a temporary table of the session first and from
//! there by one statement.

use std::ops::Range;

use transload_plugin_api::{DirtyRow, Result, Written};

use crate::{
    encode::{Encoded, HEADER, TRAILER},
    failure::{Failure, RowFault, row_fault},
    load_plan::{Detour, LoadPlan, TEMPORARY},
    session::Session,
};

/// Rows that the server takes are in afterwards, all others are dirty.
pub(crate) fn write(
    session: &mut Session,
    plan: &LoadPlan,
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
        let refused = (written.dirty.len() + encoded.dirty.len()) as u64;
        if plan.enough_dirty.is_some_and(|enough| refused >= enough) {
            // The chunk is lost, so the others are not tried.
            written.skipped += rows.len() as u64;
            continue;
        }
        let error = match attempt(session, plan, encoded, rows.clone()) {
            Ok(counts) => {
                counts.add_to(&mut written);
                continue;
            }
            Err(error) => error,
        };
        let Some(fault) = error.server().and_then(row_fault) else {
            return Err(error.into_error("write rows", session.cancel()));
        };
        let undo = "ROLLBACK TO SAVEPOINT transload; RELEASE SAVEPOINT transload";
        session.run("undo refused rows", undo)?;
        if rows.len() == 1 {
            written.dirty.push(dirty(encoded.rows[rows.start], fault));
        } else {
            let middle = rows.start + rows.len() / 2;
            pending.push(middle..rows.end);
            pending.push(rows.start..middle);
        }
    }
    written.dirty.append(&mut encoded.dirty);
    written.dirty.sort_by_key(|dirty| dirty.row);
    Ok(written)
}

/// Sends some rows within a savepoint.
fn attempt(
    session: &mut Session,
    plan: &LoadPlan,
    encoded: &Encoded,
    rows: Range<usize>,
) -> Result<Counts, Failure> {
    let start = rows.start.checked_sub(1).map_or(0, |before| encoded.ends[before]);
    let bytes = &encoded.bytes[start..encoded.ends[rows.end - 1]];
    let begin = match plan.detour {
        Some(_) => format!("SAVEPOINT transload; TRUNCATE {TEMPORARY}"),
        None => "SAVEPOINT transload".to_owned(),
    };
    session.try_run(&begin)?;
    session.begin_copy_in(&plan.copy)?;
    for part in [HEADER, bytes, TRAILER] {
        session.send_copy(part)?;
    }
    let (copied, sent) = (session.end_copy()?, rows.len() as u64);
    let counts = match &plan.detour {
        // What a trigger has suppressed is not in the table.
        None => Counts { inserted: copied, updated: 0, skipped: sent.saturating_sub(copied) },
        Some(detour) => applied(session, detour, sent)?,
    };
    session.try_run("RELEASE SAVEPOINT transload")?;
    Ok(counts)
}

/// Moves the rows from the temporary table to the target.
fn applied(session: &mut Session, detour: &Detour, sent: u64) -> Result<Counts, Failure> {
    for search in &detour.orphans {
        search.run(session)?;
    }
    let uncounted = || Failure::protocol("the server does not count the rows it moved");
    let rows = session.try_rows(&detour.apply, &[])?;
    let row = rows.first().ok_or_else(uncounted)?;
    let count = |at| row.number::<u64>(at).map_err(|_| uncounted());
    let (inserted, updated) = (count(0)?, count(1)?);
    let kept = match row.optional(2) {
        Some(_) => count(2)?,
        None if detour.updates => inserted + updated,
        None => sent,
    };
    // Rows of a key that came again in the batch are as good as updated.
    let updated = updated + sent.saturating_sub(kept);
    // What a conflict or a trigger has suppressed is not in the table.
    Ok(Counts { inserted, updated, skipped: sent.saturating_sub(inserted + updated) })
}

/// The outcome of rows that were sent together.
#[derive(Clone, Copy)]
struct Counts {
    inserted: u64,
    updated: u64,
    skipped: u64,
}

impl Counts {
    fn add_to(self, written: &mut Written) {
        written.inserted += self.inserted;
        written.updated += self.updated;
        written.skipped += self.skipped;
    }
}

fn dirty(row: u32, fault: RowFault) -> DirtyRow {
    DirtyRow { column: fault.column, ..DirtyRow::new(fault.code, fault.reason).row(row.into()) }
}
