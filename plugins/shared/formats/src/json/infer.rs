//! Infers columns from a sample of JSON objects: every key that occurs, in the order of its first
//! appearance, with a type that holds all its values. Numbers are classified by their text. Texts
//! become dates and timestamps only if all values of the key are; mixed values become text or json.

use std::collections::HashMap;

use transload_plugin_api::{Column, Error, LogicalType, Result};
use transload_values::{CellWords, ColumnForm};

use super::{
    JsonShape,
    scan::{Halt, Kind, Scan, Scanner, Token, unescape},
};
use crate::infer::{Inference, numeric_notes};

/// With more different keys than this, the keys are data, not columns.
const MOST_KEYS: usize = 10_000;

/// The result of the sample so far.
pub struct JsonInference {
    words: CellWords,
    guesses: Vec<Guess>,
    by_name: HashMap<String, usize>,
    unusable: Option<String>,
    rows: u64,
}

/// The values seen for one key.
struct Guess {
    name: String,
    types: Inference,
    text: bool,
    plain: bool,
    nested: bool,
    /// The job says what the words for true and false of this key are.
    own_words: bool,
}

impl JsonInference {
    /// An inference without any samples. Strings are written as `words` say.
    pub fn new(words: &CellWords) -> Self {
        let words = words.clone().with_usual_numbers();
        let (guesses, by_name) = (Vec::new(), HashMap::new());
        Self { words, guesses, by_name, unusable: None, rows: 0 }
    }

    /// Reads at most the first `rows` objects. `input` is the start of a file; an object that is
    /// cut off at its end is skipped unless it is the `last`. Invalid lines are skipped; in an
    /// array, sampling stops at an invalid object. Returns whether there were that many objects.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] for more than 10,000 different keys.
    pub fn sample(
        &mut self,
        shape: JsonShape,
        input: &[u8],
        last: bool,
        rows: usize,
    ) -> Result<bool> {
        let most = self.rows + rows as u64;
        let input = input.strip_prefix("\u{feff}".as_bytes()).unwrap_or(input);
        match shape {
            JsonShape::Lines => {
                let lines = input.split_inclusive(|byte| *byte == b'\n');
                for line in lines.filter(|line| last || line.ends_with(b"\n")) {
                    if self.rows == most {
                        break;
                    }
                    // An invalid line is left to the decoder to report.
                    let _ = self.object(&mut Scanner::new(line));
                }
            }
            JsonShape::Array => {
                // The same for an invalid array.
                let _ = self.array(&mut Scanner::new(input), most);
            }
        }
        if self.guesses.len() <= MOST_KEYS {
            return Ok(self.rows == most);
        }
        let message = format!("more than {MOST_KEYS} different keys in {} objects", self.rows);
        Err(Error::schema(message).hint("list the wanted keys in the job's `[reader.schema]`"))
    }

    fn array(&mut self, scan: &mut Scanner<'_>, most: u64) -> Scan<()> {
        scan.expect(b'[', "an array")?;
        while self.rows < most && self.guesses.len() <= MOST_KEYS && scan.peek() == Some(b'{') {
            self.object(scan)?;
            scan.expect(b',', "`,`")?;
        }
        Ok(())
    }

    /// Adds an object only once its end has been seen.
    fn object(&mut self, scan: &mut Scanner<'_>) -> Scan<()> {
        let mut members = Vec::new();
        scan.expect(b'{', "an object")?;
        if !scan.take(b'}') {
            loop {
                members.push((scan.key()?, scan.value(1)?));
                if !scan.take(b',') {
                    scan.expect(b'}', "`,` or `}`")?;
                    break;
                }
            }
        }
        self.rows += 1;
        members.into_iter().try_for_each(|(key, value)| self.member(key, value))
    }

    fn member(&mut self, key: Token<'_>, value: Token<'_>) -> Scan<()> {
        let name = text_of(key).and_then(|name| String::from_utf8(name).ok());
        let name = name.ok_or(Halt::Wrong { at: 0, expected: "a key" })?;
        if name.contains('\0') {
            self.unusable = Some(name);
            return Ok(());
        }
        let index = *self.by_name.entry(name.clone()).or_insert_with(|| {
            self.guesses.push(Guess::new(name, &self.words));
            self.guesses.len() - 1
        });
        self.guesses[index].see(value);
        Ok(())
    }

    /// A key that cannot be a column's name, because it contains the character NUL.
    pub fn unusable(&self) -> Option<&str> {
        self.unusable.as_deref()
    }

    /// Number of objects sampled so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Notes for the plan about columns of an unusual type.
    pub fn notes(&self) -> Vec<String> {
        numeric_notes(&self.columns()).collect()
    }

    /// The columns; all of them are nullable.
    pub fn columns(&self) -> Vec<Column> {
        let column = |guess: &Guess| Column {
            inferred: true,
            ..Column::new(&guess.name, guess.logical(), true)
        };
        self.guesses.iter().map(column).collect()
    }
}

fn text_of(token: Token<'_>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    unescape(token.inner(), &mut text).ok().map(|()| text)
}

impl Guess {
    fn new(name: String, words: &CellWords) -> Self {
        let types = Inference::new(std::slice::from_ref(&name), words);
        let own_words = matches!(words.columns.get(&name), Some(ColumnForm::Words(..)));
        Self { name, types, text: false, plain: false, nested: false, own_words }
    }

    fn see(&mut self, value: Token<'_>) {
        match value.kind {
            Kind::Null => {}
            Kind::Nested => self.nested = true,
            Kind::Boolean | Kind::Number => {
                self.plain = true;
                self.types.row([Some(value.raw)]);
            }
            Kind::Text { .. } => {
                self.text = true;
                self.types.row([text_of(value)]);
            }
        }
    }

    fn logical(&self) -> LogicalType {
        use LogicalType as L;
        let inferred = || self.types.columns().first().map_or(L::TEXT, |c| c.logical.clone());
        match (self.nested, self.text, self.plain) {
            (true, ..) => L::Json,
            (false, true, false) => match inferred() {
                found @ (L::Date | L::Timestamp { .. } | L::TimestampTz { .. }) => found,
                // its words are the job's: `true` in quotes is a text
                L::Boolean if self.own_words => L::Boolean,
                _ => L::TEXT,
            },
            (false, false, true) => inferred(),
            (false, ..) => L::TEXT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn infer(shape: JsonShape, input: &str, last: bool) -> Vec<String> {
        let mut inference = JsonInference::new(&CellWords::default());
        inference.sample(shape, input.as_bytes(), last, 100).unwrap();
        let columns = inference.columns();
        assert!(columns.iter().all(|column| column.nullable && column.inferred));
        columns.iter().map(|column| format!("{} {}", column.name, column.logical)).collect()
    }

    #[test]
    fn keys_and_types_come_from_all_rows() {
        let input = concat!(
            "\u{feff}{\"i\":1,\"d\":\"2024-01-31\",\"m\":1,\"t\":\"12\",\"b\":true,\"n\":null}\n",
            "wrong\n",
            "{\"i\":2,\"d\":\"2024-02-01\",\"m\":\"x\",\"k\":[1],\"f\":1.10}\n",
            "{\"k\":1,\"t\":null,\"i\":-3,\"f\":2,\"\\u00e9\":\"2024-01-31T10:00:00Z\"}\n",
            "{\"i\":\"cut off",
        );
        let expected = [
            "i int64",
            "d date",
            "m text",
            "t text",
            "b boolean",
            "n text",
            "k json",
            "f decimal(18,2)",
            "é timestamptz",
        ];
        assert_eq!(infer(JsonShape::Lines, input, false), expected);
    }

    #[test]
    fn arrays_are_looked_at_up_to_their_cut() {
        let input = "[ {\"a\":1}, {\"a\":\"x\"}";
        assert_eq!(infer(JsonShape::Array, input, false), ["a text"]);
        assert_eq!(infer(JsonShape::Array, "[{\"a\":1},{\"a\":\"x", false), ["a int64"]);
        assert_eq!(infer(JsonShape::Array, "[]", true), Vec::<String>::new());
    }

    #[test]
    fn the_sample_is_bounded() {
        let mut inference = JsonInference::new(&CellWords::default());
        let input = "{\"a\":1}\n{\"a\":2}\n{\"b\":2}\n";
        inference.sample(JsonShape::Lines, input.as_bytes(), true, 2).unwrap();
        assert_eq!((inference.rows(), inference.columns().len()), (2, 1));
        let keys: String = (0..=MOST_KEYS).map(|key| format!("{{\"k{key}\":1}}\n")).collect();
        let error = inference.sample(JsonShape::Lines, keys.as_bytes(), true, 1 << 20).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema);
    }
}
