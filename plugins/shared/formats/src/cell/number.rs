//! Texts of integers, decimals, numerics and floats to their values; nothing is rounded but what
//! a binary float rounds by its nature.

use std::{marker::PhantomData, str};

use arrow_buffer::{ArrowNativeType, i256};

use super::{Fault, digits};

/// Parses texts of one type. `window[start..end]` is the text; bytes before it may be read.
pub(super) trait Parse: Send {
    /// What one text gives.
    type Value: ArrowNativeType;

    /// The value of one text, never of an empty one.
    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<Self::Value, Fault>;
}

/// Integers of any width.
pub(super) struct Integer<T>(pub(super) PhantomData<T>);

impl<T: TryFrom<u32> + TryFrom<i128> + ArrowNativeType> Parse for Integer<T> {
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

/// Decimals to 38 digits.
pub(super) struct Decimal128 {
    scale: usize,
    /// 10^scale.
    unit: i128,
    /// 10^precision - 1.
    most: i128,
    wide: Decimal256,
}

impl Decimal128 {
    pub(super) fn new(precision: u8, scale: i8) -> Self {
        Self {
            scale: scale.max(0) as usize,
            unit: 10i128.pow(scale.max(0) as u32),
            most: 10i128.pow(u32::from(precision)) - 1,
            wide: Decimal256 { precision, scale },
        }
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

/// Decimals to 76 digits, and every odd form of shorter ones.
pub(super) struct Decimal256 {
    pub(super) precision: u8,
    pub(super) scale: i8,
}

impl Parse for Decimal256 {
    type Value = i256;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i256, Fault> {
        let number = Number::read(&window[start..end]).ok_or(Fault::Parse)?;
        let (zeros, count, shift) = number.significant(i32::from(self.scale));
        if shift < 0 || count as i64 + i64::from(shift) > i64::from(self.precision) {
            return Err(Fault::Range);
        }
        let digits = number.digits().skip(zeros).take(count);
        let mut value = i256::ZERO;
        let ten = i256::from_i128(10);
        for digit in digits.chain(std::iter::repeat_n(0, shift as usize)) {
            value = value.wrapping_mul(ten).wrapping_add(i256::from_i128(i128::from(digit)));
        }
        Ok(if number.negative { value.wrapping_neg() } else { value })
    }
}

/// A number's text in its parts: `[sign] whole [. fraction] [e exponent]`.
pub(super) struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl<'a> Number<'a> {
    /// `None` if the text is no number; at least one digit must stand before the exponent.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
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

/// Whether a text may stand in a `numeric` column.
pub(super) fn is_numeric(text: &[u8]) -> bool {
    matches!(text, b"NaN" | b"Infinity" | b"-Infinity") || Number::read(text).is_some()
}

/// Binary floats.
pub(super) struct Float<T>(pub(super) PhantomData<T>);

/// What both float types can tell.
pub(super) trait FloatValue: str::FromStr + ArrowNativeType {
    fn is_infinite(self) -> bool;
    fn is_zero(self) -> bool;
}

impl FloatValue for f32 {
    fn is_infinite(self) -> bool {
        f32::is_infinite(self)
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
}

impl FloatValue for f64 {
    fn is_infinite(self) -> bool {
        f64::is_infinite(self)
    }
    fn is_zero(self) -> bool {
        self == 0.0
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
        if value.is_zero() && has_nonzero_digit(text) {
            return Err(Fault::Range);
        }
        Ok(value)
    }
}

/// Whether the digits before the exponent are more than zeros: such a number became 0.
fn has_nonzero_digit(text: &[u8]) -> bool {
    let mantissa = text.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
    mantissa.into_iter().any(|byte| matches!(byte, b'1'..=b'9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer<T: TryFrom<u32> + TryFrom<i128> + ArrowNativeType>(text: &str) -> Result<T, Fault> {
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
        assert_eq!(float::<f64>("1,5"), Err(Fault::Parse));
        assert_eq!(float::<f64>(" 1"), Err(Fault::Parse));
    }
}
