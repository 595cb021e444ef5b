//! A column of a batch in the making: values in the wire's form, appended to plain buffers straight
//! from the wire's. Texts are validated once a batch, all of a column together.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray,
    PrimitiveArray,
    types::{
        Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use arrow_buffer::{
    BooleanBufferBuilder, IntervalMonthDayNano, NullBuffer, NullBufferBuilder, OffsetBuffer, i256,
};
use arrow_schema::{ArrowError, DataType};
use transload_plugin_api::LogicalType;
use transload_values::{Bytes, InvalidText};

use crate::{
    cell_fault::ValueFault,
    decimal::DecimalType,
    encode::{DAY_MICROS, EPOCH_DAYS, EPOCH_MICROS},
    numeric::Numeric,
    types::Wire,
};

/// A column's values so far.
pub(crate) struct ColumnBuilder {
    values: Values,
    nulls: NullBufferBuilder,
}

/// By the form in which they come and the type they are wanted in; NULL has a value as well.
enum Values {
    Bool(BooleanBufferBuilder),
    Int2(Vec<i16>),
    Int4(Vec<i32>),
    Int8(Vec<i64>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    Decimal(Vec<i128>, DecimalType),
    WideDecimal(Vec<i256>, u8, i8),
    /// A number as text.
    Numeric(Slices),
    Text(Slices),
    Jsonb(Slices),
    Bytes(Slices),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    Interval(Vec<IntervalMonthDayNano>),
    Uuid(Vec<u8>),
    List(Box<Lists>),
}

/// Values of varying size, one after the other, and where each ends.
struct Slices {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

struct Lists {
    items: ColumnBuilder,
    item: LogicalType,
    offsets: Vec<i32>,
}

impl ColumnBuilder {
    /// With room for `rows` values, and for `bytes` bytes of those whose size varies.
    /// `None` if what comes in this form is never read as that type.
    pub(crate) fn new(
        wire: &Wire,
        logical: &LogicalType,
        rows: usize,
        bytes: usize,
    ) -> Option<Self> {
        let values = match (wire, logical) {
            (Wire::Bool, _) => Values::Bool(BooleanBufferBuilder::new(rows)),
            (Wire::Int2, _) => Values::Int2(Vec::with_capacity(rows)),
            (Wire::Int4, _) => Values::Int4(Vec::with_capacity(rows)),
            (Wire::Int8, _) => Values::Int8(Vec::with_capacity(rows)),
            (Wire::Float4, _) => Values::Float4(Vec::with_capacity(rows)),
            (Wire::Float8, _) => Values::Float8(Vec::with_capacity(rows)),
            (Wire::Numeric, LogicalType::Decimal { precision, scale }) if *precision <= 38 => {
                Values::Decimal(Vec::with_capacity(rows), DecimalType::new(*precision, *scale))
            }
            (Wire::Numeric, LogicalType::Decimal { precision, scale }) => {
                Values::WideDecimal(Vec::with_capacity(rows), *precision, *scale)
            }
            (Wire::Numeric, LogicalType::Numeric) => Values::Numeric(Slices::new(rows, bytes)),
            (Wire::Text, _) => Values::Text(Slices::new(rows, bytes)),
            (Wire::Jsonb, _) => Values::Jsonb(Slices::new(rows, bytes)),
            (Wire::Bytea | Wire::Native, _) => Values::Bytes(Slices::new(rows, bytes)),
            (Wire::Date, _) => Values::Date(Vec::with_capacity(rows)),
            (Wire::Time, _) => Values::Time(Vec::with_capacity(rows)),
            (Wire::Timestamp, _) => Values::Timestamp(Vec::with_capacity(rows)),
            (Wire::Interval, _) => Values::Interval(Vec::with_capacity(rows)),
            (Wire::Uuid, _) => Values::Uuid(Vec::with_capacity(16 * rows)),
            (Wire::Array { element, .. }, LogicalType::List(item)) => {
                let items = Self::new(element, item, rows, bytes)?;
                let (item, offsets) = ((**item).clone(), vec![0]);
                Values::List(Box::new(Lists { items, item, offsets }))
            }
            _ => return None,
        };
        Some(Self { values, nulls: NullBufferBuilder::new(rows) })
    }

    pub(crate) fn append_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Bool(values) => values.append(false),
            Values::Int2(values) => values.push(0),
            Values::Int4(values) | Values::Date(values) => values.push(0),
            Values::Int8(values) | Values::Time(values) | Values::Timestamp(values) => {
                values.push(0);
            }
            Values::Float4(values) => values.push(0.0),
            Values::Float8(values) => values.push(0.0),
            Values::Decimal(values, _) => values.push(0),
            Values::WideDecimal(values, ..) => values.push(i256::ZERO),
            Values::Numeric(slices)
            | Values::Text(slices)
            | Values::Jsonb(slices)
            | Values::Bytes(slices) => slices.offsets.push(slices.end()),
            Values::Interval(values) => values.push(IntervalMonthDayNano::ZERO),
            Values::Uuid(values) => values.extend_from_slice(&[0; 16]),
            Values::List(lists) => lists.end_row(),
        }
    }

    /// Appends one value, or nothing if it does not fit. Texts are validated by
    /// [`ColumnBuilder::finish`].
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), ValueFault> {
        match &mut self.values {
            Values::Bool(values) => values.append(fixed::<1>(bytes)? != [0]),
            Values::Int2(values) => values.push(i16::from_be_bytes(fixed(bytes)?)),
            Values::Int4(values) => values.push(i32::from_be_bytes(fixed(bytes)?)),
            Values::Int8(values) => values.push(i64::from_be_bytes(fixed(bytes)?)),
            Values::Float4(values) => values.push(f32::from_be_bytes(fixed(bytes)?)),
            Values::Float8(values) => values.push(f64::from_be_bytes(fixed(bytes)?)),
            Values::Decimal(values, decimal) => values.push(match decimal.short(bytes) {
                Some(value) => value,
                None => {
                    let scaled = number(bytes)?.scaled(decimal.precision, decimal.scale);
                    scaled.ok_or(ValueFault::Decimal)?
                }
            }),
            Values::WideDecimal(values, precision, scale) => {
                let scaled = number(bytes)?.scaled_wide(*precision, *scale);
                values.push(scaled.ok_or(ValueFault::Decimal)?);
            }
            Values::Numeric(slices) => {
                number(bytes)?.text(&mut slices.bytes);
                slices.offsets.push(slices.end());
            }
            Values::Text(slices) | Values::Bytes(slices) => slices.append(bytes)?,
            Values::Jsonb(slices) => match bytes.split_first() {
                Some((1, text)) => slices.append(text)?,
                _ => return Err(ValueFault::Form),
            },
            Values::Date(values) => values.push(date(i32::from_be_bytes(fixed(bytes)?))?),
            Values::Time(values) => values.push(time(i64::from_be_bytes(fixed(bytes)?))?),
            Values::Timestamp(values) => values.push(moment(i64::from_be_bytes(fixed(bytes)?))?),
            Values::Interval(values) => values.push(interval(&fixed(bytes)?)?),
            Values::Uuid(values) => values.extend_from_slice(&fixed::<16>(bytes)?),
            Values::List(lists) => lists.append(bytes)?,
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Keeps the first `rows` values only.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        match &mut self.values {
            Values::Bool(values) => values.truncate(rows),
            Values::Int2(values) => values.truncate(rows),
            Values::Int4(values) | Values::Date(values) => values.truncate(rows),
            Values::Int8(values) | Values::Time(values) | Values::Timestamp(values) => {
                values.truncate(rows);
            }
            Values::Float4(values) => values.truncate(rows),
            Values::Float8(values) => values.truncate(rows),
            Values::Decimal(values, _) => values.truncate(rows),
            Values::WideDecimal(values, ..) => values.truncate(rows),
            Values::Numeric(slices)
            | Values::Text(slices)
            | Values::Jsonb(slices)
            | Values::Bytes(slices) => slices.truncate(rows),
            Values::Interval(values) => values.truncate(rows),
            Values::Uuid(values) => values.truncate(16 * rows),
            Values::List(lists) => lists.truncate(rows),
        }
    }

    /// The bytes of values whose size varies.
    pub(crate) fn bytes(&self) -> usize {
        match &self.values {
            Values::Numeric(slices)
            | Values::Text(slices)
            | Values::Jsonb(slices)
            | Values::Bytes(slices) => slices.bytes.len(),
            Values::List(lists) => lists.items.bytes(),
            _ => 0,
        }
    }

    /// The column's array. Texts that are not UTF-8 are added to `faults`; such a text is empty in
    /// the array.
    pub(crate) fn finish(
        mut self,
        logical: &LogicalType,
        faults: &mut Vec<InvalidText>,
    ) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let of = logical.data_type();
        Ok(match self.values {
            Values::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int2(values) => primitive::<Int16Type>(values, nulls, of)?,
            Values::Int4(values) => primitive::<Int32Type>(values, nulls, of)?,
            Values::Int8(values) => primitive::<Int64Type>(values, nulls, of)?,
            Values::Float4(values) => primitive::<Float32Type>(values, nulls, of)?,
            Values::Float8(values) => primitive::<Float64Type>(values, nulls, of)?,
            Values::Decimal(values, _) => primitive::<Decimal128Type>(values, nulls, of)?,
            Values::WideDecimal(values, ..) => primitive::<Decimal256Type>(values, nulls, of)?,
            Values::Numeric(slices) | Values::Text(slices) | Values::Jsonb(slices) => {
                Arc::new(slices.into_bytes().into_texts(nulls, faults)?)
            }
            Values::Bytes(Slices { offsets, bytes }) => {
                let offsets = OffsetBuffer::new(offsets.into());
                Arc::new(BinaryArray::try_new(offsets, bytes.into(), nulls)?)
            }
            Values::Date(values) => primitive::<Date32Type>(values, nulls, of)?,
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls, of)?,
            Values::Timestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls, of)?,
            Values::Interval(values) => primitive::<IntervalMonthDayNanoType>(values, nulls, of)?,
            Values::Uuid(bytes) => {
                Arc::new(FixedSizeBinaryArray::try_new(16, bytes.into(), nulls)?)
            }
            Values::List(lists) => Arc::new(lists.finish(nulls, faults)?),
        })
    }
}

fn primitive<P: ArrowPrimitiveType>(
    values: Vec<P::Native>,
    nulls: Option<NullBuffer>,
    of: DataType,
) -> Result<ArrayRef, ArrowError> {
    let array = PrimitiveArray::<P>::try_new(values.into(), nulls)?;
    Ok(Arc::new(array.with_data_type(of)))
}

impl Slices {
    fn new(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::with_capacity(bytes) }
    }

    /// Where the next value begins. A batch never grows beyond 31 bits, see [`Slices::append`];
    /// texts of numbers are shorter than that together.
    fn end(&self) -> i32 {
        self.bytes.len() as i32
    }

    fn append(&mut self, value: &[u8]) -> Result<(), ValueFault> {
        let Ok(end) = i32::try_from(self.bytes.len() + value.len()) else {
            return Err(ValueFault::Range("the value is too long for a batch"));
        };
        self.bytes.extend_from_slice(value);
        self.offsets.push(end);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.offsets.last().map_or(0, |end| *end as usize));
    }

    fn into_bytes(self) -> Bytes {
        Bytes { bytes: self.bytes, ends: self.offsets }
    }
}

impl Lists {
    /// Dimensions, whether there are NULLs, the element's type; size and first index of each
    /// dimension; the elements.
    fn append(&mut self, bytes: &[u8]) -> Result<(), ValueFault> {
        let word = |at: usize| word_at(bytes, at * 4).ok_or(ValueFault::Form);
        let count = match (word(0)?, bytes.len()) {
            (0, _) => 0,
            (1, 20..) if word(4)? == 1 => {
                usize::try_from(word(3)?).map_err(|_| ValueFault::Form)?
            }
            _ => {
                let reason = "an array of one dimension, counted from 1";
                return Err(ValueFault::Range(reason));
            }
        };
        let mut rest = bytes.get(20..).unwrap_or_default();
        for _ in 0..count {
            let length = word_at(rest, 0).ok_or(ValueFault::Form)?;
            rest = &rest[4..];
            match usize::try_from(length) {
                Err(_) => self.items.append_null(),
                Ok(length) => {
                    let (item, after) = rest.split_at_checked(length).ok_or(ValueFault::Form)?;
                    rest = after;
                    // Items before a fault stay in the list of the row, which is taken out as
                    // dirty: without a list they would shift those that follow.
                    self.items.append(item)?;
                }
            }
        }
        self.end_row();
        Ok(())
    }

    fn end_row(&mut self) {
        // An item takes four bytes at least, and a batch stays below 2^31 of them.
        self.offsets.push(self.items.nulls.len() as i32);
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.items.truncate(self.offsets.last().map_or(0, |end| *end as usize));
    }

    fn finish(
        self,
        nulls: Option<NullBuffer>,
        faults: &mut Vec<InvalidText>,
    ) -> Result<ListArray, ArrowError> {
        let mut faulty_items = Vec::new();
        let items = self.items.finish(&self.item, &mut faulty_items)?;
        // The row of an item is the first whose items end behind it.
        let row = |item: usize| self.offsets[1..].partition_point(|end| *end as usize <= item);
        faults.extend(
            faulty_items.into_iter().map(|item| InvalidText { row: row(item.row), ..item }),
        );
        let field = Arc::new(self.item.field("item", true));
        ListArray::try_new(field, OffsetBuffer::new(self.offsets.into()), items, nulls)
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ValueFault> {
    bytes.try_into().map_err(|_| ValueFault::Form)
}

fn number(bytes: &[u8]) -> Result<Numeric<'_>, ValueFault> {
    Numeric::parse(bytes).ok_or(ValueFault::Form)
}

fn date(days: i32) -> Result<i32, ValueFault> {
    match days {
        i32::MAX | i32::MIN => Err(ValueFault::Infinity),
        days => days.checked_add(EPOCH_DAYS).ok_or(ValueFault::Range("it is out of range")),
    }
}

fn time(micros: i64) -> Result<i64, ValueFault> {
    let within = (0..DAY_MICROS).contains(&micros);
    within.then_some(micros).ok_or(ValueFault::Range("the day ends before 24:00:00"))
}

fn moment(micros: i64) -> Result<i64, ValueFault> {
    match micros {
        i64::MAX | i64::MIN => Err(ValueFault::Infinity),
        micros => {
            let moment = micros.checked_add(EPOCH_MICROS);
            moment.ok_or(ValueFault::Range("it is out of range"))
        }
    }
}

/// Microseconds, days, months.
fn interval(bytes: &[u8; 16]) -> Result<IntervalMonthDayNano, ValueFault> {
    let word = |at: usize| word_at(bytes, at).ok_or(ValueFault::Form);
    let micros = i64::from_be_bytes(fixed(&bytes[..8])?);
    let nanos = micros.checked_mul(1_000);
    let nanos = nanos.ok_or(ValueFault::Range("it is out of range"))?;
    Ok(IntervalMonthDayNano::new(word(12)?, word(8)?, nanos))
}

/// The four-byte number at this place; `None` if the bytes end before it does.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
