//! `trust.toml`: what the administrator and the user decide about plugins that do not belong to the
//! installation. It lies in `/etc/transload` and in the user's configuration folder, never beside a
//! job: whoever writes jobs does not decide which code runs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;
use transload_plugin_api::{Error, Result, code};

use super::{
    document::Document,
    lock::{self, Lock},
    package::{Isolation, Package, hash},
    search::TrustFiles,
    signature::{self, KeyId, PublicKey, Signature},
    trust::Trust,
    version::Version,
};

pub(super) const FILE_NAME: &str = "trust.toml";

pub(super) const DOCUMENT: Document =
    Document { what: "trust file", most: 1 << 20, code: code::PLUGIN_TRUST };

/// One trust file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustFile {
    /// Whether plugins that no one vouches for are loaded.
    allow_unsigned: Option<bool>,
    /// The publishers that are trusted, by name.
    #[serde(default, rename = "publisher")]
    pub(super) publishers: BTreeMap<String, Publisher>,
    #[serde(default, rename = "revoked")]
    revocations: Vec<Revocation>,
}

/// A publisher that is trusted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publisher {
    /// The public keys with which it signs.
    pub(super) keys: Spanned<Vec<PublicKey>>,
    /// Whether its plugins may run in this process.
    pub(super) in_process: Option<Spanned<bool>>,
    /// The oldest version of a plugin that may run.
    #[serde(default)]
    min_version: BTreeMap<String, Version>,
}

/// What may not run any more: everything that all keys of the entry say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    name: Option<String>,
    version: Option<Version>,
    publisher: Option<String>,
    key_id: Option<String>,
    #[serde(default, deserialize_with = "optional_hash")]
    sha256: Option<String>,
    #[serde(default)]
    reason: String,
}

fn optional_hash<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    hash(deserializer).map(Some)
}

/// What is known about a plugin before anything of it runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claims<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) version: Option<&'a Version>,
    pub(super) publisher: Option<&'a str>,
    pub(super) key_id: Option<KeyId>,
    /// The hash of its library.
    pub(super) sha256: Option<&'a str>,
}

/// The manifest of a plugin's folder, with what covers it.
pub(super) struct SignedManifest<'a> {
    pub(super) package: &'a Package,
    pub(super) text: &'a str,
    /// The hash of the text.
    pub(super) sha256: &'a str,
    pub(super) signature: Option<&'a Signature>,
}

/// What all trust files and lock files together say.
pub(super) struct Policy {
    unsigned: Unsigned,
    publishers: BTreeMap<String, (Publisher, PathBuf)>,
    revocations: Vec<(Revocation, PathBuf)>,
    lock: Lock,
    /// Why a trust file cannot be used: without it, only what is built in is loaded.
    problem: Option<Error>,
}

/// Whether plugins that no one vouches for are loaded.
enum Unsigned {
    Allowed,
    /// Nothing allows them.
    Refused,
    /// This file refuses them, whatever the command line says.
    Forbidden(PathBuf),
}

/// Who has signed a manifest.
enum Signer<'a> {
    Nobody,
    /// One of its publisher's keys.
    Known(&'a Publisher),
    /// A publisher that is not known, which is why it is refused.
    Stranger(Error),
    /// Another process in the name of a publisher that is known.
    Impostor(Error),
}

impl Policy {
    /// Reads the trust files and the lock files.
    pub(super) fn read(files: &TrustFiles) -> Self {
        let mut policy = Self {
            unsigned: if files.allow_unsigned { Unsigned::Allowed } else { Unsigned::Refused },
            publishers: BTreeMap::new(),
            revocations: Vec::new(),
            lock: Lock::default(),
            problem: None,
        };
        // The first one has the last word.
        for folder in files.folders.iter().rev() {
            let file = folder.join(FILE_NAME);
            let found = read(&file).map(|(found, _)| policy.add(&file, found));
            if let Err(error) = found.and_then(|()| policy.lock.add(folder)) {
                policy.problem = Some(error);
            }
        }
        policy
    }

    fn add(&mut self, file: &Path, found: TrustFile) {
        match found.allow_unsigned {
            Some(true) => self.unsigned = Unsigned::Allowed,
            Some(false) => self.unsigned = Unsigned::Forbidden(file.to_owned()),
            None => {}
        }
        let here = |publisher| (publisher, file.to_owned());
        let publishers = found.publishers.into_iter();
        self.publishers.extend(publishers.map(|(name, publisher)| (name, here(publisher))));
        // No one takes back what another process has revoked.
        let revocations = found.revocations.into_iter();
        self.revocations.extend(revocations.map(|revocation| (revocation, file.to_owned())));
    }

    /// The same before anything was accepted: for what is to be accepted now.
    pub(super) fn unlocked(mut self) -> Self {
        self.lock = Lock::default();
        self
    }

    /// The version of a plugin that was accepted.
    pub(super) fn locked_version(&self, name: &str) -> Option<String> {
        self.lock.of_name(name).map(|(locked, _)| locked.version.to_string())
    }

    /// Why a trust file or a lock file cannot be used.
    pub(super) fn problem(&self) -> Option<&Error> {
        self.problem.as_ref()
    }

    /// Refuses everything that does not belong to the installation while a trust file is unreadable.
    fn ensure_readable(&self) -> Result<()> {
        self.problem.clone().map_or(Ok(()), Err)
    }

    /// Refuses what was revoked, whoever vouches for it.
    ///
    /// # Errors
    /// `PLUGIN-REVOKED`.
    pub(super) fn ensure_not_revoked(&self, claims: &Claims<'_>) -> Result<()> {
        let Some((found, file)) = self.revocations.iter().find(|(it, _)| it.covers(claims)) else {
            return Ok(());
        };
        let reason = match found.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        Err(Error::denied(format!("it was revoked in {}{reason}", file.display()))
            .with_code(code::PLUGIN_REVOKED)
            .hint("install a version that is not revoked"))
    }

    /// Decides about a plugin's folder by its manifest alone.
    ///
    /// # Errors
    /// `PLUGIN-REVOKED`, `PLUGIN-PUBLISHER`, `PLUGIN-SIGNATURE`, `PLUGIN-LOCK`, `PLUGIN-HASH`,
    /// `PLUGIN-UNSIGNED`, `PLUGIN-TRUST`.
    pub(super) fn judge(&self, manifest: &SignedManifest<'_>) -> Result<Trust> {
        self.ensure_readable()?;
        let package = manifest.package;
        self.ensure_not_revoked(&Claims {
            name: Some(&package.name),
            version: Some(&package.version),
            publisher: Some(&package.publisher),
            key_id: manifest.signature.map(Signature::id),
            sha256: package.library().ok().map(|library| library.sha256.as_str()),
        })?;
        let signer = self.signer(manifest)?;
        let accepted = self.lock.accepts(package, manifest.sha256)?;
        match (signer, accepted) {
            (Signer::Known(publisher), true) if publisher.runs_in_process() => Ok(Trust::Trusted),
            (Signer::Known(_), _) => Ok(Trust::Signed),
            (_, true) => Ok(Trust::Pinned),
            (Signer::Nobody, false) => self.unsigned(&package.name, None),
            (Signer::Stranger(error), false) => self.unsigned(&package.name, Some(error)),
            (Signer::Impostor(error), false) => Err(error),
        }
    }

    /// Who has signed a manifest.
    ///
    /// # Errors
    /// `PLUGIN-SIGNATURE` if it is not what a known publisher has signed, `PLUGIN-REVOKED` if it is too
    /// old for it.
    fn signer(&self, manifest: &SignedManifest<'_>) -> Result<Signer<'_>> {
        let (Some(signature), package) = (manifest.signature, manifest.package) else {
            return Ok(Signer::Nobody);
        };
        let (name, id) = (&package.publisher, signature.id());
        if let Some(other) = package.key_id.as_ref().filter(|key| **key != id.to_string()) {
            return Err(signature::invalid(&format!(
                "the manifest names key {other}, {id} has signed it"
            )));
        }
        let Some((publisher, file)) = self.publishers.get(name) else {
            let message = format!("publisher `{name}`, key {id}, is not trusted here");
            return Ok(Signer::Stranger(unknown_key(message, name)));
        };
        let keys = publisher.keys.get_ref();
        let Some(key) = keys.iter().find(|key| key.id() == id) else {
            let file = file.display();
            let message =
                format!("it is signed with key {id}, which `{name}` does not have in {file}");
            return Ok(Signer::Impostor(unknown_key(message, name)));
        };
        let named = format!("{}@{}", package.name, package.version);
        signature.verify(key, manifest.text.as_bytes(), &named)?;
        match publisher.min_version.get(&package.name) {
            Some(least) if *least > package.version => {
                let (version, file) = (&package.version, file.display());
                let message = format!("version {version} is too old: {file} asks for {least}");
                Err(Error::denied(message)
                    .with_code(code::PLUGIN_REVOKED)
                    .hint(format!("install version {least} or later")))
            }
            _ => Ok(Signer::Known(publisher)),
        }
    }

    /// Decides about a library without a manifest.
    ///
    /// # Errors
    /// As for [`Self::judge`].
    pub(super) fn judge_library(&self, file: &Path, sha256: &str) -> Result<Trust> {
        self.ensure_readable()?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let Some((locked, lock)) = self.lock.of_library(&name) else {
            return self.unsigned(&shown(file), None);
        };
        let claims = Claims {
            name: Some(&locked.name),
            version: Some(&locked.version),
            ..Claims::default()
        };
        self.ensure_not_revoked(&claims)?;
        match locked.own_hash() {
            Some(accepted) if accepted == sha256 => Ok(Trust::Pinned),
            Some(accepted) => Err(lock::changed("library", sha256, accepted, lock, &shown(file))),
            None => self.unsigned(&shown(file), None),
        }
    }

    /// What is to be done with a plugin that no one vouches for; `stranger`: who does, unknown to us.
    fn unsigned(&self, pin: &str, stranger: Option<Error>) -> Result<Trust> {
        let error = || {
            let error = Error::denied("it is neither signed nor pinned");
            error.with_code(code::PLUGIN_UNSIGNED)
        };
        match (&self.unsigned, stranger) {
            (Unsigned::Allowed, _) => Ok(Trust::Unsigned),
            (Unsigned::Refused, Some(stranger)) => Err(stranger),
            (Unsigned::Refused, None) => Err(error().hint(format!(
                "if you trust it: transload plugin pin {pin}; to try it once, add \
                 --allow-unsigned-plugins"
            ))),
            (Unsigned::Forbidden(file), stranger) => {
                let file = file.display();
                let hint = format!("`allow_unsigned = false` in {file} forbids to load it");
                Err(stranger.unwrap_or_else(error).hint(hint))
            }
        }
    }
}

impl Publisher {
    /// The text of a trust file, with one more key of this publisher.
    pub(super) fn edited(&self, text: &str, key: &PublicKey, in_process: bool) -> String {
        let mut keys: Vec<_> = self.keys.get_ref().iter().map(PublicKey::text).collect();
        if !keys.contains(&key.text()) {
            keys.push(key.text());
        }
        let list = format!("[\n  \"{}\",\n]", keys.join("\",\n  \""));
        let mut edits = vec![(self.keys.span(), list)];
        match &self.in_process {
            None if in_process => edits[0].1 += "\nin_process = true",
            Some(said) if in_process => edits.push((said.span(), "true".to_owned())),
            _ => {}
        }
        // From the end, so that what is before keeps its place.
        edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        let mut edited = text.to_owned();
        edits.into_iter().for_each(|(span, words)| edited.replace_range(span, &words));
        edited
    }

    fn runs_in_process(&self) -> bool {
        self.in_process.as_ref().is_some_and(|in_process| *in_process.get_ref())
    }
}

impl Revocation {
    /// Whether everything that the entry says is so. An entry that says nothing covers nothing.
    fn covers(&self, claims: &Claims<'_>) -> bool {
        let key_id = claims.key_id.map(|id| id.to_string());
        let said = [
            (self.name.as_deref(), claims.name),
            (self.publisher.as_deref(), claims.publisher),
            (self.key_id.as_deref(), key_id.as_deref()),
            (self.sha256.as_deref(), claims.sha256),
        ];
        let version = self.version.as_ref().is_none_or(|version| claims.version == Some(version));
        let says = said.iter().any(|(revoked, _)| revoked.is_some());
        says && version && said.iter().all(|(revoked, found)| revoked.is_none() || revoked == found)
    }
}

fn unknown_key(message: String, publisher: &str) -> Error {
    Error::denied(message).with_code(code::PLUGIN_PUBLISHER).hint(format!(
        "get the public key from the vendor by another way, and compare it; then: transload plugin \
         trust {publisher} --key FILE"
    ))
}

/// A path for a command line.
fn shown(file: &Path) -> String {
    format!("'{}'", file.display())
}

/// A trust file and its text; empty if there is none.
///
/// # Errors
/// `PLUGIN-TRUST`, `PLUGIN-ACCESS`.
pub(super) fn read(file: &Path) -> Result<(TrustFile, String)> {
    let text = DOCUMENT.read(file)?.unwrap_or_default();
    Ok((DOCUMENT.parse(&text, file)?, text))
}

/// The least isolation under which a plugin runs.
pub(super) fn isolation(trust: Trust, package: Option<&Package>) -> Isolation {
    let asked = package.and_then(|package| package.capabilities.as_ref()?.isolation);
    match trust {
        Trust::Signed | Trust::Pinned => Isolation::Process,
        _ => asked.unwrap_or(Isolation::InProcess),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The policy of an administrator's and a user's files.
    fn policy(system: Option<&str>, user: Option<&str>, allow_unsigned: bool) -> Policy {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["system", "user"].map(|name| folder.path().join(name)).to_vec();
        for (place, text) in folders.iter().zip([system, user]) {
            fs::create_dir(place).unwrap();
            text.iter().for_each(|text| fs::write(place.join(FILE_NAME), text).unwrap());
        }
        Policy::read(&TrustFiles { folders, allow_unsigned })
    }

    #[test]
    fn the_first_file_has_the_last_word() {
        let (yes, no) = ("allow_unsigned = true\n", "allow_unsigned = false\n");
        for (system, user, flag, allowed) in [
            (None, None, false, false),
            (None, None, true, true),
            (None, Some(yes), false, true),
            (None, Some(no), true, false),
            (Some(no), Some(yes), true, false),
            (Some(yes), Some(no), false, true),
            (Some("allow_unsigned = 1\n"), Some(yes), true, false),
            (Some(""), Some(yes), false, true),
        ] {
            let ended = policy(system, user, flag).judge_library(Path::new("/p/libx.so"), "aa");
            assert_eq!(ended.is_ok(), allowed, "{system:?} {user:?} {flag}: {ended:?}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_line_and_column() {
        let key = "RWSh/UZxWK4b1Qfyo9A4fH4M30N4+AB3aa5m1VOE/mmlIxby0H+GAt4f";
        for (text, expected, place) in [
            ("\n  allow_all = true\n".to_owned(), "unknown field `allow_all`", "trust.toml:2:3"),
            ("[publisher.a]\nkeys = [\"RW\"]\n".to_owned(), "is not a public key", ":2:8"),
            (format!("[publisher.a]\nkeys = [\"{key}\"]\ninprocess = true\n"), "inprocess", ":3:1"),
            ("[[revoked]]\nsha256 = \"12\"\n".to_owned(), "64 hexadecimal digits", ":2:10"),
        ] {
            let policy = policy(None, Some(&text), true);
            let problem = policy.problem().unwrap();
            assert_eq!(problem.code, code::PLUGIN_TRUST);
            assert!(problem.message.contains(expected), "{problem}");
            assert!(problem.place.as_deref().unwrap().ends_with(place), "{problem:?}");
        }
    }

    #[test]
    fn a_revocation_covers_what_all_its_keys_say() {
        let hash = "a".repeat(64);
        let (old, new): (Version, Version) = ("1.0.0".parse().unwrap(), "1.1.0".parse().unwrap());
        let claims = |version| Claims {
            name: Some("acme-oracle"),
            version: Some(version),
            publisher: Some("acme"),
            key_id: None,
            sha256: Some(&hash),
        };
        for (entry, covers_old, covers_new) in [
            ("name = \"acme-oracle\"".to_owned(), true, true),
            ("name = \"acme-oracle\"\nversion = \"1.0.0\"".to_owned(), true, false),
            ("publisher = \"acme\"".to_owned(), true, true),
            ("publisher = \"acme\"\nname = \"other\"".to_owned(), false, false),
            (format!("sha256 = \"{hash}\""), true, true),
            (String::new(), false, false),
        ] {
            // The user's file revokes, and the administrator's cannot take it back.
            let policy = policy(Some(""), Some(&format!("[[revoked]]\n{entry}\n")), false);
            let covers = |version| policy.ensure_not_revoked(&claims(version)).is_err();
            assert_eq!((covers(&old), covers(&new)), (covers_old, covers_new), "{entry}");
        }
    }
}
