//! The server's binary form of `numeric`: a sign, a weight, digits of base 10,000 and the number
//! of decimal digits after the point (`numeric_send` and `numeric_recv`). Exact both ways, without
//! a float on the path.

use arrow_buffer::i256;
use transload_values::{decimal_groups, parse::Number};

pub(crate) const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
/// Most digits before and after the point.
const MOST_BEFORE: usize = 131_072;
const MOST_AFTER: usize = 16_383;

/// Powers of ten that fit into 64 bits.
pub(crate) const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < 20 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// Powers of ten, as far as decimals of 128 bits go.
const WIDE_POWERS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut at = 1;
    while at < 39 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// Appends a length and the number `value / 10^scale`.
pub(crate) fn put_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    match i64::try_from(value) {
        Ok(value) if value.unsigned_abs() < POWERS[16] && scale <= 16 => {
            put_small(value, scale.unsigned_abs().into(), out);
        }
        _ => put_digits(itoa::Buffer::new().format(value).as_bytes(), scale, out),
    }
}

/// As [`put_decimal`], for up to 76 digits.
pub(crate) fn put_wide_decimal(value: i256, scale: i8, out: &mut Vec<u8>) {
    put_digits(value.to_string().as_bytes(), scale, out);
}

/// At most 16 digits, so that the last group can be filled up within 64 bits.
fn put_small(value: i64, scale: usize, out: &mut Vec<u8>) {
    let fraction_groups = scale.div_ceil(4);
    let mut rest = value.unsigned_abs() * POWERS[fraction_groups * 4 - scale];
    // From the last group to the first, trailing zero groups left out.
    let (mut groups, mut count, mut place) = ([0_u16; 5], 0, 0);
    let mut first_place = 0;
    while rest != 0 {
        let group = (rest % 10_000) as u16;
        rest /= 10_000;
        if count > 0 || group != 0 {
            groups[count] = group;
            count += 1;
            first_place = place;
        }
        place += 1;
    }
    let weight = if count == 0 { 0 } else { first_place - fraction_groups as i16 };
    let sign = if value < 0 { NEGATIVE } else { 0 };
    put_head(count, weight, sign, scale as u16, out);
    for group in groups[..count].iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

pub(crate) fn put_head(groups: usize, weight: i16, sign: u16, scale: u16, out: &mut Vec<u8>) {
    let mut head = [0_u8; 12];
    head[..4].copy_from_slice(&(8 + 2 * groups as u32).to_be_bytes());
    head[4..6].copy_from_slice(&(groups as u16).to_be_bytes());
    head[6..8].copy_from_slice(&weight.to_be_bytes());
    head[8..10].copy_from_slice(&sign.to_be_bytes());
    head[10..].copy_from_slice(&scale.to_be_bytes());
    out.extend_from_slice(&head);
}

/// An integer's text, of which the last `scale` digits stand after the point.
fn put_digits(text: &[u8], scale: i8, out: &mut Vec<u8>) {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let scale = usize::from(scale.unsigned_abs());
    let (before, after) = digits.split_at(digits.len().saturating_sub(scale));
    put_parts(negative, before, after, scale, out);
}

/// Digits before the point, digits after it (zeros that stand before them left out), and how many
/// digits after the point there are in all.
fn put_parts(negative: bool, before: &[u8], after: &[u8], scale: usize, out: &mut Vec<u8>) {
    let missing = scale - after.len();
    let before = &before[before.iter().take_while(|digit| **digit == b'0').count()..];
    let start = out.len();
    put_head(0, 0, 0, 0, out);
    let lead = before.len().div_ceil(4) * 4 - before.len();
    let digit = |at: usize| -> u16 {
        let at = match at.checked_sub(lead) {
            Some(at) => at,
            None => return 0,
        };
        let digit = match at.checked_sub(before.len()) {
            None => before.get(at),
            Some(at) => at.checked_sub(missing).and_then(|at| after.get(at)),
        };
        digit.map_or(0, |digit| u16::from(digit - b'0'))
    };
    let groups = (lead + before.len() + scale).div_ceil(4);
    let group = |index: usize| (0..4).fold(0, |group, at| group * 10 + digit(index * 4 + at));
    let first = (0..groups).find(|index| group(*index) != 0).unwrap_or(groups);
    let last = (first..groups).rev().find(|index| group(*index) != 0);
    let Some(last) = last else {
        out.truncate(start);
        return put_head(0, 0, 0, scale as u16, out);
    };
    for index in first..=last {
        out.extend_from_slice(&group(index).to_be_bytes());
    }
    let weight = (lead + before.len()) as i64 / 4 - 1 - first as i64;
    let mut head = Vec::with_capacity(12);
    let sign = if negative { NEGATIVE } else { 0 };
    put_head(last - first + 1, weight as i16, sign, scale as u16, &mut head);
    out[start..start + 12].copy_from_slice(&head);
}

/// Why a number's text cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberFault {
    /// It is no number.
    Syntax,
    /// It has more digits than the column takes.
    Range,
    /// Negative zero.
    NegativeZero,
}

/// Appends a length and a number given as text. `bounds` are precision and scale of the column:
/// the server would round to them without a word.
pub(crate) fn put_text(
    text: &str,
    bounds: Option<(i32, i32)>,
    out: &mut Vec<u8>,
) -> Result<(), NumberFault> {
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" => Some(INFINITY),
        "-Infinity" => Some(MINUS_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        // Bounded columns take NaN alone.
        if sign != NAN && bounds.is_some() {
            return Err(NumberFault::Range);
        }
        put_head(0, 0, sign, 0, out);
        return Ok(());
    }
    let number = Number::read(text.as_bytes()).ok_or(NumberFault::Syntax)?;
    if number.exponent == 0 {
        return put_plain(number.negative, number.whole, number.fraction, bounds, out);
    }
    let (before, after) = without_exponent(&number).ok_or(NumberFault::Range)?;
    put_plain(number.negative, &before, &after, bounds, out)
}

/// Digits before the point and after it.
fn put_plain(
    negative: bool,
    before: &[u8],
    after: &[u8],
    bounds: Option<(i32, i32)>,
    out: &mut Vec<u8>,
) -> Result<(), NumberFault> {
    let significant = &before[before.iter().take_while(|digit| **digit == b'0').count()..];
    if negative && significant.is_empty() && after.iter().all(|digit| *digit == b'0') {
        return Err(NumberFault::NegativeZero);
    }
    if significant.len() > MOST_BEFORE || after.len() > MOST_AFTER {
        return Err(NumberFault::Range);
    }
    if bounds.is_some_and(|bounds| !within(significant, after, bounds)) {
        return Err(NumberFault::Range);
    }
    put_parts(negative, before, after, after.len(), out);
    Ok(())
}

/// The digits before the point and after it once the exponent has moved it; `None` if they are
/// more than a number can have.
fn without_exponent(number: &Number<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let whole = &number.whole[number.whole.iter().take_while(|digit| **digit == b'0').count()..];
    let digits = [whole, number.fraction].concat();
    if digits.iter().all(|digit| *digit == b'0') {
        return Some((Vec::new(), Vec::new()));
    }
    let point = whole.len() as i64 + i64::from(number.exponent);
    let most = MOST_BEFORE as i64 + digits.len() as i64;
    if point > most || -point > MOST_AFTER as i64 {
        return None;
    }
    let zeros = |count: i64| vec![b'0'; usize::try_from(count).unwrap_or(0)];
    let cut = usize::try_from(point).unwrap_or(0).min(digits.len());
    let (before, after) = digits.split_at(cut);
    let before = [before, &zeros(point - digits.len() as i64)].concat();
    Some((before, [&zeros(-point), after].concat()))
}

/// Whether the digits fit `numeric(precision, scale)` without rounding; the scale may be negative
/// or beyond the precision.
fn within(before: &[u8], after: &[u8], (precision, scale): (i32, i32)) -> bool {
    let zeros_at_end = |digits: &[u8]| digits.iter().rev().take_while(|it| **it == b'0').count();
    let after = &after[..after.len() - zeros_at_end(after)];
    let leading = (before.len() as i32, after.len() as i32);
    // The place of the first digit that counts, before the point positive.
    let first = match leading {
        (0, _) => -(after.iter().take_while(|digit| **digit == b'0').count() as i32),
        (digits, _) => digits,
    };
    let fine = match after.is_empty() {
        true => zeros_at_end(before) as i32 >= -scale,
        false => after.len() as i32 <= scale,
    };
    let zero = before.is_empty() && after.is_empty();
    zero || (fine && first <= precision - scale)
}

/// A number as it came, its digits still in their groups.
pub(crate) struct Numeric<'a> {
    pub(crate) sign: Sign,
    weight: i32,
    /// Digits after the point.
    scale: usize,
    groups: &'a [u8],
}

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Positive,
    Negative,
    NaN,
    Infinity,
    MinusInfinity,
}

impl<'a> Numeric<'a> {
    /// `None` if the bytes are no number of the server's.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, groups) = bytes.split_first_chunk::<8>()?;
        let part = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let sign = match part(4) {
            0 => Sign::Positive,
            NEGATIVE => Sign::Negative,
            NAN => Sign::NaN,
            INFINITY => Sign::Infinity,
            MINUS_INFINITY => Sign::MinusInfinity,
            _ => return None,
        };
        if groups.len() != usize::from(part(0)) * 2 {
            return None;
        }
        let weight = i32::from(part(2) as i16);
        Some(Self { sign, weight, scale: usize::from(part(6)), groups })
    }

    fn groups(&self) -> impl Iterator<Item = u16> {
        self.groups.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// The number of decimal places by which the last group has to be moved to make the number an
    /// integer of this scale.
    fn shift(&self, scale: i8) -> i32 {
        let last = self.weight + 1 - (self.groups.len() / 2) as i32;
        4 * last + i32::from(scale)
    }

    /// The number times `10^scale`; `None` if that is no integer within the precision.
    pub(crate) fn scaled(&self, precision: u8, scale: i8) -> Option<i128> {
        // Four groups have 16 digits, which leaves room for 18 zeros behind them.
        let shift = self.shift(scale);
        if self.groups.len() > 8 || !(-4..=18).contains(&shift) {
            return self.scaled_wide(precision, scale)?.to_i128();
        }
        let value = self.groups().fold(0_u64, |value, group| value * 10_000 + u64::from(group));
        let power = POWERS[shift.unsigned_abs() as usize];
        let value = match shift {
            0 => i128::from(value),
            1.. => i128::from(value) * i128::from(power),
            _ if value % power == 0 => i128::from(value / power),
            _ => return None,
        };
        let fits = value < *WIDE_POWERS.get(usize::from(precision))?;
        match self.sign {
            Sign::Positive => fits.then_some(value),
            Sign::Negative => fits.then_some(-value),
            _ => None,
        }
    }

    /// As [`Numeric::scaled`], for up to 76 digits.
    pub(crate) fn scaled_wide(&self, precision: u8, scale: i8) -> Option<i256> {
        if !matches!(self.sign, Sign::Positive | Sign::Negative) {
            return None;
        }
        let base = i256::from_i128(10_000);
        let mut value = i256::ZERO;
        let (mut shift, count) = (self.shift(scale), self.groups.len() / 2);
        for (index, group) in self.groups().enumerate() {
            let is_last = index + 1 == count;
            if is_last && (-3..0).contains(&shift) {
                // The last group reaches beyond the scale: only its upper digits may count.
                let power = POWERS[shift.unsigned_abs() as usize] as u16;
                if group % power != 0 {
                    return None;
                }
                let upper = i256::from_i128((10_000 / power).into());
                value = value.checked_mul(upper)?;
                value = value.checked_add(i256::from_i128((group / power).into()))?;
                shift = 0;
            } else {
                value = value.checked_mul(base)?.checked_add(i256::from_i128(group.into()))?;
            }
        }
        if count == 0 {
            return Some(i256::ZERO);
        }
        if !(0..=76).contains(&shift) {
            return None;
        }
        let ten = i256::from_i128(10);
        value = value.checked_mul(ten.checked_pow(shift.unsigned_abs())?)?;
        let fits = value < ten.checked_pow(precision.into())?;
        let value = if self.sign == Sign::Negative { value.checked_neg()? } else { value };
        fits.then_some(value)
    }

    /// Appends the number's text, as the server prints it.
    pub(crate) fn text(&self, out: &mut Vec<u8>) {
        match self.sign {
            Sign::NaN => return out.extend_from_slice(b"NaN"),
            Sign::Infinity => return out.extend_from_slice(b"Infinity"),
            Sign::MinusInfinity => return out.extend_from_slice(b"-Infinity"),
            Sign::Negative => out.push(b'-'),
            Sign::Positive => {}
        }
        decimal_groups(self.weight, self.scale, self.groups, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        Numeric::parse(&bytes[4..]).unwrap().text(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn through(text: &str) -> String {
        let mut out = Vec::new();
        put_text(text, None, &mut out).unwrap();
        assert_eq!(out.len() - 4, u32::from_be_bytes(out[..4].try_into().unwrap()) as usize);
        text_of(&out)
    }

    #[test]
    fn t18_texts_keep_their_digits() {
        for text in [
            "0",
            "0.00",
            "1.10",
            "-0.001",
            "10000",
            "99999999.0001",
            "0.00000001",
            "100000000",
            "NaN",
            "Infinity",
            "-Infinity",
            "12345678901234567890123456789012345678901234567890123456789012345",
            "-0.000000000000000000000000000001",
        ] {
            assert_eq!(through(text), text);
        }
        assert_eq!(
            (through("+007.5"), through(".5"), through("5.")),
            ("7.5".into(), "0.5".into(), "5".into())
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "e5", "1e", "1,0", " 1", "0x1", "nan", "--1", "1.2.3"] {
            assert_eq!(put_text(text, None, &mut Vec::new()), Err(NumberFault::Syntax), "{text}");
        }
        assert_eq!(put_text("-0.00", None, &mut Vec::new()), Err(NumberFault::NegativeZero));
    }

    #[test]
    fn an_exponent_moves_the_point() {
        for (text, plain) in [
            ("1e5", "100000"),
            ("-1.50E+1", "-15.0"),
            ("12345e-3", "12.345"),
            ("1e-5", "0.00001"),
            ("0.00123e2", "0.123"),
            ("+.5e1", "5"),
            ("0e99", "0"),
            ("00.0e-7", "0"),
        ] {
            assert_eq!(through(text), plain, "{text}");
        }
        for (text, bounds, fault) in [
            ("1e131072", None, NumberFault::Range),
            ("1e-16384", None, NumberFault::Range),
            ("1e2147483647", None, NumberFault::Range),
            ("-0e5", None, NumberFault::NegativeZero),
            ("1.25e1", Some((3, 0)), NumberFault::Range),
            ("1e3", Some((3, 0)), NumberFault::Range),
        ] {
            assert_eq!(put_text(text, bounds, &mut Vec::new()), Err(fault), "{text}");
        }
        assert!(put_text("1e131071", None, &mut Vec::new()).is_ok());
        assert!(put_text("1.2e1", Some((3, 0)), &mut Vec::new()).is_ok());
    }

    #[test]
    fn t18_what_the_server_would_round_is_refused() {
        for (text, bounds, fits) in [
            ("123.40", (5, 1), true),
            ("123.45", (5, 1), false),
            ("12345", (5, 1), false),
            ("12300", (3, -2), true),
            ("12340", (3, -2), false),
            ("99900", (3, -2), true),
            ("100000", (3, -2), false),
            ("0.00012", (2, 5), true),
            ("0.00112", (2, 5), false),
            ("0", (2, 5), true),
            ("Infinity", (5, 1), false),
            ("NaN", (5, 1), true),
        ] {
            let put = put_text(text, Some(bounds), &mut Vec::new());
            assert_eq!(put.is_ok(), fits, "{text} in {bounds:?}");
        }
    }

    proptest! {
        #[test]
        fn t18_decimals_come_back(value in any::<i128>(), digits in 0u32..38, scale in 0i8..=38) {
            let value = value % 10_i128.pow(digits + 1).min(10_i128.pow(38));
            let mut out = Vec::new();
            put_decimal(value, scale, &mut out);
            let numeric = Numeric::parse(&out[4..]).unwrap();
            prop_assert_eq!(numeric.scaled(38, scale), Some(value));
            prop_assert_eq!(numeric.scaled_wide(76, scale), Some(i256::from_i128(value)));
            // The text path must send the very same bytes.
            let mut by_text = Vec::new();
            put_digits(value.to_string().as_bytes(), scale, &mut by_text);
            prop_assert_eq!(out, by_text);
        }

        #[test]
        fn t18_digits_beyond_the_scale_are_refused(value in 1i64..1_000_000, scale in 1i8..6) {
            let mut out = Vec::new();
            put_decimal((value * 10 + 1).into(), scale, &mut out);
            prop_assert_eq!(Numeric::parse(&out[4..]).unwrap().scaled(38, scale - 1), None);
        }

        #[test]
        fn texts_come_back(before in "[1-9][0-9]{0,40}", after in "[0-9]{1,40}") {
            let text = format!("-{before}.{after}");
            prop_assert_eq!(through(&text), text);
        }

        #[test]
        fn nonsense_is_no_number(bytes in any::<Vec<u8>>()) {
            if let Some(numeric) = Numeric::parse(&bytes) {
                let _ = numeric.scaled(38, 2);
                let _ = numeric.scaled_wide(76, 2);
            }
        }
    }
}
