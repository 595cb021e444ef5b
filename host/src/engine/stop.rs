//! The one stop signal of a run: the first failure or a signal sets it, everybody heeds it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use transload_plugin_api::Cancel;

use crate::{Error, Exit, Result};

/// Why a run stops from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

#[derive(Default)]
struct State {
    first: Mutex<Option<Error>>,
    stopped: Condvar,
}

/// The stop signal. Clones are the same signal.
#[derive(Clone, Default)]
pub struct Stop {
    state: Arc<State>,
    cancel: Cancel,
}

impl Stop {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// What plugins get to see of it.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Stops the run for a failure; only the first one counts.
    pub fn fail(&self, error: Error) {
        self.first().get_or_insert(error);
        self.state.stopped.notify_all();
        self.cancel.cancel();
    }

    /// Stops the run from outside.
    pub fn request(&self, reason: StopReason) {
        let exit = match reason {
            StopReason::Interrupt => Exit::Interrupted,
            StopReason::Terminate => Exit::Terminated,
        };
        self.fail(Error::new(exit, "stopped on request; what was not committed is rolled back"));
    }

    /// Whether the signal has been given.
    pub fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// What stopped the run.
    pub fn failure(&self) -> Option<Error> {
        self.first().clone()
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.is_stopped() { Err(self.cancelled()) } else { Ok(()) }
    }

    /// The error of those who stop because somebody else failed.
    pub(super) fn cancelled(&self) -> Error {
        self.failure().unwrap_or_else(|| Error::new(Exit::Failed, "a task ended early"))
    }

    /// Sleeps, or stops sleeping when the signal is given.
    pub(super) fn sleep(&self, time: Duration) -> Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        let first = self.first();
        let waited = self.state.stopped.wait_timeout_while(first, time, |first| first.is_none());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.check()
    }

    fn first(&self) -> MutexGuard<'_, Option<Error>> {
        self.state.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
