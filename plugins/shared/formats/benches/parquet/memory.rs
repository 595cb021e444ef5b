//! A file in memory.

use std::{
    io::{Cursor, Read},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use transload_formats::{Listing, ParquetFile, Store, StoredFile};
use transload_plugin_api::Result;

/// One file.
pub(crate) struct Memory(Bytes);

impl Memory {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(bytes.into()))
    }

    pub(crate) fn open(self: &Arc<Self>) -> ParquetFile {
        let file = StoredFile {
            name: "memory".to_owned(),
            size: self.0.len() as u64,
            version: String::new(),
            partitions: Vec::new(),
        };
        ParquetFile::open(self.clone(), &file).unwrap()
    }
}

impl Store for Memory {
    fn list(&self) -> Result<Listing> {
        Ok(Listing::default())
    }

    fn read(&self, _: &StoredFile, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.0.slice(range.start as usize..range.end as usize))))
    }

    fn ranges(&self, _: &StoredFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let slice = |range: &Range<u64>| self.0.slice(range.start as usize..range.end as usize);
        Ok(ranges.iter().map(slice).collect())
    }

    fn is_distant(&self) -> bool {
        false
    }
}
