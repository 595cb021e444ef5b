//! Texts of single values to the values, one function for each type. Whole columns of texts are
//! left to [`crate::ColumnParser`], which uses the same parsers.
//!
//! Every function refuses what is not exactly a value: [`Fault::Parse`] if the text does not have
//! the form of the type, [`Fault::Range`] if the type cannot hold the value as it is. The forms are
//! listed in the documentation of the crate.

pub(crate) mod digits;
pub(crate) mod number;
pub(crate) mod temporal;

use std::marker::PhantomData;

use arrow_buffer::i256;

pub use number::{
    Decimal128, FloatValue, IntegerValue, Number, decimal_of_float, float_of_decimal,
};

use crate::{Fault, Ticks, bytes, words};
use number::{Decimal256, Float, Integer};
use temporal::{Date, Duration, Time, Timestamp};

/// Parses texts of one type. `window[start..end]` is the text; bytes before it may be read.
pub(crate) trait Parse {
    /// What one text gives.
    type Value: Copy + Default;

    /// The value of one text, never of an empty one.
    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<Self::Value, Fault>;
}

/// The value of a text that may be empty.
#[inline]
pub(crate) fn whole<P: Parse>(parser: &P, text: &[u8]) -> Result<P::Value, Fault> {
    if text.is_empty() {
        return Err(Fault::Parse);
    }
    parser.parse(text, 0, text.len())
}

/// The boolean that a text stands for by the default words.
///
/// # Errors
/// See the module.
pub fn boolean(text: &[u8]) -> Result<bool, Fault> {
    words::boolean(text)
}

/// An integer: digits, with a sign or without.
///
/// # Errors
/// See the module.
pub fn integer<T: IntegerValue>(text: &[u8]) -> Result<T, Fault> {
    whole(&Integer(PhantomData), text)
}

/// The float nearest to a number's text.
///
/// # Errors
/// See the module; a number that would become 0 or an infinity is out of range.
pub fn float<T: FloatValue>(text: &[u8]) -> Result<T, Fault> {
    whole(&Float(PhantomData), text)
}

/// A decimal of up to 38 digits, times `10^scale`. For many of one type, see [`Decimal128`].
///
/// # Errors
/// See the module.
pub fn decimal(text: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    Decimal128::new(precision, scale).read(text)
}

/// A decimal of up to 76 digits, times `10^scale`.
///
/// # Errors
/// See the module.
pub fn wide_decimal(text: &[u8], precision: u8, scale: i8) -> Result<i256, Fault> {
    whole(&Decimal256 { precision, scale }, text)
}

/// Checks the text of a `numeric` value, which is kept as it is.
///
/// # Errors
/// [`Fault::Parse`] for what is neither a number nor `NaN`, `Infinity` or `-Infinity`.
pub fn numeric(text: &[u8]) -> Result<(), Fault> {
    if number::is_numeric(text) { Ok(()) } else { Err(Fault::Parse) }
}

/// Checks the text of a `json` value, which is kept byte for byte.
///
/// # Errors
/// [`Fault::Utf8`], or [`Fault::Parse`] for what is not a JSON document.
pub fn json(text: &[u8]) -> Result<(), Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::Utf8)?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Fault::Parse)?;
    Ok(())
}

/// A date, in days since 1970-01-01.
///
/// # Errors
/// See the module.
pub fn date(text: &[u8]) -> Result<i32, Fault> {
    whole(&Date, text)
}

/// A time of day, in ticks since midnight.
///
/// # Errors
/// See the module.
pub fn time(text: &[u8], ticks: Ticks) -> Result<i64, Fault> {
    whole(&Time(ticks), text)
}

/// A timestamp without time zone, in ticks since 1970-01-01 00:00:00 of the same wall clock.
///
/// # Errors
/// See the module.
pub fn timestamp(text: &[u8], ticks: Ticks) -> Result<i64, Fault> {
    whole(&Timestamp { ticks, offset: false }, text)
}

/// A timestamp with its offset from UTC, in ticks since 1970-01-01 00:00:00 UTC.
///
/// # Errors
/// See the module.
pub fn timestamptz(text: &[u8], ticks: Ticks) -> Result<i64, Fault> {
    whole(&Timestamp { ticks, offset: true }, text)
}

/// A duration, in microseconds.
///
/// # Errors
/// See the module.
pub fn duration(text: &[u8]) -> Result<i64, Fault> {
    whole(&Duration, text)
}

/// The 16 bytes of a UUID.
///
/// # Errors
/// See the module.
pub fn uuid(text: &[u8]) -> Result<[u8; 16], Fault> {
    bytes::from_uuid(text).ok_or(Fault::Parse)
}

/// UUIDs, as their bytes.
pub(crate) struct Uuid;

impl Parse for Uuid {
    type Value = [u8; 16];

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<[u8; 16], Fault> {
        uuid(&window[start..end])
    }
}
