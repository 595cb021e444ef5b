//! Where each key of a job stands, so that an error which is met after the job was read, in the plan
//! or by a plugin, still names file, line and column. Problems of the file itself are `problem`'s.

use std::collections::BTreeMap;

use transload_plugin_api::ErrorKind;

use super::{
    document::{Entry, Node, Table, Value},
    problem::Location,
};
use crate::Error;

/// The places of keys by their dotted paths (`writer.key`), of items of lists by their index from 0
/// (`writer.before[1]`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(BTreeMap<String, Location>);

impl Places {
    /// The places of all keys of a file.
    pub(super) fn of(table: &Table, file: &Location) -> Self {
        let mut places = Self::default();
        places.0.insert(String::new(), file.clone());
        table.0.iter().for_each(|entry| places.add(&entry.path, entry));
        places
    }

    /// Adds the options that a connection gives a side. What the job itself gives stays.
    pub(super) fn add_connection(&mut self, role: &str, entries: &[Entry]) {
        for entry in entries {
            let path = format!("{role}.{}", entry.key);
            if !self.0.contains_key(&path) {
                self.add(&path, entry);
            }
        }
    }

    fn add(&mut self, path: &str, entry: &Entry) {
        // A section is shown at its header, everything else where its value is.
        let is_section = matches!(entry.node.value, Value::Table { inline: false, .. });
        let place = if is_section { &entry.place } else { &entry.node.place };
        self.0.insert(path.to_owned(), place.clone());
        self.add_inner(path, &entry.node);
    }

    fn add_inner(&mut self, path: &str, node: &Node) {
        match &node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.0.insert(path.clone(), item.place.clone());
                    self.add_inner(&path, item);
                }
            }
            Value::Table { table, .. } => {
                table.0.iter().for_each(|entry| self.add(&format!("{path}.{}", entry.key), entry));
            }
            _ => {}
        }
    }

    /// The place of a key; where the job leaves it out, that of its list or section.
    fn nearest(&self, path: &str) -> Option<&Location> {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return Some(place);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }

    /// Puts file, line and column before the place of an error that is about a key.
    #[must_use]
    pub(crate) fn locate(&self, mut error: Error) -> Error {
        let Some(path) = self.path(&error) else { return error };
        error.error.key = Some(path.as_str().into());
        match self.nearest(&path) {
            Some(place) => error.within(&place.to_string()),
            None => error,
        }
    }

    /// The path of the key that an error is about: the one that it names; for an error about options,
    /// else the first option in its message that the job gives, or the section.
    fn path(&self, error: &Error) -> Option<String> {
        let inner = &error.error;
        let Some(origin) = &inner.origin else { return inner.key.as_deref().map(str::to_owned) };
        if let Some(key) = &inner.key {
            return Some(format!("{}.{key}", origin.role));
        }
        if !matches!(inner.kind, ErrorKind::Options | ErrorKind::Unsupported) {
            return None;
        }
        let words = inner.message.split('`').skip(1).step_by(2);
        let mut paths = words.map(|word| format!("{}.{word}", origin.role));
        paths.find(|path| self.0.contains_key(path)).or_else(|| Some(origin.role.clone()))
    }
}
