//! Reads connection files: all connections, or the one that a job or a command names, in one
//! environment. Their options are checked in `resolve`. Placeholders are not filled, because a
//! connection belongs to many jobs and a password may contain `$`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{
    document::{Document, Entry, Value},
    problem::{Location, Problem, Problems, quoted},
    secret::learn_variables,
    section::Given,
    value,
};
use crate::catalog::Isolation;

const PLUGIN: &str = "plugin";
/// The keys of the host; they may also be beside the environments.
const OWN: [&str; 2] = [PLUGIN, "isolation"];

/// The connection files, the nearest first.
pub(super) struct Connections {
    documents: Vec<Document>,
    /// A file could not be read, so a connection may exist and not be found.
    incomplete: bool,
}

/// One connection in one environment. It has no `Debug`, because values may be secrets.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) name: String,
    pub(super) environment: Option<String>,
    /// As messages print it: `[shop.dev]`.
    pub(super) title: String,
    pub(super) file: Arc<Path>,
    /// The folder that its relative paths refer to.
    pub(super) folder: PathBuf,
    pub(super) plugin: Option<Given<String>>,
    /// Where its plugin runs at least.
    pub(super) isolation: Isolation,
    /// All keys except these two.
    pub(super) entries: Vec<Entry>,
}

/// A connection of a connection file, in one environment, as `connection list` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ConnectionEntry {
    /// Its name.
    pub(crate) name: String,
    /// The environment; `None` if it has none.
    pub(crate) environment: Option<String>,
    /// Its plugin, if it names one.
    pub(crate) plugin: Option<String>,
    /// The file that it is in.
    pub(crate) file: PathBuf,
    /// A nearer file has a connection of this name, so this one is never used.
    pub(crate) hidden: bool,
}

/// Learns from these files which environment variables hold secrets, so that no child process gets
/// them. A file that cannot be read is reported when a connection in it is used.
pub(crate) fn learn_secret_variables(files: &[PathBuf]) {
    Connections::open(files, &mut Problems::default());
}

/// All connections of these files, the nearest file first.
///
/// # Errors
/// If a file cannot be read, or a connection is invalid.
pub(crate) fn list_connections(files: &[PathBuf]) -> Result<Vec<ConnectionEntry>, Problems> {
    let mut problems = Problems::default();
    let connections = Connections::open(files, &mut problems);
    let mut list: Vec<ConnectionEntry> = Vec::new();
    for document in &connections.documents {
        let nearer: Vec<_> = list.iter().map(|entry| entry.name.clone()).collect();
        for entry in &document.root.0 {
            for (environment, chosen) in environments_of(entry, &mut problems) {
                let title =
                    connection(entry, environment, chosen, &document.source.file, &mut problems);
                list.push(ConnectionEntry {
                    hidden: nearer.contains(&title.name),
                    name: title.name,
                    environment: title.environment,
                    plugin: title.plugin.map(|plugin| plugin.value),
                    file: document.source.file.to_path_buf(),
                });
            }
        }
    }
    if problems.is_empty() { Ok(list) } else { Err(problems) }
}

/// A connection without a job, before its plugin is known.
pub(crate) struct DraftConnection {
    pub(super) connection: Connection,
    /// Where it names its plugin.
    pub(super) plugin: Given<String>,
}

impl DraftConnection {
    /// Finds a connection in these files, in the given environment.
    ///
    /// # Errors
    /// If it does not exist, has several environments and none is given, or names no plugin.
    pub(crate) fn load(name: &str, env: Option<&str>, files: &[PathBuf]) -> Result<Self, Problems> {
        Self::load_at(Location::whole("connection test"), name, env, files)
    }

    /// As [`DraftConnection::load`], for a name that stands at this place.
    pub(crate) fn load_at(
        place: Location,
        name: &str,
        env: Option<&str>,
        files: &[PathBuf],
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let connections = Connections::open(files, &mut problems);
        let name = Given { value: name.to_owned(), place, path: String::new() };
        let found = connections.find(&name, env, &mut problems);
        let plugin = found.as_ref().and_then(|found| found.plugin.clone());
        match (found, plugin) {
            (Some(connection), Some(plugin)) if problems.is_empty() => {
                Ok(Self { connection, plugin })
            }
            (Some(connection), None) if problems.is_empty() => {
                let message = format!("{} does not name its plugin", connection.title);
                let problem = Problem::new(&Location::whole(&connection.file), "", message);
                problems.add(problem.hint("add `plugin = \"...\"`"));
                Err(problems)
            }
            _ => Err(problems),
        }
    }

    /// The plugin's name.
    pub(crate) fn plugin(&self) -> &str {
        &self.plugin.value
    }
}

impl Connections {
    /// Reads the files that exist.
    pub(super) fn open(files: &[PathBuf], problems: &mut Problems) -> Self {
        let mut connections = Self { documents: Vec::new(), incomplete: false };
        // A file without permission counts as existing, so that opening it reports the error.
        for file in files.iter().filter(|file| file.try_exists().unwrap_or(true)) {
            match Document::open(file) {
                Ok(document) => {
                    learn_variables(&document.root);
                    connections.documents.push(document);
                }
                Err(found) => {
                    connections.incomplete = true;
                    problems.extend(&found);
                }
            }
        }
        connections
    }

    /// The first connection of that name, in the environment `wanted`.
    pub(super) fn find(
        &self,
        name: &Given<String>,
        wanted: Option<&str>,
        problems: &mut Problems,
    ) -> Option<Connection> {
        let found = self
            .documents
            .iter()
            .find_map(|document| Some((document, document.root.get(&name.value)?)));
        let Some((document, entry)) = found else {
            if !self.incomplete {
                problems.add(self.unknown(name));
            }
            return None;
        };
        pick(entry, wanted, name, problems).map(|(environment, chosen)| {
            connection(entry, environment, chosen, &document.source.file, problems)
        })
    }

    /// The problem of a name that no file has, with the names that exist.
    fn unknown(&self, name: &Given<String>) -> Problem {
        let problem = name.problem(format!("unknown connection `{}`", name.value));
        if let Some(inner) = self.inside_another(&name.value) {
            let (written, place) = (&inner.path, &inner.place);
            let hint = format!("write `[{}]` instead of `[{written}]` in {place}", name.value);
            return problem.hint(hint);
        }
        let names: Vec<&str> = self
            .documents
            .iter()
            .flat_map(|document| &document.root.0)
            .map(|entry| entry.key.as_str())
            .collect();
        let problem = match names.is_empty() {
            true => {
                problem.hint("no connection file was found; put `connections.toml` beside the job")
            }
            false => problem.hint(format!("the connections are {}", quoted(names.iter().copied()))),
        };
        problem.nearest(&name.value, names)
    }

    /// The table of that name in another table, as `[connections.shop]` has it.
    fn inside_another(&self, name: &str) -> Option<&Entry> {
        let outer = self.documents.iter().flat_map(|document| &document.root.0);
        let mut inner = outer.filter_map(|entry| entry.table()?.get(name));
        inner.find(|entry| entry.table().is_some())
    }
}

/// The entry that holds the keys: the connection's own, or that of one environment.
fn pick<'a>(
    entry: &'a Entry,
    wanted: Option<&str>,
    name: &Given<String>,
    problems: &mut Problems,
) -> Option<(Option<String>, &'a Entry)> {
    let table = match value::table(entry, "a table") {
        Ok(table) => table,
        Err(problem) => {
            problems.add(problem);
            return None;
        }
    };
    let environments: Vec<&Entry> = table.0.iter().filter(is_environment).collect();
    if environments.is_empty() {
        return Some((None, entry));
    }
    for key in table.0.iter().filter(|key| !is_environment(key) && !OWN.contains(&key.key.as_str()))
    {
        let message = format!("key `{}` is beside the environments of `{}`", key.key, entry.key);
        let names = environments.iter().map(|entry| entry.key.as_str());
        let hint = format!("move it into {}", quoted(names));
        problems.add(Problem::new(&key.place, &key.path, message).hint(hint));
    }
    let chosen = environment(&environments, wanted, name, problems)?;
    Some((Some(chosen.key.clone()), chosen))
}

/// Whether a key of a connection is an environment: a table that is written under a header.
fn is_environment(entry: &&Entry) -> bool {
    matches!(entry.node.value, Value::Table { inline: false, .. })
}

/// All environments of a connection, or the connection itself if it has none.
fn environments_of<'a>(
    entry: &'a Entry,
    problems: &mut Problems,
) -> Vec<(Option<String>, &'a Entry)> {
    let table = match value::table(entry, "a table") {
        Ok(table) => table,
        Err(problem) => {
            problems.add(problem);
            return Vec::new();
        }
    };
    let environments = table.0.iter().filter(is_environment);
    let list: Vec<_> = environments.map(|chosen| (Some(chosen.key.clone()), chosen)).collect();
    if list.is_empty() { vec![(None, entry)] } else { list }
}

/// The environment that was requested, or the only one.
fn environment<'a>(
    environments: &[&'a Entry],
    wanted: Option<&str>,
    name: &Given<String>,
    problems: &mut Problems,
) -> Option<&'a Entry> {
    let names = || environments.iter().map(|entry| entry.key.as_str());
    let Some(wanted) = wanted else {
        if let [only] = environments {
            return Some(only);
        }
        let message = format!("connection `{}` has several environments", name.value);
        let hint = format!("choose one with --env: {}", quoted(names()));
        problems.add(name.problem(message).hint(hint));
        return None;
    };
    let chosen = environments.iter().find(|entry| entry.key == wanted);
    if chosen.is_none() {
        let message = format!("connection `{}` has no environment `{wanted}`", name.value);
        let hint = format!("it has {}", quoted(names()));
        problems.add(name.problem(message).hint(hint).nearest(wanted, names()));
    }
    chosen.copied()
}

fn connection(
    entry: &Entry,
    environment: Option<String>,
    chosen: &Entry,
    file: &Arc<Path>,
    problems: &mut Problems,
) -> Connection {
    let own = |key| {
        let of = |entry: &Entry| entry.table().and_then(|table| table.get(key)).cloned();
        of(chosen).or_else(|| of(entry))
    };
    let isolation = own("isolation")
        .and_then(|entry| value::isolation(&entry).map_err(|problem| problems.add(problem)).ok());
    let plugin = own(PLUGIN).and_then(|plugin| {
        let text = value::text(&plugin).map_err(|problem| problems.add(problem)).ok()?;
        Some(Given { value: text, place: plugin.node.place, path: plugin.path })
    });
    let entries = chosen.table().map(|table| table.0.clone()).unwrap_or_default();
    Connection {
        name: entry.key.clone(),
        environment,
        title: format!("[{}]", chosen.path),
        file: file.clone(),
        folder: folder_of(file),
        plugin,
        isolation: isolation.unwrap_or_default(),
        entries: entries.into_iter().filter(|entry| !OWN.contains(&entry.key.as_str())).collect(),
    }
}

/// The absolute path of a file's folder.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    absolute.parent().unwrap_or(&absolute).to_path_buf()
}
