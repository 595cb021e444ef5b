//! A TOML file as written: its keys and values in order, each with its place. Knows no key by name:
//! `section` reads it, `parameters` fills its placeholders.

use std::{io::Read, ops::Range, path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::problem::{Location, Problem, Problems};

/// Longest file, in bytes, so that data given in place of a job does not fill the memory.
const MAX_BYTES: u64 = 1 << 20;
/// More syntax errors than this mean that the file is something else.
const MAX_SYNTAX_ERRORS: usize = 12;

/// A parsed file. It has no `Debug`, because values may be secrets.
pub(super) struct Document {
    pub(super) source: Source,
    pub(super) root: Table,
}

/// A file's text and the offsets of its lines.
pub(super) struct Source {
    pub(super) file: Arc<Path>,
    pub(super) text: String,
    lines: Vec<usize>,
    /// Where the lines are from, if it is no file.
    places: Vec<Location>,
}

/// The text of a job that is in no file: a command line says the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobText {
    /// TOML.
    pub(crate) text: String,
    /// The argument that each line is from. Lines without one have places in the text.
    pub(crate) places: Vec<Location>,
}

/// Entries in the order of the file.
#[derive(Clone, Default)]
pub(super) struct Table(pub(super) Vec<Entry>);

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The dotted path from the top of the file.
    pub(super) path: String,
    /// The key's place.
    pub(super) place: Location,
    pub(super) node: Node,
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Location,
    /// Its bytes in the file.
    pub(super) span: Range<usize>,
    /// What a text was filled from; empty if it has no parameters.
    pub(super) pieces: Vec<Filled>,
}

/// A part of a text that has parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filled {
    /// As written in the file.
    Text(String),
    /// `${name}`, or `${name!raw}`.
    Parameter {
        /// The parameter's name.
        name: String,
        /// Its value.
        value: String,
        /// Whether it may become a part of SQL as it is.
        raw: bool,
    },
}

impl Filled {
    /// The name of a parameter that is taken as it is.
    pub(super) fn raw(&self) -> Option<&str> {
        match self {
            Self::Parameter { name, raw: true, .. } => Some(name),
            _ => None,
        }
    }
}

/// A value by its TOML type.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date,
    List(Vec<Node>),
    Table {
        table: Table,
        /// Written in braces, not under a header.
        inline: bool,
    },
    /// A problem has been reported for it, so reading it reports no further one.
    Broken,
}

impl Document {
    /// Parses the text.
    ///
    /// # Errors
    /// Up to [`MAX_SYNTAX_ERRORS`] syntax errors together.
    pub(super) fn parse(path: &Path, text: String) -> Result<Self, Problems> {
        Self::from_source(Source::new(path, text))
    }

    fn from_source(source: Source) -> Result<Self, Problems> {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        let mut problems = Problems::default();
        for error in errors.into_iter().take(MAX_SYNTAX_ERRORS) {
            problems.add(syntax_problem(&source, &error));
        }
        let root = convert_table(root.into_inner(), "", &source, &mut problems);
        if problems.is_empty() {
            return Ok(Self { source, root });
        }
        Err(problems.sorted(&source.file))
    }

    /// Parses a text that is in no file; `path` is where it would be.
    pub(super) fn of(path: &Path, text: &JobText) -> Result<Self, Problems> {
        let mut source = Source::new(path, text.text.clone());
        source.places.clone_from(&text.places);
        Self::from_source(source)
    }

    /// Reads and parses a file.
    pub(super) fn open(path: &Path) -> Result<Self, Problems> {
        let refuse =
            |message: String| Problems::from(Problem::new(&Location::whole(path), "", message));
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| refuse(format!("cannot read the file: {error}")))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(refuse("the file is longer than 1 MiB: is it a job file?".to_owned()));
        }
        Self::parse(path, text)
    }
}

impl Source {
    /// The text and its line offsets.
    fn new(path: &Path, text: String) -> Self {
        let ends = text.match_indices('\n').map(|(index, _)| index + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { file: Arc::from(path), text, lines, places: Vec::new() }
    }

    /// The line and column of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Location {
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= offset);
        if let Some(place) = self.places.get(line - 1) {
            return place.clone();
        }
        let start = self.lines[line - 1];
        let column = self.text.get(start..offset).map_or(0, |text| text.chars().count()) + 1;
        Location { file: self.file.clone(), line: line as u32, column: column as u32 }
    }
}

/// Does not quote the file, because the line may hold a password.
fn syntax_problem(source: &Source, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let place = source.place(span.start);
    let problem = Problem::new(&place, "", format!("not valid TOML: {}", error.message()));
    match error.message() {
        "duplicate key" => problem.hint("each key and each section may occur once"),
        _ => problem,
    }
}

impl Table {
    /// The entry of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }
}

impl Entry {
    /// The value, if it is a table.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.node.value {
            Value::Table { table, .. } => Some(table),
            _ => None,
        }
    }
}

impl Node {
    /// Whether this value, or one inside it, has been reported.
    pub(super) fn is_broken(&self) -> bool {
        match &self.value {
            Value::Broken => true,
            Value::List(items) => items.iter().any(Self::is_broken),
            Value::Table { table, .. } => table.0.iter().any(|entry| entry.node.is_broken()),
            _ => false,
        }
    }

    /// A value that is neither a list nor a table; `None` for those, for dates, which JSON does not
    /// have, and for broken values.
    pub(super) fn to_json(&self) -> Option<serde_json::Value> {
        Some(match &self.value {
            Value::Text(text) => text.as_str().into(),
            Value::Integer(integer) => (*integer).into(),
            Value::Float(float) => (*float).into(),
            Value::Boolean(flag) => (*flag).into(),
            Value::Date | Value::List(_) | Value::Table { .. } | Value::Broken => return None,
        })
    }

    /// A descriptor's default, as if it were written at `place`.
    pub(super) fn from_json(json: &serde_json::Value, place: &Location) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::String(text) => Value::Text(text.clone()),
            Json::Bool(flag) => Value::Boolean(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Value::Integer(integer),
                (None, Some(float)) => Value::Float(float),
                (None, None) => Value::Broken,
            },
            Json::Array(items) => {
                Value::List(items.iter().map(|item| Self::from_json(item, place)).collect())
            }
            Json::Object(map) => {
                let entries = map.iter().map(|(key, value)| Entry {
                    key: key.clone(),
                    path: key.clone(),
                    place: place.clone(),
                    node: Self::from_json(value, place),
                });
                Value::Table { table: Table(entries.collect()), inline: true }
            }
            Json::Null => Value::Broken,
        };
        Self { value, place: place.clone(), span: 0..0, pieces: Vec::new() }
    }
}

impl Value {
    /// The type of the value, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a floating point number",
            Self::Boolean(_) => "a boolean",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table { .. } => "a table",
            Self::Broken => "a broken value",
        }
    }
}

/// Copies a table of the parser, with its keys in the order of the file.
fn convert_table(
    table: DeTable<'_>,
    path: &str,
    source: &Source,
    problems: &mut Problems,
) -> Table {
    let mut entries: Vec<(usize, Entry)> = Vec::new();
    for (key, value) in table {
        let start = key.span().start;
        let key = key.into_inner().into_owned();
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let node = convert_node(value, &path, source, problems);
        entries.push((start, Entry { key, path, place: source.place(start), node }));
    }
    // The parser's map is sorted by key; columns must keep the order of the file.
    entries.sort_by_key(|(start, _)| *start);
    Table(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Copies a value of the parser. Numbers out of range are reported here.
fn convert_node(
    value: toml::Spanned<DeValue<'_>>,
    path: &str,
    source: &Source,
    problems: &mut Problems,
) -> Node {
    let span = value.span();
    let place = source.place(span.start);
    let mut out_of_range = |what: &str| {
        problems.add(Problem::new(&place, path, format!("{what} is out of range")));
        Value::Broken
    };
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(integer) => Value::Integer(integer),
            Err(_) => out_of_range("the integer"),
        },
        DeValue::Float(digits) => match digits.as_str().parse::<f64>() {
            Ok(float) if float.is_finite() => Value::Float(float),
            _ => out_of_range("the floating point number"),
        },
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(
            items.into_iter().map(|item| convert_node(item, path, source, problems)).collect(),
        ),
        DeValue::Table(table) => Value::Table {
            table: convert_table(table, path, source, problems),
            inline: source.text.as_bytes().get(span.start) == Some(&b'{'),
        },
    };
    Node { value, place, span, pieces: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, Problems> {
        Document::parse(Path::new("job.toml"), text.to_owned())
    }

    #[test]
    fn keeps_order_and_places() {
        let document = parse("b = 1\n[t]\nz = \"é\" # x\na = { x = 1 }\n").unwrap();
        let keys: Vec<&str> = document.root.0.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["b", "t"]);
        let table = document.root.get("t").unwrap().table().unwrap();
        let keys: Vec<&str> = table.0.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["z", "a"]);
        let entry = table.get("a").unwrap();
        assert_eq!((entry.place.line, entry.place.column), (4, 1));
        assert_eq!((entry.node.place.line, entry.node.place.column), (4, 5));
        assert!(matches!(entry.node.value, Value::Table { inline: true, .. }));
        let header = &document.root.get("t").unwrap().node;
        assert!(matches!(header.value, Value::Table { inline: false, .. }));
    }

    #[test]
    fn columns_count_characters() {
        let document = parse("t = { a = \"äöü\", b = 5 }\n").unwrap();
        let table = document.root.get("t").unwrap().table().unwrap();
        assert_eq!(table.get("b").unwrap().place.column, 18);
    }

    #[test]
    fn every_syntax_error_is_told_without_quoting_the_file() {
        let text = "password = \"hunter2\nname = \nkey = 1\nkey = 2\n";
        let problems = parse(text).err().unwrap();
        let shown = problems.to_string();
        assert!(problems.iter().count() >= 2, "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("job.toml:1:"), "{shown}");
        assert!(shown.contains("duplicate key"), "{shown}");
        assert_eq!(parse(&"a b c\n".repeat(100)).err().unwrap().iter().count(), MAX_SYNTAX_ERRORS);
    }

    #[test]
    fn data_in_place_of_a_job_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, "a,b\n".repeat(1 << 18) + "a").unwrap();
        let problems = Document::open(&path).err().unwrap().to_string();
        assert!(
            problems.ends_with("the file is longer than 1 MiB: is it a job file?"),
            "{problems}"
        );
    }
}
