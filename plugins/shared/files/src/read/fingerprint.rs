//! What identifies the content of a source without reading it whole, so that a run is resumed only
//! if it would read the same: names, sizes and versions of all files, and the first and last bytes
//! of some where that costs no request. A time of change can be set back; content seldom agrees then.

use sha2::{Digest, Sha256};
use transload_plugin_api::Result;

use crate::{Listing, Store, StoredFile, write::hexadecimal};

/// Bytes at either end of a file.
const END: u64 = 64 << 10;
/// The files whose bytes are looked at.
const FILES: usize = 64;

/// The fingerprint of the listed files; `None` for a pipe, whose bytes come once.
pub(super) fn of(store: &dyn Store, listing: &Listing) -> Result<Option<String>> {
    if listing.files.iter().any(|file| file.is_stream) {
        return Ok(None);
    }
    let mut hash = Sha256::new();
    for (index, file) in listing.files.iter().enumerate() {
        // No name has a line end and is still the same with another file's.
        let StoredFile { name, size, version, .. } = file;
        hash.update(format!("{}:{name}\n{size}\n{version}\n", name.len()));
        if index < FILES && !store.is_distant() && *size > 0 {
            let first = 0..END.min(*size);
            let last = size.saturating_sub(END).max(first.end)..*size;
            store.ranges(file, &[first, last])?.iter().for_each(|bytes| hash.update(bytes));
        }
    }
    Ok(Some(hexadecimal(&hash.finalize())))
}

#[cfg(test)]
mod tests {
    use std::{io::Read, ops::Range};

    use bytes::Bytes;

    use super::*;

    struct Shelf(Vec<u8>);

    impl Store for Shelf {
        fn list(&self) -> Result<Listing> {
            Ok(Listing::default())
        }

        fn read(&self, _: &StoredFile, _: Range<u64>) -> Result<Box<dyn Read + Send>> {
            Ok(Box::new(std::io::empty()))
        }

        fn ranges(&self, _: &StoredFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
            let bytes = |range: &Range<u64>| {
                Bytes::copy_from_slice(&self.0[range.start as usize..range.end as usize])
            };
            Ok(ranges.iter().map(bytes).collect())
        }

        fn is_distant(&self) -> bool {
            false
        }
    }

    fn file(name: &str, size: usize, version: &str) -> StoredFile {
        StoredFile {
            name: name.to_owned(),
            size: size as u64,
            version: version.to_owned(),
            is_stream: false,
            partitions: Vec::new(),
        }
    }

    fn fingerprint(content: &[u8], file: StoredFile) -> Option<String> {
        let listing = Listing { files: vec![file], ..Listing::default() };
        of(&Shelf(content.to_vec()), &listing).unwrap()
    }

    #[test]
    fn a_changed_file_has_another_fingerprint() {
        for size in [1, 100, 64 << 10, 100 << 10, 200 << 10] {
            let content = vec![b'x'; size];
            let first = fingerprint(&content, file("a", size, "1"));
            assert!(first.is_some() && first == fingerprint(&content, file("a", size, "1")));
            assert_ne!(first, fingerprint(&content, file("b", size, "1")));
            assert_ne!(first, fingerprint(&content, file("a", size, "2")));
            for at in [0, size - 1] {
                let mut other = content.clone();
                other[at] = b'y';
                let other = fingerprint(&other, file("a", size, "1"));
                assert_ne!(first, other, "byte {at} of {size}, the time of change set back");
            }
        }
        let stream = StoredFile { is_stream: true, ..file("-", 0, "") };
        assert_eq!(fingerprint(b"", stream), None);
    }
}
