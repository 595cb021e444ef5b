//! Makes a plugin's folder from its libraries: the manifest with what each library says about itself,
//! its hash and the libraries that it needs. `minisign` signs it, so that no secret key is read here.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result, code};

use super::{
    access,
    capabilities::Capabilities,
    check::{sha256, sha256_of},
    elf,
    linkage::Linkage,
    manifest::FILE_NAME,
    package::{self, ABI_NAME, AbiOf, Conformance, Library, MANIFEST_VERSION, OtherFile, Package},
    probe::{Probed, Prober},
    role::Role,
    sanity,
    sealed::Sealed,
    search::SearchPath,
    signature::EXTENSION,
    vendor::VendorFolder,
    version::Version,
};

/// What `plugin pack` is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackRequest {
    /// A library, or a folder with everything that is to be shipped.
    pub(crate) source: PathBuf,
    /// In which the folder `NAME/VERSION` is made.
    pub(crate) out: PathBuf,
    pub(crate) publisher: Option<String>,
    pub(crate) license: Option<String>,
    /// The secret key that `minisign` signs with.
    pub(crate) key: Option<PathBuf>,
}

/// What was made.
#[derive(Debug, Serialize)]
pub(crate) struct Packed {
    /// The plugin's folder.
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) version: String,
    /// Which libraries it has.
    pub(crate) platforms: Vec<String>,
    /// Which key signed it.
    pub(crate) key_id: Option<String>,
    /// The command that signs it, if nothing has.
    pub(crate) sign: Option<String>,
}

/// The manifest in a source folder: what no library says about itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    publisher: Option<String>,
    key_id: Option<String>,
    license: Option<String>,
    description: Option<String>,
    min_host: Option<Version>,
    capabilities: Option<Capabilities>,
    conformance: Option<Conformance>,
}

/// What a source has.
struct Source {
    draft: Draft,
    libraries: Vec<PathBuf>,
    /// Other files, by their path in the folder.
    files: Vec<(PathBuf, PathBuf)>,
}

/// Packs a plugin.
///
/// # Errors
/// For a library that would be refused, for what the manifest lacks, and for a folder that exists.
pub(crate) fn pack(request: &PackRequest, search: &SearchPath) -> Result<Packed> {
    let source = Source::read(&request.source)?;
    let (mut libraries, mut own) = (Vec::new(), None);
    for path in &source.libraries {
        let (library, probed) = library(path, search).map_err(|error| at(error, path))?;
        own = own.or(probed);
        libraries.push((library, path.clone()));
    }
    let probed = own.ok_or_else(|| {
        let message = format!("there is no library for {} in it", package::platform());
        cannot(&message, &request.source)
            .hint("pack on a machine that one of the libraries was built for")
    })?;
    let package = manifest(request, &source, &libraries, &probed)?;
    let folder = write(request, &package, &source, &libraries)?;
    let key_id = match &request.key {
        Some(key) => sign(&folder, key, &package).map(Some),
        None => Ok(None),
    };
    // As an installation would see it.
    let checked = key_id.and_then(|key_id| VendorFolder::at(&folder)?.seal().map(|_| key_id));
    let key_id = checked.inspect_err(|_| drop(fs::remove_dir_all(&folder)))?;
    let named = format!("{}@{}", package.name, package.version);
    let unsigned = key_id.is_none();
    let manifest = folder.join(FILE_NAME);
    Ok(Packed {
        sign: unsigned.then(|| format!("minisign -S -s KEY -m {} -t {named}", manifest.display())),
        folder,
        name: package.name,
        version: package.version.to_string(),
        platforms: package.libraries.into_iter().map(|library| library.platform).collect(),
        key_id,
    })
}

impl Source {
    fn read(path: &Path) -> Result<Self> {
        let mut source = Self { draft: Draft::default(), libraries: vec![], files: vec![] };
        if path.is_file() {
            source.libraries.push(path.to_owned());
            return Ok(source);
        }
        source.folder(path, Path::new("")).map_err(|error| at(error, path))?;
        Ok(source)
    }

    fn folder(&mut self, root: &Path, inner: &Path) -> Result<()> {
        let mut entries: Vec<_> =
            fs::read_dir(root.join(inner))?.collect::<std::io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, inner) = (entry.path(), inner.join(entry.file_name()));
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == format!("{FILE_NAME}{EXTENSION}") {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.folder(root, &inner)?;
            } else if !kind.is_file() {
                return Err(cannot("only files and folders are packed", &path));
            } else if inner == Path::new(FILE_NAME) {
                let text = fs::read_to_string(&path)?;
                self.draft = package::DOCUMENT.parse(&text, &path)?;
            } else if path.extension().is_some_and(|extension| extension == "so") {
                self.libraries.push(path);
            } else {
                self.files.push((inner, path));
            }
        }
        Ok(())
    }
}

/// What the manifest says about a library; and what it says itself, if it is for this machine.
fn library(path: &Path, search: &SearchPath) -> Result<(Library, Option<Probed>)> {
    let file = File::open(path)?;
    let machine = elf::machine(&file)?;
    let linkage = Linkage::of(&file)?;
    linkage.ensure_clean()?;
    let platform = package::platform_of(machine, linkage.is_musl());
    let mut probed = None;
    if platform == package::platform() {
        access::ensure_own(path)?;
        elf::ensure_plugin(&file)?;
        let found = Prober::new(search.program().to_owned())
            .probe(&Sealed::of_package(file.try_clone()?)?)?;
        if let Some(problem) = sanity::problems(&found.descriptor).first() {
            let message = format!("its descriptor is inconsistent: {}", problem.detail);
            return Err(Error::defect(message).with_code(code::PLUGIN_DESCRIPTOR));
        }
        probed = Some(found);
    }
    let library = Library {
        platform,
        path: path.file_name().unwrap_or_default().into(),
        sha256: sha256(&file)?,
        size: file.metadata()?.len(),
        needed: linkage.needed,
    };
    Ok((library, probed))
}

fn manifest(
    request: &PackRequest,
    source: &Source,
    libraries: &[(Library, PathBuf)],
    probed: &Probed,
) -> Result<Package> {
    let (draft, descriptor) = (&source.draft, &probed.descriptor);
    let missing = |what: &str| {
        cannot(&format!("the manifest needs a {what}"), &request.source)
            .hint(format!("add --{what}, or `{what} = \"...\"` to {FILE_NAME} in the folder"))
    };
    let given = |flag: &Option<String>, draft: &Option<String>| flag.clone().or(draft.clone());
    let listed = |(inner, path): &(PathBuf, PathBuf)| {
        Ok(OtherFile { path: inner.clone(), sha256: sha256(&File::open(path)?)? })
    };
    let package = Package {
        manifest_version: MANIFEST_VERSION,
        name: descriptor.name.clone(),
        version: descriptor
            .version
            .parse()
            .map_err(|error: String| cannot(&error, &request.source))?,
        publisher: given(&request.publisher, &draft.publisher)
            .ok_or_else(|| missing("publisher"))?,
        key_id: draft.key_id.clone(),
        license: given(&request.license, &draft.license).ok_or_else(|| missing("license"))?,
        description: draft.description.clone().unwrap_or_else(|| descriptor.summary.clone()),
        roles: Role::of(descriptor),
        min_host: draft.min_host.clone(),
        abi: AbiOf {
            name: ABI_NAME.to_owned(),
            version: probed.abi.to_string(),
            rustc: None,
            abi_stable: None,
        },
        libraries: libraries.iter().map(|(library, _)| library.clone()).collect(),
        files: source.files.iter().map(listed).collect::<Result<_>>()?,
        capabilities: draft.capabilities.clone(),
        conformance: draft.conformance.clone(),
    };
    // What a reader of the manifest would refuse: a publisher or a plugin of another form of name.
    let text = text(&package)?;
    Package::parse(&text, &request.source.join(FILE_NAME))
}

fn text(package: &Package) -> Result<String> {
    toml::to_string(package)
        .map_err(|error| Error::other("cannot write the manifest").caused_by(&error))
}

/// Writes the folder, and makes it appear as a whole.
fn write(
    request: &PackRequest,
    package: &Package,
    source: &Source,
    libraries: &[(Library, PathBuf)],
) -> Result<PathBuf> {
    let folder = request.out.join(&package.name).join(package.version.to_string());
    if folder.exists() {
        return Err(
            cannot("it exists already", &folder).hint("remove it, or name another with --out")
        );
    }
    let fresh = folder.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        put(&fresh.join(FILE_NAME), text(package)?.as_bytes())?;
        for (library, path) in libraries {
            let bytes = fs::read(path)?;
            if sha256_of(&bytes) != library.sha256 {
                return Err(cannot("it was changed while it was packed", path));
            }
            put(&fresh.join(&library.path), &bytes)?;
        }
        for (inner, path) in &source.files {
            put(&fresh.join(inner), &fs::read(path)?)?;
        }
        Ok(fs::rename(&fresh, &folder)?)
    })();
    written.inspect_err(|_| drop(fs::remove_dir_all(&fresh)))?;
    Ok(folder)
}

/// Writes a file that any user may read and only its owner may change, and its folders alike.
pub(super) fn put(file: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let write = || -> std::io::Result<()> {
        make_folder(file.parent().unwrap_or(Path::new("")))?;
        fs::write(file, bytes)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o644))?;
        File::open(file)?.sync_all()
    };
    write().map_err(|error| at(error.into(), file))
}

/// Creates a folder and those above it, which only their owner may change, whatever the umask says.
pub(super) fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made: Vec<_> = folder.ancestors().take_while(missing).collect();
    fs::create_dir_all(folder)?;
    made.into_iter()
        .try_for_each(|folder| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)))
}

/// Lets `minisign` sign the manifest; it asks for the key's password where there is one. Returns which
/// key it was.
fn sign(folder: &Path, key: &Path, package: &Package) -> Result<String> {
    let named = format!("{}@{}", package.name, package.version);
    let mut command = Command::new("minisign");
    command.arg("-S").arg("-s").arg(key).arg("-m").arg(folder.join(FILE_NAME)).args(["-t", &named]);
    let output = command.output().map_err(|error| {
        let error = cannot("cannot start `minisign`, which signs it", key).caused_by(&error);
        error.hint("install it from https://jedisct1.github.io/minisign/, or pack without --key")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason");
        return Err(cannot(&format!("minisign did not sign it: {said}"), key));
    }
    let signature = VendorFolder::at(folder)?.signature;
    signature
        .map(|signature| signature.id().to_string())
        .ok_or_else(|| cannot("minisign wrote no signature", folder))
}

fn cannot(message: &str, place: &Path) -> Error {
    let error = Error::options(message.to_owned()).with_code(code::PLUGIN_INSTALL);
    error.at(place.display().to_string())
}

fn at(error: Error, path: &Path) -> Error {
    error.at(path.display().to_string())
}
