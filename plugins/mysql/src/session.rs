//! One logged-in connection: the login, its settings, statements and their answers. Rows of
//! prepared statements are handed on as they come; `decode` makes values of them.

use std::{
    net::{Shutdown, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use transload_plugin_api::{Cancel, Error, ErrorKind, Host, Result};
use transload_sql::KeyValue;

use crate::{
    failure::{Failure, ServerError},
    login,
    options::Address,
    wire::{Taker, Wire, put_string},
};

/// What the client can do: long passwords and flags, a database at login, LOCAL INFILE,
/// protocol 4.1, transactions, secure passwords, several results, named login methods.
const CAPABILITIES: u32 = 0x1 | 0x4 | 0x8 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x2_0000 | 0x8_0000;
/// `utf8mb4_general_ci`, until the settings say more.
const CHARSET: u8 = 45;
const MORE_RESULTS: u16 = 0x8;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which server answers, as far as its dialects differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) mariadb: bool,
    pub(crate) version: (u32, u32, u32),
    /// As the server tells it.
    pub(crate) text: String,
}

impl Server {
    /// MariaDB puts `5.5.5-` before its version for clients of old.
    fn parse(text: &str) -> Self {
        let mariadb = text.contains("MariaDB");
        let bare = if mariadb { text.trim_start_matches("5.5.5-") } else { text };
        let mut parts =
            bare.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or_default());
        let mut next = || parts.next().unwrap_or_default();
        Self { mariadb, version: (next(), next(), next()), text: bare.to_owned() }
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.mariadb { "MariaDB" } else { "MySQL" }
    }
}

/// The answer to a statement without rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) affected: u64,
    pub(crate) warnings: u16,
    status: u16,
    info: String,
}

impl Done {
    /// A number of the answer's text (`Records: 3  Duplicates: 1  Warnings: 0`).
    pub(crate) fn named(&self, name: &str) -> Option<u64> {
        let (_, rest) = self.info.split_once(name)?;
        let rest = rest.strip_prefix(':')?.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    }
}

/// A row of a small result, as text.
pub(crate) type TextRow = Vec<Option<String>>;

/// A column of a result.
#[derive(Clone, Debug)]
pub(crate) struct ResultColumn {
    pub(crate) name: String,
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    pub(crate) charset: u16,
    pub(crate) length: u32,
    pub(crate) decimals: u8,
}

/// A prepared statement.
pub(crate) struct Prepared {
    id: u32,
    pub(crate) columns: Vec<ResultColumn>,
}

/// What came next in a result.
pub(crate) enum Next<'a> {
    /// A row's packet, its first byte (always zero) included.
    Row(&'a [u8]),
    /// The result's end.
    End,
}

/// A connection that is logged in.
pub(crate) struct Session {
    wire: Wire,
    stream: Arc<TcpStream>,
    pub(crate) server: Server,
    pub(crate) cancel: Cancel,
    /// Longest packet that the server takes.
    pub(crate) packet: usize,
    /// Whether the server lets clients send files.
    pub(crate) local_infile: bool,
    /// The connection is of no use any more.
    pub(crate) lost: bool,
}

/// The session's settings: results depend on them and on nothing of the server's defaults.
const SETTINGS: &str = "SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_ALL_TABLES,\
    ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION,\
    NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', autocommit = 1, foreign_key_checks = 1, \
    unique_checks = 1, innodb_lock_wait_timeout = 10, lock_wait_timeout = 30, \
    wait_timeout = 600, net_read_timeout = 120, net_write_timeout = 600";

impl Session {
    /// Connects, logs in and sets the session up.
    pub(crate) fn open(address: &Address, host: &Host, cancel: &Cancel) -> Result<Self> {
        let (stream, mut session) = Self::connect(address, cancel)?;
        let place = format!("{}:{}", address.host, address.port);
        let password = host.secret("password")?;
        let password = password.as_ref().map_or("", |secret| secret.expose());
        session.log_in(address, password.as_bytes()).map_err(|error| match error {
            Refused::Failure(failure) => failure.into_error("log in", cancel).at(place.clone()),
            Refused::Error(error) => error.at(place.clone()),
        })?;
        let weak = Arc::downgrade(&stream);
        cancel.on_cancel(move || {
            if let Some(stream) = weak.upgrade() {
                // It may be closed already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        session.run("set the session up", SETTINGS)?;
        let rows =
            session.rows("look at the server", "SELECT @@max_allowed_packet, @@local_infile")?;
        let cell = |at: usize| rows.first().and_then(|row| row.get(at).cloned().flatten());
        session.packet = cell(0).and_then(|text| text.parse().ok()).unwrap_or(1 << 20);
        session.local_infile = cell(1).is_some_and(|text| text == "1" || text == "ON");
        Ok(session)
    }

    fn connect(address: &Address, cancel: &Cancel) -> Result<(Arc<TcpStream>, Self)> {
        let place = format!("{}:{}", address.host, address.port);
        let failed = |what: &str, error: std::io::Error| {
            Error::new(ErrorKind::Connection, format!("{what}: {error}")).at(place.clone())
        };
        cancel.check()?;
        let found = (address.host.as_str(), address.port)
            .to_socket_addrs()
            .map_err(|error| failed("the name does not resolve", error))?;
        let mut last = std::io::Error::other("the name has no address");
        for socket in found {
            match TcpStream::connect_timeout(&socket, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|error| failed("connect", error))?;
                    let stream = Arc::new(stream);
                    let session = Self {
                        wire: Wire::new(Arc::clone(&stream)),
                        stream: Arc::clone(&stream),
                        server: Server::parse(""),
                        cancel: cancel.clone(),
                        packet: 1 << 20,
                        local_infile: false,
                        lost: false,
                    };
                    return Ok((stream, session));
                }
                Err(error) => last = error,
            }
        }
        Err(failed("cannot connect", last).hint("is the server running, and is `port` right?"))
    }

    fn log_in(&mut self, address: &Address, password: &[u8]) -> Result<(), Refused> {
        let greeting = self.wire.receive().map_err(Failure::from)?.to_vec();
        if greeting.first() == Some(&0xFF) {
            return Err(Failure::Server(server_error(&greeting)).into());
        }
        let Greeting { server, mut salt, mut method } =
            Greeting::parse(&greeting).ok_or_else(|| Failure::protocol("not a MySQL greeting"))?;
        self.server = server;
        if !matches!(method.as_str(), "mysql_native_password" | "caching_sha2_password") {
            "mysql_native_password".clone_into(&mut method);
        }
        let mut packet = Vec::with_capacity(256);
        packet.extend_from_slice(&CAPABILITIES.to_le_bytes());
        packet.extend_from_slice(&(1u32 << 30).to_le_bytes());
        packet.push(CHARSET);
        packet.extend_from_slice(&[0; 23]);
        packet.extend_from_slice(address.user.as_bytes());
        packet.push(0);
        let proof = proof_for(&method, password, &salt)?;
        packet.push(proof.len() as u8);
        packet.extend_from_slice(&proof);
        for text in [&address.database, &method] {
            packet.extend_from_slice(text.as_bytes());
            packet.push(0);
        }
        self.wire.send(&packet).map_err(Failure::from)?;
        loop {
            let answer = self.wire.receive().map_err(Failure::from)?.to_vec();
            match answer.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xFF, _)) => return Err(Failure::Server(server_error(&answer)).into()),
                Some((0xFE, rest)) => {
                    let mut taker = Taker(rest);
                    method = String::from_utf8_lossy(taker.zero_terminated()).into_owned();
                    salt = taker.zero_terminated().to_vec();
                    let proof = proof_for(&method, password, &salt)?;
                    self.wire.send(&proof).map_err(Failure::from)?;
                }
                // The server's cache knows the password.
                Some((0x01, [3])) => {}
                Some((0x01, [4])) => self.prove_in_full(password, &salt)?,
                _ => return Err(Failure::protocol("the login does not go on as it must").into()),
            }
        }
    }

    /// The full exchange of `caching_sha2_password`, under the server's public key.
    fn prove_in_full(&mut self, password: &[u8], salt: &[u8]) -> Result<(), Refused> {
        const ASK_FOR_KEY: u8 = 2;
        self.wire.send(&[ASK_FOR_KEY]).map_err(Failure::from)?;
        let answer = self.wire.receive().map_err(Failure::from)?.to_vec();
        let key = match answer.split_first() {
            Some((0x01, key)) => key,
            Some((0xFF, _)) => return Err(Failure::Server(server_error(&answer)).into()),
            _ => return Err(Failure::protocol("the server does not tell its public key").into()),
        };
        let secret = login::encrypted(password, salt, key).map_err(Refused::Error)?;
        self.wire.send(&secret).map_err(Failure::from)?;
        Ok(())
    }

    /// Notes a lost connection on the way.
    fn noted<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if matches!(result, Err(Failure::Lost(_))) {
            self.lost = true;
        }
        result
    }

    fn command(&mut self, code: u8, body: &[u8]) -> Result<(), Failure> {
        let mut packet = Vec::with_capacity(body.len() + 1);
        packet.push(code);
        packet.extend_from_slice(body);
        self.wire.restart();
        Ok(self.wire.send(&packet)?)
    }

    /// Runs a statement whose packet the caller has built, with [`QUERY`] as its first byte.
    pub(crate) fn run_packet(&mut self, packet: &[u8]) -> Result<Done, Failure> {
        self.wire.restart();
        let sent = self.wire.send(packet).map_err(Failure::from);
        let done = sent.and_then(|()| self.done());
        self.noted(done)
    }

    /// Begins `LOAD DATA LOCAL INFILE`, whatever file the server names. Until it is ended no other
    /// statement can run.
    pub(crate) fn begin_load(&mut self, sql: &str) -> Result<(), Failure> {
        let begun = self.try_begin_load(sql);
        self.noted(begun)
    }

    fn try_begin_load(&mut self, sql: &str) -> Result<(), Failure> {
        self.command(QUERY, sql.as_bytes())?;
        let packet = self.wire.receive()?;
        match packet.first() {
            Some(0xFB) => Ok(()),
            Some(0xFF) => Err(Failure::Server(server_error(packet))),
            _ => Err(Failure::protocol("LOAD DATA does not ask for its file")),
        }
    }

    /// Sends a part of the file, at most some hundred kilobytes, not empty.
    pub(crate) fn send_load(&mut self, data: &[u8]) -> Result<(), Failure> {
        let sent = self.wire.send(data).map_err(Failure::from);
        self.noted(sent)
    }

    /// Ends the file and answers what the server made of it.
    pub(crate) fn end_load(&mut self) -> Result<Done, Failure> {
        let sent = self.wire.send(&[]).map_err(Failure::from);
        let done = sent.and_then(|()| self.done());
        self.noted(done)
    }

    /// Runs a statement; rows that it answers are dropped.
    pub(crate) fn try_run(&mut self, sql: &str) -> Result<Done, Failure> {
        let done = self.command(QUERY, sql.as_bytes()).and_then(|()| self.done());
        self.noted(done)
    }

    /// [`Session::try_run`] with the plugin's error.
    pub(crate) fn run(&mut self, doing: &str, sql: &str) -> Result<Done> {
        let cancel = self.cancel.clone();
        self.try_run(sql).map_err(|failure| failure.into_error(doing, &cancel))
    }

    /// The last answer of a statement, with results in between dropped.
    fn done(&mut self) -> Result<Done, Failure> {
        loop {
            let packet = self.wire.receive()?;
            match packet.first() {
                Some(0x00) => {
                    let done = ok_packet(packet)?;
                    if done.status & MORE_RESULTS == 0 {
                        return Ok(done);
                    }
                }
                Some(0xFF) => return Err(Failure::Server(server_error(packet))),
                Some(0xFB) => {
                    self.wire.send(&[])?;
                    self.wire.receive()?;
                    return Err(Failure::Server(no_file()));
                }
                Some(_) => {
                    let count = Taker(packet).length();
                    let count =
                        count.ok_or_else(|| Failure::protocol("a result without columns"))?;
                    self.columns(count)?;
                    let status = loop {
                        let packet = self.wire.receive()?;
                        match packet.first() {
                            Some(0xFE) if packet.len() < 9 => break end_status(packet),
                            Some(0xFF) => return Err(Failure::Server(server_error(packet))),
                            _ => {}
                        }
                    };
                    if status & MORE_RESULTS == 0 {
                        return Ok(Done::default());
                    }
                }
                None => return Err(Failure::protocol("an empty answer")),
            }
        }
    }

    fn columns(&mut self, count: u64) -> Result<Vec<ResultColumn>, Failure> {
        let mut columns = Vec::new();
        for _ in 0..count {
            let packet = self.wire.receive()?;
            let column = result_column(packet);
            columns.push(column.ok_or_else(|| Failure::protocol("a broken column"))?);
        }
        if count > 0 {
            self.wire.receive()?; // the end of the columns
        }
        Ok(columns)
    }

    /// The rows of a small result.
    pub(crate) fn rows(&mut self, doing: &str, sql: &str) -> Result<Vec<TextRow>> {
        let cancel = self.cancel.clone();
        let rows = self.try_rows(sql);
        self.noted(rows).map_err(|failure| failure.into_error(doing, &cancel))
    }

    fn try_rows(&mut self, sql: &str) -> Result<Vec<TextRow>, Failure> {
        self.command(QUERY, sql.as_bytes())?;
        let packet = self.wire.receive()?;
        let count = match packet.first() {
            Some(0xFF) => return Err(Failure::Server(server_error(packet))),
            Some(0x00 | 0xFB) | None => return Err(Failure::protocol("rows were expected")),
            Some(_) => Taker(packet).length().unwrap_or_default(),
        };
        self.columns(count)?;
        let mut rows = Vec::new();
        loop {
            let packet = self.wire.receive()?;
            match packet.first() {
                Some(0xFE) if packet.len() < 9 => return Ok(rows),
                Some(0xFF) => return Err(Failure::Server(server_error(packet))),
                _ => rows.push(text_row(packet, count)?),
            }
        }
    }

    /// Prepares a statement.
    pub(crate) fn prepare(&mut self, sql: &str) -> Result<Prepared, Failure> {
        let prepared = self.try_prepare(sql);
        self.noted(prepared)
    }

    fn try_prepare(&mut self, sql: &str) -> Result<Prepared, Failure> {
        self.command(PREPARE, sql.as_bytes())?;
        let packet = self.wire.receive()?;
        if packet.first() == Some(&0xFF) {
            return Err(Failure::Server(server_error(packet)));
        }
        let mut taker = Taker(packet.get(1..).unwrap_or_default());
        let head = (|| Some((taker.u32()?, taker.u16()?, taker.u16()?)))();
        let (id, columns, parameters) =
            head.ok_or_else(|| Failure::protocol("a broken prepared statement"))?;
        self.columns(parameters.into())?;
        let columns = self.columns(columns.into())?;
        Ok(Prepared { id, columns })
    }

    /// Runs a prepared statement; its rows follow by [`Session::next`].
    pub(crate) fn execute(
        &mut self,
        prepared: &mut Prepared,
        values: &[KeyValue],
    ) -> Result<(), Failure> {
        let executed = self.try_execute(prepared, values);
        self.noted(executed)
    }

    fn try_execute(&mut self, prepared: &mut Prepared, values: &[KeyValue]) -> Result<(), Failure> {
        let mut body = prepared.id.to_le_bytes().to_vec();
        body.push(0); // no cursor: rows are streamed
        body.extend_from_slice(&1u32.to_le_bytes());
        if !values.is_empty() {
            body.resize(body.len() + values.len().div_ceil(8), 0);
            body.push(1);
            for value in values {
                body.extend_from_slice(&parameter_type(value).to_le_bytes());
            }
            for value in values {
                put_parameter(value, &mut body);
            }
        }
        self.command(EXECUTE, &body)?;
        let packet = self.wire.receive()?;
        let count = match packet.first() {
            Some(0xFF) => return Err(Failure::Server(server_error(packet))),
            Some(0x00) | None => return Err(Failure::protocol("rows were expected")),
            Some(_) => Taker(packet).length().unwrap_or_default(),
        };
        prepared.columns = self.columns(count)?;
        Ok(())
    }

    /// The next row of a result. Only the server's own end is an end.
    pub(crate) fn next(&mut self) -> Result<Next<'_>, Failure> {
        let packet = match self.wire.receive() {
            Ok(packet) => packet,
            Err(error) => {
                self.lost = true;
                return Err(error.into());
            }
        };
        match packet.first() {
            Some(0x00) => Ok(Next::Row(packet)),
            Some(0xFE) if packet.len() < 9 => Ok(Next::End),
            Some(0xFF) => Err(Failure::Server(server_error(packet))),
            _ => Err(Failure::protocol("not a row")),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A server that is still sending rows notices only a closed socket.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The command byte of a statement.
pub(crate) const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;

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

struct Greeting {
    server: Server,
    salt: Vec<u8>,
    method: String,
}

impl Greeting {
    fn parse(packet: &[u8]) -> Option<Self> {
        let mut taker = Taker(packet);
        if taker.byte()? != 10 {
            return None;
        }
        let server = Server::parse(&String::from_utf8_lossy(taker.zero_terminated()));
        taker.u32()?; // the connection's number
        let mut salt = taker.bytes(8)?.to_vec();
        taker.bytes(1 + 2 + 1 + 2 + 2)?; // filler, capabilities, charset, status, capabilities
        let length = usize::from(taker.byte()?);
        taker.bytes(10)?;
        let rest = taker.bytes(length.saturating_sub(8).max(13))?;
        salt.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
        let method = String::from_utf8_lossy(taker.zero_terminated()).into_owned();
        Some(Self { server, salt, method })
    }
}

fn proof_for(method: &str, password: &[u8], salt: &[u8]) -> Result<Vec<u8>, Refused> {
    match method {
        "mysql_native_password" => Ok(login::native_proof(password, salt)),
        "caching_sha2_password" => Ok(login::sha2_proof(password, salt)),
        other => {
            let message = format!("the server wants the login method `{other}`");
            Err(Refused::Error(
                Error::new(ErrorKind::Unsupported, message)
                    .hint("give the user `caching_sha2_password` or `mysql_native_password`"),
            ))
        }
    }
}

fn server_error(packet: &[u8]) -> ServerError {
    let mut taker = Taker(packet.get(1..).unwrap_or_default());
    let number = taker.u16().unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match taker.0.split_first() {
        Some((b'#', rest)) if rest.len() >= 5 => {
            ServerError { number, state: text(&rest[..5]), text: text(&rest[5..]) }
        }
        _ => ServerError { number, state: "HY000".to_owned(), text: text(taker.0) },
    }
}

/// The answer to a statement of the job's that wants a file of this machine.
fn no_file() -> ServerError {
    let text = "LOAD DATA LOCAL gets no file from here".to_owned();
    ServerError { number: 1148, state: "42000".to_owned(), text }
}

fn ok_packet(packet: &[u8]) -> Result<Done, Failure> {
    let mut taker = Taker(packet.get(1..).unwrap_or_default());
    let head = (|| {
        let affected = taker.length()?;
        taker.length()?; // the last generated id
        Some((affected, taker.u16()?, taker.u16()?))
    })();
    let (affected, status, warnings) = head.ok_or_else(|| Failure::protocol("a broken answer"))?;
    let info = String::from_utf8_lossy(taker.0).into_owned();
    Ok(Done { affected, warnings, status, info })
}

fn end_status(packet: &[u8]) -> u16 {
    let mut taker = Taker(packet.get(3..).unwrap_or_default());
    taker.u16().unwrap_or_default()
}

fn result_column(packet: &[u8]) -> Option<ResultColumn> {
    let mut taker = Taker(packet);
    for _ in 0..4 {
        taker.string()?; // catalog, schema, table, original table
    }
    let name = String::from_utf8_lossy(taker.string()?).into_owned();
    taker.string()?; // original name
    taker.length()?;
    let charset = taker.u16()?;
    let length = taker.u32()?;
    let (kind, flags, decimals) = (taker.byte()?, taker.u16()?, taker.byte()?);
    Some(ResultColumn { name, kind, flags, charset, length, decimals })
}

fn text_row(packet: &[u8], count: u64) -> Result<TextRow, Failure> {
    let mut taker = Taker(packet);
    let cell = |_| {
        if taker.0.first() == Some(&0xFB) {
            taker.byte();
            return Ok(None);
        }
        let bytes = taker.string().ok_or_else(|| Failure::protocol("a broken row"))?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    };
    (0..count).map(cell).collect()
}

/// The protocol's number of a parameter's type, with the flag of unsigned ones.
fn parameter_type(value: &KeyValue) -> u16 {
    match value {
        KeyValue::Integer(value) if *value > i64::MAX.into() => 0x8008,
        KeyValue::Integer(_) => 0x08,
        KeyValue::Real(_) => 0x05,
        KeyValue::Text(_) => 0xFD,
        KeyValue::Bytes(_) => 0xFC,
    }
}

fn put_parameter(value: &KeyValue, out: &mut Vec<u8>) {
    match value {
        // Keys come from columns of 64 bits, signed or unsigned.
        KeyValue::Integer(value) => out.extend_from_slice(&(*value as u64).to_le_bytes()),
        KeyValue::Real(bits) => out.extend_from_slice(&bits.to_le_bytes()),
        KeyValue::Text(text) => put_string(text.as_bytes(), out),
        KeyValue::Bytes(bytes) => put_string(bytes, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_tell_themselves_apart() {
        for (text, mariadb, version) in [
            ("5.5.5-10.11.14-MariaDB-0+deb12u2", true, (10, 11, 14)),
            ("11.4.2-MariaDB", true, (11, 4, 2)),
            ("8.0.36", false, (8, 0, 36)),
            ("9.7.0-debian", false, (9, 7, 0)),
        ] {
            let server = Server::parse(text);
            assert_eq!((server.mariadb, server.version), (mariadb, version), "{text}");
        }
    }

    #[test]
    fn answers_name_their_numbers() {
        let done =
            Done { info: "Records: 4  Duplicates: 2  Warnings: 0".to_owned(), ..Done::default() };
        assert_eq!(done.named("Records"), Some(4));
        assert_eq!(done.named("Duplicates"), Some(2));
        assert_eq!(done.named("Deleted"), None);
    }

    #[test]
    fn error_packets_are_read() {
        let packet = b"\xff\x28\x04#42000You have an error";
        let error = server_error(packet);
        assert_eq!((error.number, error.state.as_str()), (1064, "42000"));
        assert_eq!(error.text, "You have an error");
    }
}
