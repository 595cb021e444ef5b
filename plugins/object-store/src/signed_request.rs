//! Requests that the store's client does not offer, such as completing an upload on a condition:
//! signed like its own and sent once, by the same HTTP client. Trying again is the caller's work,
//! who knows what a second sending would do.

use bytes::Bytes;
use object_store::{
    aws::{AwsAuthorizer, AwsCredentialProvider},
    azure::{AzureAuthorizer, AzureCredentialProvider},
    client::{HttpClient, HttpRequest},
};
use reqwest::{Method, header};
use transload_plugin_api::{Error, Result};

use crate::failure::{Failure, error_of, of_transport};

/// How requests are signed; `None` for anonymous access.
pub(crate) enum Signer {
    S3 { credentials: Option<AwsCredentialProvider>, region: String },
    Azure { credentials: Option<AzureCredentialProvider>, account: String },
}

/// Sends requests of our own to one bucket.
pub(crate) struct SignedRequests {
    client: HttpClient,
    /// The bucket's url, without a final `/`.
    base: String,
    signer: Signer,
}

/// A request: `query` is encoded, without its `?`; header names are in lower case.
pub(crate) struct SignedRequest<'a> {
    pub(crate) method: Method,
    pub(crate) key: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) body: Bytes,
}

/// The whole answer, of whatever status.
pub(crate) struct SignedResponse {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl SignedResponse {
    /// The failure that the response reports.
    pub(crate) fn failure(&self) -> Failure {
        Failure::of_answer(self.status, &String::from_utf8_lossy(&self.body))
    }
}

impl SignedRequests {
    pub(crate) fn new(client: HttpClient, base: String, signer: Signer) -> Self {
        Self { client, base, signer }
    }

    /// Sends it once. `what` is the object's name, for errors.
    ///
    /// # Errors
    /// If there is no complete response: the outcome of the request is then unknown.
    pub(crate) async fn send(
        &self,
        request: SignedRequest<'_>,
        what: &str,
    ) -> Result<SignedResponse> {
        let request = self.signed(request, what).await?;
        let lost = |error| of_transport(&error, what);
        let (parts, body) = self.client.execute(request).await.map_err(lost)?.into_parts();
        let body = body.bytes().await.map_err(|error| of_transport(&error, what))?;
        Ok(SignedResponse { status: parts.status.as_u16(), body })
    }

    async fn signed(&self, request: SignedRequest<'_>, what: &str) -> Result<HttpRequest> {
        let SignedRequest { method, key, query, headers, body } = request;
        let defect = |error: &dyn std::fmt::Display| {
            Error::defect(format!("a request of our own: {error}")).at(what)
        };
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}/{}{mark}{query}", self.base, encoded(key));
        let length = body.len();
        let mut made = HttpRequest::new(body.into());
        *made.method_mut() = method;
        *made.uri_mut() = url.parse().map_err(|error| defect(&error))?;
        made.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        for (name, value) in headers {
            let value = value.parse().map_err(|error| defect(&error))?;
            made.headers_mut().insert(*name, value);
        }
        match &self.signer {
            Signer::S3 { credentials: Some(credentials), region } => {
                let credential =
                    credentials.get_credential().await.map_err(|error| error_of(&error, what))?;
                AwsAuthorizer::new(&credential, "s3", region)
                    .try_authorize(&mut made, None)
                    .map_err(|error| error_of(&error, what))?;
            }
            Signer::Azure { credentials: Some(credentials), account } => {
                let credential =
                    credentials.get_credential().await.map_err(|error| error_of(&error, what))?;
                AzureAuthorizer::new(&credential, account)
                    .try_authorize(&mut made)
                    .map_err(|error| error_of(&error, what))?;
            }
            _ => {}
        }
        Ok(made)
    }
}

/// A key as the path of a url; encoded as both signatures expect it.
fn encoded(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                text.push('%');
                text.push(char::from(DIGITS[usize::from(byte >> 4)]));
                text.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_whole() {
        for (key, path) in [
            ("a/b.csv", "a/b.csv"),
            ("a b+c", "a%20b%2Bc"),
            ("100%/k=v", "100%25/k%3Dv"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(encoded(key), path);
        }
    }
}
