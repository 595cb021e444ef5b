//! Mutations of inputs: single bits and bytes, numbers at their limits, blocks moved, doubled and
//! removed, pieces of other inputs, words of the format.

use std::ops::Range;

/// Values that lengths, counts and offsets are wrong with.
const LIMITS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Makes new inputs of old ones.
pub(crate) struct Mutator<'a> {
    random: fastrand::Rng,
    words: &'a [&'a str],
    longest: usize,
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(seed: u64, words: &'a [&'a str], longest: usize) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), words, longest }
    }

    /// One of the inputs, changed once or several times.
    pub(crate) fn mutated(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.choice(inputs).clone();
        for _ in 0..1 << self.random.u32(0..4) {
            self.mutate(&mut input, inputs);
        }
        input.truncate(self.longest);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.random.usize(0..=input.len());
        match self.random.u32(0..12) {
            0 if at < input.len() => input[at] ^= 1 << self.random.u32(0..8),
            1 if at < input.len() => input[at] = self.random.u8(..),
            2 if at < input.len() => input[at] = input[at].wrapping_add(self.random.u8(..)),
            3 => self.put_limit(input, at),
            4 => input.truncate(at),
            5 => drop(input.drain(self.block(input))),
            6 => self.insert(input, at, |random| random.u8(..)),
            7 => {
                let byte = self.random.u8(..);
                self.insert(input, at, |_| byte);
            }
            8 => {
                let block = input[self.block(input)].to_vec();
                splice(input, at, &block);
            }
            9 => {
                let other = self.choice(inputs);
                let block = other[self.block(other)].to_vec();
                splice(input, at, &block);
            }
            _ if self.words.is_empty() => self.put_limit(input, at),
            10 => {
                let word = self.choice(self.words).as_bytes();
                splice(input, at, word);
            }
            _ => {
                let word = self.choice(self.words).as_bytes();
                let end = (at + word.len()).min(input.len());
                input.splice(at..end, word.iter().copied());
            }
        }
    }

    /// Overwrites with a number at its limit, in 1, 2, 4 or 8 bytes of either order.
    fn put_limit(&mut self, input: &mut [u8], at: usize) {
        let near = self.random.u64(0..3).wrapping_sub(1);
        let value = self.choice(&LIMITS).wrapping_add(near);
        let width = 1 << self.random.u32(0..4);
        let mut bytes = value.to_le_bytes()[..width].to_vec();
        if self.random.bool() {
            bytes.reverse();
        }
        let end = (at + width).min(input.len());
        input[at..end].copy_from_slice(&bytes[..end - at]);
    }

    fn insert(&mut self, input: &mut Vec<u8>, at: usize, byte: impl Fn(&mut fastrand::Rng) -> u8) {
        let count = 1 << self.random.u32(0..8);
        let bytes: Vec<u8> = (0..count).map(|_| byte(&mut self.random)).collect();
        splice(input, at, &bytes);
    }

    /// A block of bytes, mostly a short one.
    fn block(&mut self, input: &[u8]) -> Range<usize> {
        let from = self.random.usize(0..=input.len());
        let longest = 1 << self.random.u32(0..12);
        from..(from + self.random.usize(0..=longest)).min(input.len())
    }

    fn choice<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.random.usize(0..of.len())]
    }
}

fn splice(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}
