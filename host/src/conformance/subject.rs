//! A store as the suite's subject, by the description in a file. Sources and targets are made and read
//! with the plugin's own writer and reader, where no command does it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, ConflictEffect, Counters, ErrorKind, Host, KeyNeed, LogicalType,
    Options, Plugin, Position, Reader, Result, Secret, Secrets, SplitRequest, TaskContext,
    WriteMode, WritePlan, Writer, WriterDescriptor, columns_of, schema_of,
    testing::{Rows, Side, Source, Subject, Target, cell, samples},
};

use super::{config::Config, place::Place};
use crate::convert::Converter;

/// What all sources and targets share.
struct Store {
    plugin: Arc<dyn Plugin>,
    config: Config,
    secrets: Arc<Known>,
    notes: Mutex<Vec<String>>,
}

/// The store of a plugin from outside.
pub(super) struct DeclaredSubject(Arc<Store>);

struct Known(BTreeMap<String, String>);

impl Secrets for Known {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok(self.0.get(key).map(|value| Secret::new(value.as_str())))
    }
}

impl DeclaredSubject {
    /// # Errors
    /// For a secret that is not set.
    pub(super) fn new(plugin: Arc<dyn Plugin>, config: Config) -> crate::Result<Self> {
        let secrets = Arc::new(Known(config.secrets()?));
        Ok(Self(Arc::new(Store { plugin, config, secrets, notes: Mutex::default() })))
    }
}

impl Store {
    fn host(&self) -> Host {
        Host::new(self.secrets.clone(), Cancel::new())
    }

    fn place(&self) -> Place {
        Place::new(self.config.commands.remove.as_ref())
    }

    fn options(&self, side: Side, place: &Place) -> Options {
        let Config { options, reader, writer, .. } = &self.config;
        place.options(&[options, if side == Side::Reader { reader } else { writer }])
    }

    fn writes(&self) -> Option<WriterDescriptor> {
        self.plugin.descriptor().writer
    }

    /// Whether the reader can read what the writer writes.
    fn reads_back(&self) -> bool {
        self.plugin.descriptor().reader.is_some() && !self.config.write_only
    }

    fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn writer(&self, place: &Place, cancel: Cancel) -> Box<dyn Writer> {
        let options = self.options(Side::Writer, place);
        let host = Host::new(self.secrets.clone(), cancel);
        must(self.plugin.writer(options, host), "a writer of the test's own")
    }
}

/// The value of a call that sets the stage.
#[track_caller]
fn must<T>(result: Result<T>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The key to plan with, as the suite chooses it.
fn is_keyed(writer: &WriterDescriptor) -> bool {
    let spec = &writer.modes[0];
    spec.conflict != ConflictEffect::None || spec.needs != KeyNeed::Nothing
}

impl Subject for DeclaredSubject {
    fn source(&self, rows: u64) -> Source {
        let store = &self.0;
        if store.config.generates() {
            let place = store.place().with("rows", rows);
            return Source::new(store.options(Side::Reader, &place)).keeping(place);
        }
        let batch = samples::keyed(1..=rows as i64, 1);
        let known = Rows::of(std::slice::from_ref(&batch));
        if let Some(command) = &store.config.commands.fill {
            let place = store.place();
            place.run(command, &as_json(&batch));
            return Source::new(store.options(Side::Reader, &place))
                .with_rows(known)
                .keeping(place);
        }
        assert!(
            store.writes().is_some() && store.reads_back(),
            "the reader cannot read what a writer wrote: give an option the value `${{rows}}`, or \
             a command that makes a source: commands.fill"
        );
        let target = DeclaredTarget::new(store, &samples::keyed_columns(), &["id".to_owned()]);
        target.put(&batch);
        let options = store.options(Side::Reader, &target.place);
        Source::new(options).with_rows(known).keeping(target)
    }

    fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
        Box::new(DeclaredTarget::new(&self.0, columns, key))
    }

    fn secrets(&self) -> Arc<dyn Secrets> {
        self.0.secrets.clone()
    }

    fn types(&self, family: &str) -> Vec<LogicalType> {
        let Some(names) = self.0.config.types.get(family) else { return samples::types_of(family) };
        let parse = |name: &String| name.parse().unwrap_or_else(|error| panic!("types: {error}"));
        names.iter().map(parse).collect()
    }

    fn knows_values(&self) -> bool {
        false
    }

    fn note(&self, note: String) {
        self.0.note(note);
    }

    fn notes(&self) -> Vec<String> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reads_back(&self, _: &LogicalType) -> bool {
        false // the target's own comparison reads it
    }

    fn at_address(&self, side: Side, address: SocketAddr) -> Option<Options> {
        let Config { options, reader, writer, .. } = &self.0.config;
        let own = if side == Side::Reader { reader } else { writer };
        let place = self.0.place().with("host", address.ip()).with("port", address.port());
        Some(place.options(&[options, own, self.0.config.address.as_ref()?]))
    }

    fn missing_source(&self) -> Option<Options> {
        let missing = self.0.config.missing.as_ref()?;
        Some(self.0.place().options(&[&self.0.config.options, &self.0.config.reader, missing]))
    }

    fn wrong_kinds(&self) -> Vec<Source> {
        let Some(command) = &self.0.config.commands.wrong_kind else { return Vec::new() };
        let target = DeclaredTarget::new(&self.0, &samples::keyed_columns(), &["id".to_owned()]);
        target.put(&samples::keyed(1..=5, 1));
        target.place.run(command, "");
        vec![Source::new(self.0.options(Side::Reader, &target.place)).keeping(target)]
    }
}

/// Rows of [`samples::keyed_columns`], one JSON object a line.
fn as_json(batch: &RecordBatch) -> String {
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        let cells = batch.columns().iter().map(|array| cell(array, row));
        let [id, name, size] = &cells.collect::<Vec<_>>()[..] else { continue };
        let _ = writeln!(text, "{{\"id\":{id},\"name\":{name},\"size\":{size}}}");
    }
    text
}

struct DeclaredTarget {
    store: Arc<Store>,
    place: Place,
    columns: Vec<Column>,
    key: Vec<String>,
}

impl DeclaredTarget {
    /// An empty target, created by the writer if it creates tables.
    fn new(store: &Arc<Store>, columns: &[Column], key: &[String]) -> Self {
        let (store, place) = (store.clone(), store.place());
        let (columns, key) = (columns.to_vec(), key.to_vec());
        let target = Self { store, place, columns, key };
        if target.store.writes().is_some_and(|writer| writer.creates_table) {
            target.write(&[], true, Cancel::new());
        }
        target
    }

    /// A run that inserts rows.
    fn write(&self, rows: &[RecordBatch], create_table: bool, cancel: Cancel) {
        let declared = self.store.writes();
        let key = if declared.is_some_and(|writer| create_table || is_keyed(&writer)) {
            self.key.clone()
        } else {
            Vec::new()
        };
        let writer = self.store.writer(&self.place, cancel);
        let mut plan = WritePlan {
            run: format!("stage-{}-{}", std::process::id(), next_run()),
            columns: self.columns.clone(),
            key,
            create_table,
            tasks: 1,
            ..WritePlan::default()
        };
        plan.mode = self.store.writes().map_or(plan.mode, |writer| writer.modes[0].mode);
        plan.columns = must(writer.draft(&plan), "`draft` of the test's own run").columns;
        must(writer.prepare(&plan), "`prepare` of the test's own run");
        let task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 });
        let mut task = must(task, "`open` of the test's own run");
        for (sequence, batch) in (0..).zip(rows) {
            must(task.begin_chunk(sequence), "`begin_chunk` of the test's own run");
            // The draft's columns have the store's own types beside the same values.
            let batch = RecordBatch::try_new(schema_of(&plan.columns), batch.columns().to_vec());
            let batch = batch.unwrap_or_else(|error| panic!("the draft changes a type: {error}"));
            let written = must(task.write(&batch), "`write` of the test's own run");
            assert!(written.dirty.is_empty(), "the test's own rows are dirty: {:?}", written.dirty);
            let committed = task.commit_chunk(&Position::default(), &Counters::default());
            assert_eq!(must(committed, "`commit_chunk`"), ChunkOutcome::Committed);
        }
        let receipt = must(task.finish(), "`finish` of the test's own run");
        must(writer.commit(&plan, &[receipt]), "`commit` of the test's own run");
        must(writer.finalise(&plan), "`finalise` of the test's own run");
    }

    /// All rows, in these columns.
    fn read(&self, wanted: &[Column]) -> Vec<RecordBatch> {
        let options = self.store.options(Side::Reader, &self.place);
        let reader = must(self.store.plugin.reader(options, self.store.host()), "a reader");
        let own = match reader.schema() {
            // What nothing was written to need not be there.
            Err(error) if error.kind == ErrorKind::NotFound => return Vec::new(),
            schema => must(schema, "`schema`").columns,
        };
        let wanted = if wanted.is_empty() { &own } else { wanted };
        read(&*reader, wanted)
    }
}

/// A number that no other run of this process has.
fn next_run() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static RUNS: AtomicU64 = AtomicU64::new(0);
    RUNS.fetch_add(1, Ordering::Relaxed)
}

fn read(reader: &dyn Reader, wanted: &[Column]) -> Vec<RecordBatch> {
    let made = must(reader.produces(wanted), "`produces`");
    // As the host does it where a reader has another type.
    let converter = Converter::new(&made, wanted);
    let mut batches = Vec::new();
    let request = SplitRequest::new(1, made.clone());
    for split in must(reader.splits(&request), "`splits`") {
        let mut task = must(reader.open(&split, &made, None), "`open`");
        while let Some(read) = must(task.next_batch(), "`next_batch`") {
            let converted = converter.convert(&read.batch);
            let converted = converted.unwrap_or_else(|error| panic!("a batch: {error}"));
            let dirty: Vec<_> = read.dirty.iter().chain(&converted.dirty).collect();
            assert!(dirty.is_empty(), "rows that were written are dirty when read: {dirty:?}");
            batches.push(converted.batch);
        }
    }
    batches
}

impl Target for DeclaredTarget {
    fn writer_options(&self, _: WriteMode) -> Options {
        self.store.options(Side::Writer, &self.place)
    }

    fn reader_options(&self) -> Option<Options> {
        self.store.reads_back().then(|| self.store.options(Side::Reader, &self.place))
    }

    fn put(&self, rows: &RecordBatch) {
        self.write(std::slice::from_ref(rows), false, Cancel::new());
    }

    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        if !self.store.reads_back() {
            self.store.note("rows that were written are not compared: nothing reads them".into());
            return;
        }
        let columns = expected.first().map(|batch| {
            columns_of(&batch.schema()).unwrap_or_else(|error| panic!("{when}: {error}"))
        });
        let found = self.read(&columns.unwrap_or_default());
        Rows::of(expected).assert_same(&Rows::of(&found), when);
    }

    /// A second writer gets a second: one that waits for the first would wait indefinitely.
    fn put_beside(&self, rows: &RecordBatch) -> bool {
        let cancel = Cancel::new();
        thread::scope(|scope| {
            let (end, ended) = mpsc::channel();
            let signal = cancel.clone();
            scope.spawn(move || {
                if ended.recv_timeout(Duration::from_secs(1)).is_err() {
                    signal.cancel();
                }
            });
            let put = || self.write(std::slice::from_ref(rows), false, cancel.clone());
            let put = panic::catch_unwind(AssertUnwindSafe(put)).is_ok();
            let _ = end.send(());
            put
        })
    }

    fn leftovers(&self) -> Vec<String> {
        let Some(command) = &self.store.config.commands.leftovers else { return Vec::new() };
        self.place.run(command, "").lines().map(str::to_owned).collect()
    }
}
