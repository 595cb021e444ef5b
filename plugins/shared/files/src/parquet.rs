//! A stored file as the format Parquet sees it.

use std::{io::Read, ops::Range, sync::Arc};

use bytes::Bytes;
use transload_formats::{ParquetFile, RandomAccess};
use transload_plugin_api::Result;

use crate::{Store, StoredFile};

struct OpenFile {
    store: Arc<dyn Store>,
    file: StoredFile,
}

impl RandomAccess for OpenFile {
    fn name(&self) -> &str {
        &self.file.name
    }

    fn size(&self) -> u64 {
        self.file.size
    }

    fn is_distant(&self) -> bool {
        self.store.is_distant()
    }

    fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.ranges(&self.file, ranges)
    }

    fn read(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        self.store.read(&self.file, range)
    }
}

/// Reads the footer of a Parquet file.
///
/// # Errors
/// Those of [`ParquetFile::open`].
pub fn open_parquet(store: &Arc<dyn Store>, file: &StoredFile) -> Result<ParquetFile> {
    ParquetFile::open(Arc::new(OpenFile { store: Arc::clone(store), file: file.clone() }))
}
