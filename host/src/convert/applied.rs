//! What a method makes of a column, and what all methods are made of.

use arrow_array::ArrayRef;
use arrow_buffer::BooleanBuffer;
use arrow_cast::{CastOptions, cast_with_options, display::FormatOptions};
use arrow_schema::{ArrowError, DataType};

/// What a method made of a column.
pub(super) struct Applied {
    pub(super) array: ArrayRef,
    /// Rows whose value did not fit.
    pub(super) bad: Option<BooleanBuffer>,
    pub(super) code: &'static str,
}

/// Arrow's cast, in which a value that does not fit becomes NULL, for the caller to notice.
pub(super) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    cast_with_options(array, to, &options)
}

/// The rows for which `bad` holds, or `None` if there are none.
pub(super) fn flag_rows(rows: usize, mut bad: impl FnMut(usize) -> bool) -> Option<BooleanBuffer> {
    let flags = BooleanBuffer::collect_bool(rows, &mut bad);
    (flags.count_set_bits() > 0).then_some(flags)
}
