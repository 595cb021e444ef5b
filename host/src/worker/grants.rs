//! What a worker may reach: what the job names for its plugin, and nothing else of the user's. How the
//! system enforces it is left to `sandbox`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use transload_plugin_api::{Descriptor, Error, OptionKind, OptionSpec, Options, Result, code};

use crate::catalog::{Capabilities, Role};

/// Ports of the schemes of addresses.
const PORTS: &[(&str, u16)] = &[
    ("http", 80),
    ("https", 443),
    ("s3", 443),
    ("gs", 443),
    ("az", 443),
    ("azure", 443),
    ("abfs", 443),
    ("abfss", 443),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("redis", 6379),
    ("rediss", 6379),
    ("mongodb", 27017),
    ("ftp", 21),
    ("sftp", 22),
];
/// Where names are resolved if an answer is too long for UDP.
const RESOLVER: u16 = 53;

/// What one worker may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grants {
    /// Files and folders that it may read.
    pub(super) read: BTreeSet<PathBuf>,
    /// Files and folders that it may also change.
    pub(super) write: BTreeSet<PathBuf>,
    /// TCP ports that it may connect to; without any, it has no network.
    pub(super) ports: BTreeSet<u16>,
    /// Whether it may connect to Unix sockets: to all of them, the system does not tell them apart.
    pub(super) unix_sockets: bool,
    /// Most bytes of its private memory.
    pub(super) memory: u64,
}

impl Grants {
    /// What the options of a job name.
    pub(super) fn of(role: Role, descriptor: &Descriptor, options: &Options, memory: u64) -> Self {
        let mut grants = Self { memory, ..Self::default() };
        let own = role.options(descriptor).unwrap_or_default();
        for spec in descriptor.options.iter().chain(own).filter(|spec| !spec.secret) {
            let default = || spec.default_value();
            if let Some(value) = options.values.get(&spec.key).cloned().or_else(default) {
                grants.add(role, spec, &value);
            }
        }
        if !grants.ports.is_empty() {
            grants.ports.insert(RESOLVER);
        }
        grants
    }

    /// The part that the plugin's manifest asks for.
    ///
    /// # Errors
    /// `PLUGIN-SANDBOX` if the job names more: the plugin could not do its work.
    pub(super) fn within(mut self, asked: &Capabilities) -> Result<Self> {
        if let Some(ports) = asked.ports() {
            let is_other = |port: &&u16| **port != RESOLVER && !ports.contains(port);
            if let Some(other) = self.ports.iter().find(is_other) {
                return Err(beyond(format!("to connect to TCP port {other}"), "network"));
            }
        }
        let (reads, writes) = asked.job_paths();
        if let Some(path) = self.read.first().filter(|_| !reads) {
            return Err(beyond(format!("to read `{}`", path.display()), "filesystem"));
        }
        if let Some(path) = self.write.first().filter(|_| !writes) {
            return Err(beyond(format!("to write `{}`", path.display()), "filesystem"));
        }
        if self.unix_sockets && !asked.has_unix_sockets() {
            return Err(beyond("to connect to a socket in a folder".to_owned(), "unix_sockets"));
        }
        self.memory = asked.memory().map_or(self.memory, |most| most.min(self.memory));
        Ok(self)
    }

    fn add(&mut self, role: Role, spec: &OptionSpec, value: &Value) {
        match (&spec.kind, value) {
            (_, Value::Array(items)) => items.iter().for_each(|item| self.add(role, spec, item)),
            (_, Value::Object(items)) => items.values().for_each(|item| self.add(role, spec, item)),
            (OptionKind::Path | OptionKind::Paths, Value::String(path)) => {
                self.add_path(role, Path::new(path));
            }
            (OptionKind::Integer { .. }, Value::Number(port)) if names_port(&spec.key) => {
                self.ports.extend(port.as_u64().and_then(|port| u16::try_from(port).ok()));
            }
            (_, Value::String(text)) => {
                if text.starts_with('/') && names_address(&spec.key) {
                    self.unix_sockets = true;
                } else if let Some(path) = text.strip_prefix("file://") {
                    self.add_path(role, Path::new(path));
                } else {
                    self.ports.extend(port_of(text, names_address(&spec.key)));
                }
            }
            _ => {}
        }
    }

    /// A reader may read the file and what belongs to it, such as `x.db-wal`; a writer may also change
    /// its folder, where it stages.
    fn add_path(&mut self, role: Role, path: &Path) {
        let path = before_pattern(path);
        let exists = nearest(&path);
        match role {
            Role::Writer => {
                let folder = if exists.is_dir() { Some(exists.as_path()) } else { exists.parent() };
                self.write.extend(folder.map(Path::to_owned));
            }
            // The folder of a file that is not there reports what is there instead.
            Role::Reader => {
                self.read.extend(beside(&exists));
                self.read.insert(exists);
            }
        }
    }
}

/// What a job names and the plugin's manifest does not ask for.
fn beyond(what: String, key: &str) -> Error {
    let message = format!("the job needs {what}, which the plugin's manifest does not ask for");
    Error::denied(message).with_code(code::PLUGIN_SANDBOX).hint(format!(
        "name something else in the job, or get a package from the vendor whose `{key}` has it"
    ))
}

/// Whether an option of this name is a port.
fn names_port(key: &str) -> bool {
    key == "port" || key.ends_with("_port")
}

/// Whether an option of this name is an address.
fn names_address(key: &str) -> bool {
    let words = ["host", "hosts", "address", "server", "endpoint", "url", "socket", "broker"];
    words.iter().any(|word| key.split('_').any(|part| part == *word))
}

/// The port in `scheme://host:port/...`, or of the scheme; in an address also that of `host:port`.
fn port_of(text: &str, is_address: bool) -> Option<u16> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None if is_address => (None, text),
        None => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let written = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let usual = |scheme| PORTS.iter().find(|(known, _)| *known == scheme).map(|(_, port)| *port);
    written.or_else(|| scheme.and_then(usual))
}

/// The part of a path before its first pattern.
fn before_pattern(path: &Path) -> PathBuf {
    let is_plain = |part: &&std::ffi::OsStr| !part.to_string_lossy().contains(['*', '?', '[', '{']);
    path.iter().take_while(is_plain).collect()
}

/// The path, or the nearest folder above it that exists.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.exists()).unwrap_or(path).to_owned()
}

/// The files whose names begin with that of a file and `-`.
fn beside(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name), true) = (path.parent(), path.file_name(), path.is_file()) else {
        return Vec::new();
    };
    let start = format!("{}-", name.to_string_lossy());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start));
    own.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn granted(role: Role, options: Value) -> Grants {
        let port = OptionKind::Integer { min: 1, max: 65_535 };
        let descriptor = Descriptor {
            options: vec![
                OptionSpec::new("host", OptionKind::Text, ""),
                OptionSpec::new("port", port.clone(), "").default(5432),
                OptionSpec::new("batch", port, ""),
                OptionSpec::new("note", OptionKind::Text, ""),
                OptionSpec::new("path", OptionKind::Paths, ""),
            ],
            ..Descriptor::default()
        };
        let Value::Object(values) = options else { panic!("no table") };
        let options = Options { values, ..Options::default() };
        Grants::of(role, &descriptor, &options, 7)
    }

    #[test]
    fn ports_are_those_that_the_job_names() {
        for (options, ports) in [
            (json!({}), vec![53, 5432]),
            (json!({ "port": 5433, "batch": 100 }), vec![53, 5433]),
            (json!({ "port": 1, "host": "db1:6000" }), vec![1, 53, 6000]),
            (json!({ "port": 1, "host": "https://user:1@a:8443/x:9" }), vec![1, 53, 8443]),
            (json!({ "port": 1, "note": "s3://bucket/a:7" }), vec![1, 53, 443]),
            (json!({ "port": 1, "note": "at 12:30" }), vec![1, 53]),
        ] {
            let granted = granted(Role::Reader, options.clone());
            assert_eq!(granted.ports, ports.into_iter().collect(), "{options}");
            assert!(!granted.unix_sockets);
        }
        assert!(granted(Role::Reader, json!({ "host": "/run/postgresql" })).unix_sockets);
    }

    #[test]
    fn a_manifest_narrows_what_the_job_names() {
        let asked = |text: &str| toml::from_str::<Capabilities>(text).unwrap();
        let of_job = granted(Role::Reader, json!({ "port": 1521 }));
        let same = of_job.clone().within(&asked("network = [\"tcp:1521\"]")).unwrap();
        assert_eq!(same, of_job);
        assert_eq!(of_job.clone().within(&asked("memory = \"1 B\"")).unwrap().memory, 1);
        assert_eq!(of_job.clone().within(&asked("memory = \"1 GiB\"")).unwrap().memory, 7);
        let folder = tempfile::tempdir().unwrap();
        let path = json!({ "path": [folder.path()] });
        let socket = json!({ "host": "/run/postgresql" });
        for (role, options, manifest, expected) in [
            (Role::Reader, json!({ "port": 9 }), "network = [\"tcp:1\"]", "TCP port 9"),
            (Role::Reader, json!({ "port": 9 }), "network = []", "TCP port 9"),
            (Role::Reader, path.clone(), "filesystem = []", "to read `/"),
            (Role::Writer, path, "filesystem = [\"job-paths:ro\"]", "to write `/"),
            (Role::Reader, socket, "unix_sockets = []", "a socket"),
        ] {
            let error = granted(role, options).within(&asked(manifest)).unwrap_err();
            assert!(error.message.contains(expected), "{manifest}: {error}");
            assert_eq!(error.code, code::PLUGIN_SANDBOX);
        }
    }

    #[test]
    fn a_reader_gets_its_files_and_a_writer_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["x.db", "x.db-wal", "x.csv"] {
            fs::write(at(name), "").unwrap();
        }
        let paths = |names: &[&str]| names.iter().map(|name| at(name)).collect::<BTreeSet<_>>();
        let read = granted(Role::Reader, json!({ "path": [at("x.db")] }));
        assert_eq!((read.read, read.write), (paths(&["x.db", "x.db-wal"]), paths(&[])));
        let pattern = granted(Role::Reader, json!({ "path": [at("*.csv")] }));
        assert_eq!(pattern.read, [folder.path().to_owned()].into());
        let written = granted(Role::Writer, json!({ "path": [at("new/out.csv")] }));
        assert_eq!(written.write, [folder.path().to_owned()].into());
        assert!(written.read.is_empty());
    }
}
