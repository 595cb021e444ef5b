//! Decimal text to scaled integers and back, exactly. Doubles take part only where their
//! shortest text is meant, and never by arithmetic that rounds.

use std::io::Write as _;

use arrow_buffer::i256;

/// Why a number does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberFault {
    /// It is no decimal number.
    Syntax,
    /// It has more digits after the point than the scale.
    Scale,
    /// It has too many digits.
    Range,
}

/// A decimal number taken apart; digits without the point.
pub(crate) struct Digits<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
}

impl<'a> Digits<'a> {
    /// `[+-]digits[.digits]`, with a digit on at least one side of the point.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (negative, rest) = match text.first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let point = rest.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &[][..]),
        };
        let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        let some = !whole.is_empty() || !fraction.is_empty();
        (some && digits(whole) && digits(fraction)).then_some(Self { negative, whole, fraction })
    }

    /// Digits from the first to the last that is not zero.
    pub(crate) fn significant(&self) -> usize {
        let all = || self.whole.iter().chain(self.fraction);
        let Some(first) = all().position(|digit| *digit != b'0') else { return 0 };
        let trailing = all().rev().take_while(|digit| **digit == b'0').count();
        self.whole.len() + self.fraction.len() - first - trailing
    }

    /// The value times `10^scale`, if it is a whole number of at most `precision` digits.
    pub(crate) fn scaled(&self, precision: u8, scale: i8) -> Result<i128, NumberFault> {
        let mut value: i128 = 0;
        for digit in self.at_scale(scale)? {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(digit - b'0')))
                .ok_or(NumberFault::Range)?;
        }
        let limit = 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
        if value >= limit {
            return Err(NumberFault::Range);
        }
        Ok(if self.negative { -value } else { value })
    }

    /// As [`Digits::scaled`], for more than 38 digits.
    pub(crate) fn scaled_wide(&self, precision: u8, scale: i8) -> Result<i256, NumberFault> {
        let ten = i256::from_i128(10);
        let mut value = i256::ZERO;
        for digit in self.at_scale(scale)? {
            value = value
                .checked_mul(ten)
                .and_then(|value| value.checked_add(i256::from_i128(i128::from(digit - b'0'))))
                .ok_or(NumberFault::Range)?;
        }
        if ten.checked_pow(precision.into()).is_some_and(|limit| value >= limit) {
            return Err(NumberFault::Range);
        }
        Ok(if self.negative { value.wrapping_neg() } else { value })
    }

    /// The digits with exactly `scale` of them after the point.
    fn at_scale(&self, scale: i8) -> Result<impl Iterator<Item = u8>, NumberFault> {
        let scale = usize::try_from(scale).map_err(|_| NumberFault::Scale)?;
        let kept = self.fraction.len().min(scale);
        if self.fraction[kept..].iter().any(|digit| *digit != b'0') {
            return Err(NumberFault::Scale);
        }
        let zeros = std::iter::repeat_n(b'0', scale - kept);
        Ok(self.whole.iter().chain(&self.fraction[..kept]).copied().chain(zeros))
    }
}

/// The decimal that a double's shortest text stands for, times `10^scale`.
pub(crate) fn scaled_double(value: f64, precision: u8, scale: i8) -> Result<i128, NumberFault> {
    if let Some(scaled) = scaled_fast(value, scale)
        && 10_i128.checked_pow(precision.into()).is_none_or(|limit| scaled.abs() < limit)
    {
        return Ok(scaled);
    }
    with_shortest(value, |text| {
        Digits::parse(text).ok_or(NumberFault::Syntax)?.scaled(precision, scale)
    })
}

/// As [`scaled_double`], for more than 38 digits.
pub(crate) fn scaled_double_wide(
    value: f64,
    precision: u8,
    scale: i8,
) -> Result<i256, NumberFault> {
    with_shortest(value, |text| {
        Digits::parse(text).ok_or(NumberFault::Syntax)?.scaled_wide(precision, scale)
    })
}

/// A decimal of at most 15 digits is the shortest text of the double nearest to it. If such a one
/// divides back to `value` (both operands exact, so the quotient is that nearest double), it is
/// the answer.
fn scaled_fast(value: f64, scale: i8) -> Option<i128> {
    let power = *POWERS.get(usize::try_from(scale).ok()?)?;
    let scaled = (value * power).round();
    (scaled.abs() < 1e15 && scaled / power == value).then_some(scaled as i128)
}

/// The powers of ten that a double holds exactly.
pub(crate) const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Gives `look` the shortest text that reads back as `value`, without an exponent.
pub(crate) fn with_shortest<T>(value: f64, look: impl FnOnce(&[u8]) -> T) -> T {
    // The longest is the smallest subnormal's: a sign, `0.`, 323 zeros and its digits.
    let mut buffer = [0_u8; 400];
    let mut rest = &mut buffer[..];
    let written = write!(rest, "{value}").map_or(0, |()| 400 - rest.len());
    look(&buffer[..written])
}

/// Appends `value / 10^scale` with exactly `scale` digits after the point.
pub(crate) fn write_scaled(value: i128, scale: i8, out: &mut Vec<u8>) {
    let mut buffer = [0_u8; 48];
    let mut rest = &mut buffer[..];
    let written = write!(rest, "{}", value.unsigned_abs()).map_or(0, |()| 48 - rest.len());
    write_point(value < 0, &buffer[..written], scale, out);
}

/// As [`write_scaled`], for more than 38 digits.
pub(crate) fn write_scaled_wide(value: i256, scale: i8, out: &mut Vec<u8>) {
    let text = value.to_string();
    let digits = text.trim_start_matches('-');
    write_point(text.len() != digits.len(), digits.as_bytes(), scale, out);
}

fn write_point(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    let scale = usize::try_from(scale).unwrap_or(0);
    if negative {
        out.push(b'-');
    }
    let whole = digits.len().saturating_sub(scale);
    if whole == 0 {
        out.push(b'0');
    }
    out.extend_from_slice(&digits[..whole]);
    if scale > 0 {
        out.push(b'.');
        out.extend(std::iter::repeat_n(b'0', scale - (digits.len() - whole)));
        out.extend_from_slice(&digits[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaled(text: &str, precision: u8, scale: i8) -> Result<i128, NumberFault> {
        Digits::parse(text.as_bytes()).ok_or(NumberFault::Syntax)?.scaled(precision, scale)
    }

    #[test]
    fn t18_decimals_are_exact_or_refused() {
        for (text, precision, scale, wanted) in [
            ("1.10", 5, 2, Ok(110)),
            ("-0.00", 5, 2, Ok(0)),
            ("1.100", 5, 2, Ok(110)),
            ("+5", 5, 2, Ok(500)),
            (".5", 5, 2, Ok(50)),
            ("1.101", 5, 2, Err(NumberFault::Scale)),
            ("1000", 5, 2, Err(NumberFault::Range)),
            ("99999999999999999999999999999999999999", 38, 0, Ok(10_i128.pow(38) - 1)),
            ("170141183460469231731687303715884105728", 38, 0, Err(NumberFault::Range)),
            ("", 5, 2, Err(NumberFault::Syntax)),
            (".", 5, 2, Err(NumberFault::Syntax)),
            ("1e5", 38, 2, Err(NumberFault::Syntax)),
            (" 1", 5, 2, Err(NumberFault::Syntax)),
            ("--1", 5, 2, Err(NumberFault::Syntax)),
        ] {
            assert_eq!(scaled(text, precision, scale), wanted, "{text}");
        }
    }

    #[test]
    fn wide_decimals_keep_every_digit() {
        let text = format!("-{}.{}", "9".repeat(40), "12345");
        let value = Digits::parse(text.as_bytes()).unwrap().scaled_wide(45, 5).unwrap();
        let mut out = Vec::new();
        write_scaled_wide(value, 5, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
        assert!(Digits::parse(text.as_bytes()).unwrap().scaled_wide(44, 5).is_err());
    }

    #[test]
    fn doubles_mean_their_shortest_text() {
        assert_eq!(scaled_double(0.1, 15, 2), Ok(10));
        assert_eq!(scaled_double(90_449.99, 15, 2), Ok(9_044_999));
        assert_eq!(scaled_double(0.1 + 0.2, 15, 2), Err(NumberFault::Scale));
        assert_eq!(scaled_double(1e300, 38, 0), Err(NumberFault::Range));
        assert_eq!(scaled_double(f64::INFINITY, 38, 0), Err(NumberFault::Syntax));
        assert_eq!(scaled_double(5e-324, 38, 2), Err(NumberFault::Scale));
        with_shortest(-5e-324, |text| assert!(text.ends_with(b"05") && text.len() < 400));
    }

    #[test]
    fn significant_digits() {
        for (text, count) in [("0", 0), ("0.00", 0), ("100", 1), ("0.0120", 2), ("-10.01", 4)] {
            assert_eq!(Digits::parse(text.as_bytes()).unwrap().significant(), count, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any::<i64>(), scale in 0_i8..30) {
            let mut out = Vec::new();
            write_scaled(value.into(), scale, &mut out);
            let digits = Digits::parse(&out).unwrap();
            prop_assert_eq!(digits.scaled(38, scale), Ok(i128::from(value)));
        }

        #[test]
        fn the_fast_path_equals_the_slow_one(value in -999_999_999_999_i64..999_999_999_999, scale in 0_i8..5) {
            let mut out = Vec::new();
            write_scaled(value.into(), scale, &mut out);
            let double: f64 = std::str::from_utf8(&out).unwrap().parse().unwrap();
            prop_assert_eq!(scaled_double(double, 15, scale), Ok(i128::from(value)));
            let slow = with_shortest(double, |text| Digits::parse(text).unwrap().scaled(15, scale));
            prop_assert_eq!(slow, Ok(i128::from(value)));
        }

        #[test]
        fn any_double_is_exact_or_refused(value in any::<f64>()) {
            if let Ok(scaled) = scaled_double(value, 38, 5) {
                let mut out = Vec::new();
                write_scaled(scaled, 5, &mut out);
                prop_assert_eq!(std::str::from_utf8(&out).unwrap().parse::<f64>().unwrap(), value);
            }
        }
    }
}
