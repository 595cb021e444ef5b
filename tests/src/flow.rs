//! A numbered table in one server, copied into another by the real program, for tests of faults.
//! Equality is checked by the servers themselves, over all columns.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    Ended, Running, Workplace,
    servers::{Database, Product, Server},
    wait_until,
};

/// A source, a target, and a folder to run in.
pub struct Flow {
    /// Contains table `numbers`.
    pub source: Database,
    /// Also contains table `numbers`, empty, with or without a key.
    pub target: Database,
    /// The folder in which jobs run.
    pub workplace: Workplace,
}

/// How a job differs from the default.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The write mode; `upsert` if empty.
    pub mode: &'static str,
    /// The port of the proxy in front of the source.
    pub source_port: Option<u16>,
    /// The port of the proxy in front of the target.
    pub target_port: Option<u16>,
    /// Rows per second; unlimited if 0.
    pub rate: u32,
    /// Additional lines of the reader's section.
    pub reader: String,
    /// Additional lines of the writer's section.
    pub writer: String,
    /// Additional sections.
    pub more: String,
}

impl Flow {
    /// A source with this many rows, and a target whose table has a key.
    ///
    /// # Panics
    /// If there are no servers.
    pub fn new(from: Product, into: Product, rows: u32) -> Self {
        Self::between(&Server::of(from), &Server::of(into), rows, true)
    }

    /// As [`Flow::new`], between these servers, the target's table with or without a key.
    ///
    /// # Panics
    /// If they cannot be reached.
    pub fn between(from: &Server, into: &Server, rows: u32, keyed: bool) -> Self {
        let table = |key| {
            format!(
                "CREATE TABLE numbers (id BIGINT NOT NULL{key}, word VARCHAR(1000) NOT NULL, \
                 price NUMERIC(15,2), day DATE);"
            )
        };
        let key = if keyed { " PRIMARY KEY" } else { "" };
        let source = Database::on(from, &(table(" PRIMARY KEY") + &fill(from.product, rows)));
        Self { source, target: Database::on(into, &table(key)), workplace: Workplace::new() }
    }

    /// A line for the reader that makes the source take some seconds for its rows. Otherwise,
    /// network buffers would hold all of them, and a connection that is lost afterwards would lose
    /// no rows.
    pub fn slow_source(&self) -> String {
        match self.source.server.product {
            Product::Postgres => "where = \"pg_sleep(0.0001) IS NOT NULL\"\n",
            _ => "where = \"SLEEP(0.0001) >= 0\"\n",
        }
        .to_owned()
    }

    /// The job's text. Chunks are small, so that a run commits many.
    pub fn text(&self, job: &Job) -> String {
        let Job { mode, source_port, target_port, rate, reader, writer, more } = job;
        let mode = if mode.is_empty() { "upsert" } else { mode };
        let rate =
            if *rate == 0 { String::new() } else { format!("max_rows_per_second = {rate}\n") };
        format!(
            "[reader]\n{}table = \"numbers\"\n{reader}\n\
             [writer]\n{}table = \"numbers\"\nwrite_mode = \"{mode}\"\n{writer}\n\
             [channel]\nparallelism = 2\nbuffer = \"1 MiB\"\n{rate}{more}",
            self.source.address(*source_port),
            self.target.address(*target_port)
        )
    }

    /// Starts the job.
    ///
    /// # Panics
    /// If the program does not start.
    pub fn start(&self, job: &Job) -> Running {
        self.workplace.put("job.toml", self.text(job));
        self.workplace.start(&["run", "job.toml", "--output", "json", "--progress", "none"])
    }

    /// Runs the job to its end.
    pub fn run(&self, job: &Job) -> Ended {
        self.workplace.put("job.toml", self.text(job));
        self.workplace.run(&["run", "job.toml", "--output", "json", "--progress", "none"])
    }

    /// Starts the job, waits until its plan exists, and then for `moment`.
    ///
    /// # Panics
    /// If it makes no plan.
    pub fn started(&self, job: &Job, moment: Duration) -> Running {
        let runs = self.workplace.path().join("state/runs");
        let _ = std::fs::remove_dir_all(&runs);
        let mut running = self.start(job);
        wait_until("the plan is there", || runs.join("job").is_dir() || running.has_ended());
        thread::sleep(moment);
        running
    }

    /// Resumes the run until it has ended well, and returns the last attempt; `ended` is the first
    /// one. An attempt that something else still holds is repeated.
    ///
    /// # Panics
    /// If five attempts are not enough.
    #[track_caller]
    pub fn resumed(&self, ended: Ended) -> Ended {
        let resume = ["resume", "job", "--output", "json", "--progress", "none"];
        let mut last = ended;
        for _ in 0..5 {
            if last.exit == Some(0) {
                return last;
            }
            last = self.workplace.run(&resume);
        }
        panic!("not resumed: {last:?}");
    }

    /// Number of rows in the target.
    pub fn arrived(&self) -> u64 {
        self.target.value("SELECT count(*) FROM numbers").parse().expect("a number")
    }

    /// Asserts that source and target contain the same rows, each once.
    ///
    /// # Panics
    /// If they do not.
    #[track_caller]
    pub fn assert_complete(&self, what: &str) {
        assert_eq!(summary(&self.target), summary(&self.source), "{what}");
    }

    /// Asserts that the target contains only rows of the source, none twice.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_nothing_doubled(&self, what: &str) {
        let query = "SELECT count(*) - count(DISTINCT id) FROM numbers";
        assert_eq!(self.target.value(query), "0", "{what}: rows are duplicated");
    }

    /// Empties the target.
    pub fn empty(&self) {
        self.target.run("DELETE FROM numbers;");
    }
}

/// The report that a run printed.
///
/// # Panics
/// If it printed none.
#[track_caller]
pub fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// Ends the sessions of the program in a database; returns how many there were.
///
/// # Panics
/// If the server does not respond.
pub fn kill_sessions(database: &Database) -> usize {
    let name = &database.name;
    let server = &database.server;
    if server.product == Product::Postgres {
        let ended = server.administer(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = '{name}' AND application_name = 'transload';"
        ));
        return ended.lines().count();
    }
    let query = format!("SELECT id FROM information_schema.processlist WHERE db = '{name}';");
    let ids = server.administer(&query);
    for id in ids.lines() {
        // The session may have ended already, so this statement may fail.
        let _ = database.server.try_administer(&format!("KILL {id};"));
    }
    ids.lines().count()
}

/// All columns of table `numbers` in one line.
fn summary(database: &Database) -> String {
    let hash = match database.server.product {
        Product::Postgres => {
            "('x' || substr(encode(sha256(word::bytea), 'hex'), 1, 8))::bit(32)::bigint"
        }
        _ => "CONV(SUBSTR(SHA2(word, 256), 1, 8), 16, 10)",
    };
    // MySQL sums texts as floats.
    let sum = match database.server.product {
        Product::Postgres => format!("sum({hash})"),
        _ => format!("SUM(CAST({hash} AS DECIMAL(30,0)))"),
    };
    database.value(&format!(
        "SELECT count(*), count(DISTINCT id), sum(id), {sum}, sum(price), min(day), max(day) \
         FROM numbers"
    ))
}

/// Statements that fill table `numbers` with rows 1 to `rows`, the same on every server.
fn fill(product: Product, rows: u32) -> String {
    if product == Product::Postgres {
        return format!(
            "INSERT INTO numbers SELECT i, rpad('row ' || i * 7919::bigint, 60, '-'), i / 100.0, DATE '2000-01-01' + i % 9000 \
             FROM generate_series(1, {rows}) AS i; ANALYZE numbers;"
        );
    }
    let digits = (0..10).map(|digit| format!("SELECT {digit} AS d")).collect::<Vec<_>>();
    let digits = digits.join(" UNION ALL ");
    let tables = (0..6).map(|at| format!("({digits}) AS t{at}")).collect::<Vec<_>>().join(", ");
    let number = (0..6).map(|at| format!("t{at}.d * {}", 10_u32.pow(at))).collect::<Vec<_>>();
    format!(
        "INSERT INTO numbers SELECT i, RPAD(CONCAT('row ', i * 7919), 60, '-'), i / 100, DATE_ADD('2000-01-01', INTERVAL i % 9000 DAY) \
         FROM (SELECT 1 + {} AS i FROM {tables}) AS s WHERE i <= {rows}; ANALYZE TABLE numbers;",
        number.join(" + ")
    )
}

/// A server for one test, which may stop and restart it; stopped when dropped.
pub struct OwnServer {
    /// Its address.
    pub server: Server,
    folder: tempfile::TempDir,
}

impl OwnServer {
    /// A new server.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(product: Product) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        set_open(folder.path());
        let said = script(product, "start", &folder.path().join("server"));
        let url = said.trim().split_once('=').expect("VARIABLE=value").1;
        Self { server: Server::at(product, url), folder }
    }

    /// Kills the server, and starts it again with the same data and port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&self) {
        script(self.server.product, "restart", &self.folder.path().join("server"));
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        script(self.server.product, "stop", &self.folder.path().join("server"));
    }
}

/// Servers run as a different user.
fn set_open(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, mode).expect("a mode");
}

fn script(product: Product, verb: &str, folder: &std::path::Path) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/");
    let mut command = Command::new("sh");
    command.arg(format!("{script}{}", product.word())).arg(verb).arg(folder);
    let output = command.stdin(Stdio::null()).output().expect("a shell");
    assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
