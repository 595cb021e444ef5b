//! The values of one column to their texts, exact and re-readable by [`crate::ColumnParser`].
//! Nothing is allocated per value; quoting is left to the formats.

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use transload_plugin_api::{Column, Error, Result};

use crate::{BinaryText, View, write};

/// The texts of the values of one column.
pub struct ColumnRenderer<'a> {
    view: View<'a>,
    nulls: Option<&'a NullBuffer>,
    binary: BinaryText,
}

impl<'a> ColumnRenderer<'a> {
    /// A renderer for one column of a batch.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] if the array does not carry the type of the column,
    /// [`transload_plugin_api::ErrorKind::Unsupported`] for types without a text form (list, interval).
    pub fn new(column: &Column, array: &'a dyn Array) -> Result<Self> {
        let view = View::of_column(column, array)?;
        if matches!(view, View::List(_) | View::Interval(_)) {
            let Column { name, logical, .. } = column;
            let message = format!("column `{name}`: type `{logical}` has no text form");
            return Err(Error::unsupported(message).hint("write the column as `text` or `json`"));
        }
        Ok(Self { view, nulls: array.nulls(), binary: BinaryText::Hex })
    }

    /// Writes binary values in another form than [`BinaryText::Hex`].
    #[must_use]
    pub fn binary(self, binary: BinaryText) -> Self {
        Self { binary, ..self }
    }

    /// Whether the value of the row is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the text of the value of the row, which must not be NULL.
    #[inline]
    pub fn render(&self, row: usize, out: &mut Vec<u8>) {
        match (&self.view, self.binary) {
            (View::Binary(values), BinaryText::Base64) => write::base64(values.value(row), out),
            (view, _) => view.write(row, out),
        }
    }
}
