//! Where files lie, seen from the formats: a list of files, and bytes of each. A disk and a bucket
//! differ in how they answer; the content of the files is handled in the same way.

use std::{io::Read, ops::Range};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result};

/// A place that holds files. Calls come from several threads and block.
pub trait Store: Send + Sync {
    /// The files that the job reads, frozen: later calls speak of these only.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::NotFound`] if a path of the job stands for no file.
    fn list(&self) -> Result<Listing>;

    /// Bytes of a file, in order; the stream ends at the range's end and not before.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] with the code `FILE-CHANGED` if the file is not
    /// the listed one any more.
    fn read(&self, file: &StoredFile, range: Range<u64>) -> Result<Box<dyn Read + Send>>;

    /// Several stretches of a file at once, each complete, in the order asked for. Those of a stream
    /// end where it ends.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn ranges(&self, file: &StoredFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>>;

    /// Whether bytes have to come over a network, so that reading fewer of them is worth more
    /// than knowing on which line a piece of a file begins.
    fn is_distant(&self) -> bool;

    /// Keeps all bytes of a stream, so that any of them can be asked for: for formats that are read
    /// from their end. Returns the stream with its size.
    ///
    /// # Errors
    /// Those of the stream and of the place where it is kept, and if it is too long.
    fn keep(&self, stream: &StoredFile) -> Result<StoredFile> {
        Err(Error::unsupported("a stream cannot be read from its end").at(stream.name.clone()))
    }

    /// One stretch of a file.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn range(&self, file: &StoredFile, range: Range<u64>) -> Result<Bytes> {
        Ok(self.ranges(file, std::slice::from_ref(&range))?.pop().unwrap_or_default())
    }
}

/// The files of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In reading order.
    pub files: Vec<StoredFile>,
    /// Names of the columns that folder names (`day=2026-11-21/`) give to the rows below.
    pub partitions: Vec<String>,
    /// What the plan should tell: folders that were left out.
    pub notes: Vec<String>,
}

/// One file as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// The whole name: an absolute path, `s3://bucket/key`.
    pub name: String,
    /// Bytes as stored.
    pub size: u64,
    /// What a new content changes: an ETag, a time of change.
    pub version: String,
    /// It is read once, from its start, and its size is not known unless all of it is
    /// [kept](Store::keep): a pipe.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_stream: bool,
    /// The values of [`Listing::partitions`]; `None` is NULL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Option<String>>,
}

impl StoredFile {
    /// Where its bytes end, as far as is known beforehand.
    pub fn end(&self) -> u64 {
        if self.is_stream { u64::MAX } else { self.size }
    }

    /// The last part of the name, for messages; with the folders named after values, which often
    /// hold files of the same name.
    pub fn short_name(&self) -> &str {
        let mut from = self.name.rfind('/').map_or(0, |at| at + 1);
        for (at, _) in self.name[..from].rmatch_indices('/').skip(1) {
            if self.name[at + 1..from].split('/').next().is_some_and(|part| part.contains('=')) {
                from = at + 1;
            }
        }
        &self.name[from..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_tell_files_of_partitions_apart() {
        for (name, short) in [
            ("/data/a.csv", "a.csv"),
            ("a.csv", "a.csv"),
            ("s3://b/day=1/region=eu/a.csv", "day=1/region=eu/a.csv"),
            ("s3://b/day=1/plain/a=b.csv", "day=1/plain/a=b.csv"),
            ("s3://b/plain/a=b.csv", "a=b.csv"),
        ] {
            let file = StoredFile {
                name: name.to_owned(),
                size: 0,
                version: String::new(),
                is_stream: false,
                partitions: Vec::new(),
            };
            assert_eq!(file.short_name(), short);
        }
    }
}
