//! The reader: schema, splits, and the statement that reads one of them. The rows are the business
//! of `scan`, the choice of splits of `splits`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Kind;
use transload_plugin_api::{
    Column, Error, ErrorKind, Finding, Host, LogicalType, Options, Position, ReadTask, Reader,
    Result, SourceSchema, Split, SplitRequest, TableInfo,
};
use transload_tables::{
    KeyRange, Source, Sources, TableReader, What, decode_split, known_columns, unordered,
};

use crate::{
    catalog::{self, Table},
    check,
    dialect::{literal, quoted, quoted_table, range_condition},
    options::{Address, Consistency, ReaderOptions},
    scan::{Scan, ScanPlan},
    session::Session,
    splits,
    types::{ColumnType, TypeFacts, Wire, column_type, refuse_geometry},
};

/// Reads one table, view or query.
pub(crate) struct PostgresReader {
    address: Address,
    pub(crate) options: ReaderOptions,
    pub(crate) source: Source,
    host: Host,
    /// One for all tables that are read as one, so that they share a snapshot.
    looking: Arc<Mutex<Looking>>,
}

/// The session that looks around and, where splits share one, holds the snapshot open.
#[derive(Default)]
struct Looking {
    session: Option<Session>,
    snapshot: Option<String>,
}

/// What a split is about; travels as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitData {
    /// The exported snapshot to read in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
    pub(crate) part: Part,
}

/// Which rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    #[default]
    All,
    /// Rows by a key's range; `native` is the key's type.
    Keys { column: String, native: String, range: KeyRange },
    /// Pages of a table's file, from the first to before the last; the last split is open.
    Pages { from: u64, to: Option<u64> },
}

/// One column that can be read.
pub(crate) struct SourceColumn {
    pub(crate) column: Column,
    pub(crate) kind: ColumnType,
}

impl AsRef<Column> for SourceColumn {
    fn as_ref(&self) -> &Column {
        &self.column
    }
}

/// What is read, looked up.
pub(crate) enum Found {
    Table(Table),
    Query(Vec<SourceColumn>),
}

impl Found {
    pub(crate) fn columns(&self) -> Vec<SourceColumn> {
        match self {
            Self::Table(table) => table
                .columns
                .iter()
                .map(|it| SourceColumn { column: it.column.clone(), kind: it.kind.clone() })
                .collect(),
            Self::Query(columns) => columns
                .iter()
                .map(|it| SourceColumn { column: it.column.clone(), kind: it.kind.clone() })
                .collect(),
        }
    }
}

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let address = Address::parse(options)?;
    let parsed: ReaderOptions = options.parse()?;
    let looking = Arc::default();
    Sources::parse(options, Ok)?.reader(|source| {
        let (address, options, host) = (address.clone(), parsed.clone(), host.clone());
        Ok(PostgresReader { address, options, source, host, looking: Arc::clone(&looking) })
    })
}

impl PostgresReader {
    fn looking(&self) -> MutexGuard<'_, Looking> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the session that looks around.
    fn look<T>(&self, what: impl FnOnce(&Session, &mut Option<String>) -> Result<T>) -> Result<T> {
        let mut looking = self.looking();
        let Looking { session, snapshot } = &mut *looking;
        if session.as_ref().is_none_or(Session::is_lost) {
            // The snapshot has gone with the session that held it.
            (*session, *snapshot) = (None, None);
        }
        let session = match session {
            Some(session) => session,
            None => session.insert(Session::open_to_read(&self.address, &self.host)?),
        };
        what(session, snapshot)
    }

    pub(crate) fn find(&self, session: &Session) -> Result<Found> {
        match self.source.what()? {
            What::Table(name) => Ok(Found::Table(catalog::table(session, name)?)),
            What::Query(query) => query_columns(session, query).map(Found::Query),
        }
    }

    fn scan_plan(
        &self,
        session: &Session,
        data: &SplitData,
        columns: &[Column],
    ) -> Result<ScanPlan> {
        let own = self.find(session)?.columns();
        let (mut selected, mut wires) = (Vec::new(), Vec::new());
        for wanted in columns {
            let found = find_column(&own, &wanted.name)?;
            let name = quoted(&wanted.name);
            let cast = if found.kind.by_text { "::text" } else { "" };
            selected.push(format!("{name}{cast}"));
            wires.push(found.kind.wire.clone());
        }
        let (from, source) = match self.source.what()? {
            What::Table(name) => (quoted_table(name), name.to_string()),
            // The line break ends a comment that the query may end in.
            What::Query(query) => (format!("({}\n) AS q", trimmed(query)), "query".to_owned()),
        };
        let mut conditions: Vec<_> =
            self.source.filter.iter().map(|filter| format!("({filter}\n)")).collect();
        conditions.extend(part_condition(&data.part));
        let mut sql = format!("SELECT {} FROM {from}", selected.join(", "));
        if !conditions.is_empty() {
            sql = format!("{sql} WHERE {}", conditions.join(" AND "));
        }
        let copy = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
        Ok(ScanPlan { copy, columns: columns.to_vec(), wires, source })
    }
}

/// A query without the end that would end the statement around it.
pub(crate) fn trimmed(query: &str) -> &str {
    query.trim_end().trim_end_matches(';')
}

fn part_condition(part: &Part) -> Option<String> {
    match part {
        Part::All => None,
        Part::Keys { column, native, range } => range_condition(column, native, range),
        Part::Pages { from, to } => Some(match to {
            Some(to) => format!("ctid >= '({from},0)'::tid AND ctid < '({to},0)'::tid"),
            None => format!("ctid >= '({from},0)'::tid"),
        }),
    }
}

/// The columns of a query, told by the server without running it.
fn query_columns(session: &Session, query: &str) -> Result<Vec<SourceColumn>> {
    // As a subquery nothing that writes is accepted, nor a second statement.
    let sql = format!("SELECT * FROM ({}\n) AS q", trimmed(query));
    let statement =
        session.run("prepare `query`", session.client.prepare(&sql)).map_err(|error| {
            let kind = if error.kind == ErrorKind::Other { ErrorKind::Options } else { error.kind };
            Error { kind, ..error }
        })?;
    let mut columns: Vec<SourceColumn> = Vec::new();
    for found in statement.columns() {
        let name = found.name();
        if columns.iter().any(|other| other.column.name == name) {
            let message = format!("`query` has two columns named `{name}`");
            return Err(Error::new(ErrorKind::Options, message).hint("name one of them with AS"));
        }
        let mut base = found.type_().clone();
        while let Kind::Domain(below) = base.kind() {
            base = below.clone();
        }
        let element = match base.kind() {
            Kind::Array(element) => Some(element.oid()),
            _ => None,
        };
        let kind = column_type(TypeFacts {
            oid: base.oid(),
            modifier: found.type_modifier(),
            is_enum: matches!(base.kind(), Kind::Enum(_)),
            element,
        });
        let mut column = Column::new(name, kind.logical.clone(), true);
        column.native = found.type_().name().to_owned();
        columns.push(SourceColumn { column, kind });
    }
    Ok(columns)
}

pub(crate) fn find_column<'a>(own: &'a [SourceColumn], name: &str) -> Result<&'a SourceColumn> {
    own.iter().find(|column| column.column.name == name).ok_or_else(|| {
        Error::new(ErrorKind::Schema, format!("the source has no column `{name}`"))
            .hint(known_columns(own))
    })
}

impl TableReader for PostgresReader {
    fn identity(&self) -> Result<String> {
        match self.source.what()? {
            What::Table(name) => {
                self.look(|session, _| Ok(catalog::table(session, name)?.name.to_string()))
            }
            What::Query(query) => Ok(query.clone()),
        }
    }
}

impl Reader for PostgresReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.address, &self.host);
        if let Some(session) = session {
            check::reading(&mut found, &session);
            check::source(&mut found, &session, self);
        }
        Ok(found.into_findings())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.look(|session, _| catalog::tables(session))
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.source.what()?;
        let found = self.look(|session, _| self.find(session))?;
        let columns = found.columns();
        let keys = match &found {
            Found::Table(table) => table.api_keys(),
            Found::Query(_) => Vec::new(),
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
        let own = self.look(|session, _| self.find(session))?.columns();
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
                session.batch("begin a snapshot", begin)?;
                let sql = "SELECT pg_catalog.pg_export_snapshot()";
                *snapshot = Some(session.value("export a snapshot", sql, &[])?);
            }
            let found = self.find(session)?;
            splits::divide(self, session, &found, request.max.max(1), snapshot.as_deref())
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
        let session = Session::open_to_read(&self.address, &self.host)?;
        begin(&session, data.snapshot.as_deref())?;
        let plan = self.scan_plan(&session, &data, columns)?;
        Ok(Box::new(Scan::start(session, plan)?))
    }
}

/// Begins to read, in the snapshot that the split names.
fn begin(session: &Session, snapshot: Option<&str>) -> Result<()> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let Some(snapshot) = snapshot else { return session.batch("begin to read", begin) };
    let sql = format!("{begin}; SET TRANSACTION SNAPSHOT {}", literal(snapshot));
    session.batch("enter the snapshot", &sql).map_err(|error| {
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
