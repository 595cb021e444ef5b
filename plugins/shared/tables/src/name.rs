//! Table names as jobs write them: `table`, `schema.table`, each part bare or quoted with `"`,
//! `` ` `` or `[ ]`. A dot inside quotes belongs to the name. Quoting for a database is the
//! dialect's work.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use transload_plugin_api::Error;

/// A table's name, with its schema if the job gives one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The schema (database in MySQL), unquoted.
    pub schema: Option<String>,
    /// The table, unquoted.
    pub table: String,
}

impl TableName {
    /// A name without a schema.
    pub fn bare(table: impl Into<String>) -> Self {
        Self { schema: None, table: table.into() }
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Error::options(format!("`{text}` is not a table's name: {why}")).hint(
                "write `table` or `schema.table`, and quotes around a part that holds a dot or \
                 a quote: `\"a.b\"`",
            )
        };
        let (first, rest) = part(text.trim()).map_err(refuse)?;
        let Some(rest) = rest else { return Ok(Self::bare(first)) };
        let (second, rest) = part(rest).map_err(refuse)?;
        if rest.is_some() {
            return Err(refuse("it has more than two parts"));
        }
        Ok(Self { schema: Some(first), table: second })
    }
}

/// Takes one part off `text`; what follows its dot, if there is one, comes with it.
fn part(text: &str) -> Result<(String, Option<&str>), &'static str> {
    let close = match text.chars().next() {
        Some('"') => '"',
        Some('`') => '`',
        Some('[') => ']',
        _ => return bare_part(text),
    };
    let (name, rest) = quoted_part(&text[1..], close).ok_or("a quote is not closed")?;
    if name.is_empty() {
        return Err("a part is empty");
    }
    match rest.strip_prefix('.') {
        Some(next) => Ok((name, Some(next))),
        None if rest.is_empty() => Ok((name, None)),
        None => Err("something follows a closing quote"),
    }
}

fn bare_part(text: &str) -> Result<(String, Option<&str>), &'static str> {
    let (name, rest) = match text.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("a part is empty");
    }
    if name.contains(['"', '`', '[', ']']) {
        return Err("a quote stands inside a part that is not quoted");
    }
    Ok((name.to_owned(), rest))
}

/// The text up to the closing quote, two quotes read as one, and what follows.
fn quoted_part(text: &str, close: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once(close)?;
        name.push_str(before);
        match after.strip_prefix(close) {
            Some(next) => {
                name.push(close);
                rest = next;
            }
            None => return Some((name, after)),
        }
    }
}

/// Prints what [`FromStr`] reads back: bare where that is enough, else in double quotes.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write_part(schema, f)?;
            f.write_str(".")?;
        }
        write_part(&self.table, f)
    }
}

fn write_part(part: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let blank_edge = part.trim() != part;
    if part.is_empty() || blank_edge || part.contains(['.', '"', '`', '[', ']']) {
        return write!(f, "\"{}\"", part.replace('"', "\"\""));
    }
    f.write_str(part)
}

impl Serialize for TableName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn t42_names_are_split_outside_quotes_only() {
        for (text, schema, table) in [
            ("orders", None, "orders"),
            ("Order", None, "Order"),
            ("select", None, "select"),
            ("ods.orders", Some("ods"), "orders"),
            (r#""a.b""#, None, "a.b"),
            (r#"s."a.b""#, Some("s"), "a.b"),
            (r#""x.y".t"#, Some("x.y"), "t"),
            (r#""a""b""#, None, "a\"b"),
            ("`my table`.[t.1]", Some("my table"), "t.1"),
            ("表", None, "表"),
            ("123Test", None, "123Test"),
            ("@table", None, "@table"),
        ] {
            let name: TableName = text.parse().unwrap();
            assert_eq!((name.schema.as_deref(), name.table.as_str()), (schema, table), "{text}");
        }
    }

    #[test]
    fn broken_names_are_refused() {
        for text in ["", " ", "a.", ".a", "a.b.c", r#""a"#, r#""a"b"#, r#"a"b"#, r#""""#, "[a"] {
            let error = text.parse::<TableName>().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{text}");
            assert!(error.hint.is_some());
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(schema in proptest::option::of(".+"), table in ".+") {
            let name = TableName { schema, table };
            prop_assert_eq!(name.to_string().parse::<TableName>().unwrap(), name);
        }
    }
}
