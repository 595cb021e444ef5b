//! Documents of DataX: `job.content` with a reader and a writer, `job.setting`, and the keys around.

use transload_plugin_api::code;

use super::{
    address::Database,
    assemble::assemble,
    connections::Address,
    cx::{Cx, Side},
    file_source, file_target,
    jdbc::Store,
    job_text::{Line, pair},
    limits, stream,
    table_source::{self, Sources},
    table_target,
    tree::{Fields, Item, Value},
};

/// Whether a document looks like one of DataX.
pub(super) fn is_document(top: &Item<'_>) -> bool {
    let content = top.node.get("job").and_then(|job| job.get("content"));
    content.is_some_and(|content| matches!(content.value, Value::List(_) | Value::Map(_)))
}

/// How many entries `content` has.
pub(super) fn entries(top: &Item<'_>) -> usize {
    let content = top.node.get("job").and_then(|job| job.get("content"));
    match content.map(|content| &content.value) {
        Some(Value::List(items)) => items.len(),
        _ => 1,
    }
}

/// Imports one entry of `content`.
pub(super) fn import(cx: &mut Cx<'_>, top: &Item<'_>, entry: usize) {
    let fields = Fields::of(top);
    let Some(job) = fields.take("job") else { return };
    let job_fields = cx.fields(&job);
    let core = fields.take("core");
    let setting = job_fields.take("setting").unwrap_or_else(|| job.clone());
    let tasks = read_setting(cx, &setting, core.as_ref());
    let Some(content) = job_fields.take("content") else { return };
    let items = content.items();
    let Some(item) = items.get(entry) else {
        cx.notes.refuse(&content, "`content` is empty", "");
        return;
    };
    if let Some(second) = items.get(1).filter(|_| entry == 0) {
        let message = "DataX runs the first entry of `content` alone";
        let lines = ("this job alone", "import it with --repair=content: a job for each entry");
        cx.notes.is_repaired("content", second, message, lines);
    }
    read_content(cx, item, tasks);
    around(cx, &fields, &job_fields, core.as_ref());
}

fn read_setting(cx: &mut Cx<'_>, setting: &Item<'_>, core: Option<&Item<'_>>) -> u64 {
    let fields = cx.fields(setting);
    let speed = fields.take("speed");
    let tasks = limits::speed(cx, setting, speed.as_ref(), core);
    let limit = fields.take("errorLimit");
    limits::dirty(cx, setting, limit.as_ref());
    if setting.path.ends_with("setting") {
        cx.notes.rest(
            &fields,
            "`setting`",
            &[
                ("dryRun", "`transload plan` does it"),
                ("keyVersion", "it chose the key of encrypted values"),
                ("jvmOption", "there is no JVM"),
                ("restore", "FlinkX's; `transload resume` continues a run"),
                ("log", "`--log` says what is logged"),
                ("printDirtyData", "dirty rows are kept in files"),
            ],
        );
    }
    tasks
}

/// What stands beside `content`.
fn around(cx: &mut Cx<'_>, top: &Fields<'_>, job: &Fields<'_>, core: Option<&Item<'_>>) {
    if let Some(core) = core {
        let message = "it sets DataX's own buffers, retries and channels; the speed of a channel is read from it";
        cx.notes.unused(core, message);
    }
    for key in ["preHandler", "postHandler"] {
        if let Some(item) = job.given(key) {
            let hint = "write what it does into `before` or `after`";
            cx.notes.refuse(&item, "handlers of DataX are Java classes", hint);
        }
    }
    cx.notes.rest(
        top,
        "a document",
        &[
            ("common", "dates have forms of their own, and zones are not shifted"),
            ("entry", "there is no JVM"),
            ("plugin", "plugins are found by their names"),
        ],
    );
    cx.notes.rest(
        job,
        "`job`",
        &[
            ("JOB_ID", "it is DataX's"),
            ("jobId", "it is DataX's"),
            ("name", "the file's name is that of the job"),
        ],
    );
}

fn read_content(cx: &mut Cx<'_>, item: &Item<'_>, tasks: u64) {
    let fields = cx.fields(item);
    let side = |cx: &mut Cx<'_>, key: &str| {
        let found = fields.given(key);
        if found.is_none() {
            cx.notes.refuse(item, format!("`{key}` is missing"), "");
        }
        found
    };
    let (reader, writer) = (side(cx, "reader"), side(cx, "writer"));
    for transformer in fields.given("transformer").map(|it| it.items()).unwrap_or_default() {
        let name = transformer.node.get("name").and_then(|name| name.text()).unwrap_or_default();
        let hint = "write it as SQL into the reader's `column`, `where` or `querySql`";
        cx.notes.refuse(&transformer, format!("there are no transformers such as `{name}`"), hint);
    }
    cx.notes.rest(
        &fields,
        "an entry of `content`",
        &[("transformer", ""), ("taskId", "it is DataX's"), ("restoration", "FlinkX's")],
    );
    let (Some(reader), Some(writer)) = (reader, writer) else { return };
    let target = plugin(cx, &writer, "writer");
    let Some(target) =
        target.and_then(|(name, parameter)| write_side(cx, &name, &writer, &parameter))
    else {
        // Whatever is wrong with the other side is told as well.
        if let Some((name, parameter)) = plugin(cx, &reader, "reader") {
            read_side(cx, &name, &reader, &parameter, &Side::default(), tasks);
        }
        return;
    };
    let Some((name, parameter)) = plugin(cx, &reader, "reader") else { return };
    let Some(source) = read_side(cx, &name, &reader, &parameter, &target, tasks) else { return };
    let is_single = target.needs_one_task;
    assemble(cx, source, target, item);
    if is_single {
        one_task(cx);
    }
}

/// A stream is written by one task.
pub(super) fn one_task(cx: &mut Cx<'_>) {
    cx.job.replace("channel", pair("parallelism", 1));
}

/// The name of a side's plugin and its parameters.
fn plugin<'n>(cx: &mut Cx<'_>, side: &Item<'n>, role: &str) -> Option<(String, Item<'n>)> {
    let fields = cx.fields(side);
    let Some(name) = fields.given("name") else {
        cx.notes.refuse(side, format!("the {role} has no `name`"), "");
        return None;
    };
    let name = cx.text(&name)?.to_lowercase();
    let Some(parameter) = fields.take("parameter") else {
        cx.notes.refuse(side, format!("the {role} has no `parameter`"), "");
        return None;
    };
    for (key, item) in fields.rest() {
        if !matches!(key, "name" | "parameter" | "table") && !item.node.is_blank() {
            cx.notes.unused(&item, format!("a {role} has no key `{key}`"));
        }
    }
    Some((name, parameter))
}

/// The store of a database plugin by the first part of its name; `Some(None)` if the address says it.
pub(super) fn store_of(name: &str) -> Option<Option<Store>> {
    Some(match name {
        "mysql" | "mariadb" | "polardb" | "tddl" => Some(Store::Mysql),
        "postgresql" | "postgres" => Some(Store::Postgres),
        "sqlite" => Some(Store::Sqlite),
        "rdbms" => None,
        _ => return None,
    })
}

fn read_side(
    cx: &mut Cx<'_>,
    name: &str,
    reader: &Item<'_>,
    parameter: &Item<'_>,
    target: &Side,
    tasks: u64,
) -> Option<Side> {
    let kind = name.strip_suffix("reader").unwrap_or(name);
    let targets = target.columns.as_deref();
    match kind {
        "stream" => Some(stream::read(cx, parameter, tasks)),
        "txtfile" | "oss" | "s3" => {
            let fields = cx.fields(parameter);
            let (mut lines, paths) = match kind {
                "txtfile" => (vec![pair("plugin", "file")], paths(cx, parameter, &fields, "path")),
                _ => {
                    let bucket = bucket(cx, parameter, &fields, "reader")?;
                    (
                        bucket,
                        paths(
                            cx,
                            parameter,
                            &fields,
                            if fields.take("object").is_some() { "object" } else { "path" },
                        ),
                    )
                }
            };
            let side = file_source::read(cx, parameter, &fields, (paths, targets, target.is_table));
            cx.notes.rest(&fields, &format!("`{name}`"), UNUSED_OF_FILES);
            lines.extend(side.lines);
            Some(Side { lines, ..side })
        }
        _ => match store_of(kind) {
            Some(store) => table_source::read(
                cx,
                parameter,
                &format!("`{name}`"),
                Sources::Jdbc(store),
                targets,
            ),
            None => {
                unknown(cx, reader, name, kind);
                None
            }
        },
    }
}

fn write_side(
    cx: &mut Cx<'_>,
    name: &str,
    writer: &Item<'_>,
    parameter: &Item<'_>,
) -> Option<Side> {
    let kind = name.strip_suffix("writer").unwrap_or(name);
    match kind {
        "stream" => Some(stream::write(cx, parameter)),
        "txtfile" | "oss" | "s3" => {
            let fields = cx.fields(parameter);
            let (mut lines, place) = match kind {
                "txtfile" => (
                    vec![pair("plugin", "file")],
                    file_target::Place::File(file_name(cx, parameter, &fields)?),
                ),
                _ => {
                    let bucket = bucket(cx, parameter, &fields, "writer")?;
                    let object = fields.given("object").or_else(|| fields.given("path"));
                    let Some(object) = object.and_then(|it| cx.text(&it)) else {
                        cx.notes.refuse(parameter, "`object` is missing", "");
                        return None;
                    };
                    (bucket, file_target::Place::Objects(object.trim_start_matches('/').to_owned()))
                }
            };
            let side = file_target::read(cx, parameter, &fields, &place);
            cx.notes.rest(&fields, &format!("`{name}`"), UNUSED_OF_FILES);
            lines.extend(side.lines);
            Some(Side { lines, ..side })
        }
        _ => match store_of(kind) {
            Some(store) => {
                table_target::read(cx, parameter, &format!("`{name}`"), Sources::Jdbc(store))
            }
            None => {
                unknown(cx, writer, name, kind);
                None
            }
        },
    }
}

/// Says what there is in place of a plugin.
pub(super) fn unknown(cx: &mut Cx<'_>, item: &Item<'_>, name: &str, kind: &str) {
    let hint = match kind {
        "drds" | "adbmysql" | "adb" | "ads" | "tidb" | "oceanbasev10" | "oceanbase"
        | "polardbx" | "goldendb" | "selectdb" | "doris" | "starrocks" | "matrixone" => {
            "it speaks MySQL's protocol, which was not tested: try it with mysqlreader or mysqlwriter"
        }
        "adbpg" | "gpdb" | "greenplum" | "kingbasees" | "hologres" | "opengauss" | "gaussdb"
        | "hologresjdbc" => {
            "it speaks PostgreSQL's protocol, which was not tested: try it with postgresqlreader or postgresqlwriter"
        }
        "ftp" | "sftp" | "hdfs" => {
            "copy the files to this machine or into a bucket, and read them from there"
        }
        _ => "`transload plugin list` shows the plugins that there are",
    };
    let at = item.node.get("name").or_else(|| item.node.get("stepType"));
    let at =
        at.map_or(item.clone(), |node| Item { node, path: item.path.clone(), offset: node.offset });
    cx.notes.refuse_as(code::IMPORT_PLUGIN, &at, format!("there is no plugin for `{name}`"), hint);
}

fn paths(cx: &mut Cx<'_>, parameter: &Item<'_>, fields: &Fields<'_>, key: &str) -> Vec<String> {
    let paths = fields.given(key).map(|it| cx.texts(&it)).unwrap_or_default();
    if paths.is_empty() {
        cx.notes.refuse(parameter, format!("`{key}` is missing"), "");
    }
    let is_object = key == "object";
    paths
        .into_iter()
        .map(|path| if is_object { path.trim_start_matches('/').to_owned() } else { path })
        .collect()
}

/// The one file that a job writes.
fn file_name(cx: &mut Cx<'_>, parameter: &Item<'_>, fields: &Fields<'_>) -> Option<String> {
    let path = fields.given("path").and_then(|it| cx.text(&it));
    let name = fields.given("fileName").and_then(|it| cx.text(&it));
    let (Some(path), Some(name)) = (path, name) else {
        cx.notes.refuse(parameter, "`path` or `fileName` is missing", "");
        return None;
    };
    Some(format!("{}/{name}", path.trim_end_matches('/')))
}

/// The connection to a bucket.
fn bucket(
    cx: &mut Cx<'_>,
    parameter: &Item<'_>,
    fields: &Fields<'_>,
    side: &str,
) -> Option<Vec<Line>> {
    let Some(bucket) = fields.given("bucket").and_then(|it| cx.text(&it)) else {
        cx.notes.refuse(parameter, "`bucket` is missing", "");
        return None;
    };
    let mut address = Address {
        plugin: "object-store",
        options: vec![("url", format!("s3://{bucket}").into())],
        secrets: Vec::new(),
        remarks: Vec::new(),
    };
    if let Some(item) = fields.given("endpoint") {
        endpoint(cx, &item, &mut address);
    }
    for key in ["accessId", "accessKeyId"] {
        if let Some(id) = fields.given(key).and_then(|it| cx.text(&it)) {
            address.options.push(("access_key_id", id.into()));
        }
    }
    for key in ["accessKey", "accessKeySecret", "secretKey"] {
        if let Some(secret) = fields.given(key).and_then(|it| it.node.text()) {
            address.secrets.push(("secret_access_key", secret));
        }
    }
    Some(cx.login(&address, &bucket, side))
}

fn endpoint(cx: &mut Cx<'_>, item: &Item<'_>, address: &mut Address) {
    let Some(text) = cx.text(item) else { return };
    let host =
        text.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let is_local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|it| host.starts_with(it));
    let is_plain = text.starts_with("http://");
    let mut scheme = "https";
    if is_plain && is_local {
        scheme = "http";
    } else if is_plain {
        let message = "keys and rows went over HTTP, which is not encrypted";
        let lines = (
            "allow_http = true and an endpoint with http:// in the connection",
            "an endpoint with https://",
        );
        if !cx.notes.is_repaired("plain-http", item, message, lines) {
            scheme = "http";
            address.options.push(("allow_http", true.into()));
        }
    }
    address.options.push(("endpoint", format!("{scheme}://{host}").into()));
    if let Some(region) = host.strip_suffix(".aliyuncs.com") {
        address.options.push(("region", region.trim_end_matches("-internal").into()));
        // This vendor answers to the bucket's own host name only.
        address.options.push(("path_style", false.into()));
    }
}

/// A database of a platform's registry: the name says nothing about where it is.
pub(super) fn named_database(cx: &mut Cx<'_>, item: &Item<'_>, store: Store) -> Option<Database> {
    let name = cx.text(item)?;
    let address = Address {
        plugin: store.plugin(),
        options: Vec::new(),
        secrets: match store {
            Store::Sqlite => Vec::new(),
            _ => vec![("password", String::new())],
        },
        remarks: match store {
            Store::Sqlite => vec!["path = \"\"".to_owned()],
            _ => ["host = \"\"", "user = \"\"", "database = \"\""].map(str::to_owned).to_vec(),
        },
    };
    let login = cx.connections.named(&name, &address);
    Some(Database { store, login, name: String::new(), schema: None, server: name })
}

const UNUSED_OF_FILES: &[(&str, &str)] = &[
    ("cname", "`endpoint` says it"),
    ("proxyHost", "proxies are not used"),
    ("proxyPort", "proxies are not used"),
    ("proxyUsername", "proxies are not used"),
    ("proxyPassword", "proxies are not used"),
    ("successOnNoObject", "a source without files is an error"),
    ("balanceThreshold", "the plan divides large objects by itself"),
    ("blockSizeInMB", "`part_size` says it"),
    ("writeSingleObject", "rows are in several objects, which are visible at once"),
    ("generateEmptyFile", "`empty` says what a job without rows leaves"),
    ("encrypt", "the bucket's own setting counts"),
    ("fileFormat", ""),
    ("dateFormat", ""),
    ("csvReaderConfig", "it is the reader's"),
    ("encoding", "Parquet has one encoding"),
    ("fieldDelimiter", "Parquet has none"),
    ("header", "Parquet has names"),
    ("nullFormat", "Parquet has NULL"),
    ("compress", "Parquet files say it"),
    ("skipHeader", "Parquet has none"),
    ("lineDelimiter", "lines end with LF"),
    ("column", "the columns are those of the reader"),
    ("maxTraversalLevel", "folders are read whole"),
    ("envType", "it is the platform's"),
    ("singleFileSize", "the platform's"),
];
