//! What a task keeps across chunks, from its part of the job's buffer: row groups, parts, rows that
//! wait for the end of the task. The text of an open chunk is the host's to count.

use transload_formats::{Encoding, Format};
use transload_plugin_api::WritePlan;

use super::{
    rolling::{encoder_bytes, most_open},
    upload::DIRECT,
    upload_store::UploadStore,
};

/// Parts that one task has under way.
pub(crate) const FLIGHTS: usize = 2;
/// Bytes held back over all open objects, in parts.
const HELD_PARTS: u64 = 8;
/// What is kept is at most this multiple of a task's part of the buffer ...
const SHARES: u64 = 4;
/// ... but a row group is not smaller: readers would have to open too many of them ...
const SMALLEST_GROUP: u64 = 8 << 20;
/// ... and not larger.
const LARGEST_GROUP: u64 = 128 << 20;
/// The most memory for rows that wait.
const WAITING: u64 = 64 << 20;
/// A plan says nothing of less than this.
const LITTLE: u64 = 4 << 20;

/// The bounds of one task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskMemory {
    /// A row group ends at this many encoded bytes.
    pub(crate) row_group: usize,
    /// Held back over all open objects.
    pub(crate) held: u64,
    /// For rows of partitions for which no object is open.
    pub(crate) waiting: usize,
    part_size: u64,
}

impl TaskMemory {
    /// The bounds of a plan's tasks, for parts of this size.
    pub(crate) fn new(plan: &WritePlan, part_size: u64) -> Self {
        let most = plan.task_buffer.map_or(u64::MAX, |bytes| bytes.saturating_mul(SHARES));
        Self {
            row_group: most.clamp(SMALLEST_GROUP, LARGEST_GROUP) as usize,
            held: most.clamp(part_size, HELD_PARTS * part_size),
            waiting: most.clamp(SMALLEST_GROUP, WAITING) as usize,
            part_size,
        }
    }

    /// The most that a task keeps: of files with these columns, of which `open` are written at a time
    /// if they are partitions. `None` for a little.
    pub(crate) fn most(
        &self,
        store: &dyn UploadStore,
        encoding: &Encoding,
        (columns, open): (usize, Option<usize>),
    ) -> Option<u64> {
        let is_parquet = encoding.format() == Format::Parquet;
        let (tail, under_way) = match store.writes_through() {
            true => (DIRECT, 0),
            false => (self.part_size, FLIGHTS as u64 * self.part_size),
        };
        // A row group is copied when it ends, and its parts hold it until the last one is sent.
        let copies = if store.writes_through() { 1 } else { 2 };
        // Its size is looked at after each quarter of it.
        let group = if is_parquet { self.row_group as u64 / 4 * 5 } else { 0 };
        let most = under_way
            + copies * group
            + match open {
                None => tail + group,
                Some(open) => {
                    let open = open.min(most_open(encoding, columns));
                    // Rows that wait are sorted into a copy.
                    let encoders = (open * encoder_bytes(encoding, columns)) as u64;
                    self.held.max(group) + encoders + 2 * self.waiting as u64
                }
            };
        (most >= LITTLE).then_some(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_follow_the_buffer() {
        let plan = |task_buffer| WritePlan { task_buffer, ..WritePlan::default() };
        for (buffer, row_group, held, waiting) in [
            (None, 128, 64, 64),
            (Some(16), 64, 64, 64),
            (Some(4), 16, 16, 16),
            (Some(1), 8, 8, 8),
            (Some(1 << 40), 128, 64, 64),
        ] {
            let bounds = TaskMemory::new(&plan(buffer.map(|mib: u64| mib << 20)), 8 << 20);
            let found = [bounds.row_group as u64, bounds.held, bounds.waiting as u64];
            assert_eq!(found.map(|bytes| bytes >> 20), [row_group, held, waiting], "{buffer:?}");
        }
    }
}
