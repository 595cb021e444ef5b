//! Aborts a run: what it has staged is removed. What a run with an unknown outcome may have
//! published stays. Leftovers of other runs are handled by `sweep`.

use std::collections::HashMap;

use transload_plugin_api::{Result, failpoint};

use super::{
    concurrent::try_concurrently,
    destination::Destination,
    entry::UploadEntry,
    manifest::Manifest,
    prior_state::PriorState,
    run_folder::RunFolder,
    upload_store::{ObjectInfo, OpenUpload, UploadId, UploadStore},
};

/// Aborts a run, as far as it is known not to be committed.
pub(crate) fn abort_run(
    store: &dyn UploadStore,
    destination: &Destination,
    (run_folder, run): (&RunFolder, &str),
    has_run: bool,
) -> Result<()> {
    if run_folder.is_unknown(store)? {
        tracing::warn!(run, "nothing is removed: what the run has published is not known");
        return Ok(());
    }
    let Some(before) = run_folder.before(store)? else { return run_folder.remove(store) };
    let root = destination.root();
    let published = run_folder.is_publishing(store)?;
    let committed = published
        && matches!(destination, Destination::Folder { .. })
        && Manifest::read(store, root)?.is_some_and(|(manifest, _)| manifest.has(run));
    if !committed {
        let entries = run_folder.all(store)?;
        failpoint("K14");
        discard_all(store, &entries)?;
        failpoint("K14");
        // One object is committed as soon as it is there.
        if published && matches!(destination, Destination::Folder { .. }) {
            store.remove(published_keys(store, &before, &entries)?)?;
        }
        failpoint("K14");
        if has_run {
            discard_unrecorded(store, root, &entries);
        }
    }
    failpoint("K14");
    run_folder.remove(store)
}

/// Discards uploads that the store has under keys of ours and that we do not know: their beginning
/// was not recorded, because the reply was lost. Right only if no other run has these keys.
pub(crate) fn discard_unrecorded(store: &dyn UploadStore, root: &str, entries: &[UploadEntry]) {
    let known: HashMap<_, _> = entries.iter().map(|it| (it.key.as_str(), it)).collect();
    let found = match store.uploads(root) {
        Ok(found) if !known.is_empty() => found.unwrap_or_default(),
        Ok(_) => return,
        // A store that does not list them may forget them by a rule of its own.
        Err(error) => return tracing::debug!(%error, "uploads cannot be listed"),
    };
    for OpenUpload { key, id, .. } in found {
        let Some(entry) = known.get(key.as_str()) else { continue };
        let upload = UploadId { key: &key, id: &id, token: &entry.token };
        if let Err(error) = store.discard(upload) {
            tracing::warn!(%error, "an upload stays");
        }
    }
}

/// Discards uploads.
pub(crate) fn discard_all(store: &dyn UploadStore, entries: &[UploadEntry]) -> Result<()> {
    let begun: Vec<_> = entries.iter().filter(|entry| !entry.upload.is_empty()).collect();
    try_concurrently(&begun, |entry| store.discard(entry.id())).map(drop)
}

/// The keys of uploads that have become objects, which are there.
pub(super) fn published_keys(
    store: &dyn UploadStore,
    before: &PriorState,
    entries: &[UploadEntry],
) -> Result<Vec<String>> {
    let there = try_concurrently(entries, |entry| is_there(store, before, entry))?;
    let entries = entries.iter().zip(there).filter(|(_, there)| *there);
    Ok(entries.map(|(entry, _)| entry.key.clone()).collect())
}

/// Whether an upload has become an object, which is there.
fn is_there(store: &dyn UploadStore, before: &PriorState, entry: &UploadEntry) -> Result<bool> {
    let ours = |found: &ObjectInfo| match (&found.token, &entry.version) {
        (Some(token), _) => *token == entry.token,
        (None, Some(version)) => *version == found.version,
        // Only this run makes keys that contain its id.
        (None, None) => !before.tokens && names_run(&entry.key, entry.run()),
    };
    Ok(store.look(&entry.key)?.is_some_and(|found| ours(&found)))
}

/// Whether a run's id stands in a name, and not as a part of a longer word.
pub(super) fn names_run(name: &str, run: &str) -> bool {
    name.match_indices(run).any(|(at, _)| {
        let before = name[..at].chars().next_back();
        let after = name[at + run.len()..].chars().next();
        [before, after].into_iter().flatten().all(|c| !c.is_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_its_whole_name() {
        for (name, run, named) in [
            ("part-r-1-00000.csv", "r-1", true),
            ("day=1/r-1.csv", "r-1", true),
            ("part-r-10-00000.csv", "r-1", false),
            ("part-ur-1-00000.csv", "r-1", false),
            ("part-r-10-r-1", "r-1", true),
            ("", "r-1", false),
        ] {
            assert_eq!(names_run(name, run), named, "{name} {run}");
        }
    }
}
