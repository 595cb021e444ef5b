//! A prefix of a test's own in each kind of store, and how it looks from outside: through a client
//! of the test's own, never through the plugin.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::TryStreamExt;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt,
    aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential},
    azure::MicrosoftAzureBuilder,
    client::{HttpConnector, HttpRequest, ReqwestConnector},
    local::LocalFileSystem,
    path::Path,
};
use serde_json::{Map, Value, json};
use tempfile::{TempDir, tempdir};
use tokio::runtime::Runtime;
use transload_plugin_api::{Cancel, Host, Options, Result, Secret, Secrets};
use transload_tests_s3::{Fault, Faults, Server};

/// The account and key that every Azurite has.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    S3,
    Azure,
    Folder,
}

pub(crate) const ALL: [Kind; 3] = [Kind::S3, Kind::Azure, Kind::Folder];

/// A prefix of one test.
pub(crate) struct Home {
    pub(crate) kind: Kind,
    /// Below the bucket, without a final `/`.
    pub(crate) prefix: String,
    endpoint: String,
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
    _folder: Option<TempDir>,
    _server: Option<Arc<Server>>,
}

/// A variable that the test scripts set.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: see tests/run"))
}

fn s3_login() -> (String, String) {
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    (
        variable("TRANSLOAD_TEST_S3_KEY", "transload"),
        variable("TRANSLOAD_TEST_S3_SECRET", "transload-secret"),
    )
}

impl Home {
    /// A prefix that nobody has used.
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::S3 => Self::s3(variable("TRANSLOAD_TEST_S3"), None),
            Kind::Azure => Self::azure(variable("TRANSLOAD_TEST_AZURE")),
            Kind::Folder => {
                let folder = tempdir().unwrap();
                let path = folder.path().canonicalize().unwrap();
                let prefix = path.to_str().unwrap().trim_start_matches('/').to_owned();
                Self {
                    _folder: Some(folder),
                    ..Self::made(kind, prefix, String::new(), Arc::new(LocalFileSystem::new()))
                }
            }
        }
    }

    /// One on a server of the test's own, which can be told to fail.
    pub(crate) fn failing() -> (Self, Faults) {
        let server = Arc::new(Server::start());
        let faults = Faults::at(server.endpoint());
        (Self::s3(server.endpoint().to_owned(), Some(server)), faults)
    }

    fn s3(endpoint: String, server: Option<Arc<Server>>) -> Self {
        Self::install_crypto();
        let (key, secret) = s3_login();
        let store = AmazonS3Builder::new()
            .with_endpoint(&endpoint)
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name("transload")
            .with_access_key_id(key)
            .with_secret_access_key(secret)
            .build()
            .unwrap();
        let home = Self::made(Kind::S3, fresh_prefix(), endpoint, Arc::new(store));
        Self { _server: server, ..home }
    }

    fn azure(endpoint: String) -> Self {
        Self::install_crypto();
        let store = MicrosoftAzureBuilder::new()
            .with_endpoint(endpoint.clone())
            .with_allow_http(true)
            .with_account(AZURE_ACCOUNT)
            .with_access_key(AZURE_KEY)
            .with_container_name("transload")
            .build()
            .unwrap();
        Self::made(Kind::Azure, fresh_prefix(), endpoint, Arc::new(store))
    }

    /// Both clients, the test's and the plugin's, live in one process.
    fn install_crypto() {
        // An error says that another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }

    fn made(kind: Kind, prefix: String, endpoint: String, store: Arc<dyn ObjectStore>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { kind, prefix, endpoint, store, runtime, _folder: None, _server: None }
    }

    /// Options of a connection to the prefix, and more.
    pub(crate) fn options(&self, more: Value) -> Options {
        let prefix = &self.prefix;
        let mut values = match self.kind {
            Kind::S3 => json!({
                "url": format!("s3://transload/{prefix}"), "endpoint": self.endpoint,
                "access_key_id": s3_login().0,
            }),
            Kind::Azure => json!({
                "url": format!("az://transload/{prefix}"), "endpoint": self.endpoint,
                "account": AZURE_ACCOUNT,
            }),
            Kind::Folder => json!({"url": format!("file:///{prefix}")}),
        };
        let Value::Object(more) = more else { panic!("options are an object") };
        values.as_object_mut().unwrap().extend(more);
        let values: Map<_, _> = values.as_object().unwrap().clone();
        Options { values, schema: Vec::new() }
    }

    pub(crate) fn host(&self) -> Host {
        Host::new(secrets(), Cancel::new())
    }

    /// All names below the prefix, hidden ones included, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let path = Path::parse(&self.prefix).unwrap();
        let listed = self.store.list(Some(&path)).try_collect::<Vec<_>>();
        let listed = self.runtime.block_on(listed).unwrap();
        let start = format!("{}/", self.prefix);
        let mut names: Vec<_> = listed
            .iter()
            .map(|meta| meta.location.as_ref().strip_prefix(&start).unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Names of data: neither hidden nor the markers of the end.
    pub(crate) fn data(&self) -> Vec<String> {
        let visible = |name: &String| !name.split('/').any(|it| it.starts_with(['_', '.']));
        self.names().into_iter().filter(visible).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        let got = async { self.store.get(&self.path(name)).await?.bytes().await };
        self.runtime.block_on(got).unwrap().to_vec()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.get(name)).unwrap()
    }

    pub(crate) fn put(&self, name: &str, content: &str) {
        self.put_bytes(name, content.as_bytes().to_vec());
    }

    pub(crate) fn put_bytes(&self, name: &str, content: Vec<u8>) {
        let path = self.path(name);
        self.runtime.block_on(self.store.put(&path, content.into())).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        self.runtime.block_on(self.store.delete(&self.path(name))).unwrap();
    }

    /// User metadata of an object.
    pub(crate) fn metadata(&self, name: &str) -> HashMap<String, String> {
        let got = self.runtime.block_on(self.store.get(&self.path(name))).unwrap();
        let metadata = got.attributes.iter().filter_map(|(name, value)| match name {
            object_store::Attribute::Metadata(name) => {
                Some((name.to_string(), value.as_ref().to_owned()))
            }
            _ => None,
        });
        metadata.collect()
    }

    /// Uploads that have begun and are neither completed nor discarded; staged files in a folder.
    /// Azure does not tell.
    pub(crate) fn uploads(&self) -> usize {
        match self.kind {
            Kind::S3 => self.runtime.block_on(self.count_uploads()),
            Kind::Azure => 0,
            Kind::Folder => self.names().iter().filter(|name| name.ends_with(".part")).count(),
        }
    }

    /// By S3's ListMultipartUploads, which every server has.
    async fn count_uploads(&self) -> usize {
        let (key_id, secret_key) = s3_login();
        let credential = AwsCredential { key_id, secret_key, token: None };
        let url = format!("{}/transload?prefix={}%2F&uploads=", self.endpoint, self.prefix);
        let mut request = HttpRequest::new(Vec::new().into());
        *request.uri_mut() = url.parse().unwrap();
        AwsAuthorizer::new(&credential, "s3", "us-east-1")
            .try_authorize(&mut request, None)
            .unwrap();
        let client =
            ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true));
        let answer = client.unwrap().execute(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "listing uploads");
        let body = answer.into_body().bytes().await.unwrap();
        String::from_utf8_lossy(&body).matches("<UploadId>").count()
    }

    /// The file behind a name of a local folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/{}/{name}", self.prefix))
    }

    fn path(&self, name: &str) -> Path {
        Path::parse(format!("{}/{name}", self.prefix)).unwrap()
    }
}

/// A fault that answers with S3's own words for a status.
pub(crate) fn answer(status: u16, code: &str) -> Fault {
    Fault::Answer(status, code.to_owned())
}

fn fresh_prefix() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("writing-{}-{nanos}-{count}", std::process::id())
}

struct Keys;

impl Secrets for Keys {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok(match key {
            "secret_access_key" => Some(Secret::new(s3_login().1)),
            "account_key" => Some(Secret::new(AZURE_KEY)),
            _ => None,
        })
    }
}

/// Keys of every kind of store.
pub(crate) fn secrets() -> Arc<dyn Secrets> {
    Arc::new(Keys)
}
