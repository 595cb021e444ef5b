//! The reading of one split. After a lost connection the split is opened again where its ability
//! allows it: at the position of the last batch if it is seekable, at its start if no batch came.

use std::sync::atomic::Ordering::Relaxed;

use transload_plugin_api::{
    Backoff, Error as PluginError, ErrorKind, Position, ReadBatch, ReadTask, SplitAbility,
};

use super::shared::Shared;
use crate::{Result, waits::Waiting};

/// A split that is being read.
pub(super) struct Reading<'a> {
    shared: &'a Shared,
    task: u32,
    reading: Box<dyn ReadTask>,
    /// Where the last batch ended.
    position: Option<Position>,
}

impl<'a> Reading<'a> {
    pub(super) fn open(shared: &'a Shared, task: u32) -> Result<Self> {
        Ok(Self { shared, task, reading: shared.open(task)?, position: None })
    }

    /// The next batch, or `None` at the end of the split.
    pub(super) fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        let mut backoff = Backoff::new();
        loop {
            let error = match self.reading.next_batch() {
                Ok(Some(next)) => {
                    self.position = Some(next.position.clone());
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
        let can = fresh || split.ability == SplitAbility::Seekable;
        if !can || lost.kind != ErrorKind::Connection {
            return Err(lost.into());
        }
        let _waiting = Waiting::new(&format!("waiting to read again: {lost}"));
        for pause in backoff {
            self.shared.stop.sleep(pause)?;
            let columns = self.shared.plan.produced();
            match self.shared.stores.reader.open(split, &columns, self.position.as_ref()) {
                Ok(reading) => {
                    tracing::warn!(
                        "task {}: reading resumed after a lost connection: {lost}",
                        self.task
                    );
                    self.shared.reopened.fetch_add(1, Relaxed);
                    self.reading = reading;
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
