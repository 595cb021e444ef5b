//! One task: a reader thread that fills the ring, and the lane's own thread that drains it.

use std::{io, thread, time::Duration};

use transload_plugin_api::{Receipt, code};

use super::{
    chunk::TaskWriter,
    converted_batch::ConvertedBatch,
    dirty::DirtyLines,
    memory::Share,
    progress::TaskProgress,
    protocol::{TaskEffect, TaskEvent},
    reading::{Reading, Start},
    ring::{Receiver, RingLimits, Sender, ring},
    shared::Shared,
};
use crate::{Error, Exit, Result, convert::Converter};

/// Slots of a ring. More only adds memory: the byte budget is what bounds it.
const SLOTS: usize = 16;

/// Runs one task to its receipt. The task is claimed before its split is read: earlier attempts may have
/// read a part of it.
pub(super) fn run(shared: &Shared, task: u32) -> Result<Receipt> {
    let (sender, receiver, monitor) = ring(ring_limits(shared));
    let progress = shared.progress.begin(task, monitor);
    let mut writer = TaskWriter::new(shared, task, &progress);
    let ended = match writer.begin_task() {
        TaskEffect::Read(from) => {
            let start = writer.resume(from);
            thread::scope(|scope| {
                let reading = start.and_then(|start| {
                    thread::Builder::new()
                        .name(format!("read-{task}"))
                        .spawn_scoped(scope, || read(shared, task, start, sender, &progress))
                        .map_err(|error| cannot_start(task, &error))
                });
                let (reading, event) = match reading {
                    Ok(reading) => (Some(reading), TaskEvent::Done),
                    Err(error) => (None, writer.failed(error)),
                };
                let written = write(shared, receiver, writer, event);
                (reading.map_or(Ok(()), |reading| joined(reading, task)), written)
            })
        }
        TaskEffect::End(ended) => (Ok(()), writer.end(ended)),
        _ => (Ok(()), Err(None)),
    };
    shared.progress.end(&progress);
    // If one side fails, the other side ends without an error of its own.
    match ended {
        (Err(error), _) | (Ok(()), Err(Some(error))) => Err(error),
        (Ok(()), Err(None)) => Err(shared.stop.cancelled()),
        (Ok(()), Ok(receipt)) => Ok(receipt),
    }
}

fn cannot_start(task: u32, error: &io::Error) -> Error {
    let message = format!("cannot start the reader thread of task {task}: {error}");
    Error::new(Exit::Failed, message)
}

/// What the reader thread returned.
fn joined(reading: thread::ScopedJoinHandle<'_, Result<()>>, task: u32) -> Result<()> {
    reading.join().unwrap_or_else(|_| {
        let message = format!("the reader thread of task {task} panicked");
        Err(Error::new(Exit::Failed, message).code(code::RUN_PANIC))
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
    start: Start,
    mut sender: Sender<ConvertedBatch>,
    progress: &TaskProgress,
) -> Result<()> {
    let produced = shared.plan.produced();
    let mut reading = Reading::open(shared, task, start)?;
    let converter = Converter::new(&produced, &shared.plan.write.columns);
    let lines = DirtyLines::new(&shared.plan, task, shared.folder.redactor());
    let mut width = None;
    loop {
        let Some(mut share) = reserve(shared, &sender, width) else { return Ok(()) };
        let Some(next) = reading.next_batch()? else { break };
        shared.stop.check()?;
        let taken = next.bytes;
        let mut converted = ConvertedBatch::new(&converter, &lines, next)?;
        width = Some(share.hold(converted.bytes() as u64, width));
        converted.share = Some(share);
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

/// The memory for reading a batch; `None` if the writer is gone. While the reader waits for it, the writer
/// commits what it holds.
fn reserve(shared: &Shared, sender: &Sender<ConvertedBatch>, width: Option<u64>) -> Option<Share> {
    let is_over = || sender.is_closed() || shared.stop.is_stopped();
    let wait = || sender.while_starving(|| shared.budget.reserve(width, is_over));
    shared.budget.try_reserve(width).or_else(wait)
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
    mut receiver: Receiver<ConvertedBatch>,
    mut writer: TaskWriter<'_>,
    mut event: TaskEvent,
) -> Result<Receipt, Option<Error>> {
    loop {
        match writer.advance(event) {
            TaskEffect::End(ended) => return writer.end(ended),
            // The open chunk is committed when it is old, and when the reader waits for the bytes that
            // the chunk holds.
            _ => {
                event = match shared.stop.check() {
                    Ok(()) => writer.received(receiver.receive(writer.deadline())),
                    Err(error) => writer.failed(error),
                }
            }
        }
    }
}
