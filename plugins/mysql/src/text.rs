//! Numbers, bytes and texts in the form that the server reads, in statements and in files. Dates
//! and times are in `calendar`, the limits of columns in `rule`.

/// Where the text is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In an INSERT, in quotes if necessary.
    Literal,
    /// In a line of LOAD DATA: tab-separated, with backslash escapes.
    Field,
}

/// Why a value cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

pub(crate) fn fault(code: &'static str, reason: String) -> Fault {
    Fault { code, reason }
}

pub(crate) fn put_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The shortest digits that read back as the same double. A float is written as the equal double,
/// so that the server rounds it once and exactly.
pub(crate) fn put_float(value: f64, out: &mut Vec<u8>) -> Result<(), Fault> {
    use std::io::Write as _;
    if !value.is_finite() {
        return Err(fault("range", format!("the database cannot store {value}")));
    }
    if value == 0.0 && value.is_sign_negative() {
        return Err(fault("range", "the database cannot store -0".to_owned()));
    }
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value:e}");
    Ok(())
}

/// A decimal with this many digits after the decimal point.
pub(crate) fn put_decimal(value: i128, scale: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    // Most decimals are small, and formatting 64 bits is faster.
    match i64::try_from(value) {
        Ok(small) => put_scaled(buffer.format(small), scale, out),
        Err(_) => put_scaled(buffer.format(value), scale, out),
    }
}

/// The digits with the decimal point `scale` places from their end.
pub(crate) fn put_scaled(digits: &str, scale: usize, out: &mut Vec<u8>) {
    let digits = match digits.strip_prefix('-') {
        Some(digits) => {
            out.push(b'-');
            digits.as_bytes()
        }
        None => digits.as_bytes(),
    };
    let whole = digits.len().saturating_sub(scale);
    if whole == 0 {
        out.push(b'0');
    }
    out.extend_from_slice(&digits[..whole]);
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale - (digits.len() - whole), b'0');
        out.extend_from_slice(&digits[whole..]);
    }
}

pub(crate) fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
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
    fn t18_decimals_keep_every_digit() {
        for (value, scale, shown) in [
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (12_345, 2, "123.45"),
            (7, 0, "7"),
            (-120, 1, "-12.0"),
        ] {
            let mut out = Vec::new();
            put_decimal(value, scale, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
        }
        let mut out = Vec::new();
        put_decimal(i128::MIN, 38, &mut out);
        assert_eq!(out, b"-1.70141183460469231731687303715884105728");
    }

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
