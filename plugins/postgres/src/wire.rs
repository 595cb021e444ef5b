//! Messages over a stream: framing and the limits of lengths
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>). A message is looked at
//! in the buffer that the socket fills; its bytes are not copied. What messages mean is left to
//! `session` and `login`.

use std::{
    io::{self, IoSlice, Read, Write},
    time::Instant,
};

use bytes::BytesMut;
use postgres_protocol::message::backend::{self, Message};

use crate::stream::{Activity, Stream};

/// A message's type and length.
const HEADER: usize = 5;
/// The buffer's usual size, and the most that is read at a time.
const READ: usize = 256 << 10;
/// The longest message before the server has accepted the login.
const LOGIN_LIMIT: usize = 64 << 10;
/// The longest message of a session, but for rows of a COPY.
const MESSAGE_LIMIT: usize = 16 << 20;
/// The longest message that carries a row of a COPY: no server builds longer ones.
const ROW_LIMIT: usize = 1 << 30;
/// The most bytes of all messages before the login, and of all that answer one statement. The rows
/// of a COPY are not among them.
const LOGIN_ANSWER_LIMIT: usize = 1 << 20;
const ANSWER_LIMIT: usize = 64 << 20;
/// A short message counts as this many bytes of an answer, for the work that it makes.
const MESSAGE_COST: usize = 64;
/// COPY data is sent in messages of at most this size: the server gathers each before it looks.
const PIECE: usize = 64 << 10;

/// The longest messages that are accepted, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    message: usize,
    /// A row of a COPY that was asked for.
    row: usize,
    answer: usize,
}

/// One end of a connection.
pub(crate) struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    /// The message that was read last: `buffer[message..start]`.
    message: usize,
    /// What is buffered and not read yet: `buffer[start..end]`.
    start: usize,
    end: usize,
    limits: Limits,
    /// Bytes of the current answer so far.
    answered: usize,
    /// Messages that are sent together.
    pub(crate) output: BytesMut,
}

impl Wire {
    /// A connection on which the login comes next.
    pub(crate) fn new(stream: Stream) -> Self {
        let limits = Limits { message: LOGIN_LIMIT, row: LOGIN_LIMIT, answer: LOGIN_ANSWER_LIMIT };
        let (buffer, output) = (vec![0; READ], BytesMut::new());
        Self { stream, buffer, message: 0, start: 0, end: 0, limits, answered: 0, output }
    }

    /// Accepts the messages of a session that is logged in: the answer to a statement comes next.
    pub(crate) fn expect_answer(&mut self) {
        self.limits = Limits { message: MESSAGE_LIMIT, row: MESSAGE_LIMIT, answer: ANSWER_LIMIT };
        self.answered = 0;
    }

    /// Accepts rows of a COPY as well.
    pub(crate) fn expect_rows(&mut self) {
        self.limits.row = ROW_LIMIT;
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Gives back what a long message took.
    pub(crate) fn shrink(&mut self) {
        if self.start == self.end && self.buffer.len() > 16 * READ {
            self.buffer = vec![0; READ];
            (self.message, self.start, self.end) = (0, 0, 0);
        }
    }

    /// Reads the next message and returns its type; [`Wire::body`] is the rest of it. Messages that
    /// may come at any time (notices, notifications, changes of settings) are left out.
    pub(crate) fn receive(&mut self) -> io::Result<u8> {
        let mut unasked = None;
        loop {
            let length = self.complete()?;
            self.message = self.start;
            self.start += length;
            let kind = self.buffer[self.message];
            if kind == backend::COPY_DATA_TAG && self.limits.row == ROW_LIMIT {
                return Ok(kind);
            }
            self.answered += length.max(MESSAGE_COST);
            if self.answered > self.limits.answer {
                let message = format!("an answer of more than {} bytes", self.limits.answer);
                return Err(invalid(&message));
            }
            let at_any_time = matches!(
                kind,
                backend::NOTICE_RESPONSE_TAG
                    | backend::NOTIFICATION_RESPONSE_TAG
                    | backend::PARAMETER_STATUS_TAG
            );
            if !at_any_time {
                return Ok(kind);
            }
            self.without_answer(unasked.get_or_insert_with(Instant::now))?;
        }
    }

    /// Messages that nothing waits for are no answer: they do not replace one.
    fn without_answer(&self, since: &mut Instant) -> io::Result<()> {
        let Some(idle) = self.stream.idle().filter(|idle| since.elapsed() > idle.timeout) else {
            return Ok(());
        };
        if idle.liveness.look()? == Activity::Waiting {
            return Err(idle.silent("only notices, and the server waits as well"));
        }
        *since = Instant::now();
        Ok(())
    }

    /// What the message that was read last carries.
    pub(crate) fn body(&self) -> &[u8] {
        &self.buffer[self.message + HEADER..self.start]
    }

    /// The message that was read last, parsed. For messages without rows.
    pub(crate) fn parsed(&self) -> io::Result<Message> {
        let mut bytes = BytesMut::from(&self.buffer[self.message..self.start]);
        Message::parse(&mut bytes)?.ok_or_else(|| invalid("a message is cut off"))
    }

    /// Buffers the next message as a whole and returns its length with the header.
    fn complete(&mut self) -> io::Result<usize> {
        loop {
            let buffered = &self.buffer[self.start..self.end];
            let wanted = match buffered.first_chunk::<HEADER>() {
                None => HEADER,
                Some(header) => match self.limits.length(*header)? {
                    length if length <= buffered.len() => return Ok(length),
                    length => length,
                },
            };
            self.read(wanted)?;
        }
    }

    /// Reads once, with room for a message of this length at most.
    fn read(&mut self, wanted: usize) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        self.message = 0;
        if self.end == self.buffer.len() {
            // The buffer follows what has really come, not what a header announces.
            self.buffer.resize(wanted.min(2 * self.buffer.len()).max(READ), 0);
        } else if self.end == 0 && self.buffer.len() > 16 * READ {
            self.buffer = vec![0; READ];
        }
        let read = loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        if read == 0 {
            let text = "the server closed the connection";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.end += read;
        Ok(())
    }

    /// Sends the messages in `output`.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.output).and_then(|()| self.stream.flush());
        self.output.clear();
        sent
    }

    /// Sends rows of a COPY.
    pub(crate) fn send_rows(&mut self, rows: &[u8]) -> io::Result<()> {
        for piece in rows.chunks(PIECE) {
            let [a, b, c, d] = (piece.len() as u32 + 4).to_be_bytes();
            self.write_all(&[backend::COPY_DATA_TAG, a, b, c, d], piece)?;
        }
        self.stream.flush()
    }

    /// Writes a header and a body, as one piece as far as the system takes it.
    fn write_all(&mut self, header: &[u8; HEADER], body: &[u8]) -> io::Result<()> {
        let written = loop {
            match self.stream.write_vectored(&[IoSlice::new(header), IoSlice::new(body)]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                written => break written?,
            }
        };
        match written.checked_sub(HEADER) {
            Some(sent) => self.stream.write_all(&body[sent..]),
            None => {
                self.stream.write_all(&header[written..])?;
                self.stream.write_all(body)
            }
        }
    }
}

impl Limits {
    /// The length of a message with this header, the header included.
    fn length(self, [kind, length @ ..]: [u8; HEADER]) -> io::Result<usize> {
        let limit = match kind {
            backend::COPY_DATA_TAG => self.row,
            _ => self.message,
        };
        let length = u32::from_be_bytes(length) as usize;
        // The length counts itself and not the type.
        if length < HEADER - 1 {
            return Err(invalid("a message is shorter than its header"));
        }
        if length > limit {
            let message = format!("a message of {length} bytes exceeds the limit of {limit}");
            return Err(invalid(&message));
        }
        Ok(length + 1)
    }
}

/// The server broke the protocol.
pub(crate) fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}
