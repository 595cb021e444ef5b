//! A store of files in memory that records requests.

use std::{
    io::{self, Cursor, Read},
    ops::Range,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use serde_json::Value;
use transload_files::{FilesReader, Listing, Store, StoredFile};
use transload_plugin_api::{Column, Host, Options, ReadTask, Reader, Result, Split, SplitRequest};

/// The requested ranges by file, as far as they were read.
type Asked = Arc<Mutex<Vec<(String, Range<u64>)>>>;

/// Files, in the order of their names.
pub(crate) struct Shelf {
    files: Vec<(StoredFile, Bytes)>,
    asked: Asked,
}

impl Shelf {
    pub(crate) fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Arc<Self> {
        let stored = |(name, bytes): (String, Vec<u8>)| {
            let (size, version) = (bytes.len() as u64, String::new());
            (
                StoredFile { name, size, version, is_stream: false, partitions: Vec::new() },
                Bytes::from(bytes),
            )
        };
        let files = files.into_iter().map(stored).collect();
        Arc::new(Self { files, asked: Asked::default() })
    }

    pub(crate) fn one(name: &str, bytes: impl Into<Vec<u8>>) -> Arc<Self> {
        Self::new([(name.to_owned(), bytes.into())])
    }

    pub(crate) fn reader(self: &Arc<Self>, options: &[(&str, Value)]) -> FilesReader {
        let options = Options::from_pairs(options.iter().cloned());
        FilesReader::new(self.clone(), &options, &Host::detached()).unwrap()
    }

    /// The requests since the last call.
    pub(crate) fn asked(&self) -> Vec<(String, Range<u64>)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn content(&self, file: &StoredFile, range: &Range<u64>) -> Bytes {
        let (_, bytes) = self.files.iter().find(|(it, _)| it.name == file.name).unwrap();
        bytes.slice(range.start as usize..range.end as usize)
    }
}

impl Store for Shelf {
    fn list(&self) -> Result<Listing> {
        let files = self.files.iter().map(|(file, _)| file.clone()).collect();
        Ok(Listing { files, ..Listing::default() })
    }

    fn read(&self, file: &StoredFile, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let content = Cursor::new(self.content(file, &range));
        let mut asked = self.asked.lock().unwrap();
        asked.push((file.name.clone(), range.start..range.start));
        Ok(Box::new(Stream { content, number: asked.len() - 1, asked: Arc::clone(&self.asked) }))
    }

    fn ranges(&self, file: &StoredFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let named = ranges.iter().map(|range| (file.name.clone(), range.clone()));
        self.asked.lock().unwrap().extend(named);
        Ok(ranges.iter().map(|range| self.content(file, range)).collect())
    }

    fn is_distant(&self) -> bool {
        true
    }
}

struct Stream {
    content: Cursor<Bytes>,
    /// Its index in `asked`, unless that has been taken.
    number: usize,
    asked: Asked,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        if let Some((_, range)) = self.asked.lock().unwrap().get_mut(self.number) {
            range.end += read as u64;
        }
        Ok(read)
    }
}

pub(crate) fn splits(reader: &dyn Reader, max: u32) -> (Vec<Column>, Vec<Split>) {
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    let splits = reader.splits(&SplitRequest::new(max, columns.clone())).unwrap();
    (columns, splits)
}

/// The rows of a task.
pub(crate) fn count(mut task: Box<dyn ReadTask>) -> Result<usize> {
    let mut rows = 0;
    while let Some(read) = task.next_batch()? {
        assert_eq!(read.dirty, []);
        rows += read.batch.num_rows();
    }
    Ok(rows)
}
