//! A writer in a worker, as the host uses it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde::de::DeserializeOwned;
use transload_plugin_api::{
    ChunkOutcome, Count, Counters, Error, Finding, Position, Receipt, Result, TableInfo,
    TargetInfo, TaskContext, TaskProgress, TokenTables, WriteDraft, WritePlan, WriteTask, Writer,
    Written,
};

use super::{batch, call::Line, launch::Worker, message::Request};

/// A writer in a process of its own.
pub(super) struct IsolatedWriter(pub(super) Arc<Worker>);

impl IsolatedWriter {
    fn call<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        let mut line = Line::open(&self.0)?;
        let answer = line.call(request, &[]);
        line.put_back();
        answer
    }
}

impl Writer for IsolatedWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        self.call(&Request::Check)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.call(&Request::Discover)
    }

    fn inspect(&self) -> Result<TargetInfo> {
        self.call(&Request::Inspect)
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        self.call(&Request::Draft(Box::new(plan.clone())))
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.call(&Request::Prepare(Box::new(plan.clone())))
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let mut line = Line::open(&self.0)?;
        let request = Request::OpenWriting { plan: Box::new(plan.clone()), task: *task };
        if let Err(error) = line.call::<()>(&request, &[]) {
            line.put_back();
            return Err(error);
        }
        Ok(Box::new(IsolatedWriting { line: Some(line) }))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        self.call(&Request::Commit(Box::new(plan.clone()), receipts.to_vec()))
    }

    fn abort(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<()> {
        self.call(&Request::Abort(Box::new(plan.clone()), receipts.to_vec()))
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.call(&Request::Finalise(Box::new(plan.clone())))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        self.call(&Request::Counts)
    }

    fn token_ddl(&self, tables: &TokenTables) -> Result<Vec<String>> {
        self.call(&Request::TokenDdl(tables.clone()))
    }
}

/// A task that a worker writes.
struct IsolatedWriting {
    /// `None` behind the end.
    line: Option<Line>,
}

impl IsolatedWriting {
    fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T> {
        self.line.as_mut().ok_or_else(over)?.call(request, &[])
    }

    /// The last call of the task: the worker has closed it.
    fn end<T: DeserializeOwned>(mut self, request: &Request) -> Result<T> {
        let mut line = self.line.take().ok_or_else(over)?;
        let answer = line.call(request, &[]);
        line.put_back();
        answer
    }
}

fn over() -> Error {
    Error::defect("the task has ended")
}

impl WriteTask for IsolatedWriting {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        self.call(&Request::Begin(sequence))
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let (shape, body) = batch::encode(batch)?;
        self.line.as_mut().ok_or_else(over)?.call(&Request::Write(shape), &body)
    }

    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome> {
        self.call(&Request::CommitChunk(position.clone(), *counters))
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        self.call(&Request::Rollback)
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        self.end(&Request::Finish)
    }

    fn abort(self: Box<Self>) -> Result<()> {
        self.end(&Request::AbortTask)
    }

    fn progress(&mut self) -> Result<Option<TaskProgress>> {
        self.call(&Request::Progress)
    }
}

impl Drop for IsolatedWriting {
    fn drop(&mut self) {
        if let Some(line) = &mut self.line {
            line.close();
        }
    }
}
