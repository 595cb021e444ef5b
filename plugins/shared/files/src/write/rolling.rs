//! When an object has had enough rows or bytes, and how many may be open at once.

use transload_formats::{Compression, Encoding, Format};

/// Memory for the encoders of open objects, beside the bytes that are held back.
const ENCODERS: usize = 64 << 20;
/// At least this many objects may be open.
const LEAST_OPEN: usize = 64;

/// How many objects of these columns may be open at once.
pub(crate) fn most_open(encoding: &Encoding, columns: usize) -> usize {
    LEAST_OPEN.max(ENCODERS / encoder_bytes(encoding, columns))
}

/// What the encoder of one object takes, about.
pub(crate) fn encoder_bytes(encoding: &Encoding, columns: usize) -> usize {
    const COMPRESSOR: usize = 1 << 20;
    match (encoding.format(), encoding.compression()) {
        // A writer with its dictionary and pages for each column.
        (Format::Parquet, _) => columns.max(1) * (32 << 10),
        (_, Compression::None) => 4096 + columns * 256,
        _ => COMPRESSOR,
    }
}

/// When an object has had enough, and how many may be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolling {
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) open: usize,
}

impl Rolling {
    /// Whether a task may write more than one object of a partition.
    pub(crate) fn rolls(&self) -> bool {
        self.rows.is_some() || self.bytes.is_some()
    }
}
