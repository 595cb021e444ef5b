//! The source of a job: what is asked of a driver when a table or query is read. The order of the
//! verbs is `transload_tables`'s, the rows `scan`'s.

use arrow_schema::Schema;
use transload_plugin_api::{
    Column, Error, Finding, Host, Options, ReadTask, Reader, Result, SplitRequest, TableInfo,
};
use transload_tables::{
    ConnectionStages, Description, Dialect, Division, KeyRange, KeySplit, KeyValue, ReadDatabase,
    Relation, ScanRequest, Select, Snapshot, Source, TableName, integer_ranges, no_such_column,
    read_as,
};

use crate::{
    dialect::StandardDialect,
    options::parse_reader,
    scan::Scan,
    session::Session,
    store::Store,
    types::{can_read, column_of},
};

/// A driver's database that tables are read from.
pub(crate) struct AdbcSource(Store);

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let (parsed, sources) = parse_reader(options)?;
    sources.into_reader(AdbcSource(Store::new(parsed, host)))
}

type Described = Description<Column, TableName>;
type Request<'a> = ScanRequest<'a, Column, TableName>;

/// A source with these columns. One that cannot be read is left out with a warning.
fn described(schema: &Schema, identity: String, table: Option<TableName>) -> Described {
    let (mut columns, mut warnings) = (Vec::new(), Vec::new());
    for field in schema.fields() {
        match column_of(field) {
            Some(column) => columns.push(column),
            None => warnings.push(format!(
                "column `{}` is left out: its type `{}` does not travel; convert it in a `query`",
                field.name(),
                field.data_type()
            )),
        }
    }
    Description { columns, keys: Vec::new(), notes: Vec::new(), warnings, identity, table }
}

/// A condition on an integer column, with its bounds as literals. The first range holds the NULLs.
fn condition(column: &str, range: &KeyRange) -> Result<Option<String>> {
    let column = StandardDialect.quoted(column);
    let literal = |bound: &KeyValue| match bound {
        KeyValue::Integer(value) => Ok(value.to_string()),
        _ => Err(Error::options("not a split of this reader")),
    };
    Ok(match range {
        KeyRange::Null => return Err(Error::options("not a split of this reader")),
        KeyRange::Between { from: None, to: None } => None,
        KeyRange::Between { from: None, to: Some(to) } => {
            Some(format!("({column} < {} OR {column} IS NULL)", literal(to)?))
        }
        KeyRange::Between { from: Some(from), to: None } => {
            Some(format!("{column} >= {}", literal(from)?))
        }
        KeyRange::Between { from: Some(from), to: Some(to) } => {
            Some(format!("{column} >= {} AND {column} < {}", literal(from)?, literal(to)?))
        }
    })
}

/// The statement that reads these columns of a table. The line break ends a comment that the job's
/// condition may end in.
fn select(table: &TableName, columns: &[&str], filter: Option<&str>, part: Option<&str>) -> String {
    let filter = match (filter, part) {
        (Some(filter), Some(part)) => Some(format!("({filter}\n) AND {part}")),
        (filter, part) => filter.or(part).map(str::to_owned),
    };
    let range = None;
    let filter = filter.as_deref();
    let select = Select { table, columns, filter, range, order: &[], after: None };
    select.sql(&StandardDialect).0
}

impl AdbcSource {
    /// The spans of a split key, from the smallest to the largest value.
    fn spans(
        session: &Session,
        table: &TableName,
        key: &str,
        filter: Option<&str>,
    ) -> Result<Vec<(i128, i128)>> {
        let column = StandardDialect.quoted(key);
        let mut sql = format!(
            "SELECT min({column}), max({column}) FROM {}",
            StandardDialect.quoted_table(table)
        );
        if let Some(filter) = filter {
            sql.push_str(&format!(" WHERE {filter}\n"));
        }
        let rows = session.texts("look at the split key", &sql)?;
        let bound = |at: usize| -> Option<i128> {
            rows.first()?.get(at)?.as_deref()?.split('.').next()?.parse().ok()
        };
        Ok(bound(0).zip(bound(1)).into_iter().collect())
    }
}

impl ReadDatabase for AdbcSource {
    const DIALECT: &'static (dyn Dialect + Sync) = &StandardDialect;
    const ORDER: &'static str = "a driver does not tell in which order it returns rows: read by the \
        plugin of that database, if there is one";

    type Session = Session;
    type Column = Column;
    type Table = TableName;

    fn connect(&self) -> Result<Session> {
        self.0.connect(self.0.host.cancel())
    }

    fn check(&self, source: &Source) -> Result<Vec<Finding>> {
        let mut stages = ConnectionStages::default();
        if let Some(session) = check_connection(&self.0, &mut stages)
            && let Ok(relation) = source.relation()
        {
            let found = self.describe(&mut { session }, relation);
            stages.report("query", found.map(|found| format!("{} columns", found.columns.len())));
        }
        Ok(stages.into_findings())
    }

    fn tables(&self, session: &mut Session) -> Result<Vec<TableInfo>> {
        session.tables()
    }

    fn describe(&self, session: &mut Session, relation: &Relation) -> Result<Described> {
        match relation {
            Relation::Query(query) => {
                let schema = session.result_schema("look at the query", query)?;
                Ok(described(&schema, query.clone(), None))
            }
            Relation::Table(name) => {
                let schema = session.table_rows_schema(name)?;
                Ok(described(&schema, name.to_string(), Some(name.clone())))
            }
        }
    }

    fn try_select(&self, session: &mut Session, sql: &str) -> Result<()> {
        session.result_schema("try the statement", sql).map(drop)
    }

    fn grant(&self, _session: &mut Session, _name: &TableName) -> Result<Option<String>> {
        Ok(None)
    }

    fn produces(&self, own: &Column, wanted: &Column) -> Result<Column> {
        Ok(read_as(own, wanted, can_read(&own.logical, &wanted.logical)))
    }

    fn divide(
        &self,
        session: &mut Session,
        source: &Source,
        description: &Described,
        request: &SplitRequest,
    ) -> Result<Vec<Division>> {
        let whole = || vec![Division::new(KeySplit::whole(Vec::new()), None)];
        let (Some(table), Some(key)) = (&description.table, &source.split_key) else {
            return Ok(whole());
        };
        let found = description.columns.iter().find(|column| column.name == *key);
        let column = found
            .ok_or_else(|| no_such_column(&StandardDialect, table, key, &description.columns))?;
        if !column.logical.family().contains("int") || column.logical.family() == "interval" {
            let message = format!("column `{key}` is `{}`, no integer", column.logical);
            return Err(Error::unsupported(message)
                .of_key("split_key")
                .hint("name an integer column, or leave `split_key` out"));
        }
        let spans = Self::spans(session, table, key, source.filter.as_deref())?;
        if spans.is_empty() || request.max < 2 {
            return Ok(whole());
        }
        let ranges = integer_ranges(&spans, request.max);
        let part = |range| KeySplit { column: Some(key.clone()), range, order: Vec::new() };
        Ok(ranges.into_iter().map(|range| Division::new(part(range), None)).collect())
    }

    fn enter(&self, _snapshot: &Snapshot) -> Result<Session> {
        self.connect()
    }

    fn scan(&self, session: Session, request: Request<'_>) -> Result<Box<dyn ReadTask>> {
        if request.columns.is_empty() {
            return Err(Error::schema("no column is wanted"));
        }
        let names: Vec<_> = request.columns.iter().map(|column| column.name.as_str()).collect();
        let (sql, source, indexes) = match request.source.relation()? {
            Relation::Table(name) => {
                let column = request.part.column.as_deref().unwrap_or_default();
                let range = condition(column, &request.part.range)?;
                let filter = request.source.filter.as_deref();
                let source = request.part.counted_rows(&name.table, None);
                (select(name, &names, filter, range.as_deref()), source, None)
            }
            Relation::Query(query) => (query.clone(), "query".to_owned(), Some(names.as_slice())),
        };
        let rows = session.select("read", &sql)?;
        let scan = Scan::new(rows, session, source, request.columns, indexes)?;
        Ok(Box::new(scan))
    }
}

/// The stages that both roles share.
pub(crate) fn check_connection(store: &Store, stages: &mut ConnectionStages) -> Option<Session> {
    let located = stages.add("driver", store.locate(), |found| match &found.manifest {
        Some(manifest) => format!("{}, by {}", found.library.display(), manifest.display()),
        None => found.library.display().to_string(),
    })?;
    let driver = stages.add("library", store.load(&located), |_| "it is loaded".to_owned())?;
    let connected = store.connect_by(&located, driver, store.host.cancel());
    stages.add("connection", connected, |_| "the driver has connected".to_owned())
}
