//! Columns of numbers with separators of their own: the parser of the usual form behind
//! [`Separators`].

use std::marker::PhantomData;

use arrow_buffer::NullBufferBuilder;

use super::{Parser, Visitor};
use crate::{
    Builder, Fault, Separators,
    parse::{
        Parse,
        number::{Float, Integer},
    },
    texts::{NumericText, TextKind},
};

/// A parser of the usual form, for texts with separators.
struct Separated<'a, P>(&'a Separators, P);

impl<P: Parse> Parse for Separated<'_, P> {
    type Value = P::Value;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<P::Value, Fault> {
        let usual = self.0.usual(&window[start..end])?;
        self.1.parse(&usual, 0, usual.len())
    }
}

/// `numeric`, kept in its usual form.
struct SeparatedNumeric<'a>(&'a Separators);

impl TextKind for SeparatedNumeric<'_> {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        NumericText.append(&self.0.usual(text)?, out)
    }
}

/// As [`super::ColumnParser::visit`], for the types of numbers.
pub(super) fn visit<V: Visitor>(
    visitor: V,
    separators: &Separators,
    usual: &Parser,
    builder: &mut Builder,
    nulls: &mut NullBufferBuilder,
) -> Result<(), Fault> {
    macro_rules! fixed {
        ($parser:expr, $values:expr) => {
            visitor.fixed(&Separated(separators, $parser), $values, nulls)
        };
    }
    match (builder, usual) {
        (Builder::Int8(values), _) => fixed!(Integer(PhantomData), values),
        (Builder::Int16(values), _) => fixed!(Integer(PhantomData), values),
        (Builder::Int32(values), _) => fixed!(Integer(PhantomData), values),
        (Builder::Int64(values), _) => fixed!(Integer(PhantomData), values),
        (Builder::UInt8(values), _) => fixed!(Integer(PhantomData), values),
        (Builder::UInt16(values), _) => fixed!(Integer(PhantomData), values),
        (Builder::UInt32(values), _) => fixed!(Integer(PhantomData), values),
        (Builder::UInt64(values), _) => fixed!(Integer(PhantomData), values),
        (Builder::Float32(values), _) => fixed!(Float(PhantomData), values),
        (Builder::Float64(values), _) => fixed!(Float(PhantomData), values),
        (Builder::Decimal128(values), Parser::Decimal(parser)) => fixed!(*parser, values),
        (Builder::Decimal256(values), Parser::WideDecimal(parser)) => fixed!(*parser, values),
        (Builder::Text(values), Parser::Numeric) => {
            visitor.bytes(&SeparatedNumeric(separators), values, nulls)
        }
        // never: only the types of numbers have separators
        _ => Err(Fault::Parse),
    }
}
