//! Looks at statements without running them: SQLite compiles them, which checks their names.

use rusqlite::Connection;
use transload_plugin_api::{Error, ErrorKind, Result};
use transload_tables::TRYING;

use crate::{
    catalog::{Table, TableKind},
    dialect::quoted,
    failure::failure,
};

/// Compiles a statement.
pub(crate) fn compile(connection: &Connection, sql: &str) -> Result<()> {
    let first = sql.split_whitespace().next().unwrap_or_default();
    if first.eq_ignore_ascii_case("PRAGMA") {
        // Some take effect when they are compiled.
        return Err(Error::unsupported("a PRAGMA cannot be looked at without running it"));
    }
    let Err(error) = connection.prepare(sql) else { return Ok(()) };
    let mut error = failure(TRYING, &error);
    // SQLite has one code for all of them.
    let says = |text: &str| error.message.contains(text);
    let kind = if says("no such table") || says("unknown database") {
        ErrorKind::NotFound
    } else if says("no such column") || says("has no column named") || says("no such function") {
        ErrorKind::Schema
    } else {
        error.kind
    };
    error.kind = kind;
    Err(error)
}

/// How many rows the table holds, up to `most`.
pub(crate) fn count_rows(connection: &Connection, table: &Table, most: u64) -> Result<Option<u64>> {
    if table.kind != TableKind::Table {
        return Ok(None);
    }
    let name = quoted(&table.name.table);
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM main.{name} LIMIT {})", most + 1);
    let rows: i64 = connection
        .query_row(&sql, [], |row| row.get(0))
        .map_err(|error| failure("count rows", &error))?;
    Ok(Some(rows.unsigned_abs()).filter(|rows| *rows <= most))
}
