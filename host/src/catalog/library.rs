//! Loads a library into this process. With `process` the only files of the host with `unsafe`. Whether a file may be
//! loaded is decided before, by `elf`, the manifest and the probe.
#![allow(unsafe_code, reason = "loading foreign code cannot be checked by the compiler")]

use std::{ffi::c_int, mem, path::Path};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use transload_plugin_api::{
    Error, Result,
    abi::{Module, ROOT_SYMBOL, module_at},
    code,
};

/// `RTLD_NODELETE` of Linux (glibc and musl): the library stays even if something closes it.
/// libloading does not name it.
const RTLD_NODELETE: c_int = 0x1000;

/// Loads the library for the life of the process and checks its root module. `RTLD_LOCAL`, because
/// every plugin exports the same symbol; `RTLD_NOW`, so that a missing symbol is an error here and
/// not during a run.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when it cannot be loaded or does not fit.
pub(crate) fn load(path: &Path) -> Result<Module> {
    // SAFETY: the library's constructors run, which is inherent in loading a plugin. The probe has
    // run them before, in a child process.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) }
        .map_err(|error| cannot_load(&error))?;
    // SAFETY: only the symbol's address is taken here, as an untyped pointer.
    let symbol = unsafe { library.get::<*const ()>(ROOT_SYMBOL) }
        .map_err(|error| cannot_load(&error))?
        .into_raw();
    mem::forget(library);
    // SAFETY: the address of that symbol, in a library that has just been made permanent.
    unsafe { module_at(symbol.cast_const().cast()) }
}

fn cannot_load(error: &libloading::Error) -> Error {
    Error::unsupported("cannot load the library").with_code(code::PLUGIN_LOAD).caused_by(error)
}
