//! A file in memory.

use std::{
    io::{Cursor, Read},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use transload_formats::{ParquetFile, RandomAccess};
use transload_plugin_api::Result;

/// One file.
pub(crate) struct Memory(Bytes);

impl Memory {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(bytes.into()))
    }

    pub(crate) fn open(self: &Arc<Self>) -> ParquetFile {
        ParquetFile::open(self.clone()).unwrap()
    }
}

impl RandomAccess for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.0.slice(range.start as usize..range.end as usize))))
    }

    fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let slice = |range: &Range<u64>| self.0.slice(range.start as usize..range.end as usize);
        Ok(ranges.iter().map(slice).collect())
    }

    fn is_distant(&self) -> bool {
        false
    }
}
