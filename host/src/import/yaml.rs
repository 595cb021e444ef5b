//! Reads YAML as a tree with places. Anchors, aliases and merge keys are resolved; a document has one
//! root.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{
    json::SyntaxError,
    tree::{Entry, Node, Value},
};

/// Aliases may repeat each other; more values than that are refused.
const MOST: usize = 100_000;

/// The root of a text.
///
/// # Errors
/// If it breaks the syntax, or aliases make it too large.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let offsets: Option<Vec<usize>> =
        (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
    let offset = |index: usize| match &offsets {
        Some(offsets) => offsets.get(index).copied().unwrap_or(text.len()),
        None => index.min(text.len()),
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxError {
            offset: offset(error.marker().index()),
            message: error.info().to_owned(),
        })?;
        let at = offset(span.start.index());
        builder.take(event, at).map_err(|message| SyntaxError { offset: at, message })?;
    }
    Ok(builder.root.unwrap_or(Node { value: Value::Null, offset: 0 }))
}

/// A list or a mapping that is not complete.
struct Open {
    offset: usize,
    anchor: usize,
    is_map: bool,
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    count: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, offset: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let value = match style {
                    ScalarStyle::Plain => plain(&text),
                    _ => Value::Text(text.into_owned()),
                };
                self.add(Node { value, offset }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(offset, anchor, false),
            Event::MappingStart(anchor, _) => self.begin(offset, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or("an alias has no anchor")?;
                self.add(Node { offset, ..node }, 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                Err("it has a second document".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, offset: usize, anchor: usize, is_map: bool) -> Result<(), String> {
        self.open.push(Open { offset, anchor, is_map, nodes: Vec::new() });
        if self.open.len() > 128 {
            Err("it is nested more than 128 deep".to_owned())
        } else {
            Ok(())
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = if open.is_map { map(open.nodes)? } else { Value::List(open.nodes) };
        self.add(Node { value, offset: open.offset }, open.anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.count += size(&node);
        if self.count > MOST {
            return Err(format!("it has more than {MOST} values"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

/// How many values a node has.
fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.node)).sum::<usize>(),
        _ => 1,
    }
}

/// Keys and values in turn; `<<` adds the keys of another mapping behind the others.
fn map(nodes: Vec<Node>) -> Result<Value, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut merged = Vec::new();
    let mut nodes = nodes.into_iter();
    while let (Some(key), Some(node)) = (nodes.next(), nodes.next()) {
        let name = match &key.value {
            Value::Null => String::new(),
            _ => key.text().ok_or("a key is no text")?,
        };
        match node.value {
            Value::Map(others) if name == "<<" => merged.extend(others),
            _ => entries.push(Entry { key: name, offset: key.offset, node }),
        }
    }
    merged.retain(|entry| !entries.iter().any(|own| own.key == entry.key));
    Ok(Value::Map(merged.into_iter().chain(entries).collect()))
}

/// A scalar without quotes, by the core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Boolean(true),
        "false" | "False" | "FALSE" => Value::Boolean(false),
        _ => {
            let begins = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
            match begins && text.parse::<f64>().is_ok() {
                true => Value::Number(text.to_owned()),
                false => Value::Text(text.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_anchors_and_merges() {
        let text = "é: &a {x: 1, y: [true, ~]}\nb:\n  <<: *a\n  x: '2'\n";
        let root = parse(text).unwrap();
        let b = root.get("b").unwrap();
        assert_eq!(b.get("x").unwrap().value, Value::Text("2".to_owned()));
        let y = b.get("y").unwrap();
        assert!(matches!(&y.value, Value::List(items) if items[0].value == Value::Boolean(true)));
        let Value::Map(entries) = &root.value else { panic!("{root:?}") };
        assert_eq!(&text[entries[1].offset..entries[1].offset + 2], "b:");
    }

    #[test]
    fn what_is_broken_is_refused_at_its_place() {
        for (text, part) in [
            ("a: [1, 2\nb: 3", ""),
            ("a: *nothing", ""),
            ("--- 1\n--- 2\n", "second document"),
            ("? [a]\n: b", "a key is no text"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error:?}");
        }
        let bomb: String = (0..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            format!("{text}a{}: &a{} [*a{n}, *a{n}]\n", n + 1, n + 1)
        });
        assert!(parse(&bomb).unwrap_err().message.contains("more than"));
    }
}
