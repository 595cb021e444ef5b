//! How a table is divided: by its rowid, or by ranges of a key whose boundaries the database
//! chooses.

use rusqlite::Connection;
use transload_plugin_api::{Position, Result, SplitRequest};
use transload_tables::{
    Division, KeyRange, KeySplit, KeyValue, divide_by_key, equal_spans, integer_ranges,
    ranges_between,
};

use crate::{
    catalog::{Table, TableColumn, TableKind},
    dialect::{SqliteDialect, quoted},
    failure::failure,
    key::key_value,
};

/// Divides a table into at most `request.max` parts by the column `named`, or by its rowid or primary key.
pub(crate) fn divide(
    connection: &Connection,
    table: &Table,
    named: Option<&str>,
    request: &SplitRequest,
) -> Result<Vec<Division>> {
    let is_rowid = |rowid: &&String| named.is_none_or(|name| name.eq_ignore_ascii_case(rowid));
    if let Some(rowid) = table.rowid.as_ref().filter(is_rowid) {
        return divide_by_rowid(connection, table, rowid, request.max);
    }
    let mut order = natural_order(table);
    if has_long_keys(connection, table, &order)? {
        // Their positions would be longer than a position may be: the split is read from its start
        // only.
        order.clear();
    }
    let bounds =
        |column: &TableColumn, max| key_ranges(connection, table, &column.column.name, max);
    let (name, columns) = (&table.name, &table.columns);
    let parts = divide_by_key(&SqliteDialect, name, columns, named, order, request, bounds)?;
    Ok(parts.into_iter().map(|part| Division::new(part, None)).collect())
}

fn divide_by_rowid(
    connection: &Connection,
    table: &Table,
    rowid: &str,
    max: u32,
) -> Result<Vec<Division>> {
    let spans = rowid_spans(connection, table, rowid, max)?;
    let rows: i128 = spans.iter().map(|(low, high)| high - low + 1).sum();
    let rows = u64::try_from(rows).unwrap_or(u64::MAX);
    let ranges = integer_ranges(&spans, max);
    let count = ranges.len() as u64;
    let part = |range| {
        let (column, order) = (Some(rowid.to_owned()), vec![rowid.to_owned()]);
        Division::new(KeySplit { column, range, order }, Some(rows / count))
    };
    Ok(ranges.into_iter().map(part).collect())
}

/// The columns of a total order that reading can start in the middle of.
fn natural_order(table: &Table) -> Vec<String> {
    match &table.rowid {
        Some(rowid) => vec![rowid.clone()],
        // Only without a rowid does a primary key keep NULL out.
        None if table.kind == TableKind::Table => match table.primary_key() {
            key if key
                .iter()
                .all(|name| table.column(name).is_some_and(|c| !c.column.nullable)) =>
            {
                key.to_vec()
            }
            _ => Vec::new(),
        },
        None => Vec::new(),
    }
}

/// Bytes of a key whose position is short enough: in a file of UTF-16, text is half as long again in
/// a position.
const KEY_BYTES: usize = Position::MAX_BYTES / 2;
/// What a position adds to each column, and a number's bytes.
const COLUMN_BYTES: usize = 32;

/// Whether a key of the order is too long for a position. Numbers are not looked at; SQLite keeps
/// texts and blobs of any length in a key, and in a column of any type.
fn has_long_keys(connection: &Connection, table: &Table, order: &[String]) -> Result<bool> {
    if order.is_empty() || table.rowid.is_some() {
        return Ok(false);
    }
    let lengths: Vec<_> =
        order.iter().map(|name| format!("length(CAST({} AS BLOB))", quoted(name))).collect();
    let most = KEY_BYTES.saturating_sub(COLUMN_BYTES * order.len());
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM main.{} WHERE {} > {most})",
        quoted(&table.name.table),
        lengths.join(" + ")
    );
    let found = connection.query_row(&sql, [], |row| row.get(0));
    found.map_err(|error| failure("look for long keys", &error))
}

/// Where rowids really are: the whole width in equal spans, each narrowed to its first and
/// last rowid. Two look-ups in the tree for each span, however wide it is.
fn rowid_spans(
    connection: &Connection,
    table: &Table,
    key: &str,
    max: u32,
) -> Result<Vec<(i128, i128)>> {
    const PROBES: u32 = 16;
    let (key, name) = (quoted(key), quoted(&table.name.table));
    let ends = format!(
        "SELECT (SELECT min({key}) FROM main.{name} WHERE {key} BETWEEN ?1 AND ?2), \
         (SELECT max({key}) FROM main.{name} WHERE {key} BETWEEN ?1 AND ?2)"
    );
    let look = || -> rusqlite::Result<Vec<(i128, i128)>> {
        let mut statement = connection.prepare(&ends)?;
        let mut narrow = |low: i128, high: i128| {
            statement.query_row((low as i64, high as i64), |row| {
                let ends: (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
                Ok(ends.0.zip(ends.1).map(|(low, high)| (low.into(), high.into())))
            })
        };
        let Some((low, high)) = narrow(i64::MIN.into(), i64::MAX.into())? else {
            return Ok(Vec::new());
        };
        let count = if max > 1 { max.min(256) * PROBES } else { 1 };
        let mut spans = Vec::new();
        for (low, high) in equal_spans(low, high, count) {
            spans.extend(narrow(low, high)?);
        }
        Ok(spans)
    };
    look().map_err(|error| failure("look up the table's rowids", &error))
}

/// Ranges of any key: the database says where its boundaries lie, in its own order, and which
/// of them are equal under the key's collation.
fn key_ranges(
    connection: &Connection,
    table: &Table,
    key: &str,
    max: u32,
) -> Result<Vec<KeyRange>> {
    if max == 1 {
        return Ok(vec![KeyRange::ALL]);
    }
    let (key, name) = (quoted(key), quoted(&table.name.table));
    let count = format!("SELECT count({key}) FROM main.{name}");
    let every_nth = format!(
        "SELECT DISTINCT k FROM (SELECT {key} AS k, row_number() OVER (ORDER BY {key}) - 1 AS n \
         FROM main.{name} WHERE {key} IS NOT NULL) WHERE n > 0 AND n % ?1 = 0 ORDER BY k"
    );
    let look = || -> rusqlite::Result<Vec<KeyValue>> {
        let rows: i64 = connection.query_row(&count, [], |row| row.get(0))?;
        let mut statement = connection.prepare(&every_nth)?;
        let mut found = statement.query([(rows + i64::from(max) - 1) / i64::from(max)])?;
        let mut boundaries = Vec::new();
        while let Some(row) = found.next()? {
            // Text that is not UTF-8 cannot be a boundary; its rows fall to the range before.
            boundaries.extend(key_value(row.get_ref(0)?));
        }
        Ok(boundaries)
    };
    let boundaries = look().map_err(|error| failure("look for split boundaries", &error))?;
    Ok(ranges_between(boundaries))
}
