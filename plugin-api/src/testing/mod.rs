//! The conformance suite: what every plugin owes its host, whatever its store.
//!
//! A plugin's own test says how to make sources and targets in its store ([`Subject`],
//! [`Target`]) and calls [`all`], once with the plugin itself and once with the plugin imported
//! from its library. A failure panics with what was done, what was expected and what was found.
//!
//! | module | what it holds plugins to |
//! |---|---|
//! | [`descriptor`] | names, keys, defaults, docs, types and modes are sound |
//! | [`reader`] | schema, splits, positions, batches, cancellation, missing options |
//! | [`writer`] | chunks, commit and abort, round trip of every type, dirty rows, missing options |
//! | `modes` | what each write mode does with keys that are there (part of [`writer`]) |
//! | [`samples`] | the data: edge values of every type, small tables with keys |
//! | [`steps`] | short plans, arrays and the verbs in order, for a plugin's own tests |
//! | [`proxy`] | loses connections to a server where a plugin's own test wants it |
//! | [`Rows`] | rows as text, compared in any order or in one |
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
//!     // A source of so many rows, and what they are if the test knows.
//!     fn source(&self, rows: u64) -> Source {
//!         let batch = testing::samples::keyed(1..=rows as i64, 1);
//!         let table = self.fresh_table(&testing::samples::keyed_columns(), &["id".to_owned()]);
//!         table.insert(&batch);
//!         Source::new(table.options()).with_rows(Rows::of(&[batch])).keeping(table)
//!     }
//!
//!     // A target that is there and empty.
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

use std::{any::Any, fmt, sync::Arc};

use arrow_array::RecordBatch;

use crate::{
    Cancel, Column, Error, ErrorKind, Host, LogicalType, Options, Plugin, Secrets, WriteMode,
};

pub mod descriptor;
mod modes;
pub mod proxy;
pub mod reader;
mod required;
mod rows;
mod run;
pub mod samples;
pub mod steps;
mod tally;
pub mod writer;
mod writer_suite;

pub use rows::{Rows, cell};
use tally::Tally;

/// What a plugin's test supplies. A plugin without a reader needs no `source`, one without a
/// writer no `target`.
pub trait Subject {
    /// A fresh source of so many rows, none of them dirty; 0 makes an empty one.
    fn source(&self, rows: u64) -> Source {
        panic!("the plugin declares a reader, so its subject needs a source of {rows} rows")
    }

    /// A fresh, empty target with these columns and this primary key (none if `key` is empty);
    /// one that takes any columns may ignore both. What it is made of goes when it is dropped.
    fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
        panic!("the plugin declares a writer, so its subject needs a target of {columns:?} {key:?}")
    }

    /// Values of the job's secret options.
    fn secrets(&self) -> Arc<dyn Secrets> {
        Arc::new(())
    }

    /// The types to try for a declared family, as exact as the store can be: a store whose
    /// timestamps end at microseconds leaves out `timestamp(9)`.
    fn types(&self, family: &str) -> Vec<LogicalType> {
        samples::types_of(family)
    }

    /// Whether the store can hold a value, given as [`cell`] prints it. Those it cannot hold must
    /// become dirty rows, and no others.
    fn takes(&self, logical: &LogicalType, cell: &str) -> bool {
        let _ = (logical, cell);
        true
    }

    /// Whether the reader makes a type again that the writer has written. If not, only
    /// [`Target::assert_holds`] judges it.
    fn reads_back(&self, logical: &LogicalType) -> bool {
        let _ = logical;
        true
    }

    /// Sources with rows that cannot be read.
    fn dirty_sources(&self) -> Vec<DirtySource> {
        Vec::new()
    }

    /// Batches with rows that the store refuses.
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

    /// Says which rows it holds. Otherwise one reading is compared with the next.
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

    /// Puts rows into it, by other means than the plugin's where there are any.
    fn put(&self, rows: &RecordBatch);

    /// Panics unless the target holds exactly these rows, in any order, looked at by other means
    /// than the plugin's where there are any. [`Rows::assert_same`] does the comparing.
    fn assert_holds(&self, expected: &[RecordBatch], when: &str);
}

/// A source with rows that cannot be read.
#[derive(Debug)]
pub struct DirtySource {
    /// Where to read; the rows, if said, are the clean ones.
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

/// Everything a plugin owes.
///
/// # Panics
/// At the first thing that is not as it should be.
pub fn all(plugin: &dyn Plugin, subject: &dyn Subject) {
    descriptor::all(plugin);
    reader::all(plugin, subject);
    writer::all(plugin, subject);
}

fn host(subject: &dyn Subject) -> Host {
    Host::new(subject.secrets(), Cancel::new())
}

/// The value of a call that must succeed.
#[track_caller]
fn expect<T, E: fmt::Display>(result: Result<T, E>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The error of a call that must fail with one of these kinds, and be fit to be printed.
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
