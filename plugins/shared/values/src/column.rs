//! The texts of one column to an Arrow array: the parser of the column's type, and the loops that
//! feed it one text, the texts of an array, or the raw cells of many rows.

use std::marker::PhantomData;

use arrow_array::{Array, ArrayRef, StringArray, new_null_array};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder};
use arrow_schema::DataType;
use transload_plugin_api::{Column, Error, LogicalType, Result};

use crate::{
    BinaryText, Builder, CellWords, Cells, Fault, Pattern, Separators, Ticks, ValueError,
    builder::Bytes,
    parse::{
        self, Decimal128, Parse, Uuid,
        number::{Decimal256, Float, Integer},
        temporal::{Date, Duration, Time, Timestamp},
    },
    pattern::{PatternDate, PatternTime, PatternTimestamp},
    texts::{AnyText, JsonText, NumericText, ShortText, TextKind},
};

mod separated;

/// The rows of one column while its texts are read.
pub struct ColumnParser {
    column: Column,
    parser: Parser,
    builder: Builder,
    nulls: NullBufferBuilder,
}

/// What the parser of a column knows beyond the variant of its builder.
enum Parser {
    /// The variant says it all.
    Plain,
    Words(Box<CellWords>),
    Decimal(Decimal128),
    WideDecimal(Decimal256),
    Ticks(Ticks),
    Pattern(Pattern, Ticks),
    Separated(Separators, Box<Parser>),
    Text,
    ShortText(u32),
    Numeric,
    Json,
    Binary(BinaryText),
}

impl Parser {
    fn of(logical: &LogicalType, words: &CellWords) -> Self {
        let usual = Self::usual(logical, words);
        let separators = &words.forms.separators;
        match (words.forms.pattern(logical), usual) {
            (Some(pattern), Self::Ticks(ticks)) => Self::Pattern(pattern.clone(), ticks),
            (Some(pattern), _) => Self::Pattern(pattern.clone(), Ticks::new(0)),
            (None, usual) if is_number(logical) && !separators.are_usual() => {
                Self::Separated(separators.clone(), Box::new(usual))
            }
            (None, usual) => usual,
        }
    }

    fn usual(logical: &LogicalType, words: &CellWords) -> Self {
        use LogicalType as L;
        match *logical {
            L::Boolean => Self::Words(Box::new(words.clone())),
            L::Decimal { precision: precision @ 0..=38, scale } => {
                Self::Decimal(Decimal128::new(precision, scale))
            }
            L::Decimal { precision, scale } => Self::WideDecimal(Decimal256 { precision, scale }),
            L::Time { precision } | L::Timestamp { precision } | L::TimestampTz { precision } => {
                Self::Ticks(Ticks::new(precision))
            }
            L::Text { length: None } => Self::Text,
            L::Text { length: Some(most) } => Self::ShortText(most),
            L::Numeric => Self::Numeric,
            L::Json => Self::Json,
            L::Binary => Self::Binary(words.binary),
            _ => Self::Plain,
        }
    }
}

impl ColumnParser {
    /// An empty parser for a column of the plan.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Unsupported`] for types without a text form (list, interval).
    pub fn new(column: &Column, words: &CellWords) -> Result<Self> {
        let builder = Some(&column.logical)
            .filter(|logical| has_text(logical))
            .and_then(|logical| Builder::new(logical, 0, 0));
        let builder = builder.ok_or_else(|| {
            let Column { name, logical, .. } = column;
            let message = format!("column `{name}`: type `{logical}` has no text form");
            Error::unsupported(message).hint("read the column as `text` or `json`")
        })?;
        let parser = Parser::of(&column.logical, &words.of(&column.name));
        Ok(Self { column: column.clone(), parser, builder, nulls: NullBufferBuilder::new(0) })
    }

    /// The column that the parser was made for.
    pub fn column(&self) -> &Column {
        &self.column
    }

    /// Appends NULL.
    ///
    /// # Errors
    /// Code `null` if the column is not nullable; then nothing was appended.
    pub fn append_null(&mut self) -> Result<(), ValueError> {
        if !self.column.nullable {
            return Err(Fault::Null.explain(&self.column, b""));
        }
        self.push_null();
        Ok(())
    }

    /// Appends the place of a NULL, whether the column is nullable or not.
    pub fn push_null(&mut self) {
        self.builder.push_null();
        self.nulls.append_null();
    }

    /// Appends one value that is not a text. `push` appends exactly one value to the builder, or
    /// none if it returns an error.
    ///
    /// # Errors
    /// Those of `push`.
    #[inline]
    pub fn push<E>(&mut self, push: impl FnOnce(&mut Builder) -> Result<(), E>) -> Result<(), E> {
        push(&mut self.builder)?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// Parses a text and appends its value.
    ///
    /// # Errors
    /// The text is not a value of the column; then nothing was appended.
    pub fn append_text(&mut self, text: &[u8]) -> Result<(), ValueError> {
        self.try_append(text).map_err(|fault| fault.explain(&self.column, text))
    }

    /// As [`ColumnParser::append_text`], without words.
    ///
    /// # Errors
    /// The text is not a value of the column; then nothing was appended.
    #[inline]
    pub fn try_append(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.visit(OneText(text))
    }

    /// Appends the cells of many rows, a NULL for each at fault; `faults` receives those rows.
    pub fn append_cells(&mut self, cells: &Cells<'_>, faults: &mut Vec<(usize, Fault)>) {
        let nullable = self.column.nullable;
        let visited = self.visit(RawCells { cells, nullable, faults });
        debug_assert_eq!(visited, Ok(()));
    }

    /// Appends the texts of an array, a NULL for each that is NULL or at fault; `faults` receives
    /// the rows at fault. NULLs in a required column are left to the caller.
    pub fn append_array(&mut self, texts: &StringArray, faults: &mut Vec<(usize, Fault)>) {
        let visited = self.visit(ArrayTexts { texts, faults });
        debug_assert_eq!(visited, Ok(()));
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all rows from `rows` on.
    pub fn truncate_to(&mut self, rows: usize) {
        self.builder.truncate(rows);
        self.nulls.truncate(rows);
    }

    /// The rows as an array; the parser is empty afterwards.
    pub fn finish(&mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        // never an error for values that were checked when they were appended; a defect becomes an
        // array without rows, and so an error when the batch is made
        self.builder
            .finish(&self.column.logical, nulls)
            .unwrap_or_else(|_| new_null_array(&DataType::Null, 0))
    }

    /// Calls the visitor with the parser and the values of the column's type. Only a visitor of a
    /// single text returns a fault.
    #[inline]
    fn visit<V: Visitor>(&mut self, visitor: V) -> Result<(), Fault> {
        let Self { parser, builder, nulls, .. } = self;
        match (builder, &*parser) {
            (builder, Parser::Separated(separators, usual)) => {
                separated::visit(visitor, separators, usual, builder, nulls)
            }
            (Builder::Date(values), Parser::Pattern(pattern, _)) => {
                visitor.fixed(&PatternDate(pattern), values, nulls)
            }
            (Builder::Time(values), Parser::Pattern(pattern, ticks)) => {
                visitor.fixed(&PatternTime(pattern, *ticks), values, nulls)
            }
            (
                Builder::Timestamp(values) | Builder::TimestampTz(values),
                Parser::Pattern(pattern, ticks),
            ) => visitor.fixed(&PatternTimestamp(pattern, *ticks), values, nulls),
            (Builder::Boolean(values), Parser::Words(words)) => {
                visitor.fixed(&**words, values, nulls)
            }
            (Builder::Int8(values), _) => visitor.fixed(&Integer(PhantomData), values, nulls),
            (Builder::Int16(values), _) => visitor.fixed(&Integer(PhantomData), values, nulls),
            (Builder::Int32(values), _) => visitor.fixed(&Integer(PhantomData), values, nulls),
            (Builder::Int64(values), _) => visitor.fixed(&Integer(PhantomData), values, nulls),
            (Builder::UInt8(values), _) => visitor.fixed(&Integer(PhantomData), values, nulls),
            (Builder::UInt16(values), _) => visitor.fixed(&Integer(PhantomData), values, nulls),
            (Builder::UInt32(values), _) => visitor.fixed(&Integer(PhantomData), values, nulls),
            (Builder::UInt64(values), _) => visitor.fixed(&Integer(PhantomData), values, nulls),
            (Builder::Float32(values), _) => visitor.fixed(&Float(PhantomData), values, nulls),
            (Builder::Float64(values), _) => visitor.fixed(&Float(PhantomData), values, nulls),
            (Builder::Decimal128(values), Parser::Decimal(parser)) => {
                visitor.fixed(parser, values, nulls)
            }
            (Builder::Decimal256(values), Parser::WideDecimal(parser)) => {
                visitor.fixed(parser, values, nulls)
            }
            (Builder::Date(values), _) => visitor.fixed(&Date, values, nulls),
            (Builder::Time(values), Parser::Ticks(ticks)) => {
                visitor.fixed(&Time(*ticks), values, nulls)
            }
            (Builder::Timestamp(values), Parser::Ticks(ticks)) => {
                visitor.fixed(&Timestamp { ticks: *ticks, offset: false }, values, nulls)
            }
            (Builder::TimestampTz(values), Parser::Ticks(ticks)) => {
                visitor.fixed(&Timestamp { ticks: *ticks, offset: true }, values, nulls)
            }
            (Builder::Duration(values), _) => visitor.fixed(&Duration, values, nulls),
            (Builder::Uuid(values), _) => visitor.fixed(&Uuid, values, nulls),
            (Builder::Text(values), Parser::Text) => visitor.bytes(&AnyText, values, nulls),
            (Builder::Text(values), Parser::ShortText(most)) => {
                visitor.bytes(&ShortText(*most), values, nulls)
            }
            (Builder::Text(values), Parser::Numeric) => visitor.bytes(&NumericText, values, nulls),
            (Builder::Text(values), Parser::Json) => visitor.bytes(&JsonText, values, nulls),
            (Builder::Binary(values), Parser::Binary(form)) => visitor.bytes(form, values, nulls),
            // never: parser and builder are made of one type
            _ => Err(Fault::Parse),
        }
    }
}

/// Whether the values of a type are numbers.
pub(crate) fn is_number(logical: &LogicalType) -> bool {
    use LogicalType as L;
    let integer = matches!(logical, L::Int8 | L::Int16 | L::Int32 | L::Int64);
    let unsigned = matches!(logical, L::UInt8 | L::UInt16 | L::UInt32 | L::UInt64);
    let other = matches!(logical, L::Decimal { .. } | L::Numeric | L::Float32 | L::Float64);
    integer || unsigned || other
}

/// Whether a type has a text form at all.
fn has_text(logical: &LogicalType) -> bool {
    !matches!(logical, LogicalType::Interval | LogicalType::List(_))
}

/// What is done with the parser and the values of a column.
trait Visitor {
    /// Values of a fixed width.
    fn fixed<P: Parse, S: Slots<P::Value>>(
        self,
        parser: &P,
        values: &mut S,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Fault>;

    /// Values of any length.
    fn bytes<K: TextKind>(
        self,
        kind: &K,
        values: &mut Bytes,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Fault>;
}

/// One text, which is refused with nothing appended if it is not a value.
struct OneText<'a>(&'a [u8]);

impl Visitor for OneText<'_> {
    #[inline]
    fn fixed<P: Parse, S: Slots<P::Value>>(
        self,
        parser: &P,
        values: &mut S,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Fault> {
        values.push_value(parse::whole(parser, self.0)?);
        nulls.append_non_null();
        Ok(())
    }

    #[inline]
    fn bytes<K: TextKind>(
        self,
        kind: &K,
        values: &mut Bytes,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Fault> {
        kind.append(self.0, &mut values.bytes)?;
        values.close().ok_or(Fault::Length)?;
        nulls.append_non_null();
        Ok(())
    }
}

/// All texts of an array; NULL where the array has NULL, and where the text is at fault.
struct ArrayTexts<'a> {
    texts: &'a StringArray,
    faults: &'a mut Vec<(usize, Fault)>,
}

impl ArrayTexts<'_> {
    /// Calls `append` for every text; it returns whether the value is not NULL.
    fn each(
        self,
        nulls: &mut NullBufferBuilder,
        mut append: impl FnMut(Option<&[u8]>) -> Result<bool, Fault>,
    ) {
        let (offsets, bytes) = (self.texts.value_offsets(), self.texts.value_data());
        for (row, bounds) in offsets.windows(2).enumerate() {
            let text = &bytes[bounds[0] as usize..bounds[1] as usize];
            let text = self.texts.is_valid(row).then_some(text);
            let valid = append(text).unwrap_or_else(|fault| {
                self.faults.push((row, fault));
                false
            });
            nulls.append(valid);
        }
    }
}

impl Visitor for ArrayTexts<'_> {
    fn fixed<P: Parse, S: Slots<P::Value>>(
        self,
        parser: &P,
        values: &mut S,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Fault> {
        values.reserve(self.texts.len());
        self.each(nulls, |text| {
            let value = text.map(|text| parse::whole(parser, text)).transpose();
            let found = value.as_ref().ok().copied().flatten();
            values.push_value(found.unwrap_or_default());
            value.map(|value| value.is_some())
        });
        Ok(())
    }

    fn bytes<K: TextKind>(
        self,
        kind: &K,
        values: &mut Bytes,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Fault> {
        self.each(nulls, |text| {
            let appended = match text {
                Some(text) => kind.append(text, &mut values.bytes).map(|()| true),
                None => Ok(false),
            };
            if values.close().is_none() {
                values.push_empty();
                return Err(Fault::Length);
            }
            appended
        });
        Ok(())
    }
}

/// The raw cells of many rows.
struct RawCells<'a> {
    cells: &'a Cells<'a>,
    nullable: bool,
    faults: &'a mut Vec<(usize, Fault)>,
}

impl RawCells<'_> {
    /// A cell that is NULL, quoted, escaped or at fault; `None` for NULL.
    #[inline(never)]
    fn odd_value<P: Parse>(
        &self,
        parser: &P,
        (start, end): (usize, usize),
        scratch: &mut Vec<u8>,
    ) -> Result<Option<P::Value>, Fault> {
        if self.cells.is_null(start, end) {
            return if self.nullable { Ok(None) } else { Err(Fault::Null) };
        }
        parse::whole(parser, self.cells.text(start, end, scratch)?).map(Some)
    }

    /// One cell of any length; `false` for NULL, for which nothing was appended.
    #[inline(always)]
    fn append_bytes<K: TextKind>(
        cells: Cells<'_>,
        nullable: bool,
        kind: &K,
        (start, end): (usize, usize),
        values: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, Fault> {
        let raw = &cells.window[start..end];
        if cells.is_null(start, end) {
            return if nullable { Ok(false) } else { Err(Fault::Null) };
        }
        if !cells.is_plain(start, end) {
            kind.append(cells.text(start, end, scratch)?, values)?;
        } else if kind.is_itself(raw, cells.utf8) {
            copy_short(cells.window, start, end, values);
        } else {
            kind.append(raw, values)?;
        }
        Ok(true)
    }
}

impl Visitor for RawCells<'_> {
    fn fixed<P: Parse, S: Slots<P::Value>>(
        self,
        parser: &P,
        all: &mut S,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Fault> {
        // both in local variables, so that what the loop needs of them stays in registers
        let cells = *self.cells;
        let mut values = all.take();
        values.reserve(cells.bounds.len() / cells.stride);
        let mut valid = 0;
        let mut scratch = Vec::new();
        for (row, (start, end)) in cells.spans().enumerate() {
            if start < end
                && !cells.is_null(start, end)
                && let Ok(value) = parser.parse(cells.window, start, end)
            {
                values.push_value(value);
                valid += 1;
                continue;
            }
            nulls.append_n_non_nulls(std::mem::take(&mut valid));
            let value = self.odd_value(parser, (start, end), &mut scratch);
            let value = value.unwrap_or_else(|fault| {
                self.faults.push((row, fault));
                None
            });
            nulls.append(value.is_some());
            values.push_value(value.unwrap_or_default());
        }
        nulls.append_n_non_nulls(valid);
        *all = values;
        Ok(())
    }

    fn bytes<K: TextKind>(
        self,
        kind: &K,
        all: &mut Bytes,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Fault> {
        let (cells, nullable) = (*self.cells, self.nullable);
        all.ends.reserve(cells.bounds.len() / cells.stride);
        let mut scratch = Vec::new();
        for (row, span) in cells.spans().enumerate() {
            let appended =
                Self::append_bytes(cells, nullable, kind, span, &mut all.bytes, &mut scratch);
            let appended = appended.and_then(|valid| {
                all.close().ok_or(Fault::Length)?;
                Ok(valid)
            });
            match appended {
                Ok(true) => nulls.append_non_null(),
                Ok(false) => nulls.append_null(),
                Err(fault) => {
                    self.faults.push((row, fault));
                    all.push_empty();
                    nulls.append_null();
                }
            }
        }
        Ok(())
    }
}

/// Appends `window[start..end]`. A short text is copied as 16 bytes, of which the excess is removed
/// again: a copy of known size costs a fraction of one of any size.
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

/// The buffer of values of a fixed width.
trait Slots<T> {
    fn push_value(&mut self, value: T);
    fn reserve(&mut self, more: usize);
    /// The buffer, with an empty one left in its place.
    fn take(&mut self) -> Self;
}

impl<T> Slots<T> for Vec<T> {
    #[inline(always)]
    fn push_value(&mut self, value: T) {
        self.push(value);
    }

    fn reserve(&mut self, more: usize) {
        self.reserve(more);
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl Slots<bool> for BooleanBufferBuilder {
    fn push_value(&mut self, value: bool) {
        self.append(value);
    }

    fn reserve(&mut self, more: usize) {
        self.reserve(more);
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(0))
    }
}
