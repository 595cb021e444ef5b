//! Tables, columns and keys as the server's catalog describes them. Their types are in `types`.

use transload_plugin_api::{
    Column, Error, Key, LogicalType, Result, TableInfo, TablePage, TableRequest,
};
use transload_tables::{Dialect as _, TableName};

use crate::{
    answer::TextRow,
    dialect::{MysqlDialect, text_literal},
    failure::Failure,
    native::native_form,
    session::Session,
    types::{Native, logical_of},
};

/// A table or view.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    pub(crate) kind: TableKind,
    /// Empty for views.
    pub(crate) engine: String,
    pub(crate) rows: Option<u64>,
    pub(crate) columns: Vec<TableColumn>,
    pub(crate) keys: Vec<Key>,
    pub(crate) triggers: Vec<String>,
    /// Tables whose foreign keys refer to this one.
    pub(crate) referring: Vec<String>,
    /// This table's own foreign keys.
    pub(crate) references: Vec<String>,
}

/// What the catalog calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    Table,
    /// A table whose old rows MariaDB keeps.
    Versioned,
    View,
    /// In the catalog's own words, such as `SEQUENCE`.
    Other(String),
}

impl TableKind {
    fn of(text: &str) -> Self {
        match text {
            "BASE TABLE" => Self::Table,
            "SYSTEM VERSIONED" => Self::Versioned,
            "VIEW" | "SYSTEM VIEW" => Self::View,
            other => Self::Other(other.to_lowercase()),
        }
    }

    /// In words, after "a".
    pub(crate) fn word(&self) -> &str {
        match self {
            Self::Table => "table",
            Self::Versioned => "system-versioned table",
            Self::View => "view",
            Self::Other(word) => word,
        }
    }
}

/// One column.
#[derive(Clone, Debug)]
pub(crate) struct TableColumn {
    /// For types that do not travel its logical type is `binary`, and `native` says which it is.
    pub(crate) column: Column,
    pub(crate) native: Native,
    pub(crate) auto_increment: bool,
    /// `SELECT *` does not show it.
    pub(crate) invisible: bool,
    /// How its texts are compared.
    pub(crate) collation: Option<String>,
}

impl AsRef<Column> for TableColumn {
    fn as_ref(&self) -> &Column {
        &self.column
    }
}

impl TableColumn {
    /// Whether the column's type travels at all.
    pub(crate) fn travels(&self) -> bool {
        logical_of(&self.native).is_some()
    }

    /// Whether different texts can be equal in it, because case or accents do not count.
    pub(crate) fn folds_texts(&self) -> bool {
        let collation = self.collation.as_deref().unwrap_or("_bin");
        let is_exact = collation == "binary" || collation.ends_with("_bin");
        !is_exact && (!collation.contains("_cs") || collation.contains("_ai"))
    }

    /// Whether its values hold a date, which may be none of the calendar.
    pub(crate) fn is_dated(&self) -> bool {
        matches!(self.native.name.as_str(), "date" | "datetime" | "timestamp")
    }
}

impl Table {
    /// MySQL's column names differ by more than case.
    pub(crate) fn column(&self, name: &str) -> Option<&TableColumn> {
        let same = |column: &&TableColumn| column.column.name.eq_ignore_ascii_case(name);
        self.columns.iter().find(same)
    }

    /// The primary key's columns; empty without one.
    pub(crate) fn primary_key(&self) -> &[String] {
        self.keys.iter().find(|key| key.primary).map_or(&[], |key| &key.columns)
    }

    /// Whether it has rows of its own.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.kind, TableKind::Table | TableKind::Versioned)
    }

    /// Whether a transaction can be rolled back.
    pub(crate) fn is_transactional(&self) -> bool {
        ["InnoDB", "ROCKSDB", "NDBCLUSTER", "TokuDB"]
            .iter()
            .any(|engine| engine.eq_ignore_ascii_case(&self.engine))
    }
}

fn text(row: &TextRow, at: usize) -> String {
    row.get(at).cloned().flatten().unwrap_or_default()
}

/// `table_schema = '...' AND table_name = '...'` with the names of the columns that say so.
fn is_table(name: &TableName, schema: &str, table: &str) -> String {
    let database = text_literal(name.schema.as_deref().unwrap_or_default());
    format!("{schema} = {database} AND {table} = {}", text_literal(&name.table))
}

/// The table, or an error that it is not there.
pub(crate) fn table(session: &mut Session, name: &TableName) -> Result<Table> {
    find_table(session, name)?
        .ok_or_else(|| Error::not_found(format!("there is no table `{name}`")))
}

/// The table, if it is there.
pub(crate) fn find_table(session: &mut Session, name: &TableName) -> Result<Option<Table>> {
    let doing = format!("look at table `{name}`");
    let there = is_table(name, "table_schema", "table_name");
    let sql = format!(
        "SELECT table_type, engine, table_rows, table_schema, table_name \
         FROM information_schema.tables WHERE {there}"
    );
    let Some(head) = session.rows(&doing, &sql)?.into_iter().next() else { return Ok(None) };
    let sql = format!(
        "SELECT trigger_name FROM information_schema.triggers WHERE {} ORDER BY 1",
        is_table(name, "event_object_schema", "event_object_table")
    );
    let first = |row: TextRow| text(&row, 0);
    let triggers = session.rows(&doing, &sql)?.into_iter().map(first).collect();
    let mut references = |schema: &str, table: &str, what: &str| -> Result<Vec<String>> {
        let there = is_table(name, schema, table);
        let sql = format!(
            "SELECT DISTINCT {what} FROM information_schema.key_column_usage \
             WHERE {there} AND referenced_table_name IS NOT NULL ORDER BY 1"
        );
        Ok(session.rows(&doing, &sql)?.into_iter().map(first).collect())
    };
    let referring = references(
        "referenced_table_schema",
        "referenced_table_name",
        "CONCAT(table_schema, '.', table_name)",
    )?;
    let references = references("table_schema", "table_name", "constraint_name")?;
    Ok(Some(Table {
        // As the server spells it where case does not count.
        name: TableName { schema: Some(text(&head, 3)), table: text(&head, 4) },
        kind: TableKind::of(&text(&head, 0)),
        engine: text(&head, 1),
        rows: text(&head, 2).parse().ok(),
        columns: columns(session, name)?,
        keys: keys(session, name)?,
        triggers,
        referring,
        references,
    }))
}

fn columns(session: &mut Session, name: &TableName) -> Result<Vec<TableColumn>> {
    let doing = format!("look at the columns of `{name}`");
    let checked = json_columns(session, name)?;
    let there = is_table(name, "table_schema", "table_name");
    let sql = format!(
        "SELECT column_name, column_type, is_nullable, column_default IS NOT NULL, extra, \
         character_maximum_length, datetime_precision, generation_expression, collation_name \
         FROM information_schema.columns WHERE {there} ORDER BY ordinal_position"
    );
    let rows = session.rows(&doing, &sql)?;
    let column = |row: TextRow| {
        let (column_name, declared, extra) = (text(&row, 0), text(&row, 1), text(&row, 4));
        let mut native = Native::parse(&declared);
        native.json |= checked.contains(&column_name);
        let logical = logical_of(&native).unwrap_or(LogicalType::Binary);
        let upper = extra.to_ascii_uppercase();
        let auto_increment = upper.contains("AUTO_INCREMENT");
        let mut column = Column::new(column_name, logical, text(&row, 2) == "YES");
        column.generated = !text(&row, 7).is_empty()
            || upper.contains("VIRTUAL")
            || upper.contains("STORED GENERATED");
        column.has_default = auto_increment || text(&row, 3) == "1";
        column.native = declared;
        column.native_form = native_form(&native);
        TableColumn {
            column,
            native,
            auto_increment,
            invisible: upper.contains("INVISIBLE"),
            collation: row.get(8).cloned().flatten(),
        }
    };
    Ok(rows.into_iter().map(column).collect())
}

/// Columns whose check is `json_valid`: MariaDB's `JSON` is such a `longtext`.
fn json_columns(session: &mut Session, name: &TableName) -> Result<Vec<String>> {
    if !session.server.mariadb {
        return Ok(Vec::new());
    }
    let there = is_table(name, "constraint_schema", "table_name");
    let sql = format!(
        "SELECT check_clause FROM information_schema.check_constraints WHERE {there} \
         AND check_clause LIKE 'json_valid(%'"
    );
    let rows = session.rows("look at the table's checks", &sql)?;
    let column = |row: TextRow| {
        let clause = text(&row, 0);
        let inner = clause.strip_prefix("json_valid(`")?.strip_suffix("`)")?;
        Some(inner.replace("``", "`"))
    };
    Ok(rows.into_iter().filter_map(column).collect())
}

fn keys(session: &mut Session, name: &TableName) -> Result<Vec<Key>> {
    let there = is_table(name, "table_schema", "table_name");
    let sql = format!(
        "SELECT index_name, column_name, sub_part FROM information_schema.statistics \
         WHERE {there} AND non_unique = 0 ORDER BY index_name, seq_in_index"
    );
    let mut keys: Vec<Key> = Vec::new();
    for row in session.rows("look at the table's keys", &sql)? {
        let (index, column, prefix) = (text(&row, 0), text(&row, 1), text(&row, 2));
        // An index on an expression has no column, one on a prefix does not know whole values.
        let unusable = column.is_empty() || !prefix.is_empty();
        if keys.last().is_none_or(|key| key.name != index) {
            let primary = index == "PRIMARY";
            keys.push(Key { name: index, columns: Vec::new(), primary, unusable: false });
        }
        if let Some(key) = keys.last_mut() {
            key.columns.push(column);
            key.unusable |= unusable;
        }
    }
    keys.sort_by_key(|key| !key.primary);
    Ok(keys)
}

/// Whether the login may read some columns of the table only: the catalog shows no others.
pub(crate) fn is_partial(session: &mut Session, name: &TableName) -> Result<bool> {
    let sql = format!("SELECT * FROM {} LIMIT 0", MysqlDialect.quoted_table(name));
    match session.try_run(&sql) {
        Ok(_) => Ok(false),
        Err(Failure::Server(error)) => Ok(matches!(error.number, 1142 | 1143)),
        Err(failure) => Err(failure.into_error("look at the rights", &session.cancel)),
    }
}

/// The tables in the database of a table whose names begin with `prefix`.
pub(crate) fn tables_beside(
    session: &mut Session,
    name: &TableName,
    prefix: &str,
) -> Result<Vec<TableName>> {
    let schema = name.schema.as_deref().map_or("DATABASE()".to_owned(), text_literal);
    let sql = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = {schema} \
         AND table_type = 'BASE TABLE' AND LOCATE({}, table_name) = 1 ORDER BY table_name",
        text_literal(prefix)
    );
    let beside = |row: TextRow| TableName { schema: name.schema.clone(), table: text(&row, 0) };
    Ok(session.rows("look for stage tables", &sql)?.into_iter().map(beside).collect())
}

/// The tables and views of a database.
pub(crate) fn tables(session: &mut Session, database: &str) -> Result<Vec<TableInfo>> {
    let condition = format!("table_schema = {}", text_literal(database));
    let rows = session.rows("look for tables", &listing(&condition, u64::MAX))?;
    Ok(rows.iter().map(|row| listed(row, database).1).collect())
}

/// One page of the tables and views of a database, or of all that the login sees if a pattern names
/// databases.
pub(crate) fn table_page(
    session: &mut Session,
    database: &str,
    request: &TableRequest,
) -> Result<TablePage> {
    let patterns = request.parsed()?;
    let mut condition = match patterns.name_schemas() {
        true => "table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')"
            .to_owned(),
        false => format!("table_schema = {}", text_literal(database)),
    };
    if let Some(after) = &request.after {
        let after: TableName = after.parse()?;
        let schema = text_literal(after.schema.as_deref().unwrap_or(database));
        // The catalog's own collation would take names for equal that differ in case.
        let behind = format!(
            " AND (BINARY table_schema > BINARY {schema} OR BINARY table_schema = BINARY {schema} \
             AND BINARY table_name > BINARY {})",
            text_literal(&after.table)
        );
        condition.push_str(&behind);
    }
    let rows = session.rows("look for tables", &listing(&condition, request.max.into()))?;
    let is_full = rows.len() == request.max as usize;
    let mut found: Vec<_> = rows.iter().map(|row| listed(row, database)).collect();
    let next = found.last().filter(|_| is_full).map(|(last, _)| last.to_string());
    found.retain(|(name, _)| patterns.matches(name.schema.as_deref(), &name.table));
    for (name, table) in found.iter_mut().filter(|_| request.columns) {
        table.columns = columns(session, name)?.into_iter().map(|column| column.column).collect();
        table.keys = keys(session, name)?;
    }
    Ok(TablePage { tables: found.into_iter().map(|(_, table)| table).collect(), next })
}

fn listing(condition: &str, most: u64) -> String {
    format!(
        "SELECT table_schema, table_name, table_type, table_rows, data_length + index_length, \
         table_comment FROM information_schema.tables WHERE {condition} \
         ORDER BY BINARY table_schema, BINARY table_name LIMIT {most}"
    )
}

/// A table of the list, named without the connection's own database.
fn listed(row: &TextRow, database: &str) -> (TableName, TableInfo) {
    let (schema, table) = (text(row, 0), text(row, 1));
    let name = TableName { schema: Some(schema.clone()), table: table.clone() };
    let shown = if schema == database { TableName::bare(&table) } else { name.clone() };
    let kind = TableKind::of(&text(row, 2));
    let is_view = kind == TableKind::View;
    let info = TableInfo {
        rows: text(row, 3).parse().ok(),
        bytes: text(row, 4).parse().ok(),
        // A view's comment is the word `VIEW`.
        comment: Some(text(row, 5)).filter(|comment| !comment.is_empty() && !is_view),
        ..TableInfo::new(shown.to_string(), kind.word()).of(schema, table)
    };
    (name, info)
}
