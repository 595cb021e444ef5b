//! The result of a comparison: what `--output json` prints, and what `words` says of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    difference::{Difference, Kind, Shown},
    side::Refused,
    tally::Tally,
};
use crate::{Exit, job::Inputs, stores::Side};

/// Whether two stores hold the same rows, and which not.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// The name of the exit code: `done` or `different`.
    pub(crate) status: Exit,
    /// The job's name.
    pub(crate) job: String,
    /// The run whose rows are verified, if it was named.
    pub(crate) run: Option<String>,
    /// The environment whose connections were used.
    pub(crate) environment: Option<String>,
    /// The job file, its hash and its parameters.
    pub(crate) inputs: Inputs,
    /// The plugin that reads the source.
    pub(crate) reader: Side,
    /// The plugin that wrote the target, and reads it now.
    pub(crate) writer: Side,
    /// The target's name.
    pub(crate) target: String,
    /// The columns by which rows belong together, by the target's names; none if rows have no key.
    pub(crate) key: Vec<String>,
    /// The columns that were compared, by the target's names.
    pub(crate) columns: Vec<String>,
    /// How many rows there are of each kind.
    pub(crate) rows: Rows,
    /// How many rows differ in each column.
    pub(crate) by_column: BTreeMap<String, u64>,
    /// The first differences.
    pub(crate) differences: Vec<Listed>,
    /// How the rows were compared.
    pub(crate) method: Method,
    /// What the reader of the result should know.
    pub(crate) notes: Vec<String>,
    /// How long it took.
    pub(crate) elapsed_ms: u64,
}

/// Rows by what the comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Rows {
    /// Rows of the source.
    pub(crate) source: u64,
    /// Rows of the target.
    pub(crate) target: u64,
    /// Rows that both have.
    pub(crate) equal: u64,
    /// Rows of the source that the target does not have.
    pub(crate) missing: u64,
    /// Rows of the target that the source does not have.
    pub(crate) extra: u64,
    /// Rows of one key with other values.
    pub(crate) different: u64,
    /// Rows of the source that do not fit the target: a run makes dirty rows of them.
    pub(crate) refused: u64,
    /// Rows of the source that the target of the run refused, as it has recorded.
    pub(crate) dirty: u64,
    /// Rows of the target that cannot be read as the plan would have written them.
    pub(crate) unreadable: u64,
}

/// A difference with the names of its columns.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    /// What is wrong.
    pub(crate) kind: Kind,
    /// The key's columns and their values; all columns if rows have no key.
    pub(crate) key: Vec<Cell>,
    /// The other columns: of a row that differs, those that do.
    pub(crate) values: Vec<Values>,
}

/// A value of a key.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    /// The column's name.
    pub(crate) column: String,
    /// The value.
    pub(crate) value: Shown,
}

/// A value on both sides; a row that one side lacks has one of them only.
#[derive(Debug, Serialize)]
pub(crate) struct Values {
    /// The column's name.
    pub(crate) column: String,
    /// The value in the source, if it has the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Shown>,
    /// The value in the target, if it has the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Shown>,
}

/// How rows were compared.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Method {
    /// Where the checksums of the source's rows were computed: `store` or `program`.
    pub(crate) source: Place,
    /// Where those of the target's were.
    pub(crate) target: Place,
    /// Questions for checksums to both stores.
    pub(crate) queries: u64,
    /// Rows that were read from the source, in all passes.
    pub(crate) source_rows_read: u64,
    /// Rows that were read from the target.
    pub(crate) target_rows_read: u64,
}

/// Where checksums are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// In the store.
    Store,
    /// In this program, from the rows.
    #[default]
    Program,
}

impl Listed {
    /// A difference of these columns, whose first part is the key.
    pub(super) fn new(difference: &Difference, names: &[String], key: &[usize]) -> Self {
        let any = difference.any();
        let named = |index: &usize| {
            let (column, value) = (names.get(*index)?.clone(), any.get(*index)?.clone());
            Some(Cell { column, value })
        };
        let all: Vec<_> = (0..names.len()).collect();
        let is_listed = |index: &usize| match difference.kind {
            Kind::Different => difference.columns.contains(index),
            _ => !key.contains(index),
        };
        let value = |index: &usize| {
            let of =
                |side: &Option<Vec<Shown>>| side.as_ref().and_then(|row| row.get(*index).cloned());
            let (source, target) = (of(&difference.source), of(&difference.target));
            Some(Values { column: names.get(*index)?.clone(), source, target })
        };
        Self {
            kind: difference.kind,
            key: key.iter().filter_map(named).collect(),
            values: all.iter().filter(|index| is_listed(index)).filter_map(value).collect(),
        }
    }
}

impl Rows {
    /// The rows of a tally and `equal` more that are the same on both sides.
    pub(super) fn of(tally: &Tally, equal: u64, [refused, unreadable]: &[Refused; 2]) -> Self {
        let Tally { missing, extra, different, dirty, .. } = *tally;
        let equal = equal + tally.equal;
        Self {
            source: equal + missing + different + dirty,
            target: equal + extra + different,
            equal,
            missing,
            extra,
            different,
            refused: refused.rows,
            dirty,
            unreadable: unreadable.rows,
        }
    }

    /// Whether anything is not the same.
    pub(super) fn differ(&self, allow_extra: bool) -> bool {
        self.missing + self.different + self.unreadable > 0 || (self.extra > 0 && !allow_extra)
    }
}

/// The note on rows that the target of the run refused.
pub(super) fn note_on_dirty(rows: u64) -> Option<String> {
    (rows > 0).then(|| {
        format!(
            "dirty rows of the run, which the target refused: {}; `transload dirty list` shows why",
            crate::report::grouped(rows)
        )
    })
}

/// The notes on rows that were not compared.
pub(super) fn notes_on([source, target]: &[Refused; 2]) -> Vec<String> {
    let first = |refused: &Refused| match &refused.first {
        Some(first) => format!("; the first: {first}"),
        None => String::new(),
    };
    let mut notes = Vec::new();
    if source.rows > 0 {
        notes.push(format!(
            "{} of the source do not fit the target and are dirty rows of a run{}",
            crate::report::grouped(source.rows),
            first(source)
        ));
    }
    if target.rows > 0 {
        notes.push(format!(
            "{} of the target cannot be read as the plan writes them{}",
            crate::report::grouped(target.rows),
            first(target)
        ));
    }
    notes
}
