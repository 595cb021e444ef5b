//! The way back: what a run that is given up has staged goes. What an unknown outcome may have
//! published stays. Other runs' leftovers are `sweep`'s.

use std::collections::HashMap;

use transload_plugin_api::Result;

use super::{
    abreast::try_abreast,
    manifest::Manifest,
    place::{Found, Place, UploadId},
    stage::{Before, Stage},
    target::Target,
    upload::Entry,
};

/// Takes a run back, as far as it is known not to be committed.
pub(crate) fn withdraw(
    place: &dyn Place,
    target: &Target,
    (stage, run): (&Stage, &str),
    has_run: bool,
) -> Result<()> {
    if stage.is_unknown(place)? {
        tracing::warn!(run, "nothing is removed: what the run has published is not known");
        return Ok(());
    }
    let Some(before) = stage.before(place)? else { return stage.remove(place) };
    let root = target.root();
    let published = stage.is_publishing(place)?;
    let committed = published
        && matches!(target, Target::Prefix { .. })
        && Manifest::read(place, root)?.is_some_and(|(manifest, _)| manifest.has(run));
    if !committed {
        let entries = stage.all(place)?;
        discard_all(place, &entries)?;
        // One object is committed as soon as it is there.
        if published && matches!(target, Target::Prefix { .. }) {
            place.remove(those_there(place, &before, &entries)?)?;
        }
        if has_run {
            discard_unheard(place, root, &entries);
        }
    }
    stage.remove(place)
}

/// Discards uploads that the store has under keys of ours and that we do not know: their beginning
/// was told to nobody, because the reply was lost. Right only if no other run has these keys.
pub(crate) fn discard_unheard(place: &dyn Place, root: &str, entries: &[Entry]) {
    let known: HashMap<_, _> = entries.iter().map(|it| (it.key.as_str(), it)).collect();
    let found = match place.uploads(root) {
        Ok(found) if !known.is_empty() => found.unwrap_or_default(),
        Ok(_) => return,
        // A store that does not list them may forget them by a rule of its own.
        Err(error) => return tracing::debug!(%error, "uploads cannot be listed"),
    };
    for (key, id) in found {
        let Some(entry) = known.get(key.as_str()) else { continue };
        let upload = UploadId { key: &key, id: &id, token: &entry.token };
        if let Err(error) = place.discard(upload) {
            tracing::warn!(%error, "an upload stays");
        }
    }
}

/// Discards uploads.
pub(crate) fn discard_all(place: &dyn Place, entries: &[Entry]) -> Result<()> {
    let begun: Vec<_> = entries.iter().filter(|entry| !entry.upload.is_empty()).collect();
    try_abreast(&begun, |entry| place.discard(entry.id())).map(drop)
}

/// The keys of uploads that have become objects, which are there.
pub(super) fn those_there(
    place: &dyn Place,
    before: &Before,
    entries: &[Entry],
) -> Result<Vec<String>> {
    let there = try_abreast(entries, |entry| is_there(place, before, entry))?;
    let entries = entries.iter().zip(there).filter(|(_, there)| *there);
    Ok(entries.map(|(entry, _)| entry.key.clone()).collect())
}

/// Whether an upload has become an object, which is there.
fn is_there(place: &dyn Place, before: &Before, entry: &Entry) -> Result<bool> {
    let ours = |found: &Found| match (&found.token, &entry.version) {
        (Some(token), _) => *token == entry.token,
        (None, Some(version)) => *version == found.version,
        // Nobody else makes a key with the run in it.
        (None, None) => !before.tokens && names_run(&entry.key, entry.run()),
    };
    Ok(place.look(&entry.key)?.is_some_and(|found| ours(&found)))
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
