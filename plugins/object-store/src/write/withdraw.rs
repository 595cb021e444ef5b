//! The way back: what a run that is given up has staged goes, and what dead runs have left. What an
//! unknown outcome may have published stays.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use transload_plugin_api::Result;

use super::{
    manifest::Manifest,
    place::{Found, Place},
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
        for entry in stage.all(place)? {
            if !entry.upload.is_empty() {
                place.discard(entry.id())?;
            }
            // One object is committed as soon as it is there.
            if published && matches!(target, Target::Prefix { .. }) {
                take_back(place, &before, &entry, has_run)?;
            }
        }
    }
    stage.remove(place)
}

/// Removes an object that an unfinished commit has published.
fn take_back(place: &dyn Place, before: &Before, entry: &Entry, has_run: bool) -> Result<()> {
    let ours = |found: &Found| match (&found.token, &entry.version) {
        (Some(token), _) => *token == entry.token,
        (None, Some(version)) => *version == found.version,
        (None, None) => !before.tokens && has_run,
    };
    match place.look(&entry.key)? {
        Some(found) if ours(&found) => place.remove(vec![entry.key.clone()]),
        _ => Ok(()),
    }
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
pub(crate) fn sweep(place: &dyn Place, root: &str, run: &str) -> Result<()> {
    for leftover in leftovers(place, root, run)?.into_iter().filter(|it| it.age > DEAD) {
        let Ok(stage) = Stage::new(root, &leftover.run) else { continue };
        if stage.is_unknown(place)? || stage.is_publishing(place)? {
            continue;
        }
        for entry in stage.all(place)? {
            if !entry.upload.is_empty() {
                place.discard(entry.id())?;
            }
        }
        stage.remove(place)?;
        tracing::info!(run = leftover.run, uploads = leftover.uploads, "removed a dead run");
    }
    Ok(())
}
