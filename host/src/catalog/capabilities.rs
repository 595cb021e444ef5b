//! What a vendor's manifest says that its plugin will ask for, at most. A plugin in a process of its own
//! gets the part of it that the job names; for one in the program's process they are words.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use transload_plugin_api::OptionKind;

use super::package::Isolation;

/// The ports that the job names.
const JOB_ENDPOINTS: &str = "job-endpoints";
/// The files and folders that the job names.
const JOB_PATHS: &str = "job-paths";

/// The most that a plugin will ask for. What is left out is as the job has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Capabilities {
    /// `tcp:1521`, or `job-endpoints`: the ports that the job names.
    #[serde(deserialize_with = "network", skip_serializing_if = "Option::is_none")]
    network: Option<Vec<String>>,
    /// `job-paths:ro`, `job-paths:rw`.
    #[serde(deserialize_with = "filesystem", skip_serializing_if = "Option::is_none")]
    filesystem: Option<Vec<String>>,
    /// Sockets in the file system; the system does not tell them apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    unix_sockets: Option<Vec<String>>,
    /// Whether it starts programs.
    subprocess: bool,
    /// Threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<u32>,
    /// Memory, such as `512 MiB`.
    #[serde(deserialize_with = "memory", skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    /// Which secrets it reads.
    secrets: Vec<String>,
    /// The least isolation that it works with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) isolation: Option<Isolation>,
}

impl Capabilities {
    /// The TCP ports that it may ask for; `None` if all that a job names.
    pub(crate) fn ports(&self) -> Option<BTreeSet<u16>> {
        let asked = self.network.as_ref()?;
        let ports: Option<BTreeSet<_>> = asked.iter().map(|entry| port_of(entry)).collect();
        ports
    }

    /// Whether it may ask for the job's files, and for changing them.
    pub(crate) fn job_paths(&self) -> (bool, bool) {
        let Some(asked) = &self.filesystem else { return (true, true) };
        let of_job = |mode| asked.iter().any(|entry| entry.strip_prefix(JOB_PATHS) == Some(mode));
        (of_job(":ro") || of_job(":rw"), of_job(":rw"))
    }

    /// Whether it may ask for sockets in the file system.
    pub(crate) fn has_unix_sockets(&self) -> bool {
        self.unix_sockets.as_ref().is_none_or(|sockets| !sockets.is_empty())
    }

    /// Most bytes of memory.
    pub(crate) fn memory(&self) -> Option<u64> {
        bytes(self.memory.as_ref()?)
    }

    /// What is asked for, in words, each with a label.
    pub(crate) fn words(&self) -> Vec<(&'static str, String)> {
        let secrets = (!self.secrets.is_empty()).then_some(&self.secrets);
        let lists = [
            ("network", self.network.as_ref()),
            ("files", self.filesystem.as_ref()),
            ("sockets", self.unix_sockets.as_ref()),
            ("secrets", secrets),
        ];
        let shown = |list: &[String]| match list {
            [] => "none".to_owned(),
            list => list.join(", "),
        };
        let listed = lists.into_iter().filter_map(|(label, list)| Some((label, shown(list?))));
        let mut words: Vec<_> = listed.collect();
        words.extend(self.subprocess.then(|| ("programs", "starts programs".to_owned())));
        words.extend(self.threads.map(|threads| ("threads", threads.to_string())));
        words.extend(self.memory.clone().map(|memory| ("memory", memory)));
        words
    }
}

fn port_of(entry: &str) -> Option<u16> {
    entry.strip_prefix("tcp:")?.parse().ok()
}

fn bytes(text: &str) -> Option<u64> {
    OptionKind::Size.convert(&text.into()).ok()?.as_u64()
}

/// A list of which every entry has one of the expected forms.
fn list<'de, D: Deserializer<'de>>(
    deserializer: D,
    fits: impl Fn(&str) -> bool,
    expected: &str,
) -> Result<Option<Vec<String>>, D::Error> {
    let entries = Vec::<String>::deserialize(deserializer)?;
    match entries.iter().find(|entry| !fits(entry)) {
        Some(entry) => Err(D::Error::custom(format!("`{entry}` is unknown: expected {expected}"))),
        None => Ok(Some(entries)),
    }
}

fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let fits = |entry: &str| entry == JOB_ENDPOINTS || port_of(entry).is_some();
    list(deserializer, fits, "`job-endpoints` or a port such as `tcp:1521`")
}

fn filesystem<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let fits = |entry: &str| matches!(entry.strip_prefix(JOB_PATHS), Some(":ro" | ":rw"));
    list(deserializer, fits, "`job-paths:ro` or `job-paths:rw`")
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match bytes(&text) {
        Some(_) => Ok(Some(text)),
        None => Err(D::Error::custom(format!("`{text}` is not a size such as `512 MiB`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Capabilities, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_is_left_out_is_as_the_job_has_it() {
        let all = parse("").unwrap();
        assert_eq!((all.ports(), all.job_paths(), all.memory()), (None, (true, true), None));
        assert!(all.has_unix_sockets() && all.words().is_empty());
        let none = parse("network = []\nfilesystem = []\nunix_sockets = []").unwrap();
        assert_eq!((none.ports(), none.job_paths()), (Some(BTreeSet::new()), (false, false)));
        assert!(!none.has_unix_sockets());
        assert_eq!(none.words()[0], ("network", "none".to_owned()));
        let some = parse(
            "network = [\"tcp:1\", \"tcp:2\"]\nfilesystem = [\"job-paths:ro\"]\nmemory = \"1 MiB\"",
        );
        let some = some.unwrap();
        assert_eq!((some.ports(), some.job_paths()), (Some([1, 2].into()), (true, false)));
        assert_eq!(some.memory(), Some(1 << 20));
        let of_job = parse("network = [\"tcp:1\", \"job-endpoints\"]").unwrap();
        assert_eq!(of_job.ports(), None);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for (text, expected) in [
            ("network = [\"udp:53\"]", "`udp:53` is unknown: expected `job-endpoints` or a port"),
            ("network = [\"tcp:70000\"]", "`tcp:70000` is unknown"),
            ("filesystem = [\"/etc:ro\"]", "`/etc:ro` is unknown: expected `job-paths:ro`"),
            ("memory = \"much\"", "`much` is not a size such as `512 MiB`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
