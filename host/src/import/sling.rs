//! Replications of Sling: `source`, `target`, `defaults` and `streams`, each of which becomes a job.
//! Connections are known by name: from Sling's own `env.yaml`, from `connections.toml`, or as a URL.

use super::{
    assemble::assemble_named,
    cx::{Cx, Side},
    file_format::charset,
    job_text::pair,
    notes::Kind,
    sling_store::{Environment, Store, store},
    tree::{Fields, Item, Node, Value},
};

/// Whether a document looks like a replication.
pub(super) fn is_document(top: &Item<'_>) -> bool {
    let has_source = top.node.get("source").is_some() && top.node.get("target").is_some();
    has_source && matches!(top.node.get("streams").map(|it| &it.value), Some(Value::Map(_)))
}

/// The names of the streams that are not disabled.
pub(super) fn streams(top: &Item<'_>) -> Vec<String> {
    let Some(Value::Map(entries)) = top.node.get("streams").map(|it| &it.value) else {
        return Vec::new();
    };
    let is_disabled = |node: &Node| {
        matches!(node.get("disabled").map(|it| &it.value), Some(Value::Boolean(true)))
    };
    let active = entries.iter().filter(|entry| !is_disabled(&entry.node));
    active.map(|entry| entry.key.clone()).collect()
}

/// A stream with its defaults.
struct Stream<'n> {
    own: Fields<'n>,
    /// The names of all streams.
    names: Vec<&'n str>,
    defaults: Fields<'n>,
}

impl<'n> Stream<'n> {
    fn given(&self, key: &str) -> Option<Item<'n>> {
        let default = self.defaults.given(key);
        self.own.given(key).or(default)
    }
}

/// Imports one stream.
pub(super) fn import(
    cx: &mut Cx<'_>,
    top: &Item<'_>,
    name: &str,
    environment: Option<&Environment>,
) {
    let fields = Fields::of(top);
    let (Some(source), Some(target), Some(streams)) =
        (fields.take("source"), fields.take("target"), fields.take("streams"))
    else {
        return;
    };
    let defaults = fields.take("defaults");
    let all = Fields::of(&streams);
    let Some(item) = all.take(name) else { return };
    let defaults = defaults.unwrap_or_else(|| streams.clone());
    let names = match &streams.node.value {
        Value::Map(entries) => entries.iter().map(|entry| entry.key.as_str()).collect(),
        _ => Vec::new(),
    };
    let stream = Stream {
        own: Fields::of(&item),
        names,
        defaults: if defaults.path == "defaults" {
            Fields::of(&defaults)
        } else {
            Fields::of(&Item::top(&NOTHING))
        },
    };
    let from = store(cx, &source, environment);
    let into = store(cx, &target, environment);
    if let Some(hooks) = fields.given("hooks").or_else(|| stream.given("hooks")) {
        cx.notes.refuse(&hooks, "a job has no hooks", "statements go into `before` and `after`");
    }
    if let (Some(from), Some(into)) = (from, into) {
        sides(cx, &stream, (&item, name), (from, into));
    }
    for item in [&stream.own, &stream.defaults] {
        cx.notes.rest(item, "a stream", UNUSED);
    }
    cx.notes.rest(
        &fields,
        "a replication",
        &[("env", "it sets how Sling itself works"), ("version", "it is Sling's")],
    );
}

const NOTHING: Node = Node { value: Value::Null, offset: 0 };

fn is_table(plugin: &str) -> bool {
    !matches!(plugin, "file" | "object-store" | "generator")
}

fn sides(
    cx: &mut Cx<'_>,
    stream: &Stream<'_>,
    (item, name): (&Item<'_>, &str),
    (from, into): (Store, Store),
) {
    let mode = stream
        .given("mode")
        .and_then(|it| cx.text(&it))
        .unwrap_or_else(|| "full-refresh".to_owned());
    let sql = stream.given("sql");
    let Some(source) = source(cx, stream, (item, name), &from, sql.as_ref()) else { return };
    let Some(object) = stream.given("object").or_else(|| stream.given("name")) else {
        cx.notes.refuse(item, "`object` is missing: where the rows go", "");
        return;
    };
    let Some(object) = object_name(cx, &object, name, &from, &into) else { return };
    let mut target = Side { is_table: is_table(&into.plugin), ..Side::default() };
    target.lines.extend(into.lines.clone());
    match target.is_table {
        true => table(cx, stream, item, (&mode, &object, &into), &mut target),
        false => files(cx, stream, item, (&mode, &object), &mut target),
    }
    if target.is_table && !source.is_table && source.columns.is_none() {
        // A file's own names are the table's.
        target.columns = None;
    }
    assemble_named(cx, source, target, item);
    cx.job.put("dirty", pair("max_rows", 0));
}

fn source(
    cx: &mut Cx<'_>,
    stream: &Stream<'_>,
    (item, name): (&Item<'_>, &str),
    from: &Store,
    sql: Option<&Item<'_>>,
) -> Option<Side> {
    let mut side = Side { is_table: is_table(&from.plugin), ..Side::default() };
    side.lines.extend(from.lines.clone());
    let options = stream.given("source_options");
    let options = options.as_ref().map(Fields::of);
    if !side.is_table {
        read_files(cx, item, name, &mut side, options.as_ref());
    } else if let Some(sql) = sql {
        let query = cx.sql(sql)?;
        if query.contains("{") && query.contains("incremental") {
            cx.notes.refuse(
                sql,
                "the placeholders of incremental queries have no equal",
                "write `where` and `update_key`",
            );
            return None;
        }
        side.lines.push(pair("query", query.trim().trim_end_matches(';').to_owned()));
        side.is_query = true;
    } else {
        side.lines.push(match is_pattern(name) {
            true => pair("tables", patterns(name, &stream.names)),
            false => pair("table", name),
        });
        if let Some(condition) = stream.given("where").and_then(|it| cx.sql(&it)) {
            side.lines.push(pair("where", condition));
        }
    }
    if let Some(select) = stream.given("select") {
        let names = cx.texts(&select);
        match names.iter().any(|it| it.starts_with('-') || it.contains(['*', ' ', '('])) {
            true => cx.notes.refuse(
                &select,
                "columns that are left out, renamed or computed have no equal",
                "name the columns, or write `sql`",
            ),
            false if side.is_query => {}
            false => side.columns = Some(names),
        }
    }
    if let Some(columns) = stream.given("columns") {
        types(cx, &columns, &mut side);
    }
    for key in ["transforms", "source_query"] {
        if let Some(item) = stream.given(key) {
            cx.notes.refuse(&item, format!("there are no `{key}`"), "write them as SQL into `sql`");
        }
    }
    if let Some(options) = &options {
        cx.notes.rest(
            options,
            "`source_options`",
            &[
                ("limit", "all rows are read"),
                ("columns", ""),
                ("flatten", "objects are JSON; `nested` changes that"),
                ("skip_blank_lines", "empty lines are skipped"),
                ("empty_as_null", ""),
                ("max_decimals", "decimals keep their digits"),
                ("trim_space", ""),
            ],
        );
    }
    Some(side)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// The pattern of a stream, without the tables that have a stream of their own, also a disabled one.
fn patterns(name: &str, streams: &[&str]) -> Vec<String> {
    let start = name.split(['*', '?']).next().unwrap_or_default();
    let own = streams.iter().filter(|other| !is_pattern(other) && other.starts_with(start));
    let own = own.map(|other| format!("!{other}"));
    [name.to_owned()].into_iter().chain(own).collect()
}

/// Declared types become `[reader.schema]`.
fn types(cx: &mut Cx<'_>, columns: &Item<'_>, side: &mut Side) {
    let Value::Map(entries) = &columns.node.value else {
        cx.notes.refuse(columns, "`columns` are types by name", "");
        return;
    };
    for entry in entries {
        let kind = entry.node.text().unwrap_or_default().to_lowercase();
        let kind = kind.split('|').next().unwrap_or_default().trim().to_owned();
        let logical = match kind.as_str() {
            "string" | "text" | "varchar" => "text".to_owned(),
            "bigint" => "int64".to_owned(),
            "integer" | "int" => "int32".to_owned(),
            "smallint" => "int16".to_owned(),
            "float" | "double" => "float64".to_owned(),
            "bool" | "boolean" => "boolean".to_owned(),
            "date" => "date".to_owned(),
            "datetime" | "timestamp" => "timestamp".to_owned(),
            "timestampz" | "timestamptz" => "timestamptz".to_owned(),
            "json" => "json".to_owned(),
            "uuid" => "uuid".to_owned(),
            "decimal" | "number" => "numeric".to_owned(),
            "binary" => "binary".to_owned(),
            other if other.starts_with("decimal(") => other.replace(' ', ""),
            other => {
                let at = Item {
                    node: &entry.node,
                    path: format!("{}.{}", columns.path, entry.key),
                    offset: entry.offset,
                };
                cx.notes.refuse(
                    &at,
                    format!("there is no type `{other}`"),
                    "docs/job-file.md lists the types",
                );
                continue;
            }
        };
        side.schema.push(pair(entry.key.clone(), logical));
    }
}

fn read_files(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    name: &str,
    side: &mut Side,
    options: Option<&Fields<'_>>,
) {
    let path = match name.split_once("://") {
        Some(("file", path)) => path.to_owned(),
        Some((_, rest)) => rest.split_once('/').map_or(String::new(), |(_, key)| key.to_owned()),
        None => name.to_owned(),
    };
    if path.contains('{') {
        cx.notes.refuse(
            item,
            "the path has parts that Sling fills in",
            "write a pattern such as `data/*.csv`",
        );
    }
    side.lines.push(pair("path", path));
    let Some(options) = options else { return };
    if let Some(item) = options.given("format") {
        let text = cx.text(&item).unwrap_or_default();
        match text.as_str() {
            "csv" | "parquet" | "json" => side.lines.push(pair("format", text)),
            "jsonlines" => side.lines.push(pair("format", "jsonl")),
            _ => cx.notes.refuse(
                &item,
                format!("files of the format `{text}` are not read"),
                "CSV, JSON and Parquet are",
            ),
        }
    }
    if let Some(item) = options.take("delimiter") {
        let text = item.node.text().unwrap_or_default();
        side.lines.push(pair("delimiter", if text == "\\t" { "\t".to_owned() } else { text }));
    }
    if let Some(header) = options.given("header").and_then(|it| cx.boolean(&it)) {
        side.lines.push(pair("header", header));
    }
    if let Some(item) = options.take("null_if") {
        side.lines.push(pair("null", item.node.text().unwrap_or_default()));
    }
    if let Some(item) = options.given("encoding") {
        side.lines.extend(charset(cx, &item).map(|it| pair("encoding", it)));
    }
    if let Some(item) = options.given("datetime_format") {
        cx.notes.todo(
            &item,
            "the pattern of dates is not carried over",
            "write `timestamp_format` into [reader], such as `%d.%m.%Y %H:%M`",
        );
    }
    if let Some(item) = options.given("compression") {
        super::file_format::compression(cx, &item);
    }
}

/// The target's name, with Sling's variables filled in.
fn object_name(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    stream: &str,
    from: &Store,
    into: &Store,
) -> Option<String> {
    let text = item.node.text()?;
    let bare = stream.trim_matches('"');
    let (schema, table) = match stream.rsplit_once('.') {
        Some((schema, table)) if is_table(&from.plugin) => {
            (schema.trim_matches('"'), table.trim_matches('"'))
        }
        _ => (from.schema.as_str(), bare),
    };
    let is_many = is_table(&from.plugin) && is_pattern(stream);
    let (schema, table, bare) = match is_many {
        true if is_pattern(schema) => ("{schema}", "{table}", "{schema}.{table}"),
        true => (schema, "{table}", "{schema}.{table}"),
        false => (schema, table, bare),
    };
    let file = stream.rsplit('/').next().unwrap_or(stream);
    let file_name = file.split('.').next().unwrap_or(file);
    let mut name = text;
    for (variable, value) in [
        ("{stream_schema}", schema),
        ("{stream_table}", table),
        ("{stream_name}", bare),
        ("{stream_file_name}", file_name),
        ("{stream_table_lower}", &table.to_lowercase()),
        ("{stream_schema_lower}", &schema.to_lowercase()),
        ("{stream_table_upper}", &table.to_uppercase()),
        ("{target_schema}", &into.schema),
    ] {
        name = name.replace(variable, value);
    }
    let rest =
        if is_many { name.replace("{table}", "").replace("{schema}", "") } else { name.clone() };
    if is_many && !name.contains("{table}") {
        cx.notes.refuse(
            item,
            "all tables of the pattern would go to one target",
            "write `{stream_table}` into it",
        );
        return None;
    }
    if rest.contains(['{', '}']) {
        cx.notes.refuse(
            item,
            format!("`{name}` has a variable that the importer cannot fill in"),
            "write the target's name",
        );
        return None;
    }
    Some(name)
}

fn table(
    cx: &mut Cx<'_>,
    stream: &Stream<'_>,
    item: &Item<'_>,
    (mode, object, _): (&str, &str, &Store),
    side: &mut Side,
) {
    side.lines.push(pair("table", object.trim_start_matches('.')));
    let key = stream.given("primary_key").map(|it| cx.texts(&it)).unwrap_or_default();
    let update = stream.given("update_key");
    match mode {
        "full-refresh" | "truncate" => {
            side.lines.push(pair("write_mode", "overwrite"));
            let message = match mode {
                "full-refresh" => {
                    "Sling made the table anew; the job makes it if it is missing, and replaces its rows"
                }
                _ => "Sling emptied the table first; the job replaces its rows at the end",
            };
            cx.note(Kind::Changed, item, message, "");
        }
        "incremental" if !key.is_empty() => {
            side.lines.push(pair("write_mode", "upsert"));
            side.lines.push(pair("key", key.clone()));
            if let Some(update) = &update {
                let message = "rows that are newer than the target's by this column were read; the job reads all, and the \
                               key keeps the result the same";
                cx.notes.changed(update, message);
            }
        }
        "incremental" => {
            let message = "rows newer than the target's were appended without a key";
            cx.notes.refuse(
                item,
                message,
                "give `primary_key`, so that a row that is read twice is not doubled",
            );
        }
        other => {
            let message = format!("mode `{other}` has no equal");
            cx.notes.refuse(
                item,
                message,
                "full-refresh, truncate, and incremental with `primary_key` have",
            );
        }
    }
    side.lines.push(pair("create_table", true));
    let Some(options) = stream.given("target_options") else { return };
    let options = Fields::of(&options);
    for (theirs, ours) in [("pre_sql", "before"), ("post_sql", "after")] {
        if let Some(item) = options.given(theirs) {
            let statements = cx.statements(&item);
            side.lines.push(pair(ours, statements));
        }
    }
    cx.notes.rest(
        &options,
        "`target_options`",
        &[
            ("add_new_columns", "a column that the target lacks is refused"),
            ("adjust_column_type", "types of a table are never changed"),
            ("use_bulk", "the fastest way is used"),
            ("batch_limit", "`[checkpoint]` says it"),
            ("column_casing", "names stay as they are"),
            ("table_keys", "the key of a new table is the source's"),
            ("table_ddl", "the plan shows the statement"),
            ("datetime_format", "a table has types"),
        ],
    );
}

fn files(
    cx: &mut Cx<'_>,
    stream: &Stream<'_>,
    item: &Item<'_>,
    (mode, object): (&str, &str),
    side: &mut Side,
) {
    let path = match object.split_once("://") {
        Some(("file", path)) => path.to_owned(),
        Some((_, rest)) => rest.split_once('/').map_or(String::new(), |(_, key)| key.to_owned()),
        None => object.to_owned(),
    };
    if mode != "full-refresh" {
        let hint = "files are replaced as a whole: full-refresh";
        cx.notes.refuse(item, format!("mode `{mode}` has no equal for files"), hint);
    }
    side.needs_one_task = false;
    let has_format =
        [".csv", ".parquet", ".json", ".jsonl", ".gz", ".zst"].iter().any(|it| path.ends_with(it));
    side.lines.push(pair("path", path));
    side.lines.push(pair("write_mode", "overwrite"));
    let options = stream.given("target_options");
    let options = options.as_ref().map(Fields::of);
    let format = options.as_ref().and_then(|it| it.given("format")).and_then(|it| cx.text(&it));
    match format.as_deref() {
        Some("jsonlines") => side.lines.push(pair("format", "jsonl")),
        Some(format) => side.lines.push(pair("format", format)),
        None if !has_format => side.lines.push(pair("format", "csv")),
        None => {}
    }
    let Some(options) = options else { return };
    if let Some(item) = options.take("delimiter") {
        side.lines.push(pair("delimiter", item.node.text().unwrap_or_default()));
    }
    if let Some(header) = options.given("header").and_then(|it| cx.boolean(&it)) {
        side.lines.push(pair("header", header));
    }
    for (theirs, ours) in [("file_max_rows", "max_rows_per_object"), ("compression", "compression")]
    {
        if let Some(item) = options.given(theirs) {
            match theirs {
                "compression" => side
                    .lines
                    .extend(cx.text(&item).filter(|it| it != "auto").map(|it| pair(ours, it))),
                _ => side
                    .lines
                    .extend(cx.integer(&item).filter(|it| *it > 0).map(|it| pair(ours, it as i64))),
            }
        }
    }
    cx.notes.rest(
        &options,
        "`target_options`",
        &[
            ("file_max_bytes", "`max_bytes_per_object` says it"),
            ("concurrency", "`[channel]` says it"),
            ("datetime_format", "`timestamp_format` says it"),
        ],
    );
}

const UNUSED: &[(&str, &str)] = &[
    ("description", "it is a comment"),
    ("disabled", "the stream is active"),
    ("tags", "they choose streams on Sling's command line"),
    ("id", "it is Sling's"),
    ("single", "files are read as one source"),
    ("files", "the path says it"),
    ("update_key", "mode full-refresh reads all rows"),
    ("primary_key", "the mode needs no key"),
    ("where", "beside `sql` it had no effect"),
    ("source_options", ""),
    ("target_options", ""),
];
