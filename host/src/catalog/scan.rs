//! Scans the search path: every library passes the checks in order, up to the first that fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use transload_plugin_api::{Error, Result, code};

use super::{
    access,
    cache::{Identity, ProbeCache},
    check, elf,
    entry::{Entry, Status},
    manifest::{Listing, Manifest},
    policy::{self, Claims, Policy},
    probe::{Probed, Prober},
    role::Role,
    sanity,
    sealed::Sealed,
    search::{Folder, SearchPath},
    trust::Trust,
    vendor::{self, VendorFolder},
};

/// What a scan found.
pub(super) struct Scanned {
    /// All libraries of the search path.
    pub(super) entries: Vec<Entry>,
    /// The problems that concern no single library.
    pub(super) problems: Vec<Error>,
}

/// Scans the search path.
pub(super) fn scan(search: &SearchPath) -> Scanned {
    let mut scan = Scan::new(search);
    for folder in search.folders() {
        scan.folder(folder);
    }
    let mut entries = scan.entries;
    entries.extend(missing(&scan.manifests, &entries));
    shadow(&mut entries);
    scan.cache.save();
    Scanned { entries, problems: scan.problems }
}

/// A scan in progress.
struct Scan {
    entries: Vec<Entry>,
    problems: Vec<Error>,
    seen: BTreeSet<PathBuf>,
    manifests: Vec<Manifest>,
    policy: Policy,
    cache: ProbeCache,
    prober: Prober,
}

impl Scan {
    fn new(search: &SearchPath) -> Self {
        let (manifests, strange) = manifests(search);
        let unusable = manifests.iter().filter_map(|manifest| manifest.problem().cloned());
        let relative = search.refused().iter().map(|path| relative(path));
        let policy = Policy::read(search.trust());
        let broken = policy.problem().cloned();
        Self {
            entries: Vec::new(),
            problems: unusable.chain(strange).chain(relative).chain(broken).collect(),
            seen: BTreeSet::new(),
            manifests,
            policy,
            cache: ProbeCache::open(search.cache()),
            prober: Prober::new(search.program().to_owned()),
        }
    }

    /// Scans one folder. Only a folder that the user named must exist.
    fn folder(&mut self, folder: &Folder) {
        let is_packed = vendor::is_one(&folder.path);
        match libraries(&folder.path) {
            // Only the libraries that its manifest lists belong to a vendor's folder.
            Ok(_) if is_packed => self.vendor_folder(&folder.path, Path::new(""), folder),
            Ok(paths) => paths.iter().for_each(|path| self.library(path, folder)),
            Err(error) if folder.required => self.problems.push(
                Error::from(error)
                    .with_code(code::PLUGIN_FOLDER)
                    .at(folder.path.display().to_string()),
            ),
            Err(_) => {}
        }
        if !folder.mixed && !is_packed {
            let inner = vendor::folders(&folder.path);
            inner.iter().for_each(|below| self.vendor_folder(&folder.path, below, folder));
        }
    }

    /// Adds an entry for a vendor's folder.
    fn vendor_folder(&mut self, plugins: &Path, below: &Path, folder: &Folder) {
        let path = plugins.join(below);
        let path = fs::canonicalize(&path).unwrap_or(path);
        if !self.seen.insert(path.clone()) {
            return;
        }
        let mut entry = Entry::unknown(&plugins.join(below));
        let named = below.components().next().map(|name| name.as_os_str().to_owned());
        entry.name = named
            .or_else(|| path.file_name().map(Into::into))
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        entry.is_packed = true;
        match self.examine_vendor(&mut entry, plugins, below, folder) {
            Err(error) => self.entries.push(entry.refused(error)),
            Ok(()) => self.entries.push(entry),
        }
    }

    /// Fills in the entry of a vendor's folder, up to the first check that fails.
    fn examine_vendor(
        &mut self,
        entry: &mut Entry,
        plugins: &Path,
        below: &Path,
        folder: &Folder,
    ) -> Result<()> {
        let vendor = VendorFolder::open(plugins, below)?;
        vendor.tell(entry);
        self.ensure_free(&vendor.package.name, &entry.path, folder)?;
        vendor.judge(&self.policy, entry)?;
        let sealed = vendor.seal()?;
        let probed = probe(&mut self.cache, &self.prober, entry, || Ok(sealed))?;
        vendor.package.ensure_same(&probed)?;
        entry.abi = Some(probed.abi);
        entry.descriptor = Some(probed.descriptor.clone());
        ensure_sane(&probed)
    }

    /// Adds an entry for one library, unless it is a foreign library in the program's own folder.
    fn library(&mut self, path: &Path, folder: &Folder) {
        // The search path may contain a folder twice.
        if !self.seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())) {
            return;
        }
        let mut entry = Entry::unknown(path);
        match self.examine(&mut entry, folder) {
            Err(error) if folder.mixed && elf::is_something_else(&error) => {}
            Err(error) => self.entries.push(entry.refused(error)),
            Ok(()) => self.entries.push(entry),
        }
    }

    /// Fills in the entry, up to the first check that fails.
    fn examine(&mut self, entry: &mut Entry, folder: &Folder) -> Result<()> {
        let lost = |error: io::Error| Error::from(error).with_code(code::PLUGIN_FILE);
        let file = File::open(&entry.path).map_err(lost)?;
        elf::ensure_plugin(&file)?;
        access::ensure_own(&entry.path)?;
        entry.sha256 = check::sha256(&file).map_err(lost)?;
        let listing = listing(&self.manifests, &entry.path)?;
        if let Some((_, listing)) = listing {
            entry.name.clone_from(&listing.name);
            listing.ensure_hash(&entry.sha256)?;
        }
        let trust = trust(&self.policy, listing, &entry.path, &entry.sha256)?;
        entry.trust = Some(trust);
        entry.isolation = policy::isolation(trust, None);
        let path = entry.path.clone();
        let probed = probe(&mut self.cache, &self.prober, entry, || Sealed::copy(&path))?;
        entry.name.clone_from(&probed.descriptor.name);
        entry.version = Some(probed.descriptor.version.clone());
        entry.roles = Role::of(&probed.descriptor);
        entry.abi = Some(probed.abi);
        entry.descriptor = Some(probed.descriptor.clone());
        match listing {
            Some((manifest, listing)) => listing.ensure_same(&probed, manifest.is_exact())?,
            None => self.ensure_free(&probed.descriptor.name, &entry.path, folder)?,
        }
        ensure_sane(&probed)
    }

    /// Refuses a library that takes the name of one that a manifest lists. In a folder that the user
    /// named and that is not the manifest's, it stands in for the listed one.
    fn ensure_free(&self, name: &str, library: &Path, folder: &Folder) -> Result<()> {
        let claims = |manifest: &&Manifest| !folder.required || manifest.governs(library);
        for manifest in self.manifests.iter().filter(claims) {
            if let Some(listing) = manifest.listings().iter().find(|listing| listing.name == name) {
                let (owner, file) = (&listing.library, manifest.file().display());
                let message = format!("the name `{name}` belongs to `{owner}`, listed in `{file}`");
                return Err(Error::denied(message)
                    .with_code(code::PLUGIN_MANIFEST)
                    .hint("to use it in place of the listed one, name its folder with --plugins"));
            }
        }
        Ok(())
    }
}

/// The manifests of the search path, and why others are ignored.
pub(super) fn manifests(search: &SearchPath) -> (Vec<Manifest>, Vec<Error>) {
    let (mut manifests, mut ignored) = (Vec::new(), Vec::new());
    for place in search.manifest_folders() {
        match Manifest::find(&place) {
            Ok(found) => manifests.extend(found),
            Err(strange) => ignored.push(strange),
        }
    }
    if !manifests.iter().any(Manifest::is_of_installation) {
        manifests.extend(search.beside_program().map(Manifest::of_sources));
    }
    (manifests, ignored)
}

/// Why a library may run: it belongs to the installation, or such libraries are allowed.
///
/// # Errors
/// `PLUGIN-REVOKED`, or as for [`Policy::judge_library`].
pub(super) fn trust(
    policy: &Policy,
    listing: Option<(&Manifest, &Listing)>,
    library: &Path,
    sha256: &str,
) -> Result<Trust> {
    let name = listing.map(|(_, listing)| listing.name.as_str());
    policy.ensure_not_revoked(&Claims { name, sha256: Some(sha256), ..Claims::default() })?;
    if listing.is_some_and(|(manifest, _)| manifest.is_of_installation()) {
        return Ok(Trust::Builtin);
    }
    policy.judge_library(library, sha256)
}

fn relative(path: &Path) -> Error {
    let message = format!("`{}` in TRANSLOAD_PLUGIN_PATH is not searched", path.display());
    Error::options(format!("{message}: it is relative"))
        .with_code(code::PLUGIN_FOLDER)
        .hint("write the folder in full, or give it with --plugins")
}

/// The cached result of a probe, or a new one.
fn probe(
    cache: &mut ProbeCache,
    prober: &Prober,
    entry: &Entry,
    seal: impl FnOnce() -> Result<Sealed>,
) -> Result<Probed> {
    let metadata = fs::metadata(&entry.path)?;
    let identity = Identity::new(&metadata, &entry.sha256);
    if let Some(known) = cache.get(&entry.path, &identity) {
        return Ok(known);
    }
    let sealed = seal()?;
    sealed.ensure_same(&entry.sha256)?;
    let probed = prober.probe(&sealed)?;
    cache.put(&entry.path, identity, &probed);
    Ok(probed)
}

/// Refuses a plugin with an inconsistent descriptor, and lists all mistakes.
fn ensure_sane(probed: &Probed) -> Result<()> {
    let problems = sanity::problems(&probed.descriptor);
    if problems.is_empty() {
        return Ok(());
    }
    let details: Vec<String> = problems
        .into_iter()
        .map(|problem| format!("{}: {}", problem.stage, problem.detail))
        .collect();
    Err(Error::defect(format!("its descriptor is inconsistent: {}", details.join("; ")))
        .with_code(code::PLUGIN_DESCRIPTOR))
}

/// The entry of a library in the first manifest that governs it and lists it.
pub(super) fn listing<'a>(
    manifests: &'a [Manifest],
    library: &Path,
) -> Result<Option<(&'a Manifest, &'a Listing)>> {
    for manifest in manifests.iter().filter(|manifest| manifest.governs(library)) {
        if let Some(listing) = manifest.listing(library)? {
            return Ok(Some((manifest, listing)));
        }
    }
    Ok(None)
}

/// Entries for libraries that a manifest lists and that were not found where it governs.
fn missing(manifests: &[Manifest], entries: &[Entry]) -> Vec<Entry> {
    let mut missing = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.is_exact()) {
        for listing in manifest.listings() {
            let is_it = |entry: &&Entry| {
                manifest.governs(&entry.path) && entry.path.ends_with(&listing.library)
            };
            if !entries.iter().any(|entry| is_it(&entry)) {
                let mut entry = Entry::unknown(&manifest.folder().join(&listing.library));
                entry.name.clone_from(&listing.name);
                let message = format!("listed in `{}`, but missing", manifest.file().display());
                let error = Error::not_found(message).with_code(code::PLUGIN_MISSING);
                missing.push(entry.refused(error));
            }
        }
    }
    missing
}

/// Of several usable libraries with one name, the first is used.
fn shadow(entries: &mut [Entry]) {
    let mut first: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in entries.iter_mut().filter(|entry| entry.is_ok()) {
        match first.get(&entry.name) {
            Some(by) => entry.status = Status::Shadowed { by: by.clone() },
            None => drop(first.insert(entry.name.clone(), entry.path.clone())),
        }
    }
}

/// The shared libraries of a folder, sorted by name.
fn libraries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        if path.extension().is_some_and(|extension| extension == "so") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(folder: &Path, mixed: bool) -> Vec<Entry> {
        let search = SearchPath::only(&[]).probe_with("/no/such/program");
        let mut scan = Scan::new(&search);
        scan.folder(&Folder { required: true, mixed, ..Folder::new(folder) });
        scan.entries
    }

    #[test]
    fn other_libraries_are_passed_over_beside_the_program_only() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libother.so"), "no plugin").unwrap();
        fs::write(folder.path().join("libdamaged.so"), b"\x7fELF").unwrap();
        let names = |mixed| -> Vec<String> {
            found_in(folder.path(), mixed).into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names(false), ["damaged", "other"]);
        assert_eq!(names(true), ["damaged"]);
    }

    #[test]
    fn a_folder_that_stands_twice_is_searched_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libother.so"), "no plugin").unwrap();
        let other_spelling = folder.path().join(".");
        let search = SearchPath::only(&[folder.path().to_owned(), other_spelling]);
        assert_eq!(scan(&search).entries.len(), 1);
    }

    #[test]
    fn of_one_name_the_first_usable_one_stays() {
        let entry = |path: &str, refused: bool| {
            let entry = Entry { name: "x".to_owned(), ..Entry::unknown(Path::new(path)) };
            let reason = || Error::data("damaged");
            if refused { entry.refused(reason()) } else { entry }
        };
        let mut entries = [entry("/1", true), entry("/2", false), entry("/3", false)];
        shadow(&mut entries);
        assert!(entries[1].is_ok());
        assert!(matches!(&entries[2].status, Status::Shadowed { by } if by == Path::new("/2")));
        assert_eq!(crate::catalog::lookup::usable(&entries, "x").unwrap().path, Path::new("/2"));
    }
}
