//! The bytes of one column chunk, fetched in blocks. A small chunk is one block; of a large one,
//! only a block and the page that crosses its end are in memory.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use transload_plugin_api::{Error, Result};

use super::broken;
use crate::RandomAccess;

/// The blocks of all column chunks of a row group share this many bytes.
const WINDOW: u64 = 32 << 20;
/// The minimum size of a chunk's block, as far as all blocks fit into another window.
const BLOCK: u64 = 512 << 10;
/// The same over a network, where each request has a cost.
const DISTANT_BLOCK: u64 = 4 << 20;

/// One column chunk, read from its first byte to its last.
pub(super) struct Blocks {
    file: Arc<dyn RandomAccess>,
    /// The range that has not been fetched.
    rest: Range<u64>,
    /// Bytes that have been fetched but not taken.
    bytes: Bytes,
    /// The number of bytes to fetch at once.
    block: u64,
}

impl Blocks {
    /// The chunks at `ranges`; the first blocks of all of them are fetched together.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn open(file: &Arc<dyn RandomAccess>, ranges: &[Range<u64>]) -> Result<Vec<Self>> {
        let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let least = if file.is_distant() { DISTANT_BLOCK } else { BLOCK };
        let least = least.min(WINDOW / ranges.len().max(1) as u64).max(1);
        let block = |range: &Range<u64>| match range.end - range.start {
            size if total <= WINDOW => size,
            // chunks end together, so a block is a chunk's share of the window
            size => ((u128::from(size) * u128::from(WINDOW) / u128::from(total)) as u64).max(least),
        };
        let first: Vec<_> = ranges
            .iter()
            .map(|range| range.start..range.end.min(range.start + block(range)))
            .collect();
        let fetched = file.ranges(&first)?;
        let open = |((range, first), bytes): ((&Range<u64>, &Range<u64>), Bytes)| {
            check(&**file, first, &bytes)?;
            Ok(Self { file: file.clone(), rest: first.end..range.end, bytes, block: block(range) })
        };
        ranges.iter().zip(&first).zip(fetched).map(open).collect()
    }

    /// Whether all bytes have been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.rest.is_empty()
    }

    /// Number of bytes that have not been taken, fetched or not.
    pub(super) fn left(&self) -> u64 {
        self.bytes.len() as u64 + (self.rest.end - self.rest.start)
    }

    /// The fetched bytes; at least `count` unless the chunk ends before that.
    pub(super) fn show(&mut self, count: usize) -> Result<&[u8]> {
        self.fetch(count)?;
        Ok(&self.bytes)
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if the chunk ends before that.
    pub(super) fn take(&mut self, count: usize) -> Result<Bytes> {
        self.fetch(count)?;
        if self.bytes.len() < count {
            return Err(broken(&*self.file, "a column chunk ends inside a page"));
        }
        Ok(self.bytes.split_to(count))
    }

    /// Skips bytes.
    pub(super) fn pass(&mut self, count: usize) -> Result<()> {
        let shown = count.min(self.bytes.len());
        drop(self.bytes.split_to(shown));
        let rest = (count - shown) as u64;
        if rest > self.rest.end - self.rest.start {
            return Err(broken(&*self.file, "a column chunk ends inside a page"));
        }
        self.rest.start += rest;
        Ok(())
    }

    fn fetch(&mut self, count: usize) -> Result<()> {
        let missing = count.saturating_sub(self.bytes.len()) as u64;
        if missing == 0 || self.rest.is_empty() {
            return Ok(());
        }
        let end = self.rest.end.min(self.rest.start + missing.max(self.block));
        let range = self.rest.start..end;
        let more = self.file.range(range.clone())?;
        check(&*self.file, &range, &more)?;
        self.rest.start = end;
        if self.bytes.is_empty() {
            self.bytes = more;
            return Ok(());
        }
        let mut joined = BytesMut::with_capacity(self.bytes.len() + more.len());
        joined.extend_from_slice(&self.bytes);
        joined.extend_from_slice(&more);
        self.bytes = joined.freeze();
        Ok(())
    }
}

fn check(file: &dyn RandomAccess, range: &Range<u64>, bytes: &Bytes) -> Result<()> {
    if bytes.len() as u64 == range.end - range.start {
        return Ok(());
    }
    Err(Error::defect("the store returned other bytes than requested").at(file.name()))
}
