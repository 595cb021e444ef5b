//! Opening a session: a connection, the login and the session's settings, all within one time
//! limit. TCP and TLS are left to `endpoint`, the proofs of a password to `login`.

use std::{io, time::Instant};

use transload_plugin_api::{Cancel, Error, Host, Result};
use transload_tables::TlsMode;

use crate::{
    endpoint::{Endpoint, NOT_OPEN, OpenError},
    failure::Failure,
    login::{LoginError, log_in},
    options::Address,
    session::Session,
    wire::Wire,
};

/// Settings that make results independent of the server's defaults and of the time zone. Notices
/// are off because nothing reads them while rows are sent.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; \
    SET lc_monetary = 'C'; SET standard_conforming_strings = on; SET statement_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET client_min_messages = error";

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
    let password = host.secret("password")?;
    let endpoint = Endpoint::new(address)?;
    let opened = (|| {
        let deadline = Instant::now() + address.connect_timeout;
        let (stream, interrupt) = endpoint.connect(deadline, cancel).map_err(ConnectError::Open)?;
        let mut wire = Wire::new(stream);
        interrupt.set_key(log_in(&mut wire, address, password.as_ref())?);
        wire.logged_in().map_err(LoginError::from)?;
        Ok(Session::new(wire, interrupt, cancel.clone()))
    })();
    opened.map_err(|error| not_connected(address, error, cancel))
}

/// Why there is no session.
enum ConnectError {
    Open(OpenError),
    Login(LoginError),
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
