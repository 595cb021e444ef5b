//! When a bulk load is worth another attempt after the server has refused rows of one.

/// After refused rows, at most this many chunks are loaded batch by batch before another attempt.
const MOST_CAREFUL: u32 = 64;

/// How many of the next chunks are loaded batch by batch instead of all at once: more after each
/// refusal, fewer again when chunks pass at the first attempt. In clean data a bad row then costs
/// little, and in bad data an attempt costs little.
#[derive(Debug, Default)]
pub struct BulkLoadPolicy {
    chunks: u32,
    next: u32,
}

impl BulkLoadPolicy {
    /// Whether the next chunk is loaded batch by batch.
    pub fn is_careful(&self) -> bool {
        self.chunks > 0
    }

    /// The server refused rows of a chunk that was loaded all at once.
    pub fn refused(&mut self) {
        self.next = (self.next * 2).clamp(1, MOST_CAREFUL);
        self.chunks = self.next;
    }

    /// A chunk passed.
    pub fn passed(&mut self) {
        match self.chunks {
            0 => self.next /= 2,
            _ => self.chunks -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn care_grows_with_refusals_and_shrinks_with_success() {
        let mut policy = BulkLoadPolicy::default();
        let mut careful = Vec::new();
        for _ in 0..9 {
            assert!(!policy.is_careful());
            policy.refused();
            let mut chunks = 0;
            while policy.is_careful() {
                policy.passed();
                chunks += 1;
            }
            careful.push(chunks);
        }
        assert_eq!(careful, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        (0..3).for_each(|_| policy.passed());
        policy.refused();
        assert_eq!(policy.chunks, 16);
    }
}
