//! A growing file that may be compressed and hashed on the way, and cut back to an earlier mark.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use transload_formats::{CompressedWriter, Compression};
use transload_plugin_api::Error;

/// A place in the file where a compressed stream ends, so that the file may end there.
#[derive(Clone)]
pub(crate) struct Mark {
    size: u64,
    hash: Option<Sha256>,
}

impl Mark {
    /// Bytes as stored.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Of the bytes as stored, in hexadecimal digits; empty if it was not wanted.
    pub(crate) fn sha256(&self) -> String {
        let digest = self.hash.clone().map(|hash| hash.finalize().to_vec()).unwrap_or_default();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The file's end.
struct Tail {
    file: Arc<File>,
    mark: Mark,
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.mark.size += written as u64;
        if let Some(hash) = &mut self.mark.hash {
            hash.update(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum State {
    /// Between compressed streams.
    Idle(Tail),
    /// Inside one.
    Busy(Box<CompressedWriter<Tail>>),
    /// A write has failed; only [`Output::cut`] helps.
    Broken,
}

/// Bytes in, a file out.
pub(crate) struct Output {
    file: Arc<File>,
    compression: Compression,
    state: State,
}

impl Output {
    /// For an empty file.
    pub(crate) fn new(file: File, compression: Compression, hash: bool) -> Self {
        let file = Arc::new(file);
        let mark = Mark { size: 0, hash: hash.then(Sha256::new) };
        let state = State::Idle(Tail { file: Arc::clone(&file), mark });
        Self { file, compression, state }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file's end. Inside a compressed stream that is no place to cut at.
    pub(crate) fn mark(&self) -> Mark {
        match &self.state {
            State::Idle(tail) => tail.mark.clone(),
            State::Busy(_) | State::Broken => Mark { size: 0, hash: None },
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut stream = match std::mem::replace(&mut self.state, State::Broken) {
            State::Idle(tail) => {
                let stream = self.compression.writer(tail);
                Box::new(stream.map_err(|error: Error| io::Error::other(error))?)
            }
            State::Busy(stream) => stream,
            State::Broken => return Err(broken()),
        };
        stream.write_all(bytes)?;
        self.state = State::Busy(stream);
        Ok(())
    }

    /// Ends the compressed stream, so that the file may be cut here.
    pub(crate) fn end_frame(&mut self) -> io::Result<()> {
        let tail = match std::mem::replace(&mut self.state, State::Broken) {
            State::Idle(tail) => tail,
            State::Busy(stream) => stream.finish()?,
            State::Broken => return Err(broken()),
        };
        self.state = State::Idle(tail);
        Ok(())
    }

    /// Cuts the file back to a mark.
    pub(crate) fn cut(&mut self, mark: &Mark) -> io::Result<()> {
        // First of all the stream is dropped: it may write something as it goes.
        self.state = State::Broken;
        self.file.set_len(mark.size)?;
        (&*self.file).seek(SeekFrom::Start(mark.size))?;
        self.state = State::Idle(Tail { file: Arc::clone(&self.file), mark: mark.clone() });
        Ok(())
    }
}

fn broken() -> io::Error {
    io::Error::other("an earlier write has failed")
}
