//! `plugins.lock`: which bytes of which plugin were accepted on this machine, for every platform of its
//! package. `plugin install` and `plugin pin` write it, beside `trust.toml`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result, code};

use super::{
    document::Document,
    pack::make_folder,
    package::{self, Package},
    version::Version,
};
use crate::journal;

pub(super) const FILE_NAME: &str = "plugins.lock";

const DOCUMENT: Document = Document { what: "lock file", most: 1 << 20, code: code::PLUGIN_TRUST };

const HEAD: &str = "# Written by `transload plugin install` and `transload plugin pin`: the bytes that \
                    were accepted.\n\n";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    #[serde(default, rename = "plugin")]
    plugins: Vec<Locked>,
}

/// One plugin that was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Locked {
    pub(super) name: String,
    pub(super) version: Version,
    /// Its publisher, if it has a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) publisher: Option<String>,
    /// The hash of its manifest, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<String>,
    /// The file of a library without a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) library: Option<String>,
    /// The hash of its library, by platform.
    pub(super) sha256: BTreeMap<String, String>,
}

impl Locked {
    /// That of a plugin's folder.
    pub(super) fn of_package(package: &Package, manifest: String) -> Self {
        let hashes = package.libraries.iter().map(|it| (it.platform.clone(), it.sha256.clone()));
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            publisher: Some(package.publisher.clone()),
            manifest: Some(manifest),
            library: None,
            sha256: hashes.collect(),
        }
    }

    /// The hash for this machine.
    pub(super) fn own_hash(&self) -> Option<&str> {
        self.sha256.get(&package::platform()).map(String::as_str)
    }
}

/// All plugins that were accepted.
#[derive(Debug, Default)]
pub(super) struct Lock {
    plugins: Vec<(Locked, PathBuf)>,
}

impl Lock {
    /// Adds the entries of a folder's lock file, in place of those of the same name.
    ///
    /// # Errors
    /// `PLUGIN-TRUST`, `PLUGIN-ACCESS`.
    pub(super) fn add(&mut self, folder: &Path) -> Result<()> {
        let file = folder.join(FILE_NAME);
        for locked in read(&file)?.plugins {
            self.plugins.retain(|(known, _)| known.name != locked.name);
            self.plugins.push((locked, file.clone()));
        }
        Ok(())
    }

    /// The entry of this name.
    pub(super) fn of_name(&self, name: &str) -> Option<&(Locked, PathBuf)> {
        self.plugins.iter().find(|(locked, _)| locked.name == name)
    }

    /// The entry of a library without a manifest.
    pub(super) fn of_library(&self, file: &str) -> Option<&(Locked, PathBuf)> {
        self.plugins.iter().find(|(locked, _)| locked.library.as_deref() == Some(file))
    }

    /// Whether a plugin's folder is the one that was accepted; `false` if nothing was.
    ///
    /// # Errors
    /// `PLUGIN-LOCK` for another version, `PLUGIN-HASH` for other bytes.
    pub(super) fn accepts(&self, package: &Package, manifest: &str) -> Result<bool> {
        let Some((locked, file)) = self.of_name(&package.name) else { return Ok(false) };
        if locked.version != package.version {
            let (version, locked, file) = (&package.version, &locked.version, file.display());
            let message = format!("it is version {version}, {file} has {locked}");
            return Err(Error::denied(message)
                .with_code(code::PLUGIN_LOCK)
                .hint(format!("to accept it: transload plugin pin {}@{version}", package.name)));
        }
        match &locked.manifest {
            Some(accepted) if accepted == manifest => Ok(true),
            Some(accepted) => Err(changed("manifest", manifest, accepted, file, &package.name)),
            None => Ok(false),
        }
    }
}

/// The error for bytes that are not those that were accepted.
pub(super) fn changed(what: &str, found: &str, locked: &str, file: &Path, name: &str) -> Error {
    let message = format!("the {what}'s sha256 is `{found}`, {} has `{locked}`", file.display());
    Error::denied(message)
        .with_code(code::PLUGIN_HASH)
        .hint(format!("install it again; if you changed it yourself: transload plugin pin {name}"))
}

fn read(file: &Path) -> Result<LockFile> {
    match DOCUMENT.read(file)? {
        Some(text) => DOCUMENT.parse(&text, file),
        None => Ok(LockFile::default()),
    }
}

/// Puts an entry into the lock file of a folder, in place of one of the same name. Returns the file.
///
/// # Errors
/// If it cannot be read or written.
pub(super) fn put(folder: &Path, locked: Locked) -> Result<PathBuf> {
    let file = folder.join(FILE_NAME);
    let mut known = read(&file)?;
    known.plugins.retain(|other| other.name != locked.name);
    known.plugins.push(locked);
    known.plugins.sort_by(|one, other| one.name.cmp(&other.name));
    let text = toml::to_string(&known)
        .map_err(|error| Error::other("cannot write the lock file").caused_by(&error))?;
    replace(&file, &(HEAD.to_owned() + &text))?;
    Ok(file)
}

/// Writes a file of the configuration by rename: a reader sees the old or the new one.
///
/// # Errors
/// If it cannot be written.
pub(super) fn replace(file: &Path, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        if let Some(folder) = file.parent() {
            make_folder(folder)?;
        }
        let fresh = file.with_extension(format!("{}.new", std::process::id()));
        journal::write_private(&fresh, text.as_bytes())?;
        // Nothing in it is secret, and every user of the machine may have to read it.
        fs::set_permissions(&fresh, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        fs::rename(&fresh, file)
    };
    write().map_err(|error| Error::from(error).at(file.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(name: &str, version: &str, hash: &str) -> Locked {
        Locked {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            publisher: None,
            manifest: None,
            library: Some(format!("lib{name}.so")),
            sha256: BTreeMap::from([
                ("linux_amd64".to_owned(), hash.to_owned()),
                ("linux_arm64".to_owned(), hash.to_owned()),
            ]),
        }
    }

    #[test]
    fn the_last_entry_of_a_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), locked("zeta", "1.0.0", "aa")).unwrap();
        put(folder.path(), locked("acme", "1.0.0", "bb")).unwrap();
        let file = put(folder.path(), locked("acme", "1.1.0", "cc")).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.find("acme").unwrap() < text.find("zeta").unwrap(), "{text}");
        let mut lock = Lock::default();
        lock.add(folder.path()).unwrap();
        assert_eq!(lock.of_name("acme").unwrap().0, locked("acme", "1.1.0", "cc"));
        assert_eq!(lock.of_library("libzeta.so").unwrap().0.own_hash(), Some("aa"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
