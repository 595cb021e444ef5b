//! A TCP proxy between the program and a server, which causes the faults that a test arms:
//! connections cut after a number of bytes, replies that never arrive, silence, delays.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use socket2::SockRef;

/// A fault of a connection.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Both ends are closed after this many bytes from the server.
    CutReplies(u64),
    /// Both ends are closed after this many bytes to the server.
    CutRequests(u64),
    /// The server receives and processes the request that contains these bytes for the n-th time on
    /// the connection; its reply is lost together with the connection.
    LoseReply(&'static [u8], u32),
    /// The connection is lost when a request contains these bytes for the n-th time; the server
    /// never receives it.
    LoseRequest(&'static [u8], u32),
    /// As [`Fault::LoseReply`], but both ends stay open, and no more bytes pass.
    Swallow(&'static [u8], u32),
    /// After this many bytes from the server, no more bytes pass, but both ends stay open.
    Silence(u64),
    /// The client's connection is reset (RST) after this many bytes in both directions together, and
    /// the server's closed.
    Reset(u64),
    /// Each piece is delayed by this time, in both directions.
    Delay(Duration),
}

/// The proxy; its connections are closed when it is dropped.
pub struct Proxy {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The fault, and how many more times it may occur.
    fault: Option<(Fault, u32)>,
    happened: u32,
    closed: bool,
    streams: Vec<TcpStream>,
}

/// One connection, shared by its two threads.
struct Link {
    shared: Arc<Shared>,
    client: TcpStream,
    server: TcpStream,
    /// Whether all further bytes from the server are dropped.
    deaf: AtomicBool,
    /// Whether they are, and both ends stay open.
    mute: AtomicBool,
    /// Bytes of both directions.
    passed: AtomicU64,
    /// Whether the client's end is reset when the last handle of it goes.
    reset: AtomicBool,
}

impl Proxy {
    /// A proxy in front of a server on this machine.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared { server, state: Mutex::default(), changed: Condvar::new() });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.state().closed {
                    return;
                }
                accepting.clone().connect(client);
            }
        });
        Self { port, shared }
    }

    /// Arms a fault, for at most `times` occurrences.
    pub fn arm(&self, fault: Fault, times: u32) {
        self.shared.state().fault = Some((fault, times));
    }

    /// How many times the fault has occurred.
    pub fn happened(&self) -> u32 {
        self.shared.state().happened
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: Arc<Self>, client: TcpStream) {
        // The server is down: the client's connection is closed, too.
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        let both = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
        let (Some((client_in, server_in)), Some((a, b))) = (both(), both()) else { return };
        self.state().streams.extend([a, b]);
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let (deaf, mute) = (AtomicBool::new(false), AtomicBool::new(false));
        let (passed, reset) = (AtomicU64::new(0), AtomicBool::new(false));
        let link = Arc::new(Link { shared: self, client, server, deaf, mute, passed, reset });
        let other = link.clone();
        thread::spawn(move || link.requests(client_in));
        thread::spawn(move || other.replies(server_in));
    }

    /// Whether a fault that is due may still occur; counts it.
    fn takes_place(&self) -> bool {
        let mut state = self.state();
        let Some((_, left)) = &mut state.fault else { return false };
        if *left == 0 {
            return false;
        }
        *left -= 1;
        state.happened += 1;
        true
    }

    fn fault(&self) -> Option<Fault> {
        self.state().fault.as_ref().filter(|(_, left)| *left > 0).map(|(fault, _)| fault.clone())
    }

    fn wait_for_the_end(&self) {
        let state = self.state();
        let _ended = self.changed.wait_while(state, |state| !state.closed);
    }
}

impl Link {
    fn requests(&self, mut client: TcpStream) {
        let (mut passed, mut seen, mut tail) = (0, 0, Vec::new());
        let mut piece = vec![0; 64 << 10];
        while let Ok(read @ 1..) = client.read(&mut piece) {
            let bytes = &piece[..read];
            passed += read as u64;
            match self.shared.fault() {
                Some(Fault::CutRequests(most)) if passed > most && self.shared.takes_place() => {
                    break;
                }
                Some(Fault::LoseReply(pattern, nth)) => {
                    seen += found(pattern, &mut tail, bytes);
                    if seen >= nth && self.shared.takes_place() {
                        self.deaf.store(true, Relaxed);
                    }
                }
                Some(Fault::Swallow(pattern, nth)) => {
                    seen += found(pattern, &mut tail, bytes);
                    if seen >= nth && self.shared.takes_place() {
                        self.mute.store(true, Relaxed);
                    }
                }
                Some(Fault::LoseRequest(pattern, nth)) => {
                    seen += found(pattern, &mut tail, bytes);
                    if seen >= nth && self.shared.takes_place() {
                        break;
                    }
                }
                Some(Fault::Delay(time)) => thread::sleep(time),
                Some(Fault::Reset(most)) if self.passes(read) > most && self.resets() => break,
                _ => {}
            }
            if (&self.server).write_all(bytes).is_err() {
                break;
            }
        }
        self.close();
    }

    fn replies(&self, mut server: TcpStream) {
        let mut passed = 0;
        let mut piece = vec![0; 64 << 10];
        while let Ok(read @ 1..) = server.read(&mut piece) {
            if self.deaf.load(Relaxed) {
                break;
            }
            if self.mute.load(Relaxed) {
                self.shared.wait_for_the_end();
                break;
            }
            passed += read as u64;
            match self.shared.fault() {
                Some(Fault::CutReplies(most)) if passed > most && self.shared.takes_place() => {
                    break;
                }
                Some(Fault::Silence(most)) if passed > most && self.shared.takes_place() => {
                    self.shared.wait_for_the_end();
                    break;
                }
                Some(Fault::Delay(time)) => thread::sleep(time),
                Some(Fault::Reset(most)) if self.passes(read) > most && self.resets() => break,
                _ => {}
            }
            if (&self.client).write_all(&piece[..read]).is_err() {
                break;
            }
        }
        self.close();
    }

    /// Counts bytes; returns all so far.
    fn passes(&self, bytes: usize) -> u64 {
        self.passed.fetch_add(bytes as u64, Relaxed) + bytes as u64
    }

    /// Makes the end of the client's handles a reset, if that may occur now.
    fn resets(&self) -> bool {
        if !self.shared.takes_place() {
            return false;
        }
        self.reset.store(true, Relaxed);
        let _ = SockRef::from(&self.client).set_linger(Some(Duration::ZERO));
        let own = self.client.peer_addr().ok();
        self.shared.state().streams.retain(|stream| stream.peer_addr().ok() != own);
        true
    }

    fn close(&self) {
        // A reset sends no end before; whoever reads is woken up.
        let how = if self.reset.load(Relaxed) { Shutdown::Read } else { Shutdown::Both };
        let _ = self.client.shutdown(how);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

/// How many occurrences of a pattern end in these bytes; `tail` holds the bytes directly before
/// them.
fn found(pattern: &[u8], tail: &mut Vec<u8>, bytes: &[u8]) -> u32 {
    tail.extend_from_slice(bytes);
    let count = tail.windows(pattern.len()).filter(|window| *window == pattern).count();
    let kept = tail.len().saturating_sub(pattern.len() - 1);
    tail.drain(..kept);
    count as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back every byte.
    fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut piece = [0; 100];
                    while let Ok(read @ 1..) = stream.read(&mut piece) {
                        stream.write_all(&piece[..read]).unwrap();
                    }
                });
            }
        });
        port
    }

    fn asked(proxy: &Proxy, requests: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        let mut answer = String::new();
        for request in requests {
            let mut piece = vec![0; request.len()];
            if stream.write_all(request.as_bytes()).is_err()
                || stream.read_exact(&mut piece).is_err()
            {
                return answer + "|";
            }
            answer.push_str(std::str::from_utf8(&piece).unwrap());
        }
        answer
    }

    #[test]
    fn only_the_armed_fault_occurs() {
        let requests = ["one", "COM", "MIT", "two"];
        for (fault, answer) in [
            (Fault::Delay(Duration::from_millis(1)), "oneCOMMITtwo"),
            (Fault::CutReplies(5), "one|"),
            (Fault::CutRequests(8), "oneCOM|"),
            (Fault::Reset(12), "oneCOM|"),
            (Fault::LoseReply(b"COMMIT", 1), "oneCOM|"),
            (Fault::LoseRequest(b"COMMIT", 1), "oneCOM|"),
            (Fault::LoseRequest(b"COMMIT", 2), "oneCOMMITtwo"),
        ] {
            let proxy = Proxy::new(echo());
            proxy.arm(fault.clone(), 1);
            assert_eq!(asked(&proxy, &requests), answer, "{fault:?}");
            if answer.ends_with('|') {
                assert_eq!(
                    (asked(&proxy, &requests).as_str(), proxy.happened()),
                    ("oneCOMMITtwo", 1)
                );
            }
        }
    }

    #[test]
    fn a_reset_is_no_end() {
        let proxy = Proxy::new(echo());
        proxy.arm(Fault::Reset(2), 1);
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        stream.write_all(b"one").unwrap();
        let error = stream.read_exact(&mut [0; 3]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
}
