//! One builder per type family: values in a plain vector that becomes the Arrow array without
//! copying, and which of them are NULL. Parsing is left to `number` and `temporal`, columns of
//! text and bytes to `text`.

use std::{marker::PhantomData, sync::Arc};

use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, types::*};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, ScalarBuffer};
use arrow_schema::DataType;
use transload_plugin_api::{Column, Error, ErrorKind, LogicalType, Result};

use super::{
    CellWords, Cells, Fault,
    number::{Decimal128, Decimal256, Float, Integer, Parse},
    temporal::{Date, Duration, Fraction, Time, Timestamp},
    text::{AnyText, JsonText, NumericText, ShortText, Texts, UuidText},
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

    /// A cell that is NULL, quoted, escaped or at fault; `None` for NULL.
    #[inline(never)]
    fn odd_cell(
        &self,
        cells: &Cells<'_>,
        start: usize,
        end: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<A::Native>, Fault> {
        if cells.is_null(start, end) {
            return if self.nullable { Ok(None) } else { Err(Fault::Null) };
        }
        let text = cells.text(start, end, scratch)?;
        if text.is_empty() {
            return Err(Fault::Parse);
        }
        self.parser.parse(text, 0, text.len()).map(Some)
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
        // in a local variable, so that its length stays in a register
        let mut values = std::mem::take(&mut self.values);
        values.reserve(cells.bounds.len() / cells.stride);
        let mut valid = 0;
        let mut scratch = Vec::new();
        for (row, (start, end)) in cells.spans().enumerate() {
            if start < end
                && !cells.is_null(start, end)
                && let Ok(value) = self.parser.parse(cells.window, start, end)
            {
                values.push(value);
                valid += 1;
                continue;
            }
            self.nulls.append_n_non_nulls(std::mem::take(&mut valid));
            let value = self.odd_cell(cells, start, end, &mut scratch).unwrap_or_else(|fault| {
                faults.push((row, fault));
                None
            });
            self.nulls.append(value.is_some());
            values.push(value.unwrap_or_default());
        }
        self.nulls.append_n_non_nulls(valid);
        self.values = values;
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn truncate_to(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        // the next batch will be about as large
        let next = Vec::with_capacity(self.values.len());
        let values = ScalarBuffer::from(std::mem::replace(&mut self.values, next));
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

    fn append_cell(
        &mut self,
        cells: &Cells<'_>,
        (start, end): (usize, usize),
        scratch: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if !cells.is_null(start, end) {
            return self.append_text(cells.text(start, end, scratch)?);
        }
        if !self.nullable {
            return Err(Fault::Null);
        }
        self.append_null();
        Ok(())
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
        let mut scratch = Vec::new();
        for (row, span) in cells.spans().enumerate() {
            if let Err(fault) = self.append_cell(cells, span, &mut scratch) {
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
