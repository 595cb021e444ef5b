//! One object while it is written: rows become text, text is packed, packed bytes go up. The open
//! chunk's text is held back until its commit, so that a rollback has only to drop it.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow_array::RecordBatch;
use bytes::Bytes;
use parking_lot::Mutex;
use transload_formats::{CompressedWriter, Compression, Encoder};
use transload_plugin_api::{DirtyRow, Error, Result};

use super::upload::{Upload, UploadSettings};

/// Bytes of text after which a piece ends.
const PIECE: usize = 1 << 20;

/// What surrounds the rows of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// It begins with what stands before the first row.
    pub(crate) start: bool,
    /// It ends with what stands after the last row.
    pub(crate) end: bool,
}

impl Frame {
    /// Of an object that is complete by itself.
    pub(crate) const WHOLE: Self = Self { start: true, end: true };
}

/// One object.
pub(crate) struct OpenObject {
    /// `None` once it has written its end, and for rows that come as lines.
    encoder: Option<Box<dyn Encoder>>,
    frame: Frame,
    /// Of the open chunk, whole pieces: one text for all of it would be copied whenever it grows.
    pieces: Vec<Vec<u8>>,
    /// Of the open chunk, behind the pieces.
    text: Vec<u8>,
    packer: Packer,
    upload: Upload,
    /// In committed chunks.
    rows: u64,
    /// In the open chunk.
    chunk_rows: u64,
    /// It began in the open chunk.
    new: bool,
    /// No more rows of the open chunk go in.
    full: bool,
    /// When it was written last, by the task's own count.
    pub(crate) touched: u64,
}

impl OpenObject {
    /// An object that begins in the open chunk.
    pub(crate) fn new(
        settings: &Arc<UploadSettings>,
        key: &str,
        mut encoder: Box<dyn Encoder>,
        compression: Compression,
        frame: Frame,
    ) -> Result<Self> {
        let mut text = Vec::new();
        if frame.start {
            encoder.start(&mut text)?;
        }
        Ok(Self {
            encoder: Some(encoder),
            ..Self::of_lines(settings, key, text, compression, frame)?
        })
    }

    /// An object that begins in the open chunk, with `text` before its rows; they come as lines.
    pub(crate) fn of_lines(
        settings: &Arc<UploadSettings>,
        key: &str,
        text: Vec<u8>,
        compression: Compression,
        frame: Frame,
    ) -> Result<Self> {
        Ok(Self {
            encoder: None,
            frame,
            pieces: Vec::new(),
            text,
            packer: Packer::new(compression)?,
            upload: Upload::new(settings, key)?,
            rows: 0,
            chunk_rows: 0,
            new: true,
            full: false,
            touched: 0,
        })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Rows, the open chunk's included.
    pub(crate) fn rows(&self) -> u64 {
        self.rows + self.chunk_rows
    }

    /// Bytes that have come out so far. What is yet to be packed counts as it is; what an encoder
    /// holds back does not count.
    pub(crate) fn bytes(&self) -> u64 {
        self.upload.size() + if self.packer.is_plain() { self.text_bytes() } else { 0 }
    }

    /// Bytes of the open chunk's text.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.pieces.iter().chain([&self.text]).map(|text| text.len() as u64).sum()
    }

    /// Bytes held back, by the encoder and for a part that is not full.
    pub(crate) fn held(&self) -> u64 {
        self.sendable() + self.encoder.as_ref().map_or(0, |encoder| encoder.held() as u64)
    }

    /// Bytes held back that could go up.
    pub(crate) fn sendable(&self) -> u64 {
        self.upload.held()
    }

    /// Adds rows to the open chunk; those that the format cannot hold come back.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Vec<DirtyRow>> {
        let Some(encoder) = &mut self.encoder else { return Err(ended()) };
        encoder.encode(batch, &mut self.text)?;
        let dirty = encoder.take_refused();
        self.chunk_rows += (batch.num_rows() - dirty.len()) as u64;
        self.cut();
        Ok(dirty)
    }

    /// Adds rows to the open chunk that are encoded as lines.
    pub(crate) fn add_lines(&mut self, lines: &[u8], rows: u64) {
        self.text.extend_from_slice(lines);
        self.chunk_rows += rows;
        self.cut();
    }

    /// Sets aside a text that is long enough for a piece; the next will be about as long.
    fn cut(&mut self) {
        if self.text.len() >= PIECE {
            let room = self.text.len() + self.text.len() / 8;
            self.pieces.push(std::mem::replace(&mut self.text, Vec::with_capacity(room)));
        }
    }

    /// No more rows go in. One that begins in the open chunk can write its end at once, which
    /// frees its encoder; an older one may be rolled back to where it still is open.
    pub(crate) fn fill(&mut self) -> Result<()> {
        self.full = true;
        if self.new { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<()> {
        if let Some(mut encoder) = self.encoder.take() {
            encoder.commit(&mut self.text)?;
            if self.frame.end {
                encoder.end(&mut self.text)?;
            }
        }
        Ok(())
    }

    /// The open chunk's rows are in.
    pub(crate) fn commit(&mut self) -> Result<()> {
        if let Some(encoder) = &mut self.encoder {
            encoder.commit(&mut self.text)?;
        }
        self.rows += std::mem::take(&mut self.chunk_rows);
        self.new = false;
        for piece in std::mem::take(&mut self.pieces) {
            self.upload.add(self.packer.pack(piece)?)?;
        }
        // the next chunk will be about as long
        let room = if self.full { 0 } else { self.text.len() + self.text.len() / 8 };
        let text = std::mem::replace(&mut self.text, Vec::with_capacity(room));
        self.upload.add(self.packer.pack(text)?)
    }

    /// The open chunk's rows are not.
    pub(crate) fn rollback(&mut self) {
        self.pieces.clear();
        self.text.clear();
        self.chunk_rows = 0;
        self.full = false;
        if let Some(encoder) = &mut self.encoder {
            encoder.rollback();
        }
    }

    /// Sends what is held back.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.upload.flush()
    }

    /// Writes what stands after the last row, and sends all of it. No chunk is open.
    pub(crate) fn end(mut self) -> Result<Upload> {
        self.close()?;
        for text in self.pieces.drain(..).chain([std::mem::take(&mut self.text)]) {
            self.upload.add(self.packer.pack(text)?)?;
        }
        self.upload.add(self.packer.finish()?)?;
        self.upload.end(self.rows)?;
        Ok(self.upload)
    }

    /// Discards it.
    pub(crate) fn discard(self) -> Result<()> {
        self.upload.discard()
    }
}

/// A compressor whose output can be taken away piece by piece.
struct Packer {
    /// `None` for no compression.
    stream: Option<CompressedWriter<Shared>>,
    out: Shared,
}

/// Bytes that two owners see.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Bytes {
        let mut bytes = self.0.lock();
        Bytes::from(std::mem::take(&mut *bytes))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Packer {
    fn new(compression: Compression) -> Result<Self> {
        let out = Shared::default();
        let packs = compression != Compression::None;
        let stream = packs.then(|| compression.writer(out.clone())).transpose()?;
        Ok(Self { stream, out })
    }

    fn is_plain(&self) -> bool {
        self.stream.is_none()
    }

    fn pack(&mut self, text: Vec<u8>) -> Result<Bytes> {
        let Some(stream) = &mut self.stream else { return Ok(Bytes::from(text)) };
        stream.write_all(&text)?;
        Ok(self.out.take())
    }

    fn finish(&mut self) -> Result<Bytes> {
        if let Some(stream) = self.stream.take() {
            stream.finish()?;
        }
        Ok(self.out.take())
    }
}

fn ended() -> Error {
    Error::defect("rows for an object that has ended")
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::Cancel;

    use super::*;
    use crate::{
        DiskUploads,
        write::{run_folder::RunFolder, upload_store::PartLimit},
    };

    #[test]
    fn a_long_chunk_takes_little_more_memory_than_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let root = format!("{}/", folder.path().to_str().unwrap().trim_matches('/'));
        let settings = Arc::new(UploadSettings {
            store: Arc::new(DiskUploads::new(&root)),
            run_folder: RunFolder::new(&root, "r-1").unwrap(),
            limit: PartLimit::new(1),
            cancel: Cancel::new(),
            hash: false,
            durable: false,
            part_size: 8 << 20,
            origin: "r-1/0/0".to_owned(),
            task: 0,
            epoch: 0,
        });
        let key = format!("{root}x");
        let frame = Frame::WHOLE;
        let made = OpenObject::of_lines(&settings, &key, Vec::new(), Compression::None, frame);
        let mut object = made.unwrap();
        for size in [30_000, 3_000_000] {
            let lines = vec![b'x'; size];
            let mut text = 0;
            while text < 36_000_000 {
                object.add_lines(&lines, 1);
                text += size;
            }
            let held = object.pieces.iter().chain([&object.text]).map(Vec::capacity);
            let held: usize = held.sum();
            assert!(held < text + text / 4 + (4 << 20), "{held} bytes for {text}");
            object.rollback();
        }
    }
}
