//! Dirty rows: what a reader could not read and a writer could not write, each with all that is
//! needed to find it and to send it again. Counting, limiting and keeping them are left to the host.

use serde::{Deserialize, Serialize};

/// A row that could not be read, or whose values the destination refuses. The host counts it
/// against the job's limit, writes it to the file of dirty rows, and continues.
///
/// A reader also says where the row is and what it holds, as far as it knows: its number, its text
/// or its values. Of a row that a writer or the conversion refuses, the host knows both.
///
/// # Examples
/// ```
/// use transload_plugin_api::{DirtyRow, RowError};
///
/// let row = DirtyRow::new("parse", "expected an integer, found `4x`")
///     .column("number")
///     .value("4x")
///     .place("numbers.txt, line 3")
///     .number(3)
///     .text(*b"4x,")
///     .error(RowError::new("null", "a value is missing").column("name"));
/// assert_eq!(row.errors().count(), 2);
/// # assert_eq!(row, serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirtyRow {
    /// From a writer: the row's index in the batch it was given. From a reader: 0.
    pub row: u64,
    /// From a reader: the place of the row, for messages. Of a row that has a number only, and of a
    /// writer's row, the host takes it from the batch's [`Origin`](crate::Origin).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// From a reader: the number of the row in the source, in the unit of the batch's
    /// [`Origin`](crate::Origin): its line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The column at fault, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The value at fault as text. The host shortens it and removes secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A stable word for programs: `parse`, `range`, `null`, `unique`, ...
    pub code: String,
    /// The reason in words: what was expected, what was found.
    pub reason: String,
    /// What else is wrong with the row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<RowError>,
    /// From the reader of a text format: the whole record as it is in the source, without its line
    /// end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<RowText>,
    /// From a reader: the whole row as a JSON object, its values by the names of the source's
    /// columns. `transload_values` writes it in the form that docs/json.md describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// From the reader of a text format: the columns of the record's cells, where their order is
    /// not that of [`RecordForm::columns`](crate::RecordForm::columns).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

impl DirtyRow {
    /// A dirty row with one error. See [`RowError`] for both texts.
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into(), ..Self::default() }
    }

    /// With the index in the batch that a writer was given.
    #[must_use]
    pub fn row(self, row: u64) -> Self {
        Self { row, ..self }
    }

    /// With the place in words.
    #[must_use]
    pub fn place(self, place: impl Into<String>) -> Self {
        Self { place: Some(place.into()), ..self }
    }

    /// With the number of the row in the source.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        Self { number: Some(number), ..self }
    }

    /// With the column at fault.
    #[must_use]
    pub fn column(self, column: impl Into<String>) -> Self {
        Self { column: Some(column.into()), ..self }
    }

    /// With the value at fault.
    #[must_use]
    pub fn value(self, value: impl Into<String>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    /// With the bytes of the whole record.
    #[must_use]
    pub fn text(self, text: impl Into<Vec<u8>>) -> Self {
        Self { text: Some(RowText(text.into())), ..self }
    }

    /// With all values, as a JSON object.
    #[must_use]
    pub fn values(self, values: impl Into<String>) -> Self {
        Self { values: Some(values.into()), ..self }
    }

    /// With one more error.
    #[must_use]
    pub fn error(mut self, error: RowError) -> Self {
        self.more.push(error);
        self
    }

    /// All errors of the row.
    pub fn errors(&self) -> impl Iterator<Item = RowError> + '_ {
        let Self { column, value, code, reason, more, .. } = self;
        let (column, value) = (column.clone(), value.clone());
        let first = RowError { column, value, code: code.clone(), reason: reason.clone() };
        std::iter::once(first).chain(more.iter().cloned())
    }
}

/// One thing that is wrong with a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowError {
    /// The column at fault, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The value at fault as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A stable word for programs: `parse`, `range`, `null`, `unique`, ...
    pub code: String,
    /// The reason in words: what was expected, what was found.
    pub reason: String,
}

impl RowError {
    /// An error with a stable word for programs and the reason in words.
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into(), ..Self::default() }
    }

    /// With the column at fault.
    #[must_use]
    pub fn column(self, column: impl Into<String>) -> Self {
        Self { column: Some(column.into()), ..self }
    }

    /// With the value at fault.
    #[must_use]
    pub fn value(self, value: impl Into<String>) -> Self {
        Self { value: Some(value.into()), ..self }
    }
}

/// A row with this error alone.
impl From<RowError> for DirtyRow {
    fn from(error: RowError) -> Self {
        let RowError { column, value, code, reason } = error;
        Self { column, value, code, reason, ..Self::default() }
    }
}

/// What is wrong with a row, roughly: the class of its first error. A job may limit each class.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DirtyClass {
    /// A record that is not divided as it should be, a text that is no value of its type.
    Parse,
    /// A text that is not in its encoding.
    Encoding,
    /// A value that its column does not hold. Codes of no other class belong here.
    Type,
    /// What a constraint or a trigger of the target refuses, NULL where a value is required.
    Constraint,
}

impl DirtyClass {
    /// All classes, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Parse, Self::Encoding, Self::Type, Self::Constraint];

    /// The class of a row whose first error has this code.
    pub fn of(code: &str) -> Self {
        match code {
            "parse" | "ragged" | "duplicate" | "unknown" => Self::Parse,
            "utf8" => Self::Encoding,
            "null" | "unique" | "foreign-key" | "check" | "exclusion" | "trigger"
            | "constraint" => Self::Constraint,
            _ => Self::Type,
        }
    }

    /// The word in job files and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Encoding => "encoding",
            Self::Type => "type",
            Self::Constraint => "constraint",
        }
    }
}

/// The bytes of a record. In JSON a string, or `{"hex": "..."}` if they are not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RowTextForm", into = "RowTextForm")]
pub struct RowText(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RowTextForm {
    Text(String),
    Bytes { hex: String },
}

impl From<RowText> for RowTextForm {
    fn from(RowText(bytes): RowText) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => {
                let digits = |byte: &u8| format!("{byte:02x}");
                Self::Bytes { hex: error.as_bytes().iter().map(digits).collect() }
            }
        }
    }
}

impl TryFrom<RowTextForm> for RowText {
    type Error = String;

    fn try_from(form: RowTextForm) -> Result<Self, String> {
        let hex = match form {
            RowTextForm::Text(text) => return Ok(Self(text.into_bytes())),
            RowTextForm::Bytes { hex } => hex,
        };
        let wrong = || format!("`{}` are no hexadecimal digits", hex.escape_debug());
        if !hex.is_ascii() || hex.len() % 2 != 0 {
            return Err(wrong());
        }
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong());
        (0..hex.len()).step_by(2).map(byte).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_an_older_plugin_is_understood() {
        let row: DirtyRow = serde_json::from_str(
            r#"{"row":3,"place":"line 7","column":"id","value":"x","code":"parse","reason":"no number"}"#,
        )
        .unwrap();
        let expected = DirtyRow::new("parse", "no number").column("id").value("x");
        assert_eq!(row, expected.place("line 7").row(3));
    }

    #[test]
    fn a_row_for_an_older_host_has_its_first_error_where_it_was() {
        let row = DirtyRow::new("parse", "a").column("id").error(RowError::new("null", "b"));
        let json = serde_json::to_value(row.text(*b"x")).unwrap();
        assert_eq!((&json["code"], &json["column"]), (&"parse".into(), &"id".into()));
        assert_eq!(json["more"][0]["code"], "null");
    }

    #[test]
    fn the_bytes_of_a_record_come_back() {
        for (bytes, json) in
            [(&b"1,\"a\""[..], r#""1,\"a\"""#), (b"\xff\x00", r#"{"hex":"ff00"}"#), (b"", r#""""#)]
        {
            let text = RowText(bytes.to_vec());
            assert_eq!(serde_json::to_string(&text).unwrap(), json);
            assert_eq!(serde_json::from_str::<RowText>(json).unwrap(), text);
        }
        for wrong in [r#"{"hex":"f"}"#, r#"{"hex":"fg"}"#, r#"{"hex":"é"}"#, "1"] {
            assert!(serde_json::from_str::<RowText>(wrong).is_err(), "{wrong}");
        }
    }
}
