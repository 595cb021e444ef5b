//! The way back: what a run that is given up has staged goes, and what dead runs have left. What an
//! unknown outcome may have published stays.

use std::{
    collections::{BTreeMap, HashMap},
    time::{SystemTime, UNIX_EPOCH},
};

use transload_plugin_api::Result;

use super::{
    abreast::try_abreast,
    manifest::Manifest,
    place::{Found, Place, UploadId},
    stage::{Before, FOLDER, Stage},
    target::Target,
    upload::Entry,
};

/// Runs that have not moved for so long are dead, in seconds: a week.
const DEAD: i64 = 7 * 24 * 3600;

/// A run's leftovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    pub(crate) run: String,
    /// Uploads that were begun.
    pub(crate) uploads: usize,
    /// Seconds since anything of it changed.
    pub(crate) age: i64,
}

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
            place.remove(those_there(place, &before, &entries, has_run)?)?;
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

/// Objects that runs have published whose commit never came to its end: no manifest names them,
/// and readers see them.
pub(crate) fn published_by_others(
    place: &dyn Place,
    root: &str,
    run: &str,
    has_run: bool,
) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for leftover in leftovers(place, root, run)? {
        let Ok(stage) = Stage::new(root, &leftover.run) else { continue };
        let Some(before) = stage.before(place)? else { continue };
        if !stage.is_publishing(place)? {
            continue;
        }
        keys.extend(those_there(place, &before, &stage.all(place)?, has_run)?);
    }
    Ok(keys)
}

/// Discards uploads.
pub(crate) fn discard_all(place: &dyn Place, entries: &[Entry]) -> Result<()> {
    let begun: Vec<_> = entries.iter().filter(|entry| !entry.upload.is_empty()).collect();
    try_abreast(&begun, |entry| place.discard(entry.id())).map(drop)
}

/// The keys of uploads that have become objects, which are there.
fn those_there(
    place: &dyn Place,
    before: &Before,
    entries: &[Entry],
    has_run: bool,
) -> Result<Vec<String>> {
    let there = try_abreast(entries, |entry| is_there(place, before, entry, has_run))?;
    let entries = entries.iter().zip(there).filter(|(_, there)| *there);
    Ok(entries.map(|(entry, _)| entry.key.clone()).collect())
}

/// Whether an upload has become an object, which is there.
fn is_there(place: &dyn Place, before: &Before, entry: &Entry, has_run: bool) -> Result<bool> {
    let ours = |found: &Found| match (&found.token, &entry.version) {
        (Some(token), _) => *token == entry.token,
        (None, Some(version)) => *version == found.version,
        (None, None) => !before.tokens && has_run,
    };
    Ok(place.look(&entry.key)?.is_some_and(|found| ours(&found)))
}

/// Runs beside this one that have left something: at work, or dead.
pub(crate) fn leftovers(place: &dyn Place, root: &str, run: &str) -> Result<Vec<Leftover>> {
    let folder = format!("{root}{FOLDER}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let mut runs: BTreeMap<String, Leftover> = BTreeMap::new();
    for listed in place.list(&folder)? {
        let Some(name) = listed.key.strip_prefix(&folder) else { continue };
        let Some((owner, name)) = name.split_once('/') else { continue };
        if owner == run {
            continue;
        }
        let age = now - listed.modified;
        let entry = runs.entry(owner.to_owned()).or_insert_with(|| Leftover {
            run: owner.to_owned(),
            uploads: 0,
            age,
        });
        entry.age = entry.age.min(age);
        entry.uploads += usize::from(name.ends_with(".begun"));
    }
    Ok(runs.into_values().collect())
}

/// Removes what dead runs have left, except where their commit had begun: that is for people.
/// What cannot be removed is told and stays.
pub(crate) fn sweep(place: &dyn Place, root: &str, run: &str) -> Result<()> {
    for leftover in leftovers(place, root, run)?.into_iter().filter(|it| it.age > DEAD) {
        match sweep_run(place, root, &leftover.run) {
            Ok(()) => tracing::info!(run = leftover.run, "looked after a dead run"),
            Err(error) => tracing::warn!(run = leftover.run, %error, "a dead run's things stay"),
        }
    }
    Ok(())
}

fn sweep_run(place: &dyn Place, root: &str, run: &str) -> Result<()> {
    let stage = Stage::new(root, run)?;
    if stage.is_unknown(place)? || stage.is_publishing(place)? {
        return Ok(());
    }
    discard_all(place, &stage.all(place)?)?;
    stage.remove(place)
}
