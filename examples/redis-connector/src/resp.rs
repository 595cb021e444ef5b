//! Redis' protocol over one connection: commands in pipelines, and their replies. Every wait ends within
//! a moment after the stop signal.

use std::{
    io::{ErrorKind as IoKind, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

use transload_plugin_api::{Cancel, Error, Result};

/// How often a wait looks at the stop signal.
const TICK: Duration = Duration::from_millis(50);
/// Commands of a pipeline. Replies are read between them, so no buffer grows without bounds.
const PIPELINE: usize = 1_000;

/// A command: its name and arguments.
pub(crate) type Command = Vec<Vec<u8>>;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Nil,
    Number(i64),
    Text(Vec<u8>),
    List(Vec<Reply>),
    /// The command was refused: `WRONGTYPE ...`.
    Refused(String),
}

/// A command of texts.
pub(crate) fn command<const N: usize>(words: [&str; N]) -> Command {
    words.map(|word| word.as_bytes().to_vec()).into()
}

pub(crate) struct Connection {
    stream: TcpStream,
    cancel: Cancel,
    timeout: Duration,
    buffer: Vec<u8>,
    /// What of the buffer has been read.
    at: usize,
}

impl Connection {
    pub(crate) fn open(host: &str, port: u16, timeout: Duration, cancel: &Cancel) -> Result<Self> {
        let lost = |error: std::io::Error| lost(format!("cannot reach {host}:{port}"), &error);
        let begun = Instant::now();
        let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(lost)?.collect();
        for address in addresses.iter().cycle() {
            cancel.check()?;
            match TcpStream::connect_timeout(address, Duration::from_millis(500)) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TICK)).map_err(lost)?;
                    stream.set_nodelay(true).map_err(lost)?;
                    let (buffer, cancel) = (Vec::new(), cancel.clone());
                    return Ok(Self { stream, cancel, timeout, buffer, at: 0 });
                }
                Err(error) if error.kind() == IoKind::TimedOut && begun.elapsed() < timeout => {}
                Err(error) => return Err(lost(error)),
            }
        }
        Err(Error::connection(format!("`{host}` has no address")))
    }

    /// Sends commands and returns a reply to each.
    pub(crate) fn call(&mut self, commands: &[Command]) -> Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(commands.len());
        for some in commands.chunks(PIPELINE) {
            let mut bytes = Vec::new();
            for command in some {
                bytes.extend(format!("*{}\r\n", command.len()).bytes());
                for word in command {
                    bytes.extend(format!("${}\r\n", word.len()).bytes());
                    bytes.extend(word);
                    bytes.extend(b"\r\n");
                }
            }
            let sent = self.stream.write_all(&bytes);
            sent.map_err(|error| lost("the connection was lost".to_owned(), &error))?;
            for _ in some {
                replies.push(self.reply()?);
            }
        }
        Ok(replies)
    }

    /// Sends one command; a refusal is an error.
    pub(crate) fn one(&mut self, command: Command) -> Result<Reply> {
        match self.call(&[command])?.pop() {
            Some(Reply::Refused(reason)) => Err(refusal(&reason)),
            reply => Ok(reply.unwrap_or(Reply::Nil)),
        }
    }

    fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
        let number = || rest.parse::<i64>().map_err(|_| Error::data("not the protocol of Redis"));
        Ok(match kind {
            "+" => Reply::Text(rest.into()),
            "-" => Reply::Refused(rest.to_owned()),
            ":" => Reply::Number(number()?),
            "$" | "*" if number()? < 0 => Reply::Nil,
            "$" => {
                let length = number()? as usize;
                let text = self.take(length + 2)?;
                Reply::Text(text[..length].to_vec())
            }
            "*" => Reply::List((0..number()?).map(|_| self.reply()).collect::<Result<_>>()?),
            _ => return Err(Error::data("not the protocol of Redis")),
        })
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.buffer[self.at..].windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(end + 2)?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill()?;
        }
    }

    fn take(&mut self, bytes: usize) -> Result<Vec<u8>> {
        while self.buffer.len() - self.at < bytes {
            self.fill()?;
        }
        let taken = self.buffer[self.at..self.at + bytes].to_vec();
        self.at += bytes;
        Ok(taken)
    }

    /// Waits for more bytes.
    fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let begun = Instant::now();
        let mut chunk = [0; 64 << 10];
        loop {
            self.cancel.check()?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::connection("the server closed the connection")),
                Ok(bytes) => {
                    self.buffer.extend(&chunk[..bytes]);
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), IoKind::WouldBlock | IoKind::TimedOut) => {
                    if begun.elapsed() > self.timeout {
                        let seconds = self.timeout.as_secs();
                        return Err(Error::connection(format!("no reply within {seconds} s")));
                    }
                }
                Err(error) => return Err(lost("the connection was lost".to_owned(), &error)),
            }
        }
    }
}

fn lost(message: String, error: &std::io::Error) -> Error {
    Error::connection(message).caused_by(error)
}

/// The error for a command that the server refuses.
pub(crate) fn refusal(reason: &str) -> Error {
    let word = reason.split(' ').next().unwrap_or_default();
    let error = match word {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Error::denied(reason.to_owned()),
        "OOM" => Error::space(reason.to_owned()),
        "LOADING" | "BUSY" | "TRYAGAIN" => Error::retry(reason.to_owned()),
        _ => Error::other(reason.to_owned()),
    };
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_word { error.with_code(&format!("REDIS-{word}")) } else { error }
}
