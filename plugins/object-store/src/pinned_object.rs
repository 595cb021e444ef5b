//! One object as it was listed: requests for its bytes on the condition that it has not changed, and
//! responses checked for it. Reading a response to its end is `download`'s task.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    Error as StoreError, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta,
    ObjectStore, ObjectStoreExt, path::Path,
};
use transload_files::StoredFile;
use transload_plugin_api::{Error, Result, code};

use crate::{
    access::Bucket,
    address::{Address, Scheme, path_of},
    failure::{CHANGED, error_of},
    listing::{MODIFIED, version},
    local,
    network::Traffic,
    pages::{is_header_value, wrong},
    permits::{Permit, Permits},
};

/// Bytes of one request to a local folder, where a request costs nothing and the file may change
/// between two of them.
const LOCAL_REQUEST: u64 = 2 << 20;

/// Marks requests for an object's content, whose responses may take as long as their consumer does:
/// only the wait for bytes is bounded, see `network` and `download`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentRequest;

/// One object at the version that was listed.
pub(crate) struct PinnedObject {
    store: Arc<dyn ObjectStore>,
    permits: Arc<Permits>,
    path: Path,
    file: StoredFile,
    /// The condition of every request; none where the store has no ETags.
    tag: Option<String>,
    /// The address of a local folder.
    local: Option<Address>,
    pub(crate) limits: RequestLimits,
    pub(crate) traffic: Arc<Traffic>,
}

/// How long bytes are waited for, and how often requests are repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLimits {
    /// For a response, and then for each further piece of it.
    pub(crate) timeout: Duration,
    /// Requests in a row that bring nothing.
    pub(crate) retries: usize,
    /// Time for all of them.
    pub(crate) window: Duration,
}

/// Why bytes did not come.
pub(crate) enum RequestError {
    /// Another request may help.
    Transient(Error),
    Fatal(Error),
}

/// A response whose body is still to come.
pub(crate) struct Response {
    pub(crate) body: BoxStream<'static, Result<Bytes, StoreError>>,
    /// Where in the object the body ends.
    pub(crate) until: u64,
    _permit: Permit,
}

impl PinnedObject {
    /// # Errors
    /// [`ErrorKind::Data`] if the file is not one of this store.
    pub(crate) fn new(bucket: &Bucket, file: &StoredFile) -> Result<Self> {
        let Some(key) = bucket.address.key_of(&file.name) else {
            let message = format!("`{}` is not in {}", file.name, bucket.address.words());
            return Err(Error::data(message));
        };
        if !is_header_value(&file.version) {
            return Err(wrong(
                "the listed version has characters that are invalid in an ETag",
                &file.name,
            ));
        }
        Ok(Self {
            local: (bucket.address.scheme == Scheme::File).then(|| bucket.address.clone()),
            store: Arc::clone(&bucket.store),
            permits: Arc::clone(&bucket.permits),
            path: path_of(key)?,
            file: file.clone(),
            tag: condition(bucket.address.scheme, &file.version),
            limits: RequestLimits {
                timeout: bucket.request_timeout,
                retries: bucket.retry.max_retries,
                window: bucket.retry.retry_timeout,
            },
            traffic: Arc::clone(&bucket.traffic),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.file.name
    }

    /// Returns once another request waits for this one's permit.
    pub(crate) async fn contended(&self) {
        self.permits.contended().await;
    }

    /// Asks for a range, or for as much from its start as one request may. The response is one about
    /// the listed version.
    pub(crate) async fn request(&self, range: Range<u64>) -> Result<Response, RequestError> {
        let permit = self.permits.acquire().await.map_err(RequestError::Fatal)?;
        let until = match &self.local {
            Some(address) => {
                local::check(address, self.path.as_ref()).map_err(RequestError::Fatal)?;
                range.end.min(range.start + LOCAL_REQUEST)
            }
            None => range.end,
        };
        let range = range.start..until;
        let mut options = GetOptions {
            if_match: self.tag.clone(),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        options.extensions.insert(ContentRequest);
        let response = match self.store.get_opts(&self.path, options).await {
            Ok(response) => response,
            Err(error) => return Err(RequestError::Fatal(self.refused(&error).await)),
        };
        self.verify(&response, &range).map_err(RequestError::Fatal)?;
        let body = match response.payload {
            GetResultPayload::File(..) => match response.bytes().await {
                Ok(read) => {
                    self.verify_unchanged().await.map_err(RequestError::Fatal)?;
                    stream::iter([Ok(read)]).boxed()
                }
                Err(error) => return Err(RequestError::Fatal(self.refused(&error).await)),
            },
            GetResultPayload::Stream(body) => body,
        };
        Ok(Response { body, until, _permit: permit })
    }

    /// The response speaks of the listed content, and of the stretch that was asked for.
    fn verify(&self, response: &GetResult, range: &Range<u64>) -> Result<()> {
        let found = &response.meta;
        if !self.is_listed(found) {
            return Err(self.changed(found));
        }
        match response.range == *range {
            true => Ok(()),
            false => Err(self.wrong("the response is for another byte range than requested")),
        }
    }

    /// A local file may be rewritten between its check and its reading: it is still the listed one.
    async fn verify_unchanged(&self) -> Result<()> {
        match self.store.head(&self.path).await {
            Ok(found) if self.is_listed(&found) => Ok(()),
            Ok(found) => Err(self.changed(&found)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn refused(&self, error: &StoreError) -> Error {
        let text = error.to_string();
        match error {
            StoreError::Precondition { .. } => changed(&self.file.name, "it has another ETag now"),
            _ if text.contains("non-partial response") => {
                self.wrong("the server sent the whole object")
            }
            // The client does not show the types of these errors.
            _ if text.contains("Requested ") && text.contains(", got ") => {
                self.wrong("the response is for another byte range than requested")
            }
            _ if text.contains("Header missing from response") => {
                self.wrong("the response has no `Content-Length`, or no `ETag`")
            }
            // A file that is being written may be too short for a range, or end within it.
            _ if self.local.is_some() => match self.store.head(&self.path).await {
                Ok(found) if !self.is_listed(&found) => self.changed(&found),
                _ => self.failed(error),
            },
            _ => self.failed(error),
        }
    }

    fn is_listed(&self, found: &ObjectMeta) -> bool {
        found.size == self.file.size && same_version(&self.file.version, found)
    }

    pub(crate) fn failed(&self, error: &StoreError) -> Error {
        error_of(error, &self.file.name)
    }

    fn changed(&self, found: &ObjectMeta) -> Error {
        let words = if found.size == self.file.size {
            format!("version {} then, {} now", self.file.version, version(found))
        } else {
            format!("{} bytes then, {} bytes now", self.file.size, found.size)
        };
        changed(&self.file.name, &words)
    }

    pub(crate) fn wrong(&self, message: &str) -> Error {
        Error::connection(message)
            .with_code(code::OBJECT_ANSWER)
            .at(&self.file.name)
            .hint("a proxy on the way to the store breaks HTTP; connect without it")
    }
}

fn changed(name: &str, words: &str) -> Error {
    let message = format!("the object has changed since it was planned: {words}");
    Error::schema(message)
        .with_code(CHANGED)
        .at(name)
        .hint("plan again, and read objects only once their writer has finished them")
}

/// The value of If-Match. Listings of Azure give ETags without the quotes that headers have.
fn condition(scheme: Scheme, version: &str) -> Option<String> {
    if version.starts_with(MODIFIED) {
        return None;
    }
    let quoted = version.starts_with('"') || version.starts_with("W/");
    match scheme == Scheme::File || quoted {
        true => Some(version.to_owned()),
        false => Some(format!("\"{version}\"")),
    }
}

fn same_version(planned: &str, found: &ObjectMeta) -> bool {
    if planned.starts_with(MODIFIED) {
        return planned == format!("{MODIFIED}{}", found.last_modified.timestamp());
    }
    let bare = |tag: &str| tag.trim_start_matches("W/").trim_matches('"').to_owned();
    found.e_tag.as_deref().is_some_and(|tag| bare(tag) == bare(planned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_quoted_where_headers_are() {
        for (scheme, version, expected) in [
            (Scheme::S3, "\"a\"", Some("\"a\"")),
            (Scheme::Azure, "0x8D", Some("\"0x8D\"")),
            (Scheme::Gcs, "W/\"a\"", Some("W/\"a\"")),
            (Scheme::File, "1-2-3", Some("1-2-3")),
            (Scheme::S3, "modified 5", None),
        ] {
            assert_eq!(condition(scheme, version).as_deref(), expected, "{version}");
        }
    }
}
