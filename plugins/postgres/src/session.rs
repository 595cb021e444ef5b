//! One connection that is logged in: statements and their responses. Opening it is left to `connect`,
//! the meaning of a COPY's rows to `decode`. A stop signal closes the socket, so that no call here
//! blocks after one.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postgres_protocol::{
    IsNull,
    message::{
        backend::{
            COMMAND_COMPLETE_TAG, COPY_DATA_TAG, COPY_DONE_TAG, COPY_IN_RESPONSE_TAG,
            COPY_OUT_RESPONSE_TAG, DATA_ROW_TAG, EMPTY_QUERY_RESPONSE_TAG, ERROR_RESPONSE_TAG,
            Message, READY_FOR_QUERY_TAG, ROW_DESCRIPTION_TAG,
        },
        frontend,
    },
};
use transload_plugin_api::{Cancel, Error, Result, Waiting};
use transload_tables::{Commit, SessionIdentity, TextRows, looking, running, running_often};

use crate::{
    answer::{ResultColumn, TextRow, ends_answer, is_answer, result_columns, rows_of},
    endpoint::Interrupt,
    failure::{Failure, ServerError},
    login::BackendKey,
    stream::Idle,
    wire::Wire,
};

/// How long cleaning up may take.
const CLEANUP_LIMIT: Duration = Duration::from_secs(5);
/// The server's code for a statement that cannot run in a transaction.
const IN_TRANSACTION: &str = "PG-25001";
/// The most statements of a job's own text that may ask for rows of a COPY, one after the other.
const COPIES: usize = 64;

/// What comes next of a COPY from the server.
pub(crate) enum Copied<'a> {
    /// Bytes of the binary stream, as a rule one row.
    Rows(&'a [u8]),
    /// The end, and how many rows the server has sent.
    End(Option<u64>),
}

/// A connection that is logged in.
pub(crate) struct Session {
    wire: Wire,
    interrupt: Arc<Interrupt>,
    cancel: Cancel,
    state: State,
    server: Server,
    /// The number of the open chunk's transaction.
    transaction: Option<i64>,
}

/// What the server says about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Server {
    /// The process that the session began with.
    pub(crate) process: i32,
    /// The version as a number: 150004 is 15.4.
    pub(crate) version: i32,
    /// The longest identifier; longer ones are cut.
    pub(crate) identifier_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next statement may come.
    Idle,
    /// Responses to a statement are due.
    Busy,
    /// The server takes rows of a COPY.
    CopyIn,
    /// The connection is of no use any more.
    Lost,
}

impl Session {
    pub(crate) fn new(wire: Wire, interrupt: Arc<Interrupt>, cancel: Cancel) -> Self {
        let server = Server::default();
        Self { wire, interrupt, cancel, state: State::Idle, server, transaction: None }
    }

    /// Asks the server about itself.
    pub(crate) fn introduce(&mut self) -> Result<(), Failure> {
        let sql = "SELECT pg_catalog.pg_backend_pid(), \
                     pg_catalog.current_setting('server_version_num'), \
                     pg_catalog.current_setting('max_identifier_length')";
        let rows = self.try_rows(sql, &[])?;
        let found = rows.first().and_then(|row| {
            Some(Server {
                process: row.number(0).ok()?,
                version: row.number(1).ok()?,
                identifier_bytes: row.number(2).ok()?,
            })
        });
        self.server =
            found.ok_or_else(|| Failure::protocol("the server does not report its version"))?;
        Ok(())
    }

    /// What the server says about itself.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The number of the transaction that the open chunk began; it tells later what came of it.
    pub(crate) fn transaction(&self) -> Option<i64> {
        self.transaction
    }

    /// What the login said about the session.
    pub(crate) fn key(&self) -> BackendKey {
        self.interrupt.key()
    }

    /// The process that is at the other end now.
    pub(crate) fn process(&mut self) -> Result<i32> {
        self.row("ask for the process", "SELECT pg_catalog.pg_backend_pid()", &[])?.number(0)
    }

    /// Lifts the deadline of the login: from now on a silent server is asked whether it is at work.
    pub(crate) fn watch(&mut self, idle: Idle) -> Result<(), Failure> {
        Ok(self.wire.stream_mut().set_idle(idle)?)
    }

    /// The stop signal.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Whether the connection has been lost. Looks without waiting.
    pub(crate) fn is_lost(&mut self) -> bool {
        if self.state == State::Idle && self.look().is_err() {
            self.state = State::Lost;
        }
        self.state == State::Lost
    }

    /// Reads what an idle server has sent; all that it may send is an error that ends the session.
    fn look(&mut self) -> io::Result<()> {
        self.wire.stream_mut().set_nonblocking(true)?;
        let found = self.wire.receive();
        self.wire.stream_mut().set_nonblocking(false)?;
        match found {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Notes a lost connection on the way.
    fn noted<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if outcome.as_ref().is_err_and(Failure::is_loss) {
            self.state = State::Lost;
        }
        outcome
    }

    /// The failure of a call in the host's form.
    fn reported<T>(&self, doing: &str, outcome: Result<T, Failure>) -> Result<T> {
        outcome.map_err(|failure| failure.into_error(doing, &self.cancel))
    }

    /// Sends the messages that `put` writes, once the session is idle.
    fn send(&mut self, put: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Failure> {
        match self.state {
            State::Idle => {}
            State::CopyIn => self.fail_copy()?,
            State::Busy | State::Lost => {
                return Err(Failure::Lost(io::ErrorKind::NotConnected.into()));
            }
        }
        self.state = State::Busy;
        self.wire.expect_answer();
        put(&mut self.wire.output)?;
        Ok(self.wire.flush()?)
    }

    /// Ends a COPY whose rows are not wanted any more.
    fn fail_copy(&mut self) -> Result<(), Failure> {
        self.state = State::Busy;
        frontend::copy_fail("the chunk is given up", &mut self.wire.output)?;
        self.wire.flush()?;
        match self.responses(|_, _| Ok(())) {
            Err(Failure::Server(error)) if !error.is_fatal => Ok(()),
            outcome => outcome,
        }
    }

    /// Reads all responses to a statement. `take` gets the type of each message before an error.
    fn responses(
        &mut self,
        take: impl FnMut(u8, &Wire) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.rest(false, take)
    }

    /// [`Session::responses`] to a statement that may have been answered already.
    fn rest(
        &mut self,
        mut answered: bool,
        mut take: impl FnMut(u8, &Wire) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut refused, mut copies) = (None, 0);
        loop {
            match self.wire.receive()? {
                READY_FOR_QUERY_TAG if answered => {
                    self.state = State::Idle;
                    return refused.map_or(Ok(()), |error| Err(Failure::Server(error)));
                }
                ERROR_RESPONSE_TAG => {
                    let error = Box::new(ServerError::parse(self.wire.body()));
                    if error.is_fatal {
                        return Err(Failure::Server(error));
                    }
                    refused.get_or_insert(error);
                    answered = true;
                }
                // A statement of the job's that wants rows from this connection.
                COPY_IN_RESPONSE_TAG if copies < COPIES => {
                    let message = "a COPY in a statement of the job gets no rows";
                    frontend::copy_fail(message, &mut self.wire.output)?;
                    self.wire.flush()?;
                    copies += 1;
                }
                kind if is_answer(kind) => {
                    answered |= ends_answer(kind);
                    if refused.is_none() {
                        take(kind, &self.wire)?;
                    }
                }
                kind => {
                    let message = format!("unexpected message `{}`", kind.escape_ascii());
                    return Err(Failure::protocol(&message));
                }
            }
        }
    }

    /// Runs statements by the simple protocol and returns the tag of the last; rows are dropped.
    pub(crate) fn try_run(&mut self, sql: &str) -> Result<String, Failure> {
        let mut tag = None;
        let sent = self.send(|output| frontend::query(sql, output));
        let outcome = sent.and_then(|()| {
            self.responses(|kind, wire| {
                match kind {
                    COMMAND_COMPLETE_TAG => tag = Some(command_tag(wire)?),
                    EMPTY_QUERY_RESPONSE_TAG => _ = tag.get_or_insert_default(),
                    _ => {}
                }
                Ok(())
            })
        });
        let outcome = outcome.and_then(|()| tag.ok_or_else(incomplete));
        self.noted(outcome)
    }

    /// [`Session::try_run`] with the plugin's error.
    pub(crate) fn run(&mut self, doing: &str, sql: &str) -> Result<()> {
        self.cancel.check()?;
        let _running = running(doing, sql);
        let outcome = self.try_run(sql);
        self.reported(doing, outcome).map(drop)
    }

    /// As [`Session::run`], for a statement whose rows the server counts.
    pub(crate) fn run_counted(&mut self, doing: &str, sql: &str) -> Result<u64> {
        self.cancel.check()?;
        let _running = running(doing, sql);
        let outcome = self.try_run(sql).and_then(|tag| {
            rows_of(&tag).ok_or_else(|| Failure::protocol("a command ends without a count"))
        });
        self.reported(doing, outcome)
    }

    /// Begins a transaction and returns its number.
    fn try_begin(&mut self) -> Result<Option<i64>, Failure> {
        // Deferrable constraints are checked row by row, so that rows can be named.
        let sql = "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SELECT pg_catalog.txid_current()";
        let mut number = None;
        let sent = self.send(|output| frontend::query(sql, output));
        let begun = sent.and_then(|()| {
            self.responses(|kind, wire| {
                if kind == DATA_ROW_TAG
                    && let Message::DataRow(body) = wire.parsed()?
                {
                    number = TextRow::parse(&body)?.number(0).ok();
                }
                Ok(())
            })
        });
        self.noted(begun).map(|()| number)
    }

    /// Commits the open transaction. If the response is lost, the outcome is unknown.
    pub(crate) fn commit_as(&mut self, doing: &str) -> Result<Commit> {
        let _running = running(doing, "COMMIT");
        match self.try_run("COMMIT") {
            // The response to COMMIT in a transaction that has failed.
            Ok(tag) if tag == "ROLLBACK" => {
                let message =
                    format!("{doing}: the server has already rolled the transaction back");
                Err(Error::retry(message))
            }
            Ok(_) => Ok(Commit::Committed),
            Err(failure) if failure.is_loss() => {
                Ok(Commit::Lost(format!("no response to COMMIT: {failure}")))
            }
            // The stop signal cancels a COMMIT before it begins, or comes too late for it.
            Err(failure) => Err(failure.into_error(doing, &self.cancel)),
        }
    }

    /// Runs statements to clean up, within a time limit.
    pub(crate) fn clean_up(&mut self, doing: &str, sql: &str) -> Result<()> {
        let _running = running(doing, sql);
        let deadline = Some(Instant::now() + CLEANUP_LIMIT);
        let outcome = self.wire.stream_mut().set_deadline(deadline).map_err(Failure::from);
        let outcome = outcome.and_then(|()| self.try_run(sql));
        let lifted = self.wire.stream_mut().set_deadline(None).map_err(Failure::from);
        let outcome = self.noted(outcome.and(lifted));
        match outcome {
            Err(Failure::Lost(error)) if error.kind() == io::ErrorKind::TimedOut => {
                let message = format!("{doing}: no response in {} s", CLEANUP_LIMIT.as_secs());
                Err(Error::connection(message))
            }
            outcome => self.reported(doing, outcome),
        }
    }

    /// The rows of a small result; parameters are `$1` and so on, as text.
    pub(crate) fn rows(
        &mut self,
        doing: &str,
        sql: &str,
        parameters: &[&str],
    ) -> Result<Vec<TextRow>> {
        self.cancel.check()?;
        let _looking = looking(doing, sql);
        let rows = self.try_rows(sql, parameters);
        self.reported(doing, rows)
    }

    /// [`Session::rows`] with the failure as it is.
    pub(crate) fn try_rows(
        &mut self,
        sql: &str,
        parameters: &[&str],
    ) -> Result<Vec<TextRow>, Failure> {
        let sent = self.send(|output| {
            frontend::parse("", sql, [], output)?;
            bind("", parameters, output)?;
            frontend::execute("", 0, output)?;
            frontend::sync(output);
            Ok(())
        });
        let rows = sent.and_then(|()| self.text_rows());
        self.noted(rows)
    }

    fn text_rows(&mut self) -> Result<Vec<TextRow>, Failure> {
        let (mut rows, mut completed) = (Vec::new(), false);
        self.responses(|kind, wire| {
            match kind {
                DATA_ROW_TAG => match wire.parsed()? {
                    Message::DataRow(body) => rows.push(TextRow::parse(&body)?),
                    _ => return Err(Failure::protocol("not a row")),
                },
                COMMAND_COMPLETE_TAG => {
                    completed = true;
                    let counted = rows_of(&command_tag(wire)?);
                    if counted.is_some_and(|counted| counted != rows.len() as u64) {
                        return Err(Failure::protocol("rows of a result are missing or too many"));
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        completed.then_some(rows).ok_or_else(incomplete)
    }

    /// The only row of a result.
    pub(crate) fn row(&mut self, doing: &str, sql: &str, parameters: &[&str]) -> Result<TextRow> {
        let rows = self.rows(doing, sql, parameters)?;
        rows.into_iter()
            .next()
            .ok_or_else(|| Error::other(format!("{doing}: the server returned no row")))
    }

    /// The only value of a result, as text.
    pub(crate) fn text(&mut self, doing: &str, sql: &str, parameters: &[&str]) -> Result<String> {
        Ok(self.row(doing, sql, parameters)?.text(0)?.to_owned())
    }

    /// The columns that a statement would return. It is not run.
    pub(crate) fn describe(&mut self, doing: &str, sql: &str) -> Result<Vec<ResultColumn>> {
        self.cancel.check()?;
        let mut columns = Vec::new();
        let sent = self.send(|output| {
            frontend::parse("", sql, [], output)?;
            frontend::describe(b'S', "", output)?;
            frontend::sync(output);
            Ok(())
        });
        let outcome = sent.and_then(|()| {
            self.responses(|kind, wire| {
                if kind == ROW_DESCRIPTION_TAG
                    && let Message::RowDescription(body) = wire.parsed()?
                {
                    columns = result_columns(&body)?;
                }
                Ok(())
            })
        });
        let outcome = self.noted(outcome);
        self.reported(doing, outcome)?;
        Ok(columns)
    }

    /// Begins a binary COPY from the server; its rows follow by [`Session::next`].
    pub(crate) fn begin_copy_out(&mut self, doing: &str, sql: &str) -> Result<()> {
        self.cancel.check()?;
        let _running = running(doing, sql);
        let begun = self.begin_copy(sql, COPY_OUT_RESPONSE_TAG);
        self.wire.expect_rows();
        self.reported(doing, begun)
    }

    /// Begins a binary COPY to the server. Another statement gives it up.
    pub(crate) fn begin_copy_in(&mut self, sql: &str) -> Result<(), Failure> {
        let _running = running_often("take rows", sql);
        self.begin_copy(sql, COPY_IN_RESPONSE_TAG)?;
        self.state = State::CopyIn;
        Ok(())
    }

    fn begin_copy(&mut self, sql: &str, answer: u8) -> Result<(), Failure> {
        let sent = self.send(|output| frontend::query(sql, output));
        let begun = sent.and_then(|()| match self.wire.receive()? {
            kind if kind == answer => match self.wire.body().first() {
                Some(1) => Ok(()),
                _ => Err(Failure::protocol("the COPY is not binary")),
            },
            ERROR_RESPONSE_TAG => Err(self.refusal()),
            _ => Err(Failure::protocol("the COPY does not begin")),
        });
        self.noted(begun)
    }

    /// The error that was read last, once the other responses to its statement have been read.
    fn refusal(&mut self) -> Failure {
        let error = Box::new(ServerError::parse(self.wire.body()));
        if !error.is_fatal
            && let Err(failure) = self.rest(true, |_, _| Ok(()))
        {
            return failure;
        }
        Failure::Server(error)
    }

    /// Gives back the memory that a long row took.
    pub(crate) fn shrink(&mut self) {
        self.wire.shrink();
    }

    /// What comes next of the COPY from the server.
    pub(crate) fn next(&mut self) -> Result<Copied<'_>, Failure> {
        let mut counted = None;
        let failure = loop {
            match self.wire.receive() {
                Ok(COPY_DATA_TAG) => return Ok(Copied::Rows(self.wire.body())),
                Ok(COPY_DONE_TAG) => {}
                Ok(COMMAND_COMPLETE_TAG) => match command_tag(&self.wire) {
                    Ok(tag) => counted = rows_of(&tag),
                    Err(failure) => break failure,
                },
                Ok(READY_FOR_QUERY_TAG) => {
                    self.state = State::Idle;
                    return Ok(Copied::End(counted));
                }
                Ok(ERROR_RESPONSE_TAG) => break self.refusal(),
                Ok(_) => break Failure::protocol("unexpected message within a COPY"),
                Err(error) => break error.into(),
            }
        };
        self.noted(Err(failure))
    }

    /// Sends rows of the COPY to the server. If the server refuses one of them, the reason comes
    /// with the end of the COPY.
    pub(crate) fn send_copy(&mut self, rows: &[u8]) -> Result<(), Failure> {
        if self.state != State::CopyIn {
            return Err(Failure::Lost(io::ErrorKind::NotConnected.into()));
        }
        let sent = self.wire.send_rows(rows);
        let sent = sent.map_err(|error| self.reason_of(error));
        self.noted(sent)
    }

    /// A server that closes a connection sends the reason first, as a rule.
    fn reason_of(&mut self, error: io::Error) -> Failure {
        let closed =
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        match closed.then(|| self.wire.receive()) {
            Some(Ok(ERROR_RESPONSE_TAG)) => {
                let reason = ServerError::parse(self.wire.body());
                Failure::Server(Box::new(ServerError { is_fatal: true, ..reason }))
            }
            _ => error.into(),
        }
    }

    /// Ends the COPY to the server and returns how many rows it has taken.
    pub(crate) fn end_copy(&mut self) -> Result<u64, Failure> {
        self.state = State::Busy;
        frontend::copy_done(&mut self.wire.output);
        let sent = self.wire.flush().map_err(|error| self.reason_of(error));
        let mut taken = None;
        let _running = Waiting::quiet("waiting for the database to take rows");
        let ended = sent.and_then(|()| {
            self.responses(|kind, wire| {
                if kind == COMMAND_COMPLETE_TAG {
                    taken = rows_of(&command_tag(wire)?);
                }
                Ok(())
            })
        });
        self.noted(ended)?;
        taken.ok_or_else(|| Failure::protocol("the COPY ends without a count"))
    }
}

impl transload_tables::Session for Session {
    fn run(&mut self, doing: &str, sql: &str) -> Result<()> {
        Self::run(self, doing, sql)
    }

    /// Statements of one message are one transaction. One that cannot run in a transaction runs
    /// before its note.
    fn run_noted(&mut self, doing: &str, sql: &str, note: &str) -> Result<()> {
        match Self::run(self, doing, &format!("{sql}\n;\n{note}")) {
            Err(error) if error.code == IN_TRANSACTION => {
                Self::run(self, doing, sql)?;
                Self::run(self, doing, note)
            }
            outcome => outcome,
        }
    }

    fn rows(&mut self, doing: &str, sql: &str) -> Result<TextRows> {
        let rows = Self::rows(self, doing, sql, &[])?;
        Ok(rows.into_iter().map(TextRow::into_cells).collect())
    }

    fn change(&mut self, doing: &str, sql: &str) -> Result<u64> {
        self.cancel.check()?;
        let _running = running_often(doing, sql);
        let outcome = self.try_run(sql);
        Ok(rows_of(&self.reported(doing, outcome)?).unwrap_or_default())
    }

    fn identity(&mut self) -> Result<SessionIdentity> {
        let sql = "SELECT pid, backend_start FROM pg_catalog.pg_stat_activity \
                   WHERE pid = pg_catalog.pg_backend_pid()";
        let row = self.row("ask for the process", sql, &[])?;
        Ok(SessionIdentity { id: row.number(0)?, start: row.text(1)?.to_owned() })
    }

    fn begin(&mut self) -> Result<()> {
        let doing = "begin a chunk";
        if self.is_lost() {
            return Err(Error::connection(format!("{doing}: the connection was lost")));
        }
        self.cancel.check()?;
        let _running = running(doing, "BEGIN");
        let begun = self.try_begin();
        self.transaction = self.reported(doing, begun)?;
        Ok(())
    }

    fn commit(&mut self) -> Result<Commit> {
        self.commit_as("commit a chunk")
    }

    fn rollback(&mut self) -> Result<()> {
        self.clean_up("roll a chunk back", "ROLLBACK")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.state == State::Idle && self.wire.stream_mut().set_nonblocking(true).is_ok() {
            // Keeps the server's log free of lost connections. Whether it arrives does not matter.
            frontend::terminate(&mut self.wire.output);
            let _ = self.wire.flush();
        }
        // A server that is still sending rows notices only a closed socket.
        self.interrupt.close();
    }
}

fn incomplete() -> Failure {
    Failure::protocol("the server is ready again without having completed the statement")
}

/// The tag of a CommandComplete, such as `COPY 5`.
fn command_tag(wire: &Wire) -> Result<String, Failure> {
    match wire.parsed()? {
        Message::CommandComplete(body) => Ok(body.tag()?.to_owned()),
        _ => Err(Failure::protocol("a command does not complete")),
    }
}

/// Binds parameters as text and asks for results as text.
fn bind(statement: &str, parameters: &[&str], output: &mut BytesMut) -> io::Result<()> {
    let put = |parameter: &&str, output: &mut BytesMut| -> Result<IsNull, _> {
        output.extend_from_slice(parameter.as_bytes());
        Ok(IsNull::No)
    };
    frontend::bind("", statement, [], parameters, put, [], output).map_err(|error| match error {
        frontend::BindError::Conversion(error) => io::Error::other(error),
        frontend::BindError::Serialization(error) => error,
    })
}
