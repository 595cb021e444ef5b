//! The bytes of one connection: a socket, or TLS over a socket. A deadline bounds everything that is
//! read and written until it is lifted; from then on a silent server is asked whether it is at work.
//! What the bytes mean is left to `wire`, and how a server is asked to `liveness`.

use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use transload_plugin_api::Waiting;

/// One end of a connection.
pub(crate) enum Stream {
    Plain(Socket),
    Encrypted(Box<StreamOwned<ClientConnection, Socket>>),
}

/// How long the reply of a server that waits for us may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// What a server does whose connection is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It works on the statement.
    AtWork,
    /// The statement waits for a lock that these sessions hold.
    Blocked(String),
    /// It waits for this side, which waits for it.
    Waiting,
}

/// Finds out about a silent server by another way than the silent connection.
pub(crate) trait Liveness: Send + Sync {
    /// What the server does; an error if it cannot be reached or has ended the session.
    fn look(&self) -> io::Result<Activity>;
}

/// How long a connection may be silent before the server is asked.
#[derive(Clone)]
pub(crate) struct Idle {
    pub(crate) timeout: Duration,
    pub(crate) liveness: Arc<dyn Liveness>,
}

/// A socket that another thread may shut down.
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    /// The end of all reading and writing, where it is set.
    deadline: Option<Instant>,
    /// What holds without a deadline.
    idle: Option<Idle>,
    nonblocking: bool,
}

impl Socket {
    pub(crate) fn new(stream: Arc<TcpStream>, deadline: Instant) -> Self {
        Self { stream, deadline: Some(deadline), idle: None, nonblocking: false }
    }

    /// Calls `call`, which blocks, until it is done or the time is up.
    fn blocking<T>(&self, mut call: impl FnMut(&TcpStream) -> io::Result<T>) -> io::Result<T> {
        self.arm()?;
        match call(&self.stream) {
            // The system reports an expired time limit as a call that would block.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.patient(error, call),
            outcome => outcome,
        }
    }

    /// Bounds the next call by the deadline.
    fn arm(&self) -> io::Result<()> {
        let Some(deadline) = self.deadline else { return Ok(()) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.set_timeout(Some(left))
    }

    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)?;
        self.stream.set_write_timeout(timeout)
    }

    /// Calls `call` again for as long as the server is at work.
    fn patient<T>(
        &self,
        error: io::Error,
        mut call: impl FnMut(&TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.nonblocking {
            return Err(error);
        }
        let (None, Some(idle)) = (self.deadline, &self.idle) else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        let mut _waiting = None;
        loop {
            let activity = idle.liveness.look()?;
            _waiting = match &activity {
                Activity::Blocked(by) => {
                    Some(Waiting::new(format_args!("waiting for a lock, held by {by}")))
                }
                _ => None,
            };
            if activity == Activity::Waiting {
                self.set_timeout(Some(ON_ITS_WAY.min(idle.timeout)))?;
            }
            let outcome = call(&self.stream);
            self.set_timeout(Some(idle.timeout))?;
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            if activity == Activity::Waiting {
                return Err(idle.silent("and the server waits as well"));
            }
        }
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.deadline = deadline;
        match (deadline, &self.idle) {
            (Some(_), _) => Ok(()),
            (None, idle) => self.set_timeout(idle.as_ref().map(|idle| idle.timeout)),
        }
    }
}

impl Idle {
    /// The error of a connection that was silent for too long.
    pub(crate) fn silent(&self, why: &str) -> io::Error {
        let seconds = self.timeout.as_secs_f64();
        let text = format!("no response in {seconds} s, {why}");
        io::Error::new(io::ErrorKind::TimedOut, text)
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

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Encrypted(stream) => &mut stream.sock,
        }
    }

    /// Bounds all reading and writing from now on; `None` lifts the bound.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.socket_mut().set_deadline(deadline)
    }

    /// Lifts the deadline for good: from now on a silent server is asked.
    pub(crate) fn set_idle(&mut self, idle: Idle) -> io::Result<()> {
        self.socket_mut().idle = Some(idle);
        self.set_deadline(None)
    }

    /// How long a silence may be; `None` within a deadline.
    pub(crate) fn idle(&self) -> Option<&Idle> {
        let socket = self.socket();
        socket.idle.as_ref().filter(|_| socket.deadline.is_none())
    }

    pub(crate) fn set_nonblocking(&mut self, nonblocking: bool) -> io::Result<()> {
        self.socket_mut().nonblocking = nonblocking;
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
        self.blocking(|mut stream| stream.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blocking(|mut stream| stream.write(bytes))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.blocking(|mut stream| stream.write_vectored(pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
