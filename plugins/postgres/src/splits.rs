//! The choice of splits. Bounds are chosen and compared by the database alone, because only it
//! knows its collations; how well they are chosen decides about balance, never about which rows
//! are read.

use transload_plugin_api::{LogicalType, Result};
use transload_tables::{
    Description, Division, KeyRange, KeySplit, KeyValue, Relation, Source, ranges_between,
    with_null_range,
};

use crate::{
    catalog::{Table, TableColumn, TableKind, find_column},
    dialect::{quoted, quoted_table},
    session::Session,
};

/// About the number of rows that bounds are chosen from.
const SAMPLE: u64 = 50_000;
/// Tables of fewer pages are not divided by pages.
const FEW_PAGES: u64 = 2;
/// The system column that holds a row's page.
pub(crate) const PAGES: &str = "ctid";

type Described = Description<TableColumn, Table>;

/// At most `max` parts of the source, one more for NULL keys. By pages only if the parts are read
/// in one snapshot: an update moves a row to another page.
pub(crate) fn divide(
    session: &mut Session,
    source: &Source,
    description: &Described,
    max: u32,
    in_one_snapshot: bool,
) -> Result<Vec<Division>> {
    let parts = match (&source.split_key, &description.table) {
        (Some(key), _) => by_key(session, source, description, key, max)?,
        (None, Some(table)) if in_one_snapshot && has_page_ranges(session, table) => {
            by_pages(table, max)
        }
        (None, Some(table)) => match own_key(table) {
            Some(key) => by_key(session, source, description, key, max)?,
            None => vec![whole()],
        },
        (None, None) => vec![whole()],
    };
    let rows = description.table.as_ref().filter(|_| source.filter.is_none());
    let rows = rows.map(|table| table.rows).filter(|rows| *rows > 0);
    let rows = rows.map(|rows| rows / parts.len() as u64);
    let division = |part: KeySplit| Division { label: label(&part), ..Division::new(part, rows) };
    Ok(parts.into_iter().map(division).collect())
}

/// A part's rows, for people.
pub(crate) fn label(part: &KeySplit) -> String {
    let column = part.column.as_deref().unwrap_or_default();
    let page = |value: &KeyValue| match value {
        KeyValue::Text(place) => place.trim_start_matches('(').split(',').next().map(str::to_owned),
        _ => None,
    };
    match &part.range {
        KeyRange::Between { from: Some(from), to } if column == PAGES => {
            let to = to.as_ref().and_then(page).unwrap_or_default();
            format!("pages {}..{to}", page(from).unwrap_or_default())
        }
        range => range.label(column),
    }
}

fn whole() -> KeySplit {
    KeySplit::whole(Vec::new())
}

/// Page ranges are read as such from PostgreSQL 14 on; before, each would read the whole table.
fn has_page_ranges(session: &Session, table: &Table) -> bool {
    let is_one_file = matches!(table.kind, TableKind::Table | TableKind::Materialized);
    is_one_file && session.server().version >= 140_000
}

/// Ranges of pages from the first to before the last; the last one is open.
fn by_pages(table: &Table, max: u32) -> Vec<KeySplit> {
    if table.pages < FEW_PAGES || max == 1 {
        return vec![whole()];
    }
    let count = u64::from(max).min(table.pages);
    let start = |index: u64| table.pages / count * index + (table.pages % count).min(index);
    let place = |index: u64| Some(KeyValue::Text(format!("({},0)", start(index))));
    let part = |index: u64| KeySplit {
        column: Some(PAGES.to_owned()),
        range: KeyRange::Between {
            from: place(index),
            to: if index + 1 < count { place(index + 1) } else { None },
        },
        order: Vec::new(),
    };
    (0..count).map(part).collect()
}

/// The first key of one column that is never NULL, if the table has one.
fn own_key(table: &Table) -> Option<&str> {
    table.keys.iter().find_map(|key| match key.key.columns.as_slice() {
        [name] if !key.key.unusable => Some(name.as_str()),
        _ => None,
    })
}

/// The key in whose order reading can resume: unique, never NULL, and short enough for a position.
/// Rows of tables that inherit are not under the key.
pub(crate) fn order_key(table: &Table) -> Option<&str> {
    const CHARACTERS: u32 = 200;
    let is_short = |column: &TableColumn| match &column.column.logical {
        LogicalType::Text { length } => length.is_some_and(|length| length <= CHARACTERS),
        LogicalType::Binary | LogicalType::Json | LogicalType::List(_) => false,
        _ => true,
    };
    let orders = |name: &str| {
        let column = table.column(name);
        column.is_some_and(|column| !column.column.nullable && is_short(column))
    };
    if !table.children.is_empty() {
        return None;
    }
    table.keys.iter().find_map(|key| match key.key.columns.as_slice() {
        [name] if !key.key.unusable && orders(name) => Some(name.as_str()),
        _ => None,
    })
}

fn by_key(
    session: &mut Session,
    source: &Source,
    description: &Described,
    key: &str,
    max: u32,
) -> Result<Vec<KeySplit>> {
    let column = find_column(&description.columns, key)?;
    // NULL keys take a split of their own.
    let nullable = column.column.nullable;
    let ranges = if nullable { max - 1 } else { max };
    if ranges < 2 {
        return Ok(vec![whole()]);
    }
    let ranges = ranges_between(bounds(session, source, description, key, ranges)?);
    let ranges = if nullable { with_null_range(ranges) } else { ranges };
    let part = |range: KeyRange| match range == KeyRange::ALL {
        true => whole(),
        // Without ORDER BY the server promises the rows of a range, not their order.
        false => KeySplit { column: Some(key.to_owned()), range, order: Vec::new() },
    };
    Ok(ranges.into_iter().map(part).collect())
}

/// Ascending, distinct keys that divide a sample of the rows evenly, as the database prints them.
fn bounds(
    session: &mut Session,
    source: &Source,
    description: &Described,
    key: &str,
    ranges: u32,
) -> Result<Vec<KeyValue>> {
    let from = match (source.relation()?, &description.table) {
        (Relation::Table(name), Some(table)) => sampled(&quoted_table(name), table),
        (Relation::Table(name), None) => quoted_table(name),
        (Relation::Query(query), _) => format!("({query}\n) AS q"),
    };
    let filter = source.filter.as_ref();
    let filter = filter.map_or(String::new(), |filter| format!("WHERE ({filter}\n)"));
    // The bound is the first key of the range after it, hence a touch more than the share. The
    // share 0 is the lowest key, before which there is nothing.
    let share = |at: u32| f64::from(at) / f64::from(ranges) + f64::from(at.min(1)) * 1e-9;
    let shares: Vec<_> = (0..ranges).map(|at| share(at).to_string()).collect();
    let key = quoted(key);
    let sql = format!(
        "SELECT bound::text FROM (SELECT DISTINCT bound FROM unnest(( \
           SELECT percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY {key}) FROM {from} {filter} \
         )) AS b(bound) WHERE bound IS NOT NULL) AS d ORDER BY d.bound"
    );
    let shares = format!("{{{}}}", shares.join(","));
    let rows = session.rows("choose splits", &sql, &[&shares]).map_err(|error| {
        error.hint("a split key's type must have an order; name another with `split_key`")
    })?;
    rows.iter().skip(1).map(|row| Ok(KeyValue::Text(row.text(0)?.to_owned()))).collect()
}

/// A table of many rows is sampled by pages.
fn sampled(name: &str, table: &Table) -> String {
    let is_one_file = matches!(table.kind, TableKind::Table | TableKind::Materialized);
    if !is_one_file || table.rows <= 2 * SAMPLE {
        return name.to_owned();
    }
    let percent = 100.0 * SAMPLE as f64 / table.rows as f64;
    format!("{name} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (1)")
}
