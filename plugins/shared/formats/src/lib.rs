//! Bytes to record batches and back, without I/O: CSV, JSON, Parquet, compression, inference.
//!
//! What a text format has in common with the next one is a seam of two traits: a [`Decoder`]
//! takes the bytes that its caller read and gives batches, an [`Encoder`] takes batches and
//! gives the bytes that its caller writes. Between them stands the text of one value, which the
//! crate `transload_values` parses straight into the type of the plan and renders back exactly.
//! Parquet has no such texts; it has a decoder of its own, and an [`Encoder`].
//!
//! Sets of files, and where they lie, are the business of `transload-files`. A format with a footer
//! reads its file by [`RandomAccess`].
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | what a job says of formats: [`ReadOptions`], [`WriteOptions`] |
//! | `forms` | options for dates and numbers that are not written in the usual form |
//! | `nested` | how structs, maps and objects become columns: [`Nested`] |
//! | `format`, `types` | what a name says of a file; the types that files hold |
//! | `random_access` | a file whose bytes can be read in any order |
//! | `row_numbers` | the lines of the rows of a batch |
//! | `compression` | compressed streams, known by their first bytes |
//! | `charset`, `guess` | other encodings to UTF-8, strictly; which one a text may have |
//! | `csv` | dialect, head, boundaries, [`CsvDecoder`], [`CsvEncoder`] |
//! | `json` | JSON lines and arrays, [`JsonDecoder`], and the encoder |
//! | `parquet` | [`ParquetFile`], [`ParquetDecoder`], [`ParquetEncoder`] |
//! | `infer` | types of a sample of text cells |
//! | `encoding` | which encoder a writer needs |
//!
//! # A file, from its first byte to its last batch
//!
//! ```
//! use transload_formats::{CsvDecoder, CsvDialect, CsvHead, Decoder, Inference};
//! use transload_values::CellWords;
//!
//! let file = b"id,price\n1,2.50\n2,\n3,x\n";
//! let dialect = CsvDialect::default();
//! let head = CsvHead::read(&dialect, file, true)?.expect("all of the file was shown");
//! let rows = &file[head.bytes as usize..];
//!
//! // the types of the first two rows; a job, or the target, may know better
//! let mut inference = Inference::new(&head.names, &CellWords::default());
//! head.sample(&dialect, rows, true, 2, &mut inference)?;
//! let columns = inference.columns();
//! assert_eq!(columns[1].logical.to_string(), "decimal(18,2)");
//!
//! let decoder = CsvDecoder::new(&dialect, &head.names, &columns, &CellWords::default())?;
//! let mut decoder = decoder.at(head.bytes, head.line);
//! assert_eq!(decoder.decode(rows, true)?, rows.len());
//! let decoded = decoder.flush()?.expect("there are rows");
//! assert_eq!(decoded.batch.num_rows(), 2);
//! assert_eq!(decoded.dirty[0].place.as_deref(), Some("line 4"));
//! # Ok::<(), transload_plugin_api::Error>(())
//! ```

mod charset;
mod compression;
mod csv;
mod encoding;
mod format;
mod forms;
mod guess;
mod infer;
mod json;
mod nested;
mod options;
mod parquet;
mod random_access;
mod row_numbers;
mod types;

#[cfg(test)]
mod fuzz;

pub use charset::{Charset, Transcoder};
pub use compression::{COMPRESSIONS, CompressedWriter, Compression};
pub use csv::{
    Boundary, BoundaryFinder, BoundaryProof, CsvDecoder, CsvDialect, CsvEncoder, CsvHead, CsvSaid,
    LineEnd, Ragged,
};
pub use encoding::Encoding;
pub use format::{EXTENSIONS, FileName, Format};
pub use guess::guess;
pub use infer::Inference;
pub use json::{JsonDecoder, JsonInference, JsonShape, UnknownKeys};
pub use nested::{Nested, Nesting};
pub use options::{CompressionChoice, ReadOptions, WriteOptions, read_specs, write_specs};
pub use parquet::{
    ParquetBatch, ParquetCompression, ParquetDecoder, ParquetEncoder, ParquetFile, ParquetOptions,
    ParquetStatistics, RowGroup, join_parquet, produced,
};
pub use random_access::RandomAccess;
pub use types::types;

pub(crate) use charset::Invalid;
pub(crate) use format::FormatChoice;
pub(crate) use json::JsonEncoder;
pub(crate) use nested::{Candidate, NestedChoice, taken_names};
pub(crate) use transload_values::{BATCH_BYTES, BATCH_ROWS, BinaryText, CellWords};

use arrow_array::RecordBatch;
use transload_plugin_api::{DirtyRow, Gap, Result};

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
    /// Where the lines of clean rows do not follow each other.
    pub gaps: Vec<Gap>,
    /// Whether the line of each clean row follows from `first_line` and `gaps`.
    pub exact: bool,
}

/// The largest record of a text file and the largest value of a Parquet file, in bytes, unless the
/// job sets another limit. Readers refuse what is larger, and writers do not write it.
pub(crate) const MAX_RECORD: usize = 16 << 20;

/// Batches to bytes, appended to `out`. What an encoder holds back of a chunk comes out with
/// [`Encoder::commit`] at the latest, so that a caller who drops the bytes since then and calls
/// [`Encoder::rollback`] has undone the chunk.
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

    /// Makes what was encoded part of the file: it cannot be rolled back any more. A format may
    /// still hold it back, to go out with a later chunk or the end.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    fn commit(&mut self, out: &mut Vec<u8>) -> Result<()>;

    /// Forgets what was encoded since the last commit, or since the start.
    fn rollback(&mut self);

    /// Bytes of committed chunks that are held back, about.
    fn held(&self) -> usize {
        0
    }

    /// What stands after the last row; everything is committed.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    fn end(&mut self, out: &mut Vec<u8>) -> Result<()>;
}

/// An [`Encoder`] whose rows are texts of their own, which may be divided among files.
pub trait LineEncoder: Encoder {
    /// As [`Encoder::encode`], and adds to `ends` the length of `out` behind each row of the batch. A
    /// row that is left out ends where the one before it does.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    fn encode_lines(
        &mut self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<()>;
}
