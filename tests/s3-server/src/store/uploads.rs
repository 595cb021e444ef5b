//! Multipart uploads: begun, filled part by part, listed, and completed or aborted.

use super::*;

/// The minimum size of a part, except for the last.
const PART_BYTES: u64 = 5 << 20;

impl Store {
    /// The upload, if it belongs to this key.
    fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
        let names = self.names();
        let upload = names.uploads.get(id).filter(|upload| upload.bucket == bucket);
        let upload = upload.filter(|upload| upload.key == key);
        upload.cloned().ok_or_else(|| s3_error!(NoSuchUpload))
    }

    pub(super) async fn create_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &request.input;
        self.check_bucket(&input.bucket)?;
        let upload = Upload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            blob: self.new_blob(),
            metadata: kept(&request.extensions, input.metadata.clone()),
            content_type: input.content_type.clone(),
            initiated: SystemTime::now(),
            parts: BTreeMap::new(),
        };
        let unnamed = |input| CreateMultipartUploadInput {
            key: upload.blob.clone(),
            metadata: None,
            ..input
        };
        let request = request.map_input(unnamed);
        let mut answer = self.files().create_multipart_upload(request).await?;
        answer.output.key = Some(upload.key.clone());
        let id = answer.output.upload_id.clone().ok_or_else(|| s3_error!(InternalError))?;
        self.names().uploads.insert(id, upload);
        Ok(answer)
    }

    pub(super) async fn put_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = &request.input;
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let (id, number) = (input.upload_id.clone(), input.part_number);
        let extensions = request.extensions.clone();
        let unnamed = |input| UploadPartInput { key: upload.blob, ..input };
        let mut answer = self.files().upload_part(request.map_input(unnamed)).await?;
        let etag = answer.output.e_tag.clone().ok_or_else(|| s3_error!(InternalError))?;
        answer.output.e_tag = Some(told(&extensions, &etag));
        // A chunked request has no length header. The file's name is `s3s-fs`' own.
        let file = self.shared.folder.join(format!(".upload_id-{id}.part-{number}"));
        let size = std::fs::metadata(file).map_err(|error| s3_error!(error, InternalError))?.len();
        // The upload may have been aborted in the meantime.
        let mut names = self.names();
        let upload = names.uploads.get_mut(&id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(number, (size, etag));
        Ok(answer)
    }

    pub(super) async fn complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = &request.input;
        let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
        let upload = self.upload(&bucket, &key, &id)?;
        let parts = input.multipart_upload.as_ref().and_then(|parts| parts.parts.as_deref());
        check_parts(&upload, parts.unwrap_or_default())?;
        let condition =
            Condition { matches: input.if_match.clone(), differs: input.if_none_match.clone() };
        self.check(&bucket, &key, &condition)?;
        // From now on, no other request can complete it.
        let mine = self.names().uploads.remove(&id);
        let upload = mine.ok_or_else(|| s3_error!(NoSuchUpload))?;
        let extensions = request.extensions.clone();
        let unnamed = |input| CompleteMultipartUploadInput {
            key: upload.blob.clone(),
            if_match: None,
            if_none_match: None,
            ..input
        };
        let request = request.map_input(unnamed);
        let mut output = self.files().complete_multipart_upload(request).await?.output;
        if let Some(future) = output.future.take() {
            output = future.await?;
        }
        let etag = output.e_tag.ok_or_else(|| s3_error!(InternalError))?;
        let Upload { blob, metadata, content_type, .. } = upload;
        let object = self.stored(&bucket, blob, etag.clone(), metadata, content_type)?;
        self.publish(&bucket, &key, object, &condition)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            e_tag: Some(told(&extensions, &etag)),
            bucket: Some(bucket),
            key: Some(key),
            ..Default::default()
        }))
    }

    pub(super) async fn abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = &request.input;
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        self.names().uploads.remove(&input.upload_id);
        let unnamed = |input| AbortMultipartUploadInput { key: upload.blob, ..input };
        self.files().abort_multipart_upload(request.map_input(unnamed)).await
    }

    /// All on one page, where a real store would return 1,000: tests have fewer.
    pub(super) fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.check_bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.key_marker.clone().unwrap_or_default();
        let shown = |key: &str| match input.encoding_type {
            Some(_) => encoded(key),
            None => key.to_owned(),
        };
        let listed = |(id, upload): (&String, &Upload)| MultipartUpload {
            key: Some(shown(&upload.key)),
            upload_id: Some(id.clone()),
            initiated: Some(upload.initiated.into()),
            ..Default::default()
        };
        let is_listed = |upload: &Upload| {
            upload.bucket == input.bucket && upload.key.starts_with(&prefix) && upload.key > after
        };
        let names = self.names();
        let mut uploads: Vec<_> =
            names.uploads.iter().filter(|(_, upload)| is_listed(upload)).collect();
        uploads.sort_by_key(|(id, upload)| (&upload.key, upload.initiated, *id));
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.into_iter().map(listed).collect()),
            is_truncated: Some(false),
            bucket: Some(input.bucket.clone()),
            encoding_type: input.encoding_type.clone(),
            prefix: input.prefix.clone(),
            ..Default::default()
        }))
    }

    pub(super) fn parts(&self, input: ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let after = input.part_number_marker.unwrap_or(0);
        let part = |(number, (size, etag)): (&i32, &(u64, ETag))| Part {
            part_number: Some(*number),
            size: Some(signed(*size)),
            e_tag: Some(etag.clone()),
            ..Default::default()
        };
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(upload.parts.range(after + 1..).map(part).collect()),
            is_truncated: Some(false),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            ..Default::default()
        }))
    }
}

/// Checks that an upload can be completed with these parts, before anything is changed.
fn check_parts(upload: &Upload, parts: &[CompletedPart]) -> S3Result<()> {
    if parts.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    for (at, part) in parts.iter().enumerate() {
        let number = part.part_number.unwrap_or(0);
        if at > 0 && parts[at - 1].part_number.unwrap_or(0) >= number {
            return Err(s3_error!(InvalidPartOrder));
        }
        let Some((size, etag)) = upload.parts.get(&number) else {
            return Err(s3_error!(InvalidPart));
        };
        if part.e_tag.as_ref().is_none_or(|told| told.value() != etag.value()) {
            return Err(s3_error!(InvalidPart));
        }
        if at + 1 < parts.len() && *size < PART_BYTES {
            return Err(s3_error!(EntityTooSmall));
        }
    }
    Ok(())
}
