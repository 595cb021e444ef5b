//! The bytes between the driver and the server: a socket, with TLS or without. The rows of a COPY
//! to us are taken out on the way, because the driver would hand over each as a message of its
//! own; everything else it gets as it came. Messages are framed as in
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// So many bytes are asked of the socket at a time.
const READ: usize = 128 << 10;
/// So many bytes of rows may wait, and once more what is read at a time.
const WAITING: usize = 128 << 10;
/// The message that carries rows of a COPY.
const COPY_DATA: u8 = b'd';
/// A message's type and length.
const HEADER: usize = 5;

/// The way to the server.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What the driver reads from and writes to.
pub(crate) struct Link {
    socket: Socket,
    input: Box<[u8]>,
    frame: Frame,
    /// Bytes for the driver that it has not read yet, from `given` on.
    passed: Vec<u8>,
    given: usize,
    rows: Rows,
}

/// Where in the stream of messages the next byte stands.
enum Frame {
    /// Within a header, of which so many bytes have come.
    Header([u8; HEADER], usize),
    /// So many bytes of a message's body are to come; whether they are rows.
    Body(usize, bool),
}

/// The rows taken out, for whoever started the COPY.
#[derive(Clone, Default)]
pub(crate) struct Rows(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// More are read until there are so many.
    enough: usize,
    /// Waits for rows.
    taker: Option<Waker>,
    /// Waits for room.
    giver: Option<Waker>,
}

impl Rows {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the rows that wait to `take`, which says how many of the bytes it took. `Pending` if
    /// none have come since it last left some.
    pub(crate) fn poll_take<E>(
        &self,
        context: &Context<'_>,
        take: impl FnOnce(&[u8]) -> Result<usize, E>,
    ) -> Poll<Result<usize, E>> {
        let waiting = &mut *self.lock();
        let taken = if waiting.bytes.is_empty() { 0 } else { take(&waiting.bytes)? };
        waiting.bytes.drain(..taken);
        waiting.enough = waiting.bytes.len() + WAITING;
        if let Some(giver) = waiting.giver.take() {
            giver.wake();
        }
        if taken == 0 {
            waiting.taker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }
}

impl Link {
    pub(crate) fn new(socket: Socket) -> Self {
        let rows = Rows::default();
        rows.lock().enough = WAITING;
        Self {
            socket,
            input: vec![0; READ].into(),
            frame: Frame::Header([0; HEADER], 0),
            passed: Vec::new(),
            given: 0,
            rows,
        }
    }

    pub(crate) fn rows(&self) -> Rows {
        self.rows.clone()
    }

    /// Reads once. `Ready(0)` is the end of the stream, `Pending` also waits for room.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let waiting = &mut *self.rows.lock();
        if waiting.bytes.len() >= waiting.enough {
            waiting.giver = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut input = ReadBuf::new(&mut self.input);
        ready!(self.socket.poll_read(context, &mut input))?;
        let count = input.filled().len();
        let had = waiting.bytes.len();
        self.frame.sort(&self.input[..count], &mut waiting.bytes, &mut self.passed)?;
        if waiting.bytes.len() > had
            && let Some(taker) = waiting.taker.take()
        {
            taker.wake();
        }
        Poll::Ready(Ok(count))
    }
}

impl Frame {
    /// Divides what has come into rows and everything else.
    fn sort(&mut self, mut input: &[u8], rows: &mut Vec<u8>, rest: &mut Vec<u8>) -> io::Result<()> {
        while !input.is_empty() {
            match self {
                Self::Header(header, had) => {
                    let count = input.len().min(HEADER - *had);
                    let (now, later) = input.split_at(count);
                    header[*had..*had + count].copy_from_slice(now);
                    (*had, input) = (*had + count, later);
                    if *had == HEADER {
                        *self = Self::body(*header, rest)?;
                    }
                }
                Self::Body(left, is_rows) => {
                    let (now, later) = input.split_at(input.len().min(*left));
                    if *is_rows { &mut *rows } else { &mut *rest }.extend_from_slice(now);
                    (*left, input) = (*left - now.len(), later);
                    if *left == 0 {
                        *self = Self::Header([0; HEADER], 0);
                    }
                }
            }
        }
        Ok(())
    }

    /// What follows this header, which is passed on unless rows follow.
    fn body(header: [u8; HEADER], rest: &mut Vec<u8>) -> io::Result<Self> {
        let [kind, length @ ..] = header;
        let is_rows = kind == COPY_DATA;
        if !is_rows {
            rest.extend_from_slice(&header);
        }
        // The length counts itself.
        match u32::from_be_bytes(length).checked_sub(4) {
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "a message of no length")),
            Some(0) => Ok(Self::Header([0; HEADER], 0)),
            Some(left) => Ok(Self::Body(left as usize, is_rows)),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let link = &mut *self;
        while link.given == link.passed.len() {
            link.passed.clear();
            link.given = 0;
            if ready!(link.poll_fill(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let left = &link.passed[link.given..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        link.given += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(context),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl Socket {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

/// Connects to the first of the host's addresses that answers.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    proptest! {
        #[test]
        fn rows_are_told_from_the_rest_wherever_reads_end(
            messages in prop::collection::vec(
                (prop::sample::select(&b"dZCdE"[..]), prop::collection::vec(any::<u8>(), 0..40)),
                0..12,
            ),
            cuts in prop::collection::vec(1..30_usize, 1..8),
        ) {
            let mut stream = Vec::new();
            let (mut rows, mut rest) = (Vec::new(), Vec::new());
            for (kind, body) in &messages {
                let message = message(*kind, body);
                stream.extend_from_slice(&message);
                if *kind == b'd' { rows.extend_from_slice(body) } else { rest.extend(message) }
            }
            let mut frame = Frame::Header([0; HEADER], 0);
            let (mut found_rows, mut found_rest) = (Vec::new(), Vec::new());
            let mut left = &stream[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = left.split_at(left.len().min(*cut));
                frame.sort(now, &mut found_rows, &mut found_rest).unwrap();
                left = later;
                if left.is_empty() { break }
            }
            prop_assert_eq!((found_rows, found_rest), (rows, rest));
        }
    }

    #[test]
    fn a_length_that_does_not_count_itself_is_refused() {
        let mut frame = Frame::Header([0; HEADER], 0);
        assert!(frame.sort(b"Z\0\0\0\x03", &mut Vec::new(), &mut Vec::new()).is_err());
    }
}
