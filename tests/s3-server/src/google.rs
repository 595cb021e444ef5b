//! Google Cloud Storage's XML API as its client uses it: S3's requests under other names, with a
//! bearer token instead of a signature and generation numbers as versions. A request is converted
//! to one of S3, and the store's response is converted back.
//!
//! Different from the real service: tokens are checked for their form but not verified. As in the
//! real service, completing a multipart upload cannot be conditional.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hyper::{
    HeaderMap, Request, Response,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use s3s::Body;

use crate::{operation::Operation, server::BUCKET, store::Store};

/// The service account that the server accepts.
pub const ACCOUNT: &str = "transload@tests.example";

/// A condition on the object's generation; 0 means that there is no object.
const MATCH: &str = "x-goog-if-generation-match";
const GENERATION: &str = "x-goog-generation";
const METADATA: (&str, &str) = ("x-goog-meta-", "x-amz-meta-");

/// Converts a request to S3's, unless it can be answered without the store: then its status and
/// code.
pub(crate) fn to_s3(
    request: &mut Request<Body>,
    operation: &Operation,
    store: &Store,
) -> Result<(), (u16, &'static str)> {
    if !is_let_in(request.headers()) {
        return Err((401, "AuthenticationRequired"));
    }
    let headers = request.headers_mut();
    headers.remove(AUTHORIZATION);
    rename(headers, METADATA.0, METADATA.1);
    let Some(wanted) = headers.remove(MATCH) else { return Ok(()) };
    if operation.name.contains("MultipartUpload") {
        return Err((400, "NotImplemented"));
    }
    let wanted: u64 =
        wanted.to_str().ok().and_then(|it| it.parse().ok()).ok_or((400, "Invalid"))?;
    let condition = match store.version(BUCKET, &operation.key) {
        _ if wanted == 0 => ("if-none-match", "*".to_owned()),
        Some((generation, etag)) if generation == wanted => ("if-match", format!("\"{etag}\"")),
        _ => return Err((412, "PreconditionFailed")),
    };
    let value = HeaderValue::from_str(&condition.1).map_err(|_| (400, "Invalid"))?;
    headers.insert(condition.0, value);
    Ok(())
}

/// Converts the store's response to Google's.
pub(crate) fn from_s3(response: &mut Response<Body>, operation: &Operation, store: &Store) {
    rename(response.headers_mut(), METADATA.1, METADATA.0);
    let tells = ["GetObject", "HeadObject", "PutObject", "CompleteMultipartUpload"];
    if tells.contains(&operation.name)
        && response.status().is_success()
        && let Some((generation, _)) = store.version(BUCKET, &operation.key)
    {
        response.headers_mut().insert(GENERATION, generation.into());
    }
}

/// Whether the token is one that the account has issued for itself.
fn is_let_in(headers: &HeaderMap) -> bool {
    let token = || {
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
        Some(claims["iss"] == ACCOUNT)
    };
    token().unwrap_or(false)
}

fn rename(headers: &mut HeaderMap, from: &str, to: &str) {
    let named: Vec<_> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), name.as_str().strip_prefix(from)?, value)))
        .map(|(name, rest, value)| (name, format!("{to}{rest}"), value.clone()))
        .collect();
    for (old, new, value) in named {
        headers.remove(old);
        headers.insert(HeaderName::from_bytes(new.as_bytes()).expect("a name"), value);
    }
}
