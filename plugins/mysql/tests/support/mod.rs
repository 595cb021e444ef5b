//! A database for one test on a real server, checked with the server's own client.

#![allow(dead_code)] // each test binary uses its part of it

pub(crate) mod subject;

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_array::{ArrayRef, RecordBatch};
#[allow(unused_imports)] // as above
pub(crate) use transload_plugin_api::testing::steps::{integers, plan, texts};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Counters, Host, Options, Plugin, Position, ReadBatch, Reader,
    Result, Secret, Secrets, SplitRequest, TaskContext, WritePlan, WriteTask, Writer, Written,
    schema_of,
};
use transload_plugin_mysql::MysqlPlugin;

/// A server's address: `mysql://user:password@host:port/database`.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    user: String,
    password: String,
    host: String,
    port: u16,
}

impl Server {
    pub(crate) fn mariadb() -> Self {
        Self::from_variable("TRANSLOAD_TEST_MARIADB", "tests/servers/mariadb start DIR")
    }

    pub(crate) fn mysql() -> Self {
        Self::from_variable("TRANSLOAD_TEST_MYSQL", "tests/servers/mysql start DIR")
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    fn from_variable(name: &str, command: &str) -> Self {
        let Ok(text) = std::env::var(name) else {
            panic!("{name} is not set: run `{command}` and set what it prints");
        };
        let rest = text.strip_prefix("mysql://").unwrap();
        let (login, place) = rest.split_once('@').unwrap();
        let (user, password) = login.split_once(':').unwrap();
        let (host, port) = place.split_once('/').unwrap().0.split_once(':').unwrap();
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            host: host.to_owned(),
            port: port.parse().unwrap(),
        }
    }

    fn client(&self, database: &str, sql: &str) -> std::result::Result<String, String> {
        let mut child = Command::new("mariadb")
            .args(["--no-defaults", "--default-character-set=utf8mb4", "-N", "-B"])
            .args(["-h", &self.host, "-P", &self.port.to_string(), "-u", &self.user])
            .args([database])
            .env("MYSQL_PWD", &self.password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the client `mariadb`: install mariadb-client");
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

struct Password(String);

impl Secrets for Password {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok((key == "password").then(|| Secret::new(self.0.clone())))
    }
}

/// A database that is removed when it is dropped.
pub(crate) struct Fixture {
    server: Server,
    pub(crate) database: String,
}

impl Fixture {
    pub(crate) fn new(server: &Server, sql: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let database = format!("t_{}_{number}", std::process::id());
        let made = format!("CREATE DATABASE {database} CHARACTER SET utf8mb4");
        server.client("mysql", &made).unwrap();
        let fixture = Self { server: server.clone(), database };
        fixture.run(sql);
        fixture
    }

    pub(crate) fn run(&self, sql: &str) {
        let _ = self.ask(sql);
    }

    /// The client's output, with tabs between cells.
    pub(crate) fn ask(&self, sql: &str) -> String {
        self.try_ask(sql).unwrap()
    }

    pub(crate) fn try_ask(&self, sql: &str) -> std::result::Result<String, String> {
        let settings = "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00';";
        self.server.client(&self.database, &format!("{settings}\n{sql}"))
    }

    pub(crate) fn secrets_of_its_own(&self) -> Arc<dyn Secrets> {
        Self::secrets(&self.server)
    }

    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        self.ask(sql).lines().map(str::to_owned).collect()
    }

    /// Waits until another session of this database sleeps in `SELECT SLEEP(...)`; panics after a
    /// timeout.
    pub(crate) fn wait_for_sleeper(&self) {
        let sleepers = "SELECT COUNT(*) FROM information_schema.processlist \
             WHERE db = DATABASE() AND state = 'User sleep'";
        for _ in 0..200 {
            if self.lines(sleepers) != ["0"] {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("no session sleeps");
    }

    pub(crate) fn secrets(server: &Server) -> Arc<dyn Secrets> {
        Arc::new(Password(server.password.clone()))
    }

    pub(crate) fn host(&self) -> Host {
        Host::new(Self::secrets(&self.server), Cancel::new())
    }

    pub(crate) fn options(&self, pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::from_pairs(pairs.iter().copied());
        let Server { host, user, port, .. } = &self.server;
        for (key, value) in [("host", host), ("user", user), ("database", &self.database)] {
            options.values.insert(key.to_owned(), value.clone().into());
        }
        options.values.insert("port".to_owned(), (*port).into());
        // The server's cache of passwords may be empty.
        options.values.insert("allow_public_key_retrieval".to_owned(), true.into());
        options
    }

    pub(crate) fn writer(&self, table: &str) -> Box<dyn Writer> {
        MysqlPlugin.writer(self.options(&[("table", table)]), self.host()).unwrap()
    }

    pub(crate) fn reader(&self, pairs: &[(&str, &str)]) -> Box<dyn Reader> {
        MysqlPlugin.reader(self.options(pairs), self.host()).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.server.client("mysql", &format!("DROP DATABASE {}", self.database));
    }
}

/// Drafts, prepares, writes the batches' columns in one chunk and commits.
pub(crate) fn write_all(
    writer: &dyn Writer,
    plan: &WritePlan,
    batches: Vec<Vec<ArrayRef>>,
) -> Result<Vec<Written>> {
    let mut plan = plan.clone();
    plan.columns = writer.draft(&plan)?.columns;
    writer.prepare(&plan)?;
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 })?;
    let mut nullable = plan.columns.clone();
    nullable.iter_mut().for_each(|column| column.nullable = true);
    let schema = schema_of(&nullable);
    let batches: Vec<_> = batches
        .into_iter()
        .map(|arrays| RecordBatch::try_new(schema.clone(), arrays).unwrap())
        .collect();
    let written = match write_chunk(&mut *task, &batches) {
        // As the host does; other temporary failures are left to the test.
        Err(error) if error.code == "MYSQL-BULK" => {
            task.rollback_chunk()?;
            write_chunk(&mut *task, &batches)?
        }
        written => written?,
    };
    let receipt = task.finish()?;
    assert_eq!(writer.commit(&plan, &[receipt])?, ChunkOutcome::Committed);
    writer.finalise(&plan)?;
    Ok(written)
}

fn write_chunk(task: &mut dyn WriteTask, batches: &[RecordBatch]) -> Result<Vec<Written>> {
    task.begin_chunk(0)?;
    let written = batches.iter().map(|batch| task.write(batch)).collect::<Result<Vec<_>>>()?;
    let outcome = task.commit_chunk(&Position::default(), &Counters::default())?;
    assert_eq!(outcome, ChunkOutcome::Committed);
    Ok(written)
}

/// All batches of all splits, in the wanted types as far as the reader produces them.
pub(crate) fn read_all(reader: &dyn Reader, wanted: &[Column], max: u32) -> Vec<Vec<ReadBatch>> {
    let columns = reader.produces(wanted).unwrap();
    let splits = reader.splits(&SplitRequest::new(max, columns.clone())).unwrap();
    let read = |split| {
        let mut task = reader.open(split, &columns, None).unwrap();
        std::iter::from_fn(|| task.next_batch().unwrap()).collect()
    };
    splits.iter().map(read).collect()
}
