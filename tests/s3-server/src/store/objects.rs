//! Objects: written whole, read whole or in ranges, and listed.

use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::*;

/// `s3s-fs` reads 4 KiB at a time, which would dominate a benchmark.
const READ_BYTES: usize = 1 << 18;

impl Store {
    pub(super) fn list(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let S3Request { input, extensions, .. } = request;
        self.check_bucket(&input.bucket)?;
        let strike = extensions.get::<Strike>();
        let stale = strike.filter(|strike| strike.fault == Fault::StaleListing);
        let objects = self.listed(&input.bucket, stale.map(|strike| strike.armed));
        let most = match fault(&extensions) {
            Some(Fault::Pages(keys)) => *keys,
            _ => input.max_keys.map_or(1000, |keys| usize::try_from(keys).unwrap_or(0)).min(1000),
        };
        let after = input.continuation_token.as_deref().or(input.start_after.as_deref());
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_deref().unwrap_or_default();
        let keys = objects.keys().map(String::as_str);
        let page = page(keys, prefix, delimiter, after.unwrap_or_default(), most);
        let shown = |key: &str| match input.encoding_type {
            Some(_) => encoded(key),
            None => key.to_owned(),
        };
        let content = |key: &&str| s3s::dto::Object {
            key: Some(shown(key)),
            size: Some(signed(objects[*key].size)),
            e_tag: Some(told(&extensions, &objects[*key].etag)),
            last_modified: Some(objects[*key].modified.into()),
            ..Default::default()
        };
        let common = |prefix: &String| CommonPrefix { prefix: Some(shown(prefix)) };
        let output = ListObjectsV2Output {
            contents: Some(page.keys.iter().map(content).collect()),
            common_prefixes: Some(page.prefixes.iter().map(common).collect()),
            key_count: i32::try_from(page.keys.len() + page.prefixes.len()).ok(),
            max_keys: i32::try_from(most).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            continuation_token: input.continuation_token,
            delimiter: input.delimiter,
            encoding_type: input.encoding_type,
            name: Some(input.bucket),
            prefix: input.prefix,
            start_after: input.start_after,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) fn head(
        &self,
        request: &S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        let object = self.object(&input.bucket, &input.key)?;
        is_wanted(&object, input.if_match.clone(), input.if_none_match.clone())?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(signed(object.size)),
            e_tag: Some(told(extensions, &object.etag)),
            last_modified: Some(object.modified.into()),
            metadata: object.metadata,
            content_type: object.content_type,
            accept_ranges: Some("bytes".to_owned()),
            ..Default::default()
        }))
    }

    pub(super) async fn get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        let object = self.object(&input.bucket, &input.key)?;
        is_wanted(&object, input.if_match, input.if_none_match)?;
        let wanted = input.range.filter(|_| fault(&extensions) != Some(&Fault::IgnoreRange));
        let range = match wanted {
            Some(range) => range.check(object.size).map_err(|_| s3_error!(InvalidRange))?,
            None => 0..object.size,
        };
        let length = range.end - range.start;
        let file = tokio::fs::File::open(self.path(&input.bucket, &object.blob)).await;
        let mut file = file.map_err(|_| s3_error!(NoSuchKey))?;
        let sought = file.seek(std::io::SeekFrom::Start(range.start)).await;
        sought.map_err(|error| s3_error!(error, InternalError))?;
        let body = ReaderStream::with_capacity(file.take(length), READ_BYTES);
        let told_range = format!("bytes {}-{}/{}", range.start, range.end - 1, object.size);
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            content_length: Some(signed(length)),
            content_range: wanted.map(|_| told_range),
            e_tag: Some(told(&extensions, &object.etag)),
            last_modified: Some(object.modified.into()),
            metadata: object.metadata,
            content_type: object.content_type,
            accept_ranges: Some("bytes".to_owned()),
            ..Default::default()
        }))
    }

    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &request.input;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let condition =
            Condition { matches: input.if_match.clone(), differs: input.if_none_match.clone() };
        let metadata = kept(&request.extensions, input.metadata.clone());
        let content_type = input.content_type.clone();
        let extensions = request.extensions.clone();
        self.check(&bucket, &key, &condition)?;
        let blob = self.new_blob();
        let unnamed = |input| PutObjectInput {
            key: blob.clone(),
            if_match: None,
            if_none_match: None,
            metadata: None,
            ..input
        };
        let mut answer = self.files().put_object(request.map_input(unnamed)).await?;
        let etag = answer.output.e_tag.clone().ok_or_else(|| s3_error!(InternalError))?;
        answer.output.e_tag = Some(told(&extensions, &etag));
        let object = self.stored(&bucket, blob, etag, metadata, content_type)?;
        self.publish(&bucket, &key, object, &condition)?;
        Ok(answer)
    }

    /// An object whose bytes have been written.
    pub(super) fn stored(
        &self,
        bucket: &str,
        blob: String,
        etag: ETag,
        metadata: Option<Metadata>,
        content_type: Option<String>,
    ) -> S3Result<Object> {
        let file = std::fs::metadata(self.path(bucket, &blob));
        let size = file.map_err(|error| s3_error!(error, InternalError))?.len();
        let (modified, since) = (SystemTime::now(), Instant::now());
        Ok(Object { blob, size, etag, metadata, content_type, modified, since })
    }
}

/// Checks a reader's conditions on the object.
fn is_wanted(
    object: &Object,
    matches: Option<ETagCondition>,
    differs: Option<ETagCondition>,
) -> S3Result<()> {
    Condition { matches, differs: None }.check(Some(object))?;
    let unchanged = Condition { matches: None, differs }.check(Some(object));
    unchanged.map_err(|_| s3_error!(NotModified))
}
