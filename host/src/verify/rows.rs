//! The shape of the rows that are compared, and the checksums of the rows of a batch.

use arrow_array::RecordBatch;
use transload_plugin_api::Column;
use transload_values::{Compared, RowDigest};

use super::entries::Entry;
use crate::Result;

/// The columns that are compared, and which of them are the key.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// By the target's names, in the types in which both sides compare.
    pub(super) columns: Vec<Column>,
    /// The key's columns, by index; empty where rows have none.
    pub(super) key: Vec<usize>,
}

impl Shape {
    /// Whether rows have a key.
    pub(super) fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    /// The columns by which rows are listed: the key, or all.
    pub(super) fn order(&self) -> Vec<usize> {
        if self.is_keyed() { self.key.clone() } else { (0..self.columns.len()).collect() }
    }

    /// The values of a batch.
    ///
    /// # Errors
    /// If it has other columns.
    pub(super) fn columns_of<'a>(&'a self, batch: &'a RecordBatch) -> Result<Vec<Compared<'a>>> {
        let columns = self.columns.iter().zip(batch.columns());
        let compared = columns.map(|(column, array)| Compared::new(column, array.as_ref()));
        Ok(compared.collect::<transload_plugin_api::Result<_>>()?)
    }

    /// The checksums of each row, in order.
    pub(super) fn each(
        &self,
        columns: &[Compared<'_>],
        rows: usize,
        mut take: impl FnMut(usize, Entry),
    ) {
        let (mut whole, mut key) = (RowDigest::default(), RowDigest::default());
        for row in 0..rows {
            whole.clear();
            columns.iter().for_each(|column| whole.push(column, row));
            let checksum = whole.checksum();
            if !self.is_keyed() {
                take(row, Entry { key: checksum, row: checksum });
                continue;
            }
            key.clear();
            self.key.iter().for_each(|index| key.push(&columns[*index], row));
            take(row, Entry { key: key.checksum(), row: checksum });
        }
    }
}
