//! Which files a job reads: paths, folders and patterns become one frozen list.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{
        ErrorKind::{NotADirectory, NotFound},
        Read, Seek, SeekFrom,
    },
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use transload_files::{
    Listing, PartitionFilter, PartitionMode, PartitionValue, Pattern, Store, StoredFile, is_hidden,
    literal_prefix, partitions,
};
use transload_plugin_api::{Error, Result, code};

use crate::options::ReaderOptions;

/// The files of some paths, folders and patterns.
#[derive(Default)]
pub(crate) struct Files {
    paths: Vec<String>,
    partitions: PartitionMode,
    filter: PartitionFilter,
}

impl Files {
    /// Those that a job's options name.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for a filter that is invalid.
    pub(crate) fn new(options: ReaderOptions) -> Result<Self> {
        let filter = PartitionFilter::parse(&options.partition_filter)?;
        Ok(Self { paths: options.path, partitions: options.partitions, filter })
    }
}

/// A file, and where its name below the folder that the job names begins.
struct Found {
    file: StoredFile,
    below: usize,
}

impl Found {
    fn name_below(&self) -> &str {
        self.file.name.get(self.below..).unwrap_or_default()
    }
}

impl Store for Files {
    fn is_distant(&self) -> bool {
        false
    }

    fn list(&self) -> Result<Listing> {
        let found = list(&self.paths)?;
        let folders = partitions(self.partitions, found.iter().map(Found::name_below))?;
        folders.check(&self.filter)?;
        let notes = folders.note().into_iter().collect();
        let wanted = |(found, _): &(Found, _)| self.filter.admits_name(found.name_below());
        let files = found.into_iter().zip(folders.values).filter(wanted);
        let file = |(found, partitions): (Found, _)| StoredFile { partitions, ..found.file };
        let files: Vec<_> = files.map(file).collect();
        if files.is_empty() {
            return Err(Error::not_found("`partition_filter` leaves no file"));
        }
        Ok(Listing { files, partitions: folders.keys, notes })
    }

    fn read(&self, file: &StoredFile, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let mut content = open(file)?;
        content
            .seek(SeekFrom::Start(range.start))
            .map_err(|error| at(error, Path::new(&file.name)))?;
        Ok(Box::new(content.take(range.end - range.start)))
    }

    fn ranges(&self, file: &StoredFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let content = open(file)?;
        let read = |range: &Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            content.read_exact_at(&mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        };
        ranges
            .iter()
            .map(|range| read(range).map_err(|error| at(error, Path::new(&file.name))))
            .collect()
    }
}

/// The file at `path`; `None` if it is not a regular file.
pub(crate) fn look(path: &Path) -> Result<Option<StoredFile>> {
    let found = fs::metadata(path).map_err(|error| at(error, path))?;
    if !found.is_file() {
        return Ok(None);
    }
    let Some(name) = path.to_str() else {
        return Err(Error::unsupported("the file's name is not UTF-8")
            .at(path.display().to_string())
            .hint("rename the file"));
    };
    let (size, version) = (found.len(), changed(&found).to_string());
    Ok(Some(StoredFile { name: name.to_owned(), size, version, partitions: Vec::new() }))
}

/// Opens the file, if it is still the one that was listed.
fn open(file: &StoredFile) -> Result<File> {
    let path = Path::new(&file.name);
    let content = File::open(path).map_err(|error| at(error, path))?;
    let found = content.metadata().map_err(|error| at(error, path))?;
    if found.len() == file.size && changed(&found).to_string() == file.version {
        return Ok(content);
    }
    let message = format!(
        "the file has changed since it was planned: {} bytes then, {} bytes now",
        file.size,
        found.len()
    );
    Err(Error::schema(message)
        .with_code(code::FILE_CHANGED)
        .at(file.name.clone())
        .hint("plan again, and read files only once their writer has finished them"))
}

/// When the content changed last, in nanoseconds since 1970.
fn changed(found: &fs::Metadata) -> i64 {
    found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec())
}

/// An I/O error with its path.
pub(crate) fn at(error: std::io::Error, path: &Path) -> Error {
    Error::from(error).at(path.display().to_string())
}

/// The files of all paths, folders and patterns, in their order, those of a pattern sorted, each
/// file once.
///
/// # Errors
/// [`ErrorKind::NotFound`] if one of them stands for no file at all.
fn list(paths: &[String]) -> Result<Vec<Found>> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for path in paths {
        for found in expand(path)? {
            if seen.insert(found.file.name.clone()) {
                files.push(found);
            }
        }
    }
    Ok(files)
}

fn expand(path: &str) -> Result<Vec<Found>> {
    // A name that exists as it is written is no pattern, even with `[1]` in it.
    let literal = Path::new(path);
    let (paths, below) = if literal.is_dir() {
        let mut paths = Vec::new();
        list_folder(literal, &mut paths)?;
        (paths, path.len())
    } else if literal.exists() {
        (vec![literal.to_owned()], path.len())
    } else {
        let below = literal_prefix(path).rfind('/').map_or(0, |end| end + 1);
        (matching(path, below)?, below)
    };
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        files.extend(look(&path)?.map(|file| Found { file, below }));
    }
    files.sort_by(|one, other| one.file.name.cmp(&other.file.name));
    if files.is_empty() {
        let message = format!("no file matches `{path}`");
        return Err(
            Error::not_found(message).hint("relative paths are relative to the job file's folder")
        );
    }
    Ok(files)
}

/// The visible files of a folder, and of folders `key=value` below.
fn list_folder(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| at(error, folder))? {
        let entry = entry.map_err(|error| at(error, folder))?;
        let (name, path) = (entry.file_name(), entry.path());
        if is_hidden(&name.to_string_lossy()) {
            continue;
        }
        let partition = name.to_str().is_some_and(|name| PartitionValue::parse(name).is_some());
        if partition && path.is_dir() {
            list_folder(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The files that a pattern matches; the folder before its first wildcard ends at `below`.
fn matching(pattern: &str, below: usize) -> Result<Vec<PathBuf>> {
    let (root, rest) = pattern.split_at(below);
    let mut search = Search { pattern: Pattern::parse(rest)?, found: Vec::new() };
    search.folder(Path::new(root), "", &mut Vec::new())?;
    Ok(search.found)
}

/// A search for the files that a pattern matches.
struct Search {
    pattern: Pattern,
    found: Vec<PathBuf>,
}

impl Search {
    /// Looks into a folder whose name below the pattern's root is `name`. `above` identifies the
    /// folders on the way to it, which a link may lead back to.
    fn folder(&mut self, path: &Path, name: &str, above: &mut Vec<(u64, u64)>) -> Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let entries = match fs::read_dir(path) {
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(()),
            entries => entries.map_err(|error| at(error, path))?,
        };
        let found = fs::metadata(path).map_err(|error| at(error, path))?;
        let identity = (found.dev(), found.ino());
        if above.contains(&identity) {
            return Ok(());
        }
        above.push(identity);
        for entry in entries {
            let file_name = entry.map_err(|error| at(error, path))?.file_name();
            // A name that is not UTF-8 cannot be matched.
            let Some(file_name) = file_name.to_str() else { continue };
            let path = path.join(file_name);
            let path = path.strip_prefix("./").map_or(path.clone(), Path::to_owned);
            let name = format!("{name}{file_name}");
            if !path.is_dir() {
                if self.pattern.matches(&name) {
                    self.found.push(path);
                }
            } else if self.pattern.may_match_below(&name) {
                self.folder(&path, &format!("{name}/"), above)?;
            }
        }
        above.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), b"x\n").unwrap();
        }
        folder
    }

    fn names(folder: &Path, patterns: &[&str]) -> Result<Vec<String>> {
        let paths = patterns.iter().map(|p| format!("{}/{p}", folder.display()));
        let files = list(&paths.collect::<Vec<_>>())?;
        Ok(files.iter().map(|found| found.file.short_name().to_owned()).collect())
    }

    #[test]
    fn patterns_are_sorted_and_files_come_once() {
        let folder = folder_with(&["b.csv", "a.csv", ".h.csv", "_m.json", "c[1].csv"]);
        let folder = folder.path();
        assert_eq!(names(folder, &["*.csv"]).unwrap(), ["a.csv", "b.csv", "c[1].csv"]);
        assert_eq!(names(folder, &["b.csv", "?.csv"]).unwrap(), ["b.csv", "a.csv"]);
        assert_eq!(names(folder, &["c[1].csv"]).unwrap(), ["c[1].csv"]);
        assert_eq!(names(folder, &[""]).unwrap(), ["a.csv", "b.csv", "c[1].csv"]);
    }

    #[test]
    fn patterns_go_through_visible_folders_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/x.csv", "a/b/y.csv", "a/_b/z.csv", "a/.b/z.csv", "_m.csv", "c/x.jsonl"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x\n").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/b/again")).unwrap();
        let folder = folder.path();
        assert_eq!(names(folder, &["**/*.csv"]).unwrap(), ["y.csv", "x.csv"]);
        assert_eq!(names(folder, &["*/?.csv"]).unwrap(), ["x.csv"]);
        assert_eq!(names(folder, &["_*.csv"]).unwrap(), ["_m.csv"]);
        assert_eq!(names(folder, &["a/_b/*"]).unwrap(), ["z.csv"], "it is named");
        for pattern in ["*.csv", "x/*.csv", "a/x.csv/*"] {
            let error = names(folder, &[pattern]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound, "{pattern}");
        }
    }

    #[test]
    fn what_matches_nothing_is_not_found() {
        let folder = folder_with(&["a.csv"]);
        for pattern in ["b.csv", "*.json", "[", "sub/"] {
            let error = names(folder.path(), &["a.csv", pattern]).unwrap_err();
            let expected = if pattern == "[" { ErrorKind::Options } else { ErrorKind::NotFound };
            assert_eq!(error.kind, expected, "{pattern}");
        }
    }

    #[test]
    fn t58_a_changed_file_is_refused() {
        let folder = folder_with(&["a.csv"]);
        let path = folder.path().join("a.csv");
        let files = list(&[path.display().to_string()]).unwrap();
        assert!(open(&files[0].file).is_ok());
        fs::write(&path, b"x\ny\n").unwrap();
        assert_eq!(open(&files[0].file).unwrap_err().code, "FILE-CHANGED");
    }
}
