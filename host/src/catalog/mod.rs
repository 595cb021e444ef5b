//! WHO CAN DO IT: all plugins, and one of them by name.
//!
//! [`Catalog::open`] scans the search path and records for every library what it declares or why it
//! is refused, without loading any into this process. [`Catalog::plugin`] loads one.
//!
//! A library is found by itself, or in a vendor's folder with a manifest (`vendor`, `package`), whose
//! signature `signature` verifies; `policy` and `lock` hold what the operator has decided, `pack` and
//! `install` are the commands that make and accept such folders.
//!
//! `scan` checks each library of the `search` path in this order: `access` (who can change it), `elf`
//! (intact, and a plugin), its hash against the `manifest`, whether it may run (`policy`), the `probe`
//! in a child process (results are kept in `cache`), and the `sanity` of its descriptor. `library` then
//! loads a `sealed` copy of the same hash for the life of the process, and `plugin_log` receives its
//! events. Plugins that run in processes of their own are left to `worker`.

mod access;
mod cache;
mod capabilities;
mod check;
mod document;
mod elf;
mod entry;
mod folder;
mod install;
mod linkage;

mod library;
mod lock;
mod lookup;
mod manifest;
mod pack;
mod package;
mod plugin_log;
mod policy;
mod probe;
mod role;
mod sanity;
mod scan;
mod sealed;
mod search;
mod signature;
mod trust;
mod vendor;
mod version;

#[cfg(test)]
mod fuzz;

use std::{collections::BTreeMap, fs::File, mem, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use transload_plugin_api::{Descriptor, Error, Plugin, Result, code};

pub(crate) use capabilities::Capabilities;
pub use check::check;
pub(crate) use document::place;
pub use entry::{Entry, Status};
pub(crate) use install::{Places, Revoke, Summary, candidate, pin, revoke, trust};
pub(crate) use library::load as load_library;
pub(crate) use pack::{PackRequest, pack};
pub use package::Isolation;
pub(crate) use probe::probe_main;
pub use role::Role;
pub use search::SearchPath;
pub use trust::Trust;

use scan::Scanned;

use crate::{
    contract::CheckedPlugin,
    process,
    worker::{IsolatedPlugin, IsolationPolicy},
};
use plugin_log::PluginLog;
use sealed::Sealed;

/// The plugins that were found.
pub struct Catalog {
    entries: Vec<Entry>,
    problems: Vec<Error>,
    loaded: Mutex<BTreeMap<PathBuf, Arc<dyn Plugin>>>,
    /// This program, which also is the worker.
    program: PathBuf,
    policy: IsolationPolicy,
}

impl Catalog {
    /// Scans the search path. A problem of one library is kept in its entry and affects no other.
    pub fn open(search: &SearchPath) -> Self {
        let Scanned { entries, problems } = scan::scan(search);
        let (loaded, policy) = (Mutex::default(), IsolationPolicy::default());
        let program = search.program().to_owned();
        Self { entries, problems, loaded, program, policy }
    }

    /// The same plugins, isolated at least as the policy says.
    #[must_use]
    pub(crate) fn with_policy(self, policy: IsolationPolicy) -> Self {
        Self { policy, ..self }
    }

    /// The same plugins, each in a process of its own: for tests.
    #[must_use]
    pub fn isolated(self) -> Self {
        let policy = IsolationPolicy { least: Isolation::Process, ..self.policy };
        self.with_policy(policy)
    }

    /// Every library, in search order.
    pub fn list(&self) -> &[Entry] {
        &self.entries
    }

    /// Problems that concern no single library: missing folders, unreadable manifests.
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// What is known about one plugin, without loading it.
    ///
    /// # Errors
    /// As for [`Self::plugin`].
    pub fn entry(&self, name: &str, role: Role) -> Result<&Entry> {
        lookup::find(&self.entries, name, role)
    }

    /// What a plugin declares, without loading it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with the nearest name; the reason, if it was refused.
    pub fn descriptor(&self, name: &str) -> Result<Descriptor> {
        let entry = lookup::usable(&self.entries, name)?;
        entry.descriptor.clone().ok_or_else(|| {
            Error::defect(format!("plugin `{name}` declares nothing"))
                .with_code(code::PLUGIN_DESCRIPTOR)
        })
    }

    /// As [`Self::plugin_at`], as isolated as the policy demands.
    ///
    /// # Errors
    /// As for that one.
    pub fn plugin(&self, name: &str, role: Role) -> Result<Arc<dyn Plugin>> {
        self.plugin_at(name, role, Isolation::InProcess, self.policy.stall)
    }

    /// A plugin, isolated at least like this; `stall` is how long a call may take that is. In this process
    /// it is loaded once, and never unloaded.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with the nearest name; [`ErrorKind::Unsupported`] without the role;
    /// the reason, if it was refused.
    pub(crate) fn plugin_at(
        &self,
        name: &str,
        role: Role,
        isolation: Isolation,
        stall: Duration,
    ) -> Result<Arc<dyn Plugin>> {
        let entry = self.entry(name, role)?;
        if self.policy.least.max(isolation).max(entry.isolation) == Isolation::Process {
            let isolated = self.isolate(entry, stall);
            return isolated.map_err(|error| error.at(entry.path.display().to_string()));
        }
        // Held while loading, so that two threads do not load the same library.
        let mut loaded = self.loaded.lock();
        if let Some(plugin) = loaded.get(&entry.path) {
            return Ok(plugin.clone());
        }
        let plugin = load(entry).map_err(|error| error.at(entry.path.display().to_string()))?;
        loaded.insert(entry.path.clone(), plugin.clone());
        Ok(plugin)
    }
}

impl Catalog {
    /// A plugin whose library no thread of this process loads.
    fn isolate(&self, entry: &Entry, stall: Duration) -> Result<Arc<dyn Plugin>> {
        let descriptor = entry.descriptor.clone().ok_or_else(|| {
            Error::defect("the plugin declares nothing").with_code(code::PLUGIN_DESCRIPTOR)
        })?;
        let sealed = sealed(entry)?;
        let isolated = IsolatedPlugin {
            descriptor,
            program: self.program.clone(),
            library: sealed.for_workers()?,
            asked: entry.capabilities.clone(),
            policy: IsolationPolicy { stall, ..self.policy },
            log: Arc::new(PluginLog::new(&entry.name)),
        };
        Ok(Arc::new(CheckedPlugin::new(Arc::new(isolated))))
    }
}

/// A copy of the bytes that were checked.
fn sealed(entry: &Entry) -> Result<Sealed> {
    let sealed = match entry.is_packed {
        // Its folder was checked; the hash says that these are the same bytes.
        true => Sealed::of_package(File::open(&entry.path)?)?,
        false => Sealed::copy(&entry.path)?,
    };
    sealed.ensure_same(&entry.sha256)?;
    Ok(sealed)
}

/// Loads the library and connects its log before its plugin is used.
fn load(entry: &Entry) -> Result<Arc<dyn Plugin>> {
    let sealed = sealed(entry)?;
    let module = library::load(&sealed.path())?;
    // The copy lives as long as the library: its path must not be used again.
    mem::forget(sealed);
    module.connect_log(Arc::new(PluginLog::new(&entry.name)));
    let plugin = module.import();
    process::restore_handlers();
    Ok(Arc::new(CheckedPlugin::new(plugin?)))
}
