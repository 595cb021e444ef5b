//! The statements that SQL plugins have in common, built from names alone: values are bound.
//! How a dialect writes a name, a placeholder or a conflict it says itself.

use crate::{Dialect, KeyRange, KeyValue, TableName};

/// What an insert does when a key is there already.
#[derive(Clone, Copy, Debug)]
pub enum Conflict<'a> {
    /// The statement fails.
    Fail,
    /// The row is left out. An empty key means any unique key.
    Skip {
        /// The key's columns.
        key: &'a [&'a str],
    },
    /// The named columns take the new row's values.
    Update {
        /// The key's columns.
        key: &'a [&'a str],
        /// What is updated; at least one.
        columns: &'a [&'a str],
    },
}

impl Conflict<'_> {
    /// The clause as PostgreSQL and SQLite write it: `ON CONFLICT (...) DO ...`.
    pub fn standard(&self, dialect: &dyn Dialect, sql: &mut String) {
        let (key, columns) = match self {
            Self::Fail => return,
            Self::Skip { key } => (key, &[][..]),
            Self::Update { key, columns } => (key, *columns),
        };
        sql.push_str(" ON CONFLICT");
        if !key.is_empty() {
            sql.push_str(" (");
            dialect.list(key, sql);
            sql.push(')');
        }
        if columns.is_empty() {
            sql.push_str(" DO NOTHING");
            return;
        }
        sql.push_str(" DO UPDATE SET ");
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                sql.push_str(", ");
            }
            dialect.identifier(column, sql);
            sql.push_str(" = excluded.");
            dialect.identifier(column, sql);
        }
    }
}

/// An insert of one or more rows of bound values.
#[derive(Clone, Copy, Debug)]
pub struct Insert<'a> {
    /// The words before the table, such as `INSERT INTO`.
    pub verb: &'a str,
    /// Into which table.
    pub table: &'a TableName,
    /// Into which columns; at least one.
    pub columns: &'a [&'a str],
    /// How many rows.
    pub rows: usize,
    /// What a key conflict does.
    pub conflict: Conflict<'a>,
}

impl Insert<'_> {
    /// The statement; parameters count row by row.
    pub fn sql(&self, dialect: &dyn Dialect) -> String {
        let mut sql = format!("{} ", self.verb);
        dialect.table(self.table, &mut sql);
        sql.push_str(" (");
        dialect.list(self.columns, &mut sql);
        sql.push_str(") VALUES ");
        for row in 0..self.rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..self.columns.len() {
                if column > 0 {
                    sql.push_str(", ");
                }
                dialect.placeholder(row * self.columns.len() + column + 1, &mut sql);
            }
            sql.push(')');
        }
        dialect.on_conflict(&self.conflict, &mut sql);
        sql
    }
}

/// One column of a table to be made.
#[derive(Clone, Copy, Debug)]
pub struct ColumnDefinition<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type, in the database's words.
    pub native: &'a str,
    /// Whether NULL may stand in it.
    pub nullable: bool,
}

/// `CREATE TABLE` with a primary key where `key` is not empty.
pub fn create_table(
    dialect: &dyn Dialect,
    table: &TableName,
    columns: &[ColumnDefinition<'_>],
    key: &[&str],
) -> String {
    let mut sql = String::from("CREATE TABLE ");
    dialect.table(table, &mut sql);
    sql.push_str(" (");
    for (index, column) in columns.iter().enumerate() {
        sql.push_str(if index == 0 { "" } else { ", " });
        dialect.identifier(column.name, &mut sql);
        sql.push(' ');
        sql.push_str(column.native);
        sql.push_str(if column.nullable { "" } else { " NOT NULL" });
    }
    if !key.is_empty() {
        sql.push_str(", PRIMARY KEY (");
        dialect.list(key, &mut sql);
        sql.push(')');
    }
    sql.push(')');
    sql
}

/// `DELETE` of the rows whose columns equal the bound values; `terms` are (column, parameter
/// number, what follows the parameter such as a collation). NULL equals nothing.
pub fn delete_matching(
    dialect: &dyn Dialect,
    table: &TableName,
    terms: &[(&str, usize, &str)],
) -> String {
    let mut sql = String::from("DELETE FROM ");
    dialect.table(table, &mut sql);
    for (index, (column, parameter, suffix)) in terms.iter().enumerate() {
        sql.push_str(if index == 0 { " WHERE " } else { " AND " });
        dialect.identifier(column, &mut sql);
        sql.push_str(" = ");
        dialect.placeholder(*parameter, &mut sql);
        sql.push_str(suffix);
    }
    sql
}

/// A read of one split. All of it is optional but the table.
#[derive(Clone, Copy, Debug)]
pub struct Select<'a> {
    /// From which table or view.
    pub table: &'a TableName,
    /// Which columns, in order; at least one.
    pub columns: &'a [&'a str],
    /// The job's own condition, as SQL.
    pub filter: Option<&'a str>,
    /// The split's range and the column it is about.
    pub range: Option<(&'a str, &'a KeyRange)>,
    /// Rows come ordered by these columns.
    pub order: &'a [&'a str],
    /// Only rows after this key, one value for each of `order`.
    pub after: Option<&'a [KeyValue]>,
}

impl Select<'_> {
    /// The statement and the values to bind.
    pub fn sql(&self, dialect: &dyn Dialect) -> (String, Vec<KeyValue>) {
        let (mut sql, mut values) = (String::from("SELECT "), Vec::new());
        dialect.list(self.columns, &mut sql);
        sql.push_str(" FROM ");
        dialect.table(self.table, &mut sql);
        let mut word = " WHERE ";
        for condition in self.conditions(dialect, &mut values) {
            sql.push_str(word);
            sql.push_str(&condition);
            word = " AND ";
        }
        if !self.order.is_empty() {
            sql.push_str(" ORDER BY ");
            dialect.list(self.order, &mut sql);
        }
        (sql, values)
    }

    fn conditions(&self, dialect: &dyn Dialect, values: &mut Vec<KeyValue>) -> Vec<String> {
        let mut conditions = Vec::new();
        if let Some(filter) = self.filter {
            // The line break ends a comment that the filter may end in.
            conditions.push(format!("({filter}\n)"));
        }
        if let Some((column, range)) = self.range {
            let (mut name, mut condition) = (String::new(), String::new());
            dialect.identifier(column, &mut name);
            if range.condition(dialect, &name, values, &mut condition) {
                conditions.push(condition);
            }
        }
        if let Some(after) = self.after {
            conditions.push(self.after_condition(dialect, after, values));
        }
        conditions
    }

    /// `(a, b) > (?, ?)`, and without the row form for a single column.
    fn after_condition(
        &self,
        dialect: &dyn Dialect,
        after: &[KeyValue],
        values: &mut Vec<KeyValue>,
    ) -> String {
        let (mut names, mut marks) = (String::new(), String::new());
        dialect.list(self.order, &mut names);
        for (index, value) in after.iter().enumerate() {
            marks.push_str(if index == 0 { "" } else { ", " });
            values.push(value.clone());
            dialect.placeholder(values.len(), &mut marks);
        }
        if self.order.len() == 1 {
            return format!("{names} > {marks}");
        }
        format!("({names}) > ({marks})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::Standard;

    fn insert(rows: usize, conflict: Conflict<'_>) -> String {
        let table = TableName { schema: Some("s".into()), table: "t".into() };
        Insert { verb: "INSERT INTO", table: &table, columns: &["a", "b"], rows, conflict }
            .sql(&Standard)
    }

    #[test]
    fn inserts_by_conflict() {
        for (conflict, tail) in [
            (Conflict::Fail, ""),
            (Conflict::Skip { key: &[] }, " ON CONFLICT DO NOTHING"),
            (Conflict::Skip { key: &["a"] }, r#" ON CONFLICT ("a") DO NOTHING"#),
            (
                Conflict::Update { key: &["a"], columns: &["b"] },
                r#" ON CONFLICT ("a") DO UPDATE SET "b" = excluded."b""#,
            ),
        ] {
            let head = r#"INSERT INTO "s"."t" ("a", "b") VALUES ($1, $2)"#;
            assert_eq!(insert(1, conflict), format!("{head}{tail}"));
        }
        assert!(insert(2, Conflict::Fail).ends_with("VALUES ($1, $2), ($3, $4)"));
    }

    #[test]
    fn tables_are_made_with_quoted_names() {
        let columns = [
            ColumnDefinition { name: "a\"b", native: "INTEGER", nullable: false },
            ColumnDefinition { name: "select", native: "TEXT", nullable: true },
        ];
        assert_eq!(
            create_table(&Standard, &TableName::bare("x.y"), &columns, &["a\"b"]),
            r#"CREATE TABLE "x.y" ("a""b" INTEGER NOT NULL, "select" TEXT, PRIMARY KEY ("a""b"))"#
        );
    }

    #[test]
    fn deletes_compare_each_column() {
        let sql =
            delete_matching(&Standard, &TableName::bare("t"), &[("a", 2, ""), ("b", 1, " X")]);
        assert_eq!(sql, r#"DELETE FROM "t" WHERE "a" = $2 AND "b" = $1 X"#);
    }

    #[test]
    fn selects_bind_ranges_and_positions() {
        let (table, range) = (
            TableName::bare("t"),
            KeyRange::Between { from: Some(KeyValue::Integer(5)), to: None },
        );
        let mut select = Select {
            table: &table,
            columns: &["a"],
            filter: Some("x > 1 -- only"),
            range: Some(("k", &range)),
            order: &["k"],
            after: Some(&[KeyValue::Integer(7)]),
        };
        let (sql, values) = select.sql(&Standard);
        assert_eq!(
            sql,
            "SELECT \"a\" FROM \"t\" WHERE (x > 1 -- only\n) AND \"k\" >= $1 AND \"k\" > $2 \
             ORDER BY \"k\""
        );
        assert_eq!(values, [KeyValue::Integer(5), KeyValue::Integer(7)]);
        let pair = [KeyValue::Integer(1), KeyValue::Text("x".into())];
        select.order = &["k", "l"];
        select.after = Some(&pair);
        assert!(select.sql(&Standard).0.contains(r#"("k", "l") > ($2, $3)"#));
        (select.filter, select.range, select.order, select.after) = (None, None, &[], None);
        assert_eq!(select.sql(&Standard).0, r#"SELECT "a" FROM "t""#);
    }
}
