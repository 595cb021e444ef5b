//! What the writer needs of a store: uploads in two steps (begin and parts, then complete or
//! discard), and small objects. A bucket implements it by requests, a disk by staged files. What a
//! reply means for a run is decided in `publish`.

use std::{
    fs::File,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Backoff, Cancel, Error, Finding, Result};

use super::concurrent::ABREAST;
use crate::disk::{DiskUploads, unnamed_file};

/// How often a wait looks whether the job was stopped.
const GLANCE: Duration = Duration::from_millis(100);

/// Most stores refuse smaller parts, the last one excepted.
pub(crate) const SMALLEST_PART: u64 = 5 << 20;

/// An object as a store describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// Bytes as stored.
    pub size: u64,
    /// What a new content changes: the ETag.
    pub version: String,
    /// A second name of the version, where the store has one (GCS's generation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Our own mark from its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl ObjectInfo {
    /// The run that our mark names.
    pub(crate) fn run(&self) -> Option<&str> {
        self.token.as_deref()?.split('/').next()
    }
}

/// How a store shows whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnershipProof {
    /// It returns the token in the object's metadata.
    Token,
    /// An object's version is known before it is published.
    Version,
    /// It may drop metadata: it has to be asked.
    Unknown,
}

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its whole key.
    pub key: String,
    /// Bytes as stored.
    pub size: u64,
    /// Seconds since 1970 of its last change.
    pub modified: i64,
}

/// When a small object may be put.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// Always.
    Any,
    /// If the key does not exist.
    New,
    /// If it still is this one.
    Unchanged(&'a ObjectInfo),
}

/// One upload that has begun.
#[derive(Clone, Copy, Debug)]
pub struct UploadId<'a> {
    /// The key of the object that it becomes.
    pub key: &'a str,
    /// As the store names it.
    pub id: &'a str,
    /// Our own mark, part of the object's metadata where the store can.
    pub token: &'a str,
}

/// An upload under way, as a store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key of the object that it becomes.
    pub key: String,
    /// As the store names it.
    pub id: String,
    /// Seconds since 1970 of its beginning, where the store tells.
    pub begun: Option<i64>,
}

/// One part of an upload.
pub struct Part {
    /// Counted from 0.
    pub index: usize,
    /// Where in the object it begins.
    pub offset: u64,
    /// Its bytes, in pieces.
    pub pieces: Vec<Bytes>,
    /// Given back when the part has been sent.
    pub permit: PartPermit,
}

/// What a store said to the completion of an upload.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The object is there.
    Done,
    /// Nothing was done, and trying again does not help.
    Refused(Error),
    /// The store does not complete on a condition; nothing was done.
    Unconditional,
    /// The key exists, or another writer works on it.
    Conflict(Error),
    /// The store does not know the upload: completed before, or discarded.
    Gone(Error),
    /// Trouble on the way: it may have been done.
    Lost(Error),
}

/// A store. Keys are whole, without the bucket's name. Calls block; those that end or clean up
/// something do so even when the job is being stopped.
pub trait UploadStore: Send + Sync {
    /// How an object is proven to be this run's after a reply was lost.
    fn proof(&self) -> OwnershipProof;

    /// How often and at which intervals a step is tried again.
    fn backoff(&self) -> Backoff;

    /// How many uploads are settled or completed at once.
    fn abreast(&self) -> usize {
        ABREAST
    }

    /// The disk that it is, where files of several tasks can be joined to one and added to.
    fn disk(&self) -> Option<&DiskUploads> {
        None
    }

    /// A folder and those above it that are not there, the highest first. A store without folders
    /// has all of them.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::NotFound`] if one of them is not to be made by a job.
    fn missing_folders(&self, _folder: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Removes a folder if it is empty.
    fn remove_folder(&self, _folder: &str) {}

    /// Whether the store can be written to, stage by stage.
    fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// What every plan must know of the store.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// A key as messages print it: `s3://bucket/key`.
    fn name(&self, key: &str) -> String;

    /// Bytes of a part at least, the last one excepted.
    fn smallest_part(&self) -> u64 {
        SMALLEST_PART
    }

    /// Whether committed bytes are best sent at once, because a part costs no request.
    fn writes_through(&self) -> bool {
        false
    }

    /// Refuses a key that [`UploadStore::remove`] would refuse: it is reached through a link.
    fn check_removal(&self, _key: &str) -> Result<()> {
        Ok(())
    }

    /// Waits until no other process publishes into the job's folder, and keeps others out until the
    /// result is dropped. `None` where the store cannot: what it does on a condition has to do.
    fn lock(&self, _cancel: &Cancel) -> Result<Option<Box<dyn Send>>> {
        Ok(None)
    }

    /// Marks a run's folder as in use until [`UploadStore::release`], or until this process ends.
    /// The result is noted for [`UploadStore::is_abandoned`]; `None` where the store cannot know.
    fn hold(&self, _folder: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// This number of uploads is about to be settled or completed: until [`UploadStore::sync`]
    /// they need not be durable one by one.
    fn defer_sync(&self, _uploads: usize) {}

    /// Makes durable what was deferred.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// A temporary file that goes when it is closed, for rows that a run of this folder sorts.
    fn scratch(&self, _folder: &str) -> Result<File> {
        unnamed_file()
    }

    /// Where [`UploadStore::scratch`] makes its files, for a plan.
    fn scratch_place(&self) -> String {
        std::env::temp_dir().display().to_string()
    }

    /// The run is over.
    fn release(&self, _folder: &str) {}

    /// Whether it is proven that no process works in a run's folder any more; `holder` is what
    /// [`UploadStore::hold`] returned for it.
    fn is_abandoned(&self, _folder: &str, _holder: &str) -> bool {
        false
    }

    /// Whether uploads that have begun are noted beside the output, so that another process can
    /// discard them. Not needed where they lie in their run's own folder, which is removed whole.
    fn notes_uploads(&self) -> bool {
        true
    }

    /// Begins an upload; nothing is visible under its key.
    fn begin(&self, key: &str, token: &str) -> Result<String>;

    /// Sends one part; the result is its name.
    fn send(&self, upload: UploadId<'_>, part: Part) -> Pending;

    /// All parts are sent: makes them durable if asked for, and returns the version that the object
    /// will have, where that is known before.
    fn settle(&self, upload: UploadId<'_>, durable: bool) -> Result<Option<String>>;

    /// Makes the object of its parts; with `new` only if the key does not exist, where the store can.
    fn complete(&self, upload: UploadId<'_>, parts: &[String], new: bool) -> Reply;

    /// Forgets an upload; one that is not there is fine.
    fn discard(&self, upload: UploadId<'_>) -> Result<()>;

    /// Uploads under way whose keys begin with a prefix; `None` where the store does not tell.
    fn uploads(&self, prefix: &str) -> Result<Option<Vec<OpenUpload>>>;

    /// The object as it is now.
    fn look(&self, key: &str) -> Result<Option<ObjectInfo>>;

    /// The SHA-256 of an object's content in hexadecimal digits; `None` where that would have to be
    /// downloaded.
    fn content_hash(&self, _key: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// A small object's content.
    fn get(&self, key: &str) -> Result<Option<(Bytes, ObjectInfo)>>;

    /// Puts a small object.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Exists`] if the condition does not hold.
    fn put(&self, key: &str, content: Bytes, condition: Condition<'_>, token: &str) -> Result<()>;

    /// All objects whose key begins with `prefix`, which is empty or ends in `/`.
    fn list(&self, prefix: &str) -> Result<Vec<ListedObject>>;

    /// Removes objects; those that are not there are fine.
    fn remove(&self, keys: Vec<String>) -> Result<()>;
}

/// A part on its way.
pub struct Pending {
    answer: Receiver<Result<String>>,
    stop: Option<Box<dyn FnOnce() + Send>>,
}

impl Pending {
    /// The waiting half and the sender of the result.
    pub fn new() -> (Self, SyncSender<Result<String>>) {
        let (sender, answer) = sync_channel(1);
        (Self { answer, stop: None }, sender)
    }

    /// One whose result is known.
    pub fn answered(answer: Result<String>) -> Self {
        let (pending, sender) = Self::new();
        // The channel has room for one, and this is the first.
        let _ = sender.send(answer);
        pending
    }

    /// What to do if the result is not waited for.
    pub fn stopping(mut self, stop: impl FnOnce() + Send + 'static) -> Self {
        self.stop = Some(Box::new(stop));
        self
    }

    /// The part's name.
    pub fn wait(mut self, cancel: &Cancel) -> Result<String> {
        loop {
            match self.answer.recv_timeout(GLANCE) {
                Ok(answer) => {
                    self.stop = None;
                    return answer;
                }
                Err(RecvTimeoutError::Timeout) => cancel.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::defect("a part was dropped unsent"));
                }
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop();
        }
    }
}

/// Bounds the parts that one task has under way, and with them its memory.
#[derive(Clone)]
pub(crate) struct PartLimit(Arc<(Mutex<usize>, Condvar)>);

/// The right to have one part under way.
pub struct PartPermit(PartLimit);

impl PartLimit {
    /// For `free` parts at once.
    pub(crate) fn new(free: usize) -> Self {
        Self(Arc::new((Mutex::new(free), Condvar::new())))
    }

    /// Waits until one may go.
    pub(crate) fn enter(&self, cancel: &Cancel) -> Result<PartPermit> {
        let (free, freed) = &*self.0;
        let mut free = free.lock();
        while *free == 0 {
            cancel.check()?;
            freed.wait_for(&mut free, GLANCE);
        }
        *free -= 1;
        Ok(PartPermit(self.clone()))
    }
}

impl Drop for PartPermit {
    fn drop(&mut self) {
        let (free, freed) = &*self.0.0;
        *free.lock() += 1;
        freed.notify_one();
    }
}
