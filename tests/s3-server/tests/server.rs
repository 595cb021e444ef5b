//! Tests the server with the client that plugins use, `object_store`, and with faults.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::sync::{Arc, Once};

use object_store::{
    Attribute, Attributes, Error, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use transload_tests_s3::{BUCKET, Fault, Faults, KEY, Rule, SECRET, Server};

fn client(endpoint: &str) -> AmazonS3 {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    let retry = object_store::RetryConfig { max_retries: 0, ..Default::default() };
    let builder = AmazonS3Builder::new().with_endpoint(endpoint).with_allow_http(true);
    let builder = builder.with_access_key_id(KEY).with_secret_access_key(SECRET);
    builder.with_region("us-east-1").with_bucket_name(BUCKET).with_retry(retry).build().unwrap()
}

/// Runs a test on a separate server.
fn on_server<F: Future<Output = ()>>(test: impl FnOnce(Arc<AmazonS3>, Faults) -> F) {
    let server = Server::start();
    let client = Arc::new(client(server.endpoint()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(client, Faults::at(server.endpoint())));
}

async fn put(client: &AmazonS3, key: &str, bytes: &'static [u8]) -> String {
    let put = client.put(&Path::parse(key).unwrap(), PutPayload::from_static(bytes)).await;
    put.unwrap().e_tag.unwrap()
}

async fn text(client: &AmazonS3, key: &str) -> Result<Vec<u8>, Error> {
    Ok(client.get(&Path::parse(key).unwrap()).await?.bytes().await?.to_vec())
}

async fn keys(client: &AmazonS3, prefix: &str) -> Vec<String> {
    use futures_util::TryStreamExt;
    let prefix = Path::from(prefix);
    let metas: Vec<_> = client.list(Some(&prefix)).try_collect().await.unwrap();
    metas.into_iter().map(|meta| meta.location.to_string()).collect()
}

/// Three parts, the last one short.
async fn upload(client: &AmazonS3, key: &str) -> Box<dyn MultipartUpload> {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata("token".into()), "t/1".into());
    let options = PutMultipartOptions { attributes, ..Default::default() };
    let mut upload = client.put_multipart_opts(&Path::parse(key).unwrap(), options).await.unwrap();
    for bytes in [vec![1; 5 << 20], vec![2; 5 << 20], vec![3; 7]] {
        upload.put_part(bytes.into()).await.unwrap();
    }
    upload
}

async fn metadata(client: &AmazonS3, key: &str) -> Option<String> {
    let options = GetOptions::new().with_head(true);
    let found = client.get_opts(&Path::parse(key).unwrap(), options).await.unwrap().attributes;
    found.get(&Attribute::Metadata("token".into())).map(|value| value.as_ref().to_owned())
}

#[test]
fn objects_are_as_they_were_put_whatever_their_keys() {
    on_server(|client, _| async move {
        let long = format!("deep/{}/x", "day=2026-11-21".repeat(20));
        for key in ["a", "a/b", "ü/日本 %2F+&", &long] {
            put(&client, key, b"first").await;
            let etag = put(&client, key, b"0123456789").await;
            let meta = client.head(&Path::parse(key).unwrap()).await.unwrap();
            assert_eq!((meta.size, meta.e_tag.as_deref()), (10, Some(etag.as_str())), "{key}");
            assert_eq!(
                client.get_range(&Path::parse(key).unwrap(), 3..6).await.unwrap()[..],
                b"345"[..]
            );
        }
        assert_eq!(keys(&client, "").await, ["a", "a/b", &long, "ü/日本 %2F+&"]);
        client.delete(&Path::from("a")).await.unwrap();
        assert!(matches!(text(&client, "a").await, Err(Error::NotFound { .. })));
        assert_eq!(text(&client, "a/b").await.unwrap(), b"0123456789");
    });
}

#[test]
fn conditions_hold() {
    on_server(|client, _| async move {
        let create = || PutOptions::from(PutMode::Create);
        let path = Path::from("x");
        client.put_opts(&path, "one".into(), create()).await.unwrap();
        let again = client.put_opts(&path, "two".into(), create()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        let get = |etag: &str| GetOptions::new().with_if_match(Some(etag));
        let etag = client.head(&path).await.unwrap().e_tag.unwrap();
        client.get_opts(&path, get(&etag)).await.unwrap();
        put(&client, "x", b"three").await;
        let changed = client.get_opts(&path, get(&etag)).await;
        assert!(matches!(changed, Err(Error::Precondition { .. })), "{changed:?}");
    });
}

#[test]
fn a_listing_has_pages_and_etags() {
    on_server(|client, faults| async move {
        for number in 0..5 {
            put(&client, &format!("p/{number}"), b"x").await;
        }
        let armed = faults.arm(Rule::on("ListObjects").key("p"), Fault::Pages(2));
        assert_eq!(keys(&client, "p").await.len(), 5);
        assert_eq!(armed.hits(), 3);
        let listed = client.list_with_delimiter(None).await.unwrap();
        assert_eq!(listed.common_prefixes, [Path::from("p")]);
    });
}

#[test]
fn an_upload_is_seen_when_it_is_complete() {
    on_server(|client, faults| async move {
        let mut one = upload(&client, "big").await;
        let mut other = upload(&client, "big").await;
        assert_eq!(faults.uploads("b"), ["big", "big"]);
        assert!(keys(&client, "").await.is_empty());
        let etag = one.complete().await.unwrap().e_tag.unwrap();
        assert!(etag.ends_with("-3\""), "{etag}");
        assert_eq!(metadata(&client, "big").await.as_deref(), Some("t/1"));
        assert_eq!(client.head(&Path::from("big")).await.unwrap().size, (10 << 20) + 7);
        other.abort().await.unwrap();
        assert!(faults.uploads("").is_empty());
    });
}

#[test]
fn answers_are_lost_and_wrong_where_a_rule_says_so() {
    on_server(|client, faults| async move {
        put(&client, "k/x", b"0123456789").await;
        let gone = faults.once("GetObject", "k/", Fault::SLOW_DOWN);
        assert!(format!("{:?}", text(&client, "k/x").await.unwrap_err()).contains("SlowDown"));
        assert_eq!((gone.hits(), text(&client, "k/x").await.unwrap().len()), (1, 10));
        let _cut = faults.once("GetObject", "k/", Fault::CutBody(4));
        text(&client, "k/x").await.unwrap_err();
        let _whole = faults.once("GetObject", "k/", Fault::IgnoreRange);
        client.get_range(&Path::from("k/x"), 3..6).await.unwrap_err();
        let right = client.head(&Path::from("k/x")).await.unwrap().e_tag;
        let _etag = faults.once("HeadObject", "k/", Fault::WrongEtag);
        assert_ne!(client.head(&Path::from("k/x")).await.unwrap().e_tag, right);
        let _reset = faults.once("*", "k/", Fault::Reset);
        text(&client, "k/x").await.unwrap_err();
        assert_eq!(faults.seen("GetObject", "k/x").len(), 5);
    });
}

#[test]
fn a_reply_is_lost_after_the_action() {
    on_server(|client, faults| async move {
        for fault in [Fault::LoseReply, Fault::DoneButError] {
            let mut upload = upload(&client, "lost").await;
            let armed = faults.once("CompleteMultipartUpload", "lost", fault);
            upload.complete().await.unwrap_err();
            assert_eq!(armed.hits(), 1);
            assert_eq!(client.head(&Path::from("lost")).await.unwrap().size, (10 << 20) + 7);
            client.delete(&Path::from("lost")).await.unwrap();
        }
        let mut upload = upload(&client, "lost").await;
        let _error =
            faults.once("CompleteMultipartUpload", "lost", Fault::ErrorInBody(String::new()));
        upload.complete().await.unwrap_err();
        assert_eq!(faults.uploads(""), ["lost"]);
    });
}

#[test]
fn metadata_is_dropped_and_a_listing_is_stale() {
    on_server(|client, faults| async move {
        put(&client, "old", b"x").await;
        let _stale = faults.arm(Rule::on("ListObjects"), Fault::StaleListing);
        let _drop = faults.once("CreateMultipartUpload", "", Fault::DropMetadata);
        upload(&client, "new").await.complete().await.unwrap();
        client.delete(&Path::from("old")).await.unwrap();
        assert_eq!(metadata(&client, "new").await, None);
        assert_eq!(keys(&client, "").await, ["old"]);
    });
}

#[test]
fn a_wrong_secret_is_refused() {
    let server = Server::start();
    let _ = client(server.endpoint());
    let builder = AmazonS3Builder::new().with_endpoint(server.endpoint()).with_allow_http(true);
    let builder = builder.with_access_key_id(KEY).with_secret_access_key("wrong");
    let client = builder.with_region("us-east-1").with_bucket_name(BUCKET).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(client.head(&Path::from("x"))).unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused:?}");
}
