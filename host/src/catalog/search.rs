//! The folders that are searched for plugins, and their order.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The folders to search, in order, with the program and the cache for probing.
#[derive(Clone, Debug)]
pub struct SearchPath {
    folders: Vec<Folder>,
    /// Folders of the environment that are not searched, because they are relative.
    refused: Vec<PathBuf>,
    program: PathBuf,
    cache: Option<PathBuf>,
}

/// A folder that may hold a manifest.
pub(super) struct ManifestPlace<'a> {
    pub(super) folder: &'a Path,
    /// It is not searched for libraries itself; a folder below it is.
    pub(super) is_above: bool,
}

/// One folder to search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// The user named it, so it must exist.
    pub(super) required: bool,
    /// The program's own folder, which may hold libraries that are not plugins.
    pub(super) mixed: bool,
}

impl Folder {
    fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), required: false, mixed: false }
    }
}

impl SearchPath {
    /// The default order: the given folders (`--plugins`), `TRANSLOAD_PLUGIN_PATH`, `plugins` beside
    /// the program, the program's folder, the user's folder, the system's folders.
    pub fn usual(given: &[PathBuf]) -> Self {
        let program = env::current_exe().unwrap_or_default();
        let (environment, refused) =
            from_environment().into_iter().partition::<Vec<_>, _>(|path| path.is_absolute());
        let named = given.iter().cloned().chain(environment);
        let mut folders: Vec<Folder> =
            named.map(|path| Folder { required: true, ..Folder::new(path) }).collect();
        if let Some(beside) = program.parent() {
            folders.push(Folder::new(beside.join("plugins")));
            folders.push(Folder { mixed: true, ..Folder::new(beside) });
        }
        folders.extend(
            user_folder("XDG_DATA_HOME", ".local/share")
                .map(|data| Folder::new(data.join("plugins"))),
        );
        folders.push(Folder::new("/usr/lib/transload/plugins"));
        folders.push(Folder::new("/usr/local/lib/transload/plugins"));
        let cache = user_folder("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("probe.json"));
        Self { folders, refused, program, cache }
    }

    /// Only these folders, without a cache: for tests and other programs.
    pub fn only(folders: &[PathBuf]) -> Self {
        let required = |path: &PathBuf| Folder { required: true, ..Folder::new(path) };
        Self {
            folders: folders.iter().map(required).collect(),
            refused: Vec::new(),
            program: env::current_exe().unwrap_or_default(),
            cache: None,
        }
    }

    /// Probes with this program, which must have the command
    /// `__probe`; otherwise the running program does it.
    #[must_use]
    pub fn probe_with(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Caches probe results in this file.
    #[must_use]
    pub fn cache_in(mut self, file: impl Into<PathBuf>) -> Self {
        self.cache = Some(file.into());
        self
    }

    /// The same with one more folder, if there is one.
    pub(super) fn and(mut self, folder: Option<&Path>) -> Self {
        self.folders.extend(folder.map(Folder::new));
        self
    }

    /// The folders in search order.
    pub(super) fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// The program that probes.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The file of the probe cache.
    pub(super) fn cache(&self) -> Option<PathBuf> {
        self.cache.clone()
    }

    /// Folders that the environment names and that are not searched.
    pub(super) fn refused(&self) -> &[PathBuf] {
        &self.refused
    }

    /// The folders that may hold a manifest: each folder and the one above it.
    pub(super) fn manifest_folders(&self) -> Vec<ManifestPlace<'_>> {
        let mut places: Vec<ManifestPlace<'_>> = Vec::new();
        for folder in &self.folders {
            // The folder above the program's own does not belong to the installation.
            let above = folder.path.parent().filter(|_| !folder.mixed);
            for folder in [Some(folder.path.as_path()), above].into_iter().flatten() {
                if !places.iter().any(|place| place.folder == folder) {
                    let is_above = !self.folders.iter().any(|searched| searched.path == folder);
                    places.push(ManifestPlace { folder, is_above });
                }
            }
        }
        places
    }
}

/// The folders of `TRANSLOAD_PLUGIN_PATH`, joined by `:`.
fn from_environment() -> Vec<PathBuf> {
    let list = env::var_os("TRANSLOAD_PLUGIN_PATH").unwrap_or_default();
    env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The program's folder in one of the XDG base directories
/// (<https://specifications.freedesktop.org/basedir-spec/latest/>): relative values are ignored.
fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(below_home)))?;
    Some(base.join("transload"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_order_is_given_beside_user_system() {
        let search = SearchPath::usual(&[PathBuf::from("/given")]);
        let beside = env::current_exe().unwrap().parent().unwrap().to_owned();
        let place = |path: &Path| {
            let found = search.folders().iter().position(|folder| folder.path == path);
            found.unwrap_or_else(|| panic!("{} is not searched", path.display()))
        };
        let order = [
            place(Path::new("/given")),
            place(&beside.join("plugins")),
            place(&beside),
            place(Path::new("/usr/lib/transload/plugins")),
            place(Path::new("/usr/local/lib/transload/plugins")),
        ];
        assert!(order.is_sorted(), "{:?}", search.folders());
        assert!(search.folders()[place(&beside)].mixed);
        assert!(search.manifest_folders().iter().any(|place| place.folder == beside));
    }
}
