//! The count of dirty rows of all tasks together, and the job's limits on it.

use std::{
    ops::{AddAssign, Index, IndexMut, SubAssign},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use transload_plugin_api::{DirtyClass, WriteMode, code};

use super::{
    cause::{Causes, FEWEST, doubled},
    line::DirtyLine,
};
use crate::{
    Error, Exit, Result, engine::shared::Shared, job::DirtyLimit, plan::Plan, stores::Stores,
};

/// Below this many rows a ratio says little, so it is checked at the end only.
const RATIO_SAMPLE: u64 = 1000;

/// The dirty rows of all tasks together, and the job's limit.
pub(in crate::engine) struct DirtyCount {
    limit: DirtyLimit,
    state: Mutex<State>,
    /// Dirty rows that reading and conversion have found, by class; their batches may wait in the
    /// rings.
    found: [AtomicU64; CLASSES],
    /// That all rows are in the target already has been said.
    warned: AtomicBool,
}

const CLASSES: usize = DirtyClass::ALL.len();

/// Dirty rows by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct ClassCounts {
    of: [u64; CLASSES],
    /// Rows whose lines are lost, and with them their classes.
    lost: u64,
}

impl ClassCounts {
    fn of(rows: &[Arc<DirtyLine>]) -> Self {
        let mut counts = Self::default();
        rows.iter().for_each(|row| counts[row.class()] += 1);
        counts
    }

    fn total(&self) -> u64 {
        self.of.iter().sum::<u64>() + self.lost
    }

    /// The same, where `all` rows are dirty and those that are missing here are lost.
    pub(in crate::engine) fn of_all(self, all: u64) -> Self {
        Self { lost: all.saturating_sub(self.of.iter().sum()), ..self }
    }

    /// Rows whose lines are lost.
    pub(in crate::engine) fn lost(&self) -> u64 {
        self.lost
    }
}

impl Index<DirtyClass> for ClassCounts {
    type Output = u64;

    fn index(&self, class: DirtyClass) -> &u64 {
        &self.of[class as usize]
    }
}

impl IndexMut<DirtyClass> for ClassCounts {
    fn index_mut(&mut self, class: DirtyClass) -> &mut u64 {
        &mut self.of[class as usize]
    }
}

impl AddAssign for ClassCounts {
    fn add_assign(&mut self, other: Self) {
        self.of.iter_mut().zip(other.of).for_each(|(count, more)| *count += more);
        self.lost += other.lost;
    }
}

impl SubAssign for ClassCounts {
    fn sub_assign(&mut self, other: Self) {
        self.of.iter_mut().zip(other.of).for_each(|(count, less)| *count -= less);
        self.lost -= other.lost;
    }
}

/// Rows of all chunks that are committed or being written.
#[derive(Default)]
struct State {
    dirty: ClassCounts,
    read: u64,
    /// Rows beside too many dirty ones that the writer has not tried.
    untried: u64,
    /// The first dirty row of each class in words.
    first: [Option<String>; CLASSES],
    /// The class of the first one.
    first_class: Option<DirtyClass>,
    causes: Causes,
}

impl State {
    fn keep_first(&mut self, dirty: &[Arc<DirtyLine>]) {
        for row in dirty {
            let class = row.class();
            self.first_class.get_or_insert(class);
            self.first[class as usize].get_or_insert_with(|| row.message.clone());
        }
    }

    /// The first row of a class, or of all.
    fn first_of(&self, class: Option<DirtyClass>) -> Option<&String> {
        self.first[class.or(self.first_class)? as usize].as_ref()
    }
}

impl DirtyCount {
    pub(in crate::engine) fn new(limit: DirtyLimit) -> Self {
        Self {
            limit,
            state: Mutex::default(),
            found: Default::default(),
            warned: AtomicBool::new(false),
        }
    }

    /// Counts dirty rows of a batch that goes to the writing side. Returns whether it is the last one
    /// that is worth reading: the job fails when its rows are admitted.
    pub(in crate::engine) fn found_too_many(&self, dirty: &[Arc<DirtyLine>]) -> bool {
        if dirty.is_empty() {
            return false;
        }
        let (batch, mut found) = (ClassCounts::of(dirty), ClassCounts::default());
        for class in DirtyClass::ALL {
            // Relaxed: a count, which publishes nothing.
            let before = self.found[class as usize].fetch_add(batch[class], Relaxed);
            found[class] = before + batch[class];
        }
        self.too_many_rows(&found).is_some()
    }

    /// Counts what earlier attempts of a task have committed: rows read, and dirty rows by class.
    pub(in crate::engine) fn resume(&self, read: u64, dirty: ClassCounts) {
        let mut state = self.state.lock();
        state.read += read;
        state.dirty += dirty;
        for class in DirtyClass::ALL {
            self.found[class as usize].fetch_add(dirty[class], Relaxed);
        }
    }

    /// Counts rows of a chunk that is not committed yet, of which these are dirty.
    ///
    /// # Errors
    /// If the limit is exceeded; the message describes the first dirty row of the job.
    pub(in crate::engine) fn admit(&self, dirty: &[Arc<DirtyLine>], read: u64) -> Result<()> {
        let mut state = self.state.lock();
        state.keep_first(dirty);
        state.causes.add(dirty);
        state.dirty += ClassCounts::of(dirty);
        state.read += read;
        let is_clean = state.dirty == ClassCounts::default();
        if dirty.is_empty() && (self.limit.max_ratio.is_none() || is_clean) {
            return Ok(());
        }
        let sampled = state.read >= RATIO_SAMPLE;
        let Some(limit) = self.exceeded(&state, sampled) else { return Ok(()) };
        Err(limit_error(&state, &limit))
    }

    /// What the dirty rows so far have in common, and what to do against it.
    pub(in crate::engine) fn hint(&self, plan: &Plan, stores: &Stores) -> Option<String> {
        let state = self.state.lock();
        state.causes.hint(state.read - state.untried, plan, stores)
    }

    /// Notes the rows that an insert has not tried after too many dirty ones.
    pub(in crate::engine) fn note_untried(&self, plan: &Plan, dirty: usize, skipped: u64) {
        let is_enough = plan.write.enough_dirty().is_some_and(|enough| dirty as u64 >= enough);
        if is_enough && plan.write.mode == WriteMode::Insert {
            self.state.lock().untried += skipped;
        }
    }

    /// Warns once if every row of a committed chunk is in the target already.
    pub(in crate::engine) fn warn_of_doubled(
        &self,
        dirty: &[Arc<DirtyLine>],
        read: u64,
        shared: &Shared,
    ) {
        let is_doubled = |row: &Arc<DirtyLine>| row.errors.iter().any(|(_, code)| code == "unique");
        if dirty.len() as u64 != read || read < FEWEST || !dirty.iter().all(is_doubled) {
            return;
        }
        let hint = doubled(&shared.plan, &shared.stores);
        if let Some(hint) = hint.filter(|_| !self.warned.swap(true, Relaxed)) {
            tracing::warn!(
                "every row of a chunk is in {} already: {hint}",
                shared.plan.target.name
            );
        }
    }

    /// Takes back what a chunk had counted before it is written again.
    pub(in crate::engine) fn release(&self, dirty: &[Arc<DirtyLine>], read: u64) {
        let mut state = self.state.lock();
        state.causes.remove(dirty);
        state.dirty -= ClassCounts::of(dirty);
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
        self.state.lock().dirty.total()
    }

    /// The limit that is exceeded.
    fn exceeded(&self, state: &State, judge_ratio: bool) -> Option<Exceeded> {
        if let Some(exceeded) = self.too_many_rows(&state.dirty) {
            return Some(exceeded);
        }
        let most = self.limit.max_ratio.filter(|_| judge_ratio)?;
        let ratio = state.dirty.total() as f64 / state.read.max(1) as f64;
        (ratio > most).then(|| Exceeded { class: None, key: format!("dirty.max_ratio = {most}") })
    }

    /// The limit on rows that is exceeded by these counts.
    fn too_many_rows(&self, dirty: &ClassCounts) -> Option<Exceeded> {
        if let Some(most) = self.limit.max_rows.filter(|most| dirty.total() > *most) {
            return Some(Exceeded { class: None, key: format!("dirty.max_rows = {most}") });
        }
        let of_class = self.limit.max_rows_of.iter();
        let (class, most) = of_class.into_iter().find(|(class, most)| dirty[**class] > **most)?;
        let key = format!("dirty.max_rows_of.{} = {most}", class.word());
        Some(Exceeded { class: Some(*class), key })
    }
}

/// A limit that is exceeded.
struct Exceeded {
    /// The class that it is about; all if none.
    class: Option<DirtyClass>,
    /// It, as the job writes it.
    key: String,
}

fn limit_error(state: &State, Exceeded { class, key }: &Exceeded) -> Error {
    let State { dirty, read, .. } = state;
    let first = state.first_of(*class).map(|first| format!("; the first one: {first}"));
    let first = first.unwrap_or_default();
    let (count, of_class) = match class {
        None => (dirty.total(), String::new()),
        Some(class) => (dirty[*class], format!(" (class `{}`)", class.word())),
    };
    let message =
        format!("{count} of {read} rows are dirty{of_class}, more than {key} allows{first}");
    Error::new(Exit::DirtyLimit, message).code(code::DIRTY_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dirty::line::tests::{dirty_lines, lines_of};

    fn count(max_rows: Option<u64>, max_ratio: Option<f64>) -> DirtyCount {
        DirtyCount::new(DirtyLimit { max_rows, max_ratio, ..DirtyLimit::default() })
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

    /// The message names the class and its own count; the first row shown is of that class.
    #[test]
    fn each_class_has_its_limit() {
        let limit = DirtyLimit {
            max_rows: Some(10),
            max_ratio: None,
            max_rows_of: [(DirtyClass::Constraint, 1), (DirtyClass::Parse, 3)].into(),
        };
        let limited = DirtyCount::new(limit.clone());
        limited.admit(&lines_of("unique", 1), 10).unwrap();
        limited.admit(&lines_of("parse", 3), 10).unwrap();
        limited.admit(&lines_of("range", 5), 10).unwrap();
        let error = limited.admit(&lines_of("check", 1), 1).unwrap_err();
        let words = "2 of 31 rows are dirty (class `constraint`), more than \
                     dirty.max_rows_of.constraint = 1 allows; the first one: a `unique`";
        assert!(error.to_string().contains(words), "{error}");
        limited.release(&lines_of("check", 1), 1);
        // The limit over all classes holds beside them.
        let error = limited.admit(&lines_of("range", 2), 2).unwrap_err();
        assert!(error.to_string().contains("11 of 32 rows are dirty, more than"), "{error}");
        // Reading stops by the same limits.
        let limited = DirtyCount::new(limit);
        assert!(!limited.found_too_many(&lines_of("parse", 3)));
        assert!(!limited.found_too_many(&lines_of("range", 3)));
        assert!(limited.found_too_many(&lines_of("ragged", 1)));
    }

    #[test]
    fn what_earlier_attempts_have_committed_counts() {
        let limit = DirtyLimit {
            max_rows: Some(5),
            max_ratio: None,
            max_rows_of: [(DirtyClass::Parse, 2)].into(),
        };
        let limited = DirtyCount::new(limit);
        limited
            .resume(100, ClassCounts::of(&[lines_of("parse", 2), lines_of("range", 2)].concat()));
        assert_eq!(limited.met(), 4);
        limited.admit(&lines_of("range", 1), 10).unwrap();
        assert!(limited.admit(&lines_of("range", 1), 10).is_err());
        limited.release(&lines_of("range", 1), 10);
        let error = limited.admit(&lines_of("parse", 1), 1).unwrap_err().to_string();
        assert!(error.contains("6 of 111 rows"), "{error}");
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
