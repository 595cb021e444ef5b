//! The lock that runs hold on their target: shared by those that add rows, exclusive for one that
//! replaces them all. It ends with its session.

use std::time::{Duration, Instant};

use transload_plugin_api::{Error, Result, Waiting, WriteMode};
use transload_tables::TableName;

use crate::{blocker::DESCRIBED, catalog, session::Session};

/// The first half of our advisory locks' keys; the second is the target's oid.
const LOCK_CLASS: i32 = 0x7472_616e;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Locks the target.
///
/// # Errors
/// [`ErrorKind::Locked`] with the holder as hint.
pub(crate) fn lock(
    session: &mut Session,
    name: &TableName,
    mode: WriteMode,
    patience: Duration,
) -> Result<()> {
    let target = catalog::table(session, name)?;
    let shared = if mode == WriteMode::Overwrite { "" } else { "_shared" };
    // The server's own number of the table, as the lock function takes it.
    let oid = target.oid as i32;
    let sql = format!("SELECT pg_catalog.pg_try_advisory_lock{shared}({LOCK_CLASS}, {oid})");
    let (begun, mut waiting) = (Instant::now(), None);
    while !session.row("lock the target", &sql, &[])?.flag(0)? {
        if begun.elapsed() >= patience {
            let message = format!("another run writes table `{}`", target.name);
            return Err(Error::locked(message).hint(holders(session, target.oid)?));
        }
        if waiting.is_none() {
            let holders = holders(session, target.oid)?;
            let name = &target.name;
            waiting =
                Some(Waiting::new(format_args!("waiting for table {name}, held by {holders}")));
        }
        session.cancel().sleep(PAUSE)?;
    }
    Ok(())
}

/// The sessions that hold the lock, for people.
fn holders(session: &mut Session, oid: u32) -> Result<String> {
    let sql = format!(
        "SELECT coalesce(string_agg({DESCRIBED}, '; '), 'it has just ended: try again') \
         FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2"
    );
    let parameters = [LOCK_CLASS.to_string(), oid.to_string()];
    session.text("look up the lock's holder", &sql, &[&parameters[0], &parameters[1]])
}
