//! `plugin-manifest.toml` as a list of libraries. It governs those in its own folder and in the
//! folders directly below: a listed library must match its entry. The list of the installation, which
//! lies beside the program, says which plugins are built in. The manifest of one plugin's folder has
//! the same name and another form, see `package`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result, code};

use super::{document::Document, package, probe::Probed, role::Role, search::ManifestPlace};

/// The file's name. It is searched beside the program and in and above each plugin folder.
pub(super) const FILE_NAME: &str = "plugin-manifest.toml";

const DOCUMENT: Document =
    Document { what: "manifest", most: 1 << 20, code: code::PLUGIN_MANIFEST };

/// The list of the sources. It stands in for a missing one beside a program that was built here.
const OF_SOURCES: &str = include_str!("../../../plugin-manifest.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    #[serde(default, rename = "plugin")]
    plugins: Vec<Listing>,
}

/// One listed plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// The plugin's name.
    pub(super) name: String,
    /// The plugin's own version.
    version: String,
    /// The roles that it offers.
    roles: Vec<Role>,
    /// The library's file name.
    pub(super) library: String,
    /// The ABI version it was built for.
    abi: String,
    /// The file's hash, in hexadecimal, once packaged.
    #[serde(default)]
    sha256: Option<String>,
}

/// Whose list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// That of the installation: what it lists is built in.
    Installation,
    /// That of the sources, in place of it. Libraries of another version may lie there, or none.
    Sources,
    /// That of any other folder.
    Folder,
}

/// A manifest and its path. If it cannot be read, every library that it governs is refused.
#[derive(Debug)]
pub(super) struct Manifest {
    file: PathBuf,
    folder: PathBuf,
    owner: Owner,
    listings: Result<Vec<Listing>>,
}

impl Manifest {
    /// The manifest of this folder, if it has one.
    ///
    /// # Errors
    /// If it lies above a plugin folder and other users can change it: it may be anybody's.
    pub(super) fn find(place: &ManifestPlace<'_>) -> Result<Option<Self>> {
        let file = place.folder.join(FILE_NAME);
        let listings = match DOCUMENT.read(&file) {
            Ok(None) => return Ok(None),
            // That of one plugin's folder says nothing about others.
            Ok(Some(text)) if package::is_package(&text) => return Ok(None),
            Ok(Some(text)) => parse(&text, &file),
            Err(strange) if place.is_above && strange.code == code::PLUGIN_ACCESS => {
                return Err(strange);
            }
            Err(error) => Err(error),
        };
        let owner = if place.is_installed { Owner::Installation } else { Owner::Folder };
        Ok(Some(Self { file, folder: place.folder.to_owned(), owner, listings }))
    }

    /// The list of the sources, for the folder of a program that was built from them.
    pub(super) fn of_sources(folder: &Path) -> Self {
        let file = folder.join(FILE_NAME);
        let listings = parse(OF_SOURCES, &file);
        Self { file, folder: folder.to_owned(), owner: Owner::Sources, listings }
    }

    /// Whether it says what is built in.
    pub(super) fn is_of_installation(&self) -> bool {
        self.owner != Owner::Folder
    }

    /// Whether every library that it lists must be there, as it is listed.
    pub(super) fn is_exact(&self) -> bool {
        self.owner != Owner::Sources
    }

    /// The manifest's own path.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The folder that it governs.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Why the manifest cannot be used.
    pub(super) fn problem(&self) -> Option<&Error> {
        self.listings.as_ref().err()
    }

    /// Whether it governs this library.
    pub(super) fn governs(&self, library: &Path) -> bool {
        let folder = library.parent();
        folder == Some(&self.folder) || folder.and_then(Path::parent) == Some(&self.folder)
    }

    /// The entry of this library, if it has one.
    ///
    /// # Errors
    /// If the manifest cannot be read.
    pub(super) fn listing(&self, library: &Path) -> Result<Option<&Listing>> {
        let listings = self.listings.as_ref().map_err(Clone::clone)?;
        let name = library.file_name().and_then(|name| name.to_str());
        Ok(listings.iter().find(|listing| Some(listing.library.as_str()) == name))
    }

    /// All entries; none if the manifest cannot be read.
    pub(super) fn listings(&self) -> &[Listing] {
        self.listings.as_deref().unwrap_or_default()
    }
}

/// Parses a manifest. Names and libraries must be unique; a library is a file name without folders, so
/// that a manifest cannot refer to files elsewhere.
pub(super) fn parse(text: &str, file: &Path) -> Result<Vec<Listing>> {
    let at = |error: Error| error.at(file.display().to_string());
    let broken = |message: String| at(DOCUMENT.wrong(message));
    let file: ManifestFile = DOCUMENT.parse(text, file)?;
    let mut seen = Vec::new();
    for listing in &file.plugins {
        for name in [&listing.name, &listing.library] {
            if seen.contains(&name) {
                return Err(broken(format!("`{name}` is listed twice")));
            }
            seen.push(name);
        }
        if listing.library.contains('/') {
            return Err(broken(format!("library `{}` is not a file name", listing.library)));
        }
        if let Some(hash) = &listing.sha256
            && (hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(broken(format!("sha256 `{hash}` is not 64 hexadecimal digits")));
        }
    }
    Ok(file.plugins)
}

impl Listing {
    /// Compares the file's hash with the entry, before the file is loaded.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] when the hash differs.
    pub(super) fn ensure_hash(&self, sha256: &str) -> Result<()> {
        match &self.sha256 {
            Some(listed) if !listed.eq_ignore_ascii_case(sha256) => {
                Err(Error::denied(format!("sha256 is `{sha256}`, the manifest says `{listed}`"))
                    .with_code(code::PLUGIN_HASH)
                    .hint("the library was changed after it was packaged: install it again"))
            }
            _ => Ok(()),
        }
    }

    /// Compares the library's descriptor with the entry.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] with the first difference.
    pub(super) fn ensure_same(&self, probed: &Probed, is_exact: bool) -> Result<()> {
        let roles = Role::of(&probed.descriptor);
        if self.name != probed.descriptor.name {
            return Err(differs("name", &self.name, &probed.descriptor.name));
        }
        let mut listed_roles = self.roles.clone();
        listed_roles.sort_unstable();
        let pairs = [
            ("version", self.version.clone(), probed.descriptor.version.clone()),
            ("roles", Role::words(&listed_roles), Role::words(&roles)),
            ("ABI", self.abi.clone(), probed.abi.to_string()),
        ];
        let different = pairs.into_iter().find(|(_, listed, found)| listed != found);
        match different.filter(|_| is_exact) {
            Some((what, listed, found)) => Err(differs(what, &listed, &found)),
            None => Ok(()),
        }
    }
}

fn differs(what: &str, listed: &str, found: &str) -> Error {
    let message = format!("its {what} is `{found}`, the manifest says `{listed}`");
    Error::denied(message).with_code(code::PLUGIN_MANIFEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        [[plugin]]
        name = "file"
        version = "0.1.0"
        roles = ["reader", "writer"]
        library = "libfile.so"
        abi = "1.1"
    "#;

    #[test]
    fn a_whole_listing_is_read() {
        let listings = parse(WHOLE, Path::new("m")).unwrap();
        assert_eq!(listings[0].name, "file");
        assert!(listings[0].ensure_hash("anything").is_ok());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (text, expected) in [
            (format!("{WHOLE}\nlicence = 1"), "unknown field `licence`"),
            (format!("{WHOLE}\nsha256 = \"12\""), "64 hexadecimal digits"),
            (format!("{WHOLE}{WHOLE}"), "listed twice"),
            (WHOLE.replace("libfile.so", "../libfile.so"), "not a file name"),
            (WHOLE.replace("\"writer\"", "\"wirter\""), "unknown variant `wirter`"),
            (WHOLE.replace("name = \"file\"", ""), "missing field `name`"),
        ] {
            let error = parse(&text, Path::new("m")).unwrap_err();
            let whole = format!("{error} {}", error.causes.join(" "));
            assert!(whole.contains(expected), "{whole}");
            assert_eq!(error.code, code::PLUGIN_MANIFEST);
        }
    }

    #[test]
    fn another_hash_is_refused() {
        let hash = "a".repeat(64);
        let listing = &parse(&format!("{WHOLE}\nsha256 = \"{hash}\""), Path::new("m")).unwrap()[0];
        assert!(listing.ensure_hash(&hash.to_uppercase()).is_ok());
        assert_eq!(listing.ensure_hash(&"b".repeat(64)).unwrap_err().code, code::PLUGIN_HASH);
    }
}
