//! The SQL of MySQL and MariaDB where it differs from other databases.

use transload_plugin_api::Column;
use transload_tables::{Conflict, Dialect, Lexis, TableName};

use crate::types::indexed_for;

/// The dialect of both servers for names and placeholders. Conflict clauses are in `insert`, where
/// the server is known.
pub(crate) struct MysqlDialect;

impl Dialect for MysqlDialect {
    fn database(&self) -> &'static str {
        "MySQL"
    }

    fn folds_case(&self) -> bool {
        true
    }

    fn quote(&self) -> char {
        '`'
    }

    fn placeholder(&self, _index: usize, sql: &mut String) {
        sql.push('?');
    }

    /// `ON DUPLICATE KEY UPDATE`. An ignored conflict sets a key column to itself, because
    /// `INSERT IGNORE` would also accept invalid values.
    fn on_conflict(&self, conflict: &Conflict<'_>, sql: &mut String) {
        let (key, columns) = match conflict {
            Conflict::Fail => return,
            Conflict::Skip { key } => (*key, &[][..]),
            Conflict::Update { key, columns } => (*key, *columns),
        };
        sql.push_str(" ON DUPLICATE KEY UPDATE ");
        if columns.is_empty() {
            let Some(first) = key.first() else { return };
            self.identifier(first, sql);
            sql.push_str(" = ");
            self.identifier(first, sql);
            return;
        }
        for (index, column) in columns.iter().enumerate() {
            sql.push_str(if index == 0 { "" } else { ", " });
            self.identifier(column, sql);
            sql.push_str(" = VALUES(");
            self.identifier(column, sql);
            sql.push(')');
        }
    }

    fn parameters(&self) -> usize {
        65_535
    }

    fn lexis(&self) -> Lexis {
        Lexis { backslashes: true, hashes: true, ..Lexis::default() }
    }

    /// Sixty-four characters; a name within this many bytes never has more.
    fn identifier_bytes(&self) -> Option<usize> {
        Some(64)
    }

    fn text(&self, text: &str) -> String {
        text_literal(text)
    }

    /// A key takes a text only with a length, and the part of it that a key with a prefix takes
    /// identifies no row.
    fn add_key(&self, table: &TableName, columns: &[&Column], has_primary: bool) -> String {
        let what = if has_primary { "UNIQUE" } else { "PRIMARY KEY" };
        let mut changes = Vec::new();
        for column in columns {
            if let Some(indexed) = indexed_for(&column.native) {
                let null = if has_primary && column.nullable { "" } else { " NOT NULL" };
                changes.push(format!("MODIFY {} {indexed}{null}", quoted(&column.name)));
            }
        }
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        changes.push(format!("ADD {what} ({})", self.quoted_list(&names)));
        format!("ALTER TABLE {} {}", self.quoted_table(table), changes.join(", "))
    }

    /// The engine of tables is a setting of the server, and may have no transactions.
    fn table_options(&self) -> &'static str {
        " ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    }

    fn create_schema(&self, schema: &str) -> Option<String> {
        Some(format!("CREATE DATABASE IF NOT EXISTS {}", self.quoted(schema)))
    }

    fn passed_limit(&self, name: &str) -> Option<String> {
        (name.chars().count() > 64).then(|| "64 characters".to_owned())
    }
}

/// Quotes one identifier.
pub(crate) fn quoted(name: &str) -> String {
    MysqlDialect.quoted(name)
}

/// A text literal, for statements about the catalog.
pub(crate) fn text_literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0");
    format!("'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_never_ignore_values() {
        for (conflict, clause) in [
            (Conflict::Fail, ""),
            (Conflict::Skip { key: &["a"] }, " ON DUPLICATE KEY UPDATE `a` = `a`"),
            (
                Conflict::Update { key: &["a"], columns: &["b`c"] },
                " ON DUPLICATE KEY UPDATE `b``c` = VALUES(`b``c`)",
            ),
        ] {
            let mut sql = String::new();
            MysqlDialect.on_conflict(&conflict, &mut sql);
            assert_eq!(sql, clause);
        }
        assert_eq!(text_literal("a'b\\"), "'a''b\\\\'");
    }
}
