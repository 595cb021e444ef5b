//! One builder per type family: values in a plain vector that becomes the Arrow array without
//! copying, and which of them are NULL. Parsing is left to `number`, `temporal` and `bytes`.

use std::{marker::PhantomData, str, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray,
    PrimitiveArray, StringArray, make_array, new_null_array, types::*,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;
use transload_plugin_api::{Column, Error, ErrorKind, LogicalType, Result};

use super::{
    BinaryText, CellWords, Cells, Fault, bytes,
    number::{self, Decimal128, Decimal256, Float, Integer, Parse},
    temporal::{Date, Duration, Fraction, Time, Timestamp},
};

/// What every builder does, whatever its type.
pub(super) trait TypedColumn: Send {
    fn append_null(&mut self);
    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault>;
    /// One row for each cell; a NULL, and an entry in `faults`, for each that is at fault.
    fn append_cells(&mut self, cells: &Cells<'_>, faults: &mut Vec<(usize, Fault)>);
    fn len(&self) -> usize;
    fn truncate_to(&mut self, rows: usize);
    fn finish(&mut self) -> ArrayRef;
}

/// The builder for a column.
pub(super) fn typed(column: &Column, words: &CellWords) -> Result<Box<dyn TypedColumn>> {
    use LogicalType as L;
    let nullable = column.nullable;
    Ok(match &column.logical {
        L::Boolean => Words::boxed(column, words),
        L::Int8 => Numbers::<_, Int8Type>::boxed(Integer(PhantomData), column),
        L::Int16 => Numbers::<_, Int16Type>::boxed(Integer(PhantomData), column),
        L::Int32 => Numbers::<_, Int32Type>::boxed(Integer(PhantomData), column),
        L::Int64 => Numbers::<_, Int64Type>::boxed(Integer(PhantomData), column),
        L::UInt8 => Numbers::<_, UInt8Type>::boxed(Integer(PhantomData), column),
        L::UInt16 => Numbers::<_, UInt16Type>::boxed(Integer(PhantomData), column),
        L::UInt32 => Numbers::<_, UInt32Type>::boxed(Integer(PhantomData), column),
        L::UInt64 => Numbers::<_, UInt64Type>::boxed(Integer(PhantomData), column),
        L::Float32 => Numbers::<_, Float32Type>::boxed(Float(PhantomData), column),
        L::Float64 => Numbers::<_, Float64Type>::boxed(Float(PhantomData), column),
        L::Decimal { precision, scale } if *precision <= 38 => {
            Numbers::<_, Decimal128Type>::boxed(Decimal128::new(*precision, *scale), column)
        }
        L::Decimal { precision, scale } => {
            let parser = Decimal256 { precision: *precision, scale: *scale };
            Numbers::<_, Decimal256Type>::boxed(parser, column)
        }
        L::Date => Numbers::<_, Date32Type>::boxed(Date, column),
        L::Time { precision } => {
            let parser = Time(Fraction::new(*precision));
            match *precision {
                0..=6 => Numbers::<_, Time64MicrosecondType>::boxed(parser, column),
                _ => Numbers::<_, Time64NanosecondType>::boxed(parser, column),
            }
        }
        L::Duration => Numbers::<_, DurationMicrosecondType>::boxed(Duration, column),
        L::Timestamp { precision } => timestamps(*precision, false, column),
        L::TimestampTz { precision } => timestamps(*precision, true, column),
        L::Text { length: None } => Box::new(Texts::new(AnyText, nullable)),
        L::Text { length: Some(most) } => Box::new(Texts::new(ShortText(*most), nullable)),
        L::Numeric => Box::new(Texts::new(NumericText, nullable)),
        L::Json => Box::new(Texts::new(JsonText, nullable)),
        L::Binary => Box::new(Texts::new(words.binary, nullable)),
        L::Uuid => Box::new(Texts::new(UuidText, nullable)),
        other => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("column `{}`: type `{other}` has no text form", column.name),
            )
            .hint("read the column as `text` or `json`"));
        }
    })
}

fn timestamps(precision: u8, offset: bool, column: &Column) -> Box<dyn TypedColumn> {
    let parser = Timestamp { fraction: Fraction::new(precision), offset };
    match precision {
        0..=6 => Numbers::<_, TimestampMicrosecondType>::boxed(parser, column),
        _ => Numbers::<_, TimestampNanosecondType>::boxed(parser, column),
    }
}

/// Values of a fixed width.
struct Numbers<P: Parse, A: ArrowPrimitiveType<Native = P::Value>> {
    parser: P,
    values: Vec<A::Native>,
    nulls: NullBufferBuilder,
    nullable: bool,
    data_type: DataType,
}

impl<P, A> Numbers<P, A>
where
    P: Parse + 'static,
    A: ArrowPrimitiveType<Native = P::Value>,
{
    fn boxed(parser: P, column: &Column) -> Box<dyn TypedColumn> {
        Box::new(Self {
            parser,
            values: Vec::new(),
            nulls: NullBufferBuilder::new(0),
            nullable: column.nullable,
            data_type: column.logical.data_type(),
        })
    }

    /// A quoted or escaped cell, or one at fault.
    #[cold]
    fn odd_cell(&mut self, cells: &Cells<'_>, start: usize, end: usize) -> Result<(), Fault> {
        let text = cells.text(start, end)?;
        self.append_text(&text)
    }
}

impl<P, A> TypedColumn for Numbers<P, A>
where
    P: Parse + 'static,
    A: ArrowPrimitiveType<Native = P::Value>,
{
    fn append_null(&mut self) {
        self.values.push(A::Native::default());
        self.nulls.append_null();
    }

    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        if text.is_empty() {
            return Err(Fault::Parse);
        }
        self.values.push(self.parser.parse(text, 0, text.len())?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_cells(&mut self, cells: &Cells<'_>, faults: &mut Vec<(usize, Fault)>) {
        self.values.reserve(cells.bounds.len() / cells.stride);
        for (row, (start, end)) in cells.spans().enumerate() {
            if cells.is_null(start, end) {
                if !self.nullable {
                    faults.push((row, Fault::Null));
                }
                self.append_null();
            } else if start < end
                && let Ok(value) = self.parser.parse(cells.window, start, end)
            {
                self.values.push(value);
                self.nulls.append_non_null();
            } else if let Err(fault) = self.odd_cell(cells, start, end) {
                faults.push((row, fault));
                self.append_null();
            }
        }
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn truncate_to(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let values = ScalarBuffer::from(std::mem::take(&mut self.values));
        let array = PrimitiveArray::<A>::new(values, self.nulls.finish());
        Arc::new(array.with_data_type(self.data_type.clone()))
    }
}

/// Booleans by their words.
struct Words {
    yes: Vec<Vec<u8>>,
    no: Vec<Vec<u8>>,
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
    nullable: bool,
}

impl Words {
    fn boxed(column: &Column, words: &CellWords) -> Box<dyn TypedColumn> {
        let bytes = |list: &[String]| list.iter().map(|word| word.clone().into_bytes()).collect();
        Box::new(Self {
            yes: bytes(&words.yes),
            no: bytes(&words.no),
            values: BooleanBufferBuilder::new(0),
            nulls: NullBufferBuilder::new(0),
            nullable: column.nullable,
        })
    }

    fn value(&self, text: &[u8]) -> Result<bool, Fault> {
        let among = |list: &[Vec<u8>]| list.iter().any(|word| word.eq_ignore_ascii_case(text));
        match (among(&self.yes), among(&self.no)) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            _ => Err(Fault::Parse),
        }
    }
}

impl TypedColumn for Words {
    fn append_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.values.append(self.value(text)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_cells(&mut self, cells: &Cells<'_>, faults: &mut Vec<(usize, Fault)>) {
        for (row, (start, end)) in cells.spans().enumerate() {
            let appended = if cells.is_null(start, end) {
                if self.nullable { Ok(self.append_null()) } else { Err(Fault::Null) }
            } else {
                cells.text(start, end).and_then(|text| self.append_text(&text))
            };
            if let Err(fault) = appended {
                faults.push((row, fault));
                self.append_null();
            }
        }
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn truncate_to(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish()))
    }
}

/// What a text column asks of a text, and which array it makes.
trait TextKind: Send {
    /// Appends the bytes that the text stands for. On error nothing was appended.
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault>;

    /// Whether the text may be appended as it stands. `utf8`: it is known to be UTF-8.
    /// `false` leaves it to [`TextKind::append`].
    fn is_itself(&self, _text: &[u8], _utf8: bool) -> bool {
        false
    }

    fn array(offsets: OffsetBuffer<i32>, values: Vec<u8>, nulls: Nulls) -> ArrayRef
    where
        Self: Sized,
    {
        string_array(offsets, values, nulls)
    }
}

type Nulls = Option<arrow_buffer::NullBuffer>;

/// Never wrong for bytes that were checked when they were appended; a defect there shows as an
/// array of NULLs of the wrong length and so as an error when the batch is made.
fn string_array(offsets: OffsetBuffer<i32>, values: Vec<u8>, nulls: Nulls) -> ArrayRef {
    match StringArray::try_new(offsets, Buffer::from_vec(values), nulls) {
        Ok(array) => Arc::new(array),
        Err(_) => new_null_array(&DataType::Null, 0),
    }
}

struct AnyText;

impl TextKind for AnyText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        simdutf8::basic::from_utf8(text).map_err(|_| Fault::Utf8)?;
        out.extend_from_slice(text);
        Ok(())
    }

    #[inline(always)]
    fn is_itself(&self, _text: &[u8], utf8: bool) -> bool {
        utf8
    }
}

/// Text of at most so many characters.
struct ShortText(u32);

impl TextKind for ShortText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        AnyText.append(text, out)?;
        if super::characters(text) > self.0 as usize {
            out.truncate(out.len() - text.len());
            return Err(Fault::Length);
        }
        Ok(())
    }

    #[inline(always)]
    fn is_itself(&self, text: &[u8], utf8: bool) -> bool {
        utf8 && text.len() <= self.0 as usize
    }
}

struct NumericText;

impl TextKind for NumericText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if !number::is_numeric(text) {
            return Err(Fault::Parse);
        }
        out.extend_from_slice(text);
        Ok(())
    }
}

struct JsonText;

impl TextKind for JsonText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let words = str::from_utf8(text).map_err(|_| Fault::Utf8)?;
        serde_json::from_str::<serde::de::IgnoredAny>(words).map_err(|_| Fault::Parse)?;
        out.extend_from_slice(text);
        Ok(())
    }
}

impl TextKind for BinaryText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Hex => bytes::from_hex(text, out),
            Self::Base64 => bytes::from_base64(text, out),
        }
        .ok_or(Fault::Parse)
    }

    fn array(offsets: OffsetBuffer<i32>, values: Vec<u8>, nulls: Nulls) -> ArrayRef {
        match BinaryArray::try_new(offsets, Buffer::from_vec(values), nulls) {
            Ok(array) => Arc::new(array),
            Err(_) => new_null_array(&DataType::Null, 0),
        }
    }
}

struct UuidText;

impl TextKind for UuidText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(&bytes::from_uuid(text).ok_or(Fault::Parse)?);
        Ok(())
    }

    fn array(offsets: OffsetBuffer<i32>, values: Vec<u8>, nulls: Nulls) -> ArrayRef {
        // NULL rows have no bytes among the values, but the array wants 16 for each row
        let mut filled = Vec::with_capacity((offsets.len() - 1) * 16);
        for span in offsets.windows(2) {
            match values.get(span[0] as usize..span[1] as usize) {
                Some(value) if value.len() == 16 => filled.extend_from_slice(value),
                _ => filled.extend_from_slice(&[0; 16]),
            }
        }
        match FixedSizeBinaryArray::try_new(16, Buffer::from_vec(filled), nulls) {
            Ok(array) => make_array(array.into_data()),
            Err(_) => new_null_array(&DataType::Null, 0),
        }
    }
}

/// Values of any length, one behind the other.
struct Texts<K> {
    kind: K,
    values: Vec<u8>,
    /// Where each value begins, then where the last one ends.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    nullable: bool,
}

impl<K: TextKind> Texts<K> {
    fn new(kind: K, nullable: bool) -> Self {
        let nulls = NullBufferBuilder::new(0);
        Self { kind, values: Vec::new(), offsets: vec![0], nulls, nullable }
    }

    /// The end of the value just appended. Beyond 2 GiB the value is taken back.
    #[inline(always)]
    fn close(&mut self) -> Result<(), Fault> {
        let Ok(end) = i32::try_from(self.values.len()) else {
            self.values.truncate(self.offsets.last().map_or(0, |end| *end as usize));
            return Err(Fault::Length);
        };
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    #[inline(always)]
    fn append_cell(&mut self, cells: &Cells<'_>, start: usize, end: usize) -> Result<(), Fault> {
        let raw = &cells.window[start..end];
        if cells.is_null(start, end) {
            if !self.nullable {
                return Err(Fault::Null);
            }
            self.append_null();
            return Ok(());
        }
        if !cells.is_plain(start, end) {
            let text = cells.text(start, end)?;
            return self.append_text(&text);
        }
        if self.kind.is_itself(raw, cells.utf8) {
            copy_short(cells.window, start, end, &mut self.values);
            return self.close();
        }
        self.append_text(raw)
    }
}

/// Appends `window[start..end]`. A short text is copied with 16 bytes at once and what is too
/// much taken back: a copy of known size costs a fraction of one of any size.
#[inline(always)]
fn copy_short(window: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
    let length = end - start;
    match window.get(start..start + 16) {
        Some(block) if length <= 16 => {
            out.extend_from_slice(block);
            out.truncate(out.len() - 16 + length);
        }
        _ => out.extend_from_slice(&window[start..end]),
    }
}

impl<K: TextKind> TypedColumn for Texts<K> {
    fn append_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }

    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.kind.append(text, &mut self.values)?;
        self.close()
    }

    fn append_cells(&mut self, cells: &Cells<'_>, faults: &mut Vec<(usize, Fault)>) {
        self.offsets.reserve(cells.bounds.len() / cells.stride);
        for (row, (start, end)) in cells.spans().enumerate() {
            if let Err(fault) = self.append_cell(cells, start, end) {
                faults.push((row, fault));
                self.append_null();
            }
        }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn truncate_to(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.values.truncate(self.offsets.last().map_or(0, |end| *end as usize));
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        K::array(offsets, std::mem::take(&mut self.values), self.nulls.finish())
    }
}
