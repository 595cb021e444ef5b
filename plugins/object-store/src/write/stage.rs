//! What a run keeps below a hidden name beside its output until it is over, so that any process can
//! commit it, or take it back.
//!
//! | name below `_transload/<run>/` | what it is |
//! |---|---|
//! | `before.json` | the target as it was, [`Before`] |
//! | `t00017.e0.1f3a….begun` | an upload of attempt 0 of task 17: an [`Entry`] without parts |
//! | `t00017.e0.done` | all uploads of that attempt, with their parts |
//! | `publishing` | the commit has begun |
//! | `swept` | the run is taken for dead and being removed: it must not commit any more |
//! | `unknown` | nobody can say whether an object is published: nothing may be deleted |

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use transload_plugin_api::{Error, ErrorKind, Receipt, Result};

use super::{
    abreast::try_abreast,
    manifest::Manifest,
    place::{Condition, Found, Place},
    upload::Entry,
};

/// The hidden folder of all runs.
pub(crate) const FOLDER: &str = "_transload/";

/// The target as `prepare` found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// One-object targets: the object that was there.
    pub(crate) object: Option<Found>,
    /// Prefixes: the data set that was there.
    pub(crate) manifest: Option<(Manifest, Found)>,
    /// Keys that go after the commit.
    pub(crate) doomed: Vec<String>,
    /// The store gives our tokens back.
    pub(crate) tokens: bool,
    /// The target is one object: the run is committed as soon as it is there.
    #[serde(default)]
    pub(crate) whole: bool,
}

/// What a task tells the job's commit: where its list of uploads is, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskReceipt {
    ledger: String,
    sha256: String,
    objects: usize,
    rows: u64,
}

/// One run's hidden folder.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    prefix: String,
}

impl Stage {
    /// The stage of `run` below `root`, which is empty or ends in `/`; nothing is made yet.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`] for a run id that is no plain name.
    pub(crate) fn new(root: &str, run: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if run.is_empty() || !run.chars().all(plain) {
            let message = format!("`{run}` is not a run id: letters, digits and `-` are");
            return Err(Error::new(ErrorKind::Defect, message));
        }
        Ok(Self { prefix: format!("{root}{FOLDER}{run}/") })
    }

    /// Remembers how the target was. A second call changes nothing.
    pub(crate) fn create(&self, place: &dyn Place, before: &Before) -> Result<()> {
        match self.put(place, "before.json", &json(before)?, Condition::New) {
            Err(error) if error.kind == ErrorKind::Exists => Ok(()),
            outcome => outcome,
        }
    }

    /// How the target was; `None` if the run is not prepared.
    pub(crate) fn before(&self, place: &dyn Place) -> Result<Option<Before>> {
        let key = self.key("before.json");
        let Some((text, _)) = place.get(&key)? else { return Ok(None) };
        parse(place, &key, &text).map(Some)
    }

    /// Notes an upload that has begun.
    pub(crate) fn note_begun(
        &self,
        place: &dyn Place,
        task: u32,
        epoch: u32,
        entry: &Entry,
    ) -> Result<()> {
        let name = format!("t{task:05}.e{epoch}.{}.begun", entry.word());
        self.put(place, &name, &json(entry)?, Condition::Any)
    }

    /// Writes a task's list of uploads; the receipt names it.
    pub(crate) fn note_done(
        &self,
        place: &dyn Place,
        (task, epoch): (u32, u32),
        entries: &[Entry],
    ) -> Result<Receipt> {
        let name = format!("t{task:05}.e{epoch}.done");
        let text = json(entries)?;
        self.put(place, &name, &text, Condition::Any)?;
        let receipt = TaskReceipt {
            ledger: name,
            sha256: super::hexadecimal(&Sha256::digest(&text)),
            objects: entries.len(),
            rows: entries.iter().map(|entry| entry.rows).sum(),
        };
        let data = String::from_utf8_lossy(&json(&receipt)?).into_owned();
        Ok(Receipt { task, data })
    }

    /// The uploads of a receipt.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if the list is not the one that the receipt was given for.
    pub(crate) fn done(&self, place: &dyn Place, receipt: &Receipt) -> Result<Vec<Entry>> {
        let told: TaskReceipt = serde_json::from_str(&receipt.data).map_err(|error| {
            let message = format!("the receipt of task {} is not ours", receipt.task);
            Error::new(ErrorKind::Defect, message).caused_by(&error)
        })?;
        let key = self.key(&told.ledger);
        let wrong = |message: &str| Error::new(ErrorKind::Data, message).at(place.name(&key));
        let (text, _) =
            place.get(&key)?.ok_or_else(|| wrong("the list of a task's uploads is not there"))?;
        if super::hexadecimal(&Sha256::digest(&text)) != told.sha256 {
            return Err(wrong("the list of a task's uploads is not the one it finished with"));
        }
        parse(place, &key, &text)
    }

    /// Every upload that any attempt of the run has begun or finished.
    pub(crate) fn all(&self, place: &dyn Place) -> Result<Vec<Entry>> {
        let mut notes = place.list(&self.prefix)?;
        notes.retain(|note| note.key.ends_with(".begun") || note.key.ends_with(".done"));
        let entries = try_abreast(&notes, |note| {
            let Some((text, _)) = place.get(&note.key)? else { return Ok(Vec::new()) };
            if note.key.ends_with(".begun") {
                return Ok(vec![parse(place, &note.key, &text)?]);
            }
            parse::<Vec<Entry>>(place, &note.key, &text)
        })?;
        let mut entries = entries.concat();
        // Of one upload, what knows its parts comes last and stays.
        entries.sort_by(|a, b| (&a.token, a.parts.len()).cmp(&(&b.token, b.parts.len())));
        entries.reverse();
        entries.dedup_by(|a, b| a.token == b.token);
        Ok(entries)
    }

    /// Uploads that attempts have begun and that are not among these.
    pub(crate) fn strays(&self, place: &dyn Place, entries: &[Entry]) -> Result<Vec<Entry>> {
        let known: HashSet<_> = entries.iter().map(Entry::word).collect();
        let mut notes = place.list(&self.prefix)?;
        notes.retain(|note| {
            let word = note.key.strip_suffix(".begun").and_then(|key| key.rsplit('.').next());
            word.is_some_and(|word| !known.contains(word))
        });
        let strays = try_abreast(&notes, |note| match place.get(&note.key)? {
            Some((text, _)) => parse(place, &note.key, &text).map(Some),
            None => Ok(None),
        })?;
        Ok(strays.into_iter().flatten().collect())
    }

    /// Notes that the commit has begun; says whether it had begun before.
    pub(crate) fn note_publishing(&self, place: &dyn Place) -> Result<bool> {
        match self.put(place, "publishing", b"{}", Condition::New) {
            Err(error) if error.kind == ErrorKind::Exists => Ok(true),
            outcome => outcome.map(|()| false),
        }
    }

    pub(crate) fn is_publishing(&self, place: &dyn Place) -> Result<bool> {
        Ok(place.look(&self.key("publishing"))?.is_some())
    }

    /// Notes that the run is taken for dead.
    pub(crate) fn note_swept(&self, place: &dyn Place) -> Result<()> {
        self.put(place, "swept", b"{}", Condition::Any)
    }

    /// Whether nobody has taken the run for dead: its notes are there, and none says so.
    pub(crate) fn is_alive(&self, place: &dyn Place) -> Result<bool> {
        Ok(place.look(&self.key("swept"))?.is_none() && self.is_publishing(place)?)
    }

    /// Notes that an outcome is unknown: from now on nothing of the run may be deleted.
    pub(crate) fn note_unknown(&self, place: &dyn Place, evidence: &str) -> Result<()> {
        self.put(place, "unknown", &json(evidence)?, Condition::Any)
    }

    pub(crate) fn is_unknown(&self, place: &dyn Place) -> Result<bool> {
        Ok(place.look(&self.key("unknown"))?.is_some())
    }

    /// The commit has come through after all.
    pub(crate) fn forget_unknown(&self, place: &dyn Place) -> Result<()> {
        place.remove(vec![self.key("unknown")])
    }

    /// Removes all that the run has kept.
    pub(crate) fn remove(&self, place: &dyn Place) -> Result<()> {
        let mut keys: Vec<_> =
            place.list(&self.prefix)?.into_iter().map(|listed| listed.key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        // What tells of uploads goes first: without `before.json` there is no run. What says that
        // it is being removed stays as long as there is something to remove.
        let last = [self.key("before.json"), self.key("swept")];
        keys.retain(|key| !last.contains(key));
        place.remove(keys)?;
        last.into_iter().try_for_each(|key| place.remove(vec![key]))
    }

    /// Whether a store gives an object's token back: asked with an object of our own, which does
    /// not stay, whatever becomes of the question.
    pub(crate) fn probe(&self, place: &dyn Place) -> Result<bool> {
        let (key, token) = (self.key("probe"), super::random_word()?);
        let put = place.put(&key, Bytes::from_static(b"?"), Condition::Any, &token);
        let found = put.and_then(|()| place.look(&key));
        let removed = place.remove(vec![key]);
        let found = found?;
        removed?;
        Ok(found.is_some_and(|found| found.token == Some(token)))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn put(
        &self,
        place: &dyn Place,
        name: &str,
        text: &[u8],
        condition: Condition<'_>,
    ) -> Result<()> {
        place.put(&self.key(name), Bytes::copy_from_slice(text), condition, name)
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Defect, "json").caused_by(&error))
}

fn parse<T: DeserializeOwned>(place: &dyn Place, key: &str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| {
        Error::new(ErrorKind::Data, "not written by this program")
            .at(place.name(key))
            .caused_by(&error)
    })
}
