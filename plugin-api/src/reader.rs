//! The reading side: what is there, how it is divided, and the batches of one division.
//! No verb but `counts` has a default: a reader that cannot do one says
//! [`crate::ErrorKind::Unsupported`].

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::{Column, Count, Key, Result, SplitAbility};

/// A source. Verbs may be called from several of the host's threads at once and may block.
pub trait Reader: Send + Sync {
    /// Looks whether the source can be reached and read, stage by stage. A failed stage is a
    /// finding, not an error.
    fn check(&self) -> Result<Vec<Finding>>;

    /// The tables (files, collections) that this connection offers.
    fn discover(&self) -> Result<Vec<TableInfo>>;

    /// The columns and keys of what the job reads, all of them, before any choice of columns.
    fn schema(&self) -> Result<SourceSchema>;

    /// What the batches will hold if these columns are wanted in these types: the same columns in
    /// the same order, each in the wanted type or in another one that the host then converts.
    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>>;

    /// Divides the source into at most `request.max` splits that cover each row exactly once.
    /// An empty source has one split, or none.
    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>>;

    /// Opens one split, at its start or after a position that one of its batches carried.
    /// `columns` is what [`Reader::produces`] answered; a batch's schema is
    /// `schema_of(columns)` and nothing else.
    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>>;

    /// What the reader and its tasks have counted of their dealings with the source, each name
    /// once. Asks the source for nothing. By default nothing is counted.
    fn counts(&self) -> Result<Vec<Count>> {
        Ok(Vec::new())
    }
}

/// The reading of one split, by one thread.
pub trait ReadTask: Send {
    /// The next rows, or `None` at the proven end of the split. Aims at 8,192 rows or 4 MiB,
    /// whichever comes first. An early end of the stream is an error, never `None`.
    fn next_batch(&mut self) -> Result<Option<ReadBatch>>;
}

/// One batch and what belongs to it.
#[derive(Clone, Debug)]
pub struct ReadBatch {
    /// The rows, clean ones only. May be empty if all rows were dirty.
    pub batch: RecordBatch,
    /// Where reading goes on after these rows.
    pub position: Position,
    /// Where the rows came from, for messages.
    pub origin: Option<Origin>,
    /// Rows of this stretch that could not be read.
    pub dirty: Vec<DirtyRow>,
    /// Bytes taken from the source for this stretch, as the source stores them.
    pub bytes: u64,
}

/// A place in a split, opaque to the host; at most 1 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub Vec<u8>);

/// Where a batch's rows came from. Row `i` of the batch stands at `first + i`, if `exact`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// A file's name, a table.
    pub source: String,
    /// What is counted: `line`, `row`, `rowid`.
    pub unit: String,
    /// The number of the first row.
    pub first: u64,
    /// Rows follow each other without gaps (no dirty row left out, no line break inside a field).
    pub exact: bool,
}

impl Origin {
    /// Row `index` of the batch in words: `orders.csv, line 17`.
    pub fn place(&self, index: u64) -> String {
        let Self { source, unit, first, exact } = self;
        if *exact {
            return format!("{source}, {unit} {}", first + index);
        }
        format!("{source}, {} rows after {unit} {first}", index)
    }
}

/// A row that could not be read or that the destination cannot take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirtyRow {
    /// From a writer: the row's index in the batch it was given. From a reader: 0.
    pub row: u64,
    /// From a reader: where the row stands. The host fills it in for a writer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The column at fault, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The value at fault as text; the host shortens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A stable word for the class of trouble: `parse`, `range`, `null`, `unique`, ...
    pub code: String,
    /// The trouble in words: expected and found.
    pub reason: String,
}

/// What a source looks like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceSchema {
    /// All columns, in the source's order.
    pub columns: Vec<Column>,
    /// Primary and unique keys.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// What the plan should tell: what was inferred and from how much, what is unusual.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How the source should be divided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRequest {
    /// At most so many splits.
    pub max: u32,
    /// The columns that will be read, as [`Reader::produces`] answered them.
    pub columns: Vec<Column>,
}

/// A part of the source. It travels: another process that has the same options can open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// In words, for the plan: `orders.csv bytes 0..1048576`, `id >= 100 and id < 200`.
    pub label: String,
    /// What the reader needs to open it; opaque to the host.
    pub data: String,
    /// What can be promised about reading it again.
    pub ability: SplitAbility,
    /// About how many rows, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// About how many bytes, if known; the same measure as [`ReadBatch::bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// One thing that a check looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The stage: `name resolution`, `login`, `rights`, `file`.
    pub stage: String,
    /// Whether it is in order.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// One table that a connection offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its name, as the `table` option takes it.
    pub name: String,
    /// `table`, `view`, `file`.
    pub kind: String,
    /// About how many rows, if that costs nothing to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}
