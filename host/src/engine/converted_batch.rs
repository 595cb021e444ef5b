//! One converted batch with its dirty rows, position and origin: what passes through the ring.

use std::sync::Arc;

use arrow_array::RecordBatch;
use transload_plugin_api::{Error, Origin, Position, ReadBatch, Result};

use super::dirty::{DirtyLine, DirtyLines};
use crate::convert::Converter;

/// Rows in the writer's types, with what the writing side must know about them.
pub(super) struct ConvertedBatch {
    /// The clean rows, in the writer's columns.
    pub(super) batch: RecordBatch,
    /// Rows taken from the source, including dirty ones.
    pub(super) read: u64,
    /// Rows that the reader or the conversion found dirty, in the order of the source.
    pub(super) dirty: Vec<Arc<DirtyLine>>,
    /// Where reading continues after these rows.
    pub(super) position: Position,
    /// Which rows of the reader's batch are left; `None` if all.
    kept: Option<Vec<u32>>,
    origin: Option<Origin>,
}

impl ConvertedBatch {
    /// Converts a batch of the reader; `lines` describes the rows that are dirty.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`] if the batch does not have the columns that the reader promised.
    pub(super) fn new(
        converter: &Converter,
        lines: &DirtyLines<'_>,
        next: ReadBatch,
    ) -> Result<Self> {
        let ReadBatch { batch, position, origin, dirty: refused, .. } = next;
        let read = batch.num_rows() as u64 + refused.len() as u64;
        let converted = converter.convert(&batch).map_err(|error| {
            let message = format!("the reader's batch does not have the planned columns: {error}");
            Error::defect(message)
        })?;
        let origin_of_rows = origin.as_ref();
        let refused = refused.into_iter().map(|row| lines.read(row, origin_of_rows));
        let misfits = converted.dirty.into_iter();
        let misfits = misfits.map(|row| lines.converted(row, &batch, origin_of_rows));
        let mut dirty: Vec<_> = refused.chain(misfits).map(Arc::new).collect();
        dirty.sort_by_key(|line| line.number);
        Ok(Self { batch: converted.batch, read, dirty, position, kept: converted.kept, origin })
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let dirty: usize = self.dirty.iter().map(|line| line.bytes()).sum();
        self.batch.get_array_memory_size() + dirty
    }

    /// Where its rows came from.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Which row of the reader's batch row `index` of `batch` was.
    pub(super) fn index_at_the_reader(&self, index: u64) -> Option<u64> {
        match &self.kept {
            None => Some(index),
            Some(kept) => kept.get(usize::try_from(index).ok()?).copied().map(u64::from),
        }
    }
}
