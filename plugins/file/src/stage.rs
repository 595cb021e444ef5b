//! The hidden folder beside the target in which a run's files grow until they are published.
//! It also remembers how the target looked before, so that nobody's change is overwritten.
//!
//! | name | what it is |
//! |---|---|
//! | `before.json` | [`Before`] |
//! | `t00017.e0.part` | what attempt 0 of task 17 has written so far |
//! | `t00017.ready` | what task 17 has finished, synced |
//! | `output` | one-file targets: the whole new content |
//! | `publishing.json` | one-file targets: the identity of `output` just before its rename |

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use transload_plugin_api::{Error, ErrorKind, Result};

use crate::{
    durable::{self, Identity},
    listing::at,
    manifest::Manifest,
};

/// The target as `prepare` found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// One-file targets: the file that was there.
    pub(crate) file: Option<Identity>,
    /// Folder targets: the data set that was there.
    pub(crate) manifest: Option<Manifest>,
    /// Folder targets: the folder was not there.
    pub(crate) made_folder: bool,
    /// The old content stays, ours comes behind it.
    pub(crate) append: bool,
}

/// One run's staging folder.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// The stage of `run` inside `parent`; nothing is made yet.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`] for a run id that is no plain name.
    pub(crate) fn new(parent: &Path, run: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if run.is_empty() || !run.chars().all(plain) {
            let message = format!("`{run}` is not a run id: letters, digits and `-` are");
            return Err(Error::new(ErrorKind::Defect, message));
        }
        Ok(Self { folder: parent.join(format!(".transload-{run}")) })
    }

    /// Makes the folder and remembers how the target was. A second call changes nothing.
    pub(crate) fn create(&self, before: &Before) -> Result<()> {
        if self.before()?.is_some() {
            return Ok(());
        }
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&self.folder)
            .map_err(|error| at(error, &self.folder))?;
        self.write("before.json", before)
    }

    /// How the target was; `None` if the run is not prepared.
    pub(crate) fn before(&self) -> Result<Option<Before>> {
        self.read("before.json")
    }

    /// Remembers which file is about to be renamed to the target.
    pub(crate) fn note_publishing(&self, output: &Identity) -> Result<()> {
        self.write("publishing.json", output)
    }

    /// The file that was about to be renamed to the target.
    pub(crate) fn publishing(&self) -> Result<Option<Identity>> {
        self.read("publishing.json")
    }

    pub(crate) fn part(&self, task: u32, epoch: u32) -> PathBuf {
        self.folder.join(format!("t{task:05}.e{epoch}.part"))
    }

    pub(crate) fn ready(&self, task: u32) -> PathBuf {
        self.folder.join(format!("t{task:05}.ready"))
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// Makes the names in it durable.
    pub(crate) fn sync(&self) -> Result<()> {
        durable::sync_folder(&self.folder)
    }

    /// Removes the folder and what is in it.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(at(error, &self.folder))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::new(ErrorKind::Defect, name).caused_by(&error))?;
        durable::replace(&self.folder.join(name), &text)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.folder.join(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(error, &path)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::new(ErrorKind::Data, "not written by this program")
                .at(path.display().to_string())
                .caused_by(&error)
        })
    }
}

/// Staging folders of other runs in `parent`, by name: running now, or left by a killed process.
pub(crate) fn others(parent: &Path, run: &str) -> Vec<String> {
    let ours = format!(".transload-{run}");
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> =
        names.filter(|name| name.starts_with(".transload-") && *name != ours).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_stage_is_private_and_remembers() {
        let parent = tempfile::tempdir().unwrap();
        let stage = Stage::new(parent.path(), "r-1").unwrap();
        assert_eq!(stage.before().unwrap(), None);
        let before = Before { append: true, ..Before::default() };
        stage.create(&before).unwrap();
        stage.create(&Before::default()).unwrap();
        assert_eq!(stage.before().unwrap(), Some(before));
        let mode = fs::metadata(parent.path().join(".transload-r-1")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(others(parent.path(), "r-2"), [".transload-r-1"]);
        stage.remove().unwrap();
        stage.remove().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_run_id_is_a_plain_name() {
        for run in ["", "..", "a/b", "a b", "é"] {
            assert_eq!(Stage::new(Path::new("/"), run).unwrap_err().kind, ErrorKind::Defect);
        }
    }
}
