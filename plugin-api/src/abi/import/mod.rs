//! The host's side: a library's root module, checked, and then a [`Plugin`] like any other.
//! Readers and writers have a file each. Everything in here runs inside the host.

mod reader;
mod writer;

use std::{mem, sync::Arc};

use abi_stable::library::{AbiHeaderRef, LibraryError};

use super::{
    guard::{catch, from_ffi, from_json, to_json},
    layout,
    log::{self, LogSink},
    module::PluginModuleRef,
    services,
    version::{self, ABI, AbiVersion},
};
use crate::{Descriptor, Error, Host, Options, Plugin, Reader, Result, Writer, code};

/// A library's root module that has passed every check. Copies refer to the same library, which
/// is never unloaded.
#[derive(Clone, Copy)]
pub struct Module {
    module: PluginModuleRef,
    version: AbiVersion,
}

/// Checks what is at a library's [`super::ROOT_SYMBOL`], in this order: the header, the version,
/// the layout of every type, how the library was built. Runs the library's constructor of the root
/// module, once.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] for a library that does not fit, [`crate::ErrorKind::Defect`] for one that
/// is broken. Codes start with `PLUGIN-`.
///
/// # Safety
/// `symbol` is the address of that symbol in a library that is never unloaded. Checks catch a
/// plugin of another interface; they cannot catch a library that lies.
pub unsafe fn module_at(symbol: *const ()) -> Result<Module> {
    // SAFETY: the handle is a transparent pointer to the header, which is what the symbol is;
    // the header begins with a magic text that is compared before anything else is believed.
    let header = unsafe { mem::transmute::<*const (), AbiHeaderRef>(symbol) };
    let header = header.upgrade().map_err(|error| not_ours(&error))?;
    let version = AbiVersion::from_strings(header.version_strings())?;
    version::ensure_fits(ABI, version)?;
    let types = header.layout().ok_or_else(|| {
        Error::unsupported("the library does not describe its types").with_code(code::PLUGIN_LAYOUT)
    })?;
    catch("layout check", || layout::ensure_fits(types, version))?;
    // SAFETY: the layout has just been compared, in the direction that the versions ask for.
    let module = unsafe { header.unchecked_layout::<PluginModuleRef>() }.map_err(|error| {
        Error::defect("the library's root module failed to start")
            .with_code(code::PLUGIN_START)
            .caused_by(&error)
    })?;
    ensure_unwinds(module)?;
    Ok(Module { module, version })
}

fn not_ours(error: &LibraryError) -> Error {
    let message = match error {
        LibraryError::InvalidAbiHeader(_) => "the library's header is of another abi_stable",
        _ => "the library's calling convention differs",
    };
    Error::unsupported(message).with_code(code::PLUGIN_HEADER)
}

fn ensure_unwinds(module: PluginModuleRef) -> Result<()> {
    if module.unwinds() {
        return Ok(());
    }
    Err(Error::unsupported("built with `panic = \"abort\"`")
        .with_code(code::PLUGIN_ABORTS)
        .hint("a panic in it would end the program: build it with `panic = \"unwind\"`"))
}

impl Module {
    /// The version that the library was built for.
    pub fn version(&self) -> AbiVersion {
        self.version
    }

    /// Sends the library's events and panics to `sink`, from now on and for the life of the
    /// process. A plugin of ABI 1.0 sends none; of several sinks only the first has an effect.
    pub fn connect_log(&self, sink: Arc<dyn LogSink>) {
        if let Some(connect) = self.module.connect_log() {
            connect(log::export(sink));
        }
    }

    /// The library's plugin.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Defect`] if its descriptor panics or is not one.
    pub fn import(&self) -> Result<Arc<dyn Plugin>> {
        let text = from_ffi(self.module.describe()())?;
        let descriptor = from_json("descriptor", text.as_str())?;
        Ok(Arc::new(ForeignPlugin { module: self.module, version: self.version, descriptor }))
    }
}

/// The plugin as the host uses it. The descriptor was fetched once.
struct ForeignPlugin {
    module: PluginModuleRef,
    version: AbiVersion,
    descriptor: Descriptor,
}

impl Plugin for ForeignPlugin {
    fn descriptor(&self) -> Descriptor {
        self.descriptor.clone()
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        let options = to_json(&options)?;
        let ffi = from_ffi(self.module.reader()(options.as_rstr(), services::export(host)))?;
        Ok(Box::new(reader::ForeignReader::new(ffi, self.version)))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        let options = to_json(&options)?;
        let ffi = from_ffi(self.module.writer()(options.as_rstr(), services::export(host)))?;
        Ok(Box::new(writer::ForeignWriter::new(ffi, self.version)))
    }
}

/// The error for a function that an older plugin does not have.
fn too_old(verb: &str, since: &str, plugin: AbiVersion) -> Error {
    let message = format!("`{verb}` came with plugin ABI {since}, this plugin speaks {plugin}");
    Error::unsupported(message).with_code(code::PLUGIN_OLD).hint("update the plugin")
}
