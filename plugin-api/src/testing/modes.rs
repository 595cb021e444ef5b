//! The requirements on each write mode: what it does with rows whose key exists, as the descriptor
//! declares it. Requirements on writing in general are in `writer`.

use arrow_array::RecordBatch;

use super::{
    samples::{keyed, keyed_batch},
    writer_suite::WriterSuite,
};
use crate::{ConflictEffect, Counters, WriteMode, WriteModeSpec};

/// Conflicts with rows that were there, with rows of an earlier chunk, and inside one batch.
pub(super) fn all(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    existing_rows(suite, spec);
    earlier_chunk(suite, spec);
    one_batch(suite, spec);
    if spec.mode == WriteMode::Overwrite {
        overwrite_given_up(suite, spec);
    }
}

/// The target's rows and the counts after rows 4 to 8 of version 2 were written to rows 1 to 5 of
/// version 1.
fn met(conflict: ConflictEffect) -> (Vec<RecordBatch>, Counters) {
    let (old, new) = (keyed(1..=5, 1), keyed(6..=8, 2));
    let counters = Counters { read: 5, inserted: 3, ..Counters::default() };
    match conflict {
        ConflictEffect::Dirty => (vec![old, new], Counters { dirty: 2, ..counters }),
        ConflictEffect::Skip => (vec![old, new], Counters { skipped: 2, ..counters }),
        ConflictEffect::Update => {
            // Only `name` is updated; `size` stays.
            let updated = keyed_batch(&[(4, 2, 1), (5, 2, 1)]);
            (vec![keyed(1..=3, 1), updated, new], Counters { updated: 2, ..counters })
        }
        ConflictEffect::Replace => {
            (vec![keyed(1..=3, 1), keyed(4..=8, 2)], Counters { updated: 2, ..counters })
        }
        ConflictEffect::None => (vec![old, keyed(4..=8, 2)], Counters { inserted: 5, ..counters }),
    }
}

/// Conflicts with rows that existed before the run.
fn existing_rows(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let target = suite.target(spec);
    target.put(&keyed(1..=5, 1));
    target.assert_holds(&[keyed(1..=5, 1)], "rows put there by the subject");
    let run = suite.run(&*target, spec);
    let new = keyed(4..=8, 2);
    let (total, written) = run.complete(&[std::slice::from_ref(&new)]);
    let (rows, counters) = if spec.mode == WriteMode::Overwrite {
        (vec![new], Counters { read: 5, inserted: 5, ..Counters::default() })
    } else {
        met(spec.conflict)
    };
    let when = format!("mode `{}` with keys that are there", spec.mode.word());
    assert_eq!(total, counters, "{when}");
    if spec.conflict == ConflictEffect::Dirty && spec.mode != WriteMode::Overwrite {
        let dirty: Vec<_> = written[0].dirty.iter().map(|row| row.row).collect();
        assert_eq!(dirty, [0, 1], "{when}: the dirty rows");
    }
    target.assert_holds(&rows, &when);
}

/// Conflicts with rows of an earlier chunk of the same task.
fn earlier_chunk(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let target = suite.target(spec);
    let run = suite.run(&*target, spec);
    let (total, _) = run.complete(&[&[keyed(1..=5, 1)], &[keyed(4..=8, 2)]]);
    let (rows, mut counters) = met(spec.conflict);
    counters.read += 5;
    counters.inserted += 5;
    let when = format!("mode `{}` with keys of an earlier chunk", spec.mode.word());
    assert_eq!(total, counters, "{when}");
    target.assert_holds(&rows, &when);
}

/// Key 1 three times: the last wins where rows are updated or replaced, else the first.
fn one_batch(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let target = suite.target(spec);
    let run = suite.run(&*target, spec);
    // `size`, which an upsert does not update, stays the same: whether a writer sends all three
    // rows or only the last makes no difference then.
    let batch = keyed_batch(&[(1, 1, 1), (2, 1, 1), (1, 2, 1), (3, 1, 1), (1, 3, 1)]);
    let (total, written) = run.complete(&[std::slice::from_ref(&batch)]);
    let when = format!("mode `{}` with a key three times in a batch", spec.mode.word());
    let others = keyed(2..=3, 1);
    let rows = match spec.conflict {
        ConflictEffect::Dirty => {
            let dirty: Vec<_> = written[0].dirty.iter().map(|row| row.row).collect();
            assert_eq!(dirty, [2, 4], "{when}: the dirty rows");
            vec![keyed([1], 1), others]
        }
        ConflictEffect::Skip => {
            assert_eq!(total.skipped, 2, "{when}");
            vec![keyed([1], 1), others]
        }
        ConflictEffect::Update | ConflictEffect::Replace => {
            vec![keyed_batch(&[(1, 3, 1)]), others]
        }
        ConflictEffect::None => vec![batch],
    };
    let new = if spec.conflict == ConflictEffect::None { 5 } else { 3 };
    assert_eq!(total.inserted, new, "{when}: rows inserted");
    target.assert_holds(&rows, &when);
}

/// An overwrite changes nothing before its commit, and nothing at all if it is aborted.
fn overwrite_given_up(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let target = suite.target(spec);
    let old = keyed(1..=3, 1);
    target.put(&old);
    let before = target.leftovers();
    let run = suite.run(&*target, spec);
    run.prepare();
    let mut task = run.task(0);
    task.begin();
    task.write(&keyed(7..=9, 2));
    task.commit();
    target.assert_holds(std::slice::from_ref(&old), "an overwrite before its commit");
    let receipt = task.finish();
    super::expect(run.writer.abort(&run.plan, &[receipt]), "`abort` of an overwrite");
    target.assert_holds(&[old], "an overwrite given up");
    assert_eq!(target.leftovers(), before, "an overwrite given up: left over by `abort`");
}
