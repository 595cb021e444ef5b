//! The reader: what a table or query offers, and how its rows are divided. The reading of one
//! split is in `scan`.

use std::sync::Arc;

use transload_plugin_api::{
    Column, Error, ErrorKind, Finding, Host, LogicalType, Options, Position, ReadTask, Reader,
    Result, SourceSchema, Split, SplitRequest, TableInfo,
};
use transload_sql::{
    Dialect as _, KeyRange, KeySplit, KeyValue, Select, Source, TableReader, What, decode_split,
    equal_spans, integer_ranges, known_columns, ranges_between, with_null_range,
};

use crate::{
    answer::ResultColumn,
    catalog::{self, Table, TableColumn},
    check,
    decode::kind,
    dialect::{MysqlDialect, quoted},
    options::{Consistency, ReaderOptions},
    scan::{Scan, ScanPlan},
    session::Session,
    stage::in_full,
    types::Native,
    writer::Connector,
};

/// Reads one table, view or query.
pub(crate) struct MysqlReader {
    connector: Arc<Connector>,
    options: ReaderOptions,
    pub(crate) source: Source,
}

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let (options, address, sources) = ReaderOptions::parse(options)?;
    let connector = Arc::new(Connector::new(address, host.clone()));
    sources.reader(|source| {
        let (connector, options) = (Arc::clone(&connector), options.clone());
        Ok(MysqlReader { connector, options, source })
    })
}

impl MysqlReader {
    fn connect(&self) -> Result<Session> {
        self.connector.connect(self.connector.host.cancel())
    }

    pub(crate) fn columns(&self, session: &mut Session) -> Result<Vec<TableColumn>> {
        match self.source.what()? {
            What::Table(name) => Ok(catalog::table(session, name)?.columns),
            What::Query(query) => query_columns(session, query),
        }
    }

    fn ranges(
        &self,
        session: &mut Session,
        table: &Table,
        column: &TableColumn,
        max: u32,
    ) -> Result<Vec<KeyRange>> {
        // NULL keys take a split of their own.
        let max = if column.column.nullable { max - 1 } else { max };
        if max < 2 {
            return Ok(vec![KeyRange::ALL]);
        }
        let (key, name) = (quoted(&column.column.name), in_full(&table.name));
        let ranges = if is_integer(&column.column.logical) {
            let spans = integer_spans(session, &name, &key, max)?;
            integer_ranges(&spans, max)
        } else {
            ranges_between(boundaries(session, &name, &key, max)?)
        };
        Ok(if column.column.nullable { with_null_range(ranges) } else { ranges })
    }

    fn table_splits(&self, session: &mut Session, table: &Table, max: u32) -> Result<Vec<Split>> {
        let order = natural_order(table);
        let named = self.source.split_key.as_deref();
        let column = match named {
            Some(name) => Some(table.column(name).ok_or_else(|| no_such_column(name, table))?),
            None => order.first().and_then(|name| table.column(name)),
        };
        let rows = table.rows.filter(|_| self.source.filter.is_none());
        let Some(column) = column else {
            return KeySplit::all(None, vec![KeyRange::ALL], &order, rows);
        };
        if !is_key(column) {
            let message = format!(
                "`{}` is `{}`: split keys are integers, text or bytes",
                column.column.name, column.column.native
            );
            return Err(Error::new(ErrorKind::Unsupported, message).at("option `split_key`"));
        }
        let ranges = self.ranges(session, table, column, max)?;
        // Another key's ranges would have to be sorted for the natural order.
        let natural = order.first() == Some(&column.column.name);
        let order = if natural { order } else { Vec::new() };
        KeySplit::all(Some(&*column.column.name), ranges, &order, rows)
    }

    fn scan_plan(
        &self,
        session: &mut Session,
        data: &KeySplit,
        columns: &[Column],
        after: Option<&[KeyValue]>,
    ) -> Result<ScanPlan> {
        let mut plan = ScanPlan {
            sql: String::new(),
            values: Vec::new(),
            columns: columns.to_vec(),
            wanted: columns.len(),
            indexes: None,
            key: Vec::new(),
            no_empty: Vec::new(),
            zero_dates: self.options.zero_dates,
            source: "query".to_owned(),
        };
        match self.source.what()? {
            What::Query(query) => {
                // The binary rows hold all columns, in the query's order.
                let own = query_columns(session, query)?;
                let list: Vec<_> =
                    columns.iter().map(|column| find(&own, column)).collect::<Result<_>>()?;
                let names: Vec<_> = list.iter().map(|own| own.column.name.as_str()).collect();
                plan.sql = wrapped(query, &names);
            }
            What::Table(name) => {
                let table = catalog::table(session, name)?;
                self.select(&table, data, after, &mut plan)?;
                plan.source = table.name.to_string();
            }
        }
        Ok(plan)
    }

    /// The columns and, behind them, what of the key is not among them.
    fn select(
        &self,
        table: &Table,
        data: &KeySplit,
        after: Option<&[KeyValue]>,
        plan: &mut ScanPlan,
    ) -> Result<()> {
        for name in &data.order {
            let own = table.column(name).ok_or_else(|| no_such_column(name, table))?;
            let there = plan.columns.iter().position(|column| {
                column.name.eq_ignore_ascii_case(name) && column.logical == own.column.logical
            });
            plan.key.push(there.unwrap_or(plan.columns.len()));
            if there.is_none() {
                plan.columns.push(own.column.clone());
            }
        }
        for column in &plan.columns {
            let own = table.column(&column.name);
            let own = own.ok_or_else(|| no_such_column(&column.name, table))?;
            let labels = &own.native.labels;
            let empty = labels.iter().any(String::is_empty);
            plan.no_empty.push(own.native.name == "enum" && !empty);
        }
        let names: Vec<_> = plan.columns.iter().map(|column| column.name.as_str()).collect();
        // A row has at least one column.
        let names = if names.is_empty() {
            table.columns.first().map(|column| column.column.name.as_str()).into_iter().collect()
        } else {
            names
        };
        let order: Vec<_> = data.order.iter().map(String::as_str).collect();
        let select = Select {
            table: &table.name,
            columns: &names,
            filter: self.source.filter.as_deref(),
            range: data.column.as_deref().map(|column| (column, &data.range)),
            order: &order,
            after,
        };
        (plan.sql, plan.values) = select.sql(&MysqlDialect);
        Ok(())
    }
}

impl TableReader for MysqlReader {
    fn identity(&self) -> Result<String> {
        Ok(match self.source.what()? {
            What::Table(name) => name.to_string(),
            What::Query(query) => query.clone(),
        })
    }
}

impl Reader for MysqlReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.connector);
        if let Some(mut session) = session {
            check::reading(&mut found, &mut session, &self.connector);
            check::source(&mut found, &mut session, self);
        }
        Ok(found.into_findings())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.connector.tables()
    }

    fn schema(&self) -> Result<SourceSchema> {
        let what = self.source.what()?;
        let mut session = self.connect()?;
        let columns = self.columns(&mut session)?;
        let strange = columns.iter().filter(|column| !column.travels());
        let notes = strange.map(|column| {
            format!(
                "column `{}` is `{}`, which is not supported: leave it out of `columns`",
                column.column.name, column.column.native
            )
        });
        let notes = notes.collect();
        let keys = match what {
            What::Table(name) => catalog::table(&mut session, name)?.keys,
            What::Query(_) => Vec::new(),
        };
        let columns = columns.into_iter().map(|column| column.column).collect();
        Ok(SourceSchema { columns, keys, notes })
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let own = self.columns(&mut self.connect()?)?;
        let produced = wanted.iter().map(|wanted| {
            let own = find(&own, wanted)?;
            if !own.travels() {
                let message = format!(
                    "column `{}` is `{}`, which is not supported",
                    own.column.name, own.column.native
                );
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .hint("leave it out of `columns`, or make text of it in a `query`"));
            }
            let mut column = own.column.clone();
            column.name.clone_from(&wanted.name);
            column.nullable = own.column.nullable && wanted.nullable;
            if self.options.zero_dates == crate::options::ZeroDates::Null {
                column.nullable = wanted.nullable;
            }
            if reads_as(own, &wanted.logical) {
                column.logical = wanted.logical.clone();
            }
            Ok(column)
        });
        produced.collect()
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        let max = match self.options.consistency {
            Consistency::Split => request.max.max(1),
            Consistency::Snapshot => 1,
        };
        match self.source.what()? {
            What::Query(_) => KeySplit::all(None, vec![KeyRange::ALL], &[], None),
            What::Table(name) => {
                let mut session = self.connect()?;
                let table = catalog::table(&mut session, name)?;
                self.table_splits(&mut session, &table, max)
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
        let mut session = self.connect()?;
        let plan = self.scan_plan(&mut session, &data, columns, after.as_deref())?;
        Ok(Box::new(Scan::start(session, plan)?))
    }
}

fn find<'a>(own: &'a [TableColumn], wanted: &Column) -> Result<&'a TableColumn> {
    own.iter().find(|own| own.column.name.eq_ignore_ascii_case(&wanted.name)).ok_or_else(|| {
        Error::new(ErrorKind::Schema, format!("the source has no column `{}`", wanted.name))
            .hint(known_columns(own))
    })
}

fn is_integer(logical: &LogicalType) -> bool {
    use LogicalType as T;
    matches!(
        logical,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
    )
}

/// Whether ranges of the column can be bound and compared as the server orders them, and its
/// values fit into a position.
fn is_key(column: &TableColumn) -> bool {
    let short = column.native.arguments.first().is_some_and(|length| *length <= 191);
    let text = matches!(column.native.name.as_str(), "char" | "varchar" | "binary" | "varbinary");
    (is_integer(&column.column.logical) && column.native.name != "year") || (text && short)
}

/// The columns of a total order that reading can start in the middle of: the primary key.
fn natural_order(table: &Table) -> Vec<String> {
    let key = table.primary_key();
    let usable = key.iter().all(|name| table.column(name).is_some_and(is_key));
    if usable && key.len() <= 4 && !table.view { key.to_vec() } else { Vec::new() }
}

/// Where integer keys really are: the whole width in equal spans, each narrowed to its first and
/// last key. Two look-ups in the index for each span, however wide it is.
fn integer_spans(
    session: &mut Session,
    table: &str,
    key: &str,
    max: u32,
) -> Result<Vec<(i128, i128)>> {
    const PROBES: u32 = 16;
    let mut narrow = |condition: &str| -> Result<Option<(i128, i128)>> {
        let sql = format!("SELECT MIN({key}), MAX({key}) FROM {table}{condition}");
        let rows = session.rows("look for split boundaries", &sql)?;
        let cell = |at: usize| {
            rows.first().and_then(|row| row.get(at)?.as_deref()).and_then(|text| text.parse().ok())
        };
        Ok(cell(0).zip(cell(1)))
    };
    let Some((low, high)) = narrow("")? else { return Ok(Vec::new()) };
    let mut spans = Vec::new();
    for (low, high) in equal_spans(low, high, max.min(64) * PROBES) {
        spans.extend(narrow(&format!(" WHERE {key} BETWEEN {low} AND {high}"))?);
    }
    Ok(spans)
}

/// Boundaries of any key, by the server's own order; equal ones under its collation once.
fn boundaries(session: &mut Session, table: &str, key: &str, max: u32) -> Result<Vec<KeyValue>> {
    let doing = "look for split boundaries";
    let rows = session.rows(doing, &format!("SELECT COUNT({key}) FROM {table}"))?;
    let count = rows.first().and_then(|row| row.first()?.as_deref());
    let count: u64 = count.and_then(|text| text.parse().ok()).unwrap_or_default();
    let step = count.div_ceil(max.into()).max(1);
    let sql = format!(
        "SELECT DISTINCT HEX(k) FROM (SELECT CONVERT({key} USING utf8mb4) AS k, \
         ROW_NUMBER() OVER (ORDER BY {key}) - 1 AS n FROM {table} WHERE {key} IS NOT NULL) AS t \
         WHERE n > 0 AND n % {step} = 0"
    );
    let rows = session.rows(doing, &sql)?;
    let text = |row: Vec<Option<String>>| {
        let digits = row.into_iter().next().flatten()?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        String::from_utf8(bytes?).ok()
    };
    let mut found: Vec<String> = Vec::new();
    for boundary in rows.into_iter().filter_map(text) {
        found.push(boundary);
    }
    in_server_order(session, table, key, found)
}

/// Drops boundaries that the server does not hold for greater than the one before.
fn in_server_order(
    session: &mut Session,
    table: &str,
    key: &str,
    found: Vec<String>,
) -> Result<Vec<KeyValue>> {
    let mut kept: Vec<String> = Vec::new();
    for boundary in found {
        if let Some(before) = kept.last() {
            let literal = crate::dialect::text_literal;
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {table} WHERE {key} >= {0} AND {key} < {1})",
                literal(before),
                literal(&boundary)
            );
            let rows = session.rows("look for split boundaries", &sql)?;
            let greater = rows.first().and_then(|row| row.first()?.as_deref()) == Some("1");
            if !greater {
                continue;
            }
        }
        kept.push(boundary);
    }
    Ok(kept.into_iter().map(KeyValue::Text).collect())
}

/// Whether values of the column can be read in that type with the same outcome for every value.
fn reads_as(own: &TableColumn, wanted: &LogicalType) -> bool {
    use LogicalType as T;
    match (&own.column.logical, wanted) {
        (T::Int8 | T::UInt8, T::Boolean) => own.native.name == "tinyint",
        (own, wanted) if is_integer(own) => is_integer(wanted),
        (T::Decimal { .. }, T::Decimal { .. }) => true,
        (T::Duration, T::Time { precision }) => *precision <= 6,
        (T::Binary, T::Uuid) => own.native.arguments == [16] && own.native.name == "binary",
        (T::Timestamp { .. }, T::Timestamp { precision })
        | (T::TimestampTz { .. }, T::TimestampTz { precision }) => {
            *precision <= 6 && *precision >= own.native.fraction()
        }
        (own, wanted) => own == wanted,
    }
}

/// A query's columns by name; what the names leave out of the rows is not sent.
fn wrapped(query: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return format!("SELECT 1 FROM ({query}\n) AS t");
    }
    let mut list = String::new();
    MysqlDialect.list(names, &mut list);
    format!("SELECT {list} FROM ({query}\n) AS t")
}

fn query_columns(session: &mut Session, query: &str) -> Result<Vec<TableColumn>> {
    let cancel = session.cancel.clone();
    let sql = format!("SELECT * FROM ({query}\n) AS t");
    let prepared = session.prepare(&sql).map_err(|failure| {
        let mut error = failure.into_error("prepare `query`", &cancel);
        if error.kind == ErrorKind::Other {
            error.kind = ErrorKind::Options;
        }
        error
    })?;
    Ok(prepared.columns.iter().map(described).collect())
}

/// A column of a result as the server describes it.
fn described(found: &ResultColumn) -> TableColumn {
    const NOT_NULL: u16 = 1;
    const UNSIGNED: u16 = 32;
    const ENUM: u16 = 256;
    const BYTES: u16 = 63;
    let name = match found.kind {
        kind::TINY => "tinyint",
        kind::SHORT => "smallint",
        kind::LONG | kind::INT24 => "int",
        kind::LONGLONG => "bigint",
        kind::FLOAT => "float",
        kind::DOUBLE => "double",
        kind::NEWDECIMAL | 0 => "decimal",
        kind::DATE => "date",
        kind::TIME => "time",
        kind::DATETIME => "datetime",
        kind::TIMESTAMP => "timestamp",
        kind::YEAR => "year",
        kind::BIT => "bit",
        kind::JSON => "json",
        kind::GEOMETRY => "geometry",
        kind::NULL => "text",
        _ if found.flags & ENUM != 0 => "text",
        _ if found.charset == BYTES => "longblob",
        _ => "longtext",
    };
    let unsigned = found.flags & UNSIGNED != 0;
    let mut native = Native { name: name.to_owned(), unsigned, ..Native::default() };
    match name {
        "decimal" => {
            let point = u32::from(found.decimals > 0);
            let precision = found.length.saturating_sub(point + u32::from(!unsigned));
            native.arguments = vec![precision.clamp(1, 65), found.decimals.into()];
        }
        "time" | "datetime" | "timestamp" => {
            native.arguments = vec![if found.decimals <= 6 { found.decimals.into() } else { 6 }];
        }
        _ => {}
    }
    let logical = crate::types::logical_of(&native).unwrap_or(LogicalType::Binary);
    let mut column = Column::new(&found.name, logical, found.flags & NOT_NULL == 0);
    column.native = native.name.clone();
    TableColumn { column, native, auto_increment: false }
}

fn no_such_column(name: &str, table: &Table) -> Error {
    let message = format!("table `{}` has no column `{name}`", table.name);
    Error::new(ErrorKind::Schema, message).hint(known_columns(&table.columns))
}
