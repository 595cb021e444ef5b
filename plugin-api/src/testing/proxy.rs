//! A TCP proxy before a server that loses connections on request, for tests of plugins whose
//! stores are servers. It does not know the protocol, except how a COMMIT looks.

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

/// When connections are lost. By default none is.
#[derive(Debug, Default)]
pub struct Faults {
    /// After this number of further bytes to the server; 0 is never.
    pub after_sent: AtomicU64,
    /// After this number of further bytes from the server; 0 is never.
    pub after_received: AtomicU64,
    /// The reply to the next COMMIT is lost, and the connection with it: the outcome is unknown to
    /// the plugin.
    pub at_commit: AtomicBool,
    /// How many connections have been opened.
    opened: AtomicU64,
    /// Connections opened before this one forward nothing and are not closed.
    silent_before: AtomicU64,
}

impl Faults {
    /// Connections that are open now forward nothing more and are not closed: a black hole.
    pub fn silence_open(&self) {
        self.silent_before.store(self.opened.load(SeqCst), SeqCst);
    }

    /// No connection forwards anything, later ones neither, up to [`Faults::heal`].
    pub fn silence_all(&self) {
        self.silent_before.store(u64::MAX, SeqCst);
    }

    /// Later connections forward again.
    pub fn heal(&self) {
        self.silence_open();
    }

    fn is_silent(&self, connection: u64) -> bool {
        connection < self.silent_before.load(SeqCst)
    }
}

/// Starts a proxy before the server at `port` of this machine, for the life of the process, and
/// returns its port and its faults. `commit` is the text of a COMMIT on its way to the server.
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

/// Forwards one connection, each direction by a thread of its own.
fn serve(client: &TcpStream, server: &TcpStream, commit: &'static [u8], faults: &Arc<Faults>) {
    let muted = Arc::new(AtomicBool::new(false));
    let end = |stream: &TcpStream| expect(stream.try_clone(), "a connection's other handle");
    let ends = || (end(client), end(server));
    let (up, down) = (ends(), ends());
    let (sent, received) = (Arc::clone(faults), Arc::clone(faults));
    let number = faults.opened.fetch_add(1, SeqCst);
    let mute = Arc::clone(&muted);
    thread::spawn(move || {
        let silent = || sent.is_silent(number);
        forward(up.0, up.1, silent, |bytes| {
            let commits = bytes.windows(commit.len()).any(|it| it == commit);
            if commits && sent.at_commit.swap(false, SeqCst) {
                mute.store(true, SeqCst);
            }
            spent(&sent.after_sent, bytes.len())
        });
    });
    thread::spawn(move || {
        let silent = || received.is_silent(number);
        forward(down.1, down.0, silent, |bytes| {
            muted.load(SeqCst) || spent(&received.after_received, bytes.len())
        });
    });
}

/// Forwards bytes until the stream ends or `lost` is true for a block, which is not forwarded; all
/// bytes go nowhere while the connection is silent.
fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    silent: impl Fn() -> bool,
    lost: impl Fn(&[u8]) -> bool,
) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        if count > 0 && silent() {
            continue;
        }
        if count == 0 || lost(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Counts bytes down and returns whether the count has just reached 0.
fn spent(left: &AtomicU64, bytes: usize) -> bool {
    let take = |left: u64| (left > 0).then(|| left.saturating_sub(bytes as u64));
    left.fetch_update(SeqCst, SeqCst, take).is_ok_and(|left| left <= bytes as u64)
}
