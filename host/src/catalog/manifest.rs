//! `plugin-manifest.toml`: the plugins that belong to an installation. It governs the libraries in
//! its own folder and in the folders directly below. A listed library must match its entry; a
//! library that is not listed loads with a note.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result, code};

use super::{access, probe::Probed, role::Role};

/// The file's name. It is searched beside the program and in and above each plugin folder.
pub(super) const FILE_NAME: &str = "plugin-manifest.toml";

/// Longest manifest, in bytes.
const MAX_BYTES: u64 = 1 << 20;

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

/// A manifest and its path. If it cannot be read, every library that it governs is refused.
#[derive(Debug)]
pub(super) struct Manifest {
    file: PathBuf,
    folder: PathBuf,
    listings: Result<Vec<Listing>>,
}

impl Manifest {
    /// The manifest of this folder, if it has one.
    ///
    /// # Errors
    /// If it lies above a plugin folder and other users can change it: it may be anybody's.
    pub(super) fn find(folder: &Path, is_above: bool) -> Result<Option<Self>> {
        let file = folder.join(FILE_NAME);
        let at = |error: Error| error.at(file.display().to_string());
        let text = match read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| broken(format!("cannot read the manifest: {error}"))),
        };
        let listings = access::ensure_own(&file).and_then(|()| parse(&text?)).map_err(at);
        match listings {
            Err(strange) if is_above && strange.code == code::PLUGIN_ACCESS => Err(strange),
            listings => Ok(Some(Self { file, folder: folder.to_owned(), listings })),
        }
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

/// The text of a manifest. Only a regular file is opened, because a pipe would wait for its other end.
fn read(file: &Path) -> io::Result<String> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    fs::File::open(file)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("longer than 1 MiB"));
    }
    Ok(text)
}

/// Parses a manifest. Names and libraries must be unique; a library is a file name without folders, so
/// that a manifest cannot refer to files elsewhere.
pub(super) fn parse(text: &str) -> Result<Vec<Listing>> {
    let file: ManifestFile = toml::from_str(text).map_err(|error| unreadable(&error))?;
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

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Error {
    broken("cannot read the manifest".to_owned()).caused_by(error)
}

fn broken(message: String) -> Error {
    Error::options(message).with_code(code::PLUGIN_MANIFEST)
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
    pub(super) fn ensure_same(&self, probed: &Probed) -> Result<()> {
        let roles = Role::of(&probed.descriptor);
        let mut listed_roles = self.roles.clone();
        listed_roles.sort_unstable();
        let pairs = [
            ("name", self.name.clone(), probed.descriptor.name.clone()),
            ("version", self.version.clone(), probed.descriptor.version.clone()),
            ("roles", Role::words(&listed_roles), Role::words(&roles)),
            ("ABI", self.abi.clone(), probed.abi.to_string()),
        ];
        for (what, listed, found) in pairs {
            if listed != found {
                let message = format!("its {what} is `{found}`, the manifest says `{listed}`");
                return Err(Error::denied(message).with_code(code::PLUGIN_MANIFEST));
            }
        }
        Ok(())
    }
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
        let listings = parse(WHOLE).unwrap();
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
            let error = parse(&text).unwrap_err();
            let whole = format!("{error} {}", error.causes.join(" "));
            assert!(whole.contains(expected), "{whole}");
            assert_eq!(error.code, code::PLUGIN_MANIFEST);
        }
    }

    #[test]
    fn another_hash_is_refused() {
        let hash = "a".repeat(64);
        let listing = &parse(&format!("{WHOLE}\nsha256 = \"{hash}\"")).unwrap()[0];
        assert!(listing.ensure_hash(&hash.to_uppercase()).is_ok());
        assert_eq!(listing.ensure_hash(&"b".repeat(64)).unwrap_err().code, code::PLUGIN_HASH);
    }
}
