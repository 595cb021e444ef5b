//! The library's edge: what a plugin and its host agree on, frozen per major version.
//! Authors write [`crate::Plugin`] and one line, `export_plugin!`; hosts call [`module_at`] and
//! [`Module::import`] and get the same trait back. Finding and loading files is the host's.
//!
//! | file | what it holds |
//! |---|---|
//! | `module` | the frozen types: root module, vtables, handles; every function's contract |
//! | `version` | which versions fit together |
//! | `export` | the plugin's side: traits to vtables, the export macro |
//! | `import` | the host's side: vtables to traits |
//! | `services` | what the host lends: secrets, cancellation |
//! | `batch` | batches and schemas through the Arrow C Data Interface |
//! | `log` | the plugin's events and panics into the host's log |
//! | `guard` | no panic crosses |
//! | `layout` | layout reports in one line |
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

pub use import::{Module, module_at};
pub use log::{LogEvent, LogSink};
pub use version::{ABI, AbiVersion};

/// The symbol under which every plugin library exports its root module.
pub const ROOT_SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME;

/// What `export_plugin!` expands to; not for authors.
#[doc(hidden)]
pub mod exported {
    pub use super::export::{Exported, load};
    pub use super::module::PluginModuleRef;
    pub use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
}
