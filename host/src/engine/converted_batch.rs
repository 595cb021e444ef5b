//! One converted batch with its dirty rows, position and origin: what passes through the ring.

use arrow_array::RecordBatch;
use transload_plugin_api::{DirtyRow, Error, Origin, Position, ReadBatch, Result};

use crate::convert::Converter;

/// Rows in the writer's types, with what the writing side must know about them.
pub(super) struct ConvertedBatch {
    /// The clean rows, in the writer's columns.
    pub(super) batch: RecordBatch,
    /// Rows taken from the source, including dirty ones.
    pub(super) read: u64,
    /// Rows that the reader or the conversion found dirty, with their places.
    pub(super) dirty: Vec<DirtyRow>,
    /// Where reading continues after these rows.
    pub(super) position: Position,
    /// Which rows of the reader's batch are left; `None` if all.
    kept: Option<Vec<u32>>,
    origin: Option<Origin>,
}

impl ConvertedBatch {
    /// Converts a batch of the reader.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`] if the batch does not have the columns that the reader promised.
    pub(super) fn new(converter: &Converter, next: ReadBatch) -> Result<Self> {
        let ReadBatch { batch, position, origin, mut dirty, .. } = next;
        let read = batch.num_rows() as u64 + dirty.len() as u64;
        let converted = converter.convert(&batch).map_err(|error| {
            let message = format!("the reader's batch does not have the planned columns: {error}");
            Error::defect(message)
        })?;
        dirty.extend(converted.dirty.into_iter().map(|row| DirtyRow {
            place: origin.as_ref().map(|origin| origin.place(row.row)),
            ..row
        }));
        Ok(Self { batch: converted.batch, read, dirty, position, kept: converted.kept, origin })
    }

    /// Where row `index` of `batch` came from.
    pub(super) fn place(&self, index: u64) -> Option<String> {
        let index = match &self.kept {
            None => index,
            Some(kept) => (*kept.get(usize::try_from(index).ok()?)?).into(),
        };
        self.origin.as_ref().map(|origin| origin.place(index))
    }
}
