//! The rows of a batch as lines of text, encoded once and divided among partitions: a partition may
//! have one row of a batch, and an encoder's work for a batch is more than that for a row.

use std::ops::Range;

use transload_formats::LineEncoder;
use transload_plugin_api::{DirtyRow, Result};

use super::{object::Frame, partition::PartitionedBatch};

/// The lines of one batch at a time.
pub(crate) struct Lines {
    encoder: Box<dyn LineEncoder>,
    text: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Lines {
    pub(crate) fn new(encoder: Box<dyn LineEncoder>) -> Self {
        Self { encoder, text: Vec::new(), ends: Vec::new() }
    }

    /// What stands before the first line of an object.
    pub(crate) fn start(&mut self, frame: Frame) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        if frame.start {
            self.encoder.start(&mut text)?;
        }
        Ok(text)
    }

    /// Encodes the rows of a batch; what comes back lacks those that the format cannot hold.
    pub(crate) fn encode(
        &mut self,
        split: PartitionedBatch,
        dirty: &mut Vec<DirtyRow>,
    ) -> Result<PartitionedBatch> {
        self.text.clear();
        self.ends.clear();
        self.encoder.encode_lines(&split.batch, &mut self.text, &mut self.ends)?;
        let mut refused = self.encoder.take_refused();
        if refused.is_empty() {
            return Ok(split);
        }
        refused.dedup_by_key(|row| row.row);
        let rows: Vec<_> = refused.iter().map(|row| row.row as usize).collect();
        let mut index = 0..;
        self.ends.retain(|_| index.next().is_some_and(|row| rows.binary_search(&row).is_err()));
        for mut row in refused {
            row.row = split.row(row.row as usize);
            dirty.push(row);
        }
        split.without(&rows)
    }

    /// How long the text of the batch is.
    pub(crate) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// The text of some rows of what [`Lines::encode`] returned.
    pub(crate) fn of(&self, rows: Range<usize>) -> &[u8] {
        let start = rows.start.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = rows.end.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.text[start..end]
    }
}
