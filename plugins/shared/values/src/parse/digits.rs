//! Decimal digits to integers, eight at a time in one machine word. What a number may look like
//! around its digits is left to `number` and `temporal`.

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The value of `window[start..end]` if it is 1 to 8 digits and nothing else.
///
/// Reads the eight bytes that end at `end`, so a cell in a large window costs one load and no
/// branch on its length.
#[inline(always)]
pub(crate) fn up_to_8(window: &[u8], start: usize, end: usize) -> Option<u32> {
    let length = end.wrapping_sub(start);
    if length.wrapping_sub(1) >= 8 {
        return None;
    }
    let word = match window.get(..end)?.last_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => short_word(&window[start..end]),
    };
    let kept = u64::MAX << (64 - 8 * length);
    eight((word ^ ZEROS) & kept)
}

/// Up to eight bytes at the upper end of a word.
fn short_word(text: &[u8]) -> u64 {
    let mut bytes = [b'0'; 8];
    bytes[8 - text.len()..].copy_from_slice(text);
    u64::from_le_bytes(bytes)
}

/// Eight digits, each as its value in one byte, the first in the lowest.
#[inline(always)]
fn eight(digits: u64) -> Option<u32> {
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(100 + (1_000_000 << 32));
    let high = ((pairs >> 16) & 0x0000_00FF_0000_00FF).wrapping_mul(1 + (10_000 << 32));
    Some((low.wrapping_add(high) >> 32) as u32)
}

/// The value of `window[start..end]` if it is 1 to 16 digits and nothing else.
#[inline(always)]
pub(crate) fn up_to_16(window: &[u8], start: usize, end: usize) -> Option<u64> {
    if end.wrapping_sub(start) <= 8 {
        return up_to_8(window, start, end).map(u64::from);
    }
    let middle = end - 8;
    let high = up_to_8(window, start, middle)?;
    let low = up_to_8(window, middle, end)?;
    Some(u64::from(high) * 100_000_000 + u64::from(low))
}

/// Two digits at a fixed place.
#[inline(always)]
pub(crate) fn two(text: &[u8], at: usize) -> Option<u32> {
    let tens = text.get(at)?.wrapping_sub(b'0');
    let ones = text.get(at + 1)?.wrapping_sub(b'0');
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_at_every_place_of_a_window() {
        for length in 1..=16 {
            let text = &b"1234567890123456"[..length];
            let expected: u64 = std::str::from_utf8(text).unwrap().parse().unwrap();
            for before in 0..10 {
                let mut window = vec![b'9'; before];
                window.extend_from_slice(text);
                window.push(b'7');
                assert_eq!(up_to_16(&window, before, before + length), Some(expected));
            }
        }
    }

    #[test]
    fn every_other_byte_is_refused_at_every_place() {
        for at in 0..8 {
            for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"00000000";
                text[at] = byte;
                assert_eq!(up_to_8(&text, 0, 8), None, "{byte} at {at}");
                assert_eq!(up_to_8(&text, at, at + 1), None, "{byte}");
            }
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        assert_eq!(up_to_8(b"123456789", 0, 9), None);
        assert_eq!(up_to_8(b"1", 1, 1), None);
        assert_eq!(up_to_16(b"12345678901234567", 0, 17), None);
    }
}
