//! Where connections lead: TCP and TLS, up to where the login begins, and how a stop signal ends
//! what is done over them.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, OnceLock, Weak},
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::{ClientConfig, pki_types::ServerName};
use transload_plugin_api::{Cancel, Error, Result};
use transload_tables::TlsMode;

use crate::{
    login::BackendKey,
    options::Address,
    stream::{Socket, Stream},
};

/// How long a request to cancel a statement may take.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// The code of errors before the login: the server was not reached, or not by TLS.
pub(crate) const NOT_OPEN: &str = "PG-NOT-OPEN";

/// Where connections lead and how they are protected.
pub(crate) struct Endpoint {
    address: Address,
    /// `None`: in plain text.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Endpoint {
    /// Reads the certificates that the address names.
    pub(crate) fn new(address: &Address) -> Result<Arc<Self>> {
        let tls = match address.tls.mode {
            TlsMode::Disable => None,
            _ => {
                let refused = |error: Error| error.with_code(NOT_OPEN);
                let config = address.tls.client_config().map_err(refused)?;
                let name = ServerName::try_from(address.host.clone()).map_err(|_| {
                    refused(Error::options("`host` is not a valid server name for TLS"))
                })?;
                Some((config, name))
            }
        };
        Ok(Arc::new(Self { address: address.clone(), tls }))
    }

    /// A connection on which the login comes next, and what ends it at a stop signal.
    pub(crate) fn connect(
        self: &Arc<Self>,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Result<(Stream, Arc<Interrupt>), OpenError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let socket = self.address.connect(left, cancel).map_err(OpenError::Tcp)?;
        let (socket, key) = (Arc::new(socket), OnceLock::new());
        let endpoint = Arc::clone(self);
        let interrupt = Arc::new(Interrupt { endpoint, socket: Arc::clone(&socket), key });
        let weak = Arc::downgrade(&interrupt);
        cancel.on_cancel(move || Interrupt::stop(&weak));
        let stream = self.protect(Socket::new(socket, deadline)).map_err(OpenError::Tls)?;
        Ok((stream, interrupt))
    }

    /// Starts TLS where it is asked for; nothing is ever sent in plain text instead.
    fn protect(&self, mut socket: Socket) -> io::Result<Stream> {
        let Some((config, name)) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        socket.write_all(&request)?;
        // Exactly one byte: what else has been sent in plain text is read as TLS, and refused.
        let mut response = [0];
        socket.read_exact(&mut response)?;
        if response != *b"S" {
            return Err(io::Error::other("the server does not support TLS"));
        }
        Stream::encrypted(socket, Arc::clone(config), name.clone())
    }

    /// Asks the server to cancel a statement, over a connection of its own as the protocol wants.
    fn cancel_statement(self: &Arc<Self>, key: BackendKey) -> io::Result<()> {
        let deadline = Instant::now() + CANCEL_LIMIT;
        let Ok((mut stream, _interrupt)) = self.connect(deadline, &Cancel::new()) else {
            return Ok(());
        };
        let mut request = BytesMut::new();
        frontend::cancel_request(key.process, key.secret, &mut request);
        stream.write_all(&request)?;
        stream.flush()?;
        // The server closes the connection once it has passed the request on.
        stream.read(&mut [0]).map(drop)
    }
}

/// What a stop signal does to a connection.
pub(crate) struct Interrupt {
    endpoint: Arc<Endpoint>,
    socket: Arc<TcpStream>,
    /// Set once the login is complete.
    key: OnceLock<BackendKey>,
}

/// Why a connection could not be opened.
pub(crate) enum OpenError {
    /// The server was not reached.
    Tcp(Error),
    /// TLS did not begin.
    Tls(io::Error),
}

impl Interrupt {
    /// Ends whatever the connection's thread waits for, and asks the server to cancel the
    /// statement: in the middle of one it does not notice a closed socket.
    fn stop(interrupt: &Weak<Self>) {
        let Some(interrupt) = interrupt.upgrade() else { return };
        interrupt.close();
        let Some(key) = interrupt.key.get().copied() else { return };
        let endpoint = Arc::clone(&interrupt.endpoint);
        // Nothing waits for this: without it the statement ends by the closed socket, only later.
        let _ = thread::Builder::new().name("cancel".to_owned()).spawn(move || {
            let _ = endpoint.cancel_statement(key);
        });
    }

    /// Names the server's process, once the login is complete.
    pub(crate) fn set_key(&self, key: BackendKey) {
        // Set once only: a connection logs in once.
        let _ = self.key.set(key);
    }

    /// What the login said about the session; zeros before.
    pub(crate) fn key(&self) -> BackendKey {
        self.key.get().copied().unwrap_or_default()
    }

    /// Closes the socket for both directions.
    pub(crate) fn close(&self) {
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
