//! One connection that is logged in: statements and their replies. Opening it is in `connect`. Rows
//! of prepared statements are returned as they come; `decode` makes values of them.

use std::{
    net::{Shutdown, TcpStream},
    sync::Arc,
};

use transload_plugin_api::{Cancel, Error, Registration, Result, Waiting};
use transload_tables::{
    Commit, KeyValue, SessionIdentity, TextRows, looking, running, running_often,
};

use crate::{
    answer::{
        Done, ResultColumn, Server, TextRow, end_status, ok_packet, result_column, server_error,
        text_row,
    },
    connect::LostSessions,
    failure::{Failure, ServerError},
    login::Greeting,
    watch::Watch,
    wire::{Taker, Wire, put_string},
};

const MORE_RESULTS: u16 = 0x8;
/// The most columns of a table or result, on both servers.
const COLUMNS: u64 = 4_096;
/// The most results of one statement of the job, such as a CALL.
const RESULTS: usize = 65_536;
/// The most bytes of a small result.
const RESULT_LIMIT: usize = 64 << 20;

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
    socket: Arc<TcpStream>,
    pub(crate) server: Server,
    /// The connection's number, of the server or of a proxy.
    pub(crate) id: u32,
    /// The number, if it is certain that it is the server's.
    pub(crate) watched: Option<u32>,
    pub(crate) cancel: Cancel,
    /// Longest packet that the server takes.
    pub(crate) packet: usize,
    /// Whether the server lets clients send files.
    pub(crate) local_infile: bool,
    /// The connection is of no use any more.
    pub(crate) lost: bool,
    /// The session's own named lock, and where to leave it if the session is lost.
    account: Option<(String, LostSessions)>,
    /// What a stop signal does as long as the session lives.
    kept: Vec<Registration>,
}

impl Session {
    pub(crate) fn new(
        wire: Wire,
        socket: Arc<TcpStream>,
        greeting: &Greeting,
        cancel: Cancel,
    ) -> Self {
        Self {
            wire,
            socket,
            server: greeting.server.clone(),
            id: greeting.id,
            watched: None,
            cancel,
            packet: 1 << 20,
            local_infile: false,
            lost: false,
            account: None,
            kept: Vec::new(),
        }
    }

    /// Keeps what a stop signal does for as long as the session lives.
    pub(crate) fn keep(&mut self, registration: Registration) {
        self.kept.push(registration);
    }

    /// Ends the deadline of the login: the server is waited for as long as it works.
    pub(crate) fn set_watch(&mut self, watch: Watch) -> Result<()> {
        Ok(self.wire.stream_mut().set_watch(watch)?)
    }

    /// Leaves the name of the session's own lock in `lost` if the session is lost.
    pub(crate) fn keep_account(&mut self, own: String, lost: LostSessions) {
        self.account = Some((own, lost));
    }

    /// Notes a lost connection on the way.
    fn noted<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.as_ref().is_err_and(Failure::is_loss) {
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
        let _running = Waiting::quiet("waiting for the database to take rows");
        let sent = self.wire.send(packet).map_err(Failure::from);
        let done = sent.and_then(|()| self.done());
        self.noted(done)
    }

    /// Begins `LOAD DATA LOCAL INFILE`, whatever file the server names. Until it is ended no other
    /// statement can run.
    pub(crate) fn begin_load(&mut self, sql: &str) -> Result<(), Failure> {
        let _running = running_often("take rows", sql);
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

    /// Ends the file; what the server made of it.
    pub(crate) fn end_load(&mut self) -> Result<Done, Failure> {
        let sent = self.wire.send(&[]).map_err(Failure::from);
        let done = sent.and_then(|()| self.done());
        self.noted(done)
    }

    /// Runs a statement; rows that it returns are dropped.
    pub(crate) fn try_run(&mut self, sql: &str) -> Result<Done, Failure> {
        let done = self.command(QUERY, sql.as_bytes()).and_then(|()| self.done());
        self.noted(done)
    }

    /// [`Session::try_run`] with the plugin's error.
    pub(crate) fn run(&mut self, doing: &str, sql: &str) -> Result<Done> {
        let cancel = self.cancel.clone();
        let _running = running(doing, sql);
        self.try_run(sql).map_err(|failure| failure.into_error(doing, &cancel))
    }

    /// Runs a statement that is in or not: a lost connection is no error, but an outcome that is
    /// not known.
    pub(crate) fn outcome(&mut self, doing: &str, sql: &str) -> Result<Commit> {
        match self.run(doing, sql) {
            Ok(_) => Ok(Commit::Committed),
            Err(error) if self.lost => Ok(Commit::Lost(format!("no reply to {sql}: {error}"))),
            Err(error) => Err(error),
        }
    }

    /// The last reply to a statement; results before it are dropped.
    fn done(&mut self) -> Result<Done, Failure> {
        for _ in 0..RESULTS {
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
                        let packet = self.wire.receive_row()?;
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
        Err(Failure::protocol("a statement with more results than a procedure has"))
    }

    fn columns(&mut self, count: u64) -> Result<Vec<ResultColumn>, Failure> {
        if count > COLUMNS {
            let message = format!("a result of {count} columns, more than {COLUMNS}");
            return Err(Failure::protocol(&message));
        }
        let mut columns = Vec::new();
        for _ in 0..count {
            let packet = self.wire.receive_column()?;
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
        let _looking = looking(doing, sql);
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
        let (mut rows, mut size) = (Vec::new(), 0);
        loop {
            let packet = self.wire.receive_row()?;
            size += packet.len() + size_of::<TextRow>();
            if size > RESULT_LIMIT {
                let message = format!("a result of more than {RESULT_LIMIT} bytes");
                return Err(Failure::protocol(&message));
            }
            match packet.first() {
                Some(0xFE) if packet.len() < 9 => return Ok(rows),
                Some(0xFF) => return Err(Failure::Server(server_error(packet))),
                _ => rows.push(text_row(packet, count)?),
            }
        }
    }

    /// Prepares a statement.
    pub(crate) fn prepare(&mut self, sql: &str) -> Result<Prepared, Failure> {
        let _running = running("prepare a statement", sql);
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

    /// Gives back the memory that a long row took.
    pub(crate) fn shrink(&mut self) {
        self.wire.shrink();
    }

    /// The next row of a result. Only the server's own end is an end.
    pub(crate) fn next(&mut self) -> Result<Next<'_>, Failure> {
        let packet = match self.wire.receive_row() {
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

impl transload_tables::Session for Session {
    fn run(&mut self, doing: &str, sql: &str) -> Result<()> {
        Self::run(self, doing, sql).map(drop)
    }

    /// A statement that changes the schema commits by itself, and its note then as well.
    fn run_noted(&mut self, doing: &str, sql: &str, note: &str) -> Result<()> {
        Self::run(self, doing, "START TRANSACTION")?;
        let done = Self::run(self, doing, sql).and_then(|_| Self::run(self, doing, note));
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = Self::run(self, doing, end);
        done.and(ended).map(drop)
    }

    fn rows(&mut self, doing: &str, sql: &str) -> Result<TextRows> {
        Self::rows(self, doing, sql)
    }

    fn change(&mut self, doing: &str, sql: &str) -> Result<u64> {
        let cancel = self.cancel.clone();
        let _running = running_often(doing, sql);
        let done = self.try_run(sql).map_err(|failure| failure.into_error(doing, &cancel))?;
        Ok(done.affected)
    }

    /// The session's own named lock tells it from a later one of the same number.
    fn identity(&mut self) -> Result<SessionIdentity> {
        let id = Self::rows(self, "ask for the connection", "SELECT CONNECTION_ID()")?;
        let id = id.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        let start = self.account.as_ref().map(|(own, _)| own.clone()).unwrap_or_default();
        Ok(SessionIdentity { id: id.unwrap_or_default(), start })
    }

    fn begin(&mut self) -> Result<()> {
        Self::run(self, "begin a chunk", "START TRANSACTION").map(drop)
    }

    fn commit(&mut self) -> Result<Commit> {
        self.outcome("commit a chunk", "COMMIT")
    }

    fn rollback(&mut self) -> Result<()> {
        if self.lost {
            return Err(Error::connection("roll a chunk back: the connection was lost"));
        }
        Self::run(self, "roll a chunk back", "ROLLBACK").map(drop)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A server that is still sending rows notices only a closed socket.
        let _ = self.socket.shutdown(Shutdown::Both);
        if self.lost
            && let Some((own, lost)) = self.account.take()
        {
            lost.lock().push(own);
        }
    }
}

/// The command byte of a statement.
pub(crate) const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;

/// The error of a statement of the job's that asks for a file of this machine.
fn no_file() -> ServerError {
    let text = "LOAD DATA LOCAL gets no file from here".to_owned();
    ServerError { number: 1148, state: "42000".to_owned(), text }
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
