//! The ABI: what a plugin library and its host agree on, frozen per major version. Authors write
//! [`crate::Plugin`] and one line, [`export_plugin!`](crate::export_plugin); hosts call
//! [`module_at`] and [`Module::import`] and get the same trait back. Finding and loading files is
//! left to the host.
//!
//! | file | what it contains |
//! |---|---|
//! | [`module`] | the frozen types: root module, vtables, handles; every function's contract |
//! | `version` | which versions fit together |
//! | `export` | the plugin's side: traits to vtables, the export macro |
//! | `import` | the host's side: vtables to traits |
//! | `services` | what the host provides: secrets, cancellation |
//! | `batch` | batches and schemas through the Arrow C Data Interface |
//! | `log` | the plugin's events and panics into the host's log |
//! | `guard` | no panic crosses; results and JSON |
//! | `layout` | layout mismatches in one line |
//!
//! # Names
//!
//! `FfiReader` is what crosses: a `data` pointer and a vtable. `ForeignReader` is how the receiving
//! side uses it: an implementation of [`crate::Reader`] that calls the vtable. Only the side that
//! made a `data` pointer looks behind it.
//!
//! # The life of a library
//!
//! 1. The host opens the file with `RTLD_LOCAL` (all plugins export the same symbol) and never
//!    unloads it: threads and thread-locals of the plugin would outlive its code.
//! 2. [`module_at`] checks the header, the version, the layout of every frozen type and the panic
//!    strategy, in this order; each refusal has a code of its own. Only then is the root module
//!    believed.
//! 3. [`Module::connect_log`] forwards events and panics.
//! 4. [`Module::import`] fetches the descriptor, once, and returns a [`crate::Plugin`].
//! 5. Readers, writers and tasks are handles. Each is dropped exactly once, tasks independently of
//!    the reader or writer that opened them.
//!
//! # Old and new sides
//!
//! A plugin of an older minor version has shorter vtables: the missing functions read as `None`, and
//! the foreign side returns `Unsupported` with code `PLUGIN-OLD`, or the default that `module`
//! states. A plugin of a newer minor version has longer ones, of which an older host reads the part
//! that it knows. JSON that crosses may have keys that the receiver does not know; it ignores them.
//! Keys that an older sender leaves out have defaults.
//!
//! # One call
//!
//! `ForeignReader::splits` writes its argument as JSON and calls `ReaderVtable::splits`; the
//! plugin's side guards against panics, reads the JSON, calls the author's `Reader::splits`, and
//! writes the result as JSON, which `ForeignReader` reads. A batch does not pass through JSON: its
//! buffers are shared through the Arrow C Data Interface, at 5 to 10 microseconds a batch.
#![allow(
    unsafe_code,
    reason = "raw handles and foreign functions: this folder is their only home in the plugin API"
)]

mod batch;
mod export;
mod guard;
mod import;
mod layout;
mod log;
pub mod module;
mod services;
mod version;

pub use guard::catch_panic;
pub use import::{Module, module_at};
pub use log::{LogEvent, LogSink};
pub use version::{ABI, AbiVersion};

/// The symbol under which every plugin library exports its root module.
pub const ROOT_SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME;

/// The items that `export_plugin!` expands to; not for authors.
#[doc(hidden)]
pub mod exported {
    pub use super::export::{Exported, load};
    pub use super::module::PluginModuleRef;
    pub use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
}
