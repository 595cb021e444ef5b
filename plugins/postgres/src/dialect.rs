//! PostgreSQL's way of writing SQL. COPY takes no parameters, so split bounds are written as
//! literals; their quoting is here and nowhere else.

use std::fmt::Write as _;

use transload_tables::{Conflict, Dialect, KeyRange, KeyValue, Lexis, TableName};

/// PostgreSQL 12 and later, with `standard_conforming_strings` on.
pub(crate) struct PostgresDialect;

impl Dialect for PostgresDialect {
    fn database(&self) -> &'static str {
        "PostgreSQL"
    }

    fn folds_case(&self) -> bool {
        false
    }

    fn quote(&self) -> char {
        '"'
    }

    fn placeholder(&self, index: usize, sql: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(sql, "${index}");
    }

    fn on_conflict(&self, conflict: &Conflict<'_>, sql: &mut String) {
        conflict.standard(self, sql);
    }

    fn parameters(&self) -> usize {
        65_535
    }

    fn lexis(&self) -> Lexis {
        Lexis { dollars: true, nested: true, ..Lexis::default() }
    }

    fn identifier_bytes(&self) -> Option<usize> {
        Some(63)
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        });
        format!("'\\x{digits}'::bytea")
    }

    fn hex(&self, column: &str) -> String {
        format!("pg_catalog.encode({column}, 'hex')")
    }

    fn bytes_type(&self) -> &'static str {
        "BYTEA"
    }
}

/// An identifier, quoted.
pub(crate) fn quoted(name: &str) -> String {
    PostgresDialect.quoted(name)
}

/// A table's name, each part quoted.
pub(crate) fn quoted_table(name: &TableName) -> String {
    PostgresDialect.quoted_table(name)
}

/// Identifiers, quoted, with `, ` between them.
pub(crate) fn quoted_list(names: &[&str]) -> String {
    PostgresDialect.quoted_list(names)
}

/// Text as a literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The condition of a range on a column of the type `native`; `None` if every row is inside.
pub(crate) fn range_condition(column: &str, native: &str, range: &KeyRange) -> Option<String> {
    let name = quoted(column);
    let bound = |sign: &str, value: &KeyValue| comparison(&name, sign, value, native);
    match range {
        KeyRange::Null => Some(format!("{name} IS NULL")),
        KeyRange::Between { from, to } => {
            let bounds: Vec<_> = [("<", to), (">=", from)]
                .into_iter()
                .rev()
                .filter_map(|(sign, value)| value.as_ref().map(|value| bound(sign, value)))
                .collect();
            (!bounds.is_empty()).then(|| bounds.join(" AND "))
        }
    }
}

/// `"k" > '5'::int8`; the name is quoted, the type in the database's words.
pub(crate) fn comparison(name: &str, sign: &str, value: &KeyValue, native: &str) -> String {
    // The database has told the bound as text, so it reads it back as the very same value.
    let text = match value {
        KeyValue::Integer(number) => number.to_string(),
        KeyValue::Text(text) => text.clone(),
        KeyValue::Real(bits) => f64::from_bits(*bits).to_string(),
        KeyValue::Bytes(bytes) => bytes.iter().fold("\\x".to_owned(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    };
    format!("{name} {sign} {}::{native}", literal(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t42_names_and_literals_cannot_become_sql() {
        assert_eq!(quoted("a\"; DROP TABLE t; --"), "\"a\"\"; DROP TABLE t; --\"");
        assert_eq!(literal("it's \\"), "'it''s \\'");
        let name: TableName = r#"s."a.b""#.parse().unwrap();
        assert_eq!(quoted_table(&name), r#""s"."a.b""#);
        assert_eq!(quoted_list(&["a", "Select"]), r#""a", "Select""#);
    }

    #[test]
    fn t02_ranges_are_half_open() {
        let text = |text: &str| Some(KeyValue::Text(text.to_owned()));
        for (range, condition) in [
            (KeyRange::ALL, None),
            (KeyRange::Null, Some("\"k\" IS NULL")),
            (
                KeyRange::Between { from: text("a'"), to: text("b") },
                Some("\"k\" >= 'a'''::text AND \"k\" < 'b'::text"),
            ),
            (KeyRange::Between { from: None, to: text("b") }, Some("\"k\" < 'b'::text")),
        ] {
            assert_eq!(range_condition("k", "text", &range).as_deref(), condition);
        }
    }
}
