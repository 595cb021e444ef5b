//! One side of a comparison: the rows of a reader as the columns that are compared. Each batch is
//! converted as the plan says, and handed on; none of it is kept.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use parking_lot::Mutex;
use transload_plugin_api::{
    Backoff, Column, DirtyRow, ErrorKind, ReadBatch, ReadTask, Reader, Split, SplitAbility,
    SplitRequest,
};

use crate::{Error, Exit, Result, convert::Converter, engine::Stop};

/// The rows of one store.
pub(super) struct Side<'a> {
    /// `source` or `target`.
    pub(super) name: &'static str,
    pub(super) reader: &'a dyn Reader,
    /// The columns of the reader's batches.
    pub(super) produced: Vec<Column>,
    /// To the types of the target.
    pub(super) written: Option<Converter>,
    /// The columns of that which are compared, if not all.
    pub(super) chosen: Option<Vec<usize>>,
    /// To the types in which they are compared.
    pub(super) compared: Converter,
    /// How many splits are read at once.
    pub(super) lanes: u32,
    /// How long a store that was lost is tried again.
    pub(super) reconnect_window: Duration,
    /// Rows read so far, in all passes.
    pub(super) read: &'a AtomicU64,
}

/// The rows that a pass could not compare.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused {
    pub(super) rows: u64,
    /// Why the first one could not, with its place.
    pub(super) first: Option<String>,
}

impl Side<'_> {
    /// The parts of all rows.
    pub(super) fn splits(&self) -> Result<Vec<Split>> {
        let request = SplitRequest::new(self.lanes, self.produced.clone());
        Ok(self.reader.splits(&request)?)
    }

    /// Hands each batch of these splits on, in the compared columns, from several threads. Returns
    /// the rows that have no such form.
    pub(super) fn each_batch(
        &self,
        splits: &[Split],
        stop: &Stop,
        take: &(dyn Fn(&RecordBatch) -> Result<()> + Sync),
    ) -> Result<Refused> {
        let (next, refused) = (AtomicUsize::new(0), Mutex::new(Refused::default()));
        let lane = || {
            while let Some(split) = splits.get(next.fetch_add(1, Relaxed)) {
                if let Err(error) = self.read_split(split, stop, &refused, take) {
                    // What another thread met first says more than that it stopped.
                    stop.fail(error.within(&format!("{} ({})", self.name, split.label)));
                    return;
                }
            }
        };
        let lanes = splits.len().min(self.lanes as usize).max(1);
        thread::scope(|scope| (0..lanes).for_each(|_| drop(scope.spawn(lane))));
        stop.check()?;
        Ok(refused.into_inner())
    }

    fn read_split(
        &self,
        split: &Split,
        stop: &Stop,
        refused: &Mutex<Refused>,
        take: &(dyn Fn(&RecordBatch) -> Result<()> + Sync),
    ) -> Result<()> {
        let mut reading = self.reader.open(split, &self.produced, None)?;
        let mut backoff = Backoff::within(self.reconnect_window);
        let mut position = None;
        loop {
            stop.check()?;
            let next = match reading.next_batch() {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(lost) if lost.kind == ErrorKind::Connection => {
                    let can_resume = split.ability == SplitAbility::Seekable;
                    let pause = if can_resume { backoff.next() } else { None };
                    let Some(pause) = pause else { return Err(lost.into()) };
                    stop.sleep(pause)?;
                    reading = self.open_again(split, position.as_ref(), &lost)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            backoff = Backoff::within(self.reconnect_window);
            position = Some(next.position.clone());
            self.convert(next, refused, take)?;
        }
    }

    /// Opens a split again after a loss; while the store is not back, the next read fails again.
    fn open_again(
        &self,
        split: &Split,
        position: Option<&transload_plugin_api::Position>,
        lost: &transload_plugin_api::Error,
    ) -> Result<Box<dyn ReadTask>> {
        tracing::warn!("{}: reading resumes after a lost connection: {lost}", self.name);
        match self.reader.open(split, &self.produced, position) {
            Ok(reading) => Ok(reading),
            Err(error) if error.kind == ErrorKind::Connection => Ok(Box::new(NotBack(error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands rows as the plan's writer gets them on, in the compared columns. Those that have no such
    /// form are left out.
    pub(super) fn compare_written(
        &self,
        batch: &RecordBatch,
        take: &(dyn Fn(&RecordBatch) -> Result<()> + Sync),
    ) -> Result<()> {
        let failed = |error: ArrowError| {
            Error::new(Exit::Plugin, format!("rows that the target refused: {error}"))
        };
        let chosen = match &self.chosen {
            Some(chosen) => &batch.project(chosen).map_err(failed)?,
            None => batch,
        };
        take(&self.compared.convert(chosen).map_err(failed)?.batch)
    }

    fn convert(
        &self,
        next: ReadBatch,
        refused: &Mutex<Refused>,
        take: &(dyn Fn(&RecordBatch) -> Result<()> + Sync),
    ) -> Result<()> {
        let ReadBatch { mut batch, origin, dirty, .. } = next;
        self.read.fetch_add((batch.num_rows() + dirty.len()) as u64, Relaxed);
        note(refused, &dirty, |row| row.place.clone());
        let failed = |error: ArrowError| {
            Error::new(Exit::Plugin, format!("the {}'s batch: {error}", self.name))
        };
        // Behind a conversion that left rows out, the numbers of rows are others.
        let mut origin = origin;
        for converter in self.written.iter().chain([&self.compared]) {
            if let (Some(chosen), true) = (&self.chosen, std::ptr::eq(converter, &self.compared)) {
                batch = batch.project(chosen).map_err(failed)?;
            }
            let converted = converter.convert(&batch).map_err(failed)?;
            note(refused, &converted.dirty, |row| Some(origin.as_ref()?.place(row.row)));
            origin = origin.filter(|_| converted.kept.is_none());
            batch = converted.batch;
        }
        take(&batch)
    }
}

/// Counts rows that cannot be compared.
fn note(refused: &Mutex<Refused>, dirty: &[DirtyRow], place: impl Fn(&DirtyRow) -> Option<String>) {
    let Some(first) = dirty.first() else { return };
    let mut refused = refused.lock();
    refused.rows += dirty.len() as u64;
    refused.first.get_or_insert_with(|| {
        let column = first.column.as_ref().map(|name| format!("column `{name}`"));
        let parts = [place(first), column, Some(first.reason.clone())];
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    });
}

/// A reading of a store that is not back yet.
struct NotBack(transload_plugin_api::Error);

impl ReadTask for NotBack {
    fn next_batch(&mut self) -> transload_plugin_api::Result<Option<ReadBatch>> {
        Err(self.0.clone())
    }
}
