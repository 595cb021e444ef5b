//! Looks at statements without running them: by EXPLAIN, which checks names and rights as a run does,
//! or by Parse alone where a statement cannot be explained. Both take one statement only.

use transload_plugin_api::Result;
use transload_tables::{TRYING, TableName};

use crate::{blocker, catalog::Table, dialect::quoted_table, session::Session};

/// Plans a statement that reads or changes rows, and checks the rights that it needs.
pub(crate) fn explain(session: &mut Session, sql: &str) -> Result<()> {
    session.rows(TRYING, &format!("EXPLAIN {sql}"), &[]).map(drop)
}

/// Looks at the text of any other statement.
pub(crate) fn parse(session: &mut Session, sql: &str) -> Result<()> {
    session.describe(TRYING, sql).map(drop)
}

/// The statement that lets this user read a table: of the schema too, where that is closed to it.
pub(crate) fn grant_select(session: &mut Session, name: &TableName) -> Result<String> {
    let user = session.text("ask who is logged in", "SELECT quote_ident(current_user)", &[])?;
    let select = format!("GRANT SELECT ON {} TO {user}", quoted_table(name));
    let Some(schema) = &name.schema else { return Ok(select) };
    let sql = "SELECT format('GRANT USAGE ON SCHEMA %I TO %I; ', nspname, current_user) \
               FROM pg_catalog.pg_namespace \
               WHERE nspname = $1 AND NOT pg_catalog.has_schema_privilege(oid, 'USAGE')";
    let rows = session.rows("look up rights", sql, &[schema])?;
    let usage = rows.first().map(|row| row.text(0)).transpose()?.unwrap_or_default();
    Ok(format!("{usage}{select}"))
}

/// The statement that gives this user rights on a table.
pub(crate) fn grant(session: &mut Session, rights: &str, on: &str) -> Result<String> {
    let user = session.text("ask who is logged in", "SELECT quote_ident(current_user)", &[])?;
    Ok(format!("GRANT {rights} ON {on} TO {user}"))
}

/// How many rows the table holds, up to `most`.
pub(crate) fn count_rows(session: &mut Session, table: &Table, most: u64) -> Result<Option<u64>> {
    if !table.is_stored() || !table.rights.select || table.is_filtered {
        return Ok(None);
    }
    let sql = format!(
        "SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS t",
        quoted_table(&table.name),
        most + 1
    );
    let counted = session.row("count rows", &sql, &[]);
    let counted = counted.map_err(|error| blocker::named(session, table.oid, error))?;
    let rows: u64 = counted.number(0)?;
    Ok((rows <= most).then_some(rows))
}
