//! What a method makes of a column, and what all methods are made of.

use arrow_array::ArrayRef;
use arrow_cast::{CastOptions, cast_with_options, display::FormatOptions};
use arrow_schema::{ArrowError, DataType};

/// A row whose value did not fit, and the code of the reason.
pub(super) type Misfit = (usize, &'static str);

/// What a method made of a column.
pub(super) struct Applied {
    pub(super) array: ArrayRef,
    pub(super) misfits: Vec<Misfit>,
}

/// Arrow's cast, in which a value that does not fit becomes NULL, for the caller to notice.
pub(super) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    cast_with_options(array, to, &options)
}

/// The rows of `0..rows` for which `bad` holds, with their code.
pub(super) fn misfits(
    rows: usize,
    code: &'static str,
    mut bad: impl FnMut(usize) -> bool,
) -> Vec<Misfit> {
    (0..rows).filter(|row| bad(*row)).map(|row| (row, code)).collect()
}
