//! The contract with plugins, checked where their functions return: every value that crosses is
//! examined here before the rest of the host believes it. Also records which function is running, and
//! names plugin, role and function in every error. The layout of what crosses is left to
//! `plugin-api::abi`; a descriptor's consistency to `catalog::sanity`.

mod call;
mod prose;
mod reader;
mod writer;

use std::sync::Arc;

use transload_plugin_api::{Descriptor, Error, ErrorOrigin, Host, Options, Plugin, Result, code};
use transload_plugin_api::{Reader, Writer};

use crate::{catalog::Role, process};

pub(crate) use call::{Call, loaded};
use reader::CheckedReader;
use writer::{CheckedWriter, Make};

/// A plugin in one role, as the one whose functions are called. Its name lives as long as the process,
/// as its library does.
#[derive(Clone, Copy)]
pub(crate) struct Callee {
    plugin: &'static str,
    role: Role,
}

impl Callee {
    /// Calls a function; its error names where it came from.
    fn call<T>(self, verb: &'static str, function: impl FnOnce() -> Result<T>) -> Result<T> {
        let Self { plugin, role } = self;
        let result = Call { plugin, role, verb }.run(function);
        result.map_err(|error| self.named(verb, prose::error(error)))
    }

    /// Problems that a function returned beside its result, as if each were its error.
    fn name_all(self, verb: &'static str, problems: &mut [Error]) {
        for problem in problems {
            let found = std::mem::replace(problem, Error::other(""));
            *problem = self.named(verb, prose::error(found));
        }
    }

    /// The error of a plugin that broke a rule of the contract.
    fn breach(self, verb: &'static str, rule: impl Into<String>) -> Error {
        let error = Error::defect(rule)
            .with_code(code::PLUGIN_CONTRACT)
            .hint("this is a defect in the plugin: report it to its author");
        self.named(verb, error)
    }

    fn named(self, verb: &str, mut error: Error) -> Error {
        error.origin = Some(Box::new(ErrorOrigin {
            plugin: self.plugin.to_owned(),
            role: self.role.word().to_owned(),
            verb: verb.to_owned(),
        }));
        error
    }
}

/// A plugin whose readers and writers are checked.
pub(crate) struct CheckedPlugin {
    name: &'static str,
    plugin: Arc<dyn Plugin>,
    descriptor: Descriptor,
}

impl CheckedPlugin {
    /// A plugin that has just been loaded.
    pub(crate) fn new(plugin: Arc<dyn Plugin>) -> Self {
        let descriptor = plugin.descriptor();
        Self { name: loaded(&descriptor.name), plugin, descriptor }
    }
}

impl Plugin for CheckedPlugin {
    fn descriptor(&self) -> Descriptor {
        self.descriptor.clone()
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        let callee = Callee { plugin: self.name, role: Role::Reader };
        let reader = callee.call("reader", || self.plugin.reader(options, host));
        process::restore_handlers();
        let reader = reader?;
        let best = self.descriptor.reader.as_ref().map(|reader| reader.ability);
        Ok(Box::new(CheckedReader::new(callee, reader, best.unwrap_or_default())))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        let callee = Callee { plugin: self.name, role: Role::Writer };
        let plugin = Arc::clone(&self.plugin);
        let make: Make = Box::new(move || plugin.writer(options.clone(), host.clone()));
        let writer = callee.call("writer", &make);
        process::restore_handlers();
        let writer = writer?;
        let modes = self.descriptor.writer.as_ref().map(|writer| writer.modes.clone());
        Ok(Box::new(CheckedWriter::new(callee, writer, make, modes.unwrap_or_default())))
    }
}
