//! A connection by TCP or by a Unix socket within a time limit, which the stop signal ends as well.
//! What is sent over it is the plugins' part.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};
use transload_plugin_api::{Cancel, Error, Result};

/// How often the stop signal is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Connects to the first of the host's addresses that accepts.
///
/// # Errors
/// [`ErrorKind::Connection`](transload_plugin_api::ErrorKind::Connection) if none accepts within
/// `limit`, and `Cancelled` as soon as the stop signal is given.
pub(crate) fn connect_tcp(
    host: &str,
    port: u16,
    limit: Duration,
    cancel: &Cancel,
) -> Result<TcpStream> {
    let name = host.to_owned();
    let reach = move |deadline| prepared(reach(&name, port, deadline)?);
    within(limit, cancel, "is the server running, and is `port` right?", reach)
}

/// Connects to the Unix socket of a server on this machine. The stream is used like one of TCP:
/// reading, writing, time limits and closing are the same calls for both.
///
/// # Errors
/// As [`connect_tcp`].
pub(crate) fn connect_socket(file: &Path, limit: Duration, cancel: &Cancel) -> Result<TcpStream> {
    let path = file.to_owned();
    let hint = "is the server running, and is this its socket?";
    within(limit, cancel, hint, move |_| open_socket(&path))
}

#[cfg(unix)]
pub(crate) fn open_socket(path: &Path) -> io::Result<TcpStream> {
    let stream = std::os::unix::net::UnixStream::connect(path)?;
    Ok(std::os::fd::OwnedFd::from(stream).into())
}

#[cfg(not(unix))]
pub(crate) fn open_socket(_path: &Path) -> io::Result<TcpStream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}

/// Ends an idle connection whose other side has confirmed nothing for about this long. There is no
/// `TCP_USER_TIMEOUT` beside it: that one also ends a connection whose other side is alive and too
/// busy to read. A peer that vanishes while bytes are on their way is the plugins' part.
pub(crate) fn keep_alive(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    const PROBES: u32 = 4;
    let second = Duration::from_secs(1);
    let (time, interval) = (limit / 3, limit * 2 / 3 / PROBES);
    let keepalive =
        TcpKeepalive::new().with_time(time.max(second)).with_interval(interval.max(second));
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Runs `reach` on a thread, up to `limit` or the stop signal.
fn within(
    limit: Duration,
    cancel: &Cancel,
    hint: &str,
    reach: impl FnOnce(Instant) -> io::Result<TcpStream> + Send + 'static,
) -> Result<TcpStream> {
    cancel.check()?;
    let deadline = Instant::now() + limit;
    let (sender, receiver) = mpsc::channel();
    // Neither looking up a name nor connecting can be interrupted: both are left to a thread that
    // may outlive its use.
    thread::Builder::new()
        .name("connect".to_owned())
        .spawn(move || {
            // Without a receiver the connection is of no use and closes.
            let _ = sender.send(reach(deadline));
        })
        .map_err(|error| Error::from(error).at("start of the connecting thread"))?;
    loop {
        match receiver.recv_timeout(STEP) {
            Ok(reached) => {
                return reached.map_err(|error| {
                    Error::connection(format!("cannot connect: {error}")).hint(hint)
                });
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => cancel.check()?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let message = format!("cannot connect: no reply within {} ms", limit.as_millis());
                return Err(Error::connection(message).hint("see `connect_timeout`"));
            }
        }
    }
}

fn reach(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use transload_plugin_api::ErrorKind;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_listening_port_is_connected_and_a_closed_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        connect_tcp("127.0.0.1", port, LONG, &Cancel::new()).unwrap();
        drop(listener);
        let error = connect_tcp("127.0.0.1", port, LONG, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection);
        assert!(error.message.starts_with("cannot connect: "), "{error}");
        let error = connect_tcp("not a name", port, LONG, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection);
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_is_used_like_a_port() {
        use std::io::{Read, Write};
        let file = std::env::temp_dir().join(format!("transload-{}.sock", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&file).unwrap();
        let mut stream = connect_socket(&file, LONG, &Cancel::new()).unwrap();
        std::fs::remove_file(&file).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(b"a").unwrap();
        other.read_exact(&mut [0]).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
        let error = connect_socket(&file, LONG, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection);
        assert!(error.hint.unwrap().contains("socket"));
    }

    #[test]
    fn a_stop_and_a_limit_end_the_attempt() {
        let cancel = Cancel::new();
        let error = connect_tcp("127.0.0.1", 1, Duration::ZERO, &cancel).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection);
        cancel.cancel();
        let error = connect_tcp("127.0.0.1", 1, LONG, &cancel).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }
}
