//! Jobs of many tables: `tables` in `[reader]` are patterns if `[writer]` names the target with
//! `{table}`. Before it is read, the file is changed into what a job of one of them would say; reading,
//! checking and planning are those of any other job.

use serde::{Deserialize, Serialize};
use transload_plugin_api::{TableInfo, TablePatterns};

use super::{
    document::{Document, Entry, Filled, Node, Table, Value},
    problem::{Location, Problem, Problems},
    section::Section,
    value,
};

/// The sections that `[tables."pattern"]` may have.
const OVERRIDDEN: [&str; 4] = ["reader", "writer", "map", "dirty"];
const WORDS: [&str; 2] = ["stop", "continue"];

/// One table of a job of many tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChosenTable {
    /// As the reader's option `table` takes it.
    pub(crate) name: String,
    /// Its schema, without quotes.
    pub(crate) schema: Option<String>,
    /// Its name in the schema, without quotes.
    pub(crate) table: String,
}

impl ChosenTable {
    /// The table of a list.
    pub(crate) fn of(table: &TableInfo) -> Self {
        let (name, schema) = (table.name.clone(), table.schema.clone());
        Self { name, schema, table: table.bare().to_owned() }
    }

    /// Stands for any table, to check what a job says before its tables are known.
    pub(crate) fn any() -> Self {
        let word = |text: &str| text.to_owned();
        Self { name: word("table"), schema: Some(word("schema")), table: word("table") }
    }

    /// Schema and table as messages have them.
    pub(crate) fn path(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.table),
            None => self.table.clone(),
        }
    }
}

/// What a job of many tables says about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ManyTables {
    /// Which tables.
    pub(crate) patterns: Vec<String>,
    /// The other tables go on if one fails.
    pub(crate) continues: bool,
    /// The patterns of `[tables."..."]`.
    pub(crate) overrides: Vec<String>,
}

/// Whether a file is a job of many tables.
pub(super) fn is_of_many(document: &Document) -> bool {
    let section = |name| document.root.get(name).and_then(Entry::table);
    let names_table = |table: &Table| table.0.iter().any(|entry| has_word(&entry.node));
    section("reader").is_some_and(|reader| reader.get("tables").is_some())
        && section("writer").is_some_and(names_table)
}

fn has_word(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => text.contains("{table}") && !text.contains("${table}"),
        Value::List(items) => items.iter().any(has_word),
        _ => false,
    }
}

/// Takes out of a file what only a job of many tables has, and puts in what a job of `chosen` would say.
/// `None` for other jobs.
pub(super) fn narrow(
    document: &mut Document,
    chosen: Option<&ChosenTable>,
    problems: &mut Problems,
) -> Option<ManyTables> {
    if !is_of_many(document) {
        refuse_rest(document, problems);
        return None;
    }
    let Some(chosen) = chosen else {
        let place = Location::whole(&document.source.file);
        let message = "this is a job of many tables, and the command takes jobs of one table";
        let problem = Problem::new(&place, "reader.tables", message);
        problems
            .add(problem.hint("`run`, `plan` and `check` take it; `resume` and `abort` its runs"));
        return None;
    };
    let many = read(document, problems);
    let overrides = take(&mut document.root, "tables");
    take(&mut document.root, "on_table_failure");
    if let Some(entry) = overrides {
        override_sections(&mut document.root, &entry, chosen, problems);
    }
    for entry in &mut document.root.0 {
        let Value::Table { table, .. } = &mut entry.node.value else { continue };
        match entry.key.as_str() {
            "reader" => name_source(table, chosen, problems),
            "writer" => {
                table.0.iter_mut().for_each(|entry| fill(entry, chosen, problems));
            }
            _ => {}
        }
    }
    Some(many)
}

/// Keys of jobs of many tables in other jobs.
fn refuse_rest(document: &mut Document, problems: &mut Problems) {
    for key in ["tables", "on_table_failure"] {
        if let Some(entry) = take(&mut document.root, key) {
            let message = format!("`{key}` has no effect: the job is of one table");
            let hint = "a job of many tables has `tables = [\"shop.*\"]` in [reader] and `{table}` in the \
                        target's name";
            problems.add(Problem::new(&entry.place, &entry.path, message).hint(hint));
        }
    }
}

fn read(document: &Document, problems: &mut Problems) -> ManyTables {
    let top = Section::top(&document.root, Location::whole(&document.source.file));
    let on_failure = top.read("on_table_failure", problems, |entry| value::choice(entry, &WORDS));
    let mut many = ManyTables {
        continues: on_failure.is_some_and(|word| word == WORDS[1]),
        ..ManyTables::default()
    };
    let reader = document.root.get("reader").and_then(Entry::table);
    if let Some(entry) = reader.and_then(|reader| reader.get("tables")) {
        match value::list(entry) {
            Ok(patterns) => {
                refuse_pattern(entry, &patterns, problems);
                many.patterns = patterns;
            }
            Err(problem) => problems.add(problem),
        }
    }
    if let Some(entry) = document.root.get("tables") {
        match value::table(entry, "a table of tables") {
            Ok(table) => {
                for entry in &table.0 {
                    refuse_pattern(entry, std::slice::from_ref(&entry.key), problems);
                    many.overrides.push(entry.key.clone());
                }
            }
            Err(problem) => problems.add(problem),
        }
    }
    many
}

fn refuse_pattern(entry: &Entry, patterns: &[String], problems: &mut Problems) {
    if let Err(error) = TablePatterns::parse(patterns) {
        let problem = Problem::new(&entry.place, &entry.path, error.message.clone());
        problems.add(problem.hint(error.hint.clone().unwrap_or_default()));
    }
}

fn take(table: &mut Table, key: &str) -> Option<Entry> {
    let at = table.0.iter().position(|entry| entry.key == key)?;
    Some(table.0.remove(at))
}

/// What `[tables."pattern"]` says of the table takes the place of what the file says of all.
fn override_sections(
    root: &mut Table,
    overrides: &Entry,
    chosen: &ChosenTable,
    problems: &mut Problems,
) {
    for of_pattern in overrides.table().into_iter().flat_map(|table| &table.0) {
        let patterns = TablePatterns::parse(std::slice::from_ref(&of_pattern.key));
        let matches = patterns
            .is_ok_and(|patterns| patterns.matches(chosen.schema.as_deref(), &chosen.table));
        let sections = match value::table(of_pattern, "a table of sections") {
            Ok(sections) => sections,
            Err(problem) => {
                problems.add(problem);
                continue;
            }
        };
        for section in &sections.0 {
            if !OVERRIDDEN.contains(&section.key.as_str()) {
                let message = format!("`{}` cannot differ between tables", section.key);
                let hint = format!(
                    "write `[{}.reader]`, `.writer]`, `.map]` or `.dirty]`",
                    of_pattern.path
                );
                problems.add(Problem::new(&section.place, &section.path, message).hint(hint));
            } else if matches {
                override_section(root, section);
            }
        }
    }
}

fn override_section(root: &mut Table, section: &Entry) {
    let own = root.0.iter_mut().find(|entry| entry.key == section.key);
    let Some(own) = own else {
        root.0.push(Entry { path: section.key.clone(), ..section.clone() });
        return;
    };
    if let (Value::Table { table, .. }, Some(new)) = (&mut own.node.value, section.table()) {
        for entry in &new.0 {
            take(table, &entry.key);
            table.0.push(entry.clone());
        }
    }
}

/// The option `table` in the place of `tables`.
fn name_source(reader: &mut Table, chosen: &ChosenTable, problems: &mut Problems) {
    for key in ["table", "query"] {
        if let Some(entry) = reader.get(key) {
            let message = format!("`{key}` has no place in a job of many tables");
            problems.add(Problem::new(&entry.place, &entry.path, message).hint("keep `tables`"));
        }
    }
    let Some(patterns) = take(reader, "tables") else { return };
    let node =
        Node { value: Value::Text(chosen.name.clone()), pieces: Vec::new(), ..patterns.node };
    let path = patterns.path.trim_end_matches('s').to_owned();
    reader.0.push(Entry { key: "table".to_owned(), path, place: patterns.place, node });
}

/// The names of the table in the place of `{schema}` and `{table}`.
fn fill(entry: &mut Entry, chosen: &ChosenTable, problems: &mut Problems) {
    if chosen.schema.is_none() && mentions(&entry.node, "{schema}") {
        let message = format!("`{}` names `{{schema}}`, and the source has no schemas", entry.key);
        let hint = "leave `{schema}` out";
        problems.add(Problem::new(&entry.node.place, &entry.path, message).hint(hint));
        return;
    }
    let schema = chosen.schema.as_deref().unwrap_or_default();
    match &mut entry.node.value {
        Value::Text(text) if entry.key == "table" => {
            *text = name_of_target(text, schema, &chosen.table);
            entry.node.pieces.clear();
        }
        _ => fill_node(&mut entry.node, &schema.replace('/', "_"), &chosen.table.replace('/', "_")),
    }
}

/// A target's name, each part quoted where it must be.
fn name_of_target(template: &str, schema: &str, table: &str) -> String {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for letter in template.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(String::new()),
            _ => parts.last_mut().into_iter().for_each(|part| part.push(letter)),
        }
    }
    let parts = parts.iter().map(|part| quoted(&filled(part, schema, table)));
    parts.collect::<Vec<_>>().join(".")
}

/// In one pass: a schema may be called `{table}`.
fn filled(text: &str, schema: &str, table: &str) -> String {
    let parts = text.split("{schema}").map(|part| part.replace("{table}", table));
    parts.collect::<Vec<_>>().join(schema)
}

fn mentions(node: &Node, word: &str) -> bool {
    match &node.value {
        Value::Text(text) => text.contains(word),
        Value::List(items) => items.iter().any(|item| mentions(item, word)),
        _ => false,
    }
}

fn fill_node(node: &mut Node, schema: &str, table: &str) {
    match &mut node.value {
        Value::Text(text) => *text = filled(text, schema, table),
        Value::List(items) => items.iter_mut().for_each(|item| fill_node(item, schema, table)),
        _ => {}
    }
    for piece in &mut node.pieces {
        if let Filled::Text(text) = piece {
            *text = filled(text, schema, table);
        }
    }
}

/// A part of a table's name as the option `table` takes it.
fn quoted(part: &str) -> String {
    if part.trim() != part || part.contains(['.', '"', '`', '[', ']']) {
        return format!("\"{}\"", part.replace('"', "\"\""));
    }
    part.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_targets_are_quoted_by_parts() {
        for (template, schema, table, name) in [
            ("ods.{table}", "s", "orders", "ods.orders"),
            ("ods.{table}", "s", "odd.name", "ods.\"odd.name\""),
            ("ods_{table}", "s", "odd.name", "\"ods_odd.name\""),
            ("{schema}_copy.{table}", "a.b", "t", "\"a.b_copy\".t"),
            ("\"my.ods\".{table}", "s", "t", "\"my.ods\".t"),
            ("{schema}.{table}", "{table}", "t", "{table}.t"),
            ("{table}", "s", "a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(name_of_target(template, schema, table), name, "{template}");
        }
    }
}
