//! A go-between on the way to a server that loses connections where a test wants it to, for tests
//! of plugins whose stores answer over TCP.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use super::expect;

/// When connections are lost. Nothing is, until the test says so.
#[derive(Debug, Default)]
pub struct Faults {
    /// After so many more bytes to the server; 0 is never.
    pub after_sent: AtomicU64,
    /// After so many more bytes from the server; 0 is never.
    pub after_received: AtomicU64,
    /// The answer to the next COMMIT is lost, and the connection with it.
    pub at_commit: AtomicBool,
}

/// Starts one before the server at `port` of this machine; its own port, and what it may do.
/// `commit` is how a COMMIT looks on its way to the server.
pub fn start(port: u16, commit: &'static [u8]) -> (u16, Arc<Faults>) {
    let listener = expect(TcpListener::bind("127.0.0.1:0"), "a port of the proxy's own");
    let own = expect(listener.local_addr(), "the proxy's port").port();
    let faults = Arc::new(Faults::default());
    let shared = Arc::clone(&faults);
    // Ends with the test's process.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            serve(&client, &server, commit, &shared);
        }
    });
    (own, faults)
}

fn serve(client: &TcpStream, server: &TcpStream, commit: &'static [u8], faults: &Arc<Faults>) {
    let muted = Arc::new(AtomicBool::new(false));
    let end = |stream: &TcpStream| expect(stream.try_clone(), "a connection's other handle");
    let ends = || (end(client), end(server));
    let (up, down) = (ends(), ends());
    let (sent, received) = (Arc::clone(faults), Arc::clone(faults));
    let mute = Arc::clone(&muted);
    thread::spawn(move || {
        forward(up.0, up.1, |bytes| {
            let commits = bytes.windows(commit.len()).any(|it| it == commit);
            if commits && sent.at_commit.swap(false, SeqCst) {
                mute.store(true, SeqCst);
            }
            spent(&sent.after_sent, bytes.len())
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
