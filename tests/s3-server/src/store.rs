//! The store of the server. `s3s-fs` keeps the bytes, each object and upload under a separate name
//! that is never written twice. This crate adds what a real store has and `s3s-fs` lacks or does
//! differently: keys of any form (in `s3s-fs` they are file paths: no `a` next to `a/b`, no long
//! ones), metadata that is replaced together with its object, ETags in listings and of parts,
//! `If-Match` and `If-None-Match` that hold for concurrent writes, reads that are not disturbed by
//! a write, pages, `ListMultipartUploads`, and S3's errors for missing uploads and parts.
//!
//! Different from a real store: names are lost when the server ends; parts must be numbered from 1
//! without gaps; checksums of parts are ignored; there are no versions and no copies.

mod objects;
mod uploads;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use hyper::http::Extensions;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use s3s_fs::FileSystem;

use crate::{
    fault::{Fault, Strike},
    operation::encoded,
    page::page,
};

/// A handle to the store.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    files: FileSystem,
    folder: PathBuf,
    next: AtomicU64,
    names: Mutex<Names>,
}

/// The content, by bucket and key.
#[derive(Default)]
struct Names {
    objects: BTreeMap<(String, String), Object>,
    /// Earlier content, for stale listings.
    gone: Vec<((String, String), Object, Instant)>,
    uploads: BTreeMap<String, Upload>,
}

/// An object while it is stored under its key.
#[derive(Clone)]
struct Object {
    /// Its name in `s3s-fs`.
    blob: String,
    size: u64,
    etag: ETag,
    metadata: Option<Metadata>,
    content_type: Option<String>,
    modified: SystemTime,
    since: Instant,
}

/// A multipart upload that is neither complete nor aborted.
#[derive(Clone)]
struct Upload {
    bucket: String,
    key: String,
    blob: String,
    metadata: Option<Metadata>,
    content_type: Option<String>,
    initiated: SystemTime,
    /// Size and ETag by number.
    parts: BTreeMap<i32, (u64, ETag)>,
}

/// The condition of a request on the object under the key.
#[derive(Clone, Default)]
struct Condition {
    matches: Option<ETagCondition>,
    differs: Option<ETagCondition>,
}

impl Condition {
    fn check(&self, found: Option<&Object>) -> S3Result<()> {
        let is = |wanted: &ETagCondition, found: &Object| match wanted {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.strong_cmp(&found.etag),
        };
        match (&self.matches, found) {
            (Some(_), None) => return Err(s3_error!(NoSuchKey)),
            (Some(wanted), Some(found)) if !is(wanted, found) => {
                return Err(s3_error!(PreconditionFailed));
            }
            _ => {}
        }
        match (&self.differs, found) {
            (Some(unwanted), Some(found)) if is(unwanted, found) => {
                Err(s3_error!(PreconditionFailed))
            }
            _ => Ok(()),
        }
    }
}

impl Store {
    /// A store of the content of a folder, whose subfolders are the buckets.
    pub(crate) fn new(folder: &Path) -> Self {
        let files = FileSystem::new(folder).expect("a folder");
        let (folder, next, names) = (folder.to_owned(), AtomicU64::new(0), Mutex::default());
        Self { shared: Arc::new(Shared { files, folder, next, names }) }
    }

    /// The keys below a prefix of all open uploads.
    pub(crate) fn uploads(&self, prefix: &str) -> Vec<String> {
        let names = self.names();
        let keys = names.uploads.values().map(|upload| &upload.key);
        let mut keys: Vec<_> = keys.filter(|key| key.starts_with(prefix)).cloned().collect();
        keys.sort();
        keys
    }

    /// An object's number, greater than that of its predecessor, and its ETag.
    pub(crate) fn version(&self, bucket: &str, key: &str) -> Option<(u64, String)> {
        let names = self.names();
        let object = names.objects.get(&(bucket.to_owned(), key.to_owned()))?;
        let number: u64 = object.blob.strip_prefix("blob-")?.parse().ok()?;
        Some((number + 1, object.etag.value().to_owned()))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.shared.names.lock().unwrap()
    }

    fn files(&self) -> &FileSystem {
        &self.shared.files
    }

    fn new_blob(&self) -> String {
        format!("blob-{}", self.shared.next.fetch_add(1, Ordering::Relaxed))
    }

    fn path(&self, bucket: &str, blob: &str) -> PathBuf {
        self.shared.folder.join(bucket).join(blob)
    }

    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        match self.shared.folder.join(bucket).is_dir() {
            true => Ok(()),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }

    /// The object under a key.
    fn object(&self, bucket: &str, key: &str) -> S3Result<Object> {
        self.check_bucket(bucket)?;
        let name = (bucket.to_owned(), key.to_owned());
        self.names().objects.get(&name).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn check(&self, bucket: &str, key: &str, condition: &Condition) -> S3Result<()> {
        self.check_bucket(bucket)?;
        let name = (bucket.to_owned(), key.to_owned());
        condition.check(self.names().objects.get(&name))
    }

    /// Stores an object under its key, if the condition still holds.
    fn publish(&self, bucket: &str, key: &str, new: Object, condition: &Condition) -> S3Result<()> {
        let name = (bucket.to_owned(), key.to_owned());
        let mut names = self.names();
        if let Err(error) = condition.check(names.objects.get(&name)) {
            self.forget(bucket, &new.blob);
            return Err(error);
        }
        if let Some(old) = names.objects.insert(name.clone(), new) {
            self.forget(bucket, &old.blob);
            names.gone.push((name, old, Instant::now()));
        }
        Ok(())
    }

    fn remove(&self, bucket: &str, key: &str) {
        let name = (bucket.to_owned(), key.to_owned());
        let mut names = self.names();
        if let Some(old) = names.objects.remove(&name) {
            self.forget(bucket, &old.blob);
            names.gone.push((name, old, Instant::now()));
        }
    }

    /// Removes bytes. Readers still have them open.
    fn forget(&self, bucket: &str, blob: &str) {
        let _ = std::fs::remove_file(self.path(bucket, blob));
    }

    /// A bucket's objects by key: now, or at an earlier time.
    fn listed(&self, bucket: &str, at: Option<Instant>) -> BTreeMap<String, Object> {
        let names = self.names();
        let was_there = |object: &Object| at.is_none_or(|at| object.since <= at);
        let gone = names.gone.iter().filter(|(.., until)| at.is_some_and(|at| *until > at));
        let gone = gone.map(|(name, object, _)| (name, object));
        let all = gone.chain(&names.objects);
        let of = all.filter(|((found, _), object)| found == bucket && was_there(object));
        of.map(|((_, key), object)| (key.clone(), object.clone())).collect()
    }
}

/// The fault for a request, if the store applies it.
fn fault(extensions: &Extensions) -> Option<&Fault> {
    extensions.get::<Strike>().map(|strike| &strike.fault)
}

/// The metadata to store.
fn kept(extensions: &Extensions, metadata: Option<Metadata>) -> Option<Metadata> {
    metadata.filter(|_| fault(extensions) != Some(&Fault::DropMetadata))
}

/// The ETag to return.
fn told(extensions: &Extensions, etag: &ETag) -> ETag {
    match fault(extensions) {
        Some(Fault::WrongEtag) => ETag::Strong(etag.value().chars().rev().collect()),
        _ => etag.clone(),
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).expect("a size of this machine")
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.files().create_bucket(request).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files().head_bucket(request).await
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files().get_bucket_location(request).await
    }

    async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files().list_buckets(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.list(request)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.head(&request)
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.get(request).await
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.put(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, .. } = request.input;
        self.check_bucket(&bucket)?;
        self.remove(&bucket, &key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        self.check_bucket(&bucket)?;
        let mut deleted = Vec::new();
        for object in delete.objects {
            self.remove(&bucket, &object.key);
            deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
        }
        let deleted = Some(deleted).filter(|_| delete.quiet != Some(true));
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.create_upload(request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.put_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort(request).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.list_uploads(request.input)
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        self.parts(request.input)
    }
}
