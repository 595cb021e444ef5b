//! One task's writing: its partitions, each with an object that is open and those that the open
//! chunk has filled. Nothing goes up before its chunk is committed. Rows of partitions beyond those
//! that may be open at once wait in a spill, and become one object each when the task ends.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::{concat::concat_batches, filter::filter_record_batch};
use transload_formats::{Encoder, Encoding};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Counters, DirtyRow, Error, Position, Receipt, Result, WriteTask,
    Written,
};

use super::{
    concurrent::{joined, run_concurrently},
    entry::UploadEntry,
    name_template::{NameTemplate, Naming, check_key},
    object::{Frame, OpenObject},
    partition::{PartitionRows, Partitioner},
    rolling::{Rolling, most_open},
    run_folder::rows_differ,
    spill::{MEMORY, Spill},
    upload::{Upload, UploadSettings},
    upload_store::UploadStore,
};

/// Bytes held back over all open objects, in parts.
const HELD_PARTS: u64 = 8;

/// A partition without rows in this number of batches makes room for another: rows may be sorted.
const IDLE_BATCHES: u64 = 16;
/// The number of ended objects at which the task waits for them.
const ENDED: usize = 16;

/// What a task needs to know.
pub(crate) struct TaskSettings {
    /// Of all keys: empty or with a final `/`.
    pub(crate) root: String,
    pub(crate) run: String,
    pub(crate) template: Arc<NameTemplate>,
    pub(crate) encoding: Arc<Encoding>,
    pub(crate) rolling: Rolling,
    pub(crate) frame: Frame,
}

/// A partition's objects: at most one that older chunks have written to, then those of this one.
#[derive(Default)]
struct OpenPartition {
    carried: Option<OpenObject>,
    new: Vec<OpenObject>,
}

impl OpenPartition {
    /// The object that takes rows.
    fn open(&mut self) -> Option<&mut OpenObject> {
        let last = self.new.last_mut().or(self.carried.as_mut());
        last.filter(|object| !object.is_full())
    }
}

/// A [`WriteTask`] on objects. Dropped before `finish`, it discards its uploads.
pub(crate) struct FilesWriteTask {
    settings: TaskSettings,
    uploads: Arc<UploadSettings>,
    partitioner: Partitioner,
    /// The columns in the objects.
    kept: Vec<Column>,
    lanes: HashMap<usize, OpenPartition>,
    /// Rows of the partitions in `waiting`.
    spill: Spill,
    /// Partitions whose further rows wait for the end of the task.
    waiting: HashSet<usize>,
    /// Says which rows the format cannot hold, for rows that wait; what it writes is dropped.
    checker: Option<Box<dyn Encoder>>,
    /// Sent whole; their parts may still be under way.
    ended: Vec<Upload>,
    /// The next object's number, now and at the last commit.
    number: u32,
    committed_number: u32,
    /// Counts batches, to know which object was written longest ago.
    clock: u64,
    open: bool,
    /// Rows taken in committed chunks, and in the open one.
    rows: u64,
    chunk_rows: u64,
    settled: Vec<UploadEntry>,
    finished: bool,
}

impl FilesWriteTask {
    pub(crate) fn new(
        mut settings: TaskSettings,
        uploads: UploadSettings,
        columns: &[Column],
        keep: bool,
    ) -> Result<Self> {
        let partitioner = Partitioner::new(&settings.template, columns, keep)?;
        let open = most_open(&settings.encoding, partitioner.kept().len());
        settings.rolling.open = settings.rolling.open.min(open);
        Ok(Self {
            kept: partitioner.kept(),
            settings,
            uploads: Arc::new(uploads),
            partitioner,
            lanes: HashMap::new(),
            spill: Spill::new(MEMORY),
            waiting: HashSet::new(),
            checker: None,
            ended: Vec::new(),
            number: 0,
            committed_number: 0,
            clock: 0,
            open: false,
            rows: 0,
            chunk_rows: 0,
            settled: Vec::new(),
            finished: false,
        })
    }

    fn cancel(&self) -> &Cancel {
        &self.uploads.cancel
    }

    fn store(&self) -> &dyn UploadStore {
        &*self.uploads.store
    }

    fn expect_open(&self, open: bool) -> Result<()> {
        if self.open == open {
            return Ok(());
        }
        let message = if open { "no chunk is open" } else { "the last chunk is still open" };
        Err(Error::defect(message).at(format!("task {}", self.uploads.task)))
    }

    /// Writes one partition's rows, over as many objects as they fill.
    fn write_group(&mut self, group: &PartitionRows, dirty: &mut Vec<DirtyRow>) -> Result<()> {
        let mut from = 0;
        while from < group.batch.num_rows() {
            let rolling = self.settings.rolling;
            let clock = self.clock;
            let object = match self.object(group)? {
                Ok(object) => object,
                Err(reason) => {
                    let rows = from as u64..group.batch.num_rows() as u64;
                    dirty.extend(rows.map(|row| unnamable(group.row(row), &reason)));
                    return Ok(());
                }
            };
            object.touched = clock;
            let room = rolling.rows.map_or(u64::MAX, |rows| rows - object.rows());
            let rows =
                (group.batch.num_rows() - from).min(usize::try_from(room).unwrap_or(usize::MAX));
            for mut row in object.write(&group.batch.slice(from, rows))? {
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
        Ok(())
    }

    /// The object that takes a partition's rows, or why there cannot be one.
    fn object(
        &mut self,
        group: &PartitionRows,
    ) -> Result<std::result::Result<&mut OpenObject, String>> {
        let there = self.lanes.get_mut(&group.partition).is_some_and(|lane| lane.open().is_some());
        if !there {
            let name = self.name(group.partition, self.number);
            if let Err(reason) = check_key(&name) {
                return Ok(Err(reason));
            }
            self.number += 1;
            let encoder = self.settings.encoding.encoder(&self.kept)?;
            let compression = self.settings.encoding.compression();
            let key = format!("{}{name}", self.settings.root);
            let object =
                OpenObject::new(&self.uploads, &key, encoder, compression, self.settings.frame)?;
            self.lanes.entry(group.partition).or_default().new.push(object);
        }
        let object = self.lanes.get_mut(&group.partition).and_then(OpenPartition::open);
        object.map(Ok).ok_or_else(|| Error::defect("no object is open"))
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

    /// Keeps rows for the end of the task; those that the format cannot hold are dirty now.
    fn spill(&mut self, groups: &[PartitionRows], dirty: &mut Vec<DirtyRow>) -> Result<()> {
        let Some(first) = groups.first() else { return Ok(()) };
        let batches = groups.iter().map(|group| &group.batch);
        let rows = concat_batches(&first.batch.schema(), batches).map_err(|it| defect(&it))?;
        let mut runs: Vec<_> = groups.iter().map(|it| (it.partition, it.count())).collect();
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
    fn write_spilled(&mut self) -> Result<()> {
        let mut spill = std::mem::replace(&mut self.spill, Spill::new(0));
        spill.seal()?;
        for partition in spill.partitions() {
            for batch in spill.rows(partition) {
                self.cancel().check()?;
                let (group, mut dirty) =
                    (PartitionRows { partition, batch: batch?, rows: None }, Vec::new());
                self.write_group(&group, &mut dirty)?;
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

    fn settle_some(&mut self) -> Result<()> {
        if self.ended.len() < ENDED { Ok(()) } else { self.settle() }
    }

    /// Ends all open objects. No chunk is open.
    fn end_lanes(&mut self) -> Result<()> {
        let mut lanes: Vec<_> = self.lanes.drain().collect();
        lanes.sort_by_key(|(partition, _)| *partition);
        for object in lanes.into_iter().filter_map(|(_, lane)| lane.carried) {
            if object.rows() > 0 {
                self.ended.push(object.end()?);
            }
        }
        Ok(())
    }

    /// The open chunk becomes part of its objects, and those that it has filled are sent.
    fn commit_lanes(&mut self) -> Result<()> {
        for lane in self.lanes.values_mut() {
            for mut object in lane.carried.take().into_iter().chain(lane.new.drain(..)) {
                object.commit()?;
                if !object.is_full() {
                    lane.carried = Some(object);
                } else if object.rows() > 0 {
                    self.ended.push(object.end()?);
                }
            }
        }
        self.lanes.retain(|_, lane| lane.carried.is_some());
        self.bound_memory()
    }

    /// Many partitions, each with a little: the fullest goes up before a part of it is full, or
    /// ends if it has too little for that.
    fn bound_memory(&mut self) -> Result<()> {
        let bound = HELD_PARTS * self.uploads.part_size;
        let smallest = self.store().smallest_part();
        while self.lanes.len() > 1 {
            let lanes = self.lanes.iter();
            let held = lanes.filter_map(|(at, lane)| Some((*at, lane.carried.as_ref()?.held())));
            let (mut total, mut fullest) = (0, (0, 0));
            for (at, held) in held {
                total += held;
                fullest = if held > fullest.1 { (at, held) } else { fullest };
            }
            if total <= bound {
                break;
            }
            let Some(lane) = self.lanes.get_mut(&fullest.0) else { break };
            match &mut lane.carried {
                Some(object) if object.sendable() >= smallest => object.flush()?,
                carried => {
                    let object = carried.take();
                    self.lanes.remove(&fullest.0);
                    self.waiting.insert(fullest.0);
                    self.ended.extend(object.map(OpenObject::end).transpose()?);
                }
            }
        }
        Ok(())
    }

    /// Waits for the parts of the objects that have ended, of some at a time.
    fn settle(&mut self) -> Result<()> {
        let ended = self.ended.drain(..).map(|upload| Mutex::new(Some(upload)));
        let ended: Vec<_> = ended.collect();
        let settled = run_concurrently(&ended, Result::is_ok, |upload| {
            let upload = upload.lock().unwrap_or_else(PoisonError::into_inner).take();
            upload.map(Upload::settle).transpose()
        });
        let mut errors = Vec::new();
        for entry in settled.into_iter().flatten() {
            match entry {
                Ok(entry) => self.settled.extend(entry),
                Err(error) => errors.push(error),
            }
        }
        joined(errors).map_or(Ok(()), Err)
    }

    fn seal(&mut self) -> Result<Receipt> {
        self.rollback_chunk()?;
        self.store()
            .defer_sync(self.ended.len() + self.lanes.len() + self.spill.partitions().len());
        self.end_lanes()?;
        self.settle()?;
        self.write_spilled()?;
        self.settle()?;
        self.store().sync()?;
        self.settled.sort_by(|a, b| a.key.cmp(&b.key));
        let staged: u64 = self.settled.iter().map(|entry| entry.rows).sum();
        if staged != self.rows {
            let files = self.settled.len();
            return Err(rows_differ((files, staged), (files, self.rows)));
        }
        let attempt = (self.uploads.task, self.uploads.epoch);
        let receipt = self.uploads.run_folder.note_done(self.store(), attempt, &self.settled)?;
        self.finished = true;
        Ok(receipt)
    }

    fn give_up(&mut self) -> Result<()> {
        self.finished = true;
        let lanes =
            self.lanes.drain().flat_map(|(_, lane)| lane.carried.into_iter().chain(lane.new));
        let ended = self.ended.drain(..).map(Upload::discard);
        let mut outcome = lanes.map(OpenObject::discard).chain(ended).fold(Ok(()), Result::and);
        for entry in std::mem::take(&mut self.settled) {
            outcome = outcome.and(self.store().discard(entry.id()));
        }
        outcome
    }
}

impl WriteTask for FilesWriteTask {
    fn begin_chunk(&mut self, _sequence: u64) -> Result<()> {
        self.expect_open(false)?;
        self.open = true;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        self.expect_open(true)?;
        self.cancel().check()?;
        self.clock += 1;
        let (mut dirty, mut later) = (Vec::new(), Vec::new());
        for group in self.partitioner.split(batch)? {
            if self.waits(group.partition)? {
                later.push(group);
            } else {
                self.write_group(&group, &mut dirty)?;
            }
        }
        self.spill(&later, &mut dirty)?;
        dirty.sort_by_key(|row| row.row);
        let inserted = (batch.num_rows() - dirty.len()) as u64;
        self.chunk_rows += inserted;
        Ok(Written { inserted, dirty, ..Written::default() })
    }

    /// The chunk's bytes are on their way; they become visible with the job's commit.
    fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
        self.expect_open(true)?;
        self.commit_lanes()?;
        let uploads = &self.uploads;
        self.spill.commit(|| uploads.run_folder.scratch(&*uploads.store))?;
        self.committed_number = self.number;
        self.rows += std::mem::take(&mut self.chunk_rows);
        self.open = false;
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        if !self.open {
            return Ok(());
        }
        self.open = false;
        self.chunk_rows = 0;
        self.spill.rollback();
        self.number = self.committed_number;
        self.lanes.retain(|_, lane| {
            lane.new.clear();
            lane.carried.as_mut().map(OpenObject::rollback).is_some()
        });
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        self.seal()
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.give_up()
    }
}

impl Drop for FilesWriteTask {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be discarded here goes with the run's staging.
            let _ = self.give_up();
        }
    }
}

fn defect(error: &arrow_schema::ArrowError) -> Error {
    Error::defect("rows of many partitions cannot be put together").caused_by(error)
}

fn unnamable(row: u64, reason: &str) -> DirtyRow {
    DirtyRow {
        row,
        place: None,
        column: None,
        value: None,
        code: "partition".to_owned(),
        reason: format!("no object can be named by its values: {reason}"),
    }
}
