//! The choice of splits. Bounds are chosen and compared by the database alone, because only it
//! knows its collations; how well they are chosen decides about balance, never about which rows
//! are read.

use transload_plugin_api::{Result, Split, SplitAbility};
use transload_tables::{
    KeyRange, KeyValue, Relation as What, Source, encode_split, ranges_between, with_null_range,
};

use crate::{
    catalog::{self, Table, TableKind},
    dialect::{quoted, quoted_table},
    relation::{Relation, find_column, trimmed},
    session::Session,
    split_data::{SplitData, SplitRows},
};

/// About so many rows are looked at to choose bounds.
const SAMPLE: u64 = 50_000;
/// Tables of fewer pages are not divided by pages.
const FEW_PAGES: u64 = 2;

/// At most `max` splits of the relation.
pub(crate) fn divide(
    source: &Source,
    session: &mut Session,
    relation: &Relation,
    max: u32,
    snapshot: Option<&str>,
) -> Result<Vec<Split>> {
    let parts = match &source.split_key {
        Some(key) => key_parts(source, session, relation, key, max)?,
        None => match relation {
            Relation::Table(table) => match snapshot {
                Some(_) if has_page_ranges(session, table)? => page_parts(table, max),
                _ => own_key_parts(source, session, relation, table, max)?,
            },
            Relation::Query(_) => vec![SplitRows::All],
        },
    };
    let rows = match relation {
        Relation::Table(table) if source.filter.is_none() => Some(table.rows),
        _ => None,
    };
    let count = parts.len() as u64;
    // A snapshot is for splits that must agree; one split agrees with itself.
    let snapshot = snapshot.filter(|_| count > 1 || source.is_shard);
    let rows = rows.filter(|rows| *rows > 0).map(|rows| rows / count);
    parts.into_iter().map(|part| split(part, snapshot, rows)).collect()
}

fn split(part: SplitRows, snapshot: Option<&str>, rows: Option<u64>) -> Result<Split> {
    let label = part.label();
    let data = SplitData { snapshot: snapshot.map(str::to_owned), rows: part };
    let data = encode_split(&data)?;
    // Without ORDER BY the server promises the rows of a range, not their order.
    Ok(Split { label, data, ability: SplitAbility::Bounded, rows, bytes: None })
}

/// Page ranges are read as such from PostgreSQL 14 on; before, each would read the whole table.
/// They hold still within a snapshot only.
fn has_page_ranges(session: &mut Session, table: &Table) -> Result<bool> {
    let is_one_file = matches!(table.kind, TableKind::Table | TableKind::Materialized);
    Ok(is_one_file && catalog::version(session)? >= 140_000)
}

fn page_parts(table: &Table, max: u32) -> Vec<SplitRows> {
    if table.pages < FEW_PAGES || max == 1 {
        return vec![SplitRows::All];
    }
    let count = u64::from(max).min(table.pages);
    let start = |index: u64| table.pages / count * index + (table.pages % count).min(index);
    (0..count)
        .map(|index| {
            let to = (index + 1 < count).then(|| start(index + 1));
            SplitRows::Pages { from: start(index), to }
        })
        .collect()
}

/// By the first key of one column that is never NULL, if the table has one.
fn own_key_parts(
    source: &Source,
    session: &mut Session,
    relation: &Relation,
    table: &Table,
    max: u32,
) -> Result<Vec<SplitRows>> {
    let key = table.keys.iter().find_map(|key| match key.key.columns.as_slice() {
        [name] if !key.key.unusable => Some(name),
        _ => None,
    });
    match key {
        Some(key) => key_parts(source, session, relation, key, max),
        None => Ok(vec![SplitRows::All]),
    }
}

fn key_parts(
    source: &Source,
    session: &mut Session,
    relation: &Relation,
    key: &str,
    max: u32,
) -> Result<Vec<SplitRows>> {
    let columns = relation.columns();
    let column = find_column(&columns, key)?;
    // NULL keys take a split of their own.
    let ranges = if column.column.nullable { max - 1 } else { max };
    if ranges < 2 {
        return Ok(vec![SplitRows::All]);
    }
    let bounds = bounds(source, session, relation, key, ranges)?;
    let ranges = ranges_between(bounds);
    let ranges = match column.column.nullable {
        true => with_null_range(ranges),
        false => ranges,
    };
    let native = column.column.native.clone();
    let part = |range: KeyRange| match range == KeyRange::ALL {
        true => SplitRows::All,
        false => SplitRows::Keys { column: key.to_owned(), native: native.clone(), range },
    };
    Ok(ranges.into_iter().map(part).collect())
}

/// Ascending, distinct keys that divide a sample of the rows evenly, as the database prints them.
fn bounds(
    source: &Source,
    session: &mut Session,
    relation: &Relation,
    key: &str,
    ranges: u32,
) -> Result<Vec<KeyValue>> {
    let from = match (source.relation()?, relation) {
        (What::Table(name), Relation::Table(table)) => {
            let sampled = matches!(table.kind, TableKind::Table | TableKind::Materialized);
            match sampled && table.rows > 2 * SAMPLE {
                true => format!(
                    "{} TABLESAMPLE SYSTEM ({}) REPEATABLE (1)",
                    quoted_table(name),
                    100.0 * SAMPLE as f64 / table.rows as f64
                ),
                false => quoted_table(name),
            }
        }
        (What::Query(query), _) => format!("({}\n) AS q", trimmed(query)),
        (What::Table(name), Relation::Query(_)) => quoted_table(name),
    };
    let filter = source.filter.as_ref();
    let filter = filter.map_or(String::new(), |filter| format!("WHERE ({filter}\n)"));
    // The bound is the first key of the range after it, hence a touch more than the share. The
    // share 0 is the lowest key, before which there is nothing.
    let share = |at: u32| f64::from(at) / f64::from(ranges) + f64::from(at.min(1)) * 1e-9;
    let shares: Vec<_> = (0..ranges).map(share).collect();
    let key = quoted(key);
    let sql = format!(
        "SELECT bound::text FROM (SELECT DISTINCT bound FROM unnest(( \
           SELECT percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY {key}) FROM {from} {filter} \
         )) AS b(bound) WHERE bound IS NOT NULL) AS d ORDER BY d.bound"
    );
    let shares: Vec<_> = shares.iter().map(f64::to_string).collect();
    let shares = format!("{{{}}}", shares.join(","));
    let rows = session.rows("choose splits", &sql, &[&shares]).map_err(|error| {
        error.hint("a split key's type must have an order; name another with `split_key`")
    })?;
    rows.iter().skip(1).map(|row| Ok(KeyValue::Text(row.text(0)?.to_owned()))).collect()
}
