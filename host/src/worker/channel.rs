//! One channel between the host and a worker: messages as JSON through a socket, their bodies through
//! [`SharedMemory`]. What arrives is not believed: lengths have limits, and a body is copied before it is
//! looked at. What messages mean is left to `message`.
//!
//! A frame is 16 bytes: its kind, whether the JSON is in the body, the length of the JSON, the length of
//! the body. A body passes in pieces of one slot each; the receiver returns each slot with a frame of
//! its own, and the sender waits when all are taken.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use arrow_buffer::{Buffer, MutableBuffer};
use serde::{Serialize, de::DeserializeOwned};

use super::memory::{SLOT, SLOTS, SharedMemory};

/// Longest JSON in a frame; a longer one goes through the shared memory.
const MAX_INLINE: usize = 1 << 20;
/// Longest JSON.
const MAX_JSON: u64 = 64 << 20;
/// Longest body.
const MAX_BODY: u64 = 4 << 30;
/// Memory that a body gets before its bytes are there.
const EARLY: u64 = 64 << 20;
/// What a piece of a body is aligned to, as Arrow wants it.
pub(super) const ALIGNMENT: usize = 64;

const HEAD: usize = 16;
const MESSAGE: u8 = 1;
const PIECE: u8 = 2;
const FREE: u8 = 3;

/// Called every [`TICK`] while the other side is waited for; an error ends the wait.
pub(super) type Tick<'a> = &'a dyn Fn() -> io::Result<()>;

/// How often a wait is interrupted to look whether it may go on.
const TICK: Duration = Duration::from_millis(250);

/// One side of a channel.
pub(super) struct Channel {
    socket: UnixStream,
    memory: SharedMemory,
    /// Bytes received and not yet taken.
    input: Vec<u8>,
    taken: usize,
    /// Pieces sent, and those of them that the other side has copied.
    sent: u64,
    freed: u64,
    /// Pieces received.
    received: u64,
}

/// A wait without a limit: the end of the other process ends it.
pub(super) fn for_ever() -> io::Result<()> {
    Ok(())
}

/// The error of a message that breaks the protocol.
fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

impl Channel {
    /// A channel of this socket and memory.
    pub(super) fn new(socket: UnixStream, memory: SharedMemory) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        let (input, taken, sent, freed, received) = (Vec::new(), 0, 0, 0, 0);
        Ok(Self { socket, memory, input, taken, sent, freed, received })
    }

    /// Sends a message with a body, which the parts make up.
    pub(super) fn send(
        &mut self,
        message: &impl Serialize,
        body: &[Buffer],
        tick: Tick<'_>,
    ) -> io::Result<()> {
        let json = serde_json::to_vec(message)?;
        let json_bytes = json.len() as u64;
        let is_inline = json.len() <= MAX_INLINE;
        let mut parts = body.to_vec();
        if !is_inline {
            parts.insert(0, padded(json.clone()));
        }
        let bytes: u64 = parts.iter().map(|part| aligned(part.len()) as u64).sum();
        if json_bytes > MAX_JSON || bytes > MAX_BODY {
            let what = format!("a message of {json_bytes} and {bytes} bytes is too long");
            return Err(io::Error::new(ErrorKind::InvalidInput, what));
        }
        let mut output = head(MESSAGE, is_inline, json_bytes as u32, bytes).to_vec();
        if is_inline {
            output.extend_from_slice(&json);
        }
        for piece in pieces(&parts) {
            // The message itself goes out with its first piece, or before a wait.
            if self.sent - self.freed >= SLOTS {
                self.put(&output, tick)?;
                output.clear();
                self.wait_for_a_slot(tick)?;
            }
            self.memory.fill(self.sent % SLOTS, &piece)?;
            self.sent += 1;
            output.extend_from_slice(&head(PIECE, false, 0, 0));
        }
        self.put(&output, tick)
    }

    /// The next message and its body; `None` if the other side has closed the channel between two.
    pub(super) fn receive<T: DeserializeOwned>(
        &mut self,
        tick: Tick<'_>,
    ) -> io::Result<Option<(T, Buffer)>> {
        let (is_inline, json_bytes, bytes) = loop {
            let Some(head) = self.take_head(tick)? else { return Ok(None) };
            match head {
                (MESSAGE, is_inline, json, body) => break (is_inline, u64::from(json), body),
                (FREE, ..) => self.free()?,
                _ => return Err(broken("an unexpected frame")),
            }
        };
        let too_long =
            if is_inline { json_bytes > MAX_INLINE as u64 } else { json_bytes > MAX_JSON };
        if too_long || bytes > MAX_BODY || (!is_inline && json_bytes > bytes) {
            return Err(broken("a message is too long"));
        }
        let inline = if is_inline { self.take(json_bytes as usize, tick)? } else { Vec::new() };
        let body = self.take_body(bytes, tick)?;
        if is_inline {
            return Ok(Some((serde_json::from_slice(&inline)?, body)));
        }
        let message = serde_json::from_slice(&body[..json_bytes as usize])?;
        Ok(Some((message, body.slice(aligned(json_bytes as usize).min(body.len())))))
    }

    /// Signals to the other side that nothing more comes.
    pub(super) fn close(&self) {
        // It may be gone.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Waits until the other side has closed the channel.
    pub(super) fn drain(&mut self, tick: Tick<'_>) -> io::Result<()> {
        loop {
            self.input.clear();
            self.taken = 0;
            if !self.fill_input(tick)? {
                return Ok(());
            }
        }
    }

    /// Copies a body piece by piece, and returns each slot.
    fn take_body(&mut self, bytes: u64, tick: Tick<'_>) -> io::Result<Buffer> {
        // Memory is taken for bytes that are there, not for a length that another process claims.
        let mut body = MutableBuffer::from_len_zeroed(bytes.min(EARLY) as usize);
        let mut at = 0;
        while (at as u64) < bytes {
            let piece = (bytes as usize - at).min(SLOT);
            loop {
                match self.take_head(tick)?.ok_or(ErrorKind::UnexpectedEof)? {
                    (PIECE, ..) => break,
                    (FREE, ..) => self.free()?,
                    _ => return Err(broken("an unexpected frame")),
                }
            }
            if body.len() < at + piece {
                body.resize(at + piece, 0);
            }
            self.memory.copy(self.received % SLOTS, &mut body.as_slice_mut()[at..at + piece])?;
            self.received += 1;
            at += piece;
            match self.put(&head(FREE, false, 0, 0), tick) {
                // A side that has sent its last message and ended needs no slot.
                Err(error) if has_gone(&error) => {}
                put => put?,
            }
        }
        Ok(body.into())
    }

    fn wait_for_a_slot(&mut self, tick: Tick<'_>) -> io::Result<()> {
        while self.sent - self.freed >= SLOTS {
            match self.take_head(tick)?.ok_or(ErrorKind::BrokenPipe)? {
                (FREE, ..) => self.free()?,
                _ => return Err(broken("an unexpected frame")),
            }
        }
        Ok(())
    }

    fn free(&mut self) -> io::Result<()> {
        self.freed += 1;
        if self.freed > self.sent { Err(broken("a slot was returned twice")) } else { Ok(()) }
    }

    /// The next frame's kind, flag and lengths; `None` at the end.
    fn take_head(&mut self, tick: Tick<'_>) -> io::Result<Option<(u8, bool, u32, u64)>> {
        if self.input.len() == self.taken && !self.fill_input(tick)? {
            return Ok(None);
        }
        let head = self.take(HEAD, tick)?;
        let Some((kind, rest)) = head.split_first() else { return Ok(None) };
        let json = rest[3..7].try_into().map(u32::from_le_bytes);
        let body = rest[7..15].try_into().map(u64::from_le_bytes);
        match (json, body) {
            (Ok(json), Ok(body)) => Ok(Some((*kind, rest[0] == 1, json, body))),
            _ => Err(broken("an incomplete frame")),
        }
    }

    fn take(&mut self, bytes: usize, tick: Tick<'_>) -> io::Result<Vec<u8>> {
        while self.input.len() - self.taken < bytes {
            if !self.fill_input(tick)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let taken = self.input[self.taken..self.taken + bytes].to_vec();
        self.taken += bytes;
        Ok(taken)
    }

    /// Reads what is there; `false` at the end.
    fn fill_input(&mut self, tick: Tick<'_>) -> io::Result<bool> {
        if self.taken == self.input.len() {
            self.input.clear();
            self.taken = 0;
        }
        let mut block = [0; 16 << 10];
        loop {
            match self.socket.read(&mut block) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.input.extend_from_slice(&block[..read]);
                    return Ok(true);
                }
                // The other side has ended before it read all that was sent.
                Err(error) if has_gone(&error) => return Ok(false),
                Err(error) => passing(error, tick)?,
            }
        }
    }

    fn put(&mut self, mut bytes: &[u8], tick: Tick<'_>) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => passing(error, tick)?,
            }
        }
        Ok(())
    }
}

/// Whether an error means that the other side is not there any more.
fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// Whether a call may be repeated after this error.
fn passing(error: io::Error, tick: Tick<'_>) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => tick(),
        ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

fn head(kind: u8, is_inline: bool, json: u32, body: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[0] = kind;
    head[1] = is_inline.into();
    head[4..8].copy_from_slice(&json.to_le_bytes());
    head[8..].copy_from_slice(&body.to_le_bytes());
    head
}

/// The length with what follows it up to the next part.
pub(super) fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

fn padded(mut bytes: Vec<u8>) -> Buffer {
    bytes.resize(aligned(bytes.len()), 0);
    bytes.into()
}

/// The parts with their padding, divided into pieces of one slot.
fn pieces(parts: &[Buffer]) -> Vec<Vec<IoSlice<'_>>> {
    static PADDING: [u8; ALIGNMENT] = [0; ALIGNMENT];
    let mut pieces = Vec::new();
    let (mut piece, mut room) = (Vec::new(), SLOT);
    for part in parts {
        let padding = &PADDING[..aligned(part.len()) - part.len()];
        for mut bytes in [part.as_slice(), padding] {
            while !bytes.is_empty() {
                let (now, rest) = bytes.split_at(bytes.len().min(room));
                piece.push(IoSlice::new(now));
                room -= now.len();
                bytes = rest;
                if room == 0 {
                    pieces.push(std::mem::take(&mut piece));
                    room = SLOT;
                }
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        let memory = SharedMemory::new().unwrap();
        let shared = SharedMemory::received(memory.share().unwrap()).unwrap();
        (Channel::new(one, memory).unwrap(), Channel::new(other, shared).unwrap())
    }

    #[test]
    fn messages_of_any_length_pass_in_order_and_the_sender_waits_for_slots() {
        let (mut sender, mut receiver) = pair();
        let lengths = [0, 1, 64, SLOT - 1, SLOT, SLOT + 1, 9 * SLOT + 7, 3];
        let sending = thread::spawn(move || {
            for length in lengths {
                let body = [Buffer::from(vec![length as u8; length]), Buffer::from(b"end")];
                sender.send(&("x".repeat(length), length), &body, &for_ever).unwrap();
            }
        });
        for length in lengths {
            let next = receiver.receive::<(String, usize)>(&for_ever).unwrap();
            let ((text, told), body) = next.unwrap();
            assert_eq!((text.len(), told), (length, length));
            assert!(body[..length].iter().all(|byte| *byte == length as u8));
            assert_eq!(&body[aligned(length)..aligned(length) + 3], b"end");
            assert_eq!(body.as_ptr().align_offset(ALIGNMENT), 0, "{length}");
        }
        sending.join().unwrap();
        assert!(receiver.receive::<()>(&for_ever).unwrap().is_none());
    }

    /// Random frames: an error, no panic, and no memory for lengths that are only claimed.
    #[test]
    fn a_hostile_side_causes_errors_only() {
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 33
        };
        for round in 0..2_000_u64 {
            let (mut hostile, mut receiver) = pair();
            let mut bytes: Vec<u8> = (0..64).map(|_| next() as u8).collect();
            bytes[0] = (round % 4) as u8;
            bytes[1] = (round % 2) as u8;
            if round % 3 == 0 {
                bytes[4..16].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, (round % 8) as u8, 0, 0, 0]);
            }
            hostile.put(&bytes, &for_ever).unwrap();
            drop(hostile);
            assert!(!matches!(receiver.receive::<bool>(&for_ever), Ok(Some(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_side_that_never_advances_is_waited_for_as_long_as_the_tick_allows() {
        let (mut sender, _silent) = pair();
        let body = [Buffer::from(vec![0_u8; 8 * SLOT])];
        let late = || Err(io::Error::other("late"));
        let error = sender.send(&(), &body, &late).unwrap_err();
        assert_eq!(error.to_string(), "late");
        assert_eq!(sender.receive::<()>(&late).unwrap_err().to_string(), "late");
    }
}
