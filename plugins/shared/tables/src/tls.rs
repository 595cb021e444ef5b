//! TLS by rustls, behind the feature `tls`: which certificates are trusted, what is verified, what
//! the client shows. The handshake is each plugin's own.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use serde::Deserialize;
use transload_plugin_api::{Error, Result};

/// How a connection is protected. Never weaker than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Plain text.
    Disable,
    /// Encrypted; certificate and host name are verified.
    VerifyFull,
    /// Encrypted; the certificate is verified, the host name is not.
    VerifyCa,
    /// Encrypted, but to whom is not known.
    InsecureRequire,
}

impl TlsMode {
    /// What holds where the job says nothing: all is verified unless nothing leaves the machine.
    pub fn for_host(host: &str) -> Self {
        // A path is a Unix socket.
        let loopback = host == "localhost"
            || host.starts_with('/')
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if loopback { Self::Disable } else { Self::VerifyFull }
    }

    /// What it means, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Disable => "plain text",
            Self::VerifyFull => "certificate and host name are verified",
            Self::VerifyCa => "the certificate is verified, the host name is not",
            Self::InsecureRequire => "encrypted, but nothing is verified",
        }
    }
}

/// How connections to one server are protected.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// What is verified.
    pub mode: TlsMode,
    /// Certificates (PEM) that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and its private key (PEM).
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl TlsSettings {
    /// Reads the certificates; what is verified is the settings' mode in the result as well.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] with the file, if a file cannot be read or holds no certificate.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed("prepare TLS", &error))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let config = match &self.client_certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| bad_file(key, &error))?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .map_err(|error| failed("use the client's certificate", &error))?
            }
        };
        Ok(Arc::new(config))
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<Verifier>> {
        let checked = match self.mode {
            // Without TLS the verifier is not used.
            TlsMode::InsecureRequire | TlsMode::Disable => None,
            TlsMode::VerifyFull | TlsMode::VerifyCa => {
                let roots = Arc::new(roots(self.ca_file.as_deref())?);
                let made =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
                Some(made.build().map_err(|error| failed("trust the certificates", &error))?)
            }
        };
        Ok(Arc::new(Verifier { checked, any_name: self.mode == TlsMode::VerifyCa, provider }))
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| bad_file(file, &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        let message = "there are no certificates to trust, so nothing can be verified";
        return Err(Error::options(message).hint("name them with `ca_file`"));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| bad_file(file, &error))?;
    match all.is_empty() {
        true => {
            Err(Error::options("the file holds no certificate (PEM)")
                .at(file.display().to_string()))
        }
        false => Ok(all),
    }
}

fn bad_file(file: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    failed("read a certificate or key", error).at(file.display().to_string())
}

fn failed(doing: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::options(format!("{doing}: {error}")).caused_by(error)
}

/// Verifies as the mode says; signatures always.
#[derive(Debug)]
struct Verifier {
    /// `None`: any certificate will do.
    checked: Option<Arc<WebPkiServerVerifier>>,
    any_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(checked) = &self.checked else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            checked.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: everything else holds.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn nothing_leaves_the_machine_unverified() {
        for (host, mode) in [
            ("db.example", TlsMode::VerifyFull),
            ("10.0.0.1", TlsMode::VerifyFull),
            ("localhost.example", TlsMode::VerifyFull),
            ("127.0.0.1", TlsMode::Disable),
            ("::1", TlsMode::Disable),
            ("localhost", TlsMode::Disable),
        ] {
            assert_eq!(TlsMode::for_host(host), mode, "{host}");
        }
    }

    #[test]
    fn files_that_hold_no_certificate_are_named() {
        for file in ["/nonexistent/ca.crt", "/dev/null"] {
            let (mode, client_certificate) = (TlsMode::VerifyFull, None);
            let settings = TlsSettings { mode, ca_file: Some(file.into()), client_certificate };
            let error = settings.client_config().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(error.place.iter().any(|place| place.contains(file)), "{error:?}");
        }
    }
}
