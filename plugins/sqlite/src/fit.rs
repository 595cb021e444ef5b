//! Whether a stored value is exactly of a type. SQLite types values, not columns, so each value is
//! looked at; one that would have to be changed to fit is a misfit, and its row dirty.

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, StringBuilder};
use rusqlite::types::ValueRef;

use crate::decimal::{Digits, NumberFault, scaled_double, scaled_double_wide, with_shortest};

/// Why a value is not of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// NULL in a column that must not hold it.
    Null,
    /// A storage class that the type is not made of.
    Class,
    /// Text that is not of the type's form.
    Parse,
    /// Beyond what the type can hold.
    Range,
    /// Longer than the declared length.
    Length,
    /// Text that is not UTF-8.
    Utf8,
}

impl Misfit {
    /// The stable code of the dirty row.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Class => "type",
            Self::Parse => "parse",
            Self::Range => "range",
            Self::Length => "length",
            Self::Utf8 => "utf8",
        }
    }
}

impl From<NumberFault> for Misfit {
    fn from(fault: NumberFault) -> Self {
        match fault {
            NumberFault::Syntax => Self::Parse,
            NumberFault::Scale | NumberFault::Range => Self::Range,
        }
    }
}

/// A fitting value, or why it does not fit.
pub(crate) type Fit<T> = std::result::Result<T, Misfit>;

pub(crate) fn text_bytes(value: ValueRef<'_>) -> Fit<&[u8]> {
    match value {
        ValueRef::Text(bytes) => Ok(bytes),
        _ => Err(Misfit::Class),
    }
}

fn utf8(bytes: &[u8]) -> Fit<&str> {
    std::str::from_utf8(bytes).map_err(|_| Misfit::Utf8)
}

pub(crate) fn boolean(value: ValueRef<'_>, out: &mut BooleanBuilder) -> Fit<()> {
    match value {
        ValueRef::Integer(number @ 0..=1) => out.append_value(number == 1),
        ValueRef::Integer(_) => return Err(Misfit::Range),
        _ => return Err(Misfit::Class),
    }
    Ok(())
}

pub(crate) fn integer<T: TryFrom<i64>>(value: ValueRef<'_>) -> Fit<T> {
    match value {
        ValueRef::Integer(number) => T::try_from(number).map_err(|_| Misfit::Range),
        _ => Err(Misfit::Class),
    }
}

/// A double; an integer where a double holds exactly that number.
pub(crate) fn double(value: ValueRef<'_>) -> Fit<f64> {
    match value {
        ValueRef::Real(number) => Ok(number),
        ValueRef::Integer(number) => {
            let double = number as f64;
            let exact = double as i128 == i128::from(number);
            exact.then_some(double).ok_or(Misfit::Range)
        }
        _ => Err(Misfit::Class),
    }
}

pub(crate) fn single(value: ValueRef<'_>) -> Fit<f32> {
    let double = double(value)?;
    let single = double as f32;
    (f64::from(single) == double).then_some(single).ok_or(Misfit::Range)
}

pub(crate) fn decimal(value: ValueRef<'_>, precision: u8, scale: i8) -> Fit<i128> {
    let scaled = match value {
        ValueRef::Integer(number) => {
            let power = 10_i128.pow(scale.unsigned_abs().into());
            let scaled = i128::from(number).checked_mul(power);
            let limit = 10_i128.pow(precision.into());
            scaled.filter(|scaled| scaled.abs() < limit).ok_or(NumberFault::Range)
        }
        ValueRef::Real(number) => scaled_double(number, precision, scale),
        ValueRef::Text(bytes) => {
            Digits::parse(bytes).ok_or(Misfit::Parse)?.scaled(precision, scale)
        }
        _ => return Err(Misfit::Class),
    };
    Ok(scaled?)
}

pub(crate) fn wide_decimal(
    value: ValueRef<'_>,
    precision: u8,
    scale: i8,
) -> Fit<arrow_buffer::i256> {
    let parse = |bytes: &[u8]| {
        let digits = Digits::parse(bytes).ok_or(NumberFault::Syntax)?;
        digits.scaled_wide(precision, scale)
    };
    let scaled = match value {
        ValueRef::Integer(number) => parse(number.to_string().as_bytes()),
        ValueRef::Real(number) => scaled_double_wide(number, precision, scale),
        ValueRef::Text(bytes) => parse(bytes),
        _ => return Err(Misfit::Class),
    };
    Ok(scaled?)
}

/// Text as it is; a number as the text that reads back as it.
pub(crate) fn text(value: ValueRef<'_>, out: &mut StringBuilder) -> Fit<()> {
    match value {
        ValueRef::Text(bytes) => out.append_value(utf8(bytes)?),
        ValueRef::Integer(number) => out.append_value(number.to_string()),
        ValueRef::Real(number) => append_double(number, out)?,
        _ => return Err(Misfit::Class),
    }
    Ok(())
}

fn append_double(number: f64, out: &mut StringBuilder) -> Fit<()> {
    with_shortest(number, |bytes| {
        out.append_value(utf8(bytes)?);
        Ok(())
    })
}

pub(crate) fn limited_text(value: ValueRef<'_>, length: u32, out: &mut StringBuilder) -> Fit<()> {
    let ValueRef::Text(bytes) = value else { return text(value, out) };
    let text = utf8(bytes)?;
    if is_longer(text, length) {
        return Err(Misfit::Length);
    }
    out.append_value(text);
    Ok(())
}

/// Whether text has more than `length` characters. Bytes are at least as many.
pub(crate) fn is_longer(text: &str, length: u32) -> bool {
    let length = length as usize;
    text.len() > length && text.chars().count() > length
}

/// A number's text, with its digits as they are stored.
pub(crate) fn numeric(value: ValueRef<'_>, out: &mut StringBuilder) -> Fit<()> {
    match value {
        ValueRef::Text(bytes) => {
            let special = matches!(bytes, b"NaN" | b"Infinity" | b"-Infinity");
            if !special && Digits::parse(bytes).is_none() {
                return Err(Misfit::Parse);
            }
            out.append_value(utf8(bytes)?);
        }
        ValueRef::Real(number) if number.is_infinite() => {
            out.append_value(if number > 0.0 { "Infinity" } else { "-Infinity" });
        }
        value => text(value, out)?,
    }
    Ok(())
}

pub(crate) fn json(value: ValueRef<'_>, out: &mut StringBuilder) -> Fit<()> {
    match value {
        ValueRef::Text(bytes) => {
            let text = utf8(bytes)?;
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Misfit::Parse)?;
            out.append_value(text);
            Ok(())
        }
        // Numeric affinity has made a number of `1`; its text is JSON again.
        ValueRef::Real(number) if !number.is_finite() => Err(Misfit::Range),
        value => text(value, out),
    }
}

pub(crate) fn binary(value: ValueRef<'_>, out: &mut BinaryBuilder) -> Fit<()> {
    let ValueRef::Blob(bytes) = value else { return Err(Misfit::Class) };
    out.append_value(bytes);
    Ok(())
}

/// 16 bytes, or text of 32 hexadecimal digits in groups of 8-4-4-4-12.
pub(crate) fn uuid(value: ValueRef<'_>) -> Fit<[u8; 16]> {
    let text = match value {
        ValueRef::Blob(bytes) => return bytes.try_into().map_err(|_| Misfit::Length),
        value => text_bytes(value)?,
    };
    let (mut bytes, mut digits) = ([0_u8; 16], 0);
    for (at, byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return Err(Misfit::Parse);
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16).ok_or(Misfit::Parse)? as u8;
        *bytes.get_mut(digits / 2).ok_or(Misfit::Parse)? |= digit << (4 * (1 - digits % 2));
        digits += 1;
    }
    if digits == 32 { Ok(bytes) } else { Err(Misfit::Parse) }
}
