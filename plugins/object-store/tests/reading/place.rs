//! Places where tests put objects, each under a prefix of its own, and what a host does to read
//! them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{
    ObjectStore, ObjectStoreExt, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    local::LocalFileSystem, path::Path,
};
use serde_json::{Value, json};
use transload_formats::CellRenderer;
use transload_plugin_api::{
    Cancel, Column, Host, Options, Plugin, Reader, Result, Secret, Secrets, Split, SplitRequest,
};
use transload_plugin_object_store::ObjectStorePlugin;

pub(crate) const S3_KEY: &str = "transload";
pub(crate) const S3_SECRET: &str = "transload-secret";
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A prefix in a store.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) prefix: String,
    store: Arc<dyn ObjectStore>,
    /// Options besides `url`.
    options: Value,
    pub(crate) secrets: Vec<(&'static str, &'static str)>,
    runtime: tokio::runtime::Runtime,
    _folder: Option<tempfile::TempDir>,
}

/// Secrets that a test knows.
pub(crate) struct Fixed(pub(crate) HashMap<&'static str, &'static str>);

impl Secrets for Fixed {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok(self.0.get(key).map(|value| Secret::new(*value)))
    }
}

/// A host with these secrets.
pub(crate) fn host(secrets: &[(&'static str, &'static str)], cancel: Cancel) -> Host {
    Host::new(Arc::new(Fixed(secrets.iter().copied().collect())), cancel)
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("set {name}: see tests/servers"))
}

fn fresh() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("reading-{}-{number}", getrandom::u64().unwrap())
}

impl Place {
    /// The S3 server that all tests share.
    pub(crate) fn s3() -> Self {
        Self::s3_at(&variable("TRANSLOAD_TEST_S3"))
    }

    pub(crate) fn s3_at(endpoint: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = AmazonS3Builder::new()
            .with_bucket_name("transload")
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_access_key_id(S3_KEY)
            .with_secret_access_key(S3_SECRET)
            .build()
            .unwrap();
        Self::new(
            Arc::new(store),
            "s3://transload",
            json!({"endpoint": endpoint, "access_key_id": S3_KEY}),
            vec![("secret_access_key", S3_SECRET)],
        )
    }

    pub(crate) fn azure() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = variable("TRANSLOAD_TEST_AZURE");
        let store = MicrosoftAzureBuilder::new()
            .with_account("devstoreaccount1")
            .with_access_key(AZURE_KEY)
            .with_container_name("transload")
            .with_endpoint(endpoint.clone())
            .with_allow_http(true)
            .build()
            .unwrap();
        let options = json!({"endpoint": endpoint});
        Self::new(Arc::new(store), "az://transload", options, vec![("account_key", AZURE_KEY)])
    }

    pub(crate) fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let store = LocalFileSystem::new_with_prefix(&base).unwrap();
        let url = format!("file://{}", base.display());
        let mut place = Self::new(Arc::new(store), &url, json!({}), Vec::new());
        std::fs::create_dir(base.join(&place.prefix)).unwrap();
        place._folder = Some(folder);
        place
    }

    /// One of each kind.
    pub(crate) fn all() -> Vec<Self> {
        vec![Self::s3(), Self::azure(), Self::file()]
    }

    fn new(
        store: Arc<dyn ObjectStore>,
        base: &str,
        options: Value,
        secrets: Vec<(&'static str, &'static str)>,
    ) -> Self {
        let prefix = fresh();
        let url = format!("{base}/{prefix}");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Self { url, prefix, store, options, secrets, runtime, _folder: None }
    }

    fn path(&self, name: &str) -> Path {
        Path::parse(format!("{}/{name}", self.prefix)).unwrap()
    }

    pub(crate) fn put(&self, name: &str, content: impl Into<Vec<u8>>) {
        let (path, content) = (self.path(name), content.into());
        self.runtime.block_on(self.store.put(&path, content.into())).unwrap();
    }

    /// Many objects of the same content.
    pub(crate) fn put_all(&self, names: impl IntoIterator<Item = String>, content: &'static str) {
        let puts = stream::iter(names.into_iter().map(|name| self.path(&name)));
        let puts = puts.map(|path| async move { self.store.put(&path, content.into()).await });
        self.runtime.block_on(puts.buffer_unordered(32).try_collect::<Vec<_>>()).unwrap();
    }

    /// Puts an object under a key that the client cannot address, into S3.
    pub(crate) fn put_raw(&self, name: &str, content: &str) {
        use object_store::{
            aws::{AwsAuthorizer, AwsCredential},
            client::{HttpRequest, HttpService},
        };
        let endpoint = self.options["endpoint"].as_str().unwrap();
        let mut request = HttpRequest::new(bytes::Bytes::from(content.to_owned()).into());
        *request.method_mut() = reqwest::Method::PUT;
        let url = format!("{endpoint}/transload/{}/{name}", self.prefix);
        *request.uri_mut() = url.parse().unwrap();
        request.headers_mut().insert("content-length", content.len().into());
        let (key_id, secret_key) = (S3_KEY.to_owned(), S3_SECRET.to_owned());
        let credential = AwsCredential { key_id, secret_key, token: None };
        let signer = AwsAuthorizer::new(&credential, "s3", "us-east-1");
        signer.try_authorize(&mut request, None).unwrap();
        let client = reqwest::Client::new();
        let answer = self.runtime.block_on(HttpService::call(&client, request)).unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    pub(crate) fn delete(&self, name: &str) {
        self.runtime.block_on(self.store.delete(&self.path(name))).unwrap();
    }

    /// The connection's options and more.
    pub(crate) fn options(&self, more: Value) -> Options {
        let mut values = self.options.as_object().unwrap().clone();
        values.insert("url".to_owned(), self.url.clone().into());
        values.extend(more.as_object().unwrap().clone());
        Options { values, schema: Vec::new() }
    }

    pub(crate) fn reader(&self, more: Value) -> Box<dyn Reader> {
        self.reader_until(more, Cancel::new())
    }

    pub(crate) fn reader_until(&self, more: Value, cancel: Cancel) -> Box<dyn Reader> {
        ObjectStorePlugin.reader(self.options(more), host(&self.secrets, cancel)).unwrap()
    }

    /// The names that a reader lists, relative to the url.
    pub(crate) fn names(&self, more: Value) -> Result<Vec<String>> {
        let base = match self.url.strip_prefix("file://") {
            Some(folder) => format!("{folder}/"),
            None => format!("{}/", self.url),
        };
        let found = self.reader(more).discover()?;
        Ok(found.into_iter().map(|it| it.name.strip_prefix(&base).unwrap().to_owned()).collect())
    }
}

/// The texts of all rows of all splits, `NULL` for NULL.
pub(crate) fn rows(reader: &dyn Reader, max: u32) -> Result<Vec<Vec<String>>> {
    let columns = reader.schema()?.columns;
    rows_of(reader, &columns, max)
}

/// The texts of these columns.
pub(crate) fn rows_of(
    reader: &dyn Reader,
    columns: &[Column],
    max: u32,
) -> Result<Vec<Vec<String>>> {
    let columns = reader.produces(columns)?;
    let splits = reader.splits(&SplitRequest { max, columns: columns.clone() })?;
    let mut rows = Vec::new();
    for split in &splits {
        rows.extend(rows_of_split(reader, split, &columns)?);
    }
    Ok(rows)
}

pub(crate) fn rows_of_split(
    reader: &dyn Reader,
    split: &Split,
    columns: &[Column],
) -> Result<Vec<Vec<String>>> {
    let mut task = reader.open(split, columns, None)?;
    let mut rows = Vec::new();
    while let Some(found) = task.next_batch()? {
        assert!(found.dirty.is_empty(), "{:?}", found.dirty);
        let arrays = found.batch.columns().iter().zip(columns);
        let cells: Vec<_> =
            arrays.map(|(it, column)| CellRenderer::new(column, it.as_ref()).unwrap()).collect();
        let text = |cells: &CellRenderer<'_>, row: usize| {
            let mut out = Vec::new();
            match cells.is_null(row) {
                true => return "NULL".to_owned(),
                false => cells.render(row, &mut out),
            }
            String::from_utf8(out).unwrap()
        };
        let row = |row| cells.iter().map(|cells| text(cells, row)).collect::<Vec<_>>();
        rows.extend((0..found.batch.num_rows()).map(row));
    }
    Ok(rows)
}

/// Sorted, to compare what came in another order.
pub(crate) fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}
