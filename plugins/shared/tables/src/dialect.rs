//! What differs between databases: quoting, placeholders, limits, how a conflict is written.
//! The statements themselves are in `statement`.

use std::fmt::Write as _;

use transload_plugin_api::Column;

use crate::{Conflict, Lexis, TableName};

/// One database's way of writing SQL.
pub trait Dialect {
    /// What people call the database.
    fn database(&self) -> &'static str;

    /// The character around identifiers; written twice inside them.
    fn quote(&self) -> char;

    /// Appends the placeholder of parameter `index`, counted from 1.
    fn placeholder(&self, index: usize, sql: &mut String);

    /// Appends the clause after `VALUES` that resolves a key conflict.
    /// [`Conflict::Fail`] appends nothing.
    fn on_conflict(&self, conflict: &Conflict<'_>, sql: &mut String);

    /// Most parameters of one statement.
    fn parameters(&self) -> usize;

    /// Longest identifier in bytes; `None` without such a limit.
    fn identifier_bytes(&self) -> Option<usize>;

    /// Whether column names that differ by case alone are the same.
    fn folds_case(&self) -> bool;

    /// How quotes and comments are written.
    fn lexis(&self) -> Lexis;

    /// The statement that gives a table a key over these columns; `has_primary`: it has a primary key
    /// already.
    fn add_key(&self, table: &TableName, columns: &[&Column], has_primary: bool) -> String {
        let what = if has_primary { "UNIQUE" } else { "PRIMARY KEY" };
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let (table, columns) = (self.quoted_table(table), self.quoted_list(&names));
        format!("ALTER TABLE {table} ADD {what} ({columns})")
    }

    /// The limit, in words, that an identifier passes; `None` if it is short enough.
    fn passed_limit(&self, name: &str) -> Option<String> {
        let limit = self.identifier_bytes().filter(|limit| name.len() > *limit)?;
        Some(format!("{limit} bytes"))
    }

    /// Text as a literal.
    fn text(&self, text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }

    /// Bytes as a literal.
    fn bytes(&self, bytes: &[u8]) -> String {
        format!("X'{}'", hex(bytes))
    }

    /// An expression for the hexadecimal digits of a column of bytes.
    fn hex(&self, column: &str) -> String {
        format!("hex({column})")
    }

    /// The type of a column of bytes.
    fn bytes_type(&self) -> &'static str {
        "BLOB"
    }

    /// What follows the columns of a table whose rows are kept with those of others in one
    /// transaction, and whose texts are compared letter by letter.
    fn table_options(&self) -> &'static str {
        ""
    }

    /// What follows a SELECT whose rows no other session may change up to the end of the transaction.
    fn for_update(&self) -> &'static str {
        " FOR UPDATE"
    }

    /// The statement that creates a schema unless it is there; `None` without schemas.
    fn create_schema(&self, schema: &str) -> Option<String> {
        Some(format!("CREATE SCHEMA IF NOT EXISTS {}", self.quoted(schema)))
    }

    /// A table's name in messages.
    fn shown(&self, name: &TableName) -> String {
        name.to_string()
    }

    /// Whether two names mean the same column.
    fn is_same_column(&self, one: &str, other: &str) -> bool {
        if self.folds_case() { one.eq_ignore_ascii_case(other) } else { one == other }
    }

    /// Appends an identifier, always quoted.
    fn identifier(&self, name: &str, sql: &mut String) {
        let quote = self.quote();
        sql.push(quote);
        for letter in name.chars() {
            if letter == quote {
                sql.push(quote);
            }
            sql.push(letter);
        }
        sql.push(quote);
    }

    /// Appends a table's name, each part quoted.
    fn table(&self, name: &TableName, sql: &mut String) {
        if let Some(schema) = &name.schema {
            self.identifier(schema, sql);
            sql.push('.');
        }
        self.identifier(&name.table, sql);
    }

    /// Appends quoted identifiers with `, ` between them.
    fn list(&self, names: &[&str], sql: &mut String) {
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                sql.push_str(", ");
            }
            self.identifier(name, sql);
        }
    }

    /// An identifier, quoted.
    fn quoted(&self, name: &str) -> String {
        let mut sql = String::new();
        self.identifier(name, &mut sql);
        sql
    }

    /// A table's name, each part quoted.
    fn quoted_table(&self, name: &TableName) -> String {
        let mut sql = String::new();
        self.table(name, &mut sql);
        sql
    }

    /// Identifiers, quoted, with `, ` between them.
    fn quoted_list(&self, names: &[&str]) -> String {
        let mut sql = String::new();
        self.list(names, &mut sql);
        sql
    }

    /// The start of the names of runs' own tables beside `table`: the name itself, or, where those
    /// would be longer than the limit, a part of it and a hash, so that two long names stay apart.
    fn stem(&self, table: &str) -> String {
        let most = self.identifier_bytes().unwrap_or(128).saturating_sub(LONGEST_SUFFIX);
        if table.len() <= most {
            return table.to_owned();
        }
        let mut cut = most.saturating_sub(17);
        while !table.is_char_boundary(cut) {
            cut -= 1;
        }
        format!("{}_{:016x}", &table[..cut], fnv1a(table.as_bytes()))
    }

    /// A name for a run's own table beside `table`, such as a stage. `suffix` has at most 38 bytes:
    /// `transload_old_` and the id of a run.
    fn derived_name(&self, table: &str, suffix: &str) -> String {
        format!("{}__{suffix}", self.stem(table))
    }
}

/// The longest that follows a stem.
const LONGEST_SUFFIX: usize = "__transload_old_20261130t133835-d56fea35".len();

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// FNV-1a, 64 bits: the same in every version and process, which `DefaultHasher` does not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Numbered placeholders and `"` quotes, 63 bytes.
    pub(crate) struct Standard;

    impl Dialect for Standard {
        fn database(&self) -> &'static str {
            "the standard"
        }

        fn folds_case(&self) -> bool {
            false
        }

        fn quote(&self) -> char {
            '"'
        }

        fn placeholder(&self, index: usize, sql: &mut String) {
            let _ = write!(sql, "${index}");
        }

        fn on_conflict(&self, conflict: &Conflict<'_>, sql: &mut String) {
            conflict.standard(self, sql);
        }

        fn parameters(&self) -> usize {
            65_535
        }

        fn identifier_bytes(&self) -> Option<usize> {
            Some(63)
        }

        fn lexis(&self) -> Lexis {
            Lexis { dollars: true, nested: true, ..Lexis::default() }
        }
    }

    /// As [`Standard`], but column names that differ by case alone are the same.
    pub(crate) struct Folding;

    impl Dialect for Folding {
        fn database(&self) -> &'static str {
            "the other"
        }

        fn folds_case(&self) -> bool {
            true
        }

        fn quote(&self) -> char {
            Standard.quote()
        }

        fn placeholder(&self, index: usize, sql: &mut String) {
            Standard.placeholder(index, sql);
        }

        fn on_conflict(&self, conflict: &Conflict<'_>, sql: &mut String) {
            Standard.on_conflict(conflict, sql);
        }

        fn parameters(&self) -> usize {
            Standard.parameters()
        }

        fn identifier_bytes(&self) -> Option<usize> {
            None
        }

        fn lexis(&self) -> Lexis {
            Lexis { backslashes: true, hashes: true, ..Lexis::default() }
        }
    }

    #[test]
    fn t42_identifiers_are_always_quoted() {
        for (name, quoted) in
            [("a", r#""a""#), ("select", r#""select""#), ("a\"b", r#""a""b""#), ("a.b", r#""a.b""#)]
        {
            let mut sql = String::new();
            Standard.identifier(name, &mut sql);
            assert_eq!(sql, quoted);
        }
    }

    #[test]
    fn t43_long_derived_names_stay_apart() {
        let long = "é".repeat(35);
        let run = "transload_old_20261130t133835-d56fea35";
        let first = Standard.derived_name(&format!("{long}a"), run);
        let second = Standard.derived_name(&format!("{long}b"), run);
        assert_ne!(first, second);
        assert!(first.len() <= 63 && second.len() <= 63, "{first}");
        assert!(first.ends_with(run) && first.starts_with("ééé_"), "{first}");
        assert_eq!(Standard.derived_name("t", "x"), "t__x");
        assert_eq!(Standard.derived_name(&"x".repeat(23), run).len(), 63);
    }
}
