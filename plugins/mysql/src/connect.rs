//! Opening a connection: TCP, TLS, login, the session's settings. What is sent over it afterwards is
//! in `session`, the proofs of a password in `login`.

use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::pki_types::ServerName;
use transload_plugin_api::{Cancel, Error, Host, Result};
use transload_tables::{Address, TlsMode};

use crate::{
    answer::{Server, server_error},
    failure::Failure,
    login,
    session::Session,
    stream::Stream,
    wire::{Taker, Wire},
};

/// What the client can do: long passwords and flags, a database at login, LOCAL INFILE,
/// protocol 4.1, transactions, secure passwords, several results, named login methods.
const CAPABILITIES: u32 = 0x1 | 0x4 | 0x8 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x2_0000 | 0x8_0000;
/// `utf8mb4_general_ci`, until the settings say more.
const CHARSET: u8 = 45;
/// What the client asks for before the handshake of TLS.
const TLS: u32 = 0x800;

/// The code of errors about TLS.
pub(crate) const NO_TLS: &str = "MYSQL-TLS";

/// The session's settings, so that results do not depend on the server's defaults.
const SETTINGS: &str = "SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_ALL_TABLES,\
    ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION,\
    NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', autocommit = 1, foreign_key_checks = 1, \
    unique_checks = 1, innodb_lock_wait_timeout = 10, lock_wait_timeout = 30, \
    wait_timeout = 600, net_read_timeout = 120, net_write_timeout = 600";

/// What it takes to open a connection.
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) host: Host,
    /// How long sessions wait for rows, if the job says it.
    pub(crate) lock_seconds: Option<u64>,
}

impl Connector {
    pub(crate) fn new(address: Address, host: Host) -> Self {
        Self { address, host, lock_seconds: None }
    }

    pub(crate) fn connect(&self, cancel: &Cancel) -> Result<Session> {
        let mut session = open(&self.address, &self.host, cancel)?;
        if let Some(seconds) = self.lock_seconds {
            let sql = format!("SET SESSION innodb_lock_wait_timeout = {seconds}");
            session.run("set the session up", &sql)?;
        }
        Ok(session)
    }
}

/// Connects, logs in and sets the session up.
pub(crate) fn open(address: &Address, host: &Host, cancel: &Cancel) -> Result<Session> {
    let (mut session, id) = log_in(address, host, cancel)?;
    let stream = Arc::downgrade(session.stream());
    let (killer, address) = (host.clone(), address.clone());
    cancel.on_cancel(move || {
        let Some(stream) = stream.upgrade() else { return };
        // It may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
        let (address, killer) = (address.clone(), killer.clone());
        // A server in the middle of a statement does not notice a closed socket. A statement that
        // cannot be killed ends by the server's own timeouts.
        let _ = thread::Builder::new().name("kill".into()).spawn(move || {
            if let Ok((mut session, _)) = log_in(&address, &killer, &Cancel::new()) {
                let _ = session.try_run(&format!("KILL {id}"));
            }
        });
    });
    session.run("set the session up", SETTINGS)?;
    let rows = session.rows("look at the server", "SELECT @@max_allowed_packet, @@local_infile")?;
    let cell = |at: usize| rows.first().and_then(|row| row.get(at).cloned().flatten());
    session.packet = cell(0).and_then(|text| text.parse().ok()).unwrap_or(1 << 20);
    session.local_infile = cell(1).is_some_and(|text| text == "1" || text == "ON");
    Ok(session)
}

/// A connection that is logged in, and the server's number of it.
fn log_in(address: &Address, host: &Host, cancel: &Cancel) -> Result<(Session, u32)> {
    let place = address.place();
    let limit = address.connect_timeout;
    let stream = (address.connect(limit, cancel))
        .and_then(|stream| limited(stream, Some(limit)))
        .map_err(|error| error.at(place.clone()))?;
    let stream = Arc::new(stream);
    let weak = Arc::downgrade(&stream);
    cancel.on_cancel(move || {
        if let Some(stream) = weak.upgrade() {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let password = host.secret("password")?;
    let password = password.as_ref().map_or("", |secret| secret.expose());
    let mut login = Login {
        wire: Wire::new(Stream::Plain(Arc::clone(&stream))),
        stream: Arc::clone(&stream),
        address,
        password: password.as_bytes(),
        encrypted: false,
    };
    let greeting = login.run().map_err(|error| match error {
        Refused::Failure(failure) => late(failure, limit).into_error("log in", cancel),
        Refused::Error(error) => error,
    });
    let greeting = greeting.map_err(|error| error.at(place.clone()))?;
    login.stream.set_read_timeout(None).and_then(|()| login.stream.set_write_timeout(None))?;
    let session = Session::new(login.wire, stream, greeting.server, cancel.clone());
    Ok((session, greeting.id))
}

/// Limits how long one read or write may take, so that a server that does not reply is given up.
fn limited(stream: TcpStream, limit: Option<Duration>) -> Result<TcpStream> {
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    Ok(stream)
}

/// The system reports a time limit as if the socket had nothing to read at the moment.
fn late(failure: Failure, limit: Duration) -> Failure {
    let is_late = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    };
    match failure {
        Failure::Lost(error) if is_late(&error) => {
            let message = format!("no reply within {} ms", limit.as_millis());
            Failure::Lost(io::Error::new(io::ErrorKind::TimedOut, message))
        }
        other => other,
    }
}

/// A login in progress.
struct Login<'a> {
    wire: Wire,
    stream: Arc<TcpStream>,
    address: &'a Address,
    password: &'a [u8],
    encrypted: bool,
}

impl Login<'_> {
    fn run(&mut self) -> Result<Greeting, Refused> {
        let packet = self.wire.receive().map_err(Failure::from)?;
        if packet.first() == Some(&0xFF) {
            return Err(Failure::Server(server_error(packet)).into());
        }
        let greeting =
            Greeting::parse(packet).ok_or_else(|| Failure::protocol("not a MySQL greeting"))?;
        if self.address.tls.mode != TlsMode::Disable {
            self.encrypt(&greeting)?;
        }
        let method = match greeting.method.as_str() {
            known @ ("mysql_native_password" | "caching_sha2_password") => known,
            _ => "mysql_native_password",
        };
        self.introduce(method, &greeting.salt)?;
        self.prove(greeting.salt.clone())?;
        Ok(greeting)
    }

    fn capabilities(&self) -> u32 {
        if self.encrypted { CAPABILITIES | TLS } else { CAPABILITIES }
    }

    /// What the client's first packet begins with, and all of it that goes before TLS.
    fn head(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(256);
        packet.extend_from_slice(&self.capabilities().to_le_bytes());
        packet.extend_from_slice(&(1u32 << 30).to_le_bytes());
        packet.push(CHARSET);
        packet.extend_from_slice(&[0; 23]);
        packet
    }

    /// Goes over to TLS, or fails: nothing is ever sent in the clear instead.
    fn encrypt(&mut self, greeting: &Greeting) -> Result<(), Refused> {
        let refused = |error: Error| Refused::Error(error.with_code(NO_TLS));
        if greeting.capabilities & TLS == 0 {
            let error = Error::connection("the server has no TLS")
                .hint("see `tls`: nothing but `disable` goes without");
            return Err(refused(error));
        }
        let config = self.address.tls.client_config().map_err(refused)?;
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|_| refused(Error::options("`host` is no name for TLS")))?;
        self.encrypted = true;
        let head = self.head();
        self.wire.send(&head).map_err(Failure::from)?;
        let stream = Stream::encrypted(&self.stream, config, name).map_err(|error| {
            let message = format!("no TLS with this server: {error}");
            let error = Error::connection(message)
                .hint("if its certificate is its own, see `tls` and `ca_file`");
            refused(error)
        })?;
        self.wire.go_over(stream);
        Ok(())
    }

    /// Sends the user's name and a first proof.
    fn introduce(&mut self, method: &str, salt: &[u8]) -> Result<(), Refused> {
        let mut packet = self.head();
        packet.extend_from_slice(self.address.user.as_bytes());
        packet.push(0);
        let proof = proof_for(method, self.password, salt)?;
        packet.push(proof.len() as u8);
        packet.extend_from_slice(&proof);
        for text in [&self.address.database, method] {
            packet.extend_from_slice(text.as_bytes());
            packet.push(0);
        }
        Ok(self.wire.send(&packet).map_err(Failure::from)?)
    }

    /// Replies to the server's requests until it accepts the login.
    fn prove(&mut self, mut salt: Vec<u8>) -> Result<(), Refused> {
        loop {
            let answer = self.wire.receive().map_err(Failure::from)?.to_vec();
            match answer.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xFF, _)) => return Err(Failure::Server(server_error(&answer)).into()),
                Some((0xFE, rest)) => {
                    let mut taker = Taker(rest);
                    let method = String::from_utf8_lossy(taker.zero_terminated()).into_owned();
                    salt = taker.zero_terminated().to_vec();
                    let proof = proof_for(&method, self.password, &salt)?;
                    self.wire.send(&proof).map_err(Failure::from)?;
                }
                // The server's cache knows the password.
                Some((0x01, [3])) => {}
                Some((0x01, [4])) => self.prove_in_full(&salt)?,
                _ => return Err(Failure::protocol("an unexpected message during the login").into()),
            }
        }
    }

    /// The full exchange of `caching_sha2_password`: the password itself, within TLS or under the
    /// server's public key.
    fn prove_in_full(&mut self, salt: &[u8]) -> Result<(), Refused> {
        const ASK_FOR_KEY: u8 = 2;
        if self.encrypted {
            let secret = [self.password, &[0]].concat();
            return Ok(self.wire.send(&secret).map_err(Failure::from)?);
        }
        self.wire.send(&[ASK_FOR_KEY]).map_err(Failure::from)?;
        let answer = self.wire.receive().map_err(Failure::from)?.to_vec();
        let key = match answer.split_first() {
            Some((0x01, key)) => key,
            Some((0xFF, _)) => return Err(Failure::Server(server_error(&answer)).into()),
            _ => return Err(Failure::protocol("the server does not send its public key").into()),
        };
        let secret = login::encrypted(self.password, salt, key).map_err(Refused::Error)?;
        Ok(self.wire.send(&secret).map_err(Failure::from)?)
    }
}

/// Why a login did not work.
enum Refused {
    Failure(Failure),
    Error(Error),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What the server says first.
struct Greeting {
    server: Server,
    /// The connection's number.
    id: u32,
    salt: Vec<u8>,
    capabilities: u32,
    method: String,
}

impl Greeting {
    fn parse(packet: &[u8]) -> Option<Self> {
        let mut taker = Taker(packet);
        if taker.byte()? != 10 {
            return None;
        }
        let server = Server::parse(&String::from_utf8_lossy(taker.zero_terminated()));
        let id = taker.u32()?;
        let mut salt = taker.bytes(8)?.to_vec();
        taker.byte()?; // filler
        let low = taker.u16()?;
        taker.bytes(1 + 2)?; // charset, status
        let capabilities = u32::from(taker.u16()?) << 16 | u32::from(low);
        let length = usize::from(taker.byte()?);
        taker.bytes(10)?;
        let rest = taker.bytes(length.saturating_sub(8).max(13))?;
        salt.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
        let method = String::from_utf8_lossy(taker.zero_terminated()).into_owned();
        Some(Self { server, id, salt, capabilities, method })
    }
}

fn proof_for(method: &str, password: &[u8], salt: &[u8]) -> Result<Vec<u8>, Refused> {
    match method {
        "mysql_native_password" => Ok(login::native_proof(password, salt)),
        "caching_sha2_password" => Ok(login::sha2_proof(password, salt)),
        other => {
            let message = format!("the server wants the login method `{other}`");
            Err(Refused::Error(
                Error::unsupported(message)
                    .hint("give the user `caching_sha2_password` or `mysql_native_password`"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use transload_plugin_api::Options;

    use super::*;
    use crate::options::ADDRESS;
    use transload_plugin_api::ErrorKind;

    /// A server that accepts connections and never says anything.
    fn silent(timeout: u64) -> (TcpListener, Connector) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = Options::from_pairs([("host", "127.0.0.1"), ("user", "u")]);
        options.values.insert("database".to_owned(), "d".into());
        options.values.insert("port".to_owned(), listener.local_addr().unwrap().port().into());
        options.values.insert("connect_timeout".to_owned(), timeout.into());
        let address = Address::parse(&options, &ADDRESS).unwrap();
        (listener, Connector::new(address, Host::detached()))
    }

    #[test]
    fn a_server_that_never_replies_is_given_up() {
        let (_listener, connector) = silent(100);
        let error = connector.connect(&Cancel::new()).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection);
        assert!(error.message.contains("no reply within 100 ms"), "{error}");
    }

    #[test]
    fn a_stop_ends_a_login_at_once() {
        let ((_listener, connector), cancel) = (silent(60_000), Cancel::new());
        let (begun, signal) = (Instant::now(), cancel.clone());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            signal.cancel();
        });
        let error = connector.connect(&cancel).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
