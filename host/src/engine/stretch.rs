//! What passes through the ring: a stretch of the source, converted, with all that belongs to it.

use arrow_array::RecordBatch;
use transload_plugin_api::{DirtyRow, Error, ErrorKind, Origin, Position, ReadBatch, Result};

use crate::convert::Converter;

/// Converted rows, and what the writer's side must know of them.
pub(super) struct Stretch {
    /// The clean rows, in the writer's columns.
    pub(super) batch: RecordBatch,
    /// Rows taken from the source, dirty ones included.
    pub(super) read: u64,
    /// Rows that the reader or the conversion found dirty, with their places.
    pub(super) dirty: Vec<DirtyRow>,
    /// Where reading goes on after these rows.
    pub(super) position: Position,
    /// Which rows of the reader's batch are left; `None` if all.
    kept: Option<Vec<u32>>,
    origin: Option<Origin>,
}

impl Stretch {
    /// Converts what a reader has read.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`] if the batch is not of the columns that the reader promised.
    pub(super) fn new(converter: &Converter, next: ReadBatch) -> Result<Self> {
        let ReadBatch { batch, position, origin, mut dirty, .. } = next;
        let read = batch.num_rows() as u64 + dirty.len() as u64;
        let converted = converter.convert(&batch).map_err(|error| {
            let message = format!("the reader's batch is not what it said it would be: {error}");
            Error::new(ErrorKind::Defect, message)
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
