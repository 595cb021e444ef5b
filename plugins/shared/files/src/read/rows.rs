//! The rows of one piece of a file, whatever its format: batches, and where reading continues.

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use transload_plugin_api::{DirtyRow, Gap, Result};

/// A place in a piece. Text: a byte of the file's text and its line. Parquet: a row group and
/// rows of it that have been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PiecePosition {
    pub(crate) offset: u64,
    pub(crate) line: u64,
}

/// The rows of one piece.
pub(crate) trait PieceRows: Send {
    /// The next ones, of the file's own columns; `None` behind the last.
    fn next(&mut self) -> Result<Option<PieceBatch>>;

    /// Where reading continues behind them; `None` at the end of the piece.
    fn position(&self) -> Option<PiecePosition>;
}

/// Some rows of a piece, and what belongs to them.
pub(crate) struct PieceBatch {
    pub(crate) batch: RecordBatch,
    /// `place` says only where in the file.
    pub(crate) dirty: Vec<DirtyRow>,
    /// Bytes as stored.
    pub(crate) bytes: u64,
    /// `line` or `row`.
    pub(crate) unit: &'static str,
    /// The number of the first clean row, counted from 1.
    pub(crate) first: u64,
    /// Where rows do not follow each other.
    pub(crate) gaps: Vec<Gap>,
    /// The number of each row follows from `first` and `gaps`.
    pub(crate) exact: bool,
}
