//! What a task leaves beside the output when it finishes: its uploads and what it had counted, under
//! the task's number alone. A later attempt, of another process too, finds it and writes nothing.

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    ChunkOutcome, Counters, Error, Position, Receipt, Result, TaskProgress, WriteTask, Written,
};

use super::{
    concurrent::try_concurrently, entry::UploadEntry, run_folder::RunFolder,
    upload_store::UploadStore,
};

/// A finished task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FinishedTask {
    /// Its uploads, with their parts.
    pub(crate) entries: Vec<UploadEntry>,
    pub(crate) progress: TaskProgress,
    /// The start of the machine whose memory holds the uploads: they are not synced, because the
    /// commit makes one synced file of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsynced: Option<String>,
}

impl FinishedTask {
    /// Whether all that it has uploaded is still there, or published already.
    pub(crate) fn is_whole(&self, store: &dyn UploadStore, run_folder: &RunFolder) -> Result<bool> {
        if self.unsynced.is_some() && self.unsynced != run_folder.hold(store)? {
            return Ok(false);
        }
        let there = try_concurrently(&self.entries, |entry| is_there(store, entry))?;
        Ok(there.into_iter().all(|there| there))
    }
}

fn is_there(store: &dyn UploadStore, entry: &UploadEntry) -> Result<bool> {
    let staged = match store.disk() {
        Some(_) => is_under(store, &entry.upload, entry)?,
        // A store that does not list uploads says at the commit that one is gone.
        None => store.uploads(&entry.key)?.is_none_or(|uploads| {
            uploads.iter().any(|it| it.key == entry.key && it.id == entry.upload)
        }),
    };
    Ok(staged || is_under(store, &entry.key, entry)?)
}

/// Whether what is under a key is what was uploaded, by our token, its version or its hash.
fn is_under(store: &dyn UploadStore, key: &str, entry: &UploadEntry) -> Result<bool> {
    let Some(found) = store.look(key)? else { return Ok(false) };
    if found.size != entry.size {
        return Ok(false);
    }
    match &found.token {
        Some(token) => Ok(*token == entry.token),
        None => entry.is_content(store, key, &found),
    }
}

/// The writing of a task that an earlier attempt has finished.
pub(crate) struct FinishedWriteTask {
    pub(crate) receipt: Receipt,
    pub(crate) progress: TaskProgress,
}

impl FinishedWriteTask {
    fn refuse<T>(&self) -> Result<T> {
        let message = "the task has finished, in an earlier attempt";
        Err(Error::defect(message).at(format!("task {}", self.receipt.task)))
    }
}

impl WriteTask for FinishedWriteTask {
    fn begin_chunk(&mut self, _: u64) -> Result<()> {
        self.refuse()
    }

    fn write(&mut self, _: &RecordBatch) -> Result<Written> {
        self.refuse()
    }

    fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
        self.refuse()
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        Ok(self.receipt)
    }

    /// What has finished stays until the run is aborted: it may be resumed once more.
    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    fn progress(&mut self) -> Result<Option<TaskProgress>> {
        Ok(Some(self.progress.clone()))
    }
}
