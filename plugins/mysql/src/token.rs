//! What MySQL and MariaDB do in their own way for commit tokens: how a session ends by itself once the
//! server hears nothing more of it, and how another one is ended.

use transload_plugin_api::{Error, ErrorKind, Result};
use transload_tables::{Dialect as _, SessionIdentity, TableName};

use crate::{
    dialect::{MysqlDialect, text_literal},
    session::Session,
    trial,
};

/// A session that is silent for a minute ends, and its transaction is undone.
pub(crate) const GUARD: &str =
    "SET SESSION wait_timeout = 60, net_read_timeout = 60, net_write_timeout = 60";

/// Why this login cannot create a table for tokens.
pub(crate) fn creation_problem(
    session: &mut Session,
    name: &TableName,
    create: &str,
) -> Result<Option<Error>> {
    let schema = name.schema.as_deref().unwrap_or_default();
    let sql = format!(
        "SELECT 1 FROM information_schema.schemata WHERE schema_name = {}",
        text_literal(schema)
    );
    if session.rows("look for the database", &sql)?.is_empty() {
        let create = MysqlDialect.create_schema(schema).unwrap_or_default();
        return Ok(Some(Error::not_found(format!("there is no database `{schema}`")).hint(create)));
    }
    match trial::prepare(session, create) {
        Err(error) if error.kind == ErrorKind::Denied => {
            let hint = trial::grant(session, "CREATE", name)?;
            Ok(Some(error.hint(hint)))
        }
        Err(error) if matches!(error.kind, ErrorKind::Connection | ErrorKind::Cancelled) => {
            Err(error)
        }
        // What else is wrong with it shows when it is run.
        _ => Ok(None),
    }
}

/// Ends the session that holds this named lock, which it took when it began.
pub(crate) fn end_session(
    session: &mut Session,
    other: &SessionIdentity,
) -> Result<Option<String>> {
    let doing = "look for the earlier attempt's session";
    let sql = format!("SELECT IS_USED_LOCK({})", text_literal(&other.start));
    let holder = session.rows(doing, &sql)?.into_iter().flatten().flatten().next();
    let Some(id) = holder.and_then(|id| id.parse::<i64>().ok()).filter(|id| *id == other.id) else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT user = SUBSTRING_INDEX(USER(), '@', 1), CONCAT('connection ', id, ' of \
         user ', user, ', from ', host, ', ', command, ' for ', time, ' s') \
         FROM information_schema.processlist WHERE id = {id}"
    );
    let Some(row) = session.rows(doing, &sql)?.into_iter().next() else { return Ok(None) };
    let cell = |at: usize| row.get(at).cloned().flatten();
    if cell(0).as_deref() != Some("1") {
        return Ok(cell(1));
    }
    match session.run("end the earlier attempt's session", &format!("KILL {id}")) {
        Ok(_) => Ok(None),
        // It has ended in the meantime, or the right is missing.
        Err(error) if error.kind != ErrorKind::Connection => Ok(cell(1)),
        Err(error) => Err(error),
    }
}
