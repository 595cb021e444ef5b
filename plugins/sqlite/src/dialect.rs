//! How SQLite writes what SQL databases write differently.

use std::fmt::Write as _;

use transload_plugin_api::Column;
use transload_tables::{Conflict, Dialect, Lexis, TableName};

/// SQLite's dialect.
pub(crate) struct SqliteDialect;

impl Dialect for SqliteDialect {
    fn database(&self) -> &'static str {
        "SQLite"
    }

    fn folds_case(&self) -> bool {
        true
    }

    fn quote(&self) -> char {
        '"'
    }

    fn placeholder(&self, index: usize, sql: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(sql, "?{index}");
    }

    fn on_conflict(&self, conflict: &Conflict<'_>, sql: &mut String) {
        conflict.standard(self, sql);
    }

    fn parameters(&self) -> usize {
        32_766
    }

    fn lexis(&self) -> Lexis {
        Lexis { brackets: true, ..Lexis::default() }
    }

    fn identifier_bytes(&self) -> Option<usize> {
        None
    }

    /// SQLite cannot add a key to a table, and takes a unique index for one.
    fn add_key(&self, table: &TableName, columns: &[&Column], _has_primary: bool) -> String {
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let index = format!("{}_{}", table.table, names.join("_"));
        let (table, columns) = (self.quoted(&table.table), self.quoted_list(&names));
        format!("CREATE UNIQUE INDEX {} ON {table} ({columns})", self.quoted(&index))
    }

    /// A transaction that may write has the file to itself.
    fn for_update(&self) -> &'static str {
        ""
    }

    fn create_schema(&self, _schema: &str) -> Option<String> {
        None
    }

    /// A file has one schema, which need not be named.
    fn shown(&self, name: &TableName) -> String {
        name.table.clone()
    }
}

/// One identifier, quoted.
pub(crate) fn quoted(name: &str) -> String {
    SqliteDialect.quoted(name)
}
