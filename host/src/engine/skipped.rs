//! The rows of a replayable split that came before: its next batches begin with them, in the same
//! order. Batches may be divided in another way than before.

use transload_plugin_api::{Error, Gap, Origin, ReadBatch, Result};

/// The rows of a batch, dirty ones included.
pub(super) fn rows(batch: &ReadBatch) -> u64 {
    (batch.batch.num_rows() + batch.dirty.len()) as u64
}

/// A batch without its first rows, of which `skip` are still to come; `None` if nothing is left.
///
/// # Errors
/// If only a part of a batch is skipped, and the numbers of its rows are not known.
pub(super) fn rest(mut batch: ReadBatch, skip: &mut u64) -> Result<Option<ReadBatch>> {
    let all = rows(&batch);
    if *skip == 0 {
        return Ok(Some(batch));
    }
    if *skip >= all {
        *skip -= all;
        return Ok(None);
    }
    let clean = clean_rows(&batch, *skip)?;
    let refused = (*skip - clean) as usize;
    *skip = 0;
    batch.dirty.sort_by_key(|row| row.number);
    batch.dirty.drain(..refused);
    batch.origin = batch.origin.map(|origin| behind(origin, clean));
    let clean = clean as usize;
    batch.batch = batch.batch.slice(clean, batch.batch.num_rows() - clean);
    Ok(Some(batch))
}

/// How many of the first rows of a batch are clean. Rows are ordered by their numbers.
fn clean_rows(batch: &ReadBatch, first: u64) -> Result<u64> {
    if batch.dirty.is_empty() {
        return Ok(first);
    }
    let unknown = || {
        Error::data(
            "the split is divided into other batches than before, and the numbers of its rows are \
             not known: it cannot be continued",
        )
    };
    let mut numbers = Vec::with_capacity(rows(batch) as usize);
    for row in &batch.dirty {
        numbers.push((row.number.ok_or_else(unknown)?, false));
    }
    let origin = batch.origin.as_ref().ok_or_else(unknown)?;
    for row in 0..batch.batch.num_rows() as u64 {
        numbers.push((origin.number(row).ok_or_else(unknown)?, true));
    }
    numbers.sort_unstable();
    Ok(numbers.iter().take(first as usize).filter(|(_, is_clean)| *is_clean).count() as u64)
}

/// The origin of a batch without its first rows.
fn behind(origin: Origin, rows: u64) -> Origin {
    let number = origin.number(rows);
    let gaps = origin.gaps.iter().filter(|gap| gap.row > rows);
    let gaps = gaps.map(|gap| Gap { row: gap.row - rows, number: gap.number }).collect();
    // Without numbers, the first one stays an estimate.
    let first = number.unwrap_or(origin.first + rows);
    Origin { first, gaps, ..origin }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, RecordBatch};
    use transload_plugin_api::{DirtyRow, Position};

    use super::*;

    /// Rows 1 to 8, of which 2 and 6 are dirty.
    fn batch() -> ReadBatch {
        let clean = [1, 3, 4, 5, 7, 8];
        let column = Arc::new(Int64Array::from_iter_values(clean)) as _;
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let origin = Origin::new("t", "row", 1).without([2, 6]);
        let dirty = [6, 2].map(|number| DirtyRow::new("parse", "bad").number(number)).into();
        ReadBatch { dirty, ..ReadBatch::new(batch, Position(vec![8]), origin) }
    }

    /// The numbers of the rows that are left: clean ones as the batch has them and as its origin says,
    /// and dirty ones.
    fn left(batch: &ReadBatch) -> (Vec<i64>, Vec<i64>, Vec<u64>) {
        let column = batch.batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        let origin = batch.origin.as_ref().unwrap();
        let numbers = (0..column.len() as u64).map(|row| origin.number(row).unwrap() as i64);
        let dirty = batch.dirty.iter().filter_map(|row| row.number).collect();
        (column.values().to_vec(), numbers.collect(), dirty)
    }

    #[test]
    fn rows_are_skipped_in_the_order_of_the_source() {
        for skip in 0..8 {
            let mut left_to_skip = skip;
            let rest = rest(batch(), &mut left_to_skip).unwrap().unwrap();
            let behind = |number: &i64| *number > skip as i64;
            let clean: Vec<_> = [1, 3, 4, 5, 7, 8].into_iter().filter(behind).collect();
            let mut dirty: Vec<_> = [2, 6].into_iter().filter(|row| *row > skip).collect();
            let (values, numbers, mut found) = left(&rest);
            dirty.sort_unstable();
            found.sort_unstable();
            assert_eq!((values, found), (clean.clone(), dirty), "{skip}");
            assert_eq!((numbers, left_to_skip), (clean, 0), "{skip}");
        }
    }

    #[test]
    fn whole_batches_are_skipped_without_their_numbers() {
        let mut skip = 11;
        let unnumbered = || {
            let mut batch = batch();
            batch.dirty.iter_mut().for_each(|row| row.number = None);
            batch
        };
        assert!(rest(unnumbered(), &mut skip).unwrap().is_none());
        assert_eq!(skip, 3);
        assert!(rest(unnumbered(), &mut skip).is_err());
    }
}
