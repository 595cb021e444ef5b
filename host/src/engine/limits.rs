//! Rate limits of a job: bytes and rows per second, for all tasks together. They can be changed at any
//! time; who changes them is left to `watch`.

use std::{
    fmt,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::stop::Stop;
use crate::{
    Result,
    job::Channel,
    report::{bytes, grouped},
};

/// How much of a rate can be caught up after a time in which less came. With [`PIECE`] it is 5 % of 10
/// seconds.
const BURST: Duration = Duration::from_millis(400);
/// Larger batches pass in pieces of this share of a second's rate.
const PIECE: Duration = Duration::from_millis(100);
/// A new rate takes effect for those that wait after this time.
const LOOK: Duration = Duration::from_millis(200);

/// Limits over all tasks; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rates {
    /// Bytes taken from the source, as it stores them.
    pub(crate) max_bytes_per_second: Option<u64>,
    /// Rows taken from the source.
    pub(crate) max_rows_per_second: Option<u64>,
}

impl fmt::Display for Rates {
    /// `20 MB/s, 50,000 rows/s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.max_bytes_per_second.map(|limit| format!("{}/s", bytes(limit)));
        let rows = self.max_rows_per_second.map(|limit| format!("{} rows/s", grouped(limit)));
        match (bytes, rows) {
            (None, None) => f.write_str("none"),
            (Some(one), None) | (None, Some(one)) => f.write_str(&one),
            (Some(bytes), Some(rows)) => write!(f, "{bytes}, {rows}"),
        }
    }
}

/// Delays readers to keep to the job's rates.
pub(crate) struct Throttle {
    origin: Instant,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    bytes: Bucket,
    rows: Bucket,
    changes: u64,
}

/// Counts what was booked and what the rate has paid for since. An amount passes as soon as all that was
/// booked up to it is paid, so tasks pass in the order of their bookings.
#[derive(Default)]
struct Bucket {
    per_second: Option<u64>,
    booked: f64,
    paid: f64,
    /// Up to when `paid` is counted; `None` before the first booking.
    at: Option<Duration>,
}

impl Throttle {
    /// The throttle of a job; without limits it never waits.
    pub(super) fn new(channel: &Channel) -> Self {
        let bucket = |per_second| Bucket { per_second, ..Bucket::default() };
        let buckets = Buckets {
            bytes: bucket(channel.max_bytes_per_second),
            rows: bucket(channel.max_rows_per_second),
            changes: 0,
        };
        Self { origin: Instant::now(), buckets: Mutex::new(buckets) }
    }

    /// The limits now.
    pub(crate) fn rates(&self) -> Rates {
        let buckets = self.buckets.lock();
        Rates {
            max_bytes_per_second: buckets.bytes.per_second,
            max_rows_per_second: buckets.rows.per_second,
        }
    }

    /// How often the limits have been changed.
    pub(crate) fn changes(&self) -> u64 {
        self.buckets.lock().changes
    }

    /// Changes the limits, also for those that wait.
    pub(super) fn set(&self, rates: Rates) {
        let now = self.origin.elapsed();
        let mut buckets = self.buckets.lock();
        buckets.bytes.set(rates.max_bytes_per_second, now);
        buckets.rows.set(rates.max_rows_per_second, now);
        buckets.changes += 1;
    }

    /// In how many pieces a batch should pass: each is a small share of a second's rate.
    pub(super) fn pieces(&self, bytes: u64, rows: u64) -> u64 {
        let buckets = self.buckets.lock();
        let pieces = buckets.bytes.pieces(bytes).max(buckets.rows.pieces(rows));
        pieces.clamp(1, rows.max(1))
    }

    /// Waits until these bytes and rows may pass, and returns for how long.
    ///
    /// # Errors
    /// What stopped the run, if it is stopped meanwhile.
    pub(super) fn pass(&self, bytes: u64, rows: u64, stop: &Stop) -> Result<Duration> {
        let begun = self.origin.elapsed();
        let (bytes, rows) = {
            let mut buckets = self.buckets.lock();
            (buckets.bytes.book(bytes, begun), buckets.rows.book(rows, begun))
        };
        loop {
            let now = self.origin.elapsed();
            let mut buckets = self.buckets.lock();
            let left = buckets.bytes.left(bytes, now).max(buckets.rows.left(rows, now));
            drop(buckets);
            if left.is_zero() {
                return Ok(now - begun);
            }
            stop.sleep(left.min(LOOK))?;
        }
    }
}

impl Bucket {
    fn set(&mut self, per_second: Option<u64>, now: Duration) {
        self.pay(now);
        self.per_second = per_second;
    }

    fn pieces(&self, amount: u64) -> u64 {
        let Some(rate) = self.per_second else { return 1 };
        amount.div_ceil((rate as f64 * PIECE.as_secs_f64()).max(1.0) as u64)
    }

    /// Counts what the rate has paid for until now.
    fn pay(&mut self, now: Duration) {
        let at = self.at.replace(now).unwrap_or(now);
        let Some(rate) = self.per_second else {
            self.paid = self.booked;
            return;
        };
        let rate = rate as f64;
        let earned = rate * now.saturating_sub(at).as_secs_f64();
        self.paid = (self.paid + earned).min(self.booked + rate * BURST.as_secs_f64());
    }

    /// Books an amount; it may pass when what is returned is paid.
    fn book(&mut self, amount: u64, now: Duration) -> f64 {
        self.pay(now);
        self.booked += amount as f64;
        self.booked
    }

    /// How long it takes at the current rate until so much is paid.
    fn left(&mut self, booked: f64, now: Duration) -> Duration {
        self.pay(now);
        // Less than a thousandth of a row or a byte is an error of the arithmetic.
        let missing = booked - self.paid;
        match self.per_second {
            Some(rate) if missing > 1e-3 => {
                Duration::try_from_secs_f64(missing / rate as f64).unwrap_or(Duration::MAX)
            }
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn bucket(rate: u64) -> Bucket {
        Bucket { per_second: Some(rate), ..Bucket::default() }
    }

    /// What passes when: tasks that each read a batch in some time and then pass it in pieces.
    fn passed(rate: u64, tasks: usize, batch: u64, reading: f64) -> Vec<(f64, u64)> {
        let mut bucket = bucket(rate);
        // When each task books its next piece, and what is left of its batch.
        let mut next = vec![(reading, batch); tasks];
        let mut passed = Vec::new();
        while let Some((at, left)) = next.iter_mut().min_by(|a, b| a.0.total_cmp(&b.0)) {
            if *at > 60.0 {
                break;
            }
            let piece = batch.div_ceil(bucket.pieces(batch)).min(*left);
            let booked = bucket.book(piece, seconds(*at));
            *at += bucket.left(booked, seconds(*at)).as_secs_f64();
            passed.push((*at, piece));
            *left -= piece;
            if *left == 0 {
                (*at, *left) = (*at + reading, batch);
            }
        }
        passed
    }

    #[test]
    fn a_rate_is_kept_within_five_percent_of_ten_seconds() {
        for rate in [1_000, 50_000, 20_000_000] {
            for tasks in [1, 4, 16] {
                // Up to twenty seconds' worth in a batch; a read takes 0.3 s at most.
                for batch in [rate / 200, rate / 3, 3 * rate, 20 * rate] {
                    for reading in [0.0, 0.3] {
                        // One task that reads as long as its batch may take reaches no rate.
                        if batch as f64 / rate as f64 * tasks as f64 <= reading {
                            continue;
                        }
                        let passed = passed(rate, tasks, batch, reading);
                        for begin in [0.0_f64, 0.35, 1.0, 7.0, 13.7, 40.0] {
                            let begin = begin.max(reading);
                            let within = |at: f64| at > begin && at <= begin + 10.0;
                            let sum: u64 =
                                passed.iter().filter(|it| within(it.0)).map(|it| it.1).sum();
                            let share = sum as f64 / (10.0 * rate as f64);
                            let case = format!("{rate}/s, {tasks} x {batch}, {reading} s: {begin}");
                            assert!((0.95..=1.05).contains(&share), "{case}: {share}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_not_used_is_not_kept() {
        let mut bucket = bucket(1000);
        let booked = bucket.book(1000, seconds(5.0));
        assert_eq!(bucket.left(booked, seconds(5.0)), seconds(1.0));
        // A minute later: only what `BURST` allows.
        let booked = bucket.book(1000, seconds(65.0));
        assert_eq!(bucket.left(booked, seconds(65.0)), seconds(0.6));
    }

    #[test]
    fn a_change_takes_effect_for_those_that_wait() {
        let mut bucket = bucket(10);
        let booked = bucket.book(1000, seconds(0.0));
        assert_eq!(bucket.left(booked, seconds(10.0)), seconds(90.0));
        bucket.set(Some(450), seconds(10.0));
        assert_eq!(bucket.left(booked, seconds(11.0)), seconds(1.0));
        bucket.set(None, seconds(11.0));
        assert_eq!(bucket.left(booked, seconds(11.0)), Duration::ZERO);
        // What passed without a limit is not held against a later one.
        bucket.book(1_000_000, seconds(12.0));
        bucket.set(Some(100), seconds(12.0));
        let booked = bucket.book(100, seconds(12.0));
        assert_eq!(bucket.left(booked, seconds(12.0)), seconds(1.0));
    }

    #[test]
    fn both_limits_hold_at_once() {
        let channel = Channel {
            max_rows_per_second: Some(1_000_000),
            max_bytes_per_second: Some(1_000),
            ..Channel::default()
        };
        let throttle = Throttle::new(&channel);
        let waited = throttle.pass(100, 1, &Stop::new()).unwrap();
        assert!((0.1..0.3).contains(&waited.as_secs_f64()), "{waited:?}");
        assert_eq!(throttle.pieces(1_000, 5), 5);
        assert_eq!(throttle.pieces(1_000, 50), 10);
        assert_eq!(throttle.pieces(10, 0), 1);
    }
}
