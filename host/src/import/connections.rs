//! The connections of all jobs of an import: each address once, under one name, with references to its
//! secrets. The secrets themselves are never written.

use std::path::Path;

use toml::{Table, Value};

use super::job_text::{Line, pair, write_line};

/// The file's name, beside the jobs.
pub(super) const FILE: &str = "connections.toml";

/// Where a store is and how to log in. It has no `Debug`, because it holds secrets.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) plugin: &'static str,
    /// Options in the order in which they are written.
    pub(super) options: Vec<(&'static str, Value)>,
    /// Secret options with the value that the old document had, to tell logins apart.
    pub(super) secrets: Vec<(&'static str, String)>,
    /// Lines that are written as comments.
    pub(super) remarks: Vec<String>,
}

impl Address {
    fn has_parameters(&self) -> bool {
        let is_one = |value: &Value| value.as_str().is_some_and(|text| text.contains("${"));
        self.options.iter().any(|(_, value)| is_one(value))
    }

    fn table(&self) -> Table {
        let options = self.options.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        options.chain([("plugin".to_owned(), self.plugin.into())]).collect()
    }

    /// Its lines; secrets are read from variables that begin with `prefix`.
    fn lines(&self, prefix: &str) -> Vec<Line> {
        let plugin = pair("plugin", self.plugin);
        let options = self.options.iter().map(|(key, value)| pair(*key, value.clone()));
        let secrets = self.secrets.iter().map(|(key, _)| {
            let reference = Table::from_iter([("env".to_owned(), variable(prefix, key).into())]);
            pair(*key, Value::Table(reference))
        });
        let remarks = self.remarks.iter().map(|remark| Line::Comment(remark.clone()));
        [plugin].into_iter().chain(options).chain(secrets).chain(remarks).collect()
    }
}

/// The variable for a secret: `SHOP_PASSWORD`.
fn variable(prefix: &str, key: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = format!("{prefix}_{key}").chars().map(upper).collect();
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("DB_{name}"),
        false => name,
    }
}

/// An environment variable that the user has to set.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: String,
    /// The connection, or the job, that asks for it.
    pub(crate) of: String,
}

#[derive(Clone)]
struct Known {
    name: String,
    /// Its options and its plugin; `None` for one with environments.
    table: Option<Table>,
    secrets: Vec<(&'static str, String)>,
    /// Its lines, unless the file has it already.
    lines: Option<Vec<Line>>,
}

/// All connections, of the file that is there and of the import.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    known: Vec<Known>,
    variables: Vec<Variable>,
    /// Connections whose address the documents do not have.
    blank: Vec<String>,
}

impl Connections {
    /// With those of the file in this folder, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read or is no TOML.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let path = folder.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        let table: Table =
            text.parse().map_err(|error| format!("{} is no TOML: {error}", path.display()))?;
        let known = table.into_iter().map(|(name, value)| {
            let table = value.as_table().filter(|table| !table.values().any(is_environment));
            Known { name, table: table.cloned(), secrets: Vec::new(), lines: None }
        });
        Ok(Self { known: known.collect(), ..Self::default() })
    }

    /// What a side of a job says to use this address: `connection = "..."`, or the address itself where
    /// it has parameters, which connection files do not have. `wish` is the connection's name if it is
    /// free, `job` names the variables of secrets in the job.
    pub(super) fn login(&mut self, address: &Address, wish: &str, job: &str) -> Vec<Line> {
        if address.has_parameters() {
            self.learn_variables(address, job);
            return address.lines(job);
        }
        vec![pair("connection", self.name_of(address, wish))]
    }

    fn name_of(&mut self, address: &Address, wish: &str) -> String {
        let table = address.table();
        let same = |known: &&Known| {
            let without_secrets: Option<Table> = known.table.as_ref().map(|it| {
                let secret = |key: &str| address.secrets.iter().any(|(name, _)| *name == key);
                it.iter()
                    .filter(|(key, _)| !secret(key))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect()
            });
            let is_known = known.lines.is_none() || known.secrets == address.secrets;
            without_secrets.as_ref() == Some(&table) && is_known
        };
        if let Some(known) = self.known.iter().find(same).cloned() {
            self.learn_references(&known);
            return known.name;
        }
        let name = self.free_name(wish);
        self.learn_variables(address, &name);
        self.known.push(Known {
            name: name.clone(),
            table: Some(table),
            secrets: address.secrets.clone(),
            lines: Some(address.lines(&name)),
        });
        name
    }

    /// A connection that is known by its name alone, with what of it is to be filled in.
    pub(super) fn named(&mut self, name: &str, address: &Address) -> Vec<Line> {
        if !self.known.iter().any(|known| known.name == name) {
            self.learn_variables(address, name);
            self.blank.push(name.to_owned());
            self.known.push(Known {
                name: name.to_owned(),
                table: None,
                secrets: Vec::new(),
                lines: Some(address.lines(name)),
            });
        }
        vec![pair("connection", name)]
    }

    /// Whether the file that is there has a connection of this name, and its plugin if it says so.
    pub(super) fn plugin_of(&self, name: &str) -> Option<Option<String>> {
        let known = self.known.iter().find(|known| known.name == name && known.lines.is_none())?;
        let plugin = known.table.as_ref().and_then(|table| table.get("plugin"));
        Some(plugin.and_then(Value::as_str).map(str::to_owned))
    }

    fn free_name(&self, wish: &str) -> String {
        let mut plain = String::new();
        for c in wish.chars() {
            let fits = c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            match fits {
                true => plain.push(c.to_ascii_lowercase()),
                false if !plain.is_empty() && !plain.ends_with('-') => plain.push('-'),
                false => {}
            }
        }
        let plain = plain.trim_matches('-');
        let plain = if plain.is_empty() { "store" } else { plain };
        let names = std::iter::once(plain.to_owned()).chain((2..).map(|n| format!("{plain}-{n}")));
        let is_free = |name: &String| !self.known.iter().any(|known| known.name == *name);
        names.into_iter().find(is_free).unwrap_or_default()
    }

    fn learn_variables(&mut self, address: &Address, of: &str) {
        for (key, _) in &address.secrets {
            let variable = Variable { name: variable(of, key), of: of.to_owned() };
            if !self.variables.contains(&variable) {
                self.variables.push(variable);
            }
        }
    }

    /// The variables that a connection of the file refers to.
    fn learn_references(&mut self, known: &Known) {
        for value in known.table.iter().flat_map(Table::values) {
            let Some(name) = value.get("env").and_then(Value::as_str) else { continue };
            let variable = Variable { name: name.to_owned(), of: known.name.clone() };
            if !self.variables.contains(&variable) {
                self.variables.push(variable);
            }
        }
    }

    /// The variables of the secrets of all new connections and jobs.
    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The new connections whose address is to be filled in.
    pub(crate) fn blank(&self) -> &[String] {
        &self.blank
    }

    /// The new connections, as they are added to the file; empty if there is none.
    pub(crate) fn write(&self, from: &str) -> String {
        let mut text = String::new();
        for known in &self.known {
            let Some(lines) = &known.lines else { continue };
            if text.is_empty() {
                text = format!("# Connections of the jobs that were imported from {from}.\n");
            }
            text.push_str(&format!("\n[{}]\n", known.name));
            lines.iter().for_each(|line| write_line(&mut text, line));
        }
        text
    }
}

/// Whether a value of a connection is an environment, and no reference to a secret.
fn is_environment(value: &Value) -> bool {
    let reference =
        |table: &Table| ["env", "file", "command"].iter().any(|it| table.contains_key(*it));
    value.as_table().is_some_and(|table| !reference(table))
}
