//! The source of a job: what SQLite does in its own way when a table or query is read. The order
//! of the verbs is `transload_tables`'s, the division `splits`'s, the rows `scan`'s.

use std::path::PathBuf;

use rusqlite::Connection;
use transload_plugin_api::{
    Column, DigestRequest, Finding, Host, LogicalType, Options, ReadTask, Reader, Result,
    SplitRequest, TableInfo, TablePage, TableRequest,
};
use transload_tables::{
    Description, Dialect, Division, KeySplit, KeySql, Keys, RangeDigest, ReadDatabase, Relation,
    ScanRequest, Select, Snapshot, Source, TableName, TextRows, no_such_column, read_as,
};

use crate::{
    catalog::{self, Table},
    connect::{open_to_read, run},
    decode::can_make,
    dialect::SqliteDialect,
    digest,
    failure::failure,
    options::ReaderOptions,
    query::{query_columns, query_indexes},
    scan::{Scan, ScanPlan},
    session::text_rows,
    splits, trial,
};

/// A database file that tables are read from.
pub(crate) struct SqliteSource {
    path: PathBuf,
    immutable: bool,
    /// Types that the job declares.
    schema: Vec<Column>,
    host: Host,
}

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let (parsed, sources) = ReaderOptions::parse(options)?;
    let ReaderOptions { path, immutable } = parsed;
    let (schema, host) = (options.schema.clone(), host.clone());
    sources.into_reader(SqliteSource { path, immutable, schema, host })
}

type Described = Description<Column, Table>;
type Request<'a> = ScanRequest<'a, Column, Table>;

impl SqliteSource {
    /// The columns with the types that the job declares.
    fn declared(&self, mut columns: Vec<Column>) -> Vec<Column> {
        for column in &mut columns {
            if let Some(declared) = self.schema.iter().find(|other| other.name == column.name) {
                column.logical = declared.logical.clone();
                column.inferred = false;
            }
        }
        columns
    }
}

/// The statement of a table's split: the columns and, behind them, the key by which the rows are
/// ordered.
fn select_table(request: &Request<'_>, table: &Table, plan: &mut ScanPlan) -> Result<()> {
    if let Some(gone) = plan.columns.iter().find(|column| table.column(&column.name).is_none()) {
        return Err(no_such_column(&SqliteDialect, &table.name, &gone.name, &table.columns));
    }
    let names = plan.columns.iter().map(|column| column.name.as_str());
    let order: Vec<_> = request.part.order.iter().map(String::as_str).collect();
    let selected: Vec<_> = names.chain(order.iter().copied()).collect();
    let column = request.part.column.as_deref();
    let select = Select {
        table: &table.name,
        columns: &selected,
        filter: request.source.filter.as_deref(),
        range: column.map(|column| (column, &request.part.range)),
        order: &order,
        after: request.after,
    };
    let (sql, values) = select.sql(&SqliteDialect);
    (plan.sql, plan.values) = (sql, values);
    plan.source.clone_from(&table.name.table);
    if table.rowid.is_none() || order.len() != 1 {
        plan.source = request.part.counted_rows(&table.name.table, request.after);
    } else {
        plan.key_name = "rowid".to_owned();
    }
    Ok(())
}

/// Whether values of the column can be read in that type with the same outcome for every value.
fn can_read(own: &Column, wanted: &LogicalType) -> bool {
    use LogicalType as T;
    if !can_make(wanted) {
        return false;
    }
    let is_integer = |logical: &T| logical.family().contains("int") && *logical != T::Interval;
    match (&own.logical, wanted) {
        _ if own.inferred => true,
        (own, wanted) if is_integer(own) => {
            is_integer(wanted) || matches!(wanted, T::Decimal { .. })
        }
        (T::Decimal { .. } | T::Numeric, T::Decimal { .. }) => true,
        (own, wanted) => own.family() == wanted.family(),
    }
}

impl ReadDatabase for SqliteSource {
    const DIALECT: &'static (dyn Dialect + Sync) = &SqliteDialect;
    const ORDER: &'static str = "read a table with a rowid, or with a primary key of short values; \
        a view has neither";
    const INCREMENTS: &'static str = "name a column of integers: dates have no type of their own here, \
        and several forms";

    type Session = Connection;
    type Column = Column;
    type Table = Table;

    fn connect(&self) -> Result<Connection> {
        open_to_read(&self.path, self.immutable, self.host.cancel())
    }

    fn check(&self, source: &Source) -> Result<Vec<Finding>> {
        let finding = |stage: &str, found: Result<String>| {
            let ok = found.is_ok();
            let detail = found.unwrap_or_else(|error| error.to_string());
            Finding { stage: stage.to_owned(), ok, detail }
        };
        let mut connection = match self.connect() {
            Ok(connection) => connection,
            Err(error) => return Ok(vec![finding("file", Err(error))]),
        };
        let opened = format!("opened `{}`", self.path.display());
        let mut findings = vec![finding("file", Ok(opened))];
        if let Ok(relation) = source.relation() {
            let described = self.describe(&mut connection, relation);
            let words = described.map(|found| format!("{} columns", found.columns.len()));
            findings.push(finding("source", words));
        }
        Ok(findings)
    }

    fn tables(&self, connection: &mut Connection) -> Result<Vec<TableInfo>> {
        catalog::tables(connection)
    }

    fn page(&self, connection: &mut Connection, request: &TableRequest) -> Result<TablePage> {
        catalog::table_page(connection, request)
    }

    fn describe(&self, connection: &mut Connection, relation: &Relation) -> Result<Described> {
        let (columns, keys, identity, table) = match relation {
            Relation::Query(query) => {
                (query_columns(connection, query)?, Vec::new(), query.clone(), None)
            }
            Relation::Table(name) => {
                let table = catalog::table(connection, name)?;
                let columns = table.columns.iter().map(|column| column.column.clone()).collect();
                let keys = table.keys.iter().map(|key| key.key.clone()).collect();
                (columns, keys, table.name.table.to_ascii_lowercase(), Some(table))
            }
        };
        let columns = self.declared(columns);
        let untyped = columns.iter().filter(|column| column.inferred).map(|column| {
            format!(
                "column `{}` has no declared type: it is read as text unless the target or \
                 [reader.schema] says otherwise, and blobs in it are dirty rows",
                column.name
            )
        });
        let notes = untyped.collect();
        Ok(Description { columns, keys, notes, warnings: Vec::new(), identity, table })
    }

    fn try_select(&self, connection: &mut Connection, sql: &str) -> Result<()> {
        trial::compile(connection, sql)
    }

    fn grant(&self, _connection: &mut Connection, _name: &TableName) -> Result<Option<String>> {
        Ok(None)
    }

    fn produces(&self, own: &Column, wanted: &Column) -> Result<Column> {
        Ok(read_as(own, wanted, can_read(own, &wanted.logical)))
    }

    fn divide(
        &self,
        connection: &mut Connection,
        source: &Source,
        description: &Described,
        request: &SplitRequest,
    ) -> Result<Vec<Division>> {
        let Some(table) = &description.table else {
            return Ok(vec![Division::new(KeySplit::whole(Vec::new()), None)]);
        };
        let mut parts = splits::divide(connection, table, source.split_key.as_deref(), request)?;
        if source.filter.is_some() {
            parts.iter_mut().for_each(|part| part.rows = None);
        }
        Ok(parts)
    }

    fn enter(&self, _snapshot: &Snapshot) -> Result<Connection> {
        let connection = self.connect()?;
        run(&connection, "begin to read", "BEGIN")?;
        Ok(connection)
    }

    fn digest(
        &self,
        connection: Connection,
        source: &Source,
        description: &Described,
        request: &DigestRequest,
    ) -> Result<Option<Vec<RangeDigest>>> {
        digest::digest(self, connection, source, description, request)
    }

    fn key_sql(&self, description: &Described, key: &[String]) -> Result<Option<KeySql>> {
        Ok(digest::key_sql(description, key))
    }

    fn key_rows(&self, connection: &mut Connection, sql: &str) -> Result<TextRows> {
        text_rows(connection, sql).map_err(|error| failure("find the range to read", &error))
    }

    fn keys_condition(&self, description: &Described, keys: &Keys) -> Result<Option<String>> {
        digest::keys_condition(description, keys)
    }

    fn scan(&self, connection: Connection, request: Request<'_>) -> Result<Box<dyn ReadTask>> {
        let mut plan = ScanPlan {
            sql: String::new(),
            values: Vec::new(),
            columns: request.columns.to_vec(),
            indexes: (0..request.columns.len()).collect(),
            key_columns: request.part.order.len(),
            key_name: String::new(),
            source: "query".to_owned(),
        };
        match (&request.description.table, request.source.relation()?) {
            (Some(table), _) => select_table(&request, table, &mut plan)?,
            (None, Relation::Query(query)) => {
                plan.indexes = query_indexes(&connection, query, request.columns)?;
                plan.sql.clone_from(query);
            }
            (None, Relation::Table(name)) => catalog::table(&connection, name).map(drop)?,
        }
        Ok(Box::new(Scan::start(connection, plan, self.host.cancel())?))
    }
}
