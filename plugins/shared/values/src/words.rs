//! What texts mean where a type leaves it open: the words of booleans, the form of binary values.

use crate::{Fault, bytes, parse::Parse};

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
}

const YES: [&str; 6] = ["true", "t", "yes", "y", "1", "on"];
const NO: [&str; 6] = ["false", "f", "no", "n", "0", "off"];

impl Default for CellWords {
    fn default() -> Self {
        let words = |list: [&str; 6]| list.map(str::to_owned).to_vec();
        Self { yes: words(YES), no: words(NO), binary: BinaryText::Hex }
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
