//! Why a text is not a value of its column: a kind for the hot path, and its words.

use transload_plugin_api::Column;

/// Why a text is not a value, without words, for the hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text does not have the form of the type.
    Parse,
    /// The text has the form of the type, but the type cannot hold the value exactly.
    Range,
    /// NULL in a NOT NULL column.
    Null,
    /// The bytes are not UTF-8.
    Utf8,
    /// The text is longer than the type allows.
    Length,
    /// There is text after a closing quote, or a quote that is not closed.
    Quote,
}

/// Why a text is not a value of its column, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// `parse`, `range`, `null`, `utf8` or `length`.
    pub code: &'static str,
    /// What was expected and what was found.
    pub reason: String,
}

impl Fault {
    /// The stable code of the dirty row: `parse`, `range`, `null`, `utf8` or `length`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Parse | Self::Quote => "parse",
            Self::Range => "range",
            Self::Null => "null",
            Self::Utf8 => "utf8",
            Self::Length => "length",
        }
    }

    /// The fault in words. `text` is what was found.
    #[cold]
    pub fn explain(self, column: &Column, text: &[u8]) -> ValueError {
        let logical = &column.logical;
        let found = shorten(text, SHOWN);
        let reason = match self {
            Self::Parse => format!("expected {logical}, found `{found}`"),
            Self::Range => format!("expected {logical}, found `{found}`"),
            Self::Null => "NULL in a NOT NULL column".to_owned(),
            Self::Utf8 => format!("expected UTF-8 text, found `{found}`"),
            Self::Length => {
                format!("expected {logical}, found {} characters: `{found}`", characters(text))
            }
            Self::Quote => {
                format!("expected a quoted cell that ends with its quote, found `{found}`")
            }
        };
        ValueError { code: self.code(), reason }
    }
}

/// The maximum number of bytes of a text in a message.
pub const SHOWN: usize = 64;

/// At most `most` bytes of a text, which need not be UTF-8; `...` stands for the rest.
pub fn shorten(text: &[u8], most: usize) -> String {
    let cut = String::from_utf8_lossy(&text[..text.len().min(most)]).into_owned();
    if text.len() > most { format!("{cut}...") } else { cut }
}

/// The number of characters of UTF-8 text: all bytes that do not continue a character.
pub fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

/// Whether UTF-8 text has more than `most` characters. Bytes are at least as many as characters,
/// so most texts need no counting.
#[inline]
pub fn is_longer(text: &[u8], most: u32) -> bool {
    text.len() > most as usize && characters(text) > most as usize
}
