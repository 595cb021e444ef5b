//! A delay that ends at once when the job is told to stop.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use transload_plugin_api::{Cancel, Result};

/// Waits on behalf of one reader or writer.
#[derive(Clone)]
pub(crate) struct Pause {
    cancel: Cancel,
    stopped: Arc<(Mutex<bool>, Condvar)>,
}

impl Pause {
    pub(crate) fn new(cancel: &Cancel) -> Self {
        let stopped = Arc::new((Mutex::new(false), Condvar::new()));
        let waker = Arc::clone(&stopped);
        cancel.on_cancel(move || {
            *waker.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            waker.1.notify_all();
        });
        Self { cancel: cancel.clone(), stopped }
    }

    /// Waits so many milliseconds, or until the stop signal, which is an error.
    pub(crate) fn wait(&self, milliseconds: u64) -> Result<()> {
        if milliseconds > 0 {
            let (stopped, wake) = &*self.stopped;
            let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            let span = Duration::from_millis(milliseconds);
            drop(wake.wait_timeout_while(stopped, span, |stopped| !*stopped));
        }
        self.cancel.check()
    }
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::ErrorKind;

    use super::*;

    #[test]
    fn the_stop_signal_ends_a_long_pause() {
        let cancel = Cancel::new();
        let pause = Pause::new(&cancel);
        let waiting = std::thread::spawn(move || pause.wait(u64::from(u32::MAX)));
        cancel.cancel();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    }
}
