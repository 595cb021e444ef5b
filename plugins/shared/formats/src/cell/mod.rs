//! The text of one value, to and from its type. Text forms are the same in every text format;
//! quoting, escaping and what stands for NULL are left to the formats.
//!
//! | type | text |
//! |---|---|
//! | boolean | words of [`CellWords`] in, `true` and `false` out |
//! | integers | decimal digits, a sign is allowed |
//! | decimal | exact: more digits than precision or scale are refused unless they are zeros |
//! | numeric | any number, kept as it is written; `NaN`, `Infinity`, `-Infinity` |
//! | floats | shortest text that reads back; `NaN`, `Infinity`, `-Infinity` |
//! | date | `YYYY-MM-DD`; years beyond 0..9999 with a sign, as ISO 8601 writes them |
//! | time | `HH:MM:SS[.f]` |
//! | timestamp | `YYYY-MM-DD HH:MM:SS[.f]`, `T` is accepted for the blank |
//! | timestamptz | the same with `Z`, `+HH`, `+HHMM` or `+HH:MM`; written `YYYY-MM-DDTHH:MM:SS[.f]Z` |
//! | duration | `[-]H:MM:SS[.f]`, as many hours as it takes |
//! | binary | hexadecimal digits, or base64 |
//! | uuid | 8-4-4-4-12 |
//! | json | checked to be JSON, bytes kept |

mod block;
mod bytes;
mod column;
mod digits;
mod number;
mod render;
mod temporal;

use arrow_array::ArrayRef;
use transload_plugin_api::{Column, Result};

pub(crate) use block::{Cells, unquote};
use column::TypedColumn;
pub use render::CellRenderer;

/// How binary values are written in text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BinaryText {
    /// Hexadecimal digits, upper or lower case in, lower case out; `\x` or `0x` may stand before.
    #[default]
    Hex,
    /// RFC 4648 base64 with padding.
    Base64,
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

impl Default for CellWords {
    fn default() -> Self {
        let words = |list: [&str; 6]| list.map(str::to_owned).to_vec();
        Self {
            yes: words(["true", "t", "yes", "y", "1", "on"]),
            no: words(["false", "f", "no", "n", "0", "off"]),
            binary: BinaryText::Hex,
        }
    }
}

/// Why a text is not a value of its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellError {
    /// `parse`, `range`, `null`, `utf8` or `length`.
    pub code: &'static str,
    /// Expected and found, in words.
    pub reason: String,
}

/// The same without words, for the hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not a text of the type at all.
    Parse,
    /// Of the type's form, but beyond what the type holds.
    Range,
    /// NULL in a column that takes none.
    Null,
    /// Not UTF-8.
    Utf8,
    /// Too long.
    Length,
    /// Text after a closing quote, or a quote that is not closed.
    Quote,
}

impl Fault {
    /// With words. `text` is what was found.
    #[cold]
    pub(crate) fn explain(self, column: &Column, text: &[u8]) -> CellError {
        let logical = &column.logical;
        let found = shorten(text);
        let (code, reason) = match self {
            Self::Parse => ("parse", format!("expected {logical}, found `{found}`")),
            Self::Range => ("range", format!("`{found}` does not fit {logical}")),
            Self::Null => ("null", format!("expected {logical}, found NULL in a required column")),
            Self::Utf8 => ("utf8", format!("expected UTF-8 text, found `{found}`")),
            Self::Length => {
                ("length", format!("expected {logical}, found {} characters", characters(text)))
            }
            Self::Quote => (
                "parse",
                format!("expected a quoted cell that ends with its quote, found `{found}`"),
            ),
        };
        CellError { code, reason }
    }
}

/// At most 64 bytes of a text, for a message.
pub(crate) fn shorten(text: &[u8]) -> String {
    const MOST: usize = 64;
    let cut = String::from_utf8_lossy(&text[..text.len().min(MOST)]).into_owned();
    if text.len() > MOST { format!("{cut}...") } else { cut }
}

/// Characters of UTF-8 text: all bytes that do not continue one.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

/// The rows of one column while they are read.
pub struct ColumnBuilder {
    column: Column,
    cells: Box<dyn TypedColumn>,
}

impl ColumnBuilder {
    /// An empty builder for a column of the plan.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Unsupported`] for types without a text form (list,
    /// interval).
    pub fn new(column: &Column, words: &CellWords) -> Result<Self> {
        Ok(Self { column: column.clone(), cells: column::typed(column, words)? })
    }

    /// The column it was made for.
    pub fn column(&self) -> &Column {
        &self.column
    }

    /// Appends NULL.
    ///
    /// # Errors
    /// Code `null` if the column is not nullable; then nothing was appended.
    pub fn append_null(&mut self) -> Result<(), CellError> {
        if !self.column.nullable {
            return Err(Fault::Null.explain(&self.column, b""));
        }
        self.cells.append_null();
        Ok(())
    }

    /// Parses a text and appends its value.
    ///
    /// # Errors
    /// The text is no value of the column; then nothing was appended.
    pub fn append_text(&mut self, text: &[u8]) -> Result<(), CellError> {
        self.cells.append_text(text).map_err(|fault| fault.explain(&self.column, text))
    }

    /// Appends the cells of many rows, a NULL for each at fault; `faults` receives those rows.
    pub(crate) fn append_cells(&mut self, cells: &Cells<'_>, faults: &mut Vec<(usize, Fault)>) {
        self.cells.append_cells(cells, faults);
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all rows from `rows` on.
    pub fn truncate_to(&mut self, rows: usize) {
        self.cells.truncate_to(rows);
    }

    /// The rows as an array; the builder is empty afterwards.
    pub fn finish(&mut self) -> ArrayRef {
        self.cells.finish()
    }
}
