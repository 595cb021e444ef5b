//! Where a job's output goes: one file, or a folder of files.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use transload_files::{Destination, DiskUploads, OpenUploads, UploadStore, error_at};
use transload_plugin_api::{Error, Result, code};

use crate::{
    options::{Layout, WriterOptions},
    pipe::{STANDARD, STDOUT},
};

/// The stream that the options name: standard output, or a named pipe.
///
/// # Errors
/// [`ErrorKind::Options`] if the job wants a folder.
pub(crate) fn stream(options: &WriterOptions) -> Result<Option<String>> {
    let is_pipe = |path: &str| fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    let name = match options.path.as_str() {
        STANDARD => STDOUT,
        path if is_pipe(path) => path,
        _ => return Ok(None),
    };
    if options.layout == Layout::Folder {
        return Err(Error::options("a stream is no folder").at(name.to_owned()));
    }
    Ok(Some(name.to_owned()))
}

/// The destination that the options name: `layout` if it is given, else a final `/` or a folder
/// that exists means a folder.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for what is neither a file nor a folder, [`ErrorKind::Options`] if it
/// is not what `layout` says.
pub(crate) fn resolve(options: &WriterOptions) -> Result<Destination> {
    let path = Path::new(&options.path);
    let found = match fs::metadata(path) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error_at(error, path)),
    };
    let is_folder = found.as_ref().is_some_and(fs::Metadata::is_dir);
    let wants_folder = match options.layout {
        Layout::Auto => is_folder || options.path.ends_with('/'),
        Layout::File => false,
        Layout::Folder => true,
    };
    let whole = match &found {
        Some(found) if !found.is_dir() && !found.is_file() => {
            let message = "neither a file nor a folder: output is published by a rename";
            return Err(Error::unsupported(message).at(path.display().to_string()));
        }
        Some(_) if wants_folder != is_folder => {
            let (is, wanted) = if is_folder { ("a folder", "file") } else { ("a file", "folder") };
            let message = format!("there is {is}, and the job wants a {wanted}");
            return Err(Error::options(message).at(path.display().to_string()));
        }
        Some(_) => fs::canonicalize(path),
        None => std::path::absolute(path),
    };
    let whole = whole.map_err(|error| error_at(error, path))?;
    if !is_folder {
        check_link(path, &whole)?;
    }
    let key = key_of(whole)?;
    Ok(Destination::new(if wants_folder { format!("{key}/") } else { key }))
}

/// The file that a link points to is replaced, not the link: so it must be in the link's own folder,
/// where whoever made the link can replace it as well.
fn check_link(path: &Path, whole: &Path) -> Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Ok(());
    }
    let folder = path.parent().map_or_else(|| Path::new("/").to_owned(), Path::to_owned);
    if fs::canonicalize(folder).is_ok_and(|folder| whole != path && whole.starts_with(folder)) {
        return Ok(());
    }
    let to = fs::canonicalize(path).or_else(|_| fs::read_link(path)).unwrap_or_default();
    let to = to.display();
    Err(Error::denied(format!("a link to `{to}`, which is not in the link's folder"))
        .with_code(code::FILE_LINK)
        .at(path.display().to_string())
        .hint(format!("name the file itself: `path = \"{to}\"`, or remove the link")))
}

/// A path as the writing side has it: without its first `/` and its last.
fn key_of(path: PathBuf) -> Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.trim_matches('/').to_owned()),
        None => Err(Error::unsupported("the path is not UTF-8")
            .at(path.display().to_string())
            .hint("rename the folder")),
    }
}

/// Opens the disk for a destination.
pub(crate) fn uploads(destination: &Destination) -> OpenUploads {
    let root = destination.root().to_owned();
    Box::new(move || Ok(Arc::new(DiskUploads::new(&root)) as Arc<dyn UploadStore>))
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::Options;

    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn a_path_means_a_file_or_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(folder.path()).unwrap();
        fs::write(base.join("file"), "").unwrap();
        let resolved = |path: &str, layout: &str| {
            let path = format!("{}/{path}", base.display());
            let options = Options::from_pairs([("path", path.as_str()), ("layout", layout)]);
            let destination = resolve(&WriterOptions::parse(&options).unwrap())?;
            let below = Path::new("/").join(destination.key());
            let below = below.strip_prefix(&base).unwrap().display().to_string();
            Ok::<_, Error>((below, matches!(destination, Destination::Folder { .. })))
        };
        for (path, layout, below, is_folder) in [
            ("x.csv", "auto", "x.csv", false),
            ("x/", "auto", "x", true),
            ("x", "folder", "x", true),
            ("", "auto", "", true),
            ("file", "auto", "file", false),
        ] {
            assert_eq!(resolved(path, layout).unwrap(), (below.to_owned(), is_folder), "{path}");
        }
        std::os::unix::fs::symlink(base.join("file"), base.join("link")).unwrap();
        assert_eq!(resolved("link", "auto").unwrap(), ("file".to_owned(), false));
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        for (name, to) in [("away", elsewhere.path()), ("nowhere", Path::new("missing"))] {
            std::os::unix::fs::symlink(to, base.join(name)).unwrap();
            let error = resolved(name, "auto").unwrap_err();
            assert_eq!(error.code, "FILE-LINK", "{name}");
            assert!(error.hint.unwrap().contains(to.to_str().unwrap()), "{name}");
        }
        assert_eq!(resolved("file", "folder").unwrap_err().kind, ErrorKind::Options);
        assert_eq!(resolved("", "file").unwrap_err().kind, ErrorKind::Options);
    }
}
