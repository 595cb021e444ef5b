//! The statements that digest ranges of keys inside a database. How a database writes the text of a
//! value, a SHA-256 and a key it says itself, in [`DigestSql`]; the order of keys is one that all
//! databases share, or they are not digested.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Column, Error, LogicalType, Result};

/// A range of keys, by the texts of their values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The key's columns.
    pub key: Vec<String>,
    /// Only greater keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// Only these keys and smaller ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Vec<String>>,
}

impl Keys {
    /// The range in words: `id > 100 and id <= 200`.
    pub(crate) fn label(&self) -> String {
        let names = self.key.join(", ");
        let one = |sign: &str, key: &Option<Vec<String>>| {
            key.as_ref().map(|key| format!("{names} {sign} {}", key.join(", ")))
        };
        let parts: Vec<_> =
            [one(">", &self.after), one("<=", &self.up_to)].into_iter().flatten().collect();
        if parts.is_empty() { "all".to_owned() } else { parts.join(" and ") }
    }
}

/// A range of fewer rows is not divided again.
pub const FEWEST: u32 = 500;

/// The digest of a part of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeDigest {
    /// The key at its end; `None` of the last part.
    pub up_to: Option<Vec<String>>,
    /// How many rows it has.
    pub rows: u64,
    /// The sum of the upper halves of the rows' checksums.
    pub high: u64,
    /// The sum of the lower halves.
    pub low: u64,
}

/// Two sums in 32 hexadecimal digits.
pub fn sum_of(high: u64, low: u64) -> String {
    format!("{high:016x}{low:016x}")
}

/// How keys of a type are ordered, the same in every database that digests them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// Integers.
    Integer,
    /// Text by its bytes, where the column's collation does so.
    Text,
    /// By the calendar, in its text.
    Time,
    /// Bytes, in hexadecimal digits.
    Bytes,
}

impl KeyOrder {
    /// The order of a type; `None` if it is not the same everywhere.
    pub fn of(logical: &LogicalType) -> Option<Self> {
        use LogicalType as L;
        Some(match logical {
            L::Int8 | L::Int16 | L::Int32 | L::Int64 => Self::Integer,
            L::UInt8 | L::UInt16 | L::UInt32 | L::UInt64 => Self::Integer,
            L::Text { .. } => Self::Text,
            L::Date => Self::Time,
            L::Timestamp { precision } | L::TimestampTz { precision } if *precision <= 6 => {
                Self::Time
            }
            L::Uuid | L::Binary => Self::Bytes,
            _ => return None,
        })
    }

    /// Whether a text is a key of this order, so that it can be written into a statement.
    pub fn takes(self, text: &str) -> bool {
        let all = |test: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| test(&byte));
        match self {
            Self::Integer => text.parse::<i128>().is_ok(),
            Self::Text => !text.contains('\0'),
            Self::Time => all(|byte| byte.is_ascii_digit() || b" -:.Z".contains(byte)),
            Self::Bytes => {
                text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
            }
        }
    }
}

/// How one database writes what a digest needs.
pub trait DigestSql {
    /// `text` as an expression whose value is the text of a row: of each column's text or NULL.
    fn row_text(&self, texts: &[String]) -> String;

    /// The SHA-256 of a text, in hexadecimal digits.
    fn hash(&self, text: &str) -> String;

    /// The sum of 16 hexadecimal digits behind place `from` (counted from 1) of the column `h`.
    fn sum(&self, from: u32) -> String;

    /// What stands at the end of a subquery so that a column of it is computed once for each row, and
    /// not wherever it is used. Nothing where the server would keep all rows of the subquery for that.
    fn once(&self) -> &'static str {
        ""
    }

    /// `count` divided by `parts` without a remainder, rounded up; [`FEWEST`] at least.
    fn share(&self, count: &str, parts: u32) -> String;
}

/// The rows of a range: `FROM ... WHERE ...`.
#[derive(Clone, Debug)]
pub struct DigestRange<'a> {
    /// The table, quoted.
    pub from: &'a str,
    /// The conditions that rows meet.
    pub conditions: &'a [String],
}

impl DigestRange<'_> {
    fn sql(&self) -> String {
        let conditions: Vec<_> = self.conditions.iter().map(|it| format!("({it}\n)")).collect();
        match conditions.is_empty() {
            true => self.from.to_owned(),
            false => format!("{} WHERE {}", self.from, conditions.join(" AND ")),
        }
    }

    /// The keys at which the range is divided into parts of `share` rows, an expression of the range's
    /// number of rows `c`; `key` are the columns, `texts` their texts.
    pub fn bounds(&self, key: &[String], texts: &[String], share: &str) -> String {
        let order = key.join(", ");
        let (mut inner, mut outer) = (String::new(), String::new());
        for (index, text) in texts.iter().enumerate() {
            let _ = write!(inner, "{text} AS k{index}, ");
            let _ = write!(outer, "{}k{index}", if index == 0 { "" } else { ", " });
        }
        format!(
            "SELECT {outer} FROM (SELECT {inner}ROW_NUMBER() OVER (ORDER BY {order}) AS n, \
             COUNT(*) OVER () AS c FROM {}) AS q WHERE n % {share} = 0 AND n < c ORDER BY n",
            self.sql()
        )
    }

    /// For each part its number, its count, that of the rows that have a hash, and the sums; `inside`
    /// are the conditions of all parts but the last.
    pub fn digest(&self, dialect: &dyn DigestSql, columns: &[String], inside: &[String]) -> String {
        let mut part = String::from("0");
        if !inside.is_empty() {
            part = String::from("CASE");
            for (index, condition) in inside.iter().enumerate() {
                let _ = write!(part, " WHEN {condition} THEN {index}");
            }
            let _ = write!(part, " ELSE {} END", inside.len());
        }
        let hash = dialect.hash(&dialect.row_text(columns));
        let (high, low) = (dialect.sum(1), dialect.sum(17));
        format!(
            "SELECT p, COUNT(*), COUNT(h), {high}, {low} FROM (SELECT {part} AS p, {hash} AS h FROM {}{}) AS q \
             GROUP BY p",
            self.sql(),
            dialect.once()
        )
    }
}

/// A key that one database can divide, in the order that all databases share.
pub trait DigestKey {
    /// Its columns, quoted.
    fn columns(&self) -> &[String];

    /// The order of the column at this place.
    fn order(&self, at: usize) -> KeyOrder;

    /// A text that [`KeyOrder::takes`] as a literal of the column at this place.
    fn literal(&self, at: usize, text: &str) -> String;

    /// The condition of a range; `None` for all keys.
    ///
    /// # Errors
    /// As [`DigestKey::side`].
    fn condition(&self, keys: &Keys) -> Result<Option<String>> {
        let after = keys.after.as_ref().map(|key| self.side(KeySign::After, key));
        let up_to = keys.up_to.as_ref().map(|key| self.side(KeySign::UpTo, key));
        let parts = [after, up_to].into_iter().flatten().collect::<Result<Vec<_>>>()?;
        Ok((!parts.is_empty()).then(|| parts.join(" AND ")))
    }

    /// The condition of one side of a key.
    ///
    /// # Errors
    /// [`ErrorKind::Data`](transload_plugin_api::ErrorKind::Data) for a key of another form.
    fn side(&self, sign: KeySign, key: &[String]) -> Result<String> {
        let columns = self.columns();
        if key.len() != columns.len() {
            return Err(Error::data("a key of other columns"));
        }
        let literal = |(at, text): (usize, &String)| match self.order(at).takes(text) {
            true => Ok(self.literal(at, text)),
            false => Err(Error::data(format!("`{text}` is not a key of {}", columns[at]))),
        };
        let literals = key.iter().enumerate().map(literal).collect::<Result<Vec<_>>>()?;
        Ok(key_condition(columns, sign, &literals))
    }
}

/// The condition of a range of keys, of a key that the database can divide or cannot.
///
/// # Errors
/// [`ErrorKind::Unsupported`](transload_plugin_api::ErrorKind::Unsupported) if it cannot.
pub fn keys_condition(key: Option<impl DigestKey>, keys: &Keys) -> Result<Option<String>> {
    match key {
        Some(key) => key.condition(keys),
        None => Err(Error::unsupported("rows are not divided by this key")),
    }
}

/// The condition `columns <= key`, or `>`: by columns one after the other, so that an index serves it.
fn key_condition(columns: &[String], sign: KeySign, literals: &[String]) -> String {
    let mut condition = String::new();
    for (column, literal) in columns.iter().zip(literals).rev() {
        condition = match (condition.is_empty(), sign) {
            (true, KeySign::UpTo) => format!("{column} <= {literal}"),
            (true, KeySign::After) => format!("{column} > {literal}"),
            (false, KeySign::UpTo) => {
                format!("({column} <= {literal} AND ({column} < {literal} OR {condition}))")
            }
            (false, KeySign::After) => {
                format!("({column} >= {literal} AND ({column} > {literal} OR {condition}))")
            }
        };
    }
    condition
}

/// On which side of a key rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySign {
    /// At the key or before it.
    UpTo,
    /// Behind it.
    After,
}

/// The digests of `count` parts from rows of the part's number, its count and its sums; `keys` are
/// the ends of all but the last.
pub fn parts_of(
    keys: Vec<Vec<String>>,
    rows: impl IntoIterator<Item = (usize, u64, i128, i128)>,
) -> Vec<RangeDigest> {
    let ends = keys.into_iter().map(Some).chain([None]);
    let mut parts: Vec<_> =
        ends.map(|up_to| RangeDigest { up_to, ..RangeDigest::default() }).collect();
    for (part, count, high, low) in rows {
        if let Some(part) = parts.get_mut(part) {
            // A sum of signed halves leaves 64 bits as one of unsigned ones does.
            (part.rows, part.high, part.low) = (count, high as u64, low as u64);
        }
    }
    parts
}

/// What kind of value a column's text stands for: only within one kind equal texts are equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// Integers and decimals.
    Number,
    /// Doubles.
    Float,
    /// Booleans.
    Boolean,
    /// Text.
    Text,
    /// Dates.
    Date,
    /// Times of day and spans of time.
    Clock,
    /// Timestamps without a zone.
    Timestamp,
    /// Timestamps with a zone.
    TimestampTz,
    /// Bytes and UUIDs, in hexadecimal digits.
    Bytes,
}

impl TextKind {
    /// The kind of a type; `None` if its texts are not the same everywhere.
    pub fn of(logical: &LogicalType) -> Option<Self> {
        use LogicalType as L;
        Some(match logical {
            L::Boolean => Self::Boolean,
            L::Int8 | L::Int16 | L::Int32 | L::Int64 => Self::Number,
            L::UInt8 | L::UInt16 | L::UInt32 | L::UInt64 => Self::Number,
            L::Decimal { .. } | L::Numeric => Self::Number,
            L::Float64 => Self::Float,
            L::Text { .. } => Self::Text,
            L::Date => Self::Date,
            L::Time { precision } if *precision <= 6 => Self::Clock,
            L::Duration => Self::Clock,
            L::Timestamp { precision } if *precision <= 6 => Self::Timestamp,
            L::TimestampTz { precision } if *precision <= 6 => Self::TimestampTz,
            L::Uuid | L::Binary => Self::Bytes,
            _ => return None,
        })
    }

    /// The kind in which a column of the type `own` is compared as `wanted`.
    pub fn common(own: &LogicalType, wanted: &Column) -> Option<Self> {
        let kind = Self::of(&wanted.logical)?;
        (Self::of(own) == Some(kind)).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn keys_of_several_columns_are_compared_one_after_the_other() {
        let columns = texts(&["a", "b", "c"]);
        let condition = |sign, count: usize| {
            key_condition(&columns[..count], sign, &texts(&["1", "2", "3"])[..count])
        };
        assert_eq!(condition(KeySign::UpTo, 1), "a <= 1");
        assert_eq!(condition(KeySign::After, 2), "(a >= 1 AND (a > 1 OR b > 2))");
        assert_eq!(
            condition(KeySign::UpTo, 3),
            "(a <= 1 AND (a < 1 OR (b <= 2 AND (b < 2 OR c <= 3))))"
        );
    }

    #[test]
    fn only_keys_of_a_known_form_get_into_a_statement() {
        for (order, good, bad) in [
            (KeyOrder::Integer, "-12", "1 OR 1=1"),
            (KeyOrder::Time, "2024-01-01 10:00:00.5Z", "2024-01-01'"),
            (KeyOrder::Bytes, "00ff", "0x00"),
            (KeyOrder::Text, "it's", "a\0b"),
        ] {
            assert!(order.takes(good) && !order.takes(bad), "{order:?}");
        }
    }

    #[test]
    fn parts_without_rows_are_there_and_sums_keep_64_bits() {
        let parts = parts_of(vec![texts(&["5"]), texts(&["9"])], [(2, 7, -1, 1 << 64)]);
        assert_eq!(parts.len(), 3);
        assert_eq!((parts[0].rows, parts[2].rows), (0, 7));
        assert_eq!((parts[2].high, parts[2].low, &parts[2].up_to), (u64::MAX, 0, &None));
        let keys = Keys { key: texts(&["id"]), after: Some(texts(&["5"])), up_to: None };
        assert_eq!(keys.label(), "id > 5");
    }
}
