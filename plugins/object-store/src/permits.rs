//! Bounds the requests for content that are under way at once. A request whose bytes are
//! not consumed is given up when another one waits, so that a slow consumer of one object
//! cannot keep the readers of others from going on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use transload_plugin_api::{Error, Result};

/// The requests that may be under way.
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Notified when a request begins to wait.
    requested: Notify,
}

/// The right to have one request under way.
pub(crate) type Permit = OwnedSemaphorePermit;

/// A request that waits; counted until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            waiting: AtomicUsize::new(0),
            requested: Notify::new(),
        }
    }

    /// Waits for a permit, in the order of the calls.
    pub(crate) async fn acquire(&self) -> Result<Permit> {
        let free = Arc::clone(&self.free);
        let permit = match Arc::clone(&free).try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let _waiting = Waiting(&self.waiting);
                self.requested.notify_waiters();
                free.acquire_owned().await
            }
        };
        permit.map_err(|_| Error::cancelled("the store has been closed"))
    }

    /// Returns once a request waits for a permit.
    pub(crate) async fn contended(&self) {
        loop {
            // Made before the look, so that no notification falls between the two.
            let requested = self.requested.notified();
            if self.waiting.load(Ordering::SeqCst) > 0 {
                return;
            }
            requested.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_holder_learns_that_another_one_waits() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let permits = Arc::new(Permits::new(1));
            let held = permits.acquire().await.unwrap();
            let soon = Duration::from_millis(50);
            assert!(tokio::time::timeout(soon, permits.contended()).await.is_err());
            let other = Arc::clone(&permits);
            let waiting = tokio::spawn(async move { other.acquire().await });
            permits.contended().await;
            drop(held);
            drop(waiting.await.unwrap().unwrap());
            assert!(tokio::time::timeout(soon, permits.contended()).await.is_err());
        });
    }
}
