//! The stop signal of a job, as a plugin sees it: a flag, wakers for calls that block, and a sleep
//! that the signal ends. Giving the signal is the host's part.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use crate::{Error, Result};

type Waker = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    wakers: Mutex<Wakers>,
    /// Waited for with `wakers`; notified once, after `cancelled` is set.
    signal: Condvar,
}

/// The wakers by number, in the order of their registration.
#[derive(Default)]
struct Wakers {
    next: u64,
    by_number: BTreeMap<u64, Waker>,
}

/// A waker that [`Cancel::while_kept`] has registered. Dropping it removes the waker.
#[must_use = "dropping it removes the waker"]
pub struct Registration {
    state: Weak<State>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(state) = self.state.upgrade() else { return };
        let removed = state.wakers.lock().by_number.remove(&self.number);
        drop(removed); // after the lock: its own drop may use the signal
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").finish_non_exhaustive()
    }
}

/// A stop signal: a flag to check between rows, and wakers for calls that block. Clones are the
/// same signal.
///
/// A plugin checks it at least once per batch and returns [`crate::ErrorKind::Cancelled`]; a stop has to
/// end every call within a second.
#[derive(Clone, Default)]
pub struct Cancel(Arc<State>);

impl Cancel {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal: sets the flag, ends every [`Cancel::sleep`], then calls every waker once.
    /// Later calls do nothing.
    pub fn cancel(&self) {
        let wakers = {
            let mut wakers = self.0.wakers.lock();
            // Release pairs with the Acquire below; set under the lock so that `on_cancel`
            // either sees the flag or has its waker in the list taken here, and `sleep` either
            // sees the flag or waits already.
            self.0.cancelled.store(true, Ordering::Release);
            self.0.signal.notify_all();
            std::mem::take(&mut wakers.by_number)
        };
        for wake in wakers.into_values() {
            wake();
        }
    }

    /// Whether the signal has been given. Costs one atomic load.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Returns [`crate::ErrorKind::Cancelled`] once the signal has been given, for `?` in loops.
    ///
    /// # Errors
    /// That one.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::cancelled("stopped on request"));
        }
        Ok(())
    }

    /// Blocks this thread for `duration`, or until the signal is given. Any number of threads may
    /// sleep at once, and a sleep leaves nothing behind.
    ///
    /// Use it instead of [`std::thread::sleep`]: a plugin that polls or waits for a server has to
    /// end within a second of Ctrl-C. For pauses between attempts see [`crate::Backoff`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Cancelled`] at once when the signal is given, also if it was given before.
    ///
    /// # Examples
    /// ```
    /// use std::{thread, time::Duration};
    /// use transload_plugin_api::{Cancel, ErrorKind};
    ///
    /// let cancel = Cancel::new();
    /// cancel.sleep(Duration::from_millis(1))?; // slept to the end
    ///
    /// let signal = cancel.clone();
    /// thread::spawn(move || signal.cancel());
    /// let error = cancel.sleep(Duration::from_secs(3_600)).unwrap_err();
    /// assert_eq!(error.kind, ErrorKind::Cancelled);
    /// # Ok::<(), transload_plugin_api::Error>(())
    /// ```
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        if !duration.is_zero() {
            let mut wakers = self.0.wakers.lock();
            let asleep = |_: &mut Wakers| !self.is_cancelled();
            self.0.signal.wait_while_for(&mut wakers, asleep, duration);
        }
        self.check()
    }

    /// Calls `wake` when the signal is given; at once, on this thread, if it was given before.
    /// Otherwise on the thread that gives the signal.
    ///
    /// `wake` must not block: it closes a socket, interrupts a statement or wakes a thread. It is
    /// kept until the signal is given or its last clone is dropped: for what ends before the run, such
    /// as a connection, see [`Cancel::while_kept`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::mpsc;
    /// use transload_plugin_api::Cancel;
    ///
    /// let cancel = Cancel::new();
    /// let (stop, stopped) = mpsc::channel();
    /// cancel.on_cancel(move || {
    ///     let _ = stop.send(()); // the reader may have ended already
    /// });
    /// assert!(stopped.try_recv().is_err());
    ///
    /// cancel.cancel();
    /// assert!(stopped.try_recv().is_ok());
    /// ```
    pub fn on_cancel(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.add(Box::new(wake));
    }

    /// As [`Cancel::on_cancel`], until the registration is dropped. A signal that is being given at
    /// that moment may still call `wake`.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use transload_plugin_api::Cancel;
    ///
    /// let (cancel, connection) = (Cancel::new(), Arc::new("a connection"));
    /// let closed = connection.clone();
    /// let registration = cancel.while_kept(move || drop(closed.to_uppercase()));
    /// drop(registration);
    /// assert_eq!(Arc::strong_count(&connection), 1);
    /// ```
    pub fn while_kept(&self, wake: impl Fn() + Send + Sync + 'static) -> Registration {
        Registration { number: self.add(Box::new(wake)), state: Arc::downgrade(&self.0) }
    }

    /// Keeps a waker, or calls it if the signal has been given. Returns its number.
    fn add(&self, wake: Waker) -> u64 {
        let mut wakers = self.0.wakers.lock();
        let number = wakers.next;
        if self.is_cancelled() {
            drop(wakers);
            wake();
        } else {
            wakers.next += 1;
            wakers.by_number.insert(number, wake);
        }
        number
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_signal_ends_every_sleep_and_refuses_later_ones() {
        let cancel = Cancel::new();
        let sleepers: Vec<_> = (0..4)
            .map(|_| {
                let cancel = cancel.clone();
                thread::spawn(move || cancel.sleep(Duration::MAX))
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        cancel.cancel();
        for sleeper in sleepers {
            assert_eq!(sleeper.join().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
        }
        for duration in [Duration::ZERO, Duration::MAX] {
            assert_eq!(cancel.sleep(duration).unwrap_err().kind, ErrorKind::Cancelled);
        }
    }

    #[test]
    fn a_sleep_lasts_as_long_as_asked() {
        let begun = Instant::now();
        Cancel::new().sleep(Duration::from_millis(30)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn a_sleep_holds_up_no_waker() {
        let cancel = Cancel::new();
        let sleeper = cancel.clone();
        let sleeping = thread::spawn(move || sleeper.sleep(Duration::from_secs(60)));
        let (wake, woken) = std::sync::mpsc::channel();
        cancel.on_cancel(move || {
            let _ = wake.send(());
        });
        cancel.cancel();
        assert!(woken.try_recv().is_ok());
        assert!(sleeping.join().unwrap().is_err());
    }
}
