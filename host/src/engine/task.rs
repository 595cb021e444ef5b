//! One task: a reader thread that fills the ring, and the lane's own thread that drains it.

use std::thread;

use transload_plugin_api::{Receipt, TaskContext};

use super::{
    Received, Receiver, RingLimits, Run, Sender, chunk::Chunks, dirty::DirtyFile,
    progress::TaskGauge, reading::Reading, ring::ring, stretch::Stretch,
};
use crate::{Error, Exit, Result, convert::Converter};

/// Slots of a ring. More only adds memory: the byte budget is what bounds it.
const SLOTS: usize = 16;

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
    let mut reading = Reading::open(run, task)?;
    let converter = Converter::new(&produced, &run.plan.write.columns);
    while let Some(next) = reading.next_batch()? {
        run.stop.check()?;
        gauge.count_read(&next);
        let taken = next.bytes;
        let stretch = Stretch::new(&converter, next)?;
        run.throttle.pass(taken, stretch.read, &run.stop)?;
        let bytes = stretch.batch.get_array_memory_size();
        if sender.send(stretch, bytes).is_err() {
            return Ok(());
        }
    }
    sender.finish();
    Ok(())
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
