//! The binary rows of COPY into Arrow builders, straight from the wire's buffer. A value that
//! Arrow cannot hold makes its row dirty; nothing is bent to fit.

use arrow_array::{
    ArrayRef, BooleanArray, ListArray, RecordBatch,
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
use arrow_schema::SchemaRef;
use arrow_select::filter::filter;
use std::sync::Arc;
use transload_plugin_api::{Column, DirtyRow, Error, ErrorKind, LogicalType, Result, schema_of};

use crate::{
    encode::{DAY_MICROS, EPOCH_DAYS, EPOCH_MICROS},
    numeric::{Numeric, Sign},
    types::Wire,
};

/// What stands before the rows: a signature, flags and the length of an extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER: usize = SIGNATURE.len() + 8;

/// Rows of one COPY on their way into batches.
pub(crate) struct Decoder {
    columns: Vec<DecodedColumn>,
    schema: SchemaRef,
    stage: Stage,
    /// Rows in the builders, dirty ones included.
    rows: usize,
    /// Which of them are clean; made by the first dirty row.
    clean: Option<BooleanBufferBuilder>,
    dirty: Vec<(u64, Misfit, usize)>,
    /// Rows of batches before.
    before: u64,
}

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    /// The trailer has come.
    End,
}

struct DecodedColumn {
    name: String,
    nullable: bool,
    values: Values,
}

/// A finished batch.
pub(crate) struct Decoded {
    pub(crate) batch: RecordBatch,
    /// Dirty rows, their place counted from the start of the stream.
    pub(crate) dirty: Vec<(u64, DirtyRow)>,
}

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
    fn code(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Range(_) => "range",
            Self::Utf8 => "utf8",
            Self::Form => "parse",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Null => "NULL in a column that must not hold it",
            Self::Range(reason) => reason,
            Self::Utf8 => "the text is not UTF-8",
            Self::Form => "the value is not of the form of its type",
        }
    }
}

impl Decoder {
    /// For rows with these columns, which come in these forms.
    pub(crate) fn new(columns: &[Column], wires: &[Wire], capacity: usize) -> Result<Self> {
        let made = columns.iter().zip(wires).map(|(column, wire)| {
            let values = Values::new(wire, &column.logical, capacity).ok_or_else(|| {
                let message =
                    format!("column `{}` cannot be read as `{}`", column.name, column.logical);
                Error::new(ErrorKind::Unsupported, message)
            })?;
            Ok(DecodedColumn { name: column.name.clone(), nullable: column.nullable, values })
        });
        Ok(Self {
            columns: made.collect::<Result<_>>()?,
            schema: schema_of(columns),
            stage: Stage::Header,
            rows: 0,
            clean: None,
            dirty: Vec::new(),
            before: 0,
        })
    }

    /// Rows in the builders.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the stream has come to its proper end.
    pub(crate) fn is_at_end(&self) -> bool {
        self.stage == Stage::End
    }

    /// Takes whole rows from the bytes, at most until there are `most`; answers how many bytes it
    /// took.
    pub(crate) fn decode(&mut self, bytes: &[u8], most: usize) -> Result<usize> {
        let mut taken = 0;
        if self.stage == Stage::Header {
            let Some(length) = header_length(bytes)? else { return Ok(0) };
            self.stage = Stage::Rows;
            taken = length;
        }
        while self.stage == Stage::Rows && self.rows < most {
            match self.row(&bytes[taken..])? {
                0 => break,
                length => taken += length,
            }
        }
        Ok(taken)
    }

    /// One row, or the trailer; 0 if it has not come whole.
    fn row(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(count) = bytes.first_chunk::<2>() else { return Ok(0) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.stage = Stage::End;
            return Ok(2);
        }
        if usize::try_from(count).ok() != Some(self.columns.len()) {
            return Err(broken("a row has another number of columns"));
        }
        let Some(end) = row_end(bytes, self.columns.len())? else { return Ok(0) };
        let mut at = 2;
        let mut fault = None;
        for (index, column) in self.columns.iter_mut().enumerate() {
            let length = length_at(bytes, at).unwrap_or(-1);
            at += 4;
            let appended = match usize::try_from(length) {
                Err(_) if column.nullable => {
                    column.values.append_null();
                    continue;
                }
                Err(_) => Err(Misfit::Null),
                Ok(length) => {
                    let value = &bytes[at..at + length];
                    at += length;
                    column.values.append(value)
                }
            };
            if let Err(misfit) = appended {
                // The row is taken out as a whole when the batch is finished.
                column.values.append_null();
                fault.get_or_insert((misfit, index));
            }
        }
        self.note(fault);
        Ok(end)
    }

    fn note(&mut self, fault: Option<(Misfit, usize)>) {
        if let Some((misfit, column)) = fault {
            let rows = self.rows;
            self.clean.get_or_insert_with(|| {
                let mut clean = BooleanBufferBuilder::new(rows + 1);
                clean.append_n(rows, true);
                clean
            });
            self.dirty.push((self.before + rows as u64, misfit, column));
        }
        if let Some(clean) = &mut self.clean {
            clean.append(fault.is_none());
        }
        self.rows += 1;
    }

    /// What has been decoded since the last time.
    pub(crate) fn finish(&mut self) -> Result<Decoded> {
        let clean = self.clean.take().map(|mut clean| BooleanArray::new(clean.finish(), None));
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let array = column.values.finish()?;
            arrays.push(match &clean {
                None => array,
                Some(clean) => filter(&array, clean).map_err(|error| defect(&error))?,
            });
        }
        let rows = self.rows - self.dirty.len();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| defect(&error))?;
        self.before += self.rows as u64;
        self.rows = 0;
        let dirty = std::mem::take(&mut self.dirty).into_iter().map(|(place, misfit, column)| {
            let row = DirtyRow {
                row: 0,
                place: None,
                column: Some(self.columns[column].name.clone()),
                value: None,
                code: misfit.code().to_owned(),
                reason: misfit.reason().to_owned(),
            };
            (place, row)
        });
        Ok(Decoded { batch, dirty: dirty.collect() })
    }
}

/// The header's length, once it has come whole.
fn header_length(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.len() < HEADER {
        return Ok(None);
    }
    if !bytes.starts_with(SIGNATURE) {
        return Err(broken("the stream does not begin as a binary COPY"));
    }
    let extension = length_at(bytes, HEADER - 4).and_then(|length| usize::try_from(length).ok());
    let length = HEADER + extension.ok_or_else(|| broken("the stream's header is damaged"))?;
    Ok((bytes.len() >= length).then_some(length))
}

fn length_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Where the row ends, once it has come whole.
fn row_end(bytes: &[u8], fields: usize) -> Result<Option<usize>> {
    let mut at = 2;
    for _ in 0..fields {
        let Some(length) = length_at(bytes, at) else { return Ok(None) };
        at += 4;
        match length {
            -1 => {}
            0.. => at += length as usize,
            _ => return Err(broken("a field has a negative length")),
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Data, format!("the server's answer is damaged: {what}"))
}

fn defect(error: &arrow_schema::ArrowError) -> Error {
    Error::new(ErrorKind::Defect, format!("make a batch: {error}"))
}

/// A column's values so far, by the form in which they come and the type they are wanted in.
enum Values {
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

struct Lists {
    items: Values,
    field: arrow_schema::FieldRef,
    offsets: Vec<i32>,
    valid: BooleanBufferBuilder,
}

impl Values {
    fn new(wire: &Wire, logical: &LogicalType, rows: usize) -> Option<Self> {
        // Short texts: the builders grow for others.
        let bytes = rows * 16;
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
                items: Self::new(element, item, rows)?,
                field: Arc::new(item.field("item", true)),
                offsets: vec![0],
                valid: BooleanBufferBuilder::new(rows),
            })),
            _ => return None,
        })
    }

    fn append_null(&mut self) {
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
    fn append(&mut self, bytes: &[u8]) -> Result<(), Misfit> {
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

    fn len(&self) -> usize {
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

    fn finish(&mut self) -> Result<ArrayRef> {
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
