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
mod text;

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

#[cfg(test)]
mod tests {
    use transload_plugin_api::LogicalType;

    use super::*;

    fn column(logical: &str) -> Column {
        Column::new("c", logical.parse::<LogicalType>().unwrap(), true)
    }

    fn render(column: &Column, array: &ArrayRef, row: usize) -> String {
        let mut out = Vec::new();
        CellRenderer::new(column, array).unwrap().render(row, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_in_and_out() {
        for (logical, input, output) in [
            ("boolean", "Yes", "true"),
            ("boolean", "0", "false"),
            ("int8", "-0", "0"),
            ("uint64", "18446744073709551615", "18446744073709551615"),
            ("float32", "0.1", "0.1"),
            ("float64", "1e300", "1e300"),
            ("float64", "-inf", "-Infinity"),
            ("float64", "NaN", "NaN"),
            ("float64", "-0", "-0.0"),
            ("decimal(15,2)", "-0.05", "-0.05"),
            ("decimal(15,2)", "7", "7.00"),
            ("decimal(5,0)", "12345", "12345"),
            (
                "decimal(76,2)",
                "-12345678901234567890123456789012345678901234567890.12",
                "-12345678901234567890123456789012345678901234567890.12",
            ),
            ("numeric", "1.500", "1.500"),
            ("text(3)", "é😀x", "é😀x"),
            ("date", "0001-01-01", "0001-01-01"),
            ("date", "-0044-03-15", "-0044-03-15"),
            ("date", "+12345-06-07", "+12345-06-07"),
            ("time", "01:02:03.100", "01:02:03.1"),
            ("time(9)", "23:59:59.000000001", "23:59:59.000000001"),
            ("duration", "-838:59:59.5", "-838:59:59.5"),
            ("duration", "1:00:00", "01:00:00"),
            ("timestamp", "1969-12-31T23:59:59.999999", "1969-12-31 23:59:59.999999"),
            ("timestamptz", "2024-01-01 01:00:00+02", "2023-12-31T23:00:00Z"),
            ("binary", r"\xDEad", "dead"),
            (
                "uuid",
                "123E4567-E89B-12D3-A456-426614174000",
                "123e4567-e89b-12d3-a456-426614174000",
            ),
            ("json", "{\"b\": 1.10,\"b\":2}", "{\"b\": 1.10,\"b\":2}"),
        ] {
            let column = column(logical);
            let mut builder = ColumnBuilder::new(&column, &CellWords::default()).unwrap();
            builder.append_text(input.as_bytes()).unwrap();
            builder.append_null().unwrap();
            assert_eq!(builder.len(), 2);
            let array = builder.finish();
            assert!(builder.is_empty());
            assert_eq!(array.data_type(), &column.logical.data_type());
            assert_eq!(render(&column, &array, 0), output, "{logical}");
            let renderer = CellRenderer::new(&column, &array).unwrap();
            assert_eq!([0, 1].map(|row| renderer.is_null(row)), [false, true]);
        }
    }

    #[test]
    fn a_text_that_is_no_value_appends_nothing_and_says_why() {
        for (logical, text, code) in [
            ("boolean", "maybe", "parse"),
            ("boolean", "", "parse"),
            ("int8", "128", "range"),
            ("int8", "", "parse"),
            ("decimal(3,1)", "100", "range"),
            ("decimal(3,1)", "0.15", "range"),
            ("numeric", "1,5", "parse"),
            ("float32", "1e39", "range"),
            ("text(2)", "é😀x", "length"),
            ("text", "\u{1}\u{2}\u{3}", ""),
            ("json", "{", "parse"),
            ("binary", "abc", "parse"),
            ("uuid", "123", "parse"),
            ("date", "2023-02-29", "range"),
            ("time(3)", "00:00:00.0001", "range"),
            ("timestamptz", "2024-01-01 00:00:00", "parse"),
        ] {
            let mut builder = ColumnBuilder::new(&column(logical), &CellWords::default()).unwrap();
            match builder.append_text(text.as_bytes()) {
                Ok(()) => assert_eq!(code, "", "{logical} {text}"),
                Err(error) => {
                    assert_eq!(error.code, code, "{logical} {text}");
                    assert!(builder.is_empty());
                    assert!(error.reason.contains(logical), "{}", error.reason);
                }
            }
        }
        for logical in ["text", "text(9)", "json"] {
            let mut builder = ColumnBuilder::new(&column(logical), &CellWords::default()).unwrap();
            assert_eq!(builder.append_text(b"\"\xFF\"").unwrap_err().code, "utf8");
            assert!(builder.is_empty());
        }
    }

    #[test]
    fn null_is_refused_in_a_required_column() {
        let required = Column::new("c", LogicalType::Int32, false);
        let mut builder = ColumnBuilder::new(&required, &CellWords::default()).unwrap();
        assert_eq!(builder.append_null().unwrap_err().code, "null");
        assert!(builder.is_empty());
    }

    #[test]
    fn rows_are_dropped_from_every_kind_of_builder() {
        for (logical, kept, dropped) in [
            ("int32", "1", "2"),
            ("boolean", "true", "false"),
            ("text", "a", "bcd"),
            (
                "uuid",
                "123e4567-e89b-12d3-a456-426614174000",
                "00000000-0000-0000-0000-000000000000",
            ),
        ] {
            let column = column(logical);
            let mut builder = ColumnBuilder::new(&column, &CellWords::default()).unwrap();
            for text in [kept, dropped] {
                builder.append_null().unwrap();
                builder.append_text(text.as_bytes()).unwrap();
            }
            builder.truncate_to(2);
            builder.append_text(kept.as_bytes()).unwrap();
            let array = builder.finish();
            assert_eq!((array.len(), array.null_count()), (3, 1));
            assert_eq!([1, 2].map(|row| render(&column, &array, row)), [kept, kept]);
        }
    }

    #[test]
    fn words_of_a_column_are_its_own() {
        let words = CellWords {
            yes: vec!["ja".to_owned()],
            no: vec!["nein".to_owned()],
            binary: BinaryText::Base64,
        };
        let mut builder = ColumnBuilder::new(&column("boolean"), &words).unwrap();
        assert!(builder.append_text(b"JA").is_ok());
        assert!(builder.append_text(b"true").is_err());
        let mut builder = ColumnBuilder::new(&column("binary"), &words).unwrap();
        assert!(builder.append_text(b"AAE=").is_ok());
        assert!(builder.append_text(b"0001ff").is_err());
    }

    #[test]
    fn types_without_a_text_form_are_refused() {
        for logical in ["interval", "list<int32>"] {
            let error = ColumnBuilder::new(&column(logical), &CellWords::default()).err().unwrap();
            assert_eq!(error.kind, transload_plugin_api::ErrorKind::Unsupported);
            assert!(error.message.contains(logical));
        }
    }
}
