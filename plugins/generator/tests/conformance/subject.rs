//! What the suite needs to know about the generator. Its target keeps no rows, so the content of a
//! table is checked by comparing its report with the report of a table that received exactly the
//! expected rows.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use serde_json::{Map, Value, json};
use transload_plugin_api::{
    Column, Counters, Host, LogicalType, Options, Plugin, Position, TaskContext, WriteMode,
    WritePlan, Writer, columns_of, schema_of,
    testing::{DirtyBatch, DirtySource, Source, Subject, Target, samples},
};

/// The generator as the suite's subject, however it was loaded.
pub(crate) struct Generator<'a> {
    /// The plugin under test.
    pub(crate) plugin: &'a dyn Plugin,
    /// A generator known to be correct, which provides the expected result.
    pub(crate) reference: &'a dyn Plugin,
}

fn options(values: Value) -> Options {
    let Value::Object(values) = values else { panic!("options are an object: {values}") };
    Options { values, ..Options::default() }
}

/// A column of every type with NULL and edge values, and one that identifies rows.
fn all_types(plugin: &dyn Plugin) -> Map<String, Value> {
    let reader = plugin.descriptor().reader.expect("the generator reads");
    let families = reader.types.into_iter().map(|support| support.logical);
    let types = families.flat_map(|family| samples::types_of(&family));
    let specs = types.enumerate().map(|(index, logical)| {
        let spec = format!("{logical} null 10% edge 20% nan");
        (format!("c{index}"), Value::from(spec))
    });
    specs.chain([("number".to_owned(), "int64 sequence".into())]).collect()
}

impl Subject for Generator<'_> {
    fn source(&self, rows: u64) -> Source {
        let mut columns = all_types(self.plugin);
        if rows > 1_000 {
            // Many rows test batches, not types.
            columns.retain(|name, _| ["c0", "c10", "c16", "number"].contains(&name.as_str()));
        }
        Source::new(options(json!({"rows": rows, "specs": columns, "primary_key": ["number"]})))
    }

    fn target(&self, _columns: &[Column], _key: &[String]) -> Box<dyn Target + '_> {
        static TABLES: AtomicU64 = AtomicU64::new(0);
        let table = format!("table-{}", TABLES.fetch_add(1, Ordering::Relaxed));
        let Self { plugin, reference } = *self;
        Box::new(Table { plugin, reference, table, folder: tempfile::tempdir().unwrap() })
    }

    fn dirty_sources(&self) -> Vec<DirtySource> {
        let columns = json!({"number": "int64 sequence"});
        let source = json!({"rows": 100, "specs": columns, "dirty_every": 40, "batch_rows": 30});
        let places = vec!["row 39".to_owned(), "row 79".to_owned()];
        vec![DirtySource { source: Source::new(options(source)), places }]
    }

    /// A NULL in a key, and a key that already exists.
    fn dirty_batches(&self) -> Vec<DirtyBatch> {
        let columns = vec![Column::new("id", LogicalType::Int64, true)];
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(2), Some(1)]));
        let batch = RecordBatch::try_new(schema_of(&columns), vec![ids]).unwrap();
        vec![DirtyBatch { columns, key: vec!["id".to_owned()], batch, dirty: vec![1, 3] }]
    }
}

struct Table<'a> {
    plugin: &'a dyn Plugin,
    reference: &'a dyn Plugin,
    table: String,
    folder: tempfile::TempDir,
}

impl Table<'_> {
    fn writer(&self, values: Value) -> Box<dyn Writer> {
        self.plugin.writer(options(values), Host::detached()).unwrap()
    }

    /// The current report of the table: a run without rows writes one.
    fn report(&self) -> Value {
        let path = self.folder.path().join("actual.json");
        let writer = self.writer(json!({"table": self.table, "report": path}));
        writer.commit(&plan("look", &[], &[]), &[]).unwrap();
        read(&path)
    }

    /// The report of a table that received exactly these rows, without keys, from the reference.
    fn report_of(&self, rows: &[RecordBatch]) -> Value {
        let path = self.folder.path().join("expected.json");
        let options = options(json!({"report": path}));
        let writer = self.reference.writer(options, Host::detached()).unwrap();
        write(&*writer, &plan("expected", rows, &[]), rows);
        read(&path)
    }
}

fn plan(word: &str, rows: &[RecordBatch], key: &[&str]) -> WritePlan {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let columns = rows.first().map(|batch| columns_of(&batch.schema()).unwrap());
    WritePlan {
        run: format!("{word}-{number}"),
        columns: columns.unwrap_or_default(),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        ..WritePlan::default()
    }
}

fn write(writer: &dyn Writer, plan: &WritePlan, rows: &[RecordBatch]) {
    let mut task = writer.open(plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    task.begin_chunk(0).unwrap();
    for batch in rows {
        assert_eq!(task.write(batch).unwrap().inserted, batch.num_rows() as u64);
    }
    task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    writer.commit(plan, &[task.finish().unwrap()]).unwrap();
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Target for Table<'_> {
    fn writer_options(&self, _mode: WriteMode) -> Options {
        options(json!({"table": self.table, "key_dedup": true}))
    }

    fn reader_options(&self) -> Option<Options> {
        None
    }

    fn put(&self, rows: &RecordBatch) {
        let rows = std::slice::from_ref(rows);
        let writer = self.writer(json!({"table": self.table, "key_dedup": true}));
        write(&*writer, &plan("put", rows, &["id"]), rows);
    }

    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let (actual, expected) = (self.report(), self.report_of(expected));
        assert_eq!(actual["rows"], expected["rows"], "{when}: rows of `{}`", self.table);
        if expected["rows"] != 0 {
            assert_eq!(actual["columns"], expected["columns"], "{when}: `{}`", self.table);
        }
    }
}
