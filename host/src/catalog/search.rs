//! The folders that are searched for plugins, and their order.

use std::{
    env,
    path::{Path, PathBuf},
};

use transload_plugin_api::{Error, Result, code};

use super::install::Places;

/// Where administrators configure the program.
const SYSTEM_CONFIG: &str = "/etc/transload";

/// The folders to search, in order, with the program and the cache for probing.
#[derive(Clone, Debug)]
pub struct SearchPath {
    folders: Vec<Folder>,
    /// Folders of the environment that are not searched, because they are relative.
    refused: Vec<PathBuf>,
    program: PathBuf,
    cache: Option<PathBuf>,
    trust: TrustFiles,
}

/// What decides about plugins that do not belong to the installation.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustFiles {
    /// The folders with `trust.toml` and `plugins.lock`; the first one has the last word.
    pub(super) folders: Vec<PathBuf>,
    /// The user allows plugins that no one vouches for.
    pub(super) allow_unsigned: bool,
}

/// A folder that may hold a manifest.
pub(super) struct ManifestPlace<'a> {
    pub(super) folder: &'a Path,
    /// It belongs to the installation.
    pub(super) is_installed: bool,
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
    /// It belongs to the installation.
    pub(super) installed: bool,
}

impl Folder {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), required: false, mixed: false, installed: false }
    }

    fn of_installation(path: impl Into<PathBuf>) -> Self {
        Self { installed: true, ..Self::new(path) }
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
            folders.push(Folder::of_installation(beside.join("plugins")));
            folders.push(Folder { mixed: true, ..Folder::of_installation(beside) });
        }
        folders.extend(
            user_folder("XDG_DATA_HOME", ".local/share")
                .map(|data| Folder::new(data.join("plugins"))),
        );
        folders.push(Folder::of_installation("/usr/lib/transload/plugins"));
        folders.push(Folder::of_installation("/usr/local/lib/transload/plugins"));
        let cache = user_folder("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("probe.json"));
        let user = user_folder("XDG_CONFIG_HOME", ".config");
        let configured = [Some(PathBuf::from(SYSTEM_CONFIG)), user].into_iter().flatten();
        let trust = TrustFiles { folders: configured.collect(), allow_unsigned: false };
        Self { folders, refused, program, cache, trust }
    }

    /// Only these folders, without a cache: for tests and other programs. Whoever names folders in
    /// code vouches for what is in them.
    pub fn only(folders: &[PathBuf]) -> Self {
        let required = |path: &PathBuf| Folder { required: true, ..Folder::new(path) };
        Self {
            folders: folders.iter().map(required).collect(),
            refused: Vec::new(),
            program: env::current_exe().unwrap_or_default(),
            cache: None,
            trust: TrustFiles { allow_unsigned: true, ..TrustFiles::default() },
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

    /// Decides about plugins by the `trust.toml` and `plugins.lock` of this folder.
    #[must_use]
    pub fn decided_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.trust = TrustFiles { folders: vec![folder.into()], allow_unsigned: false };
        self
    }

    /// The same without the results of earlier probes.
    pub(crate) fn without_cache(mut self) -> Self {
        self.cache = None;
        self
    }

    /// Where plugins are installed and decided about: for this user, or for all.
    ///
    /// # Errors
    /// If this user has no home.
    pub(crate) fn places(for_all: bool) -> Result<Places> {
        if for_all {
            let plugins = PathBuf::from("/usr/local/lib/transload/plugins");
            return Ok(Places { plugins, config: SYSTEM_CONFIG.into() });
        }
        let plugins = user_folder("XDG_DATA_HOME", ".local/share").map(|data| data.join("plugins"));
        let config = user_folder("XDG_CONFIG_HOME", ".config");
        plugins.zip(config).map(|(plugins, config)| Places { plugins, config }).ok_or_else(|| {
            Error::options("this user has no home folder")
                .with_code(code::PLUGIN_FOLDER)
                .hint("set HOME, or add --system")
        })
    }

    /// Loads plugins that no one vouches for, unless the configuration forbids it.
    #[must_use]
    pub fn allow_unsigned(mut self, allow: bool) -> Self {
        self.trust.allow_unsigned |= allow;
        self
    }

    /// What decides about plugins that do not belong to the installation.
    pub(super) fn trust(&self) -> &TrustFiles {
        &self.trust
    }

    /// The program's own folder, if it is searched.
    pub(super) fn beside_program(&self) -> Option<&Path> {
        let own = self.folders.iter().find(|folder| folder.mixed);
        own.map(|folder| folder.path.as_path())
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
                    let is_installed = self.is_installed(folder);
                    places.push(ManifestPlace { folder, is_installed, is_above });
                }
            }
        }
        places
    }
}

impl SearchPath {
    /// Whether a folder, or one directly below it, belongs to the installation.
    fn is_installed(&self, folder: &Path) -> bool {
        self.folders.iter().filter(|searched| searched.installed).any(|searched| {
            searched.path == folder || !searched.mixed && searched.path.parent() == Some(folder)
        })
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
