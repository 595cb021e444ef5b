//! The one schedule of pauses between attempts to reach a store that was lost. Which failures are
//! worth another attempt is the caller's decision, except in [`Backoff::reconnect`].

use std::{
    fmt,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde::Deserialize;

use crate::{Cancel, ErrorKind, OptionKind, OptionSpec, Options, Result, Waiting};

/// The first pause; each one is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);
/// No pause is longer than this, jitter not counted.
const LONGEST: Duration = Duration::from_secs(15);

/// Pauses between attempts: each twice as long as the one before, up to a longest one, and each
/// lengthened at random by up to its own length, so that tasks that lost one server at the same
/// moment do not come back at the same moment.
///
/// [`Backoff::within`] has pauses from 100 ms to 15 s for as long as a connection's option
/// `reconnect_window` says: long enough for a server to restart, or for another one to take its place.
/// Time that attempts take counts; the last one begins at the end of the window at the latest. Start
/// a new schedule after each success.
///
/// # Examples
/// ```
/// use transload_plugin_api::{Backoff, Cancel, Error, ErrorKind};
/// # use std::time::Duration;
///
/// let cancel = Cancel::new();
/// let mut calls = 0;
/// let mut connect = || {
///     calls += 1;
///     if calls < 3 { Err(Error::connection("refused")) } else { Ok("session") }
/// };
///
/// let backoff = Backoff::within(Duration::from_secs(30));
/// assert_eq!(backoff.reconnect(&cancel, &mut connect)?, "session");
/// assert_eq!(calls, 3);
/// # Ok::<(), Error>(())
/// ```
pub struct Backoff {
    pauses: ExponentialBackoff,
    /// How long after the first failure there are pauses.
    window: Option<Duration>,
    /// When that was.
    since: Option<Instant>,
    /// The sum of the pauses so far.
    paused: Duration,
}

#[derive(Deserialize)]
struct Given {
    /// In milliseconds.
    reconnect_window: u64,
}

impl Backoff {
    /// The window of a connection that does not say one.
    pub const WINDOW: Duration = Duration::from_secs(600);

    /// The option `reconnect_window` of a connection, the same for all plugins whose stores can be
    /// lost. The host uses it too, for the splits that it opens again.
    pub fn window_spec() -> OptionSpec {
        let doc = "How long a store that was lost in the middle of a run is tried again";
        OptionSpec::new("reconnect_window", OptionKind::Duration, doc)
            .default("10 min")
            .connection()
    }

    /// What [`Backoff::window_spec`] says in these options; its default where the plugin does not have
    /// it.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for what is no duration.
    pub fn window_of(options: &Options) -> Result<Duration> {
        let given: Given = options.parse(&[Self::window_spec()])?;
        Ok(Duration::from_millis(given.reconnect_window))
    }

    /// The schedule for a lost store: pauses from 100 ms, until the window ends.
    pub fn within(window: Duration) -> Self {
        Self::bounded(u32::MAX, FIRST, LONGEST).until(window)
    }

    /// A schedule of `retries` pauses from `first` to `longest`, for a caller with other needs
    /// (options of the job, a store that recovers within milliseconds).
    pub fn bounded(retries: u32, first: Duration, longest: Duration) -> Self {
        let builder = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(first.min(longest))
            .with_max_delay(longest)
            .with_max_times(retries as usize);
        let pauses = builder.build();
        Self { pauses, window: None, since: None, paused: Duration::ZERO }
    }

    /// This schedule, ended when the window is over.
    #[must_use]
    pub fn until(self, window: Duration) -> Self {
        Self { window: Some(window), ..self }
    }

    /// Waits for the next attempt. Returns `false` at once if there have been enough of them.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] as soon as the stop signal is given.
    pub fn wait(&mut self, cancel: &Cancel) -> Result<bool> {
        match self.next() {
            Some(pause) => cancel.sleep(pause).map(|()| true),
            None => Ok(false),
        }
    }

    /// Calls `connect` until it succeeds, fails with a kind other than [`ErrorKind::Connection`],
    /// or the schedule ends. The first call is made at once.
    ///
    /// # Errors
    /// The last error of `connect`, with how often and how long it was tried, or [`ErrorKind::Cancelled`] as soon as the stop signal is
    /// given.
    pub fn reconnect<T>(
        mut self,
        cancel: &Cancel,
        mut connect: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            match connect() {
                Err(mut error) if error.kind == ErrorKind::Connection => {
                    let _waiting = Waiting::new(format_args!("waiting to connect again: {error}"));
                    if !self.wait(cancel)? {
                        let seconds = begun.elapsed().as_secs();
                        error.message += &format!(" ({attempts} attempts in {seconds} s)");
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }
}

/// The pauses themselves, for a caller that waits in its own way.
impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let pause = self.pauses.next()?;
        let Some(window) = self.window else { return Some(pause) };
        // A caller may pass the time without sleeping.
        let left = window.saturating_sub(since.elapsed().max(self.paused));
        let pause = pause.min(left);
        self.paused += pause;
        (!left.is_zero()).then_some(pause)
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::Error;

    fn lost() -> Error {
        Error::connection("lost")
    }

    #[test]
    fn pauses_grow_and_fill_the_window() {
        for _ in 0..100 {
            let pauses: Vec<Duration> = Backoff::within(Backoff::WINDOW).collect();
            for (index, pause) in pauses.iter().take(7).enumerate() {
                let least = FIRST * 2_u32.pow(index as u32);
                assert!((least..=least * 2).contains(pause), "{index}: {pause:?}");
            }
            assert!(pauses.iter().all(|pause| *pause <= 2 * LONGEST), "{pauses:?}");
            let (total, window) = (pauses.iter().sum::<Duration>(), Backoff::WINDOW);
            let near = window - Duration::from_millis(100)..=window;
            assert!(near.contains(&total), "{total:?}");
        }
        assert_eq!(Backoff::within(Duration::ZERO).count(), 0);
    }

    #[test]
    fn the_window_is_an_option_of_a_connection() {
        let window = |pairs: &[(&str, &str)]| {
            Backoff::window_of(&Options::from_pairs(pairs.iter().copied()))
        };
        assert_eq!(window(&[("host", "a")]), Ok(Backoff::WINDOW));
        assert_eq!(window(&[("reconnect_window", "90 s")]), Ok(Duration::from_secs(90)));
        assert_eq!(window(&[("reconnect_window", "soon")]).unwrap_err().kind, ErrorKind::Options);
    }

    #[test]
    fn pauses_differ_from_task_to_task() {
        let first = |_| Backoff::within(Backoff::WINDOW).next();
        let pauses: Vec<_> = (0..20).map(first).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
    }

    #[test]
    fn bounds_hold_whatever_they_are() {
        let pauses: Vec<_> = Backoff::bounded(5, Duration::from_secs(9), Duration::from_secs(2))
            .map(|pause| pause.as_secs())
            .collect();
        assert!(pauses.len() == 5 && pauses.iter().all(|pause| (2..=4).contains(pause)));
        assert_eq!(Backoff::bounded(0, FIRST, LONGEST).count(), 0);
        assert!(Backoff::bounded(3, Duration::ZERO, Duration::ZERO).all(|pause| pause.is_zero()));
    }

    #[test]
    fn reconnecting_ends_with_success_with_another_error_or_with_the_schedule() {
        let cancel = Cancel::new();
        let mut calls = 0;
        let quick = || Backoff::bounded(3, Duration::ZERO, Duration::ZERO);
        let mut outcomes = |outcomes: Vec<Result<u32>>| {
            calls = 0;
            let mut outcomes = outcomes.into_iter();
            let last = quick().reconnect(&cancel, || {
                calls += 1;
                outcomes.next().unwrap_or_else(|| Err(lost()))
            });
            (last, calls)
        };
        assert_eq!(outcomes(vec![Ok(1)]), (Ok(1), 1));
        assert_eq!(outcomes(vec![Err(lost()), Err(lost()), Ok(2)]), (Ok(2), 3));
        let denied = Error::denied("no");
        assert_eq!(outcomes(vec![Err(lost()), Err(denied.clone())]), (Err(denied), 2));
        let given_up = Error::connection("lost (4 attempts in 0 s)");
        assert_eq!(outcomes(Vec::new()), (Err(given_up), 4));
    }

    /// As with a host that does not answer.
    #[test]
    fn attempts_that_take_long_are_fewer() {
        let schedule = Backoff::bounded(1_000, Duration::ZERO, Duration::ZERO);
        let schedule = schedule.until(Duration::from_millis(50));
        let mut calls = 0;
        let error = schedule.reconnect(&Cancel::new(), || {
            calls += 1;
            thread::sleep(Duration::from_millis(20));
            Err::<(), _>(lost())
        });
        assert!((2..=4).contains(&calls), "{calls}");
        let message = error.unwrap_err().message;
        assert_eq!(message, format!("lost ({calls} attempts in 0 s)"));
    }

    #[test]
    fn the_stop_signal_ends_a_reconnect() {
        let cancel = Cancel::new();
        let signal = cancel.clone();
        let begun = Instant::now();
        let waiting = thread::spawn(move || {
            let hour = Duration::from_secs(3_600);
            Backoff::bounded(3, hour, hour).reconnect(&cancel, || Err::<(), _>(lost()))
        });
        thread::sleep(Duration::from_millis(20));
        signal.cancel();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
