//! What PostgreSQL does in its own way for commit tokens: which tables can share their fate, how a
//! session ends by itself once it hears nothing more, and how another one is ended.

use transload_plugin_api::Result;
use transload_tables::SessionIdentity;

use crate::{
    catalog::{Table, TableKind},
    session::Session,
};

/// A session that is silent in the middle of a transaction ends after a minute, also while the
/// server waits for bytes that do not come or cannot be delivered.
const GUARD: &str = "SET idle_in_transaction_session_timeout = '60s'; SET tcp_user_timeout = '60s'; \
    SELECT pg_catalog.set_config(name, '5s', false) FROM pg_catalog.pg_settings \
    WHERE name = 'client_connection_check_interval'";

/// Why rows of the table and a token do not share their fate.
pub(crate) fn obstacle(session: &mut Session, table: &Table) -> Result<Option<String>> {
    if table.kind == TableKind::Foreign {
        return Ok(Some(format!("`{}` is a table of another server", table.name)));
    }
    // Of partitions one may be unlogged alone.
    let sql = "SELECT count(*) > 0 FROM pg_catalog.pg_class WHERE relpersistence <> 'p' AND oid IN \
               (SELECT $1::oid UNION SELECT relid FROM pg_catalog.pg_partition_tree($1::oid::regclass))";
    let is_volatile = session.row("look at the table", sql, &[&table.oid.to_string()])?.flag(0)?;
    Ok(is_volatile
        .then(|| format!("`{}` is unlogged: a crash of the server empties it", table.name)))
}

/// Lets the server end the session once it hears nothing more of it.
pub(crate) fn guard(session: &mut Session) -> Result<()> {
    if let Err(error) = session.run("set the session up", GUARD) {
        // Servers on some systems have no timeout for bytes that are not received.
        tracing::debug!("the session's own end is not set: {error}");
        let idle = GUARD.split(';').next().unwrap_or_default();
        return session.run("set the session up", idle);
    }
    Ok(())
}

/// Ends a session of the same user that began at that time.
pub(crate) fn end_session(
    session: &mut Session,
    other: &SessionIdentity,
) -> Result<Option<String>> {
    let sql = "SELECT usename = current_user, format('process %s of user %s, from %s, %s since %s', \
                 pid, usename, coalesce(client_addr::text, 'this machine'), state, state_change) \
               FROM pg_catalog.pg_stat_activity WHERE pid = $1::int4 AND backend_start::text = $2";
    let (id, doing) = (other.id.to_string(), "look for the earlier attempt's session");
    let rows = session.rows(doing, sql, &[&id, &other.start])?;
    let Some(row) = rows.first() else { return Ok(None) };
    if !row.flag(0)? {
        return Ok(row.optional(1).map(str::to_owned));
    }
    let sql = "SELECT pg_catalog.pg_terminate_backend($1::int4)";
    session.rows("end the earlier attempt's session", sql, &[&id])?;
    Ok(None)
}
