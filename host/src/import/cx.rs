//! What every part of an importer works with: notes, connections, the job that is being made, and values
//! of the document in the type that is wanted.

use super::{
    connections::{Address, Connections},
    job_text::{JobText, Line},
    notes::{Kind, Notes},
    parameters::{self, Found},
    tree::{Fields, Item, Value},
};

/// The import of one job.
pub(super) struct Cx<'d> {
    pub(super) notes: Notes<'d>,
    pub(super) connections: &'d mut Connections,
    pub(super) job: JobText,
    pub(super) name: String,
}

impl Cx<'_> {
    /// A single value as text, with its parameters as a job has them.
    pub(super) fn text(&mut self, item: &Item<'_>) -> Option<String> {
        let text = self.raw_text(item, "a string")?;
        let found = parameters::plain(&text);
        Some(self.learn(item, found))
    }

    /// A statement or a part of one.
    pub(super) fn sql(&mut self, item: &Item<'_>) -> Option<String> {
        let text = self.raw_text(item, "a string")?;
        let found = parameters::sql(&text);
        Some(self.learn(item, found))
    }

    /// Several statements.
    pub(super) fn statements(&mut self, item: &Item<'_>) -> Vec<String> {
        let items = item.items();
        items.iter().filter(|it| !it.node.is_blank()).filter_map(|it| self.sql(it)).collect()
    }

    /// One text or a list of them; blank ones are left out.
    pub(super) fn texts(&mut self, item: &Item<'_>) -> Vec<String> {
        let items = item.items();
        items.iter().filter(|it| !it.node.is_blank()).filter_map(|it| self.text(it)).collect()
    }

    fn raw_text(&mut self, item: &Item<'_>, expected: &str) -> Option<String> {
        let text = item.node.text();
        if text.is_none() {
            let message = format!("expected {expected}, found {}", item.node.kind());
            self.notes.refuse(item, message, "");
        }
        text
    }

    fn learn(&mut self, item: &Item<'_>, found: Found) -> String {
        for name in &found.bare {
            let message = format!("`${name}` is taken for a parameter, and written `${{{name}}}`");
            self.notes.changed(item, message);
        }
        for name in &found.raw {
            let message = format!(
                "parameter `{name}` stands where no value can: it becomes a part of the SQL as it is \
                 (`!raw`)"
            );
            self.notes.changed(item, message);
        }
        found.text
    }

    /// A whole number from 0, also as text.
    pub(super) fn integer(&mut self, item: &Item<'_>) -> Option<u64> {
        let text = self.raw_text(item, "a number")?;
        let text = text.trim();
        if text.starts_with('$') {
            let message = format!("`{text}` is a parameter, and a job has numbers here");
            self.notes.todo(item, message, "write the number into the job");
            return None;
        }
        let number = text.parse().ok().or_else(|| {
            let number = text.parse::<f64>().ok().filter(|it| *it >= 0.0 && it.fract() == 0.0);
            number.filter(|it| *it < 9e15).map(|it| it as u64)
        });
        if number.is_none() {
            self.notes.refuse(item, format!("expected a number from 0, found `{text}`"), "");
        }
        number
    }

    /// `true` or `false`, also as text.
    pub(super) fn boolean(&mut self, item: &Item<'_>) -> Option<bool> {
        let text = self.raw_text(item, "true or false")?;
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.notes.refuse(item, format!("expected true or false, found `{text}`"), "");
                None
            }
        }
    }

    /// The keys of an item that must be an object; it may be null.
    pub(super) fn fields<'n>(&mut self, item: &Item<'n>) -> Fields<'n> {
        if item.node.value != Value::Null {
            self.is_map(item);
        }
        Fields::of(item)
    }

    /// Refuses everything but an object.
    pub(super) fn is_map(&mut self, item: &Item<'_>) -> bool {
        let is_map = matches!(item.node.value, Value::Map(_));
        if !is_map {
            let message = format!("expected an object, found {}", item.node.kind());
            self.notes.refuse(item, message, "");
        }
        is_map
    }

    /// The lines by which a side of the job logs in.
    pub(super) fn login(&mut self, address: &Address, wish: &str, side: &str) -> Vec<Line> {
        let job = format!("{}_{side}", self.name);
        self.connections.login(address, wish, &job)
    }

    pub(super) fn note(&mut self, kind: Kind, item: &Item<'_>, message: &str, hint: &str) {
        self.notes.add(kind, (&item.path, item.offset), message, hint);
    }
}

/// What a side of the job reads or writes, as the sections of the job have it.
#[derive(Default)]
pub(super) struct Side {
    /// The lines of `[reader]` or `[writer]`, without `columns`.
    pub(super) lines: Vec<Line>,
    /// The names of its columns in order; `None` if the document does not say them.
    pub(super) columns: Option<Vec<String>>,
    /// Types for `[reader.schema]`.
    pub(super) schema: Vec<Line>,
    /// It is a table of a database, which has types and names of its own.
    pub(super) is_table: bool,
    /// The names are aliases in a query, so that `columns` need not be written.
    pub(super) is_query: bool,
    /// It writes one object, or a stream, with one task.
    pub(super) needs_one_task: bool,
}
