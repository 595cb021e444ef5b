//! What the program waits for now, as plugins and the host say it. The progress display shows the
//! longest wait; time limits are left to the code that waits.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;

/// Most waits that are kept: plugins make them.
const MOST: usize = 10_000;

/// The plugin that waits (empty for the host), and its own number of the wait.
type Key = (String, u64);

static WAITS: Mutex<BTreeMap<Key, Begun>> = Mutex::new(BTreeMap::new());

struct Begun {
    what: String,
    at: Instant,
}

/// A wait that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Wait {
    /// A phrase: `connecting to db1:5432`.
    pub(crate) what: String,
    /// How long it has taken so far, in milliseconds.
    pub(crate) elapsed_ms: u64,
}

/// A wait of a plugin begins.
pub(crate) fn begin(who: &str, id: u64, what: &str) {
    let mut waits = WAITS.lock();
    if waits.len() < MOST {
        let begun = Begun { what: what.to_owned(), at: Instant::now() };
        waits.insert((who.to_owned(), id), begun);
    }
}

/// It ends.
pub(crate) fn end(who: &str, id: u64) {
    WAITS.lock().remove(&(who.to_owned(), id));
}

/// All waits that have taken at least `time`, the longest first.
pub(crate) fn over(time: Duration) -> Vec<Wait> {
    let waits = WAITS.lock();
    let mut found: Vec<_> = waits
        .values()
        .map(|begun| (begun.at.elapsed(), &begun.what))
        .filter(|(elapsed, _)| *elapsed >= time)
        .map(|(elapsed, what)| Wait { what: what.clone(), elapsed_ms: elapsed.as_millis() as u64 })
        .collect();
    found.sort_by_key(|wait| std::cmp::Reverse(wait.elapsed_ms));
    found
}

/// `waiting for table `slow` (12 s)`
pub(crate) fn in_words(Wait { what, elapsed_ms }: &Wait) -> String {
    format!("{what} ({} s)", elapsed_ms / 1000)
}

/// A wait of the host's own, until it is dropped.
#[must_use = "dropping it ends the wait"]
pub(crate) struct Waiting(u64);

impl Waiting {
    /// The wait begins.
    pub(crate) fn new(what: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Relaxed: only the numbers must differ.
        let id = NEXT.fetch_add(1, Relaxed);
        begin("", id, what);
        Self(id)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        end("", self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_known_until_it_ends() {
        let known = |what: &str| over(Duration::ZERO).iter().any(|wait| wait.what == what);
        let own = Waiting::new("waiting for a test");
        begin("plugin", 7, "connecting to a test");
        assert!(known("waiting for a test") && known("connecting to a test"));
        assert!(!over(Duration::from_secs(60)).iter().any(|wait| wait.what.ends_with("a test")));
        drop(own);
        end("plugin", 7);
        assert!(!known("waiting for a test") && !known("connecting to a test"));
    }
}
