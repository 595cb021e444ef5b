//! Which rows of two sides are not the same, from their checksums alone: exact counts, and the keys of
//! those that are to be looked at.

use std::{cmp::Ordering, collections::HashSet};

use transload_values::Checksum;

use super::{
    entries::{BUCKETS, Entries, Entry},
    excused::Excused,
};
use crate::{Result, engine::Stop};

/// Keys that are looked at; all others are only counted.
const NOTED: usize = 1_000_000;

/// How many rows are not the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Rows that both sides have.
    pub(super) equal: u64,
    /// Rows of the source whose key, or without a key whose values, the target does not have.
    pub(super) missing: u64,
    /// The reverse.
    pub(super) extra: u64,
    /// Rows of one key with other values.
    pub(super) different: u64,
    /// Rows of the source that are excused.
    pub(super) dirty: u64,
    /// The keys of these rows.
    pub(super) keys: HashSet<Checksum>,
}

impl Tally {
    /// Compares all rows of the source and of the target, bucket by bucket.
    ///
    /// # Errors
    /// If they cannot be read back, or the stop signal is given.
    pub(super) fn of(
        (source, target): (&Entries, &Entries),
        excused: &Excused,
        stop: &Stop,
    ) -> Result<Self> {
        let mut tally = Self::default();
        for bucket in 0..BUCKETS {
            stop.check()?;
            tally.add_bucket(&source.take(bucket)?, &target.take(bucket)?, excused);
        }
        Ok(tally)
    }

    /// Compares rows that are sorted by key.
    pub(super) fn add_bucket(
        &mut self,
        mut source: &[Entry],
        mut target: &[Entry],
        excused: &Excused,
    ) {
        while let Some(key) = first_key(source, target) {
            let count = |entries: &[Entry]| entries.iter().take_while(|it| it.key == key).count();
            let (ours, rest) = source.split_at(count(source));
            source = rest;
            let (theirs, rest) = target.split_at(count(target));
            target = rest;
            self.add_key(key, (ours, theirs), excused);
        }
    }

    /// Compares the rows of one key: equal ones pair off, then those that are left. The target keeps
    /// its own row in the place of one that it refused.
    fn add_key(
        &mut self,
        key: Checksum,
        (source, target): (&[Entry], &[Entry]),
        excused: &Excused,
    ) {
        let equal = common(source, target);
        let (ours, theirs) = (source.len() as u64 - equal, target.len() as u64 - equal);
        let dirty = if ours == 0 { 0 } else { excused.count(unequal(source, target)) };
        let (ours, theirs) = (ours - dirty, theirs - dirty.min(theirs));
        self.equal += equal;
        self.dirty += dirty;
        let different = ours.min(theirs);
        self.different += different;
        self.missing += ours - different;
        self.extra += theirs - different;
        if ours + theirs > 0 && self.keys.len() < NOTED {
            self.keys.insert(key);
        }
    }

    /// How many rows are not the same.
    pub(super) fn unequal(&self) -> u64 {
        self.missing + self.extra + self.different
    }
}

fn first_key(source: &[Entry], target: &[Entry]) -> Option<Checksum> {
    let firsts = source.first().into_iter().chain(target.first());
    firsts.map(|entry| entry.key).min()
}

/// The rows of the first sorted list that the second one does not have.
fn unequal(source: &[Entry], mut target: &[Entry]) -> Vec<Checksum> {
    let mut rows = Vec::new();
    for ours in source {
        target = &target[target.partition_point(|theirs| theirs.row < ours.row)..];
        match target {
            [first, rest @ ..] if first.row == ours.row => target = rest,
            _ => rows.push(ours.row),
        }
    }
    rows
}

/// How many rows of two sorted lists are the same.
fn common(mut source: &[Entry], mut target: &[Entry]) -> u64 {
    let mut equal = 0;
    while let ([ours, other_ours @ ..], [theirs, other_theirs @ ..]) = (source, target) {
        match ours.row.cmp(&theirs.row) {
            Ordering::Less => source = other_ours,
            Ordering::Greater => target = other_theirs,
            Ordering::Equal => {
                equal += 1;
                (source, target) = (other_ours, other_theirs);
            }
        }
    }
    equal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(source: &[(u128, u128)], target: &[(u128, u128)], excused: &[u128]) -> [u64; 6] {
        let entries = |rows: &[(u128, u128)]| {
            let entry =
                |(key, row): &(u128, u128)| Entry { key: Checksum(*key), row: Checksum(*row) };
            let mut entries: Vec<_> = rows.iter().map(entry).collect();
            entries.sort_unstable();
            entries
        };
        let mut tally = Tally::default();
        tally.add_bucket(&entries(source), &entries(target), &Excused::rows(excused));
        let Tally { equal, missing, extra, different, dirty, ref keys } = tally;
        [equal, missing, extra, different, keys.len() as u64, dirty]
    }

    #[test]
    fn rows_pair_off_within_their_key() {
        for (source, target, expected) in [
            (&[(1, 1), (2, 2)][..], &[(1, 1), (2, 2)][..], [2, 0, 0, 0, 0]),
            (&[(1, 1), (2, 2)], &[(1, 1)], [1, 1, 0, 0, 1]),
            (&[], &[(1, 1)], [0, 0, 1, 0, 1]),
            (&[(1, 1)], &[(1, 9)], [0, 0, 0, 1, 1]),
            // Rows without a key: the key is the row.
            (&[(1, 1), (1, 1), (1, 1)], &[(1, 1)], [1, 2, 0, 0, 1]),
            // A key that is not one.
            (&[(1, 1), (1, 2)], &[(1, 2), (1, 3), (1, 4)], [1, 0, 1, 1, 1]),
            (&[(1, 1), (3, 3)], &[(2, 2), (3, 3)], [1, 1, 1, 0, 2]),
        ] {
            let found = tally(source, target, &[]);
            assert_eq!(found[..5], expected, "{source:?} {target:?}");
            assert_eq!(found[5], 0);
        }
    }

    #[test]
    fn rows_that_the_target_refused_are_counted_by_themselves() {
        for (source, target, excused, expected) in [
            (&[(1, 1), (2, 2)][..], &[(1, 1)][..], &[2][..], [1, 0, 0, 0, 0, 1]),
            // The row has changed since.
            (&[(2, 3)], &[], &[2], [0, 1, 0, 0, 1, 0]),
            // An update was refused: the target keeps its row.
            (&[(2, 2)], &[(2, 9)], &[2], [0, 0, 0, 0, 0, 1]),
            // Rows without a key: one of three was refused.
            (&[(5, 5), (5, 5), (5, 5)], &[(5, 5)], &[5], [1, 1, 0, 0, 1, 1]),
            // It is there after all.
            (&[(2, 2)], &[(2, 2)], &[2], [1, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(tally(source, target, excused), expected, "{source:?} {target:?}");
        }
    }
}
