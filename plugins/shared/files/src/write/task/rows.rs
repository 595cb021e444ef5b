//! How the rows of a batch get to their objects: at once, or when the task ends.

use std::ops::Range;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::{concat::concat_batches, filter::filter_record_batch};
use transload_plugin_api::{DirtyRow, Error, Result};

use super::{FilesWriteTask, OpenPartition, TaskSettings};
use crate::write::{
    lines::Lines,
    name_template::{Naming, check_key},
    object::OpenObject,
    partition::{Group, PartitionRows, PartitionedBatch},
    spill::Spill,
};

/// A partition without rows in this number of batches makes room for another: rows may be sorted.
const IDLE_BATCHES: u64 = 16;

impl FilesWriteTask {
    /// Writes one partition's rows, over as many objects as they fill.
    fn write_group(&mut self, group: &PartitionRows, dirty: &mut Vec<DirtyRow>) -> Result<()> {
        let (mut from, mut held) = (0, 0);
        while from < group.batch.num_rows() {
            let rolling = self.settings.rolling;
            let clock = self.clock;
            let object = match self.object(group.partition)? {
                Ok(object) => object,
                Err(reason) => {
                    let rows = from as u64..group.batch.num_rows() as u64;
                    dirty.extend(rows.map(|row| unnamable(group.row(row), &reason)));
                    break;
                }
            };
            object.touched = clock;
            let room = rolling.rows.map_or(u64::MAX, |rows| rows - object.rows());
            let rows =
                (group.batch.num_rows() - from).min(usize::try_from(room).unwrap_or(usize::MAX));
            let before = object.text_bytes();
            let refused = object.write(&group.batch.slice(from, rows))?;
            held += object.text_bytes() - before;
            for mut row in refused {
                row.row = group.row(row.row + from as u64);
                dirty.push(row);
            }
            from += rows;
            if rolling.rows.is_some_and(|rows| object.rows() >= rows)
                || rolling.bytes.is_some_and(|bytes| object.bytes() >= bytes)
            {
                object.fill()?;
            }
        }
        self.held += held;
        Ok(())
    }

    /// Writes the rows of a batch, or keeps them for the end of the task.
    pub(super) fn write_split(
        &mut self,
        split: PartitionedBatch,
        dirty: &mut Vec<DirtyRow>,
    ) -> Result<()> {
        if let Some(mut lines) = self.lines.take() {
            let outcome = self.write_as_lines(&mut lines, split, dirty);
            self.lines = Some(lines);
            return outcome;
        }
        // A copy of the batch, which an encoder without lines keeps.
        if split.rows.is_some() {
            self.held += split.batch.get_array_memory_size() as u64;
        }
        let mut later = Vec::new();
        for group in &split.groups {
            if self.waits(group.0)? {
                later.push(split.part(group));
            } else {
                self.write_group(&split.part(group), dirty)?;
            }
        }
        self.spill(&later, dirty)
    }

    /// As [`Self::write_split`], with all rows encoded at once: a partition may have one row of it.
    fn write_as_lines(
        &mut self,
        lines: &mut Lines,
        split: PartitionedBatch,
        dirty: &mut Vec<DirtyRow>,
    ) -> Result<()> {
        let split = lines.encode(split, dirty)?;
        self.held += lines.bytes();
        let mut later = Vec::new();
        let rolls = self.settings.rolling.rolls();
        for group in &split.groups {
            let open = self.lanes.get_mut(&group.0).and_then(OpenPartition::open);
            if let Some(object) = open.filter(|_| !rolls) {
                object.touched = self.clock;
                object.add_lines(lines.of(group.1.clone()), group.1.len() as u64);
            } else if self.waits(group.0)? {
                later.push(split.part(group));
            } else {
                self.write_lines((&split, group), lines, dirty)?;
            }
        }
        self.wait(&later)
    }

    /// Writes one partition's lines, over as many objects as they fill.
    fn write_lines(
        &mut self,
        (split, group): (&PartitionedBatch, &Group),
        lines: &Lines,
        dirty: &mut Vec<DirtyRow>,
    ) -> Result<()> {
        let (clock, rolling) = (self.clock, self.settings.rolling);
        let (partition, Range { start: mut from, end }) = (group.0, group.1.clone());
        while from < end {
            let object = match self.object(partition)? {
                Ok(object) => object,
                Err(reason) => {
                    dirty.extend((from..end).map(|row| unnamable(split.row(row), &reason)));
                    return Ok(());
                }
            };
            object.touched = clock;
            let room = rolling.rows.map_or(u64::MAX, |rows| rows - object.rows());
            let to = end.min(from.saturating_add(usize::try_from(room).unwrap_or(usize::MAX)));
            object.add_lines(lines.of(from..to), (to - from) as u64);
            from = to;
            if rolling.rows.is_some_and(|rows| object.rows() >= rows)
                || rolling.bytes.is_some_and(|bytes| object.bytes() >= bytes)
            {
                object.fill()?;
            }
        }
        Ok(())
    }

    /// The object that takes a partition's rows, or why there cannot be one.
    fn object(&mut self, partition: usize) -> Result<std::result::Result<&mut OpenObject, String>> {
        let there = self.lanes.get_mut(&partition).is_some_and(|lane| lane.open().is_some());
        if !there {
            let name = self.name(partition, self.number);
            if let Err(reason) = check_key(&name) {
                return Ok(Err(reason));
            }
            self.number += 1;
            let object = self.new_object(&format!("{}{name}", self.settings.root))?;
            self.lanes.entry(partition).or_default().new.push(object);
        }
        let object = self.lanes.get_mut(&partition).and_then(OpenPartition::open);
        object.map(Ok).ok_or_else(|| Error::defect("no object is open"))
    }

    fn new_object(&self, key: &str) -> Result<OpenObject> {
        let TaskSettings { encoding, frame, .. } = &self.settings;
        let compression = encoding.compression();
        if let Some(header) = &self.header {
            return OpenObject::of_lines(&self.uploads, key, header.clone(), compression, *frame);
        }
        let encoder = encoding.encoder(&self.kept)?;
        OpenObject::new(&self.uploads, key, encoder, compression, *frame)
    }

    fn name(&self, partition: usize, number: u32) -> String {
        self.settings.template.render(Naming {
            run: &self.settings.run,
            task: self.uploads.task,
            number,
            extension: self.settings.encoding.extension(),
            values: &self.partitioner.values(partition),
        })
    }

    /// Whether a partition's rows wait for the end of the task, because as many objects are open as
    /// may be.
    fn waits(&mut self, partition: usize) -> Result<bool> {
        if self.lanes.get_mut(&partition).is_some_and(|lane| lane.open().is_some()) {
            return Ok(false);
        }
        if self.waiting.contains(&partition) {
            return Ok(true);
        }
        if self.lanes.contains_key(&partition) || self.lanes.len() < self.settings.rolling.open {
            return Ok(false);
        }
        // A partition that cannot be named has dirty rows only.
        if check_key(&self.name(partition, self.number)).is_err() || self.make_room()? {
            return Ok(false);
        }
        self.waiting.insert(partition);
        Ok(true)
    }

    /// Whether one object fewer is open than may be: one without rows for a while takes no more.
    fn make_room(&mut self) -> Result<bool> {
        let limit = self.settings.rolling.open;
        let open = self.lanes.iter_mut().filter_map(|(at, lane)| Some((*at, lane.open()?)));
        let (mut count, mut oldest) = (0, None::<(usize, &mut OpenObject)>);
        for (at, object) in open {
            count += 1;
            if oldest.as_ref().is_none_or(|(_, oldest)| object.touched < oldest.touched) {
                oldest = Some((at, object));
            }
        }
        match oldest {
            _ if count < limit => Ok(true),
            Some((at, object)) if object.touched + IDLE_BATCHES <= self.clock => {
                object.fill()?;
                self.waiting.insert(at);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Keeps rows for the end of the task.
    fn wait(&mut self, groups: &[PartitionRows]) -> Result<()> {
        if let Some(rows) = joined_rows(groups)? {
            self.held += rows.get_array_memory_size() as u64;
            self.spill.add(rows, runs(groups));
        }
        Ok(())
    }

    /// As [`Self::wait`]; rows that the format cannot hold are dirty now.
    fn spill(&mut self, groups: &[PartitionRows], dirty: &mut Vec<DirtyRow>) -> Result<()> {
        let Some(rows) = joined_rows(groups)? else { return Ok(()) };
        let mut runs = runs(groups);
        let refused = self.refused(&rows)?;
        if refused.is_empty() {
            self.spill.add(rows, runs);
            return Ok(());
        }
        let mut keep = vec![true; rows.num_rows()];
        for mut row in refused {
            keep[row.row as usize] = false;
            let (mut group, mut at) = (0, row.row as usize);
            while at >= groups[group].count() {
                at -= groups[group].count();
                group += 1;
            }
            runs[group].1 -= 1;
            row.row = groups[group].row(at as u64);
            dirty.push(row);
        }
        let rows = filter_record_batch(&rows, &BooleanArray::from(keep));
        self.spill.add(rows.map_err(|it| defect(&it))?, runs);
        Ok(())
    }

    /// The rows that the format cannot hold, each once.
    fn refused(&mut self, rows: &RecordBatch) -> Result<Vec<DirtyRow>> {
        let checker = match &mut self.checker {
            Some(checker) => checker,
            none => none.insert(self.settings.encoding.encoder(&self.kept)?),
        };
        checker.encode(rows, &mut Vec::new())?;
        let mut refused = checker.take_refused();
        checker.rollback();
        refused.dedup_by_key(|row| row.row);
        Ok(refused)
    }

    /// Writes the rows that have waited, partition by partition. No chunk is open.
    pub(super) fn write_spilled(&mut self) -> Result<()> {
        let mut spill = std::mem::replace(&mut self.spill, Spill::new(0));
        spill.seal()?;
        self.waiting.clear();
        for partition in spill.partitions() {
            for batch in spill.rows(partition) {
                self.cancel().check()?;
                let mut dirty = Vec::new();
                self.write_split(PartitionedBatch::of_one(partition, batch?), &mut dirty)?;
                if let Some(row) = dirty.first() {
                    return Err(Error::defect(format!("a row was refused late: {}", row.reason)));
                }
                self.commit_lanes()?;
                self.settle_some()?;
            }
            self.end_lanes()?;
            self.settle_some()?;
        }
        Ok(())
    }
}

/// Rows of several partitions behind each other; `None` if there are none.
fn joined_rows(groups: &[PartitionRows]) -> Result<Option<RecordBatch>> {
    let Some(first) = groups.first() else { return Ok(None) };
    let batches = groups.iter().map(|group| &group.batch);
    concat_batches(&first.batch.schema(), batches).map(Some).map_err(|error| defect(&error))
}

/// How many rows are of which partition.
fn runs(groups: &[PartitionRows]) -> Vec<(usize, usize)> {
    groups.iter().map(|group| (group.partition, group.count())).collect()
}

fn defect(error: &arrow_schema::ArrowError) -> Error {
    Error::defect("rows of many partitions cannot be put together").caused_by(error)
}

fn unnamable(row: u64, reason: &str) -> DirtyRow {
    let reason = format!("its values cannot be part of an object name: {reason}");
    DirtyRow::new("partition", reason).row(row)
}
