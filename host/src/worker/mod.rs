//! A plugin in a process of its own: the same library, called through the same traits, so that `contract`
//! and `engine` see no difference. A crash, an endless loop or a leak ends that process, and the program
//! reports who it was; the plugin reaches only what the job names for it.
//!
//! The host starts this program again as `transload plugin-worker` for each reader and writer. The
//! process gets an empty environment, a control socket as its standard input, and the bytes of the
//! library; it encloses itself (`sandbox`) as far as the job's options allow (`grants`), and only then
//! loads the library (`serve`). Functions are called through channels (`channel`, `message`), rows pass
//! through shared memory (`memory`, `batch`). `launch` has the process, `reader` and `writer` the traits.

mod batch;
mod call;
mod channel;
mod grants;
mod launch;
mod memory;
mod message;
mod reader;
mod sandbox;
mod serve;
mod writer;

use std::{os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use transload_plugin_api::{
    Descriptor, Error, Host, Options, Plugin, Reader, Result, Writer, abi::LogSink, code,
};

use crate::{
    catalog::{Capabilities, Isolation, Role},
    contract,
};
use grants::Grants;
use launch::{Launch, Worker};
use reader::IsolatedReader;
pub(crate) use sandbox::Sandbox;
pub(crate) use serve::worker_main;
use writer::IsolatedWriter;

/// The hidden command that makes this program a worker.
pub(crate) const WORKER_ARGUMENT: &str = "plugin-worker";

/// How plugins are isolated, as the installation and the command line have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsolationPolicy {
    /// All plugins run at least like this.
    pub(crate) least: Isolation,
    /// Whether a process that the system cannot enclose starts.
    pub(crate) sandbox: Sandbox,
    /// Most bytes of the private memory of a process.
    pub(crate) memory: u64,
    /// A call that does not return for this long, and says of nothing that it waits for it, has failed.
    pub(crate) stall: Duration,
}

impl Default for IsolationPolicy {
    fn default() -> Self {
        let (least, sandbox) = (Isolation::InProcess, Sandbox::BestEffort);
        Self { least, sandbox, memory: 4 << 30, stall: Duration::from_secs(60) }
    }
}

/// A plugin whose readers and writers have a process each.
pub(crate) struct IsolatedPlugin {
    pub(crate) descriptor: Descriptor,
    /// This program.
    pub(crate) program: PathBuf,
    /// The bytes of the library, or where it is.
    pub(crate) library: (Option<OwnedFd>, PathBuf),
    /// The most that it asks for, as its vendor says.
    pub(crate) asked: Option<Capabilities>,
    pub(crate) policy: IsolationPolicy,
    /// Receives the plugin's events.
    pub(crate) log: Arc<dyn LogSink>,
}

impl IsolatedPlugin {
    fn start(&self, role: Role, options: Options, host: Host) -> Result<Arc<Worker>> {
        if options.values.get("path").is_some_and(|path| path == "-") {
            let message = "a plugin in a process of its own has no standard input and output";
            return Err(Error::options(message)
                .with_code(code::PLUGIN_SANDBOX)
                .of_key("path")
                .hint("write a file, or run the plugin without `isolation = \"process\"`"));
        }
        let (descriptor, path) = &self.library;
        let descriptor = descriptor.as_ref().map(OwnedFd::try_clone).transpose()?;
        let IsolationPolicy { sandbox, memory, stall, .. } = self.policy;
        let grants = Grants::of(role, &self.descriptor, &options, memory);
        let grants = match &self.asked {
            Some(asked) => grants.within(asked)?,
            None => grants,
        };
        Worker::start(Launch {
            program: &self.program,
            plugin: contract::loaded(&self.descriptor.name),
            role,
            grants,
            options,
            library: (descriptor, path.clone()),
            sandbox,
            stall,
            log: self.log.clone(),
            host,
        })
    }
}

impl Plugin for IsolatedPlugin {
    fn descriptor(&self) -> Descriptor {
        self.descriptor.clone()
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        Ok(Box::new(IsolatedReader(self.start(Role::Reader, options, host)?)))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        Ok(Box::new(IsolatedWriter(self.start(Role::Writer, options, host)?)))
    }
}
