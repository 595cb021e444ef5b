//! The tables of a store: what a connection offers, a page of them at a time, and the patterns that
//! choose among them. Reading one table is left to `reader`.

use serde::{Deserialize, Serialize};

use crate::{Column, Error, Key, Result};

/// One table that a connection offers.
///
/// # Examples
/// ```
/// use transload_plugin_api::TableInfo;
///
/// let table = TableInfo { rows: Some(20), ..TableInfo::new("orders", "table").of("shop", "orders") };
/// assert_eq!(table.path(), "shop.orders");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its name, as the `table` option takes it.
    pub name: String,
    /// `table`, `view`, `file`.
    pub kind: String,
    /// Its schema (MySQL: database) without quotes, if the store has schemas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its name in the schema without quotes; empty if that is `name`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub table: String,
    /// About how many rows, if the store knows it without counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// About how many bytes the store keeps for it, if it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What the store's owner has written about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Its columns in order, if the request asks for them and the store keeps them beside the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Its primary and unique keys, with the columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
}

impl TableInfo {
    /// A table of which no more is known.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), ..Self::default() }
    }

    /// The table with its schema and its name in it.
    #[must_use]
    pub fn of(mut self, schema: impl Into<String>, table: impl Into<String>) -> Self {
        (self.schema, self.table) = (Some(schema.into()), table.into());
        self
    }

    /// Its name in the schema, without quotes.
    pub fn bare(&self) -> &str {
        if self.table.is_empty() { &self.name } else { &self.table }
    }

    /// The primary key.
    pub fn primary_key(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.primary)
    }

    /// Schema and table as patterns and messages have them, without quotes.
    pub fn path(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.bare()),
            None => self.bare().to_owned(),
        }
    }
}

/// Which tables are listed, and how much of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRequest {
    /// The patterns, see [`TablePatterns`]; none: all tables.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// Whether columns and keys are wanted.
    #[serde(default)]
    pub columns: bool,
    /// The largest number of tables of one page; at least 1.
    pub max: u32,
    /// [`TablePage::next`] of the page before; `None` for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Some of the tables, in the order of their schemas and names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePage {
    /// At most as many as requested; may be none although more pages follow.
    pub tables: Vec<TableInfo>,
    /// Where the next page begins, opaque to the host; `None`: this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl TableRequest {
    /// The first page of all tables.
    pub fn new(max: u32) -> Self {
        Self { max, ..Self::default() }
    }

    /// The patterns.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Options`] for a text that is no pattern.
    pub fn parsed(&self) -> Result<TablePatterns> {
        TablePatterns::parse(&self.patterns)
    }

    /// The page of a listing that is short enough to be held as a whole.
    ///
    /// # Errors
    /// As [`TableRequest::parsed`].
    pub fn page(&self, mut all: Vec<TableInfo>) -> Result<TablePage> {
        let patterns = self.parsed()?;
        all.retain(|table| patterns.matches(table.schema.as_deref(), table.bare()));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let behind = |after: &String| all.partition_point(|table| table.name <= *after);
        let from = self.after.as_ref().map_or(0, behind);
        let to = from.saturating_add(self.max.max(1) as usize).min(all.len());
        let next = (to < all.len()).then(|| all[to - 1].name.clone());
        let tables = all.drain(from..to).collect();
        Ok(TablePage { tables, next })
    }
}

/// Patterns of tables: `orders`, `shop.*`, `!shop.tmp_*`. A table is chosen if one pattern matches it
/// and none of those with `!` does; if all have `!`, every other table is.
///
/// `*` is any text and `?` any letter. A pattern with a dot is of schema and table, one without is of
/// the table in any schema. A part in double quotes stands for itself. A table without a schema (a
/// file) is compared with the pattern as a whole.
///
/// # Examples
/// ```
/// use transload_plugin_api::TablePatterns;
///
/// let patterns = TablePatterns::parse(&["shop.*", "!shop.tmp_*"]).unwrap();
/// assert!(patterns.matches(Some("shop"), "orders"));
/// assert!(!patterns.matches(Some("shop"), "tmp_1"));
/// assert!(!patterns.matches(Some("hr"), "people"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablePatterns {
    wanted: Vec<TablePattern>,
    unwanted: Vec<TablePattern>,
}

impl TablePatterns {
    /// # Errors
    /// [`crate::ErrorKind::Options`] for an empty part, an open quote or more than two parts.
    pub fn parse(texts: &[impl AsRef<str>]) -> Result<Self> {
        let mut patterns = Self::default();
        for text in texts.iter().map(|text| text.as_ref().trim()) {
            match text.strip_prefix('!') {
                Some(text) => patterns.unwanted.push(TablePattern::parse(text)?),
                None => patterns.wanted.push(TablePattern::parse(text)?),
            }
        }
        Ok(patterns)
    }

    /// Whether they choose the table.
    pub fn matches(&self, schema: Option<&str>, table: &str) -> bool {
        let any = |list: &[TablePattern]| list.iter().any(|one| one.matches(schema, table));
        (self.wanted.is_empty() || any(&self.wanted)) && !any(&self.unwanted)
    }

    /// Whether one of them names schemas, so that other schemas than the connection's are meant.
    pub fn name_schemas(&self) -> bool {
        self.wanted.iter().any(|pattern| pattern.parts.len() > 1)
    }
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TablePattern {
    /// As it was written, for tables without a schema.
    whole: String,
    parts: Vec<Part>,
}

/// A schema or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(String),
    Pattern(String),
}

impl Part {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Pattern(pattern) => glob(pattern, name),
        }
    }
}

impl TablePattern {
    fn parse(text: &str) -> Result<Self> {
        let parts = parts(text).map_err(|why| {
            Error::options(format!("`{text}` is not a pattern of tables: {why}")).hint(
                "write `table`, `schema.table` or patterns such as `shop.*`; a part that holds a \
                 dot, a quote or a star as a letter stands in double quotes: `\"a.b\"`",
            )
        })?;
        Ok(Self { whole: text.to_owned(), parts })
    }

    fn matches(&self, schema: Option<&str>, table: &str) -> bool {
        match (schema, &self.parts[..]) {
            (_, [part]) => part.matches(table),
            (Some(schema), [first, second]) => first.matches(schema) && second.matches(table),
            _ => glob(&self.whole, table),
        }
    }
}

fn parts(text: &str) -> Result<Vec<Part>, &'static str> {
    // The name of a file has dots, and no schema.
    if text.contains('/') && !text.contains('"') {
        return Ok(vec![Part::Pattern(text.to_owned())]);
    }
    let (mut parts, mut rest) = (Vec::new(), text);
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(inner) => quoted(inner)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (Part::Pattern(rest[..end].to_owned()), &rest[end..])
            }
        };
        if matches!(&part, Part::Name(name) | Part::Pattern(name) if name.is_empty()) {
            return Err("a part is empty");
        }
        parts.push(part);
        match behind.strip_prefix('.') {
            Some(next) if parts.len() < 2 => rest = next,
            Some(_) => return Err("it has more than two parts"),
            None if behind.is_empty() => return Ok(parts),
            None => return Err("something follows a closing quote"),
        }
    }
}

/// The name up to the closing quote, two quotes read as one, and what follows.
fn quoted(text: &str) -> Result<(Part, &str), &'static str> {
    let (mut name, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('"').ok_or("a quote is not closed")?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None => return Ok((Part::Name(name), after)),
        }
    }
}

/// Whether `*` and `?` of a pattern can stand for what the name has there.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    // Where the last `*` is, and up to where it reaches.
    let mut star = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((place, reached)) = star else { return false };
                star = Some((place, reached + 1));
                (at, read) = (place + 1, reached + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_tables() {
        for (patterns, schema, table, chosen) in [
            (&[][..], Some("s"), "t", true),
            (&["orders"], Some("s"), "orders", true),
            (&["orders"], Some("s"), "orders_2", false),
            (&["s.*"], Some("s"), "t", true),
            (&["s.*"], Some("st"), "t", false),
            (&["*.t?"], Some("s"), "t1", true),
            (&["*a*b*"], None, "xaxbx", true),
            (&["*a*b"], None, "xaxbx", false),
            (&["!tmp_*"], None, "orders", true),
            (&["!tmp_*"], None, "tmp_1", false),
            (&["s.*", "!s.t"], Some("s"), "t", false),
            (&["\"a.b\""], None, "a.b", true),
            (&["\"*\""], None, "x", false),
            (&["\"*\""], None, "*", true),
            (&["s.\"a\"\"b\""], Some("s"), "a\"b", true),
            (&["data/*.csv"], None, "data/x.csv", true),
            (&["*.csv"], None, "x.csv", true),
            (&["Orders"], None, "orders", false),
        ] {
            let found = TablePatterns::parse(patterns).unwrap().matches(schema, table);
            assert_eq!(found, chosen, "{patterns:?} {table}");
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for text in ["", "!", "a.", ".a", "a.b.c", "\"a", "\"a\"b", "\"\""] {
            let error = TablePatterns::parse(&[text]).unwrap_err();
            assert!(error.hint.is_some(), "{text}");
        }
    }

    #[test]
    fn pages_hold_each_table_once() {
        let all: Vec<_> = ["c", "a", "x", "b"].map(|name| TableInfo::new(name, "table")).into();
        let mut request = TableRequest { patterns: vec!["!x".to_owned()], ..TableRequest::new(2) };
        let first = request.page(all.clone()).unwrap();
        assert_eq!(first.next.as_deref(), Some("b"));
        request.after = first.next;
        let last = request.page(all).unwrap();
        assert_eq!((last.tables.len(), last.tables[0].name.as_str(), last.next), (1, "c", None));
    }
}
