//! A file of this machine as a format with a footer reads it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use bytes::Bytes;
use transload_formats::RandomAccess;
use transload_plugin_api::Result;

use super::durable::at;

pub(super) struct LocalFile {
    file: File,
    name: String,
    size: u64,
}

impl LocalFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| at(error, path))?;
        let size = file.metadata().map_err(|error| at(error, path))?.len();
        Ok(Self { file, name: path.display().to_string(), size })
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
            .map(|range| read(range).map_err(|error| at(error, self.name.as_ref())))
            .collect()
    }

    fn read(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let path = self.name.as_ref();
        let mut file = File::open(path).map_err(|error| at(error, path))?;
        file.seek(SeekFrom::Start(range.start)).map_err(|error| at(error, path))?;
        Ok(Box::new(file.take(range.end - range.start)))
    }
}
