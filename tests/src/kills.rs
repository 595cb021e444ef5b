//! Runs that are killed and resumed until they end, into every kind of target, and what is in the
//! target then. The source is the generator, whose batches are small and slow, and of whose rows some
//! are dirty.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use transload_tests_buckets::Bucket;

use crate::{Ended, Running, Workplace, servers::Database, wait_until};

/// Rows of the source, dirty ones included.
pub const ROWS: u64 = 3_000;
/// Each row of that number is dirty.
const DIRTY_EVERY: u64 = 97;

/// Where rows go.
#[allow(clippy::large_enum_variant, reason = "a test has a few of them")]
pub enum Target {
    /// Table `t` of a database on a server.
    Server(Database),
    /// Table `t` of a file.
    Sqlite,
    /// Files in a folder.
    Files,
    /// Objects of a bucket.
    Objects(Bucket),
}

/// A job into one target, in one write mode.
pub struct Route {
    /// The folder in which it runs.
    pub workplace: Workplace,
    target: Target,
    mode: &'static str,
    has_tokens: bool,
}

/// How many times each route is killed: `TRANSLOAD_KILLS`, by default ten.
pub fn kills() -> u32 {
    std::env::var("TRANSLOAD_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

impl Route {
    /// A route whose target keeps commit tokens, or not.
    pub fn new(target: Target, mode: &'static str, has_tokens: bool) -> Self {
        let route = Self { workplace: Workplace::new(), target, mode, has_tokens };
        route.workplace.put("job.toml", route.job());
        route
    }

    /// The job's text.
    pub fn job(&self) -> String {
        let Self { mode, .. } = self;
        let table = format!("table = \"t\"\nwrite_mode = \"{mode}\"\n");
        let files = match *mode {
            "insert" => "if_exists = \"append\"\n".to_owned(),
            mode => format!("write_mode = \"{mode}\"\noverwrite = \"prefix\"\n"),
        };
        let files = format!("path = \"out/\"\nformat = \"csv\"\n{files}");
        let writer = match &self.target {
            Target::Server(database) => format!("{}{table}", database.address(None)),
            Target::Sqlite => format!("plugin = \"sqlite\"\npath = \"target.db\"\n{table}"),
            Target::Files => format!("plugin = \"file\"\n{files}"),
            Target::Objects(bucket) => format!("{}{files}", bucket.connection()),
        };
        let guarantee = match self.has_tokens {
            true => "[guarantee]\nrequire = \"effectively-once\"\ncreate_tables = true\n",
            false => "",
        };
        format!(
            "{}delay = \"8 ms\"\n[writer]\n{writer}{guarantee}[checkpoint]\nrows = 100\n\
             [channel]\nparallelism = 2\n[dirty]\nmax_rows = 100\n",
            reader()
        )
    }

    /// The target as it is before the run, and no run.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn reset(&self) {
        let _ = fs::remove_dir_all(self.workplace.path().join("state"));
        let key = if self.mode == "insert" { "" } else { " PRIMARY KEY" };
        let create = format!(
            "CREATE TABLE t (id BIGINT NOT NULL{key}, word VARCHAR(100) NOT NULL); \
             INSERT INTO t VALUES (-1, 'old');"
        );
        let tables = ["t", "transload_run", "transload_task"];
        let drop: String =
            tables.iter().map(|table| format!("DROP TABLE IF EXISTS {table}; ")).collect();
        match &self.target {
            Target::Server(database) => database.run(&(drop + &create)),
            Target::Sqlite => {
                for name in ["target.db", "target.db-wal", "target.db-shm", "target.db-journal"] {
                    let _ = fs::remove_file(self.workplace.path().join(name));
                }
                self.workplace.execute("target.db", &create);
            }
            Target::Files => {
                let _ = fs::remove_dir_all(self.workplace.path().join("out"));
                self.workplace.put("out/old.csv", "id,word\n-1,old\n");
            }
            Target::Objects(bucket) => {
                bucket.names().iter().for_each(|name| bucket.remove(name));
                bucket.put("out/old.csv", "id,word\n-1,old\n");
            }
        }
    }

    /// The rows of the target as `id|word`, sorted.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn rows(&self) -> Vec<String> {
        let mut rows = match &self.target {
            Target::Server(database) => database.lines("SELECT id, word FROM t"),
            Target::Sqlite => {
                let rows = self.workplace.sqlite("target.db", "SELECT id || '|' || word FROM t");
                rows.iter().map(|row| row.trim_matches('\'').to_owned()).collect()
            }
            Target::Files => {
                let names = self.workplace.names("out").into_iter();
                let data = names.filter(|name| !name.starts_with(['_', '.']));
                records(data.map(|name| self.workplace.read(&format!("out/{name}"))))
            }
            Target::Objects(bucket) => records(bucket.data().iter().map(|name| bucket.text(name))),
        };
        rows.sort();
        rows
    }

    /// The rows that the target must have after the run.
    fn expected(&self) -> Vec<String> {
        let mut rows = source().to_vec();
        if self.mode != "overwrite" {
            rows.push("-1|old".to_owned());
        }
        rows.sort();
        rows
    }

    /// What a later run would have to remove.
    fn leftovers(&self) -> Vec<String> {
        let own = ["t", "transload_run", "transload_task"];
        let others = |names: Vec<String>| -> Vec<String> {
            names.into_iter().filter(|name| !own.contains(&name.as_str())).collect()
        };
        match &self.target {
            Target::Server(database) => others(database.tables()),
            Target::Sqlite => {
                let query = "SELECT name FROM sqlite_schema WHERE type = 'table'";
                let names = self.workplace.sqlite("target.db", query).into_iter();
                others(names.map(|name| name.trim_matches('\'').to_owned()).collect())
            }
            Target::Files => {
                let names = self.workplace.names("out").into_iter();
                let stays = ["_SUCCESS", "_transload_manifest.json"];
                names.filter(|it| it.starts_with(['_', '.']) && !stays.contains(&&**it)).collect()
            }
            Target::Objects(bucket) => match bucket.uploads() {
                0 => Vec::new(),
                uploads => vec![format!("{uploads} uploads")],
            },
        }
    }

    /// The program, prepared to begin the run or to continue it.
    pub fn command(&self) -> Command {
        let mut command = self.workplace.command();
        let is_begun = self.run_folder().is_some_and(|run| run.join("journal").is_file());
        let arguments = if is_begun { ["resume", "job"] } else { ["run", "job.toml"] };
        command.args(arguments).args(["--output", "json", "--progress", "none"]);
        command
    }

    /// The folder of the last run.
    pub fn run_folder(&self) -> Option<PathBuf> {
        let runs = fs::read_dir(self.workplace.path().join("state/runs/job")).ok()?;
        runs.filter_map(|run| Some(run.ok()?.path())).max()
    }

    /// Begins or continues the run, and kills it after this time. Returns how it ended if it did.
    ///
    /// # Panics
    /// If the program does not start or does not end.
    #[track_caller]
    pub fn attempt(&self, kill_after: Option<Duration>) -> Option<Ended> {
        let mut running = Running::of(self.command());
        let begun = Instant::now();
        while kill_after.is_some_and(|time| begun.elapsed() < time) && !running.has_ended() {
            thread::sleep(Duration::from_millis(1));
        }
        if kill_after.is_some() && !running.has_ended() {
            running.signal("KILL");
        }
        Some(running.wait()).filter(|ended| ended.exit.is_some())
    }

    /// Begins or continues the run, which ends at this failpoint. Returns how it ended if it did not
    /// come there.
    ///
    /// # Panics
    /// If the program does not start or does not end.
    #[track_caller]
    pub fn attempt_until(&self, failpoint: &str) -> Option<Ended> {
        let mut command = self.command();
        command.env("TRANSLOAD_FAILPOINT", failpoint);
        Some(Running::of(command).wait()).filter(|ended| ended.exit.is_some())
    }

    /// Begins or continues the run; once its journal is there, no file that it writes may become longer
    /// than this. Returns how it ends, within 20 seconds.
    ///
    /// # Panics
    /// If the program does not start or does not end.
    #[track_caller]
    pub fn attempt_within(&self, bytes: u64) -> Ended {
        let program = self.command();
        // The signal that a file has become too long is ignored, so that the write fails.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.workplace.path());
        let mut running = Running::of(command);
        let is_begun = || self.run_folder().is_some_and(|run| run.join("journal").is_file());
        wait_until("the journal is there", || is_begun() || running.has_ended());
        let limit = [format!("--pid={}", running.id()), format!("--fsize={bytes}")];
        // It may have ended.
        let _ = Command::new("prlimit").args(limit).output().expect("prlimit");
        let begun = Instant::now();
        while !running.has_ended() && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(running.has_ended(), "it continues without space");
        running.wait()
    }

    /// Asserts that the target has each row once, and that the run's counts are those of its rows.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_exact(&self, what: &str) {
        let (found, expected) = (self.rows(), self.expected());
        let lost: Vec<_> = difference(&expected, &found);
        let doubled: Vec<_> = difference(&found, &expected);
        assert!(lost.is_empty(), "{what}: {} rows are lost: {:?}", lost.len(), &lost[..1]);
        let count = doubled.len();
        assert!(doubled.is_empty(), "{what}: {count} rows are doubled: {:?}", &doubled[..1]);
        assert_eq!(self.leftovers(), Vec::<String>::new(), "{what}");
        self.assert_counted(what);
    }

    /// Asserts that a table which is overwritten has its old rows, or all of the new ones.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_atomic(&self, what: &str) {
        if self.mode == "overwrite" && matches!(self.target, Target::Server(_) | Target::Sqlite) {
            let rows = self.rows();
            let all = self.expected();
            assert!(rows == ["-1|old"] || rows == all, "{what}: {} rows are visible", rows.len());
        }
    }

    #[track_caller]
    fn assert_counted(&self, what: &str) {
        let Some(folder) = self.run_folder() else { panic!("{what}: no run") };
        let dirty = ROWS / DIRTY_EVERY;
        let lines: Vec<_> = (0..2)
            .filter_map(|task| {
                fs::read_to_string(folder.join(format!("dirty-{task:05}.jsonl"))).ok()
            })
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert_eq!(lines.len() as u64, dirty, "{what}: lines of dirty rows");
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len() as u64, dirty, "{what}: twice");
        // A process that is killed behind its last row leaves no report.
        let Ok(report) = fs::read(folder.join("report.json")) else { return };
        let report: Value = serde_json::from_slice(&report).expect("a report");
        let rows = &report["rows"];
        assert_eq!((&rows["read"], &rows["dirty"]), (&ROWS.into(), &dirty.into()), "{what}");
    }

    /// Kills the run this many times at random moments, beginning anew whenever it is complete, and
    /// checks the target each time.
    ///
    /// # Panics
    /// If a row is lost or doubled.
    #[track_caller]
    pub fn kill_and_resume(&self, kills: u32) {
        let mut random = Random::new();
        let seed = random.0;
        self.reset();
        let begun = Instant::now();
        let ended = self.attempt(None).expect("nobody kills it");
        ended.exits(0);
        let usual = begun.elapsed();
        self.assert_exact("without a kill");
        let mut killed = 0;
        while killed < kills {
            self.reset();
            loop {
                let time = (killed < kills).then(|| usual.mul_f64(random.fraction()));
                let what = format!("{} after {killed} kills, seed {seed}", self.mode);
                let Some(ended) = self.attempt(time) else {
                    killed += 1;
                    self.assert_atomic(&what);
                    continue;
                };
                assert_eq!(ended.exit, Some(0), "{what}: {ended:?}");
                self.assert_exact(&what);
                break;
            }
        }
    }
}

/// A small generator of pseudo-random numbers; its seed is in messages.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let given = std::env::var("TRANSLOAD_SEED").ok().and_then(|text| text.parse().ok());
        let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
        Self(given.unwrap_or_else(now) | 1)
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn reader() -> String {
    format!(
        "[reader]\nplugin = \"generator\"\nrows = {ROWS}\nbatch_rows = 50\n\
         dirty_every = {DIRTY_EVERY}\nprimary_key = \"id\"\n\
         specs = {{ id = \"int64 sequence\", word = \"text words 2..5\" }}\n"
    )
}

/// The rows of the source that are not dirty, as `id|word`.
fn source() -> &'static [String] {
    static SOURCE: OnceLock<Vec<String>> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let workplace = Workplace::new();
        let writer = "[writer]\nplugin = \"file\"\npath = \"all.csv\"\n[dirty]\nmax_rows = 100\n";
        let (ended, _) = workplace.job(&(reader() + writer));
        ended.exits(0);
        records(std::iter::once(workplace.read("all.csv")))
    })
}

/// The records of CSV files of two columns, without quotes, as `id|word`.
fn records(texts: impl Iterator<Item = String>) -> Vec<String> {
    let lines = |text: String| {
        let lines = text.lines().skip(1).map(|line| line.replacen(',', "|", 1));
        lines.collect::<Vec<_>>()
    };
    texts.flat_map(lines).collect()
}

/// What one sorted list has more often than another.
fn difference(of: &[String], without: &[String]) -> Vec<String> {
    let mut others = without.iter().peekable();
    let mut more = Vec::new();
    for row in of {
        while others.next_if(|other| *other < row).is_some() {}
        if others.next_if(|other| *other == row).is_none() {
            more.push(row.clone());
        }
    }
    more
}
