//! One object on its way: bytes in, parts out. Its upload begins with its first part, so that
//! what is rolled back before that has left no trace. At most one part's bytes are held back; for a
//! disk, which takes parts of any size, at most 256 KiB.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use transload_plugin_api::{Cancel, Result, failpoint};

use super::{
    entry::UploadEntry,
    run_folder::RunFolder,
    upload_store::{Part, PartLimit, Pending, UploadStore},
};

/// Stores refuse parts beyond 5 GiB.
const LARGEST_PART: u64 = 4 << 30;
/// Parts are of one size up to here; then the size doubles ...
const EVEN_PARTS: usize = 2_000;
/// ... after each of these steps, so that the 10,000 parts that stores allow hold 4 TiB.
const STEP: usize = 1_000;

/// Held back for a disk until it is this much: a write costs little, and memory is saved.
pub(crate) const DIRECT: u64 = 256 << 10;

/// What all uploads of one task share.
pub(crate) struct UploadSettings {
    pub(crate) store: Arc<dyn UploadStore>,
    pub(crate) run_folder: RunFolder,
    pub(crate) limit: PartLimit,
    pub(crate) cancel: Cancel,
    /// A manifest will name the objects with their hashes.
    pub(crate) hash: bool,
    /// They must outlive a power cut by themselves: the commit does not make one synced file of them.
    pub(crate) durable: bool,
    /// Bytes of a part, for as long as they are even.
    pub(crate) part_size: u64,
    /// The beginning of every token: `run/task/epoch`.
    pub(crate) origin: String,
    pub(crate) task: u32,
    pub(crate) epoch: u32,
}

/// An object that grows. Dropped before [`Upload::settle`], it discards its upload.
pub(crate) struct Upload {
    settings: Arc<UploadSettings>,
    entry: UploadEntry,
    begun: bool,
    settled: bool,
    /// None if the hash is not wanted.
    hash: Option<Sha256>,
    /// Not yet sent.
    tail: VecDeque<Bytes>,
    tail_bytes: u64,
    /// Bytes of the parts sent.
    sent: u64,
    pending: VecDeque<Pending>,
    index: usize,
}

impl Upload {
    pub(crate) fn new(settings: &Arc<UploadSettings>, key: &str) -> Result<Self> {
        let entry = UploadEntry::new(key, &settings.origin)?;
        Ok(Self {
            settings: Arc::clone(settings),
            entry,
            begun: false,
            settled: false,
            hash: settings.hash.then(Sha256::new),
            tail: VecDeque::new(),
            tail_bytes: 0,
            sent: 0,
            pending: VecDeque::new(),
            index: 0,
        })
    }

    /// Bytes that it has been given.
    pub(crate) fn size(&self) -> u64 {
        self.entry.size
    }

    /// Bytes that it holds back.
    pub(crate) fn held(&self) -> u64 {
        self.tail_bytes
    }

    /// Adds bytes, and sends the parts that are full.
    pub(crate) fn add(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&bytes);
        }
        self.entry.size += bytes.len() as u64;
        self.tail_bytes += bytes.len() as u64;
        self.tail.push_back(bytes);
        if self.settings.store.writes_through() && self.tail_bytes >= DIRECT {
            return self.write_through();
        }
        while self.tail_bytes >= part_size(self.settings.part_size, self.index) {
            let size = part_size(self.settings.part_size, self.index);
            self.send(size)?;
        }
        Ok(())
    }

    /// Sends what is held back, though the part is not full.
    ///
    /// Right for at least [`UploadStore::smallest_part`] bytes, or as the last part.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.send(self.tail_bytes)
    }

    /// Sends what is held back to a store that takes parts of any size, and waits for it. Such a
    /// part has no name of its own: a disk completes a file, not a list of parts.
    fn write_through(&mut self) -> Result<()> {
        self.begin()?;
        let permit = self.settings.limit.enter(&self.settings.cancel)?;
        let size = self.tail_bytes;
        let part = Part { index: 0, offset: self.sent, pieces: self.cut(size), permit };
        self.settings.store.send(self.entry.id(), part).wait(&self.settings.cancel)?;
        self.sent += size;
        Ok(())
    }

    fn send(&mut self, size: u64) -> Result<()> {
        self.begin()?;
        let permit = self.settings.limit.enter(&self.settings.cancel)?;
        let pieces = self.cut(size);
        let part = Part { index: self.index, offset: self.sent, pieces, permit };
        self.pending.push_back(self.settings.store.send(self.entry.id(), part));
        self.index += 1;
        self.sent += size;
        Ok(())
    }

    /// The first bytes of what is held back, as they lie in memory.
    fn cut(&mut self, size: u64) -> Vec<Bytes> {
        let (mut pieces, mut missing) = (Vec::new(), size);
        while missing > 0 {
            let Some(mut piece) = self.tail.pop_front() else { break };
            if piece.len() as u64 > missing {
                self.tail.push_front(piece.split_off(missing as usize));
            }
            missing -= piece.len() as u64;
            pieces.push(piece);
        }
        self.tail_bytes -= size;
        pieces
    }

    /// Begins the upload and notes it beside the output, so that another process can discard it.
    fn begin(&mut self) -> Result<()> {
        if self.begun {
            return Ok(());
        }
        let store = &self.settings.store;
        self.entry.upload = store.begin(&self.entry.key, &self.entry.token)?;
        self.begun = true;
        failpoint("K10");
        if !store.notes_uploads() {
            return Ok(());
        }
        self.settings.run_folder.note_begun(
            &**store,
            self.settings.task,
            self.settings.epoch,
            &self.entry,
        )
    }

    /// Sends the last part; no bytes come any more.
    pub(crate) fn end(&mut self, rows: u64) -> Result<()> {
        self.entry.rows = rows;
        if self.tail_bytes > 0 || self.index == 0 {
            self.flush()?;
        }
        if let Some(hash) = self.hash.take() {
            self.entry.sha256 = super::hexadecimal(&hash.finalize());
        }
        Ok(())
    }

    /// Waits for the parts; what the job's commit needs.
    pub(crate) fn settle(mut self) -> Result<UploadEntry> {
        while let Some(pending) = self.pending.pop_front() {
            self.entry.parts.push(pending.wait(&self.settings.cancel)?);
        }
        failpoint("K10");
        self.entry.version = self.settings.store.settle(self.entry.id(), self.settings.durable)?;
        self.settled = true;
        Ok(self.entry.clone())
    }

    /// Discards the upload.
    pub(crate) fn discard(mut self) -> Result<()> {
        self.give_up()
    }

    fn give_up(&mut self) -> Result<()> {
        // No part may come in after the discarding.
        self.pending.clear();
        if !self.begun || self.settled {
            return Ok(());
        }
        self.settled = true;
        self.settings.store.discard(self.entry.id())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // What cannot be discarded here goes with the run's staging.
        let _ = self.give_up();
    }
}

/// Bytes of part `index`.
fn part_size(even: u64, index: usize) -> u64 {
    let doublings = index.saturating_sub(EVEN_PARTS).div_ceil(STEP);
    (even << doublings).min(LARGEST_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_very_large_objects() {
        let total: u64 = (0..10_000).map(|index| part_size(8 << 20, index)).sum();
        assert!(total > 43 << 35, "{total}");
        assert_eq!(part_size(8 << 20, 2_000), 8 << 20);
        assert_eq!(part_size(8 << 20, 2_001), 16 << 20);
        assert_eq!(part_size(256 << 20, 9_999), LARGEST_PART);
    }
}
