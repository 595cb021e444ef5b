//! Rows of partitions for which no object is open, gathered until the task ends: in memory up to a
//! bound, then sorted by partition in a temporary file. Each partition comes back whole, so that
//! its rows need one object, however they were mixed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Cursor, Write},
    ops::Range,
    os::unix::fs::FileExt,
};

use arrow_array::RecordBatch;
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;
use transload_plugin_api::{Error, Result};

/// Rows of some partitions, those of one behind each other.
struct Gathered {
    batch: RecordBatch,
    /// Partition and number of rows, in the batch's order.
    runs: Vec<(usize, usize)>,
}

/// The gathered rows of one task.
pub(crate) struct Spill {
    /// Made when memory is full for the first time.
    file: Option<File>,
    end: u64,
    /// Where in the file a partition's rows are, in their order.
    extents: BTreeMap<usize, Vec<Range<u64>>>,
    /// Of committed chunks, and how many bytes they take.
    committed: Vec<Gathered>,
    held: usize,
    /// Of the open chunk.
    open: Vec<Gathered>,
    memory: usize,
}

impl Spill {
    /// One that holds up to `memory` bytes of committed chunks.
    pub(crate) fn new(memory: usize) -> Self {
        Self {
            file: None,
            end: 0,
            extents: BTreeMap::new(),
            committed: Vec::new(),
            held: 0,
            open: Vec::new(),
            memory,
        }
    }

    /// Adds rows to the open chunk; `runs` says whose they are.
    pub(crate) fn add(&mut self, batch: RecordBatch, mut runs: Vec<(usize, usize)>) {
        runs.retain(|(_, count)| *count > 0);
        if batch.num_rows() > 0 {
            self.open.push(Gathered { batch, runs });
        }
    }

    /// The open chunk's rows are in; `new_file` makes a temporary file.
    ///
    /// # Errors
    /// If the file cannot be made or written.
    pub(crate) fn commit(&mut self, new_file: impl FnOnce() -> Result<File>) -> Result<()> {
        for gathered in self.open.drain(..) {
            self.held += gathered.batch.get_array_memory_size();
            self.committed.push(gathered);
        }
        if self.held > self.memory { self.write(new_file) } else { Ok(()) }
    }

    /// The open chunk's rows are not.
    pub(crate) fn rollback(&mut self) {
        self.open.clear();
    }

    /// The partitions that have rows.
    pub(crate) fn partitions(&self) -> BTreeSet<usize> {
        let held = self.committed.iter().flat_map(|gathered| &gathered.runs);
        held.map(|(partition, _)| *partition).chain(self.extents.keys().copied()).collect()
    }

    /// Sorts what is held by partition; everything is committed, and each partition is taken once.
    pub(crate) fn seal(&mut self) -> Result<()> {
        let Some(sorted) = sorted(&std::mem::take(&mut self.committed))? else { return Ok(()) };
        self.committed.push(sorted);
        Ok(())
    }

    /// A sealed partition's rows, in their order.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn rows(
        &self,
        partition: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + use<'_> {
        let extents = self.extents.get(&partition).into_iter().flatten();
        let stored = extents.map(|extent| self.read(extent)).flat_map(|read| match read {
            Ok(batches) => batches.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        stored.chain(self.committed.iter().filter_map(move |held| held.of(partition)).map(Ok))
    }

    fn read(&self, extent: &Range<u64>) -> Result<Vec<RecordBatch>> {
        let Some(file) = &self.file else { return Err(Error::defect("no temporary file")) };
        let mut bytes = vec![0; (extent.end - extent.start) as usize];
        file.read_exact_at(&mut bytes, extent.start).map_err(failed)?;
        let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(|it| defect(&it))?;
        reader.collect::<std::result::Result<_, _>>().map_err(|error| defect(&error))
    }

    /// Writes what is held to the file, sorted by partition.
    fn write(&mut self, new_file: impl FnOnce() -> Result<File>) -> Result<()> {
        let Some(sorted) = sorted(&std::mem::take(&mut self.committed))? else { return Ok(()) };
        self.held = 0;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(new_file()?),
        };
        let (mut from, mut bytes) = (0, Vec::new());
        for (partition, count) in &sorted.runs {
            let rows = sorted.batch.slice(from, *count);
            from += count;
            bytes.clear();
            encode(&rows, &mut bytes).map_err(|error| defect(&error))?;
            file.write_all(&bytes).map_err(failed)?;
            let start = self.end;
            self.end += bytes.len() as u64;
            self.extents.entry(*partition).or_default().push(start..self.end);
        }
        Ok(())
    }
}

impl Gathered {
    /// The rows of a partition; they are one run where they have been sorted.
    fn of(&self, partition: usize) -> Option<RecordBatch> {
        let mut from = 0;
        for (owner, count) in &self.runs {
            if *owner == partition {
                return Some(self.batch.slice(from, *count));
            }
            from += count;
        }
        None
    }
}

/// All rows as one batch with one run a partition; `None` if there are none.
fn sorted(gathered: &[Gathered]) -> Result<Option<Gathered>> {
    let mut runs = Vec::new();
    for (at, gathered) in gathered.iter().enumerate() {
        let mut from = 0;
        for (partition, count) in &gathered.runs {
            runs.push((*partition, at, from..from + count));
            from += count;
        }
    }
    // Stable: a partition's rows keep their order.
    runs.sort_by_key(|(partition, ..)| *partition);
    let rows = runs.iter().flat_map(|(_, at, rows)| rows.clone().map(|row| (*at, row)));
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let batches: Vec<_> = gathered.iter().map(|gathered| &gathered.batch).collect();
    let batch = interleave_record_batch(&batches, &rows).map_err(|error| defect(&error))?;
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (partition, _, rows) in runs {
        match joined.last_mut().filter(|(last, _)| *last == partition) {
            Some((_, count)) => *count += rows.len(),
            None => joined.push((partition, rows.len())),
        }
    }
    Ok(Some(Gathered { batch, runs: joined }))
}

fn encode(rows: &RecordBatch, bytes: &mut Vec<u8>) -> std::result::Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(bytes, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()
}

fn failed(error: std::io::Error) -> Error {
    Error::from(error).at("a temporary file for rows of many partitions")
}

fn defect(error: &ArrowError) -> Error {
    Error::defect("rows of many partitions cannot be sorted").caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array, Int64Array, StringArray, cast::AsArray, types::Int64Type};
    use proptest::prelude::*;
    use transload_plugin_api::{Column, schema_of};

    use super::*;

    fn batch(ids: Range<i64>) -> RecordBatch {
        let column = |name: &str, logical: &str| Column::new(name, logical.parse().unwrap(), true);
        let texts = ids.clone().map(|id| (id % 3 != 0).then(|| "x".repeat((id % 50) as usize)));
        let (texts, ids) = (StringArray::from_iter(texts), Int64Array::from_iter_values(ids));
        let schema = schema_of(&[column("id", "int64"), column("t", "text")]);
        RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(texts)]).unwrap()
    }

    fn ids(spill: &Spill, partition: usize) -> Vec<i64> {
        let batches: Vec<_> = spill.rows(partition).map(Result::unwrap).collect();
        for batch in &batches {
            let ids = batch.column(0).as_primitive::<Int64Type>().values();
            let texts = batch.column(1).as_string::<i32>();
            for (row, id) in ids.iter().enumerate() {
                assert_eq!(texts.is_null(row), id % 3 == 0);
                assert!(texts.is_null(row) || texts.value(row).len() == (id % 50) as usize);
            }
        }
        let ids =
            |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        batches.iter().flat_map(ids).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_partition_comes_back_whole_and_in_order(
            chunks in prop::collection::vec(
                (prop::collection::vec((0usize..9, 1usize..40), 0..6), any::<bool>()), 0..12),
            memory in prop::sample::select(vec![0, 4_000, 1 << 20]),
        ) {
            let mut spill = Spill::new(memory);
            let mut expected: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
            let mut next = 0;
            for (runs, keep) in chunks {
                let start = next;
                for (partition, count) in &runs {
                    let rows = next..next + *count as i64;
                    next = rows.end;
                    if keep {
                        expected.entry(*partition).or_default().extend(rows);
                    }
                }
                spill.add(batch(start..next), runs);
                if keep {
                    spill.commit(|| Ok(tempfile::tempfile().unwrap())).unwrap();
                } else {
                    spill.rollback();
                }
            }
            spill.seal().unwrap();
            let partitions: Vec<_> = expected.keys().copied().collect();
            prop_assert_eq!(spill.partitions().into_iter().collect::<Vec<_>>(), partitions.clone());
            for (partition, rows) in expected {
                prop_assert_eq!(ids(&spill, partition), rows);
            }
            prop_assert!(memory > 0 || spill.extents.len() == partitions.len());
        }
    }
}
