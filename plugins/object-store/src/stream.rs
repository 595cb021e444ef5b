//! An object read from one end to the other: a task takes the response's bytes from the connection
//! while those before are used. What waits is bounded; beyond that the connection itself waits.

use std::{
    collections::VecDeque,
    io::{self, Read},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
    time::sleep,
};
use transload_plugin_api::{Error, Result};

use crate::{access::Bucket, download::Download, pinned_object::PinnedObject};

/// Bytes that are handed over at once, about.
const BLOCK: usize = 512 << 10;
/// Blocks that may wait; one more is being filled and one is being read.
const AHEAD: usize = 2;

/// How long bytes may wait for their consumer before others may have the request's permit.
const GRACE: Duration = Duration::from_secs(1);

/// Pieces of the object that follow each other.
type Block = VecDeque<Bytes>;

/// A range of an object, read in order.
pub(crate) struct ObjectStream {
    bucket: Arc<Bucket>,
    /// Until the first read, which begins the request.
    download: Option<Download>,
    blocks: Option<Receiver<Result<Block>>>,
    receiving: Option<JoinHandle<()>>,
    current: Block,
    /// Returned again by every later read: what lies behind a gap is not the stream.
    failed: Option<Error>,
}

impl ObjectStream {
    /// Asks for nothing yet.
    pub(crate) fn new(bucket: Arc<Bucket>, object: PinnedObject, range: Range<u64>) -> Self {
        Self {
            bucket,
            download: Some(Download::new(Arc::new(object), range)),
            blocks: None,
            receiving: None,
            current: Block::new(),
            failed: None,
        }
    }

    /// The next block; an empty one at the end.
    fn next_block(&mut self) -> Result<Block> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if let Some(download) = self.download.take() {
            let (sender, receiver) = channel(AHEAD);
            self.receiving = Some(self.bucket.runtime.spawn(receive(download, sender)));
            self.blocks = Some(receiver);
        }
        let Some(blocks) = &mut self.blocks else { return Ok(Block::new()) };
        let ended = || Error::defect("the transfer of an object ended early");
        let block = self.bucket.wait(async { blocks.recv().await.unwrap_or_else(|| Err(ended())) });
        let block = block.inspect_err(|error| self.failed = Some(error.clone()))?;
        if block.is_empty() {
            self.blocks = None;
        }
        Ok(block)
    }
}

impl Read for ObjectStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !buffer.is_empty() {
            self.current = self.next_block().map_err(io::Error::other)?;
        }
        let Some(piece) = self.current.front_mut() else { return Ok(0) };
        let count = piece.len().min(buffer.len());
        piece.copy_to_slice(&mut buffer[..count]);
        if piece.is_empty() {
            self.current.pop_front();
        }
        Ok(count)
    }
}

impl Drop for ObjectStream {
    fn drop(&mut self) {
        if let Some(receiving) = &self.receiving {
            receiving.abort();
        }
    }
}

/// Hands the bytes of a download over, block by block, and behind the last one an empty block. A
/// download whose blocks are not taken gives its permit back when another request waits for one.
async fn receive(mut download: Download, blocks: Sender<Result<Block>>) {
    let object = download.object();
    loop {
        let block = next_block(&mut download).await;
        let is_last = block.as_ref().map_or(true, Block::is_empty);
        let room = tokio::select! {
            biased;
            room = blocks.reserve() => room,
            () = unused(&object) => {
                download.suspend();
                blocks.reserve().await
            }
        };
        // Without a receiver, the stream has been dropped.
        let Ok(room) = room else { return };
        room.send(block);
        if is_last {
            return;
        }
    }
}

/// Returns once bytes have waited for their consumer for a while, and another request for a permit.
async fn unused(object: &PinnedObject) {
    sleep(GRACE).await;
    object.contended().await;
}

async fn next_block(download: &mut Download) -> Result<Block> {
    let (mut block, mut size) = (Block::new(), 0);
    while size < BLOCK
        && let Some(piece) = download.next().await?
    {
        size += piece.len();
        block.push_back(piece);
    }
    Ok(block)
}
