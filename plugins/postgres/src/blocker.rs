//! Names the sessions whose locks a statement of ours waits for: those that block a silent session,
//! and those that hold locks on a table when a wait was given up.

use transload_plugin_api::{Error, Result};
use transload_tables::TableName;

use crate::session::Session;

/// The server's code for a lock that it did not give in time.
const LOCK_TIMEOUT: &str = "PG-55P03";

/// A session `a` of `pg_stat_activity`, as people look for it. What this login may not see of it is
/// left out.
pub(crate) const DESCRIBED: &str = "concat_ws(', ', \
    format('process %s', a.pid), \
    'user ' || a.usename::text, \
    'application ' || nullif(a.application_name, ''), \
    'from ' || coalesce(host(a.client_addr), 'this machine'), \
    'its last statement since ' \
        || to_char(a.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', \
    nullif(a.state, 'active'))";

/// The sessions that block the process, for people; `None` if it waits for no lock.
pub(crate) fn of_process(session: &mut Session, process: i32) -> Result<Option<String>> {
    let sql = format!(
        "SELECT string_agg({DESCRIBED}, '; ' ORDER BY a.xact_start) \
         FROM pg_catalog.pg_stat_activity a \
         WHERE a.pid = ANY (pg_catalog.pg_blocking_pids($1::int4))"
    );
    let row = session.row("look up the holders of a lock", &sql, &[&process.to_string()])?;
    Ok(row.optional(0).map(str::to_owned))
}

/// The error of a lock on the table that was not given in time, with the sessions that hold locks on
/// it as hint. Takes back the session's transaction, which has failed.
pub(crate) fn named(session: &mut Session, table: u32, error: Error) -> Error {
    if error.code != LOCK_TIMEOUT || error.hint.is_some() {
        return error;
    }
    let doing = "look up the holders of a lock";
    let found = session.clean_up(doing, "ROLLBACK").and_then(|()| of_table(session, table));
    match found {
        Ok(Some(holders)) => error.hint(holders),
        // The first error is the one to report.
        _ => error,
    }
}

/// As [`named`], outside of a transaction and for a table that is known by its name only.
pub(crate) fn named_of(session: &mut Session, name: &TableName, error: Error) -> Error {
    if error.code != LOCK_TIMEOUT {
        return error;
    }
    let sql = "SELECT c.oid FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relname = $1 AND n.nspname = coalesce(nullif($2, ''), current_schema())";
    let schema = name.schema.as_deref().unwrap_or_default();
    let found = session.row("look up the holders of a lock", sql, &[&name.table, schema]);
    match found.and_then(|row| row.number(0)) {
        Ok(table) => named(session, table, error),
        Err(_) => error,
    }
}

/// The sessions that hold locks on a table: those that keep every writer out, else those that have
/// changed rows of it, or read it, in a transaction that is open still.
fn of_table(session: &mut Session, table: u32) -> Result<Option<String>> {
    let sql = format!(
        "WITH held AS ( \
           SELECT l.pid, bool_or(l.mode NOT IN ('AccessShareLock', 'RowShareLock', \
             'RowExclusiveLock')) AS is_whole \
           FROM pg_catalog.pg_locks l \
           WHERE l.locktype = 'relation' AND l.relation = $1::oid AND l.granted \
             AND l.pid <> pg_catalog.pg_backend_pid() AND l.database = \
               (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
           GROUP BY l.pid) \
         SELECT string_agg({DESCRIBED}, '; ' ORDER BY a.xact_start), min(a.pid), \
           bool_or(held.is_whole) \
         FROM held JOIN pg_catalog.pg_stat_activity a ON a.pid = held.pid \
         WHERE held.is_whole OR NOT (SELECT bool_or(is_whole) FROM held)"
    );
    let row = session.row("look up the holders of a lock", &sql, &[&table.to_string()])?;
    let Some(holders) = row.optional(0) else { return Ok(None) };
    let what = if row.flag(2)? { "locks the table" } else { "uses the table" };
    let process = row.text(1)?;
    Ok(Some(format!(
        "{what}: {holders}; see `lock_timeout`, or end it: SELECT pg_terminate_backend({process})"
    )))
}
