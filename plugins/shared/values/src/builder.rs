//! The buffers of one column of a batch, by its logical type: values in, an Arrow array out without
//! copying. Which values are NULL, and how a server's cells become values, is left to the caller.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray,
    StringArray, builder::StringBuilder, types::*,
};
use arrow_buffer::{
    BooleanBufferBuilder, Buffer, IntervalMonthDayNano, NullBuffer, OffsetBuffer, ScalarBuffer,
    i256,
};
use arrow_schema::{ArrowError, DataType};
use transload_plugin_api::{LogicalType, NativeEncoding};

/// The number of rows that a reader's batch aims at.
pub const BATCH_ROWS: usize = 8192;
/// The number of bytes of input at which a reader ends a batch with fewer rows.
pub const BATCH_BYTES: usize = 4 << 20;

/// The values of one column so far, with a place for each NULL; the twin of [`crate::View`].
#[derive(Debug)]
#[allow(missing_docs, reason = "the variants are those of `LogicalType`")]
pub enum Builder {
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
    /// Times `10^scale`.
    Decimal128(Vec<i128>),
    /// Times `10^scale`.
    Decimal256(Vec<i256>),
    /// `numeric`, `text` and `json`: UTF-8.
    Text(Bytes),
    Binary(Bytes),
    Uuid(Vec<[u8; 16]>),
    /// Days since 1970-01-01.
    Date(Vec<i32>),
    /// Ticks since midnight.
    Time(Vec<i64>),
    /// Ticks since 1970-01-01 00:00:00 of the same wall clock.
    Timestamp(Vec<i64>),
    /// Ticks since 1970-01-01 00:00:00 UTC.
    TimestampTz(Vec<i64>),
    /// Microseconds.
    Duration(Vec<i64>),
    Interval(Vec<IntervalMonthDayNano>),
}

/// Values of any length: their bytes without gaps, and where each ends. The caller appends bytes
/// and then their end.
#[derive(Debug)]
pub struct Bytes {
    /// The bytes of all values.
    pub bytes: Vec<u8>,
    /// 0, then the end of each value; at most `i32::MAX`.
    pub ends: Vec<i32>,
}

impl Bytes {
    fn new(rows: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { bytes: Vec::with_capacity(bytes + bytes / 16), ends }
    }

    /// The end of the last value that was closed.
    #[inline]
    pub fn last_end(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize)
    }

    /// Ends the value whose bytes were just appended. `None` beyond 2 GiB; then the value is gone.
    #[inline]
    pub fn close(&mut self) -> Option<()> {
        let Ok(end) = i32::try_from(self.bytes.len()) else {
            self.bytes.truncate(self.last_end());
            return None;
        };
        self.ends.push(end);
        Some(())
    }

    /// Appends an empty value.
    #[inline]
    pub fn push_empty(&mut self) {
        self.ends.push(self.last_end() as i32);
    }

    /// The bytes of the last value.
    pub fn last(&self) -> Option<&[u8]> {
        let start = *self.ends.get(self.ends.len().checked_sub(2)?)? as usize;
        self.bytes.get(start..self.last_end())
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.bytes.truncate(self.last_end());
    }

    /// The values as texts. One that is not UTF-8 is added to `faults` and is empty in the array.
    ///
    /// # Errors
    /// Another number of NULLs than of values.
    pub fn into_texts(
        self,
        nulls: Option<NullBuffer>,
        faults: &mut Vec<InvalidText>,
    ) -> Result<StringArray, ArrowError> {
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        let bytes = Buffer::from_vec(self.bytes);
        // Validates all values together, and that each begins with a character.
        if let Ok(array) = StringArray::try_new(ends.clone(), bytes.clone(), nulls.clone()) {
            return Ok(array);
        }
        let mut valid = StringBuilder::with_capacity(ends.len() - 1, bytes.len());
        for (row, ends) in ends.windows(2).enumerate() {
            let value = &bytes[ends[0] as usize..ends[1] as usize];
            valid.append_value(std::str::from_utf8(value).unwrap_or_else(|_| {
                faults.push(InvalidText { row, bytes: value.to_vec() });
                ""
            }));
        }
        let (ends, bytes, _) = valid.finish().into_parts();
        StringArray::try_new(ends, bytes, nulls)
    }
}

/// A text that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidText {
    /// Its row.
    pub row: usize,
    /// The text itself.
    pub bytes: Vec<u8>,
}

/// One expression for the values of every variant.
macro_rules! each {
    ($builder:expr, $values:ident => $fixed:expr, $bytes:ident => $any:expr) => {
        match $builder {
            Builder::Boolean($values) => $fixed,
            Builder::Int8($values) => $fixed,
            Builder::Int16($values) => $fixed,
            Builder::Int32($values) | Builder::Date($values) => $fixed,
            Builder::Int64($values)
            | Builder::Time($values)
            | Builder::Timestamp($values)
            | Builder::TimestampTz($values)
            | Builder::Duration($values) => $fixed,
            Builder::UInt8($values) => $fixed,
            Builder::UInt16($values) => $fixed,
            Builder::UInt32($values) => $fixed,
            Builder::UInt64($values) => $fixed,
            Builder::Float32($values) => $fixed,
            Builder::Float64($values) => $fixed,
            Builder::Decimal128($values) => $fixed,
            Builder::Decimal256($values) => $fixed,
            Builder::Uuid($values) => $fixed,
            Builder::Interval($values) => $fixed,
            Builder::Text($bytes) | Builder::Binary($bytes) => $any,
        }
    };
}

/// What `push_null` does to values of a fixed width.
trait PushDefault {
    fn push_default(&mut self);
}

impl<T: Default> PushDefault for Vec<T> {
    #[inline]
    fn push_default(&mut self) {
        self.push(T::default());
    }
}

impl PushDefault for BooleanBufferBuilder {
    #[inline]
    fn push_default(&mut self) {
        self.append(false);
    }
}

impl Builder {
    /// Buffers for about `rows` rows and `bytes` bytes of text or binary values. `None` for lists,
    /// which are built of the builder of their items.
    pub fn new(logical: &LogicalType, rows: usize, bytes: usize) -> Option<Self> {
        use LogicalType as L;
        Some(match logical {
            L::Boolean => Self::Boolean(BooleanBufferBuilder::new(rows)),
            L::Int8 => Self::Int8(Vec::with_capacity(rows)),
            L::Int16 => Self::Int16(Vec::with_capacity(rows)),
            L::Int32 => Self::Int32(Vec::with_capacity(rows)),
            L::Int64 => Self::Int64(Vec::with_capacity(rows)),
            L::UInt8 => Self::UInt8(Vec::with_capacity(rows)),
            L::UInt16 => Self::UInt16(Vec::with_capacity(rows)),
            L::UInt32 => Self::UInt32(Vec::with_capacity(rows)),
            L::UInt64 => Self::UInt64(Vec::with_capacity(rows)),
            L::Float32 => Self::Float32(Vec::with_capacity(rows)),
            L::Float64 => Self::Float64(Vec::with_capacity(rows)),
            L::Decimal { precision: 0..=38, .. } => Self::Decimal128(Vec::with_capacity(rows)),
            L::Decimal { .. } => Self::Decimal256(Vec::with_capacity(rows)),
            L::Text { .. } | L::Numeric | L::Json => Self::Text(Bytes::new(rows, bytes)),
            L::Binary => Self::Binary(Bytes::new(rows, bytes)),
            L::Uuid => Self::Uuid(Vec::with_capacity(rows)),
            L::Date => Self::Date(Vec::with_capacity(rows)),
            L::Time { .. } => Self::Time(Vec::with_capacity(rows)),
            L::Timestamp { .. } => Self::Timestamp(Vec::with_capacity(rows)),
            L::TimestampTz { .. } => Self::TimestampTz(Vec::with_capacity(rows)),
            L::Duration => Self::Duration(Vec::with_capacity(rows)),
            L::Interval => Self::Interval(Vec::with_capacity(rows)),
            L::Native(form) => match form.encoding {
                NativeEncoding::Text => Self::Text(Bytes::new(rows, bytes)),
                NativeEncoding::Binary => Self::Binary(Bytes::new(rows, bytes)),
            },
            _ => return None,
        })
    }

    /// Appends the place of a NULL.
    #[inline]
    pub fn push_null(&mut self) {
        each!(self, values => values.push_default(), bytes => bytes.push_empty());
    }

    /// Drops all rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        each!(self, values => values.truncate(rows), bytes => bytes.truncate(rows));
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        each!(self, values => values.len(), bytes => bytes.ends.len() - 1)
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of text or binary values.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.bytes.len(),
            _ => 0,
        }
    }

    /// The rows as an array; the builder is empty afterwards, with room for as many rows again.
    /// `logical` is the type that it was made for.
    ///
    /// # Errors
    /// The values are not those of the type: text that is not UTF-8, another number of NULLs.
    pub fn finish(
        &mut self,
        logical: &LogicalType,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, ArrowError> {
        let mut faults = Vec::new();
        let array = self.finish_texts(logical, nulls, &mut faults)?;
        match faults.is_empty() {
            true => Ok(array),
            false => Err(ArrowError::InvalidArgumentError("a text is not UTF-8".to_owned())),
        }
    }

    /// As [`Builder::finish`], for text from a source that may not be UTF-8: such a text is added to
    /// `faults` and is empty in the array.
    ///
    /// # Errors
    /// The values are not those of the type: another number of NULLs.
    pub fn finish_texts(
        &mut self,
        logical: &LogicalType,
        nulls: Option<NullBuffer>,
        faults: &mut Vec<InvalidText>,
    ) -> Result<ArrayRef, ArrowError> {
        // one long value says nothing about the next batch
        let next = Self::new(logical, self.len(), self.bytes().min(BATCH_BYTES));
        let next =
            next.ok_or_else(|| ArrowError::SchemaError(format!("no builder of {logical}")))?;
        let data_type = logical.data_type();
        match std::mem::replace(self, next) {
            Self::Boolean(mut values) => Ok(Arc::new(BooleanArray::new(values.finish(), nulls))),
            Self::Int8(values) => array::<Int8Type>(values, nulls, data_type),
            Self::Int16(values) => array::<Int16Type>(values, nulls, data_type),
            Self::Int32(values) => array::<Int32Type>(values, nulls, data_type),
            Self::Int64(values) => array::<Int64Type>(values, nulls, data_type),
            Self::UInt8(values) => array::<UInt8Type>(values, nulls, data_type),
            Self::UInt16(values) => array::<UInt16Type>(values, nulls, data_type),
            Self::UInt32(values) => array::<UInt32Type>(values, nulls, data_type),
            Self::UInt64(values) => array::<UInt64Type>(values, nulls, data_type),
            Self::Float32(values) => array::<Float32Type>(values, nulls, data_type),
            Self::Float64(values) => array::<Float64Type>(values, nulls, data_type),
            Self::Decimal128(values) => array::<Decimal128Type>(values, nulls, data_type),
            Self::Decimal256(values) => array::<Decimal256Type>(values, nulls, data_type),
            Self::Date(values) => array::<Date32Type>(values, nulls, data_type),
            Self::Time(values) if is_micros(logical) => {
                array::<Time64MicrosecondType>(values, nulls, data_type)
            }
            Self::Time(values) => array::<Time64NanosecondType>(values, nulls, data_type),
            Self::Timestamp(values) | Self::TimestampTz(values) if is_micros(logical) => {
                array::<TimestampMicrosecondType>(values, nulls, data_type)
            }
            Self::Timestamp(values) | Self::TimestampTz(values) => {
                array::<TimestampNanosecondType>(values, nulls, data_type)
            }
            Self::Duration(values) => array::<DurationMicrosecondType>(values, nulls, data_type),
            Self::Interval(values) => array::<IntervalMonthDayNanoType>(values, nulls, data_type),
            Self::Uuid(values) => {
                let bytes = Buffer::from_vec(values.into_flattened());
                Ok(Arc::new(FixedSizeBinaryArray::try_new(16, bytes, nulls)?))
            }
            Self::Text(bytes) => Ok(Arc::new(bytes.into_texts(nulls, faults)?)),
            Self::Binary(Bytes { bytes, ends }) => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
                Ok(Arc::new(BinaryArray::try_new(ends, Buffer::from_vec(bytes), nulls)?))
            }
        }
    }
}

fn is_micros(logical: &LogicalType) -> bool {
    use LogicalType as L;
    matches!(
        logical,
        L::Time { precision: 0..=6 }
            | L::Timestamp { precision: 0..=6 }
            | L::TimestampTz { precision: 0..=6 }
    )
}

fn array<A: ArrowPrimitiveType>(
    values: Vec<A::Native>,
    nulls: Option<NullBuffer>,
    data_type: DataType,
) -> Result<ArrayRef, ArrowError> {
    if !PrimitiveArray::<A>::is_compatible(&data_type) {
        return Err(ArrowError::SchemaError(format!("a builder of another type than {data_type}")));
    }
    let array = PrimitiveArray::<A>::try_new(values.into(), nulls)?;
    Ok(Arc::new(array.with_data_type(data_type)))
}
