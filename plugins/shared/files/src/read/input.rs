//! The text of a file: unpacked, in UTF-8, in blocks that end where the decoder has to go on.

use std::{
    io::{self, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use transload_formats::{Charset, Compression, CompressionChoice, ReadOptions, Transcoder};
use transload_plugin_api::{Error, Result, code};

use crate::{Store, StoredFile};

/// Bytes read at once; a buffer begins with this size and grows while one record is larger.
const BLOCK: usize = 1 << 20;
/// A buffer of more than this has grown with a long record.
const GROWN: usize = 4 << 20;

/// The first buffer of a look at a file, and the bytes that it asks the store for first.
const LOOK: usize = 128 << 10;

/// The most that a look asks the store for at once.
const LARGEST_LOOK: u64 = 4 << 20;

/// The bytes of a file from its start, requested in growing steps: at most four times what is needed.
struct Look {
    store: Arc<dyn Store>,
    file: StoredFile,
    /// Where the next bytes to ask for begin, and how many they are.
    next: u64,
    step: u64,
    come: Bytes,
}

impl Read for Look {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.come.is_empty() {
            let until = self.file.end().min(self.next + self.step);
            self.come = self.store.range(&self.file, self.next..until).map_err(io::Error::other)?;
            self.next += self.come.len() as u64;
            self.step = (self.step * 4).min(LARGEST_LOOK);
        }
        let count = self.come.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.come.split_to(count));
        Ok(count)
    }
}

/// Counts what is read of a file.
struct Counted {
    file: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        // Only ever looked at by the thread that reads.
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Text in another encoding as UTF-8.
struct Transcoded {
    inner: Box<dyn Read + Send>,
    transcoder: Transcoder,
    piece: Vec<u8>,
    text: Vec<u8>,
    given: usize,
    at_end: bool,
}

impl Transcoded {
    fn new(inner: Box<dyn Read + Send>, options: &ReadOptions, encoding: Charset) -> Self {
        Self {
            inner,
            transcoder: Transcoder::new(encoding, options.invalid),
            piece: vec![0; BLOCK / 4],
            text: Vec::new(),
            given: 0,
            at_end: false,
        }
    }
}

impl Read for Transcoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() && !self.at_end {
            let read = self.inner.read(&mut self.piece)?;
            self.at_end = read == 0;
            self.text.clear();
            self.given = 0;
            let piece = &self.piece[..read];
            // The error travels inside of an I/O error to `Input`.
            let pushed = self.transcoder.push(piece, self.at_end, &mut self.text);
            pushed.map_err(io::Error::other)?;
        }
        let rest = &self.text[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

/// A stretch of a file's text.
pub(crate) struct Input {
    text: Box<dyn Read + Send>,
    compression: Compression,
    encoding: Charset,
    buffer: Vec<u8>,
    /// The buffer's usual size.
    usual: usize,
    start: usize,
    end: usize,
    /// Where `start` stands in the whole text.
    offset: u64,
    /// Where the stretch ends, if that is known beforehand: of the plain text of a file only.
    until: Option<u64>,
    at_end: bool,
    stored: Arc<AtomicU64>,
    /// Of `stored`, or of the text if it is plain, how much has been reported.
    reported: u64,
}

impl Input {
    /// The text of `file` from its start, up to `until`.
    pub(crate) fn open(
        store: &dyn Store,
        file: &StoredFile,
        options: &ReadOptions,
        until: Option<u64>,
    ) -> Result<Self> {
        let until = until.unwrap_or(file.end());
        Self::from_start(store.read(file, 0..until)?, options, until, BLOCK)
    }

    /// As [`Input::open`], for whoever needs the text's beginning only.
    pub(crate) fn look(
        store: &Arc<dyn Store>,
        file: &StoredFile,
        options: &ReadOptions,
    ) -> Result<Self> {
        let (store, file) = (Arc::clone(store), file.clone());
        let end = file.end();
        let look = Look { store, file, next: 0, step: LOOK as u64, come: Bytes::new() };
        Self::from_start(Box::new(look), options, end, LOOK)
    }

    /// The text of `file` from offset `from` on, up to `until`. Plain text is sought, all other
    /// is read and dropped up to there; which it is costs a look at the file's first bytes, unless
    /// it `is_cut`, which only plain text is.
    pub(crate) fn open_at(
        store: &dyn Store,
        file: &StoredFile,
        options: &ReadOptions,
        is_cut: bool,
        from: u64,
        until: Option<u64>,
    ) -> Result<Self> {
        let until = until.unwrap_or(file.size);
        let known =
            is_cut || options.compression != CompressionChoice::Auto && options.encoding.is_some();
        let head = match known {
            true => Bytes::new(),
            false => store.range(file, 0..file.size.min(Compression::HEAD as u64))?,
        };
        let detect = || Compression::detect(&head);
        let compression =
            if is_cut { Compression::None } else { options.compression.or(detect)? };
        let content = Content { compression, encoding: options.encoding_of(&head) };
        if content.is_plain(options) {
            let text = Self::new(store.read(file, from..until)?, options, content, until, BLOCK)?;
            return Ok(Self { offset: from, reported: from, ..text });
        }
        let mut text = Self::new(store.read(file, 0..until)?, options, content, until, BLOCK)?;
        let dropped = io::copy(&mut text.text.by_ref().take(from), &mut io::sink());
        check_end(from, dropped.map_err(|error| broken_stream(&error, compression))?)?;
        Ok(Self { offset: from, ..text })
    }

    fn from_start(
        mut stored: Box<dyn Read + Send>,
        options: &ReadOptions,
        until: u64,
        room: usize,
    ) -> Result<Self> {
        let mut head = Vec::new();
        (&mut stored).take(Compression::HEAD as u64).read_to_end(&mut head)?;
        let compression = options.compression.or(|| Compression::detect(&head))?;
        let content = Content { compression, encoding: options.encoding_of(&head) };
        Self::new(Box::new(Cursor::new(head).chain(stored)), options, content, until, room)
    }

    fn new(
        stored: Box<dyn Read + Send>,
        options: &ReadOptions,
        content: Content,
        until: u64,
        room: usize,
    ) -> Result<Self> {
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { file: stored, bytes: Arc::clone(&bytes) };
        let (text, encoding) = text_of(counted, options, content)?;
        Ok(Self {
            text,
            compression: content.compression,
            encoding,
            buffer: vec![0; room],
            usual: room,
            start: 0,
            end: 0,
            offset: 0,
            until: content.is_plain(options).then_some(until).filter(|end| *end < u64::MAX),
            at_end: false,
            stored: bytes,
            reported: 0,
        })
    }

    /// Whether offsets in the text are offsets in the file, so that it can be cut.
    pub(crate) fn is_plain(&self) -> bool {
        self.until.is_some()
    }

    /// The encoding of the file, as the job or its byte order mark says.
    pub(crate) fn encoding(&self) -> Charset {
        self.encoding
    }

    /// What has been read and not taken.
    pub(crate) fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether nothing follows the window.
    pub(crate) fn at_end(&self) -> bool {
        self.at_end
    }

    /// Where the window begins in the whole text.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes from the window's start.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Bytes taken of the file since the last call, as stored: of plain text those of the records, else
    /// what was read for them.
    pub(crate) fn take_stored(&mut self) -> u64 {
        let stored = match self.is_plain() {
            true => self.offset,
            false => self.stored.load(Ordering::Relaxed),
        };
        let news = stored - self.reported;
        self.reported = stored;
        news
    }

    /// Reads more behind the window, as much as there is room for.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if the file ends before it should.
    pub(crate) fn fill(&mut self) -> Result<()> {
        self.make_room();
        while self.end < self.buffer.len() {
            let room = &mut self.buffer[self.end..];
            let most = match self.until {
                Some(until) => (until - self.offset) as usize - (self.end - self.start),
                None => room.len(),
            };
            let most = most.min(room.len());
            let read = match self.text.read(&mut room[..most]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken_stream(&error, self.compression)),
            };
            if read == 0 {
                let found = self.offset + (self.end - self.start) as u64;
                self.at_end = true;
                return match self.until {
                    Some(until) => check_end(until, found),
                    None => Ok(()),
                };
            }
            self.end += read;
        }
        Ok(())
    }

    /// Gives back what a long record took, before others use the memory: of what is behind it, little
    /// is in the buffer.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.len() > GROWN {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            self.buffer.truncate(self.end.max(self.usual));
            self.buffer.shrink_to_fit();
        }
    }

    /// Moves the window to the buffer's start; a window that fills half of it gets a larger one. That
    /// grows in smaller steps once it is large, so that it does not hold much more than one record.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = match self.end {
            small if small <= GROWN / 2 => (2 * small).max(self.usual),
            large => large + large / 4,
        };
        if room > self.buffer.len() {
            // exactly so much: a vector doubles of itself
            self.buffer.reserve_exact(room - self.buffer.len());
            self.buffer.resize(room, 0);
        }
    }
}

fn check_end(expected: u64, found: u64) -> Result<()> {
    if found >= expected {
        return Ok(());
    }
    let message = format!("the file ends after {found} bytes, {expected} were planned");
    Err(Error::data(message)
        .with_code(code::FILE_SHORT)
        .hint("the file was cut while it was read; plan again"))
}

/// What the bytes of a file are.
#[derive(Clone, Copy)]
struct Content {
    compression: Compression,
    /// Of text that is not compressed.
    encoding: Charset,
}

impl Content {
    /// Text is the file's bytes: offsets in the one are offsets in the other.
    fn is_plain(self, options: &ReadOptions) -> bool {
        self.compression == Compression::None && options.is_utf8_in(self.encoding)
    }
}

/// The text of a file from its start, or of plain text from anywhere, and its encoding.
fn text_of(
    stored: Counted,
    options: &ReadOptions,
    content: Content,
) -> Result<(Box<dyn Read + Send>, Charset)> {
    let Content { compression, mut encoding } = content;
    if content.is_plain(options) {
        return Ok((Box::new(stored), encoding));
    }
    let mut text = compression.reader_up_to(options.max_decompressed, stored)?;
    if compression != Compression::None && options.encoding.is_none() {
        let mut mark = Vec::new();
        let read = (&mut text).take(2).read_to_end(&mut mark);
        read.map_err(|error| broken_stream(&error, compression))?;
        encoding = options.encoding_of(&mark);
        text = Box::new(Cursor::new(mark).chain(text));
    }
    if options.is_utf8_in(encoding) {
        return Ok((text, encoding));
    }
    Ok((Box::new(Transcoded::new(text, options, encoding)), encoding))
}

/// What reading says: a file system's error, one of the encoding, or one of the unpacker, for
/// whom truncated and damaged streams are errors of the data.
fn broken_stream(error: &io::Error, compression: Compression) -> Error {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return inner.clone();
    }
    if error.raw_os_error().is_some() || compression == Compression::None {
        return Error::from(io::Error::from(error.kind())).caused_by(error);
    }
    let truncated = error.kind() == io::ErrorKind::UnexpectedEof;
    let what = if truncated { "is cut off" } else { "is damaged" };
    Error::data(format!("the compressed stream {what}"))
        .with_code(code::FILE_COMPRESSION)
        .caused_by(error)
}
