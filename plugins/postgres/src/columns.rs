//! A column of a batch in the making: values in the wire's form appended to Arrow builders,
//! straight from the wire's buffer.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ListArray,
    builder::{
        ArrayBuilder, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder,
        StringBuilder,
    },
    types::{
        Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use arrow_buffer::{BooleanBufferBuilder, IntervalMonthDayNano, NullBuffer, OffsetBuffer};
use transload_plugin_api::{Error, ErrorKind, LogicalType, Result};

use crate::{
    encode::{DAY_MICROS, EPOCH_DAYS, EPOCH_MICROS},
    numeric::{Numeric, Sign},
    types::Wire,
};

/// Why a value cannot be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    Null,
    Range(&'static str),
    Utf8,
    /// The bytes are not of the type's form.
    Form,
}

impl Misfit {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Range(_) => "range",
            Self::Utf8 => "utf8",
            Self::Form => "parse",
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Null => "NULL in a column that must not hold it",
            Self::Range(reason) => reason,
            Self::Utf8 => "the text is not UTF-8",
            Self::Form => "the value is not of the form of its type",
        }
    }
}

/// A column's values so far, by the form in which they come and the type they are wanted in.
pub(crate) enum Values {
    Bool(BooleanBuilder),
    Int2(PrimitiveBuilder<Int16Type>),
    Int4(PrimitiveBuilder<Int32Type>),
    Int8(PrimitiveBuilder<Int64Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Decimal(PrimitiveBuilder<Decimal128Type>, u8, i8),
    WideDecimal(PrimitiveBuilder<Decimal256Type>, u8, i8),
    /// With a buffer for one number's text.
    Numeric(StringBuilder, Vec<u8>),
    Text(StringBuilder),
    Jsonb(StringBuilder),
    Bytes(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Interval(PrimitiveBuilder<IntervalMonthDayNanoType>),
    Uuid(FixedSizeBinaryBuilder),
    List(Box<Lists>),
}

pub(crate) struct Lists {
    items: Values,
    field: arrow_schema::FieldRef,
    offsets: Vec<i32>,
    valid: BooleanBufferBuilder,
}

impl Values {
    /// With room for so many values, which take so many bytes together where their size varies.
    /// `None` if what comes in this form is never read as that type.
    pub(crate) fn new(
        wire: &Wire,
        logical: &LogicalType,
        rows: usize,
        bytes: usize,
    ) -> Option<Self> {
        Some(match (wire, logical) {
            (Wire::Bool, _) => Self::Bool(BooleanBuilder::with_capacity(rows)),
            (Wire::Int2, _) => Self::Int2(PrimitiveBuilder::with_capacity(rows)),
            (Wire::Int4, _) => Self::Int4(PrimitiveBuilder::with_capacity(rows)),
            (Wire::Int8, _) => Self::Int8(PrimitiveBuilder::with_capacity(rows)),
            (Wire::Float4, _) => Self::Float4(PrimitiveBuilder::with_capacity(rows)),
            (Wire::Float8, _) => Self::Float8(PrimitiveBuilder::with_capacity(rows)),
            (Wire::Numeric, LogicalType::Decimal { precision, scale }) if *precision <= 38 => {
                let builder = PrimitiveBuilder::with_capacity(rows);
                let builder = builder.with_data_type(logical.data_type());
                Self::Decimal(builder, *precision, *scale)
            }
            (Wire::Numeric, LogicalType::Decimal { precision, scale }) => {
                let builder = PrimitiveBuilder::with_capacity(rows);
                let builder = builder.with_data_type(logical.data_type());
                Self::WideDecimal(builder, *precision, *scale)
            }
            (Wire::Numeric, LogicalType::Numeric) => {
                Self::Numeric(StringBuilder::with_capacity(rows, bytes), Vec::new())
            }
            (Wire::Text, _) => Self::Text(StringBuilder::with_capacity(rows, bytes)),
            (Wire::Jsonb, _) => Self::Jsonb(StringBuilder::with_capacity(rows, bytes)),
            (Wire::Bytea, _) => Self::Bytes(BinaryBuilder::with_capacity(rows, bytes)),
            (Wire::Date, _) => Self::Date(PrimitiveBuilder::with_capacity(rows)),
            (Wire::Time, _) => Self::Time(PrimitiveBuilder::with_capacity(rows)),
            (Wire::Timestamp, _) => {
                let builder = PrimitiveBuilder::with_capacity(rows);
                Self::Timestamp(builder.with_data_type(logical.data_type()))
            }
            (Wire::Interval, _) => Self::Interval(PrimitiveBuilder::with_capacity(rows)),
            (Wire::Uuid, _) => Self::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            (Wire::Array { element, .. }, LogicalType::List(item)) => Self::List(Box::new(Lists {
                items: Self::new(element, item, rows, bytes)?,
                field: Arc::new(item.field("item", true)),
                offsets: vec![0],
                valid: BooleanBufferBuilder::new(rows),
            })),
            _ => return None,
        })
    }

    pub(crate) fn append_null(&mut self) {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int2(builder) => builder.append_null(),
            Self::Int4(builder) => builder.append_null(),
            Self::Int8(builder) => builder.append_null(),
            Self::Float4(builder) => builder.append_null(),
            Self::Float8(builder) => builder.append_null(),
            Self::Decimal(builder, ..) => builder.append_null(),
            Self::WideDecimal(builder, ..) => builder.append_null(),
            Self::Numeric(builder, _) | Self::Text(builder) | Self::Jsonb(builder) => {
                builder.append_null();
            }
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Interval(builder) => builder.append_null(),
            Self::Uuid(builder) => builder.append_null(),
            Self::List(lists) => lists.end_row(false),
        }
    }

    /// Appends one value, or nothing if it does not fit.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Misfit> {
        match self {
            Self::Bool(builder) => builder.append_value(fixed::<1>(bytes)? != [0]),
            Self::Int2(builder) => builder.append_value(i16::from_be_bytes(fixed(bytes)?)),
            Self::Int4(builder) => builder.append_value(i32::from_be_bytes(fixed(bytes)?)),
            Self::Int8(builder) => builder.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Self::Float4(builder) => builder.append_value(f32::from_be_bytes(fixed(bytes)?)),
            Self::Float8(builder) => builder.append_value(f64::from_be_bytes(fixed(bytes)?)),
            Self::Decimal(builder, precision, scale) => {
                let scaled = number(bytes)?.scaled(*precision, *scale);
                builder.append_value(scaled.ok_or_else(|| unscaled(bytes))?);
            }
            Self::WideDecimal(builder, precision, scale) => {
                let scaled = number(bytes)?.scaled_wide(*precision, *scale);
                builder.append_value(scaled.ok_or_else(|| unscaled(bytes))?);
            }
            Self::Numeric(builder, text) => {
                text.clear();
                number(bytes)?.text(text);
                builder.append_value(utf8(text)?);
            }
            Self::Text(builder) => builder.append_value(utf8(bytes)?),
            Self::Jsonb(builder) => match bytes.split_first() {
                Some((1, text)) => builder.append_value(utf8(text)?),
                _ => return Err(Misfit::Form),
            },
            Self::Bytes(builder) => builder.append_value(bytes),
            Self::Date(builder) => builder.append_value(date(i32::from_be_bytes(fixed(bytes)?))?),
            Self::Time(builder) => builder.append_value(time(i64::from_be_bytes(fixed(bytes)?))?),
            Self::Timestamp(builder) => {
                builder.append_value(moment(i64::from_be_bytes(fixed(bytes)?))?);
            }
            Self::Interval(builder) => builder.append_value(interval(&fixed(bytes)?)?),
            Self::Uuid(builder) => {
                let bytes: [u8; 16] = fixed(bytes)?;
                builder.append_value(bytes).map_err(|_| Misfit::Form)?;
            }
            Self::List(lists) => return lists.append(bytes),
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bool(builder) => builder.len(),
            Self::Int2(builder) => builder.len(),
            Self::Int4(builder) => builder.len(),
            Self::Int8(builder) => builder.len(),
            Self::Float4(builder) => builder.len(),
            Self::Float8(builder) => builder.len(),
            Self::Decimal(builder, ..) => builder.len(),
            Self::WideDecimal(builder, ..) => builder.len(),
            Self::Numeric(builder, _) | Self::Text(builder) | Self::Jsonb(builder) => builder.len(),
            Self::Bytes(builder) => builder.len(),
            Self::Date(builder) => builder.len(),
            Self::Time(builder) => builder.len(),
            Self::Timestamp(builder) => builder.len(),
            Self::Interval(builder) => builder.len(),
            Self::Uuid(builder) => builder.len(),
            Self::List(lists) => lists.valid.len(),
        }
    }

    /// The bytes of values whose size varies.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Numeric(builder, _) | Self::Text(builder) | Self::Jsonb(builder) => {
                builder.values_slice().len()
            }
            Self::Bytes(builder) => builder.values_slice().len(),
            Self::List(lists) => lists.items.bytes(),
            _ => 0,
        }
    }

    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int2(builder) => Arc::new(builder.finish()),
            Self::Int4(builder) => Arc::new(builder.finish()),
            Self::Int8(builder) => Arc::new(builder.finish()),
            Self::Float4(builder) => Arc::new(builder.finish()),
            Self::Float8(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, ..) => Arc::new(builder.finish()),
            Self::WideDecimal(builder, ..) => Arc::new(builder.finish()),
            Self::Numeric(builder, _) | Self::Text(builder) | Self::Jsonb(builder) => {
                Arc::new(builder.finish())
            }
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::Interval(builder) => Arc::new(builder.finish()),
            Self::Uuid(builder) => Arc::new(builder.finish()),
            Self::List(lists) => Arc::new(lists.finish()?),
        })
    }
}

impl Lists {
    /// Dimensions, whether there are NULLs, the element's type; size and first index of each
    /// dimension; the elements.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Misfit> {
        let word = |at: usize| length_at(bytes, at * 4).ok_or(Misfit::Form);
        let count = match (word(0)?, bytes.len()) {
            (0, _) => 0,
            (1, 20..) if word(4)? == 1 => usize::try_from(word(3)?).map_err(|_| Misfit::Form)?,
            _ => return Err(Misfit::Range("only arrays of one dimension, counted from 1, travel")),
        };
        let start = self.items.len();
        let mut rest = bytes.get(20..).unwrap_or_default();
        for _ in 0..count {
            let length = length_at(rest, 0).ok_or(Misfit::Form)?;
            rest = &rest[4..];
            match usize::try_from(length) {
                Err(_) => self.items.append_null(),
                Ok(length) => {
                    let (item, after) = rest.split_at_checked(length).ok_or(Misfit::Form)?;
                    rest = after;
                    if let Err(misfit) = self.items.append(item) {
                        // Items without a list would shift those that follow: they stay in the
                        // list of the row, which is taken out as dirty.
                        debug_assert!(self.items.len() >= start);
                        return Err(misfit);
                    }
                }
            }
        }
        self.end_row(true);
        Ok(())
    }

    fn end_row(&mut self, valid: bool) {
        // A batch has at most 4 MiB or one row, so items are fewer than 2^31.
        self.offsets.push(self.items.len() as i32);
        self.valid.append(valid);
    }

    fn finish(&mut self) -> Result<ListArray> {
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        let items = self.items.finish()?;
        let nulls = NullBuffer::new(self.valid.finish());
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        ListArray::try_new(Arc::clone(&self.field), offsets, items, nulls)
            .map_err(|error| defect(&error))
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Misfit> {
    bytes.try_into().map_err(|_| Misfit::Form)
}

fn utf8(bytes: &[u8]) -> Result<&str, Misfit> {
    std::str::from_utf8(bytes).map_err(|_| Misfit::Utf8)
}

fn number(bytes: &[u8]) -> Result<Numeric<'_>, Misfit> {
    Numeric::parse(bytes).ok_or(Misfit::Form)
}

/// Why a number is no decimal of its column.
fn unscaled(bytes: &[u8]) -> Misfit {
    let special =
        number(bytes).is_ok_and(|number| !matches!(number.sign, Sign::Positive | Sign::Negative));
    Misfit::Range(match special {
        true => "NaN and infinity are no decimal numbers",
        false => "the number has more digits than the decimal type takes",
    })
}

fn date(days: i32) -> Result<i32, Misfit> {
    match days {
        i32::MAX | i32::MIN => Err(Misfit::Range("`infinity` is no date of the calendar")),
        days => days.checked_add(EPOCH_DAYS).ok_or(Misfit::Range("the date is out of range")),
    }
}

fn time(micros: i64) -> Result<i64, Misfit> {
    let within = (0..DAY_MICROS).contains(&micros);
    within.then_some(micros).ok_or(Misfit::Range("24:00:00 is no time within a day"))
}

fn moment(micros: i64) -> Result<i64, Misfit> {
    match micros {
        i64::MAX | i64::MIN => Err(Misfit::Range("`infinity` is no moment of the calendar")),
        micros => {
            micros.checked_add(EPOCH_MICROS).ok_or(Misfit::Range("the timestamp is out of range"))
        }
    }
}

/// Microseconds, days, months.
fn interval(bytes: &[u8; 16]) -> Result<IntervalMonthDayNano, Misfit> {
    let word = |at: usize| length_at(bytes, at).ok_or(Misfit::Form);
    let micros = i64::from_be_bytes(fixed(&bytes[..8])?);
    let nanos = micros.checked_mul(1_000).ok_or(Misfit::Range("the interval is out of range"))?;
    Ok(IntervalMonthDayNano::new(word(12)?, word(8)?, nanos))
}

/// The number that stands there, if so many bytes do.
pub(crate) fn length_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn defect(error: &arrow_schema::ArrowError) -> Error {
    Error::new(ErrorKind::Defect, format!("make a batch: {error}"))
}
