//! What texts mean where a type leaves it open: the words of booleans, the forms of binary values,
//! dates and numbers.

use std::{borrow::Cow, collections::BTreeMap};

use transload_plugin_api::LogicalType;

use crate::{Fault, Pattern, Separators, bytes, parse::Parse};

/// How binary values are written in text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BinaryText {
    /// Hexadecimal digits: upper or lower case in, lower case out; `\x` or `0x` may precede them.
    #[default]
    Hex,
    /// RFC 4648 base64 with padding.
    Base64,
}

impl BinaryText {
    /// Appends the bytes that `text` stands for; nothing on a fault.
    pub(crate) fn decode(self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Hex => bytes::from_hex(text, out),
            Self::Base64 => bytes::from_base64(text, out),
        }
        .ok_or(Fault::Parse)
    }
}

/// What texts mean where a type leaves it open.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellWords {
    /// Words for true, in any case.
    pub yes: Vec<String>,
    /// Words for false, in any case.
    pub no: Vec<String>,
    /// How binary values are written.
    pub binary: BinaryText,
    /// How dates, times and numbers are written.
    #[serde(skip)]
    pub forms: Forms,
    /// Columns whose values are written in a way of their own.
    #[serde(skip)]
    pub columns: BTreeMap<String, ColumnForm>,
}

/// How dates, times and numbers are written, where that is not the usual form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// Of dates: it has no time of day.
    pub date: Option<Pattern>,
    /// Of times of day.
    pub time: Option<Pattern>,
    /// Of timestamps: those with a time zone if it has an offset from UTC, else those without.
    pub timestamp: Option<Pattern>,
    /// Of numbers.
    pub separators: Separators,
}

/// How the values of one column are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnForm {
    /// Dates, times or timestamps, whichever the pattern has all of.
    Pattern(Pattern),
    /// Numbers.
    Separators(Separators),
    /// Booleans: the words for true and for false, in any case.
    Words(String, String),
}

impl Forms {
    /// The pattern of a type's values, if they are not written in the usual form.
    pub fn pattern(&self, logical: &LogicalType) -> Option<&Pattern> {
        use LogicalType as L;
        match logical {
            L::Date => self.date.as_ref(),
            L::Time { .. } => self.time.as_ref(),
            L::Timestamp { .. } => self.timestamp.as_ref().filter(|it| !it.has_offset()),
            L::TimestampTz { .. } => self.timestamp.as_ref().filter(|it| it.has_offset()),
            _ => None,
        }
    }
}

impl CellWords {
    /// The words of one column.
    pub fn of(&self, column: &str) -> Cow<'_, Self> {
        let Some(form) = self.columns.get(column) else { return Cow::Borrowed(self) };
        let mut words = self.clone();
        match form.clone() {
            ColumnForm::Words(yes, no) => (words.yes, words.no) = (vec![yes], vec![no]),
            ColumnForm::Separators(separators) => words.forms.separators = separators,
            ColumnForm::Pattern(pattern) => match (pattern.has_date(), pattern.has_time()) {
                (true, true) => words.forms.timestamp = Some(pattern),
                (true, false) => words.forms.date = Some(pattern),
                (false, _) => words.forms.time = Some(pattern),
            },
        }
        Cow::Owned(words)
    }

    /// The same words for values in the usual forms.
    #[must_use]
    pub fn with_usual_forms(self) -> Self {
        Self { forms: Forms::default(), columns: BTreeMap::new(), ..self }
    }

    /// The same words without separators of numbers: JSON has its own.
    #[must_use]
    pub fn with_usual_numbers(mut self) -> Self {
        self.forms.separators = Separators::default();
        self.columns.retain(|_, form| !matches!(form, ColumnForm::Separators(_)));
        self
    }
}

const YES: [&str; 6] = ["true", "t", "yes", "y", "1", "on"];
const NO: [&str; 6] = ["false", "f", "no", "n", "0", "off"];

impl Default for CellWords {
    fn default() -> Self {
        let words = |list: [&str; 6]| list.map(str::to_owned).to_vec();
        let (yes, no) = (words(YES), words(NO));
        let (binary, forms, columns) = (BinaryText::Hex, Forms::default(), BTreeMap::new());
        Self { yes, no, binary, forms, columns }
    }
}

impl Parse for CellWords {
    type Value = bool;

    /// The boolean that a text stands for. A word of both lists stands for neither.
    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<bool, Fault> {
        let text = &window[start..end];
        let among = |list: &[String]| list.iter().any(|word| is_word(word, text));
        decide(among(&self.yes), among(&self.no))
    }
}

/// The boolean that a text stands for by the default words.
pub(crate) fn boolean(text: &[u8]) -> Result<bool, Fault> {
    let among = |list: [&str; 6]| list.iter().any(|word| is_word(word, text));
    decide(among(YES), among(NO))
}

fn is_word(word: &str, text: &[u8]) -> bool {
    word.as_bytes().eq_ignore_ascii_case(text)
}

fn decide(yes: bool, no: bool) -> Result<bool, Fault> {
    match (yes, no) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => Err(Fault::Parse),
    }
}
