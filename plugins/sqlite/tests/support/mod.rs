//! A fresh database file, the plugin over it, and a connection of the test's own to look at what
//! is really there.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod subject;

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use transload_plugin_api::{
    ChunkOutcome, Column, Counters, DirtyRow, Host, Options, Plugin, Position, ReadBatch, Reader,
    Result, SplitRequest, TaskContext, WriteMode, WritePlan, Writer, Written, schema_of,
};
use transload_plugin_sqlite::SqlitePlugin;

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
}

impl Fixture {
    /// An empty folder in which `sql` has made a database.
    pub(crate) fn new(sql: &str) -> Self {
        let fixture = Self::empty();
        fixture.connect().execute_batch(sql).unwrap();
        fixture
    }

    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> String {
        self.folder.path().join("test.db").to_str().unwrap().to_owned()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    pub(crate) fn options(&self, pairs: &[(&str, &str)]) -> Options {
        let path = self.path();
        let path = [("path", path.as_str())];
        Options::from_pairs(
            pairs.iter().chain(&path).map(|(key, value)| (*key, Value::from(*value))),
        )
    }

    pub(crate) fn reader(&self, pairs: &[(&str, &str)]) -> Box<dyn Reader> {
        SqlitePlugin.reader(self.options(pairs), Host::detached()).unwrap()
    }

    pub(crate) fn writer(&self, table: &str) -> Box<dyn Writer> {
        SqlitePlugin.writer(self.options(&[("table", table)]), Host::detached()).unwrap()
    }

    /// Rows of a query, each as its values with `|` between; NULL as `-`.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let connection = self.connect();
        let mut statement = connection.prepare(sql).unwrap();
        let width = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells: Vec<_> = (0..width)
                .map(|at| match row.get_ref(at).unwrap() {
                    rusqlite::types::ValueRef::Null => "-".to_owned(),
                    rusqlite::types::ValueRef::Integer(value) => value.to_string(),
                    rusqlite::types::ValueRef::Real(value) => format!("{value:?}"),
                    rusqlite::types::ValueRef::Text(text) => {
                        format!("'{}'", String::from_utf8_lossy(text))
                    }
                    rusqlite::types::ValueRef::Blob(bytes) => format!("{bytes:02x?}"),
                })
                .collect();
            Ok(cells.join("|"))
        });
        rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }
}

/// A plan for columns given as (name, type); all nullable.
pub(crate) fn plan(mode: WriteMode, columns: &[(&str, &str)], key: &[&str]) -> WritePlan {
    let column =
        |(name, logical): &(&str, &str)| Column::new(*name, logical.parse().unwrap(), true);
    WritePlan {
        run: "r-1".to_owned(),
        columns: columns.iter().map(column).collect(),
        mode,
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        tasks: 1,
        ..WritePlan::default()
    }
}

pub(crate) fn batch(plan: &WritePlan, arrays: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema_of(&plan.columns), arrays).unwrap()
}

pub(crate) fn integers(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values.into_iter().map(Into::into)))
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values.into_iter().map(Into::into)))
}

/// Drafts, prepares, writes each batch in a chunk of its own and commits.
pub(crate) fn write_all(
    writer: &dyn Writer,
    plan: &WritePlan,
    batches: &[RecordBatch],
) -> Result<Vec<Written>> {
    writer.draft(plan)?;
    writer.prepare(plan)?;
    let mut task = writer.open(plan, &TaskContext { task: 0, epoch: 0 })?;
    let mut all = Vec::new();
    for (sequence, batch) in batches.iter().enumerate() {
        task.begin_chunk(sequence as u64)?;
        let written = task.write(batch)?;
        let sum = written.inserted + written.updated + written.skipped + written.dirty.len() as u64;
        assert_eq!(sum, batch.num_rows() as u64, "t12: every row is accounted for");
        all.push(written);
        let outcome = task.commit_chunk(&Position::default(), &Counters::default())?;
        assert_eq!(outcome, ChunkOutcome::Committed);
    }
    let receipt = task.finish()?;
    assert_eq!(writer.commit(plan, std::slice::from_ref(&receipt))?, ChunkOutcome::Committed);
    assert_eq!(writer.commit(plan, &[receipt])?, ChunkOutcome::AlreadyCommitted);
    writer.finalise(plan)?;
    Ok(all)
}

/// Inserted, updated, skipped, dirty.
pub(crate) fn counts(written: &Written) -> (u64, u64, u64, usize) {
    (written.inserted, written.updated, written.skipped, written.dirty.len())
}

/// Reads every split to its end.
pub(crate) fn read_all(reader: &dyn Reader, max: u32) -> Vec<Vec<ReadBatch>> {
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    read_columns(reader, &columns, max)
}

pub(crate) fn read_columns(
    reader: &dyn Reader,
    columns: &[Column],
    max: u32,
) -> Vec<Vec<ReadBatch>> {
    let request = SplitRequest { max, columns: columns.to_vec() };
    let splits = reader.splits(&request).unwrap();
    let read = |split| {
        let mut task = reader.open(split, columns, None).unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = task.next_batch().unwrap() {
            assert_eq!(batch.batch.schema(), schema_of(columns));
            batches.push(batch);
        }
        batches
    };
    splits.iter().map(read).collect()
}

pub(crate) fn dirty_rows(batches: &[Vec<ReadBatch>]) -> Vec<DirtyRow> {
    batches.iter().flatten().flat_map(|batch| batch.dirty.clone()).collect()
}

/// The dirty rows as (place, column, code).
pub(crate) fn faults(dirty: &[DirtyRow]) -> Vec<(String, String, String)> {
    let fault = |row: &DirtyRow| {
        let place = row.place.clone().unwrap_or_else(|| row.row.to_string());
        (place, row.column.clone().unwrap_or_default(), row.code.clone())
    };
    dirty.iter().map(fault).collect()
}
