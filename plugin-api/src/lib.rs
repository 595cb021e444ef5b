//! What a plugin author sees: ordinary Rust traits over Arrow record batches.
//!
//! A plugin is a shared library with a [`Reader`], a [`Writer`] or both for one kind of store. Its
//! author implements [`Plugin`] and names it once in [`export_plugin!`]. The stable ABI is in
//! [`abi`], and no other code deals with it, so the same implementation is tested natively and
//! through its library, by one suite (`testing`, behind the feature of that name).
//!
//! # What is promised
//!
//! * A library that was built with this crate loads in every program of the same major version of the
//!   ABI, newer and older: [`abi::ABI`] is that version, and it does not follow the crate's. Functions are
//!   added at the end, and their absence has a meaning; nothing is changed or removed within a major.
//! * The crate itself follows semantic versioning: until 1.0 a minor version may rename or change what an
//!   author writes. Structs that describe something get new fields: end a literal with
//!   `..Default::default()`. Enums that may grow are `non_exhaustive`.
//! * Nothing depends on the compiler, the allocator or the arrow version of the other side.
//! * Linux with glibc. A library needs the glibc that it was built with and nothing newer; the program
//!   needs 2.34.
//!
//! # Modules, in the order that data takes
//!
//! | module | what it contains |
//! |---|---|
//! | `descriptor` | [`Descriptor`]: what a plugin declares: types, write modes, limits |
//! | `addressing` | [`Addressing`]: the URLs and paths that name its sources and targets |
//! | `option` | [`OptionSpec`]: one option; its conversion and default |
//! | `options` | [`Options`]: the options that a job gave, and their parsing |
//! | `units` | sizes and durations as job files write them |
//! | `logical` | [`LogicalType`] and [`Column`]: the types that travel |
//! | `reader` | [`Reader`] and [`ReadTask`]: schema, splits, batches with positions |
//! | `dirty` | [`DirtyRow`]: a row that one side refuses, and why |
//! | `digest` | [`Digest`]: a checksum of a range of rows, computed inside the store |
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
//! `transload-values` converts texts to values of these types and back, exactly: what a cast would
//! round or cut, it refuses.
//!
//! # A whole plugin
//!
//! `numbers` reads lines of numbers from an option and writes numbers into memory. A real plugin
//! differs in its store, not in its shape.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use transload_plugin_api::arrow_array::{cast::AsArray, types::Int64Type, Int64Array, RecordBatch};
//! use transload_plugin_api::*;
//!
//! struct Numbers;
//! export_plugin!(Numbers);
//!
//! /// Options are stated here alone: kinds, bounds, units, defaults.
//! fn options() -> Vec<OptionSpec> {
//!     vec![OptionSpec::new("lines", OptionKind::Text, "The numbers, one per line").required()]
//! }
//!
//! #[derive(Clone, serde::Deserialize)]
//! struct Lines {
//!     lines: String,
//! }
//!
//! /// The one column of source and target.
//! fn column() -> Column {
//!     Column::new("number", LogicalType::Int64, false)
//! }
//!
//! impl Plugin for Numbers {
//!     fn descriptor(&self) -> Descriptor {
//!         let types = vec![TypeSupport::new("int64", &["number"])];
//!         let modes = vec![WriteModeSpec::insert("adds numbers")];
//!         let ability = SplitAbility::Seekable;
//!         let (options, parses_text) = (options(), false);
//!         let reader = ReaderDescriptor { options, types: types.clone(), ability, parses_text };
//!         Descriptor {
//!             name: "numbers".to_owned(),
//!             version: env!("CARGO_PKG_VERSION").to_owned(),
//!             summary: "lines of numbers".to_owned(),
//!             reader: Some(reader),
//!             writer: Some(WriterDescriptor { types, modes, ..WriterDescriptor::default() }),
//!             ..Descriptor::default()
//!         }
//!     }
//!     fn reader(&self, given: Options, _: Host) -> Result<Box<dyn Reader>> {
//!         Ok(Box::new(given.parse::<Lines>(&options())?))
//!     }
//!     fn writer(&self, _: Options, _: Host) -> Result<Box<dyn Writer>> {
//!         Ok(Box::new(Memory))
//!     }
//! }
//!
//! impl Reader for Lines {
//!     fn schema(&self) -> Result<SourceSchema> {
//!         Ok(SourceSchema { columns: vec![column()], ..SourceSchema::default() })
//!     }
//!     fn splits(&self, _: &SplitRequest) -> Result<Vec<Split>> {
//!         Ok(vec![Split::new("all lines", "", SplitAbility::Seekable)])
//!     }
//!     fn open(&self, _: &Split, c: &[Column], after: Option<&Position>) -> Result<Box<dyn ReadTask>> {
//!         // Positions come from outside: they are checked, not trusted.
//!         let at = after.map_or(Ok("0"), |after| std::str::from_utf8(&after.0));
//!         let next = at.ok().and_then(|at| at.parse().ok());
//!         let next = next.ok_or_else(|| Error::options("the position is not one of these lines"))?;
//!         Ok(Box::new(LinesTask { lines: self.lines.clone(), columns: c.to_vec(), next }))
//!     }
//! }
//!
//! struct LinesTask {
//!     lines: String,
//!     columns: Vec<Column>,
//!     next: usize,
//! }
//!
//! impl ReadTask for LinesTask {
//!     fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
//!         let (mut numbers, mut dirty) = (Vec::new(), Vec::new());
//!         let (first, origin) = (self.next, Origin::new("lines", "line", self.next as u64 + 1));
//!         for text in self.lines.lines().skip(first).take(8_192) {
//!             self.next += 1;
//!             let refused = |e: std::num::ParseIntError| DirtyRow::new("parse", e.to_string());
//!             match text.parse::<i64>().map_err(refused) {
//!                 Ok(number) => numbers.push(number),
//!                 Err(row) => dirty.push(row.number(self.next as u64).text(text)),
//!             }
//!         }
//!         if self.next == first {
//!             return Ok(None);
//!         }
//!         let rows = numbers.len();
//!         let array: arrow_array::ArrayRef = Arc::new(Int64Array::from(numbers));
//!         let batch = batch_of(&self.columns, vec![array; self.columns.len()], rows)?;
//!         let origin = origin.without(dirty.iter().filter_map(|row| row.number));
//!         let position = Position(self.next.to_string().into_bytes());
//!         Ok(Some(ReadBatch { dirty, ..ReadBatch::new(batch, position, origin) }))
//!     }
//! }
//!
//! /// The target, and the last run whose commit is in it.
//! static MEMORY: Mutex<(Vec<i64>, String)> = Mutex::new((Vec::new(), String::new()));
//!
//! struct Memory;
//!
//! #[rustfmt::skip]
//! impl Writer for Memory {
//!     fn inspect(&self) -> Result<TargetInfo> {
//!         let (name, columns) = ("memory".to_owned(), vec![column()]);
//!         Ok(TargetInfo { name, exists: true, columns, ..TargetInfo::default() })
//!     }
//!     fn draft(&self, _: &WritePlan) -> Result<WriteDraft> {
//!         Ok(WriteDraft { columns: vec![column()], ..WriteDraft::default() })
//!     }
//!     fn prepare(&self, _: &WritePlan) -> Result<()> { Ok(()) }
//!     fn open(&self, _: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
//!         Ok(Box::new(MemoryTask { task: task.task, chunk: Vec::new() }))
//!     }
//!     fn commit(&self, plan: &WritePlan, _: &[Receipt]) -> Result<ChunkOutcome> {
//!         let again = std::mem::replace(&mut MEMORY.lock().unwrap().1, plan.run.clone()) == plan.run;
//!         Ok(if again { ChunkOutcome::AlreadyCommitted } else { ChunkOutcome::Committed })
//!     }
//!     fn abort(&self, _: &WritePlan, _: &[Receipt]) -> Result<()> { Ok(()) } // nothing is staged
//!     fn finalise(&self, _: &WritePlan) -> Result<()> { Ok(()) }
//! }
//!
//! struct MemoryTask {
//!     task: u32,
//!     /// The open chunk: it is in the target completely or not at all.
//!     chunk: Vec<i64>,
//! }
//!
//! #[rustfmt::skip]
//! impl WriteTask for MemoryTask {
//!     fn begin_chunk(&mut self, _: u64) -> Result<()> { self.rollback_chunk() }
//!     fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
//!         self.chunk.extend(batch.column(0).as_primitive::<Int64Type>().values());
//!         Ok(Written { inserted: batch.num_rows() as u64, ..Written::default() })
//!     }
//!     fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
//!         MEMORY.lock().unwrap().0.append(&mut self.chunk);
//!         Ok(ChunkOutcome::Committed)
//!     }
//!     fn rollback_chunk(&mut self) -> Result<()> { self.chunk.clear(); Ok(()) }
//!     fn finish(self: Box<Self>) -> Result<Receipt> {
//!         Ok(Receipt { task: self.task, data: String::new() })
//!     }
//!     fn abort(self: Box<Self>) -> Result<()> { Ok(()) }
//! }
//!
//! // A test of its own moves the numbers as the host would; the conformance suite does the rest.
//! # fn main() -> Result<()> {
//! let options = Options::from_pairs([("lines", "1\n2\nfour\n5\n")]);
//! let reader = Numbers.reader(options, Host::detached())?;
//! let columns = reader.produces(&reader.schema()?.columns)?;
//! let splits = reader.splits(&SplitRequest::new(1, columns.clone()))?;
//! let read = reader.open(&splits[0], &columns, None)?.next_batch()?.unwrap();
//! assert_eq!(read.dirty[0].number, Some(3));
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
//! assert_eq!(MEMORY.lock().unwrap().0, [1, 2, 5]);
//! # Ok(())
//! # }
//! ```

/// The arrow crates of this version, for batches and schemas.
pub use {arrow_array, arrow_schema};

pub mod abi;
mod addressing;
mod backoff;
mod cancel;
pub mod code;
mod count;
mod descriptor;
mod digest;
mod dirty;
mod error;
mod failpoint;
mod host;
mod increment;
mod logical;
mod native;
pub mod nearest;
mod option;
mod options;
mod reader;
mod secret;
mod tables;
#[cfg(feature = "testing")]
pub mod testing;
mod units;
mod waiting;
mod writer;

#[cfg(test)]
mod fuzz;

pub use abi::catch_panic;
pub use addressing::{Addressing, PathForm, UrlForm, UrlParameter, UrlPart};
pub use backoff::Backoff;
pub use cancel::{Cancel, Registration};
pub use count::Count;
pub use descriptor::{
    CodePage, ConflictEffect, CountSpec, Descriptor, Dialect, Guarantee, KeyNeed, Limits,
    ReaderDescriptor, SplitAbility, TypeSupport, WriteMode, WriteModeSpec, WriterDescriptor,
};
pub use digest::{Digest, DigestPart, DigestRequest};
pub use dirty::{DirtyClass, DirtyRow, RowError, RowText};
pub use error::{Error, ErrorKind, ErrorOrigin, Result};
#[doc(hidden)]
pub use failpoint::{failpoint, has_defect};
pub use host::Host;
pub use increment::{FoundIncrement, Increment, KeepWatermark, KeptWatermark};
pub use logical::{Column, LogicalType, TypeParseError, batch_of, columns_of, schema_of};
pub use native::{NativeEncoding, NativeForm, NativeFormParseError};
pub use option::{OptionKind, OptionScope, OptionSpec, ValueMismatch};
pub use options::Options;
pub use reader::{
    Finding, Gap, Origin, Position, ReadBatch, ReadTask, Reader, RecordDialect, RecordForm,
    SourceFiles, SourceSchema, Split, SplitRequest,
};
pub use secret::{Secret, Secrets};
pub use tables::{TableInfo, TablePage, TablePatterns, TableRequest};
pub use waiting::{WAITING, Waiting};
pub use writer::{
    ChunkOutcome, Counters, Key, LoadMethod, Receipt, Statement, TargetInfo, TaskContext,
    TaskProgress, TokenTables, WriteDraft, WritePlan, WriteTask, Writer, Written,
};

/// What one shared library offers. Implemented by a unit type and exported once.
///
/// Every function may be called from any thread that the host made, concurrently.
pub trait Plugin: Send + Sync {
    /// Everything the plugin declares about itself. Must be cheap and must not touch the store.
    fn descriptor(&self) -> Descriptor;

    /// A reader for one source. Must not block on the store: the first verb may connect. The options
    /// may be those of a connection alone; then only [`Reader::check`], [`Reader::discover`] and
    /// [`Reader::tables`] are called.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the plugin has no reader, as by default,
    /// [`ErrorKind::Options`] if options contradict each other.
    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        let _ = (options, host);
        Err(Error::unsupported(format!("`{}` has no reader", self.descriptor().name)))
    }

    /// A writer for one destination. Must not block on the store: the first verb may connect. The
    /// options may be those of a connection alone, as for [`Plugin::reader`].
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the plugin has no writer, as by default,
    /// [`ErrorKind::Options`] if options contradict each other.
    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        let _ = (options, host);
        Err(Error::unsupported(format!("`{}` has no writer", self.descriptor().name)))
    }
}
