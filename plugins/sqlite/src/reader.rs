//! The reader: what a table or query offers, and how its rows are divided. The reading of one
//! split is in `scan`.

use std::path::PathBuf;

use rusqlite::{Connection, types::ValueRef};
use transload_plugin_api::{
    Column, Error, ErrorKind, Finding, Host, LogicalType, Options, Position, ReadTask, Reader,
    Result, SourceSchema, Split, SplitRequest, TableInfo,
};
use transload_tables::{
    KeyRange, KeySplit, KeyValue, Select, Source, TableReader, What, decode_split, equal_spans,
    integer_ranges, known_columns, ranges_between, with_null_range,
};

use crate::{
    catalog::{self, Table},
    decode::can_make,
    dialect::{SqliteDialect, quoted},
    failure::failure,
    options::ReaderOptions,
    scan::{Scan, ScanPlan},
    session::open_to_read,
    types::logical_of,
};

/// Reads one table, view or query of a database file.
pub(crate) struct SqliteReader {
    path: PathBuf,
    source: Source,
    schema: Vec<Column>,
    host: Host,
}

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let (parsed, sources) = ReaderOptions::parse(options)?;
    sources.reader(|source| {
        let (path, schema) = (parsed.path.clone(), options.schema.clone());
        Ok(SqliteReader { path, source, schema, host: host.clone() })
    })
}

impl SqliteReader {
    fn connect(&self) -> Result<Connection> {
        open_to_read(&self.path, self.host.cancel())
    }

    /// The columns of the source by its own declarations and by the job's.
    fn columns(&self, connection: &Connection) -> Result<Vec<Column>> {
        let mut columns = match self.source.what()? {
            What::Table(name) => {
                let table = catalog::table(connection, name)?;
                table.columns.into_iter().map(|column| column.column).collect()
            }
            What::Query(query) => query_columns(connection, query)?,
        };
        for column in &mut columns {
            if let Some(declared) = self.schema.iter().find(|other| other.name == column.name) {
                column.logical = declared.logical.clone();
                column.inferred = false;
            }
        }
        Ok(columns)
    }

    fn table_splits(&self, connection: &Connection, table: &Table, max: u32) -> Result<Vec<Split>> {
        let filtered = self.source.filter.is_some();
        let order = natural_order(table);
        if let Some(name) = &self.source.split_key {
            let column = table.column(name).ok_or_else(|| no_such_column(name, table))?;
            let key = &column.column.name;
            // The natural key by its name is no other key.
            if order.as_slice() != std::slice::from_ref(key) {
                if !column.column.nullable {
                    let ranges = self.key_ranges(connection, table, key, max)?;
                    return KeySplit::all(Some(key), ranges, &[], None);
                }
                // NULL keys take a split of their own.
                let ranges = self.key_ranges(connection, table, key, max.max(2) - 1)?;
                return KeySplit::all(Some(key), with_null_range(ranges), &[], None);
            }
        }
        let Some(key) = order.first().cloned() else {
            return KeySplit::all(None, vec![KeyRange::ALL], &[], None);
        };
        if table.rowid.is_some() {
            let spans = self.rowid_spans(connection, table, &key, max)?;
            let rows: i128 = spans.iter().map(|(low, high)| high - low + 1).sum();
            let rows = (!filtered).then(|| u64::try_from(rows).unwrap_or(u64::MAX));
            return KeySplit::all(Some(&*key), integer_ranges(&spans, max), &order, rows);
        }
        let ranges = self.key_ranges(connection, table, &key, max)?;
        KeySplit::all(Some(&*key), ranges, &order, None)
    }

    /// Where rowids really are: the whole width in equal spans, each narrowed to its first and
    /// last rowid. Two look-ups in the tree for each span, however wide it is.
    fn rowid_spans(
        &self,
        connection: &Connection,
        table: &Table,
        key: &str,
        max: u32,
    ) -> Result<Vec<(i128, i128)>> {
        const PROBES: u32 = 16;
        let (key, name) = (quoted(key), quoted(&table.name.table));
        let ends = format!(
            "SELECT (SELECT min({key}) FROM main.{name} WHERE {key} BETWEEN ?1 AND ?2), \
             (SELECT max({key}) FROM main.{name} WHERE {key} BETWEEN ?1 AND ?2)"
        );
        let look = || -> rusqlite::Result<Vec<(i128, i128)>> {
            let mut statement = connection.prepare(&ends)?;
            let mut narrow = |low: i128, high: i128| {
                statement.query_row((low as i64, high as i64), |row| {
                    let ends: (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
                    Ok(ends.0.zip(ends.1).map(|(low, high)| (low.into(), high.into())))
                })
            };
            let Some((low, high)) = narrow(i64::MIN.into(), i64::MAX.into())? else {
                return Ok(Vec::new());
            };
            let count = if max > 1 { max.min(256) * PROBES } else { 1 };
            let mut spans = Vec::new();
            for (low, high) in equal_spans(low, high, count) {
                spans.extend(narrow(low, high)?);
            }
            Ok(spans)
        };
        look().map_err(|error| failure("look at the table's rowids", &error))
    }

    /// Ranges of any key: the database says where its boundaries lie, in its own order, and which
    /// of them are equal under the key's collation.
    fn key_ranges(
        &self,
        connection: &Connection,
        table: &Table,
        key: &str,
        max: u32,
    ) -> Result<Vec<KeyRange>> {
        if max == 1 {
            return Ok(vec![KeyRange::ALL]);
        }
        let (key, name) = (quoted(key), quoted(&table.name.table));
        let count = format!("SELECT count({key}) FROM main.{name}");
        let every_nth = format!(
            "SELECT DISTINCT k FROM (SELECT {key} AS k, row_number() OVER (ORDER BY {key}) - 1 AS n \
             FROM main.{name} WHERE {key} IS NOT NULL) WHERE n > 0 AND n % ?1 = 0 ORDER BY k"
        );
        let look = || -> rusqlite::Result<Vec<KeyValue>> {
            let rows: i64 = connection.query_row(&count, [], |row| row.get(0))?;
            let mut statement = connection.prepare(&every_nth)?;
            let mut found = statement.query([(rows + i64::from(max) - 1) / i64::from(max)])?;
            let mut boundaries = Vec::new();
            while let Some(row) = found.next()? {
                // Text that is not UTF-8 cannot be a boundary; its rows fall to the range before.
                boundaries.extend(key_value(row.get_ref(0)?));
            }
            Ok(boundaries)
        };
        let boundaries = look().map_err(|error| failure("look for split boundaries", &error))?;
        Ok(ranges_between(boundaries))
    }
}

impl TableReader for SqliteReader {
    fn identity(&self) -> Result<String> {
        Ok(match self.source.what()? {
            What::Table(name) => name.table.to_ascii_lowercase(),
            What::Query(query) => query.clone(),
        })
    }
}

impl Reader for SqliteReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let path = self.path.display();
        let connection = match self.connect() {
            Ok(connection) => connection,
            Err(error) => {
                let detail = error.to_string();
                return Ok(vec![Finding { stage: "file".into(), ok: false, detail }]);
            }
        };
        let file = Finding { stage: "file".into(), ok: true, detail: format!("opened `{path}`") };
        if !self.source.is_named() {
            return Ok(vec![file]);
        }
        let columns = self.columns(&connection);
        let ok = columns.is_ok();
        let detail = match columns {
            Ok(columns) => format!("{} columns", columns.len()),
            Err(error) => error.to_string(),
        };
        Ok(vec![file, Finding { stage: "source".into(), ok, detail }])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        catalog::tables(&self.connect()?)
    }

    fn schema(&self) -> Result<SourceSchema> {
        let connection = self.connect()?;
        let columns = self.columns(&connection)?;
        let keys = match self.source.what()? {
            What::Table(name) => {
                catalog::table(&connection, name)?.keys.into_iter().map(|key| key.key).collect()
            }
            What::Query(_) => Vec::new(),
        };
        let untyped = columns.iter().filter(|column| column.inferred);
        let notes = untyped.map(|column| {
            format!(
                "column `{}` has no declared type: it is read as text unless the target or \
                 [reader.schema] says otherwise, and blobs in it are dirty rows",
                column.name
            )
        });
        Ok(SourceSchema { keys, notes: notes.collect(), columns })
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let own = self.columns(&self.connect()?)?;
        let produced = wanted.iter().map(|wanted| {
            let same = |column: &&Column| column.name.eq_ignore_ascii_case(&wanted.name);
            let own = own.iter().find(same).ok_or_else(|| {
                let message = format!("the source has no column `{}`", wanted.name);
                Error::new(ErrorKind::Schema, message).hint(known_columns(&own))
            })?;
            let mut column = own.clone();
            column.name.clone_from(&wanted.name);
            column.nullable = own.nullable && wanted.nullable;
            if reads_as(own, &wanted.logical) {
                column.logical = wanted.logical.clone();
            }
            Ok(column)
        });
        produced.collect()
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        match self.source.what()? {
            What::Query(_) => KeySplit::all(None, vec![KeyRange::ALL], &[], None),
            What::Table(name) => {
                let connection = self.connect()?;
                let table = catalog::table(&connection, name)?;
                self.table_splits(&connection, &table, request.max.max(1))
            }
        }
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let data: KeySplit = decode_split(split)?;
        let after = after.map(|position| data.key_after(position)).transpose()?;
        let connection = self.connect()?;
        let plan = self.scan_plan(&connection, &data, columns, after.as_deref())?;
        Ok(Box::new(Scan::start(connection, plan, self.host.cancel())?))
    }
}

impl SqliteReader {
    fn scan_plan(
        &self,
        connection: &Connection,
        data: &KeySplit,
        columns: &[Column],
        after: Option<&[KeyValue]>,
    ) -> Result<ScanPlan> {
        let mut plan = ScanPlan {
            sql: String::new(),
            values: Vec::new(),
            columns: columns.to_vec(),
            indexes: (0..columns.len()).collect(),
            key_columns: data.order.len(),
            key_name: String::new(),
            source: "query".to_owned(),
        };
        match self.source.what()? {
            What::Query(query) => {
                plan.indexes = query_indexes(connection, query, columns)?;
                plan.sql.clone_from(query);
            }
            What::Table(name) => {
                let table = catalog::table(connection, name)?;
                (plan.sql, plan.values) = self.select(&table, data, columns, after)?;
                plan.source.clone_from(&table.name.table);
                if table.rowid.is_some() && data.order.len() == 1 {
                    plan.key_name = "rowid".to_owned();
                }
            }
        }
        Ok(plan)
    }

    /// The columns and, behind them, the key by which the rows are ordered.
    fn select(
        &self,
        table: &Table,
        data: &KeySplit,
        columns: &[Column],
        after: Option<&[KeyValue]>,
    ) -> Result<(String, Vec<KeyValue>)> {
        if let Some(gone) = columns.iter().find(|column| table.column(&column.name).is_none()) {
            return Err(no_such_column(&gone.name, table));
        }
        let names = columns.iter().map(|column| column.name.as_str());
        let order: Vec<_> = data.order.iter().map(String::as_str).collect();
        let selected: Vec<_> = names.chain(order.iter().copied()).collect();
        let select = Select {
            table: &table.name,
            columns: &selected,
            filter: self.source.filter.as_deref(),
            range: data.column.as_deref().map(|column| (column, &data.range)),
            order: &order,
            after,
        };
        Ok(select.sql(&SqliteDialect))
    }
}

/// The columns of a total order that reading can start in the middle of.
fn natural_order(table: &Table) -> Vec<String> {
    match &table.rowid {
        Some(rowid) => vec![rowid.clone()],
        // Only without a rowid does a primary key keep NULL out.
        None if table.kind == catalog::TableKind::Table => match table.primary_key() {
            key if key
                .iter()
                .all(|name| table.column(name).is_some_and(|c| !c.column.nullable)) =>
            {
                key.to_vec()
            }
            _ => Vec::new(),
        },
        None => Vec::new(),
    }
}

/// Whether values of the column can be read in that type with the same outcome for every value.
fn reads_as(own: &Column, wanted: &LogicalType) -> bool {
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

fn query_columns(connection: &Connection, query: &str) -> Result<Vec<Column>> {
    let statement = connection.prepare(query).map_err(|error| bad_query(&error))?;
    if !statement.readonly() {
        return Err(Error::new(ErrorKind::Options, "`query` does more than read"));
    }
    let column = |column: rusqlite::Column<'_>| {
        let declared = column.decl_type().unwrap_or_default();
        let logical = logical_of(declared);
        let inferred = logical.is_none();
        let mut made = Column::new(column.name(), logical.unwrap_or(LogicalType::TEXT), true);
        (made.native, made.inferred) = (declared.to_owned(), inferred);
        made
    };
    let columns: Vec<_> = statement.columns().map(column).collect();
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].iter().any(|other| other.name.eq_ignore_ascii_case(&column.name)) {
            let message = format!("`query` has two columns named `{}`", column.name);
            return Err(Error::new(ErrorKind::Options, message).hint("name one of them with AS"));
        }
    }
    Ok(columns)
}

/// Where each wanted column stands in the query's rows.
fn query_indexes(connection: &Connection, query: &str, columns: &[Column]) -> Result<Vec<usize>> {
    let own = query_columns(connection, query)?;
    let find = |wanted: &Column| {
        own.iter().position(|column| column.name.eq_ignore_ascii_case(&wanted.name)).ok_or_else(
            || Error::new(ErrorKind::Schema, format!("the query has no column `{}`", wanted.name)),
        )
    };
    columns.iter().map(find).collect()
}

fn bad_query(error: &rusqlite::Error) -> Error {
    let mut mapped = failure("prepare `query`", error);
    if mapped.kind == ErrorKind::Other {
        mapped.kind = ErrorKind::Options;
    }
    mapped
}

fn no_such_column(name: &str, table: &Table) -> Error {
    let message = format!("table `{}` has no column `{name}`", table.name.table);
    Error::new(ErrorKind::Schema, message).hint(known_columns(&table.columns))
}

/// A stored value as a key; `None` for NULL and for text that is not UTF-8.
pub(crate) fn key_value(value: ValueRef<'_>) -> Option<KeyValue> {
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => KeyValue::Integer(number.into()),
        ValueRef::Real(number) => KeyValue::Real(number.to_bits()),
        ValueRef::Text(bytes) => KeyValue::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
        ValueRef::Blob(bytes) => KeyValue::Bytes(bytes.to_vec()),
    })
}
