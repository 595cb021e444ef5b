//! Rows of the source that the target does not have for a known reason: the run that is verified has
//! recorded that the target refused them. They are recognised by the checksums of all their columns, so a
//! row that has changed since is missing like any other.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use parking_lot::Mutex;
use transload_values::Checksum;

use super::{Request, rows::Shape, side::Side};
use crate::{Result, repair::refused_by_target};

/// How often each of these rows may be lacking.
#[derive(Debug, Default)]
pub(super) struct Excused(HashMap<Checksum, u64>);

impl Excused {
    /// The rows that the target of the run refused, as `source` converts them.
    ///
    /// # Errors
    /// If what the run has kept of them cannot be read.
    pub(super) fn of(request: &Request<'_>, source: &Side<'_>, shape: &Shape) -> Result<Self> {
        let Some(run) = request.run else { return Ok(Self::default()) };
        let mapping = request.plan.mapping.iter();
        let columns: Vec<_> = mapping.map(|it| (it.source.name.as_str(), &it.target)).collect();
        let rows = Mutex::new(HashMap::new());
        refused_by_target(run, &columns, |batch| {
            source.compare_written(batch, &|batch| note(shape, batch, &rows))
        })?;
        Ok(Self(rows.into_inner()))
    }

    /// How many of these rows of one key, which have no equal at the target, are excused.
    pub(super) fn count(&self, mut unequal: Vec<Checksum>) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        unequal.sort_unstable();
        let same = unequal.chunk_by(|one, other| one == other);
        same.map(|rows| self.allowed(rows[0]).min(rows.len() as u64)).sum()
    }

    /// How many rows with this checksum are excused.
    pub(super) fn allowed(&self, row: Checksum) -> u64 {
        self.0.get(&row).copied().unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn rows(rows: &[u128]) -> Self {
        let mut counts = HashMap::new();
        rows.iter().for_each(|row| *counts.entry(Checksum(*row)).or_default() += 1);
        Self(counts)
    }
}

fn note(shape: &Shape, batch: &RecordBatch, rows: &Mutex<HashMap<Checksum, u64>>) -> Result<()> {
    let columns = shape.columns_of(batch)?;
    let mut rows = rows.lock();
    shape.each(&columns, batch.num_rows(), |_, entry| *rows.entry(entry.row).or_default() += 1);
    Ok(())
}
