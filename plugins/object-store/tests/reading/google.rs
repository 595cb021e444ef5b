//! Google Cloud Storage: the test itself returns a few responses in its format, and checks which
//! requests are made.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;
use transload_plugin_api::{ErrorKind, Options, Plugin, Reader};
use transload_plugin_object_store::ObjectStorePlugin;

use crate::host::{host, rows};

const CONTENT: &str = "id,name\n1,x\n2,y\n";

/// Responds until the test ends; the heads of requests are kept.
struct Answers {
    endpoint: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Answers {
    fn start(answer: fn(&str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(&stream.unwrap(), answer, &kept));
            }
        });
        Self { endpoint, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, answer: fn(&str) -> String, kept: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let mut head = String::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line.is_empty() => break,
                Some(Ok(line)) => head.push_str(&(line + "\n")),
                _ => return,
            }
        }
        kept.lock().unwrap().push(head.clone());
        let mut stream = stream;
        stream.write_all(answer(&head).as_bytes()).unwrap();
    }
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn google(head: &str) -> String {
    let line = head.lines().next().unwrap();
    if line.contains("list-type=2") {
        let body = "<ListBucketResult><Contents><Key>in/a b.csv</Key><Size>16</Size>\
                    <LastModified>2026-11-21T10:00:00.000Z</LastModified>\
                    <ETag>\"tag\"</ETag></Contents></ListBucketResult>";
        return reply("200 OK", "content-type: application/xml\r\n", body);
    }
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")).unwrap();
    let (from, to) = range.split_once('-').unwrap();
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
    let headers = format!(
        "etag: \"tag\"\r\nlast-modified: Sat, 21 Nov 2026 10:00:00 GMT\r\n\
         content-range: bytes {from}-{to}/{}\r\n",
        CONTENT.len()
    );
    reply("206 Partial Content", &headers, &CONTENT[from..=to])
}

fn reader(endpoint: &str, scheme: &str) -> Box<dyn Reader> {
    let options = Options::from_pairs([
        ("url", json!(format!("{scheme}://bucket/in"))),
        ("endpoint", json!(endpoint)),
        ("credentials", json!("anonymous")),
        ("retries", json!(0)),
    ]);
    ObjectStorePlugin.reader(options, host(&[])).unwrap()
}

#[test]
fn a_bucket_is_listed_and_read() {
    assert_eq!(CONTENT.len(), 16);
    let answers = Answers::start(google);
    let found = rows(reader(&answers.endpoint, "gs").as_ref(), 1).unwrap();
    assert_eq!(found, [["1", "x"], ["2", "y"]]);
    let seen = answers.seen();
    assert!(seen[0].contains("prefix=in%2F"), "{}", seen[0]);
    let get = seen.iter().find(|head| head.contains("GET /bucket/in%2Fa%20b%2Ecsv "));
    let get = get.unwrap_or_else(|| panic!("{seen:?}"));
    assert!(get.contains("if-match: \"tag\""), "{get}");
}

#[test]
fn a_service_account_signs_for_itself_and_its_key_is_not_told() {
    let answers = Answers::start(google);
    let key = r#"{"type": "service_account", "client_email": "x@example", "private_key_id": "1",
        "private_key": "canary", "disable_oauth": false}"#;
    let options = Options::from_pairs([
        ("url", json!("gs://bucket/in")),
        ("endpoint", json!(answers.endpoint)),
    ]);
    let secrets = [("service_account_key", key)];
    let reader = ObjectStorePlugin.reader(options, host(&secrets)).unwrap();
    let found = reader.check().unwrap();
    let error = reader.discover().unwrap_err();
    assert!(!found[0].ok);
    let all = format!("{found:?} {error:?}");
    assert!(!all.contains("canary"), "{all}");
    assert_eq!(answers.seen(), Vec::<String>::new());
}

#[test]
fn redirects_to_other_hosts_are_not_followed() {
    static OTHER: Mutex<String> = Mutex::new(String::new());
    let other = Answers::start(google);
    other.endpoint.clone_into(&mut OTHER.lock().unwrap());
    let first = Answers::start(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let location = format!("location: {}{path}\r\n", OTHER.lock().unwrap());
        reply("307 Temporary Redirect", &location, "")
    });
    for scheme in ["gs", "s3"] {
        let error = rows(reader(&first.endpoint, scheme).as_ref(), 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection, "{error:?}");
        assert!(error.message.contains("another address"), "{error}");
    }
    assert!(!first.seen().is_empty());
    assert_eq!(other.seen(), Vec::<String>::new());
}
