//! Texts of bytes: hexadecimal, base64, UUIDs. Each direction appends to the caller's buffer.

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Appends the bytes of hexadecimal digits. `None`, and nothing appended, if the text is something else.
pub(crate) fn from_hex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = text.strip_prefix(b"\\x").or_else(|| text.strip_prefix(b"0x")).unwrap_or(text);
    let before = out.len();
    let (pairs, odd) = text.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| Some(nibble(pair[0])? << 4 | nibble(pair[1])?);
    for pair in pairs {
        match byte(pair).filter(|_| odd.is_empty()) {
            Some(byte) => out.push(byte),
            None => {
                out.truncate(before);
                return None;
            }
        }
    }
    odd.is_empty().then_some(())
}

/// Appends two lower case digits for each byte.
pub(crate) fn to_hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Appends the bytes of RFC 4648 base64 with padding and without line breaks. `None`, and nothing
/// appended, if the text is something else, or if its unused bits are not zero.
pub(crate) fn from_base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let before = out.len();
    let (groups, []) = text.as_chunks::<4>() else { return None };
    let last = groups.len().wrapping_sub(1);
    for (index, group) in groups.iter().enumerate() {
        match group_bytes(group, index == last) {
            Some((bytes, length)) => out.extend_from_slice(&bytes[..length]),
            None => {
                out.truncate(before);
                return None;
            }
        }
    }
    Some(())
}

/// The up to three bytes of four base64 digits; only the last group may be padded.
fn group_bytes(group: &[u8; 4], last: bool) -> Option<([u8; 3], usize)> {
    let padding = group.iter().rev().take_while(|digit| **digit == b'=').count();
    if padding > 2 || (padding > 0 && !last) {
        return None;
    }
    let mut bits = 0u32;
    for digit in &group[..4 - padding] {
        bits = bits << 6 | sextet(*digit)?;
    }
    bits <<= 6 * padding;
    let [_, a, b, c] = bits.to_be_bytes();
    let unused = [a, b, c][3 - padding..].iter().any(|byte| *byte != 0);
    (!unused).then_some(([a, b, c], 3 - padding))
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Appends base64 with padding.
pub(crate) fn to_base64(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= group.len() { digit } else { b'=' });
        }
    }
}

/// The 16 bytes of a UUID: 8-4-4-4-12 or 32 hexadecimal digits, upper or lower case, also in braces.
pub(crate) fn from_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text = match text {
        [b'{', inner @ .., b'}'] => inner,
        text => text,
    };
    let dashed = text.len() == 36;
    if !dashed && text.len() != 32 {
        return None;
    }
    let (mut bytes, mut at) = ([0; 16], 0);
    for (index, byte) in bytes.iter_mut().enumerate() {
        if dashed && matches!(index, 4 | 6 | 8 | 10) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        *byte = nibble(text[at])? << 4 | nibble(text[at + 1])?;
        at += 2;
    }
    Some(bytes)
}

/// Appends the lower case 8-4-4-4-12 form of 16 bytes.
pub(crate) fn to_uuid(bytes: &[u8], out: &mut Vec<u8>) {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        to_hex(std::slice::from_ref(byte), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t38_all_bytes_round_trip() {
        let all: Vec<u8> = (0..=255).collect();
        for length in 0..=all.len() {
            let (mut text, mut back) = (Vec::new(), Vec::new());
            to_hex(&all[..length], &mut text);
            assert_eq!(from_hex(&text, &mut back), Some(()));
            assert_eq!(back, &all[..length]);
            text.clear();
            back.clear();
            to_base64(&all[..length], &mut text);
            assert_eq!(from_base64(&text, &mut back), Some(()), "{length}");
            assert_eq!(back, &all[..length]);
        }
    }

    #[test]
    fn known_texts() {
        let mut out = Vec::new();
        to_base64(b"foobar", &mut out);
        assert_eq!(out, b"Zm9vYmFy");
        out.clear();
        assert_eq!(from_hex(br"\xDEAD", &mut out), Some(()));
        assert_eq!(out, [0xDE, 0xAD]);
        for text in [
            "123E4567-e89b-12d3-a456-426614174000",
            "123e4567e89b12d3a456426614174000",
            "{123e4567-e89b-12d3-a456-426614174000}",
            "{123e4567e89b12d3a456426614174000}",
        ] {
            out.clear();
            to_uuid(&from_uuid(text.as_bytes()).unwrap(), &mut out);
            assert_eq!(out, b"123e4567-e89b-12d3-a456-426614174000");
        }
    }

    #[test]
    fn what_is_no_text_of_bytes_appends_nothing() {
        let mut out = b"kept".to_vec();
        for text in ["a", "abc", "0g", "ab ", "x1"] {
            assert_eq!(from_hex(text.as_bytes(), &mut out), None, "{text}");
        }
        for text in ["Zg", "Zg=", "Zg=a", "Zh==", "Zg==Zg==", "====", "Z===", "Zm9v\n", "Zm-_"] {
            assert_eq!(from_base64(text.as_bytes(), &mut out), None, "{text}");
        }
        for text in [
            "",
            "{}",
            "123e4567e89b12d3a45642661417400",
            "{123e4567-e89b-12d3-a456-4266141740}",
            "{123e4567-e89b-12d3-a456-426614174000",
            "123e4567e89b12d3-a456-426614174000",
            "123e4567-e89b-12d3-a456-42661417400g",
            "123e4567-e89b-12d3-a456-4266141-4000",
        ] {
            assert_eq!(from_uuid(text.as_bytes()), None, "{text}");
        }
        assert_eq!(out, b"kept");
    }
}
