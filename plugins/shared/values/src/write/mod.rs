//! Single values to their texts, appended to a buffer, one function for each type. What surrounds
//! the text (quotes, escapes, NULL) and what a dialect refuses is left to the caller; whole columns
//! are left to [`crate::ColumnRenderer`].

mod number;
mod temporal;

pub use number::{decimal, float, integer, pointed, wide_decimal};
pub use temporal::{date, duration, time, timestamp};

use crate::bytes;

/// Appends `true` or `false`.
pub fn boolean(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends two lower case hexadecimal digits for each byte.
pub fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    bytes::to_hex(bytes, out);
}

/// Two lower case hexadecimal digits for each byte.
pub fn hex_string(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    bytes::to_hex(bytes, &mut out);
    out.into_iter().map(char::from).collect()
}

/// Appends RFC 4648 base64 with padding.
pub fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    bytes::to_base64(bytes, out);
}

/// Appends the lower case 8-4-4-4-12 form of 16 bytes.
pub fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    bytes::to_uuid(bytes, out);
}
