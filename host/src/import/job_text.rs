//! The text of a job file that is being made: sections, keys, and comments that say where a line comes
//! from and what the other choice is.

use std::fmt::Write as _;

use toml::Value;

/// A job file, section by section.
#[derive(Clone, Debug, Default)]
pub(super) struct JobText {
    sections: Vec<Section>,
}

#[derive(Clone, Debug, Default)]
struct Section {
    name: &'static str,
    lines: Vec<Line>,
}

/// One line of a section.
#[derive(Clone, Debug)]
pub(super) enum Line {
    Pair { key: String, value: Value, remark: String },
    Comment(String),
}

/// A line `key = value`.
pub(super) fn pair(key: impl Into<String>, value: impl Into<Value>) -> Line {
    Line::Pair { key: key.into(), value: value.into(), remark: String::new() }
}

/// Sections in the order of the documents of job files.
const ORDER: &[&str] =
    &["", "reader", "reader.schema", "writer", "map", "channel", "dirty", "incremental", "params"];

impl JobText {
    /// Adds a line to a section.
    pub(super) fn put(&mut self, section: &'static str, line: Line) {
        match self.sections.iter_mut().find(|it| it.name == section) {
            Some(found) => found.lines.push(line),
            None => self.sections.push(Section { name: section, lines: vec![line] }),
        }
    }

    /// As [`Self::put`], in place of a line with the same key.
    pub(super) fn replace(&mut self, section: &'static str, line: Line) {
        let Line::Pair { key, .. } = &line else { return };
        if let Some(found) = self.sections.iter_mut().find(|it| it.name == section) {
            found.lines.retain(|it| !matches!(it, Line::Pair { key: other, .. } if other == key));
        }
        self.put(section, line);
    }

    pub(super) fn put_all(&mut self, section: &'static str, lines: impl IntoIterator<Item = Line>) {
        lines.into_iter().for_each(|line| self.put(section, line));
    }

    /// Adds `key = value` and behind it, as a comment, what else could stand there.
    pub(super) fn choose(
        &mut self,
        section: &'static str,
        (key, value): (&str, Value),
        remark: &str,
    ) {
        self.put(section, Line::Pair { key: key.to_owned(), value, remark: remark.to_owned() });
    }

    /// All strings of the job.
    pub(super) fn texts(&self) -> Vec<&str> {
        fn of<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
            match value {
                Value::String(text) => texts.push(text),
                Value::Array(items) => items.iter().for_each(|item| of(item, texts)),
                Value::Table(table) => table.values().for_each(|item| of(item, texts)),
                _ => {}
            }
        }
        let mut texts = Vec::new();
        for line in self.sections.iter().flat_map(|section| &section.lines) {
            if let Line::Pair { value, .. } = line {
                of(value, &mut texts);
            }
        }
        texts
    }

    /// The file's text, below `head`, whose lines become comments.
    pub(super) fn write(mut self, head: &[String]) -> String {
        let mut text = String::new();
        for line in head.iter().flat_map(|line| line.lines()) {
            let _ = writeln!(text, "{}", format!("# {}", without_controls(line)).trim_end());
        }
        self.sections.sort_by_key(|section| ORDER.iter().position(|it| *it == section.name));
        for section in &self.sections {
            if !text.is_empty() {
                text.push('\n');
            }
            if !section.name.is_empty() {
                let _ = writeln!(text, "[{}]", section.name);
            }
            section.lines.iter().for_each(|line| write_line(&mut text, line));
        }
        text
    }
}

/// Writes a line, with its remark behind it.
pub(super) fn write_line(text: &mut String, line: &Line) {
    match line {
        Line::Comment(comment) => {
            let _ = writeln!(text, "# {}", without_controls(comment));
        }
        Line::Pair { key, value, remark } => {
            let _ = write!(text, "{} = {}", quoted_key(key), written(value));
            if !remark.is_empty() {
                let _ = write!(text, "  # {}", without_controls(remark));
            }
            text.push('\n');
        }
    }
}

/// A key, in quotes unless it is bare.
fn quoted_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => basic(key),
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::String(text) => basic(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(written).collect();
            let line = format!("[{}]", items.join(", "));
            match line.len() > 100 && items.len() > 1 {
                true => format!("[\n    {},\n]", items.join(",\n    ")),
                false => line,
            }
        }
        Value::Table(table) => {
            let pair = |(key, value): (&String, &Value)| {
                format!("{} = {}", quoted_key(key), written(value))
            };
            format!("{{ {} }}", table.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A string in double quotes; in single ones where that saves escapes.
fn basic(text: &str) -> String {
    let is_plain = text.chars().all(|c| !c.is_control() && c != '\'');
    if is_plain && text.contains(['"', '\\']) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A comment must not end its line.
fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_has_its_sections_in_order() {
        let mut job = JobText::default();
        job.put("writer", pair("table", "t"));
        job.put("", pair("name", "a"));
        job.put("reader", Line::Comment("first\nsecond".to_owned()));
        job.choose("reader", ("zero_dates", "null".into()), "repair: leave it out");
        assert_eq!(
            job.write(&["From a.json".to_owned()]),
            "# From a.json\n\nname = \"a\"\n\n[reader]\n# first second\nzero_dates = \"null\"  # \
             repair: leave it out\n\n[writer]\ntable = \"t\"\n"
        );
    }

    proptest! {
        #[test]
        fn every_text_reads_back(key in "\\PC{0,8}", text in any::<String>()) {
            let mut out = String::new();
            write_line(&mut out, &pair(key.clone(), text.clone()));
            let read: toml::Table = out.parse().unwrap();
            prop_assert_eq!(read[&key].as_str(), Some(text.as_str()));
        }
    }
}
