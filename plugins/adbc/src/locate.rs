//! Finds the library of a driver: by its path, by a manifest, or by a name that is looked for where
//! ADBC says. Loads nothing.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use transload_plugin_api::{Error, Result, code};

/// A driver's library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) library: PathBuf,
    /// What the job or the manifest names, or else the usual ones.
    pub(crate) entrypoints: Vec<String>,
    pub(crate) manifest: Option<PathBuf>,
}

/// The folders in which names are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SearchPath {
    /// For manifests and libraries, in this order.
    pub(crate) drivers: Vec<PathBuf>,
    /// For libraries alone: those of the system's loader.
    pub(crate) libraries: Vec<PathBuf>,
}

impl SearchPath {
    /// `additional` of the job, `ADBC_DRIVER_PATH`, the conda environment, the user's and the
    /// system's folder, and behind them `LD_LIBRARY_PATH`.
    pub(crate) fn new(additional: &[PathBuf]) -> Self {
        let list = |name: &str| -> Vec<PathBuf> {
            let value = env::var_os(name).unwrap_or_default();
            env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect()
        };
        let folder = |name: &str, below: &str| {
            let value = env::var_os(name).filter(|value| !value.is_empty());
            value.map(|value| Path::new(&value).join(below))
        };
        let mut drivers = additional.to_vec();
        drivers.extend(list("ADBC_DRIVER_PATH"));
        drivers.extend(folder("CONDA_PREFIX", "etc/adbc/drivers"));
        let user = folder("XDG_CONFIG_HOME", "adbc/drivers");
        drivers.extend(user.or_else(|| folder("HOME", ".config/adbc/drivers")));
        drivers.push(PathBuf::from("/etc/adbc/drivers"));
        Self { drivers, libraries: list("LD_LIBRARY_PATH") }
    }
}

/// `adbc.toml` of a driver, as far as it is needed here.
#[derive(Deserialize)]
struct Manifest {
    manifest_version: Option<i64>,
    #[serde(rename = "Driver")]
    driver: Option<ManifestDriver>,
}

#[derive(Deserialize)]
struct ManifestDriver {
    entrypoint: Option<String>,
    shared: Option<Shared>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Shared {
    Path(String),
    Platforms(std::collections::BTreeMap<String, String>),
}

/// Finds what `driver` of the job names.
pub(crate) fn locate(
    driver: &str,
    entrypoint: Option<&str>,
    search: &SearchPath,
) -> Result<Located> {
    let found = match driver.contains('/') {
        true => by_path(Path::new(driver))?,
        false => by_name(driver, search)?,
    };
    let is_manifest = found.extension().is_some_and(|extension| extension == "toml");
    let (library, named, manifest) = if is_manifest {
        let (library, named) = read_manifest(&found)?;
        (library, named, Some(found))
    } else {
        (found, None, None)
    };
    let named = entrypoint.map(str::to_owned).or(named);
    let entrypoints = named.map_or_else(|| usual_entrypoints(&library), |name| vec![name]);
    Ok(Located { library, entrypoints, manifest })
}

fn not_found(message: String) -> Error {
    Error::not_found(message).with_code(code::ADBC_DRIVER).of_key("driver")
}

fn by_path(path: &Path) -> Result<PathBuf> {
    if path.is_relative() {
        let message = format!("`{}` is a relative path", path.display());
        return Err(Error::options(message)
            .with_code(code::ADBC_DRIVER)
            .of_key("driver")
            .hint("write the absolute path, or the driver's name"));
    }
    let tried = match path.extension() {
        Some(_) => vec![path.to_owned()],
        None => vec![path.with_extension("toml"), path.with_extension("so")],
    };
    tried.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        not_found(format!("there is no driver `{}`", path.display())).hint(looked(&tried))
    })
}

fn by_name(name: &str, search: &SearchPath) -> Result<PathBuf> {
    let bare = Path::new(name);
    let names = match bare.extension().and_then(|extension| extension.to_str()) {
        Some("toml" | "so") => vec![name.to_owned()],
        _ => vec![format!("{name}.toml"), format!("{name}.so")],
    };
    let in_drivers =
        search.drivers.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    let libraries = [format!("{name}.so"), format!("lib{name}.so")];
    let in_libraries = search
        .libraries
        .iter()
        .flat_map(|folder| libraries.iter().map(move |name| folder.join(name)));
    let found = in_drivers.chain(in_libraries).find(|path| path.is_file());
    found.ok_or_else(|| {
        let folders: Vec<_> = search.drivers.iter().chain(&search.libraries).cloned().collect();
        not_found(format!("there is no driver `{name}`")).hint(looked(&folders))
    })
}

fn looked(places: &[PathBuf]) -> String {
    let places: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
    format!(
        "looked in {}; install the driver there, or write the path of its library into `driver`",
        places.join(", ")
    )
}

/// The library and entry point that a manifest names.
fn read_manifest(path: &Path) -> Result<(PathBuf, Option<String>)> {
    let refuse = |message: String| {
        Error::options(message).with_code(code::ADBC_MANIFEST).at(path.display().to_string())
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::from(error).at(path.display().to_string()).of_key("driver"))?;
    let manifest: Manifest = toml::from_str(&text)
        .map_err(|error| refuse(format!("not a driver's manifest: {}", error.message())))?;
    if let Some(version) = manifest.manifest_version.filter(|version| *version != 1) {
        return Err(refuse(format!("the manifest is of version {version}, and 1 is known")));
    }
    let driver =
        manifest.driver.ok_or_else(|| refuse("the manifest has no [Driver]".to_owned()))?;
    let library = match driver.shared {
        Some(Shared::Path(library)) => library,
        Some(Shared::Platforms(mut platforms)) => {
            let platform = platform();
            platforms.remove(&platform).ok_or_else(|| {
                let known: Vec<_> = platforms.keys().map(String::as_str).collect();
                refuse(format!("the manifest has no library for `{platform}`"))
                    .hint(format!("it has libraries for {}", known.join(", ")))
            })?
        }
        None => return Err(refuse("the manifest has no `Driver.shared`".to_owned())),
    };
    if library.is_empty() {
        return Err(refuse("`Driver.shared` is empty".to_owned()));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    Ok((folder.join(library), driver.entrypoint.filter(|name| !name.is_empty())))
}

/// This machine as manifests name it.
fn platform() -> String {
    let arch = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let musl = if cfg!(target_env = "musl") { "_musl" } else { "" };
    format!("{}_{arch}{musl}", env::consts::OS)
}

/// The entry points of a library that nothing names: `AdbcDriverSqliteInit` of
/// `libadbc_driver_sqlite.so`, then `AdbcDriverInit`.
fn usual_entrypoints(library: &Path) -> Vec<String> {
    let name = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.split('.').next().unwrap_or_default();
    let name = name.strip_prefix("lib").unwrap_or(name);
    let mut own = String::new();
    for word in name.split(['_', '-']) {
        let mut letters = word.chars();
        own.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        own.push_str(letters.as_str());
    }
    let own = if own.starts_with("Adbc") { own } else { format!("Adbc{own}") };
    vec![format!("{own}Init"), "AdbcDriverInit".to_owned()]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn search(folder: &Path) -> SearchPath {
        SearchPath { drivers: vec![folder.to_owned()], libraries: Vec::new() }
    }

    #[test]
    fn a_name_leads_to_the_library_for_this_platform() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "manifest_version = 1\nname = 'Acme'\n[ADBC]\nversion = '1.1.0'\n[Driver]\n\
             entrypoint = 'acme_init'\n[Driver.shared]\n{} = '/opt/acme.so'\nplan9_mips = 'x'\n",
            platform()
        );
        let manifest = folder.path().join("acme.toml");
        fs::write(&manifest, text).unwrap();
        let expected = Located {
            library: "/opt/acme.so".into(),
            entrypoints: vec!["acme_init".to_owned()],
            manifest: Some(manifest.clone()),
        };
        let path = search(folder.path());
        for name in ["acme", "acme.toml", manifest.to_str().unwrap()] {
            assert_eq!(locate(name, None, &path).unwrap(), expected, "{name}");
        }
        let named = locate("acme", Some("other_init"), &path).unwrap();
        assert_eq!(named.entrypoints, ["other_init"]);
    }

    #[test]
    fn what_is_not_there_says_where_it_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = locate("acme", None, &search(folder.path())).unwrap_err();
        assert_eq!(error.code, code::ADBC_DRIVER);
        let hint = error.hint.unwrap();
        assert!(hint.contains(&folder.path().display().to_string()), "{hint}");
        let error = locate("lib/acme.so", None, &search(folder.path())).unwrap_err();
        assert!(error.message.contains("relative path"), "{error}");
        let error = locate("/nowhere/acme", None, &SearchPath::default()).unwrap_err();
        assert!(error.hint.unwrap().contains("/nowhere/acme.toml, /nowhere/acme.so"));
    }

    #[test]
    fn a_manifest_that_cannot_be_used_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        for (text, words) in [
            ("[Driver.shared]\nplan9_mips = 'x'\n", "no library for"),
            ("[Driver]\nentrypoint = 'x'\n", "no `Driver.shared`"),
            ("[Driver]\nshared = ''\n", "is empty"),
            ("name = 'x'\n", "no [Driver]"),
            ("manifest_version = 2\n[Driver]\nshared = 'x'\n", "of version 2"),
            ("{", "not a driver's manifest"),
        ] {
            fs::write(folder.path().join("acme.toml"), text).unwrap();
            let error = locate("acme", None, &search(folder.path())).unwrap_err();
            assert_eq!(error.code, code::ADBC_MANIFEST, "{text}");
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn entry_points_follow_from_the_name_of_the_library() {
        let of = |name: &str| usual_entrypoints(Path::new(name));
        assert_eq!(of("/x/libadbc_driver_sqlite.so.1")[0], "AdbcDriverSqliteInit");
        assert_eq!(of("acme.so"), ["AdbcAcmeInit", "AdbcDriverInit"]);
    }
}
