//! TLS by rustls: what is trusted, what is verified, and the handshake.

use std::{io, path::Path, sync::Arc};

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
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use transload_plugin_api::{Error, ErrorKind, Result};

use crate::{
    link::Socket,
    options::{Address, TlsMode},
};

/// What a client says before the handshake
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>, SSLRequest).
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Makes TLS connections of one kind.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the certificates that the address names.
    pub(crate) fn new(address: &Address) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed("prepare TLS", &error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(address, provider)?);
        let config = match &address.client_certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| bad_file(key, &error))?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .map_err(|error| failed("use the client's certificate", &error))?
            }
        };
        Ok(Self(Arc::new(config)))
    }

    /// Goes on by TLS. A server that has none is an error.
    pub(crate) async fn start(&self, mut stream: TcpStream, host: &str) -> io::Result<Socket> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        stream.write_all(&REQUEST).await?;
        // One byte and not one more, or somebody else's words would count as the server's.
        if stream.read_u8().await? != b'S' {
            return Err(io::Error::other("the server does not speak TLS"));
        }
        let connector = TlsConnector::from(Arc::clone(&self.0));
        Ok(Socket::Tls(Box::new(connector.connect(name, stream).await?)))
    }
}

fn verifier(address: &Address, provider: Arc<CryptoProvider>) -> Result<Arc<Verifier>> {
    let checked = match address.tls {
        // Without TLS nobody asks the verifier.
        TlsMode::InsecureRequire | TlsMode::Disable => None,
        TlsMode::VerifyFull | TlsMode::VerifyCa => {
            let roots = Arc::new(roots(address.ca_file.as_deref())?);
            let made = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            Some(made.build().map_err(|error| failed("trust the certificates", &error))?)
        }
    };
    Ok(Arc::new(Verifier { checked, any_name: address.tls == TlsMode::VerifyCa, provider }))
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
        return Err(Error::new(ErrorKind::Options, message).hint("name them with `ca_file`"));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| bad_file(file, &error))?;
    match all.is_empty() {
        true => Err(Error::new(ErrorKind::Options, "the file holds no certificate (PEM)")
            .at(file.display().to_string())),
        false => Ok(all),
    }
}

fn bad_file(file: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    failed("read a certificate or key", error).at(file.display().to_string())
}

fn failed(doing: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(ErrorKind::Options, format!("{doing}: {error}")).caused_by(error)
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
