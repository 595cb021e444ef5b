//! A server that TLS does not let us speak to: whose it is, why, and what can be done about it.

use std::{error::Error as StdError, fmt};

use rustls::{CertificateError, Error as TlsError};

use crate::error_chain::find;

/// Why a server is not spoken to.
#[derive(Debug)]
pub(crate) struct TlsFailure {
    host: String,
    why: TlsError,
}

impl TlsFailure {
    /// What is wrong with the host's TLS, if that is what an error is about.
    pub(crate) fn of(error: &(dyn StdError + 'static), host: String) -> Option<Self> {
        let why = find::<TlsError>(error)?.clone();
        Some(Self { host, why })
    }

    /// What can be done.
    pub(crate) fn hint(&self) -> &'static str {
        use CertificateError as Is;
        match &self.why {
            TlsError::InvalidCertificate(Is::UnknownIssuer | Is::BadSignature) => {
                "if the server's certificate is its own, or of an authority of yours, name that \
                 certificate by `ca_file`"
            }
            TlsError::InvalidCertificate(
                Is::NotValidForName | Is::NotValidForNameContext { .. },
            ) => "does `endpoint` name the server as its certificate does?",
            TlsError::InvalidCertificate(
                Is::Expired
                | Is::ExpiredContext { .. }
                | Is::NotValidYet
                | Is::NotValidYetContext { .. },
            ) => "the server needs another certificate, or this machine's clock is wrong",
            TlsError::InvalidMessage(_) => {
                "is this a port for TLS? One for plain text is asked by `http://`"
            }
            _ => "are this server and its certificate what they should be?",
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CertificateError as Is;
        let Self { host, why } = self;
        let certificate = |words: &str| format!("the certificate of `{host}` {words}");
        let words = match why {
            TlsError::InvalidCertificate(Is::UnknownIssuer) => {
                certificate("is not signed by a trusted authority")
            }
            TlsError::InvalidCertificate(Is::NotValidForNameContext { presented, .. }) => {
                certificate(&format!("is for other names: {}", presented.join(", ")))
            }
            TlsError::InvalidCertificate(Is::Expired | Is::ExpiredContext { .. }) => {
                certificate("has expired")
            }
            why => format!("TLS with `{host}` fails: {why}"),
        };
        f.write_str(&words)
    }
}

impl StdError for TlsFailure {}
