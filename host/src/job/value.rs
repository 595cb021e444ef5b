//! Reads single values as the type that a key takes: the host's own keys through the typed
//! functions, a plugin's options through [`option`]. Units, bounds and choices are converted by
//! [`OptionKind`]; here are the places of values in files, and paths.

use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use transload_plugin_api::OptionKind;

use super::{
    document::{Entry, Node, Table, Value},
    problem::Problem,
};
use crate::catalog::Isolation;

type Read<T> = Result<T, Problem>;

/// `` `key` must be EXPECTED, found FOUND ``, at the value.
pub(super) fn refusal(entry: &Entry, node: &Node, expected: &str, found: &str) -> Problem {
    let message = format!("`{}` must be {expected}, found {found}", entry.key);
    Problem::new(&node.place, &entry.path, message)
}

fn wrong_kind(entry: &Entry, node: &Node, expected: &str) -> Problem {
    let problem = refusal(entry, node, expected, node.value.kind());
    match &node.value {
        Value::Table { table, .. } if table.0.iter().any(|entry| is_reference(&entry.key)) => {
            problem.hint("only secret options can be taken from elsewhere")
        }
        _ => problem,
    }
}

fn is_reference(key: &str) -> bool {
    matches!(key, "env" | "file" | "command")
}

pub(super) fn text(entry: &Entry) -> Read<String> {
    text_of(entry, &entry.node, "a string").map(str::to_owned)
}

fn text_of<'a>(entry: &Entry, node: &'a Node, expected: &str) -> Read<&'a str> {
    match &node.value {
        Value::Text(text) => Ok(text),
        _ => Err(wrong_kind(entry, node, expected)),
    }
}

pub(super) fn boolean(entry: &Entry) -> Read<bool> {
    typed(&OptionKind::Boolean, entry)
}

pub(super) fn integer(entry: &Entry, min: i64, max: i64) -> Read<i64> {
    typed(&OptionKind::Integer { min, max }, entry)
}

pub(super) fn float(entry: &Entry, min: f64, max: f64) -> Read<f64> {
    typed(&OptionKind::Float { min, max }, entry)
}

/// Where a plugin runs.
pub(super) fn isolation(entry: &Entry) -> Read<Isolation> {
    let all = [Isolation::InProcess, Isolation::Process];
    let word = choice(entry, &all.map(Isolation::word))?;
    Ok(all.into_iter().find(|isolation| isolation.word() == word).unwrap_or_default())
}

/// Bytes.
pub(super) fn size(entry: &Entry) -> Read<u64> {
    typed(&OptionKind::Size, entry)
}

/// Milliseconds.
pub(super) fn duration(entry: &Entry) -> Read<u64> {
    typed(&OptionKind::Duration, entry)
}

/// One of the words.
pub(super) fn choice<'w>(entry: &Entry, words: &[&'w str]) -> Read<&'w str> {
    let kind = OptionKind::choice(words);
    let given: String = typed(&kind, entry)?;
    words
        .iter()
        .copied()
        .find(|word| *word == given)
        .ok_or_else(|| wrong_kind(entry, &entry.node, &kind.expected()))
}

/// One value of a kind, as Rust has it.
fn typed<T: DeserializeOwned>(kind: &OptionKind, entry: &Entry) -> Read<T> {
    let value = scalar(kind, entry)?;
    serde_json::from_value(value).map_err(|_| wrong_kind(entry, &entry.node, &kind.expected()))
}

/// One value of a kind, as the plugin API converts it.
fn scalar(kind: &OptionKind, entry: &Entry) -> Read<Json> {
    let node = &entry.node;
    let Some(given) = node.to_json() else {
        return Err(wrong_kind(entry, node, &kind.expected()));
    };
    kind.convert(&given).map_err(|mismatch| {
        let problem = refusal(entry, node, &mismatch.expected, &mismatch.found);
        match (mismatch.hint, kind, &node.value) {
            (Some(hint), ..) => problem.hint(hint),
            (None, OptionKind::Choice(words), Value::Text(text)) => {
                problem.nearest(text, words.iter().map(String::as_str))
            }
            _ => problem,
        }
    })
}

/// One string or a list of them.
pub(super) fn list(entry: &Entry) -> Read<Vec<String>> {
    let items = items(entry, "a string or a list of strings")?;
    Ok(items.into_iter().map(|(_, text)| text.to_owned()).collect())
}

/// One name or a list of them: at least one, none empty, none twice.
pub(super) fn names(entry: &Entry) -> Read<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (node, name) in items(entry, "a column name or a list of them")? {
        let trouble = match name {
            "" => "holds an empty name".to_owned(),
            _ if names.iter().any(|known| known == name) => format!("names `{name}` twice"),
            _ => {
                names.push(name.to_owned());
                continue;
            }
        };
        return Err(Problem::new(&node.place, &entry.path, format!("`{}` {trouble}", entry.key)));
    }
    if names.is_empty() {
        let message = format!("`{}` is empty", entry.key);
        return Err(Problem::new(&entry.node.place, &entry.path, message)
            .hint("name at least one column, or leave the key out"));
    }
    Ok(names)
}

fn items<'a>(entry: &'a Entry, expected: &str) -> Read<Vec<(&'a Node, &'a str)>> {
    let with_text = |node: &'a Node| text_of(entry, node, expected).map(|text| (node, text));
    match &entry.node.value {
        Value::List(items) => items.iter().map(with_text).collect(),
        _ => with_text(&entry.node).map(|item| vec![item]),
    }
}

/// An absolute path; relative ones start in `folder`.
pub(super) fn path(entry: &Entry, folder: &Path) -> Read<String> {
    let text = text_of(entry, &entry.node, "a path")?;
    absolute(entry, &entry.node, text, folder)
}

fn paths(entry: &Entry, folder: &Path) -> Read<Vec<String>> {
    let items = items(entry, "a path or a list of paths")?;
    items.into_iter().map(|(node, text)| absolute(entry, node, text, folder)).collect()
}

fn absolute(entry: &Entry, node: &Node, text: &str, folder: &Path) -> Read<String> {
    if text.is_empty() {
        return Err(refusal(entry, node, "a path", "an empty string"));
    }
    // Standard input or output, for plugins that read or write streams; a file is `./-`.
    if text == "-" {
        return Ok(text.to_owned());
    }
    if text == "~" || text.starts_with("~/") {
        return Err(Problem::new(&node.place, &entry.path, "`~` is not expanded in paths")
            .hint("write the path in full, or relative to the file it stands in"));
    }
    // It is not printed: it may have a login.
    if text.contains("://") {
        return Err(Problem::new(&node.place, &entry.path, "an address, and a path is expected")
            .hint("objects of a store are read and written by `plugin = \"object-store\"`"));
    }
    let path = join(folder, text);
    path.into_os_string().into_string().map_err(|_| {
        let message = "the folder of this file has a name that is not UTF-8";
        Problem::new(&node.place, &entry.path, message).hint("write the path in full")
    })
}

/// `folder/path` without `.` parts; an absolute path stays as it is. `..` stays: what it means
/// depends on links. So does a `/` at the end: it is how a job says that it means a folder.
pub(super) fn join(folder: &Path, path: &str) -> PathBuf {
    let joined = folder.join(path);
    let parts = joined.components().filter(|part| *part != Component::CurDir);
    let plain: PathBuf = parts.collect();
    if path.ends_with('/') { plain.join("") } else { plain }
}

/// A table of strings.
pub(super) fn map(entry: &Entry) -> Read<Vec<(&Entry, &str)>> {
    let expected = "a table of strings";
    let table = table(entry, expected)?;
    table.0.iter().map(|item| Ok((item, text_of(item, &item.node, "a string")?))).collect()
}

pub(super) fn table<'a>(entry: &'a Entry, expected: &str) -> Read<&'a Table> {
    entry.table().ok_or_else(|| wrong_kind(entry, &entry.node, expected))
}

/// A plugin's option in the form in which the plugin gets it. Paths start in `folder`, and each
/// item of a list has its own place in messages; everything else is the plugin API's conversion.
pub(super) fn option(kind: &OptionKind, entry: &Entry, folder: &Path) -> Read<Json> {
    Ok(match kind {
        OptionKind::Path => path(entry, folder)?.into(),
        OptionKind::Paths => paths(entry, folder)?.into(),
        OptionKind::List => list(entry)?.into(),
        OptionKind::Map => {
            let pairs = map(entry)?.into_iter();
            Json::Object(
                pairs.map(|(item, text)| (item.key.clone(), text.into())).collect::<Map<_, _>>(),
            )
        }
        _ => scalar(kind, entry)?,
    })
}
