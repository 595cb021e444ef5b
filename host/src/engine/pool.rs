//! What the runs of several tables share: the lanes in which their tasks run, and the rate limits.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::{limits::Throttle, stop::Stop};
use crate::job::Channel;

/// How often a run that waits for a lane looks at its stop signal.
const LOOK: Duration = Duration::from_millis(100);

/// Lanes and limits of several runs. Clones are the same pool.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Lanes>);

struct Lanes {
    free: Mutex<u32>,
    freed: Condvar,
    throttle: Arc<Throttle>,
}

/// A lane that a task has; free again when dropped.
pub(super) struct Lane(Pool);

impl Pool {
    /// As many lanes as the job has, and its limits.
    pub(crate) fn new(channel: &Channel) -> Self {
        Self(Arc::new(Lanes {
            free: Mutex::new(channel.parallelism.get()),
            freed: Condvar::new(),
            throttle: Arc::new(Throttle::new(channel)),
        }))
    }

    /// The rate limits of all runs together.
    pub(super) fn throttle(&self) -> Arc<Throttle> {
        self.0.throttle.clone()
    }

    /// Waits for a free lane; none if the run is stopped.
    pub(super) fn lane(&self, stop: &Stop) -> Option<Lane> {
        let mut free = self.0.free.lock();
        while *free == 0 {
            if stop.is_stopped() {
                return None;
            }
            self.0.freed.wait_for(&mut free, LOOK);
        }
        *free -= 1;
        Some(Lane(self.clone()))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        *self.0.0.free.lock() += 1;
        self.0.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn no_more_lanes_are_taken_than_there_are() {
        let pool = Pool::new(&Channel::of(NonZeroU32::MIN));
        let stop = Stop::new();
        let lane = pool.lane(&stop);
        assert!(lane.is_some());
        stop.fail(crate::Error::new(crate::Exit::Failed, "x"));
        assert!(pool.lane(&stop).is_none());
        drop(lane);
        assert!(pool.lane(&stop).is_some());
    }
}
