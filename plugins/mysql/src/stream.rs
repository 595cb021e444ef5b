//! The bytes of one connection: a socket, or TLS over a socket. A deadline bounds all of the login;
//! afterwards a `Watch` decides how long a silent server is waited for. What the bytes mean is left
//! to `wire`.

use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::watch::{Verdict, Watch};

/// How long the bytes of a server may take that says it is sending them.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// One end of a connection.
pub(crate) enum Stream {
    Plain(Socket),
    Encrypted(Box<StreamOwned<ClientConnection, Socket>>),
}

/// A socket that another thread may shut down.
pub(crate) struct Socket {
    socket: Arc<TcpStream>,
    limit: Limit,
}

/// How long reading and writing may take.
enum Limit {
    /// All of it together.
    Until(Instant),
    /// As long as the server works, which is asked when nothing moves for a while.
    Working(Watch),
}

impl Socket {
    pub(crate) fn new(socket: Arc<TcpStream>, deadline: Instant) -> Self {
        Self { socket, limit: Limit::Until(deadline) }
    }

    fn set_timeout(&self, limit: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(limit))?;
        self.socket.set_write_timeout(Some(limit))
    }

    /// From now on the server is waited for as long as it works.
    fn set_watch(&mut self, watch: Watch) -> io::Result<()> {
        self.set_timeout(watch.idle)?;
        // A server that works on a bulk load may leave data unread for longer than the way to it
        // may be broken.
        #[cfg(target_os = "linux")]
        if watch.address.socket.is_none() {
            socket2::SockRef::from(&*self.socket).set_tcp_user_timeout(None)?;
        }
        self.limit = Limit::Working(watch);
        Ok(())
    }

    /// Sets how long the next call may block, where one deadline holds for all calls.
    fn arm(&self) -> io::Result<()> {
        let Limit::Until(deadline) = self.limit else { return Ok(()) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.set_timeout(left)
    }

    /// Reads or writes once.
    #[inline]
    fn call(
        &self,
        mut transfer: impl FnMut(&mut &TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.arm()?;
        match transfer(&mut &*self.socket) {
            // The system reports an expired time limit as a call that would block.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(transfer),
            outcome => outcome,
        }
    }

    /// Nothing has moved for a while: tries again as long as the server works.
    #[cold]
    fn wait(
        &self,
        mut transfer: impl FnMut(&mut &TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Limit::Working(watch) = &self.limit else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        let mut transfer = || match transfer(&mut &*self.socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            outcome => outcome.map(Some),
        };
        loop {
            let verdict = watch.ask()?;
            if verdict == Verdict::Waits {
                self.set_timeout(LAST_WAIT)?;
            }
            let moved = transfer()?;
            self.set_timeout(watch.idle)?;
            match moved {
                Some(count) => return Ok(count),
                None if verdict == Verdict::Works => {}
                None => {
                    let text = "the server waits for the client, and nothing arrives there";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
            }
        }
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

    /// Ends the deadline: from now on the server is waited for as long as it works.
    pub(crate) fn set_watch(&mut self, watch: Watch) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_watch(watch),
            Self::Encrypted(stream) => stream.sock.set_watch(watch),
        }
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
        self.call(|socket| socket.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(|socket| socket.write(bytes))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.call(|socket| socket.write_vectored(pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
