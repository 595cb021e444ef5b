//! The host: it finds plugins, reads a job file, plans, runs, and reports.
//!
//! # Layout, in the order of a run
//!
//! | module | what it does |
//! |---|---|
//! | `cli` | the command line: commands and flags |
//! | `command` | [`run`]: each command as a few steps through the modules below |
//! | `job` | what the user asked: the TOML as written becomes a `job::Job` |
//! | `copy` | one line instead of a file: FROM and TO become the text of a job |
//! | `catalog` | who can do it: plugins found, checked and loaded |
//! | `contract` | what plugins return, checked before it is believed |
//! | `worker` | a plugin in a process of its own |
//! | `stores` | the job's reader and writer, opened |
//! | `tables` | the tables that a reader offers, page by page |
//! | `increment` | what is new since the last run of an incremental job |
//! | `convert` | which types fit which, and the columnar conversion |
//! | `plan` | how it will be done: mapping, key, splits, guarantee |
//! | `engine` | doing it: tasks, ring, conversion, chunks, dirty rows, limits, stop |
//! | `journal` | the run's folder and journal: what another process needs to continue it |
//! | `repair` | the dirty rows of a run that has ended: listed, exported, matched, sent again |
//! | `flow` | jobs that need each other, for one scheduled time |
//! | `verify` | is it there: the source's rows against the target's |
//! | `import` | jobs of other tools: their documents become job files |
//! | `report` | what happened: progress, summary, JSON |
//! | `waits` | what the run waits for now |
//! | `signals`, `ending` | SIGINT and SIGTERM; the process's end, also one that a plugin causes |
//! | `process` | the unsafe calls of the system behind these two |
//! | `logging`, `escape`, `terminal` | log events with secrets redacted; what a terminal must not obey; what it can show |
//! | `error` | the one error type and the exit codes |
//!
//! A batch passes four files: `engine::reading` calls the plugin's `ReadTask`, `engine::task` converts
//! and sends, `engine::ring` buffers, and `engine::chunk` receives, writes and commits.
//!
//! # Glossary
//!
//! What is read and written:
//! - **store**: what a plugin reads or writes: a database, a folder, a bucket
//! - **source**, **target**: what a job reads, what it writes: tables, files or objects of a store
//! - **column**: has a native type in its store, and a logical type, which Arrow carries
//! - **dirty row**: a row that cannot be read, converted or written: counted, kept, limited
//! - **dirty replay**: a run that sends the repaired dirty rows of another run again
//! - **origin**, **place**: where the rows of a batch come from; where one row comes from
//!
//! What the user writes:
//! - **job**: what a job file asks for: one reader, one writer, limits
//! - **connection**: a named store with address and credentials, kept apart from jobs
//! - **environment**: one of several sets of options of a connection, such as `dev` and `prod`
//! - **option**: a key of a plugin; **parameter**: a value for `${name}` in a job file
//! - **increment**: the rows of a run that reads what is new; **watermark**: the value at which it ended
//! - **backfill**: a range of values that is read again in **steps**, each a run of its own
//! - **write mode**: what happens when a row's key exists in the target
//!
//! Who does it:
//! - **plugin**: a shared library that offers a reader, a writer or both for one kind of store
//! - **role**: reader or writer; **descriptor**: everything that a plugin declares about itself
//! - **isolation**: in which process a plugin's code runs; **worker**: a process for one reader or writer
//! - **catalog**: all plugins that were found; **plugin manifest**: those of an installation
//! - **finding**: the result of one stage of a check
//!
//! How it is done:
//! - **plan**: everything decided before a row moves
//! - **verdict**: what happens to the values of a column: native, lossless, widening, checked or
//!   impossible
//! - **native form**: how one kind of store keeps a type of its own; values pass untouched in it
//! - **split**: a part of the source, described so that another process could read it
//! - **guarantee**: how reliably each row takes effect once
//! - **task**: the smallest unit of running: one split copied to the target
//! - **lane**: a thread that runs one task after another
//! - **batch**: an Arrow record batch, what passes through the ring
//! - **ring**: the bounded lock-free buffer between a task's reader and writer
//! - **chunk**: what a writer commits at once: some batches, one transaction
//! - **position**: where reading continues after a batch
//! - **checkpoint**: what is kept with a committed chunk, and from which a task continues
//! - **replay**: a chunk that is rolled back and written again after a transient error
//! - **staging**: where a writer keeps uncommitted data beside the target
//! - **commit token**: a row in the target's database that changes in the transactions of a run's
//!   rows, and so shows which chunks are in; it is in a **token table**
//! - **claim**: when an attempt at a task takes it over, with the next **epoch**, its number in the
//!   store
//! - **fence**: what keeps an attempt of an older epoch from writing
//! - **receipt**: what a writer's task hands to the commit of the job
//! - **digest**: the checksum of a range of rows, computed in their store
//! - **difference**: a row that source and target do not both have with the same values
//! - **journal**: what a run writes down so that another process can continue it
//! - **resume**: to continue a run that has ended early, behind its last checkpoints
//! - **run**, **report**: one execution of a plan; its result
//! - **counters**, **counts**, **stats**, **progress**: rows by outcome; what a plugin counted; the
//!   figures of one task or ring; all of them during the run

mod catalog;
mod cli;
mod command;
mod conformance;
mod contract;
mod convert;
mod copy;
mod ending;
mod engine;
mod error;
mod escape;
mod flow;
mod import;
mod increment;
mod job;
mod journal;
mod logging;
mod plan;
mod process;
mod repair;
mod report;
mod signals;
mod stores;
mod tables;
mod terminal;
mod verify;
mod waits;
mod worker;

pub use cli::{Cli, parse};
pub use command::run;

/// What integration tests and benchmarks use of the host. Not an interface: it changes at will.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        catalog::{Catalog, Entry, Isolation, Role, SearchPath, Status, Trust, check},
        convert::{Converted, Converter},
        engine::{Received, RingLimits, ring},
    };
}

use error::{Error, Exit, Result};
use transload_plugin_api::nearest;
