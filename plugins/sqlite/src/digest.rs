//! Digests of ranges of keys. SQLite has no SHA-256 and runs in this process, so the rows are scanned as
//! always, and only sums leave the plugin.

use rusqlite::{Connection, types::ValueRef};
use transload_plugin_api::{Column, DigestRequest, Result};
use transload_tables::{
    Description, Dialect as _, DigestKey, DigestRange, FEWEST, KeyOrder, KeySplit, KeySql, Keys,
    RangeDigest, ReadDatabase, Relation, ScanRequest, Snapshot, Source,
};
use transload_values::{Checksum, Compared, RowDigest};

use crate::{catalog::Table, dialect::SqliteDialect, failure::failure, reader::SqliteSource};

type Described = Description<Column, Table>;

/// The digests of the parts of a range; `None` for keys that are not integers or texts in the order
/// of their bytes.
pub(crate) fn digest(
    database: &SqliteSource,
    connection: Connection,
    source: &Source,
    description: &Described,
    request: &DigestRequest,
) -> Result<Option<Vec<RangeDigest>>> {
    let produced = |wanted: &Column| {
        let same = |own: &&Column| own.name.eq_ignore_ascii_case(&wanted.name);
        let own = description.columns.iter().find(same);
        own.map(|own| database.produces(own, &Column { nullable: true, ..wanted.clone() }))
    };
    let Some(columns) = request.columns.iter().map(produced).collect::<Option<Result<Vec<_>>>>()
    else {
        return Ok(None);
    };
    let columns = columns?;
    // What the reader does not make itself, the program would have to convert.
    let is_made = columns.iter().zip(&request.columns).all(|(one, two)| one.logical == two.logical);
    let is_nullable = |name: &String| {
        let same = |own: &&Column| own.name.eq_ignore_ascii_case(name);
        description.columns.iter().find(same).is_none_or(|own| own.nullable)
    };
    let is_made = is_made && !request.key.iter().any(is_nullable);
    let Some(key) = key(description, &request.key).filter(|_| is_made) else { return Ok(None) };
    let (after, up_to) = (request.after.clone(), request.up_to.clone());
    let whole = Keys { key: request.key.clone(), after, up_to };
    let bounds = match request.bounds.is_empty() && request.parts > 1 {
        true => match key.bounds(&connection, source, &whole, request.parts)? {
            Some(bounds) => bounds,
            None => return Ok(None),
        },
        false => request.bounds.clone(),
    };
    drop(connection);
    let (mut parts, mut after) = (Vec::new(), request.after.clone());
    for up_to in bounds.into_iter().map(Some).chain([None]) {
        let end = up_to.clone().or_else(|| request.up_to.clone());
        let keys = Keys { key: request.key.clone(), after: after.take(), up_to: end };
        let part = Part { database, source, description, columns: &columns };
        let Some(part) = part.digest(&key, &keys, up_to.clone())? else { return Ok(None) };
        parts.push(part);
        after = up_to;
    }
    Ok(Some(parts))
}

/// The condition of a range of keys.
pub(crate) fn keys_condition(description: &Described, keys: &Keys) -> Result<Option<String>> {
    transload_tables::keys_condition(key(description, &keys.key), keys)
}

/// A key in whose order increments are read: integers, and behind them also texts in the order of
/// their bytes. Dates have several forms here.
pub(crate) fn key_sql(description: &Described, names: &[String]) -> Option<KeySql> {
    let Key { columns, orders } = key(description, names)?;
    let is_fit = orders[0] == KeyOrder::Integer;
    let names: Vec<_> = names.iter().map(|name| SqliteDialect.quoted(name)).collect();
    is_fit.then(|| KeySql { texts: names.clone(), names, columns })
}

/// What is read of each part.
struct Part<'a> {
    database: &'a SqliteSource,
    source: &'a Source,
    description: &'a Described,
    columns: &'a [Column],
}

impl Part<'_> {
    /// The digest of the part; `None` if a row cannot be read.
    fn digest(
        &self,
        key: &Key,
        keys: &Keys,
        up_to: Option<Vec<String>>,
    ) -> Result<Option<RangeDigest>> {
        let mut source = self.source.clone();
        let conditions = source.filter.take().into_iter().chain(key.condition(keys)?);
        let conditions: Vec<_> = conditions.map(|condition| format!("({condition}\n)")).collect();
        source.filter = (!conditions.is_empty()).then(|| conditions.join(" AND "));
        let request = ScanRequest {
            source: &source,
            description: self.description,
            part: &KeySplit::whole(Vec::new()),
            columns: self.columns,
            after: None,
        };
        let mut scan = self.database.scan(self.database.enter(&Snapshot::Own)?, request)?;
        let mut digest = RangeDigest { up_to, ..RangeDigest::default() };
        let mut text = RowDigest::default();
        while let Some(read) = scan.next_batch()? {
            if !read.dirty.is_empty() {
                return Ok(None);
            }
            let columns = self.columns.iter().zip(read.batch.columns());
            let columns = columns.map(|(column, array)| Compared::new(column, array.as_ref()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            for row in 0..read.batch.num_rows() {
                text.clear();
                columns.iter().for_each(|column| text.push(column, row));
                let Checksum(sum) = text.checksum();
                digest.rows += 1;
                digest.high = digest.high.wrapping_add((sum >> 64) as u64);
                digest.low = digest.low.wrapping_add(sum as u64);
            }
        }
        Ok(Some(digest))
    }
}

/// A key whose order is that of other databases.
struct Key {
    columns: Vec<String>,
    orders: Vec<KeyOrder>,
}

/// The key's columns: integers, or texts in the order of their bytes. Values of other storage
/// classes are found by [`Key::bounds`].
fn key(description: &Described, names: &[String]) -> Option<Key> {
    description.table.as_ref()?;
    let (mut columns, mut orders) = (Vec::new(), Vec::new());
    for name in names {
        let same = |own: &&Column| own.name.eq_ignore_ascii_case(name);
        let own = description.columns.iter().find(same)?;
        let order = KeyOrder::of(&own.logical)?;
        let quoted = SqliteDialect.quoted(&own.name);
        columns.push(match order {
            KeyOrder::Integer => quoted,
            KeyOrder::Text => format!("{quoted} COLLATE BINARY"),
            KeyOrder::Time | KeyOrder::Bytes => return None,
        });
        orders.push(order);
    }
    (!columns.is_empty()).then_some(Key { columns, orders })
}

impl DigestKey for Key {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn order(&self, at: usize) -> KeyOrder {
        self.orders[at]
    }

    fn literal(&self, at: usize, text: &str) -> String {
        match self.orders[at] {
            KeyOrder::Integer => text.to_owned(),
            _ => format!("'{}'", text.replace('\'', "''")),
        }
    }
}

impl Key {
    /// The keys that divide a range; `None` if one is stored as something else than its type says.
    fn bounds(
        &self,
        connection: &Connection,
        source: &Source,
        keys: &Keys,
        parts: u32,
    ) -> Result<Option<Vec<Vec<String>>>> {
        let Relation::Table(name) = source.relation()? else { return Ok(None) };
        let conditions: Vec<_> =
            source.filter.iter().cloned().chain(self.condition(keys)?).collect();
        let from = SqliteDialect.quoted_table(name);
        let range = DigestRange { from: &from, conditions: &conditions };
        let share = format!("max((c + {parts} - 1) / {parts}, {FEWEST})");
        let sql = range.bounds(&self.columns, &self.columns, &share);
        let failed = |error: rusqlite::Error| failure("choose ranges to compare", &error);
        let mut statement = connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.raw_query();
        let mut bounds = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let mut bound = Vec::new();
            for (at, order) in self.orders.iter().enumerate() {
                bound.push(match (order, row.get_ref(at).map_err(failed)?) {
                    (KeyOrder::Integer, ValueRef::Integer(number)) => number.to_string(),
                    (KeyOrder::Text, ValueRef::Text(text)) => {
                        let Ok(text) = str::from_utf8(text) else { return Ok(None) };
                        text.to_owned()
                    }
                    _ => return Ok(None),
                });
            }
            bounds.push(bound);
        }
        Ok(Some(bounds))
    }
}
