//! The manifest of one plugin's folder: what its vendor says about the library in it, and with which
//! hash. A signature beside it covers it byte for byte; it covers the files.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use transload_plugin_api::{Error, Result, abi::ABI, code};

use super::{
    capabilities::Capabilities, document::Document, probe::Probed, role::Role, version::Version,
};

/// The only version of the manifest so far.
pub(super) const MANIFEST_VERSION: u32 = 1;
/// The interface that a plugin is built against.
pub(super) const ABI_NAME: &str = "transload-plugin-api";

pub(super) const DOCUMENT: Document =
    Document { what: "plugin manifest", most: 64 << 10, code: code::PLUGIN_MANIFEST };

/// A vendor's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(super) manifest_version: u32,
    /// The plugin's name; its folder has the same.
    #[serde(deserialize_with = "name")]
    pub(super) name: String,
    pub(super) version: Version,
    /// Who ships it.
    #[serde(deserialize_with = "name")]
    pub(super) publisher: String,
    /// Which of the publisher's keys signs it, as `minisign` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key_id: Option<String>,
    pub(super) license: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(deserialize_with = "roles")]
    pub(super) roles: Vec<Role>,
    /// The oldest version of the program that it works with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) min_host: Option<Version>,
    pub(super) abi: AbiOf,
    /// One library for each platform.
    #[serde(rename = "library")]
    pub(super) libraries: Vec<Library>,
    /// Every other file of the folder that the plugin reads.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<OtherFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) capabilities: Option<Capabilities>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) conformance: Option<Conformance>,
}

/// The interface that the libraries were built against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AbiOf {
    pub(super) name: String,
    /// `1.3`; another major version is refused.
    #[serde(deserialize_with = "abi_version")]
    pub(super) version: String,
    /// For information only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rustc: Option<String>,
    /// For information only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) abi_stable: Option<String>,
}

/// The library for one platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Library {
    /// System and machine, such as `linux_amd64` or `linux_arm64_musl`.
    pub(super) platform: String,
    #[serde(deserialize_with = "inner_path")]
    pub(super) path: PathBuf,
    #[serde(deserialize_with = "hash")]
    pub(super) sha256: String,
    /// Length in bytes.
    pub(super) size: u64,
    /// Every library that it needs.
    pub(super) needed: BTreeSet<String>,
}

/// Another file of the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OtherFile {
    #[serde(deserialize_with = "inner_path")]
    pub(super) path: PathBuf,
    #[serde(deserialize_with = "hash")]
    pub(super) sha256: String,
}

/// Where a plugin's code runs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In the program's own process.
    #[default]
    InProcess,
    /// In a process of its own.
    Process,
}

impl Isolation {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Process => "process",
        }
    }
}

/// What the public test suite found, as `plugin test` writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conformance {
    pub(super) suite: String,
    pub(super) level: String,
}

/// The one key that is read first, because a later version may have other keys.
#[derive(Deserialize)]
struct VersionKey {
    manifest_version: Option<u32>,
}

/// Whether a manifest is that of one plugin's folder, and not a list.
pub(super) fn is_package(text: &str) -> bool {
    toml::from_str::<VersionKey>(text).is_ok_and(|key| key.manifest_version.is_some())
}

impl Package {
    /// Reads a manifest.
    ///
    /// # Errors
    /// `PLUGIN-MANIFEST` with file, line and column.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self> {
        let at = |message: String| DOCUMENT.wrong(message).at(file.display().to_string());
        match toml::from_str::<VersionKey>(text).map(|key| key.manifest_version) {
            Ok(Some(newer)) if newer != MANIFEST_VERSION => {
                let message = format!("manifest_version is {newer}, expected {MANIFEST_VERSION}");
                return Err(
                    at(message).hint("the plugin was packed for another version of transload")
                );
            }
            _ => {}
        }
        let package: Self = DOCUMENT.parse(text, file)?;
        let mut seen = BTreeSet::new();
        for library in &package.libraries {
            if !seen.insert(&library.platform) {
                return Err(at(format!("`{}` has two libraries", library.platform)));
            }
        }
        Ok(package)
    }

    /// The library for this machine.
    ///
    /// # Errors
    /// `PLUGIN-PLATFORM`.
    pub(super) fn library(&self) -> Result<&Library> {
        let own = platform();
        self.libraries.iter().find(|library| library.platform == own).ok_or_else(|| {
            let all: Vec<_> = self.libraries.iter().map(|it| it.platform.as_str()).collect();
            Error::unsupported(format!("it has no library for `{own}`, only: {}", all.join(", ")))
                .with_code(code::PLUGIN_PLATFORM)
                .hint("ask its vendor for a package with this platform")
        })
    }

    /// Refuses a plugin for another interface or a newer program.
    ///
    /// # Errors
    /// `PLUGIN-ABI`, `PLUGIN-HOST`.
    pub(super) fn ensure_fits(&self) -> Result<()> {
        let AbiOf { name, version, .. } = &self.abi;
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        if name != ABI_NAME || major != Some(ABI.major) {
            let message =
                format!("built for {name} {version}, this program speaks {ABI_NAME} {ABI}");
            return Err(Error::unsupported(message)
                .with_code(code::PLUGIN_ABI)
                .hint("update the older of the two: the plugin, or transload"));
        }
        let own = Version::of_program();
        match &self.min_host {
            Some(least) if *least > own => {
                let message = format!("it needs transload {least} or later, this is {own}");
                Err(Error::unsupported(message)
                    .with_code(code::PLUGIN_HOST)
                    .hint("update transload, or install an older version of the plugin"))
            }
            _ => Ok(()),
        }
    }

    /// Compares what the library says about itself with the manifest.
    ///
    /// # Errors
    /// `PLUGIN-MANIFEST` with the first difference.
    pub(super) fn ensure_same(&self, probed: &Probed) -> Result<()> {
        let mut roles = self.roles.clone();
        roles.sort_unstable();
        let found = &probed.descriptor;
        let pairs = [
            ("name", self.name.clone(), found.name.clone()),
            ("version", self.version.to_string(), found.version.clone()),
            ("roles", Role::words(&roles), Role::words(&Role::of(found))),
            ("ABI", self.abi.version.clone(), probed.abi.to_string()),
        ];
        match pairs.into_iter().find(|(_, said, found)| said != found) {
            Some((what, said, found)) => {
                let message = format!("its {what} is `{found}`, the manifest says `{said}`");
                Err(Error::denied(message)
                    .with_code(code::PLUGIN_MANIFEST)
                    .hint("report it to its vendor: `transload plugin pack` writes what is so"))
            }
            None => Ok(()),
        }
    }
}

/// This machine, in the words of ADBC's manifests.
pub(super) fn platform() -> String {
    platform_of(std::env::consts::ARCH, cfg!(target_env = "musl"))
}

/// A platform of Linux, in the words of ADBC's manifests.
pub(super) fn platform_of(machine: &str, is_musl: bool) -> String {
    let machine = match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux_{machine}{}", if is_musl { "_musl" } else { "" })
}

/// Whether a text can be the name of a plugin or publisher.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (2..=40).contains(&text.len()) && text.bytes().all(fits)
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_name(&text) {
        return Ok(text);
    }
    let expected = "2 to 40 lower case letters, digits and `-`";
    Err(D::Error::custom(format!("`{text}` is not a name: expected {expected}")))
}

fn roles<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<Role>, D::Error> {
    let roles = Vec::<Role>::deserialize(deserializer)?;
    if roles.is_empty() {
        return Err(D::Error::custom("expected `reader`, `writer` or both"));
    }
    Ok(roles)
}

fn abi_version<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let numbers: Vec<_> = text.split('.').map(str::parse::<u32>).collect();
    if numbers.len() == 2 && numbers.iter().all(std::result::Result::is_ok) {
        return Ok(text);
    }
    Err(D::Error::custom(format!("`{text}` is not an ABI version such as `{ABI}`")))
}

/// A file below the folder: no link of names leads out of it.
fn inner_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let path = PathBuf::from(&text);
    let is_normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !text.is_empty() && !text.contains('\0') && path.components().all(is_normal) {
        return Ok(path);
    }
    Err(D::Error::custom(format!("`{text}` is not a path below the manifest's folder")))
}

/// A hash in lower case.
pub(super) fn hash<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<String, D::Error> {
    let text = String::deserialize(deserializer)?.to_ascii_lowercase();
    if is_hash(&text) {
        return Ok(text);
    }
    Err(D::Error::custom(format!("sha256 `{text}` is not 64 hexadecimal digits")))
}

/// Whether a text is a SHA-256 in hexadecimal.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
manifest_version = 1
name = "acme-oracle"
version = "1.4.2"
publisher = "acme"
key_id = "D51BAE587146FDA1"
license = "proprietary"
description = "Oracle reader and writer"
roles = ["reader", "writer"]
min_host = "0.1.0"
[abi]
name = "transload-plugin-api"
version = "1.3"
rustc = "1.95.0"
[[library]]
platform = "linux_amd64"
path = "libacme_oracle.so"
sha256 = "SHA"
size = 7_340_032
needed = ["libc.so.6"]
[[file]]
path = "texts/errors.json"
sha256 = "SHA"
[capabilities]
network = ["tcp:1521"]
subprocess = false
isolation = "process"
[conformance]
suite = "1.3"
level = "effectively-once"
"#;

    fn whole() -> String {
        WHOLE.replace("SHA", &"a".repeat(64))
    }

    fn parse(text: &str) -> Result<Package> {
        Package::parse(text, Path::new("plugin-manifest.toml"))
    }

    #[test]
    fn a_whole_manifest_is_read_and_written() {
        let package = parse(&whole()).unwrap();
        assert_eq!(package.libraries[0].size, 7_340_032);
        assert_eq!(package.capabilities.as_ref().unwrap().isolation, Some(Isolation::Process));
        let written = toml::to_string(&package).unwrap();
        assert_eq!(parse(&written).unwrap(), package, "{written}");
        assert!(is_package(&written) && !is_package("[[plugin]]\n"));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (from, to, expected) in [
            ("license =", "licence = 1\nlicense =", "7:1: unknown field `licence`"),
            ("subprocess = false", "subproces = false", ":26:1: unknown field `subproces`"),
            ("\"acme-oracle\"", "\"Acme\"", ":3:8: `Acme` is not a name"),
            ("\"1.4.2\"", "\"1.4\"", ":4:11: `1.4` is not a version"),
            ("\"libacme_oracle.so\"", "\"../x.so\"", ":17:8: `../x.so` is not a path below"),
            ("\"libacme_oracle.so\"", "\"/x.so\"", ":17:8: `/x.so` is not a path below"),
            ("\"texts/errors.json\"", "\"a/../b\"", "`a/../b` is not a path below"),
            ("[\"reader\", \"writer\"]", "[]", "expected `reader`, `writer` or both"),
            ("version = \"1.3\"\nrustc", "version = \"one\"\nrustc", "`one` is not an ABI version"),
            ("size = 7_340_032", "size = -1", "invalid value: integer `-1`"),
            ("publisher = \"acme\"\n", "", "missing field `publisher`"),
            ("manifest_version = 1", "manifest_version = 2\nnew = 1", "manifest_version is 2"),
            ("license = \"proprietary\"", "license =", "cannot read the plugin manifest"),
        ] {
            let text = whole().replacen(from, to, 1);
            assert_ne!(text, whole(), "{from}");
            let error = parse(&text).unwrap_err();
            let said = format!("{}: {}", error.place.as_deref().unwrap_or_default(), error.message)
                .replace("cannot read the plugin manifest: ", "");
            let said = if expected.contains("cannot") { error.message.clone() } else { said };
            assert!(said.contains(expected), "{expected}: {said}");
            assert_eq!(error.code, code::PLUGIN_MANIFEST);
        }
        let hash = whole().replacen(&"a".repeat(64), "12", 1);
        assert!(parse(&hash).unwrap_err().message.contains("64 hexadecimal digits"));
        let library =
            "[[library]]\nplatform = \"linux_amd64\"\npath = \"x\"\nsize = 1\nneeded = []\n";
        let twice = format!("{}{library}sha256 = \"{}\"\n", whole(), "b".repeat(64));
        assert!(parse(&twice).unwrap_err().message.contains("has two libraries"));
    }

    #[test]
    fn another_machine_interface_or_program_is_refused() {
        let machine = parse(&whole().replace("linux_amd64", "linux_riscv64")).unwrap();
        let error = machine.library().unwrap_err();
        assert_eq!(error.code, code::PLUGIN_PLATFORM);
        assert!(error.message.ends_with("only: linux_riscv64"), "{error}");
        for (from, to, code) in [
            ("\"1.3\"\nrustc", "\"1.9\"\nrustc", None),
            ("\"1.3\"\nrustc", "\"2.0\"\nrustc", Some(code::PLUGIN_ABI)),
            ("\"transload-plugin-api\"", "\"other\"", Some(code::PLUGIN_ABI)),
            ("\"0.1.0\"", "\"99.0.0\"", Some(code::PLUGIN_HOST)),
        ] {
            let package = parse(&whole().replacen(from, to, 1)).unwrap();
            let refusal = package.ensure_fits().err().map(|error| error.code);
            assert_eq!(refusal.as_deref(), code, "{to}");
        }
    }
}
