//! The count of dirty rows of all tasks together, and the job's limits on it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use transload_plugin_api::code;

use super::{cause::Causes, line::DirtyLine};
use crate::{Error, Exit, Result, job::DirtyLimit, plan::Plan, stores::Stores};

/// Below this many rows a ratio says little, so it is checked at the end only.
const RATIO_SAMPLE: u64 = 1000;

/// The dirty rows of all tasks together, and the job's limit.
pub(in crate::engine) struct DirtyCount {
    limit: DirtyLimit,
    state: Mutex<State>,
    /// Dirty rows that reading and conversion have found; their batches may wait in the rings.
    found: AtomicU64,
}

/// Rows of all chunks that are committed or being written.
#[derive(Default)]
struct State {
    dirty: u64,
    read: u64,
    /// The first dirty row in words.
    first: String,
    causes: Causes,
}

impl DirtyCount {
    pub(in crate::engine) fn new(limit: DirtyLimit) -> Self {
        Self { limit, state: Mutex::default(), found: AtomicU64::new(0) }
    }

    /// Counts dirty rows of a batch that goes to the writing side. Returns whether it is the last one
    /// that is worth reading: the job fails when its rows are admitted.
    pub(in crate::engine) fn found_too_many(&self, dirty: usize) -> bool {
        // Relaxed: a count, which publishes nothing.
        let found = self.found.fetch_add(dirty as u64, Relaxed) + dirty as u64;
        self.limit.max_rows.is_some_and(|most| found > most)
    }

    /// Counts rows of a chunk that is not committed yet, of which these are dirty.
    ///
    /// # Errors
    /// If the limit is exceeded; the message describes the first dirty row of the job.
    pub(in crate::engine) fn admit(&self, dirty: &[Arc<DirtyLine>], read: u64) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(first) = dirty.first().filter(|_| state.first.is_empty()) {
            state.first = format!("; the first one: {}", first.message);
        }
        state.causes.add(dirty);
        state.dirty += dirty.len() as u64;
        state.read += read;
        if dirty.is_empty() && (self.limit.max_ratio.is_none() || state.dirty == 0) {
            return Ok(());
        }
        let sampled = state.read >= RATIO_SAMPLE;
        let Some(limit) = self.exceeded(&state, sampled) else { return Ok(()) };
        Err(limit_error(&state, &limit))
    }

    /// What the dirty rows so far have in common, and what to do against it.
    pub(in crate::engine) fn hint(&self, plan: &Plan, stores: &Stores) -> Option<String> {
        let state = self.state.lock();
        state.causes.hint(state.read, plan, stores)
    }

    /// Takes back what a chunk had counted before it is written again.
    pub(in crate::engine) fn release(&self, dirty: &[Arc<DirtyLine>], read: u64) {
        let mut state = self.state.lock();
        state.causes.remove(dirty);
        state.dirty -= dirty.len() as u64;
        state.read -= read;
    }

    /// Checks the limits over all rows of the job.
    ///
    /// # Errors
    /// If one is exceeded.
    pub(in crate::engine) fn check_at_end(&self, read: u64) -> Result<()> {
        let state = self.state.lock();
        debug_assert_eq!(state.read, read, "every batch read has been admitted");
        self.exceeded(&state, true).map_or(Ok(()), |limit| Err(limit_error(&state, &limit)))
    }

    /// Dirty rows met so far.
    pub(in crate::engine) fn met(&self) -> u64 {
        self.state.lock().dirty
    }

    /// The limit that is exceeded, as the job writes it.
    fn exceeded(&self, state: &State, judge_ratio: bool) -> Option<String> {
        if let Some(most) = self.limit.max_rows.filter(|most| state.dirty > *most) {
            return Some(format!("dirty.max_rows = {most}"));
        }
        let most = self.limit.max_ratio.filter(|_| judge_ratio)?;
        let ratio = state.dirty as f64 / state.read.max(1) as f64;
        (ratio > most).then(|| format!("dirty.max_ratio = {most}"))
    }
}

fn limit_error(state: &State, limit: &str) -> Error {
    let State { dirty, read, first, .. } = state;
    let message = format!("{dirty} of {read} rows are dirty, more than {limit} allows{first}");
    Error::new(Exit::DirtyLimit, message).code(code::DIRTY_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dirty::line::tests::dirty_lines;

    fn count(max_rows: Option<u64>, max_ratio: Option<f64>) -> DirtyCount {
        DirtyCount::new(DirtyLimit { max_rows, max_ratio })
    }

    #[test]
    fn t14_the_limit_is_exact() {
        let limited = count(Some(10), None);
        limited.admit(&dirty_lines(10), 500).unwrap();
        assert!(limited.admit(&dirty_lines(0), 500).is_ok());
        assert_eq!(limited.admit(&dirty_lines(1), 1).unwrap_err().exit, Exit::DirtyLimit);
    }

    #[test]
    fn t13_the_count_goes_on_beyond_any_limit() {
        let limited = count(None, None);
        for _ in 0..25 {
            limited.admit(&dirty_lines(1), 1).unwrap();
        }
        assert_eq!(limited.met(), 25);
    }

    #[test]
    fn a_ratio_is_judged_from_a_sample_on_and_at_the_end() {
        let limited = count(None, Some(0.01));
        limited.admit(&dirty_lines(5), 100).unwrap();
        assert!(limited.check_at_end(100).is_err());
        let limited = count(None, Some(0.01));
        limited.admit(&dirty_lines(10), 999).unwrap();
        assert!(limited.admit(&dirty_lines(1), 1).is_err());
    }

    #[test]
    fn both_limits_hold() {
        assert!(count(Some(1), Some(0.5)).admit(&dirty_lines(2), 10_000).is_err());
        assert!(count(Some(5000), Some(0.1)).admit(&dirty_lines(2000), 10_000).is_err());
    }

    #[test]
    fn a_replayed_chunk_counts_once() {
        let limited = count(Some(1), None);
        limited.admit(&dirty_lines(1), 10).unwrap();
        limited.release(&dirty_lines(1), 10);
        limited.admit(&dirty_lines(1), 10).unwrap();
        assert_eq!(limited.met(), 1);
    }
}
