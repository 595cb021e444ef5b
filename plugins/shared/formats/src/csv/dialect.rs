//! The options of a CSV dialect as a job sets them, and the check that they are compatible.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, ErrorKind, RecordDialect, Result};

use crate::MAX_RECORD;

/// The dialect of a CSV file. Bytes are ASCII and are written as one character in a job file;
/// `"tab"` means a tab, and an empty string means that there is no such byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvDialect {
    /// Separates cells.
    #[serde(with = "one_byte")]
    pub delimiter: u8,
    /// Encloses cells that contain special bytes.
    #[serde(with = "maybe_byte")]
    pub quote: Option<u8>,
    /// Makes the next byte text, inside and outside quotes. `None`: quotes are doubled.
    #[serde(with = "maybe_byte")]
    pub escape: Option<u8>,
    /// Whether the first record contains the column names.
    pub header: bool,
    /// The content of an unquoted cell that means NULL; what a writer writes for it.
    pub null: String,
    /// Further contents of unquoted cells that mean NULL to a reader.
    pub other_nulls: Vec<String>,
    /// One more such content, for single columns.
    pub column_null: BTreeMap<String, String>,
    /// This many lines at the start of a file are skipped, whatever is in them.
    pub skip_lines: u64,
    /// A line that begins with this byte is skipped.
    #[serde(with = "maybe_byte")]
    pub comment: Option<u8>,
    /// How a row with too few or too many cells is treated.
    pub ragged: Ragged,
    /// The largest record, in bytes.
    pub max_record: usize,
    /// Where a record ends: a property of a file, see [`super::CsvHead::dialect`].
    #[serde(skip)]
    pub line_end: LineEnd,
}

/// The byte that ends a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// LF, with a CR before it or not.
    #[default]
    Lf,
    /// CR alone.
    Cr,
}

impl LineEnd {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Lf => b'\n',
            Self::Cr => b'\r',
        }
    }
}

/// How a row with too few or too many cells is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ragged {
    /// The row is dirty.
    #[default]
    Dirty,
    /// The job fails.
    Error,
}

impl Default for CsvDialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            header: true,
            null: String::new(),
            other_nulls: Vec::new(),
            column_null: BTreeMap::new(),
            skip_lines: 0,
            comment: None,
            ragged: Ragged::Dirty,
            max_record: MAX_RECORD,
            line_end: LineEnd::Lf,
        }
    }
}

impl CsvDialect {
    /// Checks that the options are compatible.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] with the option that is wrong.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Options, message));
        let bytes = [
            ("delimiter", Some(self.delimiter)),
            ("quote", self.quote),
            ("escape", self.escape.filter(|escape| Some(*escape) != self.quote)),
            ("comment", self.comment),
        ];
        for (place, (name, byte)) in bytes.iter().enumerate() {
            let Some(byte) = byte else { continue };
            if !byte.is_ascii() || matches!(byte, b'\r' | b'\n' | 0) {
                let shown = byte.escape_ascii();
                return refuse(format!(
                    "`{name}` must be an ASCII character other than a line end, found `{shown}`"
                ));
            }
            if let Some((other, _)) = bytes[..place].iter().find(|(_, same)| *same == Some(*byte)) {
                let shown = byte.escape_ascii();
                return refuse(format!("`{other}` and `{name}` are both `{shown}`"));
            }
        }
        let of_columns = self.column_null.values().map(String::as_str);
        self.nulls().chain(of_columns).try_for_each(|null| self.check_null(null))
    }

    /// The part that divides a file into records and cells.
    pub fn records(&self) -> RecordDialect {
        let nulls = self.nulls().chain(self.column_null.values().map(String::as_str));
        RecordDialect {
            delimiter: char::from(self.delimiter),
            quote: self.quote.map(char::from),
            escape: self.escape.map(char::from),
            header: self.header,
            nulls: nulls.map(str::to_owned).collect(),
        }
    }

    /// The contents of unquoted cells of a column that mean NULL, beside `null`.
    pub(super) fn other_nulls_of(&self, column: &str) -> Vec<String> {
        self.other_nulls.iter().chain(self.column_null.get(column)).cloned().collect()
    }

    /// All contents of unquoted cells that mean NULL.
    pub(super) fn nulls(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.null).chain(&self.other_nulls).map(String::as_str)
    }

    fn check_null(&self, null: &str) -> Result<()> {
        let shown = null.escape_debug();
        let null = null.as_bytes();
        let special = |byte: &u8| {
            *byte == self.delimiter || Some(*byte) == self.quote || matches!(byte, b'\r' | b'\n')
        };
        let commented = self.comment.is_some() && null.first().copied() == self.comment;
        if commented || null.iter().any(special) {
            return Err(Error::new(
                ErrorKind::Options,
                format!("`null` is `{shown}`, which contains a special byte"),
            )
            .hint("choose a text without delimiter, quote, comment byte or line end"));
        }
        Ok(())
    }

    /// Whether a raw cell stands for NULL.
    pub(super) fn is_null(&self, raw: &[u8]) -> bool {
        raw == self.null.as_bytes() || self.other_nulls.iter().any(|null| null.as_bytes() == raw)
    }

    /// The escape byte, unless it is the quote itself, which only means that quotes are doubled.
    pub(super) fn true_escape(&self) -> Option<u8> {
        self.escape.filter(|escape| Some(*escape) != self.quote)
    }
}

/// A byte as its character.
mod one_byte {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(byte: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_char(char::from(*byte))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map_err(D::Error::custom)
    }

    pub(super) fn parse(text: &str) -> Result<u8, String> {
        match text.as_bytes() {
            b"tab" => Ok(b'\t'),
            [byte] => Ok(*byte),
            _ => Err(format!("expected one ASCII character or `tab`, found `{text}`")),
        }
    }
}

/// A byte as its character, `None` as an empty string.
mod maybe_byte {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        byte: &Option<u8>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match byte {
            Some(byte) => serializer.serialize_char(char::from(*byte)),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        super::one_byte::parse(&text).map(Some).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_back_as_written() {
        let json = r#"{"delimiter":"tab","quote":"","escape":"\\","null":"\\N"}"#;
        let dialect: CsvDialect = serde_json::from_str(json).unwrap();
        assert_eq!((dialect.delimiter, dialect.quote), (b'\t', None));
        assert_eq!((dialect.escape, dialect.null.as_str()), (Some(b'\\'), "\\N"));
        dialect.check().unwrap();
        let text = serde_json::to_string(&dialect).unwrap();
        assert_eq!(serde_json::from_str::<CsvDialect>(&text).unwrap(), dialect);
        CsvDialect::default().check().unwrap();
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for (json, word) in [
            (r#"{"delimiter":"\""}"#, "quote"),
            (r#"{"delimiter":"\n"}"#, "line end"),
            (r#"{"comment":","}"#, "comment"),
            (r#"{"escape":","}"#, "escape"),
            (r#"{"null":"a,b"}"#, "null"),
            (r##"{"null":"#","comment":"#"}"##, "null"),
            (r#"{"other_nulls":["-","a,b"]}"#, "null"),
        ] {
            let dialect: CsvDialect = serde_json::from_str(json).unwrap();
            let error = dialect.check().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(error.message.contains(word), "{json}: {error}");
        }
        for json in
            [r#"{"delimiter":""}"#, r#"{"delimiter":"ab"}"#, r#"{"quote":"«"}"#, r#"{"x":1}"#]
        {
            assert!(serde_json::from_str::<CsvDialect>(json).is_err(), "{json}");
        }
    }
}
