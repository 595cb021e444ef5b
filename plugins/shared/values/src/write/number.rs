//! Integers, decimals and floats to their texts, each exact.

use std::io::Write as _;

use arrow_buffer::i256;

use crate::parse::FloatValue;

/// Appends an integer.
#[inline]
pub fn integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the shortest text that reads back as the same float; `NaN`, `Infinity`, `-Infinity`.
#[inline]
pub fn float<T: FloatValue + PartialOrd + Default>(value: T, out: &mut Vec<u8>) {
    if value.is_infinite() {
        out.extend_from_slice(if value < T::default() { b"-Infinity" } else { b"Infinity" });
    } else {
        // writing to a vector cannot fail
        let _ = write!(out, "{value:?}");
    }
}

/// Appends `value / 10^scale` with exactly `scale` digits after the point.
#[inline]
pub fn decimal(value: i128, scale: usize, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    // most decimals fit 64 bits, where division is cheap
    let digits = match u64::try_from(value.unsigned_abs()) {
        Ok(value) => buffer.format(value),
        Err(_) => buffer.format(value.unsigned_abs()),
    };
    pointed(digits.as_bytes(), scale, out);
}

/// As [`decimal`], for up to 76 digits.
pub fn wide_decimal(value: i256, scale: usize, out: &mut Vec<u8>) {
    match value.to_i128() {
        Some(value) => decimal(value, scale, out),
        None => {
            let text = value.to_string();
            let digits = text.strip_prefix('-').unwrap_or(&text);
            if digits.len() < text.len() {
                out.push(b'-');
            }
            pointed(digits.as_bytes(), scale, out);
        }
    }
}

/// Appends digits with a point `scale` places before their end.
#[inline]
pub fn pointed(digits: &[u8], scale: usize, out: &mut Vec<u8>) {
    if scale == 0 {
        out.extend_from_slice(digits);
    } else if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + scale - digits.len(), b'0');
        out.extend_from_slice(digits);
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
            (i128::MIN, 38, "-1.70141183460469231731687303715884105728"),
        ] {
            let mut out = Vec::new();
            decimal(value, scale, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
        }
    }
}
