//! The source of a job: what MySQL and MariaDB do in their own way when a table or query is read.
//! The order of the verbs is `transload_tables`'s, the division `splits`'s, the rows `scan`'s.

use transload_plugin_api::{
    Column, DigestRequest, Error, Finding, Host, LogicalType, Options, ReadTask, Reader, Result,
    SplitRequest, TableInfo, TablePage, TableRequest,
};
use transload_tables::{
    Description, Dialect, Division, KeyRange, KeySplit, KeySql, Keys, RangeDigest, ReadDatabase,
    Relation, ScanRequest, Select, Snapshot, Source, TableName, TextRows, known_columns, read_as,
};

use crate::{
    catalog::{self, Table, TableColumn},
    check,
    connect::{Connector, Purpose},
    dialect::MysqlDialect,
    digest,
    native::is_native,
    options::{Consistency, ReaderOptions, ZeroDates},
    query::query_columns,
    scan::{Scan, ScanPlan},
    session::Session,
    snapshot::{BEGIN, Begun, Snapshots},
    splits, trial,
};

/// A server that tables are read from.
pub(crate) struct MysqlSource {
    connector: Connector,
    options: ReaderOptions,
    /// The columns that the job names, if it does.
    wanted: Option<Vec<String>>,
    snapshots: Snapshots,
}

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let wanted = options.columns.clone();
    let (options, address, sources) = ReaderOptions::parse(options)?;
    let connector = Connector::reading(address, host.clone());
    let snapshots = Snapshots::default();
    sources.into_reader(MysqlSource { connector, options, wanted, snapshots })
}

/// The hint where a shared state forbids to continue.
const WITHOUT_STATE: &str = "leave `consistency` out: each split then sees the state at its own \
    start, and is continued in the order of the primary key";

type Described = Description<TableColumn, Table>;
type Request<'a> = ScanRequest<'a, TableColumn, Table>;

impl MysqlSource {
    /// The columns as the options want them read.
    fn as_read(&self, mut columns: Vec<TableColumn>) -> Vec<TableColumn> {
        if self.options.zero_dates != ZeroDates::Reject {
            for column in columns.iter_mut().filter(|column| column.is_dated()) {
                column.column.native_form = None;
                if self.options.zero_dates == ZeroDates::Text {
                    column.column.logical = LogicalType::TEXT;
                }
            }
        }
        columns
    }

    /// Takes the columns out that `SELECT *` does not show, unless the job names them, and warns.
    fn without_invisible(&self, columns: &mut Vec<TableColumn>) -> Option<String> {
        let named = |column: &TableColumn| {
            let same = |name: &String| name.eq_ignore_ascii_case(&column.column.name);
            self.wanted.iter().flatten().any(same)
        };
        let hidden: Vec<_> = columns
            .iter()
            .filter(|column| column.invisible && !named(column))
            .map(|column| format!("`{}`", column.column.name))
            .collect();
        columns.retain(|column| !column.invisible || named(column));
        (!hidden.is_empty()).then(|| {
            let list = hidden.join(", ");
            format!("invisible columns are left out, `columns` can name them: {list}")
        })
    }

    /// The parts with the state that they share; one part where they cannot share one.
    fn in_one_state(
        &self,
        session: &mut Session,
        table: &Table,
        parts: Vec<KeySplit>,
    ) -> Result<Vec<Division>> {
        let division = |part, snapshot| Division { snapshot, ..Division::new(part, None) };
        if parts.len() == 1 {
            return Ok(parts.into_iter().map(|part| division(part, Snapshot::Single)).collect());
        }
        match self.snapshots.begin(&self.connector, session, table, parts.len())? {
            Begun::Held(names) => {
                let shared = parts.into_iter().zip(names.into_iter().map(Snapshot::Shared));
                Ok(shared.map(|(part, snapshot)| division(part, snapshot)).collect())
            }
            Begun::Refused(reason) => {
                let whole = parts.into_iter().take(1).map(|part| {
                    let part = KeySplit { range: KeyRange::ALL, ..part };
                    let mut whole = division(part, Snapshot::Single);
                    whole.label.push_str(&reason);
                    whole
                });
                Ok(whole.collect())
            }
        }
    }

    /// The statement of a table's split: the columns and, behind them, those of the key that are
    /// not among them.
    fn select_table(
        &self,
        request: &Request<'_>,
        table: &Table,
        plan: &mut ScanPlan,
    ) -> Result<()> {
        let own = &request.description.columns;
        for name in &request.part.order {
            let key = find(own, table, name)?;
            let there = plan.columns.iter().position(|column| {
                column.name.eq_ignore_ascii_case(name) && column.logical == key.column.logical
            });
            plan.key.push(there.unwrap_or(plan.columns.len()));
            if there.is_none() {
                plan.columns.push(key.column.clone());
            }
        }
        for column in &plan.columns {
            let native = &find(own, table, &column.name)?.native;
            let empty = native.labels.iter().any(String::is_empty);
            plan.no_empty.push(native.name == "enum" && !empty);
        }
        let mut names: Vec<_> = plan.columns.iter().map(|column| column.name.as_str()).collect();
        if names.is_empty() {
            // A row has at least one column.
            names.extend(own.first().map(|column| column.column.name.as_str()));
        }
        let order: Vec<_> = request.part.order.iter().map(String::as_str).collect();
        let column = request.part.column.as_deref();
        let select = Select {
            table: &table.name,
            columns: &names,
            filter: request.source.filter.as_deref(),
            range: column.map(|column| (column, &request.part.range)),
            order: &order,
            after: request.after,
        };
        (plan.sql, plan.values) = select.sql(&MysqlDialect);
        Ok(())
    }
}

/// Of a query's columns, those that are wanted: all are sent, and the others are passed over.
fn choose_columns(request: &Request<'_>, plan: &mut ScanPlan) -> Result<()> {
    let own = &request.description.columns;
    let place = |wanted: &Column| {
        let same = |own: &TableColumn| own.column.name.eq_ignore_ascii_case(&wanted.name);
        own.iter().position(same).ok_or_else(|| {
            Error::schema(format!("the query has no column `{}`", wanted.name))
                .hint(known_columns(own))
        })
    };
    let places: Vec<usize> = request.columns.iter().map(place).collect::<Result<_>>()?;
    if places.iter().copied().eq(0..own.len()) {
        return Ok(());
    }
    plan.columns = own.iter().map(|column| column.column.clone()).collect();
    for (at, wanted) in places.iter().zip(request.columns) {
        plan.columns[*at] = wanted.clone();
    }
    plan.chosen = Some(places);
    Ok(())
}

fn find<'a>(own: &'a [TableColumn], table: &'a Table, name: &str) -> Result<&'a TableColumn> {
    own.iter()
        .chain(&table.columns)
        .find(|column| column.column.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| transload_tables::no_such_column(&MysqlDialect, &table.name, name, own))
}

/// Whether values of the column can be read in that type with the same outcome for every value.
fn can_read(own: &TableColumn, wanted: &LogicalType) -> bool {
    use LogicalType as T;
    match (&own.column.logical, wanted) {
        (T::Int8 | T::UInt8, T::Boolean) => own.native.name == "tinyint",
        (own, wanted) if splits::is_integer(own) => splits::is_integer(wanted),
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

impl ReadDatabase for MysqlSource {
    const DIALECT: &'static (dyn Dialect + Sync) = &MysqlDialect;
    const ORDER: &'static str = "give the table a primary key of up to four columns, each a whole \
        number or a text of at most 191 characters";
    const INCREMENTS: &'static str = "name a column of integers, dates, DATETIME or TIMESTAMP; in `key` \
        also of BINARY, or of a text with a `_bin` collation";

    type Session = Session;
    type Column = TableColumn;
    type Table = Table;

    fn connect(&self) -> Result<Session> {
        self.connector.connect(Purpose::Look)
    }

    fn check(&self, source: &Source) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.connector);
        if let Some(mut session) = session {
            check::reading(&mut found, &mut session, &self.connector);
            if let Ok(relation) = source.relation() {
                let described = self.describe(&mut session, relation);
                check::source(&mut found, &mut session, relation, described);
            }
        }
        Ok(found.into_findings())
    }

    fn tables(&self, session: &mut Session) -> Result<Vec<TableInfo>> {
        catalog::tables(session, &self.connector.address.database)
    }

    fn page(&self, session: &mut Session, request: &TableRequest) -> Result<TablePage> {
        catalog::table_page(session, &self.connector.address.database, request)
    }

    fn describe(&self, session: &mut Session, relation: &Relation) -> Result<Described> {
        let mut warnings = Vec::new();
        let (mut columns, keys, identity, table) = match relation {
            Relation::Query(query) => {
                (query_columns(session, query)?, Vec::new(), query.clone(), None)
            }
            Relation::Table(name) => {
                let table = catalog::table(session, name)?;
                if catalog::is_partial(session, name)? {
                    warnings.push(format!(
                        "the login may read some columns of `{name}` only; others are left out"
                    ));
                }
                let (columns, keys) = (table.columns.clone(), table.keys.clone());
                (columns, keys, table.name.to_string(), Some(table))
            }
        };
        warnings.extend(self.without_invisible(&mut columns));
        let columns = self.as_read(columns);
        let unsupported = columns.iter().filter(|column| !column.travels()).map(|column| {
            let Column { name, native, native_form, .. } = &column.column;
            let advice = match native_form {
                Some(_) => "it goes to the same type in MySQL and MariaDB only",
                None => "leave it out of `columns`",
            };
            format!("column `{name}` is `{native}`, which is not supported: {advice}")
        });
        let notes = unsupported.collect();
        Ok(Description { columns, keys, notes, warnings, identity, table })
    }

    fn try_select(&self, session: &mut Session, sql: &str) -> Result<()> {
        trial::prepare(session, sql)
    }

    fn grant(&self, session: &mut Session, name: &TableName) -> Result<Option<String>> {
        trial::grant(session, "SELECT", name).map(Some)
    }

    fn produces(&self, own: &TableColumn, wanted: &Column) -> Result<Column> {
        if is_native(&own.column, &wanted.logical) {
            return Ok(read_as(&own.column, wanted, true));
        }
        if !own.travels() {
            let Column { name, native, .. } = &own.column;
            let message = format!("column `{name}` is `{native}`, which is not supported");
            return Err(Error::unsupported(message)
                .hint("leave it out of `columns`, or convert it to text in a `query`"));
        }
        let mut column = read_as(&own.column, wanted, can_read(own, &wanted.logical));
        if self.options.zero_dates == ZeroDates::Null {
            column.nullable = wanted.nullable;
        }
        Ok(column)
    }

    fn divide(
        &self,
        session: &mut Session,
        source: &Source,
        description: &Described,
        request: &SplitRequest,
    ) -> Result<Vec<Division>> {
        let Some(table) = &description.table else {
            return Ok(vec![Division::new(KeySplit::whole(Vec::new()), None)]);
        };
        let shares_state = self.options.consistency == Consistency::Snapshot;
        if shares_state && table.is_stored() && !table.is_transactional() {
            let message = format!("engine {} has no snapshots", table.engine);
            return Err(Error::unsupported(message)
                .at(format!("table `{}`", table.name))
                .hint("leave `consistency` out"));
        }
        let parts = splits::divide(session, table, source.split_key.as_deref(), request)?;
        let mut parts = match shares_state {
            true => self.in_one_state(session, table, parts)?,
            false => parts.into_iter().map(|part| Division::new(part, None)).collect(),
        };
        let count = parts.len().max(1) as u64;
        if shares_state {
            let is_ordered = |part: &&mut Division| !part.part.order.is_empty();
            parts
                .iter_mut()
                .filter(is_ordered)
                .for_each(|part| part.hint = Some(WITHOUT_STATE.to_owned()));
        }
        if let (Some(rows), None) = (table.rows, &source.filter) {
            parts.iter_mut().for_each(|part| part.rows = Some(rows / count));
        }
        Ok(parts)
    }

    fn enter(&self, snapshot: &Snapshot) -> Result<Session> {
        if let Snapshot::Shared(name) = snapshot {
            return self.snapshots.take(name);
        }
        let mut session = self.connect()?;
        session.run("begin to read", BEGIN)?;
        Ok(session)
    }

    fn digest(
        &self,
        session: Session,
        source: &Source,
        description: &Described,
        request: &DigestRequest,
    ) -> Result<Option<Vec<RangeDigest>>> {
        // Dates that are read as something else have other texts.
        if self.options.zero_dates != ZeroDates::Reject {
            return Ok(None);
        }
        digest::digest(session, source, description, request)
    }

    fn key_sql(&self, description: &Described, key: &[String]) -> Result<Option<KeySql>> {
        Ok(digest::key_sql(description, key))
    }

    fn key_rows(&self, session: &mut Session, sql: &str) -> Result<TextRows> {
        transload_tables::Session::rows(session, "find the range to read", sql)
    }

    fn keys_condition(&self, description: &Described, keys: &Keys) -> Result<Option<String>> {
        digest::keys_condition(description, keys)
    }

    fn scan(&self, session: Session, request: Request<'_>) -> Result<Box<dyn ReadTask>> {
        let columns = request.columns.to_vec();
        let mut plan = ScanPlan::new(columns, self.options.zero_dates);
        match (&request.description.table, request.source.relation()?) {
            (Some(table), _) => {
                self.select_table(&request, table, &mut plan)?;
                plan.source = request.part.counted_rows(&table.name.to_string(), request.after);
            }
            (None, Relation::Query(query)) => {
                plan.sql.clone_from(query);
                choose_columns(&request, &mut plan)?;
            }
            (None, Relation::Table(_)) => return Err(Error::defect("a table without its columns")),
        }
        Ok(Box::new(Scan::start(session, plan)?))
    }
}
