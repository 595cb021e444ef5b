//! The writer of tables: what the sections of DataX's and DataWorks' database writers become.

use super::{
    address::{Database, Login, of_jdbc},
    columns::{Column, columns_of, plain_names},
    cx::{Cx, Side},
    jdbc::Store,
    job_text::{Line, pair},
    notes::Kind,
    table_source::{Sources, session, table_name},
    tree::{Fields, Item},
};

/// The writer.
pub(super) fn read(
    cx: &mut Cx<'_>,
    parameter: &Item<'_>,
    whose: &str,
    mut sources: Sources<'_>,
) -> Option<Side> {
    let fields = cx.fields(parameter);
    let (database, table) = target(cx, parameter, &fields, &mut sources)?;
    let store = database.store;
    let mut side = Side { is_table: true, ..Side::default() };
    side.lines.extend(database.login.clone());
    let name = table_name(&table, store);
    let name = match (&database.schema, name.contains('.')) {
        (Some(schema), false) => format!("{schema}.{name}"),
        _ => name,
    };
    side.lines.push(pair("table", name.clone()));
    match fields.given("column") {
        Some(item) => {
            let columns = columns_of(cx, &item, store);
            side.columns = plain_names(&columns);
            if side.columns.is_none() && columns != [Column::Star] {
                cx.notes.refuse(&item, "the writer's columns are names, each once, or `*`", "");
            }
        }
        None => cx.note(
            Kind::Changed,
            parameter,
            "it names no columns: all of the source are written",
            "",
        ),
    }
    let statements = Statements::read(cx, &fields, &name);
    let mode = write_mode(cx, &fields, store, &mut side);
    put_statements(cx, &mut side, statements, mode, &name);
    null_mode(cx, &fields);
    if let Some(item) = fields.given("emptyAsNull") {
        empty_as_null(cx, &item);
    }
    for item in fields.given("session").map(|it| it.items()).unwrap_or_default() {
        session(cx, &item);
    }
    cx.notes.rest(&fields, whose, UNUSED);
    Some(side)
}

/// The database and the table that are written.
fn target(
    cx: &mut Cx<'_>,
    parameter: &Item<'_>,
    fields: &Fields<'_>,
    sources: &mut Sources<'_>,
) -> Option<(Database, String)> {
    let login = Login::of(cx, fields);
    let given = fields.take("connection").map(|it| it.items()).unwrap_or_default();
    let (item, inner) = match given.first() {
        Some(first) => (first.clone(), Some(cx.fields(first))),
        None => (parameter.clone(), None),
    };
    if let Some(second) = given.get(1) {
        let message = "it writes to several databases, and a job writes to one table";
        cx.notes.refuse(second, message, "write a document for each of them");
        return None;
    }
    let nested = inner.as_ref().unwrap_or(fields);
    let database = match sources {
        Sources::Jdbc(store) => {
            let Some(url) = nested.given("jdbcUrl").and_then(|it| it.items().into_iter().next())
            else {
                cx.notes.refuse(&item, "`jdbcUrl` is missing", "");
                return None;
            };
            of_jdbc(cx, &url, &login, *store, Some("writer"))?
        }
        Sources::Named(named) => {
            let source = nested.given("datasource").or_else(|| fields.given("datasource"));
            let Some(source) = source else {
                cx.notes.refuse(&item, "`datasource` is missing", "");
                return None;
            };
            named(cx, &source)?
        }
    };
    let Some(tables) = nested.given("table").or_else(|| fields.given("table")) else {
        cx.notes.refuse(&item, "`table` is missing", "");
        return None;
    };
    let names = cx.texts(&tables);
    let names: Vec<_> = names.iter().flat_map(|it| it.split(',')).map(str::trim).collect();
    if names.len() != 1 || names[0].contains('[') && !names[0].starts_with('[') {
        let message =
            format!("it writes to several tables ({}), and a job writes to one", names.join(", "));
        cx.notes.refuse(&tables, message, "write a document for each of them");
        return None;
    }
    let name = names[0].to_owned();
    if let Some(inner) = inner {
        cx.notes.rest(
            &inner,
            "an entry of `connection`",
            &[
                ("driver", "the plugin has its own driver"),
                ("selectedDatabase", "the table's name says it"),
                ("datasourceType", "the plugin says it"),
            ],
        );
    }
    Some((database, name))
}

/// `preSql` and `postSql`.
struct Statements<'n> {
    before: Vec<String>,
    after: Vec<String>,
    item: Option<Item<'n>>,
}

impl<'n> Statements<'n> {
    fn read(cx: &mut Cx<'_>, fields: &Fields<'n>, table: &str) -> Self {
        let pre = fields.given("preSql");
        let mut read = |item: Option<Item<'n>>| {
            let texts = item.map(|it| cx.statements(&it)).unwrap_or_default();
            texts.into_iter().map(|text| text.replace("@table", table)).collect()
        };
        let (before, after) = (read(pre.clone()), read(fields.given("postSql")));
        Self { before, after, item: pre }
    }

    /// Whether the statements before the rows do nothing but empty the table.
    fn only_empties(&self, table: &str) -> bool {
        let plain = |text: &str| text.to_lowercase().replace(['`', '"', ';'], " ");
        let table = plain(table);
        let empties = |text: &String| {
            let text = plain(text);
            let words: Vec<_> = text.split_whitespace().collect();
            let name = table.trim();
            words == ["truncate", name]
                || words == ["truncate", "table", name]
                || words == ["delete", "from", name]
        };
        !self.before.is_empty() && self.before.iter().all(empties)
    }
}

fn put_statements(
    cx: &mut Cx<'_>,
    side: &mut Side,
    statements: Statements<'_>,
    mode: &'static str,
    table: &str,
) {
    let only_empties = statements.only_empties(table);
    if let Some(item) = statements.item.as_ref().filter(|_| !statements.before.is_empty()) {
        let message = "DataX ran it before it had looked at the source: a source that cannot be read left the \
                       target changed; the job opens the source first";
        cx.notes.changed(item, message);
    }
    if let Some(item) = statements.item.as_ref().filter(|_| only_empties && mode == "insert") {
        let message = "the target was empty while the rows were written, and after a failure";
        let lines = (
            "`before` as it is, write_mode = \"insert\"",
            "write_mode = \"overwrite\", without `before`",
        );
        if cx.notes.is_repaired("truncate-first", item, message, lines) {
            side.lines
                .retain(|line| !matches!(line, Line::Pair { key, .. } if key == "write_mode"));
            side.lines.push(pair("write_mode", "overwrite"));
            side.lines.extend(after(statements.after));
            return;
        }
    }
    if !statements.before.is_empty() {
        side.lines.push(pair("before", statements.before));
    }
    side.lines.extend(after(statements.after));
}

fn after(statements: Vec<String>) -> Option<Line> {
    (!statements.is_empty()).then(|| pair("after", statements))
}

/// Adds the write mode and what belongs to it.
fn write_mode(cx: &mut Cx<'_>, fields: &Fields<'_>, store: Store, side: &mut Side) -> &'static str {
    let item = fields.given("writeMode");
    let conflict = fields.given("conflictMode");
    let text = item.as_ref().and_then(|it| cx.text(it)).unwrap_or_else(|| "insert".to_owned());
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let (word, key) = match plain.split_once('(') {
        Some((word, key)) => (word.trim(), Some(key.trim_end_matches(')'))),
        None => (plain.as_str(), None),
    };
    let mode = match (word, store) {
        ("insert" | "insert into", _) => "insert",
        ("insert ignore" | "insert ignore into", Store::Mysql) => {
            if let Some(item) = &item {
                let message = "INSERT IGNORE also cut long texts and changed numbers that did not fit, without a \
                               word; such rows are dirty now";
                cx.notes.changed(item, message);
            }
            "ignore"
        }
        ("update" | "on duplicate key update", Store::Mysql) => {
            if let Some(item) = &item {
                let message = "DataX also set the key columns, which changes their case at most; an upsert leaves \
                               them";
                cx.notes.changed(item, message);
            }
            "upsert"
        }
        ("update" | "upsert" | "insert on conflict do update" | "on conflict do update", _) => {
            "upsert"
        }
        ("insert on conflict do nothing" | "on conflict do nothing", _) => "ignore",
        ("replace" | "replace into", Store::Mysql) => "replace",
        ("replace" | "replace into", _) => "upsert",
        ("copy", Store::Postgres) => {
            side.lines.push(pair("load", "copy"));
            "insert"
        }
        ("copy on conflict do nothing", Store::Postgres) => "copy on conflict do nothing",
        ("copy on conflict do update", Store::Postgres) => "copy on conflict do update",
        _ => {
            if let Some(item) = &item {
                let hint = "write `insert`, `replace` or `update`";
                cx.notes.refuse(item, format!("there is no write mode `{text}`"), hint);
            }
            "insert"
        }
    };
    let mode = match conflict.as_ref().and_then(|it| cx.text(it)).map(|it| it.to_lowercase()) {
        Some(conflict) if conflict == "upsert" => "upsert",
        Some(conflict) if conflict == "ignore" => "ignore",
        Some(_) | None => mode,
    };
    side.lines.push(pair("write_mode", mode));
    if let Some(key) = key {
        side.lines.push(pair(
            "key",
            key.split(',').map(|it| store.folded(it.trim())).collect::<Vec<_>>(),
        ));
    }
    for (name, line) in
        [("updateColumn", "update_columns"), ("upsertKeys", "key"), ("pkColumns", "key")]
    {
        if let Some(item) = fields.given(name) {
            let names = cx.texts(&item);
            let names: Vec<_> =
                names.iter().map(|it| it.trim_matches(['`', '"']).to_owned()).collect();
            if mode == "upsert" {
                side.lines.push(pair(line, names));
            } else {
                cx.notes.unused(&item, format!("with writeMode `{mode}` it has no effect"));
            }
        }
    }
    mode
}

fn null_mode(cx: &mut Cx<'_>, fields: &Fields<'_>) {
    let Some(item) = fields.given("nullMode") else { return };
    match cx.text(&item).unwrap_or_default().to_lowercase().as_str() {
        "writenull" => cx.notes.unused(&item, "NULL is always written"),
        "skipnull" => cx.notes.refuse(
            &item,
            "`skipNull` wrote the column's default for a NULL, and a job writes NULL",
            "write COALESCE(column, default) in the reader's `column`",
        ),
        other => cx.notes.refuse(&item, format!("there is no `nullMode` {other}"), ""),
    }
}

fn empty_as_null(cx: &mut Cx<'_>, item: &Item<'_>) {
    match cx.boolean(item) {
        Some(true) => cx.notes.changed(
            item,
            "an empty text for a column of numbers or dates became NULL; such a row is dirty now",
        ),
        Some(false) => cx.notes.unused(item, "an empty text is never turned into NULL"),
        None => {}
    }
}

const UNUSED: &[(&str, &str)] = &[
    ("batchSize", "it concerns speed: chunks hold 50,000 rows, `[checkpoint]` changes that"),
    ("batchByteSize", "it concerns speed: chunks hold 64 MiB, `[checkpoint]` changes that"),
    ("dryRun", "`transload plan` does it"),
    ("encoding", "texts are UTF-8 in the database's protocol"),
    ("driver", "the plugin has its own driver"),
    ("maxRetryTimes", "`reconnect_window` says how long a lost server is tried again"),
    ("retryIntervalInMsec", "`reconnect_window` says how long a lost server is tried again"),
    ("envType", "it is the platform's"),
    ("useSpecialSecret", "it is the platform's"),
    ("tableComment", "it is the platform's"),
    ("datasourceType", "the plugin says it"),
    ("extend", "it is the platform's"),
    ("guid", "it is the platform's"),
    ("tag", "it is the platform's"),
    ("writeBatchSize", "it concerns speed"),
    ("writeMode", ""),
];
