//! A TCP connection within a time limit, which the stop signal ends as well. What is sent over it
//! is the plugins' part.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use transload_plugin_api::{Cancel, Error, Result};

/// How often the stop signal is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Connects to the first of the host's addresses that accepts.
///
/// # Errors
/// [`ErrorKind::Connection`](transload_plugin_api::ErrorKind::Connection) if none accepts within
/// `limit`, and `Cancelled` as soon as the stop signal is given.
pub fn connect_tcp(host: &str, port: u16, limit: Duration, cancel: &Cancel) -> Result<TcpStream> {
    cancel.check()?;
    let deadline = Instant::now() + limit;
    let (sender, receiver) = mpsc::channel();
    let name = host.to_owned();
    // Neither looking up a name nor connecting can be interrupted: both are left to a thread that
    // may outlive its use.
    thread::Builder::new()
        .name("connect".to_owned())
        .spawn(move || {
            // Without a receiver the connection is of no use and closes.
            let _ = sender.send(reach(&name, port, deadline));
        })
        .map_err(|error| Error::from(error).at("start of the connecting thread"))?;
    loop {
        match receiver.recv_timeout(STEP) {
            Ok(reached) => {
                return reached.and_then(prepared).map_err(|error| {
                    Error::connection(format!("cannot connect: {error}"))
                        .hint("is the server running, and is `port` right?")
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
