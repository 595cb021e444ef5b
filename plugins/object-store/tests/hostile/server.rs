//! A server that speaks S3 but for one thing, its mode, which it does as wrong as it can.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Lines of the one object, `a.csv`, its header included.
pub(crate) const LINES: usize = 1_001;

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

/// Objects that were put, by key.
type Stored = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// Starts a server; the result is its address. It ends with the process.
pub(crate) fn start(mode: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let stored = Stored::default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let stored = Arc::clone(&stored);
            // A client that goes away ends its connection's thread.
            thread::spawn(move || Connection { mode, stored, stream }.serve());
        }
    });
    address
}

fn content() -> Vec<u8> {
    let rows: String = (0..LINES - 1).map(|id| format!("{id},n{id}\n")).collect();
    format!("id,name\n{rows}").into_bytes()
}

fn item(key: &str, size: &str, tag: &str) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
         <ETag>{tag}</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )
}

fn listing(head: &str, items: &str) -> String {
    format!(
        "{head}<ListBucketResult><Name>b</Name><Prefix></Prefix><KeyCount>1</KeyCount>\
         <MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
    )
}

struct Request {
    method: String,
    path: String,
    query: String,
    range: Option<String>,
    authorization: String,
    body: Vec<u8>,
}

struct Connection {
    mode: &'static str,
    stored: Stored,
    stream: TcpStream,
}

/// `None` ends the connection.
type Served = Option<()>;

impl Connection {
    fn serve(mut self) -> Served {
        let mut reader = BufReader::new(self.stream.try_clone().ok()?);
        loop {
            let request = read(&mut reader)?;
            self.answer(&request)?;
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Served {
        self.stream.write_all(bytes).ok()
    }

    /// Sends the same without end.
    fn flood(&mut self, head: &str, bytes: &[u8]) -> Served {
        self.send(head.as_bytes())?;
        loop {
            self.send(bytes)?;
        }
    }

    fn reply(&mut self, status: &str, headers: &str, body: &[u8]) -> Served {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.send(&[head.as_bytes(), body].concat())
    }

    fn chunk(bytes: &[u8]) -> Vec<u8> {
        [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
    }

    fn answer(&mut self, request: &Request) -> Served {
        match self.mode {
            "silence" => loop {
                thread::sleep(Duration::from_secs(600));
            },
            "redirect" => {
                let to = "Location: http://169.254.169.254/latest/meta-data/\r\n";
                return self.reply("307 Temporary Redirect", to, b"");
            }
            "redirect_local" => {
                let to = "Location: http://127.0.0.1:1/x\r\n";
                return self.reply("301 Moved Permanently", to, b"");
            }
            "hdr_flood" => {
                let header = format!("X-A: {}\r\n", "a".repeat(8_000));
                return self.flood("HTTP/1.1 200 OK\r\n", header.as_bytes());
            }
            "status_flood" => {
                return self.flood("", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000).as_bytes());
            }
            "err_endless" => {
                let head = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n";
                return self.flood(head, &Self::chunk(&vec![b'e'; 1 << 20]));
            }
            "err_echo" => {
                let body = format!(
                    "<Error><Code>SignatureDoesNotMatch</Code><Message>no \x1b[31m</Message>\
                     <StringToSign>{}</StringToSign></Error>",
                    request.authorization
                );
                return self.reply("403 Forbidden", "", body.as_bytes());
            }
            _ => {}
        }
        if request.query.contains("list-type=2") {
            return self.list();
        }
        match request.method.as_str() {
            "GET" | "HEAD" if request.path.ends_with("/a.csv") => self.object(request),
            "GET" | "HEAD" => {
                let found = self.stored.lock().unwrap().get(&request.path).cloned();
                match found {
                    Some(body) if request.method == "GET" => self.reply("200 OK", TAG, &body),
                    Some(body) => {
                        let length = body.len();
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{TAG}");
                        self.send(format!("{head}\r\n").as_bytes())
                    }
                    None => self.reply("404 Not Found", "", b""),
                }
            }
            "POST" if request.query.contains("uploads") => {
                let body = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key>\
                            <UploadId>u1</UploadId></InitiateMultipartUploadResult>";
                self.reply("200 OK", "", body.as_bytes())
            }
            "POST" if request.query.contains("uploadId") => {
                let body = "<Error><Code>InternalError</Code><Message>x</Message></Error>";
                self.reply("200 OK", "", body.as_bytes())
            }
            "POST" if self.mode == "delete_html" => {
                self.reply("200 OK", "", b"<html><body>login</body></html>")
            }
            "POST" => self.reply(
                "200 OK",
                "",
                b"<DeleteResult><Deleted><Key>k</Key></Deleted></DeleteResult>",
            ),
            "PUT" => {
                // A part is not an object yet.
                if request.query.is_empty() {
                    self.stored.lock().unwrap().insert(request.path.clone(), request.body.clone());
                }
                self.reply("200 OK", TAG, b"")
            }
            _ => self.reply("204 No Content", "", b""),
        }
    }

    fn list(&mut self) -> Served {
        let plain = |items: &str| listing(XML, items);
        let size = content().len().to_string();
        let one = |key: &str| item(key, &size, "\"e1\"");
        let body = match self.mode {
            "list_bomb" => {
                let mut types = "<!ENTITY a \"aaaaaaaaaaaaaaaaaaaa\">".to_owned();
                for (name, of) in ('b'..='z').zip('a'..) {
                    types += &format!("<!ENTITY {name} \"{}\">", format!("&{of};").repeat(20));
                }
                listing(&format!("<?xml version=\"1.0\"?><!DOCTYPE l [{types}]>"), "&z;")
            }
            "list_xxe" => {
                let types = "<!DOCTYPE l [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>";
                listing(&format!("<?xml version=\"1.0\"?>{types}"), &one("&x;.csv"))
            }
            "list_endless" => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let start = format!("{XML}<ListBucketResult><Name>b</Name>");
                self.send(&[head.as_bytes(), &Self::chunk(start.as_bytes())].concat())?;
                return self.flood("", &Self::chunk(one("k.csv").repeat(3_000).as_bytes()));
            }
            "list_trunc_forever" => plain(&one("a.csv")).replace(
                "<IsTruncated>false</IsTruncated>",
                "<IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>",
            ),
            "list_deep" => plain(&("<a>".repeat(200_000) + &"</a>".repeat(200_000))),
            "list_path" => plain(&(one("../../etc/x.csv") + &one("a//b.csv") + &one("/abs.csv"))),
            "list_negsize" => plain(&item("a.csv", "-5", "\"e1\"")),
            "list_hugesize" => plain(&item("a.csv", &i64::MAX.to_string(), "\"e1\"")),
            "list_hugeparquet" => plain(&item("a.parquet", &(1u64 << 62).to_string(), "\"e1\"")),
            "list_badetag" => plain(&item("a.csv", &size, "\"\r\nX: y\"")),
            "list_esc" => plain(&one("a\x7f\u{202e}\u{2028};rm -rf.csv")),
            "list_gzip" => {
                let packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
                return self.reply("200 OK", "Content-Encoding: gzip\r\n", packed);
            }
            "list_empty200" => String::new(),
            "list_html" => "<html><body>login</body></html>".to_owned(),
            "list_cut" => plain(&one("a.csv")).replace("</ListBucketResult>", ""),
            "list_slow" => {
                self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                loop {
                    self.send(b"1\r\n \r\n")?;
                    thread::sleep(Duration::from_millis(100));
                }
            }
            "delete_html" | "put_ok_200err" => plain(""),
            _ => plain(&one("a.csv")),
        };
        self.reply("200 OK", "Content-Type: application/xml\r\n", body.as_bytes())
    }

    fn object(&mut self, request: &Request) -> Served {
        let whole = content();
        let size = whole.len();
        if request.method == "HEAD" {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{TAG}\r\n");
            return self.send(head.as_bytes());
        }
        let (mut from, mut until, mut status) = (0, size, "200 OK");
        if let Some(range) = request.range.as_ref().filter(|_| self.mode != "norange") {
            let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
            from = first.parse().unwrap();
            until = last.parse::<usize>().map_or(size, |last| size.min(last + 1));
            status = "206 Partial Content";
        }
        let data = whole.get(from..until).unwrap_or_default();
        let range = format!("Content-Range: bytes {from}-{}/{size}\r\n", until.saturating_sub(1));
        let headers = format!("{TAG}{}", if from + until == size { "" } else { &range });
        let headers = if status.starts_with("206") { format!("{TAG}{range}") } else { headers };
        match self.mode {
            "short_cl" => {
                let length = data.len();
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
                self.send(&[head.as_bytes(), &data[..data.len() / 2]].concat())?;
                None
            }
            "short_body_ok" => self.reply(status, &headers, &data[..data.len() / 2]),
            "long_body" => self.reply(status, &headers, &[data, &b"9,zz\n".repeat(100)].concat()),
            "endless" => {
                let head =
                    format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n{headers}\r\n");
                self.flood(&head, &Self::chunk(&b"1,abcdefgh\n".repeat(95_325)))
            }
            "wrong_range" => {
                let until = data.len() + 4;
                let range = format!("Content-Range: bytes 5-{until}/{size}\r\n");
                self.reply(status, &format!("{TAG}{range}"), data)
            }
            "etag_change" => self.reply(status, &headers.replace("e1", "e2"), data),
            "slow" => {
                let length = data.len();
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
                self.send(head.as_bytes())?;
                for byte in data {
                    self.send(&[*byte])?;
                    thread::sleep(Duration::from_millis(300));
                }
                Some(())
            }
            _ => self.reply(status, &headers, data),
        }
    }
}

const TAG: &str = "ETag: \"e1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let mut pairs = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, it)| it.trim().to_owned())
    };
    let mut words = lines.first()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let length = header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        range: header("range"),
        authorization: header("authorization").unwrap_or_default(),
        body,
    })
}
