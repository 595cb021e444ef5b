//! The range of rows that a run of an incremental job reads: its upper end, found before anything is
//! read, and its condition. How a database orders and writes keys is behind [`ReadDatabase`].

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, FoundIncrement, Increment, Result};

use crate::{Description, Keys, ReadDatabase, Relation, Source};

/// A key whose order is that of the texts of its values, as SQL.
#[derive(Clone, Debug)]
pub struct KeySql {
    /// Its columns, quoted.
    pub names: Vec<String>,
    /// The same as they are compared: with a collation where one is needed.
    pub columns: Vec<String>,
    /// The texts of their values, as `transload_values` writes them.
    pub texts: Vec<String>,
}

/// The rows of an increment, as a split carries them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    /// Greater keys only, and these and smaller ones only: of as many columns as there are values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sides: Vec<Keys>,
    /// No key is in it.
    #[serde(default)]
    is_empty: bool,
    /// The column, if rows without a value in it belong to the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    null: Option<String>,
}

/// Finds the upper end of an increment and counts the rows without a value.
pub(crate) fn find<D: ReadDatabase>(
    database: &D,
    session: &mut D::Session,
    source: &Source,
    description: &Description<D::Column, D::Table>,
    increment: &Increment,
) -> Result<(FoundIncrement, Range)> {
    let Relation::Table(name) = source.relation()? else {
        return Err(Error::unsupported("an increment is read from a table, not from a query")
            .hint("name the `table`, with `where` for a condition")
            .of_key("query"));
    };
    let sql = key_sql(database, description, &increment.key)?;
    let (from, first) = (D::DIALECT.quoted_table(name), &sql.columns[0]);
    let filter = source.filter.as_deref();
    let nulls = match is_nullable(description, &increment.key[0]) && increment.up_to.is_none() {
        true => {
            let condition = and(filter, &format!("{first} IS NULL"));
            let count = format!("SELECT COUNT(*) FROM {from} WHERE {condition}");
            number(&database.key_rows(session, &count)?)?
        }
        false => 0,
    };
    let lower = side(&increment.key, increment.after.clone(), true);
    let up_to = match &increment.up_to {
        Some(given) => Some(given.clone()),
        None => {
            let mut condition = format!("{first} IS NOT NULL");
            if let Some(lower) = &lower
                && let Some(lower) = database.keys_condition(description, lower)?
            {
                condition = format!("{condition} AND {lower}");
            }
            let order: Vec<_> = sql.columns.iter().map(|it| format!("{it} DESC")).collect();
            // In a query of its own: a text of the same name would be what ORDER BY means.
            let greatest = format!(
                "SELECT {} FROM (SELECT {} FROM {from} WHERE {} ORDER BY {} LIMIT 1) AS greatest",
                sql.texts.join(", "),
                sql.names.join(", "),
                and(filter, &condition),
                order.join(", ")
            );
            let rows = database.key_rows(session, &greatest)?;
            rows.into_iter().next().map(|row| row.into_iter().flatten().collect::<Vec<_>>())
        }
    };
    if up_to.as_ref().is_some_and(|key| key.is_empty() || key.len() > increment.key.len()) {
        return Err(Error::defect("the end of an increment has other columns than its key"));
    }
    let null = increment.nulls.then(|| increment.key[0].clone());
    let is_empty = up_to.is_none();
    let sides = lower.into_iter().chain(side(&increment.key, up_to.clone(), false)).collect();
    Ok((FoundIncrement { up_to, nulls }, Range { sides, is_empty, null }))
}

impl Range {
    /// The condition that the rows of the range meet.
    pub(crate) fn condition<D: ReadDatabase>(
        &self,
        database: &D,
        description: &Description<D::Column, D::Table>,
    ) -> Result<String> {
        let mut parts = Vec::new();
        if self.is_empty {
            parts.push("1 = 0".to_owned());
        } else {
            for side in &self.sides {
                parts.extend(database.keys_condition(description, side)?);
            }
        }
        let within = if parts.is_empty() { "1 = 1".to_owned() } else { parts.join(" AND ") };
        let Some(null) = &self.null else { return Ok(within) };
        let sql = key_sql(database, description, std::slice::from_ref(null))?;
        Ok(format!("({within} OR {} IS NULL)", sql.columns[0]))
    }
}

/// One side of the range, by as many columns as the values are of.
fn side(key: &[String], values: Option<Vec<String>>, is_lower: bool) -> Option<Keys> {
    let values = values?;
    let key = key[..values.len().min(key.len())].to_vec();
    let (after, up_to) = if is_lower { (Some(values), None) } else { (None, Some(values)) };
    Some(Keys { key, after, up_to })
}

/// # Errors
/// If rows have no order by the key that is the same in every database.
fn key_sql<D: ReadDatabase>(
    database: &D,
    description: &Description<D::Column, D::Table>,
    key: &[String],
) -> Result<KeySql> {
    for (at, name) in key.iter().enumerate() {
        let same = |column: &&D::Column| D::DIALECT.is_same_column(&column.as_ref().name, name);
        let Some(column) = description.columns.iter().find(same) else {
            let known = crate::known_columns(&description.columns);
            return Err(Error::schema(format!("the source has no column `{name}`")).hint(known));
        };
        if at > 0 && column.as_ref().nullable {
            let message = format!("`{name}` may be NULL, so it orders no rows");
            return Err(Error::schema(message).hint("name a column that is never NULL in `key`"));
        }
    }
    let found = if key.is_empty() { None } else { database.key_sql(description, key)? };
    found.ok_or_else(|| {
        let names = key.join("`, `");
        let message = format!("`{names}` has no order that the program can rely on");
        Error::unsupported(message).hint(D::INCREMENTS)
    })
}

fn is_nullable<C: AsRef<transload_plugin_api::Column>, T>(
    description: &Description<C, T>,
    name: &str,
) -> bool {
    let mut columns = description.columns.iter().map(AsRef::as_ref);
    columns.find(|column| column.name.eq_ignore_ascii_case(name)).is_none_or(|it| it.nullable)
}

/// Both conditions; the line break ends a comment that the first may end in.
pub(crate) fn and(one: Option<&str>, other: &str) -> String {
    one.map_or_else(|| other.to_owned(), |one| format!("({one}\n) AND {other}"))
}

fn number(rows: &[Vec<Option<String>>]) -> Result<u64> {
    let text = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::defect("a count is no number"))
}
