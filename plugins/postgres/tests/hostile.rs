//! Servers that violate the protocol: the session ends soon, with an error and without high memory
//! use, and the server learns no password. The server here is a few bytes behind a listener.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use transload_plugin_api::{
    Cancel, Error, ErrorKind, Host, Options, Plugin, Result, Secret, Secrets,
};
use transload_plugin_postgres::PostgresPlugin;

const PASSWORD: &str = "hunter2-hunter2";
/// A login without authentication: AuthenticationOk, BackendKeyData, ReadyForQuery.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0C\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I";
const NOTICE: &[u8] = b"N\0\0\0\x09Mxyz\0";

struct Password;

impl Secrets for Password {
    fn secret(&self, _key: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(PASSWORD)))
    }
}

/// A server that runs `play` on its first connection, and the bytes that it has received.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

/// One side of a connection, which records received bytes.
struct Peer {
    stream: TcpStream,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Peer {
    /// Reads once.
    fn hear(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).unwrap_or(0);
        self.heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        buffer[..count].to_vec()
    }

    /// Sends bytes; returns whether the other side accepted them.
    fn say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads until the other side closes.
    fn wait(mut self) {
        while !self.hear().is_empty() {}
    }
}

impl Server {
    fn start(play: impl FnOnce(Peer) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let words = Arc::clone(&heard);
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            play(Peer { stream, heard: words });
            // A request to cancel a statement comes later, and is accepted.
            while let Ok((stream, _)) = listener.accept() {
                drop(stream);
            }
        });
        Self { port, heard }
    }

    /// A server that receives the client's first bytes and then sends these.
    fn saying(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self::start(move |mut peer| {
            peer.hear();
            peer.say(&bytes);
            peer.wait();
        })
    }

    fn options(&self, tls: &str, milliseconds: u64) -> Options {
        Options::from_pairs([
            ("host", Value::from("127.0.0.1")),
            ("port", self.port.into()),
            ("user", "someone".into()),
            ("table", "t".into()),
            ("tls", tls.into()),
            ("connect_timeout", milliseconds.into()),
            ("idle_timeout", 300.into()),
        ])
    }

    /// The error of a reader on this server, which must come in time.
    fn refusal(&self, tls: &str, milliseconds: u64, cancel: &Cancel) -> Error {
        self.schema_of(self.options(tls, milliseconds), cancel)
    }

    fn schema_of(&self, options: Options, cancel: &Cancel) -> Error {
        let host = Host::new(Arc::new(Password), cancel.clone());
        let begun = Instant::now();
        let reader = PostgresPlugin.reader(options, host);
        let error = reader.and_then(|reader| reader.schema()).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{error:?} after {:?}", begun.elapsed());
        error
    }

    fn assert_refused(&self, words: &str) {
        let error = self.refusal("disable", 2_000, &Cancel::new());
        assert_eq!(error.kind, ErrorKind::Connection, "{error:?}");
        assert!(error.to_string().contains(words), "{error} lacks `{words}`");
        let heard = self.heard.lock().unwrap();
        let told = heard.windows(PASSWORD.len()).any(|bytes| bytes == PASSWORD.as_bytes());
        assert!(!told, "the server has heard the password");
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn authentication(code: u32, body: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes()[..], body].concat())
}

#[test]
fn lengths_are_refused_before_the_bytes_come() {
    for (bytes, words) in [
        (&b"E\x7f\xff\xff\xff"[..], "exceeds the limit of 65536"),
        (b"d\0\x01\0\x05", "exceeds the limit of 65536"),
        (b"R\xff\xff\xff\xff", "exceeds the limit"),
        (b"R\0\0\0\x03", "shorter than its header"),
        (b"R\0\0\0\x04", "failed to fill"),
        (b"R\0\0\0\x09\0\0\0\0x", "invalid message length"),
        (b"?\0\0\0\x04", "unknown message tag"),
    ] {
        Server::saying(bytes).assert_refused(words);
    }
    // After the login, messages may be longer, but are still limited.
    let first = Server::saying(&[WELCOME, b"E\x7f\xff\xff\xff"].concat());
    first.assert_refused("exceeds the limit of 16777216");
}

#[test]
fn a_server_that_closes_within_a_message_is_an_error() {
    for cut in [0, 1, 5, WELCOME.len() - 1] {
        let server = Server::start(move |mut peer| {
            peer.hear();
            peer.say(&WELCOME[..cut]);
        });
        server.assert_refused("the server closed the connection");
    }
}

#[test]
fn one_deadline_holds_for_the_whole_login() {
    for word in [&b""[..], NOTICE, b"N\0\0\x10\0"] {
        let server = Server::start(move |mut peer| {
            peer.hear();
            // Occasional bytes do not extend the login timeout.
            for byte in word.iter().cycle() {
                thread::sleep(Duration::from_millis(10));
                if !peer.say(&[*byte]) {
                    return;
                }
            }
            peer.wait();
        });
        let begun = Instant::now();
        let error = server.refusal("disable", 400, &Cancel::new());
        assert!(error.to_string().contains("no response in 0.4 s"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn no_password_goes_over_a_plain_connection() {
    Server::saying(&authentication(3, b"")).assert_refused("password in clear text, without TLS");
    Server::saying(&authentication(5, b"salt")).assert_refused("password's MD5, without TLS");
    let server = Server::saying(&authentication(5, b"salt"));
    let error = server.refusal("disable", 2_000, &Cancel::new());
    assert!(error.hint.unwrap().contains("`require_auth = \"md5\"`"));
}

#[test]
fn the_connection_says_how_it_may_be_asked_who_logs_in() {
    let answer = |method: &str, ask: &[u8]| {
        let server = Server::saying(ask);
        let mut options = server.options("disable", 1_000);
        options.values.insert("require_auth".to_owned(), method.into());
        let error = server.schema_of(options, &Cancel::new());
        let heard = server.heard.lock().unwrap().clone();
        (error.to_string(), heard)
    };
    let (_, heard) = answer("password", &authentication(3, b""));
    assert!(heard.ends_with(format!("{PASSWORD}\0").as_bytes()));
    let (_, heard) = answer("md5", &authentication(5, b"salt"));
    assert!(heard.windows(3).any(|bytes| bytes == b"md5"));
    for (method, ask, words) in [
        ("scram-sha-256", WELCOME.to_vec(), "does not ask for a password"),
        ("none", authentication(10, b"SCRAM-SHA-256\0\0"), "asks for SCRAM"),
        ("md5", authentication(3, b""), "in clear text"),
        ("kerberos", Vec::new(), "no method `kerberos`"),
    ] {
        let (error, heard) = answer(method, &ask);
        assert!(error.contains(words), "{error} lacks `{words}`");
        assert!(!heard.windows(2).any(|bytes| bytes == b"p\0"), "{method}");
    }
}

/// A server that offers SCRAM with this many rounds, and continues with `next`.
fn scram(rounds: u32, next: &'static [u8]) -> Server {
    Server::start(move |mut peer| {
        peer.hear();
        peer.say(&authentication(10, b"SCRAM-SHA-256\0\0"));
        let words = peer.hear();
        let nonce = words.windows(2).position(|pair| pair == b"r=").unwrap();
        let nonce = String::from_utf8(words[nonce + 2..].to_vec()).unwrap();
        let first = format!("r={nonce}more,s=c2FsdHNhbHQ=,i={rounds}");
        peer.say(&authentication(11, first.as_bytes()));
        if !peer.hear().is_empty() {
            peer.say(next);
        }
        peer.wait();
    })
}

#[test]
fn scram_is_neither_weak_nor_cut_short() {
    for rounds in [0, 1, 4_095] {
        let server = scram(rounds, b"");
        server.assert_refused(&format!("SCRAM with {rounds} rounds"));
        assert!(!server.heard.lock().unwrap().windows(3).any(|bytes| bytes == b",p="));
    }
    scram(u32::MAX, b"").assert_refused("iteration count exceeds");
    // AuthenticationOk without the server's own proof, and with a wrong one.
    scram(4_096, WELCOME).assert_refused("did not prove");
    scram(4_096, b"R\0\0\0\x12\0\0\0\x0Cv=AAAAAAAA").assert_refused("SCRAM verification error");
    Server::saying(&authentication(10, b"GSSAPI\0\0")).assert_refused("no SASL mechanism");
    Server::saying(&authentication(7, b"")).assert_refused("login method");
}

#[test]
fn nothing_in_plain_text_counts_once_tls_is_asked_for() {
    let stuffed = [b"S", WELCOME].concat();
    let error_text = [b"E", &message(b'E', b"Mlies\0\0")[1..]].concat();
    for bytes in [&stuffed[..], b"N", &error_text, b""] {
        let server = Server::start({
            let bytes = bytes.to_vec();
            move |mut peer| {
                peer.hear();
                peer.say(&bytes);
            }
        });
        let error = server.refusal("insecure-require", 2_000, &Cancel::new());
        assert_eq!((error.kind, &*error.code), (ErrorKind::Connection, "PG-NOT-OPEN"), "{error:?}");
        assert!(!format!("{error:?}").contains("lies"), "{error:?}");
        let heard = server.heard.lock().unwrap();
        assert!(!heard.windows(7).any(|bytes| bytes == b"someone"), "the user's name was sent");
    }
}

#[test]
fn a_stop_signal_ends_every_wait_for_a_server() {
    let endless = |mut peer: Peer, first: &'static [u8]| {
        peer.hear();
        peer.say(first);
        while peer.say(NOTICE) {
            thread::sleep(Duration::from_millis(1));
        }
    };
    for server in [
        Server::saying(b""),
        Server::saying(WELCOME),
        Server::start(move |peer| endless(peer, b"")),
        Server::start(move |peer| endless(peer, WELCOME)),
    ] {
        let cancel = Cancel::new();
        let (sender, receiver) = mpsc::channel();
        let stopper = cancel.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            sender.send(Instant::now()).unwrap();
            stopper.cancel();
        });
        let error = server.refusal("disable", 60_000, &cancel);
        let took = receiver.recv().unwrap().elapsed();
        assert_eq!(error.kind, ErrorKind::Cancelled, "{error:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

/// The answers to the first statements of a session: what the server is, and its settings.
fn introduction() -> [Vec<u8>; 2] {
    let cells: Vec<u8> = [&b"1"[..], b"150000", b"63"]
        .iter()
        .flat_map(|cell| [&(cell.len() as u32).to_be_bytes()[..], cell].concat())
        .collect();
    let row = message(b'D', &[&[0, 3][..], &cells].concat());
    let done = |tag: &[u8]| [message(b'C', tag), message(b'Z', b"I")].concat();
    [[b"1\0\0\0\x042\0\0\0\x04", &row[..], &done(b"SELECT 1\0")].concat(), done(b"SET\0")]
}

/// How a server answers a statement.
enum Answer {
    /// With these bytes, and then nothing.
    Once(Vec<u8>),
    /// With these bytes for as long as they are taken.
    Endless(Vec<u8>),
    /// The same, slowly.
    Slowly(Vec<u8>),
}

impl Answer {
    fn give(&self, peer: &mut Peer) {
        match self {
            Self::Once(bytes) => _ = peer.say(bytes),
            Self::Endless(bytes) => {
                let many = bytes.repeat((1 << 18) / bytes.len() + 1);
                while peer.say(&many) {}
            }
            Self::Slowly(bytes) => {
                while peer.say(bytes) {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

/// A server that accepts every login, answers this many statements and then answers so.
fn after(statements: usize, answer: Answer) -> Server {
    Server::start(move |mut peer| {
        peer.hear();
        peer.say(WELCOME);
        for answer in &introduction()[..statements] {
            peer.hear();
            peer.say(answer);
        }
        peer.hear();
        answer.give(&mut peer);
        peer.wait();
    })
}

#[test]
fn answers_without_end_or_sense_are_given_up() {
    use Answer::{Endless, Once, Slowly};
    let long_notice = message(b'N', &[b"SNOTICE\0M", &[b'n'; 2_000][..], b"\0\0"].concat());
    let row = message(b'D', &[&[0, 1, 0, 0, 3, 232][..], &[b'x'; 1_000]].concat());
    let dropped = [&row[..], &message(b'C', b"SELECT 2\0"), &message(b'Z', b"I")].concat();
    let wide = message(b'T', &[&[0xFF, 0xFF][..], &b"a\0".repeat(60_000)].concat());
    let modes: [(_, fn(_) -> _, _); 19] = [
        ("silence", Once, Vec::new()),
        ("notices", Endless, long_notice),
        ("notices, slowly", Slowly, NOTICE.to_vec()),
        ("notifications", Endless, message(b'A', b"\0\0\0\x01channel\0payload\0")),
        ("settings", Endless, message(b'S', b"key\0value\0")),
        ("rows", Endless, row),
        ("a row less than the tag counts", Once, dropped),
        ("commands", Endless, message(b'C', b"SET\0")),
        ("ready, without an answer", Endless, message(b'Z', b"I")),
        ("copy from us", Once, message(b'G', b"\0\0\0")),
        ("copies from us", Endless, message(b'G', b"\0\0\0")),
        ("copy both ways", Once, message(b'W', b"\0\0\0")),
        ("copy data", Endless, message(b'd', &[b'x'; 1_000])),
        ("long copy data", Once, b"d\x7f\xff\xff\xff".to_vec()),
        ("long error", Once, b"E\x18\0\0\0SERROR\0".to_vec()),
        ("login again", Endless, WELCOME.to_vec()),
        ("columns", Once, wide),
        ("zero length", Once, b"Z\0\0\0\0".to_vec()),
        ("noise", Once, vec![0xA5; 5_000]),
    ];
    for statements in [0, 2] {
        for (name, answer, bytes) in &modes {
            let server = after(statements, answer(bytes.clone()));
            let error = server.refusal("disable", 600, &Cancel::new());
            assert_eq!(error.kind, ErrorKind::Connection, "{name} {statements}: {error:?}");
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    let peak: u64 = peak.unwrap_or("0").parse().unwrap();
    assert!(peak < 700 << 10, "peak memory {peak} kB");
}

/// A pooler that gives the transactions of two sessions to one process of the server.
#[test]
fn a_pooler_in_transaction_mode_is_refused() {
    // The first answer names process 1, the login said 1 as well; here it says 9.
    let welcome: Vec<u8> = [&WELCOME[..14], b"\0\0\0\x09", &WELCOME[18..]].concat();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(std::result::Result::ok) {
            let welcome = welcome.clone();
            thread::spawn(move || pooled(stream, &welcome));
        }
    });
    let server = Server { port, heard: Arc::default() };
    let error = server.schema_of(server.options("disable", 2_000), &Cancel::new());
    assert_eq!((error.kind, &*error.code), (ErrorKind::Unsupported, "PG-POOLER"), "{error:?}");
    assert!(error.hint.unwrap().contains("pool_mode = session"));
}

/// Answers every question with process 1.
fn pooled(mut stream: TcpStream, welcome: &[u8]) {
    let mut buffer = [0; 4096];
    let mut first = true;
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
        let [row, done] = introduction();
        let answer = match (std::mem::take(&mut first), buffer[0]) {
            (true, _) => welcome,
            (_, b'Q') => &done,
            _ => &row,
        };
        let _ = stream.write_all(answer);
    }
}
