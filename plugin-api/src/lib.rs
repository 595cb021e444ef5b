//! What a plugin author sees: ordinary Rust traits over Arrow record batches.
//!
//! A plugin is a shared library with a [`Reader`], a [`Writer`] or both for one kind of store. Its
//! author implements [`Plugin`] and names it once in [`export_plugin!`]. The stable ABI is in
//! [`abi`], and no other code deals with it, so the same implementation is tested natively and
//! through its library, by one suite (`testing`, behind the feature of that name).
//!
//! # Modules, in the order that data takes
//!
//! | module | what it contains |
//! |---|---|
//! | `descriptor` | [`Descriptor`]: what a plugin declares: types, write modes, limits |
//! | `option` | [`OptionSpec`]: one option; its conversion and default |
//! | `options` | [`Options`]: the options that a job gave, and their parsing |
//! | `units` | sizes and durations as job files write them |
//! | `logical` | [`LogicalType`] and [`Column`]: the types that travel |
//! | `reader` | [`Reader`] and [`ReadTask`]: schema, splits, batches with positions |
//! | `writer` | [`Writer`] and [`WriteTask`]: inspect, chunks, commit, abort |
//! | `count` | [`Count`]: what either side has counted of its store |
//! | `host` | [`Host`]: what the host provides to a plugin |
//! | `secret` | [`Secret`]: a value that never prints |
//! | `cancel` | [`Cancel`]: the stop signal, and a sleep that it ends |
//! | `waiting` | [`Waiting`]: what a plugin waits for, beside the progress |
//! | `backoff` | [`Backoff`]: the schedule of attempts to reconnect |
//! | `error` | [`Error`]: the one error type, with a kind to act on |
//! | [`code`] | every stable error code with its meaning |
//! | [`abi`] | the frozen part: root module, vtables, export and import |
//! | `testing` | the conformance suite, behind the feature of that name |
//!
//! # A whole plugin
//!
//! `numbers` reads lines of numbers from an option and writes numbers into memory. A real plugin
//! differs in its store, not in its shape.
//!
//! ```
//! use std::{collections::HashSet, sync::{Arc, Mutex}};
//!
//! use arrow_array::{RecordBatch, RecordBatchOptions, Int64Array, cast::AsArray, types::Int64Type};
//! use transload_plugin_api::{
//!     Cancel, ChunkOutcome, Column, ConflictEffect, Counters, Descriptor, DirtyRow, Error, Finding,
//!     Guarantee, Host, KeyNeed, LogicalType, OptionKind, OptionSpec, Options, Origin, Plugin,
//!     Position, ReadBatch, ReadTask, Reader, ReaderDescriptor, Receipt, Result, SourceSchema, Split,
//!     SplitAbility, SplitRequest, TableInfo, TargetInfo, TaskContext, TypeSupport, WriteDraft,
//!     WriteMode, WriteModeSpec, WritePlan, WriteTask, Writer, WriterDescriptor, Written,
//!     export_plugin, schema_of,
//! };
//!
//! struct Numbers;
//! export_plugin!(Numbers);
//!
//! impl Plugin for Numbers {
//!     fn descriptor(&self) -> Descriptor {
//!         let types = vec![TypeSupport::new("int64", &["number"])];
//!         let insert = WriteModeSpec::new(
//!             WriteMode::Insert,
//!             KeyNeed::Nothing,
//!             ConflictEffect::None,
//!             Guarantee::AtLeastOnce,
//!             "adds numbers",
//!         );
//!         Descriptor {
//!             name: "numbers".to_owned(),
//!             version: env!("CARGO_PKG_VERSION").to_owned(),
//!             summary: "lines of numbers".to_owned(),
//!             reader: Some(ReaderDescriptor {
//!                 options: reader_specs(),
//!                 types: types.clone(),
//!                 ability: SplitAbility::Seekable,
//!                 parses_text: false,
//!             }),
//!             writer: Some(WriterDescriptor {
//!                 types,
//!                 modes: vec![insert],
//!                 ..WriterDescriptor::default()
//!             }),
//!             ..Descriptor::default()
//!         }
//!     }
//!
//!     fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
//!         let ReaderOptions { lines, batch_rows } = options.parse(&reader_specs())?;
//!         let lines = lines.lines().map(str::to_owned).collect();
//!         Ok(Box::new(Lines { lines, batch_rows, cancel: host.cancel().clone() }))
//!     }
//!
//!     fn writer(&self, _options: Options, _host: Host) -> Result<Box<dyn Writer>> {
//!         Ok(Box::new(Memory))
//!     }
//! }
//!
//! /// Options are stated here alone: kinds, bounds, units, defaults.
//! fn reader_specs() -> Vec<OptionSpec> {
//!     let rows = OptionKind::Integer { min: 1, max: 100_000 };
//!     vec![
//!         OptionSpec::new("lines", OptionKind::Text, "The numbers, one per line").required(),
//!         OptionSpec::new("batch_rows", rows, "Lines per batch").default(8_192),
//!     ]
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct ReaderOptions {
//!     lines: String,
//!     batch_rows: usize,
//! }
//!
//! /// The one column of source and target.
//! fn column() -> Column {
//!     Column { native: "number".to_owned(), ..Column::new("number", LogicalType::Int64, false) }
//! }
//!
//! // ------------------------------------------------------------------------------------ reading
//!
//! #[derive(Clone)]
//! struct Lines {
//!     lines: Arc<[String]>,
//!     batch_rows: usize,
//!     cancel: Cancel,
//! }
//!
//! impl Reader for Lines {
//!     fn check(&self) -> Result<Vec<Finding>> {
//!         let detail = format!("{} lines", self.lines.len());
//!         Ok(vec![Finding { stage: "lines".to_owned(), ok: true, detail }])
//!     }
//!
//!     fn discover(&self) -> Result<Vec<TableInfo>> {
//!         Err(Error::unsupported("`numbers` has no tables"))
//!     }
//!
//!     fn schema(&self) -> Result<SourceSchema> {
//!         Ok(SourceSchema { columns: vec![column()], ..SourceSchema::default() })
//!     }
//!
//!     fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
//!         match wanted.iter().find(|wanted| wanted.name != "number") {
//!             Some(other) => Err(Error::schema(format!("there is no column `{}`", other.name))),
//!             None => Ok(vec![column(); wanted.len()]), // always int64; the host converts
//!         }
//!     }
//!
//!     fn splits(&self, _request: &SplitRequest) -> Result<Vec<Split>> {
//!         let rows = Some(self.lines.len() as u64);
//!         let (label, data) = ("all lines".to_owned(), String::new());
//!         Ok(vec![Split { label, data, ability: SplitAbility::Seekable, rows, bytes: None }])
//!     }
//!
//!     fn open(
//!         &self,
//!         split: &Split,
//!         columns: &[Column],
//!         after: Option<&Position>,
//!     ) -> Result<Box<dyn ReadTask>> {
//!         // Splits and positions come from outside: they are checked, not trusted.
//!         let next = match after {
//!             Some(position) => std::str::from_utf8(&position.0).ok().and_then(|at| at.parse().ok()),
//!             None => Some(0),
//!         };
//!         let next = next.filter(|next| *next <= self.lines.len() && split.data.is_empty());
//!         let next = next.ok_or_else(|| Error::options("the split is not one of these lines"))?;
//!         Ok(Box::new(LinesTask { source: self.clone(), columns: columns.to_vec(), next }))
//!     }
//! }
//!
//! struct LinesTask {
//!     source: Lines,
//!     columns: Vec<Column>,
//!     next: usize,
//! }
//!
//! impl ReadTask for LinesTask {
//!     fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
//!         self.source.cancel.check()?;
//!         let (first, rest) = (self.next, &self.source.lines[self.next..]);
//!         let lines = &rest[..rest.len().min(self.source.batch_rows)];
//!         if lines.is_empty() {
//!             return Ok(None);
//!         }
//!         let (mut numbers, mut dirty) = (Vec::new(), Vec::new());
//!         for (line, text) in (first + 1..).zip(lines) {
//!             match text.parse::<i64>() {
//!                 Ok(number) => numbers.push(number),
//!                 Err(error) => dirty.push(DirtyRow {
//!                     row: 0,
//!                     place: Some(format!("lines, line {line}")),
//!                     column: Some("number".to_owned()),
//!                     value: Some(text.clone()),
//!                     code: "parse".to_owned(),
//!                     reason: error.to_string(),
//!                 }),
//!             }
//!         }
//!         self.next += lines.len();
//!         let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
//!         let array = Arc::new(Int64Array::from(numbers));
//!         let arrays = self.columns.iter().map(|_| array.clone() as _).collect();
//!         let schema = schema_of(&self.columns);
//!         let batch = RecordBatch::try_new_with_options(schema, arrays, &options)
//!             .map_err(|error| Error::defect(error.to_string()))?;
//!         let origin = Origin {
//!             source: "lines".to_owned(),
//!             unit: "line".to_owned(),
//!             first: first as u64 + 1,
//!             exact: dirty.is_empty(),
//!             gaps: Vec::new(),
//!         };
//!         let bytes = lines.iter().map(|line| line.len() as u64 + 1).sum();
//!         let position = Position(self.next.to_string().into_bytes());
//!         Ok(Some(ReadBatch { batch, position, origin: Some(origin), dirty, bytes }))
//!     }
//! }
//!
//! // ------------------------------------------------------------------------------------ writing
//!
//! static NUMBERS: Mutex<Vec<i64>> = Mutex::new(Vec::new());
//! static RUNS: Mutex<Option<HashSet<String>>> = Mutex::new(None);
//!
//! struct Memory;
//!
//! impl Writer for Memory {
//!     fn check(&self) -> Result<Vec<Finding>> {
//!         Ok(vec![Finding { stage: "memory".to_owned(), ok: true, detail: "present".to_owned() }])
//!     }
//!
//!     fn discover(&self) -> Result<Vec<TableInfo>> {
//!         Err(Error::unsupported("`numbers` has no tables"))
//!     }
//!
//!     fn inspect(&self) -> Result<TargetInfo> {
//!         let (name, columns) = ("memory".to_owned(), vec![column()]);
//!         Ok(TargetInfo { name, exists: true, columns, ..TargetInfo::default() })
//!     }
//!
//!     fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
//!         if plan.mode != WriteMode::Insert {
//!             let mode = plan.mode.word();
//!             return Err(Error::unsupported(format!("`numbers` has no write mode `{mode}`")));
//!         }
//!         if plan.columns.len() != 1 || plan.columns[0].name != "number" {
//!             return Err(Error::schema("the target has one column, `number`"));
//!         }
//!         let because = "a rerun adds the numbers again".to_owned();
//!         Ok(WriteDraft { columns: vec![column()], because, ..WriteDraft::default() })
//!     }
//!
//!     fn prepare(&self, _plan: &WritePlan) -> Result<()> {
//!         Ok(())
//!     }
//!
//!     fn open(&self, _plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
//!         Ok(Box::new(MemoryTask { task: task.task, chunk: Vec::new() }))
//!     }
//!
//!     fn commit(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<ChunkOutcome> {
//!         let mut runs = RUNS.lock().unwrap();
//!         let first = runs.get_or_insert_default().insert(plan.run.clone());
//!         Ok(if first { ChunkOutcome::Committed } else { ChunkOutcome::AlreadyCommitted })
//!     }
//!
//!     fn abort(&self, _plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
//!         Ok(()) // nothing is staged outside of tasks
//!     }
//!
//!     fn finalise(&self, _plan: &WritePlan) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! struct MemoryTask {
//!     task: u32,
//!     /// The open chunk: it is in the target completely or not at all.
//!     chunk: Vec<i64>,
//! }
//!
//! impl WriteTask for MemoryTask {
//!     fn begin_chunk(&mut self, _sequence: u64) -> Result<()> {
//!         self.chunk.clear();
//!         Ok(())
//!     }
//!
//!     fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
//!         self.chunk.extend(batch.column(0).as_primitive::<Int64Type>().values());
//!         Ok(Written { inserted: batch.num_rows() as u64, ..Written::default() })
//!     }
//!
//!     fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
//!         NUMBERS.lock().unwrap().append(&mut self.chunk);
//!         Ok(ChunkOutcome::Committed)
//!     }
//!
//!     fn rollback_chunk(&mut self) -> Result<()> {
//!         self.chunk.clear();
//!         Ok(())
//!     }
//!
//!     fn finish(self: Box<Self>) -> Result<Receipt> {
//!         Ok(Receipt { task: self.task, data: String::new() })
//!     }
//!
//!     fn abort(self: Box<Self>) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! // A test of its own moves the numbers as the host would; the conformance suite does the rest.
//! # fn main() -> Result<()> {
//! let options = Options::from_pairs([("lines", "1\n2\nfour\n5\n")]);
//! let reader = Numbers.reader(options, Host::detached())?;
//! let columns = reader.produces(&reader.schema()?.columns)?;
//! let splits = reader.splits(&SplitRequest { max: 1, columns: columns.clone() })?;
//! let read = reader.open(&splits[0], &columns, None)?.next_batch()?.unwrap();
//! assert_eq!(read.dirty[0].place.as_deref(), Some("lines, line 3"));
//!
//! let writer = Numbers.writer(Options::default(), Host::detached())?;
//! let mut plan = WritePlan { run: "r-1".to_owned(), columns, ..WritePlan::default() };
//! plan.columns = writer.draft(&plan)?.columns;
//! writer.prepare(&plan)?;
//! let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 })?;
//! task.begin_chunk(0)?;
//! assert_eq!(task.write(&read.batch)?.inserted, 3);
//! task.commit_chunk(&read.position, &Counters::default())?;
//! assert_eq!(writer.commit(&plan, &[task.finish()?])?, ChunkOutcome::Committed);
//! assert_eq!(*NUMBERS.lock().unwrap(), [1, 2, 5]);
//! # Ok(())
//! # }
//! ```

/// The arrow crates of this version, for batches and schemas.
pub use {arrow_array, arrow_schema};

pub mod abi;
mod backoff;
mod cancel;
pub mod code;
mod count;
mod descriptor;
mod error;
mod host;
mod logical;
mod native;
pub mod nearest;
mod option;
mod options;
mod reader;
mod secret;
#[cfg(feature = "testing")]
pub mod testing;
mod units;
mod waiting;
mod writer;

#[cfg(test)]
mod fuzz;

pub use abi::catch_panic;
pub use backoff::Backoff;
pub use cancel::{Cancel, Registration};
pub use count::Count;
pub use descriptor::{
    ConflictEffect, Descriptor, Dialect, Guarantee, KeyNeed, Limits, ReaderDescriptor,
    SplitAbility, TypeSupport, WriteMode, WriteModeSpec, WriterDescriptor,
};
pub use error::{Error, ErrorKind, ErrorOrigin, Result};
pub use host::Host;
pub use logical::{Column, LogicalType, TypeParseError, columns_of, schema_of};
pub use native::{NativeEncoding, NativeForm, NativeFormParseError};
pub use option::{OptionKind, OptionScope, OptionSpec, ValueMismatch};
pub use options::Options;
pub use reader::{
    DirtyRow, Finding, Gap, Origin, Position, ReadBatch, ReadTask, Reader, SourceFiles,
    SourceSchema, Split, SplitRequest, TableInfo,
};
pub use secret::{Secret, Secrets};
pub use waiting::{WAITING, Waiting};
pub use writer::{
    ChunkOutcome, Counters, Key, LoadMethod, Receipt, Statement, TargetInfo, TaskContext,
    WriteDraft, WritePlan, WriteTask, Writer, Written,
};

/// What one shared library offers. Implemented by a unit type and exported once.
///
/// Every function may be called from any thread that the host made, concurrently.
pub trait Plugin: Send + Sync {
    /// Everything the plugin declares about itself. Must be cheap and must not touch the store.
    fn descriptor(&self) -> Descriptor;

    /// A reader for one source. Must not block on the store: the first verb may connect.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the plugin has no reader, [`ErrorKind::Options`] if options
    /// contradict each other.
    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>>;

    /// A writer for one destination. Must not block on the store: the first verb may connect.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the plugin has no writer, [`ErrorKind::Options`] if options
    /// contradict each other.
    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>>;
}
