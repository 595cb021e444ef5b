//! A prefix for one test, and what a test does with the objects below it.

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{
    Attribute, ObjectStore, ObjectStoreExt,
    client::{HttpRequest, HttpResponse, HttpService},
    local::LocalFileSystem,
    path::Path,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use transload_plugin_api::{Cancel, Host, Options};
use transload_tests_s3::{BUCKET, Faults, Server};

use crate::login::{self, AZURE};

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A server with the S3 protocol.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage, simulated by the S3 server.
    Google,
    /// A local folder.
    Folder,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::S3, Self::Azure, Self::Google, Self::Folder];
}

/// A prefix for one test alone, in the bucket `transload` of a store or in a folder; emptied when
/// dropped.
pub struct Bucket {
    /// The kind of store.
    pub kind: Kind,
    /// The server's address; empty for a folder.
    pub endpoint: String,
    /// The prefix as a job's `url`.
    pub url: String,
    /// The start of all keys of the test, without a final `/`.
    pub prefix: String,
    /// The file with the server's secret.
    pub secret: PathBuf,
    client: Arc<dyn ObjectStore>,
    runtime: Runtime,
    /// The server, if the test has its own.
    server: Option<Server>,
    _folder: TempDir,
}

impl Bucket {
    /// In the server of this kind that all tests share, or in a fresh folder.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::S3 => Self::s3(),
            Kind::Azure => Self::azure(),
            Kind::Google => Self::google(),
            Kind::Folder => Self::folder(),
        }
    }

    /// One bucket of each kind.
    ///
    /// # Panics
    /// If a server is not there.
    pub fn all() -> [Self; 4] {
        Kind::ALL.map(Self::new)
    }

    /// In the S3 server that all tests share.
    ///
    /// # Panics
    /// If there is none.
    pub fn s3() -> Self {
        Self::s3_at(&login::endpoint("S3"))
    }

    /// In a separate S3 server, so that faults affect only this test.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn failing() -> (Self, Faults) {
        let bucket = Self::on(Server::start());
        let faults = bucket.faults();
        (bucket, faults)
    }

    /// In a separate S3 server.
    pub fn on(server: Server) -> Self {
        let mut bucket = Self::s3_at(server.endpoint());
        bucket.server = Some(server);
        bucket
    }

    /// In the Azurite that all tests share.
    ///
    /// # Panics
    /// If there is none.
    pub fn azure() -> Self {
        let endpoint = login::endpoint("AZURE");
        let client = login::azure_client(&endpoint);
        Self::on_server(Kind::Azure, "az", endpoint, AZURE.1, client)
    }

    /// In a separate server that implements Google's dialect.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn google() -> Self {
        let server = Server::start();
        let endpoint = server.google_endpoint().to_owned();
        let client = login::google_client(&endpoint);
        let mut bucket = Self::on_server(Kind::Google, "gs", endpoint, login::google(), client);
        bucket.server = Some(server);
        bucket
    }

    /// In a fresh folder.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn folder() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().canonicalize().expect("a path").join("data");
        fs::create_dir(&path).expect("a folder");
        let prefix = path.to_str().expect("a path in UTF-8").trim_start_matches('/').to_owned();
        let url = format!("file:///{prefix}");
        let client = Arc::new(LocalFileSystem::new());
        Self::made(Kind::Folder, String::new(), (url, prefix), folder, client)
    }

    fn s3_at(endpoint: &str) -> Self {
        let (secret, client) = (login::s3().1, login::s3_client(endpoint));
        Self::on_server(Kind::S3, "s3", endpoint.to_owned(), &secret, client)
    }

    fn on_server(
        kind: Kind,
        scheme: &str,
        endpoint: String,
        secret: &str,
        client: Arc<dyn ObjectStore>,
    ) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let nanos = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_nanos();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("t-{}-{nanos}-{count}", process::id());
        let url = format!("{scheme}://{BUCKET}/{prefix}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bucket = Self::made(kind, endpoint, (url, prefix), folder, client);
        fs::write(&bucket.secret, secret).expect("a file");
        fs::set_permissions(&bucket.secret, Permissions::from_mode(0o600)).expect("a mode");
        bucket
    }

    fn made(
        kind: Kind,
        endpoint: String,
        (url, prefix): (String, String),
        folder: TempDir,
        client: Arc<dyn ObjectStore>,
    ) -> Self {
        let secret = folder.path().join("secret");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("an event loop");
        Self { kind, endpoint, url, prefix, secret, client, runtime, server: None, _folder: folder }
    }

    /// Options of a connection to the prefix, and more.
    ///
    /// # Panics
    /// If `more` is not an object.
    pub fn options(&self, more: Value) -> Options {
        let (url, endpoint) = (&self.url, &self.endpoint);
        let mut values = match self.kind {
            Kind::S3 => json!({"url": url, "endpoint": endpoint, "access_key_id": login::s3().0}),
            Kind::Azure | Kind::Google => json!({"url": url, "endpoint": endpoint}),
            Kind::Folder => json!({"url": url}),
        };
        let all = values.as_object_mut().expect("an object");
        all.extend(more.as_object().expect("an object of options").clone());
        Options { values: std::mem::take(all), ..Options::default() }
    }

    /// A host that provides the keys.
    pub fn host(&self) -> Host {
        Host::new(login::secrets(), Cancel::new())
    }

    /// Lines for a job's section that select a path below the prefix.
    pub fn lines(&self, path: &str) -> String {
        format!("{}path = \"{path}\"\n", self.connection())
    }

    /// Lines with the address of the prefix and the login.
    pub fn connection(&self) -> String {
        let secret = format!("{{ file = \"{}\" }}", self.secret.display());
        let login = match self.kind {
            Kind::S3 => format!("region = \"{}\"\nsecret_access_key = {secret}\n", login::REGION),
            Kind::Azure => format!("account_key = {secret}\n"),
            Kind::Google => format!("service_account_key = {secret}\n"),
            Kind::Folder => String::new(),
        };
        let options = self.options(json!({"plugin": "object-store"})).values;
        let lines = options.iter().map(|(key, value)| format!("{key} = {value}\n"));
        lines.collect::<String>() + &login
    }

    /// The interface for arming faults of the S3 server; armed faults are limited to
    /// [`Bucket::prefix`], because other tests use the server too.
    ///
    /// # Panics
    /// If the server is not `tests/s3-server`.
    pub fn faults(&self) -> Faults {
        assert!(matches!(self.kind, Kind::S3 | Kind::Google));
        Faults::at(&self.endpoint)
    }

    /// Puts an object below the prefix.
    ///
    /// # Panics
    /// If the store refuses it.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let content = content.as_ref().to_vec();
        let put = self.runtime.block_on(self.client.put(&self.path(name), content.into()));
        put.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Puts many objects with the same content.
    ///
    /// # Panics
    /// If the store refuses one.
    pub fn put_all(&self, names: impl IntoIterator<Item = String>, content: &'static str) {
        let puts = stream::iter(names.into_iter().map(|name| self.path(&name)));
        let puts = puts.map(|path| async move { self.client.put(&path, content.into()).await });
        let put = self.runtime.block_on(puts.buffer_unordered(32).try_collect::<Vec<_>>());
        put.expect("all are put");
    }

    /// Puts an object under a name that the client cannot address, into S3.
    ///
    /// # Panics
    /// If the store refuses it.
    pub fn put_raw(&self, name: &str, content: &str) {
        let mut request = HttpRequest::new(content.as_bytes().to_vec().into());
        *request.method_mut() = reqwest::Method::PUT;
        request.headers_mut().insert("content-length", content.len().into());
        self.runtime.block_on(self.ask(request, &format!("{}/{name}", self.prefix)));
    }

    /// An object's content.
    ///
    /// # Panics
    /// If it is not there.
    pub fn get(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        let got = self.runtime.block_on(async { self.client.get(&path).await?.bytes().await });
        got.unwrap_or_else(|error| panic!("{name}: {error}; there are {:?}", self.names())).to_vec()
    }

    /// An object's content as text.
    ///
    /// # Panics
    /// If it is missing or not text.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.get(name)).expect("UTF-8")
    }

    /// User metadata of an object.
    ///
    /// # Panics
    /// If it is not there.
    pub fn metadata(&self, name: &str) -> HashMap<String, String> {
        let got = self.runtime.block_on(self.client.get(&self.path(name)));
        let attributes = got.expect("an object").attributes;
        let metadata = attributes.iter().filter_map(|(name, value)| match name {
            Attribute::Metadata(name) => Some((name.to_string(), value.to_string())),
            _ => None,
        });
        metadata.collect()
    }

    /// Removes an object.
    ///
    /// # Panics
    /// If the store refuses it.
    pub fn remove(&self, name: &str) {
        self.runtime.block_on(self.client.delete(&self.path(name))).expect("a delete");
    }

    /// All names below the prefix, including hidden ones, sorted.
    ///
    /// # Panics
    /// If the store does not list them.
    pub fn names(&self) -> Vec<String> {
        let prefix = Path::parse(&self.prefix).expect("a prefix");
        let listed = self.client.list(Some(&prefix)).map_ok(|meta| meta.location.to_string());
        let paths: Vec<_> = self.runtime.block_on(listed.try_collect()).expect("a listing");
        let name = |path: &String| path[self.prefix.len() + 1..].to_owned();
        let mut names: Vec<_> = paths.iter().map(name).collect();
        names.sort();
        names
    }

    /// Names of data objects: without markers, manifests and other hidden objects.
    pub fn data(&self) -> Vec<String> {
        let is_data = |name: &String| !name.split('/').any(|it| it.starts_with(['_', '.']));
        self.names().into_iter().filter(is_data).collect()
    }

    /// Number of uploads that have begun and are neither completed nor cancelled; staged files in a
    /// folder. Azure does not list them.
    ///
    /// # Panics
    /// If the store does not list them.
    pub fn uploads(&self) -> usize {
        match self.kind {
            Kind::S3 => self.count_uploads(),
            Kind::Azure => 0,
            Kind::Google => self.faults().uploads(&self.prefix).len(),
            Kind::Folder => self.names().iter().filter(|name| name.ends_with(".part")).count(),
        }
    }

    /// Uses S3's ListMultipartUploads, which every server supports.
    fn count_uploads(&self) -> usize {
        let query = format!("?prefix={}%2F&uploads=", self.prefix);
        let answer = self.ask(HttpRequest::new(Vec::new().into()), &query);
        let body = self.runtime.block_on(async { answer.await.into_body().bytes().await });
        String::from_utf8_lossy(&body.expect("an answer")).matches("<UploadId>").count()
    }

    /// Sends the S3 server a request that the client library does not offer.
    async fn ask(&self, mut request: HttpRequest, path: &str) -> HttpResponse {
        let between = if path.starts_with('?') { "" } else { "/" };
        let url = format!("{}/{BUCKET}{between}{path}", self.endpoint);
        *request.uri_mut() = url.parse().expect("a url");
        login::sign(&mut request);
        let answer = HttpService::call(&reqwest::Client::new(), request).await.expect("an answer");
        assert!(answer.status().is_success(), "{url}: {}", answer.status());
        answer
    }

    /// The file for a name in a local folder.
    pub fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/{}/{name}", self.prefix))
    }

    fn path(&self, name: &str) -> Path {
        Path::parse(format!("{}/{name}", self.prefix)).expect("a name")
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // After a panic, the remaining objects may help to find the cause.
        let is_shared = self.kind != Kind::Folder && self.server.is_none();
        if is_shared && !std::thread::panicking() {
            let Ok(prefix) = Path::parse(&self.prefix) else { return };
            let listed = self.client.list(Some(&prefix)).map_ok(|meta| meta.location);
            let deleted = self.client.delete_stream(listed.boxed());
            // Names that the client cannot address are left.
            drop(self.runtime.block_on(deleted.collect::<Vec<_>>()));
        }
    }
}
