//! Standard input, standard output and named pipes: bytes that come and go once, in their order. What
//! has been read for a look at the beginning is kept until the reading begins. Waiting ends when the
//! job is stopped: the calls that block are made by threads of their own.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    mem,
    ops::Range,
    os::{fd::AsFd, unix::fs::FileExt},
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use transload_files::{StoredFile, error_at, unnamed_file};
use transload_plugin_api::{Cancel, Error, Result, code};

/// The path that means standard input or output.
pub(crate) const STANDARD: &str = "-";
/// What messages call them.
pub(crate) const STDIN: &str = "stdin";
pub(crate) const STDOUT: &str = "stdout";

/// Bytes that are read or written at once.
const BLOCK: usize = 256 << 10;
/// Blocks that wait for their reader.
const AHEAD: usize = 2;
/// How often a wait looks whether the job was stopped.
const GLANCE: Duration = Duration::from_millis(100);

/// A pipe as the listing has it.
pub(crate) fn stored(name: &str) -> StoredFile {
    StoredFile {
        name: name.to_owned(),
        size: 0,
        version: String::new(),
        is_stream: true,
        partitions: Vec::new(),
    }
}

/// The pipes of a job, opened when they are looked at for the first time.
#[derive(Default)]
pub(crate) struct Pipes {
    cancel: Cancel,
    /// The most bytes of a pipe that are kept.
    max_kept: u64,
    opened: Mutex<HashMap<String, Arc<Mutex<Pipe>>>>,
}

enum Pipe {
    /// Looked at, not yet read.
    Fresh { head: Vec<u8>, rest: PipeReader },
    /// Read, or being read.
    Taken,
    /// All of it has been read into a temporary file of this size.
    Kept(Arc<File>, u64),
}

impl Pipes {
    pub(crate) fn new(cancel: Cancel, max_kept: u64) -> Self {
        Self { cancel, max_kept, opened: Mutex::default() }
    }

    fn pipe(&self, name: &str) -> Arc<Mutex<Pipe>> {
        let mut opened = self.opened.lock();
        let pipe = opened.entry(name.to_owned()).or_insert_with(|| {
            let rest = PipeReader::open(name.to_owned(), self.cancel.clone());
            Arc::new(Mutex::new(Pipe::Fresh { head: Vec::new(), rest }))
        });
        Arc::clone(pipe)
    }

    /// Bytes of the beginning; fewer where the pipe ends before.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Unsupported`] once the pipe has been read.
    pub(crate) fn range(&self, name: &str, range: &Range<u64>) -> Result<Bytes> {
        let pipe = self.pipe(name);
        let mut pipe = pipe.lock();
        let (head, rest) = match &mut *pipe {
            Pipe::Fresh { head, rest } => (head, rest),
            Pipe::Kept(file, size) => return kept_range(file, *size, range, name),
            Pipe::Taken => return Err(read_before(name)),
        };
        let missing = range.end.saturating_sub(head.len() as u64);
        let read = rest.take(missing).read_to_end(head);
        read.map_err(|error| error_at(error, Path::new(name)))?;
        let at = |offset: u64| head.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        Ok(Bytes::copy_from_slice(&head[at(range.start)..at(range.end)]))
    }

    /// All bytes, from the first to the last; of a pipe that is kept, the wanted ones.
    ///
    /// # Errors
    /// As [`Pipes::range`].
    pub(crate) fn read(&self, name: &str, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let pipe = self.pipe(name);
        let mut pipe = pipe.lock();
        if let Pipe::Kept(file, size) = &*pipe {
            return Ok(Box::new(io::Cursor::new(kept_range(file, *size, &range, name)?)));
        }
        match mem::replace(&mut *pipe, Pipe::Taken) {
            Pipe::Fresh { head, rest } => Ok(Box::new(io::Cursor::new(head).chain(rest))),
            Pipe::Taken | Pipe::Kept(..) => Err(read_before(name)),
        }
    }

    /// Reads all of a pipe into a temporary file; returns its size.
    ///
    /// # Errors
    /// As [`Pipes::range`], [`transload_plugin_api::ErrorKind::Space`] and others of the temporary
    /// file, and if the pipe has more bytes than may be kept.
    pub(crate) fn keep(&self, name: &str) -> Result<u64> {
        let pipe = self.pipe(name);
        let mut pipe = pipe.lock();
        let (head, rest) = match mem::replace(&mut *pipe, Pipe::Taken) {
            Pipe::Fresh { head, rest } => (head, rest),
            Pipe::Taken => return Err(read_before(name)),
            Pipe::Kept(file, size) => {
                *pipe = Pipe::Kept(file, size);
                return Ok(size);
            }
        };
        let mut file = unnamed_file()?;
        let most = self.max_kept;
        let mut all = io::Cursor::new(head).chain(rest).take(most.saturating_add(1));
        let size =
            io::copy(&mut all, &mut file).map_err(|error| error_at(error, Path::new(name)))?;
        if size > most {
            let message =
                format!("a pipe has more than {most} bytes, of which Parquet is at the end");
            return Err(Error::data(message)
                .with_code(code::PARQUET_LIMIT)
                .at(name.to_owned())
                .hint("raise `max_kept`, or write the stream to a file first"));
        }
        *pipe = Pipe::Kept(Arc::new(file), size);
        Ok(size)
    }
}

/// Bytes of a pipe that is kept.
fn kept_range(file: &File, size: u64, range: &Range<u64>, name: &str) -> Result<Bytes> {
    let (start, end) = (range.start.min(size), range.end.min(size));
    let mut bytes = vec![0; end.saturating_sub(start) as usize];
    let read = file.read_exact_at(&mut bytes, start);
    read.map_err(|error| error_at(error, Path::new(name)))?;
    Ok(Bytes::from(bytes))
}

fn read_before(name: &str) -> Error {
    Error::unsupported("a pipe is read once, and it has been read")
        .at(name.to_owned())
        .hint("run the job again with the whole stream, or write the stream to a file first")
}

/// The reading end.
struct PipeReader {
    blocks: Receiver<io::Result<Vec<u8>>>,
    current: io::Cursor<Vec<u8>>,
    cancel: Cancel,
    ended: bool,
}

impl PipeReader {
    /// Reads from now on, at most [`AHEAD`] blocks ahead.
    fn open(name: String, cancel: Cancel) -> Self {
        let (sender, blocks) = sync_channel(AHEAD);
        let failed = sender.clone();
        let read = move || {
            let mut source: Box<dyn Read> = match name.as_str() {
                STDIN => Box::new(io::stdin()),
                // Waits until another process writes.
                path => match File::open(path) {
                    Ok(file) => Box::new(file),
                    Err(error) => return drop(sender.send(Err(error))),
                },
            };
            loop {
                let mut block = vec![0; BLOCK];
                let read = match source.read(&mut block) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read,
                };
                let last = !matches!(read, Ok(1..));
                let block = read.map(|read| {
                    block.truncate(read);
                    block
                });
                // Without a receiver, reading stops.
                if sender.send(block).is_err() || last {
                    return;
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("pipe".to_owned()).spawn(read) {
            // The channel has room for it.
            let _ = failed.send(Err(error));
        }
        Self { blocks, current: io::Cursor::default(), cancel, ended: false }
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || self.ended || buffer.is_empty() {
                return Ok(read);
            }
            match self.blocks.recv_timeout(GLANCE) {
                Ok(block) => {
                    let block = block?;
                    self.ended = block.is_empty();
                    self.current = io::Cursor::new(block);
                }
                Err(RecvTimeoutError::Timeout) => self.cancel.check().map_err(io::Error::other)?,
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
    }
}

/// The writing end. Each call waits until its bytes are taken.
pub(crate) struct PipeWriter {
    blocks: SyncSender<Vec<u8>>,
    written: Receiver<io::Result<()>>,
    cancel: Cancel,
}

impl PipeWriter {
    /// Writes to standard output, or to the named pipe as soon as a process reads it.
    ///
    /// # Errors
    /// If standard output is closed, or there cannot be another thread.
    pub(crate) fn open(name: &str, cancel: Cancel) -> io::Result<Self> {
        let stdout = match name {
            STDOUT => Some(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            _ => None,
        };
        let path = name.to_owned();
        let (blocks, received) = sync_channel::<Vec<u8>>(1);
        let (sender, written) = sync_channel(1);
        let write = move || {
            let opened = stdout.map_or_else(|| File::options().write(true).open(path), Ok);
            let mut opened = opened.map_err(Some);
            for block in received {
                let outcome = match &mut opened {
                    Ok(file) => file.write_all(&block),
                    Err(error) => Err(error.take().unwrap_or(io::ErrorKind::BrokenPipe.into())),
                };
                if sender.send(outcome).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("pipe".to_owned()).spawn(write)?;
        Ok(Self { blocks, written, cancel })
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK);
        // There is room for it: each block has been written before the next one comes.
        let sent = self.blocks.send(bytes[..count].to_vec());
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        loop {
            match self.written.recv_timeout(GLANCE) {
                Ok(outcome) => return outcome.map(|()| count),
                Err(RecvTimeoutError::Timeout) => self.cancel.check().map_err(io::Error::other)?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
