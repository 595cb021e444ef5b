//! The reading of one split, from where an earlier attempt has come to. After a lost connection the
//! split is opened again where its ability allows it: at the position of the last batch if it is
//! seekable, at its start, without the rows that came, if it is replayable, and at its start if no
//! batch came.

use std::sync::atomic::Ordering::Relaxed;

use transload_plugin_api::{
    Backoff, Error as PluginError, ErrorKind, Position, ReadBatch, ReadTask, SplitAbility,
};

use super::{shared::Shared, skipped};
use crate::{Result, waits::Waiting};

/// Where a reading begins.
#[derive(Clone, Debug)]
pub(super) enum Start {
    Beginning,
    After(Position),
    /// At the beginning, without this number of rows.
    Skipping(u64),
}

/// A split that is being read.
pub(super) struct Reading<'a> {
    shared: &'a Shared,
    task: u32,
    reading: Box<dyn ReadTask>,
    /// Where the last batch ended.
    position: Option<Position>,
    /// How many rows of the split are behind it, if it was read from its start.
    passed: u64,
    /// Rows that the next batches begin with, and that came before.
    skip: u64,
}

impl<'a> Reading<'a> {
    pub(super) fn open(shared: &'a Shared, task: u32, start: Start) -> Result<Self> {
        let (position, rows) = match start {
            Start::Beginning => (None, 0),
            Start::After(position) => (Some(position), 0),
            Start::Skipping(rows) => (None, rows),
        };
        let reading = shared.open(task, position.as_ref())?;
        Ok(Self { shared, task, reading, position, passed: rows, skip: rows })
    }

    /// The next batch, or `None` at the end of the split.
    pub(super) fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        let mut backoff = Backoff::within(self.shared.stores.reconnect_window);
        loop {
            let error = match self.reading.next_batch() {
                Ok(Some(next)) => {
                    let Some(next) = skipped::rest(next, &mut self.skip)? else { continue };
                    self.position = Some(next.position.clone());
                    self.passed += skipped::rows(&next);
                    return Ok(Some(next));
                }
                Ok(None) => return Ok(None),
                Err(error) => error,
            };
            self.open_again(error, &mut backoff)?;
        }
    }

    /// Opens the split again after a loss. Returns the loss if that is not possible.
    fn open_again(&mut self, lost: PluginError, backoff: &mut Backoff) -> Result<()> {
        let split = &self.shared.plan.splits[self.task as usize];
        // A volatile source does not repeat what it has handed out.
        let fresh = self.position.is_none() && split.ability != SplitAbility::Volatile;
        let can = fresh || split.ability >= SplitAbility::Replayable;
        if !can || lost.kind != ErrorKind::Connection {
            return Err(lost.into());
        }
        let is_seekable = split.ability == SplitAbility::Seekable;
        let after = self.position.clone().filter(|_| is_seekable);
        let _waiting = Waiting::new(&format!("waiting to read again: {lost}"));
        for pause in backoff {
            self.shared.stop.sleep(pause)?;
            let columns = self.shared.plan.produced();
            match self.shared.stores.reader.open(split, &columns, after.as_ref()) {
                Ok(reading) => {
                    tracing::warn!(
                        "task {}: reading resumed after a lost connection: {lost}",
                        self.task
                    );
                    self.shared.reopened.fetch_add(1, Relaxed);
                    self.shared.progress.count_retry(&lost.code);
                    self.reading = reading;
                    self.skip = if after.is_some() { 0 } else { self.passed };
                    return Ok(());
                }
                Err(error) => {
                    tracing::info!("task {}: the source is not back yet: {error}", self.task);
                    // Waiting helps against a lost connection only.
                    if error.kind != ErrorKind::Connection {
                        break;
                    }
                }
            }
        }
        Err(lost.into())
    }
}
