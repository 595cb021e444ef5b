//! A library's bytes as they are hashed and loaded: one copy in memory that nothing can change any
//! more, so that what runs is what was checked, whoever replaces or edits the file meanwhile. Where the
//! system has no such memory, the copy is a file in a private folder.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Seek},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};
use transload_plugin_api::{Error, Result, code};

use super::{access, check::sha256, elf};
use crate::{journal, process};

/// The libraries that such a library needs are found from its own path, which a copy does not have.
const OWN_FOLDER: &[u8] = b"$ORIGIN";

/// A copy of a library.
pub(super) struct Sealed {
    copy: Copied,
    sha256: String,
}

enum Copied {
    /// Memory without a name, sealed against every change.
    Memory(File),
    /// A file in a folder that only this user can enter; removed when dropped.
    Private { folder: PathBuf, file: PathBuf },
    /// The file itself: for a library that finds others from its path, and for developers, whose
    /// tools look for it there. No other user can change it, which is checked before.
    Itself(PathBuf),
}

impl Sealed {
    /// Copies a library after checking who can change it, and examines and hashes the copy.
    ///
    /// # Errors
    /// `PLUGIN-ACCESS`, `PLUGIN-FILE`, or the codes of [`elf::ensure_plugin`].
    pub(super) fn copy(path: &Path) -> Result<Self> {
        let lost = |error: io::Error| Error::from(error).with_code(code::PLUGIN_FILE);
        access::ensure_own(path)?;
        let file = File::open(path).map_err(lost)?;
        if process::is_developers() || names_own_folder(&file).map_err(lost)? {
            elf::ensure_plugin(&file)?;
            let path = fs::canonicalize(path).map_err(lost)?;
            return Ok(Self { sha256: sha256(&file).map_err(lost)?, copy: Copied::Itself(path) });
        }
        let sealed = Self::of_package(file)?;
        elf::ensure_plugin(&sealed.open()?)?;
        Ok(sealed)
    }

    /// Copies the open library of a vendor's folder, and hashes the copy. Nothing else is examined, and
    /// the library is never loaded from its own path.
    ///
    /// # Errors
    /// `PLUGIN-FILE`.
    pub(super) fn of_package(mut file: File) -> Result<Self> {
        let lost = |error: io::Error| Error::from(error).with_code(code::PLUGIN_FILE);
        file.rewind().map_err(lost)?;
        let copy = in_memory(&mut file).or_else(|error| {
            tracing::debug!(%error, "no sealed memory: plugins are copied to a private folder");
            file.rewind()?;
            in_private(&mut file)
        });
        let copy = copy.map_err(lost)?;
        let sealed = Self { copy, sha256: String::new() };
        let sha256 = sha256(&sealed.open()?).map_err(lost)?;
        Ok(Self { sha256, ..sealed })
    }

    /// Opens the copy, to read it.
    ///
    /// # Errors
    /// `PLUGIN-FILE`.
    pub(super) fn open(&self) -> Result<File> {
        let opened = match &self.copy {
            Copied::Memory(file) => file.try_clone(),
            Copied::Private { file, .. } | Copied::Itself(file) => File::open(file),
        };
        opened.map_err(|error| Error::from(error).with_code(code::PLUGIN_FILE))
    }

    /// The copy's hash, in hexadecimal.
    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Refuses a copy of other bytes than those that were checked.
    ///
    /// # Errors
    /// `PLUGIN-HASH`.
    pub(super) fn ensure_same(&self, checked: &str) -> Result<()> {
        if self.sha256 == checked {
            return Ok(());
        }
        Err(Error::denied("the library was changed while it was being loaded")
            .with_code(code::PLUGIN_HASH)
            .hint("run the command again; replace plugin files by rename, never in place"))
    }

    /// Where this process loads it from. The path is unique as long as the copy lives, which is what
    /// the system's loader compares.
    pub(super) fn path(&self) -> PathBuf {
        match &self.copy {
            Copied::Memory(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            Copied::Private { file, .. } | Copied::Itself(file) => file.clone(),
        }
    }

    /// For processes that load it later: a descriptor of the copy, and where it is without one.
    pub(super) fn for_workers(self) -> io::Result<(Option<OwnedFd>, PathBuf)> {
        let found = match &self.copy {
            Copied::Memory(file) => (Some(file.try_clone()?.into()), PathBuf::new()),
            _ => (None, self.path()),
        };
        // A copy in a folder stays as long as a process may load it.
        std::mem::forget(self);
        Ok(found)
    }

    /// For a child process: what it gets as its standard input, and where it then loads the copy from.
    pub(super) fn for_child(&self) -> io::Result<(Option<File>, PathBuf)> {
        match &self.copy {
            Copied::Memory(file) => Ok((Some(file.try_clone()?), "/proc/self/fd/0".into())),
            _ => Ok((None, self.path())),
        }
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if let Self::Private { folder, .. } = self {
            // Nothing else is in it; a rest lies in the system's folder for such files.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn in_memory(file: &mut File) -> io::Result<Copied> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know that memory can be meant for code.
    let memory = memfd_create("plugin", flags | MemfdFlags::EXEC).or_else(|error| match error {
        Errno::INVAL => memfd_create("plugin", flags),
        error => Err(error),
    })?;
    let mut memory = File::from(memory);
    io::copy(file, &mut memory)?;
    let every = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&memory, every)?;
    Ok(Copied::Memory(memory))
}

fn in_private(file: &mut File) -> io::Result<Copied> {
    let folder = std::env::temp_dir().join(format!("transload-{}", journal::new_run()));
    DirBuilder::new().mode(0o700).create(&folder)?;
    // From here on, a drop removes the folder.
    let path = folder.join("plugin.so");
    let copy = Copied::Private { folder, file: path.clone() };
    let mut options = OpenOptions::new();
    let mut private = options.write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(file, &mut private)?;
    Ok(copy)
}

/// Whether a library looks for others beside itself.
fn names_own_folder(mut file: &File) -> io::Result<bool> {
    use std::io::Read;
    file.rewind()?;
    let (mut block, mut kept) = (vec![0; 64 << 10], 0);
    loop {
        let read = file.read(&mut block[kept..])?;
        if read == 0 {
            return Ok(false);
        }
        let filled = kept + read;
        if memchr::memmem::find(&block[..filled], OWN_FOLDER).is_some() {
            return Ok(true);
        }
        // The name may continue in the next block.
        kept = filled.min(OWN_FOLDER.len() - 1);
        block.copy_within(filled - kept..filled, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_copy_in_memory_cannot_be_changed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"library").unwrap();
        file.rewind().unwrap();
        let copy = in_memory(&mut file).unwrap();
        let Copied::Memory(memory) = &copy else { panic!("not in memory") };
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        file.set_len(0).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"library");
        let mut memory = memory;
        assert!(memory.write_all(b"x").is_err());
        assert!(memory.set_len(0).is_err());
        let written = OpenOptions::new().write(true).open(&path).and_then(|mut f| f.write(b"x"));
        assert!(written.is_err());
    }

    #[test]
    fn the_private_copy_is_removed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"library").unwrap();
        file.rewind().unwrap();
        let copy = in_private(&mut file).unwrap();
        let Copied::Private { folder, file } = &copy else { panic!("not private") };
        let (folder, file) = (folder.clone(), file.clone());
        assert_eq!(fs::read(file).unwrap(), b"library");
        drop(copy);
        assert!(!folder.exists());
    }

    #[test]
    fn a_library_that_names_its_folder_is_found_across_blocks() {
        for (before, expected) in [(0, true), ((64 << 10) - 3, true), (200_000, true)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![b'x'; before]).unwrap();
            file.write_all(b"$ORIGIN/../lib").unwrap();
            assert_eq!(names_own_folder(&file).unwrap(), expected, "{before}");
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'$'; 200_000]).unwrap();
        assert!(!names_own_folder(&file).unwrap());
    }
}
