//! What host and worker say to each other. Through the control socket: the start, secrets, the stop
//! signal, log events, channels. Through a channel: the functions of the contract, one after another;
//! each is answered by a `Result` of what it returns.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use transload_plugin_api::{
    Column, Counters, DigestRequest, DirtyRow, Error, Options, Origin, Position, Receipt, Split,
    SplitRequest, TableRequest, TaskContext, TokenTables, WritePlan,
};
use zeroize::Zeroizing;

use super::{batch::BatchShape, grants::Grants, sandbox::Achieved, sandbox::Sandbox};
use crate::catalog::Role;

/// The version of this protocol. Both sides are one program, of which the file may have been replaced
/// meanwhile.
pub(super) const VERSION: u32 = 1;

/// Longest message of the control socket.
const MAX_CONTROL: usize = 1 << 20;
/// Most descriptors that a message has.
const DESCRIPTORS: usize = 2;

/// From the host.
#[derive(Serialize, Deserialize)]
pub(super) enum Order {
    /// The first one; its descriptor is the library, unless that has a path.
    Start(Box<Start>),
    /// A channel: its socket, its memory.
    Channel,
    /// The stop signal.
    Cancel,
    /// The answer to [`Event::Secret`].
    Secret { id: u64, value: Result<Option<String>, Error> },
}

/// All that a worker needs.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) version: u32,
    pub(super) role: Role,
    pub(super) options: Options,
    /// Where the library is, if it is no descriptor.
    pub(super) library: Option<PathBuf>,
    pub(super) sandbox: Sandbox,
    pub(super) grants: Grants,
    /// The most verbose level of log events that the host wants, 1 to 5.
    pub(super) log: u8,
}

/// From the worker.
#[derive(Serialize, Deserialize)]
pub(super) enum Event {
    /// What keeps the library from the rest of the system, before it is loaded.
    Enclosed(Result<Achieved, Error>),
    /// The library is loaded, and its reader or writer is made.
    Made(Result<(), Error>),
    /// An event of the plugin's log.
    Log { level: u8, target: String, message: String, fields: String },
    /// The plugin asks for a secret.
    Secret { id: u64, key: String },
}

/// A function of the contract.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    Check,
    Discover,
    Tables(TableRequest),
    Counts,
    Schema,
    Produces(Vec<Column>),
    Splits(SplitRequest),
    OpenReading {
        split: Split,
        columns: Vec<Column>,
        after: Option<Position>,
    },
    Digest(DigestRequest),
    Inspect,
    Draft(Box<WritePlan>),
    Prepare(Box<WritePlan>),
    OpenWriting {
        plan: Box<WritePlan>,
        task: TaskContext,
    },
    Commit(Box<WritePlan>, Vec<Receipt>),
    Abort(Box<WritePlan>, Vec<Receipt>),
    Finalise(Box<WritePlan>),
    TokenDdl(TokenTables),
    /// To the reading that the channel has opened: all batches, one after another.
    Batches,
    /// These are for the writing that the channel has opened.
    Begin(u64),
    Write(BatchShape),
    CommitChunk(Position, Counters),
    Rollback,
    Progress,
    Finish,
    AbortTask,
}

impl Request {
    /// Whether it removes what a run leaves, which continues after a stop.
    pub(super) fn is_cleaning(&self) -> bool {
        matches!(
            self,
            Self::Abort(..) | Self::Finalise(_) | Self::Rollback | Self::AbortTask | Self::Counts
        )
    }
}

/// A batch that was read; its rows are in the body.
#[derive(Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) shape: BatchShape,
    pub(super) position: Position,
    pub(super) origin: Option<Origin>,
    pub(super) dirty: Vec<DirtyRow>,
    pub(super) bytes: u64,
}

/// Sends a message with descriptors through the control socket.
pub(super) fn send(
    mut socket: &UnixStream,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    // It may hold a secret.
    let mut bytes = Zeroizing::new(vec![0; 4]);
    serde_json::to_writer(&mut *bytes, message)?;
    let length = bytes.len() - 4;
    if length > MAX_CONTROL {
        let what = format!("a message of {length} bytes is too long for the control socket");
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    // The descriptors go with the first byte.
    let parts = [IoSlice::new(&bytes)];
    let sent = sendmsg(socket.as_fd(), &parts, &mut control, SendFlags::NOSIGNAL)?;
    socket.write_all(&bytes[sent..])
}

/// The next message of the control socket; `None` at its end.
pub(super) fn receive<T: DeserializeOwned>(
    mut socket: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut head = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut head)];
    let read = loop {
        match recvmsg(socket.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            read => break read?.bytes,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if read == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut head[read..])?;
    let length = u32::from_le_bytes(head) as usize;
    if length > MAX_CONTROL {
        return Err(io::Error::new(ErrorKind::InvalidData, "a control message is too long"));
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    socket.read_exact(&mut bytes)?;
    Ok(Some((serde_json::from_slice(&bytes)?, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_arrive_with_their_message() {
        let (host, worker) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        send(&host, &Order::Cancel, &[]).unwrap();
        send(&host, &Order::Channel, &[file.as_fd(), host.as_fd()]).unwrap();
        send(&host, &Order::Cancel, &[]).unwrap();
        drop(host);
        let found: Vec<_> = std::iter::from_fn(|| receive::<Order>(&worker).unwrap())
            .map(|(_, descriptors)| descriptors.len())
            .take(3)
            .collect();
        assert_eq!(found, [0, 2, 0]);
    }

    #[test]
    fn a_long_or_broken_control_message_is_an_error() {
        for bytes in [&[255, 255, 255, 127, 0][..], &[2, 0, 0, 0, b'{', b'}'], &[9, 0]] {
            let (mut hostile, socket) = UnixStream::pair().unwrap();
            hostile.write_all(bytes).unwrap();
            drop(hostile);
            assert!(receive::<Event>(&socket).is_err(), "{bytes:?}");
        }
    }
}
