//! Decodes JSON text into batches, whole records only: a line of JSON lines, an object of an array.
//! Values are passed to the column builders as the text in the file.

use arrow_array::{RecordBatch, RecordBatchOptions};
use transload_plugin_api::{
    Column, DirtyRow, Error, LogicalType, Result, RowError, code, schema_of,
};
use transload_values::{CellWords, ColumnParser, ValueError, parse};

use super::{
    JsonShape,
    keys::{Found, Keys},
    scan::{Halt, Kind, Scan, Scanner, Token, unescape},
};
use crate::{
    BATCH_BYTES, BATCH_ROWS, Decoded, Decoder, MAX_RECORD, guess, row_numbers::RowNumbers,
};

/// What happens to a key that is not in the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownKeys {
    /// Its row is dirty.
    #[default]
    Dirty,
    /// The key is skipped and counted in [`JsonDecoder::unknown_keys`].
    Ignore,
}

/// The decoder's position in an array; for lines it is always `Record`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before `[`.
    Start,
    /// After `[`: a record or `]`.
    First,
    /// A record, and nothing else.
    Record,
    /// After a record: `,` or `]`.
    After,
    /// After `]`.
    End,
}

/// A problem found in a row.
struct Fault {
    column: Option<usize>,
    value: Option<String>,
    code: &'static str,
    reason: String,
}

/// Reads JSON lines or one JSON array of objects.
///
/// A missing key and `null` are NULL. Strings are unescaped, all other values are parsed from their
/// own text; objects and arrays are kept byte for byte if a column has type text or json. An
/// invalid line, a duplicate key or a value that does not fit makes a dirty row. In an array,
/// invalid syntax is an error, because the start of the next record cannot be determined.
pub struct JsonDecoder {
    shape: JsonShape,
    unknown: UnknownKeys,
    columns: Vec<Column>,
    json: Vec<bool>,
    builders: Vec<ColumnParser>,
    keys: Keys,
    stage: Stage,
    /// At the start of the input, where a byte order mark may be.
    fresh: bool,
    /// The line of the next byte, from 1.
    line: u64,
    rows: usize,
    taken: usize,
    lines: RowNumbers,
    max_record: usize,
    dirty: Vec<DirtyRow>,
    /// The problems of the current row.
    faults: Vec<Fault>,
    /// Its text has no form that a JSON object of its values could have.
    broken: bool,
    scratch: Vec<u8>,
}

impl JsonDecoder {
    /// A decoder for these columns. `known` names further keys of the schema that are not wanted.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Unsupported`] for a type that is not parsed from text.
    pub fn new<'a>(
        shape: JsonShape,
        columns: &[Column],
        words: &CellWords,
        known: impl IntoIterator<Item = &'a str>,
        unknown: UnknownKeys,
    ) -> Result<Self> {
        let words = with_literals(words);
        let builders = columns.iter().map(|column| ColumnParser::new(column, &words));
        Ok(Self {
            shape,
            unknown,
            columns: columns.to_vec(),
            json: columns.iter().map(|column| column.logical == LogicalType::Json).collect(),
            builders: builders.collect::<Result<_>>()?,
            keys: Keys::new(columns, known),
            stage: if shape == JsonShape::Lines { Stage::Record } else { Stage::Start },
            fresh: true,
            line: 1,
            rows: 0,
            taken: 0,
            lines: RowNumbers::default(),
            max_record: MAX_RECORD,
            dirty: Vec::new(),
            faults: Vec::new(),
            broken: false,
            scratch: Vec::new(),
        })
    }

    /// With another limit for the bytes of a record.
    #[must_use]
    pub fn max_record(self, max_record: usize) -> Self {
        Self { max_record, ..self }
    }

    /// Divides the objects behind a key `outer` whose keys have columns `outer.inner`.
    #[must_use]
    pub fn flatten(mut self) -> Self {
        self.keys.flatten();
        self
    }

    /// For input that begins after a record, on this line, instead of at the start of its file.
    #[must_use]
    pub fn after_a_record(mut self, line: u64) -> Self {
        self.fresh = false;
        self.line = line;
        if self.shape == JsonShape::Array {
            self.stage = Stage::After;
        }
        self
    }

    /// The line of the next byte, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The keys that are not in the schema, each with the number of rows that had it.
    pub fn unknown_keys(&self) -> Vec<(String, u64)> {
        self.keys.unknown().collect()
    }

    fn decode_lines(&mut self, input: &[u8], last: bool) -> Result<usize> {
        let mut at = 0;
        while !self.is_full() && at < input.len() {
            let rest = &input[at..];
            let (line, taken) = match memchr::memchr(b'\n', rest) {
                Some(end) => (&rest[..end], end + 1),
                None if last => (rest, rest.len()),
                None => {
                    self.check_length(rest.len())?;
                    break;
                }
            };
            self.check_length(line.len())?;
            self.take_line(line);
            self.line += 1;
            self.taken += taken;
            at += taken;
        }
        Ok(at)
    }

    fn take_line(&mut self, line: &[u8]) {
        let mut scan = Scanner::new(line);
        if scan.peek().is_none() {
            return;
        }
        let taken = self.take_row(&mut scan).and_then(|()| match scan.peek() {
            None => Ok(()),
            Some(_) => Err(Halt::Wrong { at: scan.pos(), expected: "the end of the line" }),
        });
        if let Err(halt) = taken {
            let (at, expected) = match halt {
                Halt::Wrong { at, expected } => (at, expected),
                Halt::Short => (line.len(), "the rest of the object"),
            };
            let found = excerpt(&line[at.min(line.len())..], 20);
            let found = if found.is_empty() { "the end of the line".into() } else { found };
            self.broken = true;
            self.faults = vec![Fault {
                column: None,
                value: Some(excerpt(line, 256)),
                code: "parse",
                reason: format!("byte {}: expected {expected}, found `{found}`", at + 1),
            }];
        }
        self.end_row(line);
    }

    fn decode_array(&mut self, input: &[u8], last: bool) -> Result<usize> {
        let mut at = 0;
        while !self.is_full() {
            at += self.skip_space(&input[at..]);
            let Some(&byte) = input.get(at) else { break };
            let mark = match (self.stage, byte) {
                (Stage::Start, b'[') => Stage::First,
                (Stage::First | Stage::After, b']') => Stage::End,
                (Stage::After, b',') => Stage::Record,
                (Stage::First | Stage::Record, b'{') => {
                    let Some(taken) = self.take_record(&input[at..], last)? else { break };
                    at += taken;
                    self.stage = Stage::After;
                    continue;
                }
                _ => return Err(self.broken(&input[at..])),
            };
            self.stage = mark;
            at += 1;
        }
        if last && at == input.len() && self.stage != Stage::End && !self.is_full() {
            return Err(self.broken(b""));
        }
        Ok(at)
    }

    /// Takes white space and counts its lines.
    fn skip_space(&mut self, input: &[u8]) -> usize {
        let end = input.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
        let space = &input[..end.unwrap_or(input.len())];
        self.count_lines(space);
        space.len()
    }

    fn count_lines(&mut self, taken: &[u8]) {
        self.line += memchr::memchr_iter(b'\n', taken).count() as u64;
    }

    /// Takes one object of an array, or nothing if it is incomplete.
    fn take_record(&mut self, input: &[u8], last: bool) -> Result<Option<usize>> {
        let mut scan = Scanner::new(input);
        match self.take_row(&mut scan) {
            Ok(()) => {
                let taken = scan.pos();
                self.end_row(&input[..taken]);
                self.check_length(taken)?;
                self.count_lines(&input[..taken]);
                self.taken += taken;
                Ok(Some(taken))
            }
            Err(Halt::Short) if !last => {
                self.forget_row();
                self.check_length(input.len())?;
                Ok(None)
            }
            Err(Halt::Short) => Err(self.broken(b"")),
            Err(Halt::Wrong { at, expected }) => {
                self.count_lines(&input[..at]);
                Err(self.syntax(expected, &input[at..]))
            }
        }
    }

    fn broken(&self, found: &[u8]) -> Error {
        let expected = match self.stage {
            Stage::Start => "`[` at the start of a JSON array",
            Stage::First => "`{` or `]`",
            Stage::Record => "`{`",
            Stage::After => "`,` or `]` after an object",
            Stage::End => "nothing after the end of the array",
        };
        let error = self.syntax(expected, found);
        match self.stage {
            Stage::Start => error.hint("for one object per line, use `format = \"jsonl\"`"),
            _ => error,
        }
    }

    fn syntax(&self, expected: &str, found: &[u8]) -> Error {
        let found = excerpt(found, 20);
        let found =
            if found.is_empty() { "the end of the file".to_owned() } else { format!("`{found}`") };
        Error::data(format!("expected {expected}, found {found}"))
            .with_code(code::JSON_SYNTAX)
            .at(format!("line {}", self.line))
    }

    fn check_length(&self, bytes: usize) -> Result<()> {
        if bytes <= self.max_record {
            return Ok(());
        }
        let message = format!("a record is longer than {} bytes", self.max_record);
        Err(Error::data(message)
            .with_code(code::JSON_LENGTH)
            .at(format!("line {}", self.line))
            .hint(
                "look for a missing line break or an unclosed quote there, or raise `max_record`",
            ))
    }

    /// Takes one object and appends its values. Problems with values or keys go to `fault`; the
    /// scan continues to the object's end.
    fn take_row(&mut self, scan: &mut Scanner<'_>) -> Scan<()> {
        self.keys.start_row();
        self.faults.clear();
        self.broken = false;
        self.take_object(0, scan, 1)?;
        self.fill_missing();
        Ok(())
    }

    /// Takes an object of the row; `depth` counts the braces around its values.
    fn take_object(&mut self, level: usize, scan: &mut Scanner<'_>, depth: usize) -> Scan<()> {
        self.keys.start_object(level);
        scan.expect(b'{', "an object")?;
        if scan.take(b'}') {
            return Ok(());
        }
        loop {
            match self.keys.take(level, scan)? {
                Found::Inner(inner) if scan.peek() == Some(b'{') => {
                    self.take_object(inner, scan, depth + 1)?;
                }
                found => {
                    let value = scan.value(depth)?;
                    self.take_value(level, found, value);
                }
            }
            if !scan.take(b',') {
                return scan.expect(b'}', "`,` or `}`");
            }
        }
    }

    #[inline]
    fn take_value(&mut self, level: usize, found: Found, value: Token<'_>) {
        let column = match found {
            Found::Column(column) => column,
            Found::Unwanted => return,
            Found::Inner(_) if value.kind == Kind::Null => return,
            Found::Inner(_) => return self.refuse_plain(value),
            Found::Unknown if self.unknown == UnknownKeys::Ignore => return,
            Found::Unknown => return self.refuse_unknown(level),
            Found::Duplicate => {
                self.broken = true;
                return self.refuse("duplicate", "the same key twice");
            }
            Found::Wrong => {
                self.broken = true;
                return self.refuse("parse", "a key that is not UTF-8, or has an invalid escape");
            }
        };
        if let Err(error) = self.append(column, value) {
            self.blame(column, value, error);
        }
    }

    #[inline]
    fn append(&mut self, column: usize, value: Token<'_>) -> Result<(), ValueError> {
        let builder = &mut self.builders[column];
        match value.kind {
            Kind::Null => builder.append_null(),
            Kind::Text { .. } if self.json[column] => builder.append_text(value.raw),
            Kind::Text { escaped: false } => builder.append_text(value.inner()),
            Kind::Text { escaped: true } => {
                self.scratch.clear();
                unescape(value.inner(), &mut self.scratch)
                    .map_err(|reason| ValueError { code: "parse", reason: reason.to_owned() })?;
                builder.append_text(&self.scratch)
            }
            Kind::Nested if !self.json[column] => {
                // The scan does not look at escapes; what a column of type json gets is checked
                // by its builder.
                if memchr::memchr(b'\\', value.raw).is_some() {
                    parse::json(value.raw).map_err(|_| ValueError {
                        code: "parse",
                        reason: "expected JSON, found an invalid escape in it".to_owned(),
                    })?;
                }
                builder.append_text(value.raw)
            }
            Kind::Boolean | Kind::Number | Kind::Nested => builder.append_text(value.raw),
        }
    }

    fn fill_missing(&mut self) {
        for column in 0..self.builders.len() {
            if !self.keys.has(column)
                && let Err(error) = self.builders[column].append_null()
            {
                self.blame(column, Token { kind: Kind::Null, raw: b"" }, error);
            }
        }
    }

    #[cold]
    fn blame(&mut self, column: usize, value: Token<'_>, error: ValueError) {
        let value = (value.kind != Kind::Null).then(|| excerpt(value.raw, 256));
        let ValueError { code, reason } = error;
        self.faults.push(Fault { column: Some(column), value, code, reason });
    }

    #[cold]
    fn refuse(&mut self, code: &'static str, reason: &str) {
        self.faults.push(Fault { column: None, value: None, code, reason: reason.to_owned() });
    }

    #[cold]
    fn refuse_plain(&mut self, value: Token<'_>) {
        let reason = format!("expected an object, found `{}`", excerpt(value.raw, 20));
        self.refuse("parse", &reason);
    }

    #[cold]
    fn refuse_unknown(&mut self, level: usize) {
        let key = self.keys.current(level);
        let reason = format!(
            "the key `{key}` is not in the schema: name it in [reader.schema], or set \
             `unknown_keys = \"ignore\"` to leave it out"
        );
        self.refuse("unknown", &reason);
    }

    /// Keeps the row with this text, or makes it a dirty one.
    #[inline]
    fn end_row(&mut self, text: &[u8]) {
        if self.faults.is_empty() {
            self.lines.push(self.rows, self.line);
            self.rows += 1;
        } else {
            self.forget_row();
            self.note_dirty(text);
        }
    }

    #[cold]
    fn forget_row(&mut self) {
        for builder in &mut self.builders {
            builder.truncate_to(self.rows);
        }
    }

    #[cold]
    fn note_dirty(&mut self, text: &[u8]) {
        let columns = &self.columns;
        let mut errors = self.faults.drain(..).map(|Fault { column, value, code, mut reason }| {
            let column = column.map(|column| columns[column].name.clone());
            if let Some(hint) = Some(text).filter(|_| code == "utf8").and_then(guess::hint) {
                reason = format!("{reason}; {hint}");
            }
            RowError { column, value, ..RowError::new(code, reason) }
        });
        let Some(first) = errors.next() else { return };
        let dirty = errors.fold(DirtyRow::from(first), DirtyRow::error);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let dirty = dirty.place(format!("line {}", self.line)).number(self.line).text(text);
        // The object is the row's values already, if it can be part of a line of JSON.
        let is_values = !self.broken && memchr::memchr2(b'\n', b'\r', text).is_none();
        let values = std::str::from_utf8(text).ok().filter(|_| is_values);
        self.dirty.push(DirtyRow { values: values.map(|it| it.trim().to_owned()), ..dirty });
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, input: &[u8], last: bool) -> Result<usize> {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        let mut skipped = 0;
        if self.fresh {
            if !last && input.len() < MARK.len() {
                return Ok(0);
            }
            self.fresh = false;
            skipped = if input.starts_with(MARK) { MARK.len() } else { 0 };
        }
        let input = &input[skipped..];
        let taken = match self.shape {
            JsonShape::Lines => self.decode_lines(input, last)?,
            JsonShape::Array => self.decode_array(input, last)?,
        };
        Ok(skipped + taken)
    }

    fn is_full(&self) -> bool {
        self.rows + self.dirty.len() >= BATCH_ROWS || self.taken >= BATCH_BYTES
    }

    fn flush(&mut self) -> Result<Option<Decoded>> {
        self.taken = 0;
        if self.rows == 0 && self.dirty.is_empty() {
            return Ok(None);
        }
        let arrays = self.builders.iter_mut().map(ColumnParser::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(schema_of(&self.columns), arrays, &options)
            .map_err(|error| Error::defect("columns").caused_by(&error))?;
        self.rows = 0;
        let dirty = std::mem::take(&mut self.dirty);
        let (first_line, gaps, exact) = self.lines.take(self.line);
        Ok(Some(Decoded { batch, dirty, first_line, gaps, exact }))
    }
}

/// JSON's own `true` and `false` are booleans, whatever words the job sets for booleans in text.
fn with_literals(words: &CellWords) -> CellWords {
    let mut words = words.clone().with_usual_numbers();
    for (list, literal) in [(&mut words.yes, "true"), (&mut words.no, "false")] {
        if !list.iter().any(|word| word.eq_ignore_ascii_case(literal)) {
            list.push(literal.to_owned());
        }
    }
    words
}

/// The first bytes of some text, for messages.
fn excerpt(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    if bytes.len() > most { format!("{text}...") } else { text.into_owned() }
}

#[cfg(test)]
mod tests;
