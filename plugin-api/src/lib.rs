//! What a plugin author sees: ordinary Rust traits over Arrow record batches.
//!
//! A plugin is a shared library that offers a [`Reader`], a [`Writer`] or both for one kind of
//! store. Its author implements [`Plugin`] and names it once in `export_plugin!`; everything that
//! crosses the library's edge is written in [`abi`] and seen by nobody else. The same
//! implementation can therefore be tested natively and through its library, by one suite
//! (`testing`, behind the feature of that name).
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `descriptor` | what a plugin declares: options, types, write modes, limits |
//! | `options` | the options a job gave, checked against the descriptor |
//! | `logical` | the types that travel: [`LogicalType`] and [`Column`] |
//! | `reader` | [`Reader`] and [`ReadTask`]: schema, splits, batches with positions |
//! | `writer` | [`Writer`] and [`WriteTask`]: inspect, chunks, commit, abort |
//! | `count` | [`Count`]: what either side has counted of its store |
//! | `host` | [`Host`]: what the host provides to a plugin |
//! | `secret` | [`Secret`]: a value that never prints |
//! | `cancel` | [`Cancel`]: the stop signal, and a sleep that it ends |
//! | `backoff` | [`Backoff`]: the schedule of attempts to reconnect |
//! | `error` | the one error type, with a kind to act on |
//! | [`code`] | every stable error code with its meaning |
//! | [`abi`] | the frozen part: root module, vtables, export and import |
//! | `testing` | the conformance suite, behind the feature of that name |

pub mod abi;
mod backoff;
mod cancel;
pub mod code;
mod count;
mod descriptor;
mod error;
mod host;
mod logical;
mod option;
mod options;
mod reader;
mod secret;
#[cfg(feature = "testing")]
pub mod testing;
mod units;
mod writer;

pub use backoff::Backoff;
pub use cancel::Cancel;
pub use count::Count;
pub use descriptor::{
    ConflictEffect, Descriptor, Guarantee, KeyNeed, Limits, ReaderDescriptor, SplitAbility,
    TypeSupport, WriteMode, WriteModeSpec, WriterDescriptor,
};
pub use error::{Error, ErrorKind, Result};
pub use host::Host;
pub use logical::{Column, LogicalType, TypeParseError, columns_of, schema_of};
pub use option::{OptionKind, OptionScope, OptionSpec, ValueMismatch};
pub use options::Options;
pub use reader::{
    DirtyRow, Finding, Origin, Position, ReadBatch, ReadTask, Reader, SourceSchema, Split,
    SplitRequest, TableInfo,
};
pub use secret::{Secret, Secrets};
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
