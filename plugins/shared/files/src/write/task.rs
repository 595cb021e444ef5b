//! One task's writing: its partitions, each with an object that is open and those that the open
//! chunk has filled. Nothing goes up before its chunk is committed. Rows of partitions beyond those
//! that may be open at once wait in a spill, and become one object each when the task ends.

mod rows;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use arrow_array::RecordBatch;
use transload_formats::{Encoder, Encoding};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Counters, Error, Position, Receipt, Result, TaskProgress,
    WriteTask, Written, failpoint,
};

use super::{
    concurrent::{joined, run_concurrently},
    entry::UploadEntry,
    finished_task::FinishedTask,
    lines::Lines,
    name_template::NameTemplate,
    object::{Frame, OpenObject},
    partition::Partitioner,
    rolling::{Rolling, most_open},
    run_folder::rows_differ,
    spill::Spill,
    task_memory::TaskMemory,
    upload::{Upload, UploadSettings},
    upload_store::UploadStore,
};

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
    /// Partitions beyond which the task warns.
    pub(crate) many_partitions: usize,
    pub(crate) frame: Frame,
    pub(crate) memory: TaskMemory,
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
    /// Encodes all rows of a batch at once, where lines can be divided among partitions.
    lines: Option<Lines>,
    /// What stands before the first line of an object.
    header: Option<Vec<u8>>,
    /// Says which rows the format cannot hold, for rows that wait; what it writes is dropped. Of
    /// formats without lines.
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
    /// Bytes kept of the batch that is being written.
    held: u64,
    settled: Vec<UploadEntry>,
    /// As of the last committed chunk.
    progress: TaskProgress,
    /// It has warned of many partitions.
    warned: bool,
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
        let kept = partitioner.kept();
        let mut lines = match settings.template.columns() {
            [] => None,
            _ => settings.encoding.line_encoder(&kept)?.map(Lines::new),
        };
        let header = lines.as_mut().map(|lines| lines.start(settings.frame)).transpose()?;
        Ok(Self {
            kept,
            lines,
            header,
            uploads: Arc::new(uploads),
            partitioner,
            lanes: HashMap::new(),
            spill: Spill::new(settings.memory.waiting),
            settings,
            held: 0,
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
            progress: TaskProgress::default(),
            warned: false,
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
                self.settle_some()?;
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
        let bound = self.settings.memory.held;
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
        let abreast = self.store().abreast();
        let settled = run_concurrently(&ended, abreast, Result::is_ok, |upload| {
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
        let finished = self.finished_task()?;
        failpoint("K10");
        let (store, task) = (self.store(), self.uploads.task);
        let receipt = self.uploads.run_folder.note_done(store, task, &finished)?;
        failpoint("K10");
        self.finished = true;
        Ok(receipt)
    }

    fn finished_task(&self) -> Result<FinishedTask> {
        let UploadSettings { run_folder, durable, .. } = &*self.uploads;
        let boot = if *durable { None } else { run_folder.hold(self.store())? };
        Ok(FinishedTask {
            entries: self.settled.clone(),
            progress: TaskProgress { is_finished: true, ..self.progress.clone() },
            // Without a word for it no start of the machine is the same one.
            unsynced: (!durable).then(|| boot.unwrap_or_default()),
        })
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
        let split = self.partitioner.split(batch)?;
        if !self.warned && self.partitioner.seen() > self.settings.many_partitions {
            self.warned = true;
            tracing::warn!(
                task = self.uploads.task,
                "more than {} partitions, each a folder with a file: is `partition_by` too fine? \
                 `many_partitions` sets the limit of this warning",
                self.settings.many_partitions
            );
        }
        let mut dirty = Vec::new();
        self.write_split(split, &mut dirty)?;
        dirty.sort_by_key(|row| row.row);
        let inserted = (batch.num_rows() - dirty.len()) as u64;
        self.chunk_rows += inserted;
        let held = std::mem::take(&mut self.held);
        Ok(Written { inserted, dirty, held, ..Written::default() })
    }

    /// The chunk's bytes are on their way; they become visible with the job's commit.
    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome> {
        self.expect_open(true)?;
        self.commit_lanes()?;
        let uploads = &self.uploads;
        self.spill.commit(|| uploads.run_folder.scratch(&*uploads.store))?;
        self.committed_number = self.number;
        self.rows += std::mem::take(&mut self.chunk_rows);
        self.open = false;
        self.progress = TaskProgress {
            chunks: self.progress.chunks + 1,
            position: position.clone(),
            counters: *counters,
            is_finished: false,
        };
        failpoint("K10");
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
