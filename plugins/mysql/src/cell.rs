//! Single cells of the binary protocol: numbers, decimals, dates, spans, uuids
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>).
//! Whole columns and rows are `decode`'s business.

use std::io::Write as _;

use arrow_buffer::i256;
use transload_plugin_api::{LogicalType, Result};

use crate::{
    calendar::{DAY, days},
    wire::Taker,
};

/// Numbers of the protocol's types.
pub(crate) mod kind {
    pub(crate) const TINY: u8 = 0x01;
    pub(crate) const SHORT: u8 = 0x02;
    pub(crate) const LONG: u8 = 0x03;
    pub(crate) const FLOAT: u8 = 0x04;
    pub(crate) const DOUBLE: u8 = 0x05;
    pub(crate) const NULL: u8 = 0x06;
    pub(crate) const TIMESTAMP: u8 = 0x07;
    pub(crate) const LONGLONG: u8 = 0x08;
    pub(crate) const INT24: u8 = 0x09;
    pub(crate) const DATE: u8 = 0x0A;
    pub(crate) const TIME: u8 = 0x0B;
    pub(crate) const DATETIME: u8 = 0x0C;
    pub(crate) const YEAR: u8 = 0x0D;
    pub(crate) const BIT: u8 = 0x10;
    pub(crate) const JSON: u8 = 0xF5;
    pub(crate) const NEWDECIMAL: u8 = 0xF6;
    pub(crate) const GEOMETRY: u8 = 0xFF;
}

/// Why a cell cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

pub(crate) fn fault(code: &'static str, reason: impl Into<String>) -> Fault {
    Fault { code, reason: reason.into() }
}

pub(crate) fn digits(logical: &LogicalType) -> (u8, i8) {
    match logical {
        LogicalType::Decimal { precision, scale } => (*precision, *scale),
        _ => (38, 0),
    }
}

pub(crate) fn push<T: TryFrom<i128>>(values: &mut Vec<T>, value: i128) -> Result<(), Fault> {
    match T::try_from(value) {
        Ok(value) => {
            values.push(value);
            Ok(())
        }
        Err(_) => Err(fault("range", format!("{value} is out of the column's range"))),
    }
}

pub(crate) fn integer(kind: u8, unsigned: bool, row: &mut Taker<'_>) -> Option<i128> {
    let value = match (kind, unsigned) {
        (kind::TINY, false) => i8::from_le_bytes(row.array()?).into(),
        (kind::TINY, true) => row.byte()?.into(),
        (kind::SHORT, false) => i16::from_le_bytes(row.array()?).into(),
        (kind::SHORT, true) | (kind::YEAR, _) => row.u16()?.into(),
        (kind::LONG | kind::INT24, false) => i32::from_le_bytes(row.array()?).into(),
        (kind::LONG | kind::INT24, true) => row.u32()?.into(),
        (kind::LONGLONG, false) => i64::from_le_bytes(row.array()?).into(),
        (kind::LONGLONG, true) => u64::from_le_bytes(row.array()?).into(),
        _ => return None,
    };
    Some(value)
}

/// Digits of a decimal's text at the wanted scale: sign and digits without the point.
fn scaled<'a>(
    text: &'a [u8],
    scale: usize,
) -> Result<(bool, impl Iterator<Item = u8> + 'a), Fault> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    let (kept, beyond) = fraction.split_at(fraction.len().min(scale));
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(fault("parse", "not a decimal"));
    }
    if beyond.iter().any(|digit| *digit != b'0') {
        return Err(fault("range", format!("more than {scale} digits behind the point")));
    }
    let zeros = std::iter::repeat_n(b'0', scale - kept.len());
    Ok((negative, whole.iter().chain(kept).copied().chain(zeros)))
}

/// 10 to the power of the index.
const SHORT_LIMITS: [u64; 19] = {
    let mut limits = [1; 19];
    let mut at = 1;
    while at < 19 {
        limits[at] = limits[at - 1] * 10;
        at += 1;
    }
    limits
};

/// How nearly all decimals come: at most 18 digits, exactly so many of them behind the point.
#[derive(Clone, Copy, Default)]
pub(crate) struct ShortDecimal {
    scale: usize,
    limit: u64,
}

impl ShortDecimal {
    pub(crate) fn of(logical: &LogicalType) -> Self {
        let (precision, scale) = digits(logical);
        let limit = SHORT_LIMITS[usize::from(precision.min(18))];
        Self { scale: scale.unsigned_abs().into(), limit }
    }

    /// The number without its point; `None` leaves it to [`decimal`].
    #[inline]
    pub(crate) fn read(self, text: &[u8]) -> Option<i64> {
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
        if whole.len() + fraction.len() > 18 {
            return None;
        }
        let mut value = 0;
        for digit in whole.iter().chain(fraction) {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + u64::from(digit);
        }
        let number = value as i64;
        (value < self.limit).then_some(if negative { -number } else { number })
    }
}

pub(crate) fn decimal(text: &[u8], logical: &LogicalType) -> Result<i128, Fault> {
    let (precision, scale) = digits(logical);
    let (negative, found) = scaled(text, scale.unsigned_abs().into())?;
    let mut value: i128 = 0;
    let limit = 10i128.pow(precision.into());
    for digit in found {
        // 38 digits and one more leave 128 bits.
        let next = value.checked_mul(10).and_then(|all| all.checked_add((digit - b'0').into()));
        value = next
            .filter(|value| *value < limit)
            .ok_or_else(|| fault("range", format!("more than {precision} digits")))?;
    }
    Ok(if negative { -value } else { value })
}

pub(crate) fn wide_decimal(text: &[u8], logical: &LogicalType) -> Result<i256, Fault> {
    let (precision, scale) = digits(logical);
    let (negative, found) = scaled(text, scale.unsigned_abs().into())?;
    let (mut value, ten) = (i256::ZERO, i256::from_i128(10));
    let limit = ten.wrapping_pow(precision.into());
    for digit in found {
        value = value.wrapping_mul(ten).wrapping_add(i256::from_i128((digit - b'0').into()));
        if value >= limit {
            return Err(fault("range", format!("more than {precision} digits")));
        }
    }
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// 16 bytes, from bytes or from text.
pub(crate) fn uuid(bytes: &[u8]) -> Option<[u8; 16]> {
    if let Ok(uuid) = bytes.try_into() {
        return Some(uuid);
    }
    let mut digits = bytes.iter().filter(|byte| **byte != b'-');
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        let mut digit = || char::from(*digits.next()?).to_digit(16);
        *byte = (digit()? * 16 + digit()?) as u8;
    }
    digits.next().is_none().then_some(uuid)
}

/// A day and the microseconds after its midnight; the inner `None` is no date of the calendar.
pub(crate) fn moment(row: &mut Taker<'_>) -> Option<Option<(i32, i64)>> {
    let length = row.byte()?;
    let mut body = Taker(row.bytes(length.into())?);
    if length == 0 {
        return Some(None);
    }
    let (year, month, date) = (body.u16()?, body.byte()?, body.byte()?);
    let mut micros = 0;
    if length >= 7 {
        let [hour, minute, second] = body.array::<3>()?.map(i64::from);
        micros = ((hour * 60 + minute) * 60 + second) * 1_000_000;
    }
    if length >= 11 {
        micros += i64::from(body.u32()?);
    }
    Some(days(year.into(), month.into(), date.into()).map(|day| (day, micros)))
}

/// Appends a date as the server prints it, whether it is one of the calendar or not; an instant
/// with its zone, which is UTC.
pub(crate) fn put_dated(
    row: &mut Taker<'_>,
    kind: u8,
    decimals: u8,
    out: &mut Vec<u8>,
) -> Option<()> {
    let length = row.byte()?;
    let mut body = Taker(row.bytes(length.into())?);
    let (year, month, date) = match length {
        0 => (0, 0, 0),
        _ => (body.u16()?, body.byte()?, body.byte()?),
    };
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{year:04}-{month:02}-{date:02}");
    if kind == kind::DATE {
        return Some(());
    }
    let [hour, minute, second] = if length >= 7 { body.array::<3>()? } else { [0; 3] };
    let micros = if length >= 11 { body.u32()? } else { 0 };
    let _ = write!(out, " {hour:02}:{minute:02}:{second:02}");
    if decimals > 0 {
        let fraction = micros / 10u32.pow(6 - u32::from(decimals.min(6)));
        let _ = write!(out, ".{fraction:0width$}", width = usize::from(decimals.min(6)));
    }
    if kind == kind::TIMESTAMP && year > 0 {
        out.push(b'Z');
    }
    Some(())
}

/// A signed span in microseconds.
pub(crate) fn span(row: &mut Taker<'_>) -> Option<i64> {
    let length = row.byte()?;
    let mut body = Taker(row.bytes(length.into())?);
    if length == 0 {
        return Some(0);
    }
    let negative = body.byte()? == 1;
    // A TIME ends before its 35th day.
    let mut micros = i64::from(body.u32().filter(|days| *days < 35)?) * DAY;
    let [hour, minute, second] = body.array::<3>()?.map(i64::from);
    micros += ((hour * 60 + minute) * 60 + second) * 1_000_000;
    if length >= 12 {
        micros += i64::from(body.u32()?);
    }
    Some(if negative { -micros } else { micros })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dec(precision: u8, scale: i8) -> LogicalType {
        LogicalType::Decimal { precision, scale }
    }

    #[test]
    fn t18_decimals_are_read_exactly() {
        for (text, logical, value) in [
            ("123.45", dec(15, 2), Ok(12_345)),
            ("-0.05", dec(15, 2), Ok(-5)),
            ("7", dec(15, 2), Ok(700)),
            ("1.500", dec(15, 1), Ok(15)),
            ("1.55", dec(15, 1), Err("range")),
            ("1000", dec(3, 0), Err("range")),
            ("1e5", dec(9, 0), Err("parse")),
            ("999999999999999999999999999999999999990", dec(38, 0), Err("range")),
        ] {
            let found = decimal(text.as_bytes(), &logical).map_err(|fault| fault.code);
            assert_eq!(found, value, "{text}");
            if let Some(short) = ShortDecimal::of(&logical).read(text.as_bytes()) {
                assert_eq!(Ok(short.into()), value, "{text}");
            }
        }
        let long = "9".repeat(65);
        let value = wide_decimal(long.as_bytes(), &dec(65, 0)).unwrap();
        assert_eq!(value.to_string(), long);
        assert!(wide_decimal(format!("{long}9").as_bytes(), &dec(65, 0)).is_err());
    }

    #[test]
    fn t26_spans_are_read_with_their_sign() {
        let longest = [12, 1, 34, 0, 0, 0, 22, 59, 59, 0x3F, 0x42, 0x0F, 0];
        assert_eq!(span(&mut Taker(&longest)), Some(-crate::calendar::LONGEST));
        assert_eq!(span(&mut Taker(&[0])), Some(0));
        assert_eq!(span(&mut Taker(&longest[..9])), None);
    }

    #[test]
    fn t16_zero_dates_are_none() {
        for packet in [&[0][..], &[4, 0, 0, 0, 0], &[4, 0xE8, 7, 0, 10], &[7, 0, 0, 0, 0, 12, 0, 0]]
        {
            assert_eq!(moment(&mut Taker(packet)), Some(None), "{packet:?}");
        }
        let noon = [7, 0xB2, 7, 1, 2, 12, 0, 0];
        assert_eq!(moment(&mut Taker(&noon)), Some(Some((1, DAY / 2))));
    }

    #[test]
    fn uuids_come_as_text_or_bytes() {
        let text = b"00112233-4455-6677-8899-aAbBcCdDeEfF";
        assert_eq!(uuid(text).unwrap()[..2], [0, 0x11]);
        assert_eq!(uuid(&[7; 16]), Some([7; 16]));
        assert_eq!(uuid(b"0011"), None);
    }

    proptest! {
        #[test]
        fn short_decimals_are_those_of_the_long_way(
            text in "-?[0-9]{0,12}(\\.[0-9x]{0,4})?",
            precision in 1u8..=38,
            scale in 0i8..=3,
        ) {
            let logical = dec(precision, scale.min(precision as i8));
            if let Some(short) = ShortDecimal::of(&logical).read(text.as_bytes()) {
                prop_assert_eq!(decimal(text.as_bytes(), &logical), Ok(short.into()));
            }
        }
    }
}
