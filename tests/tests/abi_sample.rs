//! The sample plugin natively and through its library: the same results, the same rows, and every
//! fault becomes an error. The sample's library is an example of this crate. `cargo test` builds
//! it, except with `--test`; then run `cargo build --examples` first.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

#[path = "../abi/sample/evil.rs"]
mod evil;
#[path = "../abi/sample/plugin.rs"]
mod plugin;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::Duration,
};

use serde_json::json;
use tracing::{Level, field::Visit};
use transload::testing::{Catalog, Role, SearchPath};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Count, Counters, Error, ErrorKind, ErrorOrigin, Host,
    LogicalType, Options, Plugin, Position, ReadBatch, Reader, Receipt, Result, Secret, Secrets,
    Split, SplitRequest, TaskContext, WritePlan, Writer, schema_of,
};
use transload_tests::{built, program};

// ------------------------------------------------------------------------------------ both ways

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<(Catalog, tempfile::TempDir)> = OnceLock::new();
    &CATALOG
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            fs::copy(built().join("examples/libabi_sample.so"), folder.path().join("libsample.so"))
                .unwrap();
            let search = SearchPath::only(&[folder.path().to_owned()]);
            (Catalog::open(&search.probe_with(program())), folder)
        })
        .0
}

fn foreign() -> Arc<dyn Plugin> {
    catalog().plugin("sample", Role::Reader).unwrap()
}

fn both() -> [(&'static str, Arc<dyn Plugin>); 2] {
    [("native", Arc::new(plugin::SamplePlugin)), ("foreign", foreign())]
}

fn options(pairs: &[(&str, &str)]) -> Options {
    Options::from_pairs(pairs.iter().map(|(key, value)| (*key, json!(value))))
}

fn foreign_reader(pairs: &[(&str, &str)]) -> Box<dyn Reader> {
    foreign().reader(options(pairs), Host::detached()).unwrap()
}

fn foreign_writer(pairs: &[(&str, &str)]) -> Box<dyn Writer> {
    foreign().writer(options(pairs), Host::detached()).unwrap()
}

fn split() -> Split {
    Split::new("all", "0", transload_plugin_api::SplitAbility::Seekable)
}

fn read_all(reader: &dyn Reader, columns: &[Column], after: Option<&Position>) -> Vec<ReadBatch> {
    let mut task = reader.open(&split(), columns, after).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = task.next_batch().unwrap() {
        batches.push(batch);
    }
    batches
}

fn plan(columns: Vec<Column>) -> WritePlan {
    WritePlan { run: "run-1".into(), columns, ..WritePlan::default() }
}

const FIRST: TaskContext = TaskContext { task: 3, epoch: 0 };

#[test]
fn the_descriptor_crosses_whole() {
    assert_eq!(foreign().descriptor(), plugin::SamplePlugin.descriptor());
}

#[test]
fn every_type_crosses_with_offsets_nulls_and_edges() {
    for columns in [plugin::columns(), plugin::columns()[..3].to_vec(), vec![]] {
        let [native, foreign] = both().map(|(_, plugin)| {
            let reader = plugin.reader(Options::default(), Host::detached()).unwrap();
            read_all(reader.as_ref(), &columns, None)
        });
        assert_eq!(native.len(), 3);
        for (native, foreign) in native.iter().zip(&foreign) {
            // As text, because NaN differs from itself.
            assert_eq!(format!("{native:?}"), format!("{foreign:?}"));
            assert_eq!(foreign.batch.schema(), schema_of(&columns));
        }
        assert_eq!(foreign[1].batch.num_rows(), if columns.is_empty() { 4 } else { 2 });
    }
}

#[test]
fn rows_outlive_their_task_and_reader() {
    let batches = {
        let reader = foreign_reader(&[]);
        read_all(reader.as_ref(), &plugin::columns(), None)
    };
    assert_eq!(format!("{:?}", batches[0].batch), format!("{:?}", plugin::all_types()));
}

#[test]
fn positions_resume() {
    let reader = foreign_reader(&[]);
    let whole = read_all(reader.as_ref(), &plugin::columns(), None);
    assert_eq!(whole[0].position, Position(vec![0, 0, 255, 128]));
    let rest = read_all(reader.as_ref(), &plugin::columns(), Some(&whole[0].position));
    assert_eq!(format!("{rest:?}"), format!("{:?}", &whole[1..]));
}

#[test]
fn json_verbs_answer_the_same() {
    let columns = plugin::columns();
    let [native, foreign] = both().map(|(_, plugin)| {
        let reader = plugin.reader(Options::default(), Host::detached()).unwrap();
        let writer = plugin.writer(Options::default(), Host::detached()).unwrap();
        let request = SplitRequest::new(3, columns.clone());
        let plan = plan(columns.clone());
        let receipts = [Receipt { task: 0, data: "x".into() }];
        writer.prepare(&plan).unwrap();
        writer.abort(&plan, &receipts).unwrap();
        writer.finalise(&plan).unwrap();
        (
            (reader.check().unwrap(), reader.discover().unwrap(), reader.schema().unwrap()),
            (reader.produces(&columns).unwrap(), reader.splits(&request).unwrap()),
            (writer.check().unwrap(), writer.discover().unwrap(), writer.inspect().unwrap()),
            (writer.draft(&plan).unwrap(), writer.commit(&plan, &receipts).unwrap()),
            (reader.counts().unwrap(), writer.counts().unwrap()),
        )
    });
    assert_eq!(native, foreign);
    assert_eq!(foreign.3.1, ChunkOutcome::Unknown { evidence: "1 receipts".into() });
    assert_eq!(foreign.4.1, [Count::trouble("answers_lost", u64::MAX)]);
}

#[test]
fn a_write_task_is_told_the_same() {
    let batch = plugin::all_types();
    let [native, foreign] = both().map(|(_, plugin)| {
        let writer = plugin.writer(Options::default(), Host::detached()).unwrap();
        let mut task = writer.open(&plan(plugin::columns()), &FIRST).unwrap();
        task.begin_chunk(9).unwrap();
        let written = task.write(&batch).unwrap();
        task.rollback_chunk().unwrap();
        task.begin_chunk(9).unwrap();
        task.write(&batch.slice(1, 3)).unwrap();
        let counters = Counters { read: 4, inserted: 3, dirty: 1, ..Counters::default() };
        let outcome = task.commit_chunk(&Position(vec![0, 200]), &counters).unwrap();
        (written, outcome, task.finish().unwrap())
    });
    assert_eq!(native, foreign);
    assert_eq!(foreign.0.dirty[0].code, "unique");
    assert!(foreign.2.data.contains("commit_chunk Position([0, 200])"), "{}", foreign.2.data);
    let writer = foreign_writer(&[]);
    writer.open(&plan(vec![]), &FIRST).unwrap().abort().unwrap();
}

#[test]
fn errors_cross_whole() {
    let error = foreign_reader(&[("fault", "schema")]).schema().unwrap_err();
    let expected = |verb: &str| {
        let (plugin, role) = ("sample".to_owned(), "reader".to_owned());
        let origin = Some(Box::new(ErrorOrigin { plugin, role, verb: verb.to_owned() }));
        let error = Error::locked("asked to fail").with_code("SAMPLE-1").at("here");
        Error { origin, ..error.hint("do not ask") }
    };
    assert_eq!(error, expected("schema"));
    let refused = foreign().reader(options(&[("fault", "reader")]), Host::detached());
    assert_eq!(refused.err(), Some(expected("reader")));
}

// --------------------------------------------------------------------------------------- faults

#[test]
fn a_batch_of_another_schema_stops_at_the_plugin() {
    let reader = foreign_reader(&[("fault", "other type")]);
    let columns = [Column::new("id", LogicalType::Int32, false)];
    let mut task = reader.open(&split(), &columns, None).unwrap();
    let error = task.next_batch().unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Defect, "PLUGIN-BATCH"));
    assert!(error.message.contains("expected `id` Int32 not null"), "{error}");
    assert!(error.message.contains("found `id` Int64 not null"), "{error}");
    let mut task = reader.open(&split(), &plugin::columns(), None).unwrap();
    let error = task.next_batch().unwrap_err();
    assert!(error.message.contains("expected 29 columns, found 1"), "{error}");
}

#[test]
fn a_batch_of_another_schema_stops_at_the_host() {
    let writer = foreign_writer(&[]);
    let columns = vec![Column::new("id", LogicalType::Int32, false)];
    let mut task = writer.open(&plan(columns), &FIRST).unwrap();
    task.begin_chunk(0).unwrap();
    let error = task.write(&plugin::all_types()).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Defect, "PLUGIN-BATCH"));
}

/// The error of a panic, with its place from the library's own panic hook.
fn assert_panicked<T>(result: Result<T>, verb: &str) {
    let Err(error) = result else { panic!("{verb} did not panic") };
    let expected = format!("`{verb}` panicked: asked to panic in {verb}");
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Defect, expected.as_str()));
    assert!(error.causes[0].contains("plugin.rs:"), "{:?}", error.causes);
}

fn assert_poisoned<T>(result: Result<T>) {
    let Err(error) = result else { panic!("not poisoned") };
    assert_eq!(error.kind, ErrorKind::Defect);
    assert!(error.message.contains("an earlier call panicked"), "{error}");
}

#[test]
fn t61_a_panic_in_any_verb_of_a_reader_is_an_error_and_poisons() {
    let request = SplitRequest::new(1, vec![]);
    type Call = Box<dyn Fn(&dyn Reader) -> Result<()>>;
    let calls: Vec<(&str, Call)> = vec![
        ("check", Box::new(|r| r.check().map(drop))),
        ("discover", Box::new(|r| r.discover().map(drop))),
        ("counts", Box::new(|r| r.counts().map(drop))),
        ("schema", Box::new(|r| r.schema().map(drop))),
        ("produces", Box::new(|r| r.produces(&[]).map(drop))),
        ("splits", Box::new(move |r| r.splits(&request).map(drop))),
        ("open", Box::new(|r| r.open(&split(), &[], None).map(drop))),
    ];
    for (verb, panicking) in &calls {
        let reader = foreign_reader(&[("panic", verb)]);
        assert_panicked(panicking(reader.as_ref()), verb);
        for (_, call) in &calls {
            assert_poisoned(call(reader.as_ref()));
        }
        // Other readers are not affected.
        foreign_reader(&[]).schema().unwrap();
    }
    let made = foreign().reader(options(&[("panic", "reader")]), Host::detached());
    assert_panicked(made, "reader");
}

#[test]
fn t61_a_panic_in_any_verb_of_a_writer_is_an_error_and_poisons() {
    let plan = plan(vec![]);
    let plan = &plan;
    type Call<'a> = Box<dyn Fn(&dyn Writer) -> Result<()> + 'a>;
    let calls: Vec<(&str, Call<'_>)> = vec![
        ("check", Box::new(|w| w.check().map(drop))),
        ("discover", Box::new(|w| w.discover().map(drop))),
        ("counts", Box::new(|w| w.counts().map(drop))),
        ("inspect", Box::new(|w| w.inspect().map(drop))),
        ("draft", Box::new(|w| w.draft(plan).map(drop))),
        ("prepare", Box::new(|w| w.prepare(plan))),
        ("open", Box::new(|w| w.open(plan, &FIRST).map(drop))),
        ("commit", Box::new(|w| w.commit(plan, &[]).map(drop))),
        ("abort", Box::new(|w| w.abort(plan, &[]))),
        ("finalise", Box::new(|w| w.finalise(plan))),
    ];
    for (verb, panicking) in &calls {
        let writer = foreign_writer(&[("panic", verb)]);
        assert_panicked(panicking(writer.as_ref()), verb);
        for (name, call) in &calls {
            match (*name, *verb) {
                // Another writer cleans up.
                ("abort", "abort") => assert_panicked(call(writer.as_ref()), verb),
                ("abort", _) => call(writer.as_ref()).unwrap(),
                _ => assert_poisoned(call(writer.as_ref())),
            }
        }
    }
    let made = foreign().writer(options(&[("panic", "writer")]), Host::detached());
    assert_panicked(made, "writer");
}

#[test]
fn t61_a_panic_in_a_task_poisons_the_task_only() {
    let reader = foreign_reader(&[("panic", "next_batch")]);
    let mut task = reader.open(&split(), &[], None).unwrap();
    assert_panicked(task.next_batch(), "next_batch");
    assert_poisoned(task.next_batch());
    reader.schema().unwrap();

    let columns = plugin::columns();
    for verb in ["begin_chunk", "write", "commit_chunk", "rollback_chunk", "finish"] {
        let writer = foreign_writer(&[("panic", verb)]);
        let open = || writer.open(&plan(columns.clone()), &FIRST).unwrap();
        let mut task = open();
        let results = [
            ("begin_chunk", task.begin_chunk(0)),
            ("write", task.write(&plugin::all_types()).map(drop)),
            (
                "commit_chunk",
                task.commit_chunk(&Position::default(), &Counters::default()).map(drop),
            ),
            ("rollback_chunk", task.rollback_chunk()),
            ("finish", task.finish().map(drop)),
        ];
        let mut panicked = false;
        for (name, result) in results {
            if name == verb {
                assert_panicked(result, name);
                panicked = true;
            } else if panicked {
                assert_poisoned(result);
            } else {
                result.unwrap();
            }
        }
        writer.inspect().unwrap();
    }
}

#[test]
fn t61_a_panic_in_a_drop_is_logged_and_survived() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        drop(foreign_reader(&[("panic", "drop")]));
        let reader = foreign_reader(&[("panic", "drop of a task")]);
        drop(reader.open(&split(), &[], None).unwrap());
        drop(foreign_writer(&[("panic", "drop")]));
    });
    let lines = log.lines();
    for expected in ["`drop` panicked: asked to panic in drop", "in drop of a task"] {
        assert!(lines.iter().any(|line| line.contains(expected)), "{lines:#?}");
    }
    foreign_reader(&[]).schema().unwrap();
}

// ------------------------------------------------------------------------- what the host lends

#[test]
fn a_blocked_call_hears_the_stop_signal() {
    let cancel = Cancel::new();
    let host = Host::new(Arc::new(()), cancel.clone());
    let options = Options::from_pairs([("block", json!(true))]);
    let reader = foreign().reader(options, host).unwrap();
    let (done, ended) = mpsc::channel();
    let blocked = thread::spawn(move || {
        let mut task = reader.open(&split(), &[], None).unwrap();
        done.send(task.next_batch().map(drop)).unwrap();
    });
    assert!(ended.recv_timeout(Duration::from_millis(100)).is_err(), "it did not block");
    cancel.cancel();
    // The timeout only keeps a failure from blocking the run; the waker must end the call.
    let result = ended.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    blocked.join().unwrap();
}

#[test]
fn a_signal_given_before_is_heard() {
    let cancel = Cancel::new();
    cancel.cancel();
    let host = Host::new(Arc::new(()), cancel);
    let options = Options::from_pairs([("block", json!(true))]);
    let reader = foreign().reader(options, host).unwrap();
    let mut task = reader.open(&split(), &[], None).unwrap();
    assert_eq!(task.next_batch().unwrap_err().kind, ErrorKind::Cancelled);
}

enum Vault {
    Opens(&'static str),
    Empty,
    Locked,
    Panics,
}

impl Secrets for Vault {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        assert_eq!(key, "password");
        match self {
            Self::Opens(value) => Ok(Some(Secret::new(*value))),
            Self::Empty => Ok(None),
            Self::Locked => Err(Error::options("no such variable")),
            Self::Panics => panic!("the vault is on fire"),
        }
    }
}

#[test]
fn secrets_come_by_callback() {
    let ask = |vault: Vault| {
        let host = Host::new(Arc::new(vault), Cancel::new());
        let reader = foreign().reader(Options::default(), host).unwrap();
        reader.check().map(|findings| findings[0].detail.clone())
    };
    // A finding is a text for people, so the control character is escaped.
    assert_eq!(ask(Vault::Opens("pä\0ss")).unwrap(), "pä\\u{0}ss");
    assert_eq!(ask(Vault::Empty).unwrap(), "none");
    assert_eq!(ask(Vault::Locked).unwrap_err().message, "no such variable");
    let error = ask(Vault::Panics).unwrap_err();
    assert_eq!(error.message, "`secret` panicked: the vault is on fire");
}

// ------------------------------------------------------------------------------------------ log

/// Collects events as text, up to a level.
#[derive(Clone)]
struct Log {
    least: Level,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Default for Log {
    fn default() -> Self {
        Self { least: Level::TRACE, lines: Arc::default() }
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= self.least
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}:", metadata.level(), metadata.target()));
        event.record(&mut line);
        self.lines.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn events_arrive_with_the_plugins_name_and_the_levels_of_the_moment() {
    let heard_at = |least: Level| {
        let log = Log { least, ..Log::default() };
        tracing::subscriber::with_default(log.clone(), || foreign_reader(&[]).check().unwrap());
        log.lines()
    };
    // The level changes in both directions: the first result must not be cached.
    assert_eq!(heard_at(Level::ERROR).len(), 1);
    let all = heard_at(Level::TRACE);
    let error = all.iter().find(|line| line.starts_with("ERROR")).unwrap();
    assert!(error.starts_with("ERROR plugin: message=an error with fields"), "{error}");
    for part in [
        "plugin=\"sample\"",
        "module=\"abi_sample::plugin\"",
        "\\\"code\\\":17",
        "\\\"ratio\\\":0.5",
        "\\\"yes\\\":true",
        "\\\"what\\\":\\\"text\\\"",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(all.iter().any(|line| line.starts_with("INFO plugin: message=an info")), "{all:#?}");
    assert!(all.iter().any(|line| line.starts_with("DEBUG plugin: message=a debug")), "{all:#?}");
    assert!(all.iter().any(|line| line.starts_with("TRACE plugin: message=entered")), "{all:#?}");
    assert_eq!(heard_at(Level::ERROR).len(), 1);
}

#[test]
fn t61_panics_arrive_with_their_place() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        foreign_reader(&[("panic", "schema")]).schema().unwrap_err();
    });
    let lines = log.lines();
    let panic = lines.iter().find(|line| line.contains("module=\"panic\"")).unwrap();
    assert!(panic.starts_with("ERROR plugin: message=panicked at "), "{panic}");
    assert!(panic.contains("plugin.rs:"), "{panic}");
    assert!(panic.contains("asked to panic in schema"), "{panic}");
}

#[test]
fn one_library_is_loaded_once_and_many_threads_may_use_it() {
    let loaded: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let reader = foreign_reader(&[]);
                    let rows = read_all(reader.as_ref(), &plugin::columns(), None);
                    (format!("{rows:?}"), foreign())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (rows, plugin) in &loaded {
        assert_eq!(rows, &loaded[0].0);
        assert!(Arc::ptr_eq(plugin, &loaded[0].1));
    }
}

#[test]
fn the_catalog_tells_what_it_knows() {
    let entry = catalog().entry("sample", Role::Writer).unwrap();
    assert_eq!(entry.descriptor, Some(plugin::SamplePlugin.descriptor()));
    assert!(entry.is_unsigned());
    let shown = serde_json::to_value(entry).unwrap();
    assert_eq!((&shown["status"], &shown["trust"]), (&json!("ok"), &json!("unsigned")));
    assert_eq!(shown["roles"], json!(["reader", "writer"]));
    let path: PathBuf = serde_json::from_value(shown["path"].clone()).unwrap();
    assert!(path.ends_with("libsample.so"));
}
