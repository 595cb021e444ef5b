//! What a run keeps below a hidden name beside its output until it is over, so that any process can
//! commit it, or take it back.
//!
//! | name below `_transload/<run>/` | what it is |
//! |---|---|
//! | `before.json` | the target as it was, [`PriorState`] |
//! | `t00017.e0.1f3a….begun` | an upload of attempt 0 of task 17: an [`UploadEntry`] without parts |
//! | `t00017.done` | task 17 has finished: a [`FinishedTask`], with its uploads and their parts |
//! | `joined.done` | one file on a disk: the upload that those of all tasks were joined to |
//! | `publishing` | the commit has begun |
//! | `swept` | the run is taken for dead and being removed: it must not commit any more |
//! | `unknown` | it is not known whether an object is published: nothing may be deleted |

use std::{collections::HashSet, fs::File};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use transload_plugin_api::{Error, ErrorKind, Receipt, Result, code, failpoint};

use super::{
    abort::discard_all,
    concurrent::try_concurrently,
    entry::UploadEntry,
    finished_task::{FinishedTask, FinishedWriteTask},
    prior_state::PriorState,
    upload_store::{Condition, UploadStore},
};

/// The hidden folder of all runs.
pub(crate) const FOLDER: &str = "_transload/";

/// The note of the joined upload, a list like those of the tasks.
const JOINED: &str = "joined.done";

/// The uploads that a note names: those of a finished task, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Noted {
    Task(FinishedTask),
    List(Vec<UploadEntry>),
}

impl Noted {
    fn entries(self) -> Vec<UploadEntry> {
        match self {
            Self::Task(task) => task.entries,
            Self::List(entries) => entries,
        }
    }
}

/// A task's receipt for the job's commit: where its list of uploads is, and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadReceipt {
    ledger: String,
    sha256: String,
    objects: usize,
    rows: u64,
}

/// One run's hidden folder.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder {
    prefix: String,
}

impl RunFolder {
    /// The stage of `run` below `root`, which is empty or ends in `/`; nothing is made yet.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`] for a run id that is no plain name.
    pub(crate) fn new(root: &str, run: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if run.is_empty() || !run.chars().all(plain) {
            let message = format!("`{run}` is not a run id: letters, digits and `-` are");
            return Err(Error::defect(message));
        }
        Ok(Self { prefix: format!("{root}{FOLDER}{run}/") })
    }

    /// Marks the run as being worked on by this process; returns what proves that it is not.
    pub(crate) fn hold(&self, store: &dyn UploadStore) -> Result<Option<String>> {
        store.hold(&self.prefix)
    }

    /// A temporary file that goes when it is closed.
    pub(crate) fn scratch(&self, store: &dyn UploadStore) -> Result<File> {
        store.scratch(&self.prefix)
    }

    /// Whether no process works on the run any more, by the note that it left.
    pub(crate) fn is_abandoned(&self, store: &dyn UploadStore, before: &PriorState) -> bool {
        let holder = before.holder.as_deref();
        holder.is_some_and(|holder| store.is_abandoned(&self.prefix, holder))
    }

    /// Remembers how the target was. A second call changes nothing.
    pub(crate) fn create(&self, store: &dyn UploadStore, before: &PriorState) -> Result<()> {
        // Held first: what has a note and is not held counts as abandoned.
        let before = PriorState { holder: self.hold(store)?, ..before.clone() };
        match self.put(store, "before.json", &json(&before)?, Condition::New) {
            Err(error) if error.kind == ErrorKind::Exists => Ok(()),
            outcome => outcome,
        }
    }

    /// How the target was; `None` if the run is not prepared.
    pub(crate) fn before(&self, store: &dyn UploadStore) -> Result<Option<PriorState>> {
        let key = self.key("before.json");
        let Some((text, _)) = store.get(&key)? else { return Ok(None) };
        parse(store, &key, &text).map(Some)
    }

    /// Notes an upload that has begun.
    pub(crate) fn note_begun(
        &self,
        store: &dyn UploadStore,
        task: u32,
        epoch: u32,
        entry: &UploadEntry,
    ) -> Result<()> {
        let name = format!("t{task:05}.e{epoch}.{}.begun", entry.word());
        self.put(store, &name, &json(entry)?, Condition::Any)
    }

    /// Notes that a task has finished; the receipt names the note.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another attempt has finished it meanwhile.
    pub(crate) fn note_done(
        &self,
        store: &dyn UploadStore,
        task: u32,
        finished: &FinishedTask,
    ) -> Result<Receipt> {
        let (name, text) = (done_name(task), json(finished)?);
        match self.put(store, &name, &text, Condition::New) {
            Err(error) if error.kind == ErrorKind::Exists => {
                // The reply to our own request may have been lost.
                let there = store.get(&self.key(&name))?;
                if there.is_none_or(|(there, _)| there != text) {
                    return Err(fenced(task));
                }
            }
            outcome => outcome?,
        }
        receipt(task, &text, finished)
    }

    /// A task that an earlier attempt has finished and whose uploads are all there. If there is none,
    /// what earlier attempts have left of the task is removed; `names` are those of the folder.
    pub(crate) fn resume(
        &self,
        store: &dyn UploadStore,
        task: u32,
        names: &[String],
    ) -> Result<Option<FinishedWriteTask>> {
        let done = self.key(&done_name(task));
        if let Some((text, _)) = store.get(&done)? {
            let finished: FinishedTask = parse(store, &done, &text)?;
            if finished.is_whole(store, self)? {
                let (receipt, progress) = (receipt(task, &text, &finished)?, finished.progress);
                return Ok(Some(FinishedWriteTask { receipt, progress }));
            }
            tracing::warn!(task, "staged files of the finished task are gone: it starts again");
            store.remove(vec![done])?;
            discard_all(store, &finished.entries)?;
        }
        self.remove_attempts(store, task, names).map(|()| None)
    }

    fn remove_attempts(&self, store: &dyn UploadStore, task: u32, names: &[String]) -> Result<()> {
        let is_of = |name: &str, start: String, end: &str| {
            name.strip_prefix(&self.prefix).is_some_and(|name| name.starts_with(&start))
                && name.ends_with(end)
        };
        let mut keys = names.to_vec();
        keys.retain(|key| {
            is_of(key, format!("t{task:05}.e"), ".begun")
                || is_of(key, format!("t{task}.e"), ".part")
        });
        let begun: Vec<_> = keys.iter().filter(|key| key.ends_with(".begun")).collect();
        let begun = try_concurrently(&begun, |key| self.begun(store, key))?;
        discard_all(store, &begun.into_iter().flatten().collect::<Vec<_>>())?;
        store.remove(keys)
    }

    /// The names of all notes and staged files of the run.
    pub(crate) fn names(&self, store: &dyn UploadStore) -> Result<Vec<String>> {
        Ok(store.list(&self.prefix)?.into_iter().map(|listed| listed.key).collect())
    }

    /// The upload that a note of its beginning names.
    fn begun(&self, store: &dyn UploadStore, key: &str) -> Result<Option<UploadEntry>> {
        let Some((text, _)) = store.get(key)? else { return Ok(None) };
        parse(store, key, &text).map(Some)
    }

    /// The uploads of a receipt.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if the list is not the one that the receipt was given for.
    pub(crate) fn done(
        &self,
        store: &dyn UploadStore,
        receipt: &Receipt,
    ) -> Result<Vec<UploadEntry>> {
        let told: UploadReceipt = serde_json::from_str(&receipt.data).map_err(|error| {
            let message = format!("the receipt of task {} is not ours", receipt.task);
            Error::defect(message).caused_by(&error)
        })?;
        let key = self.key(&told.ledger);
        let wrong = |message: &str| Error::data(message).at(store.name(&key));
        let (text, _) =
            store.get(&key)?.ok_or_else(|| wrong("the list of a task's uploads is not there"))?;
        if super::hexadecimal(&Sha256::digest(&text)) != told.sha256 {
            return Err(wrong("the list of a task's uploads is not the one it finished with"));
        }
        let entries = parse::<Noted>(store, &key, &text)?.entries();
        let rows: u64 = entries.iter().map(|entry| entry.rows).sum();
        if (entries.len(), rows) == (told.objects, told.rows) {
            return Ok(entries);
        }
        let (found, told) = ((entries.len(), rows), (told.objects, told.rows));
        Err(rows_differ(found, told).at(store.name(&key)))
    }

    /// Notes the one upload that those of all tasks were joined to.
    pub(crate) fn note_joined(&self, store: &dyn UploadStore, entry: &UploadEntry) -> Result<()> {
        self.put(store, JOINED, &json(&[entry])?, Condition::Any)
    }

    /// The one upload that those of all tasks were joined to, if a commit has come so far.
    pub(crate) fn joined(&self, store: &dyn UploadStore) -> Result<Option<UploadEntry>> {
        let key = self.key(JOINED);
        let Some((text, _)) = store.get(&key)? else { return Ok(None) };
        Ok(parse::<Noted>(store, &key, &text)?.entries().pop())
    }

    /// Every upload that any attempt of the run has begun or finished.
    pub(crate) fn all(&self, store: &dyn UploadStore) -> Result<Vec<UploadEntry>> {
        let mut notes = store.list(&self.prefix)?;
        notes.retain(|note| note.key.ends_with(".begun") || note.key.ends_with(".done"));
        let entries = try_concurrently(&notes, |note| {
            if note.key.ends_with(".begun") {
                return Ok(self.begun(store, &note.key)?.into_iter().collect());
            }
            let Some((text, _)) = store.get(&note.key)? else { return Ok(Vec::new()) };
            Ok(parse::<Noted>(store, &note.key, &text)?.entries())
        })?;
        let mut entries = entries.concat();
        // Of one upload, what knows its parts comes last and stays.
        entries.sort_by(|a, b| (&a.token, a.parts.len()).cmp(&(&b.token, b.parts.len())));
        entries.reverse();
        entries.dedup_by(|a, b| a.token == b.token);
        Ok(entries)
    }

    /// Uploads that attempts have begun and that are not among these.
    pub(crate) fn strays(
        &self,
        store: &dyn UploadStore,
        entries: &[UploadEntry],
    ) -> Result<Vec<UploadEntry>> {
        let known: HashSet<_> = entries.iter().map(UploadEntry::word).collect();
        let mut notes = store.list(&self.prefix)?;
        notes.retain(|note| {
            let word = note.key.strip_suffix(".begun").and_then(|key| key.rsplit('.').next());
            word.is_some_and(|word| !known.contains(word))
        });
        let strays = try_concurrently(&notes, |note| self.begun(store, &note.key))?;
        Ok(strays.into_iter().flatten().collect())
    }

    /// Notes that the commit has begun; says whether it had begun before.
    pub(crate) fn note_publishing(&self, store: &dyn UploadStore) -> Result<bool> {
        match self.put(store, "publishing", b"{}", Condition::New) {
            Err(error) if error.kind == ErrorKind::Exists => Ok(true),
            outcome => outcome.map(|()| false),
        }
    }

    pub(crate) fn is_publishing(&self, store: &dyn UploadStore) -> Result<bool> {
        Ok(store.look(&self.key("publishing"))?.is_some())
    }

    /// Whether another run treats this one as dead.
    pub(crate) fn is_swept(&self, store: &dyn UploadStore) -> Result<bool> {
        Ok(store.look(&self.key("swept"))?.is_some())
    }

    /// Notes that the run is taken for dead.
    pub(crate) fn note_swept(&self, store: &dyn UploadStore) -> Result<()> {
        self.put(store, "swept", b"{}", Condition::Any)
    }

    /// Whether no other run treats this one as dead: its notes are there, without `swept`.
    pub(crate) fn is_alive(&self, store: &dyn UploadStore) -> Result<bool> {
        Ok(!self.is_swept(store)? && self.is_publishing(store)?)
    }

    /// Notes that an outcome is unknown: from now on no file of the run may be deleted.
    pub(crate) fn note_unknown(&self, store: &dyn UploadStore, evidence: &str) -> Result<()> {
        self.put(store, "unknown", &json(evidence)?, Condition::Any)
    }

    pub(crate) fn is_unknown(&self, store: &dyn UploadStore) -> Result<bool> {
        Ok(store.look(&self.key("unknown"))?.is_some())
    }

    /// The commit has come through after all.
    pub(crate) fn forget_unknown(&self, store: &dyn UploadStore) -> Result<()> {
        store.remove(vec![self.key("unknown")])
    }

    /// Removes all that the run has kept.
    pub(crate) fn remove(&self, store: &dyn UploadStore) -> Result<()> {
        let outcome = self.remove_notes(store);
        store.release(&self.prefix);
        // Killed behind the last note, a process leaves the folders empty.
        let above =
            &self.prefix[..self.prefix.trim_end_matches('/').rfind('/').map_or(0, |at| at + 1)];
        store.remove_folder(&self.prefix);
        store.remove_folder(above);
        outcome
    }

    fn remove_notes(&self, store: &dyn UploadStore) -> Result<()> {
        let mut keys: Vec<_> =
            store.list(&self.prefix)?.into_iter().map(|listed| listed.key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        // Records of uploads go first: without `before.json` there is no run. The note that
        // it is being removed stays as long as there is something to remove.
        let last = [self.key("before.json"), self.key("swept")];
        keys.retain(|key| !last.contains(key));
        failpoint("K13");
        store.remove(keys)?;
        last.into_iter().try_for_each(|key| {
            failpoint("K13");
            store.remove(vec![key])
        })
    }

    /// Whether a store gives an object's token back: asked with an object of our own, which does
    /// not stay, whatever becomes of the question.
    pub(crate) fn probe(&self, store: &dyn UploadStore) -> Result<bool> {
        let (key, token) = (self.key("probe"), super::random_word()?);
        let put = store.put(&key, Bytes::from_static(b"?"), Condition::Any, &token);
        let found = put.and_then(|()| store.look(&key));
        let removed = store.remove(vec![key]);
        let found = found?;
        removed?;
        Ok(found.is_some_and(|found| found.token == Some(token)))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn put(
        &self,
        store: &dyn UploadStore,
        name: &str,
        text: &[u8],
        condition: Condition<'_>,
    ) -> Result<()> {
        store.put(&self.key(name), Bytes::copy_from_slice(text), condition, name)
    }
}

fn done_name(task: u32) -> String {
    format!("t{task:05}.done")
}

/// The receipt of a finished task, whose note is `text`.
fn receipt(task: u32, text: &[u8], finished: &FinishedTask) -> Result<Receipt> {
    let receipt = UploadReceipt {
        ledger: done_name(task),
        sha256: super::hexadecimal(&Sha256::digest(text)),
        objects: finished.entries.len(),
        rows: finished.entries.iter().map(|entry| entry.rows).sum(),
    };
    let data = String::from_utf8_lossy(&json(&receipt)?).into_owned();
    Ok(Receipt { task, data })
}

fn fenced(task: u32) -> Error {
    Error::locked(format!("another attempt of task {task} has finished it meanwhile"))
        .with_code(code::RUN_FENCED)
        .hint("its files are kept, those of this attempt are removed; resume the run")
}

/// Staged files, and their rows, are not what was counted.
pub(super) fn rows_differ(found: (usize, u64), counted: (usize, u64)) -> Error {
    let message = format!(
        "{} staged file(s) hold {} rows, and {} row(s) in {} file(s) were written",
        found.0, found.1, counted.1, counted.0
    );
    Error::defect(message).with_code(code::RUN_STAGE).hint("nothing was published; run it again")
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::defect("json").caused_by(&error))
}

fn parse<T: DeserializeOwned>(store: &dyn UploadStore, key: &str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| {
        Error::data("not written by this program").at(store.name(key)).caused_by(&error)
    })
}
