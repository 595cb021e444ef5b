//! Looks at statements without running them: the server prepares them, which checks names and rights
//! of those that read or change rows, and the text of others.

use transload_plugin_api::{Error, ErrorKind, Result};
use transload_tables::{TRYING, TableName};

use crate::{
    catalog::Table, dialect::text_literal, failure::Failure, session::Session, stage::in_full,
};

/// The server cannot prepare a statement of this kind.
const UNPREPARED: u16 = 1295;

/// Prepares a statement and forgets it with the session.
pub(crate) fn prepare(session: &mut Session, sql: &str) -> Result<()> {
    let cancel = session.cancel.clone();
    match session.prepare(sql) {
        Ok(_) => Ok(()),
        Err(Failure::Server(error)) if error.number == UNPREPARED => {
            Err(Error::unsupported("the server does not prepare such a statement"))
        }
        Err(failure) => Err(failure.into_error(TRYING, &cancel)),
    }
}

/// The statement that gives this account rights on a table.
pub(crate) fn grant(session: &mut Session, rights: &str, name: &TableName) -> Result<String> {
    grant_on(session, rights, &in_full(name))
}

/// The statement that gives this account rights on what `on` names in SQL.
pub(crate) fn grant_on(session: &mut Session, rights: &str, on: &str) -> Result<String> {
    let rows = session.rows("ask who is logged in", "SELECT CURRENT_USER()")?;
    let account = rows.into_iter().flatten().flatten().next().unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    let account = format!("{}@{}", text_literal(user), text_literal(host));
    Ok(format!("GRANT {rights} ON {on} TO {account}"))
}

/// How many rows the table holds, up to `most`.
pub(crate) fn count_rows(session: &mut Session, table: &Table, most: u64) -> Result<Option<u64>> {
    if !table.is_stored() {
        return Ok(None);
    }
    let name = in_full(&table.name);
    let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {name} LIMIT {}) AS t", most + 1);
    let rows = match session.rows("count rows", &sql) {
        Ok(rows) => rows,
        Err(error) if error.kind == ErrorKind::Denied => return Ok(None),
        Err(error) => return Err(error),
    };
    let rows = rows.into_iter().flatten().flatten().next().and_then(|text| text.parse().ok());
    Ok(rows.filter(|rows| *rows <= most))
}
