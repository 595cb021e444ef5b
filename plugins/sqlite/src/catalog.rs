//! Tables, columns, keys, triggers and references as the database describes them. Read again by
//! each verb, because another process may change them in between.

use rusqlite::{Connection, OptionalExtension as _};
use transload_plugin_api::{
    Column, Error, Key, LogicalType, Result, TableInfo, TablePage, TableRequest,
};
use transload_tables::TableName;

use crate::{
    failure::failure,
    types::{Affinity, logical_of},
};

/// A table or view.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Its name in the database's spelling.
    pub(crate) name: TableName,
    pub(crate) kind: TableKind,
    pub(crate) columns: Vec<TableColumn>,
    /// Primary and unique keys.
    pub(crate) keys: Vec<TableKey>,
    /// A name by which the rowid can be asked for; `None` without one.
    pub(crate) rowid: Option<String>,
    /// Its statement as the database keeps it.
    pub(crate) sql: String,
    pub(crate) triggers: Vec<String>,
    /// Triggers that can leave rows out without an error.
    pub(crate) dropping: Vec<String>,
    /// Tables whose foreign keys refer to this one.
    pub(crate) referring: Vec<String>,
}

/// What can be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    Table,
    View,
    /// A module's table, such as full-text search.
    Virtual,
}

/// One column and what SQLite does to its values.
#[derive(Clone, Debug)]
pub(crate) struct TableColumn {
    pub(crate) column: Column,
    pub(crate) affinity: Affinity,
    /// It is another name of the rowid: a NULL written to it becomes a new number.
    pub(crate) is_rowid: bool,
    /// It has a declared type; one without takes any value as it is.
    pub(crate) typed: bool,
}

impl AsRef<Column> for TableColumn {
    fn as_ref(&self) -> &Column {
        &self.column
    }
}

/// A key with what comparing its columns needs.
#[derive(Clone, Debug)]
pub(crate) struct TableKey {
    pub(crate) key: Key,
    /// One for each column.
    pub(crate) collations: Vec<String>,
}

impl Table {
    /// The primary key's columns; empty without one.
    pub(crate) fn primary_key(&self) -> &[String] {
        let primary = self.keys.iter().find(|key| key.key.primary);
        primary.map_or(&[], |key| &key.key.columns)
    }

    /// The column of that name, as SQLite compares names.
    pub(crate) fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.column.name.eq_ignore_ascii_case(name))
    }
}

/// The tables and views of the file, without SQLite's own.
pub(crate) fn tables(connection: &Connection) -> Result<Vec<TableInfo>> {
    listing(connection, "", -1).map_err(|error| failure("list the tables", &error))
}

/// One page of them.
pub(crate) fn table_page(connection: &Connection, request: &TableRequest) -> Result<TablePage> {
    let patterns = request.parsed()?;
    let after = request.after.as_deref().unwrap_or_default();
    let found = listing(connection, after, request.max.into());
    let mut found = found.map_err(|error| failure("list the tables", &error))?;
    let is_full = found.len() == request.max as usize;
    let next = found.last().filter(|_| is_full).map(|last| last.bare().to_owned());
    found.retain(|table| patterns.matches(None, table.bare()));
    for info in found.iter_mut().filter(|_| request.columns) {
        let name = TableName::bare(info.bare());
        // Another process may have dropped it meanwhile.
        let Some(table) = find_table(connection, &name)? else { continue };
        info.columns = table.columns.into_iter().map(|column| column.column).collect();
        info.keys = table.keys.into_iter().map(|key| key.key).collect();
    }
    Ok(TablePage { tables: found, next })
}

/// The tables behind a name, at most so many; a negative number: all.
fn listing(connection: &Connection, after: &str, most: i64) -> rusqlite::Result<Vec<TableInfo>> {
    let sql = "SELECT name, type FROM pragma_table_list WHERE schema = 'main' \
               AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name > ?1 \
               ORDER BY name LIMIT ?2";
    let mut statement = connection.prepare(sql)?;
    let info = |row: &rusqlite::Row<'_>| {
        let table: String = row.get(0)?;
        let name = TableName::bare(&table).to_string();
        Ok(TableInfo { table, ..TableInfo::new(name, row.get::<_, String>(1)?) })
    };
    let mut tables =
        statement.query_map((after, most), info)?.collect::<rusqlite::Result<Vec<_>>>()?;
    add_estimates(connection, &mut tables)?;
    Ok(tables)
}

/// Adds how many rows `ANALYZE` has counted, if it ever ran.
fn add_estimates(connection: &Connection, tables: &mut [TableInfo]) -> rusqlite::Result<()> {
    let there = "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_stat1'";
    if connection.query_row(there, [], |_| Ok(())).optional()?.is_none() {
        return Ok(());
    }
    let sql = "SELECT max(CAST(stat AS INTEGER)) FROM main.sqlite_stat1 WHERE tbl = ?1";
    let mut statement = connection.prepare(sql)?;
    for table in tables {
        let rows: Option<i64> = statement.query_row([table.bare()], |row| row.get(0))?;
        table.rows = rows.and_then(|rows| rows.try_into().ok());
    }
    Ok(())
}

/// The tables whose names begin with `prefix`.
pub(crate) fn tables_beside(connection: &Connection, prefix: &str) -> Result<Vec<TableName>> {
    let sql = "SELECT name FROM main.sqlite_schema \
               WHERE type = 'table' AND substr(name, 1, length(?1)) = ?1 ORDER BY name";
    let list = || {
        let mut statement = connection.prepare(sql)?;
        let rows =
            statement.query_map([prefix], |row| Ok(TableName::bare(row.get::<_, String>(0)?)))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    list().map_err(|error| failure("look for stage tables", &error))
}

/// The table of that name, if there is one.
pub(crate) fn find_table(connection: &Connection, name: &TableName) -> Result<Option<Table>> {
    let doing = format!("look up table `{}`", name.table);
    read_table(connection, name).map_err(|error| failure(&doing, &error))
}

/// The table of that name.
pub(crate) fn table(connection: &Connection, name: &TableName) -> Result<Table> {
    find_table(connection, name)?
        .ok_or_else(|| Error::not_found(format!("there is no table `{}`", name.table)))
}

fn read_table(connection: &Connection, wanted: &TableName) -> rusqlite::Result<Option<Table>> {
    let sql = "SELECT l.name, l.type, l.wr, l.strict, coalesce(s.sql, '') FROM pragma_table_list AS l \
               LEFT JOIN main.sqlite_schema AS s ON s.name = l.name AND s.type IN ('table', 'view') \
               WHERE l.schema = 'main' AND l.name = ?1 COLLATE NOCASE";
    let found = connection
        .query_row(sql, [&wanted.table], |row| {
            let kind = match row.get::<_, String>(1)?.as_str() {
                "view" => TableKind::View,
                "virtual" => TableKind::Virtual,
                _ => TableKind::Table,
            };
            let (name, sql): (String, String) = (row.get(0)?, row.get(4)?);
            Ok((name, kind, row.get::<_, bool>(2)?, row.get::<_, bool>(3)?, sql))
        })
        .optional()?;
    let Some((name, kind, without_rowid, strict, sql)) = found else { return Ok(None) };
    let (mut columns, mut primary) = read_columns(connection, &name)?;
    if strict {
        keep_any(&mut columns);
    }
    primary.sort_unstable();
    let primary: Vec<_> = primary.into_iter().map(|(_, at)| at).collect();
    let mut keys = read_indexes(connection, &name)?;
    let is_rowid = kind == TableKind::Table && !without_rowid;
    mark_primary_key(&mut columns, &mut keys, &primary, is_rowid);
    let rowid = if is_rowid { rowid_name(&columns) } else { None };
    let triggers = names(connection, TRIGGERS, &name)?;
    let dropping = names(connection, DROPPING, &name)?;
    let referring = names(connection, REFERRING, &name)?;
    let name = TableName { schema: Some("main".to_owned()), table: name };
    Ok(Some(Table { name, kind, columns, keys, rowid, sql, triggers, dropping, referring }))
}

/// Where a column stands in the primary key and in the table.
type KeyPlace = (u32, usize);

/// The columns, and the places of those that are in the primary key.
fn read_columns(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<(Vec<TableColumn>, Vec<KeyPlace>)> {
    // Column 1 of `hidden` marks what a module hides; 2 and 3 are generated columns.
    let sql = "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden \
               FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([table])?;
    let (mut columns, mut primary) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let declared: String = row.get(1)?;
        // SQLite appends this to the type that its own text shows.
        let declared = declared.trim_end_matches("GENERATED ALWAYS").trim_end().to_owned();
        let place: u32 = row.get(4)?;
        if place > 0 {
            primary.push((place, columns.len()));
        }
        columns.push(table_column(row.get(0)?, declared, row)?);
    }
    Ok((columns, primary))
}

fn table_column(
    name: String,
    declared: String,
    row: &rusqlite::Row<'_>,
) -> rusqlite::Result<TableColumn> {
    let logical = logical_of(&declared);
    let typed = logical.is_some();
    let mut column =
        Column::new(name, logical.unwrap_or(LogicalType::TEXT), !row.get::<_, bool>(2)?);
    column.has_default = row.get(3)?;
    column.generated = row.get::<_, u32>(5)? > 1;
    column.inferred = !typed;
    let affinity = Affinity::of(&declared);
    column.native = declared;
    Ok(TableColumn { column, affinity, is_rowid: false, typed })
}

/// In a strict table `ANY` means that nothing is converted; elsewhere it is a word like others.
fn keep_any(columns: &mut [TableColumn]) {
    for column in columns.iter_mut().filter(|c| c.column.native.eq_ignore_ascii_case("any")) {
        (column.affinity, column.typed, column.column.inferred) = (Affinity::Blob, false, true);
        column.column.logical = LogicalType::TEXT;
    }
}

fn read_indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<TableKey>> {
    let sql = "SELECT name, origin = 'pk', partial FROM pragma_index_list(?1) WHERE \"unique\" \
               ORDER BY seq DESC";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([table])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let (primary, partial) = (row.get(1)?, row.get(2)?);
        keys.push(read_key(connection, name, primary, partial)?);
    }
    Ok(keys)
}

fn read_key(
    connection: &Connection,
    name: String,
    primary: bool,
    partial: bool,
) -> rusqlite::Result<TableKey> {
    let sql = "SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno";
    let mut statement = connection.prepare(sql)?;
    let parts = statement
        .query_map([&name], |row| Ok((row.get::<_, Option<String>>(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(Option<String>, String)>>>()?;
    // A part without a name is an expression.
    let unusable = partial || parts.iter().any(|(column, _)| column.is_none());
    let (columns, collations): (Vec<_>, Vec<_>) =
        parts.into_iter().filter_map(|(column, coll)| Some((column?, coll))).unzip();
    let automatic = name.starts_with("sqlite_autoindex_");
    let name = if automatic { String::new() } else { name };
    Ok(TableKey { key: Key { name, columns, primary, unusable }, collations })
}

/// Adds the one primary key that no index shows, the rowid's own, and marks its column.
fn mark_primary_key(
    columns: &mut [TableColumn],
    keys: &mut Vec<TableKey>,
    primary: &[usize],
    has_rowid: bool,
) {
    if keys.iter().any(|key| key.key.primary) {
        return;
    }
    let names: Vec<_> = primary.iter().map(|at| columns[*at].column.name.clone()).collect();
    if names.is_empty() {
        return;
    }
    if let ([at], true) = (primary, has_rowid) {
        let column = &mut columns[*at];
        column.is_rowid = true;
        column.column.nullable = false;
        column.column.has_default = true;
    }
    let collations = vec!["BINARY".to_owned(); names.len()];
    let key = Key { name: String::new(), columns: names, primary: true, unusable: false };
    keys.insert(0, TableKey { key, collations });
}

/// The rowid's own column, else the first of its names that no column has taken.
fn rowid_name(columns: &[TableColumn]) -> Option<String> {
    if let Some(alias) = columns.iter().find(|column| column.is_rowid) {
        return Some(alias.column.name.clone());
    }
    let taken = |name: &str| columns.iter().any(|c| c.column.name.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !taken(name)).map(str::to_owned)
}

/// The names of a table's triggers.
const TRIGGERS: &str = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' \
    AND tbl_name = ?1 COLLATE NOCASE ORDER BY name";
/// Those that hold `RAISE(IGNORE)`, whatever blanks are in it.
const DROPPING: &str = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' \
    AND tbl_name = ?1 COLLATE NOCASE AND replace(replace(replace(replace(upper(sql), ' ', ''), \
    char(9), ''), char(10), ''), char(13), '') LIKE '%RAISE(IGNORE)%' ORDER BY name";
/// The tables whose foreign keys refer to a table.
const REFERRING: &str = "SELECT DISTINCT s.name FROM main.sqlite_schema AS s, \
    pragma_foreign_key_list(s.name) AS f WHERE s.type = 'table' \
    AND f.\"table\" = ?1 COLLATE NOCASE ORDER BY s.name";
/// The statements of a table's unique indexes that its own statement does not hold.
const UNIQUE_INDEXES: &str = "SELECT s.sql FROM pragma_index_list(?1) AS i \
    JOIN main.sqlite_schema AS s ON s.name = i.name AND s.type = 'index' \
    WHERE i.\"unique\" AND s.sql IS NOT NULL";

/// The tables whose foreign keys refer to this one.
pub(crate) fn referring_tables(connection: &Connection, table: &TableName) -> Result<Vec<String>> {
    names(connection, REFERRING, &table.table).map_err(|error| looked_at(table, &error))
}

/// The statements of a table's unique indexes that its own statement does not hold.
pub(crate) fn unique_indexes(connection: &Connection, table: &TableName) -> Result<Vec<String>> {
    names(connection, UNIQUE_INDEXES, &table.table).map_err(|error| looked_at(table, &error))
}

fn looked_at(table: &TableName, error: &rusqlite::Error) -> Error {
    failure(&format!("look up table `{}`", table.table), error)
}

fn names(connection: &Connection, sql: &str, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([table], |row| row.get(0))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(sql: &str) -> Table {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        table(&connection, &TableName::bare("T")).unwrap()
    }

    fn keys(table: &Table) -> Vec<(Vec<&str>, bool, bool)> {
        table
            .keys
            .iter()
            .map(|key| {
                let names = key.key.columns.iter().map(String::as_str).collect();
                (names, key.key.primary, key.key.unusable)
            })
            .collect()
    }

    #[test]
    fn t44_keys_are_found_and_unusable_ones_marked() {
        let table = described(
            "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT UNIQUE, c, d);
             CREATE UNIQUE INDEX part ON t(c) WHERE c > 0;
             CREATE UNIQUE INDEX expr ON t(lower(c));
             CREATE UNIQUE INDEX pair ON t(c, d);",
        );
        let found = keys(&table);
        assert_eq!(found[0], (vec!["a"], true, false));
        assert!(found.contains(&(vec!["b"], false, false)));
        assert!(found.contains(&(vec!["c", "d"], false, false)));
        assert!(found.contains(&(vec!["c"], false, true)));
        assert!(found.contains(&(vec![], false, true)));
    }

    #[test]
    fn the_rowid_is_told_from_other_keys() {
        for (sql, rowid, alias) in [
            ("CREATE TABLE t(a INTEGER PRIMARY KEY)", Some("a"), true),
            ("CREATE TABLE t(a INT PRIMARY KEY)", Some("rowid"), false),
            ("CREATE TABLE t(a INTEGER PRIMARY KEY DESC)", Some("rowid"), false),
            ("CREATE TABLE t(a INTEGER PRIMARY KEY) WITHOUT ROWID", None, false),
            ("CREATE TABLE t(rowid TEXT)", Some("_rowid_"), false),
            ("CREATE TABLE t(rowid, oid, _rowid_)", None, false),
            ("CREATE VIEW t AS SELECT 1 AS a", None, false),
        ] {
            let table = described(sql);
            assert_eq!(table.rowid.as_deref(), rowid, "{sql}");
            assert_eq!(table.columns[0].is_rowid, alias, "{sql}");
        }
    }

    #[test]
    fn columns_tell_defaults_and_generation() {
        let table = described(
            "CREATE TABLE t(a INT NOT NULL, b TEXT DEFAULT 'x', \
             c INT GENERATED ALWAYS AS (a + 1) STORED, d)",
        );
        let flags: Vec<_> = table
            .columns
            .iter()
            .map(|c| (c.column.nullable, c.column.has_default, c.column.generated, c.typed))
            .collect();
        assert_eq!(
            flags,
            [
                (false, false, false, true),
                (true, true, false, true),
                (true, false, true, true),
                (true, false, false, false)
            ]
        );
        assert_eq!(table.columns[2].column.native, "INT");
    }

    #[test]
    fn neighbours_are_found() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE p(a INTEGER PRIMARY KEY); CREATE TABLE c(a REFERENCES p);
                 CREATE TRIGGER tr AFTER INSERT ON p BEGIN SELECT 1; END;
                 CREATE UNIQUE INDEX u ON p(a);",
            )
            .unwrap();
        let name = TableName::bare("P");
        assert_eq!(referring_tables(&connection, &name).unwrap(), ["c"]);
        assert_eq!(table(&connection, &name).unwrap().triggers, ["tr"]);
        assert_eq!(unique_indexes(&connection, &name).unwrap(), ["CREATE UNIQUE INDEX u ON p(a)"]);
    }
}
