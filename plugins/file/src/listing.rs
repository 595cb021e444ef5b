//! Which files a job reads: paths, folders and patterns become one frozen list.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{
        self,
        ErrorKind::{NotADirectory, NotFound},
        Read, Seek, SeekFrom, Take,
    },
    ops::Range,
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use transload_files::{
    Listing, PartitionFilter, PartitionMode, PartitionValue, Pattern, Store, StoredFile, error_at,
    is_hidden, is_pattern, literal_prefix, names_beside, open_below, partitions, stat_below,
};
use transload_plugin_api::{Cancel, Error, Result, code};

use crate::{
    options::ReaderOptions,
    pipe::{self, Pipes, STANDARD, STDIN},
};

/// The files of some paths, folders and patterns.
#[derive(Default)]
pub(crate) struct Files {
    paths: Vec<String>,
    partitions: PartitionMode,
    filter: PartitionFilter,
    pipes: Pipes,
}

impl Files {
    /// Those that a job's options name.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for a filter that is invalid.
    pub(crate) fn new(options: ReaderOptions, cancel: Cancel) -> Result<Self> {
        let filter = PartitionFilter::parse(&options.partition_filter)?;
        let (paths, partitions) = (options.path, options.partitions);
        Ok(Self { paths, partitions, filter, pipes: Pipes::new(cancel, options.max_kept) })
    }

    /// Opens a file, if it is still the one that was listed and no link leads out of the folder
    /// that the job names.
    fn open(&self, file: &StoredFile) -> Result<File> {
        let path = Path::new(&file.name);
        let mut opened = None;
        for named in &self.paths {
            let root = root_of(named, &file.name);
            let Some(below) = root.and_then(|root| file.name.strip_prefix(root)) else { continue };
            let root = Path::new(root.filter(|root| !root.is_empty()).unwrap_or("."));
            match open_below(root, Path::new(below.trim_start_matches('/'))) {
                Ok(content) => return unchanged(content, file),
                Err(error) => opened = Some(error),
            }
        }
        match opened {
            Some(error) => Err(error_at(error, path)),
            None => unchanged(File::open(path).map_err(|error| error_at(error, path))?, file),
        }
    }
}

/// The folder below which a path of the job names the file `name`; `None` if it names another, or
/// the file itself.
fn root_of<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    if path == name {
        return None;
    }
    let folder = path.trim_end_matches('/');
    if !folder.is_empty() && name.strip_prefix(folder).is_some_and(|below| below.starts_with('/')) {
        return Some(folder);
    }
    let root = &path[..literal_prefix(path).rfind('/').map_or(0, |end| end + 1)];
    name.starts_with(root).then_some(root)
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
        let (found, others) = list(&self.paths)?;
        let folders = partitions(self.partitions, found.iter().map(Found::name_below))?;
        folders.check(&self.filter)?;
        let mut notes: Vec<_> = folders.note().into_iter().collect();
        if let Some(first) = others.first() {
            let count = others.len();
            notes.push(format!(
                "{count} name(s) that are neither a file nor a folder are left out, such as {first}"
            ));
        }
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
        if file.is_stream {
            return self.pipes.read(&file.name, range);
        }
        let mut content = self.open(file)?;
        content
            .seek(SeekFrom::Start(range.start))
            .map_err(|error| error_at(error, Path::new(&file.name)))?;
        let content = content.take(range.end - range.start);
        Ok(Box::new(Stretch { content, file: file.clone() }))
    }

    fn keep(&self, stream: &StoredFile) -> Result<StoredFile> {
        Ok(StoredFile { size: self.pipes.keep(&stream.name)?, ..stream.clone() })
    }

    fn ranges(&self, file: &StoredFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if file.is_stream {
            return ranges.iter().map(|range| self.pipes.range(&file.name, range)).collect();
        }
        let content = self.open(file)?;
        let read = |range: &Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            content.read_exact_at(&mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        };
        let read = |range| read(range).map_err(|error| error_at(error, Path::new(&file.name)));
        let read = ranges.iter().map(read).collect::<Result<_>>();
        // Of a file that has changed, other errors are the consequence.
        check_unchanged(&content, file).and(read)
    }
}

/// A stretch of a file, in order. When all of it has been read the file is looked at once more: it
/// may have been written to meanwhile.
struct Stretch {
    content: Take<File>,
    file: StoredFile,
}

impl Read for Stretch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        if self.content.limit() == 0 {
            // The error travels inside of one of the system.
            check_unchanged(self.content.get_ref(), &self.file).map_err(io::Error::other)?;
        }
        Ok(read)
    }
}

/// A file as the listing has it.
fn stored(path: &Path, found: &fs::Metadata) -> Result<StoredFile> {
    let Some(name) = path.to_str() else {
        return Err(Error::unsupported("the file's name is not UTF-8")
            .at(path.display().to_string())
            .hint("rename the file"));
    };
    let (size, version) = (found.len(), changed(found).to_string());
    let name = name.to_owned();
    Ok(StoredFile { name, size, version, is_stream: false, partitions: Vec::new() })
}

/// An open file, if it is still the one that was listed.
fn unchanged(content: File, file: &StoredFile) -> Result<File> {
    check_unchanged(&content, file).map(|()| content)
}

fn check_unchanged(content: &File, file: &StoredFile) -> Result<()> {
    let found = content.metadata().map_err(|error| error_at(error, Path::new(&file.name)))?;
    if found.len() == file.size && changed(&found).to_string() == file.version {
        return Ok(());
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

/// The files of all paths, folders and patterns, in their order, those of a pattern sorted, each
/// file once; and the names of what is left out because it is neither a file nor a folder.
///
/// # Errors
/// [`ErrorKind::NotFound`] if one of the paths stands for no file at all, `FILE-LINK` if a link leads
/// out of a folder that is read.
fn list(paths: &[String]) -> Result<(Vec<Found>, Vec<String>)> {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for path in paths {
        for found in expand(path, &mut others)? {
            if seen.insert(found.file.name.clone()) {
                files.push(found);
            }
        }
    }
    Ok((files, others))
}

fn expand(path: &str, others: &mut Vec<String>) -> Result<Vec<Found>> {
    if path == STANDARD {
        return Ok(vec![Found { file: pipe::stored(STDIN), below: STDIN.len() }]);
    }
    // A name that exists as it is written is no pattern, even with `[1]` in it.
    let literal = Path::new(path);
    let folder = literal.is_dir();
    let (paths, below) = if folder {
        let mut paths = Vec::new();
        list_folder(literal, literal, &mut paths)?;
        (paths, path.len())
    } else if literal.exists() {
        return named(literal).map(|file| vec![Found { file, below: path.len() }]);
    } else {
        let below = literal_prefix(path).rfind('/').map_or(0, |end| end + 1);
        (matching(path, below)?, below)
    };
    let root = root_or_here(&path[..below]);
    let mut files = Vec::with_capacity(paths.len());
    let before = others.len();
    for path in paths {
        let found = stat_in(root, &path)?;
        if found.is_file() {
            files.push(Found { file: stored(&path, &found)?, below });
        } else if !found.is_dir() {
            others.push(path.display().to_string());
        }
    }
    files.sort_by(|one, other| one.file.name.cmp(&other.file.name));
    match others.get(before) {
        _ if !files.is_empty() => Ok(files),
        Some(other) => named(Path::new(other)).map(|_| files),
        None if folder => Err(Error::not_found(format!("no file in the folder `{path}`")).hint(
            "names that begin with `_` or `.` are skipped, and folders below that are not called \
             `key=value`; a pattern such as `folder/**` reads those",
        )),
        None if is_pattern(path) => Err(Error::not_found(format!("no file matches `{path}`"))
            .of_key("path")
            .hint("relative paths are relative to the job file's folder")),
        None => Err(missing(literal)),
    }
}

/// There is no such file; which ones are there.
fn missing(path: &Path) -> Error {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let error =
        Error::not_found("there is no such file").at(path.display().to_string()).of_key("path");
    let Ok(entries) = fs::read_dir(folder) else {
        let folder = folder.display();
        return error.hint(format!(
            "the folder `{folder}` does not exist; relative paths are relative to the job file's folder"
        ));
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = names_beside(&wanted, names.filter(|name| !is_hidden(name)).collect());
    error.hint(beside.unwrap_or_else(|| format!("the folder `{}` has no files", folder.display())))
}

/// The one file that a path of the job names; a link to it is followed wherever it leads.
fn named(path: &Path) -> Result<StoredFile> {
    let found = fs::metadata(path).map_err(|error| error_at(error, path))?;
    if found.is_file() {
        return stored(path, &found);
    }
    let kind = found.file_type();
    if let (true, Some(name)) = (kind.is_fifo(), path.to_str()) {
        return Ok(pipe::stored(name));
    }
    let what = if kind.is_socket() { "a socket" } else { "a device" };
    let place = path.display();
    let message = format!("{what}, neither a file nor a folder: it cannot be read more than once");
    Err(Error::unsupported(message)
        .at(place.to_string())
        .hint(format!("copy its content to a file first: `cat '{place}' > FILE`")))
}

fn root_or_here(root: &str) -> &Path {
    Path::new(if root.is_empty() { "." } else { root })
}

/// What a name below a folder of the job is.
fn stat_in(root: &Path, path: &Path) -> Result<fs::Metadata> {
    let name = path.strip_prefix(root).unwrap_or(path);
    stat_below(root, name).map_err(|error| error_at(error, path))
}

/// Whether an entry of a folder is a folder itself.
///
/// # Errors
/// `FILE-LINK` for a link that leads out of `root`.
fn is_folder(root: &Path, entry: &fs::DirEntry, path: &Path) -> Result<bool> {
    let kind = entry.file_type().map_err(|error| error_at(error, path))?;
    if kind.is_symlink() { Ok(stat_in(root, path)?.is_dir()) } else { Ok(kind.is_dir()) }
}

/// The visible files of a folder, and of folders `key=value` below.
fn list_folder(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| error_at(error, folder))? {
        let entry = entry.map_err(|error| error_at(error, folder))?;
        let (name, path) = (entry.file_name(), entry.path());
        if is_hidden(&name.to_string_lossy()) {
            continue;
        }
        let partition = name.to_str().is_some_and(|name| PartitionValue::parse(name).is_some());
        if partition && is_folder(root, &entry, &path)? {
            list_folder(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The files that a pattern matches; the folder before its first wildcard ends at `below`.
fn matching(pattern: &str, below: usize) -> Result<Vec<PathBuf>> {
    let (root, rest) = pattern.split_at(below);
    let root = root_or_here(root);
    let mut search = Search { root, pattern: Pattern::parse(rest)?, found: Vec::new() };
    search.folder(root, "", &mut Vec::new())?;
    Ok(search.found)
}

/// A search for the files that a pattern matches.
struct Search<'a> {
    root: &'a Path,
    pattern: Pattern,
    found: Vec<PathBuf>,
}

impl Search<'_> {
    /// Looks into a folder whose name below the pattern's root is `name`. `above` identifies the
    /// folders on the way to it, which a link may lead back to.
    fn folder(&mut self, path: &Path, name: &str, above: &mut Vec<(u64, u64)>) -> Result<()> {
        let entries = match fs::read_dir(path) {
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(()),
            entries => entries.map_err(|error| error_at(error, path))?,
        };
        let found = fs::metadata(path).map_err(|error| error_at(error, path))?;
        let identity = (found.dev(), found.ino());
        if above.contains(&identity) {
            return Ok(());
        }
        above.push(identity);
        for entry in entries {
            let entry = entry.map_err(|error| error_at(error, path))?;
            let file_name = entry.file_name();
            // A name that is not UTF-8 cannot be matched.
            let Some(file_name) = file_name.to_str() else { continue };
            let path = path.join(file_name);
            let path = path.strip_prefix("./").map_or(path.clone(), Path::to_owned);
            let name = format!("{name}{file_name}");
            let (matches, above_matches) =
                (self.pattern.matches(&name), self.pattern.may_match_below(&name));
            if !matches && !above_matches {
                continue;
            }
            if !is_folder(self.root, &entry, &path)? {
                if matches {
                    self.found.push(path);
                }
            } else if above_matches {
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
        let (files, _) = list(&paths.collect::<Vec<_>>())?;
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
    fn a_missing_file_is_told_with_the_nearest_name() {
        let folder = folder_with(&["orders.csv", "items.csv", ".hidden.csv"]);
        for (path, hint) in [
            ("order.csv", "did you mean `orders.csv`?"),
            ("x.parquet", "its folder has: items.csv, orders.csv"),
            ("sub/x.csv", "sub` does not exist"),
        ] {
            let error = names(folder.path(), &[path]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound);
            assert!(error.hint.as_ref().unwrap().contains(hint), "{path}: {error:?}");
        }
    }

    #[test]
    fn t58_a_changed_file_is_refused() {
        let folder = folder_with(&["a.csv"]);
        let path = folder.path().join("a.csv");
        let files = Files { paths: vec![path.display().to_string()], ..Files::default() };
        let listed = files.list().unwrap().files.remove(0);
        assert!(files.open(&listed).is_ok());
        fs::write(&path, b"x\ny\n").unwrap();
        assert_eq!(files.open(&listed).unwrap_err().code, "FILE-CHANGED");
    }

    #[test]
    fn links_are_followed_inside_the_named_folder_only() {
        let folder = folder_with(&["secret.csv"]);
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("k=1")).unwrap();
        fs::write(root.join("k=1/a.csv"), b"x\n").unwrap();
        std::os::unix::fs::symlink("k=1", root.join("k=2")).unwrap();
        assert_eq!(names(&root, &[""]).unwrap(), ["k=1/a.csv", "k=2/a.csv"]);
        assert_eq!(names(&root, &["*/*.csv"]).unwrap(), ["k=1/a.csv", "k=2/a.csv"]);
        // A link of whoever may write there, to a file and to a folder elsewhere.
        for (link, to) in [("b.csv", "secret.csv"), ("k=3", ""), ("k=1/c.csv", "secret.csv")] {
            let link = root.join(link);
            std::os::unix::fs::symlink(folder.path().join(to), &link).unwrap();
            for pattern in ["", "**/*.csv"] {
                let error = names(&root, &[pattern]).unwrap_err();
                assert_eq!(error.code, "FILE-LINK", "{link:?} {pattern}");
                let words = format!("{error} {}", error.hint.clone().unwrap());
                assert!(words.contains("is a link to") && words.contains("outside"), "{words}");
            }
            fs::remove_file(link).unwrap();
        }
        // One that the job names is followed, and so is a hidden one that is not read.
        std::os::unix::fs::symlink(folder.path().join("secret.csv"), root.join("_x.csv")).unwrap();
        assert_eq!(names(&root, &[""]).unwrap().len(), 2);
        let named = root.join("_x.csv").display().to_string();
        let files = Files { paths: vec![named], ..Files::default() };
        assert!(files.open(&files.list().unwrap().files[0]).is_ok());
    }

    #[test]
    fn a_link_that_takes_the_place_of_a_listed_file_is_not_read() {
        let folder = folder_with(&["secret.csv"]);
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let (path, secret) = (root.join("a.csv"), folder.path().join("secret.csv"));
        fs::copy(&secret, &path).unwrap();
        let time = fs::metadata(&secret).unwrap().modified().unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        for named in [root.display().to_string(), format!("{}/*.csv", root.display())] {
            let files = Files { paths: vec![named], ..Files::default() };
            let listed = files.list().unwrap().files.remove(0);
            files.open(&listed).unwrap();
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&secret, &path).unwrap();
            assert_eq!(files.open(&listed).unwrap_err().code, "FILE-LINK");
            fs::remove_file(&path).unwrap();
            fs::copy(&secret, &path).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
    }

    #[test]
    fn what_is_neither_a_file_nor_a_folder_is_named_as_what_it_is() {
        let folder = folder_with(&["a.csv"]);
        let socket = folder.path().join("p.csv");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for pattern in ["p.csv", "p*.csv"] {
            let error = names(folder.path(), &[pattern]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported, "{pattern}");
            assert!(error.message.starts_with("a socket, neither a file nor a folder"), "{error}");
            assert!(error.hint.unwrap().contains(&format!("cat '{}'", socket.display())));
        }
        let files = Files { paths: vec![folder.path().display().to_string()], ..Files::default() };
        let listing = files.list().unwrap();
        assert_eq!(listing.files.len(), 1);
        assert!(listing.notes.iter().any(|note| note.contains("p.csv")), "{:?}", listing.notes);
        fs::create_dir(folder.path().join("d.csv")).unwrap();
        let error = names(folder.path(), &["d.csv"]).unwrap_err();
        assert!(error.message.starts_with("no file in the folder"), "{error}");
    }
}
