//! How a table is divided: ranges of a key, with boundaries that the server has put in order.

use transload_plugin_api::{Error, LogicalType, Result, SplitRequest};
use transload_tables::{
    KeyRange, KeySplit, KeyValue, divide_by_key, equal_spans, integer_ranges, ranges_between,
};

use crate::{
    catalog::{Table, TableColumn},
    dialect::{MysqlDialect, quoted, text_literal},
    session::Session,
    stage::in_full,
};

/// Divides a table into at most `request.max` parts by the column `named`, or by its primary key.
pub(crate) fn divide(
    session: &mut Session,
    table: &Table,
    named: Option<&str>,
    request: &SplitRequest,
) -> Result<Vec<KeySplit>> {
    if let Some(column) = named.and_then(|name| table.column(name)).filter(|it| !is_key(it)) {
        let message = format!(
            "`{}` is `{}`: split keys are integers, text or bytes",
            column.column.name, column.column.native
        );
        return Err(Error::unsupported(message).of_key("split_key"));
    }
    let order = natural_order(table);
    let bounds = |column: &TableColumn, max| bounds(session, table, column, max);
    divide_by_key(&MysqlDialect, &table.name, &table.columns, named, order, request, bounds)
}

/// At most `max` ranges of a key that is not NULL.
fn bounds(
    session: &mut Session,
    table: &Table,
    column: &TableColumn,
    max: u32,
) -> Result<Vec<KeyRange>> {
    let (key, name) = (quoted(&column.column.name), in_full(&table.name));
    if is_integer(&column.column.logical) {
        let spans = integer_spans(session, &name, &key, max)?;
        return Ok(integer_ranges(&spans, max));
    }
    Ok(ranges_between(boundaries(session, &name, &key, max)?))
}

pub(crate) fn is_integer(logical: &LogicalType) -> bool {
    use LogicalType as T;
    matches!(
        logical,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
    )
}

/// Whether ranges of the column can be bound and compared as the server orders them, and its
/// values fit into a position.
fn is_key(column: &TableColumn) -> bool {
    let short = column.native.arguments.first().is_some_and(|length| *length <= 191);
    let text = matches!(column.native.name.as_str(), "char" | "varchar" | "binary" | "varbinary");
    (is_integer(&column.column.logical) && column.native.name != "year") || (text && short)
}

/// The columns of a total order that reading can start in the middle of: the primary key.
fn natural_order(table: &Table) -> Vec<String> {
    let key = table.primary_key();
    let usable = key.iter().all(|name| table.column(name).is_some_and(is_key));
    if usable && key.len() <= 4 && table.is_stored() { key.to_vec() } else { Vec::new() }
}

/// Where integer keys really are: the whole width in equal spans, each narrowed to its first and
/// last key. Two look-ups in the index for each span, however wide it is.
fn integer_spans(
    session: &mut Session,
    table: &str,
    key: &str,
    max: u32,
) -> Result<Vec<(i128, i128)>> {
    const PROBES: u32 = 16;
    let mut narrow = |condition: &str| -> Result<Option<(i128, i128)>> {
        let sql = format!("SELECT MIN({key}), MAX({key}) FROM {table}{condition}");
        let rows = session.rows("look for split boundaries", &sql)?;
        let cell = |at: usize| {
            rows.first().and_then(|row| row.get(at)?.as_deref()).and_then(|text| text.parse().ok())
        };
        Ok(cell(0).zip(cell(1)))
    };
    let Some((low, high)) = narrow("")? else { return Ok(Vec::new()) };
    let mut spans = Vec::new();
    for (low, high) in equal_spans(low, high, max.min(64) * PROBES) {
        spans.extend(narrow(&format!(" WHERE {key} BETWEEN {low} AND {high}"))?);
    }
    Ok(spans)
}

/// Boundaries of any key, by the server's own order; equal ones under its collation once.
fn boundaries(session: &mut Session, table: &str, key: &str, max: u32) -> Result<Vec<KeyValue>> {
    let doing = "look for split boundaries";
    let rows = session.rows(doing, &format!("SELECT COUNT({key}) FROM {table}"))?;
    let count = rows.first().and_then(|row| row.first()?.as_deref());
    let count: u64 = count.and_then(|text| text.parse().ok()).unwrap_or_default();
    let step = count.div_ceil(max.into()).max(1);
    let sql = format!(
        "SELECT DISTINCT HEX(k) FROM (SELECT CONVERT({key} USING utf8mb4) AS k, \
         ROW_NUMBER() OVER (ORDER BY {key}) - 1 AS n FROM {table} WHERE {key} IS NOT NULL) AS t \
         WHERE n > 0 AND n % {step} = 0"
    );
    let rows = session.rows(doing, &sql)?;
    let text = |row: Vec<Option<String>>| {
        let digits = row.into_iter().next().flatten()?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        String::from_utf8(bytes?).ok()
    };
    let found = rows.into_iter().filter_map(text).collect();
    in_server_order(session, table, key, found)
}

/// Drops boundaries that the server does not hold for greater than the one before.
fn in_server_order(
    session: &mut Session,
    table: &str,
    key: &str,
    found: Vec<String>,
) -> Result<Vec<KeyValue>> {
    let mut kept: Vec<String> = Vec::new();
    for boundary in found {
        if let Some(before) = kept.last() {
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {table} WHERE {key} >= {0} AND {key} < {1})",
                text_literal(before),
                text_literal(&boundary)
            );
            let rows = session.rows("look for split boundaries", &sql)?;
            let greater = rows.first().and_then(|row| row.first()?.as_deref()) == Some("1");
            if !greater {
                continue;
            }
        }
        kept.push(boundary);
    }
    Ok(kept.into_iter().map(KeyValue::Text).collect())
}
