//! The conformance suite: the requirements that every plugin meets, whatever its store.
//!
//! A plugin's own test states how to make sources and targets in its store ([`Subject`],
//! [`Target`]) and calls [`all`], once with the plugin itself and once with the plugin imported
//! from its library. A failure panics with what was done, what was expected and what was found.
//! What is special about one store is left to its own tests, for which [`steps`] and [`proxy`] are.
//!
//! | module | what it checks |
//! |---|---|
//! | [`descriptor`] | names, keys, defaults, docs, types and modes are sound |
//! | [`reader`] | schema, splits, positions, origins, batches, cancellation, wrong options |
//! | [`writer`] | chunks, commit and abort, round trip of every type, dirty rows, large batches |
//! | `modes`, `keys` | what each write mode does with existing keys, keys of several columns, NULL, a session beside it |
//! | `narrowing` | a reader neither rounds nor cuts |
//! | `tokens` | what a store keeps of a run beside its rows, and who may write |
//! | `connecting`, `discretion` | checks find and do not fail, need no job, and show no secret |
//! | `stopping` | calls end after the stop signal, and what cleans up works on |
//! | [`leaks`] | files and threads are closed; in a process of its own |
//! | [`report()`] | all of it, case by case, as `transload plugin test` prints it |
//! | [`samples`] | the data: edge values of every type, small tables with keys |
//! | [`steps`] | short plans, arrays and the methods in order, for a plugin's own tests |
//! | [`attempt`] | a run with commit tokens in the test's own process, for a plugin's own tests |
//! | [`killing`] | runs that processes write one after the other, for a plugin's own tests |
//! | [`proxy`] | loses connections to a server on request, for a plugin's own tests |
//! | [`Rows`] | rows as text, compared in any order or in one |
//!
//! # What the suite needs of a store
//!
//! * A way to make a source of a given number of rows. The rows themselves may be unknown: then one
//!   reading is compared with the next.
//! * A way to make an empty target, to insert rows into it, and to read it, by other means than the
//!   plugin's. Where there are none, the plugin's own reader and writer serve, which proves less.
//! * What else it knows of the store, each a method of [`Subject`] or [`Target`] with a default that
//!   leaves the case out: options of another address, of a source that is missing, sources with an
//!   object of the wrong kind, a second session that writes meanwhile, what a run has staged.
//! * Time: the suite makes several hundred small sources and targets.
//!
//! # What a failure looks like
//!
//! Each case panics at the first requirement that is not met, with the case and both values:
//!
//! ```text
//! two tasks in mode `insert`: expected 12 rows, found 9
//!   missing 1x: 4 | "name 4 version 1" | 401
//!   missing 1x: 5 | "name 5 version 1" | 501
//!   missing 1x: 6 | "name 6 version 1" | 601
//! ```
//!
//! # How a vendor uses it
//!
//! ```no_run
//! use transload_plugin_api::{
//!     Column, Options, Plugin, WriteMode,
//!     testing::{self, Rows, Source, Subject, Target},
//! };
//! # use arrow_array::RecordBatch;
//! # struct Store; struct Table;
//! # impl Store {
//! #     fn fresh_table(&self, _: &[Column], _: &[String]) -> Table { Table }
//! # }
//! # impl Table {
//! #     fn options(&self) -> Options { Options::default() }
//! #     fn insert(&self, _: &RecordBatch) {}
//! #     fn select(&self) -> Vec<RecordBatch> { Vec::new() }
//! # }
//!
//! impl Subject for Store {
//!     // A source of `rows` rows, and their values if the test knows them.
//!     fn source(&self, rows: u64) -> Source {
//!         let batch = testing::samples::keyed(1..=rows as i64, 1);
//!         let table = self.fresh_table(&testing::samples::keyed_columns(), &["id".to_owned()]);
//!         table.insert(&batch);
//!         Source::new(table.options()).with_rows(Rows::of(&[batch])).keeping(table)
//!     }
//!
//!     // A target that exists and is empty.
//!     fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
//!         Box::new(self.fresh_table(columns, key))
//!     }
//! }
//!
//! impl Target for Table {
//!     fn writer_options(&self, _mode: WriteMode) -> Options {
//!         self.options()
//!     }
//!
//!     // `None` if the plugin cannot read what it wrote.
//!     fn reader_options(&self) -> Option<Options> {
//!         Some(self.options())
//!     }
//!
//!     // By other means than the plugin's, where there are any.
//!     fn put(&self, rows: &RecordBatch) {
//!         self.insert(rows);
//!     }
//!
//!     fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
//!         Rows::of(expected).assert_same(&Rows::of(&self.select()), when);
//!     }
//! }
//!
//! // In a test, with `MyPlugin` itself or with the plugin that the host's catalog has loaded.
//! # fn my_plugin() -> Box<dyn Plugin> { unimplemented!() }
//! testing::all(&*my_plugin(), &Store);
//! ```

use std::{any::Any, fmt, net::SocketAddr, sync::Arc};

use arrow_array::RecordBatch;

use crate::{
    Cancel, Column, Descriptor, Error, ErrorKind, Host, LogicalType, OptionSpec, Options, Plugin,
    Secrets, WriteMode,
};

pub mod attempt;
mod case;
mod connecting;
pub mod descriptor;
mod discretion;
mod keys;
pub mod killing;
pub mod leaks;
mod modes;
mod narrowing;
pub mod proxy;
pub mod reader;
mod report;
mod required;
mod rows;
mod run;
pub mod samples;
pub mod steps;
mod stopping;
mod tally;
mod tokens;
pub mod writer;
mod writer_suite;

pub use case::Case;
use case::Cases;
pub use report::{Outcome, Report, SUITE, report};
pub use rows::{Rows, cell};
use tally::Tally;

/// One side of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its reader.
    Reader,
    /// Its writer.
    Writer,
}

/// What a plugin's test supplies. A plugin without a reader needs no `source`, one without a
/// writer no `target`. The other methods have defaults for a store without limits.
pub trait Subject {
    /// A new source of `rows` rows, none of them dirty; 0 makes an empty one. Called many times:
    /// sources must not affect each other.
    fn source(&self, rows: u64) -> Source {
        panic!("the plugin declares a reader, so its subject needs a source of {rows} rows")
    }

    /// A new, empty target with these columns and this primary key (none if `key` is empty); one
    /// that accepts any columns may ignore both. Its drop removes it from the store.
    fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
        panic!("the plugin declares a writer, so its subject needs a target of {columns:?} {key:?}")
    }

    /// The values of the plugin's secret options. The default has none.
    fn secrets(&self) -> Arc<dyn Secrets> {
        Arc::new(())
    }

    /// The types to test for a declared family, as exact as the store allows: a store whose
    /// timestamps have microseconds leaves out `timestamp(9)`.
    fn types(&self, family: &str) -> Vec<LogicalType> {
        samples::types_of(family)
    }

    /// Whether the store can hold a value, given as [`cell`] prints it. The values that it cannot
    /// hold must become dirty rows, and no others.
    fn takes(&self, logical: &LogicalType, cell: &str) -> bool {
        let _ = (logical, cell);
        true
    }

    /// Whether [`Subject::takes`] knows the store's values. If not, any value of a declared type may
    /// become a dirty row, and is passed to [`Subject::note`].
    fn knows_values(&self) -> bool {
        true
    }

    /// Something worth knowing that is no failure. The default forgets it.
    fn note(&self, note: String) {
        drop(note);
    }

    /// The notes so far, for the report.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Options of a store at this address, for a store that is reached over a network. The suite
    /// listens there and stays silent, or nothing listens.
    fn at_address(&self, side: Side, address: SocketAddr) -> Option<Options> {
        let _ = (side, address);
        None
    }

    /// Options of a reader whose source is not there.
    fn missing_source(&self) -> Option<Options> {
        None
    }

    /// Sources that also contain an object which the reader cannot read: a list among hashes, a folder
    /// among files. The reader reports it, in whatever way. The default has none.
    fn wrong_kinds(&self) -> Vec<Source> {
        Vec::new()
    }

    /// Whether the reader returns a type unchanged that the writer has written. If not, only
    /// [`Target::assert_holds`] checks it.
    fn reads_back(&self, logical: &LogicalType) -> bool {
        let _ = logical;
        true
    }

    /// Sources with rows that cannot be read. The default has none.
    fn dirty_sources(&self) -> Vec<DirtySource> {
        Vec::new()
    }

    /// Batches with rows that the store refuses. The default has none;
    /// [`samples::refused`] suits stores with keys and limited text.
    fn dirty_batches(&self) -> Vec<DirtyBatch> {
        Vec::new()
    }
}

/// A source of a known number of rows.
pub struct Source {
    options: Options,
    rows: Option<Rows>,
    keep: Vec<Box<dyn Any>>,
}

impl Source {
    /// A source that a reader with these options reads.
    pub fn new(options: Options) -> Self {
        Self { options, rows: None, keep: Vec::new() }
    }

    /// Sets the rows that it contains. Without them, the suite compares one reading with the next.
    #[must_use]
    pub fn with_rows(mut self, rows: Rows) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Keeps something alive (a temporary folder) as long as the source.
    #[must_use]
    pub fn keeping(mut self, what: impl Any) -> Self {
        self.keep.push(Box::new(what));
        self
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A target that the suite writes to.
pub trait Target {
    /// Options of a writer to it.
    fn writer_options(&self, mode: WriteMode) -> Options;

    /// Options of a reader of what has been written; `None` if the plugin cannot read it.
    fn reader_options(&self) -> Option<Options>;

    /// Inserts rows, by other means than the plugin's if there are any.
    fn put(&self, rows: &RecordBatch);

    /// Panics unless the target contains exactly these rows, in any order, read by other means than
    /// the plugin's if there are any. [`Rows::assert_same`] compares them.
    fn assert_holds(&self, expected: &[RecordBatch], when: &str);

    /// Inserts rows in another session while a chunk is open, and returns whether the store took them
    /// at once. The default does not try: a store that locks would never return.
    fn put_beside(&self, rows: &RecordBatch) -> bool {
        let _ = rows;
        false
    }

    /// The names of everything that is staged beside the target, which an abort removes.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A source with rows that cannot be read.
#[derive(Debug)]
pub struct DirtySource {
    /// The source; its rows, if given, are the clean ones.
    pub source: Source,
    /// A part of each dirty row's place, in the source's order: `line 17`.
    pub places: Vec<String>,
}

/// A batch with rows that the store refuses.
#[derive(Clone, Debug)]
pub struct DirtyBatch {
    /// The target's columns.
    pub columns: Vec<Column>,
    /// The target's primary key.
    pub key: Vec<String>,
    /// The rows, in the Arrow types of the columns.
    pub batch: RecordBatch,
    /// Indexes of the rows that must come back dirty, rising.
    pub dirty: Vec<u64>,
}

/// Runs the whole suite: descriptor, reader, writer.
///
/// # Panics
/// At the first requirement that is not met.
pub fn all(plugin: &dyn Plugin, subject: &dyn Subject) {
    cases(plugin, subject).iter().for_each(Case::run);
}

/// The cases of [`all`], in order.
pub fn cases<'a>(plugin: &'a dyn Plugin, subject: &'a dyn Subject) -> Vec<Case<'a>> {
    let sound = Case::new("descriptor", "what it declares", move || descriptor::all(plugin));
    let mut cases = vec![sound];
    cases.extend(reader::cases(plugin, subject));
    cases.extend(writer::cases(plugin, subject));
    cases
}

/// The options of one side: those of both, and its own.
fn options_of<'a>(
    descriptor: &'a Descriptor,
    own: &'a [OptionSpec],
) -> impl Iterator<Item = &'a OptionSpec> {
    descriptor.options.iter().chain(own)
}

/// A host with the subject's secrets and a stop signal of its own.
fn host(subject: &dyn Subject) -> Host {
    Host::new(subject.secrets(), Cancel::new())
}

/// The value of a call that must succeed.
#[track_caller]
fn expect<T, E: fmt::Display>(result: Result<T, E>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The error of a call that must fail with one of these kinds and with a printable message.
#[track_caller]
fn refused<T>(result: Result<T, Error>, kinds: &[ErrorKind], what: &str) -> Error {
    let Err(error) = result else { panic!("{what}: must be refused, but was accepted") };
    assert!(
        kinds.contains(&error.kind),
        "{what}: must be refused as one of {kinds:?}, but the error is {error:?}"
    );
    assert!(!error.message.is_empty(), "{what}: the error has no message");
    assert!(!error.message.ends_with('.'), "{what}: `{error}` ends with a period");
    error
}
