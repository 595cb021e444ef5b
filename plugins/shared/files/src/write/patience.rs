//! How often and at which intervals a step of a commit is tried again.

use std::time::Duration;

/// A schedule of tries: intervals double from `first` to `longest`.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// At most this many tries.
    pub tries: u32,
    /// The first interval.
    pub first: Duration,
    /// The longest interval.
    pub longest: Duration,
}

impl Patience {
    /// For a disk, which does not fail in passing.
    pub const SHORT: Self =
        Self { tries: 2, first: Duration::from_millis(10), longest: Duration::from_millis(10) };

    /// Waits before another try; `false` if there have been enough.
    pub(crate) fn wait(&self, tried: u32) -> bool {
        if tried + 1 >= self.tries {
            return false;
        }
        let wait = self.first.saturating_mul(1 << tried.min(16)).min(self.longest);
        std::thread::sleep(wait);
        true
    }
}
