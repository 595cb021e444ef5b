//! One task: a reader thread that fills the ring, and the lane's own thread that drains it.

use std::thread;

use arrow_array::RecordBatch;
use transload_plugin_api::{
    DirtyRow, Error as PluginError, ErrorKind, Origin, Position, ReadBatch, Receipt, TaskContext,
};

use super::{
    Converter, Received, Receiver, RingLimits, Run, Sender, chunk::Chunks, dirty::DirtyFile,
    progress::TaskGauge, ring::ring,
};
use crate::{Error, Exit, Result};

/// Slots of a ring. More only adds memory: the byte budget is what bounds it.
const SLOTS: usize = 16;

/// What passes through the ring: converted rows, and all that belongs to them.
pub(super) struct Stretch {
    pub(super) batch: RecordBatch,
    /// Rows taken from the source, dirty ones included.
    pub(super) read: u64,
    /// Rows that the reader or the conversion found dirty, with their places.
    pub(super) dirty: Vec<DirtyRow>,
    /// Which rows of the reader's batch are left; `None` if all.
    kept: Option<Vec<u32>>,
    origin: Option<Origin>,
    pub(super) position: Position,
}

impl Stretch {
    /// Where row `index` of `batch` came from.
    pub(super) fn place(&self, index: u64) -> Option<String> {
        let index = match &self.kept {
            None => index,
            Some(kept) => (*kept.get(usize::try_from(index).ok()?)?).into(),
        };
        self.origin.as_ref().map(|origin| origin.place(index))
    }
}

/// Runs one task to its receipt.
pub(super) fn run(run: &Run, task: u32) -> Result<Receipt> {
    let (sender, receiver, gauge) = ring(ring_limits(run));
    let gauge = run.progress.begin(task, gauge);
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .name(format!("read-{task}"))
            .spawn_scoped(scope, || read(run, task, sender, &gauge))
            .map_err(|error| Error::new(Exit::Failed, format!("no thread: {error}")))?;
        let written = write(run, task, receiver, &gauge);
        let read = reading.join().unwrap_or_else(|_| {
            Err(Error::new(Exit::Failed, "the task's reading thread panicked").code("RUN-PANIC"))
        });
        run.progress.end(&gauge);
        // A reader's failure is the cause of the writer's end, and the reverse: the side that has
        // something to say says it.
        match (read, written) {
            (Err(error), _) | (Ok(()), Err(Some(error))) => Err(error),
            (Ok(()), Err(None)) => Err(run.stop.cancelled()),
            (Ok(()), Ok(receipt)) => Ok(receipt),
        }
    })
}

/// The job's buffer, divided among the tasks that run at a time.
fn ring_limits(run: &Run) -> RingLimits {
    let lanes = u64::from(run.plan.channel.parallelism.get()).min(run.plan.splits.len() as u64);
    let bytes = run.plan.channel.buffer_bytes / lanes.max(1);
    RingLimits { slots: SLOTS, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
}

/// The reading thread. Ends well if the writer has gone: the writer knows why.
fn read(run: &Run, task: u32, mut sender: Sender<Stretch>, gauge: &TaskGauge) -> Result<()> {
    let produced = run.plan.produced();
    let mut reading = run.open(task)?;
    let converter = Converter::new(&produced, &run.plan.write.columns);
    while let Some(next) = reading.next_batch()? {
        run.stop.check()?;
        gauge.count_read(&next);
        run.throttle.pass(next.bytes, rows(&next), &run.stop)?;
        let stretch = convert(&converter, next)?;
        let bytes = stretch.batch.get_array_memory_size();
        if sender.send(stretch, bytes).is_err() {
            return Ok(());
        }
    }
    sender.finish();
    Ok(())
}

fn rows(batch: &ReadBatch) -> u64 {
    batch.batch.num_rows() as u64 + batch.dirty.len() as u64
}

fn convert(converter: &Converter, next: ReadBatch) -> Result<Stretch> {
    let read = rows(&next);
    let converted = converter.convert(&next.batch).map_err(|error| {
        let error = format!("the reader's batch is not what it said it would be: {error}");
        PluginError::new(ErrorKind::Defect, error)
    })?;
    let mut dirty = next.dirty;
    dirty.extend(converted.dirty.into_iter().map(|mut row| {
        row.place = next.origin.as_ref().map(|origin| origin.place(row.row));
        row
    }));
    Ok(Stretch {
        batch: converted.batch,
        read,
        dirty,
        kept: converted.kept,
        origin: next.origin,
        position: next.position,
    })
}

/// The writing side. `Err(None)`: the reader ended early and has the reason.
fn write(
    run: &Run,
    task: u32,
    mut receiver: Receiver<Stretch>,
    gauge: &TaskGauge,
) -> Result<Receipt, Option<Error>> {
    let context = TaskContext { task, epoch: 0 };
    let writing = run.stores.writer.open(&run.plan.write, &context).map_err(Error::from)?;
    let file = DirtyFile::new(&run.folder, task);
    let mut chunks = Chunks::new(run, writing, file, gauge);
    let ended = drain(run, &mut receiver, &mut chunks);
    drop(receiver);
    match ended {
        Ok(()) => Ok(chunks.finish()?),
        Err(error) => {
            chunks.abort();
            Err(error)
        }
    }
}

fn drain(
    run: &Run,
    receiver: &mut Receiver<Stretch>,
    chunks: &mut Chunks<'_>,
) -> Result<(), Option<Error>> {
    loop {
        run.stop.check()?;
        match receiver.receive(chunks.deadline()) {
            Received::Item(stretch) => chunks.add(stretch)?,
            Received::Starved | Received::TimedOut => chunks.commit()?,
            Received::End => return Ok(chunks.commit()?),
            Received::Poisoned => return Err(None),
        }
    }
}
