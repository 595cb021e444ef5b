//! Digests of ranges of keys, computed by the server: the text of each type as `transload_values`
//! writes it for comparisons, its SHA-256 and their sums. The statements are put together in
//! `transload_tables`.

use transload_plugin_api::{Column, DigestRequest, LogicalType, Result};
use transload_tables::{
    Description, Dialect as _, DigestKey, DigestRange, DigestSql, FEWEST, KeyOrder, KeySign,
    KeySql, Keys, RangeDigest, Relation, Source, TextKind, parts_of,
};

use crate::{
    answer::TextRow,
    catalog::{Table, TableColumn},
    dialect::{MysqlDialect, quoted, text_literal},
    native::is_native,
    session::Session,
};

type Described = Description<TableColumn, Table>;

/// How MySQL and MariaDB write a digest.
struct MysqlDigest;

impl DigestSql for MysqlDigest {
    fn row_text(&self, texts: &[String]) -> String {
        let column =
            |text: &String| format!("COALESCE(CONCAT('+', LENGTH({text}), ':', {text}), '-')");
        format!("CONCAT({})", texts.iter().map(column).collect::<Vec<_>>().join(", "))
    }

    // MD5 and SHA-1 are not in every MySQL any more.
    fn hash(&self, text: &str) -> String {
        format!("SHA2({text}, 256)")
    }

    fn sum(&self, from: u32) -> String {
        format!("SUM(CAST(CONV(SUBSTRING(h, {from}, 16), 16, 10) AS UNSIGNED))")
    }

    fn share(&self, count: &str, parts: u32) -> String {
        format!("GREATEST(({count} + {parts} - 1) DIV {parts}, {FEWEST})")
    }
}

/// A key that the server can divide.
struct Key<'a> {
    columns: Vec<String>,
    texts: Vec<String>,
    found: Vec<(KeyOrder, &'a TableColumn)>,
}

/// The digests of the parts of a range; `None` if a type has no text of its own, or the key no order
/// that other databases share.
pub(crate) fn digest(
    mut session: Session,
    source: &Source,
    description: &Described,
    request: &DigestRequest,
) -> Result<Option<Vec<RangeDigest>>> {
    let (Some(key), Some(texts)) = (key(description, &request.key), texts(description, request))
    else {
        return Ok(None);
    };
    if key.found.iter().any(|(_, column)| column.column.nullable) {
        return Ok(None);
    }
    let Relation::Table(name) = source.relation()? else { return Ok(None) };
    let from = MysqlDialect.quoted_table(name);
    let (after, up_to) = (request.after.clone(), request.up_to.clone());
    let range = Keys { key: request.key.clone(), after, up_to };
    let conditions: Vec<_> = source.filter.iter().cloned().chain(key.condition(&range)?).collect();
    let range = DigestRange { from: &from, conditions: &conditions };
    let bounds = match request.bounds.is_empty() && request.parts > 1 {
        true => {
            let sql =
                range.bounds(&key.columns, &key.texts, &MysqlDigest.share("c", request.parts));
            let rows = session.rows("choose ranges to compare", &sql)?;
            rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect()
        }
        false => request.bounds.clone(),
    };
    let inside = bounds.iter().map(|bound| key.side(KeySign::UpTo, bound));
    let inside = inside.collect::<Result<Vec<_>>>()?;
    let sql = range.digest(&MysqlDigest, &texts, &inside);
    let rows = session.rows("compare a range of keys", &sql)?;
    let rows = rows.iter().map(part).collect::<Option<Vec<_>>>();
    // A row that is longer than the server's packets has no hash.
    Ok(rows.map(|rows| parts_of(bounds, rows)))
}

/// A part's number, its count and its sums; `None` if rows have no hash.
fn part(row: &TextRow) -> Option<(usize, u64, i128, i128)> {
    let number = |at: usize| row.get(at)?.as_ref()?.parse::<i128>().ok();
    let (rows, hashed) = (number(1)?, number(2)?);
    (rows == hashed).then_some(())?;
    Some((number(0)?.try_into().ok()?, rows.try_into().ok()?, number(3)?, number(4)?))
}

/// The condition of a range of keys.
pub(crate) fn keys_condition(description: &Described, keys: &Keys) -> Result<Option<String>> {
    transload_tables::keys_condition(key(description, &keys.key), keys)
}

fn find<'a>(description: &'a Described, name: &str) -> Option<&'a TableColumn> {
    let same = |column: &&TableColumn| column.column.name.eq_ignore_ascii_case(name);
    description.columns.iter().find(same)
}

/// A key in whose order increments are read: numbers and times, and behind them what the server
/// compares by its bytes.
pub(crate) fn key_sql(description: &Described, names: &[String]) -> Option<KeySql> {
    let Key { columns, texts, found } = key(description, names)?;
    let is_fit = |(at, (order, _)): (usize, &(KeyOrder, &TableColumn))| match order {
        KeyOrder::Integer | KeyOrder::Time => true,
        KeyOrder::Bytes | KeyOrder::Text => at > 0,
    };
    found.iter().enumerate().all(is_fit).then_some(KeySql {
        names: columns.clone(),
        columns,
        texts,
    })
}

fn key<'a>(description: &'a Described, names: &[String]) -> Option<Key<'a>> {
    let mut found = Vec::new();
    for name in names {
        let column = find(description, name)?;
        let order = KeyOrder::of(&column.column.logical)?;
        let collation = column.collation.as_deref().unwrap_or_default();
        let is_ordered = match order {
            KeyOrder::Text => {
                let is_bytewise = collation.starts_with("utf8mb4") && collation.ends_with("_bin");
                is_bytewise && matches!(column.native.name.as_str(), "char" | "varchar")
            }
            // A UUID of MariaDB has an order of its own.
            KeyOrder::Bytes => matches!(column.native.name.as_str(), "binary" | "varbinary"),
            KeyOrder::Integer | KeyOrder::Time => true,
        };
        found.push((order, is_ordered.then_some(column)?));
    }
    let text = |(_, column): &(KeyOrder, &TableColumn)| {
        text(column, &column.column.logical, TextKind::of(&column.column.logical)?)
    };
    let texts = found.iter().map(text).collect::<Option<Vec<_>>>()?;
    let columns = found.iter().map(|(_, column)| quoted(&column.column.name)).collect();
    (!found.is_empty()).then_some(Key { columns, texts, found })
}

impl DigestKey for Key<'_> {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn order(&self, at: usize) -> KeyOrder {
        self.found[at].0
    }

    fn literal(&self, at: usize, text: &str) -> String {
        let (order, column) = &self.found[at];
        match order {
            KeyOrder::Integer => text.to_owned(),
            KeyOrder::Bytes => format!("x'{text}'"),
            KeyOrder::Time => text_literal(text.trim_end_matches('Z')),
            KeyOrder::Text => {
                let collation = column.collation.as_deref().unwrap_or("utf8mb4_bin");
                format!("_utf8mb4{} COLLATE {collation}", text_literal(text))
            }
        }
    }
}

/// The texts of the columns that are compared.
fn texts(description: &Described, request: &DigestRequest) -> Option<Vec<String>> {
    let of = |wanted: &Column| {
        let own = find(description, &wanted.name).filter(|own| own.travels())?;
        if is_native(&own.column, &wanted.logical) {
            // Both sides are of this plugin, and print the same date alike, also one of no calendar.
            let name = quoted(&own.column.name);
            return own.is_dated().then(|| format!("CAST({name} AS CHAR)"));
        }
        let is_flag = own.native.name == "tinyint" && wanted.logical == LogicalType::Boolean;
        let kind = if is_flag {
            TextKind::Boolean
        } else {
            TextKind::common(&own.column.logical, wanted)?
        };
        text(own, &own.column.logical, kind)
    };
    request.columns.iter().map(of).collect()
}

/// The text of a column's value, as it is compared.
fn text(column: &TableColumn, logical: &LogicalType, kind: TextKind) -> Option<String> {
    let name = quoted(&column.column.name);
    let native = column.native.name.as_str();
    let plain = format!("CAST({name} AS CHAR)");
    let trimmed =
        || format!("TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({name} AS CHAR)))");
    let has_fraction = match logical {
        LogicalType::Decimal { scale, .. } => *scale > 0,
        _ => column.native.fraction() > 0,
    };
    Some(match kind {
        TextKind::Number if column.column.native.contains("zerofill") => return None,
        TextKind::Number if has_fraction && native == "decimal" => trimmed(),
        TextKind::Number | TextKind::Date => plain,
        TextKind::Boolean => format!(
            "CASE {name} WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE CAST({name} AS CHAR) END"
        ),
        // A text that is not exactly the value must not look like another one's.
        TextKind::Float if column.native.arguments.is_empty() => {
            format!("IF({plain} + 0e0 = {name}, {plain}, CONCAT('?', {plain}))")
        }
        TextKind::Float => return None,
        TextKind::Text => format!("CONVERT({name} USING utf8mb4) COLLATE utf8mb4_bin"),
        TextKind::Timestamp | TextKind::Clock if has_fraction => trimmed(),
        TextKind::Timestamp | TextKind::Clock => plain,
        TextKind::TimestampTz if has_fraction => format!("CONCAT({}, 'Z')", trimmed()),
        TextKind::TimestampTz => format!("CONCAT({plain}, 'Z')"),
        TextKind::Bytes if native == "uuid" => format!("LOWER(REPLACE({plain}, '-', ''))"),
        TextKind::Bytes if native == "bit" => return None,
        TextKind::Bytes => format!("LOWER(HEX({name}))"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_hash_make_no_digest() {
        let row = |cells: [&str; 5]| part(&cells.map(|cell| Some(cell.to_owned())).to_vec());
        assert_eq!(row(["1", "3", "3", "7", "8"]), Some((1, 3, 7, 8)));
        assert_eq!(row(["1", "3", "2", "7", "8"]), None);
    }
}
