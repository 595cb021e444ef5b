//! JSON text to batches. Whole records only: a line of JSON lines, an object of an array.
//! Values are handed to the column builders as the text that stands in the file.

use arrow_array::{RecordBatch, RecordBatchOptions};
use transload_plugin_api::{Column, DirtyRow, Error, ErrorKind, LogicalType, Result, schema_of};

use super::{
    JsonShape, RECORD_LIMIT,
    keys::{Found, Keys},
    scan::{Halt, Kind, Scan, Scanner, Token, unescape},
};
use crate::{BATCH_BYTES, BATCH_ROWS, CellError, CellWords, ColumnBuilder, Decoded, Decoder};

/// What happens to a key that the schema does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownKeys {
    /// It is left out, and counted in [`JsonDecoder::unknown_keys`].
    #[default]
    Ignore,
    /// Its row is dirty.
    Dirty,
}

/// Where the decoder stands in an array; for lines it is always at `Record`.
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

/// The first thing that was wrong with a row.
struct Fault {
    column: Option<usize>,
    value: Option<String>,
    code: &'static str,
    reason: String,
}

/// Reads JSON lines or one JSON array of objects.
///
/// A missing key and `null` are NULL. Strings are unescaped, everything else is parsed from its
/// own text; objects and arrays are kept byte for byte where a column wants text or json.
/// A wrong line, a duplicate key or a value that does not fit makes a dirty row. In an array,
/// broken syntax is an error, because nobody can tell where the next record begins.
pub struct JsonDecoder {
    shape: JsonShape,
    unknown: UnknownKeys,
    columns: Vec<Column>,
    json: Vec<bool>,
    builders: Vec<ColumnBuilder>,
    keys: Keys,
    stage: Stage,
    /// At the very start of the input a byte order mark may stand.
    fresh: bool,
    /// The line of the next byte, from 1.
    line: u64,
    rows: usize,
    taken: usize,
    first_line: u64,
    exact: bool,
    dirty: Vec<DirtyRow>,
    fault: Option<Fault>,
    scratch: Vec<u8>,
}

impl JsonDecoder {
    /// A decoder for these columns. `known` names further keys of the schema that nobody wants.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a type that is not parsed from text.
    pub fn new<'a>(
        shape: JsonShape,
        columns: &[Column],
        words: &CellWords,
        known: impl IntoIterator<Item = &'a str>,
        unknown: UnknownKeys,
    ) -> Result<Self> {
        let words = with_literals(words);
        let builders = columns.iter().map(|column| ColumnBuilder::new(column, &words));
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
            first_line: 1,
            exact: true,
            dirty: Vec::new(),
            fault: None,
            scratch: Vec::new(),
        })
    }

    /// For input that begins behind a record, on this line, instead of at the start of its file.
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

    /// The keys that the schema does not have, with the number of rows they were in.
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
            self.fault = Some(Fault {
                column: None,
                value: Some(excerpt(line, 256)),
                code: "parse",
                reason: format!("byte {}: expected {expected}, found `{found}`", at + 1),
            });
        }
        self.end_row();
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

    /// Takes one object of an array, or nothing if it is not all there.
    fn take_record(&mut self, input: &[u8], last: bool) -> Result<Option<usize>> {
        let mut scan = Scanner::new(input);
        match self.take_row(&mut scan) {
            Ok(()) => {
                self.end_row();
                let taken = scan.pos();
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
            Stage::Start => error.hint("for one object a line use `format = \"jsonl\"`"),
            _ => error,
        }
    }

    fn syntax(&self, expected: &str, found: &[u8]) -> Error {
        let found = excerpt(found, 20);
        let found =
            if found.is_empty() { "the end of the file".to_owned() } else { format!("`{found}`") };
        Error::new(ErrorKind::Data, format!("expected {expected}, found {found}"))
            .with_code("JSON-SYNTAX")
            .at(format!("line {}", self.line))
    }

    fn check_length(&self, bytes: usize) -> Result<()> {
        if bytes <= RECORD_LIMIT {
            return Ok(());
        }
        let message = format!("a record is longer than {} MiB", RECORD_LIMIT >> 20);
        Err(Error::new(ErrorKind::Data, message)
            .with_code("JSON-LENGTH")
            .at(format!("line {}", self.line))
            .hint("look for a missing line break or an unclosed quote there"))
    }

    /// Takes one object and appends its values. What is wrong with values or keys goes to
    /// `fault`; the scan goes on to the object's end.
    fn take_row(&mut self, scan: &mut Scanner<'_>) -> Scan<()> {
        self.keys.start_row();
        self.fault = None;
        scan.expect(b'{', "an object")?;
        if !scan.take(b'}') {
            loop {
                let found = self.keys.take(scan)?;
                let value = scan.value(1)?;
                self.take_value(found, value);
                if !scan.take(b',') {
                    scan.expect(b'}', "`,` or `}`")?;
                    break;
                }
            }
        }
        self.fill_missing();
        Ok(())
    }

    #[inline]
    fn take_value(&mut self, found: Found, value: Token<'_>) {
        if self.fault.is_some() {
            return;
        }
        let column = match found {
            Found::Column(column) => column,
            Found::Unwanted => return,
            Found::Unknown if self.unknown == UnknownKeys::Ignore => return,
            Found::Unknown => return self.refuse("unknown", "a key that the schema does not have"),
            Found::Duplicate => return self.refuse("duplicate", "the same key twice"),
        };
        if let Err(error) = self.append(column, value) {
            self.blame(column, value, error);
        }
    }

    #[inline]
    fn append(&mut self, column: usize, value: Token<'_>) -> Result<(), CellError> {
        let builder = &mut self.builders[column];
        match value.kind {
            Kind::Null => builder.append_null(),
            Kind::Text { .. } if self.json[column] => builder.append_text(value.raw),
            Kind::Text { escaped: false } => builder.append_text(value.inner()),
            Kind::Text { escaped: true } => {
                self.scratch.clear();
                unescape(value.inner(), &mut self.scratch)
                    .map_err(|reason| CellError { code: "parse", reason: reason.to_owned() })?;
                builder.append_text(&self.scratch)
            }
            Kind::Boolean | Kind::Number | Kind::Nested => builder.append_text(value.raw),
        }
    }

    fn fill_missing(&mut self) {
        for column in 0..self.builders.len() {
            if self.fault.is_none()
                && !self.keys.has(column)
                && let Err(error) = self.builders[column].append_null()
            {
                self.blame(column, Token { kind: Kind::Null, raw: b"" }, error);
            }
        }
    }

    #[cold]
    fn blame(&mut self, column: usize, value: Token<'_>, error: CellError) {
        let value = (value.kind != Kind::Null).then(|| excerpt(value.raw, 256));
        let CellError { code, reason } = error;
        self.fault = Some(Fault { column: Some(column), value, code, reason });
    }

    #[cold]
    fn refuse(&mut self, code: &'static str, reason: &str) {
        self.fault = Some(Fault { column: None, value: None, code, reason: reason.to_owned() });
    }

    /// Keeps the row, or makes it a dirty one.
    #[inline]
    fn end_row(&mut self) {
        match self.fault.take() {
            None => {
                if self.rows == 0 {
                    self.first_line = self.line;
                }
                self.exact &= self.line == self.first_line + self.rows as u64;
                self.rows += 1;
            }
            Some(fault) => {
                self.forget_row();
                self.note_dirty(fault);
            }
        }
    }

    #[cold]
    fn forget_row(&mut self) {
        for builder in &mut self.builders {
            builder.truncate_to(self.rows);
        }
    }

    #[cold]
    fn note_dirty(&mut self, fault: Fault) {
        let Fault { column, value, code, reason } = fault;
        self.dirty.push(DirtyRow {
            row: 0,
            place: Some(format!("line {}", self.line)),
            column: column.map(|column| self.columns[column].name.clone()),
            value,
            code: code.to_owned(),
            reason,
        });
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
        let arrays = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(schema_of(&self.columns), arrays, &options)
            .map_err(|error| Error::new(ErrorKind::Defect, "columns").caused_by(&error))?;
        let decoded = Decoded {
            batch,
            dirty: std::mem::take(&mut self.dirty),
            first_line: self.first_line,
            exact: self.exact,
        };
        self.rows = 0;
        self.exact = true;
        Ok(Some(decoded))
    }
}

/// JSON's own `true` and `false` are booleans, whatever the job's words for texts are.
fn with_literals(words: &CellWords) -> CellWords {
    let mut words = words.clone();
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
mod tests {
    use arrow_array::{Array, cast::AsArray, types::*};
    use proptest::prelude::*;

    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column::new("id", LogicalType::Int64, false),
            Column::new("name", LogicalType::TEXT, true),
            Column::new("doc", LogicalType::Json, true),
        ]
    }

    fn decoder(shape: JsonShape, columns: &[Column], unknown: UnknownKeys) -> JsonDecoder {
        JsonDecoder::new(shape, columns, &CellWords::default(), ["extra"], unknown).unwrap()
    }

    /// Decodes in blocks of `step` bytes; every row as the texts of its cells.
    fn rows_of(
        decoder: &mut JsonDecoder,
        input: &[u8],
        step: usize,
    ) -> Result<(Vec<Vec<String>>, Vec<DirtyRow>)> {
        let (mut rows, mut dirty) = (Vec::new(), Vec::new());
        let (mut start, mut end) = (0, 0);
        loop {
            end = input.len().min(end + step);
            let last = end == input.len();
            start += decoder.decode(&input[start..end], last)?;
            if let Some(decoded) = decoder.flush()? {
                rows.extend((0..decoded.batch.num_rows()).map(|row| texts(&decoded.batch, row)));
                dirty.extend(decoded.dirty);
            }
            if last {
                assert_eq!(start, end);
                return Ok((rows, dirty));
            }
        }
    }

    fn texts(batch: &RecordBatch, row: usize) -> Vec<String> {
        let text = |array: &dyn Array| match array.data_type() {
            _ if array.is_null(row) => "NULL".to_owned(),
            arrow_schema::DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
            _ => array.as_primitive::<Int64Type>().value(row).to_string(),
        };
        batch.columns().iter().map(|array| text(array)).collect()
    }

    fn lines(input: &str) -> (Vec<Vec<String>>, Vec<DirtyRow>) {
        let mut decoder = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
        rows_of(&mut decoder, input.as_bytes(), 1 << 20).unwrap()
    }

    fn faults(dirty: &[DirtyRow]) -> Vec<(&str, &str, &str)> {
        let text = |text: &'_ Option<String>| text.clone().unwrap_or_default().leak() as &str;
        dirty.iter().map(|d| (text(&d.place), text(&d.column), d.code.as_str())).collect()
    }

    #[test]
    fn keys_in_any_order_missing_or_null() {
        let (rows, dirty) = lines(concat!(
            "\u{feff}{\"id\":1,\"name\":\"a\",\"doc\":{\"x\": [1]}}\r\n",
            "\n",
            " { \"name\" : null , \"extra\" : [{}] , \"id\" : 2 }\n",
            "{\"doc\":null,\"new\":1,\"id\":-3,\"name\":\"\"}",
        ));
        assert_eq!(rows, [["1", "a", "{\"x\": [1]}"], ["2", "NULL", "NULL"], ["-3", "", "NULL"]]);
        assert_eq!(dirty, []);
    }

    #[test]
    fn t34_nested_values_and_numbers_keep_their_bytes() {
        let (rows, dirty) = lines(concat!(
            "{\"id\":1,\"name\":12345678901234567890.10,\"doc\":{\"b\":1.10,\"a\":1e400,\"a\":2}}\n",
            "{\"id\":2,\"name\":[1, 2],\"doc\":\"t\\u0041\"}\n",
            "{\"id\":3,\"name\":true,\"doc\":1.10}\n",
        ));
        assert_eq!(dirty, []);
        assert_eq!(
            rows,
            [
                ["1", "12345678901234567890.10", "{\"b\":1.10,\"a\":1e400,\"a\":2}"],
                ["2", "[1, 2]", "\"t\\u0041\""],
                ["3", "true", "1.10"],
            ]
        );
    }

    #[test]
    fn escapes_are_resolved() {
        let (rows, _) = lines("{\"id\":1,\"n\\u0061me\":\"\\ud83d\\ude00\\u0000\\n\\\"\\/\"}\n");
        assert_eq!(rows, [["1", "😀\0\n\"/", "NULL"]]);
    }

    #[test]
    fn wrong_lines_are_dirty_and_the_next_one_is_read() {
        let (rows, dirty) = lines(concat!(
            "{\"id\":1}\n",
            "{\"id\":2\n",
            "{\"id\":3}}\n",
            "[]\n",
            "{\"id\":4,\"id\":4}\n",
            "{\"name\":\"x\"}\n",
            "{\"id\":1.5}\n",
            "{\"id\":99999999999999999999}\n",
            "{\"id\":5,\"name\":\"\\ud800\"}\n",
            "{\"id\":6,\"name\":\"a\tb\"}\n",
            "{\"id\":null}\n",
            "{\"id\":7,}\n",
            "{\"id\":8}\n",
        ));
        assert_eq!(rows, [["1", "NULL", "NULL"], ["8", "NULL", "NULL"]]);
        assert_eq!(
            faults(&dirty),
            [
                ("line 2", "", "parse"),
                ("line 3", "", "parse"),
                ("line 4", "", "parse"),
                ("line 5", "", "duplicate"),
                ("line 6", "id", "null"),
                ("line 7", "id", "parse"),
                ("line 8", "id", "range"),
                ("line 9", "name", "parse"),
                ("line 10", "", "parse"),
                ("line 11", "id", "null"),
                ("line 12", "", "parse"),
            ]
        );
        assert_eq!(
            dirty[0].reason,
            "byte 8: expected the rest of the object, found `the end of the line`"
        );
        assert_eq!(dirty[2].reason, "byte 1: expected an object, found `[]`");
    }

    #[test]
    fn t30_text_that_is_not_utf8_is_dirty() {
        let mut decoder = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
        let input = b"{\"id\":1,\"name\":\"\xe9\"}\n{\"id\":2,\"doc\":[\"\xe9\"]}\n{\"id\":3}\n";
        let (rows, dirty) = rows_of(&mut decoder, input, 1 << 20).unwrap();
        assert_eq!(rows, [["3", "NULL", "NULL"]]);
        assert_eq!(faults(&dirty), [("line 1", "name", "utf8"), ("line 2", "doc", "utf8")]);
    }

    #[test]
    fn unknown_keys_are_counted_or_dirty() {
        let input = b"{\"id\":1,\"new\":1}\n{\"id\":2,\"extra\":1}\n{\"id\":3,\"new\":1}\n";
        let mut ignoring = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
        assert_eq!(rows_of(&mut ignoring, input, 1 << 20).unwrap().0.len(), 3);
        assert_eq!(ignoring.unknown_keys(), [("new".to_owned(), 2)]);
        let mut strict = decoder(JsonShape::Lines, &columns(), UnknownKeys::Dirty);
        let (rows, dirty) = rows_of(&mut strict, input, 1 << 20).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(faults(&dirty), [("line 1", "", "unknown"), ("line 3", "", "unknown")]);
    }

    #[test]
    fn arrays_are_read_over_any_blocks() {
        let input = "\u{feff} [ {\"id\":1,\"name\":\"a,]}\\\"\"}\n, {\"id\":2},{\"id\":\"x\"},\n\n{\"id\":4} ] \n";
        for step in 1..input.len() {
            let mut decoder = decoder(JsonShape::Array, &columns(), UnknownKeys::Ignore);
            let (rows, dirty) = rows_of(&mut decoder, input.as_bytes(), step).unwrap();
            let ids: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
            assert_eq!(ids, ["1", "2", "4"]);
            assert_eq!(faults(&dirty), [("line 2", "id", "parse")]);
        }
        let mut empty = decoder(JsonShape::Array, &columns(), UnknownKeys::Ignore);
        assert_eq!(rows_of(&mut empty, b"[\n]\n", 1).unwrap(), (vec![], vec![]));
    }

    #[test]
    fn broken_arrays_are_errors_with_their_line() {
        for (input, line) in [
            ("", 1),
            ("{\"id\":1}", 1),
            ("[{\"id\":1}\n", 2),
            ("[{\"id\":1}\n,", 2),
            ("[{\"id\":1},\n]", 2),
            ("[{\"id\":1}\n{\"id\":1}]", 2),
            ("[{\"id\":1},\n\n1]", 3),
            ("[{\"id\":1},\n{\"id\":\n01}]", 3),
            ("[]\n[]", 2),
            ("[{\"id\":1},\n{\"id\":1", 2),
        ] {
            for step in [1, 3, 100] {
                let mut decoder = decoder(JsonShape::Array, &columns(), UnknownKeys::Ignore);
                let error = rows_of(&mut decoder, input.as_bytes(), step).unwrap_err();
                assert_eq!(error.kind, ErrorKind::Data, "{input}");
                assert_eq!(error.place.unwrap(), format!("line {line}"), "{input}");
            }
        }
    }

    #[test]
    fn an_endless_record_is_an_error() {
        let mut input = b"{\"id\":1}\n{\"name\":\"".to_vec();
        input.resize(RECORD_LIMIT + 100, b'x');
        let mut decoder = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
        let error = decoder.decode(&input, false).unwrap_err();
        assert_eq!((error.code.as_str(), error.place.as_deref()), ("JSON-LENGTH", Some("line 2")));
    }

    #[test]
    fn reading_goes_on_behind_a_record() {
        for (shape, rest) in
            [(JsonShape::Lines, "{\"id\":2}\n"), (JsonShape::Array, ",{\"id\":2}]")]
        {
            let mut decoder = decoder(shape, &columns(), UnknownKeys::Ignore).after_a_record(7);
            let (rows, _) = rows_of(&mut decoder, rest.as_bytes(), 100).unwrap();
            assert_eq!(rows, [["2", "NULL", "NULL"]]);
        }
    }

    #[test]
    fn a_batch_ends_when_it_is_full() {
        let input = "{\"id\":1}\n".repeat(BATCH_ROWS + 1);
        let mut decoder = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
        let taken = decoder.decode(input.as_bytes(), true).unwrap();
        assert!(decoder.is_full());
        let first = decoder.flush().unwrap().unwrap();
        assert_eq!((first.batch.num_rows(), first.first_line, first.exact), (BATCH_ROWS, 1, true));
        decoder.decode(&input.as_bytes()[taken..], true).unwrap();
        let second = decoder.flush().unwrap().unwrap();
        assert_eq!((second.batch.num_rows(), second.first_line), (1, BATCH_ROWS as u64 + 1));
        assert!(decoder.flush().unwrap().is_none());
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(
            rows in proptest::collection::vec((any::<i64>(), any::<Option<String>>()), 0..20),
            step in 1usize..200,
            array in any::<bool>(),
        ) {
            let value = |(id, name): &(i64, Option<String>)| serde_json::json!({"id": id, "name": name});
            let values: Vec<_> = rows.iter().map(value).collect();
            let (shape, text) = if array {
                (JsonShape::Array, serde_json::to_string_pretty(&values).unwrap())
            } else {
                (JsonShape::Lines, values.iter().map(|value| format!("{value}\n")).collect())
            };
            let mut decoder = decoder(shape, &columns()[..2], UnknownKeys::Ignore);
            let (found, dirty) = rows_of(&mut decoder, text.as_bytes(), step).unwrap();
            let expected: Vec<_> = rows
                .iter()
                .map(|(id, name)| vec![id.to_string(), name.clone().unwrap_or("NULL".to_owned())])
                .collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(dirty, vec![]);
        }
    }
}
