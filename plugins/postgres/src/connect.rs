//! Opening a connection: address, TCP, TLS, login, the session's settings, all within one time
//! limit; and how a stop signal ends it. What is sent over it afterwards is left to `session`, the
//! proofs of a password to `login`.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    sync::{
        Arc, OnceLock, Weak,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use transload_plugin_api::{Cancel, Error, ErrorKind, Host, Result};
use transload_tables::TlsMode;

use crate::{
    failure::Failure,
    login::{BackendKey, LoginError, log_in},
    options::Address,
    session::Session,
    stream::{Socket, Stream},
    wire::Wire,
};

/// How long a request to cancel a statement may take.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// Settings that make results independent of the server's defaults and of the time zone. Notices
/// are off because nothing reads them while rows are sent.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; \
    SET lc_monetary = 'C'; SET standard_conforming_strings = on; SET statement_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET client_min_messages = error";

/// The code of errors before the login: the server was not reached, or not by TLS.
pub(crate) const NOT_OPEN: &str = "PG-NOT-OPEN";

/// What it takes to open a connection.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) host: Host,
    /// SQL that each session begins with, after the settings of all sessions.
    pub(crate) settings: String,
}

impl Connector {
    /// For sessions that can only read.
    pub(crate) fn reading(address: Address, host: Host) -> Self {
        let settings = "SET default_transaction_read_only = on".to_owned();
        Self { address, host, settings }
    }

    /// Connects, logs in and sets the session up.
    pub(crate) fn connect(&self) -> Result<Session> {
        self.connect_until(self.host.cancel())
    }

    /// As [`Connector::connect`], for cleaning up after a stop signal.
    pub(crate) fn connect_regardless(&self) -> Result<Session> {
        self.connect_until(&Cancel::new())
    }

    fn connect_until(&self, cancel: &Cancel) -> Result<Session> {
        let mut session = open(&self.address, &self.host, cancel)?;
        session.run("prepare the session", &format!("{SETTINGS}; {}", self.settings))?;
        Ok(session)
    }
}

/// A session that is logged in.
fn open(address: &Address, host: &Host, cancel: &Cancel) -> Result<Session> {
    cancel.check()?;
    let password = host.secret("password")?;
    let endpoint = Endpoint::new(address)?;
    let opened = (|| {
        let deadline = Instant::now() + address.connect_timeout;
        let (stream, interrupt) = endpoint.connect(deadline, cancel).map_err(ConnectError::Open)?;
        let mut wire = Wire::new(stream);
        let key = log_in(&mut wire, address, password.as_ref()).map_err(ConnectError::Login)?;
        wire.logged_in().map_err(ConnectError::Open)?;
        // Nothing else sets the key.
        let _ = interrupt.key.set(key);
        Ok(Session::new(wire, interrupt, cancel.clone()))
    })();
    opened.map_err(|error| not_connected(address, error, cancel))
}

/// Where connections lead and how they are protected.
struct Endpoint {
    host: String,
    port: u16,
    /// `None`: in plain text.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Endpoint {
    /// Reads the certificates that the address names.
    fn new(address: &Address) -> Result<Arc<Self>> {
        let tls = match address.tls.mode {
            TlsMode::Disable => None,
            _ => {
                let refused = |error: Error| error.with_code(NOT_OPEN);
                let config = address.tls.client_config().map_err(refused)?;
                let name = ServerName::try_from(address.host.clone()).map_err(|_| {
                    refused(Error::new(ErrorKind::Options, "`host` is no name for TLS"))
                })?;
                Some((config, name))
            }
        };
        Ok(Arc::new(Self { host: address.host.clone(), port: address.port, tls }))
    }

    /// A connection on which the login comes next, and what ends it at a stop signal.
    fn connect(
        self: &Arc<Self>,
        deadline: Instant,
        cancel: &Cancel,
    ) -> io::Result<(Stream, Arc<Interrupt>)> {
        let (sender, receiver) = mpsc::channel();
        let interrupt = Arc::new(Interrupt {
            endpoint: Arc::clone(self),
            wake: sender.clone(),
            socket: OnceLock::new(),
            key: OnceLock::new(),
        });
        let weak = Arc::downgrade(&interrupt);
        cancel.on_cancel(move || Interrupt::stop(&weak));
        let (host, port) = (self.host.clone(), self.port);
        // Neither looking up a name nor connecting can be interrupted: both are left to a thread
        // that may outlive its use.
        thread::Builder::new().name("connect".to_owned()).spawn(move || {
            // Without a receiver the connection is of no use and closes.
            let _ = sender.send(Some(reach(&host, port, deadline)));
        })?;
        let left = deadline.saturating_duration_since(Instant::now());
        let stream = match receiver.recv_timeout(left) {
            Ok(Some(reached)) => Arc::new(reached?),
            Ok(None) => return Err(io::ErrorKind::Interrupted.into()),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        // From here on a stop signal closes the socket; it may have been given before.
        let _ = interrupt.socket.set(Arc::clone(&stream));
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok((self.protect(Socket::new(stream, deadline))?, interrupt))
    }

    /// Starts TLS where it is asked for; nothing is ever sent in plain text instead.
    fn protect(&self, mut socket: Socket) -> io::Result<Stream> {
        let Some((config, name)) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        socket.write_all(&request)?;
        // Exactly one byte: what else has been sent in plain text is read as TLS, and refused.
        let mut answer = [0];
        socket.read_exact(&mut answer)?;
        if answer != *b"S" {
            return Err(io::Error::other("the server does not speak TLS"));
        }
        Stream::encrypted(socket, Arc::clone(config), name.clone())
    }
}

/// Connects to the first of the host's addresses that accepts.
fn reach(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return prepared(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// What a stop signal does to a connection.
pub(crate) struct Interrupt {
    endpoint: Arc<Endpoint>,
    /// `None` ends the wait for a connection.
    wake: Sender<Option<io::Result<TcpStream>>>,
    socket: OnceLock<Arc<TcpStream>>,
    /// Set once the login is complete.
    key: OnceLock<BackendKey>,
}

impl Interrupt {
    /// Ends whatever the connection's thread waits for, and asks the server to cancel the
    /// statement: in the middle of one it does not notice a closed socket.
    fn stop(interrupt: &Weak<Self>) {
        let Some(interrupt) = interrupt.upgrade() else { return };
        let _ = interrupt.wake.send(None);
        interrupt.close();
        let Some(key) = interrupt.key.get().copied() else { return };
        let endpoint = Arc::clone(&interrupt.endpoint);
        // Nothing waits for this: without it the statement ends by the closed socket, only later.
        let _ = thread::Builder::new().name("cancel".to_owned()).spawn(move || {
            let _ = endpoint.cancel_statement(key);
        });
    }

    /// Closes the socket for both directions.
    pub(crate) fn close(&self) {
        if let Some(socket) = self.socket.get() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Endpoint {
    /// Asks for it over a connection of its own, as the protocol wants.
    fn cancel_statement(self: &Arc<Self>, key: BackendKey) -> io::Result<()> {
        let deadline = Instant::now() + CANCEL_LIMIT;
        let (mut stream, _interrupt) = self.connect(deadline, &Cancel::new())?;
        let mut request = BytesMut::new();
        frontend::cancel_request(key.process, key.secret, &mut request);
        stream.write_all(&request)?;
        stream.flush()?;
        // The server closes the connection once it has passed the request on.
        stream.read(&mut [0]).map(drop)
    }
}

/// Why there is no session.
enum ConnectError {
    /// Before the login.
    Open(io::Error),
    Login(LoginError),
}

fn not_connected(address: &Address, error: ConnectError, cancel: &Cancel) -> Error {
    if let Err(stopped) = cancel.check() {
        return stopped;
    }
    let mut made = match error {
        ConnectError::Open(error) => unreached(address, &error).with_code(NOT_OPEN),
        ConnectError::Login(LoginError::Failure(Failure::Lost(error))) => {
            unreached(address, &error)
        }
        ConnectError::Login(LoginError::Failure(failure)) => failure.into_error("log in", cancel),
        ConnectError::Login(LoginError::Refused(error)) => error,
    };
    if address.tls.mode != TlsMode::Disable && made.hint.is_none() {
        let hint = "if the server has no TLS or a certificate of its own, see `tls` and `ca_file`";
        made.hint = Some(hint.to_owned());
    }
    made.at(format!("{}:{}", address.host, address.port))
}

fn unreached(address: &Address, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::TimedOut {
        let seconds = address.connect_timeout.as_secs_f64();
        let message = format!("cannot connect: no answer in {seconds} s");
        return Error::new(ErrorKind::Connection, message);
    }
    Error::new(ErrorKind::Connection, format!("cannot connect: {error}")).caused_by(error)
}
