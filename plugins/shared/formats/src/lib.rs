//! Bytes to record batches and back, without I/O: CSV, JSON, compression, inference.
//!
//! What a text format has in common with the next one is a seam of two traits: a [`Decoder`]
//! takes the bytes that its caller read and gives batches, an [`Encoder`] takes batches and
//! gives the bytes that its caller writes. Between them stands the cell: the text of one value,
//! parsed straight into the plan's type ([`ColumnBuilder`]) and rendered back exactly
//! ([`CellRenderer`]).
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `compression` | gzip and zstd, known by their first bytes |
//! | `charset` | other encodings to UTF-8, strictly |
//! | `csv` | dialect, head, boundaries, [`CsvDecoder`], [`CsvEncoder`] |
//! | `json` | JSON lines and arrays, [`JsonDecoder`], [`JsonEncoder`] |
//! | `infer` | types of a sample of text cells |
//! | `cell` | text to typed columns and back |

mod cell;
mod charset;
mod compression;
mod csv;
mod infer;
mod json;

pub use cell::{BinaryText, CellError, CellRenderer, CellWords, ColumnBuilder};
pub use charset::{Charset, Invalid, Transcoder};
pub use compression::{CompressedWriter, Compression};
pub use csv::{Boundary, BoundaryFinder, CsvDecoder, CsvDialect, CsvEncoder, CsvHead, Ragged};
pub use infer::Inference;
pub use json::{JsonDecoder, JsonEncoder, JsonInference, JsonShape, UnknownKeys};

use arrow_array::RecordBatch;
use transload_plugin_api::{DirtyRow, Result};

/// A batch aims at so many rows ...
pub const BATCH_ROWS: usize = 8192;
/// ... or at so many bytes of input, whichever comes first.
pub const BATCH_BYTES: usize = 4 << 20;

/// Bytes to batches. The caller owns the buffer and the I/O.
pub trait Decoder: Send {
    /// Takes whole records from `input` until the batch is full or no whole record is left, and
    /// says how many bytes it took; the rest is offered again with more behind it. `last` says
    /// that nothing follows `input`.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Data`] for what is wrong beyond single rows, such as a
    /// record that exceeds its limit.
    fn decode(&mut self, input: &[u8], last: bool) -> Result<usize>;

    /// Whether [`Decoder::flush`] must be called before more is decoded.
    fn is_full(&self) -> bool;

    /// What has been decoded since the last flush, `None` if that is nothing.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Defect`] if the columns do not make a batch.
    fn flush(&mut self) -> Result<Option<Decoded>>;
}

/// Clean rows as a batch, and the dirty ones that stood between them.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The clean rows; may be empty if all rows were dirty.
    pub batch: RecordBatch,
    /// Rows that could not be read, in their order; `place` holds `line N`.
    pub dirty: Vec<DirtyRow>,
    /// The line of the first clean row, counted from 1.
    pub first_line: u64,
    /// Whether row `i` of the batch stands at `first_line + i`.
    pub exact: bool,
}

/// Batches to bytes, appended to `out`.
pub trait Encoder: Send {
    /// What stands before the first row: a header, a bracket.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()>;

    /// The rows of one batch.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] if the batch does not have the encoder's
    /// columns, `Data` if a value cannot be written so that it reads back identically.
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;

    /// The rows that the format cannot hold and that [`Encoder::encode`] therefore left out, by
    /// index in the batch; of the last batch, and only once. A format that holds all has none.
    fn take_refused(&mut self) -> Vec<DirtyRow> {
        Vec::new()
    }

    /// What stands after the last row.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    fn end(&mut self, out: &mut Vec<u8>) -> Result<()>;
}
