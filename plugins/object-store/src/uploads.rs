//! A bucket as an [`UploadStore`]. Uploads are the store's own multipart uploads, with our token in
//! the metadata; they are completed by a request of our own where that needs a condition, and
//! where the client would retry or leave the token out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::{
    Attribute, Attributes, Error as StoreError, GetOptions, GetResult, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, UpdateVersion,
    list::PaginatedListStore,
    multipart::{MultipartStore, PartId},
};
use reqwest::Method;
use transload_files::{
    Condition, ListedObject, ObjectInfo, OpenUpload, OwnershipProof, Part, Pending, Reply,
    UploadId, UploadStore, encode_name,
};
use transload_plugin_api::{Backoff, Error, ErrorKind, Result};

use crate::{
    access::Bucket,
    address::{Scheme, path_of},
    failure::{Failure, element},
    pages::{all_pages, wrong},
    signed_request::{SignedRequest, SignedRequests, SignedResponse},
};

/// How long cleaning up may wait for one response once the job is being stopped.
const CLEANING: Duration = Duration::from_secs(2);

/// How long the beginning of an upload may take once the job is being stopped.
const BEGINNING: Duration = Duration::from_secs(5);

/// A bucket as the writing side sees it.
pub(crate) struct BucketUploads {
    bucket: Arc<Bucket>,
    multipart: Arc<dyn MultipartStore>,
    pages: Arc<dyn PaginatedListStore>,
    /// The store was found not to put on a condition.
    unconditional: AtomicBool,
}

impl BucketUploads {
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a store without uploads by parts.
    pub(crate) fn new(bucket: &Arc<Bucket>) -> Result<Self> {
        let (Some(multipart), Some(pages)) = (bucket.multipart.clone(), bucket.pages.clone())
        else {
            return Err(Error::unsupported("the store has no uploads by parts"));
        };
        let unconditional = AtomicBool::new(false);
        Ok(Self { bucket: Arc::clone(bucket), multipart, pages, unconditional })
    }

    fn store(&self) -> &dyn ObjectStore {
        &*self.bucket.store
    }

    /// A pending response is abandoned when the job is stopped; a request after that is
    /// cleaning up.
    fn ask<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        if self.bucket.cancel.is_cancelled() {
            if !self.bucket.traffic.responded() {
                return Err(Error::cancelled("stopped on request"));
            }
            return self.bucket.wait_regardless(CLEANING, future);
        }
        self.bucket.wait(future)
    }

    fn failed(&self, error: &StoreError, key: &str) -> Error {
        self.bucket.failed(error, key)
    }

    fn is_s3(&self) -> bool {
        self.bucket.address.scheme == Scheme::S3
    }

    fn attributes(&self, token: &str) -> Attributes {
        // Azure takes identifiers of C# as names, others no underscores.
        let name = match self.bucket.address.scheme {
            Scheme::Azure => AZURE_NAME,
            _ => NAME,
        };
        Attributes::from_iter([(Attribute::Metadata(name.into()), token.to_owned())])
    }

    async fn complete_by_client(&self, upload: UploadId<'_>, parts: &[String]) -> Result<Reply> {
        let path = path_of(upload.key)?;
        let parts = parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
        let outcome = self.multipart.complete_multipart(&path, &upload.id.to_owned(), parts).await;
        let Err(error) = outcome else { return Ok(Reply::Done) };
        let failure = Failure::of(&error);
        let made = self.failed(&error, upload.key);
        Ok(reply(failure.status.unwrap_or_default(), failure.code.as_deref(), made))
    }

    async fn complete_by_request(
        &self,
        own: &SignedRequests,
        upload: UploadId<'_>,
        parts: &[String],
        new: bool,
    ) -> Reply {
        let what = self.name(upload.key);
        let azure = self.bucket.address.scheme == Scheme::Azure;
        let mut headers = vec![("content-type", "application/xml".to_owned())];
        let query;
        let body;
        if azure {
            headers.push((AZURE_HEADER, upload.token.to_owned()));
            (query, body) = ("comp=blocklist".to_owned(), block_list(parts));
        } else {
            (query, body) = (format!("uploadId={}", query_value(upload.id)), part_list(parts));
        }
        if new {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let request = SignedRequest {
            method: if azure { Method::PUT } else { Method::POST },
            key: upload.key,
            query: &query,
            headers: &headers,
            body: Bytes::from(body),
        };
        match own.send(request, &what).await {
            Ok(answer) if is_result(&answer, azure) => Reply::Done,
            Ok(answer) if new && answer.status == 501 => Reply::Unconditional,
            Ok(answer) => {
                let failure = answer.failure();
                let code = failure.code.clone();
                reply(answer.status, code.as_deref(), failure.into_error(&what))
            }
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::Defect) => {
                Reply::Refused(error)
            }
            Err(error) => Reply::Lost(error),
        }
    }
}

/// The names under which the token travels.
const NAME: &str = "transload-token";
const AZURE_NAME: &str = "transload_token";
const AZURE_HEADER: &str = "x-ms-meta-transload_token";

impl UploadStore for BucketUploads {
    fn proof(&self) -> OwnershipProof {
        match keeps_metadata(self.bucket.endpoint.as_ref()) {
            true => OwnershipProof::Token,
            false => OwnershipProof::Unknown,
        }
    }

    /// As patient as the store's client.
    fn backoff(&self) -> Backoff {
        let retry = &self.bucket.retry;
        let retries = u32::try_from(retry.max_retries).unwrap_or(u32::MAX);
        Backoff::bounded(retries, retry.backoff.init_backoff, retry.backoff.max_backoff)
            .until(retry.retry_timeout)
    }

    fn notes(&self) -> Vec<String> {
        if self.bucket.address.scheme != Scheme::Azure {
            return Vec::new();
        }
        let note =
            "Azure keeps the parts of a run that is given up for a week; they cannot be seen";
        vec![note.to_owned()]
    }

    fn name(&self, key: &str) -> String {
        self.bucket.address.name(key)
    }

    fn begin(&self, key: &str, token: &str) -> Result<String> {
        let path = path_of(key)?;
        let attributes = match self.bucket.address.scheme {
            // comes with the completion
            Scheme::Azure => Attributes::new(),
            _ => self.attributes(token),
        };
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        // Given up half-way it may begin after all, behind the back of whoever cleans up.
        self.bucket.wait_a_while(BEGINNING, async {
            let begun = self.multipart.create_multipart_opts(&path, options).await;
            begun.map_err(|error| self.failed(&error, key))
        })
    }

    fn send(&self, upload: UploadId<'_>, part: Part) -> Pending {
        let path = match path_of(upload.key) {
            Ok(path) => path,
            Err(error) => return Pending::answered(Err(error)),
        };
        let (pending, answer) = Pending::new();
        let (key, id) = (upload.key.to_owned(), upload.id.to_owned());
        let (bucket, multipart) = (Arc::clone(&self.bucket), Arc::clone(&self.multipart));
        let settings = self.bucket.runtime.spawn(async move {
            let Part { index, pieces, permit, .. } = part;
            let outcome = async {
                let _turn = bucket.permits.acquire().await;
                let payload = PutPayload::from_iter(pieces);
                multipart.put_part(&path, &id, index, payload).await
            };
            let outcome = outcome.await.map(|part| part.content_id);
            drop(permit);
            // There is no receiver for a part of an upload that was abandoned.
            let _ = answer.send(outcome.map_err(|error| bucket.failed(&error, &key)));
        });
        pending.stopping(move || settings.abort())
    }

    fn settle(&self, _upload: UploadId<'_>, _durable: bool) -> Result<Option<String>> {
        Ok(None)
    }

    fn complete(&self, upload: UploadId<'_>, parts: &[String], new: bool) -> Reply {
        // Never abandoned half-way: the response decides what may be deleted.
        let limit = self.bucket.retry.retry_timeout + self.bucket.request_timeout;
        let outcome = self.bucket.wait_regardless(limit, async {
            match &self.bucket.own {
                Some(own) => Ok(self.complete_by_request(own, upload, parts, new).await),
                // Google completes on no condition.
                None if new => Ok(Reply::Unconditional),
                None => self.complete_by_client(upload, parts).await,
            }
        });
        outcome.unwrap_or_else(Reply::Lost)
    }

    fn discard(&self, upload: UploadId<'_>) -> Result<()> {
        let path = path_of(upload.key)?;
        self.ask(async {
            match self.multipart.abort_multipart(&path, &upload.id.to_owned()).await {
                Err(error) if Failure::of(&error).status != Some(404) => {
                    Err(self.failed(&error, upload.key))
                }
                _ => Ok(()),
            }
        })
    }

    fn uploads(&self, prefix: &str) -> Result<Option<Vec<OpenUpload>>> {
        let Some(own) = self.bucket.own.as_ref().filter(|_| self.is_s3()) else { return Ok(None) };
        let (mut found, mut marker) = (Vec::new(), String::new());
        loop {
            let query = format!("prefix={}&uploads={marker}", query_value(prefix));
            let request = SignedRequest {
                method: Method::GET,
                key: "",
                query: &query,
                headers: &[],
                body: Bytes::new(),
            };
            let what = self.name(prefix);
            let answer = self.ask(own.send(request, &what))?;
            if answer.status != 200 {
                return Err(answer.failure().into_error(&what));
            }
            let page = String::from_utf8_lossy(&answer.body);
            found.extend(page.split("<Upload>").skip(1).filter_map(|upload| {
                let begun = element(upload, "Initiated").and_then(|text| seconds(&text));
                let (key, id) = (element(upload, "Key")?, element(upload, "UploadId")?);
                Some(OpenUpload { key, id, begun })
            }));
            match (element(&page, "NextKeyMarker"), element(&page, "NextUploadIdMarker")) {
                (Some(key), Some(id))
                    if element(&page, "IsTruncated").as_deref() == Some("true") =>
                {
                    let (key, id) = (query_value(&key), query_value(&id));
                    let next = format!("&key-marker={key}&upload-id-marker={id}");
                    if next == marker {
                        return Err(wrong("the list of uploads has no end", what));
                    }
                    marker = next;
                }
                _ => return Ok(Some(found)),
            }
        }
    }

    fn look(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = path_of(key)?;
        self.ask(async {
            let options = GetOptions { head: true, ..GetOptions::default() };
            match self.store().get_opts(&path, options).await {
                Ok(result) => Ok(Some(found(&result))),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.failed(&error, key)),
            }
        })
    }

    fn get(&self, key: &str) -> Result<Option<(Bytes, ObjectInfo)>> {
        let path = path_of(key)?;
        self.ask(async {
            let result = match self.store().get(&path).await {
                Ok(result) => result,
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(self.failed(&error, key)),
            };
            let found = found(&result);
            let content = result.bytes().await.map_err(|error| self.failed(&error, key))?;
            Ok(Some((content, found)))
        })
    }

    fn put(&self, key: &str, content: Bytes, condition: Condition<'_>, token: &str) -> Result<()> {
        let path = path_of(key)?;
        let conditional = !matches!(condition, Condition::Any);
        if !conditional || !self.unconditional.load(Ordering::Relaxed) {
            let mode = put_mode(condition);
            let outcome = self.ask(async {
                let attributes = self.attributes(token);
                let options = PutOptions { mode, attributes, ..PutOptions::default() };
                Ok(self.store().put_opts(&path, content.clone().into(), options).await)
            })?;
            match outcome {
                Ok(_) => return Ok(()),
                Err(error) if conditional && Failure::of(&error).status == Some(501) => {
                    self.unconditional.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(self.failed(&error, key)),
            }
        }
        // A store without conditions: what remains is a look before.
        let now = self.look(key)?;
        match condition {
            Condition::Unchanged(before) if now.as_ref() == Some(before) => {}
            Condition::New if now.is_none() => {}
            _ => {
                return Err(Error::exists("there is another object").at(self.name(key)));
            }
        }
        self.put(key, content, Condition::Any, token)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ListedObject>> {
        let listed = |meta: ObjectMeta| ListedObject {
            key: meta.location.as_ref().to_owned(),
            size: meta.size,
            modified: meta.last_modified.timestamp(),
        };
        self.ask(async {
            let page = all_pages(&self.bucket, &*self.pages, prefix, false).await?;
            Ok(page.objects.into_iter().map(listed).collect())
        })
    }

    fn remove(&self, keys: Vec<String>) -> Result<()> {
        let paths = keys.iter().map(|key| path_of(key)).collect::<Result<Vec<_>>>()?;
        self.ask(async {
            let paths = stream::iter(paths).map(Ok).boxed();
            let mut removed = self.store().delete_stream(paths);
            while let Some(outcome) = removed.next().await {
                match outcome {
                    Ok(_) | Err(StoreError::NotFound { .. }) => {}
                    Err(error) => {
                        let key = keys.first().map_or("", String::as_str);
                        return Err(self.failed(&error, key));
                    }
                }
            }
            Ok(())
        })
    }
}

/// Seconds since 1970 of a time in UTC as S3 writes it, `2026-11-30T20:15:00.000Z`.
fn seconds(time: &str) -> Option<i64> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Days of years that begin in March, so that a leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn put_mode(condition: Condition<'_>) -> PutMode {
    match condition {
        Condition::Any => PutMode::Overwrite,
        Condition::New => PutMode::Create,
        Condition::Unchanged(found) => PutMode::Update(UpdateVersion {
            e_tag: Some(found.version.clone()),
            version: found.generation.clone(),
        }),
    }
}

fn found(result: &GetResult) -> ObjectInfo {
    let token = [NAME, AZURE_NAME]
        .into_iter()
        .find_map(|name| result.attributes.get(&Attribute::Metadata(name.into())));
    ObjectInfo {
        size: result.meta.size,
        version: result.meta.e_tag.clone().unwrap_or_default(),
        generation: result.meta.version.clone(),
        token: token.map(|token| token.as_ref().to_owned()),
    }
}

/// Whether a response says that the object was made. Stores begin to respond before they have
/// finished, so a 200 may hold an error.
fn is_result(answer: &SignedResponse, azure: bool) -> bool {
    if azure {
        return answer.status == 201;
    }
    let body = String::from_utf8_lossy(&answer.body);
    answer.status == 200
        && body.contains("<CompleteMultipartUploadResult")
        && body.contains("</CompleteMultipartUploadResult>")
}

/// What a failed completion means.
fn reply(status: u16, code: Option<&str>, error: Error) -> Reply {
    match (status, code) {
        (_, Some("NoSuchUpload" | "InvalidBlockList")) | (404, _) => Reply::Gone(error),
        (409 | 412, _) => Reply::Conflict(error),
        (_, Some("RequestTimeout" | "SlowDown")) | (408 | 429, _) => Reply::Lost(error),
        (400..=499 | 501, _) => Reply::Refused(error),
        _ => Reply::Lost(error),
    }
}

/// The body of S3's CompleteMultipartUpload.
fn part_list(parts: &[String]) -> String {
    let mut xml =
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
    for (index, part) in parts.iter().enumerate() {
        let tag = part.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        let number = index + 1;
        xml.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"));
    }
    xml.push_str("</CompleteMultipartUpload>");
    xml
}

/// The body of Azure's Put Block List.
fn block_list(parts: &[String]) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>".to_owned();
    for part in parts {
        let id = BASE64_STANDARD.encode(part);
        xml.push_str(&format!("<Uncommitted>{id}</Uncommitted>"));
    }
    xml.push_str("</BlockList>");
    xml
}

/// Whether metadata is known to come back. Whoever speaks S3 or is a gateway to something else may
/// drop it, and so does Google Cloud Storage for some logins.
fn keeps_metadata(endpoint: Option<&reqwest::Url>) -> bool {
    const KNOWN: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".blob.core.windows.net"];
    let host = endpoint.and_then(reqwest::Url::host_str).unwrap_or_default();
    KNOWN.iter().any(|known| host.ends_with(known))
}

/// A value in a query, encoded as signatures expect it.
fn query_value(value: &str) -> String {
    encode_name(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_stores_are_known_to_keep_metadata() {
        for (url, known) in [
            ("https://b.s3.eu-west-1.amazonaws.com", true),
            ("https://s3.cn-north-1.amazonaws.com.cn/b", true),
            ("https://account.blob.core.windows.net/", true),
            ("https://storage.googleapis.com", false),
            ("http://127.0.0.1:9000", false),
            ("https://amazonaws.com.example.org", false),
            ("https://notamazonaws.com", false),
        ] {
            assert_eq!(keeps_metadata(Some(&url.parse().unwrap())), known, "{url}");
        }
        assert!(!keeps_metadata(None));
    }

    #[test]
    fn times_of_uploads_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("2000-02-29T23:59:59Z", Some(951_868_799)),
            ("2026-11-30T20:15:00.000Z", Some(1_796_069_700)),
            ("2026-11-30", None),
            ("yesterday", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn answers_to_a_completion_are_told_apart() {
        let kind = |status, code| match reply(status, code, Error::other("x")) {
            Reply::Done | Reply::Unconditional => "done",
            Reply::Refused(_) => "refused",
            Reply::Conflict(_) => "conflict",
            Reply::Gone(_) => "gone",
            Reply::Lost(_) => "lost",
        };
        for (status, code, expected) in [
            (404, Some("NoSuchUpload"), "gone"),
            (400, Some("InvalidBlockList"), "gone"),
            (412, Some("PreconditionFailed"), "conflict"),
            (409, Some("ConditionalRequestConflict"), "conflict"),
            (400, Some("InvalidPart"), "refused"),
            (403, Some("AccessDenied"), "refused"),
            (400, Some("RequestTimeout"), "lost"),
            (501, Some("NotImplemented"), "refused"),
            (503, Some("SlowDown"), "lost"),
            (500, Some("InternalError"), "lost"),
            (200, Some("InternalError"), "lost"),
            (200, None, "lost"),
            (0, None, "lost"),
        ] {
            assert_eq!(kind(status, code), expected, "{status} {code:?}");
        }
    }

    #[test]
    fn a_200_is_a_result_only_if_it_holds_one() {
        let answer = |status, body: &'static str| SignedResponse {
            status,
            body: Bytes::from_static(body.as_bytes()),
        };
        let whole =
            "<?xml?><CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>";
        assert!(is_result(&answer(200, whole), false));
        for body in [
            "",
            "<Error><Code>InternalError</Code></Error>",
            "<CompleteMultipartUploadResult><ETag>",
        ] {
            assert!(!is_result(&answer(200, body), false), "{body}");
        }
        assert!(!is_result(&answer(500, whole), false));
        assert!(is_result(&answer(201, ""), true) && !is_result(&answer(200, ""), true));
    }

    #[test]
    fn lists_are_written_as_the_stores_read_them() {
        let parts = ["\"a\"".to_owned(), "b&".to_owned()];
        let xml = part_list(&parts);
        assert!(xml.contains("<PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag>"), "{xml}");
        assert!(xml.contains("<PartNumber>2</PartNumber><ETag>b&amp;</ETag>"), "{xml}");
        assert!(block_list(&parts).contains("<Uncommitted>ImEi</Uncommitted>"));
    }
}
