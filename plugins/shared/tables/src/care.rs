//! When a bulk load is worth another try after the server has refused rows of one.

/// After refused rows, at most so many chunks go the careful way before another try.
const MOST_CAREFUL: u32 = 64;

/// How many chunks still go the careful way. More after each refusal, and fewer again when chunks
/// pass at the first try: in clean data a bad row costs little, in bad data a try costs little.
#[derive(Debug, Default)]
pub struct Care {
    chunks: u32,
    next: u32,
}

impl Care {
    /// Whether the next chunk goes the careful way.
    pub fn is_needed(&self) -> bool {
        self.chunks > 0
    }

    /// The server has refused rows of a chunk that went all at once.
    pub fn raise(&mut self) {
        self.next = (self.next * 2).clamp(1, MOST_CAREFUL);
        self.chunks = self.next;
    }

    /// A chunk has passed.
    pub fn relax(&mut self) {
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
        let mut care = Care::default();
        let mut careful = Vec::new();
        for _ in 0..9 {
            assert!(!care.is_needed());
            care.raise();
            let mut chunks = 0;
            while care.is_needed() {
                care.relax();
                chunks += 1;
            }
            careful.push(chunks);
        }
        assert_eq!(careful, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        (0..3).for_each(|_| care.relax());
        care.raise();
        assert_eq!(care.chunks, 16);
    }
}
