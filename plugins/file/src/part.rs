//! One task's writing: a staged file that grows by chunks and can be cut back to its last one.

use std::{
    fs::{self, File, OpenOptions},
    path::PathBuf,
    sync::Arc,
};

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use transload_formats::{Encoder, Encoding};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Counters, Error, ErrorKind, Position, Receipt, Result,
    TaskContext, WriteTask, Written,
};

use crate::{
    durable,
    listing::at,
    output::{Mark, Output},
    stage::Stage,
};

/// Encoded bytes go on to the file in pieces of about this size.
const BLOCK: usize = 1 << 20;

/// What a task tells the job's commit about its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartReceipt {
    /// Bytes as stored.
    pub(crate) size: u64,
    /// Rows, the header not counted.
    pub(crate) rows: u64,
    /// Of the bytes as stored, in hexadecimal digits; empty where nobody will ask for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) sha256: String,
}

/// What surrounds the rows of one task's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// It begins with what stands before the first row.
    pub(crate) start: bool,
    /// It ends with what stands after the last row.
    pub(crate) end: bool,
    /// Its hash is wanted.
    pub(crate) hash: bool,
}

/// A [`WriteTask`] on a staged file. Dropped before `finish`, it removes the file.
pub(crate) struct PartTask {
    cancel: Cancel,
    stage: Stage,
    task: u32,
    frame: Frame,
    path: PathBuf,
    output: Output,
    encoder: Box<dyn Encoder>,
    /// Encoded, not yet written.
    text: Vec<u8>,
    /// Rows with the open chunk.
    rows: u64,
    /// File and rows up to the last committed chunk.
    committed: (Mark, u64),
    open: bool,
    finished: bool,
}

impl PartTask {
    /// Makes the file, with what stands before the first row if `frame` says so.
    pub(crate) fn create(
        encoding: &Arc<Encoding>,
        columns: &[Column],
        stage: &Stage,
        context: &TaskContext,
        frame: Frame,
        cancel: &Cancel,
    ) -> Result<Self> {
        let path = stage.part(context.task, context.epoch);
        // What an earlier call for the same attempt left is dead: one task has one thread.
        durable::remove(&path)?;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file: File = file.map_err(|error| at(error, &path))?;
        let output = Output::new(file, encoding.compression(), frame.hash);
        let mut task = Self {
            cancel: cancel.clone(),
            stage: stage.clone(),
            task: context.task,
            frame,
            committed: (output.mark(), 0),
            output,
            encoder: encoding.encoder(columns)?,
            text: Vec::with_capacity(2 * BLOCK),
            rows: 0,
            open: false,
            finished: false,
            path,
        };
        if frame.start {
            task.encoder.start(&mut task.text)?;
        }
        task.commit_text()?;
        Ok(task)
    }

    fn write_text(&mut self) -> Result<()> {
        self.output.write(&self.text).map_err(|error| at(error, &self.path))?;
        self.text.clear();
        Ok(())
    }

    /// Writes what is encoded and makes this the place to which the file can be cut back.
    fn commit_text(&mut self) -> Result<()> {
        self.encoder.commit(&mut self.text)?;
        self.write_text()?;
        self.output.end_frame().map_err(|error| at(error, &self.path))?;
        self.committed = (self.output.mark(), self.rows);
        Ok(())
    }

    fn expect_open(&self, open: bool) -> Result<()> {
        if self.open == open {
            return Ok(());
        }
        let message = if open { "no chunk is open" } else { "the last chunk is still open" };
        Err(Error::new(ErrorKind::Defect, message).at(format!("task {}", self.task)))
    }

    fn seal(&mut self) -> Result<Receipt> {
        self.rollback_chunk()?;
        if self.frame.end {
            self.encoder.end(&mut self.text)?;
            self.commit_text()?;
        }
        durable::sync_file(self.output.file(), &self.path)?;
        let ready = self.stage.ready(self.task);
        fs::rename(&self.path, &ready).map_err(|error| at(error, &ready))?;
        self.finished = true;
        self.stage.sync()?;
        let (mark, rows) = &self.committed;
        let part = PartReceipt { size: mark.size(), rows: *rows, sha256: mark.sha256() };
        let data = serde_json::to_string(&part)
            .map_err(|error| Error::new(ErrorKind::Defect, "receipt").caused_by(&error))?;
        Ok(Receipt { task: self.task, data })
    }
}

impl WriteTask for PartTask {
    fn begin_chunk(&mut self, _sequence: u64) -> Result<()> {
        self.expect_open(false)?;
        self.open = true;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        self.expect_open(true)?;
        self.cancel.check()?;
        self.encoder.encode(batch, &mut self.text)?;
        let dirty = self.encoder.take_refused();
        if self.text.len() >= BLOCK {
            self.write_text()?;
        }
        let inserted = (batch.num_rows() - dirty.len()) as u64;
        self.rows += inserted;
        Ok(Written { inserted, dirty, ..Written::default() })
    }

    /// The chunk is complete in the staged file; it becomes visible with the job's commit.
    fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
        self.expect_open(true)?;
        self.commit_text()?;
        self.open = false;
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        if !self.open {
            return Ok(());
        }
        self.open = false;
        self.text.clear();
        let (mark, rows) = &self.committed;
        self.output.cut(mark).map_err(|error| at(error, &self.path))?;
        self.rows = *rows;
        self.encoder.rollback();
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        self.seal()
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.finished = true;
        durable::remove(&self.path)
    }
}

impl Drop for PartTask {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed here goes with the staging folder.
            let _ = durable::remove(&self.path);
        }
    }
}
