//! Digests of ranges of keys, computed by the server: the text of each type as `transload_values`
//! writes it for comparisons, its SHA-256 and their sums. The statements are put together in
//! `transload_tables`.

use transload_plugin_api::{Column, DigestRequest, LogicalType, Result};
use transload_tables::{
    Description, DigestKey, DigestRange, DigestSql, FEWEST, KeyOrder, KeySign, KeySql, Keys,
    RangeDigest, Relation, Source, TextKind, parts_of,
};

use crate::{
    answer::TextRow,
    catalog::{Table, TableColumn, find_column},
    dialect::{literal, quoted, quoted_table},
    session::Session,
};

type Described = Description<TableColumn, Table>;

/// How PostgreSQL writes a digest.
struct PostgresDigest;

impl DigestSql for PostgresDigest {
    fn row_text(&self, texts: &[String]) -> String {
        let column = |text: &String| {
            format!("coalesce('+' || octet_length({text}) || ':' || ({text}), '-')")
        };
        texts.iter().map(column).collect::<Vec<_>>().join(" || ")
    }

    fn hash(&self, text: &str) -> String {
        format!("encode(sha256(convert_to({text}, 'UTF8')), 'hex')")
    }

    fn sum(&self, from: u32) -> String {
        // Signed halves: as a sum they leave 64 bits as unsigned ones do.
        format!("sum(('x' || substr(h, {from}, 16))::bit(64)::bigint)")
    }

    fn once(&self) -> &'static str {
        // Without it the planner dissolves the subquery, and hashes each row three times.
        " OFFSET 0"
    }

    fn share(&self, count: &str, parts: u32) -> String {
        format!("GREATEST(({count} + {parts} - 1) / {parts}, {FEWEST})")
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
    let (Some(key), Some(texts)) = (key(description, &request.key)?, texts(description, request)?)
    else {
        return Ok(None);
    };
    if key.found.iter().any(|(_, column)| column.column.nullable) {
        return Ok(None);
    }
    let Relation::Table(name) = source.relation()? else { return Ok(None) };
    // Text keys are in the order of their bytes, in UTF-8.
    let facts = "SELECT pg_catalog.current_setting('server_encoding')";
    if session.text("ask for the encoding", facts, &[])? != "UTF8"
        || !key.is_bytewise(&mut session, description)?
    {
        return Ok(None);
    }
    let from = quoted_table(name);
    let (after, up_to) = (request.after.clone(), request.up_to.clone());
    let range = Keys { key: request.key.clone(), after, up_to };
    let conditions: Vec<_> = source.filter.iter().cloned().chain(key.condition(&range)?).collect();
    let range = DigestRange { from: &from, conditions: &conditions };
    let bounds = match request.bounds.is_empty() && request.parts > 1 {
        true => {
            let sql =
                range.bounds(&key.columns, &key.texts, &PostgresDigest.share("c", request.parts));
            let rows = session.rows("choose ranges to compare", &sql, &[])?;
            let bound = |row: &TextRow| {
                let text = |at| Ok(row.text(at)?.to_owned());
                (0..key.columns.len()).map(text).collect::<Result<Vec<_>>>()
            };
            rows.iter().map(bound).collect::<Result<_>>()?
        }
        false => request.bounds.clone(),
    };
    let inside = bounds.iter().map(|bound| key.side(KeySign::UpTo, bound));
    let inside = inside.collect::<Result<Vec<_>>>()?;
    let sql = range.digest(&PostgresDigest, &texts, &inside);
    let rows = session.rows("compare a range of keys", &sql, &[])?;
    let row = |row: &TextRow| Ok((row.number(0)?, row.number(1)?, row.number(3)?, row.number(4)?));
    let rows = rows.iter().map(row).collect::<Result<Vec<_>>>()?;
    Ok(Some(parts_of(bounds, rows)))
}

/// The condition of a range of keys.
pub(crate) fn keys_condition(description: &Described, keys: &Keys) -> Result<Option<String>> {
    transload_tables::keys_condition(key(description, &keys.key)?, keys)
}

/// A key in whose order increments are read: numbers and times, and behind them also bytes.
pub(crate) fn key_sql(description: &Described, names: &[String]) -> Result<Option<KeySql>> {
    let Some(Key { columns, texts, found }) = key(description, names)? else { return Ok(None) };
    let is_fit = |(at, (order, _)): (usize, &(KeyOrder, &TableColumn))| match order {
        KeyOrder::Integer | KeyOrder::Time => true,
        KeyOrder::Bytes => at > 0,
        // In the order of the database's collation.
        KeyOrder::Text => false,
    };
    Ok(found.iter().enumerate().all(is_fit).then_some(KeySql {
        names: columns.clone(),
        columns,
        texts,
    }))
}

fn key<'a>(description: &'a Described, names: &[String]) -> Result<Option<Key<'a>>> {
    let mut found = Vec::new();
    for name in names {
        let column = find_column(&description.columns, name)?;
        let order = KeyOrder::of(&column.kind.logical).filter(|_| !column.kind.by_text);
        // Blanks at the end of a `character(n)` do not count.
        let is_padded = column.column.native.starts_with("character(");
        let Some(order) = order.filter(|_| !is_padded) else { return Ok(None) };
        found.push((order, column));
    }
    if found.is_empty() {
        return Ok(None);
    }
    let columns: Vec<_> = found.iter().map(|(_, column)| quoted(&column.column.name)).collect();
    let text = |(order, column): &(KeyOrder, &TableColumn)| {
        let kind = TextKind::of(&column.kind.logical)?;
        let kind = if *order == KeyOrder::Text { TextKind::Text } else { kind };
        text(column, kind)
    };
    let texts = found.iter().map(text).collect::<Option<_>>();
    Ok(texts.map(|texts| Key { columns, texts, found }))
}

impl Key<'_> {
    /// Whether its texts are in the order of their bytes.
    fn is_bytewise(&self, session: &mut Session, description: &Described) -> Result<bool> {
        let texts = self.found.iter().filter(|(order, _)| *order == KeyOrder::Text);
        let Some(table) = &description.table else { return Ok(false) };
        for (_, column) in texts {
            let sql = "SELECT coalesce(nullif(c.collname, 'default'), d.datcollate) \
                         IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8', 'ucs_basic') \
                       FROM pg_catalog.pg_attribute a \
                       JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation, \
                            pg_catalog.pg_database d \
                       WHERE a.attrelid = $1::oid AND a.attname = $2 \
                         AND d.datname = pg_catalog.current_database()";
            let oid = table.oid.to_string();
            let rows = session.rows("ask for the collation", sql, &[&oid, &column.column.name])?;
            if rows.first().map(|row| row.text(0)).transpose()? != Some("t") {
                return Ok(false);
            }
        }
        Ok(true)
    }
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
            // Without a type, so that any integer is one.
            KeyOrder::Integer => text.to_owned(),
            KeyOrder::Bytes if column.kind.logical == LogicalType::Binary => {
                format!("decode({}, 'hex')", literal(text))
            }
            _ => format!("{}::{}", literal(text), column.column.native),
        }
    }
}

/// The texts of the columns that are compared.
fn texts(description: &Described, request: &DigestRequest) -> Result<Option<Vec<String>>> {
    let of = |wanted: &Column| {
        let own = find_column(&description.columns, &wanted.name)?;
        if let LogicalType::Native(form) = &wanted.logical {
            // Both sides are PostgreSQL, and print the same value alike.
            let is_own =
                form.store == "PostgreSQL" && own.column.native_form.as_ref() == Some(form);
            return Ok(is_own.then(|| format!("({}::text)", quoted(&wanted.name))));
        }
        let is_known = own.rights.select && !own.kind.by_text && own.reading_cast.is_empty();
        let kind = TextKind::common(&own.kind.logical, wanted).filter(|_| is_known);
        Ok(kind.and_then(|kind| text(own, kind)))
    };
    request.columns.iter().map(of).collect()
}

/// The text of a column's value, as it is compared.
fn text(column: &TableColumn, kind: TextKind) -> Option<String> {
    let name = quoted(&column.column.name);
    Some(match kind {
        TextKind::Number => match &column.kind.logical {
            LogicalType::Decimal { scale: 1.., .. } | LogicalType::Numeric => format!(
                "(CASE WHEN strpos({name}::text, '.') > 0 \
                   THEN rtrim(rtrim({name}::text, '0'), '.') ELSE {name}::text END)"
            ),
            _ => format!("({name}::text)"),
        },
        TextKind::Boolean => {
            format!("(CASE WHEN {name} THEN 'true' WHEN NOT {name} THEN 'false' END)")
        }
        TextKind::Float => format!("replace({name}::text, 'e+', 'e')"),
        TextKind::Text | TextKind::Date | TextKind::Timestamp => format!("({name}::text)"),
        TextKind::TimestampTz => format!("(({name} AT TIME ZONE 'UTC')::text || 'Z')"),
        TextKind::Clock if matches!(column.kind.logical, LogicalType::Time { .. }) => {
            format!("({name}::text)")
        }
        TextKind::Clock => return None,
        TextKind::Bytes if column.kind.logical == LogicalType::Uuid => {
            format!("replace({name}::text, '-', '')")
        }
        TextKind::Bytes => format!("encode({name}, 'hex')"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_apart_by_the_lengths_of_its_values() {
        let text = PostgresDigest.row_text(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            text,
            "coalesce('+' || octet_length(a) || ':' || (a), '-') || \
             coalesce('+' || octet_length(b) || ':' || (b), '-')"
        );
    }

    /// Three aggregates use the hash: a planner that dissolves the subquery computes it for each.
    #[test]
    fn a_row_is_hashed_once() {
        let range = DigestRange { from: "t", conditions: &[] };
        let sql = range.digest(&PostgresDigest, &["a".to_owned()], &[]);
        assert!(sql.ends_with("FROM t OFFSET 0) AS q GROUP BY p"), "{sql}");
        assert_eq!(sql.matches("sha256").count(), 1, "{sql}");
    }
}
