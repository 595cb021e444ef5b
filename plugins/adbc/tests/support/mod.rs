//! A fresh database file of a driver, and the plugin on it. Statements that no job has go through
//! `after` of a plan, which runs them and nothing else.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod subject;

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::TempDir;
use transload_plugin_adbc::AdbcPlugin;
#[allow(unused_imports)] // as above
pub(crate) use transload_plugin_api::testing::steps::{
    batch, counts, integers, plan, read_all, texts, write_all,
};
use transload_plugin_api::{
    Error, Host, Options, Plugin, Reader, SplitRequest, WriteMode, WritePlan, Writer,
};

/// The folder of manifests that `tests/servers/adbc start` prints.
pub(crate) fn manifests() -> String {
    std::env::var("TRANSLOAD_TEST_ADBC").expect(
        "TRANSLOAD_TEST_ADBC is not set: eval \"$(sh tests/servers/adbc start DIR)\" and export it",
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Sqlite,
    Duckdb,
}

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) driver: Driver,
}

impl Fixture {
    pub(crate) fn new(driver: Driver, sql: &[&str]) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap(), driver };
        fixture.execute(sql).unwrap();
        fixture
    }

    pub(crate) fn options(&self, pairs: &[(&str, &str)]) -> Options {
        let path = self.folder.path().join("test.db").to_str().unwrap().to_owned();
        let mut options =
            Options::from_pairs(pairs.iter().map(|(key, value)| (*key, Value::from(*value))));
        let (driver, key, value) = match self.driver {
            Driver::Sqlite => ("sqlite", "uri", json!(path)),
            Driver::Duckdb => ("duckdb", "options", json!({ "path": path })),
        };
        options.values.insert(key.to_owned(), value);
        options.values.insert("driver".to_owned(), driver.into());
        options.values.insert("additional_search_path".to_owned(), json!([manifests()]));
        options
    }

    pub(crate) fn execute(&self, sql: &[&str]) -> Result<(), Error> {
        let after = sql.iter().map(|sql| (*sql).to_owned()).collect();
        let plan = WritePlan { after, ..plan(WriteMode::Insert, &[], &[]) };
        self.writer().commit(&plan, &[]).map(drop)
    }

    pub(crate) fn writer(&self) -> Box<dyn Writer> {
        AdbcPlugin.writer(self.options(&[("table", "t")]), Host::detached()).unwrap()
    }

    pub(crate) fn reader(&self, pairs: &[(&str, &str)]) -> Box<dyn Reader> {
        AdbcPlugin.reader(self.options(pairs), Host::detached()).unwrap()
    }

    /// The rows of a query.
    pub(crate) fn query(&self, sql: &str) -> Vec<RecordBatch> {
        let reader = self.reader(&[("query", sql)]);
        read_all(&*reader, 1).into_iter().flatten().map(|read| read.batch).collect()
    }

    /// Reads to the end or to an error.
    pub(crate) fn try_query(&self, sql: &str) -> Result<u64, Error> {
        let reader = self.reader(&[("query", sql)]);
        let columns = reader.produces(&reader.schema()?.columns)?;
        let mut rows = 0;
        for split in reader.splits(&SplitRequest::new(1, columns.clone()))? {
            let mut task = reader.open(&split, &columns, None)?;
            while let Some(read) = task.next_batch()? {
                rows += read.batch.num_rows() as u64;
            }
        }
        Ok(rows)
    }
}
