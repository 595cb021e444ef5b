//! The store as formats see it: a frozen list of objects, streams of them, and stretches fetched
//! together where they lie close to each other.

use std::{io::Read, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use transload_files::{Listing, Store, StoredFile};
use transload_plugin_api::Result;

use crate::{
    access::Access, address::Scheme, download::Download, listing, options::ReaderOptions,
    pinned_object::PinnedObject, stream::ObjectStream,
};

/// Ranges with at most this many bytes between them are fetched by one request.
const GAP: u64 = 256 << 10;
/// Bytes of one request at most: stores bill and throttle by requests.
const BLOCK: u64 = 16 << 20;
/// Bytes of an object's head that are kept.
const HEAD: u64 = 256 << 10;
/// Requests of one call that are under way at once.
const AT_ONCE: usize = 8;

/// The objects of a job.
pub(crate) struct Objects {
    access: Arc<Access>,
    options: ReaderOptions,
    listing: Mutex<Option<Listing>>,
    /// The first bytes of the object that was looked at last: a plan needs them more than once.
    head: Mutex<Option<(StoredFile, Bytes)>>,
}

impl Objects {
    /// Looks at nothing yet.
    pub(crate) fn new(access: Arc<Access>, options: ReaderOptions) -> Self {
        Self { access, options, listing: Mutex::new(None), head: Mutex::new(None) }
    }

    /// A range of an object's first bytes, if they are known.
    fn known(&self, file: &StoredFile, range: &Range<u64>) -> Option<Bytes> {
        let head = self.head.lock();
        let (known, bytes) = head.as_ref()?;
        let is_known = known == file && range.end <= bytes.len() as u64;
        is_known.then(|| bytes.slice(range.start as usize..range.end as usize))
    }

    /// Keeps an object's first bytes, unless they are many.
    fn keep(&self, file: &StoredFile, range: &Range<u64>, bytes: &Bytes) {
        if range.start == 0 && range.end <= HEAD {
            let mut head = self.head.lock();
            *head = Some((file.clone(), bytes.clone()));
        }
    }
}

impl Store for Objects {
    fn list(&self) -> Result<Listing> {
        let mut frozen = self.listing.lock();
        if let Some(listing) = &*frozen {
            return Ok(listing.clone());
        }
        let bucket = self.access.bucket()?;
        let listing = bucket.wait(listing::list(&bucket, &self.options))?;
        Ok(frozen.insert(listing).clone())
    }

    fn read(&self, file: &StoredFile, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let bucket = self.access.bucket()?;
        let object = PinnedObject::new(&bucket, file)?;
        Ok(Box::new(ObjectStream::new(bucket, object, range)))
    }

    fn ranges(&self, file: &StoredFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let [range] = ranges
            && let Some(bytes) = self.known(file, range)
        {
            return Ok(vec![bytes]);
        }
        let bucket = self.access.bucket()?;
        let object = Arc::new(PinnedObject::new(&bucket, file)?);
        let blocks = blocks(ranges);
        let download = |block| Download::new(Arc::clone(&object), block).whole();
        let requests = stream::iter(blocks.iter().cloned()).map(download);
        let fetched: Vec<_> =
            bucket.wait(requests.buffered(AT_ONCE).try_collect::<Vec<Bytes>>())?;
        let found: Vec<_> = ranges.iter().map(|range| cut(&blocks, &fetched, range)).collect();
        if let ([range], [bytes]) = (ranges, &*found) {
            self.keep(file, range, bytes);
        }
        Ok(found)
    }

    fn is_distant(&self) -> bool {
        self.access.address.scheme != Scheme::File
    }
}

/// What is fetched, in order: the ranges, close ones joined, and cut into blocks of bounded size.
/// No two of them overlap.
fn blocks(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut().filter(|last| range.start <= last.end + GAP) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    let cut = |range: Range<u64>| {
        let starts = (range.start..range.end).step_by(BLOCK as usize);
        starts.map(move |start| start..range.end.min(start + BLOCK))
    };
    joined.into_iter().flat_map(cut).collect()
}

/// One range out of the blocks; not copied where it lies in one of them.
fn cut(blocks: &[Range<u64>], fetched: &[Bytes], range: &Range<u64>) -> Bytes {
    let mut whole = Vec::new();
    let first = blocks.partition_point(|block| block.end <= range.start);
    for (block, bytes) in blocks[first..].iter().zip(&fetched[first..]) {
        if block.start >= range.end {
            break;
        }
        let from = (range.start.max(block.start) - block.start) as usize;
        let until = (range.end.min(block.end) - block.start) as usize;
        if block.start <= range.start && range.end <= block.end {
            return bytes.slice(from..until);
        }
        whole.extend_from_slice(&bytes[from..until]);
    }
    whole.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use transload_plugin_api::{Host, Options};

    use super::*;

    #[test]
    fn t06_a_stream_that_failed_does_not_go_on_behind_the_gap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, vec![b'1'; 20 << 20]).unwrap();
        let url = format!("file://{}", folder.path().display());
        let options = Options::from_pairs([("url", url)]);
        let access = Arc::new(Access::new(&options, &Host::detached()).unwrap());
        let objects = Objects::new(access, ReaderOptions::parse(&Options::default()).unwrap());
        let file = objects.list().unwrap().files.remove(0);
        let mut stream = objects.read(&file, 0..file.size).unwrap();
        let mut some = vec![0; 1000];
        stream.read_exact(&mut some).unwrap();
        std::fs::write(&path, vec![b'2'; 20 << 20]).unwrap();
        let mut rest = Vec::new();
        let error = stream.read_to_end(&mut rest).unwrap_err();
        assert!(rest.len() < 20 << 20 && rest.iter().all(|byte| *byte == b'1'));
        let again = stream.read(&mut some).unwrap_err();
        for error in [error, again] {
            assert_eq!(transload_plugin_api::Error::from(error).code, "FILE-CHANGED");
        }
    }

    #[test]
    fn close_ranges_are_fetched_together_and_large_ones_in_blocks() {
        let far = GAP + 100;
        assert_eq!(blocks(&[0..10, 20..30, 5..25]), vec![0..30]);
        assert_eq!(blocks(&[far + 1..far + 2, 0..1, 7..7]), vec![0..1, far + 1..far + 2]);
        assert_eq!(
            blocks(std::slice::from_ref(&(1..BLOCK * 2 + 2))),
            vec![1..BLOCK + 1, BLOCK + 1..BLOCK * 2 + 1, BLOCK * 2 + 1..BLOCK * 2 + 2]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn every_range_comes_out_of_the_blocks(
            ranges in prop::collection::vec((0u64..33 << 20, 0u64..19 << 20), 0..6)
        ) {
            let byte = |at: u64| (at * 31 / 7) as u8;
            let ranges: Vec<_> = ranges.into_iter().map(|(from, size)| from..from + size).collect();
            let blocks = blocks(&ranges);
            prop_assert!(blocks.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let fetched: Vec<Bytes> =
                blocks.iter().map(|block| block.clone().map(byte).collect()).collect();
            for range in &ranges {
                let expected: Vec<u8> = range.clone().map(byte).collect();
                prop_assert!(cut(&blocks, &fetched, range) == expected);
            }
        }
    }
}
