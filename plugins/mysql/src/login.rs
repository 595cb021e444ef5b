//! The login: what the server asks for, and what it is told
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>). The
//! password itself is sent within TLS or over a Unix socket only, or under a public key that does
//! not come from this connection. The proofs of a password are in `proof`.

use std::{io, sync::Arc};

use rustls::pki_types::ServerName;
use transload_plugin_api::{Error, code};
use transload_tables::TlsMode;

use crate::{
    answer::{Server, server_error},
    connect::ConnectError,
    failure::Failure,
    options::Address,
    proof::{self, SALT},
    stream::{Socket, Stream},
    wire::{Taker, Wire},
};

/// What the client can do: long passwords and flags, a database at login, protocol 4.1,
/// transactions, secure passwords, several results, named login methods.
const CAPABILITIES: u32 = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x2_0000 | 0x8_0000;
/// LOAD DATA LOCAL: only connections that use it say so.
const LOCAL_FILES: u32 = 0x80;
/// What the client asks for before the handshake of TLS.
const TLS: u32 = 0x800;
/// `utf8mb4_general_ci`, until the settings say more.
const CHARSET: u8 = 45;
/// The most requests that a server makes before it decides.
const ROUNDS: usize = 16;

/// A login in progress.
pub(crate) struct Login<'a> {
    pub(crate) wire: Wire,
    pub(crate) address: &'a Address,
    pub(crate) password: &'a [u8],
    /// Whether LOAD DATA LOCAL will be used.
    pub(crate) local_files: bool,
    pub(crate) encrypted: bool,
}

impl Login<'_> {
    /// Logs in. `again` makes the socket that TLS goes over.
    pub(crate) fn run(&mut self, again: impl FnOnce() -> Socket) -> Result<Greeting, ConnectError> {
        let packet = self.wire.receive()?;
        if packet.first() == Some(&0xFF) {
            return Err(Failure::Server(server_error(packet)).into());
        }
        let greeting =
            Greeting::parse(packet).ok_or_else(|| Failure::protocol("not a MySQL greeting"))?;
        if self.address.tls.mode != TlsMode::Disable {
            self.encrypt(&greeting, again())?;
        }
        let method = match greeting.method.as_str() {
            known @ ("mysql_native_password" | "caching_sha2_password") => known,
            _ => "mysql_native_password",
        };
        self.check_user(&greeting.server)?;
        self.introduce(method, &greeting.salt)?;
        self.prove(greeting.salt.clone())?;
        Ok(greeting)
    }

    /// A server cuts a longer name, and logs in whoever has the rest of it.
    fn check_user(&self, server: &Server) -> Result<(), ConnectError> {
        let most = if server.mariadb { 128 } else { 32 };
        let found = self.address.user.chars().count();
        if found <= most {
            return Ok(());
        }
        let message = format!("`user` has {found} characters, {} takes {most}", server.name());
        Err(ConnectError::Refused(Error::options(message)))
    }

    fn capabilities(&self) -> u32 {
        let files = if self.local_files { LOCAL_FILES } else { 0 };
        let tls = if self.encrypted { TLS } else { 0 };
        CAPABILITIES | files | tls
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
    fn encrypt(&mut self, greeting: &Greeting, socket: Socket) -> Result<(), ConnectError> {
        let refused = |error: Error| ConnectError::Refused(error.with_code(code::MYSQL_TLS));
        if greeting.capabilities & TLS == 0 {
            let error = Error::connection("the server has no TLS")
                .hint("set `tls = \"disable\"` to connect without TLS");
            return Err(refused(error));
        }
        let config = self.address.tls.client_config().map_err(refused)?;
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|_| refused(Error::options("`host` is not a valid server name for TLS")))?;
        self.encrypted = true;
        let head = self.head();
        self.wire.send(&head)?;
        let stream = Stream::encrypted(socket, Arc::clone(&config), name).map_err(|error| {
            if error.kind() == io::ErrorKind::TimedOut {
                return ConnectError::from(error);
            }
            let message = format!("no TLS with this server: {error}");
            let error = Error::connection(message)
                .hint("if its certificate is its own, see `tls` and `ca_file`");
            refused(error)
        })?;
        self.wire.go_over(stream);
        Ok(())
    }

    /// Sends the user's name and a first proof.
    fn introduce(&mut self, method: &str, salt: &[u8]) -> Result<(), ConnectError> {
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
        Ok(self.wire.send(&packet)?)
    }

    /// Replies to the server's requests until it accepts the login.
    fn prove(&mut self, mut salt: Vec<u8>) -> Result<(), ConnectError> {
        for _ in 0..ROUNDS {
            let answer = self.wire.receive()?.to_vec();
            match answer.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xFF, _)) => return Err(Failure::Server(server_error(&answer)).into()),
                Some((0xFE, rest)) => {
                    let mut taker = Taker(rest);
                    let method = String::from_utf8_lossy(taker.zero_terminated()).into_owned();
                    salt = taker.zero_terminated().to_vec();
                    let proof = proof_for(&method, self.password, &salt)?;
                    self.wire.send(&proof)?;
                }
                // The server's cache knows the password.
                Some((0x01, [3])) => {}
                Some((0x01, [4])) => self.prove_in_full(&salt)?,
                _ => return Err(Failure::protocol("an unexpected message during the login").into()),
            }
        }
        Err(Failure::protocol("the login does not end").into())
    }

    /// The full exchange of `caching_sha2_password`: the password itself where no one else can read
    /// it, or under the server's public key.
    fn prove_in_full(&mut self, salt: &[u8]) -> Result<(), ConnectError> {
        if self.encrypted || self.address.socket.is_some() {
            let secret = [self.password, &[0]].concat();
            return Ok(self.wire.send(&secret)?);
        }
        let key = match self.address.server_key().map_err(ConnectError::Refused)? {
            Some(key) => key,
            None if self.address.allow_public_key_retrieval => self.ask_for_key()?,
            None => return Err(ConnectError::Refused(no_key())),
        };
        let secret = proof::encrypted(self.password, salt, &key).map_err(ConnectError::Refused)?;
        Ok(self.wire.send(&secret)?)
    }

    /// The key as whoever answers sends it.
    fn ask_for_key(&mut self) -> Result<Vec<u8>, ConnectError> {
        const ASK_FOR_KEY: u8 = 2;
        self.wire.send(&[ASK_FOR_KEY])?;
        let answer = self.wire.receive()?;
        match answer.split_first() {
            Some((0x01, key)) => Ok(key.to_vec()),
            Some((0xFF, _)) => Err(Failure::Server(server_error(answer)).into()),
            _ => Err(Failure::protocol("the server does not send its public key").into()),
        }
    }
}

/// A key from the connection itself would belong to whoever answers there.
fn no_key() -> Error {
    Error::connection("the server asks for the password itself, and the connection has no TLS")
        .with_code(code::MYSQL_PUBLIC_KEY)
        .hint(
            "set `tls`, or `server_public_key` to a copy of the server's public_key.pem; on a trusted network, `allow_public_key_retrieval = true` accepts the key that the server sends",
        )
}

fn proof_for(method: &str, password: &[u8], salt: &[u8]) -> Result<Vec<u8>, ConnectError> {
    let proof = match method {
        "mysql_native_password" => proof::native_proof,
        "caching_sha2_password" => proof::sha2_proof,
        other => {
            let message = format!("the server requires the login method `{other}`");
            return Err(ConnectError::Refused(
                Error::unsupported(message)
                    .hint("give the user `caching_sha2_password` or `mysql_native_password`"),
            ));
        }
    };
    if salt.len() != SALT {
        let message = format!("a salt of {} bytes, expected {SALT}", salt.len());
        return Err(Failure::protocol(&message).into());
    }
    Ok(proof(password, salt))
}

/// What the server says first.
pub(crate) struct Greeting {
    pub(crate) server: Server,
    /// The connection's number.
    pub(crate) id: u32,
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
