//! The destination as a run found it, kept beside the output until the run is over.

use serde::{Deserialize, Serialize};

use super::{manifest::Manifest, upload_store::ObjectInfo};

/// The target as `prepare` found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PriorState {
    /// One-object targets: the object that was there.
    pub(crate) object: Option<ObjectInfo>,
    /// Prefixes: the data set that was there.
    pub(crate) manifest: Option<(Manifest, ObjectInfo)>,
    /// Keys that go after the commit.
    pub(crate) doomed: Vec<String>,
    /// The store gives our tokens back.
    pub(crate) tokens: bool,
    /// The target is one object: the run is committed as soon as it is there.
    #[serde(default)]
    pub(crate) whole: bool,
    /// The rows of the one object stay, the run's come behind them.
    #[serde(default)]
    pub(crate) append: bool,
    /// The holder of the run's lock, where there is one: see [`super::UploadStore::hold`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<String>,
    /// The target's folder and those above it that were not there, the highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) new_folders: Vec<String>,
    /// The run's job, for others that meet what it has left.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) job: String,
}
