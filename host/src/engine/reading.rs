//! The reading of one split, begun again where a lost source allows it: from the position of the
//! last batch where the split is seekable, and from its start where nothing has come yet.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use transload_plugin_api::{
    Error as PluginError, ErrorKind, Position, ReadBatch, ReadTask, SplitAbility,
};

use super::Run;
use crate::Result;

/// How often in a row a lost source is tried again: about half a minute in all.
const ATTEMPTS: u32 = 8;
/// The first pause; each one is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(100);

/// A split that is being read.
pub(super) struct Reading<'a> {
    run: &'a Run,
    task: u32,
    reading: Box<dyn ReadTask>,
    /// Where the last batch ended.
    position: Option<Position>,
}

impl<'a> Reading<'a> {
    pub(super) fn open(run: &'a Run, task: u32) -> Result<Self> {
        Ok(Self { run, task, reading: run.open(task)?, position: None })
    }

    /// The next batch, or `None` at the end of the split.
    pub(super) fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        let mut attempt = 0;
        loop {
            let error = match self.reading.next_batch() {
                Ok(Some(next)) => {
                    self.position = Some(next.position.clone());
                    return Ok(Some(next));
                }
                Ok(None) => return Ok(None),
                Err(error) => error,
            };
            self.open_again(error, &mut attempt)?;
        }
    }

    /// Opens the split once more after a loss, or gives up with what was lost first.
    fn open_again(&mut self, lost: PluginError, attempt: &mut u32) -> Result<()> {
        let split = &self.run.plan.splits[self.task as usize];
        // What a volatile source has given away it does not give again.
        let fresh = self.position.is_none() && split.ability != SplitAbility::Volatile;
        let can = fresh || split.ability == SplitAbility::Seekable;
        while can && lost.kind == ErrorKind::Connection && *attempt < ATTEMPTS {
            self.run.stop.sleep(PAUSE * 2_u32.pow(*attempt))?;
            *attempt += 1;
            let columns = self.run.plan.produced();
            match self.run.stores.reader.open(split, &columns, self.position.as_ref()) {
                Ok(reading) => {
                    tracing::warn!("task {}: reading goes on after a loss: {lost}", self.task);
                    self.run.reopened.fetch_add(1, Relaxed);
                    self.reading = reading;
                    return Ok(());
                }
                Err(error) => {
                    tracing::info!("task {}: the source is still lost: {error}", self.task);
                    // Opening refused for another reason will not come right by waiting.
                    if error.kind != ErrorKind::Connection {
                        break;
                    }
                }
            }
        }
        Err(lost.into())
    }
}
