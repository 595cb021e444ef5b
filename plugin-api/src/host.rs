//! What the host lends a plugin: secrets on request and a way to hear that it should stop.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Error, ErrorKind, Result};

/// A value that never prints. Overwritten when dropped.
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the driver that needs it and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Hands out secret options, by the key under which the descriptor declares them.
pub trait Secrets: Send + Sync {
    /// The secret's value now, or `None` if the job gives none. May run a command or read a file.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] when the job's reference cannot be resolved.
    fn secret(&self, key: &str) -> Result<Option<Secret>>;
}

/// A job without secrets.
impl Secrets for () {
    fn secret(&self, _key: &str) -> Result<Option<Secret>> {
        Ok(None)
    }
}

/// What every reader and writer gets when it is made.
#[derive(Clone)]
pub struct Host {
    secrets: Arc<dyn Secrets>,
    cancel: Cancel,
}

impl Host {
    /// A host with the given secrets and stop signal.
    pub fn new(secrets: Arc<dyn Secrets>, cancel: Cancel) -> Self {
        Self { secrets, cancel }
    }

    /// A host without secrets that never stops anybody, for tests.
    pub fn detached() -> Self {
        Self::new(Arc::new(()), Cancel::new())
    }

    /// The secret option `key`. Ask late and do not keep it: it may have been rotated.
    ///
    /// # Errors
    /// What [`Secrets::secret`] says.
    pub fn secret(&self, key: &str) -> Result<Option<Secret>> {
        self.secrets.secret(key)
    }

    /// The job's stop signal.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

type Waker = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct CancelState {
    cancelled: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

/// A stop signal: a flag to look at between rows, and wakers for calls that block.
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelState>);

impl Cancel {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal: sets the flag, then runs every waker once. Later calls do nothing.
    pub fn cancel(&self) {
        let wakers = {
            let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            // Release pairs with the Acquire below; set under the lock so that `on_cancel`
            // either sees the flag or has its waker in the list taken here.
            self.0.cancelled.store(true, Ordering::Release);
            std::mem::take(&mut *wakers)
        };
        for wake in wakers {
            wake();
        }
    }

    /// Whether the signal has been given.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// [`ErrorKind::Cancelled`] once the signal has been given, for `?` in loops.
    ///
    /// # Errors
    /// That one.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "stopped on request"));
        }
        Ok(())
    }

    /// Runs `wake` when the signal is given, at once if it was. `wake` must not block: it closes a
    /// socket, interrupts a statement or wakes a thread. It lives as long as the signal does.
    pub fn on_cancel(&self, wake: impl Fn() + Send + Sync + 'static) {
        let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            drop(wakers);
            wake();
        } else {
            wakers.push(Box::new(wake));
        }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}
