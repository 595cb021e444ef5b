//! Infers columns from a sample of JSON objects: every key that occurs, in the order of its first
//! appearance, with a type that holds all its values. Numbers are classified by their text. Texts
//! become dates and timestamps only if all values of the key are; mixed values become text or json.
//! Objects are json, or divided into columns of their own keys.

use std::collections::HashMap;

use transload_plugin_api::{Column, Error, LogicalType, Result};
use transload_values::{CellWords, ColumnForm};

use super::{
    JsonShape,
    scan::{Halt, Kind, Scan, Scanner, Token, unescape},
};
use crate::{
    Candidate, Nested, Nesting,
    infer::{Inference, numeric_notes},
    taken_names,
};

/// With more different keys than this, the keys are data, not columns.
const MOST_KEYS: usize = 10_000;

/// The result of the sample so far.
pub struct JsonInference {
    words: CellWords,
    nesting: Nesting,
    keys: KeyGuesses,
    /// Number of keys, in divided objects too.
    count: usize,
    unusable: Option<String>,
    rows: u64,
}

/// The keys of the objects in one place.
#[derive(Default)]
struct KeyGuesses {
    guesses: Vec<Guess>,
    by_name: HashMap<String, usize>,
}

/// The values seen for one key.
struct Guess {
    name: String,
    types: Inference,
    text: bool,
    plain: bool,
    nested: bool,
    /// The values with braces are objects, of which these are the keys.
    objects: Option<KeyGuesses>,
    /// There are objects, or arrays of them.
    has_objects: bool,
    /// The job says what the words for true and false of this key are.
    own_words: bool,
}

impl JsonInference {
    /// An inference without any samples. Strings are written as `words` say.
    pub fn new(words: &CellWords) -> Self {
        let words = words.clone().with_usual_numbers();
        let nesting = Nesting { nested: Nested::Json, ..Nesting::default() };
        let keys = KeyGuesses::default();
        Self { words, nesting, keys, count: 0, unusable: None, rows: 0 }
    }

    /// With another way to read nested values than [`Nested::Json`].
    #[must_use]
    pub fn nesting(self, nesting: &Nesting) -> Self {
        Self { nesting: nesting.clone(), ..self }
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
        if self.count <= MOST_KEYS {
            return Ok(self.rows == most);
        }
        let message = format!("more than {MOST_KEYS} different keys in {} objects", self.rows);
        Err(Error::schema(message).hint("list the wanted keys in the job's `[reader.schema]`"))
    }

    fn array(&mut self, scan: &mut Scanner<'_>, most: u64) -> Scan<()> {
        scan.expect(b'[', "an array")?;
        while self.rows < most && self.count <= MOST_KEYS && scan.peek() == Some(b'{') {
            self.object(scan)?;
            scan.expect(b',', "`,`")?;
        }
        Ok(())
    }

    /// Adds an object only once its end has been seen.
    fn object(&mut self, scan: &mut Scanner<'_>) -> Scan<()> {
        let members = members(scan)?;
        self.rows += 1;
        let mut keys = std::mem::take(&mut self.keys);
        let added = self.add(&mut keys, "", members);
        self.keys = keys;
        added
    }

    /// Adds the members of one object; `prefix` stands before their names.
    fn add(
        &mut self,
        keys: &mut KeyGuesses,
        prefix: &str,
        found: Vec<(Token<'_>, Token<'_>)>,
    ) -> Scan<()> {
        for (key, value) in found {
            let name = text_of(key).and_then(|name| String::from_utf8(name).ok());
            let name = name.ok_or(Halt::Wrong { at: 0, expected: "a key" })?;
            if name.contains('\0') {
                self.unusable = Some(name);
                continue;
            }
            let index = *keys.by_name.entry(name.clone()).or_insert_with(|| {
                self.count += 1;
                keys.guesses.push(Guess::new(format!("{prefix}{name}"), &self.words));
                keys.guesses.len() - 1
            });
            let guess = &mut keys.guesses[index];
            if self.nesting.flattens(&guess.name) && value.raw.first() == Some(&b'{') {
                guess.has_objects = true;
                let prefix = format!("{}.", guess.name);
                let inner = members(&mut Scanner::new(value.raw))?;
                self.add(guess.objects.get_or_insert_default(), &prefix, inner)?;
            } else {
                guess.see(value);
            }
        }
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

    /// Notes for the plan about columns of an unusual type, and about objects that are divided.
    pub fn notes(&self) -> Vec<String> {
        let divided = self.keys.divided();
        let notes = self.keys.guesses.iter().enumerate().filter_map(|(index, guess)| {
            let name = &guess.name;
            if let Some(taken) = divided.get(&index)?.as_ref() {
                return Some(format!(
                    "key `{name}` (object) is read as JSON text: another column is called `{taken}`"
                ));
            }
            let names: Vec<_> = guess.columns().into_iter().map(|column| column.name).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            Some(format!("key `{name}` (object) is read as {}", crate::nested::listed(&names)))
        });
        notes.chain(numeric_notes(&self.columns())).collect()
    }

    /// The keys with objects, or with arrays that have them.
    pub fn nested_keys(&self) -> impl Iterator<Item = &str> {
        self.keys.guesses.iter().filter(|guess| guess.has_objects).map(|guess| guess.name.as_str())
    }

    /// The columns; all of them are nullable.
    pub fn columns(&self) -> Vec<Column> {
        let divided = self.keys.divided();
        let of = |(index, guess): (usize, &Guess)| match divided.get(&index) {
            Some(None) => guess.columns(),
            _ => vec![guess.column()],
        };
        self.keys.guesses.iter().enumerate().flat_map(of).collect()
    }
}

/// The members of an object.
fn members<'a>(scan: &mut Scanner<'a>) -> Scan<Vec<(Token<'a>, Token<'a>)>> {
    let mut members = Vec::new();
    scan.expect(b'{', "an object")?;
    if scan.take(b'}') {
        return Ok(members);
    }
    loop {
        members.push((scan.key()?, scan.value(1)?));
        if !scan.take(b',') {
            scan.expect(b'}', "`,` or `}`")?;
            return Ok(members);
        }
    }
}

impl KeyGuesses {
    /// The objects that can be divided, by their index; with a name if that is also the name of
    /// another column, so that the object is not divided.
    fn divided(&self) -> HashMap<usize, Option<String>> {
        let candidate = |guess: &Guess| Candidate {
            name: guess.name.clone(),
            fields: match guess.is_divided() {
                true => guess.columns().into_iter().map(|column| column.name).collect(),
                false => Vec::new(),
            },
        };
        let candidates: Vec<_> = self.guesses.iter().map(candidate).collect();
        let mut taken = taken_names(&candidates);
        let divided = candidates.iter().enumerate().filter(|(_, it)| !it.fields.is_empty());
        divided.map(|(index, _)| (index, taken.remove(&index))).collect()
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
        let objects = None;
        Self {
            name,
            types,
            text: false,
            plain: false,
            nested: false,
            objects,
            has_objects: false,
            own_words,
        }
    }

    fn see(&mut self, value: Token<'_>) {
        match value.kind {
            Kind::Null => {}
            Kind::Nested => {
                self.nested = true;
                self.has_objects |= has_objects(value.raw);
            }
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

    /// Whether it becomes a column for each of its keys: all its values are objects.
    fn is_divided(&self) -> bool {
        let is_plain = self.nested || self.text || self.plain;
        !is_plain && self.objects.as_ref().is_some_and(|keys| !keys.guesses.is_empty())
    }

    /// The columns of its keys, or its own.
    fn columns(&self) -> Vec<Column> {
        match &self.objects {
            Some(keys) if self.is_divided() => {
                keys.guesses.iter().flat_map(Self::columns).collect()
            }
            _ => vec![self.column()],
        }
    }

    fn column(&self) -> Column {
        Column { inferred: true, ..Column::new(&self.name, self.logical(), true) }
    }

    fn logical(&self) -> LogicalType {
        use LogicalType as L;
        let inferred = || self.types.columns().first().map_or(L::TEXT, |c| c.logical.clone());
        match (self.nested || self.objects.is_some(), self.text, self.plain) {
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

/// Whether an array or an object is, or has, an object.
fn has_objects(raw: &[u8]) -> bool {
    let (mut at, mut quoted) = (0, false);
    while let Some(byte) = raw.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            b'{' if !quoted => return true,
            _ => {}
        }
        at += 1;
    }
    false
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

    #[test]
    fn objects_are_divided_if_all_values_are() {
        let input = concat!(
            "{\"a\":{\"b\":1,\"c\":{\"d\":\"2024-01-31\"}},\"m\":{\"x\":1},\"e\":{},\"l\":[{}]}\n",
            "{\"a\":null,\"m\":1,\"w\":{\"x\":1},\"t\":{\"u\":1},\"t.u\":2}\n",
            "{\"a\":{\"b\":2.5,\"f\":[1]}}\n",
        );
        let nesting = |nested| Nesting { nested, whole: vec!["w".to_owned()] };
        let infer = |nested| {
            let words = CellWords::default();
            let mut inference = JsonInference::new(&words).nesting(&nesting(nested));
            inference.sample(JsonShape::Lines, input.as_bytes(), true, 100).unwrap();
            inference
        };
        let flat = infer(Nested::Flatten);
        let columns = flat.columns().into_iter().map(|it| format!("{} {}", it.name, it.logical));
        let expected = [
            "a.b decimal(18,2)",
            "a.c.d date",
            "a.f json",
            "m json",
            "e json",
            "l json",
            "w json",
            "t json",
            "t.u int64",
        ];
        assert_eq!(columns.collect::<Vec<_>>(), expected);
        let notes = [
            "key `a` (object) is read as `a.b`, `a.c.d`, `a.f`",
            "key `t` (object) is read as JSON text: another column is called `t.u`",
        ];
        assert_eq!(flat.notes()[..2], notes);
        let nested = ["a", "m", "e", "l", "w", "t"];
        assert_eq!(infer(Nested::Fail).nested_keys().collect::<Vec<_>>(), nested);
    }
}
