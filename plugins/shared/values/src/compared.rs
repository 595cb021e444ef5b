//! The text by which values of two stores are compared, and the checksum of a row of such texts.
//! Equal texts are equal values and the reverse, however a store writes them: `1.0` and `1.00` are
//! one number, `2024-01-01 00:00:00.5` and `.500` one moment. Databases compute the same checksum
//! in SQL, which their plugins write.
//!
//! | type | text |
//! |---|---|
//! | boolean | `true`, `false` |
//! | integers, decimal, numeric | digits without zeros at either end: `1.5`, `-7`; `NaN`, `Infinity` |
//! | float32, float64 | of the value as float64: `1.5`, `7`, `1e20`; `-0`, `NaN`, `Infinity` |
//! | text | as it is; without blanks at its end in a type of fixed length |
//! | date, time, timestamp, duration | as in files, with a blank and without zeros at the end; `Z` behind a timestamptz |
//! | binary, uuid | lower case hexadecimal digits |
//! | json | keys sorted, the last of equal ones; integers of 64 bits exactly, other numbers as float64 |
//! | interval, list, native | own forms, which no database computes |

use arrow_array::{Array, ListArray};
use arrow_buffer::NullBuffer;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use transload_plugin_api::{Column, LogicalType, Result};

use crate::{View, write};

/// The values of one column of a batch, ready to be compared.
pub struct Compared<'a> {
    view: View<'a>,
    nulls: Option<&'a NullBuffer>,
    logical: &'a LogicalType,
    /// Blanks at the end of a text do not count.
    padded: bool,
}

impl<'a> Compared<'a> {
    /// The values of a column of a batch.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] if the array does not carry the column's type.
    pub fn new(column: &'a Column, array: &'a dyn Array) -> Result<Self> {
        let view = View::of_column(column, array)?;
        let (nulls, logical) = (array.nulls(), &column.logical);
        Ok(Self { view, nulls, logical, padded: is_padded(&column.native) })
    }

    /// Whether the value of the row is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the text of the value of the row, which must not be NULL.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        match &self.view {
            View::Decimal128(values, scale) => {
                write::decimal(values[row], *scale, out);
                trim_fraction(*scale, out);
            }
            View::Decimal256(values, scale) => {
                write::wide_decimal(values[row], *scale, out);
                trim_fraction(*scale, out);
            }
            View::Numeric(values) => number(values.value(row), out),
            View::Float32(values) => float(values[row].into(), out),
            View::Float64(values) => float(values[row], out),
            View::Text(values) if self.padded => {
                out.extend_from_slice(values.value(row).trim_end_matches(' ').as_bytes());
            }
            View::Json(values) => json(values.value(row), out),
            View::Uuid(values) => write::hex(values.value(row), out),
            View::TimestampTz(values, ticks) => {
                write::timestamp(values[row], *ticks, b' ', out);
                out.push(b'Z');
            }
            View::Interval(values) => {
                let it = values[row];
                let text = format!("{} months {} days {} ns", it.months, it.days, it.nanoseconds);
                out.extend_from_slice(text.as_bytes());
            }
            View::List(lists) => self.list(lists, row, out),
            view => view.write(row, out),
        }
    }

    /// Appends the text of the value as people read it.
    pub fn show(&self, row: usize, out: &mut Vec<u8>) {
        match &self.view {
            View::Interval(_) | View::List(_) => self.write(row, out),
            view => view.write(row, out),
        }
    }

    fn list(&self, lists: &ListArray, row: usize, out: &mut Vec<u8>) {
        let LogicalType::List(item) = self.logical else { return };
        let items = lists.value(row);
        out.push(b'[');
        let Some(view) = View::of(item, items.as_ref()) else { return };
        let nulls = items.nulls();
        let items_of = Compared { view, nulls, logical: item, padded: false };
        let mut text = Vec::new();
        for index in 0..items.len() {
            out.extend_from_slice(if index == 0 { b"" } else { b", " });
            if items_of.is_null(index) {
                out.extend_from_slice(b"NULL");
                continue;
            }
            text.clear();
            items_of.write(index, &mut text);
            let text = String::from_utf8_lossy(&text).into_owned();
            out.extend_from_slice(Value::from(text).to_string().as_bytes());
        }
        out.push(b']');
    }
}

/// Whether values of a store's type are filled with blanks: `char(5)`, but not PostgreSQL's `"char"`.
fn is_padded(native: &str) -> bool {
    let name = native.split('(').next().unwrap_or_default().trim();
    ["char", "character", "bpchar", "nchar"].iter().any(|it| name.eq_ignore_ascii_case(it))
}

/// Takes zeros at the end of a fraction away, and a point without one.
fn trim_fraction(scale: usize, out: &mut Vec<u8>) {
    if scale > 0 {
        while out.last() == Some(&b'0') {
            out.pop();
        }
        if out.last() == Some(&b'.') {
            out.pop();
        }
    }
    if out.ends_with(b"-0") && out.len() == 2 {
        out.remove(0);
    }
}

/// The most zeros, or digits after the point, of a number that is written without an exponent.
const PLAIN_PLACES: usize = 1_000;

/// Appends the text of a number of any form.
fn number(text: &str, out: &mut Vec<u8>) {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (true, true, Ok(exponent)) = (is_digits(whole), is_digits(fraction), exponent.parse())
    else {
        return out.extend_from_slice(text.as_bytes());
    };
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return out.push(b'0');
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let exponent: i64 = exponent;
    let exponent = exponent.saturating_sub(fraction.len() as i64).saturating_add(zeros as i64);
    if negative {
        out.push(b'-');
    }
    let places = exponent.unsigned_abs() as usize;
    if places > PLAIN_PLACES {
        out.extend_from_slice(format!("{significant}e{exponent}").as_bytes());
    } else if exponent < 0 {
        write::pointed(significant.as_bytes(), places, out);
    } else {
        out.extend_from_slice(significant.as_bytes());
        out.resize(out.len() + places, b'0');
    }
}

/// Appends the text of a float, as a double's.
fn float(value: f64, out: &mut Vec<u8>) {
    let text = match value.abs() {
        _ if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY if value > 0.0 => "Infinity".to_owned(),
        f64::INFINITY => "-Infinity".to_owned(),
        0.0 | 1e-4..1e15 => value.to_string(),
        _ => format!("{value:e}"),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends a document in the one form of all that mean the same; an invalid one as it is.
fn json(text: &str, out: &mut Vec<u8>) {
    match serde_json::from_str(text) {
        Ok(value) => node(&value, out),
        Err(_) => out.extend_from_slice(text.as_bytes()),
    }
}

/// A double below it is a whole number exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn node(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.trunc() == float && float.abs() < EXACT => {
                write::integer(float as i64, out);
            }
            _ => out.extend_from_slice(number.to_string().as_bytes()),
        },
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"" } else { b"," });
                node(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (index, (name, item)) in members.into_iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"" } else { b"," });
                out.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                out.push(b':');
                node(item, out);
            }
            out.push(b'}');
        }
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// The texts of some columns of a row, one behind the other: `-` for NULL, else `+`, the number of
/// bytes, `:` and the text.
#[derive(Clone, Debug, Default)]
pub struct RowDigest {
    text: Vec<u8>,
    value: Vec<u8>,
}

impl RowDigest {
    /// Begins the next row.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// Adds the value of a column.
    pub fn push(&mut self, column: &Compared<'_>, row: usize) {
        if column.is_null(row) {
            return self.text.push(b'-');
        }
        self.value.clear();
        column.write(row, &mut self.value);
        self.text.push(b'+');
        write::integer(self.value.len(), &mut self.text);
        self.text.push(b':');
        self.text.extend_from_slice(&self.value);
    }

    /// The checksum of the row so far.
    pub fn checksum(&self) -> Checksum {
        let hash: [u8; 32] = Sha256::digest(&self.text).into();
        let (half, _) = hash.split_at(16);
        Checksum(half.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
    }
}

/// The first half of the SHA-256 of a row's text: databases have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum(pub u128);

/// The sum of checksums, the same in any order: of the upper and of the lower 64 bits, each without
/// what leaves 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumSum {
    high: u64,
    low: u64,
}

impl ChecksumSum {
    /// The sum of these halves.
    pub fn new(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    /// Adds the checksum of a row.
    pub fn add(&mut self, Checksum(row): Checksum) {
        self.high = self.high.wrapping_add((row >> 64) as u64);
        self.low = self.low.wrapping_add(row as u64);
    }
}

/// 32 hexadecimal digits.
impl std::fmt::Display for ChecksumSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Decimal128Array, Float32Array, Float64Array, StringArray};

    use super::*;

    fn text(logical: &str, native: &str, array: ArrayRef) -> String {
        let mut column = Column::new("c", logical.parse().unwrap(), true);
        native.clone_into(&mut column.native);
        let mut out = Vec::new();
        Compared::new(&column, &array).unwrap().write(0, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn of_text(logical: &str, value: &str) -> String {
        text(logical, "", Arc::new(StringArray::from(vec![value])))
    }

    #[test]
    fn one_number_has_one_text() {
        for (value, expected) in [
            ("00012.3400", "12.34"),
            ("12.34", "12.34"),
            ("1e5", "100000"),
            ("1.50E+2", "150"),
            ("-0.00", "0"),
            ("+7", "7"),
            ("5e-3", "0.005"),
            (".5", "0.5"),
            ("1e2000", "1e2000"),
            ("-120", "-120"),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
        ] {
            assert_eq!(of_text("numeric", value), expected, "{value}");
        }
        for (value, scale, expected) in
            [(150, 2, "1.5"), (-100, 2, "-1"), (0, 2, "0"), (100, 0, "100"), (-5, 3, "-0.005")]
        {
            let array = Decimal128Array::from(vec![value]);
            let array = array.with_precision_and_scale(9, scale).unwrap();
            assert_eq!(text(&format!("decimal(9,{scale})"), "", Arc::new(array)), expected);
        }
    }

    #[test]
    fn floats_differ_by_their_bits() {
        for (value, expected) in [
            (1.5, "1.5"),
            (7.0, "7"),
            (-0.0, "-0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e20, "1e20"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let found = text("float64", "", Arc::new(Float64Array::from(vec![value])));
            assert_eq!(found, expected);
        }
        let single = text("float32", "", Arc::new(Float32Array::from(vec![0.1])));
        assert_eq!(single, "0.10000000149011612");
    }

    #[test]
    fn documents_that_mean_the_same_are_equal() {
        let one = of_text("json", r#"{"b": 1.10, "a": [true, null, "x\u00e9"], "n": 1e2}"#);
        assert_eq!(one, r#"{"a":[true,null,"xé"],"b":1.1,"n":100}"#);
        assert_eq!(of_text("json", r#"{"a":2,"b":1,"a":1}"#), r#"{"a":1,"b":1}"#);
        assert_eq!(of_text("json", "18446744073709551615"), "18446744073709551615");
        assert_ne!(of_text("json", "9007199254740993"), of_text("json", "9007199254740992"));
    }

    #[test]
    fn blanks_count_but_at_the_end_of_fixed_length() {
        let array = || Arc::new(StringArray::from(vec!["a  "])) as ArrayRef;
        for (native, expected) in
            [("char(3)", "a"), ("character(3)", "a"), ("varchar(3)", "a  "), ("", "a  ")]
        {
            assert_eq!(text("text", native, array()), expected, "{native}");
        }
    }

    #[test]
    fn rows_are_told_apart() {
        let column = Column::new("c", LogicalType::TEXT, true);
        let row = |cells: &[Option<&str>]| {
            let mut text = RowDigest::default();
            for cell in cells {
                let array = StringArray::from(vec![*cell]);
                text.push(&Compared::new(&column, &array).unwrap(), 0);
            }
            text.checksum()
        };
        let rows = [
            row(&[None, Some("")]),
            row(&[Some(""), None]),
            row(&[Some("ab"), Some("")]),
            row(&[Some("a"), Some("b")]),
            row(&[Some("-"), Some("+")]),
        ];
        for (at, one) in rows.iter().enumerate() {
            assert!(rows[at + 1..].iter().all(|other| one != other), "{at}");
        }
        // What `SELECT SHA2('+1:a-', 256)` says.
        assert_eq!(format!("{:032x}", row(&[Some("a"), None]).0), hash_of("+1:a-"));
        let (mut one, mut other) = (ChecksumSum::default(), ChecksumSum::default());
        rows.iter().for_each(|it| one.add(*it));
        rows.iter().rev().for_each(|it| other.add(*it));
        assert_eq!((one, one.to_string().len()), (other, 32));
    }

    fn hash_of(text: &str) -> String {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
