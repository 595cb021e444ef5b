//! The rows that are not the same, with their values: they are read once more, so that no value has
//! to be kept of those that are.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
};

use arrow_array::RecordBatch;
use parking_lot::Mutex;
use serde::Serialize;
use transload_plugin_api::Column;
use transload_values::{Checksum, Compared};

use super::{excused::Excused, rows::Shape};
use crate::Result;

/// The most bytes of values that are held.
const BYTES: usize = 64 << 20;

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The target does not have it.
    Missing,
    /// The source does not have it.
    Extra,
    /// Both have its key, with other values.
    Different,
}

/// A value as people read it; `None` is NULL.
pub(crate) type Shown = Option<String>;

/// A row that is not the same on both sides.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) kind: Kind,
    /// The values of all compared columns in the source, if it has the row.
    pub(crate) source: Option<Vec<Shown>>,
    /// The same of the target.
    pub(crate) target: Option<Vec<Shown>>,
    /// Which columns differ, by index; none where only one side has the row.
    pub(crate) columns: Vec<usize>,
}

impl Difference {
    /// The values of one side, for what both have.
    pub(crate) fn any(&self) -> &[Shown] {
        self.source.as_deref().or(self.target.as_deref()).unwrap_or_default()
    }
}

/// A row with its values.
#[derive(Clone, Debug)]
struct Row {
    checksum: Checksum,
    /// As they are compared, and as they are shown.
    cells: Vec<(Option<Vec<u8>>, Shown)>,
}

impl Row {
    fn bytes(&self) -> usize {
        let cell = |(text, shown): &(Option<Vec<u8>>, Shown)| {
            64 + text.as_ref().map_or(0, Vec::len) + shown.as_ref().map_or(0, String::len)
        };
        self.cells.iter().map(cell).sum()
    }

    fn shown(self) -> Vec<Shown> {
        self.cells.into_iter().map(|(_, shown)| shown).collect()
    }
}

/// The rows of some keys, from both sides.
pub(super) struct Found<'a> {
    shape: &'a Shape,
    wanted: &'a HashSet<Checksum>,
    excused: &'a Excused,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of each key the rows of the source and of the target.
    rows: HashMap<Checksum, [Vec<Row>; 2]>,
    bytes: usize,
    /// Keys that took too much memory.
    dropped: HashSet<Checksum>,
}

/// The differences, in the order of their keys; some keys are left out where memory is short.
#[derive(Default)]
pub(super) struct Differences {
    pub(super) list: Vec<Difference>,
    /// How many rows differ in each column.
    pub(super) by_column: BTreeMap<String, u64>,
}

impl<'a> Found<'a> {
    pub(super) fn new(
        shape: &'a Shape,
        wanted: &'a HashSet<Checksum>,
        excused: &'a Excused,
    ) -> Self {
        Self { shape, wanted, excused, state: Mutex::default() }
    }

    /// Takes the rows that are wanted out of a batch of the source (0) or the target (1).
    pub(super) fn add(&self, side: usize, batch: &RecordBatch) -> Result<()> {
        let columns = self.shape.columns_of(batch)?;
        let mut found = Vec::new();
        self.shape.each(&columns, batch.num_rows(), |row, entry| {
            if self.wanted.contains(&entry.key) {
                let cells = columns.iter().map(|column| cell(column, row)).collect();
                found.push((entry.key, Row { checksum: entry.row, cells }));
            }
        });
        let mut state = self.state.lock();
        for (key, row) in found {
            state.add(key, side, row);
        }
        Ok(())
    }

    /// What is not the same.
    pub(super) fn differences(self) -> Differences {
        let State { rows, .. } = self.state.into_inner();
        let mut list = Vec::new();
        for [source, target] in rows.into_values() {
            let sides = unequal(source, target, self.excused);
            pair(sides, self.shape.is_keyed(), &mut list);
        }
        let order = self.shape.order();
        list.sort_by(|one, other| compare(one.any(), other.any(), &order));
        let mut by_column = BTreeMap::new();
        for index in list.iter().flat_map(|difference| &difference.columns) {
            let Column { name, .. } = &self.shape.columns[*index];
            *by_column.entry(name.clone()).or_default() += 1;
        }
        Differences { list, by_column }
    }
}

impl State {
    fn add(&mut self, key: Checksum, side: usize, row: Row) {
        if self.dropped.contains(&key) {
            return;
        }
        self.bytes += row.bytes();
        if self.bytes > BYTES {
            // A key is held as a whole or not at all: half of it would look like another difference.
            self.bytes -= row.bytes();
            for row in self.rows.remove(&key).into_iter().flatten().flatten() {
                self.bytes -= row.bytes();
            }
            self.dropped.insert(key);
            return;
        }
        self.rows.entry(key).or_default()[side].push(row);
    }
}

fn cell(column: &Compared<'_>, row: usize) -> (Option<Vec<u8>>, Shown) {
    if column.is_null(row) {
        return (None, None);
    }
    let (mut text, mut shown) = (Vec::new(), Vec::new());
    column.write(row, &mut text);
    column.show(row, &mut shown);
    (Some(text), Some(String::from_utf8_lossy(&shown).into_owned()))
}

/// The rows of one key that have no equal on the other side and are not excused.
fn unequal(mut source: Vec<Row>, mut target: Vec<Row>, excused: &Excused) -> [Vec<Row>; 2] {
    source.retain(|row| {
        let equal = target.iter().position(|other| other.checksum == row.checksum);
        equal.map(|at| target.swap_remove(at)).is_none()
    });
    source.sort_by_key(|row| row.checksum);
    target.sort_by_key(|row| row.checksum);
    if !excused.is_empty() {
        let (all, mut same) = (source.len(), (None, 0));
        source.retain(|row| {
            same = if same.0 == Some(row.checksum) {
                (same.0, same.1 + 1)
            } else {
                (Some(row.checksum), 1)
            };
            same.1 > excused.allowed(row.checksum)
        });
        target.drain(..(all - source.len()).min(target.len()));
    }
    [source, target]
}

/// The differences of the rows of one key.
fn pair([mut source, mut target]: [Vec<Row>; 2], is_keyed: bool, list: &mut Vec<Difference>) {
    let pairs = if is_keyed { source.len().min(target.len()) } else { 0 };
    for (ours, theirs) in source.drain(..pairs).zip(target.drain(..pairs)) {
        let cells = ours.cells.iter().zip(&theirs.cells).enumerate();
        let columns = cells.filter(|(_, (one, other))| one.0 != other.0).map(|(index, _)| index);
        let columns = columns.collect();
        let (source, target) = (Some(ours.shown()), Some(theirs.shown()));
        list.push(Difference { kind: Kind::Different, source, target, columns });
    }
    let one = |kind, source: Option<Row>, target: Option<Row>| Difference {
        kind,
        source: source.map(Row::shown),
        target: target.map(Row::shown),
        columns: Vec::new(),
    };
    list.extend(source.into_iter().map(|row| one(Kind::Missing, Some(row), None)));
    list.extend(target.into_iter().map(|row| one(Kind::Extra, None, Some(row))));
}

/// By these columns, numbers as such.
fn compare(one: &[Shown], other: &[Shown], columns: &[usize]) -> Ordering {
    let by = |index: &usize| {
        let (one, other) = (one.get(*index)?.as_deref(), other.get(*index)?.as_deref());
        let number = |text: Option<&str>| text?.parse::<i128>().ok();
        Some(match (number(one), number(other)) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => one.cmp(&other),
        })
    };
    columns.iter().filter_map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}
