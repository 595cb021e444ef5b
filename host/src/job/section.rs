//! One table of a job file while it is being read: returns its keys by name, collects their
//! problems, and refuses keys that `keys` does not list.

use super::{
    document::{Entry, Table, Value},
    keys::{self, Key, Kind},
    problem::{Location, Problem, Problems},
};

/// A table, and the keys that it may have.
pub(super) struct Section<'a> {
    table: &'a Table,
    /// As messages print it: `[reader]`; empty for the top of the file.
    pub(super) title: String,
    pub(super) place: Location,
    known: &'static [Key],
}

/// A value with its place, for checks that need more than the value.
#[derive(Clone)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) place: Location,
    pub(super) path: String,
}

impl<T> Given<T> {
    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(&self.place, &self.path, message)
    }
}

impl<'a> Section<'a> {
    /// The file's top level.
    pub(super) fn top(table: &'a Table, place: Location) -> Self {
        Self { table, title: String::new(), place, known: keys::TOP }
    }

    /// A table with these keys; `None` with a problem for anything else.
    fn of(entry: &'a Entry, known: &'static [Key], problems: &mut Problems) -> Option<Self> {
        if matches!(entry.node.value, Value::Broken) {
            return None;
        }
        let title = format!("[{}]", entry.path);
        match super::value::table(entry, "a table") {
            Ok(table) => Some(Self { table, title, place: entry.place.clone(), known }),
            Err(problem) => {
                problems.add(problem);
                None
            }
        }
    }

    /// Whether it has no key.
    pub(super) fn is_empty(&self) -> bool {
        self.table.0.is_empty()
    }

    /// Whether the key exists, valid or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The entry of a key.
    pub(super) fn entry(&self, key: &'static str) -> Option<&'a Entry> {
        debug_assert!(keys::names(self.known).any(|name| name == key), "`{key}` is not in `keys`");
        self.table.get(key)
    }

    /// A table inside this one.
    pub(super) fn section(
        &self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Section<'a>> {
        let entry = self.entry(key)?;
        let known = self.known.iter().find_map(|own| match own.kind {
            Kind::Section(keys) if own.name == key => Some(keys),
            _ => None,
        });
        Section::of(entry, known.unwrap_or_default(), problems)
    }

    /// The value of a key as `read` returns it. `None` if it is missing or was refused.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        problems: &mut Problems,
        read: impl FnOnce(&'a Entry) -> Result<T, Problem>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        if entry.node.is_broken() {
            return None;
        }
        read(entry).map_err(|problem| problems.add(problem)).ok()
    }

    /// As [`Section::read`], with the value's place.
    pub(super) fn given<T>(
        &self,
        key: &'static str,
        problems: &mut Problems,
        read: impl FnOnce(&'a Entry) -> Result<T, Problem>,
    ) -> Option<Given<T>> {
        self.read(key, problems, |entry| {
            let (place, path) = (entry.node.place.clone(), entry.path.clone());
            Ok(Given { value: read(entry)?, place, path })
        })
    }

    /// The entries with other keys.
    pub(super) fn rest(&self) -> impl Iterator<Item = &'a Entry> {
        let known = self.known;
        self.table.0.iter().filter(move |entry| keys::names(known).all(|name| name != entry.key))
    }

    /// Refuses the entries with other keys.
    pub(super) fn refuse_rest(self, problems: &mut Problems) {
        for entry in self.rest() {
            problems.add(unknown_key(entry, &self.title, keys::names(self.known)));
        }
    }
}

/// The problem of a key that is not among `known`.
pub(super) fn unknown_key<'a>(
    entry: &Entry,
    title: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let message = match (&entry.node.value, title) {
        (Value::Table { inline: false, .. }, "") => format!("unknown section [{}]", entry.key),
        (_, "") => format!("unknown key `{}`", entry.key),
        _ => format!("unknown key `{}` in {title}", entry.key),
    };
    Problem::new(&entry.place, &entry.path, message).nearest(&entry.key, known)
}

/// The problem of a key that the section at `place` must have.
pub(super) fn missing_key(key: &str, title: &str, place: &Location) -> Problem {
    let path = format!("{}.{key}", title.trim_matches(['[', ']']));
    Problem::new(place, &path, format!("missing key `{key}` in {title}"))
}
