//! A document as a tree of values with their places, whatever language it is written in, and access
//! to it that notices which keys were not read. Parsing is left to `json` and `yaml`.

use std::cell::{Cell, RefCell};

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    /// In bytes from the start of the text.
    pub(super) offset: usize,
}

/// A value. Numbers stay as they are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key begins.
    pub(super) offset: usize,
    pub(super) node: Node,
}

impl Node {
    /// What the value is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Boolean(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }

    /// Whether it says nothing: null, an empty or blank text, an empty list or object.
    pub(super) fn is_blank(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Text(text) => text.trim().is_empty(),
            Value::List(items) => items.iter().all(Self::is_blank),
            Value::Map(entries) => entries.is_empty(),
            Value::Boolean(_) | Value::Number(_) => false,
        }
    }

    /// A single value as text.
    pub(super) fn text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// The value of a key of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().rev().find(|entry| entry.key == key).map(|entry| &entry.node)
    }
}

/// A value on its path from the top of the document.
#[derive(Clone, Debug)]
pub(super) struct Item<'n> {
    pub(super) node: &'n Node,
    /// Such as `job.content[0].reader.name`.
    pub(super) path: String,
    /// Where its key begins, or itself.
    pub(super) offset: usize,
}

impl<'n> Item<'n> {
    /// The top of a document.
    pub(super) fn top(node: &'n Node) -> Self {
        Self { node, path: String::new(), offset: node.offset }
    }

    /// The items of a list; a single value is a list of one.
    pub(super) fn items(&self) -> Vec<Item<'n>> {
        match &self.node.value {
            Value::List(items) => {
                let item = |(index, node): (usize, &'n Node)| Item {
                    node,
                    path: format!("{}[{index}]", self.path),
                    offset: node.offset,
                };
                items.iter().enumerate().map(item).collect()
            }
            Value::Null => Vec::new(),
            _ => vec![self.clone()],
        }
    }
}

/// The keys of an object. What is left after all that are known were taken was not read.
pub(super) struct Fields<'n> {
    pub(super) path: String,
    entries: Vec<(&'n Entry, Cell<bool>)>,
    /// All keys that were looked for.
    asked: RefCell<Vec<String>>,
}

impl<'n> Fields<'n> {
    /// The keys of an item; none if it is no object.
    pub(super) fn of(item: &Item<'n>) -> Self {
        let entries = match &item.node.value {
            Value::Map(entries) => entries.iter().map(|it| (it, Cell::new(false))).collect(),
            _ => Vec::new(),
        };
        Self { path: item.path.clone(), entries, asked: RefCell::default() }
    }

    fn item(&self, entry: &'n Entry) -> Item<'n> {
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{}", self.path, entry.key);
        Item { node: &entry.node, path, offset: entry.offset }
    }

    /// The value of a key, and that it was read. Of a key that is there twice, the last one counts.
    pub(super) fn take(&self, key: &str) -> Option<Item<'n>> {
        self.asked.borrow_mut().push(key.to_owned());
        let (entry, taken) = self.entries.iter().rev().find(|(entry, _)| entry.key == key)?;
        taken.set(true);
        Some(self.item(entry))
    }

    /// As [`Self::take`], for a value that says something.
    pub(super) fn given(&self, key: &str) -> Option<Item<'n>> {
        self.take(key).filter(|item| !item.node.is_blank())
    }

    /// The keys that there are for whoever has read this object.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// What was not taken.
    pub(super) fn rest(&self) -> Vec<(&'n str, Item<'n>)> {
        let rest = self.entries.iter().filter(|(_, taken)| !taken.get());
        rest.map(|(entry, _)| (entry.key.as_str(), self.item(entry))).collect()
    }
}

/// The line and the column of an offset, both from 1; the column in characters.
pub(super) fn place_of(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line as u32, before[start..].chars().count() as u32 + 1)
}
