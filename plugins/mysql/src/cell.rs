//! Single cells of the binary protocol: numbers, decimals, dates, spans, uuids
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>).
//! Whole columns and rows are `decode`'s business.

use std::io::Write as _;

use arrow_buffer::i256;
use transload_plugin_api::{LogicalType, Result};
use transload_values::{
    Fault,
    calendar::{DAY_MICROS, day_of},
    parse::{self, Decimal128},
};

use crate::{
    refusal::{Refusal, refuse},
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

pub(crate) fn push<T: TryFrom<i128>>(values: &mut Vec<T>, value: i128) -> Result<(), Refusal> {
    match T::try_from(value) {
        Ok(value) => {
            values.push(value);
            Ok(())
        }
        Err(_) => {
            Err(refuse("range", format!("`{value}` is out of the range of the column's type")))
        }
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

/// A parser for the decimals of a column.
pub(crate) fn decimals(logical: &LogicalType) -> Decimal128 {
    let (precision, scale) = digits(logical);
    Decimal128::new(precision.min(38), scale)
}

fn digits(logical: &LogicalType) -> (u8, i8) {
    match logical {
        LogicalType::Decimal { precision, scale } => (*precision, *scale),
        _ => (38, 0),
    }
}

/// A decimal of more than 38 digits, times `10^scale`.
pub(crate) fn wide_decimal(text: &[u8], logical: &LogicalType) -> Result<i256, Refusal> {
    let (precision, scale) = digits(logical);
    parse::wide_decimal(text, precision, scale).map_err(|fault| not_a_value(fault, logical))
}

/// A text of the server that is not a value of the column.
pub(crate) fn not_a_value(fault: Fault, logical: &LogicalType) -> Refusal {
    match fault {
        Fault::Range => refuse(fault.code(), format!("expected {logical}, found a larger number")),
        _ => refuse(fault.code(), format!("expected {logical}, found another text")),
    }
}

/// The 16 bytes of a UUID, which comes as bytes or as text.
pub(crate) fn uuid(bytes: &[u8]) -> Result<[u8; 16], Fault> {
    match bytes.try_into() {
        Ok(uuid) => Ok(uuid),
        Err(_) => parse::uuid(bytes),
    }
}

/// The day of a date; `None` for one that is not in the calendar (`2024-00-10`, `0000-01-01`).
#[inline]
pub(crate) fn day(year: u16, month: u8, date: u8) -> Option<i32> {
    let day = day_of(year.into(), month.into(), date.into())?;
    (year > 0).then_some(day as i32)
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
    Some(day(year, month, date).map(|day| (day, micros)))
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
    if kind == kind::TIMESTAMP {
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
    let mut micros = i64::from(body.u32().filter(|days| *days < 35)?) * DAY_MICROS;
    let [hour, minute, second] = body.array::<3>()?.map(i64::from);
    micros += ((hour * 60 + minute) * 60 + second) * 1_000_000;
    if length >= 12 {
        micros += i64::from(body.u32()?);
    }
    Some(if negative { -micros } else { micros })
}

#[cfg(test)]
mod tests {
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
            ("1x", dec(9, 0), Err("parse")),
            ("999999999999999999999999999999999999990", dec(38, 0), Err("range")),
        ] {
            let found = decimals(&logical).read(text.as_bytes());
            assert_eq!(found.map_err(Fault::code), value, "{text}");
        }
        let long = "9".repeat(65);
        let value = wide_decimal(long.as_bytes(), &dec(65, 0)).unwrap();
        assert_eq!(value.to_string(), long);
        assert!(wide_decimal(format!("{long}9").as_bytes(), &dec(65, 0)).is_err());
    }

    #[test]
    fn t16_days_outside_the_calendar_are_none() {
        for (year, month, date) in
            [(0, 0, 0), (2024, 0, 10), (2024, 1, 0), (0, 1, 1), (2023, 2, 29), (2024, 13, 1)]
        {
            assert_eq!(day(year, month, date), None, "{year}-{month}-{date}");
        }
        assert_eq!(day(2024, 2, 29), Some(19_782));
    }

    #[test]
    fn t26_spans_are_read_with_their_sign() {
        let longest = [12, 1, 34, 0, 0, 0, 22, 59, 59, 0x3F, 0x42, 0x0F, 0];
        assert_eq!(span(&mut Taker(&longest)), Some(-crate::literal::LONGEST));
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
        assert_eq!(moment(&mut Taker(&noon)), Some(Some((1, DAY_MICROS / 2))));
    }

    #[test]
    fn uuids_come_as_text_or_bytes() {
        let text = b"00112233-4455-6677-8899-aAbBcCdDeEfF";
        assert_eq!(uuid(text).unwrap()[..2], [0, 0x11]);
        assert_eq!(uuid(&[7; 16]), Ok([7; 16]));
        assert_eq!(uuid(b"0011"), Err(Fault::Parse));
    }
}
