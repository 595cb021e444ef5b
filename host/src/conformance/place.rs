//! One source or target of a test: a fresh name and folder, and the options and commands with both
//! filled in.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Map, Value};
use toml::Table;
use transload_plugin_api::Options;

/// A fresh name and an empty folder, which goes when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    words: Vec<(&'static str, String)>,
    folder: PathBuf,
    /// Removes what is in the store.
    remove: Option<String>,
}

impl Place {
    pub(super) fn new(remove: Option<&String>) -> Self {
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("conformance_{}_{number}", std::process::id());
        let folder = env::temp_dir().join(&name);
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let words = vec![("name", name), ("dir", folder.display().to_string())];
        Self { words, folder, remove: remove.cloned() }
    }

    /// With one more word.
    pub(super) fn with(mut self, word: &'static str, value: impl ToString) -> Self {
        self.words.push((word, value.to_string()));
        self
    }

    /// Some tables of options, later ones before earlier ones.
    pub(super) fn options(&self, tables: &[&Table]) -> Options {
        let values = tables.iter().flat_map(|table| table.iter());
        let values = values.map(|(key, value)| (key.clone(), self.value(value)));
        Options { values: values.collect::<Map<_, _>>(), ..Options::default() }
    }

    fn value(&self, value: &toml::Value) -> Value {
        match value {
            toml::Value::String(text) => {
                let filled = self.fill(text);
                // A word alone may stand for a number.
                let is_word = text.starts_with("${") && text.find('}') == Some(text.len() - 1);
                match filled.parse::<u64>() {
                    Ok(number) if is_word => number.into(),
                    _ => filled.into(),
                }
            }
            toml::Value::Array(values) => values.iter().map(|value| self.value(value)).collect(),
            toml::Value::Table(table) => Value::Object(
                table.iter().map(|(key, value)| (key.clone(), self.value(value))).collect(),
            ),
            other => serde_json::to_value(other).unwrap_or_default(),
        }
    }

    /// The text with its words filled in; `${env.NAME}` is a variable of the environment.
    fn fill(&self, text: &str) -> String {
        let fill = |text: String, (word, value): &(&str, String)| {
            text.replace(&format!("${{{word}}}"), value)
        };
        let mut text = self.words.iter().fold(text.to_owned(), fill);
        while let Some(at) = text.find("${env.")
            && let Some(length) = text[at..].find('}')
        {
            let name = &text[at + "${env.".len()..at + length];
            let value =
                env::var(name).unwrap_or_else(|_| panic!("the variable `{name}` is not set"));
            text.replace_range(at..=at + length, &value);
        }
        text
    }

    /// Runs a command with this input, and returns what it printed.
    ///
    /// # Panics
    /// If it fails: the store is not as the test needs it.
    pub(super) fn run(&self, command: &str, input: &str) -> String {
        let command = self.fill(command);
        run(&command, input, &self.folder).unwrap_or_else(|error| panic!("`{command}`: {error}"))
    }
}

fn run(command: &str, input: &str, folder: &Path) -> Result<String, String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let stdin = child.stdin.take();
    // It may end without reading.
    let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(command) = &self.remove {
            let _ = run(&self.fill(command), "", &self.folder);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
