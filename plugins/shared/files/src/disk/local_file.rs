//! A file of this machine as a format with a footer reads it.

use std::{fs::File, io::Read, ops::Range, os::unix::fs::FileExt, path::Path, sync::Arc};

use bytes::Bytes;
use transload_formats::RandomAccess;
use transload_plugin_api::Result;

use super::error_at;

pub(super) struct LocalFile {
    file: Arc<File>,
    name: String,
    size: u64,
}

impl LocalFile {
    /// The open file that is at `path`.
    pub(super) fn new(file: File, path: &Path) -> Result<Self> {
        let size = file.metadata().map_err(|error| error_at(error, path))?.len();
        Ok(Self { file: Arc::new(file), name: path.display().to_string(), size })
    }
}

impl RandomAccess for LocalFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn is_distant(&self) -> bool {
        false
    }

    fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let read = |range: &Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            self.file.read_exact_at(&mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        };
        ranges
            .iter()
            .map(|range| read(range).map_err(|error| error_at(error, self.name.as_ref())))
            .collect()
    }

    fn read(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Stretch { file: Arc::clone(&self.file), range }))
    }
}

/// A stretch of a file, read in order; the file's own position is not used.
struct Stretch {
    file: Arc<File>,
    range: Range<u64>,
}

impl Read for Stretch {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.range.end.saturating_sub(self.range.start);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.range.start)?;
        self.range.start += count as u64;
        Ok(count)
    }
}
