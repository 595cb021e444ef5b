//! What the tests of the real program share: where it was built, fresh folders, and its output.
//!
//! The program and the plugins are built before these tests (`tests/run` does it); a test that
//! does not find them fails and says so.

#![allow(clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The folder that the program and the plugin libraries were built into.
///
/// # Panics
/// If the program is not there.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    // <target>/<profile>/deps/<test>
    let folder = test.parent().and_then(Path::parent).expect("tests lie in deps").to_owned();
    let program = folder.join("transload");
    assert!(program.is_file(), "{} is not built: cargo build --workspace", program.display());
    folder
}

/// A plugin's library as it was built.
///
/// # Panics
/// If it is not there.
pub fn plugin_library(name: &str) -> PathBuf {
    let library = built().join(format!("libtransload_plugin_{}.so", name.replace('-', "_")));
    assert!(library.is_file(), "{} is not built: cargo build --workspace", library.display());
    library
}

/// A fresh folder with its own state, in which the program is run.
pub struct Workplace {
    folder: tempfile::TempDir,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub exit: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Default for Workplace {
    fn default() -> Self {
        Self::new()
    }
}

impl Workplace {
    /// An empty folder.
    ///
    /// # Panics
    /// If there is no place for one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A folder with a copy of another one's files.
    ///
    /// # Panics
    /// If they cannot be copied.
    pub fn copy_of(source: &Path) -> Self {
        let workplace = Self::new();
        copy(source, workplace.path());
        workplace
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file into it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    /// A file's text.
    ///
    /// # Panics
    /// If it is not there.
    pub fn read(&self, name: &str) -> String {
        let path = self.path().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The program, about to run here with its own state and no settings of the user's.
    pub fn command(&self) -> Command {
        let mut command = Command::new(built().join("transload"));
        command
            .current_dir(self.path())
            .env_remove("TRANSLOAD_LOG")
            .env_remove("TRANSLOAD_PLUGIN_PATH")
            .env("TRANSLOAD_STATE", self.path().join("state"))
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("XDG_DATA_HOME", self.path().join("data"))
            .env("XDG_CACHE_HOME", built().join("test-cache"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program here.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command().args(arguments).output().expect("the program starts"))
    }

    /// Runs a job and gives its report, whatever the exit code.
    ///
    /// # Panics
    /// If there is no report.
    pub fn report(&self, job: &str) -> (Ended, Value) {
        let ended = self.run(&["run", job, "--output", "json", "--progress", "none"]);
        let report = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("no report: {error}\n{ended:?}"));
        (ended, report)
    }

    /// All rows of a query on a SQLite file here, each cell as SQL writes it, joined by `|`.
    ///
    /// # Panics
    /// If the query fails.
    pub fn sqlite(&self, file: &str, query: &str) -> Vec<String> {
        let connection = rusqlite::Connection::open(self.path().join(file)).expect("a database");
        let mut statement = connection.prepare(query).expect("a query");
        let columns = statement.column_count();
        let rows = statement
            .query_map([], |row| {
                let cell = |column| row.get_ref(column).map(|value| cell(&value));
                Ok((0..columns).map(cell).collect::<Result<Vec<_>, _>>()?.join("|"))
            })
            .expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    }
}

fn cell(value: &rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn copy(source: &Path, target: &Path) {
    for entry in fs::read_dir(source).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = target.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir_all(&path).expect("a folder");
            copy(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).expect("a copy");
        }
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Asserts the exit code, showing everything otherwise.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.exit, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr holds a text.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "no `{text}` in:\n{}", self.stderr);
        self
    }
}
