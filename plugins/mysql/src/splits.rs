//! How a table is divided: ranges of a key, with boundaries that the server has put in order.

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, ErrorKind, LogicalType, Position, Result, Split, SplitAbility};
use transload_tables::{
    KeyRange, KeySplit, KeyValue, encode_split, equal_spans, integer_ranges, known_columns,
    ranges_between, with_null_range,
};

use crate::{
    catalog::{Table, TableColumn},
    dialect::{quoted, text_literal},
    session::Session,
    stage::in_full,
};

/// What a split says to `open`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitData {
    pub(crate) part: KeySplit,
    /// All splits see one state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shared: bool,
    /// The held session that sees it, if there are several splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
}

impl SplitData {
    fn new(part: KeySplit) -> Self {
        Self { part, shared: false, snapshot: None }
    }

    /// All rows in one split.
    pub(crate) fn all(order: Vec<String>) -> Self {
        Self::new(KeySplit { column: None, range: KeyRange::ALL, order })
    }

    pub(crate) fn in_one_state(self) -> Self {
        Self { shared: true, ..self }
    }

    /// The split, of about so many rows.
    pub(crate) fn split(&self, rows: Option<u64>) -> Result<Split> {
        // Another session would see another state.
        let seekable = !self.part.order.is_empty() && !self.shared;
        let ability = if seekable { SplitAbility::Seekable } else { SplitAbility::Bounded };
        let label = self.part.range.label(self.part.column.as_deref().unwrap_or_default());
        Ok(Split { label, data: encode_split(self)?, ability, rows, bytes: None })
    }

    /// The key behind which reading goes on.
    pub(crate) fn key_after(&self, position: &Position) -> Result<Vec<KeyValue>> {
        if self.shared {
            let message = "the state that the splits share is gone with its session";
            return Err(Error::new(ErrorKind::NotFound, message).hint("run the job again"));
        }
        self.part.key_after(position)
    }
}

/// Divides a table into at most `max` parts by the column `named`, or by its primary key.
pub(crate) fn divide(
    session: &mut Session,
    table: &Table,
    named: Option<&str>,
    max: u32,
) -> Result<Vec<SplitData>> {
    let order = natural_order(table);
    let column = match named {
        Some(name) => Some(table.column(name).ok_or_else(|| no_such_column(name, table))?),
        None => order.first().and_then(|name| table.column(name)),
    };
    let Some(column) = column else { return Ok(vec![SplitData::all(order)]) };
    if !is_key(column) {
        let message = format!(
            "`{}` is `{}`: split keys are integers, text or bytes",
            column.column.name, column.column.native
        );
        return Err(Error::new(ErrorKind::Unsupported, message).at("option `split_key`"));
    }
    // Another key's ranges would have to be sorted for the natural order.
    let natural = order.first() == Some(&column.column.name);
    let order = if natural { order } else { Vec::new() };
    let part = |range| {
        let column = Some(column.column.name.clone());
        SplitData::new(KeySplit { column, range, order: order.clone() })
    };
    Ok(ranges(session, table, column, max)?.into_iter().map(part).collect())
}

fn ranges(
    session: &mut Session,
    table: &Table,
    column: &TableColumn,
    max: u32,
) -> Result<Vec<KeyRange>> {
    // NULL keys take a split of their own.
    let max = if column.column.nullable { max - 1 } else { max };
    if max < 2 {
        return Ok(vec![KeyRange::ALL]);
    }
    let (key, name) = (quoted(&column.column.name), in_full(&table.name));
    let ranges = if is_integer(&column.column.logical) {
        let spans = integer_spans(session, &name, &key, max)?;
        integer_ranges(&spans, max)
    } else {
        ranges_between(boundaries(session, &name, &key, max)?)
    };
    Ok(if column.column.nullable { with_null_range(ranges) } else { ranges })
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
    if usable && key.len() <= 4 && !table.view { key.to_vec() } else { Vec::new() }
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

/// That a column is missing, with those that are there.
pub(crate) fn no_such_column(name: &str, table: &Table) -> Error {
    let message = format!("table `{}` has no column `{name}`", table.name);
    Error::new(ErrorKind::Schema, message).hint(known_columns(&table.columns))
}
