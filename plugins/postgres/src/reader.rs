//! The source of a job: what PostgreSQL does in its own way when a table or query is read. The
//! order of the verbs is in `transload_tables`, the choice of splits in `splits`, the rows in
//! `scan`.

use transload_plugin_api::{
    Column, DigestRequest, Error, Finding, Host, LogicalType, Options, ReadTask, Reader, Result,
    SplitRequest, TableInfo, TablePage, TableRequest,
};
use transload_tables::{
    Description, Dialect, Division, KeyRange, KeySplit, KeySql, Keys, RangeDigest, ReadDatabase,
    Relation, ScanRequest, Snapshot, Source, Sources, TableName, TextRows, read_as,
};

use crate::{
    catalog::{self, Table, TableColumn, find_column},
    check,
    connect::Connector,
    dialect::{PostgresDialect, comparison, quoted, quoted_table, range_condition},
    digest,
    draft::filtered,
    native::wire_of,
    options::{Address, Consistency, Infinity, ReaderOptions, reader_specs},
    query,
    scan::{Scan, ScanPlan},
    session::Session,
    snapshot::{self, SharedSnapshot},
    splits::{self, PAGES},
    trial,
    types::{Wire, refuse_geometry},
};

/// A server that tables are read from.
pub(crate) struct PostgresSource {
    connector: Connector,
    options: ReaderOptions,
    /// One for all tables that are read as one.
    snapshot: SharedSnapshot,
}

type Described = Description<TableColumn, Table>;
type Request<'a> = ScanRequest<'a, TableColumn, Table>;

/// The reader that the options ask for.
pub(crate) fn reader(options: &Options, host: &Host) -> Result<Box<dyn Reader>> {
    let mut connector = Connector::reading(Address::parse(options)?, host.clone());
    let sources = Sources::parse(options, Ok)?;
    let options: ReaderOptions = options.parse(&reader_specs())?;
    if options.enable_row_security {
        connector = connector.with_row_security();
    }
    let sources = sources.with_stable_query(options.query_is_stable);
    let snapshot = SharedSnapshot::default();
    sources.into_reader(PostgresSource { connector, options, snapshot })
}

impl PostgresSource {
    /// How a source is read: as the job says, else as its guarantee needs and the table allows.
    fn consistency(&self, table: Option<&Table>, request: &SplitRequest) -> Consistency {
        let is_needed = request.ability.is_some() && table.and_then(splits::order_key).is_some();
        let chosen = if is_needed { Consistency::Split } else { Consistency::Snapshot };
        self.options.consistency.unwrap_or(chosen)
    }

    /// What the plan reports about how splits are read, and what would let reading continue.
    fn told(&self, table: Option<&Table>, read_as: Consistency) -> [Option<String>; 2] {
        let because = match (table, table.and_then(splits::order_key), read_as) {
            (None, ..) => "a query has no order to resume in".to_owned(),
            (Some(_), None, _) => "the table has no key of one column, short and never NULL, in \
                                   whose order it could resume"
                .to_owned(),
            (Some(_), Some(key), Consistency::Snapshot) => {
                let because = format!(
                    "another session cannot see the same state; with `consistency = \"split\"` \
                     reading resumes in the order of `{key}`"
                );
                let hint = format!(
                    "leave `consistency` out: each split then sees the state at its own start, and \
                     is continued in the order of `{key}`"
                );
                return [Some(unresumed(&because)), Some(hint)];
            }
            (Some(_), Some(key), Consistency::Split) => {
                let is_chosen = self.options.consistency.is_none();
                return [is_chosen.then(|| chosen(key)), None];
            }
        };
        [Some(unresumed(&because)), None]
    }

    /// A table whose rows are not all seen is refused, or read with a note.
    fn hidden(&self, table: &Table) -> Result<Option<String>> {
        match (table.is_filtered, self.options.enable_row_security) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(format!(
                "row security shows this user only a part of the rows; its policies: {}",
                table.policies.join(", ")
            ))),
            (true, false) => Err(filtered(table).at(format!("table `{}`", table.name)).hint(
                "use the owner of the table or a role with BYPASSRLS; `enable_row_security = \
                     true` reads the rows that are shown",
            )),
        }
    }
}

/// What a lost connection means for a run, where reading cannot resume.
fn unresumed(because: &str) -> String {
    format!("a connection lost while rows are read ends the run: {because}")
}

/// The note where the job leaves the choice, and its guarantee needs an order.
fn chosen(key: &str) -> String {
    format!(
        "`consistency = \"split\"` is chosen, because the guarantee that the job requires needs an \
         order in which a task continues: each split sees the state at its own start, and is read \
         in the order of `{key}`, through its index"
    )
}

/// The statement that reads a split, and the form of its values.
fn scan_plan(request: &Request<'_>, infinity: Infinity) -> Result<ScanPlan> {
    let own = &request.description.columns;
    let (mut selected, mut wires) = (Vec::new(), Vec::new());
    for wanted in request.columns {
        let (value, wire) = value(find_column(own, &wanted.name)?, wanted, infinity);
        selected.push(value);
        wires.push(wire);
    }
    let sql = select(request, selected)?;
    Ok(ScanPlan {
        // The line break ends a comment at the end of the query.
        copy: format!("COPY ({sql}\n) TO STDOUT (FORMAT binary)"),
        columns: request.columns.to_vec(),
        wires,
        keyed: !request.part.order.is_empty(),
        source: source(request)?,
    })
}

/// The rows of a split, with the key's text as the last column if they come in its order.
fn select(request: &Request<'_>, mut selected: Vec<String>) -> Result<String> {
    let Description { columns: own, table, .. } = request.description;
    let is_whole = is_whole(request, &selected);
    let from = match request.source.relation()? {
        Relation::Table(name) => quoted_table(name),
        Relation::Query(query) => format!("({query}\n) AS q"),
    };
    let mut conditions: Vec<_> =
        request.source.filter.iter().map(|filter| format!("({filter}\n)")).collect();
    conditions.extend(part_condition(request.part, own, table.is_some())?);
    // A split of this plugin has one key at most. Qualified, it is the table's column, whatever the
    // columns of the result are called.
    let key = request.part.order.first().map(|name| find_column(own, name)).transpose()?;
    let key = key.map(|key| (format!("{from}.{}", quoted(&key.column.name)), &key.column.native));
    if let (Some((key, native)), Some([after])) = (&key, request.after) {
        conditions.push(comparison(key, ">", after, native));
    }
    selected.extend(key.iter().map(|(key, _)| format!("{key}::text")));
    let mut sql = match request.source.relation()? {
        // Nothing is put around the query where nothing has to be.
        Relation::Query(query) if conditions.is_empty() && is_whole => query.clone(),
        _ => format!("SELECT {} FROM {from}", selected.join(", ")),
    };
    if !conditions.is_empty() {
        sql = format!("{sql} WHERE {}", conditions.join(" AND "));
    }
    if let Some((key, _)) = &key {
        sql = format!("{sql} ORDER BY {key}");
    }
    Ok(sql)
}

/// The split's rows, for places.
fn source(request: &Request<'_>) -> Result<String> {
    let source = match request.source.relation()? {
        Relation::Table(name) => name.to_string(),
        Relation::Query(_) => "query".to_owned(),
    };
    Ok(match request.after {
        Some(_) => request.part.counted_rows(&source, request.after),
        None if request.part.range == KeyRange::ALL => source,
        None => format!("{source}, {}", splits::label(request.part)),
    })
}

/// Whether the server prints the values as text: intervals have no text of ours.
fn is_printed(own: &LogicalType, wanted: &LogicalType) -> bool {
    *own == LogicalType::Interval && matches!(wanted, LogicalType::Text { .. })
}

/// The expression by which a column is read, and the form of its values.
fn value(own: &TableColumn, wanted: &Column, infinity: Infinity) -> (String, Wire) {
    let name = quoted(&wanted.name);
    if let LogicalType::Native(form) = &wanted.logical {
        let (wire, by_text) = wire_of(form);
        return (if by_text { format!("{name}::text") } else { name }, wire);
    }
    if is_printed(&own.kind.logical, &wanted.logical) {
        return (format!("{name}::text"), Wire::Text);
    }
    let value = match infinity {
        Infinity::Null if has_infinity(own) => {
            format!("CASE WHEN pg_catalog.isfinite({name}) THEN {name} END")
        }
        Infinity::Max if has_infinity(own) => format!(
            "CASE {name} WHEN 'infinity' THEN '9999-12-31 23:59:59' \
             WHEN '-infinity' THEN '0001-01-01' ELSE {name} END"
        ),
        _ => format!("{name}{}", own.reading_cast),
    };
    (value, own.kind.wire.clone())
}

fn has_infinity(own: &TableColumn) -> bool {
    matches!(own.kind.wire, Wire::Date | Wire::Timestamp)
}

/// Whether all columns of the source are selected, in order, as they are.
fn is_whole(request: &Request<'_>, selected: &[String]) -> bool {
    let own = &request.description.columns;
    let same = |(own, selected): (&TableColumn, &String)| quoted(&own.column.name) == *selected;
    own.len() == selected.len() && own.iter().zip(selected).all(same)
}

/// The condition of a split's rows; `None` if all rows are in it.
fn part_condition(part: &KeySplit, own: &[TableColumn], is_table: bool) -> Result<Option<String>> {
    let Some(name) = &part.column else { return Ok(None) };
    // A table has no column of this name but the system's.
    let native = match is_table && name == PAGES {
        true => "tid",
        false => &find_column(own, name)?.column.native,
    };
    Ok(range_condition(name, native, &part.range))
}

impl ReadDatabase for PostgresSource {
    const DIALECT: &'static (dyn Dialect + Sync) = &PostgresDialect;
    const ORDER: &'static str = "give the table a key of one column, short and never NULL";
    const INCREMENTS: &'static str = "name a column of integers, dates or timestamps; in `key` also \
        of `uuid` or `bytea`";

    type Session = Session;
    type Column = TableColumn;
    type Table = Table;

    fn connect(&self) -> Result<Session> {
        self.connector.connect()
    }

    fn check(&self, source: &Source) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.connector);
        if let Some(mut session) = session {
            check::reading(&mut found, &mut session);
            if let Ok(relation) = source.relation() {
                let described = self.describe(&mut session, relation);
                let count = described.map(|it| it.columns.len());
                check::source(&mut found, &mut session, relation, count);
            }
        }
        Ok(found.into_findings())
    }

    fn tables(&self, session: &mut Session) -> Result<Vec<TableInfo>> {
        catalog::tables(session)
    }

    fn page(&self, session: &mut Session, request: &TableRequest) -> Result<TablePage> {
        catalog::table_page(session, request)
    }

    fn describe(&self, session: &mut Session, relation: &Relation) -> Result<Described> {
        let (mut notes, mut warnings) = (Vec::new(), Vec::new());
        let (mut columns, keys, identity, table) = match relation {
            Relation::Query(text) => {
                (query::query_columns(session, text)?, Vec::new(), text.clone(), None)
            }
            Relation::Table(name) => {
                let table = catalog::table(session, name)?;
                warnings.extend(self.hidden(&table)?);
                let (columns, keys) = (table.columns.clone(), table.api_keys());
                (columns, keys, table.name.to_string(), Some(table))
            }
        };
        if self.options.infinity != Infinity::Dirty {
            for column in columns.iter_mut().filter(|column| has_infinity(column)) {
                column.column.nullable |= self.options.infinity == Infinity::Null;
                column.column.native_form = None;
            }
        }
        let by_text = columns.iter().filter(|column| column.kind.by_text).map(|column| {
            let Column { name, native, .. } = &column.column;
            match column.column.native_form {
                Some(_) => format!(
                    "column `{name}` is `{native}` and read as text, unless it goes to the same \
                     type in PostgreSQL"
                ),
                None => format!("column `{name}` is `{native}` and read as text"),
            }
        });
        notes.extend(by_text);
        let locked = columns.iter().filter(|column| !column.rights.select);
        notes.extend(locked.map(|column| {
            format!("column `{}` cannot be read: this user has no right to", column.column.name)
        }));
        Ok(Description { columns, keys, notes, warnings, identity, table })
    }

    fn try_select(&self, session: &mut Session, sql: &str) -> Result<()> {
        trial::explain(session, sql)
    }

    fn grant(&self, session: &mut Session, name: &TableName) -> Result<Option<String>> {
        trial::grant_select(session, name).map(Some)
    }

    fn produces(&self, own: &TableColumn, wanted: &Column) -> Result<Column> {
        let is_native = match &wanted.logical {
            LogicalType::Native(form) => own.column.native_form.as_ref() == Some(&**form),
            _ => false,
        };
        if !is_native {
            refuse_geometry(&own.column)?;
        }
        if !own.rights.select {
            let name = &own.column.name;
            return Err(Error::denied(format!("no right to read column `{name}`")).hint(format!(
                "GRANT SELECT ({}) ON the table TO the user, or leave it out of `columns`",
                quoted(name)
            )));
        }
        if is_native {
            return Ok(read_as(&own.column, wanted, true));
        }
        if is_printed(&own.kind.logical, &wanted.logical) {
            let text = Column { logical: LogicalType::TEXT, ..wanted.clone() };
            return Ok(read_as(&own.column, &text, true));
        }
        // The wire's numbers are decimal digits: any type of decimal numbers is made as easily.
        let is_number =
            matches!(wanted.logical, LogicalType::Decimal { .. } | LogicalType::Numeric);
        Ok(read_as(&own.column, wanted, own.kind.wire == Wire::Numeric && is_number))
    }

    fn divide(
        &self,
        session: &mut Session,
        source: &Source,
        description: &Described,
        request: &SplitRequest,
    ) -> Result<Vec<Division>> {
        let (table, max) = (description.table.as_ref(), request.max);
        let consistency = self.consistency(table, request);
        let shared = consistency == Consistency::Snapshot && (max > 1 || source.is_shard);
        let mut divisions = splits::divide(session, source, description, max, shared)?;
        let [note, hint] = self.told(table, consistency);
        for division in &mut divisions {
            (division.note, division.hint) = (note.clone(), hint.clone());
        }
        if consistency == Consistency::Split
            && let Some(key) = table.and_then(splits::order_key)
        {
            for division in &mut divisions {
                division.part.order = vec![key.to_owned()];
            }
        }
        // A snapshot is for splits that must agree; one split agrees with itself.
        if shared && (divisions.len() > 1 || source.is_shard) {
            let name = self.snapshot.name(&self.connector)?;
            for division in &mut divisions {
                division.snapshot = Snapshot::Shared(name.clone());
            }
        }
        Ok(divisions)
    }

    fn enter(&self, snapshot: &Snapshot) -> Result<Session> {
        let mut session = self.connect()?;
        snapshot::enter(&mut session, snapshot)?;
        Ok(session)
    }

    fn digest(
        &self,
        session: Session,
        source: &Source,
        description: &Described,
        request: &DigestRequest,
    ) -> Result<Option<Vec<RangeDigest>>> {
        // Values that are read as others have other texts.
        if self.options.infinity != Infinity::Dirty {
            return Ok(None);
        }
        digest::digest(session, source, description, request)
    }

    fn key_sql(&self, description: &Described, key: &[String]) -> Result<Option<KeySql>> {
        digest::key_sql(description, key)
    }

    fn key_rows(&self, session: &mut Session, sql: &str) -> Result<TextRows> {
        transload_tables::Session::rows(session, "find the range to read", sql)
    }

    fn keys_condition(&self, description: &Described, keys: &Keys) -> Result<Option<String>> {
        digest::keys_condition(description, keys)
    }

    fn scan(&self, session: Session, request: Request<'_>) -> Result<Box<dyn ReadTask>> {
        Ok(Box::new(Scan::start(session, scan_plan(&request, self.options.infinity)?)?))
    }
}
