//! Where each key of a job stands, so that an error which is met after the job was read, in the plan
//! or by a plugin, still names file, line and column. Problems of the file itself are `problem`'s.

use std::{collections::BTreeMap, fmt};

use transload_plugin_api::{ErrorKind, code};

use super::{
    document::{Entry, Node, Table, Value},
    problem::Location,
};
use crate::Error;

/// The places of keys by their dotted paths (`writer.key`), of items of lists by their index from 0
/// (`writer.before[1]`).
#[derive(Clone, Default)]
pub(crate) struct Places {
    keys: BTreeMap<String, Location>,
    /// The texts of lists' items. Not printed, as they may be secrets.
    items: BTreeMap<String, String>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.fmt(f)
    }
}

impl Places {
    /// The places of all keys of a file.
    pub(super) fn of(table: &Table, file: &Location) -> Self {
        let mut places = Self::default();
        places.keys.insert(String::new(), file.clone());
        table.0.iter().for_each(|entry| places.add(&entry.path, entry));
        places
    }

    /// Adds the options that a connection gives a side. What the job itself gives stays.
    pub(super) fn add_connection(&mut self, role: &str, entries: &[Entry]) {
        for entry in entries {
            let path = format!("{role}.{}", entry.key);
            if !self.keys.contains_key(&path) {
                self.add(&path, entry);
            }
        }
    }

    fn add(&mut self, path: &str, entry: &Entry) {
        // A section is shown at its header, everything else where its value is.
        let is_section = matches!(entry.node.value, Value::Table { inline: false, .. });
        let place = if is_section { &entry.place } else { &entry.node.place };
        self.keys.insert(path.to_owned(), place.clone());
        self.add_inner(path, &entry.node);
    }

    fn add_inner(&mut self, path: &str, node: &Node) {
        match &node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.keys.insert(path.clone(), item.place.clone());
                    if let Value::Text(text) = &item.value {
                        self.items.insert(path.clone(), text.clone());
                    }
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
            if let Some(place) = self.keys.get(path) {
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
        let Some(path) = self.path(&error).map(|path| self.item(path, &error)) else {
            return error;
        };
        error.error.key = Some(path.as_str().into());
        match self.nearest(&path) {
            Some(place) => error.within(&place.to_string()),
            None => error,
        }
    }

    /// The path of the item of a list that an error is about: the first that its message quotes, or
    /// else has a quoted word of it, such as the column in `day(created)`, or that its place ends
    /// with, as a file's does. The list itself, if it is about none.
    fn item(&self, path: String, error: &Error) -> String {
        let inner = &error.error;
        let quoted: Vec<_> = inner.message.split('`').skip(1).step_by(2).collect();
        let place = inner.place.as_deref().unwrap_or_default();
        let items = || {
            let item = |index: usize| {
                let path = format!("{path}[{index}]");
                let text = self.items.get(&path)?;
                Some((path, text.as_str()))
            };
            (0..).map(item).take_while(Option::is_some).flatten()
        };
        let has_word = |text: &str| {
            let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(|word| quoted.contains(&word))
        };
        let is_place = |text: &str| {
            let rest = place.strip_suffix(text.trim_start_matches("./"));
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let found = (items().find(|(_, text)| quoted.contains(text)))
            .or_else(|| items().find(|(_, text)| is_place(text)))
            .or_else(|| items().find(|(_, text)| has_word(text)));
        found.map_or_else(|| path.clone(), |(path, _)| path)
    }

    /// The path of the key that an error is about: the one that it names; for an error about options,
    /// else the first option in its message that the job gives, in quotes or else as a word, or in
    /// the hint; or an item of a list that it quotes; or the section.
    fn path(&self, error: &Error) -> Option<String> {
        let inner = &error.error;
        let Some(origin) = &inner.origin else { return inner.key.as_deref().map(str::to_owned) };
        if inner.code == code::TOKENS_MISSING {
            // No option of the plugin asks for them.
            return Some("guarantee.require".to_owned());
        }
        if let Some(key) = &inner.key {
            return Some(format!("{}.{key}", origin.role));
        }
        if !matches!(inner.kind, ErrorKind::Options | ErrorKind::Unsupported) {
            return None;
        }
        let quoted = |text: &str| {
            // A hint shows a whole line: `delimiter = ";"`.
            let words = text.split('`').skip(1).step_by(2);
            words.filter_map(|it| it.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
        };
        let plain = inner.message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let item = |quoted: &String| {
            let is_own = |path: &&String| path.starts_with(&format!("{}.", origin.role));
            let found = self.items.iter().find(|(path, text)| is_own(path) && *text == quoted)?;
            Some(found.0.clone())
        };
        let hint = quoted(inner.hint.as_deref().unwrap_or_default());
        let words = quoted(&inner.message).into_iter().chain(plain.map(str::to_owned)).chain(hint);
        let mut paths = words.map(|word| format!("{}.{word}", origin.role));
        let found = paths.find(|path| self.keys.contains_key(path));
        let found = found.or_else(|| quoted(&inner.message).iter().find_map(item));
        found.or_else(|| Some(origin.role.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use transload_plugin_api::{Error as PluginError, ErrorOrigin};

    use super::*;
    use crate::{Exit, job::document::Document};

    const JOB: &str =
        "[reader]\ntable = \"t\"\n[writer]\nbefore = [\"a\",\n  \"b\"]\n[map]\na = \"b\"\n";

    fn places() -> Places {
        let parse = |path: &str, text: &str| Document::parse(Path::new(path), text.to_owned());
        let job = parse("job.toml", JOB).unwrap();
        let mut places = Places::of(&job.root, &Location::whole("job.toml"));
        let connection = parse("connections.toml", "[shop]\nhost = \"h\"\npassword = 1\n").unwrap();
        let shop = connection.root.get("shop").and_then(Entry::table).unwrap();
        places.add_connection("reader", &shop.0);
        places
    }

    #[test]
    fn a_key_that_is_left_out_is_shown_at_its_section() {
        for (key, place) in [
            ("reader.table", "job.toml:2:9"),
            ("reader.host", "connections.toml:2:8"),
            ("reader.split_key", "job.toml:1:2"),
            ("writer.before[1]", "job.toml:5:3"),
            ("writer.before[7]", "job.toml:4:10"),
            ("map.a", "job.toml:7:5"),
            ("dirty.max_rows", "job.toml"),
        ] {
            let error = places().locate(Error::new(Exit::Usage, "m").of_key(key));
            assert_eq!(error.error.place.as_deref(), Some(place), "{key}");
        }
        for (message, place) in [
            ("no `b`", "job.toml:5:3"),
            ("no `a` and no `b`", "job.toml:4:11"),
            ("no `c`", "job.toml:4:10"),
            ("b", "job.toml:4:10"),
        ] {
            let error = places().locate(Error::new(Exit::Usage, message).of_key("writer.before"));
            assert_eq!(error.error.place.as_deref(), Some(place), "{message}");
        }
        let error = places().locate(Error::new(Exit::Usage, "m"));
        assert_eq!(error.error.place, None, "about no key");
    }

    #[test]
    fn errors_of_plugins_are_about_options_of_their_side() {
        let of = |error: PluginError| {
            let (plugin, verb) = ("p".to_owned(), "schema".to_owned());
            let origin = Some(Box::new(ErrorOrigin { plugin, role: "reader".to_owned(), verb }));
            let error = places().locate(PluginError { origin, ..error }.into());
            error.error.place.unwrap_or_default()
        };
        assert_eq!(of(PluginError::not_found("m").of_key("table")), "job.toml:2:9");
        assert_eq!(of(PluginError::denied("m").at("p").of_key("table")), "job.toml:2:9: p");
        // A secret that is not there stands where it is named.
        assert_eq!(of(PluginError::options("m").of_key("password")), "connections.toml:3:12");
        assert_eq!(of(PluginError::options("no `x` with `table`")), "job.toml:2:9", "as it says");
        assert_eq!(of(PluginError::options("no table for it")), "job.toml:2:9", "as a word");
        let hint = "set `table = \"u\"`";
        assert_eq!(of(PluginError::options("m").hint(hint)), "job.toml:2:9", "as the hint says");
        assert_eq!(of(PluginError::options("m")), "job.toml:1:2", "somewhere in there");
        assert_eq!(of(PluginError::data("a `table`")), "", "about rows, not options");
    }
}
