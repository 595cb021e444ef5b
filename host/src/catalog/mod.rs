//! WHO CAN DO IT: the plugins that there are, and one of them by name.
//!
//! [`Catalog::open`] looks through the search path and knows of every library what it declares or
//! why it is refused, without loading any into this process; [`Catalog::plugin`] loads.
//!
//! `scan` puts each library of the `search` path through, in this order: `elf` (whole, and a
//! plugin), its hash against the `manifest`, the `probe` in a child process (remembered in
//! `cache`), the `sanity` of its descriptor. When it is asked for, `library` loads it for good and
//! `forward` takes its log.

mod cache;
mod check;
mod elf;
mod entry;
mod forward;
mod library;
mod lookup;
mod manifest;
mod probe;
mod sanity;
mod scan;
mod search;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use transload_plugin_api::{Descriptor, Error, ErrorKind, Plugin, Result, code};

pub use check::check;
pub use entry::{Entry, Role, Status};
pub(crate) use probe::probe_main;
pub use search::SearchPath;

use forward::PluginLog;

/// The plugins that were found.
pub struct Catalog {
    entries: Vec<Entry>,
    problems: Vec<Error>,
    loaded: Mutex<BTreeMap<PathBuf, Arc<dyn Plugin>>>,
}

impl Catalog {
    /// Looks through the search path. What is wrong with one library stands in its entry and
    /// harms no other.
    pub fn open(search: &SearchPath) -> Self {
        let (entries, problems) = scan::scan(search);
        Self { entries, problems, loaded: Mutex::default() }
    }

    /// Every library, in search order.
    pub fn list(&self) -> &[Entry] {
        &self.entries
    }

    /// What is wrong besides single libraries: folders that are not there, unreadable manifests.
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// What is known of one plugin, without loading it.
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
            Error::new(ErrorKind::Defect, format!("plugin `{name}` declares nothing"))
                .with_code(code::PLUGIN_DESCRIPTOR)
        })
    }

    /// Loads a plugin, once per process, never to be unloaded.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with the nearest name; [`ErrorKind::Unsupported`] without the role;
    /// the reason, if it was refused. Every code starts with `PLUGIN-`.
    pub fn plugin(&self, name: &str, role: Role) -> Result<Arc<dyn Plugin>> {
        let entry = self.entry(name, role)?;
        // Loading happens under the lock: two threads must not both load.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plugin) = loaded.get(&entry.path) {
            return Ok(plugin.clone());
        }
        let plugin = load(entry).map_err(|error| error.at(entry.path.display().to_string()))?;
        loaded.insert(entry.path.clone(), plugin.clone());
        Ok(plugin)
    }
}

fn load(entry: &Entry) -> Result<Arc<dyn Plugin>> {
    let module = library::load(&entry.path)?;
    module.connect_log(Arc::new(PluginLog::new(&entry.name)));
    module.import()
}
