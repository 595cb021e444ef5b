//! Whether a stored number or blob is exactly of a type. SQLite types values, not columns, so each
//! value is looked at; one that would have to be changed to fit is a misfit, and its row dirty. What
//! a stored text means is left to `transload_values`.

use transload_plugin_api::LogicalType;
use transload_values::{Builder, Bytes, Fault, parse, write};

/// Why a value is not of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// A storage class that the type does not allow.
    Class,
    /// The value itself.
    Value(Fault),
}

impl Misfit {
    /// The stable code of the dirty row.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Class => "type",
            Self::Value(fault) => fault.code(),
        }
    }
}

impl From<Fault> for Misfit {
    fn from(fault: Fault) -> Self {
        Self::Value(fault)
    }
}

/// A fitting value, or why it does not fit.
pub(crate) type Fit<T> = std::result::Result<T, Misfit>;

const RANGE: Misfit = Misfit::Value(Fault::Range);

/// Appends an integer to a column of `logical`.
pub(crate) fn push_integer(builder: &mut Builder, logical: &LogicalType, number: i64) -> Fit<()> {
    match builder {
        Builder::Boolean(values) => match number {
            0 | 1 => values.append(number == 1),
            _ => return Err(RANGE),
        },
        Builder::Int8(values) => values.push(narrow(number)?),
        Builder::Int16(values) => values.push(narrow(number)?),
        Builder::Int32(values) => values.push(narrow(number)?),
        Builder::Int64(values) => values.push(number),
        Builder::UInt8(values) => values.push(narrow(number)?),
        Builder::UInt16(values) => values.push(narrow(number)?),
        Builder::UInt32(values) => values.push(narrow(number)?),
        Builder::UInt64(values) => values.push(narrow(number)?),
        Builder::Float32(values) => values.push(single(double(number)?)?),
        Builder::Float64(values) => values.push(double(number)?),
        Builder::Decimal128(values) => {
            let (precision, scale) = digits(logical);
            let scaled = i128::from(number).checked_mul(10_i128.pow(scale.unsigned_abs().into()));
            let limit = 10_i128.pow(precision.into());
            values.push(scaled.filter(|scaled| scaled.abs() < limit).ok_or(RANGE)?);
        }
        Builder::Decimal256(values) => {
            let (precision, scale) = digits(logical);
            let text = number.to_string();
            values.push(parse::wide_decimal(text.as_bytes(), precision, scale)?);
        }
        Builder::Text(texts) => {
            write::integer(number, &mut texts.bytes);
            close(texts)?;
        }
        _ => return Err(Misfit::Class),
    }
    Ok(())
}

/// Appends a real to a column of `logical`. A decimal is the one of its shortest text.
pub(crate) fn push_real(builder: &mut Builder, logical: &LogicalType, number: f64) -> Fit<()> {
    match builder {
        Builder::Float32(values) => values.push(single(number)?),
        Builder::Float64(values) => values.push(number),
        Builder::Decimal128(values) => {
            let (precision, scale) = digits(logical);
            let scaled = parse::decimal_of_float(number, precision, scale)?;
            values.push(scaled.to_i128().ok_or(RANGE)?);
        }
        Builder::Decimal256(values) => {
            let (precision, scale) = digits(logical);
            values.push(parse::decimal_of_float(number, precision, scale)?);
        }
        // numeric affinity has made a number of `1`; its text is JSON again
        Builder::Text(_) if *logical == LogicalType::Json && !number.is_finite() => {
            return Err(RANGE);
        }
        Builder::Text(texts) => {
            write::float(number, &mut texts.bytes);
            close(texts)?;
        }
        _ => return Err(Misfit::Class),
    }
    Ok(())
}

/// Appends a blob: bytes as they are, 16 of them as a UUID.
pub(crate) fn push_blob(builder: &mut Builder, bytes: &[u8]) -> Fit<()> {
    match builder {
        Builder::Binary(values) => {
            values.bytes.extend_from_slice(bytes);
            close(values)?;
        }
        Builder::Uuid(values) => values.push(bytes.try_into().map_err(|_| Fault::Length)?),
        _ => return Err(Misfit::Class),
    }
    Ok(())
}

fn close(values: &mut Bytes) -> Fit<()> {
    values.close().ok_or(Misfit::Value(Fault::Length))
}

fn narrow<T: TryFrom<i64>>(number: i64) -> Fit<T> {
    T::try_from(number).map_err(|_| RANGE)
}

/// The double that is exactly this integer.
fn double(number: i64) -> Fit<f64> {
    let double = number as f64;
    (double as i128 == i128::from(number)).then_some(double).ok_or(RANGE)
}

/// The single that is exactly this double; NaN is never stored.
fn single(double: f64) -> Fit<f32> {
    let single = double as f32;
    (f64::from(single) == double).then_some(single).ok_or(RANGE)
}

fn digits(logical: &LogicalType) -> (u8, i8) {
    match *logical {
        LogicalType::Decimal { precision, scale } => (precision, scale),
        _ => (38, 0),
    }
}
