//! Random numbers by position: the number for a row depends only on seed, column, purpose and row,
//! so any split layout generates the same rows. SplitMix64 with the row as its counter
//! (<https://doi.org/10.1145/2714064.2660195>); not for secrets.

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Distributes a number over all 64 bits; a bijection.
#[inline]
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The numbers of one column for one purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn new(seed: u64, column: &str) -> Self {
        let name = column.bytes().fold(mix(seed), |state, byte| mix(state ^ u64::from(byte)));
        Self(mix(name.wrapping_add(GAMMA)))
    }

    /// An independent stream for another purpose of the same column.
    pub(crate) fn fork(self, purpose: u64) -> Self {
        Self(mix(self.0.wrapping_add(mix(purpose + 1))))
    }

    #[inline]
    pub(crate) fn at(self, row: u64) -> u64 {
        mix(self.0.wrapping_add(row.wrapping_mul(GAMMA)))
    }
}

/// A number in `0..bound`, uniformly distributed; a bound of 0 means 2^64.
#[inline]
pub(crate) fn below(random: u64, bound: u64) -> u64 {
    if bound == 0 {
        return random;
    }
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

/// Skews uniformly distributed numbers so that small ones are frequent: the cube of a number in
/// 0..1.
#[inline]
pub(crate) fn skew(random: u64) -> u64 {
    let high = |a: u64, b: u64| ((u128::from(a) * u128::from(b)) >> 64) as u64;
    high(high(random, random), random)
}

/// The probability of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chance(Option<u64>);

impl Chance {
    /// A probability in percent, 0 to 100.
    pub(crate) fn percent(percent: f64) -> Self {
        // The cast saturates, so 100 % is every number; with `<=`, also the last one.
        Self((percent > 0.0).then(|| (percent / 100.0 * 2f64.powi(64)) as u64))
    }

    pub(crate) fn never(self) -> bool {
        self.0.is_none()
    }

    #[inline]
    pub(crate) fn hits(self, random: u64) -> bool {
        self.0.is_some_and(|limit| random <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_come_about_as_often_as_they_say() {
        let stream = Stream::new(1, "c");
        for percent in [0.0, 5.0, 50.0, 100.0] {
            let chance = Chance::percent(percent);
            let hits = (0..10_000).filter(|row| chance.hits(stream.at(*row))).count() as f64;
            assert!((hits / 100.0 - percent).abs() < 1.5, "{percent} % gave {hits} of 10,000");
        }
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        for bound in [1, 2, 7, u64::MAX] {
            for random in [0, 1, u64::MAX / 2, u64::MAX] {
                assert!(below(random, bound) < bound);
                assert!(below(skew(random), bound) < bound);
            }
        }
        assert_eq!(below(u64::MAX, 0), u64::MAX);
    }

    #[test]
    fn streams_differ_by_seed_column_and_purpose() {
        let streams = [
            Stream::new(1, "a"),
            Stream::new(2, "a"),
            Stream::new(1, "b"),
            Stream::new(1, "a").fork(0),
            Stream::new(1, "a").fork(1),
        ];
        let firsts = streams.map(|stream| stream.at(0));
        for (index, first) in firsts.iter().enumerate() {
            assert!(!firsts[..index].contains(first));
        }
    }
}
