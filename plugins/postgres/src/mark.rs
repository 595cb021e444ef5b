//! What came of a chunk's transaction, asked over another session: the server keeps the outcome of
//! each transaction by its number.

use std::time::{Duration, Instant};

use transload_plugin_api::Result;

use crate::session::Session;

/// How long a transaction of a lost session may take to end.
const LIMIT: Duration = Duration::from_secs(10);
/// How long it is left alone before it is ended.
const LEFT_ALONE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(50);

/// The server's code for a transaction "in the future".
const FUTURE: &str = "PG-22023";
const DOING: &str = "look for the last chunk";

/// A chunk's transaction.
pub(crate) struct Mark {
    /// `None` if the server did not report its number.
    pub(crate) transaction: Option<i64>,
    /// The server, see [`server`].
    pub(crate) server: String,
}

/// When the server began to work. A crash after which it recovers by itself changes only the second
/// moment: it forgets its statistics.
pub(crate) fn server(session: &mut Session) -> Result<String> {
    let sql = "SELECT pg_catalog.concat(pg_catalog.pg_postmaster_start_time(), ' ', stats_reset) \
               FROM pg_catalog.pg_stat_bgwriter";
    session.text("ask for the server's start", sql, &[])
}

/// Whether a crash empties the table.
pub(crate) fn is_unlogged(session: &mut Session, table: u32) -> Result<bool> {
    let sql = "SELECT relpersistence = 'u' FROM pg_catalog.pg_class WHERE oid = $1::oid";
    session.row(DOING, sql, &[&table.to_string()])?.flag(0)
}

impl Mark {
    /// Whether the transaction was committed; `None` if the server does not know. Ends a transaction
    /// that is still open: its session has no client any more.
    pub(crate) fn outcome(&self, session: &mut Session) -> Result<Option<bool>> {
        let Some(transaction) = self.transaction else { return Ok(None) };
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            match status(session, transaction)?.as_deref() {
                Some("committed") => return Ok(Some(true)),
                Some("aborted") => return Ok(Some(false)),
                Some("in progress") => {}
                _ => return Ok(None),
            }
            if begun.elapsed() > LEFT_ALONE {
                end(session, transaction)?;
            }
            session.cancel().sleep(PAUSE)?;
        }
        Ok(None)
    }
}

/// What the server says of a transaction. A number that it never gave was forgotten in a crash, and
/// its transaction with it.
fn status(session: &mut Session, transaction: i64) -> Result<Option<String>> {
    let number = transaction.to_string();
    match session.row(DOING, "SELECT pg_catalog.txid_status($1::int8)", &[&number]) {
        Err(error) if error.code == FUTURE => Ok(Some("aborted".to_owned())),
        row => Ok(row?.optional(0).map(str::to_owned)),
    }
}

fn end(session: &mut Session, transaction: i64) -> Result<()> {
    // The list of sessions has the lower half of the number.
    let number = (transaction & i64::from(u32::MAX)).to_string();
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
               WHERE backend_xid::text = $1 AND usename = current_user";
    session.rows(DOING, sql, &[&number]).map(drop)
}
