//! Scripts of DataWorks Data Integration: `steps` with a reader and a writer, `order.hops`, `setting`.
//! Its data sources are known by name alone.

use super::{
    assemble::assemble,
    connections::Address,
    cx::{Cx, Side},
    datax::{named_database, one_task, store_of, unknown},
    file_source, file_target,
    job_text::{Line, pair},
    limits, stream,
    table_source::{self, Sources},
    table_target,
    tree::{Fields, Item, Value},
};

/// Whether a document looks like such a script.
pub(super) fn is_document(top: &Item<'_>) -> bool {
    matches!(top.node.get("steps").map(|steps| &steps.value), Some(Value::List(_)))
}

/// Imports a script.
pub(super) fn import(cx: &mut Cx<'_>, top: &Item<'_>) {
    let fields = Fields::of(top);
    if let Some(item) = fields.given("type")
        && cx.text(&item).is_some_and(|it| it != "job")
    {
        let message = "it is no batch job: real-time scripts follow a log of changes";
        cx.notes.refuse(&item, message, "a job reads tables as they are");
        return;
    }
    if let Some(item) = fields.given("version")
        && cx.text(&item).is_some_and(|it| !it.starts_with('2') && !it.starts_with('1'))
    {
        cx.notes.changed(&item, "the script is read as one of version 2.0");
    }
    let Some(steps) = fields.take("steps") else { return };
    let steps = steps.items();
    let reader = step(cx, top, &steps, "reader");
    let writer = step(cx, top, &steps, "writer");
    for other in &steps {
        let category = category(other);
        if category != "reader" && category != "writer" {
            let message = format!("a job has a reader and a writer, and no step `{category}`");
            cx.notes.refuse(
                other,
                message,
                "write it as SQL into the reader's `column` or `where`",
            );
        }
    }
    let tasks = setting(cx, top, fields.take("setting").as_ref());
    order(cx, &fields);
    cx.notes.rest(
        &fields,
        "a script",
        &[
            ("transform", "it is not set in a script"),
            ("extend", "it is the platform's"),
            ("config", "it is the platform's"),
            ("nodeDef", "it is the platform's"),
        ],
    );
    let (Some(reader), Some(writer)) = (reader, writer) else { return };
    let target = write_side(cx, &writer);
    let has_target = target.is_some();
    let target = target.unwrap_or_default();
    let source = read_side(cx, &reader, &target, tasks);
    let (Some(source), true) = (source, has_target) else { return };
    let is_single = target.needs_one_task;
    assemble(cx, source, target, &writer);
    if is_single {
        one_task(cx);
    }
}

fn category(step: &Item<'_>) -> String {
    let category = step.node.get("category").and_then(|it| it.text());
    category.unwrap_or_default().trim().to_lowercase()
}

/// The one step of a category.
fn step<'n>(cx: &mut Cx<'_>, top: &Item<'n>, steps: &[Item<'n>], wanted: &str) -> Option<Item<'n>> {
    let mut found = steps.iter().filter(|step| category(step) == wanted);
    let first = found.next().cloned();
    if first.is_none() {
        cx.notes.refuse(top, format!("it has no step of the category `{wanted}`"), "");
    }
    if let Some(second) = found.next() {
        cx.notes.refuse(
            second,
            format!("it has more than one {wanted}"),
            "divide it into jobs of one each",
        );
    }
    first
}

fn setting(cx: &mut Cx<'_>, top: &Item<'_>, setting: Option<&Item<'_>>) -> u64 {
    let at = setting.unwrap_or(top);
    let fields = setting.map(|it| cx.fields(it));
    let limit = fields.as_ref().and_then(|it| it.take("errorLimit"));
    limits::dirty(cx, at, limit.as_ref());
    let speed = fields.as_ref().and_then(|it| it.take("speed"));
    let tasks = speed.map(|it| self::speed(cx, &it)).unwrap_or(1);
    if let Some(fields) = fields {
        cx.notes.rest(
            &fields,
            "`setting`",
            &[
                ("executeMode", "a job runs on one machine"),
                ("jvmOption", "there is no JVM"),
                ("locale", "it is the platform's"),
                ("collectSchemaEnabled", "it is the platform's"),
            ],
        );
    }
    tasks
}

fn speed(cx: &mut Cx<'_>, item: &Item<'_>) -> u64 {
    let fields = cx.fields(item);
    let concurrent = fields.given("concurrent").and_then(|it| cx.integer(&it));
    let tasks = concurrent.filter(|tasks| *tasks > 0);
    if let Some(tasks) = tasks {
        cx.job.put("channel", pair("parallelism", tasks.min(1024) as i64));
    }
    let throttle = fields.given("throttle").and_then(|it| cx.boolean(&it)).unwrap_or(false);
    if let Some(mbps) = fields.given("mbps") {
        match (throttle, cx.integer(&mbps)) {
            (true, Some(rate)) if rate > 0 => {
                cx.job.put("channel", pair("max_bytes_per_second", format!("{rate} MB")));
                cx.notes.changed(&mbps, "it is taken for MB per second, as today's manual says; the one of 2018 says Mbit");
            }
            (false, _) => cx.notes.unused(&mbps, "with `throttle: false` it had no effect"),
            _ => {}
        }
    }
    cx.notes.rest(
        &fields,
        "`speed`",
        &[("dmu", "it is the platform's"), ("channel", "`concurrent` says it")],
    );
    tasks.unwrap_or(1)
}

/// `order.hops`: from the reader to the writer.
fn order(cx: &mut Cx<'_>, fields: &Fields<'_>) {
    let Some(order) = fields.given("order") else { return };
    let Some(hops) = cx.fields(&order).take("hops") else { return };
    if let Some(second) = hops.items().get(1) {
        cx.notes.refuse(
            second,
            "a job has one way, from its reader to its writer",
            "divide it into jobs",
        );
    }
}

/// The kind of a step's store and its parameters.
fn parts<'n>(cx: &mut Cx<'_>, step: &Item<'n>) -> Option<(String, Item<'n>)> {
    let fields = cx.fields(step);
    let Some(kind) = fields.given("stepType").and_then(|it| cx.text(&it)) else {
        cx.notes.refuse(step, "`stepType` is missing", "");
        return None;
    };
    let Some(parameter) = fields.take("parameter") else {
        cx.notes.refuse(step, "`parameter` is missing", "");
        return None;
    };
    ["category", "name"].iter().for_each(|key| drop(fields.take(key)));
    cx.notes.rest(
        &fields,
        "a step",
        &[
            ("copies", "it is the platform's"),
            ("displayName", "it is the platform's"),
            ("description", "it is the platform's"),
            ("gui", "it is the platform's"),
        ],
    );
    Some((kind.trim().to_lowercase(), parameter))
}

/// Whether a side says its address itself.
fn has_address(parameter: &Item<'_>) -> bool {
    let first = parameter.node.get("connection").map(|it| Item::top(it).items());
    let first = first.and_then(|items| items.first().map(|it| it.node.get("jdbcUrl").is_some()));
    parameter.node.get("jdbcUrl").is_some() || first.unwrap_or(false)
}

fn read_side(cx: &mut Cx<'_>, step: &Item<'_>, target: &Side, tasks: u64) -> Option<Side> {
    let (kind, parameter) = parts(cx, step)?;
    let targets = target.columns.as_deref();
    let whose = format!("the reader `{kind}`");
    if kind == "stream" {
        return Some(stream::read(cx, &parameter, tasks));
    }
    if matches!(kind.as_str(), "oss" | "s3") {
        let fields = cx.fields(&parameter);
        let mut lines = bucket(cx, &parameter, &fields)?;
        let object = fields.given("object").or_else(|| fields.given("path"));
        let paths = object.map(|it| cx.texts(&it)).unwrap_or_default();
        if paths.is_empty() {
            cx.notes.refuse(&parameter, "`object` is missing", "");
        }
        let paths = paths.into_iter().map(|it| it.trim_start_matches('/').to_owned()).collect();
        let side = file_source::read(cx, &parameter, &fields, (paths, targets, target.is_table));
        cx.notes.rest(&fields, &whose, UNUSED_OF_OBJECTS);
        lines.extend(side.lines);
        return Some(Side { lines, ..side });
    }
    let Some(store) = store_of(&kind) else {
        unknown(cx, step, &kind, &kind);
        return None;
    };
    match (has_address(&parameter), store) {
        (false, Some(store)) => {
            let mut named = |cx: &mut Cx<'_>, item: &Item<'_>| named_database(cx, item, store);
            table_source::read(cx, &parameter, &whose, Sources::Named(&mut named), targets)
        }
        _ => table_source::read(cx, &parameter, &whose, Sources::Jdbc(store), targets),
    }
}

fn write_side(cx: &mut Cx<'_>, step: &Item<'_>) -> Option<Side> {
    let (kind, parameter) = parts(cx, step)?;
    let whose = format!("the writer `{kind}`");
    if kind == "stream" {
        return Some(stream::write(cx, &parameter));
    }
    if matches!(kind.as_str(), "oss" | "s3") {
        let fields = cx.fields(&parameter);
        let mut lines = bucket(cx, &parameter, &fields)?;
        let object = fields.given("object").or_else(|| fields.given("path"));
        let Some(object) = object.and_then(|it| cx.text(&it)) else {
            cx.notes.refuse(&parameter, "`object` is missing", "");
            return None;
        };
        let place = file_target::Place::Objects(object.trim_start_matches('/').to_owned());
        let side = file_target::read(cx, &parameter, &fields, &place);
        cx.notes.rest(&fields, &whose, UNUSED_OF_OBJECTS);
        lines.extend(side.lines);
        return Some(Side { lines, ..side });
    }
    let Some(store) = store_of(&kind) else {
        unknown(cx, step, &kind, &kind);
        return None;
    };
    match (has_address(&parameter), store) {
        (false, Some(store)) => {
            let mut named = |cx: &mut Cx<'_>, item: &Item<'_>| named_database(cx, item, store);
            table_target::read(cx, &parameter, &whose, Sources::Named(&mut named))
        }
        _ => table_target::read(cx, &parameter, &whose, Sources::Jdbc(store)),
    }
}

/// The connection of a bucket that the platform knows.
fn bucket(cx: &mut Cx<'_>, parameter: &Item<'_>, fields: &Fields<'_>) -> Option<Vec<Line>> {
    let Some(item) = fields.given("datasource") else {
        cx.notes.refuse(parameter, "`datasource` is missing", "");
        return None;
    };
    let name = cx.text(&item)?;
    let address = Address {
        plugin: "object-store",
        options: vec![("url", "s3://BUCKET".into())],
        secrets: vec![("secret_access_key", String::new())],
        remarks: vec!["endpoint = \"https://...\"".to_owned(), "access_key_id = \"\"".to_owned()],
    };
    Some(cx.connections.named(&name, &address))
}

const UNUSED_OF_OBJECTS: &[(&str, &str)] = &[
    ("envType", "it is the platform's"),
    ("useSpecialSecret", "it is the platform's"),
    ("datasourceType", "the plugin says it"),
    ("fileFormat", ""),
    ("fieldDelimiterOrigin", "`fieldDelimiter` says it"),
    ("lineDelimiter", "records end at line ends"),
    ("writeSingleObject", "rows are in several objects, which are visible at once"),
    ("ossBlockSize", "`part_size` says it"),
    ("encoding", "Parquet has one encoding"),
    ("fieldDelimiter", "Parquet has none"),
    ("compress", "Parquet files say it"),
    ("nullFormat", "Parquet has NULL"),
    ("header", "Parquet has names"),
    ("skipHeader", "Parquet has none"),
    ("maxFileSize", "`max_bytes_per_object` says it"),
];
