//! What a plugin waits for: the host shows it beside the progress, and logs it. How long a wait may
//! take is the caller's decision.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The target of the log events by which [`Waiting`] reaches the host. The end of a wait has the field
/// `ended`, one that is not to be logged `quiet`.
pub const WAITING: &str = "transload::waiting";

/// Numbers the waits of this library.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A wait, from its making until it is dropped: for a connection, a lock, the next attempt. The host
/// shows one that takes longer than a second.
///
/// # Examples
/// ```
/// use transload_plugin_api::Waiting;
///
/// let waiting = Waiting::new(format_args!("waiting for table `slow`, held by process {}", 8121));
/// // ... the wait itself
/// drop(waiting);
/// ```
#[must_use = "dropping it ends the wait"]
#[derive(Debug)]
pub struct Waiting(u64);

impl Waiting {
    /// The wait begins; `what` is a phrase such as `connecting to db1:5432`, without secrets.
    pub fn new(what: impl fmt::Display) -> Self {
        // Relaxed: only the numbers must differ.
        let id = NEXT.fetch_add(1, Relaxed);
        tracing::info!(target: WAITING, id, "{what}");
        Self(id)
    }

    /// A wait that is often too short to be of interest, such as for one statement: it is shown if it
    /// takes long, and not logged.
    pub fn quiet(what: impl fmt::Display) -> Self {
        let id = NEXT.fetch_add(1, Relaxed);
        tracing::info!(target: WAITING, id, quiet = true, "{what}");
        Self(id)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        tracing::info!(target: WAITING, id = self.0, ended = true, "done");
    }
}
