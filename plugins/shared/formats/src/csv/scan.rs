//! Finds special bytes, 64 bytes at a time, and interprets quotes and escapes. What the bytes
//! divide is left to `index` and `boundary`, which therefore cannot disagree.

use super::CsvDialect;

/// Number of bytes per step.
pub(super) const BLOCK: usize = 64;

/// The bytes at `base`, padded with zeros (which are never special) at the end of the input.
#[inline(always)]
pub(super) fn block(input: &[u8], base: usize) -> [u8; BLOCK] {
    match input.get(base..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        Some(block) => *block,
        None => {
            let mut padded = [0; BLOCK];
            let rest = input.get(base..).unwrap_or_default();
            padded[..rest.len()].copy_from_slice(rest);
            padded
        }
    }
}

/// Bit `i` is set if byte `i` is the needle.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn find(block: &[u8; BLOCK], needle: u8) -> u64 {
    use safe_arch::{cmp_eq_mask_i8_m128i, m128i, move_mask_i8_m128i, set_splat_i8_m128i};
    let needle = set_splat_i8_m128i(needle as i8);
    let (parts, _) = block.as_chunks::<16>();
    parts.iter().rev().fold(0, |bits, part| {
        let equal = cmp_eq_mask_i8_m128i(m128i::from(*part), needle);
        bits << 16 | u64::from(move_mask_i8_m128i(equal) as u16)
    })
}

/// Bit `i` is set if byte `i` is the needle.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn find(block: &[u8; BLOCK], needle: u8) -> u64 {
    find_by_words(block, needle)
}

/// The same on any machine, eight bytes at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn find_by_words(block: &[u8; BLOCK], needle: u8) -> u64 {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |bits, word| {
        let odd = u64::from_le_bytes(*word) ^ (u64::from(needle) * 0x0101_0101_0101_0101);
        // sets the high bit of exactly those bytes that are zero
        let equal = !(((odd & LOW) + LOW) | odd | LOW) >> 7;
        // gathers the lowest bit of each byte in the highest byte
        bits << 8 | equal.wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

/// A position that no input has.
const NOWHERE: usize = usize::MAX / 2;

/// Whether a position is inside quotes, tracked from one special byte to the next.
#[derive(Clone, Debug)]
pub(super) struct Quoting {
    quote: Option<u8>,
    escape: Option<u8>,
    /// Inside quotes.
    pub(super) quoted: bool,
    /// Where the quotes were opened.
    pub(super) opened: usize,
    /// A quote here is the second of a doubled quote and reopens the quotes.
    reopens: usize,
    /// The byte here is text, whatever it is.
    escaped: usize,
}

impl Quoting {
    pub(super) fn new(dialect: &CsvDialect) -> Self {
        Self {
            quote: dialect.quote,
            escape: dialect.true_escape(),
            quoted: false,
            opened: 0,
            reopens: NOWHERE,
            escaped: NOWHERE,
        }
    }

    /// Quotes and escapes of a block.
    #[inline(always)]
    pub(super) fn special(&self, block: &[u8; BLOCK]) -> u64 {
        let mut bits = 0;
        if let Some(quote) = self.quote {
            bits |= find(block, quote);
        }
        if let Some(escape) = self.escape {
            bits |= find(block, escape);
        }
        bits
    }

    /// Whether separators from `at` on count, until the next special byte. A byte that is escaped
    /// directly before `at` still matters: an escaped CR is not part of a CR LF.
    #[inline(always)]
    pub(super) fn is_calm(&self, at: usize) -> bool {
        !self.quoted && at.wrapping_sub(self.escaped) > 1
    }

    /// Whether the byte here is escaped.
    pub(super) fn is_escaped(&self, at: usize) -> bool {
        self.escaped == at
    }

    /// Processes the next special byte or separator; returns whether it is a separator that counts.
    #[inline]
    pub(super) fn step(&mut self, byte: u8, at: usize, starts_cell: bool) -> bool {
        if at == self.escaped {
            return false;
        }
        if Some(byte) == self.escape {
            self.escaped = at + 1;
            return false;
        }
        if Some(byte) != self.quote {
            return !self.quoted;
        }
        if self.quoted {
            self.quoted = false;
            self.reopens = at + 1;
        } else if at == self.reopens {
            self.quoted = true;
        } else if starts_cell {
            self.quoted = true;
            self.opened = at;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_found_at_every_place() {
        for needle in [0u8, 1, b',', 0x7F, 0x80, 0xFF] {
            for place in 0..BLOCK {
                let mut bytes = [needle.wrapping_add(1); BLOCK];
                bytes[place] = needle;
                assert_eq!(find(&bytes, needle), 1 << place, "{needle} at {place}");
                assert_eq!(find_by_words(&bytes, needle), 1 << place, "{needle} at {place}");
            }
            assert_eq!(find_by_words(&[needle; BLOCK], needle), u64::MAX);
            assert_eq!(find_by_words(&[needle ^ 0x80; BLOCK], needle), 0);
            assert_eq!(find(&[needle; BLOCK], needle), u64::MAX);
            assert_eq!(find(&[needle ^ 0x80; BLOCK], needle), 0);
        }
    }

    #[test]
    fn a_block_beyond_the_end_is_zeros() {
        let mut expected = [0; BLOCK];
        expected[..2].copy_from_slice(b"bc");
        assert_eq!(block(b"abc", 1), expected);
        assert_eq!(block(b"abc", 3), [0; BLOCK]);
    }
}
