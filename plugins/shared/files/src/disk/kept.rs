//! Descriptors kept open while a run works: of its folders, so that a name is resolved once and not
//! once for every file, and of the staged files that were opened last. A kept folder is the one that
//! was reached without a link that leads out; whoever moves it away moves its files too, as if it
//! had been moved a moment later.

use std::{fs::File, io, path::Path, sync::Arc};

use parking_lot::Mutex;
use rustix::fd::OwnedFd;

use super::beneath::open_root;

/// Folders of partitions that are kept at a time; those of one partition's levels are few.
const FOLDERS: usize = 64;
/// Staged files that are kept at a time: tasks end theirs in groups of fewer.
const FILES: usize = 64;

/// What is kept. Nothing, unless a run works.
#[derive(Default)]
pub(super) struct Kept {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runs: usize,
    root: Option<Arc<OwnedFd>>,
    folders: Recent<OwnedFd>,
    files: Recent<File>,
}

impl Kept {
    /// A run begins: from now on descriptors are kept.
    pub(super) fn begin(&self) {
        self.state.lock().runs += 1;
    }

    /// A run is over.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.runs = state.runs.saturating_sub(1);
        if state.runs == 0 {
            *state = State::default();
        }
    }

    /// Looks at all folders anew from now on.
    pub(super) fn forget_folders(&self) {
        let mut state = self.state.lock();
        state.root = None;
        state.folders = Recent::default();
    }

    /// The job's folder; links on the way to it are followed.
    pub(super) fn root(&self, path: &Path) -> io::Result<Arc<OwnedFd>> {
        let mut state = self.state.lock();
        if let Some(root) = &state.root {
            return Ok(Arc::clone(root));
        }
        let root = Arc::new(open_root(path)?);
        if state.runs > 0 {
            state.root = Some(Arc::clone(&root));
        }
        Ok(root)
    }

    /// A folder by its name below the root, if it is kept.
    pub(super) fn folder(&self, name: &str) -> Option<Arc<OwnedFd>> {
        self.state.lock().folders.get(name)
    }

    pub(super) fn keep_folder(&self, name: &str, folder: &Arc<OwnedFd>) {
        let mut state = self.state.lock();
        if state.runs > 0 {
            state.folders.put(name, Arc::clone(folder), FOLDERS);
        }
    }

    /// A staged file, if it is kept.
    pub(super) fn file(&self, name: &str) -> Option<Arc<File>> {
        self.state.lock().files.get(name)
    }

    pub(super) fn keep_file(&self, name: &str, file: &Arc<File>) {
        let mut state = self.state.lock();
        if state.runs > 0 {
            state.files.put(name, Arc::clone(file), FILES);
        }
    }

    pub(super) fn forget_file(&self, name: &str) {
        self.state.lock().files.take(name);
    }
}

/// The last few of many, by name; the newest is at the end.
struct Recent<T>(Vec<(String, Arc<T>)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Recent<T> {
    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().rposition(|(known, _)| known == name)
    }

    fn get(&self, name: &str) -> Option<Arc<T>> {
        self.position(name).map(|at| Arc::clone(&self.0[at].1))
    }

    fn put(&mut self, name: &str, value: Arc<T>, most: usize) {
        self.take(name);
        if self.0.len() >= most {
            self.0.remove(0);
        }
        self.0.push((name.to_owned(), value));
    }

    fn take(&mut self, name: &str) {
        if let Some(at) = self.position(name) {
            self.0.remove(at);
        }
    }
}
