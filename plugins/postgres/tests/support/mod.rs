//! A database of the test's own on the test server, the plugin over it, and a connection of the
//! test's own to look at what is really there.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod proxy;
pub(crate) mod subject;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use proxy::Faults;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, config::Host as PgHost};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Counters, DirtyRow, ErrorKind, Host, Options, Plugin, Position,
    ReadBatch, ReadTask, Reader, Result, Secret, Secrets, SplitRequest, TaskContext, WriteMode,
    WritePlan, WriteTask, Writer, Written, schema_of,
};
use transload_plugin_postgres::PostgresPlugin;

const MISSING: &str = "there is no server to test with: run `eval \"$(tests/servers/postgres start \
                       /tmp/pg)\"; export TRANSLOAD_TEST_POSTGRES`, or set it to \
                       postgres://user:password@host:port/database of another";

/// The server's address, without a password in what is handed to the plugin.
pub(crate) fn server() -> Config {
    std::env::var("TRANSLOAD_TEST_POSTGRES").expect(MISSING).parse().expect(MISSING)
}

/// The test server's password.
pub(crate) struct Password(pub(crate) String);

impl Secrets for Password {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok((key == "password").then(|| Secret::new(self.0.clone())))
    }
}

pub(crate) fn secrets() -> Arc<dyn Secrets> {
    let password = server().get_password().unwrap_or_default().to_vec();
    Arc::new(Password(String::from_utf8(password).unwrap()))
}

pub(crate) fn host() -> Host {
    Host::new(secrets(), Cancel::new())
}

/// A database that goes when it is dropped.
pub(crate) struct Fixture {
    database: String,
    pub(crate) client: TestClient,
}

impl Fixture {
    /// A database in which `sql` has been run.
    pub(crate) fn new(sql: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = format!("transload_{}_{number}", std::process::id());
        let admin = TestClient::open(&server());
        admin.run(&format!("CREATE DATABASE {database}"));
        let client = TestClient::open(server().dbname(&database));
        client.run(sql);
        Self { database, client }
    }

    pub(crate) fn options(&self, pairs: &[(&str, &str)]) -> Options {
        let server = server();
        let PgHost::Tcp(host) = &server.get_hosts()[0] else { panic!("{MISSING}") };
        let address = [
            ("host", Value::from(host.as_str())),
            ("port", Value::from(server.get_ports()[0])),
            ("user", Value::from(server.get_user().unwrap())),
            ("database", Value::from(self.database.as_str())),
        ];
        let pairs = pairs.iter().map(|(key, value)| (*key, Value::from(*value)));
        Options::from_pairs(pairs.chain(address))
    }

    pub(crate) fn reader(&self, pairs: &[(&str, &str)]) -> Box<dyn Reader> {
        PostgresPlugin.reader(self.options(pairs), host()).unwrap()
    }

    pub(crate) fn writer(&self, table: &str) -> Box<dyn Writer> {
        PostgresPlugin.writer(self.options(&[("table", table)]), host()).unwrap()
    }

    /// A writer, and what may happen on its way to the server.
    pub(crate) fn writer_through_proxy(&self, table: &str) -> (Box<dyn Writer>, Arc<Faults>) {
        let (options, faults) = self.through_proxy(&[("table", table)]);
        (PostgresPlugin.writer(options, host()).unwrap(), faults)
    }

    /// A reader, and what may happen on its way to the server.
    pub(crate) fn reader_through_proxy(&self, table: &str) -> (Box<dyn Reader>, Arc<Faults>) {
        let (options, faults) = self.through_proxy(&[("table", table)]);
        (PostgresPlugin.reader(options, host()).unwrap(), faults)
    }

    fn through_proxy(&self, pairs: &[(&str, &str)]) -> (Options, Arc<Faults>) {
        let mut options = self.options(pairs);
        let (port, faults) = proxy::start(server().get_ports()[0]);
        options.values.insert("port".to_owned(), port.into());
        (options, faults)
    }

    /// Another connection to the same database.
    pub(crate) fn connect(&self) -> TestClient {
        TestClient::open(server().dbname(&self.database))
    }

    /// Ends the plugin's sessions, as an administrator would.
    pub(crate) fn end_sessions(&self) {
        self.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE application_name = 'transload' AND datname = current_database()",
        );
    }

    /// Waits until a statement like this waits for a lock.
    pub(crate) fn await_waiting(&self, like: &str) {
        let like = like.replace('\'', "''");
        let sql = format!(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock' AND query LIKE '{like}'"
        );
        self.connect().await_value(&sql, "t");
    }

    pub(crate) fn await_value(&self, sql: &str, value: &str) {
        self.client.await_value(sql, value);
    }

    /// Waits until the table holds so many rows: the server may be at it still.
    pub(crate) fn await_rows(&self, table: &str, rows: u64) {
        self.await_value(&format!("SELECT count(*) FROM {table}"), &rows.to_string());
    }

    pub(crate) fn run(&self, sql: &str) {
        self.client.run(sql);
    }

    /// Rows of a query, each as its values with `|` between; NULL as `-`.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        self.client.rows(sql)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let admin = TestClient::open(&server());
        admin.run(&format!("DROP DATABASE {} WITH (FORCE)", self.database));
    }
}

/// A connection that speaks text only, unlike the plugin.
pub(crate) struct TestClient {
    runtime: Runtime,
    client: Client,
}

impl TestClient {
    pub(crate) fn open(config: &Config) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(config.connect(NoTls)).expect(MISSING);
        runtime.spawn(async move { drop(connection.await) });
        Self { runtime, client }
    }

    pub(crate) fn run(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap_or_else(|error| {
            panic!("{sql}: {}", error.as_db_error().map_or(error.to_string(), ToString::to_string))
        });
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql)).unwrap();
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<_> =
                    (0..row.len()).map(|at| row.get(at).unwrap_or("-").to_owned()).collect();
                Some(cells.join("|"))
            }
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }
}

impl TestClient {
    /// Waits, ten seconds at most, until the query answers this.
    pub(crate) fn await_value(&self, sql: &str, value: &str) {
        for _ in 0..500 {
            if self.rows(sql) == [value] {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{sql}: {:?} and not {value}", self.rows(sql));
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
    let all: Result<Vec<_>> = (0..).zip(batches).map(|it| chunk(&mut *task, it.0, it.1)).collect();
    let receipt = task.finish()?;
    assert_eq!(writer.commit(plan, std::slice::from_ref(&receipt))?, ChunkOutcome::Committed);
    assert_eq!(writer.commit(plan, &[receipt])?, ChunkOutcome::AlreadyCommitted);
    writer.finalise(plan)?;
    all
}

/// A chunk of one batch, written again as often as the writer asks for that.
pub(crate) fn chunk(
    task: &mut dyn WriteTask,
    sequence: u64,
    batch: &RecordBatch,
) -> Result<Written> {
    for _ in 0..10 {
        task.begin_chunk(sequence)?;
        let outcome = task.write(batch).and_then(|written| {
            let outcome = task.commit_chunk(&Position::default(), &Counters::default())?;
            assert_eq!(outcome, ChunkOutcome::Committed);
            Ok(written)
        });
        match outcome {
            Err(error) if error.kind == ErrorKind::Retry => task.rollback_chunk()?,
            Err(error) => return Err(error),
            Ok(written) => {
                let Written { inserted, updated, skipped, dirty } = &written;
                let sum = inserted + updated + skipped + dirty.len() as u64;
                assert_eq!(sum, batch.num_rows() as u64, "t12: every row is accounted for");
                return Ok(written);
            }
        }
    }
    panic!("the chunk is asked for without end");
}

/// Inserted, updated, skipped, dirty.
pub(crate) fn counts(written: &Written) -> (u64, u64, u64, usize) {
    (written.inserted, written.updated, written.skipped, written.dirty.len())
}

/// Reads every split to its end.
pub(crate) fn read_all(reader: &dyn Reader, max: u32) -> Vec<Vec<ReadBatch>> {
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    let request = SplitRequest { max, columns: columns.clone() };
    let splits = reader.splits(&request).unwrap();
    let read = |split| {
        let mut task = reader.open(split, &columns, None).unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = task.next_batch().unwrap() {
            assert_eq!(batch.batch.schema(), schema_of(&columns));
            batches.push(batch);
        }
        batches
    };
    splits.iter().map(read).collect()
}

/// The first of one split, with the rows' own columns.
pub(crate) fn open_first(reader: &dyn Reader) -> Box<dyn ReadTask> {
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    let request = SplitRequest { max: 1, columns: columns.clone() };
    reader.open(&reader.splits(&request).unwrap()[0], &columns, None).unwrap()
}

/// Reads to the end; how many rows there were.
pub(crate) fn read_rows(task: &mut dyn ReadTask) -> Result<usize> {
    let mut rows = 0;
    while let Some(read) = task.next_batch()? {
        rows += read.batch.num_rows();
    }
    Ok(rows)
}

pub(crate) fn dirty_rows(batches: &[Vec<ReadBatch>]) -> Vec<DirtyRow> {
    batches.iter().flatten().flat_map(|batch| batch.dirty.clone()).collect()
}
