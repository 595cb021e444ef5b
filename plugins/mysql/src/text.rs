//! What the text of a value is in the form that the server reads, in statements and in files: floats
//! and escapes. Other values are written as everywhere; the limits of columns are in `rule`.

use crate::refusal::{Refusal, refuse};

/// Where the text is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In an INSERT, in quotes if necessary.
    Literal,
    /// In a line of LOAD DATA: tab-separated, with backslash escapes.
    Field,
}

/// The shortest digits that read back as the same double. A float is written as the equal double,
/// so that the server rounds it once and exactly.
pub(crate) fn put_float(value: f64, out: &mut Vec<u8>) -> Result<(), Refusal> {
    use std::io::Write as _;
    if !value.is_finite() {
        return Err(refuse("range", "the database cannot store it"));
    }
    if value == 0.0 && value.is_sign_negative() {
        return Err(refuse("range", "the database cannot store -0"));
    }
    // writing to a vector cannot fail
    let _ = write!(out, "{value:e}");
    Ok(())
}

pub(crate) fn put_escaped(bytes: &[u8], style: Style, out: &mut Vec<u8>) {
    let special = |bytes: &[u8]| match style {
        Style::Literal => memchr::memchr3(b'\'', b'\\', 0, bytes),
        // A zero byte is written unchanged in a file.
        Style::Field => memchr::memchr3(b'\t', b'\n', b'\\', bytes),
    };
    if style == Style::Literal {
        out.push(b'\'');
    }
    let mut rest = bytes;
    while let Some(at) = special(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\'' => b"\\'",
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            0 => b"\\0",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    if style == Style::Literal {
        out.push(b'\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t19_floats_keep_every_bit() {
        for value in [0.1 + 0.2, 5e-324, f64::MAX, 0.0, 1e15, f64::from(0.1f32)] {
            let mut out = Vec::new();
            put_float(value, &mut out).unwrap();
            let read: f64 = String::from_utf8(out).unwrap().parse().unwrap();
            assert_eq!(read.to_bits(), value.to_bits());
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
            assert!(put_float(value, &mut Vec::new()).is_err(), "{value}");
        }
    }
}
