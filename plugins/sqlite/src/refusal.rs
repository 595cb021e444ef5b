//! What a column cannot keep as it is. SQLite converts by affinity and enforces no length; a value
//! that would come back as another one is refused before it is bound.

use transload_plugin_api::LogicalType;
use transload_values::{is_longer, parse};

use crate::{catalog::TableColumn, types::Affinity};

/// A target column and the type in which its values come.
#[derive(Clone, Debug)]
pub(crate) struct BoundColumn {
    pub(crate) name: String,
    pub(crate) logical: LogicalType,
    affinity: Affinity,
    refuses_null: bool,
    /// The declared length in characters, which SQLite does not enforce.
    length: Option<u32>,
}

impl BoundColumn {
    pub(crate) fn new(target: &TableColumn, logical: &LogicalType) -> Self {
        let length = match target.column.logical {
            LogicalType::Text { length } => length,
            _ => None,
        };
        Self {
            name: target.column.name.clone(),
            logical: logical.clone(),
            affinity: target.affinity,
            refuses_null: target.is_rowid,
            length,
        }
    }

    /// Whether SQLite makes numbers of text in the column.
    pub(crate) fn makes_numbers(&self) -> bool {
        self.affinity.makes_numbers()
    }

    pub(crate) fn check_null(&self) -> Result<(), Refusal> {
        if self.refuses_null { Err(Refusal::Null) } else { Ok(()) }
    }

    pub(crate) fn check_double(&self, value: f64) -> Result<(), Refusal> {
        if value.is_nan() {
            return Err(Refusal::NotANumber);
        }
        // Kept where nothing is converted; elsewhere stored like the integer 0.
        if value == 0.0 && value.is_sign_negative() && self.makes_numbers() {
            return Err(Refusal::NegativeZero);
        }
        Ok(())
    }

    pub(crate) fn check_text(&self, text: &str) -> Result<(), Refusal> {
        if let Some(length) = self.length
            && is_longer(text.as_bytes(), length)
        {
            return Err(Refusal::Length(length));
        }
        if self.makes_numbers() && looks_like_a_number(text.as_bytes()) {
            return Err(Refusal::Affinity);
        }
        Ok(())
    }

    /// Whether number text survives in the column: always as text, otherwise as the 64-bit
    /// integer or the double of at most 15 digits that SQLite makes of it.
    pub(crate) fn check_number(&self, text: &[u8]) -> Result<(), Refusal> {
        if !self.makes_numbers() {
            return Ok(());
        }
        let number = parse::Number::read(text).ok_or(Refusal::Syntax)?;
        let is_integer = self.affinity != Affinity::Real && parse::integer::<i64>(text).is_ok();
        let is_double = || number.significant_digits() <= 15 && parse::float::<f64>(text).is_ok();
        if is_integer || is_double() { Ok(()) } else { Err(Refusal::Digits) }
    }
}

/// A value that SQLite would not keep as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// NULL in a column that would make a number of it.
    Null,
    /// An unsigned number beyond SQLite's integers.
    Unsigned,
    /// NaN, which SQLite stores as NULL.
    NotANumber,
    /// -0, which SQLite stores as 0.
    NegativeZero,
    /// More digits than a double keeps.
    Digits,
    /// Text that the column's affinity would make a number.
    Affinity,
    /// Longer than declared.
    Length(u32),
    /// A date or time that ISO text cannot say.
    Calendar,
    /// Not a number at all, in a column of numbers.
    Syntax,
    /// Longer than SQLite's own limit.
    TooBig,
}

impl Refusal {
    /// The stable code and the words of the dirty row.
    pub(crate) fn words(self) -> (&'static str, String) {
        let text = |words: &str| words.to_owned();
        match self {
            Self::Null => ("null", text("null in the rowid's column would become a new number")),
            Self::Unsigned => {
                ("range", text("above 9223372036854775807, SQLite's largest integer"))
            }
            Self::NotANumber => ("range", text("SQLite would store NaN as NULL")),
            Self::NegativeZero => ("range", text("SQLite would store -0 as 0")),
            Self::Digits => (
                "range",
                text(
                    "more than 15 significant digits would not survive in a column without TEXT affinity",
                ),
            ),
            Self::Affinity => (
                "type",
                text(
                    "text that looks like a number would become one in a column without TEXT affinity",
                ),
            ),
            Self::Length(length) => {
                ("length", format!("longer than the declared {length} characters"))
            }
            Self::Calendar => {
                ("range", text("outside the years 0000 to 9999 or the hours of a day"))
            }
            Self::Syntax => ("parse", text("not a decimal number")),
            Self::TooBig => ("length", text("longer than SQLite can store")),
        }
    }
}

/// What SQLite's numeric affinity takes for a number: blanks around it, a sign, a point, an
/// exponent; nothing else.
fn looks_like_a_number(text: &[u8]) -> bool {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let Some(start) = text.iter().position(|byte| !is_blank(byte)) else { return false };
    let end = text.iter().rposition(|byte| !is_blank(byte)).unwrap_or(start);
    let text = &text[start..=end];
    parse::Number::read(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_text_are_seen_as_sqlite_sees_them() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t(a NUMERIC)").unwrap();
        for text in [
            "1",
            "-1",
            "+1.50",
            " 12 ",
            "1e5",
            "1E-5",
            ".5",
            "5.",
            "1e",
            "e5",
            "",
            " ",
            "abc",
            "1a",
            "0x10",
            "1 2",
            "1e5.0",
            "NaN",
            "inf",
            "2024-01-01",
            "12:00:00",
            "\t7\n",
            "--1",
            "1_0",
        ] {
            connection.execute("INSERT INTO t VALUES (?1)", [text]).unwrap();
            let class: String = connection
                .query_row("SELECT typeof(a) FROM t WHERE rowid = last_insert_rowid()", [], |row| {
                    row.get(0)
                })
                .unwrap();
            assert_eq!(looks_like_a_number(text.as_bytes()), class != "text", "{text:?}");
        }
    }
}
