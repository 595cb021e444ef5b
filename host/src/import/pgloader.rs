//! Command files of pgloader: its clauses, and LOAD DATABASE. LOAD CSV is in `pgloader_csv`.

use super::{
    assemble::assemble_named,
    cx::{Cx, Side},
    job_text::{Line, pair},
    notes::Kind,
    tree::{Fields, Item, Node, Value},
    url,
};

/// The commands of a document, one for each table of a database. A command that names none is there
/// once, without a name.
pub(super) fn jobs(top: &Item<'_>) -> Vec<(usize, String)> {
    let mut jobs = Vec::new();
    for (index, command) in top.items().iter().enumerate() {
        let tables = tables(command.node);
        let is_database =
            command.node.get("load").and_then(Node::text).is_some_and(|it| it == "database");
        match is_database && !tables.is_empty() {
            true => jobs.extend(tables.into_iter().map(|table| (index, table))),
            false => jobs.push((index, String::new())),
        }
    }
    jobs
}

/// The tables that a command names; none if a pattern is among them.
fn tables(command: &Node) -> Vec<String> {
    let Some(Value::List(items)) = command.get("including").map(|it| &it.value) else {
        return Vec::new();
    };
    let names: Vec<_> =
        items.iter().filter_map(Node::text).map(|text| in_schema(&text).0).collect();
    if names.iter().any(|name| name.starts_with('~')) { Vec::new() } else { names }
}

/// `'film' in schema 'public'`
fn in_schema(text: &str) -> (String, Option<String>) {
    let lower = text.to_lowercase();
    match lower.find(" in schema ") {
        Some(at) => (
            text[..at].trim().to_owned(),
            Some(text[at + 11..].trim().trim_matches('\'').to_owned()),
        ),
        None => (text.trim().to_owned(), None),
    }
}

/// Imports one command, for one of its tables.
pub(super) fn import(cx: &mut Cx<'_>, top: &Item<'_>, index: usize, table: &str) {
    let Some(command) = top.items().into_iter().nth(index) else { return };
    let fields = Fields::of(&command);
    let Some(kind) = fields.take("load") else { return };
    let (Some(from), Some(into)) = (only(&fields, "from"), only(&fields, "into")) else {
        cx.notes.refuse(&command, "FROM or INTO is missing", "");
        return;
    };
    let with = With::read(&fields);
    match kind.node.text().unwrap_or_default().as_str() {
        "csv" => super::pgloader_csv::csv(cx, &fields, (&from, &into), &with),
        "database" => database(cx, &fields, (&from, &into), &with, table),
        other => cx.notes.refuse(
            &kind,
            format!("LOAD {} is not carried over", other.to_uppercase()),
            "LOAD CSV and LOAD DATABASE are",
        ),
    }
    statements(cx, &fields);
    settings(cx, &fields);
    if !cx.notes.are_refused() {
        with.rest(cx);
    }
    cx.notes.rest(
        &fields,
        "a command",
        &[
            ("set mysql", "sessions have settings of their own"),
            ("decoding", "texts are UTF-8 in the database's protocol"),
        ],
    );
}

/// The one part of a clause.
fn only<'n>(fields: &Fields<'n>, key: &str) -> Option<Item<'n>> {
    fields.take(key)?.items().into_iter().next()
}

/// The options behind WITH.
pub(super) struct With<'n> {
    items: Vec<(String, Item<'n>, std::cell::Cell<bool>)>,
}

impl<'n> With<'n> {
    fn read(fields: &Fields<'n>) -> Self {
        let items = fields.take("with").map(|it| it.items()).unwrap_or_default();
        let item = |item: Item<'n>| {
            (item.node.text().unwrap_or_default(), item, std::cell::Cell::new(false))
        };
        Self { items: items.into_iter().map(item).collect() }
    }

    /// The text behind these words, and that it was read.
    pub(super) fn take(&self, words: &str) -> Option<(&str, &Item<'n>)> {
        let found = self.items.iter().find(|(text, ..)| {
            text.get(..words.len()).is_some_and(|it| it.eq_ignore_ascii_case(words))
        })?;
        found.2.set(true);
        Some((found.0[words.len()..].trim().trim_start_matches('=').trim(), &found.1))
    }

    pub(super) fn has(&self, words: &str) -> bool {
        self.take(words).is_some()
    }

    fn rest(&self, cx: &mut Cx<'_>) {
        for (text, item, taken) in &self.items {
            if taken.get() {
                continue;
            }
            let lower = text.to_lowercase();
            if lower.starts_with("disable triggers") {
                cx.notes.changed(item, "triggers stay active");
                continue;
            }
            match UNUSED.iter().find(|(words, _)| lower.starts_with(words)) {
                Some((_, reason)) => cx.notes.unused(item, *reason),
                None => cx.notes.refuse(
                    item,
                    format!("`{text}` has no equal"),
                    "remove it from a copy of the file if the job does not need it",
                ),
            }
        }
    }
}

/// The lines of a login, the table and its columns, as far as they are named.
pub(super) type Target = (Vec<Line>, Option<String>, Option<Vec<String>>);

/// The target's connection and the table that the address or TARGET TABLE names.
pub(super) fn target(cx: &mut Cx<'_>, fields: &Fields<'_>, into: &Item<'_>) -> Option<Target> {
    let text = into.node.text()?;
    let (address, parameters) = text.split_once('?').unwrap_or((&text, ""));
    // `?schema.table (a, b)`, or parameters of the address.
    let (of_address, columns) = match parameters {
        "" => (None, None),
        text if text.contains('=') && !text.starts_with("tablename=") => (None, None),
        text => {
            let (name, columns) = name_and_columns(text.trim_start_matches("tablename="));
            (Some(name), columns)
        }
    };
    let login =
        login(cx, into, if of_address.is_some() { address } else { &text }, "writer", "postgres")?;
    let (table, more) = match only(fields, "table") {
        Some(item) => {
            let (name, columns) = name_and_columns(&item.node.text()?);
            (Some(name), columns)
        }
        None => (of_address, columns),
    };
    Some((login, table, more))
}

/// `schema.table (a, b)`
pub(super) fn name_and_columns(text: &str) -> (String, Option<Vec<String>>) {
    match text.split_once('(') {
        Some((name, columns)) => {
            let columns = columns.trim_end().trim_end_matches(')').split(',');
            (name.trim().to_owned(), Some(columns.map(|it| it.trim().to_owned()).collect()))
        }
        None => (text.trim().to_owned(), None),
    }
}

fn login(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    text: &str,
    side: &str,
    wanted: &str,
) -> Option<Vec<Line>> {
    match url::address(text) {
        Ok(Some(address)) if wanted.is_empty() || address.plugin == wanted => {
            let database =
                address.options.iter().find(|(key, _)| matches!(*key, "database" | "path"));
            let wish = database.and_then(|(_, value)| value.as_str()).unwrap_or("store");
            let wish = wish.rsplit('/').next().unwrap_or(wish).trim_end_matches(".db").to_owned();
            Some(cx.login(&address, &wish, side))
        }
        Ok(_) => {
            let scheme = text.split("://").next().unwrap_or_default();
            let code = transload_plugin_api::code::IMPORT_PLUGIN;
            cx.notes.refuse_as(code, item, format!("there is no plugin for `{scheme}` here"), "");
            None
        }
        Err(why) => {
            cx.notes.refuse(item, format!("the address cannot be read: {why}"), "");
            None
        }
    }
}

fn database(
    cx: &mut Cx<'_>,
    fields: &Fields<'_>,
    (from, into): (&Item<'_>, &Item<'_>),
    with: &With<'_>,
    table: &str,
) {
    let Some(text) = from.node.text() else { return };
    let including = fields.take("including");
    let whole = table.is_empty();
    let mut patterns = Vec::new();
    if whole {
        patterns = chosen(cx, from, including.as_ref());
        for item in fields.take("excluding").map(|it| it.items()).unwrap_or_default() {
            patterns.extend(pattern(cx, &item).map(|it| format!("!{it}")));
        }
        if text.starts_with("mysql") {
            let database = database_of(&text);
            patterns.iter_mut().filter(|it| !it.contains('.')).for_each(|it| {
                let (sign, name) =
                    it.strip_prefix('!').map_or(("", it.as_str()), |name| ("!", name));
                *it = format!("{sign}{database}.{name}");
            });
        }
    }
    for key in ["including like", "materialize views", "materialize all views", "distribute"] {
        if let Some(item) = fields.take(key) {
            cx.notes.refuse(
                &item,
                format!("{} has no equal", key.to_uppercase()),
                "name the tables and views as tables",
            );
        }
    }
    let Some(login) = login(cx, from, &text, "reader", "") else { return };
    let is_mysql = text.to_lowercase().starts_with("mysql");
    let mut source = Side { is_table: true, ..Side::default() };
    source.lines.extend(login);
    source.lines.push(if whole { pair("tables", patterns) } else { pair("table", table) });
    if is_mysql {
        let message = "zero dates such as 0000-00-00 became NULL, by pgloader's rules";
        let lines = ("zero_dates = \"null\"", "leave `zero_dates` out in [reader]");
        if !cx.notes.is_repaired("zero-dates", from, message, lines) {
            source.lines.push(pair("zero_dates", "null"));
        }
        cx.note(Kind::Changed, from, "`tinyint(1)` became boolean and DATETIME an instant; a new table has smallint and timestamp now", "");
    }
    let Some((login, _, _)) = target(cx, fields, into) else { return };
    let mut target = Side { is_table: true, ..Side::default() };
    target.lines.extend(login);
    let name = target_name(cx, fields, from, &text, table, with);
    target.lines.push(pair("table", name));
    let is_new = !with.has("data only") && !with.has("create no tables");
    let _ = (with.has("create tables"), with.has("schema only"), with.has("no truncate"));
    let replaces = with.has("include drop") || with.has("truncate");
    target.lines.push(pair("write_mode", if replaces || is_new { "overwrite" } else { "insert" }));
    target.lines.push(pair("create_table", is_new));
    cast(cx, fields, table, &mut source);
    assemble_named(cx, source, target, from);
    error_limit(cx, into, with, true);
}

/// The patterns of the tables of a whole database.
fn chosen(cx: &mut Cx<'_>, from: &Item<'_>, including: Option<&Item<'_>>) -> Vec<String> {
    let address = from.node.text().unwrap_or_default();
    match including {
        Some(item) => item.items().iter().filter_map(|it| pattern(cx, it)).collect(),
        None if address.starts_with("mysql") => vec![format!("{}.*", database_of(&address))],
        None => vec!["*".to_owned()],
    }
}

/// `~/^film/` or `'film'` as a pattern of a job.
fn pattern(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<String> {
    let (text, schema) = in_schema(&item.node.text()?);
    let name = match text.strip_prefix('~') {
        None => text,
        Some(regex) => {
            let inner = regex.trim_matches(['/', '<', '>']);
            let (inner, before) = inner.strip_prefix('^').map_or((inner, "*"), |it| (it, ""));
            let (inner, after) = inner.strip_suffix('$').map_or((inner, "*"), |it| (it, ""));
            if inner == "." || inner == ".*" {
                "*".to_owned()
            } else if inner.chars().all(|c| c.is_alphanumeric() || c == '_') {
                format!("{before}{inner}{after}")
            } else {
                let hint = "patterns of a job have `*` and `?`";
                cx.notes.refuse(item, format!("the pattern `{text}` has no equal"), hint);
                return None;
            }
        }
    };
    Some(schema.map_or(name.clone(), |schema| format!("{schema}.{name}")))
}

/// The database of an address.
fn database_of(address: &str) -> &str {
    let path = address.split('?').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// The schema and the name of a table in PostgreSQL.
fn target_name(
    cx: &mut Cx<'_>,
    fields: &Fields<'_>,
    from: &Item<'_>,
    source: &str,
    table: &str,
    with: &With<'_>,
) -> String {
    let keeps_case = with.has("quote identifiers");
    let _ = with.has("downcase identifiers");
    let fold = |name: &str| if keeps_case { name.to_owned() } else { name.to_lowercase() };
    let is_mysql = source.starts_with("mysql");
    let is_sqlite = source.starts_with("sqlite");
    let mut schema = is_mysql.then(|| fold(database_of(source)));
    let mut name = fold(table);
    if table.is_empty() {
        name = "{table}".to_owned();
        schema = schema.or((!is_sqlite).then(|| "{schema}".to_owned()));
    }
    let between = |text: &str, before: &str| {
        let at = text.to_lowercase().find(before)?;
        let rest = text[at + before.len()..].trim().trim_start_matches('\'');
        rest.split('\'').next().map(str::to_owned)
    };
    for item in fields.take("alter schema").map(|it| it.items()).unwrap_or_default() {
        let text = item.node.text().unwrap_or_default();
        if let Some(renamed) = between(&text, "rename to") {
            schema = Some(renamed);
        }
    }
    for item in fields.take("alter table").map(|it| it.items()).unwrap_or_default() {
        let text = item.node.text().unwrap_or_default();
        if text.starts_with('~') || table.is_empty() {
            let hint =
                "name the tables of the command: INCLUDING ONLY TABLE NAMES MATCHING 'a', 'b'";
            cx.notes.refuse(&item, "tables are renamed that are not known here", hint);
        } else if text.contains(&format!("'{table}'")) {
            schema = between(&text, "set schema").or(schema);
            name = between(&text, "rename to").unwrap_or(name);
        }
    }
    if !keeps_case {
        cx.note(
            Kind::Changed,
            from,
            "pgloader wrote the names of columns in lower case; they stay as they are",
            "",
        );
    }
    schema.map_or(name.clone(), |schema| format!("{schema}.{name}"))
}

/// Rules of CAST for the columns of this table.
fn cast(cx: &mut Cx<'_>, fields: &Fields<'_>, table: &str, source: &mut Side) {
    for item in fields.take("cast").map(|it| it.items()).unwrap_or_default() {
        let text = item.node.text().unwrap_or_default();
        let words: Vec<_> = text.split_whitespace().collect();
        let to = words.iter().position(|it| it.eq_ignore_ascii_case("to"));
        let logical =
            to.and_then(|at| words.get(at + 1)).map(|it| it.trim_matches('"').to_lowercase());
        let column = words.first().filter(|it| it.eq_ignore_ascii_case("column")).and(words.get(1));
        match (column.and_then(|it| it.split_once('.')), logical.as_deref().and_then(logical_of)) {
            (Some((of, _)), _) if of != table => {}
            (Some((_, column)), Some(logical)) => source.schema.push(pair(column, logical)),
            _ => cx.notes.changed(&item, format!("`{text}`: types of a new table follow from the source's; write others into [reader.schema]")),
        }
    }
}

fn logical_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "text" | "varchar" => "text",
        "integer" | "int" | "serial" => "int32",
        "bigint" | "bigserial" => "int64",
        "smallint" => "int16",
        "boolean" => "boolean",
        "date" => "date",
        "timestamp" => "timestamp",
        "timestamptz" => "timestamptz",
        "uuid" => "uuid",
        "json" | "jsonb" => "json",
        "numeric" | "decimal" => "numeric",
        "bytea" => "binary",
        _ => return None,
    })
}

pub(super) fn error_limit(cx: &mut Cx<'_>, item: &Item<'_>, with: &With<'_>, stops: bool) {
    let stops =
        if with.has("on error stop") { true } else { stops && !with.has("on error resume next") };
    if stops {
        cx.job.put("dirty", pair("max_rows", 0));
        return;
    }
    let _ = with.has("on error resume next");
    let message = "without `on error stop`, any number of rows was rejected";
    let lines = ("max_rows = \"unlimited\" in [dirty]", "max_rows = 0 in [dirty]");
    match cx.notes.is_repaired("dirty-limit", item, message, lines) {
        true => cx.job.put("dirty", pair("max_rows", 0)),
        false => cx.job.choose(
            "dirty",
            ("max_rows", "unlimited".into()),
            "dirty-limit kept; to repair it: max_rows = 0",
        ),
    }
}

/// BEFORE LOAD and AFTER LOAD.
fn statements(cx: &mut Cx<'_>, fields: &Fields<'_>) {
    for (theirs, ours) in [("before", "before"), ("after", "after")] {
        let Some(item) = fields.take(theirs) else { continue };
        let texts: Vec<_> = item.items().iter().filter_map(|it| it.node.text()).collect();
        let texts: Vec<_> =
            texts.iter().map(|it| it.trim().trim_end_matches(';').to_owned()).collect();
        cx.job.put("writer", pair(ours, texts));
        if theirs == "before" {
            cx.notes
                .changed(&item, "it runs once the source is open; each job of the command runs it");
        }
    }
    for key in ["before execute", "after execute", "after create schema"] {
        if let Some(item) = fields.take(key) {
            cx.notes.refuse(
                &item,
                format!("{} has no equal", key.to_uppercase()),
                "write the statements into `before` or `after`",
            );
        }
    }
}

/// SET: what a session of PostgreSQL works with.
fn settings(cx: &mut Cx<'_>, fields: &Fields<'_>) {
    for item in fields.take("set").map(|it| it.items()).unwrap_or_default() {
        let text = item.node.text().unwrap_or_default();
        match text.to_lowercase().starts_with("search_path") {
            true => cx
                .notes
                .changed(&item, "names without a schema are those of the login's search path"),
            false => cx.notes.unused(&item, "sessions have settings of their own"),
        }
    }
}

const UNUSED: &[(&str, &str)] = &[
    ("workers", "`[channel]` says how many tasks run"),
    ("concurrency", "`[channel]` says how many tasks run"),
    ("batch", "it concerns speed"),
    ("prefetch", "it concerns speed"),
    ("rows per range", "the plan divides the table by itself"),
    ("multiple readers", "the plan divides the table by itself"),
    ("single reader", "`parallelism = 1` in [channel] says it"),
    ("max parallel create index", "indexes are not made"),
    ("create indexes", "of indexes, a new table has its key alone"),
    ("create no indexes", "of indexes, a new table has its key alone"),
    ("drop indexes", "indexes stay"),
    ("reindex", "indexes stay"),
    ("foreign keys", "a new table has no foreign keys"),
    ("no foreign keys", "a new table has no foreign keys"),
    ("reset sequences", "sequences are always moved on"),
    ("reset no sequences", "sequences are always moved on"),
    ("uniquify index names", "indexes are not made"),
    ("preserve index names", "indexes are not made"),
    ("drop schema", "schemas are not dropped"),
    ("create schema", "write it into `before`"),
    ("create schemas", "write it into `before`"),
    ("create no schema", "schemas are not made"),
    ("include no drop", "the table's rows are replaced or added to, as the mode says"),
    ("keep unquoted blanks", "blanks stay"),
    ("trim unquoted blanks", "blanks stay"),
    ("no truncate", ""),
    ("create tables", ""),
];
