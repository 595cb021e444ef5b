//! The writing side for standard output and named pipes: rows leave with their chunk, in one task, and
//! cannot be taken back.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow_array::RecordBatch;
use parking_lot::Mutex;
use transload_formats::{CompressedWriter, Encoder, Encoding, WriteOptions};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Counters, Error, Finding, Guarantee, Host, Options, Position, Receipt,
    Result, Statement, TableInfo, TargetInfo, TaskContext, WriteDraft, WriteMode, WritePlan,
    WriteTask, Writer, Written,
};

use crate::pipe::{PipeWriter, STDOUT};

/// Writes to a stream.
pub(crate) struct StreamWriter {
    name: String,
    encoding: Arc<Encoding>,
    cancel: Cancel,
    /// The run whose rows have all been written.
    written: Mutex<Option<String>>,
}

impl StreamWriter {
    /// For standard output, or for the named pipe at a path. Opens nothing.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for a format that is not named.
    pub(crate) fn new(name: &str, options: &Options, host: &Host) -> Result<Self> {
        let encoding = Arc::new(Encoding::new(&WriteOptions::parse(options)?, name)?);
        let (name, cancel) = (name.to_owned(), host.cancel().clone());
        Ok(Self { name, encoding, cancel, written: Mutex::new(None) })
    }

    fn check_plan(&self, plan: &WritePlan) -> Result<()> {
        if plan.mode != WriteMode::Insert {
            return Err(Error::unsupported("a stream has nothing that could be replaced")
                .at(self.name.clone())
                .hint("use `write_mode = \"insert\"`"));
        }
        if plan.tasks > 1 {
            let message = format!("{} tasks cannot write to one stream", plan.tasks);
            return Err(Error::options(message)
                .at(self.name.clone())
                .hint("set `[channel] parallelism = 1`"));
        }
        self.encoding.check_columns(&plan.columns)
    }
}

impl Writer for StreamWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let detail = format!("{} is written when the job runs", self.name);
        Ok(vec![Finding { stage: "stream".to_owned(), ok: true, detail }])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        Ok(Vec::new())
    }

    fn inspect(&self) -> Result<TargetInfo> {
        Ok(TargetInfo { name: self.name.clone(), ..TargetInfo::default() })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        self.check_plan(plan)?;
        let mut text = format!("write rows to {}, chunk by chunk", self.name);
        if self.name == STDOUT {
            text += "; the report and all messages go to stderr";
        }
        Ok(WriteDraft {
            columns: plan.columns.clone(),
            statements: vec![Statement { text, destructive: false }],
            guarantee: Guarantee::AtLeastOnce,
            because:
                "what a stream has taken cannot be taken back: a run that fails has written a \
                      part of the rows, and a rerun writes them again"
                    .to_owned(),
            warnings: vec![
                "a stream is written by one task: a source that is read in several splits is \
                 refused, unless `[channel] parallelism = 1`"
                    .to_owned(),
            ],
            ..WriteDraft::default()
        })
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.check_plan(plan)
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let mut encoder = self.encoding.encoder(&plan.columns)?;
        let mut head = Vec::new();
        encoder.start(&mut head)?;
        let pipe = PipeWriter::open(&self.name, self.cancel.clone());
        let pipe = pipe.map_err(|error| failed(error, &self.name))?;
        Ok(Box::new(StreamTask {
            task: task.task,
            name: self.name.clone(),
            encoder,
            head,
            text: Vec::new(),
            stream: self.encoding.compression().writer(pipe)?,
        }))
    }

    fn commit(&self, plan: &WritePlan, _: &[Receipt]) -> Result<ChunkOutcome> {
        let before = self.written.lock().replace(plan.run.clone());
        Ok(match before.is_some_and(|run| run == plan.run) {
            true => ChunkOutcome::AlreadyCommitted,
            false => ChunkOutcome::Committed,
        })
    }

    fn abort(&self, _: &WritePlan, _: &[Receipt]) -> Result<()> {
        Ok(())
    }

    fn finalise(&self, _: &WritePlan) -> Result<()> {
        Ok(())
    }
}

/// Writes the rows of the one task.
struct StreamTask {
    task: u32,
    name: String,
    encoder: Box<dyn Encoder>,
    /// What stands before the first row, until it is written.
    head: Vec<u8>,
    /// Of the open chunk.
    text: Vec<u8>,
    stream: CompressedWriter<PipeWriter>,
}

impl WriteTask for StreamTask {
    fn begin_chunk(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let before = self.text.len();
        self.encoder.encode(batch, &mut self.text)?;
        let held = (self.text.len() - before) as u64;
        let dirty = self.encoder.take_refused();
        let inserted = (batch.num_rows() - dirty.len()) as u64;
        Ok(Written { inserted, dirty, held, ..Written::default() })
    }

    fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
        self.encoder.commit(&mut self.text)?;
        let head = self.stream.write_all(&std::mem::take(&mut self.head));
        let written = head.and_then(|()| self.stream.write_all(&self.text));
        self.text.clear();
        written.map_err(|error| failed(error, &self.name))?;
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        self.text.clear();
        self.encoder.rollback();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        let Self { task, name, mut encoder, head, mut stream, .. } = *self;
        let mut end = head;
        encoder.end(&mut end)?;
        let written = stream.write_all(&end).and_then(|()| stream.finish());
        written.map_err(|error| failed(error, &name))?;
        Ok(Receipt { task, data: String::new() })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// An error of a stream, which carries that of a stop.
fn failed(error: io::Error, name: &str) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Error::other("the program that reads the rows has ended")
            .at(name.to_owned())
            .hint("rows that it took are not taken back; run the job again for a whole copy");
    }
    Error::from(error).at(name.to_owned())
}
