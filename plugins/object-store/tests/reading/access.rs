//! Access to the store: checked stage by stage, without a secret in any message.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use transload_plugin_api::{Error, ErrorKind, Finding, Plugin, Reader, Result};
use transload_plugin_object_store::ObjectStorePlugin;

use crate::host::{Reading, host};
use transload_tests_buckets::Bucket;

fn reader(place: &Bucket, secret: &'static str, more: Value) -> Result<Box<dyn Reader>> {
    let name = if place.url.starts_with("az") { "account_key" } else { "secret_access_key" };
    ObjectStorePlugin.reader(place.options(more), host(&[(name, secret)]))
}

/// The stages that passed, in order, and the message of the one that failed.
fn told(found: &[Finding]) -> (Vec<&str>, Option<String>) {
    let good = found.iter().filter(|it| it.ok).map(|it| it.stage.as_str()).collect();
    let bad = found.iter().find(|it| !it.ok);
    (good, bad.map(|it| format!("{}: {}", it.stage, it.detail)))
}

#[test]
fn check_tells_the_stages() {
    for place in [Bucket::s3(), Bucket::azure()] {
        place.put("a.csv", "id\n1\n");
        let found = place.reader(json!({"path": ["a.csv"]})).check().unwrap();
        let stages =
            ["name resolution", "connection", "login", "bucket", "rights", "files", "columns"];
        assert_eq!(told(&found), (stages.to_vec(), None), "{}", place.url);
        // A connection alone selects no objects, and its prefix may be empty.
        let found = place.reader(json!({})).check().unwrap();
        assert_eq!(told(&found), (stages[..5].to_vec(), None), "{}", place.url);
    }
    let place = Bucket::folder();
    place.put("a.csv", "id\n1\n");
    let found = place.reader(json!({"path": ["a.csv"]})).check().unwrap();
    assert_eq!(told(&found), (vec!["files", "columns"], None));
}

#[test]
fn t60_each_stage_that_fails_is_named_and_no_secret_with_it() {
    // Not a key of the store, but in the same form.
    const CANARY: &str = "Y2FuYXJ5Y2FuYXJ5";
    let place = Bucket::s3();
    place.put("a.csv", "id\n1\n");
    let azure = Bucket::azure();
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let s3 = std::env::var("TRANSLOAD_TEST_S3").unwrap();
    let https = s3.replace("http://", "https://");
    let soon = json!({"retries": 0});
    for (place, more, stage, kind) in [
        (&place, json!({}), "login", ErrorKind::Connection),
        (&azure, json!({}), "login", ErrorKind::Connection),
        (&place, json!({"access_key_id": "nobody"}), "login", ErrorKind::Connection),
        (&place, json!({"endpoint": gone}), "connection", ErrorKind::Connection),
        (&place, json!({"endpoint": https}), "tls", ErrorKind::Connection),
        (
            &place,
            json!({"endpoint": "https://nowhere.invalid"}),
            "name resolution",
            ErrorKind::Connection,
        ),
    ] {
        let mut options = soon.clone();
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reader = reader(place, CANARY, options).unwrap();
        let found = reader.check().unwrap();
        let words = told(&found).1.unwrap();
        assert!(words.starts_with(&format!("{stage}: ")), "{more}: {words}");
        let error = reader.discover().unwrap_err();
        assert_eq!(error.kind, kind, "{more}: {error:?}");
        let all = format!("{found:?} {error:?}");
        assert!(!all.contains(CANARY) && !all.contains("ignature="), "{all}");
    }
}

#[test]
fn a_bucket_that_is_not_there_is_told() {
    for place in [Bucket::s3(), Bucket::azure()] {
        let url = place.url.replace("transload", "missing");
        let reader = place.reader(json!({"url": url, "retries": 0}));
        let words = told(&reader.check().unwrap()).1.unwrap();
        assert!(words.starts_with("bucket: "), "{words}");
        let error = reader.discover().unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
        assert_eq!(error.code, "OBJECT-NO-BUCKET", "{error:?}");
    }
}

#[test]
fn t60_a_signature_in_the_url_is_not_told() {
    let place = Bucket::azure();
    let options = place.options(json!({"retries": 0}));
    let secrets = [("sas_token", "sv=2021-12-02&ss=b&srt=co&sp=rl&se=2099-01-01&sig=canary%3D")];
    let reader = ObjectStorePlugin.reader(options, host(&secrets)).unwrap();
    let found = reader.check().unwrap();
    let words = told(&found).1.unwrap();
    assert!(words.starts_with("login: "), "{words}");
    let error = reader.discover().unwrap_err();
    let all = format!("{found:?} {error:?}");
    assert!(!all.contains("canary"), "{all}");
}

#[test]
fn endpoints_that_must_not_be_spoken_to_are_refused_without_a_word_to_them() {
    let place = Bucket::s3();
    for (endpoint, kind) in [
        ("http://169.254.169.254", ErrorKind::Denied),
        ("https://[fe80::1]:9000", ErrorKind::Denied),
        ("http://metadata.google.internal", ErrorKind::Denied),
        ("http://s3.example", ErrorKind::Options),
    ] {
        let error: Error = reader(&place, "x", json!({"endpoint": endpoint})).err().unwrap();
        assert_eq!(error.kind, kind, "{endpoint}");
    }
}

#[test]
fn anonymous_reading_is_a_login_of_its_own() {
    let place = Bucket::s3();
    place.put("a.csv", "id\n1\n");
    let mut options = place.options(json!({"credentials": "anonymous"}));
    options.values.remove("access_key_id");
    let reader = ObjectStorePlugin.reader(options, host(&[])).unwrap();
    // The test server requires signatures.
    let words = told(&reader.check().unwrap()).1.unwrap();
    assert!(words.starts_with("rights: ") || words.starts_with("login: "), "{words}");
}

/// Collects all log events and span fields that contain a word.
#[derive(Clone, Default)]
struct Listening(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    events: usize,
    leaks: Vec<String>,
}

const LOG_CANARY: &str = "Y2FuYXJ5aW5sb2dz";

impl Visit for Listening {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{field}: {value:?}");
        if text.contains(LOG_CANARY) || text.contains("canaryinlogs") {
            self.0.lock().unwrap().leaks.push(text);
        }
    }
}

impl Subscriber for Listening {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().events += 1;
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn t60_nothing_that_is_logged_holds_a_secret() {
    let heard = Listening::default();
    tracing::subscriber::set_global_default(heard.clone()).unwrap();
    let good = Bucket::s3();
    good.put("a.csv", "id\n1\n");
    assert_eq!(good.listed(json!({})).unwrap(), ["a.csv"]);
    let soon = json!({"retries": 1, "reconnect_window": 1_000});
    reader(&good, LOG_CANARY, soon.clone()).unwrap().discover().unwrap_err();
    let azure = Bucket::azure();
    reader(&azure, LOG_CANARY, soon.clone()).unwrap().discover().unwrap_err();
    for more in [soon.clone(), json!({"endpoint": "http://127.0.0.1:1/x", "retries": 1})] {
        let secrets =
            [("sas_token", "sv=2021-12-02&ss=b&srt=co&sp=rl&se=2099-01-01&sig=canaryinlogs")];
        let options = azure.options(more);
        let reader = ObjectStorePlugin.reader(options, host(&secrets)).unwrap();
        reader.discover().unwrap_err();
    }
    let heard = heard.0.lock().unwrap();
    assert!(heard.events > 10, "{} events", heard.events);
    assert_eq!(heard.leaks, Vec::<String>::new());
}
