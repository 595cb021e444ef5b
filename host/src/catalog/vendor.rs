//! One plugin's folder, checked in an order in which no part of it can do harm: who can change it, its
//! manifest, who vouches for it, whether it fits this program, and the bytes of its files. What is
//! returned is the sealed copy of the library whose hash was compared.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use transload_plugin_api::{Error, Result, code};

use super::{
    check::sha256,
    elf,
    entry::Entry,
    folder::PluginFolder,
    linkage::Linkage,
    manifest::FILE_NAME,
    package::{self, Package},
    policy::{self, Policy, SignedManifest},
    sealed::Sealed,
    signature::{EXTENSION, Signature},
};

/// A plugin's folder whose manifest was read.
pub(super) struct VendorFolder {
    folder: PluginFolder,
    pub(super) package: Package,
    text: String,
    pub(super) manifest_sha256: String,
    pub(super) signature: Option<Signature>,
    pub(super) signature_text: Option<String>,
}

impl VendorFolder {
    /// Opens the folder `below` a plugins folder, and reads its manifest.
    ///
    /// # Errors
    /// `PLUGIN-ACCESS`, `PLUGIN-FILE`, `PLUGIN-MANIFEST`, `PLUGIN-SIGNATURE`.
    pub(super) fn open(plugins: &Path, below: &Path) -> Result<Self> {
        let mut folder = PluginFolder::of_all(plugins)?;
        for name in below {
            folder = folder.inner(name)?;
        }
        let vendor = Self::read(folder)?;
        ensure_named(&vendor.folder, &vendor.package)?;
        Ok(vendor)
    }

    /// Opens a folder of any name, before it is installed.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub(super) fn at(path: &Path) -> Result<Self> {
        Self::read(PluginFolder::of_all(path)?)
    }

    fn read(folder: PluginFolder) -> Result<Self> {
        let file = folder.path().join(FILE_NAME);
        let text = text(folder.file(Path::new(FILE_NAME))?, &file)?;
        let package = Package::parse(&text, &file)?;
        let beside = format!("{FILE_NAME}{EXTENSION}");
        let signature_text = match folder.file_if_any(Path::new(&beside))? {
            Some(signature) => Some(self::text(signature, &folder.path().join(&beside))?),
            None => None,
        };
        let signature = signature_text.as_deref().map(Signature::parse).transpose()?;
        let manifest_sha256 = super::check::sha256_of(text.as_bytes());
        Ok(Self { folder, package, text, manifest_sha256, signature, signature_text })
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The manifest's text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The manifest, with what covers it.
    pub(super) fn signed(&self) -> SignedManifest<'_> {
        SignedManifest {
            package: &self.package,
            text: &self.text,
            sha256: &self.manifest_sha256,
            signature: self.signature.as_ref(),
        }
    }

    /// Fills an entry with what the manifest says.
    pub(super) fn tell(&self, entry: &mut Entry) {
        let package = &self.package;
        entry.name.clone_from(&package.name);
        entry.version = Some(package.version.to_string());
        entry.roles = package.roles.clone();
        entry.publisher = Some(package.publisher.clone());
        if let Ok(library) = package.library() {
            entry.path = self.folder.path().join(&library.path);
            entry.sha256.clone_from(&library.sha256);
        }
    }

    /// Decides whether it may run; fills in why.
    ///
    /// # Errors
    /// As for [`Policy::judge`].
    pub(super) fn judge(&self, policy: &Policy, entry: &mut Entry) -> Result<()> {
        let trust = policy.judge(&self.signed())?;
        entry.trust = Some(trust);
        entry.isolation = policy::isolation(trust, Some(&self.package));
        entry.capabilities.clone_from(&self.package.capabilities);
        Ok(())
    }

    /// The library for this machine, after all files of the folder were compared with the manifest.
    ///
    /// # Errors
    /// `PLUGIN-PLATFORM`, `PLUGIN-ABI`, `PLUGIN-HOST`, `PLUGIN-HASH`, `PLUGIN-DAMAGED`,
    /// `PLUGIN-NEEDED`, `PLUGIN-LINKED`, `PLUGIN-MISSING`.
    pub(super) fn seal(&self) -> Result<Sealed> {
        let library = self.package.library()?;
        self.package.ensure_fits()?;
        for file in &self.package.files {
            let found = sha256(&self.file(&file.path)?)?;
            self.ensure_hash(&file.path, &found, &file.sha256)?;
        }
        let sealed = Sealed::of_package(self.file(&library.path)?)?;
        self.ensure_hash(&library.path, sealed.sha256(), &library.sha256)?;
        let copy = sealed.open()?;
        let size = copy.metadata()?.len();
        if size != library.size {
            let (path, expected) = (library.path.display(), library.size);
            let message = format!("`{path}` has {size} bytes, the manifest says {expected}");
            return Err(Error::denied(message).with_code(code::PLUGIN_HASH));
        }
        elf::ensure_plugin(&copy)?;
        Linkage::of(&copy)?.ensure(&library.needed)?;
        Ok(sealed)
    }

    /// A file that the manifest lists.
    ///
    /// # Errors
    /// `PLUGIN-MISSING`, `PLUGIN-ACCESS`, `PLUGIN-FILE`.
    pub(super) fn file(&self, inner: &Path) -> Result<File> {
        self.folder.file_if_any(inner)?.ok_or_else(|| {
            let message = format!("`{}` is missing, the manifest lists it", inner.display());
            Error::not_found(message)
                .with_code(code::PLUGIN_MISSING)
                .hint("install the plugin again")
        })
    }

    /// Compares a file's hash with the manifest.
    ///
    /// # Errors
    /// `PLUGIN-HASH`.
    pub(super) fn ensure_hash(&self, inner: &Path, found: &str, listed: &str) -> Result<()> {
        if found == listed {
            return Ok(());
        }
        let path = inner.display();
        let message = format!("`{path}` has sha256 `{found}`, the manifest says `{listed}`");
        Err(Error::denied(message).with_code(code::PLUGIN_HASH).hint(
            "the file was changed after it was packed: install the plugin again from its vendor",
        ))
    }
}

/// The text of a manifest or a signature.
fn text(file: File, path: &Path) -> Result<String> {
    let most = package::DOCUMENT.most;
    let mut text = String::new();
    let read = file.take(most + 1).read_to_string(&mut text);
    let error = match read {
        Ok(_) if text.len() as u64 <= most => return Ok(text),
        Ok(_) => format!("cannot read the plugin manifest: longer than {} KiB", most >> 10),
        Err(error) => format!("cannot read the plugin manifest: {error}"),
    };
    Err(package::DOCUMENT.wrong(error).at(path.display().to_string()))
}

/// The folder has the plugin's name, or the folder of its version is in one that has.
fn ensure_named(folder: &PluginFolder, package: &Package) -> Result<()> {
    let path = folder.path();
    let (own, above) = (path.file_name(), path.parent().and_then(Path::file_name));
    let (name, version) = (OsStr::new(&package.name), package.version.to_string());
    if own == Some(name) || (above, own) == (Some(name), Some(OsStr::new(&version))) {
        return Ok(());
    }
    let expected = PathBuf::from(&package.name).join(version);
    let message = format!("a folder of `{}` must be called `{}`", package.name, expected.display());
    Err(package::DOCUMENT.wrong(message).at(path.display().to_string()))
}

/// Whether a plugins folder is itself that of a vendor.
pub(super) fn is_one(folder: &Path) -> bool {
    std::fs::metadata(folder.join(FILE_NAME)).is_ok_and(|file| file.is_file())
        && std::fs::read_to_string(folder.join(FILE_NAME))
            .is_ok_and(|text| package::is_package(&text))
}

/// The folders with a manifest below a plugins folder: `NAME` or `NAME/VERSION`, newest version first.
pub(super) fn folders(plugins: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in inner_folders(plugins) {
        let has_manifest =
            |inner: &Path| plugins.join(inner).join(FILE_NAME).symlink_metadata().is_ok();
        if has_manifest(&name) {
            found.push(name);
            continue;
        }
        let mut versions = inner_folders(&plugins.join(&name));
        let number = |path: &PathBuf| path.to_str()?.parse::<super::version::Version>().ok();
        versions.sort_by_key(|version| std::cmp::Reverse(number(version)));
        let inner = versions.into_iter().map(|version| name.join(version));
        found.extend(inner.filter(|inner| has_manifest(inner)));
    }
    found
}

/// The names of the folders in a folder, and of links to such, sorted.
fn inner_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> =
        entries.filter(|it| it.path().is_dir()).map(|it| it.file_name().into()).collect();
    names.sort();
    names
}
