//! The servers' addresses and credentials.

use std::{
    process::Command,
    sync::{Arc, Once, OnceLock},
};

use object_store::{
    ClientOptions, ObjectStore,
    aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential},
    azure::MicrosoftAzureBuilder,
    client::HttpRequest,
    gcp::GoogleCloudStorageBuilder,
};
use transload_plugin_api::{Result, Secret, Secrets};
use transload_tests_s3::{ACCOUNT, BUCKET, KEY, SECRET};

pub(crate) const REGION: &str = "us-east-1";

/// The account of every Azurite, and its key.
pub const AZURE: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

/// The key of the S3 server and its secret: those of `tests/servers/s3`, or those of another server
/// (such as Garage, which generates its own keys).
pub(crate) fn s3() -> (String, String) {
    let variable = |name: &str, usual: &str| {
        std::env::var(format!("TRANSLOAD_TEST_S3_{name}")).unwrap_or_else(|_| usual.to_owned())
    };
    (variable("KEY", KEY), variable("SECRET", SECRET))
}

/// The address of the server that all tests share.
pub(crate) fn endpoint(word: &str) -> String {
    let script = word.to_lowercase().replace("azure", "azurite");
    std::env::var(format!("TRANSLOAD_TEST_{word}")).unwrap_or_else(|_| {
        panic!(
            "TRANSLOAD_TEST_{word} is not set: run `tests/servers/{script} start DIR`, export what it prints"
        )
    })
}

pub(crate) fn s3_client(endpoint: &str) -> Arc<dyn ObjectStore> {
    install_tls();
    let (key, secret) = s3();
    let builder = AmazonS3Builder::new().with_endpoint(endpoint).with_allow_http(true);
    let builder = builder.with_access_key_id(key).with_secret_access_key(secret);
    let client = builder.with_region(REGION).with_bucket_name(BUCKET).build();
    Arc::new(client.expect("a client"))
}

pub(crate) fn azure_client(endpoint: &str) -> Arc<dyn ObjectStore> {
    install_tls();
    let builder = MicrosoftAzureBuilder::new().with_endpoint(endpoint.to_owned());
    let builder = builder.with_account(AZURE.0).with_access_key(AZURE.1).with_allow_http(true);
    Arc::new(builder.with_container_name(BUCKET).build().expect("a client"))
}

/// A service account whose tokens the server accepts, in the format of Google's console. Its key is
/// generated on first use.
pub(crate) fn google() -> &'static str {
    static ACCOUNT_FILE: OnceLock<String> = OnceLock::new();
    ACCOUNT_FILE.get_or_init(|| {
        let arguments = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
        let made = Command::new("openssl").args(arguments).output().expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = String::from_utf8(made.stdout).expect("PEM");
        serde_json::json!({
            "type": "service_account", "client_email": ACCOUNT, "private_key_id": "1",
            "private_key": key,
        })
        .to_string()
    })
}

pub(crate) fn google_client(endpoint: &str) -> Arc<dyn ObjectStore> {
    install_tls();
    let options = ClientOptions::new().with_allow_http(true);
    let builder = GoogleCloudStorageBuilder::new().with_base_url(endpoint);
    let builder = builder.with_service_account_key(google()).with_client_options(options);
    Arc::new(builder.with_bucket_name(BUCKET).build().expect("a client"))
}

/// Signs a request to the S3 server that the client library does not offer.
pub(crate) fn sign(request: &mut HttpRequest) {
    let (key_id, secret_key) = s3();
    let credential = AwsCredential { key_id, secret_key, token: None };
    let signer = AwsAuthorizer::new(&credential, "s3", REGION);
    signer.try_authorize(request, None).expect("a signature");
}

/// The clients of test and plugin may share a process.
fn install_tls() {
    static ONCE: Once = Once::new();
    // Another provider may have been installed already.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

struct Keys;

impl Secrets for Keys {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok(match key {
            "secret_access_key" => Some(Secret::new(s3().1)),
            "account_key" => Some(Secret::new(AZURE.1)),
            "service_account_key" => Some(Secret::new(google())),
            _ => None,
        })
    }
}

/// The keys to every kind of store.
pub fn secrets() -> Arc<dyn Secrets> {
    Arc::new(Keys)
}
