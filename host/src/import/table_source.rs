//! The reader of tables: what the sections of DataX's and DataWorks' database readers become.

use super::{
    address::{Database, Login, of_jdbc},
    columns::{Column, columns_of},
    cx::{Cx, Side},
    jdbc::Store,
    job_text::{Line, pair},
    notes::Kind,
    select::{Select, expanded},
    tree::{Fields, Item},
};

/// Where the address of a database comes from.
pub(super) enum Sources<'c> {
    /// The document says it: `jdbcUrl`, `username` and `password`.
    Jdbc(Option<Store>),
    /// It is a data source of the platform, known by its name.
    Named(&'c mut dyn FnMut(&mut Cx<'_>, &Item<'_>) -> Option<Database>),
}

/// One entry of `connection`.
struct Element<'n> {
    item: Item<'n>,
    database: Database,
    tables: Vec<String>,
    queries: Vec<String>,
}

/// The reader. `targets` are the columns of the target in order, if the document says them.
pub(super) fn read(
    cx: &mut Cx<'_>,
    parameter: &Item<'_>,
    whose: &str,
    mut sources: Sources<'_>,
    targets: Option<&[String]>,
) -> Option<Side> {
    let fields = cx.fields(parameter);
    let login = Login::of(cx, &fields);
    let elements = elements(cx, parameter, &fields, &login, &mut sources)?;
    let first = elements.first()?;
    let store = first.database.store;
    let mut side = Side { is_table: true, ..Side::default() };
    side.lines.extend(first.database.login.clone());
    let queries: Vec<_> = elements.iter().flat_map(|it| &it.queries).cloned().collect();
    let condition = fields.given("where");
    let split = fields.given("splitPk");
    let columns = fields.given("column");
    if !queries.is_empty() {
        read_query(cx, &mut side, &queries, &first.item);
        for item in [&condition, &split, &columns].into_iter().flatten() {
            cx.notes.unused(item, "beside `querySql` it had no effect");
        }
        if let Some(columns) = &columns {
            // It is not read, but it says in which order the query's columns are meant.
            side.columns = names_alone(cx, columns, store);
        }
        aliases(cx, &mut side, &first.item, targets);
    } else {
        let tables = tables_of(&elements);
        let columns = columns.map(|it| columns_of(cx, &it, store))?;
        let filter = condition.and_then(|it| cx.sql(&it).map(|text| (it, text)));
        let filter = filter.map(|(_, text)| text.trim().trim_end_matches(';').trim().to_owned());
        let split = split.and_then(|it| split_key(cx, &it, store));
        let what = What { tables, columns, filter: filter.filter(|it| !it.is_empty()), split };
        read_tables(cx, &mut side, parameter, what, (store, targets));
    }
    if store == Store::Mysql {
        zero_dates(cx, &mut side, &first.item);
    }
    options(cx, &fields);
    cx.notes.rest(&fields, whose, UNUSED);
    Some(side)
}

/// The entries of `connection`; Addax and DataWorks also have its keys beside it.
fn elements<'n>(
    cx: &mut Cx<'_>,
    parameter: &Item<'n>,
    fields: &Fields<'n>,
    login: &Login<'n>,
    sources: &mut Sources<'_>,
) -> Option<Vec<Element<'n>>> {
    let given = fields.take("connection").map(|it| it.items()).unwrap_or_default();
    let mut elements = Vec::new();
    for item in &given {
        let is_first = elements.is_empty();
        let at = At { item, fields: &cx.fields(item), outer: fields, is_nested: true, is_first };
        elements.extend(element(cx, at, login, sources));
    }
    if given.is_empty() {
        let at = At { item: parameter, fields, outer: fields, is_nested: false, is_first: true };
        elements.extend(element(cx, at, login, sources));
    }
    if elements.is_empty() {
        if !cx.notes.are_refused() {
            cx.notes.refuse(parameter, "it names no table to read", "");
        }
        return None;
    }
    let other = elements.iter().find(|it| it.database.server != elements[0].database.server);
    if let Some(other) = other {
        let message = "its tables are on several servers, and a job reads from one";
        cx.notes.refuse(&other.item, message, "divide the document into one for each server");
        return None;
    }
    Some(elements)
}

/// Where an entry stands; `outer` are the keys beside `connection`.
struct At<'a, 'n> {
    item: &'a Item<'n>,
    fields: &'a Fields<'n>,
    outer: &'a Fields<'n>,
    is_nested: bool,
    is_first: bool,
}

/// One entry.
fn element<'n>(
    cx: &mut Cx<'_>,
    at: At<'_, 'n>,
    login: &Login<'n>,
    sources: &mut Sources<'_>,
) -> Option<Element<'n>> {
    let At { item, fields, outer, is_nested, is_first } = at;
    let database = match sources {
        Sources::Jdbc(store) => {
            let Some(urls) = fields.given("jdbcUrl") else {
                cx.notes.refuse(item, "`jdbcUrl` is missing", "");
                return None;
            };
            let urls = urls.items();
            for other in urls.iter().skip(1) {
                let message = "only the first address is used; DataX took the first that responded";
                cx.notes.changed(other, message);
            }
            let login = Login {
                user: fields.take("username").or(login.user.clone()),
                password: fields.take("password").or(login.password.clone()),
            };
            of_jdbc(cx, urls.first()?, &login, *store, is_first.then_some("reader"))?
        }
        Sources::Named(named) => {
            let source = fields.given("datasource").or_else(|| outer.given("datasource"));
            let Some(source) = source else {
                cx.notes.refuse(item, "`datasource` is missing", "");
                return None;
            };
            named(cx, &source)?
        }
    };
    let tables = fields.given("table").map(|it| cx.texts(&it)).unwrap_or_default();
    let queries = fields.given("querySql").or_else(|| fields.given("querysql"));
    let queries = queries.map(|it| cx.statements(&it)).unwrap_or_default();
    if tables.is_empty() && queries.is_empty() {
        cx.notes.refuse(item, "neither `table` nor `querySql` says what is read", "");
        return None;
    }
    if is_nested {
        cx.notes.rest(
            fields,
            "an entry of `connection`",
            &[
                ("driver", "the plugin has its own driver"),
                ("selectedDatabase", "the table's name says it"),
                ("datasourceType", "the plugin says it"),
            ],
        );
    }
    Some(Element { item: item.clone(), database, tables, queries })
}

/// The names of all tables; with their databases, if there are several.
fn tables_of(elements: &[Element<'_>]) -> Vec<String> {
    let is_one = elements.iter().all(|it| it.database.name == elements[0].database.name);
    let of = |element: &Element<'_>| {
        let database = &element.database;
        let schema = match database.store {
            Store::Mysql if !is_one => Some(database.name.clone()),
            _ => database.schema.clone(),
        };
        let full = move |name: &str| {
            let name = table_name(name, database.store);
            match (&schema, name.contains('.')) {
                (Some(schema), false) => format!("{schema}.{name}"),
                _ => name,
            }
        };
        let names = element.tables.iter().flat_map(|it| it.split(','));
        names.map(str::trim).filter(|it| !it.is_empty()).map(full).collect::<Vec<_>>()
    };
    elements.iter().flat_map(of).collect()
}

/// A table's name as a job has it: unquoted parts as the database folds them.
pub(super) fn table_name(name: &str, store: Store) -> String {
    let is_quoted = name.contains(['"', '`', '[']) && !name.contains(char::is_alphanumeric)
        || name.starts_with(['"', '`'])
        || name.contains(".\"");
    match is_quoted || name.contains("${") {
        true => name.to_owned(),
        false => store.folded(name),
    }
}

/// What is read of tables.
struct What {
    tables: Vec<String>,
    columns: Vec<Column>,
    filter: Option<String>,
    split: Option<String>,
}

fn read_tables(
    cx: &mut Cx<'_>,
    side: &mut Side,
    parameter: &Item<'_>,
    what: What,
    (store, targets): (Store, Option<&[String]>),
) {
    let is_star = what.columns == [Column::Star];
    if let Some(names) = super::columns::plain_names(&what.columns) {
        side.columns = Some(names);
    }
    if is_star || side.columns.is_some() {
        match what.tables.as_slice() {
            [table] => side.lines.push(pair("table", table.clone())),
            tables => side.lines.push(pair("tables", tables.to_vec())),
        }
        side.lines.extend(what.filter.map(|filter| pair("where", filter)));
        side.lines.extend(what.split.map(|split| pair("split_key", split)));
        return;
    }
    let tables: Option<Vec<String>> =
        what.tables.iter().map(|it| expanded(it)).collect::<Option<Vec<_>>>().map(|it| it.concat());
    let Some(tables) = tables else {
        cx.notes.refuse(parameter, "the names of the tables cannot be counted up", "");
        return;
    };
    let select =
        Select { store, tables: &tables, columns: &what.columns, filter: what.filter.as_deref() };
    let (query, names) = select.write(targets);
    side.lines.push(pair("query", query));
    let (is_divisible, split) = (store == Store::Postgres && tables.len() == 1, what.split);
    match split {
        Some(split) if is_divisible => {
            side.lines.push(pair("query_is_stable", true));
            side.lines.push(pair("split_key", split));
        }
        Some(_) => {
            let message =
                "the columns need a query, which is read as one split: `splitPk` has no effect";
            cx.note(Kind::Changed, parameter, message, "");
        }
        None => {}
    }
    side.columns = names;
    side.is_query = true;
    cx.note(
        Kind::Changed,
        parameter,
        "`column` has SQL: the job reads a `query` with the target's names as aliases",
        "",
    );
}

fn read_query(cx: &mut Cx<'_>, side: &mut Side, queries: &[String], item: &Item<'_>) {
    let clean = |query: &String| query.trim().trim_end_matches(';').trim_end().to_owned();
    let query = match queries {
        [query] => clean(query),
        queries => {
            let message = "the queries are read as one, joined by UNION ALL";
            cx.note(Kind::Changed, item, message, "");
            let parts: Vec<_> = queries.iter().map(|it| format!("({})", clean(it))).collect();
            parts.join(" UNION ALL ")
        }
    };
    side.lines.push(pair("query", query));
    side.is_query = true;
}

fn names_alone(cx: &mut Cx<'_>, columns: &Item<'_>, store: Store) -> Option<Vec<String>> {
    super::columns::plain_names(&columns_of(cx, columns, store))
}

/// A query's own names are those of the target if its text says so; the document maps by position.
fn aliases(cx: &mut Cx<'_>, side: &mut Side, item: &Item<'_>, targets: Option<&[String]>) {
    let query = side.lines.iter().find_map(|line| match line {
        Line::Pair { key, value, .. } if key == "query" => value.as_str(),
        _ => None,
    });
    let names = query.and_then(super::select::names_of);
    match (names, targets) {
        (Some(names), Some(targets)) if names.len() == targets.len() => side.columns = Some(names),
        (Some(names), Some(targets)) => {
            let message = format!(
                "the query's columns are {}, the writer's {}: DataX fails on this",
                names.len(),
                targets.len()
            );
            cx.notes.refuse(item, message, "give both the same columns");
        }
        (None, Some(_)) if query.is_some_and(super::select::has_star) => {
            side.columns = None;
            let message =
                "the query reads all columns: they were mapped by position, and are mapped by name";
            cx.note(Kind::Changed, item, message, "");
        }
        (None, Some(_)) => {
            side.columns = None;
            let message =
                "DataX mapped the query's columns by position, and a job maps them by name";
            let hint = "give the query's columns the target's names (`AS name`), or write `[map]`";
            cx.notes.todo(item, message, hint);
        }
        (Some(names), None) => side.columns = Some(names),
        (None, None) => {}
    }
}

fn split_key(cx: &mut Cx<'_>, item: &Item<'_>, store: Store) -> Option<String> {
    let text = cx.text(item)?;
    match super::columns::column(&text, store) {
        Column::Name(name) => Some(name),
        _ => {
            cx.notes
                .changed(item, "`splitPk` is no column: the plugin divides the table by itself");
            None
        }
    }
}

/// DataX adds a parameter to MySQL's address by which zero dates become NULL.
fn zero_dates(cx: &mut Cx<'_>, side: &mut Side, item: &Item<'_>) {
    let message =
        "zero dates such as 0000-00-00 became NULL, by a parameter that DataX adds to the address";
    let lines = ("zero_dates = \"null\"", "leave `zero_dates` out in [reader]");
    if !cx.notes.is_repaired("zero-dates", item, message, lines) {
        side.lines.push(Line::Pair {
            key: "zero_dates".to_owned(),
            value: "null".into(),
            remark: "zero-dates kept; to repair it, remove this line".to_owned(),
        });
    }
}

/// Options that have an effect of their own.
fn options(cx: &mut Cx<'_>, fields: &Fields<'_>) {
    if let Some(item) = fields.given("mandatoryEncoding") {
        let text = cx.text(&item).unwrap_or_default();
        match text.to_lowercase().replace('-', "").as_str() {
            "utf8" => {
                cx.notes.changed(&item, "it also turned NULL into empty texts; the job keeps NULL")
            }
            _ => cx.notes.refuse(
                &item,
                format!("texts that lie in columns of another encoding than `{text}` are not read"),
                "convert them in the query, such as CONVERT(CAST(x AS BINARY) USING gbk)",
            ),
        }
    }
    if let Some(item) = fields.given("session") {
        for statement in item.items() {
            session(cx, &statement);
        }
    }
}

/// A statement that old sessions ran first.
pub(super) fn session(cx: &mut Cx<'_>, item: &Item<'_>) {
    let Some(text) = cx.text(item) else { return };
    let lower = text.to_lowercase();
    let harmless = [
        ("sql_mode", "the session has a strict mode of its own"),
        ("time_zone", "sessions use UTC; wall-clock times are not shifted"),
        ("set names", "texts travel as UTF-8"),
        ("character_set", "texts travel as UTF-8"),
        ("net_write_timeout", "the session watches silence by itself (`idle_timeout`)"),
        ("net_read_timeout", "the session watches silence by itself (`idle_timeout`)"),
        ("wait_timeout", "the session watches silence by itself (`idle_timeout`)"),
        ("max_execution_time", "statements have no time limit"),
        ("statement_timeout", "statements have no time limit"),
        ("unique_checks", "it concerns speed alone"),
        ("isolation", "reading uses a read-only transaction"),
        ("read only", "reading uses a read-only transaction"),
        ("work_mem", "it concerns speed alone"),
        ("nls_", "it is Oracle's"),
    ];
    match harmless.iter().find(|(word, _)| lower.contains(word)) {
        Some((_, reason)) => cx.notes.unused(item, format!("`{text}` is left out: {reason}")),
        None => cx.notes.refuse(
            item,
            format!("`{text}` was run in each session, and a job has no statements for that"),
            "remove it if the job does not need it, or set it for the login in the database",
        ),
    }
}

const UNUSED: &[(&str, &str)] = &[
    ("splitFactor", "the number of splits is the plan's"),
    ("fetchSize", "rows are streamed by the plugin's own protocol"),
    ("checkSlave", "the plugin reads from the server that it is given"),
    ("masterSlave", "the plugin reads from the server that it is given"),
    ("slaveDelayLimit", "the plugin reads from the server that it is given"),
    ("canReadPrimary", "the plugin reads from the server that it is given"),
    ("preSql", "DataX used it for the check of a replica alone"),
    ("postSql", "readers ran none"),
    ("hint", "an optimiser's hint changes no rows"),
    ("encoding", "texts are UTF-8 in the database's protocol"),
    ("driver", "the plugin has its own driver"),
    ("dryRun", "`transload plan` does it"),
    ("readTimeout", "the session watches silence by itself (`idle_timeout`)"),
    ("autoPk", "the plugin divides the table by itself"),
    ("envType", "it is the platform's"),
    ("useSpecialSecret", "it is the platform's"),
    ("tableComment", "it is the platform's"),
    ("datasourceType", "the plugin says it"),
    ("extend", "it is the platform's"),
    ("guid", "it is the platform's"),
    ("readMode", "the plugin has one way of reading"),
    ("haveKerberos", "it is empty for this store"),
];
