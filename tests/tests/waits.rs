//! Each kind of wait ends soon after a signal: for a connection, TLS, the login, the first row, a
//! lock, a commit; of databases and of an object store. Fake servers accept and stop where the wait
//! is wanted; `--nocapture` shows how long each one took.

#![allow(clippy::print_stdout)] // how long each end took, with --nocapture
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use transload_tests::{
    Running, Workplace,
    flow::{Flow, Job},
    proxy::{Fault as LinkFault, Proxy},
    servers::Product::{self, Mysql, Postgres},
    wait_until,
};
use transload_tests_buckets::Bucket;
use transload_tests_s3::{Fault, Rule};

/// The end takes milliseconds; this is for machines that do much else.
const BOUND: Duration = Duration::from_secs(8);

/// Signals a run that waits, and measures how long it takes to end.
#[track_caller]
fn assert_ends(what: &str, mut running: Running) {
    assert!(!running.has_ended(), "{what}: it does not wait: {:?}", running.wait());
    let signalled = Instant::now();
    running.signal("INT");
    while !running.has_ended() && signalled.elapsed() < BOUND {
        thread::sleep(Duration::from_millis(5));
    }
    let took = signalled.elapsed();
    println!("{what}: {:.2} s", took.as_secs_f64());
    assert!(running.has_ended(), "{what}: not within {} s", BOUND.as_secs());
    let ended = running.wait();
    assert_eq!(ended.exit, Some(130), "{what}: {ended:?}");
}

/// What a fake server does with a connection before it falls silent.
#[derive(Clone, Copy)]
enum Until {
    /// It does not even accept one.
    Full,
    /// It accepts.
    Accepted,
    /// It agrees to TLS, or sends the greeting that offers it.
    Tls,
    /// It has received the login.
    Login,
}

/// A server that falls silent.
struct Silent {
    port: u16,
    /// Whether a client waits in vain.
    is_reached: Arc<AtomicBool>,
    /// Connections that fill its queue.
    _queue: Vec<TcpStream>,
    _listener: Option<TcpListener>,
}

impl Silent {
    fn new(product: Option<Product>, until: Until) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_reached = Arc::new(AtomicBool::new(false));
        let (port, reached) = (address.port(), Arc::clone(&is_reached));
        if matches!(until, Until::Full) {
            let _queue = fill(address);
            reached.store(true, Relaxed);
            return Self { port, is_reached, _queue, _listener: Some(listener) };
        }
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let reached = Arc::clone(&reached);
                thread::spawn(move || serve(stream, product, until, &reached));
            }
        });
        Self { port, is_reached, _queue: Vec::new(), _listener: None }
    }
}

/// Fills the queue of a listener, so that further connections wait for their turn.
fn fill(address: SocketAddr) -> Vec<TcpStream> {
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    std::iter::from_fn(connect).take(900).collect()
}

/// The greeting of a MySQL 8.0 server that offers TLS.
fn greeting() -> Vec<u8> {
    let mut packet = b"\x0A8.0.36\0\x07\0\0\0abcdefgh".to_vec();
    packet.extend_from_slice(b"\0\x0F\xAA\x2D\x02\0\x0A\0\x15\0\0\0\0\0\0\0\0\0\0");
    packet.extend_from_slice(b"ijklmnopqrst\0mysql_native_password\0");
    [&[packet.len() as u8, 0, 0, 0][..], &packet].concat()
}

fn serve(mut stream: TcpStream, product: Option<Product>, until: Until, reached: &AtomicBool) {
    let mut buffer = [0; 4096];
    match (product, until) {
        (Some(Postgres), Until::Tls) => {
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"S");
            let _ = stream.read(&mut buffer);
        }
        (Some(Postgres), Until::Login) => {
            let _ = stream.read(&mut buffer);
        }
        (Some(_), Until::Tls | Until::Login) => {
            let _ = stream.write_all(&greeting());
            let _ = stream.read(&mut buffer);
        }
        _ => {}
    }
    reached.store(true, Relaxed);
    // Until the client goes.
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

#[test]
fn waits_for_a_connection_end_with_a_signal() {
    for product in [Postgres, Mysql] {
        for (until, what, tls) in [
            (Until::Full, "connect", "disable"),
            (Until::Accepted, "first byte", "disable"),
            (Until::Tls, "TLS", "insecure-require"),
            (Until::Login, "login", "disable"),
        ] {
            let server = Silent::new(Some(product), until);
            let workplace = Workplace::new();
            workplace.put("a.csv", "id\n1\n");
            let (plugin, port) = (product.plugin(), server.port);
            let side = format!(
                "plugin = \"{plugin}\"\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"u\"\n\
                 database = \"d\"\ntable = \"t\"\ntls = \"{tls}\"\nconnect_timeout = \"60 s\"\n"
            );
            let file = "plugin = \"file\"\npath = \"a.csv\"\n";
            for (role, job) in [
                ("reader", format!("[reader]\n{side}[writer]\n{}", file.replace("a.csv", "b.csv"))),
                ("writer", format!("[reader]\n{file}[writer]\n{side}")),
            ] {
                server.is_reached.store(matches!(until, Until::Full), Relaxed);
                workplace.put("job.toml", job);
                let mut running = workplace.start(&["run", "job.toml", "--progress", "none"]);
                wait_until(what, || server.is_reached.load(Relaxed) || running.has_ended());
                let started = if matches!(until, Until::Full) { 1_500 } else { 100 };
                thread::sleep(Duration::from_millis(started));
                assert_ends(&format!("{plugin}, {role}: {what}"), running);
            }
        }
    }
}

#[test]
fn waits_of_a_session_end_with_a_signal() {
    for product in [Postgres, Mysql] {
        let plugin = product.plugin();
        let flow = Flow::new(product, product, 100);
        let slow = match product {
            Postgres => "where = \"pg_sleep(60) IS NOT NULL\"\n",
            _ => "where = \"SLEEP(60) >= 0\"\n",
        };
        let moment = Duration::from_millis(700);
        let job = Job { reader: slow.to_owned(), ..Job::default() };
        assert_ends(&format!("{plugin}: first row"), flow.started(&job, moment));

        let mut holder = flow.target.session();
        holder.run("BEGIN");
        holder.run("INSERT INTO numbers VALUES (1, 'held', 1, NULL)");
        let job = Job { writer: "lock_timeout = \"60 s\"\n".to_owned(), ..Job::default() };
        assert_ends(&format!("{plugin}: lock of a row"), flow.started(&job, moment));
        holder.run("ROLLBACK");
        drop(holder);

        let proxy = Proxy::new(flow.target.server.port);
        proxy.arm(LinkFault::Swallow(b"COMMIT", 1), 1);
        let job = Job { target_port: Some(proxy.port), ..Job::default() };
        let mut running = flow.started(&job, Duration::ZERO);
        wait_until("it commits", || proxy.happened() > 0 || running.has_ended());
        assert_ends(&format!("{plugin}: commit"), running);
    }
}

#[test]
fn waits_of_an_object_store_end_with_a_signal() {
    for (what, scheme, until) in [
        ("connect", "http", Until::Full),
        ("response", "http", Until::Accepted),
        ("TLS", "https", Until::Accepted),
    ] {
        let server = Silent::new(None, until);
        let workplace = Workplace::new();
        workplace.put(
            "job.toml",
            format!(
                "[reader]\nplugin = \"object-store\"\nurl = \"s3://b\"\npath = \"a.csv\"\n\
                 endpoint = \"{scheme}://127.0.0.1:{}\"\nregion = \"r\"\naccess_key_id = \"k\"\n\
                 secret_access_key = {{ env = \"KEY\" }}\nallow_http = true\n\
                 [writer]\nplugin = \"file\"\npath = \"b.csv\"\n",
                server.port
            ),
        );
        let mut command = workplace.command();
        command.args(["run", "job.toml", "--progress", "none"]).env("KEY", "k");
        let mut running = Running::of(command);
        wait_until(what, || server.is_reached.load(Relaxed) || running.has_ended());
        thread::sleep(Duration::from_millis(1_000));
        assert_ends(&format!("object-store: {what}"), running);
    }
    let (bucket, faults) = Bucket::failing();
    bucket.put("in.csv", "id\n1\n2\n");
    for (operation, is_read) in [
        ("ListObjects", true),
        ("GetObject", true),
        ("CreateMultipartUpload", false),
        ("PutObject", false),
    ] {
        let workplace = Workplace::new();
        workplace.put("in.csv", "id\n1\n2\n");
        let (file, object) = ("plugin = \"file\"\npath = ", |path| bucket.lines(path));
        workplace.put(
            "job.toml",
            match is_read {
                true => format!("[reader]\n{}[writer]\n{file}\"out.csv\"\n", object("in.csv")),
                false => format!(
                    "[reader]\n{file}\"in.csv\"\n[writer]\n{}format = \"csv\"\n\
                     write_mode = \"overwrite\"\n",
                    object("out/")
                ),
            },
        );
        let armed = faults.arm(Rule::on(operation).times(1), Fault::Hang);
        let mut running = workplace.start(&["run", "job.toml", "--progress", "none"]);
        wait_until(operation, || armed.hits() > 0 || running.has_ended());
        if armed.hits() == 0 {
            // Small objects are put as a whole, and a name without a pattern is not listed.
            running.wait().exits(0);
            continue;
        }
        assert_ends(&format!("object-store: {operation}"), running);
    }
}
