//! Numbers with another decimal separator than the point, or with digits in groups: `1.234,50`. They
//! become the usual form, which `parse` reads.

use std::ops::Deref;

use crate::Fault;

/// How numbers are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Separators {
    /// A comma is what a point is in the usual form.
    pub decimal_comma: bool,
    /// Stands between groups of digits before the decimal separator, if they are grouped.
    pub thousands: Option<String>,
}

/// The bytes of a number on the stack; longer ones are allocated.
const SHORT: usize = 64;

/// A number in its usual form.
pub(crate) enum Usual {
    Short([u8; SHORT], usize),
    Long(Vec<u8>),
}

impl Deref for Usual {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes, length) => &bytes[..*length],
            Self::Long(bytes) => bytes,
        }
    }
}

impl Separators {
    /// Whether numbers are written in the usual form.
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }

    fn point(&self) -> u8 {
        if self.decimal_comma { b',' } else { b'.' }
    }

    /// The number in its usual form; `None` if it has none.
    pub fn usual_form(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.usual(text).ok().map(|usual| usual.to_vec())
    }

    /// The number in its usual form. What is no number then is left to the parser to refuse.
    ///
    /// # Errors
    /// [`Fault::Parse`] for groups of another size than three digits (or two, as in
    /// `12,34,567`), and for a point that separates nothing.
    pub(crate) fn usual(&self, text: &[u8]) -> Result<Usual, Fault> {
        if text.len() > SHORT {
            let mut long = vec![0; text.len()];
            let length = self.convert(text, &mut long)?;
            long.truncate(length);
            return Ok(Usual::Long(long));
        }
        let mut short = [0; SHORT];
        let length = self.convert(text, &mut short)?;
        Ok(Usual::Short(short, length))
    }

    /// Writes the usual form to `out` and returns its length.
    fn convert(&self, text: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let point = memchr::memchr(self.point(), text).unwrap_or(text.len());
        let (whole, fraction) = text.split_at(point);
        let mut length = 0;
        let mut put = |bytes: &[u8]| {
            out[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        match self.thousands.as_deref().map(str::as_bytes) {
            Some(mark) if !mark.is_empty() => groups(whole, mark, &mut put)?,
            _ if whole.contains(&b'.') => return Err(Fault::Parse),
            _ => put(whole),
        }
        if let [_, digits @ ..] = fraction {
            if digits.iter().any(|byte| matches!(byte, b'.' | b',')) {
                return Err(Fault::Parse);
            }
            put(b".");
            put(digits);
        }
        Ok(length)
    }

    /// Replaces the point of a number that was appended to `out` behind `start`.
    pub(crate) fn replace_point(&self, out: &mut [u8], start: usize) {
        if self.decimal_comma
            && let Some(point) = memchr::memchr(b'.', &out[start..])
        {
            out[start + point] = b',';
        }
    }
}

/// Passes on the digits of groups.
fn groups(mut whole: &[u8], mark: &[u8], put: &mut impl FnMut(&[u8])) -> Result<(), Fault> {
    let mut first = true;
    loop {
        let end = memchr::memmem::find(whole, mark);
        let (group, rest) = whole.split_at(end.unwrap_or(whole.len()));
        let digits = group.strip_prefix(b"-").or(group.strip_prefix(b"+")).filter(|_| first);
        let digits = digits.unwrap_or(group);
        let sizes = match (first, end) {
            (true, None) => 0..=usize::MAX,
            (true, Some(_)) => 1..=3,
            (false, Some(_)) if mark == b"," => 2..=3,
            (false, Some(_)) => 3..=3,
            (false, None) => 3..=3,
        };
        let odd = |byte: &u8| {
            if end.is_some() || !first { !byte.is_ascii_digit() } else { *byte == b'.' }
        };
        if !sizes.contains(&digits.len()) || digits.iter().any(odd) {
            return Err(Fault::Parse);
        }
        put(group);
        if end.is_none() {
            return Ok(());
        }
        whole = &rest[mark.len()..];
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(decimal_comma: bool, thousands: &str, text: &str) -> Option<String> {
        let thousands = Some(thousands.to_owned()).filter(|it| !it.is_empty());
        let separators = Separators { decimal_comma, thousands };
        let usual = separators.usual(text.as_bytes()).ok()?;
        Some(String::from_utf8(usual.to_vec()).unwrap())
    }

    #[test]
    fn numbers_become_usual_or_are_refused() {
        for (comma, thousands, text, expected) in [
            (true, ".", "1.234,50", Some("1234.50")),
            (true, ".", "-1.234.567", Some("-1234567")),
            (true, ".", "1234,5", Some("1234.5")),
            (true, ".", "+12", Some("+12")),
            (true, "", "2,50", Some("2.50")),
            (true, "", "1e5", Some("1e5")),
            (false, ",", "1,234.50", Some("1234.50")),
            (false, ",", "12,34,567", Some("1234567")),
            (false, "'", "1'234.5", Some("1234.5")),
            (true, "\u{202f}", "1\u{202f}234,5", Some("1234.5")),
            (true, " ", "1 234,5", Some("1234.5")),
            (true, "", "2.50", None),
            (true, "", "1.234,50", None),
            (true, ".", "1.5", None),
            (true, ".", "1.23.456", None),
            (true, ".", ".234", None),
            (true, ".", "1..234", None),
            (true, ".", "1234.567", None),
            (true, ".", "1,2,3", None),
            (true, ".", "1,234.5", None),
            (false, ",", "1,23", None),
            (false, ",", "1.234,5", None),
        ] {
            assert_eq!(usual(comma, thousands, text).as_deref(), expected, "{text}");
        }
        let long = format!("{},5", "9".repeat(100));
        assert_eq!(usual(true, "", &long), Some(long.replace(',', ".")));
    }
}
