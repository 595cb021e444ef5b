//! Rate limits of a job: bytes and rows per second, for all tasks together.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::stop::Stop;
use crate::{Result, job::Channel};

/// How far a burst may run ahead of the rate.
const BURST: Duration = Duration::from_secs(1);

/// Delays readers to keep to the job's rates.
pub(super) struct Throttle {
    bytes: Option<Rate>,
    rows: Option<Rate>,
}

/// A virtual clock that each unit advances by its share of a second.
struct Rate {
    per_second: u64,
    due: Mutex<Instant>,
}

impl Throttle {
    /// The throttle of a job; without limits it never waits.
    pub(super) fn new(channel: &Channel) -> Self {
        let rate = |per_second| Rate { per_second, due: Mutex::new(Instant::now()) };
        Self {
            bytes: channel.max_bytes_per_second.map(rate),
            rows: channel.max_rows_per_second.map(rate),
        }
    }

    /// Waits until these bytes and rows may pass, and returns for how long.
    ///
    /// # Errors
    /// What stopped the run, if it is stopped meanwhile.
    pub(super) fn pass(&self, bytes: u64, rows: u64, stop: &Stop) -> Result<Duration> {
        let mut waited = Duration::ZERO;
        for (rate, amount) in [(&self.bytes, bytes), (&self.rows, rows)] {
            let Some(rate) = rate else { continue };
            let pause = rate.wait(amount, Instant::now());
            stop.sleep(pause)?;
            waited += pause;
        }
        Ok(waited)
    }
}

impl Rate {
    /// Books the amount and returns how long to wait before it may pass.
    fn wait(&self, amount: u64, now: Instant) -> Duration {
        let mut due = self.due.lock();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = (*due).max(earliest);
        *due = start + Duration::from_secs_f64(amount as f64 / self.per_second.max(1) as f64);
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_add_up_to_the_rate() {
        let start = Instant::now();
        let rate = Rate { per_second: 1000, due: Mutex::new(start) };
        assert_eq!(rate.wait(1000, start), Duration::from_secs(1));
        assert_eq!(rate.wait(500, start), Duration::from_millis(1500));
        // After a pause only a second's worth may burst.
        let later = start + Duration::from_secs(60);
        assert_eq!(rate.wait(1000, later), Duration::ZERO);
        assert_eq!(rate.wait(1000, later), Duration::from_secs(1));
    }
}
