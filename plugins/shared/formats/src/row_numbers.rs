//! The numbers of a batch's rows in their file. Nearly all rows follow each other, so that only the
//! gaps between them are kept.

use transload_plugin_api::Gap;

/// A batch with more gaps than this has no exact numbers: each gap has a cost on the way.
const MOST_GAPS: usize = 2048;

/// The numbers of the rows so far.
#[derive(Debug, Default)]
pub(crate) struct RowNumbers {
    first: Option<u64>,
    /// The number of the next row, if it follows the last one.
    next: u64,
    gaps: Vec<Gap>,
}

impl RowNumbers {
    /// Notes the number of the row with this index.
    #[inline]
    pub(crate) fn push(&mut self, row: usize, number: u64) {
        if self.first.is_none() {
            self.first = Some(number);
        } else if number != self.next {
            self.note_gap(row, number);
        }
        self.next = number + 1;
    }

    /// Notes the numbers of consecutive rows, in ascending order; `row` is the index of the first.
    pub(crate) fn extend(&mut self, row: usize, numbers: &[u64]) {
        let ([first, .., last] | [first @ last]) = numbers else { return };
        if last - first + 1 == numbers.len() as u64 {
            self.push(row, *first);
            self.next = last + 1;
            return;
        }
        for (index, number) in numbers.iter().enumerate() {
            self.push(row + index, *number);
        }
    }

    #[cold]
    fn note_gap(&mut self, row: usize, number: u64) {
        if self.gaps.len() <= MOST_GAPS {
            self.gaps.push(Gap { row: row as u64, number });
        }
    }

    /// The number of the first row, `none` without any; the gaps; and whether the numbers of all
    /// rows follow from these. Starts again.
    pub(crate) fn take(&mut self, none: u64) -> (u64, Vec<Gap>, bool) {
        let Self { first, gaps, .. } = std::mem::take(self);
        let first = first.unwrap_or(none);
        if gaps.len() > MOST_GAPS { (first, Vec::new(), false) } else { (first, gaps, true) }
    }
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::Origin;

    use super::*;

    #[test]
    fn every_row_has_its_number_behind_gaps() {
        for numbers in [&[3, 4, 5][..], &[1, 3, 4, 9], &[7], &[2, 4, 6, 7, 8, 20]] {
            for cut in 0..=numbers.len() {
                let mut rows = RowNumbers::default();
                rows.extend(0, &numbers[..cut]);
                rows.extend(cut, &numbers[cut..]);
                let (first, gaps, exact) = rows.take(0);
                let origin = Origin { exact, gaps, ..Origin::new("f", "line", first) };
                for (row, number) in numbers.iter().enumerate() {
                    assert_eq!(
                        origin.place(row as u64),
                        format!("f, line {number}"),
                        "{numbers:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn too_many_gaps_are_not_kept() {
        let mut rows = RowNumbers::default();
        (0..=MOST_GAPS).for_each(|row| rows.push(row, 2 * row as u64 + 1));
        assert_eq!(rows.take(0).1.len(), MOST_GAPS);
        (0..=MOST_GAPS + 1).for_each(|row| rows.push(row, 2 * row as u64 + 1));
        assert_eq!(rows.take(0), (1, Vec::new(), false));
        assert_eq!(rows.take(9), (9, Vec::new(), true));
    }
}
