//! Whole job files against two made-up plugins: what is refused, with the exact words, and what
//! good files mean.

use std::{fs, path::PathBuf};

use serde_json::json;
use tempfile::TempDir;
use transload_plugin_api::{
    ConflictEffect, Descriptor, Error, Guarantee, KeyNeed, Limits, LoadMethod, LogicalType,
    OptionKind, OptionSpec, ReaderDescriptor, Secrets, SplitAbility, WriteMode, WriteModeSpec,
    WriterDescriptor,
};

use super::{file::DraftSide, secret::SecretRef, *};

fn mode(mode: WriteMode) -> WriteModeSpec {
    let guarantee = Guarantee::AtLeastOnce;
    WriteModeSpec::new(mode, KeyNeed::Nothing, ConflictEffect::None, guarantee, "a mode")
}

/// A database: connection, secrets, statements, bulk loading.
fn shopdb() -> Descriptor {
    Descriptor {
        name: "shopdb".into(),
        version: "1.0.0".into(),
        summary: "a database".into(),
        options: vec![
            OptionSpec::new("host", OptionKind::Text, "name of the server").required().connection(),
            OptionSpec::new("port", OptionKind::Integer { min: 1, max: 65_535 }, "its port")
                .default(5_432)
                .connection(),
            OptionSpec::new("password", OptionKind::Text, "the login's password").secret(),
            OptionSpec::new("timeout", OptionKind::Duration, "longest wait")
                .default("30 s")
                .connection(),
            OptionSpec::new("settings", OptionKind::Map, "settings of the session").connection(),
            OptionSpec::new("table", OptionKind::Text, "the table to copy").required(),
        ],
        reader: Some(ReaderDescriptor {
            options: vec![
                OptionSpec::new("where", OptionKind::Text, "a condition"),
                OptionSpec::new("fetch", OptionKind::Size, "bytes at a time").default("1 MiB"),
            ],
            types: Vec::new(),
            ability: SplitAbility::Seekable,
            parses_text: false,
        }),
        writer: Some(WriterDescriptor {
            options: vec![OptionSpec::new("batch", OptionKind::Size, "bytes of a statement")],
            modes: vec![mode(WriteMode::Insert), mode(WriteMode::Upsert), mode(WriteMode::Ignore)],
            loads: vec![LoadMethod::Insert, LoadMethod::Copy],
            creates_table: true,
            runs_statements: true,
            job_names_key: false,
            limits: Limits::default(),
            types: Vec::new(),
        }),
        ..Descriptor::default()
    }
}

/// Files: paths, no statements, no tables to create.
fn sheets() -> Descriptor {
    Descriptor {
        name: "sheets".into(),
        version: "1.0.0".into(),
        summary: "files".into(),
        options: vec![
            OptionSpec::new("path", OptionKind::Paths, "files to read or write").required(),
            OptionSpec::new("delimiter", OptionKind::Text, "between fields").default(","),
            OptionSpec::new("quote", OptionKind::choice(&["always", "needed"]), "when to quote")
                .default("needed"),
        ],
        reader: Some(ReaderDescriptor {
            options: vec![
                OptionSpec::new("header", OptionKind::Boolean, "a line of names").default(true),
                OptionSpec::new("sample", OptionKind::Float { min: 0.0, max: 1.0 }, "share"),
                OptionSpec::new("nulls", OptionKind::List, "words for NULL"),
                OptionSpec::new("lookup", OptionKind::Path, "a table of words")
                    .default("words.txt"),
            ],
            ..ReaderDescriptor::default()
        }),
        writer: Some(WriterDescriptor {
            modes: vec![mode(WriteMode::Overwrite)],
            ..WriterDescriptor::default()
        }),
        ..Descriptor::default()
    }
}

fn find(plugin: &str) -> Result<Descriptor, Error> {
    match plugin {
        "shopdb" => Ok(shopdb()),
        "sheets" => Ok(sheets()),
        "source-only" => Ok(Descriptor { writer: None, ..shopdb() }),
        other => Err(Error::not_found(format!("unknown plugin `{other}`"))
            .hint("the connections are `sheets`, `shopdb`")),
    }
}

/// A fresh folder with a job and its connections.
struct Case {
    folder: TempDir,
    request: JobRequest,
}

impl Case {
    fn new(job: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("job.toml");
        fs::write(&path, job).unwrap();
        let connection_files = vec![folder.path().join("connections.toml")];
        let bizdate = Some("20261120".to_owned());
        let request = JobRequest { path, connection_files, bizdate, ..JobRequest::default() };
        Self { folder, request }
    }

    fn connections(self, text: &str) -> Self {
        fs::write(self.folder.path().join("connections.toml"), text).unwrap();
        self
    }

    fn param(mut self, name: &str, value: &str) -> Self {
        self.request.params.push((name.to_owned(), value.to_owned()));
        self
    }

    fn env(mut self, env: &str) -> Self {
        self.request.env = Some(env.to_owned());
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[cfg(unix)]
    fn mode(self, name: &str, mode: u32) -> Self {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn run(&self) -> Result<Job, Problems> {
        Job::load(&self.request)?.resolve(find)
    }

    fn job(&self) -> Job {
        self.run().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The problems as they are shown, without the folder's name.
    fn refusal(&self) -> String {
        let problems = self.run().expect_err("the job must be refused");
        problems.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

const READER: &str = "[reader]\nplugin = \"sheets\"\npath = \"in.csv\"\n";
const WRITER: &str = "[writer]\nplugin = \"shopdb\"\nhost = \"db\"\ntable = \"orders\"\n";

fn with_reader(lines: &str) -> Case {
    Case::new(&format!("{READER}{lines}\n{WRITER}"))
}

/// The added lines begin at line 8.
fn with_writer(lines: &str) -> Case {
    Case::new(&format!("{READER}{WRITER}{lines}\n"))
}

/// Every refusal is compared in full: place, words and hint.
fn check(cases: &[(&str, &str)], case: impl Fn(&str) -> Case) {
    for (lines, expected) in cases {
        assert_eq!(case(lines).refusal(), *expected, "{lines}");
    }
}

/// Each key gets a value that no key takes: one that is listed and never read would be accepted.
#[test]
fn every_key_that_is_listed_is_read() {
    fn refused(case: &Case, path: &str) {
        let problems = case.run().expect_err(path);
        let of_key = |problem: &Problem| problem.key == path;
        assert!(problems.iter().any(of_key), "`{path}` is not read: {problems}");
    }
    let mut count = 0;
    for top in keys::TOP {
        let wrong = format!("{} = [[1]]\n{READER}{WRITER}", top.name);
        let keys::Kind::Section(own) = top.kind else {
            refused(&Case::new(&wrong), top.name);
            continue;
        };
        for key in own {
            let line = format!("{} = [[1]]", key.name);
            let case = match top.name {
                "reader" => with_reader(&line),
                "writer" => with_writer(&line),
                other => with_writer(&format!("[{other}]\n{line}")),
            };
            if key.name != "plugin" {
                refused(&case, &format!("{}.{}", top.name, key.name));
                count += 1;
            }
        }
    }
    assert!(count > 15, "only {count} keys");
}

#[test]
fn t41_unknown_keys_are_refused_with_the_nearest_name() {
    check(
        &[
            (
                "writemode = \"upsert\"",
                "job.toml:8:1: unknown key `writemode` in [writer]\n  hint: did you mean `write_mode`?",
            ),
            (
                "writerMode = \"upsert\"",
                "job.toml:8:1: unknown key `writerMode` in [writer]\n  hint: did you mean `write_mode`?",
            ),
            (
                "bacth = \"1 MiB\"",
                "job.toml:8:1: unknown key `bacth` in [writer]\n  hint: did you mean `batch`?",
            ),
            ("zzz = 1", "job.toml:8:1: unknown key `zzz` in [writer]"),
            (
                "where = \"id > 5\"",
                "job.toml:8:1: unknown key `where` in [writer]\n  hint: it is an option of the plugin's reader",
            ),
            (
                "[chanel]\nparallelism = 2",
                "job.toml:8:2: unknown section [chanel]\n  hint: did you mean `channel`?",
            ),
            (
                "[channel]\nparalelism = 2",
                "job.toml:9:1: unknown key `paralelism` in [channel]\n  hint: did you mean `parallelism`?",
            ),
            (
                "[dirty]\nmaxrows = 2",
                "job.toml:9:1: unknown key `maxrows` in [dirty]\n  hint: did you mean `max_rows`?",
            ),
            (
                "[guarantee]\nrequired = \"convergent\"",
                "job.toml:9:1: unknown key `required` in [guarantee]\n  hint: did you mean `require`?",
            ),
        ],
        with_writer,
    );
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    check(
        &[
            (
                "create_table = \"yes\"",
                "job.toml:8:16: `create_table` must be `true` or `false`, found a string",
            ),
            (
                "key = [\"id\", 5]",
                "job.toml:8:14: `key` must be a column name or a list of them, found an integer",
            ),
            (
                "before = [1]",
                "job.toml:8:11: `before` must be a string or a list of strings, found an integer",
            ),
            (
                "timeout = 30",
                "job.toml:8:11: `timeout` must be a duration such as `250 ms`, `30 s`, `10 min` or \
                 `2 h`, found an integer",
            ),
            ("settings = { a = 1 }", "job.toml:8:18: `a` must be a string, found an integer"),
            (
                "batch = { env = \"BATCH\" }",
                "job.toml:8:9: `batch` must be a size such as `64 MiB`, `20 MB` or a number of \
                 bytes, found a table\n  hint: only secret options can be taken from elsewhere",
            ),
            ("[map]\norder_id = 5", "job.toml:9:12: `order_id` must be a string, found an integer"),
            (
                "[params]\nday = 2026-11-20",
                "job.toml:9:7: parameter `day` must be a string or an integer, found a date",
            ),
        ],
        with_writer,
    );
}

#[test]
fn values_out_of_bounds_are_refused() {
    check(
        &[
            (
                "write_mode = \"upsrt\"",
                "job.toml:8:14: `write_mode` must be one of `insert`, `ignore`, `upsert`, \
                 `replace`, `overwrite`, found `upsrt`\n  hint: did you mean `upsert`?",
            ),
            ("key = [\"id\", \"id\"]", "job.toml:8:14: `key` names `id` twice"),
            (
                "key = []",
                "job.toml:8:7: `key` is empty\n  hint: name at least one column, or leave the key out",
            ),
            (
                "load = \"bulk\"",
                "job.toml:8:8: `load` must be one of `auto`, `insert`, `copy`, found `bulk`",
            ),
            (
                "port = 70_000",
                "job.toml:8:8: `port` must be an integer from 1 to 65535, found `70000`",
            ),
            ("port = 99_999_999_999_999_999_999", "job.toml:8:8: the integer is out of range"),
            (
                "batch = \"5 mb\"",
                "job.toml:8:9: `batch` must be a size such as `64 MiB`, `20 MB` or a number of \
                 bytes, found `5 mb`\n  hint: units are B, kB, MB, GB, TB (powers of 1000) and KiB, \
                 MiB, GiB, TiB (1024)",
            ),
            (
                "timeout = \"30\"",
                "job.toml:8:11: `timeout` must be a duration such as `250 ms`, `30 s`, `10 min` or \
                 `2 h`, found `30`\n  hint: units are ms, s, min, h, d",
            ),
            (
                "[channel]\nparallelism = 0",
                "job.toml:9:15: `parallelism` must be an integer from 1 to 1024, found `0`",
            ),
            (
                "[channel]\nparallelism = 1025",
                "job.toml:9:15: `parallelism` must be an integer from 1 to 1024, found `1025`",
            ),
            (
                "[channel]\nbuffer = \"1023 KiB\"",
                "job.toml:9:10: `buffer` must be at least `1 MiB`, found 1047552 bytes",
            ),
            (
                "[channel]\nmax_bytes_per_second = 0",
                "job.toml:9:24: `max_bytes_per_second` must be more than `0`, found 0 bytes",
            ),
            (
                "[channel]\nstall_timeout = \"10 ms\"",
                "job.toml:9:17: `stall_timeout` must be at least `1 s`, found 10 ms",
            ),
            (
                "[channel]\nmax_rows_per_second = 0",
                "job.toml:9:23: `max_rows_per_second` must be an integer from 1, found `0`",
            ),
            (
                "[dirty]\nmax_ratio = 1.5",
                "job.toml:9:13: `max_ratio` must be a number from 0 to 1, found `1.5`",
            ),
            (
                "[dirty]\nmax_ratio = nan",
                "job.toml:9:13: the floating point number is out of range",
            ),
            (
                "[dirty]\nmax_rows = -1",
                "job.toml:9:12: `max_rows` must be an integer from 0 or `\"unlimited\"`, found `-1`",
            ),
            (
                "[guarantee]\nrequire = \"exactly-once\"",
                "job.toml:9:11: `require` must be one of `at-least-once`, `convergent`, \
                 `effectively-once`, `atomic-unit`, `atomic-job`, found `exactly-once`",
            ),
            (
                "[guarantee]\nrequire = \"effectively-once\"\nprefix = \"a-b\"",
                "job.toml:10:10: `prefix` must be ASCII letters, digits and `_`, at most 40, not a \
                 digit first, found `a-b`",
            ),
            (
                "[guarantee]\nrequire = \"convergent\"\ncreate_tables = true",
                "job.toml:10:17: `create_tables` has no effect\n  hint: tables are used with \
                 `require = \"effectively-once\"` or more",
            ),
            (
                "[guarantee]\nschema = \"meta\"",
                "job.toml:9:10: `schema` has no effect\n  hint: tables are used with `require = \
                 \"effectively-once\"` or more",
            ),
            (
                "[checkpoint]\nrows = 0",
                "job.toml:9:8: `rows` must be an integer from 1 to 100000000, found `0`",
            ),
            (
                "[checkpoint]\nseconds = 0.5",
                "job.toml:9:11: `seconds` must be an integer from 1 to 3600, found a floating point number",
            ),
            (
                "[checkpoint]\nbytes = 0",
                "job.toml:9:9: `bytes` must be more than `0`, found 0 bytes",
            ),
        ],
        with_writer,
    );
}

#[test]
fn reader_values_are_refused() {
    check(
        &[
            ("columns = [\"a\", \"b\", \"a\"]", "job.toml:4:22: `columns` names `a` twice"),
            (
                "schema = { price = \"money\" }",
                "job.toml:4:20: unknown type `money`; known: boolean, int8 to int64, uint8 to \
                 uint64, float32, float64, decimal(p,s), numeric, text, text(n), binary, date, \
                 time, duration, timestamp, timestamptz, interval, json, uuid, list<T>",
            ),
            (
                "quote = \"allways\"",
                "job.toml:4:9: `quote` must be one of `always`, `needed`, found `allways`\n  hint: \
                 did you mean `always`?",
            ),
            ("sample = 2", "job.toml:4:10: `sample` must be a number from 0 to 1, found `2`"),
            (
                "lookup = \"~/words\"",
                "job.toml:4:10: `~` is not expanded in paths\n  hint: write the path in full, or \
                 relative to the file it stands in",
            ),
            ("lookup = \"\"", "job.toml:4:10: `lookup` must be a path, found an empty string"),
        ],
        with_reader,
    );
}

#[test]
fn contradictions_are_refused() {
    check(
        &[
            (
                "write_mode = \"replace\"",
                "job.toml:8:14: plugin `shopdb` has no write mode `replace`\n  hint: it has \
                 `insert`, `upsert`, `ignore`",
            ),
            (
                "update_columns = [\"a\"]",
                "job.toml:8:18: `update_columns` needs write mode `upsert`, the mode is `insert`\n  hint: set \
                 `write_mode = \"upsert\"`, or leave it out",
            ),
            (
                "write_mode = \"upsert\"\nkey = \"id\"\nupdate_columns = [\"a\", \"id\"]",
                "job.toml:10:18: `update_columns` names `id`, which is a key column\n  hint: an \
                 update never changes the key",
            ),
            (
                "write_mode = \"copy on conflict do update\"\nload = \"insert\"",
                "job.toml:9:8: `load` contradicts `write_mode`, which loads by `copy`\n  hint: leave \
                 `load` out",
            ),
        ],
        with_writer,
    );
}

#[test]
fn what_the_plugin_lacks_is_refused() {
    let sheets = |lines: &str| {
        let reader =
            "[reader]\nplugin = \"sheets\"\npath = \"a\"\ncolumns = [\"id\", \"amount\"]\n";
        Case::new(&format!("{reader}[writer]\nplugin = \"sheets\"\npath = \"b\"\n{lines}"))
    };
    check(
        &[
            (
                "load = \"copy\"",
                "job.toml:8:8: plugin `sheets` cannot load by `copy`\n  hint: it has `auto`",
            ),
            (
                "create_table = true",
                "job.toml:8:16: plugin `sheets` cannot create tables\n  hint: create the table first \
                 and leave this key out",
            ),
            (
                "after = [\"ANALYZE\"]",
                "job.toml:8:9: plugin `sheets` runs no statements, so `after` is not supported\n  hint: leave it \
                 out",
            ),
            ("[map]\na = \"c\"", "job.toml:9:5: `c` is not among the reader's `columns`"),
        ],
        sheets,
    );
}

#[test]
fn plugins_and_sections_that_are_not_there() {
    check(
        &[
            (
                "",
                "job.toml: missing section [reader]\n  hint: add a section `[reader]` with at least \
                 `plugin = \"...\"`\njob.toml: missing section [writer]\n  hint: add a section \
                 `[writer]` with at least `plugin = \"...\"`",
            ),
            (
                "[reader]\npath = \"a\"\n[writer]\nplugin = \"mysqll\"",
                "job.toml:1:2: missing key `plugin` in [reader]\njob.toml:4:10: unknown plugin \
                 `mysqll`\n  hint: the connections are `sheets`, `shopdb`",
            ),
            (
                "[reader]\nplugin = \"sheets\"\n[writer]\nplugin = \"source-only\"\nhost = \"db\"",
                "job.toml:1:2: missing key `path` in [reader]\n  hint: files to read or \
                 write\njob.toml:4:10: plugin `source-only` has no writer",
            ),
            (
                "reader = 5\n[writer]\nplugin = \"sheets\"\npath = \"a\"",
                "job.toml:1:10: `reader` must be a table, found an integer",
            ),
            (
                "name = \"a/b\"\n[reader]\nplugin = \"sheets\"\npath = \"a\"\n[writer]\nplugin = \
                 \"sheets\"\npath = \"b\"",
                "job.toml:1:8: `name` must be letters, digits, `-`, `_` and `.`, at most 100 bytes, \
                 found `a/b`",
            ),
        ],
        Case::new,
    );
    let mut missing = Case::new("");
    missing.request.path = missing.file("other.toml");
    assert_eq!(
        missing.refusal(),
        "other.toml: cannot read the file: No such file or directory (os error 2)"
    );
}

#[test]
fn six_mistakes_are_reported_at_once() {
    let job = r#"[reader]
plugin = "sheets"
path = "in-${region}.csv"
heder = true
columns = ["id", "id"]

[writer]
plugin = "shopdb"
host = "db"
write_mode = "replace"

[channel]
parallelism = "four"
"#;
    assert_eq!(
        Case::new(job).refusal(),
        "\
job.toml:3:12: parameter `${region}` has no value
  hint: pass --param region=VALUE, set `region` in [params], or write `$${` for the text `${`
job.toml:4:1: unknown key `heder` in [reader]
  hint: did you mean `header`?
job.toml:5:18: `columns` names `id` twice
job.toml:7:2: missing key `table` in [writer]
  hint: the table to copy
job.toml:10:14: plugin `shopdb` has no write mode `replace`
  hint: it has `insert`, `upsert`, `ignore`
job.toml:13:15: `parallelism` must be an integer from 1 to 1024, found a string"
    );
}

const FULL: &str = r#"
name = "orders-daily"
[reader]
plugin = "sheets"
path = ["in/a.csv", "./b.csv", "/abs/c.csv"]
columns = ["id", "amount"]
schema = { price = "decimal(15,2)", id = "int64" }
nulls = "NULL"
[writer]
plugin = "shopdb"
host = "db"
table = "orders"
batch = "1.5 MiB"
write_mode = "ON DUPLICATE KEY  UPDATE"
key = "order_id"
update_columns = ["amount"]
load = "copy"
before = "DELETE FROM orders WHERE day = '${bizdate}'"
create_table = true
[map]
order_id = "id"
[channel]
parallelism = 4
max_bytes_per_second = "20 MB"
max_rows_per_second = 50_000
stall_timeout = "90 s"
buffer = "64 MiB"
[dirty]
max_rows = 10
max_ratio = 0.5
[guarantee]
require = "effectively-once"
"#;

#[test]
fn a_full_reader_means_what_it_says() {
    let case = Case::new(FULL);
    let at = |name: &str| case.file(name).display().to_string();
    let reader = case.job().reader;
    assert_eq!(
        serde_json::Value::Object(reader.options.values.clone()),
        json!({
            "path": [at("in/a.csv"), at("b.csv"), "/abs/c.csv"],
            "delimiter": ",",
            "quote": "needed",
            "header": true,
            "nulls": ["NULL"],
            "lookup": at("words.txt"),
        })
    );
    let schema: Vec<(&str, &LogicalType)> =
        reader.options.schema.iter().map(|column| (&*column.name, &column.logical)).collect();
    let price = LogicalType::Decimal { precision: 15, scale: 2 };
    assert_eq!(schema, [("price", &price), ("id", &LogicalType::Int64)], "the file's order");
    assert_eq!(reader.columns.unwrap(), ["id", "amount"]);
}

#[test]
fn a_full_job_means_what_it_says() {
    let job = Case::new(FULL).job();
    assert_eq!(job.name, "orders-daily");
    let writer = &job.writer;
    assert_eq!(writer.options.values["batch"], 3 << 19);
    assert_eq!(writer.options.values["timeout"], 30_000);
    assert_eq!((writer.write_mode, writer.load), (WriteMode::Upsert, LoadMethod::Copy));
    assert_eq!(writer.before, ["DELETE FROM orders WHERE day = '20261120'"]);
    assert_eq!(writer.key.as_deref().unwrap(), ["order_id"]);
    assert_eq!(writer.update_columns.as_deref().unwrap(), ["amount"]);
    assert!(writer.create_table);
    assert_eq!(job.map, [("order_id".to_owned(), "id".to_owned())]);
    let channel = Channel {
        parallelism: NonZeroU32::new(4).unwrap(),
        buffer_bytes: 64 << 20,
        max_bytes_per_second: Some(20_000_000),
        max_rows_per_second: Some(50_000),
        stall_timeout_ms: 90_000,
    };
    assert_eq!(job.channel, channel);
    assert_eq!(
        job.dirty,
        DirtyLimit { max_rows: Some(10), max_ratio: Some(0.5), ..DirtyLimit::default() }
    );
    assert_eq!(job.require, Some(Guarantee::EffectivelyOnce));
    let json = serde_json::to_value(&job).unwrap();
    let travelled: Job = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&travelled).unwrap(), json, "a job survives its journey");
}

#[test]
fn defaults() {
    let job = with_writer("").job();
    assert_eq!(job.name, "job");
    assert_eq!(job.writer.write_mode, WriteMode::Insert, "the writer's first mode");
    assert_eq!(job.writer.load, LoadMethod::Auto);
    assert_eq!((job.writer.key, job.reader.columns, job.require), (None, None, None));
    assert_eq!(job.channel, Channel::default());
    assert_eq!(job.channel.buffer_bytes, u64::from(job.channel.parallelism.get()) << 24);
    assert!(job.warnings.is_empty());
}

#[test]
fn each_task_has_a_buffer_unless_all_share_one() {
    let buffer = |channel: &str| with_writer(channel).job().channel.buffer_bytes;
    assert_eq!(buffer("[channel]\nparallelism = 3"), 48 << 20);
    assert_eq!(buffer("[channel]\nparallelism = 3\nbuffer = \"5 MiB\""), 5 << 20);
}

#[test]
fn a_job_without_a_name_is_called_as_its_file() {
    for (file, expected) in [
        ("orders.toml", "orders"),
        ("my orders (1).toml", "my-orders--1-"),
        ("每日.toml", "每日"),
        (".toml", "toml"),
    ] {
        let mut case = with_writer("");
        case.request.path = case.file(file);
        fs::rename(case.file("job.toml"), &case.request.path).unwrap();
        assert_eq!(case.job().name, expected);
    }
}

#[test]
fn t15_a_missing_dirty_limit_is_zero() {
    for (lines, max_rows, max_ratio) in [
        ("", Some(0), None),
        ("[dirty]", Some(0), None),
        ("[dirty]\nmax_rows = 7", Some(7), None),
        ("[dirty]\nmax_ratio = 0.1", None, Some(0.1)),
        ("[dirty]\nmax_ratio = 1", None, Some(1.0)),
        ("[dirty]\nmax_rows = \"unlimited\"", None, None),
        ("[dirty]\nmax_rows = \"unlimited\"\nmax_ratio = 0.0", None, Some(0.0)),
    ] {
        let limit = DirtyLimit { max_rows, max_ratio, ..DirtyLimit::default() };
        assert_eq!(with_writer(lines).job().dirty, limit, "{lines}");
    }
}

#[test]
fn classes_of_dirty_rows_have_limits_of_their_own() {
    use DirtyClass::{Constraint, Encoding, Parse, Type};
    for (lines, max_rows, classes) in [
        (
            "[dirty.max_rows_of]\nparse = 5",
            None,
            &[(Parse, 5), (Encoding, 0), (Type, 0), (Constraint, 0)][..],
        ),
        ("[dirty]\nmax_rows = 9\nmax_rows_of = { constraint = 0 }", Some(9), &[(Constraint, 0)]),
        ("[dirty]\nmax_ratio = 0.1\nmax_rows_of = { type = \"unlimited\" }", None, &[]),
        (
            "[dirty.max_rows_of]\ntype = \"unlimited\"",
            None,
            &[(Parse, 0), (Encoding, 0), (Constraint, 0)],
        ),
        ("[dirty.max_rows_of]", Some(0), &[]),
    ] {
        let dirty = with_writer(lines).job().dirty;
        let all = if classes.len() == 4 { Some(5) } else { max_rows };
        assert_eq!(dirty.most_rows(), all, "{lines}");
        let limits: Vec<_> = dirty.max_rows_of.into_iter().collect();
        assert_eq!((dirty.max_rows, &limits[..]), (max_rows, classes), "{lines}");
    }
    let keys = keys::TOP.iter().find(|key| key.name == "dirty").map(|key| key.kind);
    let Some(keys::Kind::Section(keys)) = keys else { panic!("[dirty] is a section") };
    let classes = keys.iter().find(|key| key.name == "max_rows_of").map(|key| key.kind);
    let Some(keys::Kind::Section(classes)) = classes else { panic!("a section") };
    let words = DirtyClass::ALL.map(DirtyClass::word);
    assert_eq!(keys::names(classes).collect::<Vec<_>>(), words);
    let refusal = with_writer("[dirty.max_rows_of]\nconstrain = 0").refusal();
    let place = "job.toml:9:1: unknown key `constrain` in [dirty.max_rows_of]\n";
    assert_eq!(refusal, format!("{place}  hint: did you mean `constraint`?"));
}

#[test]
fn checkpoints_and_token_tables_have_defaults() {
    let job = with_writer("[checkpoint]\nrows = 7\nbytes = \"1 MiB\"").job();
    assert_eq!(job.checkpoint, Checkpoints { rows: 7, bytes: Some(1 << 20), seconds: 5 });
    assert_eq!(job.tokens, TokenTables::default());
    let job = with_writer("[guarantee]\nrequire = \"atomic-job\"\nschema = \"meta\"").job();
    assert_eq!(job.checkpoint, Checkpoints { rows: 50_000, bytes: None, seconds: 5 });
    let prefix = "transload_".to_owned();
    let tokens = TokenTables { schema: Some("meta".to_owned()), prefix, create: false };
    assert_eq!(job.tokens, tokens);
}

#[test]
fn write_modes_by_dataworks_names() {
    for (word, mode, load) in [
        ("insert into", WriteMode::Insert, LoadMethod::Auto),
        ("insert ignore into", WriteMode::Ignore, LoadMethod::Auto),
        ("on duplicate key update", WriteMode::Upsert, LoadMethod::Auto),
        ("on conflict do nothing", WriteMode::Ignore, LoadMethod::Auto),
        ("on conflict do update", WriteMode::Upsert, LoadMethod::Auto),
        ("copy on conflict do nothing", WriteMode::Ignore, LoadMethod::Copy),
        ("copy on conflict do update", WriteMode::Upsert, LoadMethod::Copy),
    ] {
        let writer = with_writer(&format!("write_mode = \"{word}\"")).job().writer;
        assert_eq!((writer.write_mode, writer.load), (mode, load), "{word}");
    }
    let refusal = with_writer("write_mode = \"replace into\"").refusal();
    assert!(refusal.contains("no write mode `replace`"), "{refusal}");
}

const PARAMS: &str = "[params]\nregion = \"eu\"\nyear = 2026\nday = \"d${bizdate}\"";

#[test]
fn parameters_are_filled_in() {
    for (text, expected) in [
        ("${region}", "'eu'"),
        ("${region!raw}", "eu"),
        ("a ${region}-${year} b", "a 'eu'-2026 b"),
        ("'${day}'", "'d20261120'"),
        ("${bizdate}", "20261120"),
        ("'$bizdate'", "'20261120'"),
        ("'$cyctime' '${cyctime}'", "'20261121000000' '20261121000000'"),
        ("${gmtdate} $bizmonth", "20261121 202610"),
        ("d = '${yyyy-mm-dd}'", "d = '2026-11-20'"),
        ("d = ${yyyy-mm-dd-7}", "d = '2026-11-13'"),
        ("t_${yyyymm-1} t_$[add_months(yyyymm,-1)]", "t_202610 t_202610"),
        ("$[hh24miss-1/24] $[yyyymmdd-7]", "230000 20261114"),
        ("'$[hh24:mi:ss]'", "'00:00:00'"),
        ("$${region}", "${region}"),
        ("$1 $$ $body$ x $body$ US$ $other $", "$1 $$ $body$ x $body$ US$ $other $"),
        ("$[0].name $[*]", "$[0].name $[*]"),
        ("é${region}é", "éeué"),
    ] {
        let job = with_writer(&format!("before = '''{text}'''\n{PARAMS}")).job();
        assert_eq!(job.writer.before, [expected], "{text}");
    }
}

#[test]
fn command_line_parameters_go_first_and_are_never_read_again() {
    let case = with_writer(&format!("before = \"${{region}}\"\n{PARAMS}"));
    assert_eq!(case.param("region", "${year} \" ]").job().writer.before, ["'${year} \" ]'"]);
    let case = with_writer("before = \"${bizdate}\"").param("bizdate", "20200101");
    assert_eq!(case.job().writer.before, ["20200101"]);
    assert_eq!(with_writer("").param("bizdate", "20200101").job().name, "job");
}

#[test]
fn t40_unresolved_parameters_stop_the_job() {
    let shop = "\n  hint: pass --param shop=VALUE, set `shop` in [params], or write `$${` for the text `${`";
    for (text, expected) in [
        ("'x ${shop}'", format!("job.toml:8:13: parameter `${{shop}}` has no value{shop}")),
        (
            "['a', 'b ${shop} ${shop}']",
            format!(
                "job.toml:8:19: parameter `${{shop}}` has no value{shop}\njob.toml:8:27: parameter \
                 `${{shop}}` has no value{shop}"
            ),
        ),
        (
            "'${regoin}'",
            "job.toml:8:11: parameter `${regoin}` has no value\n  hint: did you mean `${region}`?"
                .to_owned(),
        ),
        (
            "'a ${yyyy-mi}'",
            "job.toml:8:13: `${yyyy-mi}` is no date: the business date has no time of day, so no \
             `mi`\n  hint: `mm` is the month; `$[yyyy-mi]` is of the scheduled time"
                .to_owned(),
        ),
        (
            "'$[yyyymm-1]'",
            "job.toml:8:11: `$[yyyymm-1]` is no date: `-1` is a number of days, and the format has \
             no `dd`\n  hint: for months write `$[add_months(yyyymm,-1)]`"
                .to_owned(),
        ),
        (
            "'a $[yyyymmdd-1'",
            "job.toml:8:13: `$[yyyymmdd-1` is not closed\n  hint: close it with `]`".to_owned(),
        ),
        (
            "'region = $region'",
            "job.toml:8:20: `$region` without braces is not filled in\n  hint: write `${region}`"
                .to_owned(),
        ),
        (
            "'$taskid'",
            "job.toml:8:11: `$taskid` is the number of a scheduler's instance\n  hint: pass \
             --param taskid=VALUE and write `${taskid}`"
                .to_owned(),
        ),
        (
            "'${region'",
            "job.toml:8:11: `${` is not closed\n  hint: close it with `}`, or write `$${` for the \
             text `${`"
                .to_owned(),
        ),
    ] {
        let case = with_writer(&format!("before = {text}\n{PARAMS}"));
        assert_eq!(case.refusal(), expected, "{text}");
    }
    let plugin = Case::new(&format!("[reader]\nplugin = \"${{p}}\"\n{WRITER}")).refusal();
    assert!(plugin.starts_with("job.toml:2:11: parameter `${p}` has no value"), "{plugin}");
    assert_eq!(plugin.lines().count(), 2, "nothing follows from it: {plugin}");
    let lines = with_writer("before = \"\"\"\nDELETE\n  ${shop}\"\"\"").refusal();
    assert!(lines.starts_with("job.toml:10:3: parameter `${shop}`"), "{lines}");
    let own = with_writer("[params]\na = \"1\"\nb = \"${a}\"").refusal();
    assert!(own.starts_with("job.toml:10:6: parameter `${a}` has no value"), "{own}");
}

#[test]
fn parameters_that_nobody_wants_are_refused() {
    let case = with_writer(&format!("before = \"${{region}}\"\n{PARAMS}")).param("regoin", "us");
    assert_eq!(
        case.refusal(),
        "--param: parameter `regoin` is not used in the job\n  hint: did you mean `region`?"
    );
    let twice = with_writer(PARAMS).param("region", "a").param("region", "b");
    assert_eq!(twice.refusal(), "--param: parameter `region` is given twice");
    let mut case = with_writer("before = \"${bizdate}\"");
    for text in ["2026-11-20", "20261131", "today", "120"] {
        case.request.bizdate = Some(text.to_owned());
        assert_eq!(
            case.refusal(),
            format!("--bizdate: expected a date as `YYYYMMDD`, found `{text}`")
        );
    }
}

#[test]
fn dates_are_of_the_scheduled_time_in_the_declared_zone() {
    let time = |cyctime: &str, zone: &str| {
        let head = format!("time_zone = \"{zone}\"\n");
        let mut case =
            with_writer("before = \"'${day}' '$[hh24]'\"\n[params]\nday = \"${yyyy-mm-dd}\"");
        let text = fs::read_to_string(&case.request.path).unwrap();
        fs::write(&case.request.path, head + &text).unwrap();
        (case.request.bizdate, case.request.cyctime) = (None, Some(cyctime.to_owned()));
        case
    };
    for (cyctime, zone, expected) in [
        ("20251101000000", "Asia/Shanghai", "'2025-10-31' '00'"),
        ("2025-11-01T00:00:00Z", "Asia/Shanghai", "'2025-10-31' '08'"),
        ("2025-11-01T00:00:00Z", "America/New_York", "'2025-10-30' '20'"),
    ] {
        let job = time(cyctime, zone).job();
        assert_eq!(job.writer.before, [expected], "{cyctime} {zone}");
        let dates: Vec<_> = job.inputs.dates.iter().map(String::as_str).collect();
        assert_eq!(dates, ["$[hh24]", "yyyy-mm-dd"]);
        assert!(job.inputs.scheduled.unwrap().ends_with(&format!("[{zone}]")));
        assert_eq!(job.inputs.parameters["$[hh24]"], expected[14..16]);
    }
    assert_eq!(
        time("20251101000000", "Asia/Peking").refusal(),
        "job.toml:1:13: there is no time zone `Asia/Peking`\n  hint: write a name such as `UTC` or \
         `Asia/Shanghai`"
    );
    assert_eq!(
        time("20251101", "UTC").refusal(),
        "--cyctime: expected a time as `YYYYMMDDHHMMSS`, found `20251101`\n  hint: or as in \
         `2025-11-01T00:00:00+08:00`"
    );
}

#[test]
fn bizdate_is_yesterday_unless_given() {
    let mut case = with_writer("before = \"${bizdate}\"");
    case.request.bizdate = None;
    let day = || jiff::Zoned::now().date().yesterday().unwrap().strftime("%Y%m%d").to_string();
    let (before, job, after) = (day(), case.job(), day());
    assert!([before, after].contains(&job.writer.before[0]), "{:?}", job.writer.before);
}

const SHOP: &str = r#"
[plain]
host = "plain.example"
port = 5433

[shop]
plugin = "shopdb"
[shop.dev]
host = "dev.example"
settings = { zone = "UTC" }
[shop.prod]
host = "prod.example"
password = { env = "PROD" }

[one.only]
host = "one.example"

[files]
plugin = "sheets"

[wrong]
hots = "h"
table = "orders"

[mixed]
host = "h"
[mixed.dev]
host = "d"
"#;

fn with_connection(name: &str) -> Case {
    let writer = format!("[writer]\nplugin = \"shopdb\"\ntable = \"t\"\nconnection = \"{name}\"\n");
    Case::new(&format!("{READER}{writer}")).connections(SHOP)
}

#[test]
fn connections_and_environments() {
    for (name, env, host, environment) in [
        ("plain", None, "plain.example", None),
        ("plain", Some("prod"), "plain.example", None),
        ("shop", Some("dev"), "dev.example", Some("dev")),
        ("shop", Some("prod"), "prod.example", Some("prod")),
        ("one", None, "one.example", Some("only")),
    ] {
        let mut case = with_connection(name);
        case.request.env = env.map(str::to_owned);
        let writer = case.job().writer;
        assert_eq!(writer.options.values["host"], host);
        let environment = environment.map(str::to_owned);
        assert_eq!(writer.connection, Some(ConnectionName { name: name.to_owned(), environment }));
    }
    let writer = with_connection("shop").env("prod").job().writer;
    assert!(matches!(&writer.secrets["password"], SecretRef::Env(name) if name == "PROD"));
}

#[test]
fn a_connection_may_name_its_plugin() {
    let job = "[reader]\nconnection = \"shop\"\ntable = \"t\"\n\
               [writer]\nplugin = \"sheets\"\npath = \"o\"";
    let job = Case::new(job).connections(SHOP).env("dev").job();
    assert_eq!(job.reader.plugin, "shopdb");
    assert_eq!(job.reader.options.values["settings"], json!({ "zone": "UTC" }));
}

#[test]
fn connections_that_cannot_be_had() {
    for (name, env, expected) in [
        ("shpo", None, "job.toml:7:14: unknown connection `shpo`\n  hint: did you mean `shop`?"),
        (
            "warehouse",
            None,
            "job.toml:7:14: unknown connection `warehouse`\n  hint: the connections are `plain`, `shop`, \
             `one`, `files`, `wrong`, `mixed`",
        ),
        (
            "shop",
            None,
            "job.toml:7:14: connection `shop` has several environments\n  hint: choose one with \
             --env: `dev`, `prod`",
        ),
        (
            "shop",
            Some("prd"),
            "job.toml:7:14: connection `shop` has no environment `prd`\n  hint: did you mean `prod`?",
        ),
        (
            "shop",
            Some("staging"),
            "job.toml:7:14: connection `shop` has no environment `staging`\n  hint: it has `dev`, \
             `prod`",
        ),
        (
            "files",
            None,
            "job.toml:4:2: missing key `host` in [writer]\n  hint: name of the \
             server\njob.toml:5:10: connection `files` belongs to plugin `sheets`, not to `shopdb`",
        ),
        (
            "wrong",
            None,
            "job.toml:4:2: missing key `host` in [writer]\n  hint: name of the \
             server\nconnections.toml:22:1: unknown key `hots` in [wrong]\n  hint: did you mean \
             `host`?\nconnections.toml:23:1: `table` does not belong in a connection\n  hint: move \
             it into [writer] of the job",
        ),
        (
            "mixed",
            None,
            "connections.toml:26:1: key `host` is beside the environments of `mixed`\n  hint: \
             move it into `dev`",
        ),
    ] {
        let mut case = with_connection(name);
        case.request.env = env.map(str::to_owned);
        assert_eq!(case.refusal(), expected, "{name} {env:?}");
    }
}

#[test]
fn a_connection_inside_a_table_is_named() {
    let nested = SHOP.replace("[plain]", "[connections.plain]");
    let case = with_writer("connection = \"plain\"").connections(&nested);
    assert_eq!(
        case.refusal(),
        "job.toml:8:14: unknown connection `plain`\n  hint: write `[plain]` instead of \
         `[connections.plain]` in connections.toml:2:14"
    );
}

#[test]
fn connections_beside_inline_keys() {
    let both = with_writer("connection = \"plain\"").connections(SHOP);
    assert_eq!(
        both.refusal(),
        "job.toml:6:1: `host` is set here and in connection `plain`\n  hint: keep one of the \
         two"
    );
    let none = with_writer("connection = \"plain\"");
    assert_eq!(
        none.refusal(),
        "job.toml:8:14: unknown connection `plain`\n  hint: no connection file was found; put \
         `connections.toml` beside the job"
    );
    let broken = with_writer("connection = \"plain\"").connections("plain = \nhost = 5").refusal();
    assert!(broken.starts_with("connections.toml:1:9: not valid TOML: "), "{broken}");
}

#[test]
fn the_nearest_connection_file_wins() {
    for (name, host) in [("plain", "plain.example"), ("extra", "extra.example")] {
        let mut case = with_connection(name);
        let system = case.file("system.toml");
        let text = "[plain]\nhost = \"far.example\"\n[extra]\nhost = \"extra.example\"";
        fs::write(&system, text).unwrap();
        case.request.connection_files.push(system);
        assert_eq!(case.job().writer.options.values["host"], host);
    }
}

#[test]
fn paths_are_relative_to_the_file_they_stand_in() {
    let mut case = with_connection("elsewhere");
    let folder = case.file("etc");
    fs::create_dir(&folder).unwrap();
    let text = "[elsewhere]\nhost = \"h\"\npassword = { file = \"secrets/pg\" }";
    fs::write(folder.join("connections.toml"), text).unwrap();
    case.request.connection_files = vec![folder.join("connections.toml")];
    let secret = &case.job().writer.secrets["password"];
    assert!(matches!(secret, SecretRef::File(path) if *path == folder.join("secrets/pg")));
}

#[test]
fn secret_options_take_references_only() {
    const FORMS: &str = "one of { env = \"NAME\" }, { file = \"path\" }, { command = \
                         [\"program\", ...] }";
    const VARIABLE: &str = "`env` must be the name of an environment variable\n  hint: a name has \
                            letters, digits and `_` only: { env = \"NAME\" }";
    for (value, expected) in [
        ("{ keyring = \"pg\" }", format!("24: `keyring` must be {FORMS}, found another source")),
        (
            "{ env = \"A\", file = \"b\" }",
            format!("12: `password` must be {FORMS}, found a table with 2 keys"),
        ),
        ("5", format!("12: `password` must be {FORMS}, found an integer")),
        (
            "{ command = \"vault read\" }",
            "24: `command` must be a list of program and arguments, found a string\n  hint: it is \
             not passed to a shell: write [\"vault\", \"read\", \"...\"]"
                .to_owned(),
        ),
        (
            "{ command = [] }",
            "24: `command` must be a list of program and arguments, found no program".to_owned(),
        ),
        ("{ env = \"\" }", format!("20: {VARIABLE}")),
        ("{ env = \"a canary\" }", format!("20: {VARIABLE}")),
        ("{ env = \"7\" }", format!("20: {VARIABLE}")),
    ] {
        let case = with_writer(&format!("password = {value}"));
        assert_eq!(case.refusal(), format!("job.toml:8:{expected}"), "{value}");
    }
}

#[cfg(unix)]
#[test]
fn literal_secrets_warn_or_are_refused() {
    let open = with_writer("password = \"canary-in-job\"").mode("job.toml", 0o644);
    assert_eq!(
        open.refusal(),
        "job.toml:8:12: secret `password` is written in a world-readable file\n  hint: use \
         { env = \"NAME\" }, { file = \"path\" } or { command = [...] }, or run: chmod 600 job.toml"
    );
    let closed = with_writer("password = \"canary-in-job\"").mode("job.toml", 0o600).job();
    let warnings: Vec<&str> = closed.warnings.iter().map(|warning| &*warning.message).collect();
    assert_eq!(warnings, ["secret `password` is written in the file"]);
    let secrets = JobSecrets::new(closed.writer.secrets, Redactor::new());
    assert_eq!(secrets.secret("password").unwrap().unwrap().expose(), "canary-in-job");
    assert!(secrets.secret("host").unwrap().is_none());
}

/// The value is nowhere but in the plugin's hands: not in the job, its debug form, its JSON, any
/// problem, any error.
#[cfg(unix)]
#[test]
fn t60_secret_values_stay_out_of_every_output() {
    const CANARY: &str = "canary-7f3a";
    let job = with_writer(&format!("password = \"{CANARY}\"")).mode("job.toml", 0o600).job();
    let json = serde_json::to_string(&job).unwrap();
    assert!(!json.contains(CANARY) && !format!("{job:?}").contains(CANARY), "{json}");
    let travelled: Job = serde_json::from_str(&json).unwrap();
    let secrets = JobSecrets::new(travelled.writer.secrets, Redactor::new());
    let error = secrets.secret("password").err().unwrap();
    assert!(error.message.contains("are not part of the plan"), "{error}");
    for broken in [
        format!("password = {{ env = \"{CANARY}\", file = \"x\" }}"),
        format!("password = {{ command = \"{CANARY}\" }}"),
        format!("pasword = \"{CANARY}\""),
        format!("password = \"{CANARY}"),
        format!("password = [\"{CANARY}\"]"),
        format!("password = \"{CANARY} ${{nobody}}\""),
    ] {
        let refusal = with_writer(&broken).refusal();
        assert!(!refusal.contains(CANARY), "{refusal}");
    }
}

#[test]
fn a_draft_tells_its_plugins_and_its_problems() {
    let case = with_writer("[channel]\nparallelism = 0");
    let draft = Job::load(&case.request).unwrap_or_else(|problems| panic!("{problems}"));
    let plugin = |side: &DraftSide| side.plugin.as_ref().map(|plugin| plugin.value.clone());
    assert_eq!(plugin(&draft.reader.side).as_deref(), Some("sheets"));
    assert_eq!(plugin(&draft.writer.side).as_deref(), Some("shopdb"));
    let keys: Vec<_> = draft.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["channel.parallelism"]);
}

proptest::proptest! {
    /// Any broken job leads to a job or to a refusal with a message, never to a panic.
    #[test]
    fn damaged_jobs_are_understood_or_refused(
        start in 0..FULL.len(),
        length in 0..40_usize,
        inserted in "[\\]\\[a-z=\"'{}$,.0-9é \n]{0,6}",
    ) {
        let end = (start + length).min(FULL.len());
        let job = format!("{}{inserted}{}", &FULL[..start], &FULL[end..]);
        if let Err(problems) = Case::new(&job).run() {
            proptest::prop_assert!(!problems.is_empty(), "{job}");
        }
    }
}

/// A type with `Debug` would make the call below ambiguous, and this file would not compile.
#[test]
fn a_draft_cannot_be_printed() {
    trait Printable<Ambiguous> {
        fn hidden() {}
    }
    impl<T> Printable<()> for T {}
    impl<T: std::fmt::Debug> Printable<u8> for T {}
    <DraftJob as Printable<_>>::hidden();
}
