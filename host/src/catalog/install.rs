//! Copies a vendor's folder to where plugins are found, after everything in it was compared with its
//! manifest; and accepts what is there already (`pin`), a publisher (`trust`), or no longer (`revoke`).

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use transload_plugin_api::{Error, Result, code};

use super::{
    access,
    capabilities::Capabilities,
    lock::{self, Locked},
    manifest::FILE_NAME,
    pack::{make_folder, put},
    package::{self, Package},
    policy::{self, Claims, Policy},
    probe::Prober,
    sealed::Sealed,
    search::SearchPath,
    signature::{EXTENSION, PublicKey},
    trust::Trust,
    vendor::{self, VendorFolder},
};

/// Where plugins and what is decided about them are kept: the user's folders, or the system's.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The plugins folder.
    pub(crate) plugins: PathBuf,
    /// The folder of `trust.toml` and `plugins.lock`.
    pub(crate) config: PathBuf,
}

/// A vendor's folder that can be installed.
pub(crate) struct Candidate {
    vendor: VendorFolder,
    library: Sealed,
    pub(crate) summary: Summary,
}

/// What the user is shown before a plugin is installed.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) publisher: String,
    /// Which key signed it, if one did.
    pub(crate) key_id: Option<String>,
    pub(crate) trust: Trust,
    pub(crate) license: String,
    pub(crate) description: String,
    pub(crate) roles: Vec<super::Role>,
    /// The most that it will ask for.
    pub(crate) capabilities: Option<Capabilities>,
    /// The version that is accepted now, if it is another one.
    pub(crate) replaces: Option<String>,
    /// Where it will be.
    pub(crate) folder: PathBuf,
}

/// Checks a vendor's folder. `pin`: it is accepted although no publisher that is trusted has signed it.
///
/// # Errors
/// Everything for which it would be refused once installed.
pub(crate) fn candidate(
    source: &Path,
    places: &Places,
    search: &SearchPath,
    pin: bool,
) -> Result<Candidate> {
    let vendor = VendorFolder::at(source)?;
    let at = |error: Error| error.at(source.display().to_string());
    let judged = Policy::read(search.trust()).unlocked().judge(&vendor.signed());
    let trust = match judged {
        Ok(Trust::Unsigned) if !pin => Err(unaccepted(None)),
        Err(error) if is_unaccepted(&error) && !pin => Err(unaccepted(Some(error))),
        Err(error) if is_unaccepted(&error) => Ok(Trust::Pinned),
        Ok(Trust::Unsigned) => Ok(Trust::Pinned),
        judged => judged,
    };
    let trust = trust.map_err(at)?;
    let library = vendor.seal().map_err(at)?;
    let package = &vendor.package;
    let version = package.version.to_string();
    let locked = Policy::read(search.trust())
        .locked_version(&package.name)
        .filter(|locked| *locked != version);
    let summary = Summary {
        name: package.name.clone(),
        publisher: package.publisher.clone(),
        key_id: vendor.signature.as_ref().map(|signature| signature.id().to_string()),
        trust,
        license: package.license.clone(),
        description: package.description.clone(),
        roles: package.roles.clone(),
        capabilities: package.capabilities.clone(),
        replaces: locked,
        folder: places.plugins.join(&package.name).join(&version),
        version,
    };
    Ok(Candidate { vendor, library, summary })
}

fn is_unaccepted(error: &Error) -> bool {
    [code::PLUGIN_UNSIGNED, code::PLUGIN_PUBLISHER].contains(&error.code.as_str())
}

/// The refusal of a folder that no one vouches for, with the way to accept it all the same.
fn unaccepted(error: Option<Error>) -> Error {
    let pin = "to accept exactly these bytes, whoever made them, add --pin";
    match error {
        Some(error) if error.code == code::PLUGIN_PUBLISHER => {
            let hint = error.hint.clone().unwrap_or_default();
            error.hint(format!("{hint}; {pin}"))
        }
        _ => Error::denied("it is not signed").with_code(code::PLUGIN_UNSIGNED).hint(pin),
    }
}

impl Candidate {
    /// Copies the folder, makes it appear as a whole, and locks it. Returns the lock file.
    ///
    /// # Errors
    /// If a folder cannot be written, or a file changed since it was checked.
    pub(crate) fn install(&self, places: &Places) -> Result<PathBuf> {
        let package = &self.vendor.package;
        let target = &self.summary.folder;
        let fresh = places.plugins.join(format!(".{}-{}", package.name, std::process::id()));
        let copied = self.copy(&fresh, package).and_then(|()| {
            put_in_place(&fresh, target)
                .map_err(|error| Error::from(error).at(target.display().to_string()))
        });
        copied.inspect_err(|_| drop(fs::remove_dir_all(&fresh)))?;
        lock::put(&places.config, Locked::of_package(package, self.vendor.manifest_sha256.clone()))
    }

    fn copy(&self, fresh: &Path, package: &Package) -> Result<()> {
        let vendor = &self.vendor;
        put(&fresh.join(FILE_NAME), vendor.text().as_bytes())?;
        if let Some(signature) = &vendor.signature_text {
            put(&fresh.join(format!("{FILE_NAME}{EXTENSION}")), signature.as_bytes())?;
        }
        let own = package.library()?;
        put(&fresh.join(&own.path), &read(&self.library.open()?)?)?;
        let others = package.libraries.iter().filter(|library| library.platform != own.platform);
        let others = others.map(|library| (&library.path, &library.sha256));
        let files = package.files.iter().map(|file| (&file.path, &file.sha256));
        for (path, listed) in others.chain(files) {
            let bytes = read(&vendor.file(path)?)?;
            vendor.ensure_hash(path, &super::check::sha256_of(&bytes), listed)?;
            put(&fresh.join(path), &bytes)?;
        }
        Ok(())
    }
}

fn read(mut file: &fs::File) -> Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a folder into the place of another one.
fn put_in_place(fresh: &Path, target: &Path) -> std::io::Result<()> {
    make_folder(target.parent().unwrap_or(Path::new("")))?;
    if !target.exists() {
        return fs::rename(fresh, target);
    }
    let old = fresh.with_extension("old");
    fs::rename(target, &old)?;
    fs::rename(fresh, target)?;
    fs::remove_dir_all(old)
}

/// What was accepted, and where that is kept.
#[derive(Debug, Serialize)]
pub(crate) struct Pinned {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    pub(crate) file: PathBuf,
}

/// Accepts the bytes of a plugin that is there: a library's file, a vendor's folder, or the name of a
/// plugin in the search path, with `@VERSION` if there are several.
///
/// # Errors
/// If there is none, and for what no one can accept: damage, revocation, a wrong signature.
pub(crate) fn pin(what: &str, places: &Places, search: &SearchPath) -> Result<Pinned> {
    let path = Path::new(what);
    if path.is_dir() {
        return pin_folder(path, places, search);
    }
    if path.is_file() {
        return pin_library(path, places, search);
    }
    let (name, version) =
        what.split_once('@').map_or((what, None), |(name, version)| (name, Some(version)));
    for folder in search.folders().iter().filter(|folder| !folder.mixed) {
        for below in vendor::folders(&folder.path) {
            let Ok(vendor) = VendorFolder::open(&folder.path, &below) else { continue };
            let package = &vendor.package;
            let is_version = version.is_none_or(|version| version == package.version.to_string());
            if package.name == name && is_version {
                return pin_folder(vendor.path(), places, search);
            }
        }
    }
    Err(Error::not_found(format!("there is no plugin's folder `{what}` in the search path"))
        .with_code(code::PLUGIN_UNKNOWN)
        .hint("name the file of a library, or a vendor's folder"))
}

fn pin_folder(path: &Path, places: &Places, search: &SearchPath) -> Result<Pinned> {
    let vendor = VendorFolder::at(path)?;
    let at = |error: Error| error.at(path.display().to_string());
    match Policy::read(search.trust()).unlocked().judge(&vendor.signed()) {
        Err(error) if !is_unaccepted(&error) => return Err(at(error)),
        _ => {}
    }
    vendor.seal().map_err(at)?;
    let package = &vendor.package;
    let locked = Locked::of_package(package, vendor.manifest_sha256.clone());
    pinned(locked, places)
}

fn pin_library(path: &Path, places: &Places, search: &SearchPath) -> Result<Pinned> {
    let path = std::path::absolute(path)?;
    let at = |error: Error| error.at(path.display().to_string());
    access::ensure_own(&path)?;
    let sealed = Sealed::copy(&path).map_err(at)?;
    let policy = Policy::read(search.trust());
    let hash = sealed.sha256();
    policy.ensure_not_revoked(&Claims { sha256: Some(hash), ..Claims::default() }).map_err(at)?;
    let probed = Prober::new(search.program().to_owned()).probe(&sealed).map_err(at)?;
    let descriptor = probed.descriptor;
    let version = descriptor.version.parse().map_err(|error: String| at(Error::defect(error)))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let locked = Locked {
        name: descriptor.name,
        version,
        publisher: None,
        manifest: None,
        library: Some(file),
        sha256: [(package::platform(), hash.to_owned())].into(),
    };
    pinned(locked, places)
}

fn pinned(locked: Locked, places: &Places) -> Result<Pinned> {
    let (name, version) = (locked.name.clone(), locked.version.to_string());
    let sha256 = locked.own_hash().unwrap_or_default().to_owned();
    Ok(Pinned { name, version, sha256, file: lock::put(&places.config, locked)? })
}

/// A publisher's key that is trusted now.
#[derive(Debug, Serialize)]
pub(crate) struct TrustedKey {
    pub(crate) publisher: String,
    pub(crate) key_id: String,
    pub(crate) key: String,
    pub(crate) in_process: bool,
    pub(crate) file: PathBuf,
}

/// Trusts a publisher's key: adds it to `trust.toml`, and leaves the rest of the file as it is.
///
/// # Errors
/// If the key or the file cannot be read or written.
pub(crate) fn trust(
    publisher: &str,
    key: &Path,
    in_process: bool,
    places: &Places,
) -> Result<TrustedKey> {
    let wrong = |message: String, place: &Path| {
        Error::options(message).with_code(code::PLUGIN_TRUST).at(place.display().to_string())
    };
    if !package::is_name(publisher) {
        let message = format!(
            "`{publisher}` is not a name: expected 2 to 40 lower case letters, digits and `-`"
        );
        return Err(Error::options(message).with_code(code::PLUGIN_TRUST));
    }
    let text = fs::read_to_string(key)
        .map_err(|error| wrong(format!("cannot read the key: {error}"), key))?;
    let key = PublicKey::of_file(&text).map_err(|error| wrong(error, key))?;
    let file = places.config.join(policy::FILE_NAME);
    let (known, text) = policy::read(&file)?;
    let edited = match known.publishers.get(publisher) {
        Some(known) => known.edited(&text, &key, in_process),
        None => {
            let gap = if text.is_empty() { "" } else { "\n" };
            let line = if in_process { "in_process = true\n" } else { "" };
            let ended = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            format!(
                "{text}{ended}{gap}[publisher.{publisher}]\nkeys = [\"{}\"]\n{line}",
                key.text()
            )
        }
    };
    // Never a file that could not be read again.
    policy::DOCUMENT.parse::<policy::TrustFile>(&edited, &file)?;
    lock::replace(&file, &edited)?;
    Ok(TrustedKey {
        publisher: publisher.to_owned(),
        key_id: key.id().to_string(),
        key: key.text().to_owned(),
        in_process,
        file,
    })
}

/// What is revoked.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Revoke {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) publisher: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) reason: Option<String>,
}

/// Adds an entry to the revocations in `trust.toml`. Returns the file.
///
/// # Errors
/// If what is revoked has another form, or the file cannot be read or written.
pub(crate) fn revoke(revoke: &Revoke, places: &Places) -> Result<PathBuf> {
    let file = places.config.join(policy::FILE_NAME);
    let (_, mut text) = policy::read(&file)?;
    if !text.is_empty() {
        text += if text.ends_with('\n') { "\n" } else { "\n\n" };
    }
    text += "[[revoked]]\n";
    let lines = [
        ("name", &revoke.name),
        ("version", &revoke.version),
        ("publisher", &revoke.publisher),
        ("key_id", &revoke.key_id),
        ("sha256", &revoke.sha256),
        ("reason", &revoke.reason),
    ];
    for (key, value) in lines {
        let Some(value) = value else { continue };
        let _ = writeln!(text, "{key} = {}", toml::Value::String(value.clone()));
    }
    policy::DOCUMENT.parse::<policy::TrustFile>(&text, &file)?;
    lock::replace(&file, &text)?;
    Ok(file)
}
