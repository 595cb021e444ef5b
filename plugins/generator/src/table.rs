//! The target in memory: fingerprints of its rows by key, or only their sums if no key is kept.
//! Chunks are prepared outside it and merged under its lock, so a part of a chunk is never visible.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::Serialize;
use transload_plugin_api::{Error, Result, WriteMode, WritePlan};

use crate::checksum::NULL;

/// A target shared by tasks.
pub(crate) type SharedTable = Arc<Mutex<Table>>;

static TABLES: Mutex<BTreeMap<String, SharedTable>> = Mutex::new(BTreeMap::new());

/// The table with this name, which lives as long as the process; without a name, a new one.
pub(crate) fn named(name: Option<&str>) -> SharedTable {
    match name {
        Some(name) => Arc::clone(TABLES.lock().entry(name.to_owned()).or_default()),
        None => SharedTable::default(),
    }
}

/// The named tables, each with its number of rows.
pub(crate) fn all() -> Vec<(String, u64)> {
    let tables = TABLES.lock();
    tables.iter().map(|(name, table)| (name.clone(), table.lock().content.rows())).collect()
}

/// The content of the target, and what runs have staged for it.
#[derive(Default)]
pub(crate) struct Table {
    content: Content,
    /// Content of `overwrite` runs, by run, until they commit.
    stages: HashMap<String, Content>,
    /// Number of chunks committed since the table was created.
    pub(crate) chunks: u64,
    /// Runs that have committed.
    pub(crate) finished: HashSet<String>,
    /// The newest attempt at each task of each run.
    pub(crate) epochs: HashMap<(String, u32), u32>,
}

impl Table {
    /// Where a run's rows are added: the target, or the run's stage.
    pub(crate) fn content(&mut self, plan: &WritePlan) -> &mut Content {
        if plan.mode == WriteMode::Overwrite {
            return self.stages.entry(plan.run.clone()).or_default();
        }
        &mut self.content
    }

    /// Replaces the content by a run's stage.
    pub(crate) fn publish(&mut self, plan: &WritePlan) {
        if plan.mode == WriteMode::Overwrite {
            self.content = self.stages.remove(&plan.run).unwrap_or_default();
        }
    }

    pub(crate) fn drop_stage(&mut self, run: &str) {
        self.stages.remove(run);
    }

    /// Number of rows, and checksum and NULLs of each column.
    pub(crate) fn tally(&self) -> Tally {
        self.content.tally()
    }
}

/// Rows with the same columns.
#[derive(Default)]
pub(crate) struct Content {
    /// Empty until the first row.
    columns: Vec<String>,
    /// Rows without a key.
    loose: Tally,
    keyed: KeyedRows,
}

impl Content {
    fn rows(&self) -> u64 {
        self.loose.rows + self.keyed.len() as u64
    }

    pub(crate) fn has(&self, key: u64) -> bool {
        self.keyed.slots.contains_key(&key)
    }

    fn tally(&self) -> Tally {
        let mut tally = self.loose.clone();
        tally.columns.resize(self.columns.len(), ColumnTally::default());
        for row in self.keyed.rows() {
            tally.add_row(row);
        }
        for (column, name) in tally.columns.iter_mut().zip(&self.columns) {
            column.name.clone_from(name);
        }
        tally
    }

    /// Merges a chunk: all of it or, on an error, nothing.
    pub(crate) fn merge(&mut self, plan: &WritePlan, chunk: Chunk) -> Result<()> {
        let columns = || plan.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        if self.columns.is_empty() {
            self.columns = columns();
        } else if self.columns != columns() {
            let message = "the columns of the table differ from those of the plan";
            return Err(Error::schema(message));
        }
        if chunk.was_there.iter().any(|(key, was_there)| self.has(*key) != *was_there) {
            let message = "another task has written the same key in the meantime";
            return Err(Error::retry(message));
        }
        for (key, slot) in &chunk.rows.slots {
            self.keyed.put(*key, chunk.rows.row(*slot), &chunk.replaces);
        }
        self.loose.add(&chunk.loose);
        Ok(())
    }
}

/// The changes of a chunk.
#[derive(Default)]
pub(crate) struct Chunk {
    /// Rows without a key.
    pub(crate) loose: Tally,
    /// New rows, and new values of existing rows.
    rows: KeyedRows,
    /// Whether the table had the chunk's keys when the chunk checked.
    was_there: HashMap<u64, bool>,
    /// The columns that a row replaces in an existing row.
    replaces: Vec<usize>,
}

impl Chunk {
    pub(crate) fn new(replaces: Vec<usize>) -> Self {
        Self { replaces, ..Self::default() }
    }

    pub(crate) fn has(&self, key: u64) -> bool {
        self.rows.slots.contains_key(&key)
    }

    /// Adds a row; `was_there` is whether the table has its key.
    pub(crate) fn put(&mut self, key: u64, row: &[u64], was_there: bool) {
        self.was_there.insert(key, was_there);
        self.rows.put(key, row, &self.replaces);
    }
}

/// Rows by key: the fingerprints of their cells, one row after the other.
#[derive(Default)]
struct KeyedRows {
    width: usize,
    slots: HashMap<u64, usize>,
    cells: Vec<u64>,
}

impl KeyedRows {
    fn len(&self) -> usize {
        self.slots.len()
    }

    fn row(&self, slot: usize) -> &[u64] {
        &self.cells[slot * self.width..][..self.width]
    }

    fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.slots.values().map(|slot| self.row(*slot))
    }

    /// Adds a row or replaces the given columns of the one with its key.
    fn put(&mut self, key: u64, row: &[u64], replaces: &[usize]) {
        let next = self.slots.len();
        match self.slots.get(&key) {
            Some(slot) => {
                let old = &mut self.cells[slot * self.width..][..self.width];
                replaces.iter().for_each(|column| old[*column] = row[*column]);
            }
            None => {
                self.width = row.len();
                self.slots.insert(key, next);
                self.cells.extend_from_slice(row);
            }
        }
    }
}

/// The number of rows and their sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) columns: Vec<ColumnTally>,
}

/// The sums of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ColumnTally {
    pub(crate) name: String,
    /// The wrapping sum of the cells' fingerprints; NULLs add nothing. JSON numbers would lose
    /// digits, so it is written in hexadecimal.
    #[serde(serialize_with = "hexadecimal")]
    pub(crate) checksum: u64,
    pub(crate) nulls: u64,
}

fn hexadecimal<S: serde::Serializer>(checksum: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{checksum:016x}"))
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.columns.resize(other.columns.len().max(self.columns.len()), ColumnTally::default());
        for (sum, column) in self.columns.iter_mut().zip(&other.columns) {
            sum.checksum = sum.checksum.wrapping_add(column.checksum);
            sum.nulls += column.nulls;
        }
    }

    fn add_row(&mut self, row: &[u64]) {
        self.rows += 1;
        for (sum, cell) in self.columns.iter_mut().zip(row) {
            sum.add(*cell);
        }
    }

    /// Adds rows given as columns, except for those that `leave_out` lists in ascending order.
    pub(crate) fn add_columns(&mut self, columns: &[Vec<u64>], rows: u64, leave_out: &[u64]) {
        self.rows += rows - leave_out.len() as u64;
        self.columns.resize(columns.len(), ColumnTally::default());
        for (sum, cells) in self.columns.iter_mut().zip(columns) {
            cells.iter().for_each(|cell| sum.add(*cell));
            leave_out.iter().for_each(|row| sum.remove(cells[*row as usize]));
        }
    }
}

impl ColumnTally {
    #[inline]
    fn add(&mut self, cell: u64) {
        self.checksum = self.checksum.wrapping_add(cell); // NULL is 0
        self.nulls += u64::from(cell == NULL);
    }

    fn remove(&mut self, cell: u64) {
        self.checksum = self.checksum.wrapping_sub(cell);
        self.nulls -= u64::from(cell == NULL);
    }
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::{Column, LogicalType};

    use super::*;
    use transload_plugin_api::ErrorKind;

    fn plan(mode: WriteMode) -> WritePlan {
        let columns =
            ["id", "value"].map(|name| Column::new(name, LogicalType::Int64, false)).to_vec();
        WritePlan { run: "r".to_owned(), columns, mode, ..WritePlan::default() }
    }

    fn chunk(rows: &[(u64, u64, bool)]) -> Chunk {
        let mut chunk = Chunk::new(vec![1]);
        rows.iter().for_each(|(key, value, was_there)| {
            chunk.put(*key, &[*key, *value], *was_there);
        });
        chunk
    }

    #[test]
    fn the_sums_are_those_of_the_rows_that_are_left() {
        let plan = plan(WriteMode::Upsert);
        let mut table = Table::default();
        table.content(&plan).merge(&plan, chunk(&[(1, 10, false), (2, 20, false)])).unwrap();
        table.content(&plan).merge(&plan, chunk(&[(1, 11, true)])).unwrap();
        let tally = table.tally();
        assert_eq!((tally.rows, tally.columns[0].checksum, tally.columns[1].checksum), (2, 3, 31));
    }

    #[test]
    fn two_tasks_with_one_key_do_not_both_win() {
        let plan = plan(WriteMode::Insert);
        let mut table = Table::default();
        table.content(&plan).merge(&plan, chunk(&[(1, 10, false)])).unwrap();
        let second = chunk(&[(2, 20, false), (1, 30, false)]);
        let error = table.content(&plan).merge(&plan, second).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Retry);
        assert_eq!(table.tally().rows, 1);
    }

    #[test]
    fn a_stage_is_seen_when_it_is_published() {
        let plan = plan(WriteMode::Overwrite);
        let mut table = Table::default();
        table.content(&plan).merge(&plan, chunk(&[(1, 10, false)])).unwrap();
        assert_eq!(table.tally().rows, 0);
        table.publish(&plan);
        assert_eq!(table.tally().rows, 1);
        table.publish(&plan);
        assert_eq!(table.tally().rows, 0, "an overwrite without rows empties the table");
    }
}
