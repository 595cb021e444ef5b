//! Connection poolers between this program and the server. In transaction mode a pooler gives each
//! transaction to any process of the server: locks and temporary tables of a session are lost then,
//! and its settings reach the sessions of others. Such a pooler is refused.

use transload_plugin_api::{Error, Result, code};

use crate::session::Session;

/// How often the two sessions are compared: another client may take a process in between.
const ATTEMPTS: usize = 3;

/// Refuses a pooler in transaction mode. `session` has not begun a transaction; `other` opens a
/// second one.
pub(crate) fn refuse_transaction_mode(
    session: &mut Session,
    other: impl FnOnce() -> Result<Session>,
) -> Result<()> {
    // A pool of a single process has no second one to compare with.
    let Ok(mut other) = other() else { return Ok(()) };
    for _ in 0..ATTEMPTS {
        let before = session.process()?;
        other.run("begin", "BEGIN")?;
        let meanwhile = other.process()?;
        let after = session.process()?;
        other.run("end", "ROLLBACK")?;
        if before != after || before == meanwhile {
            let message = "a connection pooler in transaction mode is in front of the server";
            return Err(Error::unsupported(message).with_code(code::PG_POOLER).hint(
                "connect to the server itself, or to a pool with `pool_mode = session`: locks, \
                 temporary tables and snapshots belong to a session",
            ));
        }
    }
    Ok(())
}
