//! What is done to the disk, in order, for the tests of what a power cut leaves. Outside of tests
//! nothing is recorded.

use bytes::Bytes;

/// A step, with the keys of what it changes.
#[cfg_attr(not(test), expect(dead_code, reason = "read by the tests"))]
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// A new file.
    Make(String),
    /// Bytes of a file, from an offset on.
    Write(String, u64, Bytes),
    /// A file's content is durable.
    Sync(String),
    /// A file has another name, in the place of what had it.
    Rename(String, String),
    /// A name is gone.
    Remove(String),
    /// The names in a folder are durable.
    SyncFolder(String),
    /// All is durable.
    SyncAll,
}

/// The steps of one store.
#[derive(Default)]
pub(super) struct Trace {
    #[cfg(test)]
    operations: parking_lot::Mutex<Vec<Operation>>,
}

impl Trace {
    #[cfg(test)]
    pub(super) fn note(&self, operation: impl FnOnce() -> Operation) {
        self.operations.lock().push(operation());
    }

    #[cfg(not(test))]
    #[inline]
    pub(super) fn note(&self, _: impl FnOnce() -> Operation) {}

    /// The steps so far.
    #[cfg(test)]
    pub(super) fn operations(&self) -> Vec<Operation> {
        self.operations.lock().clone()
    }
}
