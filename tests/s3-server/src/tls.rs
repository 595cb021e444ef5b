//! Certificates of a test authority, and TLS with one of them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// The certificates of `tests/servers/certificates`, all for the name `localhost`: `server`, valid
/// for a month, and `expired`.
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Creates new certificates.
    ///
    /// # Panics
    /// If the script fails.
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../servers/certificates");
        let made = Command::new("sh").arg(script).arg(folder.path()).output().expect("sh");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder }
    }

    /// The authority's certificate, for a client to trust.
    pub fn authority(&self) -> PathBuf {
        self.file("ca.crt")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn acceptor(&self, name: &str) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.file(&format!("{name}.crt")));
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().expect("versions");
        let config = config.with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.expect("a certificate")], key);
        TlsAcceptor::from(Arc::new(config.expect("a pair")))
    }
}
