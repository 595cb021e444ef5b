//! The bytes of one connection: a socket, or TLS over a socket. A deadline bounds everything that is
//! read and written until it is lifted. What the bytes mean is left to `wire`.

use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Instant,
};

use rustls::{
    ClientConfig, ClientConnection, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};

/// One end of a connection.
pub(crate) enum Stream {
    Plain(Socket),
    Encrypted(Box<StreamOwned<ClientConnection, Socket>>),
}

/// A socket that another thread may shut down.
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    deadline: Option<Instant>,
}

impl Socket {
    pub(crate) fn new(stream: Arc<TcpStream>, deadline: Instant) -> Self {
        Self { stream, deadline: Some(deadline) }
    }

    /// Sets how long the next call may block.
    fn arm(&self, reads: bool) -> io::Result<()> {
        let Some(deadline) = self.deadline else { return Ok(()) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match reads {
            true => self.stream.set_read_timeout(Some(left)),
            false => self.stream.set_write_timeout(Some(left)),
        }
    }

    /// The system reports an expired time limit as a call that would block.
    fn expired(&self, error: io::Error) -> io::Error {
        match (error.kind(), self.deadline) {
            (io::ErrorKind::WouldBlock, Some(_)) => io::ErrorKind::TimedOut.into(),
            _ => error,
        }
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.deadline = deadline;
        if deadline.is_none() {
            self.stream.set_read_timeout(None)?;
            self.stream.set_write_timeout(None)?;
        }
        Ok(())
    }
}

impl Stream {
    /// TLS over the socket, after its handshake.
    pub(crate) fn encrypted(
        socket: Socket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Encrypted(Box::new(stream)))
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Encrypted(stream) => &stream.sock,
        }
    }

    /// Bounds all reading and writing from now on; `None` lifts the bound.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_deadline(deadline),
            Self::Encrypted(stream) => stream.sock.set_deadline(deadline),
        }
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket().stream.set_nonblocking(nonblocking)
    }

    /// The server's own certificate; `None` without TLS.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'_>> {
        match self {
            Self::Plain(_) => None,
            Self::Encrypted(stream) => stream.conn.peer_certificates()?.first(),
        }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(pieces),
            Self::Encrypted(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arm(true)?;
        (&*self.stream).read(buffer).map_err(|error| self.expired(error))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm(false)?;
        (&*self.stream).write(bytes).map_err(|error| self.expired(error))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.arm(false)?;
        (&*self.stream).write_vectored(pieces).map_err(|error| self.expired(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
