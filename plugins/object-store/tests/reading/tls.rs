//! Stores behind TLS: with a trusted certificate, and with others.

use std::{path::Path, sync::OnceLock};

use serde_json::{Value, json};
use transload_plugin_api::{
    ErrorKind, Host, Plugin, Reader, Result, WriteMode, Writer,
    testing::steps::{batch, integers, plan, write_all},
};
use transload_plugin_object_store::ObjectStorePlugin;
use transload_tests_buckets::{Bucket, secrets};
use transload_tests_s3::{Certificates, Server};

use crate::host::{Reading, rows};

/// Certificates shared by all tests here.
fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(Certificates::make)
}

/// A bucket with an object, and the TLS endpoint of its server under this name.
fn bucket(certificate: &str, host: &str) -> (Bucket, String) {
    let server = Server::start_with_tls(certificates(), certificate);
    let endpoint = server.tls_endpoint(host);
    let bucket = Bucket::on(server);
    bucket.put("a.csv", "id\n1\n2\n");
    (bucket, endpoint)
}

fn trusting(endpoint: &str, ca_file: Option<&Path>) -> Value {
    let mut options = json!({"endpoint": endpoint, "path": ["a.csv"]});
    if let Some(file) = ca_file {
        options["ca_file"] = file.to_str().unwrap().into();
    }
    options
}

fn writer(bucket: &Bucket, more: Value) -> Result<Box<dyn Writer>> {
    ObjectStorePlugin.writer(bucket.options(more), Host::new(secrets(), Default::default()))
}

#[test]
fn a_store_whose_authority_is_named_is_read_and_written() {
    let (bucket, endpoint) = bucket("server", "localhost");
    let authority = certificates().authority();
    let reader = bucket.reader(trusting(&endpoint, Some(&authority)));
    let found = reader.check().unwrap();
    assert!(found.iter().all(|finding| finding.ok), "{found:?}");
    let tls = found.iter().find(|finding| finding.stage == "tls").unwrap();
    assert_eq!(tls.detail, "the certificate is verified");
    assert_eq!(rows(reader.as_ref(), 1).unwrap(), [["1"], ["2"]]);

    let options =
        json!({"endpoint": endpoint, "ca_file": authority, "path": "out/", "format": "csv"});
    let writer = writer(&bucket, options).unwrap();
    let plan = plan(WriteMode::Insert, &[("id", "int64")], &[]);
    write_all(writer.as_ref(), &plan, &[batch(&plan, vec![integers([7, 8])])]).unwrap();
    let [data] = &bucket.data().into_iter().filter(|name| name != "a.csv").collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", bucket.names())
    };
    assert_eq!(bucket.text(data), "id\n7\n8\n");
    // All requests used TLS.
    assert!(
        writer.counts().unwrap().iter().any(|count| count.name == "requests" && count.value > 3)
    );
}

/// Refused at once, with a message that names the host, the reason and a solution.
#[track_caller]
fn assert_refused(reader: &dyn Reader, words: &[&str]) {
    let found = reader.check().unwrap();
    let bad = found.iter().find(|finding| !finding.ok).unwrap();
    assert_eq!(bad.stage, "tls", "{found:?}");
    let error = reader.discover().unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Connection, "OBJECT-NO-TLS"));
    let told = format!("{}; {}", error.message, error.hint.clone().unwrap_or_default());
    for word in words {
        assert!(told.contains(word), "no `{word}` in: {error:?}");
        assert!(bad.detail.contains(word), "no `{word}` in: {bad:?}");
    }
    let counts = reader.counts().unwrap();
    let broken = counts.iter().find(|count| count.name == "connections_broken").unwrap();
    assert_eq!(broken.value, 1, "a certificate is not asked for twice: {counts:?}");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let (bucket, endpoint) = bucket("server", "localhost");
    let reader = bucket.reader(trusting(&endpoint, None));
    assert_refused(
        reader.as_ref(),
        &["`localhost`", "not signed by a trusted authority", "`ca_file`"],
    );
    let other = Certificates::make();
    let reader = bucket.reader(trusting(&endpoint, Some(&other.authority())));
    assert_refused(reader.as_ref(), &["`localhost`", "`ca_file`"]);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let (bucket, endpoint) = bucket("server", "127.0.0.1");
    let reader = bucket.reader(trusting(&endpoint, Some(&certificates().authority())));
    assert_refused(reader.as_ref(), &["`127.0.0.1`", "for other names", "localhost", "`endpoint`"]);
}

#[test]
fn a_certificate_whose_time_is_over_is_refused() {
    let (bucket, endpoint) = bucket("expired", "localhost");
    let reader = bucket.reader(trusting(&endpoint, Some(&certificates().authority())));
    assert_refused(reader.as_ref(), &["`localhost`", "has expired", "clock"]);
}

#[test]
fn a_port_for_plain_text_is_told_from_one_for_tls() {
    let (bucket, _) = bucket("server", "localhost");
    let endpoint = bucket.endpoint.replace("http://", "https://");
    let reader = bucket.reader(trusting(&endpoint, Some(&certificates().authority())));
    assert_refused(reader.as_ref(), &["`127.0.0.1`", "`http://`"]);
}

#[test]
fn plain_text_leaves_the_machine_only_where_that_is_allowed() {
    let (bucket, _) = bucket("server", "localhost");
    let host = Host::new(secrets(), Default::default());
    let refused = |more: Value| ObjectStorePlugin.reader(bucket.options(more), host.clone()).err();
    for endpoint in ["http://s3.example:9000", "http://10.0.0.1"] {
        let error = refused(json!({"endpoint": endpoint})).unwrap();
        assert_eq!(error.kind, ErrorKind::Options, "{error:?}");
        assert!(error.message.contains("in plain text"), "{error}");
        assert!(error.hint.as_deref().unwrap().contains("allow_http"), "{error:?}");
        assert_eq!(refused(json!({"endpoint": endpoint, "allow_http": true})), None);
    }
    assert_eq!(rows(bucket.reader(json!({"path": ["a.csv"]})).as_ref(), 1).unwrap().len(), 2);
}
