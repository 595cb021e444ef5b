//! What other runs have left beside the output, because their process was killed: who they are, how
//! far they had come, and what of theirs may go.
//!
//! | how far | what goes, and when |
//! |---|---|
//! | committed | its staging, and what it had replaced and not yet removed; at once |
//! | at work | all that it has staged: at once if its process is proven to be gone, else after `abandoned_after` without activity |
//! | publishing | that, and the objects that are provably its own, which no manifest names |
//! | unknown | nothing: people look at it |
//!
//! A process that is alive and was taken for dead finds its uploads gone and the note `swept`, and
//! does not commit. Only one that sleeps between its look for the note and its next request, for
//! as long as `abandoned_after`, could commit what is gone.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use transload_plugin_api::{ErrorKind, Result};

use super::{
    abort::{discard_all, names_run, published_keys},
    manifest::Manifest,
    prior_state::PriorState,
    run_folder::{FOLDER, RunFolder},
    upload_store::{OpenUpload, UploadId, UploadStore},
};

/// How far a run had come when it left something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// Tasks were at work.
    Working,
    /// Its commit had begun.
    Publishing,
    /// It is not known what it has published.
    Unknown,
    /// Its removal had begun.
    Swept,
    /// It is committed.
    Committed,
}

/// A run's leftovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    pub(crate) run: String,
    /// Empty if it is not known.
    pub(crate) job: String,
    pub(crate) progress: Progress,
    /// It is proven that no process works on it.
    pub(crate) abandoned: bool,
    /// Uploads that were begun.
    pub(crate) uploads: usize,
    /// Since anything of it changed.
    pub(crate) age: Duration,
}

impl Leftover {
    fn is_dead(&self, after: Duration) -> bool {
        match self.progress {
            Progress::Committed | Progress::Swept => true,
            Progress::Working | Progress::Publishing => self.abandoned || self.age >= after,
            Progress::Unknown => false,
        }
    }

    /// Finds out whether it is committed, or abandoned.
    fn look_closer(&mut self, store: &dyn UploadStore, root: &str) -> Result<()> {
        let Ok(run_folder) = RunFolder::new(root, &self.run) else { return Ok(()) };
        if self.progress > Progress::Working && is_committed(store, root, &run_folder, &self.run)? {
            self.progress = Progress::Committed;
            return Ok(());
        }
        if let Some(before) = run_folder.before(store)? {
            self.abandoned = run_folder.is_abandoned(store, &before);
            self.job = before.job;
        }
        Ok(())
    }

    /// What a plan says of it; `after` is when a run counts as dead.
    pub(crate) fn words(&self, store: &dyn UploadStore, root: &str, after: Duration) -> String {
        let Self { run, uploads, .. } = self;
        let job = match self.job.as_str() {
            "" => String::new(),
            job => format!(" of job `{job}`"),
        };
        let minutes = self.age.as_secs() / 60;
        let what = match self.progress {
            Progress::Committed => "was committed and then killed",
            Progress::Unknown => {
                let folder = store.name(&format!("{root}{FOLDER}{run}/"));
                return format!(
                    "run {run}{job} could not find out what it has published, and nothing of it is \
                     removed: {uploads} upload(s) begun; look at its objects, cancel its uploads, \
                     and remove {folder}"
                );
            }
            Progress::Swept => "is being removed",
            Progress::Working if self.abandoned => "was left by a killed process",
            Progress::Publishing if self.abandoned => "was killed while it published",
            Progress::Working => "is in progress, or was left by a killed process",
            Progress::Publishing => "is publishing, or was killed while it did",
        };
        let then = if self.is_dead(after) {
            "its files are removed before this run writes".to_owned()
        } else {
            format!(
                "its files are removed after {} min without activity; set a shorter `abandoned_after` if it is dead",
                after.as_secs() / 60
            )
        };
        format!("run {run}{job} {what}: {uploads} upload(s) begun, {minutes} min old; {then}")
    }
}

/// Runs beside this one that have left something: at work, or dead.
pub(crate) fn leftovers(store: &dyn UploadStore, root: &str, run: &str) -> Result<Vec<Leftover>> {
    let folder = format!("{root}{FOLDER}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut runs: BTreeMap<String, Leftover> = BTreeMap::new();
    for listed in store.list(&folder)? {
        let Some(name) = listed.key.strip_prefix(&folder) else { continue };
        let Some((owner, name)) = name.split_once('/') else { continue };
        if owner == run {
            continue;
        }
        let modified = Duration::from_secs(u64::try_from(listed.modified).unwrap_or_default());
        let age = now.saturating_sub(modified);
        let entry = runs.entry(owner.to_owned()).or_insert_with(|| Leftover {
            run: owner.to_owned(),
            job: String::new(),
            progress: Progress::Working,
            abandoned: false,
            uploads: 0,
            age,
        });
        entry.age = entry.age.min(age);
        entry.uploads += usize::from(name.ends_with(".begun") || name.ends_with(".part"));
        entry.progress = entry.progress.max(match name {
            "publishing" => Progress::Publishing,
            "swept" => Progress::Swept,
            "unknown" => Progress::Unknown,
            _ => Progress::Working,
        });
    }
    let mut leftovers: Vec<_> = runs.into_values().collect();
    for leftover in &mut leftovers {
        match leftover.look_closer(store, root) {
            // Notes that cannot be understood say nothing.
            Err(error) if error.kind != ErrorKind::Data => return Err(error),
            _ => {}
        }
    }
    Ok(leftovers)
}

/// What a check says of leftovers below the root: those of runs, and uploads that no run knows, begun
/// longer ago than `after`. None if there are none.
pub(crate) fn report(
    store: &dyn UploadStore,
    root: &str,
    after: Duration,
) -> Result<Option<String>> {
    let leftovers = leftovers(store, root, "")?;
    let mut words: Vec<_> = leftovers.iter().map(|left| left.words(store, root, after)).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest = i64::try_from(now.saturating_sub(after).as_secs()).unwrap_or(i64::MAX);
    let mut unknown = store.uploads(root)?.unwrap_or_default();
    unknown.retain(|upload| {
        upload.begun.is_some_and(|begun| begun <= oldest)
            && !leftovers.iter().any(|left| names_run(&upload.key, &left.run))
    });
    if let Some(first) = unknown.first() {
        words.push(format!(
            "{} upload(s) that no run knows, begun more than {} min ago, such as {}: they cost storage \
             until they are cancelled; a lifecycle rule of the bucket does that",
            unknown.len(),
            after.as_secs() / 60,
            store.name(&first.key)
        ));
    }
    Ok((!words.is_empty()).then(|| words.join("; ")))
}

/// Whether a run's commit has come through, by what is there.
fn is_committed(
    store: &dyn UploadStore,
    root: &str,
    run_folder: &RunFolder,
    run: &str,
) -> Result<bool> {
    let Some(before) = run_folder.before(store)? else { return Ok(false) };
    if !before.whole {
        return Ok(Manifest::read(store, root)?.is_some_and(|(manifest, _)| manifest.has(run)));
    }
    let there = published_keys(store, &before, &run_folder.all(store)?)?;
    Ok(!there.is_empty())
}

/// Objects that runs have published whose commit never came to its end: no manifest names them,
/// and readers see them.
pub(crate) fn published_by_others(
    store: &dyn UploadStore,
    root: &str,
    run: &str,
) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for leftover in leftovers(store, root, run)? {
        if matches!(leftover.progress, Progress::Working | Progress::Committed) {
            continue;
        }
        let Ok(run_folder) = RunFolder::new(root, &leftover.run) else { continue };
        let Some(before) = run_folder.before(store)? else { continue };
        // One object is committed as soon as it is there.
        if !before.whole && run_folder.is_publishing(store)? {
            keys.extend(published_keys(store, &before, &run_folder.all(store)?)?);
        }
    }
    Ok(keys)
}

/// Removes what dead runs have left. What cannot be removed is logged and stays.
pub(crate) fn sweep(store: &dyn UploadStore, root: &str, run: &str, after: Duration) -> Result<()> {
    let leftovers = leftovers(store, root, run)?;
    let runs: Vec<_> = leftovers.iter().map(|it| it.run.as_str()).chain([run]).collect();
    for leftover in leftovers.iter().filter(|it| it.is_dead(after)) {
        let swept = Sweeping { store, root, runs: &runs }.sweep(leftover);
        match swept {
            Ok(()) => tracing::info!(run = leftover.run, "removed the files of a dead run"),
            Err(error) => {
                tracing::warn!(run = leftover.run, %error, "the files of a dead run could not be removed")
            }
        }
    }
    Ok(())
}

struct Sweeping<'a> {
    store: &'a dyn UploadStore,
    root: &'a str,
    /// All runs that are known here.
    runs: &'a [&'a str],
}

impl Sweeping<'_> {
    fn sweep(&self, leftover: &Leftover) -> Result<()> {
        let Self { store, root, .. } = *self;
        let run_folder = RunFolder::new(root, &leftover.run)?;
        // From now on it cannot commit; it may have done so just before.
        let committed = leftover.progress == Progress::Committed || {
            run_folder.note_swept(store)?;
            is_committed(store, root, &run_folder, &leftover.run)?
        };
        let entries = run_folder.all(store)?;
        discard_all(store, &entries)?;
        self.discard_unrecorded(&leftover.run);
        if let Some(before) = run_folder.before(store)? {
            let doomed = if committed {
                self.replaced(&before)?
            } else if !before.whole && run_folder.is_publishing(store)? {
                published_keys(store, &before, &entries)?
            } else {
                Vec::new()
            };
            store.remove(doomed)?;
        }
        run_folder.remove(store)
    }

    /// What a committed run has replaced and not removed: objects that the manifest before it
    /// names, the current one does not, and that have not changed since.
    fn replaced(&self, before: &PriorState) -> Result<Vec<String>> {
        let Some((old, _)) = &before.manifest else { return Ok(Vec::new()) };
        let now = Manifest::read(self.store, self.root)?;
        let named: HashSet<_> =
            now.iter().flat_map(|(manifest, _)| &manifest.files).map(|file| &file.name).collect();
        let mut keys = Vec::new();
        for file in old.files.iter().filter(|file| !named.contains(&file.name)) {
            let key = format!("{}{}", self.root, file.name);
            let is_doomed = before.doomed.contains(&key);
            if is_doomed && self.store.look(&key)?.is_some_and(|it| it.version == file.etag) {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// Discards uploads that a run has begun and not recorded: the reply was lost, or the
    /// process killed before. Their keys have the run in them.
    fn discard_unrecorded(&self, run: &str) {
        let Self { store, root, .. } = *self;
        let found = match store.uploads(root) {
            Ok(found) => found.unwrap_or_default(),
            // A store that does not list them may forget them by a rule of its own.
            Err(error) => return tracing::debug!(%error, "uploads cannot be listed"),
        };
        let other = |name: &str| {
            self.runs.iter().any(|it| *it != run && it.contains(run) && names_run(name, it))
        };
        for OpenUpload { key, id, .. } in found {
            let name = key.strip_prefix(root).unwrap_or_default();
            if !names_run(name, run) || other(name) {
                continue;
            }
            if let Err(error) = store.discard(UploadId { key: &key, id: &id, token: "" }) {
                tracing::warn!(%error, "an upload stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_alive_is_not_dead() {
        use Progress::{Committed, Publishing, Swept, Unknown, Working};
        let hour = Duration::from_secs(3600);
        for (progress, quiet, dead) in [
            (Working, 3599, false),
            (Working, 3600, true),
            (Publishing, 3599, false),
            (Publishing, 3600, true),
            (Unknown, 1_000_000, false),
            (Committed, 0, true),
            (Swept, 0, true),
        ] {
            let age = Duration::from_secs(quiet);
            let (run, job) = ("r-1".to_owned(), "orders".to_owned());
            let leftover = Leftover { run, job, progress, abandoned: false, uploads: 0, age };
            assert_eq!(leftover.is_dead(hour), dead, "{progress:?} {quiet}");
            let abandoned = Leftover { abandoned: true, ..leftover };
            assert_eq!(abandoned.is_dead(hour), progress != Unknown, "{progress:?}");
        }
    }
}
