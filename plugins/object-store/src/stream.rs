//! An object read from one end to the other: the next blocks are on their way while one is used.
//! What waits is bounded for each stream and for all streams of a reader together.

use std::{
    collections::VecDeque,
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use transload_plugin_api::{Error, ErrorKind, Result};

use crate::{access::Bucket, fetch::Fetch};

/// Bytes of one request.
const BLOCK: u64 = 2 << 20;
/// The first request is smaller: many readers look at an object's head only.
const FIRST_BLOCK: u64 = 256 << 10;
/// Blocks of one stream that may be on their way.
const AHEAD: usize = 4;

/// A block on its way. A stream's only one needs no permit of those all streams share.
struct Coming {
    bytes: JoinHandle<Result<Vec<u8>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.bytes.abort();
    }
}

/// A stretch of an object, read in order.
pub(crate) struct ObjectStream {
    bucket: Arc<Bucket>,
    fetch: Arc<Fetch>,
    /// Blocks beyond each stream's first that may wait.
    shared: Arc<Semaphore>,
    coming: VecDeque<Coming>,
    current: Vec<u8>,
    /// Bytes of it that were given out.
    given: usize,
    /// Buffers that are used again: new ones of this size would cost the allocator their pages.
    used: Vec<Vec<u8>>,
    /// What has not been asked for.
    rest: Range<u64>,
    started: bool,
    /// Told again to whoever reads on: what lies behind a gap is not the stream.
    failed: Option<Error>,
}

impl ObjectStream {
    /// Asks for nothing yet.
    pub(crate) fn new(
        bucket: Arc<Bucket>,
        fetch: Fetch,
        shared: Arc<Semaphore>,
        range: Range<u64>,
    ) -> Self {
        Self {
            bucket,
            fetch: Arc::new(fetch),
            shared,
            coming: VecDeque::new(),
            current: Vec::new(),
            given: 0,
            used: Vec::new(),
            rest: range,
            started: false,
            failed: None,
        }
    }

    /// Asks for as many blocks as may be on their way.
    fn ask(&mut self) {
        let (size, most) = if self.started { (BLOCK, AHEAD) } else { (FIRST_BLOCK, 1) };
        while self.coming.len() < most && !self.rest.is_empty() {
            let permit = Arc::clone(&self.shared).try_acquire_owned().ok();
            if permit.is_none() && !self.coming.is_empty() {
                return;
            }
            let end = self.rest.end.min(self.rest.start + size);
            let (fetch, block) = (Arc::clone(&self.fetch), self.rest.start..end);
            let buffer = self.used.pop().unwrap_or_default();
            let bytes = self.bucket.runtime.spawn(async move { fetch.fill(block, buffer).await });
            self.coming.push_back(Coming { bytes, _permit: permit });
            self.rest.start = end;
        }
    }

    fn next_block(&mut self) -> Result<Vec<u8>> {
        let block = match self.failed.take() {
            Some(error) => Err(error),
            None => self.await_block(),
        };
        block.inspect_err(|error| {
            self.coming.clear();
            self.failed = Some(error.clone());
        })
    }

    fn await_block(&mut self) -> Result<Vec<u8>> {
        self.ask();
        let Some(mut next) = self.coming.pop_front() else { return Ok(Vec::new()) };
        let bytes = self.bucket.wait(async {
            (&mut next.bytes).await.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Defect, format!("a request ended: {error}")))
            })
        })?;
        drop(next);
        if self.started {
            self.ask();
        }
        self.started = true;
        Ok(bytes)
    }
}

impl Read for ObjectStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.current.len() && !buffer.is_empty() {
            self.used.push(std::mem::take(&mut self.current));
            self.given = 0;
            self.current = self.next_block().map_err(io::Error::other)?;
        }
        let rest = &self.current[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}
