//! Objects of a test's own on real stores, looked at with a client of the test's own. Which stores
//! there are environment variables say; `tests/run` starts them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Once,
        atomic::{AtomicU32, Ordering},
    },
};

use futures_util::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    path::Path,
};
use tokio::runtime::Runtime;
use transload_tests_s3::{Faults, KEY, SECRET};

/// The account of every Azurite, and its key.
pub const AZURE: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

/// The stores that tests know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// What speaks S3.
    S3,
    /// Azure Blob Storage.
    Azure,
}

/// A prefix in the bucket `transload` of a store; emptied when dropped.
pub struct Bucket {
    /// What the store is.
    pub product: Product,
    /// Where it is.
    pub endpoint: String,
    /// What all keys of the test begin with, without a final `/`.
    pub prefix: String,
    /// The file that the secret stands in.
    pub secret: std::path::PathBuf,
    client: Arc<dyn ObjectStore>,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Bucket {
    /// In the S3 server that all tests share.
    ///
    /// # Panics
    /// If there is none.
    pub fn s3() -> Self {
        Self::s3_at(&endpoint("S3"))
    }

    /// In an S3 server.
    ///
    /// # Panics
    /// If that is no endpoint.
    pub fn s3_at(endpoint: &str) -> Self {
        install_tls();
        let (key, secret) = s3_login();
        let builder = AmazonS3Builder::new().with_endpoint(endpoint).with_allow_http(true);
        let builder = builder.with_access_key_id(key).with_secret_access_key(&secret);
        let client = builder.with_region("us-east-1").with_bucket_name("transload").build();
        Self::new(Product::S3, endpoint, &secret, Arc::new(client.expect("a client")))
    }

    /// In the Azurite that all tests share.
    ///
    /// # Panics
    /// If there is none.
    pub fn azure() -> Self {
        install_tls();
        let endpoint = endpoint("AZURE");
        let builder = MicrosoftAzureBuilder::new().with_endpoint(endpoint.clone());
        let builder = builder.with_account(AZURE.0).with_access_key(AZURE.1).with_allow_http(true);
        let client = builder.with_container_name("transload").build();
        Self::new(Product::Azure, &endpoint, AZURE.1, Arc::new(client.expect("a client")))
    }

    fn new(product: Product, endpoint: &str, secret: &str, client: Arc<dyn ObjectStore>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("secret");
        fs::write(&file, secret).expect("a file");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            product,
            endpoint: endpoint.to_owned(),
            prefix: format!("e-{}-{number}", std::process::id()),
            secret: file,
            client,
            runtime: runtime.expect("an event loop"),
            _folder: folder,
        }
    }

    /// Lines of a job's section that say where a path below the prefix is.
    pub fn lines(&self, path: &str) -> String {
        format!("{}path = \"{path}\"\n", self.connection())
    }

    /// Lines that say where the prefix is, and as whom one comes.
    pub fn connection(&self) -> String {
        let Self { endpoint, prefix, .. } = self;
        let (secret, key) = (self.secret.display(), s3_login().0);
        let (scheme, login) = match self.product {
            Product::S3 => (
                "s3",
                format!(
                    "region = \"us-east-1\"\naccess_key_id = \"{key}\"\n\
                     secret_access_key = {{ file = \"{secret}\" }}\n"
                ),
            ),
            Product::Azure => ("az", format!("account_key = {{ file = \"{secret}\" }}\n")),
        };
        format!(
            "plugin = \"object-store\"\nurl = \"{scheme}://transload/{prefix}\"\n\
             endpoint = \"{endpoint}\"\n{login}"
        )
    }

    /// Where faults of the S3 server are armed; by [`Bucket::prefix`], as others use it too.
    ///
    /// # Panics
    /// If it is no S3 server.
    pub fn faults(&self) -> Faults {
        assert_eq!(self.product, Product::S3);
        Faults::at(&self.endpoint)
    }

    fn path(&self, key: &str) -> Path {
        Path::parse(format!("{}/{key}", self.prefix)).expect("a key")
    }

    /// Puts an object below the prefix.
    ///
    /// # Panics
    /// If the store refuses it.
    pub fn put(&self, key: &str, content: &[u8]) {
        let payload = PutPayload::from(content.to_vec());
        let put = self.runtime.block_on(self.client.put(&self.path(key), payload));
        put.unwrap_or_else(|error| panic!("{key}: {error}"));
    }

    /// An object's content.
    ///
    /// # Panics
    /// If it is not there.
    pub fn get(&self, key: &str) -> Vec<u8> {
        let path = self.path(key);
        let got = self.runtime.block_on(async { self.client.get(&path).await?.bytes().await });
        got.unwrap_or_else(|error| panic!("{key}: {error}; there are {:?}", self.keys())).to_vec()
    }

    /// The keys below the prefix, without it, sorted.
    ///
    /// # Panics
    /// If the store does not list them.
    pub fn keys(&self) -> Vec<String> {
        let prefix = Path::parse(&self.prefix).expect("a prefix");
        let listed = self.client.list(Some(&prefix)).map_ok(|meta| meta.location.to_string());
        let keys: Vec<_> = self.runtime.block_on(listed.try_collect()).expect("a listing");
        let short = |key: &String| key[self.prefix.len() + 1..].to_owned();
        let mut keys: Vec<_> = keys.iter().map(short).collect();
        keys.sort();
        keys
    }

    /// The data objects below the prefix: without markers, manifests and what else is hidden.
    pub fn data(&self) -> Vec<String> {
        let is_data =
            |key: &String| key.rsplit('/').next().is_some_and(|name| !name.starts_with(['_', '.']));
        self.keys().into_iter().filter(is_data).collect()
    }

    /// Removes an object.
    ///
    /// # Panics
    /// If the store refuses it.
    pub fn delete(&self, key: &str) {
        self.runtime.block_on(self.client.delete(&self.path(key))).expect("a delete");
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // the store may be what has failed, and what is there tells why
        }
        self.keys().iter().for_each(|key| self.delete(key));
    }
}

/// The key of the S3 server and its secret: that of `tests/servers/s3`, or another server's own,
/// such as a garage's, which makes its keys itself.
fn s3_login() -> (String, String) {
    let variable = |name: &str, usual: &str| {
        std::env::var(format!("TRANSLOAD_TEST_S3_{name}")).unwrap_or_else(|_| usual.to_owned())
    };
    (variable("KEY", KEY), variable("SECRET", SECRET))
}

fn endpoint(word: &str) -> String {
    let script = word.to_lowercase().replace("azure", "azurite");
    std::env::var(format!("TRANSLOAD_TEST_{word}")).unwrap_or_else(|_| {
        panic!(
            "TRANSLOAD_TEST_{word} is not set: run `tests/servers/{script} start DIR`, export what it prints"
        )
    })
}

fn install_tls() {
    static ONCE: Once = Once::new();
    // Another one may be there already, which is as well.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
