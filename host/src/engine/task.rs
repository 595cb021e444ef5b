//! One task: a reader thread that fills the ring, and the lane's own thread that drains it.

use std::{thread, time::Duration};

use transload_plugin_api::{Receipt, TaskContext, code};

use super::{
    chunk::ChunkWriter,
    converted_batch::ConvertedBatch,
    dirty::DirtyLines,
    progress::TaskProgress,
    reading::Reading,
    ring::{Received, Receiver, RingLimits, Sender, ring},
    shared::Shared,
};
use crate::{Error, Exit, Result, convert::Converter};

/// Slots of a ring. More only adds memory: the byte budget is what bounds it.
const SLOTS: usize = 16;

/// Runs one task to its receipt.
pub(super) fn run(shared: &Shared, task: u32) -> Result<Receipt> {
    let (sender, receiver, monitor) = ring(ring_limits(shared));
    let progress = shared.progress.begin(task, monitor);
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .name(format!("read-{task}"))
            .spawn_scoped(scope, || read(shared, task, sender, &progress))
            .map_err(|error| {
                let message = format!("cannot start the reader thread of task {task}: {error}");
                Error::new(Exit::Failed, message)
            })?;
        let written = write(shared, task, receiver, &progress);
        let read = reading.join().unwrap_or_else(|_| {
            let message = format!("the reader thread of task {task} panicked");
            Err(Error::new(Exit::Failed, message).code(code::RUN_PANIC))
        });
        shared.progress.end(&progress);
        // If one side fails, the other side ends without an error of its own.
        match (read, written) {
            (Err(error), _) | (Ok(()), Err(Some(error))) => Err(error),
            (Ok(()), Err(None)) => Err(shared.stop.cancelled()),
            (Ok(()), Ok(receipt)) => Ok(receipt),
        }
    })
}

/// The job's buffer, divided among the tasks that run at a time.
fn ring_limits(shared: &Shared) -> RingLimits {
    let bytes = shared.plan.channel.buffer_bytes / (shared.lanes() as u64).max(1);
    RingLimits { slots: SLOTS, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
}

/// The reader thread. Returns `Ok` if the writer is gone: the writer has the reason.
fn read(
    shared: &Shared,
    task: u32,
    mut sender: Sender<ConvertedBatch>,
    progress: &TaskProgress,
) -> Result<()> {
    let produced = shared.plan.produced();
    let mut reading = Reading::open(shared, task)?;
    let converter = Converter::new(&produced, &shared.plan.write.columns);
    let lines = DirtyLines::new(&shared.plan, task, shared.folder.redactor());
    while let Some(next) = reading.next_batch()? {
        shared.stop.check()?;
        let taken = next.bytes;
        let converted = ConvertedBatch::new(&converter, &lines, next)?;
        let too_many = shared.dirty.found_too_many(&converted.dirty);
        let pieces = shared.throttle.pieces(taken, converted.read);
        let mut left = taken;
        for piece in converted.pieces(pieces) {
            let is_last = piece.position.is_some();
            let share = if is_last { left } else { left.min(taken / pieces) };
            left -= share;
            progress.count_throttled(shared.throttle.pass(share, piece.read, &shared.stop)?);
            progress.count_read(piece.read, share);
            let bytes = piece.bytes();
            if sender.send(piece, bytes).is_err() {
                return Ok(());
            }
        }
        if too_many {
            return wait_for_the_end(shared, &sender);
        }
    }
    sender.finish();
    Ok(())
}

/// Reads nothing more: the job fails when the writing side, of this task or of another, comes to the
/// dirty rows that exceed the limit.
fn wait_for_the_end(shared: &Shared, sender: &Sender<ConvertedBatch>) -> Result<()> {
    while !sender.is_closed() {
        shared.stop.sleep(Duration::from_millis(20))?;
    }
    Ok(())
}

/// The writing side. `Err(None)`: the reader ended early and has the reason.
fn write(
    shared: &Shared,
    task: u32,
    mut receiver: Receiver<ConvertedBatch>,
    progress: &TaskProgress,
) -> Result<Receipt, Option<Error>> {
    let context = TaskContext { task, epoch: 0 };
    let writing = shared.stores.writer.open(&shared.plan.write, &context).map_err(Error::from)?;
    let mut chunks = ChunkWriter::new(shared, writing, task, progress);
    let ended = drain(shared, &mut receiver, &mut chunks);
    drop(receiver);
    match ended {
        Ok(()) => Ok(chunks.finish()?),
        Err(error) => {
            chunks.abort();
            Err(error)
        }
    }
}

/// Passes batches from the ring to the chunks until the reader ends. The open chunk is committed when
/// it is old, and when the reader waits for the bytes that the chunk holds.
fn drain(
    shared: &Shared,
    receiver: &mut Receiver<ConvertedBatch>,
    chunks: &mut ChunkWriter<'_>,
) -> Result<(), Option<Error>> {
    loop {
        shared.stop.check()?;
        match receiver.receive(chunks.deadline()) {
            Received::Item(converted) => chunks.add(converted)?,
            Received::Starved | Received::TimedOut => chunks.commit()?,
            Received::End => return Ok(chunks.commit()?),
            Received::Poisoned => return Err(None),
        }
    }
}
