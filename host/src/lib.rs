//! The host: it finds plugins, understands a job file, plans, runs, and reports.
//!
//! # Layout, in the order of a run
//!
//! | module | question |
//! |---|---|
//! | `cli` | what the command line says |
//! | `command` | each command as a few steps through the modules below |
//! | `job` | what the user asked: the TOML as written becomes a `job::Job` |
//! | `catalog` | who can do it: plugins found, examined and loaded |
//! | `stores` | both sides opened |
//! | `convert` | which types fit into which, and the columnar conversion |
//! | `plan` | how it will be done: mapping, key, splits, guarantee; pure but for questions |
//! | `engine` | doing it: tasks, ring, conversion, chunks, dirty rows, limits, stop |
//! | `journal` | the run's name and folder |
//! | `report` | what happened: progress, summary, JSON |
//! | `signals`, `logging` | SIGINT and SIGTERM; log events with secrets taken out |
//! | `error` | the one error and its exit codes |
//!
//! A batch's way: `engine::reading` asks the plugin's `ReadTask`; `engine::task` converts and sends;
//! `engine::ring` holds; `engine::chunk` receives, writes and commits. Nothing else touches it.
//!
//! # Glossary
//!
//! - **job**: what a job file asks for: one reader, one writer, limits
//! - **connection**: a named data source with address and credentials, kept apart from jobs
//! - **plugin**: a shared library that offers a reader, a writer or both for one kind of store
//! - **split**: a part of the source, described so that another process could read it
//! - **task**: the smallest unit of running: one split copied to the destination
//! - **batch**: an Arrow record batch, what passes through the ring
//! - **ring**: the bounded lock-free buffer between a task's reader and writer
//! - **chunk**: what a writer commits at once: some batches, one transaction
//! - **dirty row**: a row that cannot be read, converted or written: counted, kept, limited
//! - **write mode**: what happens when a row's key is in the destination already
//! - **plan**: everything decided before a row moves
//! - **run**, **report**: one execution of a plan; what came of it

mod catalog;
mod cli;
mod command;
mod convert;
mod engine;
mod error;
mod job;
mod journal;
mod logging;
mod nearest;
mod plan;
mod report;
mod signals;
mod stores;

pub use cli::Cli;
pub use command::run;

/// What integration tests and benchmarks use of the host. Not an interface: it changes at will.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        catalog::{Catalog, Entry, Role, SearchPath, Status, check},
        engine::{Received, RingLimits, ring},
    };
}

use error::{Error, Exit, Result};
