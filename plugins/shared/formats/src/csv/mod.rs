//! CSV and its dialects (RFC 4180 and common variants).
//!
//! Rules for reading and writing:
//!
//! - Nothing is trimmed. A record ends at LF or CR LF; a CR anywhere else is text. In a file that
//!   begins with CR alone as line end (no LF in its first 64 KiB), a record ends at CR.
//! - A cell is quoted if its first byte is the quote. Quotes inside are doubled, or escaped if the
//!   dialect has an escape. A quote after the first byte of an unquoted cell is text. Text after a
//!   closing quote makes the row dirty.
//! - An unquoted cell that equals the null marker is NULL. The default marker is empty, so `a,,b`
//!   has a NULL and `a,"",b` an empty text.
//! - An empty line is skipped if the file has more than one column; otherwise, it is a row whose
//!   cell is empty.
//! - A line that begins with the comment byte is skipped; without one (the default), `#` is text.
//! - A byte order mark at the start of the file is skipped before quotes are looked for.
//! - A name in a header has no control characters, except tabs and line ends inside quotes.
//! - Limits: a record 16 MiB unless the dialect sets another, 10,000 columns. The writer refuses
//!   rows beyond the limit that the reader has.
//!
//! | file | content |
//! |---|---|
//! | `dialect` | the options |
//! | `scan` | finds special bytes, 64 at a time, and interprets quotes and escapes |
//! | `specials` | finds the texts of a column that need quotes |
//! | `index` | where each cell of a stretch of rows begins and ends |
//! | `sniff` | the dialect of a file, where the job does not say it |
//! | `head` | column names and the first rows |
//! | `boundary` | where a file may be split |
//! | `decode`, `encode` | bytes to batches and back |

mod boundary;
mod decode;
mod dialect;
mod encode;
mod head;
mod index;
#[cfg(test)]
mod plain;
mod scan;
mod sniff;
mod specials;

pub use boundary::{Boundary, BoundaryFinder, BoundaryProof};
pub use decode::CsvDecoder;
pub use dialect::{CsvDialect, LineEnd, Ragged};
pub use encode::CsvEncoder;
pub(crate) use encode::too_long;
pub use head::CsvHead;
pub use sniff::CsvSaid;

/// The largest number of columns.
const COLUMN_LIMIT: usize = 10_000;
/// A byte order mark.
const BOM: &[u8] = b"\xEF\xBB\xBF";
