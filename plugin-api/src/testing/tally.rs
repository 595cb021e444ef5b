//! The requirements on every plugin's counts: names that programs can rely on, each once, and
//! numbers that never decrease.

use std::collections::BTreeMap;

use super::expect;
use crate::{Count, Result};

/// The counts of one reader or writer as last seen.
pub(super) struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// The first counts, with their names checked.
    #[track_caller]
    pub(super) fn of(counts: Result<Vec<Count>>) -> Self {
        let mut seen = BTreeMap::new();
        for count in expect(counts, "`counts`") {
            let name = &count.name;
            assert!(count.has_name(), "`counts`: `{name}` is not a valid name");
            let before = seen.insert(name.clone(), count.value);
            assert!(before.is_none(), "`counts` counts `{name}` twice");
        }
        Self(seen)
    }

    /// The counts after something more was done.
    #[track_caller]
    pub(super) fn goes_on(&mut self, counts: Result<Vec<Count>>) {
        let now = Self::of(counts);
        for (name, before) in &self.0 {
            let Some(value) = now.0.get(name) else { panic!("`counts` forgets `{name}`") };
            assert!(value >= before, "`counts`: `{name}` falls from {before} to {value}");
        }
        *self = now;
    }
}
