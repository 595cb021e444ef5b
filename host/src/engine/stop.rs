//! The one stop signal of a run. The first failure or a signal sets it; every thread checks it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use transload_plugin_api::{Cancel, Registration};

use crate::{Error, Exit, Result};

/// Which signal stopped a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// The stop signal. Clones are the same signal.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// What gave the signal first.
    first: Arc<Mutex<Option<Error>>>,
    requested: Arc<AtomicBool>,
    cancel: Cancel,
}

impl Stop {
    /// A signal that has not been given.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A signal of its own that the outer one gives, too, as long as the registration is kept.
    pub(crate) fn below(outer: &Self) -> (Self, Registration) {
        let inner = Self { requested: outer.requested.clone(), ..Self::default() };
        let (own, above) = (inner.clone(), outer.clone());
        let registration = outer.cancel.while_kept(move || own.fail(above.cancelled()));
        (inner, registration)
    }

    /// The signal as plugins see it.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Stops the run because of a failure; only the first one is kept.
    pub(crate) fn fail(&self, error: Error) {
        self.first.lock().get_or_insert(error);
        self.cancel.cancel();
    }

    /// Stops the run from outside.
    pub(crate) fn request(&self, reason: StopReason) {
        let exit = match reason {
            StopReason::Interrupt => Exit::Interrupted,
            StopReason::Terminate => Exit::Terminated,
        };
        // Relaxed: publishes nothing.
        self.requested.store(true, Relaxed);
        self.fail(Error::new(exit, "stopped by a signal; uncommitted rows are rolled back"));
    }

    /// Whether the signal has been given.
    pub(crate) fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Whether a signal from outside has stopped the run, or come after its first failure.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Relaxed)
    }

    /// What stopped the run.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.first.lock().clone()
    }

    /// # Errors
    /// What stopped the run, if it is stopped.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_stopped() { Err(self.cancelled()) } else { Ok(()) }
    }

    /// The error of a thread that ends because another one failed.
    pub(super) fn cancelled(&self) -> Error {
        self.failure().unwrap_or_else(|| Error::new(Exit::Failed, "a task ended early"))
    }

    /// Sleeps for `time`, or until the signal is given.
    ///
    /// # Errors
    /// As for [`Self::check`].
    pub(crate) fn sleep(&self, time: Duration) -> Result<()> {
        // What stopped the run says more than the error of `Cancel`.
        self.cancel.sleep(time).or_else(|_| self.check())
    }
}
