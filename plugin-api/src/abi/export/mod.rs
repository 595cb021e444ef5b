//! The plugin's side: a [`Plugin`] behind the root module's functions, and the macro that exports
//! them. Readers and writers have a file each. Everything in here runs inside the plugin library.

mod reader;
mod writer;

use abi_stable::{
    library::{__call_root_module_loader, RootModuleResult},
    prefix_type::PrefixTypeTrait,
    std_types::{RStr, RString},
};

use super::{
    guard::{catch, from_json, into_ffi, to_json},
    log,
    module::{FfiHost, FfiReader, FfiResult, FfiWriter, PluginModule, PluginModuleRef},
    services,
};
use crate::{Options, Plugin};

/// Implemented by `export_plugin!` for the library that it stands in.
#[doc(hidden)]
pub trait Exported: 'static {
    /// `cfg!(panic = "unwind")` where the macro stands.
    const UNWINDS: bool;

    /// The library's plugin.
    fn plugin() -> &'static dyn Plugin;
}

/// Makes the root module, once per library, in the form that abi_stable's loader expects.
#[doc(hidden)]
pub fn load<E: Exported>() -> RootModuleResult {
    __call_root_module_loader(module::<E>)
}

fn module<E: Exported>() -> PluginModuleRef {
    PluginModule {
        unwinds: E::UNWINDS,
        describe: describe::<E>,
        reader: reader::<E>,
        writer: writer::<E>,
        connect_log: log::connect,
    }
    .leak_into_prefix()
}

/// The root module's `describe`.
extern "C" fn describe<E: Exported>() -> FfiResult<RString> {
    into_ffi(catch("descriptor", || to_json(&E::plugin().descriptor())))
}

/// The root module's `reader`: options from JSON, the host from its handle, the reader to one.
extern "C" fn reader<E: Exported>(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiReader> {
    into_ffi(catch("reader", || {
        let options: Options = from_json("options", options.as_str())?;
        E::plugin().reader(options, services::import(host)).map(reader::export)
    }))
}

/// The root module's `writer`, as `reader`.
extern "C" fn writer<E: Exported>(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiWriter> {
    into_ffi(catch("writer", || {
        let options: Options = from_json("options", options.as_str())?;
        E::plugin().writer(options, services::import(host)).map(writer::export)
    }))
}

/// Makes this library a plugin: `export_plugin!(MyPlugin)`, once, with the path of a unit struct
/// that implements [`Plugin`]. Build it as a `cdylib` with `panic = "unwind"`; add `rlib` for the
/// plugin's own tests. The macro exports one symbol, [`ROOT_SYMBOL`](crate::abi::ROOT_SYMBOL), so
/// two plugins cannot be linked into one binary.
///
/// ```toml
/// [lib]
/// crate-type = ["cdylib", "rlib"]
///
/// [dependencies]
/// transload-plugin-api = "0.1"
///
/// [dev-dependencies]
/// transload-plugin-api = { version = "0.1", features = ["testing"] }
///
/// [profile.release]
/// panic = "unwind"
/// ```
///
/// # Examples
/// ```
/// use transload_plugin_api::{Descriptor, Plugin, export_plugin};
///
/// struct Nothing;
///
/// impl Plugin for Nothing {
///     fn descriptor(&self) -> Descriptor {
///         Descriptor { name: "nothing".into(), version: "0.1.0".into(), ..Descriptor::default() }
///     }
/// }
///
/// export_plugin!(Nothing);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($plugin:path) => {
        #[allow(unsafe_code, reason = "the one symbol that the library exports")]
        const _: () = {
            struct ThisLibrary;

            impl $crate::abi::exported::Exported for ThisLibrary {
                const UNWINDS: bool = cfg!(panic = "unwind");

                fn plugin() -> &'static dyn $crate::Plugin {
                    &$plugin
                }
            }

            extern "C" fn load() -> $crate::abi::exported::RootModuleResult {
                $crate::abi::exported::load::<ThisLibrary>()
            }

            // SAFETY: the name is the loader's own and exported once per library; `load` returns
            // the module type that is named here.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static ROOT: $crate::abi::exported::LibHeader = unsafe {
                $crate::abi::exported::LibHeader::from_constructor::<
                    $crate::abi::exported::PluginModuleRef,
                >(load, $crate::abi::exported::CheckTypeLayout::Yes)
            };
        };
    };
}

#[cfg(test)]
mod tests {
    /// The macro cannot use the constant, so this keeps them equal.
    #[test]
    fn the_macro_exports_the_root_symbol() {
        assert_eq!(crate::abi::ROOT_SYMBOL, "_1as_0lib_1header_0root_bmodule_bloader");
    }
}
