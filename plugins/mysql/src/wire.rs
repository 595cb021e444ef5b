//! Packets over a socket: framing, sequence numbers, length-encoded values
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>).
//! Interpreting the packets is left to `session`.

use std::io::{self, IoSlice, Read, Write};

use crate::stream::Stream;

/// The largest payload of one frame; longer packets are sent in several frames.
const FRAME: usize = 0xFF_FFFF;
/// The longest packet before the server has accepted the login, and of a column's description.
const SHORT_LIMIT: usize = 64 << 10;
/// The longest packet that carries no row.
const ANSWER_LIMIT: usize = 16 << 20;
/// The longest packet that carries a row: a field of 1 GiB, and 64 MiB of others.
const ROW_LIMIT: usize = (1 << 30) + (64 << 20);
/// The buffer's usual size.
const BUFFER: usize = 256 << 10;

/// One end of a connection.
pub(crate) struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    /// Bytes that are buffered but not taken: `buffer[start..end]`.
    start: usize,
    end: usize,
    sequence: u8,
    /// The longest packet that carries no row, in bytes.
    limit: usize,
    /// A packet that was assembled from several frames.
    long: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        let buffer = vec![0; BUFFER];
        let (limit, long) = (SHORT_LIMIT, Vec::new());
        Self { stream, buffer, start: 0, end: 0, sequence: 0, limit, long }
    }

    /// Accepts the packets of a session that is logged in.
    pub(crate) fn logged_in(&mut self) {
        self.limit = ANSWER_LIMIT;
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Continues over another stream. Bytes buffered from the previous stream are dropped, so that
    /// data received in plain text is never used as data received over TLS.
    pub(crate) fn go_over(&mut self, stream: Stream) {
        self.stream = stream;
        (self.start, self.end) = (0, 0);
    }

    /// Begins a new command: sequence numbers start again.
    pub(crate) fn restart(&mut self) {
        self.sequence = 0;
    }

    /// The payload of the next packet, which carries no row.
    pub(crate) fn receive(&mut self) -> io::Result<&[u8]> {
        self.packet(self.limit)
    }

    /// The payload of the next packet, which describes a column.
    pub(crate) fn receive_column(&mut self) -> io::Result<&[u8]> {
        self.packet(SHORT_LIMIT)
    }

    /// The payload of the next packet, which may carry a row.
    pub(crate) fn receive_row(&mut self) -> io::Result<&[u8]> {
        self.packet(ROW_LIMIT)
    }

    fn packet(&mut self, limit: usize) -> io::Result<&[u8]> {
        let length = self.frame(0, limit)?;
        if length < FRAME {
            let from = self.start;
            self.start += length;
            return Ok(&self.buffer[from..from + length]);
        }
        self.long.clear();
        let mut length = length;
        loop {
            self.long.extend_from_slice(&self.buffer[self.start..self.start + length]);
            self.start += length;
            if length < FRAME {
                return Ok(&self.long);
            }
            length = self.frame(self.long.len(), limit)?;
        }
    }

    /// Buffers one frame and returns its length; its payload begins at `start`.
    /// A packet of which `taken` bytes have come is refused before more than `limit` bytes come.
    fn frame(&mut self, taken: usize, limit: usize) -> io::Result<usize> {
        self.fill(4)?;
        let head = &self.buffer[self.start..self.start + 4];
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        if head[3] != self.sequence {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "packets are out of order"));
        }
        if taken + length > limit {
            let length = taken + length;
            let message = format!("a packet of {length} bytes exceeds the limit of {limit}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.start += 4;
        self.fill(length)?;
        Ok(length)
    }

    /// Gives back what a long row took.
    pub(crate) fn shrink(&mut self) {
        if self.start == self.end && self.buffer.len() > 16 * BUFFER {
            self.buffer = vec![0; BUFFER];
            (self.start, self.end) = (0, 0);
        }
        if self.long.capacity() > 16 * BUFFER {
            self.long = Vec::new();
        }
    }

    /// Reads until this many bytes are buffered. An earlier end is an error.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.end - self.start >= wanted {
            return Ok(());
        }
        if self.start + wanted > self.buffer.len() || self.start == self.end {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted.next_power_of_two(), 0);
        }
        while self.end - self.start < wanted {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    let text = "the server closed the connection before its response was complete";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes a frame with its header, in one system call if possible.
    fn write(&mut self, head: &[u8; 4], frame: &[u8]) -> io::Result<()> {
        let stream = &mut self.stream;
        let written = loop {
            match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(frame)]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                written => break written?,
            }
        };
        match written.checked_sub(head.len()) {
            Some(sent) => stream.write_all(&frame[sent..])?,
            None => {
                stream.write_all(&head[written..])?;
                stream.write_all(frame)?;
            }
        }
        stream.flush()
    }

    /// Sends a packet, in several frames if it is long.
    pub(crate) fn send(&mut self, mut payload: &[u8]) -> io::Result<()> {
        loop {
            let (frame, rest) = payload.split_at(payload.len().min(FRAME));
            let length = frame.len();
            let head = [length as u8, (length >> 8) as u8, (length >> 16) as u8, self.sequence];
            self.sequence = self.sequence.wrapping_add(1);
            self.write(&head, frame)?;
            payload = rest;
            if length < FRAME {
                return Ok(());
            }
        }
    }
}

/// Takes values from a packet's payload; returns `None` if it is too short.
pub(crate) struct Taker<'a>(pub(crate) &'a [u8]);

impl<'a> Taker<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length-encoded integer.
    pub(crate) fn length(&mut self) -> Option<u64> {
        let wide = match self.byte()? {
            0xFC => return self.u16().map(u64::from),
            0xFD => {
                let [a, b, c] = self.array::<3>()?;
                [a, b, c, 0, 0, 0, 0, 0]
            }
            0xFE => self.array::<8>()?,
            0xFB | 0xFF => return None,
            small => return Some(small.into()),
        };
        Some(u64::from_le_bytes(wide))
    }

    /// A length-encoded string.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        // The common case first: this runs for every cell.
        if let Some((&length, rest)) = self.0.split_first()
            && length < 0xFB
        {
            let (taken, rest) = rest.split_at_checked(length.into())?;
            self.0 = rest;
            return Some(taken);
        }
        let length = usize::try_from(self.length()?).ok()?;
        self.bytes(length)
    }

    /// A string up to a zero byte, or to the end if there is none.
    pub(crate) fn zero_terminated(&mut self) -> &'a [u8] {
        match memchr::memchr(0, self.0) {
            Some(at) => {
                let taken = &self.0[..at];
                self.0 = &self.0[at + 1..];
                taken
            }
            None => std::mem::take(&mut self.0),
        }
    }
}

/// Appends a length-encoded string.
pub(crate) fn put_string(bytes: &[u8], out: &mut Vec<u8>) {
    let length = bytes.len() as u64;
    match length {
        0..0xFB => out.push(length as u8),
        0xFB..0x1_0000 => {
            out.push(0xFC);
            out.extend_from_slice(&(length as u16).to_le_bytes());
        }
        0x1_0000..0x100_0000 => {
            out.push(0xFD);
            out.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&length.to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        sync::Arc,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::stream::Socket;

    fn pair() -> (Wire, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let wire = |stream: TcpStream| {
            let deadline = Instant::now() + Duration::from_secs(60);
            Wire::new(Stream::Plain(Socket::new(Arc::new(stream), deadline)))
        };
        (wire(near), wire(far))
    }

    #[test]
    fn packets_arrive_whole() {
        for length in [0, 1, 300_000, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME] {
            let (mut near, mut far) = pair();
            let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let sent = payload.clone();
            let sender = std::thread::spawn(move || {
                near.send(&sent).unwrap();
                near.send(b"next").unwrap();
            });
            assert!(far.receive_row().unwrap() == payload, "{length}");
            assert_eq!(far.receive().unwrap(), b"next");
            sender.join().unwrap();
        }
    }

    #[test]
    fn a_packet_over_its_limit_is_refused_before_it_comes() {
        let header = |length: usize| [length as u8, (length >> 8) as u8, (length >> 16) as u8, 0];
        let (mut near, mut far) = pair();
        near.stream.write_all(&header(SHORT_LIMIT + 1)).unwrap();
        let error = far.receive().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let (mut near, mut far) = pair();
        far.logged_in();
        near.stream.write_all(&header(FRAME)).unwrap();
        let sender = std::thread::spawn(move || {
            near.stream.write_all(&vec![0; FRAME]).unwrap();
            near.stream.write_all(&[2, 0, 0, 1]).unwrap();
            near
        });
        // The second frame would make it 16 MiB and 1 byte.
        let error = far.receive().unwrap_err();
        assert!(error.to_string().contains("a packet of 16777217 bytes"), "{error}");
        drop(sender.join());
    }

    #[test]
    fn t06_an_early_end_is_an_error() {
        let (mut near, mut far) = pair();
        near.stream.write_all(&[9, 0, 0, 0, 1, 2]).unwrap();
        drop(near);
        assert_eq!(far.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn lengths_read_back() {
        for length in [0, 0xFA, 0xFB, 0xFFFF, 0x1_0000, 0x100_0000] {
            let mut out = Vec::new();
            put_string(&vec![7; length], &mut out);
            let mut taker = Taker(&out);
            assert_eq!(taker.string().unwrap().len(), length);
            assert!(taker.0.is_empty());
            assert!(Taker(&out[..out.len() - 1]).string().is_none());
        }
    }
}
