//! Opening a session: a connection, the login and the session's settings, all within one time
//! limit. TCP and TLS are left to `endpoint`, the proofs of a password to `login`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use transload_plugin_api::{Cancel, Error, Host, Result, Waiting};
use transload_tables::TlsMode;

use crate::{
    endpoint::{Endpoint, NOT_OPEN, OpenError},
    failure::Failure,
    liveness,
    login::{LoginError, log_in},
    options::Address,
    pooler,
    session::{Server, Session},
    wire::Wire,
};

/// Settings that make results independent of the server's defaults and of the time zone. Notices
/// are off because nothing reads them while rows are sent. With row security off, a statement that
/// would see a part of the rows only is an error. A database without an encoding sends texts as they
/// are: if the server checked them, one that is not UTF-8 would end the whole COPY. The server asks
/// a silent client after 30 s whether it is there, and lets go of its locks 30 s later; a user timeout
/// would cut one that reads slowly.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; \
    SET lc_monetary = 'C'; SET xmloption = content; SET standard_conforming_strings = on; SET statement_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET client_min_messages = error; \
    SET row_security = off; SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
    SET tcp_keepalives_count = 3; SELECT pg_catalog.set_config('client_encoding', 'SQL_ASCII', false) \
    WHERE pg_catalog.current_setting('server_encoding') = 'SQL_ASCII'";
/// The shortest limit of identifiers that this program can work with.
const IDENTIFIER_BYTES: usize = 63;

/// What it takes to open a connection.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) host: Host,
    /// SQL that each session begins with, after the settings of all sessions.
    pub(crate) settings: String,
    /// What is in front of the server was found to keep sessions apart.
    is_known: Arc<AtomicBool>,
}

impl Connector {
    pub(crate) fn new(address: Address, host: Host, settings: String) -> Self {
        Self { address, host, settings, is_known: Arc::default() }
    }

    /// For sessions that can only read.
    pub(crate) fn reading(address: Address, host: Host) -> Self {
        Self::new(address, host, "SET default_transaction_read_only = on".to_owned())
    }

    /// Accepts tables of which this login sees a part only.
    pub(crate) fn with_row_security(mut self) -> Self {
        self.settings.push_str("; SET row_security = on");
        self
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
        let place = self.address.place();
        let _waiting = Waiting::new(format_args!("connecting to {place}"));
        let deadline = Instant::now() + self.address.connect_timeout;
        let mut session = self.open(deadline, cancel)?;
        let is_pooled = session.key().process != session.server().process;
        if is_pooled && !self.is_known.load(Relaxed) {
            pooler::refuse_transaction_mode(&mut session, || self.open(deadline, cancel))
                .map_err(|error| error.at(self.address.place()))?;
        }
        self.is_known.store(true, Relaxed);
        let settings = format!("{SETTINGS}; {}", self.settings);
        self.within(cancel, session.try_run(&settings))?;
        let process = (!is_pooled).then_some(session.server().process);
        let watched = session.watch(liveness::idle(self, cancel, process));
        self.within(cancel, watched)?;
        let Server { process, version, .. } = *session.server();
        tracing::debug!(process, version, "connected to {place}");
        Ok(session)
    }

    /// A session that is logged in, with the server's own settings. It ends at the deadline.
    pub(crate) fn open(&self, deadline: Instant, cancel: &Cancel) -> Result<Session> {
        let password = self.host.secret("password")?;
        let endpoint = Endpoint::new(&self.address)?;
        let opened = (|| {
            let (stream, interrupt) =
                endpoint.connect(deadline, cancel).map_err(ConnectError::Open)?;
            let mut wire = Wire::new(stream);
            interrupt.set_key(log_in(&mut wire, &self.address, password.as_ref())?);
            let mut session = Session::new(wire, interrupt, cancel.clone());
            session.introduce().map_err(ConnectError::Setup)?;
            Ok(session)
        })();
        let session: Session =
            opened.map_err(|error| not_connected(&self.address, error, cancel))?;
        self.check_names(session.server())?;
        Ok(session)
    }

    /// The server cuts names that are too long, and would let us into another database.
    fn check_names(&self, server: &Server) -> Result<()> {
        let limit = server.identifier_bytes;
        if limit < IDENTIFIER_BYTES {
            let message = format!("the server takes names of {limit} bytes only");
            return Err(Error::unsupported(message)
                .at(self.address.place())
                .hint("it was built with a NAMEDATALEN below 64"));
        }
        for (option, name) in [("database", &self.address.database), ("user", &self.address.user)] {
            if name.len() > limit {
                let message = format!("`{option}` is longer than {limit} bytes: `{name}`");
                return Err(Error::options(message)
                    .hint("the server would cut it to the name of another one"));
            }
        }
        Ok(())
    }

    /// The outcome of a step that belongs to opening the session.
    fn within<T>(&self, cancel: &Cancel, outcome: Result<T, Failure>) -> Result<T> {
        let failed = |failure| not_connected(&self.address, ConnectError::Setup(failure), cancel);
        outcome.map_err(failed)
    }
}

/// Why there is no session.
enum ConnectError {
    Open(OpenError),
    Login(LoginError),
    /// After the login.
    Setup(Failure),
}

impl From<LoginError> for ConnectError {
    fn from(error: LoginError) -> Self {
        Self::Login(error)
    }
}

fn not_connected(address: &Address, error: ConnectError, cancel: &Cancel) -> Error {
    if let Err(stopped) = cancel.check() {
        return stopped;
    }
    let mut made = match error {
        ConnectError::Open(OpenError::Tcp(error)) => error.with_code(NOT_OPEN),
        ConnectError::Open(OpenError::Tls(error)) => unreached(address, &error).with_code(NOT_OPEN),
        ConnectError::Login(LoginError::Failure(Failure::Lost(error)))
        | ConnectError::Setup(Failure::Lost(error)) => unreached(address, &error),
        ConnectError::Login(LoginError::Failure(failure)) => failure.into_error("log in", cancel),
        ConnectError::Setup(failure) => failure.into_error("prepare the session", cancel),
        ConnectError::Login(LoginError::Refused(error)) => error,
    };
    if address.tls.mode != TlsMode::Disable && made.hint.is_none() {
        let hint = "if the server has no TLS or a certificate of its own, see `tls` and `ca_file`";
        made.hint = Some(hint.to_owned());
    }
    made.at(address.place())
}

fn unreached(address: &Address, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::TimedOut {
        let seconds = address.connect_timeout.as_secs_f64();
        let message = format!("cannot connect: no response in {seconds} s");
        return Error::connection(message);
    }
    Error::connection(format!("cannot connect: {error}")).caused_by(error)
}
