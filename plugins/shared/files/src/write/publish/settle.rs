//! One upload becomes an object: completed, looked at, and tried again while its outcome is unknown.

use transload_plugin_api::{Backoff, Result, failpoint};

use super::{Publication, Step, is_token_of};
use crate::write::{
    entry::UploadEntry,
    upload_store::{ObjectInfo, OwnershipProof, Reply},
};

impl Publication<'_> {
    /// Makes an upload an object. `old` is what an overwrite replaces; `again` says that an earlier
    /// commit may have come so far.
    pub(super) fn settle(
        &self,
        entry: &UploadEntry,
        new: bool,
        old: Option<&ObjectInfo>,
        again: bool,
    ) -> Result<Step<ObjectInfo>> {
        if again
            && let Some(found) = self.store.look(&entry.key)?
            && (self.is_ours(&found, entry) || self.is_content(&found, entry)?)
        {
            return Ok(Ok(found));
        }
        let (mut new, mut tried, mut backoff) = (new, 0, self.store.backoff());
        loop {
            failpoint("K11");
            let reply = self.store.complete(entry.id(), &entry.parts, new);
            failpoint("K11");
            if let (Reply::Done, Some(_)) = (&reply, &entry.version) {
                // What a disk says is so, and the staged file's version is the published one's.
                return Ok(Ok(told(entry)));
            }
            let now = self.store.look(&entry.key);
            let there = match &now {
                Ok(Some(found)) if self.is_ours(found, entry) || is_told(&reply, found, entry) => {
                    return Ok(Ok(found.clone()));
                }
                Ok(Some(found)) => !same_object(Some(found), old),
                _ => false,
            };
            match &reply {
                // The store reported success, and nothing contradicts it.
                Reply::Done if now.is_err() => return Ok(Ok(told(entry))),
                // The look just now stands in for the condition.
                Reply::Unconditional if now.is_ok() && !there => {
                    new = false;
                    continue;
                }
                Reply::Conflict(_) | Reply::Unconditional if there => {
                    let found = now.as_ref().ok().and_then(Option::as_ref);
                    return Err(self.changed(&entry.key, found.and_then(ObjectInfo::run)));
                }
                Reply::Refused(error) if now.is_ok() => return Err(error.clone()),
                _ => {}
            }
            if let (Reply::Gone(error), Ok(None), false) = (&reply, &now, again || tried > 0)
                && self.store.proof() == OwnershipProof::Version
            {
                // It cannot have been published: no reply of this store is lost.
                return Err(error.clone());
            }
            let hopeless = matches!(reply, Reply::Gone(_)) && tried >= 2;
            if hopeless || !self.waits(&mut backoff) {
                return Ok(Err(self.evidence(entry, &reply, now)));
            }
            tried += 1;
        }
    }

    /// Waits before a step is tried again; `false` if there have been enough tries, or the job is
    /// being stopped. What was tried until then may have been done.
    pub(super) fn waits(&self, backoff: &mut Backoff) -> bool {
        backoff.wait(self.cancel).unwrap_or(false)
    }

    pub(super) fn evidence(
        &self,
        entry: &UploadEntry,
        reply: &Reply,
        now: Result<Option<ObjectInfo>>,
    ) -> String {
        let name = self.store.name(&entry.key);
        let said = match reply {
            Reply::Done => "the store said that it was done".to_owned(),
            Reply::Unconditional => "the store cannot complete on a condition".to_owned(),
            Reply::Gone(error) => format!("the store does not know the upload any more ({error})"),
            Reply::Refused(error) | Reply::Conflict(error) | Reply::Lost(error) => {
                format!("the store said: {error}")
            }
        };
        let found = match now {
            Ok(None) => "no object has the key".to_owned(),
            Ok(Some(found)) => format!(
                "an object of {} bytes has the key, and which run wrote it is unknown",
                found.size
            ),
            Err(error) => format!("the key cannot be looked at ({error})"),
        };
        format!("upload of {} bytes to {name}: {said}; {found}", entry.size)
    }

    /// Whether an object is the one that an upload has become.
    fn is_ours(&self, found: &ObjectInfo, entry: &UploadEntry) -> bool {
        let proven = match (&found.token, &entry.version) {
            (Some(token), _) => *token == entry.token,
            (None, Some(version)) => *version == found.version,
            // The key contains the run: only this run makes it.
            (None, None) => !self.before.tokens && self.template.has_run(),
        };
        proven && found.size == entry.size
    }

    /// Whether a file of a disk has the content of an upload, though its version has changed.
    fn is_content(&self, found: &ObjectInfo, entry: &UploadEntry) -> Result<bool> {
        Ok(found.token.is_none() && entry.is_content(self.store, &entry.key, found)?)
    }

    /// Whether the one object is of this run.
    pub(super) fn is_of_run(&self, found: &ObjectInfo, entry: &UploadEntry) -> bool {
        is_token_of(found, &self.plan.run) || self.is_ours(found, entry)
    }
}

/// The store said that it was done, and an object that lost its token on the way fits.
fn is_told(reply: &Reply, found: &ObjectInfo, entry: &UploadEntry) -> bool {
    matches!(reply, Reply::Done) && found.token.is_none() && found.size == entry.size
}

/// An object as we know it without having seen it.
pub(super) fn told(entry: &UploadEntry) -> ObjectInfo {
    let version = entry.version.clone().unwrap_or_default();
    ObjectInfo { size: entry.size, version, generation: None, token: Some(entry.token.clone()) }
}

pub(super) fn same_object(now: Option<&ObjectInfo>, before: Option<&ObjectInfo>) -> bool {
    let identity = |found: &ObjectInfo| (found.size, found.version.clone());
    now.map(identity) == before.map(identity)
}
