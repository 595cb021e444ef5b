//! The services that machines ask, played by a server of the tests' own on this machine.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use futures_util::StreamExt;
use object_store::ObjectStore;
use serde_json::json;
use transload_plugin_api::{Host, Options};
use transload_tests_s3::{KEY, SECRET, Server};
use transload_values::calendar::date_of;

use super::*;
use crate::{access::Bucket, address::Address, failure::LOGIN, options::ConnectionOptions};
use transload_plugin_api::ErrorKind;

type Answer = dyn Fn(&str) -> String + Send + Sync;

/// A service that responds by a request's head; the heads are kept.
struct Service {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer): (_, Arc<Answer>) = (Arc::clone(&seen), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                thread::spawn(move || talk(&stream, &kept, &*answer));
            }
        });
        Self { url, seen }
    }

    fn count(&self, path: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|head| head.contains(path)).count()
    }
}

fn talk(mut stream: &TcpStream, kept: &Mutex<Vec<String>>, answer: &Answer) {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let head = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty());
        let head = head.map(|line| line + "\n").collect::<String>();
        if head.is_empty() {
            return;
        }
        kept.lock().unwrap().push(head.clone());
        if stream.write_all(answer(&head).as_bytes()).is_err() {
            return;
        }
    }
}

use std::result::Result;

fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// In `n` seconds, as AWS writes it.
fn after(seconds: u64) -> String {
    let time = SystemTime::now() + Duration::from_secs(seconds);
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (year, month, date) = date_of(i64::try_from(seconds / 86_400).unwrap());
    let rest = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

fn keys(lifetime: u64) -> String {
    json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": after(0),
        "AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": "canary",
        "Expiration": after(lifetime),
    })
    .to_string()
}

/// The metadata service of EC2, version 2: nothing without a token.
fn ec2(lifetime: u64) -> Service {
    Service::start(move |head| {
        let line = head.lines().next().unwrap();
        let has = |header: &str| head.lines().any(|line| line.eq_ignore_ascii_case(header));
        if line.starts_with("PUT /latest/api/token ") {
            return match has("x-aws-ec2-metadata-token-ttl-seconds: 600") {
                true => reply("200 OK", "a-token"),
                false => reply("400 Bad Request", ""),
            };
        }
        if !has("x-aws-ec2-metadata-token: a-token") {
            return reply("401 Unauthorized", "");
        }
        match line.split(' ').nth(1).unwrap() {
            "/latest/meta-data/iam/security-credentials/" => reply("200 OK", "a-role"),
            "/latest/meta-data/iam/security-credentials/a-role" => reply("200 OK", &keys(lifetime)),
            _ => reply("404 Not Found", ""),
        }
    })
}

fn bucket(url: &str, endpoint: &str, variables: &[(&str, &str)]) -> Result<Bucket, Error> {
    let pairs = [("url", url), ("endpoint", endpoint), ("credentials", "instance")];
    let mut options = Options::from_pairs(pairs);
    options.values.insert("retries".to_owned(), 1.into());
    let options = ConnectionOptions::parse(&options)?;
    let address = Address::parse(&options.url)?;
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let environment = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    Bucket::open_in(&options, &address, &Host::detached(), &environment)
}

/// The bucket's first object, if there is one.
fn first(bucket: &Bucket) -> Result<Option<String>, Error> {
    let listed = async {
        let first = bucket.store.list(None).next().await.transpose();
        first.map_err(|error| bucket.failed(&error, ""))
    };
    Ok(bucket.wait(listed)?.map(|meta| meta.location.to_string()))
}

const MACHINE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

#[test]
fn a_machine_asks_once_and_again_before_its_keys_expire() {
    let server = Server::start();
    for (lifetime, fetched) in [(3_600, 1), (200, 2)] {
        let service = ec2(lifetime);
        let bucket =
            bucket("s3://transload", server.endpoint(), &[(MACHINE, &service.url)]).unwrap();
        assert_eq!(bucket.login, "the instance");
        assert_eq!(first(&bucket).unwrap(), None);
        assert_eq!(service.count("/a-role"), 1);
        // The client does not ask again within a tenth of a second.
        thread::sleep(Duration::from_millis(300));
        assert_eq!(first(&bucket).unwrap(), None);
        assert_eq!(service.count("/a-role"), fetched, "keys that live for {lifetime} s");
    }
}

/// What a refusal says: of which kind, and nothing that is secret.
#[track_caller]
fn assert_not_told(bucket: &Bucket, words: &str) {
    let error = first(bucket).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Connection, LOGIN), "{error:?}");
    let start = "this machine's own credentials are not given out: ";
    assert!(error.message.starts_with(start), "{error:?}");
    assert!(error.message.contains(words), "no `{words}` in {error:?}");
    assert!(error.hint.as_deref().unwrap().contains("have a role"), "{error:?}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[test]
fn a_machine_without_a_role_or_a_service_is_told_of_it() {
    const FOUND: &str = "/security-credentials/";
    type Told = (fn(&str) -> String, &'static str);
    let answers: [Told; 5] = [
        (|_| reply("404 Not Found", "no role"), "status 404"),
        (|_| reply("403 Forbidden", ""), "status 403"),
        (
            |head| match head.contains(FOUND) {
                true => reply("404 Not Found", ""),
                false => reply("200 OK", "a-token"),
            },
            "status 404",
        ),
        (
            |head| match head.contains("/security-credentials/x") {
                true => reply("200 OK", r#"{"Code": "Failed", "Token": "canary"}"#),
                false => reply("200 OK", "x"),
            },
            "missing field",
        ),
        (|_| reply("200 OK", "<html>not a role</html>"), "cannot be parsed"),
    ];
    for (answer, words) in answers {
        let service = Service::start(answer);
        let variables = [(MACHINE, service.url.as_str())];
        assert_not_told(&bucket("s3://b", "http://127.0.0.1:1", &variables).unwrap(), words);
        assert_eq!(service.count("sig"), 0);
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("http://{gone}");
    let nobody = bucket("s3://b", "http://127.0.0.1:1", &[(MACHINE, &gone)]).unwrap();
    assert_not_told(&nobody, "cannot reach the server");
}

#[test]
fn a_pod_is_told_by_its_own_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "pod-token").unwrap();
    let service = Service::start(|head| {
        match head.contains("GET /v1/credentials ") && head.contains("authorization: pod-token\n") {
            true => reply("200 OK", &keys(3_600)),
            false => reply("401 Unauthorized", ""),
        }
    });
    let server = Server::start();
    let url = format!("{}/v1/credentials", service.url);
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
        // The machine's role is not the pod's.
        (MACHINE, "http://127.0.0.1:1"),
    ];
    let found = bucket("s3://transload", server.endpoint(), &variables).unwrap();
    assert_eq!(first(&found).unwrap(), None);
    assert_eq!(service.count("/v1/credentials"), 1);
    fs::write(&file, "another").unwrap();
    let found = bucket("s3://transload", server.endpoint(), &variables).unwrap();
    assert_not_told(&found, "status 401");
}

#[test]
fn a_machine_of_azure_is_given_a_token() {
    let service = Service::start(|head| {
        if head.contains("GET /metadata/identity/oauth2/token?")
            && head.contains("metadata: true\n")
        {
            let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let until = (until.as_secs() + 86_400).to_string();
            let token = json!({
                "access_token": "azure-canary", "expires_in": "86400", "expires_on": until,
                "not_before": "0", "resource": "https://storage.azure.com/", "token_type": "Bearer",
            });
            return reply("200 OK", &token.to_string());
        }
        if !head.contains("authorization: Bearer azure-canary\n") {
            return reply("403 Forbidden", "");
        }
        reply("200 OK", "<?xml version=\"1.0\"?><EnumerationResults><Blobs/></EnumerationResults>")
    });
    let variables = [
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", service.url.as_str()),
        ("AZURE_STORAGE_ACCOUNT", "a"),
    ];
    let store = format!("{}/a", service.url);
    let found = bucket("az://c", &store, &variables).unwrap();
    assert_eq!(first(&found).unwrap(), None);
    assert_eq!(first(&found).unwrap(), None);
    assert_eq!(service.count("/metadata/identity"), 1);
    let nobody = Service::start(|_| reply("400 Bad Request", "{\"error\": \"invalid_request\"}"));
    let variables = [("IDENTITY_ENDPOINT", nobody.url.as_str()), variables[1]];
    assert_not_told(&bucket("az://c", &store, &variables).unwrap(), "invalid_request");
}

// ------------------------------------------------------------------------------------ variables

fn aws(variables: &[(&str, &str)]) -> Result<AwsInstance, Error> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    AwsInstance::find(&|name| variables.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn containers_go_before_machines() {
    assert_eq!(aws(&[]).unwrap().host(), "169.254.169.254");
    const TASK: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x");
    const POD: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1");
    const TOKEN: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token");
    const MACHINE_V6: (&str, &str) = (MACHINE, "http://[fd00:ec2::254]");
    assert_eq!(aws(&[MACHINE_V6]).unwrap().host(), "[fd00:ec2::254]");
    assert_eq!(aws(&[MACHINE_V6, POD, TOKEN]).unwrap().host(), "169.254.170.23");
    let task = aws(&[MACHINE_V6, POD, TOKEN, TASK]).unwrap();
    assert_eq!(
        (&task, task.host()),
        (&AwsInstance::Task { path: "/v2/x".to_owned() }, "169.254.170.2")
    );
    assert_eq!(aws(&[POD]).unwrap_err().kind, ErrorKind::Options);
}

#[test]
fn variables_that_would_bring_secrets_from_elsewhere_are_refused() {
    for (variable, value) in [
        (MACHINE, "http://10.0.0.1"),
        (MACHINE, "http://metadata.example"),
        (MACHINE, "http://169.254.1.1"),
        (MACHINE, "file:///etc/passwd"),
        (MACHINE, "nonsense"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.168.0.1/x"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".example/x"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x y"),
    ] {
        let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token");
        let error = aws(&[(variable, value), token]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Options, "{value}");
        assert!(error.message.contains(variable), "{error}");
    }
    assert!(aws(&[(MACHINE, "https://metadata.example")]).is_ok());
    let google = |value: &str| {
        google_metadata_hosts(&|name| (name == "GCE_METADATA_HOST").then(|| value.to_owned()))
    };
    assert_eq!(google("127.0.0.1:8080").unwrap(), ["127.0.0.1", "169.254.169.254"]);
    assert!(google("metadata.example").is_err());
}

#[test]
fn the_service_is_asked_only_where_the_instance_is_named() {
    let service = ec2(3_600);
    let server = Server::start();
    let options = Options::from_pairs([("url", "s3://transload"), ("endpoint", server.endpoint())]);
    let options = ConnectionOptions::parse(&options).unwrap();
    let address = Address::parse(&options.url).unwrap();
    let url = service.url.clone();
    let environment = move |name: &str| (name == MACHINE).then(|| url.clone());
    let refused = Bucket::open_in(&options, &address, &Host::detached(), &environment);
    assert_eq!(refused.err().unwrap().kind, ErrorKind::Options);
    assert_eq!(service.count("/"), 0);
}
