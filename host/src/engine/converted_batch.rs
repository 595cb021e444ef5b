//! One converted batch with its dirty rows, position and origin: what passes through the ring.

use std::sync::Arc;

use arrow_array::RecordBatch;
use transload_plugin_api::{Error, Origin, Position, ReadBatch, Result};

use super::{
    dirty::{DirtyLine, DirtyLines},
    memory::Share,
};
use crate::convert::Converter;

/// Rows in the writer's types, with what the writing side must know about them.
pub(super) struct ConvertedBatch {
    /// The clean rows, in the writer's columns.
    pub(super) batch: RecordBatch,
    /// Rows taken from the source, including dirty ones.
    pub(super) read: u64,
    /// Rows that the reader or the conversion found dirty, in the order of the source.
    pub(super) dirty: Vec<Arc<DirtyLine>>,
    /// Where reading continues after these rows; `None` if more of the reader's batch follows.
    pub(super) position: Option<Position>,
    /// Which row of the converted batch is the first of these.
    first: u64,
    /// How much memory it takes, about. The first piece of a batch counts all of it.
    bytes: usize,
    /// Its part of the job's memory; the first piece of a batch has it.
    pub(super) share: Option<Share>,
    /// Which rows of the reader's batch are left; `None` if all.
    kept: Option<Arc<[u32]>>,
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
        let of_dirty: usize = dirty.iter().map(|line| line.bytes()).sum();
        Ok(Self {
            bytes: converted.batch.get_array_memory_size() + of_dirty,
            batch: converted.batch,
            read,
            dirty,
            position: Some(position),
            first: 0,
            share: None,
            kept: converted.kept.map(Arc::from),
            origin,
        })
    }

    /// The same rows in about `count` pieces, which a writer gets one after the other. The first one
    /// has the dirty rows, the last one the position.
    pub(super) fn pieces(self, count: u64) -> impl Iterator<Item = Self> {
        let rows = self.batch.num_rows();
        let most = rows.div_ceil(usize::try_from(count).unwrap_or(rows).max(1)).max(1);
        let Self { batch, read, mut dirty, mut position, mut share, bytes, kept, origin, .. } =
            self;
        let beside = read - rows as u64;
        (0..rows.max(1)).step_by(most).map(move |first| {
            let length = most.min(rows - first);
            let is_first = first == 0;
            Self {
                batch: batch.slice(first, length),
                read: length as u64 + if is_first { beside } else { 0 },
                dirty: std::mem::take(&mut dirty),
                position: position.take_if(|_| first + length == rows),
                first: first as u64,
                bytes: if is_first { bytes } else { 0 },
                share: share.take(),
                kept: kept.clone(),
                origin: origin.clone(),
            }
        })
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where its rows came from.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Which row of the reader's batch row `index` of `batch` was.
    pub(super) fn index_at_the_reader(&self, index: u64) -> Option<u64> {
        let index = self.first + index;
        match &self.kept {
            None => Some(index),
            Some(kept) => kept.get(usize::try_from(index).ok()?).copied().map(u64::from),
        }
    }
}
