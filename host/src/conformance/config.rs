//! `test.toml`: what `plugin test` needs to know of a store. Filling in names and folders is left to
//! `place`.

use std::{collections::BTreeMap, env, fs, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use crate::{Error, Exit, Result};

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// Options of reader and writer.
    pub(super) options: Table,
    /// Options of the reader alone.
    pub(super) reader: Table,
    /// Options of the writer alone.
    pub(super) writer: Table,
    /// Secret options.
    secrets: BTreeMap<String, SecretValue>,
    /// Options of a store at `${host}` and `${port}`, where a silent server listens, or none.
    pub(super) address: Option<Table>,
    /// Options of a reader whose source is missing, in place of the others.
    pub(super) missing: Option<Table>,
    /// The types to test of a family, where the store does not have all of them.
    pub(super) types: BTreeMap<String, Vec<String>>,
    /// Commands that do what the plugin cannot do for its own test.
    pub(super) commands: Commands,
    /// The reader cannot read what the writer writes.
    pub(super) write_only: bool,
}

/// Commands of the shell, with `${name}` and `${dir}` in them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Commands {
    /// Makes a source: it gets one JSON object for each row on its standard input.
    pub(super) fill: Option<String>,
    /// Adds an object that the reader cannot read to the source.
    pub(super) wrong_kind: Option<String>,
    /// Prints the name of each thing that is staged beside the target.
    pub(super) leftovers: Option<String>,
    /// Removes a source or target.
    pub(super) remove: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SecretValue {
    Plain(String),
    Variable { env: String },
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, or is not as documented.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let wrong = |what: String| {
            let message = format!("{}: {what}", path.display());
            Error::new(Exit::Usage, message).hint("its keys: docs/plugin-authors.md, `test.toml`")
        };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))
    }

    /// The secrets' values.
    ///
    /// # Errors
    /// For a variable of the environment that is not set.
    pub(super) fn secrets(&self) -> Result<BTreeMap<String, String>> {
        let value = |(key, value): (&String, &SecretValue)| match value {
            SecretValue::Plain(value) => Ok((key.clone(), value.clone())),
            SecretValue::Variable { env } => {
                let found = env::var(env).map_err(|_| {
                    Error::new(Exit::Usage, format!("the variable `{env}` is not set"))
                });
                Ok((key.clone(), found?))
            }
        };
        self.secrets.iter().map(value).collect()
    }

    /// Whether the reader makes as many rows as an option says.
    pub(super) fn generates(&self) -> bool {
        self.options.values().chain(self.reader.values()).any(is_rows)
    }
}

fn is_rows(value: &Value) -> bool {
    value.as_str() == Some("${rows}")
}
