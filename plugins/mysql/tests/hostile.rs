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

use rsa::{
    BoxedUint, PrivateKey, PublicKey,
    pkcs8::{EncodePublicKey as _, LineEnding},
};
use serde_json::Value;
use sha1::Sha1;
use transload_plugin_api::{
    Cancel, Error, ErrorKind, Host, Options, Plugin, Result, Secret, Secrets,
};
use transload_plugin_mysql::MysqlPlugin;

const PASSWORD: &str = "hunter2-hunter2";
const SALT: &[u8; 20] = b"abcdefghijklmnopqrst";
const NATIVE: &str = "mysql_native_password";
const SHA2: &str = "caching_sha2_password";
const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const MORE: &[u8] = b"\0\0\0\x0A\0\0\0";
const END: &[u8] = b"\xFE\0\0\x02\0";
/// "Full exchange" of `caching_sha2_password`.
const FULL: &[u8] = b"\x01\x04";
/// The highest memory use that a server may cause, the test's own included.
const MEMORY: u64 = 400 << 20;

struct Password;

impl Secrets for Password {
    fn secret(&self, _key: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(PASSWORD)))
    }
}

/// A server that runs `play` on each connection, and the bytes that it has received.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

/// One side of a connection, which records received bytes.
struct Peer {
    stream: TcpStream,
    heard: Arc<Mutex<Vec<u8>>>,
    sequence: u8,
}

impl Peer {
    /// Receives a packet's payload; empty at the end.
    fn hear(&mut self) -> Vec<u8> {
        let mut head = [0; 4];
        if self.stream.read_exact(&mut head).is_err() {
            return Vec::new();
        }
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        let mut payload = vec![0; length];
        let whole = self.stream.read_exact(&mut payload).is_ok();
        self.sequence = head[3].wrapping_add(1);
        self.heard.lock().unwrap().extend_from_slice(&payload);
        if whole { payload } else { Vec::new() }
    }

    fn say_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a packet of one frame; returns whether the other side accepted it.
    fn say(&mut self, payload: &[u8]) -> bool {
        let length = payload.len();
        let head = [length as u8, (length >> 8) as u8, (length >> 16) as u8, self.sequence];
        self.sequence = self.sequence.wrapping_add(1);
        self.say_raw(&[&head[..], payload].concat())
    }

    /// Sends a packet byte by byte, for two seconds.
    fn trickle(&mut self) {
        self.say_raw(b"\xC8\0\0\0\x0A");
        while self.say_raw(b"8") {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn say_for_ever(&mut self, payload: &[u8]) {
        while self.say(payload) {}
    }

    /// One packet without an end: full frames, the first of which begins with `first`.
    fn say_one_endless_packet(&mut self, first: u8) {
        let mut frame = vec![b'A'; 0xFF_FFFF];
        frame[0] = first;
        self.say_for_ever(&frame);
    }

    /// Reads until the other side closes.
    fn wait(mut self) {
        while self.stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
    }

    /// The greeting; returns the client's first packet.
    fn greet(&mut self, method: &str) -> Vec<u8> {
        self.say(&greeting(method));
        self.hear()
    }

    /// A login that is accepted, and one statement.
    fn welcome(&mut self) {
        self.greet(NATIVE);
        self.say(OK);
        self.hear();
    }

    /// As [`Peer::welcome`], with all settings accepted: the next statement asks for rows.
    fn ready(&mut self) {
        self.welcome();
        for _ in 0..2 {
            self.say(OK);
            self.hear();
        }
    }
}

fn greeting(method: &str) -> Vec<u8> {
    let mut packet = b"\x0A8.0.36\0\x07\0\0\0".to_vec();
    packet.extend_from_slice(&SALT[..8]);
    packet.extend_from_slice(b"\0\x0F\xA2\x2D\x02\0\x0A\0\x15\0\0\0\0\0\0\0\0\0\0");
    packet.extend_from_slice(&SALT[8..]);
    packet.push(0);
    packet.extend_from_slice(method.as_bytes());
    packet.push(0);
    packet
}

fn error(text: &str) -> Vec<u8> {
    [b"\xFF\x28\x04#42000", text.as_bytes()].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8][..], bytes].concat()
}

fn column(name: &[u8]) -> Vec<u8> {
    let mut packet = text(b"def");
    packet.extend_from_slice(&[0, 0, 0]);
    packet.extend_from_slice(&text(name));
    packet.extend_from_slice(&text(name));
    packet.extend_from_slice(b"\x0C\x2D\0\x90\x01\0\0\xFD\0\0\0\0\0");
    packet
}

fn switch(method: &str, salt: &[u8]) -> Vec<u8> {
    [b"\xFE", method.as_bytes(), b"\0", salt, b"\0"].concat()
}

impl Server {
    fn start(play: impl Fn(Peer) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let words = Arc::clone(&heard);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                play(Peer { stream, heard: Arc::clone(&words), sequence: 0 });
            }
        });
        Self { port, heard }
    }

    fn options(&self, milliseconds: u64, more: &[(&str, Value)]) -> Options {
        let mut options = Options::from_pairs([
            ("host", Value::from("127.0.0.1")),
            ("port", self.port.into()),
            ("user", "someone".into()),
            ("database", "d".into()),
            ("table", "t".into()),
            ("connect_timeout", milliseconds.into()),
            ("idle_timeout", 600.into()),
        ]);
        for (key, value) in more {
            options.values.insert((*key).to_owned(), value.clone());
        }
        options
    }

    /// The error of a reader on this server, which must come in time.
    fn refusal(&self, milliseconds: u64, more: &[(&str, Value)], cancel: &Cancel) -> Error {
        let host = Host::new(Arc::new(Password), cancel.clone());
        let begun = Instant::now();
        let reader = MysqlPlugin.reader(self.options(milliseconds, more), host).unwrap();
        let error = reader.schema().unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(6), "{error:?} after {:?}", begun.elapsed());
        error
    }

    fn assert_refused(&self, words: &str) {
        let error = self.refusal(2_000, &[], &Cancel::new());
        assert!(error.to_string().contains(words), "{error} lacks `{words}`");
        assert!(!self.has_heard(PASSWORD.as_bytes()), "the server has heard the password");
        assert!(peak() < MEMORY, "{} bytes after {error}", peak());
    }

    fn has_heard(&self, bytes: &[u8]) -> bool {
        self.heard.lock().unwrap().windows(bytes.len()).any(|window| window == bytes)
    }
}

/// The highest memory use of this process so far, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn packets_without_end_are_refused() {
    for (play, words) in [
        (
            Box::new(|peer: &mut Peer| peer.say_one_endless_packet(10))
                as Box<dyn Fn(&mut Peer) + Send>,
            "exceeds the limit of 65536",
        ),
        (Box::new(|peer| peer.say_for_ever(&[&b"\x0A"[..], &[b'9'; 15 << 20]].concat())), "65536"),
        (
            Box::new(|peer| {
                peer.greet(NATIVE);
                peer.say_one_endless_packet(0xFF);
            }),
            "exceeds the limit of 65536",
        ),
        (
            Box::new(|peer| {
                peer.welcome();
                peer.say_one_endless_packet(0xFF);
            }),
            "exceeds the limit of 16777216",
        ),
        (
            Box::new(|peer| {
                peer.welcome();
                peer.say(&[&b"\xFE"[..], &(1u64 << 62).to_le_bytes()].concat());
                peer.say_for_ever(&column(&[b'x'; 200]));
            }),
            "a result of 4611686018427387904 columns",
        ),
        (
            Box::new(|peer| {
                peer.welcome();
                peer.say(&[2]);
                peer.say_one_endless_packet(3);
            }),
            "exceeds the limit of 65536",
        ),
        (
            Box::new(|peer| {
                peer.ready();
                peer.say(&[1]);
                peer.say(&column(b"a"));
                peer.say(END);
                peer.say_for_ever(&text(&[b'y'; 240]));
            }),
            "look at the server",
        ),
        (
            Box::new(|peer| {
                peer.welcome();
                peer.say_for_ever(MORE);
            }),
            "more results",
        ),
        (
            Box::new(|peer| {
                peer.welcome();
                peer.say_for_ever(b"");
            }),
            "an empty answer",
        ),
    ] {
        Server::start(move |mut peer| play(&mut peer)).assert_refused(words);
    }
}

#[test]
fn what_is_no_mysql_is_refused() {
    for (bytes, words) in [
        (b"220 mail.example ESMTP\r\n".to_vec(), "packets are out of order"),
        (vec![0xA5; 4000], "packets are out of order"),
        ([&[20, 0, 0, 0][..], &greeting(NATIVE)[..20]].concat(), "not a MySQL greeting"),
        (b"\x05\0\0\0\x0A8".to_vec(), "closed the connection"),
    ] {
        let server = Server::start(move |mut peer| {
            peer.say_raw(&bytes);
        });
        server.assert_refused(words);
    }
}

#[test]
fn one_deadline_holds_for_the_whole_login() {
    let plays: [fn(&mut Peer); 6] = [
        |_| {},
        |peer| peer.trickle(),
        |peer| drop(peer.greet(NATIVE)),
        |peer| {
            peer.greet(SHA2);
            // Far apart, so that the number of rounds does not end it.
            while peer.say(b"\x01\x03") {
                thread::sleep(Duration::from_millis(100));
            }
        },
        // The settings of a session belong to the login.
        |peer| peer.welcome(),
        |peer| {
            peer.ready();
        },
    ];
    for (at, play) in plays.into_iter().enumerate() {
        let server = Server::start(move |mut peer| {
            play(&mut peer);
            peer.wait();
        });
        let begun = Instant::now();
        let error = server.refusal(400, &[], &Cancel::new());
        assert_eq!(
            (error.kind, &*error.code),
            (ErrorKind::Connection, "MYSQL-LOST"),
            "{at}: {error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(2), "{at}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_login_that_goes_round_in_circles_is_ended() {
    for packet in [switch(NATIVE, SALT), b"\x01\x03".to_vec()] {
        let server = Server::start(move |mut peer| {
            peer.greet(NATIVE);
            peer.say_for_ever(&packet);
        });
        server.assert_refused("");
    }
}

#[test]
fn the_password_itself_goes_to_nobody_without_tls() {
    let key = PrivateKey::new(&mut getrandom::SysRng, 2048).unwrap();
    let pem = key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
    let full = move |pem: String| {
        Server::start(move |mut peer| {
            peer.greet(SHA2);
            peer.say(FULL);
            // The client asks for the key, or sends the password under a key that it has.
            if peer.hear() == [2] {
                peer.say(&[b"\x01", pem.as_bytes()].concat());
                peer.hear();
            }
            peer.say(&error("thanks"));
        })
    };
    let server = full(pem.clone());
    let error = server.refusal(2_000, &[], &Cancel::new());
    assert_eq!(error.code, "MYSQL-PUBLIC-KEY", "{error}");
    assert!(error.hint.unwrap().contains("`allow_public_key_retrieval = true`"));
    // What the hint says is what lets the key in.
    let server = full(pem.clone());
    let error =
        server.refusal(2_000, &[("allow_public_key_retrieval", true.into())], &Cancel::new());
    assert!(error.message.contains("thanks"), "{error}");
    let heard = server.heard.lock().unwrap().clone();
    let secret = key.oaep_decrypt::<Sha1>(&heard[heard.len() - 256..]).unwrap();
    let plain: Vec<u8> = secret.iter().zip(SALT.iter().cycle()).map(|(a, b)| a ^ b).collect();
    assert_eq!(plain, [PASSWORD.as_bytes(), b"\0"].concat());
    // A key in a file wins over one from the wire: the server cannot read what it gets.
    let file = std::env::temp_dir().join(format!("transload-key-{}.pem", std::process::id()));
    let other = PrivateKey::new(&mut getrandom::SysRng, 2048).unwrap().to_public_key();
    std::fs::write(&file, other.to_public_key_pem(LineEnding::LF).unwrap()).unwrap();
    let server = full(pem);
    let error = server.refusal(
        2_000,
        &[("server_public_key", file.to_str().unwrap().into())],
        &Cancel::new(),
    );
    std::fs::remove_file(&file).unwrap();
    assert!(error.message.contains("thanks"), "{error}");
    let heard = server.heard.lock().unwrap().clone();
    assert!(heard.len() > 256 && key.oaep_decrypt::<Sha1>(&heard[heard.len() - 256..]).is_err());
}

#[test]
fn keys_that_take_long_are_refused_at_once() {
    let number = |bits: u32| (BoxedUint::one_with_precision(bits) << (bits - 1)) | BoxedUint::one();
    let key = |modulus: u32, exponent: u32| {
        let range = 1..=1 << 20;
        let key = PublicKey::new_with_size_limits(number(modulus), number(exponent), range);
        key.unwrap().to_public_key_pem(LineEnding::LF).unwrap()
    };
    for pem in [key(65_536, 2), key(2_048, 33), key(16_384, 17), String::new()] {
        let server = Server::start(move |mut peer| {
            peer.greet(SHA2);
            peer.say(FULL);
            peer.hear();
            peer.say(&[b"\x01", pem.as_bytes()].concat());
            peer.wait();
        });
        let begun = Instant::now();
        let more = [("allow_public_key_retrieval", true.into())];
        let error = server.refusal(60_000, &more, &Cancel::new());
        assert_eq!(error.code, "MYSQL-PUBLIC-KEY", "{error}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

#[test]
fn weak_and_unknown_methods_get_nothing() {
    for (packet, words) in [
        (switch("mysql_clear_password", b""), "login method `mysql_clear_password`"),
        (switch("dialog", b"Password: "), "login method `dialog`"),
        (b"\xFE".to_vec(), "login method ``"),
        (switch("sha256_password", SALT), "login method `sha256_password`"),
        (switch(NATIVE, b""), "a salt of 0 bytes"),
        (switch(SHA2, b""), "a salt of 0 bytes"),
        (switch(SHA2, b"short"), "a salt of 5 bytes"),
    ] {
        let server = Server::start(move |mut peer| {
            peer.greet(NATIVE);
            peer.say(&packet);
            peer.say(FULL);
            peer.wait();
        });
        server.assert_refused(words);
    }
}

#[test]
fn a_file_that_the_server_asks_for_is_not_sent() {
    for before in [0, 1, 2] {
        let server = Server::start(move |mut peer| {
            let login = peer.greet(NATIVE);
            // LOAD DATA LOCAL is not offered by a connection that reads.
            assert_eq!(login[0] & 0x80, 0);
            peer.say(OK);
            for _ in 0..before {
                peer.hear();
                peer.say(OK);
            }
            peer.hear();
            peer.say(b"\xFB/etc/passwd");
            peer.hear();
            peer.say(OK);
            while !peer.hear().is_empty() {
                peer.say(OK);
            }
        });
        server.assert_refused("");
        assert!(!server.has_heard(b"root:"));
    }
}

#[test]
fn nothing_in_plain_text_counts_once_tls_is_asked_for() {
    for play in [
        // It has no TLS.
        (|peer: &mut Peer| drop(peer.greet(NATIVE))) as fn(&mut Peer),
        // It has, and continues without.
        |peer| {
            let mut offer = greeting(NATIVE);
            offer[21 + 2 - 1] |= 0x08;
            peer.say(&offer);
            peer.hear();
            peer.say(OK);
        },
    ] {
        let server = Server::start(move |mut peer| {
            play(&mut peer);
            peer.wait();
        });
        let more = [("tls", Value::from("insecure-require"))];
        let error = server.refusal(1_000, &more, &Cancel::new());
        assert_eq!(error.kind, ErrorKind::Connection, "{error:?}");
        assert!(!server.has_heard(b"someone"), "the user's name was sent");
    }
}

#[test]
fn a_long_text_of_the_server_is_cut() {
    for text in ["://".repeat(15_000), "x://a:b@c/ ".repeat(5_000)] {
        let server = Server::start(move |mut peer| {
            peer.say(&error(&text));
        });
        let error = server.refusal(2_000, &[], &Cancel::new());
        assert!(error.message.len() < 8 << 10, "{} bytes", error.message.len());
    }
}

#[test]
fn a_server_that_falls_silent_is_noticed() {
    let accept = |peer: &mut Peer| {
        peer.ready();
        peer.say(&[3]);
        for name in [b"a", b"b", b"c"] {
            peer.say(&column(name));
        }
        peer.say(END);
        peer.say(&[text(b"16777216"), text(b"0"), text(b"7")].concat());
        peer.say(END);
    };
    // The connection that asks after it is not answered either.
    let count = Arc::new(Mutex::new(0));
    let server = Server::start(move |mut peer| {
        let first = {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count == 1
        };
        if first {
            accept(&mut peer);
        }
        thread::spawn(move || peer.wait());
    });
    let begun = Instant::now();
    let error = server.refusal(2_000, &[], &Cancel::new());
    assert!(error.message.contains("silent for 0.4 s"), "{error}");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Connection, "MYSQL-LOST"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_stop_signal_ends_every_wait_for_a_server() {
    let plays: [fn(&mut Peer); 6] = [
        |_| {},
        |peer| drop(peer.greet(NATIVE)),
        |peer| peer.welcome(),
        |peer| {
            peer.greet(SHA2);
            while peer.say(b"\x01\x03") {
                thread::sleep(Duration::from_secs(1));
            }
        },
        |peer| {
            peer.ready();
        },
        |peer| peer.trickle(),
    ];
    for play in plays {
        let server = Server::start(move |mut peer| {
            play(&mut peer);
            peer.wait();
        });
        let cancel = Cancel::new();
        let (sender, receiver) = mpsc::channel();
        let stopper = cancel.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            sender.send(Instant::now()).unwrap();
            stopper.cancel();
        });
        let error = server.refusal(60_000, &[], &cancel);
        let took = receiver.recv().unwrap().elapsed();
        assert_eq!(error.kind, ErrorKind::Cancelled, "{error:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn names_with_a_nul_are_refused() {
    for key in ["user", "database"] {
        let server = Server::start(|peer| peer.wait());
        let options = server.options(100, &[(key, "sec\0ret".into())]);
        let host = Host::new(Arc::new(Password), Cancel::new());
        let error = MysqlPlugin.reader(options, host).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Options);
        assert_eq!(error.message, format!("`{key}` has a NUL character"));
    }
}

/// A server logs in whoever has the first characters of a longer name.
#[test]
fn a_name_that_the_server_would_cut_is_not_sent() {
    let name = "x".repeat(33);
    let server = Server::start(|mut peer| drop(peer.greet(NATIVE)));
    let error = server.refusal(2_000, &[("user", name.clone().into())], &Cancel::new());
    assert_eq!(error.message, "`user` has 33 characters, MySQL takes 32");
    assert!(!server.has_heard(name.as_bytes()));
}
