//! A copy of numbered rows that is interrupted and continued, for tests of `resume` and `abort`.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{Ended, Running, Workplace, wait_until};

/// The rows of the source.
pub const ROWS: u32 = 4_000;

/// Numbered rows, read in small batches, into the table `t` of `target.db`.
pub struct Copy {
    /// Its folder.
    pub workplace: Workplace,
    more: &'static str,
}

/// The section that makes a job keep commit tokens.
pub const TOKENS: &str = "[guarantee]\nrequire = \"effectively-once\"\ncreate_tables = true\n";

impl Copy {
    /// A table for this write mode; `more` is put behind the writer.
    pub fn new(mode: &'static str, more: &'static str) -> Self {
        let workplace = Workplace::new();
        let key = if mode == "insert" { "" } else { " PRIMARY KEY" };
        workplace.execute("target.db", &format!("CREATE TABLE t (id INTEGER{key}, word TEXT)"));
        let copy = Self { workplace, more };
        copy.put(mode, "");
        copy
    }

    /// Writes the job, with more options of the reader.
    pub fn put(&self, mode: &str, reader: &str) {
        let more = self.more;
        self.workplace.put(
            "job.toml",
            format!(
                "[reader]\nplugin = \"generator\"\nrows = {ROWS}\nbatch_rows = 50\ndelay = \"20 ms\"\n\
                 specs = {{ id = \"int64 sequence\", word = \"text words 2..5\" }}\n{reader}\
                 [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
                 write_mode = \"{mode}\"\n{more}[checkpoint]\nrows = 100\n\
                 [channel]\nparallelism = 2\n"
            ),
        );
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.workplace.command();
        command.args(arguments);
        Running::of(command)
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// The rows in the target.
    pub fn rows(&self) -> u32 {
        self.workplace.sqlite("target.db", "SELECT count(*) FROM t")[0].parse().expect("a number")
    }

    /// A run that has committed some chunks, and has a limit that a resumed one has not.
    pub fn begun(&self) -> Running {
        let job = self.workplace.read("job.toml");
        self.workplace.put("job.toml", format!("{job}max_rows_per_second = 1000\n"));
        let mut running = self.start(&["run", "job.toml", "--progress", "none"]);
        wait_until("some rows are in", || running.has_ended() || self.rows() >= 300);
        self.workplace.put("job.toml", job);
        assert!(!running.has_ended(), "{:?}", running.wait());
        running
    }

    /// A run that was killed behind some chunks.
    pub fn killed(&self) -> PathBuf {
        let running = self.begun();
        running.signal("KILL");
        running.wait();
        assert!(self.rows() < ROWS);
        self.folder()
    }

    /// The folder of the last run.
    pub fn folder(&self) -> PathBuf {
        let runs =
            fs::read_dir(self.workplace.path().join("state/runs/job")).expect("there are runs");
        runs.map(|run| run.expect("a folder").path()).max().expect("a run")
    }

    /// The name of the last run.
    pub fn name(&self) -> String {
        self.folder().file_name().expect("a name").to_string_lossy().into_owned()
    }

    /// Each row is there once.
    #[track_caller]
    pub fn assert_complete(&self) {
        let sum = "SELECT count(*), count(DISTINCT id), min(id), max(id) FROM t";
        let found = self.workplace.sqlite("target.db", sum);
        let last = ROWS - 1;
        let expected = [format!("{ROWS}|{ROWS}|0|{last}"), format!("{ROWS}|{ROWS}|1|{ROWS}")];
        assert!(expected.contains(&found[0]), "{found:?}");
    }
}

/// The report that a command has printed.
#[track_caller]
pub fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}
