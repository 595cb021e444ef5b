//! What the tests of the real program share: the folder it was built in, fresh folders, and its
//! output.
//!
//! The program and the plugins are built before these tests (by `tests/run`); a test that does not
//! find them fails with a message.

#![allow(clippy::expect_used)] // a test may fail loudly anywhere

pub mod copies;
pub mod documents;
pub mod flow;
pub mod kills;
pub mod proxy;
pub mod servers;
pub mod texts;
pub mod verification;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use transload::testing::{Catalog, Role, SearchPath};
use transload_plugin_api::Plugin;

/// The folder with the built program and plugin libraries.
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

/// The built library of a plugin.
///
/// # Panics
/// If it is not there.
pub fn plugin_library(name: &str) -> PathBuf {
    let library = stripped().join(format!("libtransload_plugin_{}.so", name.replace('-', "_")));
    assert!(library.is_file(), "{} is not built: cargo build --workspace", library.display());
    library
}

/// A folder with the program and all plugins without their symbols, as they are packed. Every start
/// hashes all plugins, and loads those that it uses from copies: without the symbols of a build that
/// is no release this takes half of the time.
///
/// # Panics
/// If they cannot be copied there.
pub fn stripped() -> &'static Path {
    static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let folder = built().join("stripped");
        fs::create_dir_all(&folder).expect("a folder");
        for entry in fs::read_dir(built()).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name == "transload"
                || name.starts_with("libtransload_plugin_") && name.ends_with(".so")
            {
                strip(&path, &folder.join(&name));
            }
        }
        folder
    })
}

/// The program of [`stripped`], with the plugins beside it.
///
/// # Panics
/// As [`stripped`].
pub fn program() -> PathBuf {
    stripped().join("transload")
}

/// Copies a file without its symbols, unless that was done since it was built.
fn strip(path: &Path, copy: &Path) {
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    if changed(copy) > changed(path) {
        return;
    }
    // Other test programs may do the same now.
    let own = copy.with_extension(format!("{}", std::process::id()));
    let done = Command::new("strip").arg("--strip-unneeded").arg("-o").arg(&own).arg(path).status();
    assert!(done.is_ok_and(|status| status.success()), "strip {}", path.display());
    fs::rename(&own, copy).expect("a renamed file");
}

/// A folder with the sample plugin of `abi/sample`, and its secret option, as a library.
///
/// # Panics
/// If it is not built: it is an example of this crate.
pub fn sample_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(sample_library(), folder.path().join("libsample.so")).expect("a copy");
    folder
}

/// The library of the sample plugin, without its symbols.
///
/// # Panics
/// As [`sample_folder`].
pub fn sample_library() -> &'static Path {
    static SAMPLE: OnceLock<PathBuf> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let library = built().join("examples/libabi_sample.so");
        assert!(library.is_file(), "{} is not built: cargo build --examples", library.display());
        // Beside the other copies it would be found as a plugin.
        let folder = stripped().join("sample");
        fs::create_dir_all(&folder).expect("a folder");
        let copy = folder.join("libsample.so");
        strip(&library, &copy);
        copy
    })
}

/// A plugin loaded from a folder that contains only its library.
///
/// # Panics
/// If it cannot be loaded.
pub fn load(name: &str) -> Arc<dyn Plugin> {
    load_from(name, |catalog| catalog)
}

/// As [`load`], each reader and writer of the plugin in a process of its own.
///
/// # Panics
/// If it cannot be found.
pub fn load_isolated(name: &str) -> Arc<dyn Plugin> {
    load_from(name, Catalog::isolated)
}

fn load_from(name: &str, isolate: impl Fn(Catalog) -> Catalog) -> Arc<dyn Plugin> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = plugin_library(name);
    fs::copy(&library, folder.path().join("plugin.so")).expect("a copy");
    let search = SearchPath::only(&[folder.path().to_owned()]);
    let catalog = isolate(Catalog::open(&search.probe_with(program())));
    catalog.plugin(name, Role::Reader).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits for a condition to become true.
///
/// # Panics
/// After a minute.
#[track_caller]
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < PATIENCE, "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The longest wait for an event, so that a failure does not hang the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh folder with its own state, in which the program runs.
pub struct Workplace {
    folder: tempfile::TempDir,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub exit: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
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
    /// If it cannot be created.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A folder with a copy of another folder's files.
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

    /// Writes a file into it.
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

    /// The program, prepared to run here with its own state and none of the user's settings.
    pub fn command(&self) -> Command {
        self.command_of(&program())
    }

    /// As [`Self::command`], another program, such as one that starts it.
    pub fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env_remove("TRANSLOAD_LOG")
            .env_remove("TRANSLOAD_PLUGIN_PATH")
            .env_remove("COLUMNS")
            .env_remove("CLICOLOR_FORCE")
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

    /// Writes the text to `job.toml` and runs it as [`Self::report`] does.
    ///
    /// # Panics
    /// If there is no report.
    pub fn job(&self, text: &str) -> (Ended, Value) {
        self.put("job.toml", text);
        self.report("job.toml")
    }

    /// The rows in the dirty files of a run, task by task.
    ///
    /// # Panics
    /// If a file is missing or one of its lines is not JSON.
    pub fn dirty_rows(&self, report: &Value) -> Vec<Value> {
        let files = report["dirty_files"].as_array().expect("a list of files").iter();
        let texts = files.map(|file| self.read(file.as_str().expect("a file's name")));
        let rows = |text: String| {
            let row = |line: &str| serde_json::from_str(line).expect("a line of JSON");
            text.lines().map(row).collect::<Vec<Value>>()
        };
        texts.flat_map(rows).collect()
    }

    /// Starts the program here.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command();
        command.args(arguments);
        Running::of(command)
    }

    /// Names in a folder here, hidden ones included, sorted.
    ///
    /// # Panics
    /// If there is no such folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(folder)).expect("a folder");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs a job and returns its report, whatever the exit code.
    ///
    /// # Panics
    /// If there is no report.
    pub fn report(&self, job: &str) -> (Ended, Value) {
        let ended = self.run(&["run", job, "--output", "json", "--progress", "none"]);
        let report = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("no report: {error}\n{ended:?}"));
        (ended, report)
    }

    /// A separate connection to a SQLite file here, which is created if it does not exist.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub fn connect(&self, file: &str) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path().join(file)).expect("a database")
    }

    /// Runs statements on a SQLite file here, which is created if it does not exist.
    ///
    /// # Panics
    /// If they fail.
    pub fn execute(&self, file: &str, sql: &str) {
        self.connect(file).execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// All rows of a query on a SQLite file here, each cell as SQL writes it, joined by `|`.
    ///
    /// # Panics
    /// If the query fails.
    pub fn sqlite(&self, file: &str, query: &str) -> Vec<String> {
        let connection = self.connect(file);
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

/// The running program; killed when dropped.
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts a prepared program.
    ///
    /// # Panics
    /// If it does not start.
    pub fn of(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().expect("the program starts") }
    }

    /// Sends a signal: `INT`, `TERM`, `KILL`.
    ///
    /// # Panics
    /// If the program has ended and was waited for, or there is no shell.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        Command::new("sh").args(["-c", &kill]).status().expect("a shell");
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// If the system call fails.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Its peak memory so far, in bytes; `None` if it has ended.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// Waits for its end. Its output must fit a pipe's buffer.
    ///
    /// # Panics
    /// If it takes longer than a minute.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        wait_until("the program ends", || self.has_ended());
        let read = |pipe: Option<&mut dyn Read>| {
            let mut text = Vec::new();
            pipe.expect("a pipe").read_to_end(&mut text).expect("text");
            String::from_utf8_lossy(&text).into_owned()
        };
        Ended {
            exit: self.child.wait().expect("a status").code(),
            stdout: read(self.child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read)),
            stderr: read(self.child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
    /// Asserts the exit code; shows the whole output otherwise.
    ///
    /// # Panics
    /// If the exit code differs.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.exit, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr contains a text.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "no `{text}` in:\n{}", self.stderr);
        self
    }
}
