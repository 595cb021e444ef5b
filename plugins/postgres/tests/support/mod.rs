//! A database for one test, the plugin on it, and a separate connection to check the content.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod subject;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, config::Host as PgHost};
#[allow(unused_imports)] // as above
pub(crate) use transload_plugin_api::testing::steps::{
    batch, chunk, counts, dirty_rows, integers, open_first, plan, read_all, texts, write_all,
};
use transload_plugin_api::{
    Cancel, Host, Options, Plugin, ReadTask, Reader, Result, Secret, Secrets, Writer,
    testing::proxy::{self, Faults},
};
use transload_plugin_postgres::PostgresPlugin;

const MISSING: &str = "there is no server to test with: run `eval \"$(tests/servers/postgres start \
                       /tmp/pg)\"; export TRANSLOAD_TEST_POSTGRES`, or set it to \
                       postgres://user:password@host:port/database of another";

/// The server's address, without a password in the options of the plugin.
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

/// A database that is removed when it is dropped.
pub(crate) struct Fixture {
    database: String,
    pub(crate) client: TestClient,
}

impl Fixture {
    /// A database in which `sql` has been run.
    pub(crate) fn new(sql: &str) -> Self {
        Self::created("", sql)
    }

    /// As [`Fixture::new`], with the rest of `CREATE DATABASE`.
    pub(crate) fn created(how: &str, sql: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = format!("transload_{}_{number}", std::process::id());
        let admin = TestClient::open(&server());
        admin.run(&format!("CREATE DATABASE {database} {how}"));
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

    /// A writer behind a proxy, and the proxy's faults.
    pub(crate) fn writer_through_proxy(&self, table: &str) -> (Box<dyn Writer>, Arc<Faults>) {
        let (options, faults) = self.through_proxy(&[("table", table)]);
        (PostgresPlugin.writer(options, host()).unwrap(), faults)
    }

    /// A reader behind a proxy, and the proxy's faults.
    pub(crate) fn reader_through_proxy(&self, table: &str) -> (Box<dyn Reader>, Arc<Faults>) {
        let (options, faults) = self.through_proxy(&[("table", table)]);
        (PostgresPlugin.reader(options, host()).unwrap(), faults)
    }

    pub(crate) fn through_proxy(&self, pairs: &[(&str, &str)]) -> (Options, Arc<Faults>) {
        let mut options = self.options(pairs);
        let (port, faults) = proxy::start(server().get_ports()[0], b"COMMIT\0");
        options.values.insert("port".to_owned(), port.into());
        (options, faults)
    }

    /// Another connection to the same database.
    pub(crate) fn connect(&self) -> TestClient {
        TestClient::open(server().dbname(&self.database))
    }

    /// Ends the plugin's sessions, as an administrator might.
    pub(crate) fn end_sessions(&self) {
        self.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE application_name = 'transload' AND datname = current_database()",
        );
    }

    /// Waits until a statement that matches waits for a lock.
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

    /// Waits until the table has this many rows, because the server may still be working.
    pub(crate) fn await_rows(&self, table: &str, rows: u64) {
        self.await_value(&format!("SELECT count(*) FROM {table}"), &rows.to_string());
    }

    pub(crate) fn run(&self, sql: &str) {
        self.client.run(sql);
    }

    /// Rows of a query, each as its values separated by `|`; NULL as `-`.
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

/// A connection that uses the text format only, unlike the plugin.
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
    /// Waits, for at most ten seconds, until the query returns this value.
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

/// Reads to the end; returns the number of rows.
pub(crate) fn read_rows(task: &mut dyn ReadTask) -> Result<usize> {
    let mut rows = 0;
    while let Some(read) = task.next_batch()? {
        rows += read.batch.num_rows();
    }
    Ok(rows)
}
