//! A go-between on the way to the server that loses connections where a test wants it to.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

/// When connections are lost. Nothing is, until the test says so.
#[derive(Default)]
pub(crate) struct Faults {
    /// After so many more bytes from the server; 0 is never.
    pub(crate) after_received: AtomicU64,
    /// The answer to the next COMMIT is lost, and the connection with it.
    pub(crate) at_commit: AtomicBool,
}

/// Starts one before the server at `port`; its own port, and what it may do.
pub(crate) fn start(port: u16) -> (u16, Arc<Faults>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let faults = Arc::new(Faults::default());
    let shared = Arc::clone(&faults);
    // Ends with the test's process.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            serve(client, server, &shared);
        }
    });
    (own, faults)
}

fn serve(client: TcpStream, server: TcpStream, faults: &Arc<Faults>) {
    let muted = Arc::new(AtomicBool::new(false));
    let ends = || (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (up, down) = (ends(), ends());
    let (sent, received) = (Arc::clone(faults), Arc::clone(faults));
    let mute = Arc::clone(&muted);
    thread::spawn(move || {
        forward(up.0, up.1, |bytes| {
            let commits = bytes.windows(7).any(|it| it == b"\x03COMMIT");
            if commits && sent.at_commit.swap(false, SeqCst) {
                mute.store(true, SeqCst);
            }
            false
        });
    });
    thread::spawn(move || {
        forward(down.1, down.0, |bytes| {
            muted.load(SeqCst) || spent(&received.after_received, bytes.len())
        });
    });
}

/// Passes bytes on until there are no more, or until `lost` says so of some that are not passed on.
fn forward(mut from: TcpStream, mut to: TcpStream, lost: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || lost(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Counts bytes down; whether that has just come to the end.
fn spent(left: &AtomicU64, bytes: usize) -> bool {
    let take = |left: u64| (left > 0).then(|| left.saturating_sub(bytes as u64));
    left.fetch_update(SeqCst, SeqCst, take).is_ok_and(|left| left <= bytes as u64)
}
