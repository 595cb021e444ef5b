//! A fresh database file, the plugin on it, and a separate connection to check the content.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod subject;

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
#[allow(unused_imports)] // as above
pub(crate) use transload_plugin_api::testing::steps::{
    batch, counts, dirty_rows, integers, plan, read_all, read_columns, texts, write_all,
};
use transload_plugin_api::{DirtyRow, Host, Options, Plugin, Reader, Writer};
use transload_plugin_sqlite::SqlitePlugin;

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
}

impl Fixture {
    /// An empty folder with a database created by `sql`.
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

    /// Rows of a query, each as its values separated by `|`; NULL as `-`.
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

/// The dirty rows as (place, column, code).
pub(crate) fn faults(dirty: &[DirtyRow]) -> Vec<(String, String, String)> {
    let fault = |row: &DirtyRow| {
        let place = row.place.clone().unwrap_or_else(|| row.row.to_string());
        (place, row.column.clone().unwrap_or_default(), row.code.clone())
    };
    dirty.iter().map(fault).collect()
}
