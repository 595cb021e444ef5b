//! Where the texts of one column have bytes that need quotes: found by one scan over the bytes of
//! all its cells, as far as the rows are asked for in their order.

/// The special bytes of a column's texts.
pub(super) struct Specials<'a> {
    bytes: &'a [u8],
    searches: [Search; 2],
}

/// The search for up to three bytes.
struct Search {
    wanted: [u8; 3],
    /// From where on it has searched, and the first hit there; at the start it has nowhere.
    from: usize,
    hit: usize,
}

impl<'a> Specials<'a> {
    /// A scan for any of `special`, in bytes in which texts lie one behind the other.
    pub(super) fn new(bytes: &'a [u8], special: [u8; 5]) -> Self {
        let [a, b, c, d, e] = special;
        let search = |wanted| Search { wanted, from: usize::MAX, hit: 0 };
        Self { bytes, searches: [search([a, b, e]), search([c, d, d])] }
    }

    /// Whether a text from `start` to `end` has a special byte.
    #[inline]
    pub(super) fn any(&mut self, start: usize, end: usize) -> bool {
        let bytes = self.bytes;
        self.searches.iter_mut().fold(false, |any, search| any | search.hits(bytes, start, end))
    }
}

impl Search {
    #[inline]
    fn hits(&mut self, bytes: &[u8], start: usize, end: usize) -> bool {
        if start < self.from || self.hit < start {
            self.advance(bytes, start);
        }
        self.hit < end
    }

    fn advance(&mut self, bytes: &[u8], start: usize) {
        let [a, b, c] = self.wanted;
        let rest = bytes.get(start..).unwrap_or_default();
        let found = match b == c {
            true => memchr::memchr2(a, b, rest),
            false => memchr::memchr3(a, b, c, rest),
        };
        self.from = start;
        self.hit = found.map_or(bytes.len(), |found| start + found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_special_byte_is_found_in_any_order_of_rows(
            bytes in "[a-f,\"\r\n\\\\]{0,60}",
            cuts in prop::collection::vec((0usize..61, 0usize..61), 0..30),
        ) {
            let special = *b",\"\\\r\n";
            let mut specials = Specials::new(bytes.as_bytes(), special);
            for (one, other) in cuts {
                let (start, end) = (one.min(other).min(bytes.len()), one.max(other).min(bytes.len()));
                let expected = bytes.as_bytes()[start..end].iter().any(|byte| special.contains(byte));
                prop_assert_eq!(specials.any(start, end), expected, "{}..{}", start, end);
            }
        }
    }
}
