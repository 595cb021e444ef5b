//! The reader: what a table or query offers, and the statement that reads one split of it. How it
//! is divided is `splits`' business, the rows are `scan`'s.

use std::sync::Arc;

use transload_plugin_api::{
    Column, Error, ErrorKind, Finding, Host, LogicalType, Options, Position, ReadTask, Reader,
    Result, SourceSchema, Split, SplitRequest, TableInfo,
};
use transload_tables::{
    KeySplit, KeyValue, Select, Source, TableReader, What, decode_split, known_columns,
};

use crate::{
    catalog::{self, Table, TableColumn},
    check,
    connect::Connector,
    dialect::MysqlDialect,
    options::{Consistency, ReaderOptions, ZeroDates},
    query::{query_columns, wrapped},
    scan::{Scan, ScanPlan},
    session::Session,
    snapshot::{BEGIN, Begun, Snapshots},
    splits::{self, SplitData, is_integer, no_such_column},
};

/// Reads one table, view or query.
pub(crate) struct MysqlReader {
    connector: Arc<Connector>,
    options: ReaderOptions,
    pub(crate) source: Source,
    snapshots: Snapshots,
}

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let (options, address, sources) = ReaderOptions::parse(options)?;
    let connector = Arc::new(Connector::new(address, host.clone()));
    sources.reader(|source| {
        let (connector, options) = (Arc::clone(&connector), options.clone());
        Ok(MysqlReader { connector, options, source, snapshots: Snapshots::default() })
    })
}

impl MysqlReader {
    fn connect(&self) -> Result<Session> {
        self.connector.connect(self.connector.host.cancel())
    }

    pub(crate) fn columns(&self, session: &mut Session) -> Result<Vec<TableColumn>> {
        let mut columns = match self.source.what()? {
            What::Table(name) => catalog::table(session, name)?.columns,
            What::Query(query) => query_columns(session, query)?,
        };
        if self.options.zero_dates == ZeroDates::Text {
            for column in columns.iter_mut().filter(|column| column.is_dated()) {
                column.column.logical = LogicalType::TEXT;
            }
        }
        Ok(columns)
    }

    /// What the table is divided into, and whether the parts share one state.
    fn parts(&self, table: &Table, max: u32) -> Result<(Vec<SplitData>, Option<String>)> {
        let mut session = self.connect()?;
        let key = self.source.split_key.as_deref();
        if self.options.consistency == Consistency::Split {
            return Ok((splits::divide(&mut session, table, key, max)?, None));
        }
        if !table.view && !table.is_transactional() {
            let message = format!("engine {} has no snapshots", table.engine);
            return Err(Error::new(ErrorKind::Unsupported, message)
                .at(format!("table `{}`", table.name))
                .hint("leave `consistency` out"));
        }
        let mut parts = splits::divide(&mut session, table, key, max)?;
        if parts.len() > 1 {
            match self.snapshots.begin(&self.connector, &mut session, table, parts.len())? {
                Begun::Held(names) => {
                    parts.iter_mut().zip(names).for_each(|(part, name)| part.snapshot = Some(name));
                }
                Begun::Refused(reason) => {
                    let part = splits::divide(&mut session, table, key, 1)?;
                    return Ok((
                        part.into_iter().map(SplitData::in_one_state).collect(),
                        Some(reason),
                    ));
                }
            }
        }
        Ok((parts.into_iter().map(SplitData::in_one_state).collect(), None))
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
                    columns.iter().map(|column| self.still(&own, column)).collect::<Result<_>>()?;
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

    /// The source's column, if it still is what the plan was made for.
    fn still<'a>(&self, own: &'a [TableColumn], wanted: &Column) -> Result<&'a TableColumn> {
        let found = find(own, wanted)?;
        let as_text = self.options.zero_dates == ZeroDates::Text && found.is_dated();
        if reads_as(found, &wanted.logical) || (as_text && wanted.logical == LogicalType::TEXT) {
            return Ok(found);
        }
        let message = format!(
            "column `{}` is `{}` now, and the plan was made for `{}`",
            wanted.name, found.column.native, wanted.logical
        );
        Err(Error::new(ErrorKind::Schema, message)
            .hint("the source has changed since the plan: run the job again"))
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
            let own = self.still(&table.columns, column)?;
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
            if let Ok(what) = self.source.what() {
                let columns = self.columns(&mut session);
                check::source(&mut found, &mut session, what, columns);
            }
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
            if self.options.zero_dates == ZeroDates::Null {
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
        let What::Table(name) = self.source.what()? else {
            return Ok(vec![SplitData::all(Vec::new()).split(None)?]);
        };
        let table = catalog::table(&mut self.connect()?, name)?;
        let (parts, remark) = self.parts(&table, request.max.max(1))?;
        let rows = table.rows.filter(|_| self.source.filter.is_none());
        let rows = rows.map(|rows| rows / parts.len().max(1) as u64);
        let mut splits: Vec<_> =
            parts.iter().map(|part| part.split(rows)).collect::<Result<_>>()?;
        if let Some((split, remark)) = splits.first_mut().zip(remark) {
            split.label.push_str(&remark);
        }
        Ok(splits)
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let data: SplitData = decode_split(split)?;
        let after = after.map(|position| data.key_after(position)).transpose()?;
        let mut session = match &data.snapshot {
            Some(name) => self.snapshots.take(name)?,
            None => {
                let mut session = self.connect()?;
                session.run("begin to read", BEGIN)?;
                session
            }
        };
        let plan = self.scan_plan(&mut session, &data.part, columns, after.as_deref())?;
        Ok(Box::new(Scan::start(session, plan)?))
    }
}

fn find<'a>(own: &'a [TableColumn], wanted: &Column) -> Result<&'a TableColumn> {
    own.iter().find(|own| own.column.name.eq_ignore_ascii_case(&wanted.name)).ok_or_else(|| {
        Error::new(ErrorKind::Schema, format!("the source has no column `{}`", wanted.name))
            .hint(known_columns(own))
    })
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
