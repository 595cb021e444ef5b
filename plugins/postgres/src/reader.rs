//! The reader: schema, splits, and the statement that reads one of them. The rows are the business
//! of `scan`, the choice of splits of `splits`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use transload_plugin_api::{
    Column, Error, ErrorKind, Finding, Host, LogicalType, Options, Position, ReadTask, Reader,
    Result, SourceSchema, Split, SplitRequest, TableInfo,
};
use transload_tables::{Relation as What, Shard, Source, Sources, decode_split, unordered};

use crate::{
    catalog, check,
    connect::Connector,
    dialect::{literal, quoted, quoted_table, range_condition},
    options::{Address, Consistency, ReaderOptions, reader_specs},
    relation::{Relation, find_column, trimmed},
    scan::{Scan, ScanPlan},
    session::Session,
    split_data::{SplitData, SplitRows},
    splits,
    types::{Wire, refuse_geometry},
};

/// Reads one table, view or query.
pub(crate) struct PostgresReader {
    connector: Connector,
    options: ReaderOptions,
    source: Source,
    /// One for all tables that are read as one, so that they share a snapshot.
    looking: Arc<Mutex<Looking>>,
}

/// The session that looks around and, where splits share one, holds the snapshot open.
#[derive(Default)]
struct Looking {
    session: Option<Session>,
    snapshot: Option<String>,
}

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let connector = Connector::reading(Address::parse(options)?, host.clone());
    let parsed: ReaderOptions = options.parse(&reader_specs())?;
    let looking = Arc::default();
    Sources::parse(options, Ok)?.reader(|source| {
        let (connector, options) = (connector.clone(), parsed.clone());
        Ok(PostgresReader { connector, options, source, looking: Arc::clone(&looking) })
    })
}

impl PostgresReader {
    fn looking(&self) -> MutexGuard<'_, Looking> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the session that looks around.
    fn look<T>(
        &self,
        what: impl FnOnce(&mut Session, &mut Option<String>) -> Result<T>,
    ) -> Result<T> {
        let mut looking = self.looking();
        let Looking { session, snapshot } = &mut *looking;
        if session.as_mut().is_none_or(Session::is_lost) {
            // The snapshot has gone with the session that held it.
            (*session, *snapshot) = (None, None);
        }
        let session = match session {
            Some(session) => session,
            None => session.insert(self.connector.connect()?),
        };
        what(session, snapshot)
    }

    fn scan_plan(
        &self,
        session: &mut Session,
        data: &SplitData,
        columns: &[Column],
    ) -> Result<ScanPlan> {
        let own = Relation::find(session, &self.source)?.columns();
        let (mut selected, mut wires) = (Vec::new(), Vec::new());
        for wanted in columns {
            let found = find_column(&own, &wanted.name)?;
            let name = quoted(&wanted.name);
            let cast = if found.kind.by_text { "::text" } else { "" };
            selected.push(format!("{name}{cast}"));
            wires.push(found.kind.wire.clone());
        }
        let (from, source) = match self.source.relation()? {
            What::Table(name) => (quoted_table(name), name.to_string()),
            // The line break ends a comment that the query may end in.
            What::Query(query) => (format!("({}\n) AS q", trimmed(query)), "query".to_owned()),
        };
        let mut conditions: Vec<_> =
            self.source.filter.iter().map(|filter| format!("({filter}\n)")).collect();
        conditions.extend(rows_condition(&data.rows));
        let mut sql = format!("SELECT {} FROM {from}", selected.join(", "));
        if !conditions.is_empty() {
            sql = format!("{sql} WHERE {}", conditions.join(" AND "));
        }
        let copy = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
        Ok(ScanPlan { copy, columns: columns.to_vec(), wires, source })
    }
}

fn rows_condition(rows: &SplitRows) -> Option<String> {
    match rows {
        SplitRows::All => None,
        SplitRows::Keys { column, native, range } => range_condition(column, native, range),
        SplitRows::Pages { from, to } => Some(match to {
            Some(to) => format!("ctid >= '({from},0)'::tid AND ctid < '({to},0)'::tid"),
            None => format!("ctid >= '({from},0)'::tid"),
        }),
    }
}

impl Shard for PostgresReader {
    fn identity(&self) -> Result<String> {
        match self.source.relation()? {
            What::Table(name) => {
                self.look(|session, _| Ok(catalog::table(session, name)?.name.to_string()))
            }
            What::Query(query) => Ok(query.clone()),
        }
    }
}

impl Reader for PostgresReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.connector);
        if let Some(mut session) = session {
            check::reading(&mut found, &mut session);
            check::source(&mut found, &mut session, &self.source);
        }
        Ok(found.into_findings())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.look(|session, _| catalog::tables(session))
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.source.relation()?;
        let found = self.look(|session, _| Relation::find(session, &self.source))?;
        let columns = found.columns();
        let keys = match &found {
            Relation::Table(table) => table.api_keys(),
            Relation::Query(_) => Vec::new(),
        };
        let by_text = columns.iter().filter(|column| column.kind.by_text).map(|column| {
            format!(
                "column `{}` is `{}` and read as text",
                column.column.name, column.column.native
            )
        });
        let notes = by_text.collect();
        Ok(SourceSchema {
            columns: columns.into_iter().map(|column| column.column).collect(),
            keys,
            notes,
        })
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let own = self.look(|session, _| Relation::find(session, &self.source))?.columns();
        let produced = wanted.iter().map(|wanted| {
            let found = find_column(&own, &wanted.name)?;
            refuse_geometry(&found.column)?;
            let mut column = found.column.clone();
            column.nullable = column.nullable && wanted.nullable;
            // The wire's numbers are decimal digits: any decimal type is made as easily.
            let is_decimal = matches!(wanted.logical, LogicalType::Decimal { .. });
            if found.kind.wire == Wire::Numeric && is_decimal {
                column.logical = wanted.logical.clone();
            }
            Ok(column)
        });
        produced.collect()
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        self.look(|session, snapshot| {
            let shared = self.options.consistency == Consistency::Snapshot;
            let several = request.max > 1 || self.source.is_shard;
            if shared && several && snapshot.is_none() {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                session.run("begin a snapshot", begin)?;
                let sql = "SELECT pg_catalog.pg_export_snapshot()";
                *snapshot = Some(session.text("export a snapshot", sql, &[])?);
            }
            let relation = Relation::find(session, &self.source)?;
            let max = request.max.max(1);
            splits::divide(&self.source, session, &relation, max, snapshot.as_deref())
        })
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let data: SplitData = decode_split(split)?;
        if after.is_some() {
            return Err(unordered());
        }
        let mut session = self.connector.connect()?;
        begin(&mut session, data.snapshot.as_deref())?;
        let plan = self.scan_plan(&mut session, &data, columns)?;
        Ok(Box::new(Scan::start(session, plan)?))
    }
}

/// Begins to read, in the snapshot that the split names.
fn begin(session: &mut Session, snapshot: Option<&str>) -> Result<()> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let Some(snapshot) = snapshot else { return session.run("begin to read", begin) };
    let sql = format!("{begin}; SET TRANSACTION SNAPSHOT {}", literal(snapshot));
    session.run("enter the snapshot", &sql).map_err(|error| {
        let gone = matches!(error.code.as_str(), "PG-22023" | "PG-42704");
        if !gone {
            return error;
        }
        let message = "the snapshot that the splits share is gone";
        Error::new(ErrorKind::NotFound, message)
            .caused_by(&error)
            .hint("plan again; it lives as long as the process that has made the splits")
    })
}
