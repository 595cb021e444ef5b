//! The generator with one defect each, which the conformance suite must find.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, cast::AsArray};
use arrow_schema::{DataType, Schema};
use transload_plugin_api::{
    ChunkOutcome, Column, Count, Counters, Descriptor, DirtyRow, ErrorKind, Finding, Host, Options,
    Plugin, Position, ReadBatch, ReadTask, Reader, Receipt, Result, SourceSchema, Split,
    SplitRequest, TableInfo, TargetInfo, TaskContext, WriteDraft, WriteMode, WritePlan, WriteTask,
    Writer, Written,
};
use transload_plugin_generator::GeneratorPlugin;

/// The defect of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    UndocumentedOption,
    AssumesMissingOption,
    SortsProduced,
    TooManySplits,
    LastSplitTwice,
    LosesLastRow,
    PlainSchema,
    PositionTooEarly,
    EndsWhenCancelled,
    MakesDirtyRow,
    CountsFall,
    CountsByPlainWords,
    CountsTooMuch,
    EmptyTextBecomesNull,
    RollbackKeeps,
    DropCommits,
    CommitsTwice,
    UpdatesAllColumns,
    OverwritesAtOnce,
    IgnoresKeys,
}

/// Defects of descriptor and reader, each with a part of the message that must name it.
pub(crate) const READING: &[(Defect, &str)] = &[
    (Defect::UndocumentedOption, "the doc of option `seed` is empty"),
    (Defect::AssumesMissingOption, "options without the required `rows`: must be refused"),
    (Defect::SortsProduced, "`produces` changes names or their order"),
    (Defect::TooManySplits, "2 splits, at most 1"),
    (Defect::LastSplitTwice, "two splits are called"),
    (Defect::LosesLastRow, "the number of rows"),
    (Defect::PlainSchema, "a field of the batch is not the promised one"),
    (Defect::PositionTooEarly, "after batch 1 of"),
    (Defect::EndsWhenCancelled, "ends as if it were read"),
    (Defect::MakesDirtyRow, "dirty rows"),
    (Defect::CountsFall, "`counts`: `calls` falls from"),
];

/// The same for the writer.
pub(crate) const WRITING: &[(Defect, &str)] = &[
    (Defect::CountsByPlainWords, "`late answers` is not a valid name"),
    (Defect::CountsTooMuch, "inserted, updated, skipped and dirty of"),
    (Defect::EmptyTextBecomesNull, "a round trip of `text`"),
    (Defect::RollbackKeeps, "rows of a replayed chunk are new"),
    (Defect::DropCommits, "a task given up by drop"),
    (Defect::CommitsTwice, "`commit` of the job, again"),
    (Defect::UpdatesAllColumns, "mode `upsert` with keys that are there"),
    (Defect::OverwritesAtOnce, "mode `overwrite`"),
    (Defect::IgnoresKeys, "mode `ignore` without a key: must be refused"),
];

/// The generator with a defect.
pub(crate) struct Broken {
    pub(crate) defect: Defect,
}

impl Plugin for Broken {
    fn descriptor(&self) -> Descriptor {
        let mut descriptor = GeneratorPlugin.descriptor();
        if let (Defect::UndocumentedOption, Some(reader)) = (self.defect, &mut descriptor.reader) {
            reader.options[1].doc.clear();
        }
        descriptor
    }

    fn reader(&self, mut options: Options, host: Host) -> Result<Box<dyn Reader>> {
        if self.defect == Defect::AssumesMissingOption {
            options.values.entry("rows").or_insert(10.into());
        }
        let inner = GeneratorPlugin.reader(options, host)?;
        Ok(Box::new(BrokenReader { inner, defect: self.defect, left: AtomicU64::new(1 << 32) }))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        let inner = GeneratorPlugin.writer(options, host)?;
        Ok(Box::new(BrokenWriter { inner, defect: self.defect }))
    }
}

struct BrokenReader {
    inner: Box<dyn Reader>,
    defect: Defect,
    /// Counts down.
    left: AtomicU64,
}

impl Reader for BrokenReader {
    fn check(&self) -> Result<Vec<Finding>> {
        self.inner.check()
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.inner.discover()
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.inner.schema()
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let mut made = self.inner.produces(wanted)?;
        if self.defect == Defect::SortsProduced {
            made.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(made)
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        let more = u32::from(self.defect == Defect::TooManySplits);
        let request = SplitRequest { max: request.max + more, ..request.clone() };
        let mut splits = self.inner.splits(&request)?;
        if self.defect == Defect::LastSplitTwice && splits.len() > 1 {
            splits[0] = splits[splits.len() - 1].clone();
        }
        Ok(splits)
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let inner = self.inner.open(split, columns, after)?;
        Ok(Box::new(BrokenReadTask { inner, defect: self.defect }))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        let falls = self.defect == Defect::CountsFall;
        let value = if falls { self.left.fetch_sub(1, Relaxed) } else { 0 };
        Ok(vec![Count::new("calls", value)])
    }
}

struct BrokenReadTask {
    inner: Box<dyn ReadTask>,
    defect: Defect,
}

impl ReadTask for BrokenReadTask {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        let read = match self.inner.next_batch() {
            Err(error)
                if self.defect == Defect::EndsWhenCancelled
                    && error.kind == ErrorKind::Cancelled =>
            {
                return Ok(None);
            }
            read => read?,
        };
        let Some(mut read) = read else { return Ok(None) };
        match self.defect {
            Defect::LosesLastRow => {
                read.batch = read.batch.slice(0, read.batch.num_rows() - 1);
            }
            Defect::PlainSchema => {
                let fields = read.batch.schema().fields().clone();
                let fields = fields
                    .iter()
                    .map(|it| it.as_ref().clone().with_metadata(HashMap::<String, String>::new()));
                let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                read.batch = RecordBatch::try_new(schema, read.batch.columns().to_vec()).unwrap();
            }
            Defect::PositionTooEarly => {
                let next: u64 = String::from_utf8(read.position.0).unwrap().parse().unwrap();
                read.position = Position((next - 1).to_string().into_bytes());
            }
            Defect::MakesDirtyRow => read.dirty.push(dirty_row()),
            _ => {}
        }
        Ok(Some(read))
    }
}

struct BrokenWriter {
    inner: Box<dyn Writer>,
    defect: Defect,
}

impl BrokenWriter {
    fn plan(&self, plan: &WritePlan) -> WritePlan {
        let mut plan = plan.clone();
        match (self.defect, plan.mode) {
            (Defect::UpdatesAllColumns, WriteMode::Upsert) => plan.update_columns.clear(),
            (Defect::OverwritesAtOnce, WriteMode::Overwrite)
            | (Defect::IgnoresKeys, WriteMode::Ignore) => plan.mode = WriteMode::Insert,
            _ => {}
        }
        plan
    }
}

impl Writer for BrokenWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        self.inner.check()
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.inner.discover()
    }

    fn inspect(&self) -> Result<TargetInfo> {
        self.inner.inspect()
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        self.inner.draft(&self.plan(plan))
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.inner.prepare(&self.plan(plan))
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let inner = Some(self.inner.open(&self.plan(plan), task)?);
        Ok(Box::new(BrokenWriteTask { inner, defect: self.defect, open: false }))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let outcome = self.inner.commit(&self.plan(plan), receipts)?;
        Ok(if self.defect == Defect::CommitsTwice { ChunkOutcome::Committed } else { outcome })
    }

    fn abort(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<()> {
        self.inner.abort(&self.plan(plan), receipts)
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.inner.finalise(&self.plan(plan))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        let plain = self.defect == Defect::CountsByPlainWords;
        Ok(vec![Count::trouble(if plain { "late answers" } else { "answers_late" }, 0)])
    }
}

struct BrokenWriteTask {
    /// `None` once the task has ended.
    inner: Option<Box<dyn WriteTask>>,
    defect: Defect,
    open: bool,
}

impl BrokenWriteTask {
    fn inner(&mut self) -> &mut Box<dyn WriteTask> {
        self.inner.as_mut().expect("the task is still open")
    }
}

impl WriteTask for BrokenWriteTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        self.open = true;
        self.inner().begin_chunk(sequence)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let batch = match self.defect {
            Defect::EmptyTextBecomesNull => without_empty_texts(batch),
            _ => batch.clone(),
        };
        let mut written = self.inner().write(&batch)?;
        written.inserted += u64::from(self.defect == Defect::CountsTooMuch);
        Ok(written)
    }

    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome> {
        self.open = false;
        self.inner().commit_chunk(position, counters)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        if self.defect == Defect::RollbackKeeps && self.open {
            return self.commit_chunk(&Position::default(), &Counters::default()).map(drop);
        }
        self.open = false;
        self.inner().rollback_chunk()
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        self.open = false;
        self.inner.take().expect("the task is still open").finish()
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.open = false;
        self.inner.take().expect("the task is still open").abort()
    }
}

impl Drop for BrokenWriteTask {
    fn drop(&mut self) {
        if self.defect == Defect::DropCommits && self.open {
            let _ = self.commit_chunk(&Position::default(), &Counters::default());
        }
    }
}

fn dirty_row() -> DirtyRow {
    DirtyRow::new("defect", "a defect")
}

fn without_empty_texts(batch: &RecordBatch) -> RecordBatch {
    let change = |array: &ArrayRef| match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string::<i32>().iter();
            let texts = texts.map(|text| text.filter(|text| !text.is_empty()));
            Arc::new(StringArray::from_iter(texts)) as ArrayRef
        }
        _ => Arc::clone(array),
    };
    let columns = batch.columns().iter().map(change).collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}
