//! The buffers of one column of a batch, by its logical type: values in, an Arrow array out. How
//! cells become values is left to `decode` and `cell`.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
    types::{
        ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
        TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::ArrowError;
use transload_plugin_api::{LogicalType, Result};
use transload_tables::KeyValue;

use crate::cell::digits;

/// The values of one column, with a place for each NULL.
pub(crate) enum Data {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128(Vec<i128>),
    Decimal256(Vec<i256>),
    Date(Vec<i32>),
    Moment(Vec<i64>),
    Span(Vec<i64>),
    Bytes { bytes: Vec<u8>, ends: Vec<i32> },
    Uuid(Vec<u8>),
}

impl Data {
    /// Buffers for about so many rows, and so many bytes of text among them.
    pub(crate) fn new(logical: &LogicalType, rows: usize, bytes: usize) -> Option<Self> {
        use LogicalType as T;
        Some(match logical {
            T::Boolean => Self::Boolean(BooleanBufferBuilder::new(rows)),
            T::Int8 => Self::Int8(Vec::with_capacity(rows)),
            T::Int16 => Self::Int16(Vec::with_capacity(rows)),
            T::Int32 => Self::Int32(Vec::with_capacity(rows)),
            T::Int64 => Self::Int64(Vec::with_capacity(rows)),
            T::UInt8 => Self::UInt8(Vec::with_capacity(rows)),
            T::UInt16 => Self::UInt16(Vec::with_capacity(rows)),
            T::UInt32 => Self::UInt32(Vec::with_capacity(rows)),
            T::UInt64 => Self::UInt64(Vec::with_capacity(rows)),
            T::Float32 => Self::Float32(Vec::with_capacity(rows)),
            T::Float64 => Self::Float64(Vec::with_capacity(rows)),
            T::Decimal { precision, .. } if *precision <= 38 => {
                Self::Decimal128(Vec::with_capacity(rows))
            }
            T::Decimal { .. } => Self::Decimal256(Vec::with_capacity(rows)),
            T::Text { .. } | T::Json | T::Binary => {
                let mut ends = Vec::with_capacity(rows + 1);
                ends.push(0);
                Self::Bytes { bytes: Vec::with_capacity(bytes + bytes / 8), ends }
            }
            T::Date => Self::Date(Vec::with_capacity(rows)),
            T::Duration => Self::Span(Vec::with_capacity(rows)),
            T::Time { precision } if *precision <= 6 => Self::Span(Vec::with_capacity(rows)),
            T::Timestamp { precision } | T::TimestampTz { precision } if *precision <= 6 => {
                Self::Moment(Vec::with_capacity(rows))
            }
            T::Uuid => Self::Uuid(Vec::with_capacity(16 * rows)),
            _ => return None,
        })
    }

    /// Bytes of text.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Bytes { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    pub(crate) fn push_null(&mut self) {
        match self {
            Self::Boolean(values) => values.append(false),
            Self::Int8(values) => values.push(0),
            Self::Int16(values) => values.push(0),
            Self::Int32(values) | Self::Date(values) => values.push(0),
            Self::Int64(values) | Self::Moment(values) | Self::Span(values) => values.push(0),
            Self::UInt8(values) => values.push(0),
            Self::UInt16(values) => values.push(0),
            Self::UInt32(values) => values.push(0),
            Self::UInt64(values) => values.push(0),
            Self::Float32(values) => values.push(0.0),
            Self::Float64(values) => values.push(0.0),
            Self::Decimal128(values) => values.push(0),
            Self::Decimal256(values) => values.push(i256::ZERO),
            Self::Bytes { bytes, ends } => ends.push(bytes.len() as i32),
            Self::Uuid(bytes) => bytes.extend_from_slice(&[0; 16]),
        }
    }

    /// Forgets what is beyond so many rows.
    pub(crate) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) => values.truncate(rows),
            Self::Int8(values) => values.truncate(rows),
            Self::Int16(values) => values.truncate(rows),
            Self::Int32(values) | Self::Date(values) => values.truncate(rows),
            Self::Int64(values) | Self::Moment(values) | Self::Span(values) => {
                values.truncate(rows);
            }
            Self::UInt8(values) => values.truncate(rows),
            Self::UInt16(values) => values.truncate(rows),
            Self::UInt32(values) => values.truncate(rows),
            Self::UInt64(values) => values.truncate(rows),
            Self::Float32(values) => values.truncate(rows),
            Self::Float64(values) => values.truncate(rows),
            Self::Decimal128(values) => values.truncate(rows),
            Self::Decimal256(values) => values.truncate(rows),
            Self::Bytes { bytes, ends } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Self::Uuid(bytes) => bytes.truncate(rows * 16),
        }
    }

    /// The column's array.
    pub(crate) fn array(
        self,
        logical: &LogicalType,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Self::Int8(values) => array::<Int8Type>(values, nulls),
            Self::Int16(values) => array::<Int16Type>(values, nulls),
            Self::Int32(values) => array::<Int32Type>(values, nulls),
            Self::Int64(values) => array::<Int64Type>(values, nulls),
            Self::UInt8(values) => array::<UInt8Type>(values, nulls),
            Self::UInt16(values) => array::<UInt16Type>(values, nulls),
            Self::UInt32(values) => array::<UInt32Type>(values, nulls),
            Self::UInt64(values) => array::<UInt64Type>(values, nulls),
            Self::Float32(values) => array::<Float32Type>(values, nulls),
            Self::Float64(values) => array::<Float64Type>(values, nulls),
            Self::Decimal128(values) => {
                let (precision, scale) = digits(logical);
                let array = PrimitiveArray::<Decimal128Type>::new(values.into(), nulls);
                Arc::new(array.with_precision_and_scale(precision, scale)?)
            }
            Self::Decimal256(values) => {
                let (precision, scale) = digits(logical);
                let array = PrimitiveArray::<Decimal256Type>::new(values.into(), nulls);
                Arc::new(array.with_precision_and_scale(precision, scale)?)
            }
            Self::Date(values) => array::<Date32Type>(values, nulls),
            Self::Span(values) => match *logical {
                LogicalType::Time { .. } => array::<Time64MicrosecondType>(values, nulls),
                _ => array::<DurationMicrosecondType>(values, nulls),
            },
            Self::Moment(values) => {
                let array = PrimitiveArray::<TimestampMicrosecondType>::new(values.into(), nulls);
                match *logical {
                    LogicalType::TimestampTz { .. } => Arc::new(array.with_timezone("UTC")),
                    _ => Arc::new(array),
                }
            }
            Self::Bytes { bytes, ends } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
                let bytes = Buffer::from_vec(bytes);
                match *logical {
                    LogicalType::Binary => Arc::new(BinaryArray::try_new(ends, bytes, nulls)?),
                    _ => Arc::new(StringArray::try_new(ends, bytes, nulls)?),
                }
            }
            Self::Uuid(bytes) => {
                Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), nulls)?)
            }
        })
    }

    /// The last value as a key; only of types that keys are made of.
    pub(crate) fn last_key(&self, logical: &LogicalType) -> Option<KeyValue> {
        fn last<T: Copy + Into<i128>>(values: &[T]) -> Option<KeyValue> {
            values.last().map(|value| KeyValue::Integer((*value).into()))
        }
        match self {
            Self::Int8(values) => last(values),
            Self::Int16(values) => last(values),
            Self::Int32(values) => last(values),
            Self::Int64(values) => last(values),
            Self::UInt8(values) => last(values),
            Self::UInt16(values) => last(values),
            Self::UInt32(values) => last(values),
            Self::UInt64(values) => last(values),
            Self::Bytes { bytes, ends } => {
                let from = *ends.get(ends.len().checked_sub(2)?)? as usize;
                Some(key_of(&bytes[from..], logical))
            }
            _ => None,
        }
    }
}

/// Text or bytes as a key.
pub(crate) fn key_of(bytes: &[u8], logical: &LogicalType) -> KeyValue {
    match std::str::from_utf8(bytes) {
        Ok(text) if *logical != LogicalType::Binary => KeyValue::Text(text.to_owned()),
        _ => KeyValue::Bytes(bytes.to_vec()),
    }
}

fn array<P: ArrowPrimitiveType>(values: Vec<P::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<P>::new(values.into(), nulls))
}
