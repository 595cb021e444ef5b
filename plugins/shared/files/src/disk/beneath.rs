//! Ways to a file below a folder that never lead out of it. A link below the folder is followed as
//! long as it stays inside, and not at all where something is staged or removed: whoever may write
//! to a shared folder must not choose what is read, replaced or deleted elsewhere. Links on the way
//! to the folder itself are followed, because the job names it.

use std::{
    fs::{self, File, Metadata},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};
use transload_plugin_api::{Error, code};

/// How often an opening is tried again that another process has disturbed.
const TRIES: usize = 32;

/// Which links below the folder are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Those that lead to a place below the same folder.
    Inside,
    /// None.
    Never,
}

/// Opens the file `name` below `root` for reading. Does not wait for the other end of a pipe.
///
/// # Errors
/// One that becomes an [`Error`] with the code `FILE-LINK` if a link leads out of `root`.
pub fn open_below(root: &Path, name: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    Beneath::open_root(root)?.open(name, flags, Links::Inside).map(File::from)
}

/// What is under the name `name` below `root`; opens nothing.
///
/// # Errors
/// As [`open_below`].
pub fn stat_below(root: &Path, name: &Path) -> io::Result<Metadata> {
    File::from(Beneath::open_root(root)?.open(name, OFlags::PATH, Links::Inside)?).metadata()
}

/// Opens a folder to look for names in it; links on the way to it are followed.
pub(super) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// An open folder, and what is below it.
pub(crate) struct Beneath<'a> {
    root: &'a Path,
    folder: Arc<OwnedFd>,
}

impl<'a> Beneath<'a> {
    /// The folder that is at `root` now.
    pub(crate) fn open_root(root: &'a Path) -> io::Result<Self> {
        Ok(Self::new(root, Arc::new(open_root(root)?)))
    }

    /// A folder that has been opened as `root`.
    pub(super) fn new(root: &'a Path, folder: Arc<OwnedFd>) -> Self {
        Self { root, folder }
    }

    /// Opens something that is there.
    pub(crate) fn open(&self, name: &Path, flags: OFlags, links: Links) -> io::Result<OwnedFd> {
        let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
        let folder = &*self.folder;
        match open_at(folder, name, flags, links) {
            Ok(opened) => Ok(opened),
            Err(Errno::LOOP) if links == Links::Never => Err(self.refused(name)),
            // An absolute link may lead back into the folder.
            Err(Errno::XDEV) if links == Links::Inside => {
                let real = self.real(name, links)?;
                Ok(open_at(folder, &real, flags, Links::Never)?)
            }
            // Kernels before 5.6, and sandboxes that do not allow the call.
            Err(Errno::NOSYS | Errno::PERM) => {
                let real = self.real(name, links)?;
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Ok(rustix::fs::openat(folder, &real, flags, Mode::empty())?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A name without links, relative to the folder.
    fn real(&self, name: &Path, links: Links) -> io::Result<PathBuf> {
        let root = fs::canonicalize(self.root)?;
        let real = fs::canonicalize(root.join(name))?;
        match real.strip_prefix(&root) {
            Ok(rest) if rest.as_os_str().is_empty() => Ok(PathBuf::from(".")),
            Ok(rest) if links == Links::Inside || rest == name => Ok(rest.to_owned()),
            _ => Err(self.refused(name)),
        }
    }

    /// The link that is not followed, and what can be done about it.
    fn refused(&self, name: &Path) -> io::Error {
        let folder = self.root.display();
        let link = self.first_link(name);
        let to = fs::read_link(&link).unwrap_or_default();
        let message = format!("`{}` is a link to `{}`", link.display(), to.display());
        let (message, hint) = match fs::canonicalize(&link) {
            Ok(real) if fs::canonicalize(self.root).is_ok_and(|root| real.starts_with(root)) => (
                format!("{message}; nothing is staged or removed through a link"),
                "put the files themselves in its place".to_owned(),
            ),
            real => (
                format!("{message}, outside {folder}"),
                format!(
                    "name `{}` in a job of its own, or put the files themselves in its place",
                    real.unwrap_or(to).display()
                ),
            ),
        };
        io::Error::other(Error::denied(message).with_code(code::FILE_LINK).hint(hint))
    }

    /// The first link on the way to `name` that leads out, else the first one.
    fn first_link(&self, name: &Path) -> PathBuf {
        let root = fs::canonicalize(self.root).unwrap_or_else(|_| self.root.to_owned());
        let mut whole = self.root.to_owned();
        let mut links = Vec::new();
        for part in name.components() {
            whole.push(part);
            if fs::symlink_metadata(&whole).is_ok_and(|found| found.is_symlink()) {
                links.push(whole.clone());
            }
        }
        let leaves =
            |link: &&PathBuf| !fs::canonicalize(link).is_ok_and(|it| it.starts_with(&root));
        links.iter().find(leaves).or(links.first()).cloned().unwrap_or(whole)
    }
}

fn open_at(folder: &OwnedFd, name: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let resolve = match links {
        Links::Inside => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        Links::Never => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    };
    let flags = flags | OFlags::CLOEXEC;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve) {
            // Something on the way was renamed meanwhile.
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::fs::symlink};

    use super::*;

    /// `root` with files and links of all kinds, beside `outside`.
    fn shared_folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        for name in ["root/real", "outside"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(root.join("real/x"), "inside").unwrap();
        fs::write(outside.join("x"), "outside").unwrap();
        symlink("real", root.join("near")).unwrap();
        symlink(root.join("real"), root.join("absolute")).unwrap();
        symlink("../root/real", root.join("around")).unwrap();
        symlink("../outside", root.join("far")).unwrap();
        symlink(&outside, root.join("away")).unwrap();
        symlink(outside.join("x"), root.join("real/link")).unwrap();
        (folder, root)
    }

    fn text(root: &Path, name: &str, links: Links) -> Result<String, Error> {
        let opened = Beneath::open_root(root)?.open(Path::new(name), OFlags::RDONLY, links);
        let mut text = String::new();
        File::from(opened?).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn links_are_followed_inside_the_folder_only() {
        let (_folder, root) = shared_folder();
        for name in ["real/x", "near/x", "absolute/x", "around/x"] {
            assert_eq!(text(&root, name, Links::Inside).unwrap(), "inside", "{name}");
        }
        for name in ["far/x", "away/x", "real/link", "near/link"] {
            let error = text(&root, name, Links::Inside).unwrap_err();
            assert_eq!(error.code, "FILE-LINK", "{name}");
            assert!(error.message.contains("outside"), "{error}");
        }
        assert_eq!(text(&root, "real/x", Links::Never).unwrap(), "inside");
        for name in ["near/x", "absolute/x", "around/x", "far/x", "real/link"] {
            assert_eq!(text(&root, name, Links::Never).unwrap_err().code, "FILE-LINK", "{name}");
        }
    }

    #[test]
    fn names_are_resolved_in_the_same_way_without_the_system_call() {
        let (_folder, root) = shared_folder();
        let beneath = Beneath::open_root(&root).unwrap();
        let real = |name: &str, links| beneath.real(Path::new(name), links).map_err(Error::from);
        for (name, links, ok) in [
            ("near/x", Links::Inside, true),
            ("absolute/x", Links::Inside, true),
            ("far/x", Links::Inside, false),
            ("real/x", Links::Never, true),
            ("near/x", Links::Never, false),
        ] {
            assert_eq!(real(name, links).is_ok(), ok, "{name} {links:?}");
        }
    }
}
