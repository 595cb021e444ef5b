//! Texts of integers, decimals, numerics and floats to their values; nothing is rounded but what
//! a binary float rounds by its nature.

use std::{marker::PhantomData, str};

use arrow_buffer::{ArrowNativeType, i256};

use super::{Parse, digits};
use crate::Fault;

/// Integers of any width.
pub(crate) struct Integer<T>(pub(crate) PhantomData<T>);

/// The types of integer columns.
pub trait IntegerValue: TryFrom<u32> + TryFrom<i128> + ArrowNativeType {}

impl<T: TryFrom<u32> + TryFrom<i128> + ArrowNativeType> IntegerValue for T {}

impl<T: IntegerValue> Parse for Integer<T> {
    type Value = T;

    #[inline(always)]
    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<T, Fault> {
        match digits::up_to_8(window, start, end) {
            Some(value) => T::try_from(value).map_err(|_| Fault::Range),
            None => T::try_from(long_integer(&window[start..end])?).map_err(|_| Fault::Range),
        }
    }
}

/// An integer of any length with an optional sign.
#[inline(never)]
fn long_integer(text: &[u8]) -> Result<i128, Fault> {
    let (negative, rest) = sign(text);
    if rest.is_empty() || !rest.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Parse);
    }
    let mut value = 0i128;
    for digit in rest {
        value = value * 10 + i128::from(digit - b'0');
        // no integer type holds more than 20 digits: stop before the sum overflows
        if value > i128::from(u64::MAX) {
            return Err(Fault::Range);
        }
    }
    Ok(if negative { -value } else { value })
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// Decimals of up to 38 digits.
#[derive(Clone, Copy, Debug)]
pub struct Decimal128 {
    scale: usize,
    /// 10^scale.
    unit: i128,
    /// 10^precision - 1.
    most: i128,
    wide: Decimal256,
}

impl Decimal128 {
    /// A parser for decimals of `precision` digits, 1 to 38, with `scale` of them after the point.
    pub fn new(precision: u8, scale: i8) -> Self {
        Self {
            scale: scale.max(0) as usize,
            unit: 10i128.pow(scale.max(0) as u32),
            most: 10i128.pow(u32::from(precision)) - 1,
            wide: Decimal256 { precision, scale },
        }
    }

    /// The decimal of a text, times `10^scale`.
    ///
    /// # Errors
    /// [`Fault::Parse`] for a text that is not a number, [`Fault::Range`] for a number that has more
    /// digits than precision or scale allow.
    #[inline]
    pub fn read(&self, text: &[u8]) -> Result<i128, Fault> {
        match self.short(text) {
            Some(value) => Ok(value),
            None => super::whole(self, text),
        }
    }

    /// At most 18 digits, exactly `scale` of them after the point: how nearly all decimals come from
    /// servers. With no bytes before the text that may be read, this is faster than [`Parse::parse`].
    #[inline]
    fn short(&self, text: &[u8]) -> Option<i128> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let (whole, fraction) = match self.scale {
            0 => (text, &[][..]),
            scale => {
                let (whole, fraction) =
                    text.split_at_checked(text.len().checked_sub(scale + 1)?)?;
                (whole, fraction.strip_prefix(b".")?)
            }
        };
        if !(1..=18).contains(&(whole.len() + fraction.len())) {
            return None;
        }
        let mut value = 0_u64;
        for digit in whole.iter().chain(fraction) {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + u64::from(digit);
        }
        let value = i128::from(value);
        (value <= self.most).then_some(if negative { -value } else { value })
    }

    /// Every other form.
    #[inline(never)]
    fn odd(&self, text: &[u8]) -> Result<i128, Fault> {
        if let Some(value) = self.shorter(text) {
            return Ok(value);
        }
        self.wide.parse(text, 0, text.len())?.to_i128().ok_or(Fault::Range)
    }

    /// Digits with fewer of them after the point than the scale has.
    fn shorter(&self, text: &[u8]) -> Option<i128> {
        let point = memchr::memchr(b'.', text)?;
        let start = usize::from(text.first() == Some(&b'-'));
        let missing = self.scale.checked_sub(text.len() - point - 1)?;
        // see `parse`
        if self.scale > 19 {
            return None;
        }
        let whole = i128::from(digits::up_to_16(text, start, point)?) * self.unit;
        let fraction = i128::from(digits::up_to_16(text, point + 1, text.len())?);
        let value = whole + fraction * 10i128.pow(missing as u32);
        (value <= self.most).then_some(if start == 1 { -value } else { value })
    }

    /// Digits with exactly as many of them after the point as the scale has.
    #[inline(always)]
    fn plain(&self, window: &[u8], start: usize, end: usize) -> Option<i128> {
        let negative = *window.get(start)? == b'-';
        let start = start + usize::from(negative);
        let value = if self.scale == 0 {
            i128::from(digits::up_to_16(window, start, end)?)
        } else {
            let point = end.checked_sub(self.scale + 1)?;
            if point < start || *window.get(point)? != b'.' {
                // no point at all: a whole number
                i128::from(digits::up_to_16(window, start, end)?) * self.unit
            } else {
                let whole = i128::from(digits::up_to_16(window, start, point)?);
                let fraction = i128::from(digits::up_to_16(window, point + 1, end)?);
                whole * self.unit + fraction
            }
        };
        (value <= self.most).then_some(if negative { -value } else { value })
    }
}

impl Parse for Decimal128 {
    type Value = i128;

    #[inline(always)]
    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i128, Fault> {
        // beyond 19 digits of scale `whole * unit` could overflow
        if self.scale <= 19
            && let Some(value) = self.plain(window, start, end)
        {
            return Ok(value);
        }
        self.odd(&window[start..end])
    }
}

/// Decimals of up to 76 digits, and the unusual forms of shorter ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal256 {
    pub(crate) precision: u8,
    pub(crate) scale: i8,
}

impl Parse for Decimal256 {
    type Value = i256;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i256, Fault> {
        let number = Number::read(&window[start..end]).ok_or(Fault::Parse)?;
        number.scaled(self.precision, self.scale)
    }
}

/// The text of a number in its parts: `[sign] whole [. fraction] [e exponent]`.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a> {
    /// There is a minus.
    pub negative: bool,
    /// The digits before the point.
    pub whole: &'a [u8],
    /// The digits after the point.
    pub fraction: &'a [u8],
    /// The power of ten, 0 without an exponent.
    pub exponent: i32,
}

impl<'a> Number<'a> {
    /// Splits a text; `None` if it is not a number. At least one digit must precede the exponent.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        let (negative, rest) = sign(text);
        let (whole, rest) = run_of_digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => run_of_digits(rest),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        Some(Self { negative, whole, fraction, exponent })
    }

    /// The number times `10^scale`.
    ///
    /// # Errors
    /// [`Fault::Range`] if that is not a whole number of at most `precision` digits.
    pub fn scaled(&self, precision: u8, scale: i8) -> Result<i256, Fault> {
        let (zeros, count, shift) = self.significant(i32::from(scale));
        if shift < 0 || count as i64 + i64::from(shift) > i64::from(precision) {
            return Err(Fault::Range);
        }
        let digits = self.digits().skip(zeros).take(count);
        let mut value = i256::ZERO;
        let ten = i256::from_i128(10);
        for digit in digits.chain(std::iter::repeat_n(0, shift as usize)) {
            value = value.wrapping_mul(ten).wrapping_add(i256::from_i128(i128::from(digit)));
        }
        Ok(if self.negative { value.wrapping_neg() } else { value })
    }

    /// Whether both texts are the same number: `1.50` and `15e-1`, or 0 and -0.
    pub fn equals(&self, other: &Self) -> bool {
        let parts = |number: &Self| {
            let (zeros, count, shift) = number.significant(0);
            (zeros, count, shift, number.negative && count > 0)
        };
        let ((zeros, count, shift, negative), their) = (parts(self), parts(other));
        let digits = self.digits().skip(zeros).take(count);
        (count, shift, negative) == (their.1, their.2, their.3)
            && digits.eq(other.digits().skip(their.0).take(their.1))
    }

    /// The number of digits from the first to the last that is not zero.
    pub fn significant_digits(&self) -> usize {
        self.significant(0).1
    }

    /// The values of all digits.
    fn digits(&self) -> impl DoubleEndedIterator<Item = u8> {
        self.whole.iter().chain(self.fraction).map(|digit| digit - b'0')
    }

    /// How many zeros stand before the significant digits, how many those are, and by how many
    /// places they must be shifted left to stand in units of 10^-scale. A negative shift means
    /// that the scale is too small.
    fn significant(&self, scale: i32) -> (usize, usize, i32) {
        let length = self.whole.len() + self.fraction.len();
        let Some(zeros) = self.digits().position(|digit| digit != 0) else { return (0, 0, 0) };
        let trailing = self.digits().rev().take_while(|digit| *digit == 0).count();
        let shift = trailing as i64 - self.fraction.len() as i64
            + i64::from(self.exponent)
            + i64::from(scale);
        let shift = shift.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        (zeros, length - zeros - trailing, shift)
    }
}

fn run_of_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn exponent(text: &[u8]) -> Option<i32> {
    let (negative, rest) = sign(text);
    if rest.is_empty() || !rest.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: i32, digit: &u8| sum.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
    let value = rest.iter().fold(0, add);
    Some(if negative { -value } else { value })
}

/// Whether a text may stand in a `numeric` column: a number, or one of three words.
pub(crate) fn is_numeric(text: &[u8]) -> bool {
    matches!(text, b"NaN" | b"Infinity" | b"-Infinity") || Number::read(text).is_some()
}

/// Binary floats.
pub(crate) struct Float<T>(pub(crate) PhantomData<T>);

/// The types of float columns.
pub trait FloatValue: str::FromStr + ArrowNativeType + std::fmt::Debug {
    /// Whether the value is an infinity.
    fn is_infinite(self) -> bool;
    /// Whether the value is 0 or -0.
    fn is_zero(self) -> bool;
    /// Whether a text of digits alone means this value: exactly, or as the value itself is written.
    /// All other texts do.
    fn keeps(self, text: &str) -> bool;
}

/// Whether a text is a whole number in digits, with or without a sign.
fn is_in_digits(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a large whole number in digits is exactly `value`, or its shortest digits and zeros.
#[cold]
fn is_kept(text: &str, value: f64, written: &str) -> bool {
    let exact = value.abs() < 1e38 && text.parse() == Ok(value as i128);
    exact || text.trim_start_matches(['+', '0']) == written
}

impl FloatValue for f32 {
    fn is_infinite(self) -> bool {
        f32::is_infinite(self)
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
    fn keeps(self, text: &str) -> bool {
        // smaller whole numbers are all exact
        self.abs() < 16_777_216.0
            || !is_in_digits(text)
            || is_kept(text, self.into(), &self.to_string())
    }
}

impl FloatValue for f64 {
    fn is_infinite(self) -> bool {
        f64::is_infinite(self)
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
    fn keeps(self, text: &str) -> bool {
        self.abs() < 9_007_199_254_740_992.0
            || !is_in_digits(text)
            || is_kept(text, self, &self.to_string())
    }
}

impl<T: FloatValue> Parse for Float<T> {
    type Value = T;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<T, Fault> {
        let text = &window[start..end];
        let words = str::from_utf8(text).map_err(|_| Fault::Utf8)?;
        let value: T = words.parse().map_err(|_| Fault::Parse)?;
        if value.is_infinite() && text.iter().any(u8::is_ascii_digit) {
            return Err(Fault::Range);
        }
        if value.is_zero() && has_nonzero_digit(text) || !value.keeps(words) {
            return Err(Fault::Range);
        }
        Ok(value)
    }
}

/// The powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Gives `look` the shortest text that reads back as `value`.
fn with_shortest<T>(value: f64, look: impl FnOnce(&[u8]) -> T) -> T {
    use std::io::Write as _;
    // a sign, 17 digits, a point and an exponent of up to 4 characters
    let mut buffer = [0_u8; 32];
    let mut rest = &mut buffer[..];
    let written = write!(rest, "{value:e}").map_or(0, |()| 32 - rest.len());
    look(&buffer[..written])
}

/// The decimal that the shortest text of a double stands for, times `10^scale`.
///
/// # Errors
/// [`Fault::Parse`] for NaN and infinities, [`Fault::Range`] for more digits than precision or
/// scale allow.
pub fn decimal_of_float(value: f64, precision: u8, scale: i8) -> Result<i256, Fault> {
    if let Some(scaled) = short_decimal_of_float(value, scale)
        && 10_i128.checked_pow(precision.into()).is_none_or(|limit| scaled.abs() < limit)
    {
        return Ok(i256::from_i128(scaled));
    }
    with_shortest(value, |text| Number::read(text).ok_or(Fault::Parse)?.scaled(precision, scale))
}

/// A decimal of at most 15 digits is the shortest text of the double nearest to it. If such a
/// decimal divides back to `value` (both operands exact, so the quotient is that nearest double),
/// it is the result.
fn short_decimal_of_float(value: f64, scale: i8) -> Option<i128> {
    let power = *POWERS.get(usize::try_from(scale).ok()?)?;
    let scaled = (value * power).round();
    (scaled.abs() < 1e15 && scaled / power == value).then_some(scaled as i128)
}

/// The double nearest to `value / 10^scale`; `None` for more than 15 digits, of which a double does
/// not keep all.
pub fn float_of_decimal(value: i128, scale: usize) -> Option<f64> {
    // both are exact in a double, so the quotient is the double nearest to the decimal
    let power = POWERS.get(scale)?;
    (value.unsigned_abs() < 1_000_000_000_000_000).then(|| value as i64 as f64 / power)
}

/// Whether the digits before the exponent are more than zeros: such a number became 0.
fn has_nonzero_digit(text: &[u8]) -> bool {
    let mantissa = text.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
    mantissa.into_iter().any(|byte| matches!(byte, b'1'..=b'9'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::write;

    fn integer<T: IntegerValue>(text: &str) -> Result<T, Fault> {
        Integer::<T>(PhantomData).parse(text.as_bytes(), 0, text.len())
    }

    #[test]
    fn integers_fill_their_type_and_no_more() {
        assert_eq!(integer::<i8>("-128"), Ok(-128));
        assert_eq!(integer::<i8>("127"), Ok(127));
        assert_eq!(integer::<i8>("128"), Err(Fault::Range));
        assert_eq!(integer::<u8>("-1"), Err(Fault::Range));
        assert_eq!(integer::<u8>("-0"), Ok(0));
        assert_eq!(integer::<i32>("+5"), Ok(5));
        assert_eq!(integer::<i64>("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer::<i64>("9223372036854775808"), Err(Fault::Range));
        assert_eq!(integer::<u64>("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(integer::<u64>("18446744073709551616"), Err(Fault::Range));
        assert_eq!(integer::<u64>("000000000000000000000000007"), Ok(7));
        assert_eq!(integer::<u64>(&"9".repeat(90)), Err(Fault::Range));
    }

    #[test]
    fn what_is_no_integer_is_refused() {
        for text in ["", "-", "+", " 1", "1 ", "1.0", "1e3", "0x1", "--1", "1_000", "١"] {
            assert_eq!(integer::<i64>(text), Err(Fault::Parse), "{text}");
        }
    }

    fn decimal(precision: u8, scale: i8, text: &str) -> Result<i128, Fault> {
        let narrow = Decimal128::new(precision, scale).parse(text.as_bytes(), 0, text.len());
        let wide = Decimal256 { precision, scale }.parse(text.as_bytes(), 0, text.len());
        assert_eq!(Decimal128::new(precision, scale).read(text.as_bytes()), narrow, "{text}");
        assert_eq!(narrow, wide.map(|value| value.to_i128().unwrap()), "{text}");
        narrow
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(15, 2, "21168.23"), Ok(2_116_823));
        assert_eq!(decimal(15, 2, "-0.04"), Ok(-4));
        assert_eq!(decimal(15, 2, "17"), Ok(1700));
        assert_eq!(decimal(15, 2, "17.5"), Ok(1750));
        assert_eq!(decimal(15, 4, "-17.5"), Ok(-175_000));
        assert_eq!(decimal(19, 18, "-9.00000000000001"), Ok(-9_000_000_000_000_010_000));
        assert_eq!(decimal(15, 2, "17.500000"), Ok(1750));
        assert_eq!(decimal(15, 2, ".5"), Ok(50));
        assert_eq!(decimal(15, 2, "5."), Ok(500));
        assert_eq!(decimal(15, 2, "+1.5e3"), Ok(150_000));
        assert_eq!(decimal(15, 2, "1500e-3"), Ok(150));
        assert_eq!(decimal(15, 2, "0e999999999999"), Ok(0));
        assert_eq!(decimal(38, 0, &"9".repeat(38)), Ok(10i128.pow(38) - 1));
        assert_eq!(decimal(38, 38, &format!("0.{}", "9".repeat(38))), Ok(10i128.pow(38) - 1));
        assert_eq!(
            decimal(38, 20, "-123456789012345678.00000000000000000001"),
            Ok(-12345678901234567800000000000000000001)
        );
    }

    #[test]
    fn decimals_beyond_precision_or_scale_are_refused() {
        for text in [
            "1000",
            "-1000",
            "-1000.0",
            "9999999999999999.1",
            "999.999",
            "0.001",
            "1e3",
            "1e-3",
            "1e999999999999",
        ] {
            assert_eq!(decimal(5, 2, text), Err(Fault::Range), "{text}");
        }
        for text in ["", ".", "-", "1.2.3", "1,5", " 1", "NaN", "1e", "1e+", "0x1", "1.-5", "1.+5"]
        {
            assert_eq!(decimal(5, 2, text), Err(Fault::Parse), "{text}");
        }
    }

    #[test]
    fn numeric_takes_numbers_only() {
        for text in ["1", "-1.50", "1e400", "NaN", "Infinity", "-Infinity", "+.5"] {
            assert!(is_numeric(text.as_bytes()), "{text}");
        }
        for text in ["", "nan", "1 ", "abc", "1e", "--1", "inf"] {
            assert!(!is_numeric(text.as_bytes()), "{text}");
        }
    }

    fn float<T: FloatValue>(text: &str) -> Result<T, Fault> {
        Float::<T>(PhantomData).parse(text.as_bytes(), 0, text.len())
    }

    #[test]
    fn floats_never_become_infinite_or_zero_unasked() {
        assert_eq!(float::<f64>("1e308"), Ok(1e308));
        assert_eq!(float::<f64>("-Infinity"), Ok(f64::NEG_INFINITY));
        assert!(float::<f64>("NaN").unwrap().is_nan());
        assert_eq!(float::<f64>("0.000e5"), Ok(0.0));
        assert_eq!(float::<f64>("1e309"), Err(Fault::Range));
        assert_eq!(float::<f32>("1e39"), Err(Fault::Range));
        assert_eq!(float::<f64>("1e-400"), Err(Fault::Range));
        for (text, single, double) in [
            ("16777216", true, true),
            ("16777217", false, true),
            ("-16777217", false, true),
            ("+16777218", true, true),
            ("16777217.0", true, true), // not in digits alone: the nearest
            ("9007199254740993", false, false),
            ("-9007199254740992", true, true),
            ("12345678901234567000", false, true), // as it is written
            ("12345678901234567168", false, true), // exactly
            ("12345678901234567890", false, false),
            ("Infinity", true, true),
        ] {
            assert_eq!(float::<f32>(text).is_ok(), single, "{text}");
            assert_eq!(float::<f64>(text).is_ok(), double, "{text}");
        }
        assert_eq!(float::<f64>("1,5"), Err(Fault::Parse));
        assert_eq!(float::<f64>(" 1"), Err(Fault::Parse));
    }

    #[test]
    fn doubles_mean_their_shortest_text() {
        let scaled = |value, precision, scale| {
            decimal_of_float(value, precision, scale).map(|value| value.to_i128().unwrap())
        };
        assert_eq!(scaled(0.1, 15, 2), Ok(10));
        assert_eq!(scaled(90_449.99, 15, 2), Ok(9_044_999));
        assert_eq!(scaled(0.1 + 0.2, 15, 2), Err(Fault::Range));
        assert_eq!(scaled(1e300, 38, 0), Err(Fault::Range));
        assert_eq!(scaled(f64::INFINITY, 38, 0), Err(Fault::Parse));
        assert_eq!(scaled(5e-324, 38, 2), Err(Fault::Range));
        assert_eq!(
            decimal_of_float(1e75, 76, 0),
            Ok(i256::from_string(&format!("1{}", "0".repeat(75))).unwrap())
        );
        assert_eq!(float_of_decimal(9_044_999, 2), Some(90_449.99));
        assert_eq!(float_of_decimal(1_000_000_000_000_000, 2), None);
    }

    #[test]
    fn significant_digits() {
        for (text, count) in [("0", 0), ("0.00", 0), ("100", 1), ("0.0120", 2), ("-10.01", 4)] {
            assert_eq!(
                Number::read(text.as_bytes()).unwrap().significant_digits(),
                count,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn short_decimals_survive_doubles(value in -999_999_999_999_i64..999_999_999_999, scale in 0_i8..5) {
            let double = float_of_decimal(value.into(), scale as usize).unwrap();
            let mut text = Vec::new();
            write::decimal(value.into(), scale as usize, &mut text);
            prop_assert_eq!(std::str::from_utf8(&text).unwrap().parse::<f64>().unwrap(), double);
            let wanted = Ok(i256::from_i128(value.into()));
            prop_assert_eq!(decimal_of_float(double, 15, scale), wanted);
            let slow = with_shortest(double, |text| Number::read(text).unwrap().scaled(15, scale));
            prop_assert_eq!(slow, wanted);
        }

        #[test]
        fn any_double_is_an_exact_decimal_or_refused(value in any::<f64>()) {
            if let Ok(scaled) = decimal_of_float(value, 38, 5) {
                let mut text = Vec::new();
                write::decimal(scaled.to_i128().unwrap(), 5, &mut text);
                prop_assert_eq!(std::str::from_utf8(&text).unwrap().parse::<f64>().unwrap(), value);
            }
        }

        #[test]
        fn the_narrow_way_equals_the_wide_one(
            text in "[-+]?[0-9]{0,20}(\\.[0-9x]{0,12})?(e-?[0-9])?",
            precision in 1_u8..=38,
            scale in 0_i8..=10,
        ) {
            // asserts it
            let _ = decimal(precision, scale.min(precision as i8), &text);
        }
    }
}
