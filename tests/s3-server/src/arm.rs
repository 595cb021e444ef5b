//! The test's side of faults: arms the server, and queries the requests that it has received.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::fault::{Fault, Request, Rule};

/// A command to the server, as JSON in the body of `POST /-/`, a path that no bucket has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Arm(Rule, Fault),
    Disarm(u64),
    Hits(u64),
    Seen(Rule),
    Uploads(String),
}

/// The interface for arming the faults of a server.
#[derive(Clone, Debug)]
pub struct Faults {
    address: String,
}

/// A fault that is armed until this is dropped.
#[derive(Debug)]
pub struct Armed {
    faults: Faults,
    number: u64,
}

impl Faults {
    /// The faults of the server at `http://HOST:PORT`.
    ///
    /// # Panics
    /// If that is not the endpoint's form.
    pub fn at(endpoint: &str) -> Self {
        let address = endpoint.strip_prefix("http://").expect("http://HOST:PORT");
        Self { address: address.trim_end_matches('/').to_owned() }
    }

    /// Applies to the next request of an operation whose key contains this text.
    pub fn once(&self, operation: &str, key: &str, fault: Fault) -> Armed {
        self.arm(Rule::on(operation).key(key).times(1), fault)
    }

    /// Applies to the requests that the rule matches.
    ///
    /// # Panics
    /// If S3 has no such operation.
    pub fn arm(&self, rule: Rule, fault: Fault) -> Armed {
        Armed { faults: self.clone(), number: self.ask(&Order::Arm(rule, fault)) }
    }

    /// The requests of an operation (`*`: of all) whose key contains this text, oldest first.
    pub fn seen(&self, operation: &str, key: &str) -> Vec<Request> {
        self.ask(&Order::Seen(Rule::on(operation).key(key)))
    }

    /// The keys below a prefix with an open multipart upload, once for each upload.
    pub fn uploads(&self, prefix: &str) -> Vec<String> {
        self.ask(&Order::Uploads(prefix.to_owned()))
    }

    fn ask<T: DeserializeOwned>(&self, order: &Order) -> T {
        let mut stream = TcpStream::connect(&self.address).expect("the S3 server of the tests");
        let body = serde_json::to_string(order).expect("JSON");
        let head = format!(
            "POST /-/ HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{order:?}: {head}: {body}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

impl Armed {
    /// How many requests it has been applied to so far.
    pub fn hits(&self) -> u64 {
        let hits: Option<u64> = self.faults.ask(&Order::Hits(self.number));
        hits.expect("a rule stays until it is disarmed")
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        // A test's own server may have stopped already, and its faults with it.
        if TcpStream::connect(&self.faults.address).is_ok() {
            let () = self.faults.ask(&Order::Disarm(self.number));
        }
    }
}
