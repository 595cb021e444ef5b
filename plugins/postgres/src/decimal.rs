//! The usual decimal on its way from the wire: a few groups of digits, straight into an integer of
//! 64 bits. All other numbers are left to `numeric`.

use crate::numeric::{NEGATIVE, POWERS};

/// A decimal type of up to 38 digits, ready for the usual numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecimalType {
    pub(crate) precision: u8,
    pub(crate) scale: i8,
    /// The first number of 64 bits with too many digits, if there is one.
    limit: u64,
}

impl DecimalType {
    pub(crate) fn new(precision: u8, scale: i8) -> Self {
        let limit = POWERS.get(usize::from(precision)).copied().unwrap_or(u64::MAX);
        Self { precision, scale, limit }
    }

    /// As [`Numeric::scaled`], straight from the bytes of a number of at most four groups whose
    /// digits end near the scale; `None` also where only the general way can tell.
    #[inline]
    pub(crate) fn short(&self, bytes: &[u8]) -> Option<i128> {
        let (head, groups) = bytes.split_first_chunk::<8>()?;
        let head = u64::from_be_bytes(*head);
        let (count, weight, sign) = ((head >> 48) as usize, (head >> 32) as i16, head >> 16);
        if groups.len() != 2 * count {
            return None;
        }
        let group = |high: &u8, low: &u8| u64::from(u16::from_be_bytes([*high, *low]));
        let value = match groups {
            [] => 0,
            [a, b] => group(a, b),
            [a, b, c, d] => group(a, b) * 10_000 + group(c, d),
            [a, b, c, d, e, f] => group(a, b) * 100_000_000 + group(c, d) * 10_000 + group(e, f),
            [a, b, c, d, e, f, g, h] => {
                let upper = group(a, b) * 10_000 + group(c, d);
                upper * 100_000_000 + group(e, f) * 10_000 + group(g, h)
            }
            _ => return None,
        };
        // The number of places by which the last group has to be moved.
        let shift = 4 * (i32::from(weight) + 1 - count as i32) + i32::from(self.scale);
        let exact = |power: u64| (value % power == 0).then_some(value / power);
        let value = match shift {
            _ if count == 0 => 0,
            0 => value,
            1..=19 => value.checked_mul(POWERS[shift as usize])?,
            -1 => exact(10)?,
            -2 => exact(100)?,
            -3 => exact(1_000)?,
            _ => return None,
        };
        match sign as u16 {
            _ if value >= self.limit => None,
            0 => Some(value.into()),
            NEGATIVE => Some(-i128::from(value)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::numeric::{Numeric, put_decimal, put_head};

    proptest! {
        /// The fast way agrees with the general one wherever it returns a value.
        #[test]
        fn t18_short_numbers_are_read_as_all_others(
            groups in prop::collection::vec(0u16..10_000, 0..=4),
            weight in -5i16..5,
            negative in any::<bool>(),
            precision in 1u8..=38,
            scale in 0i8..12,
        ) {
            let mut out = Vec::new();
            let sign = if negative { NEGATIVE } else { 0 };
            put_head(groups.len(), weight, sign, 2, &mut out);
            groups.iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
            let scaled = Numeric::parse(&out[4..]).unwrap().scaled(precision, scale);
            let short = DecimalType::new(precision, scale).short(&out[4..]);
            prop_assert!(short.is_none() || short == scaled, "{short:?} {scaled:?}");
        }

        #[test]
        fn t18_money_takes_the_fast_way(cents in -99_999_999_999_999i64..100_000_000_000_000) {
            let mut out = Vec::new();
            put_decimal(cents.into(), 2, &mut out);
            prop_assert_eq!(DecimalType::new(15, 2).short(&out[4..]), Some(cents.into()));
        }

        #[test]
        fn nonsense_is_no_panic(bytes in any::<Vec<u8>>()) {
            let _ = DecimalType::new(15, 2).short(&bytes);
        }
    }
}
