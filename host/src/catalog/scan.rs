//! Scans the search path: every library passes the checks in order, up to the first that fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use transload_plugin_api::{Error, Result, code};

use super::{
    cache::{Identity, ProbeCache},
    check, elf,
    entry::{Entry, Status},
    manifest::{Listing, Manifest},
    probe::{Probed, Prober},
    role::Role,
    sanity,
    search::{Folder, SearchPath},
};

/// All libraries of the search path, and the problems that concern no single library.
pub(super) fn scan(search: &SearchPath) -> (Vec<Entry>, Vec<Error>) {
    let mut scan = Scan::new(search);
    for folder in search.folders() {
        scan.folder(folder);
    }
    let mut entries = scan.entries;
    entries.extend(missing(&scan.manifests, &entries));
    shadow(&mut entries);
    scan.cache.save();
    (entries, scan.problems)
}

/// A scan in progress.
struct Scan {
    entries: Vec<Entry>,
    problems: Vec<Error>,
    seen: BTreeSet<PathBuf>,
    manifests: Vec<Manifest>,
    cache: ProbeCache,
    prober: Prober,
}

impl Scan {
    fn new(search: &SearchPath) -> Self {
        let manifests: Vec<Manifest> =
            search.manifest_folders().into_iter().filter_map(Manifest::find).collect();
        Self {
            entries: Vec::new(),
            problems: manifests.iter().filter_map(|manifest| manifest.problem().cloned()).collect(),
            seen: BTreeSet::new(),
            manifests,
            cache: ProbeCache::open(search.cache()),
            prober: Prober::new(search.program().to_owned()),
        }
    }

    /// Scans one folder. Only a folder that the user named must exist.
    fn folder(&mut self, folder: &Folder) {
        match libraries(&folder.path) {
            Ok(paths) => paths.iter().for_each(|path| self.library(path, folder)),
            Err(error) if folder.required => self.problems.push(
                Error::from(error)
                    .with_code(code::PLUGIN_FOLDER)
                    .at(folder.path.display().to_string()),
            ),
            Err(_) => {}
        }
    }

    /// Adds an entry for one library, unless it is a foreign library in the program's own folder.
    fn library(&mut self, path: &Path, folder: &Folder) {
        // The search path may contain a folder twice.
        if !self.seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())) {
            return;
        }
        let mut entry = Entry::unknown(path);
        match self.examine(&mut entry) {
            Err(error) if folder.mixed && elf::is_something_else(&error) => {}
            Err(error) => self.entries.push(entry.refused(error)),
            Ok(()) => self.entries.push(entry),
        }
    }

    /// Fills in the entry, up to the first check that fails.
    fn examine(&mut self, entry: &mut Entry) -> Result<()> {
        let lost = |error: io::Error| Error::from(error).with_code(code::PLUGIN_FILE);
        let file = File::open(&entry.path).map_err(lost)?;
        elf::ensure_plugin(&file)?;
        entry.sha256 = check::sha256(&file).map_err(lost)?;
        let listing = listing(&self.manifests, &entry.path)?;
        if let Some(listing) = listing {
            entry.listed = true;
            entry.name.clone_from(&listing.name);
            listing.ensure_hash(&entry.sha256)?;
        }
        let probed = probe(&mut self.cache, &self.prober, entry)?;
        entry.name.clone_from(&probed.descriptor.name);
        entry.version = Some(probed.descriptor.version.clone());
        entry.roles = Role::of(&probed.descriptor);
        entry.abi = Some(probed.abi);
        entry.descriptor = Some(probed.descriptor.clone());
        if let Some(listing) = listing {
            listing.ensure_same(&probed)?;
        }
        ensure_sane(&probed)
    }
}

/// The cached result of a probe, or a new one.
fn probe(cache: &mut ProbeCache, prober: &Prober, entry: &Entry) -> Result<Probed> {
    let metadata = fs::metadata(&entry.path)?;
    let identity = Identity::new(&metadata, &entry.sha256);
    if let Some(known) = cache.get(&entry.path, &identity) {
        return Ok(known);
    }
    let probed = prober.probe(&entry.path)?;
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
fn listing<'a>(manifests: &'a [Manifest], library: &Path) -> Result<Option<&'a Listing>> {
    for manifest in manifests.iter().filter(|manifest| manifest.governs(library)) {
        if let Some(listing) = manifest.listing(library)? {
            return Ok(Some(listing));
        }
    }
    Ok(None)
}

/// Entries for libraries that a manifest lists and that were not found where it governs.
fn missing(manifests: &[Manifest], entries: &[Entry]) -> Vec<Entry> {
    let mut missing = Vec::new();
    for manifest in manifests {
        for listing in manifest.listings() {
            let is_it = |entry: &&Entry| {
                manifest.governs(&entry.path) && entry.path.ends_with(&listing.library)
            };
            if !entries.iter().any(|entry| is_it(&entry)) {
                let mut entry = Entry::unknown(&manifest.folder().join(&listing.library));
                entry.name.clone_from(&listing.name);
                entry.listed = true;
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
        scan.folder(&Folder { path: folder.to_owned(), required: true, mixed });
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
        assert_eq!(scan(&search).0.len(), 1);
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
