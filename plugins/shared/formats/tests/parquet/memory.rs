//! Files in memory, written and read by the codec.

use std::{
    io::{Cursor, Read},
    ops::Range,
    sync::{Arc, Mutex},
};

use arrow_array::RecordBatch;
use bytes::Bytes;
use transload_formats::{
    Encoder, ParquetDecoder, ParquetEncoder, ParquetFile, ParquetOptions, RandomAccess,
};
use transload_plugin_api::{Column, Error, Result, columns_of};

/// One file, and the ranges that were requested.
pub(crate) struct Memory {
    bytes: Bytes,
    pub(crate) asked: Mutex<Vec<Vec<Range<u64>>>>,
}

impl Memory {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Arc<Self> {
        Arc::new(Self { bytes: bytes.into(), asked: Mutex::default() })
    }

    pub(crate) fn open(self: &Arc<Self>) -> Result<ParquetFile> {
        ParquetFile::open(self.clone())
    }

    /// Number of bytes fetched since the last call.
    pub(crate) fn fetched(&self) -> u64 {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.iter().flatten().map(|range| range.end - range.start).sum()
    }
}

impl RandomAccess for Memory {
    fn name(&self) -> &str {
        "memory/t.parquet"
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.slice(range)?)))
    }

    fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.asked.lock().unwrap().push(ranges.to_vec());
        ranges.iter().map(|range| self.slice(range.clone())).collect()
    }

    fn is_distant(&self) -> bool {
        false
    }
}

impl Memory {
    fn slice(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.bytes.len() as u64 {
            return Err(Error::defect(format!("{range:?} is not in the file")));
        }
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }
}

/// A file of these batches, one chunk each.
pub(crate) fn written(
    options: &ParquetOptions,
    columns: &[Column],
    batches: &[RecordBatch],
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = ParquetEncoder::new(options, columns).unwrap();
    encoder.start(&mut out).unwrap();
    for batch in batches {
        encoder.encode(batch, &mut out).unwrap();
        assert_eq!(encoder.take_refused(), []);
        encoder.commit(&mut out).unwrap();
    }
    encoder.end(&mut out).unwrap();
    out
}

/// A file of one batch with the batch's own columns.
pub(crate) fn file_of(batch: &RecordBatch) -> Vec<u8> {
    let columns = columns_of(&batch.schema()).unwrap();
    written(&ParquetOptions::default(), &columns, std::slice::from_ref(batch))
}

/// All rows of all columns.
pub(crate) fn read(file: &ParquetFile) -> Result<Vec<RecordBatch>> {
    read_columns(file, file.columns())
}

/// All rows of some columns.
pub(crate) fn read_columns(file: &ParquetFile, columns: &[Column]) -> Result<Vec<RecordBatch>> {
    let mut decoder = ParquetDecoder::new(file, 0..file.row_groups().len(), 0, columns)?;
    let mut batches = Vec::new();
    while let Some(next) = decoder.next_batch()? {
        batches.push(next.batch);
    }
    Ok(batches)
}
