//! The lock on a run's folder: which process works on the run. The kernel releases it when the
//! process ends, however it ends.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    time::SystemTime,
};

use transload_plugin_api::{Error as PluginError, code};

use super::folder::{failed, private};
use crate::{Error, Result, report::local};

const NAME: &str = "lock";

/// A held lock; released when dropped.
pub(super) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock of a run's folder.
    ///
    /// # Errors
    /// [`code::RUN_ACTIVE`] if another process holds it.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let open = || private().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open().map_err(|error| failed(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(folder, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(&path, &error)),
        }
        sign(&mut file).map_err(|error| failed(&path, &error))?;
        Ok(Self { _file: file })
    }

    /// Whether a process holds the lock of this folder.
    pub(super) fn is_held(folder: &Path) -> bool {
        let file = private().read(true).open(folder.join(NAME));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

/// Writes the holder of the lock.
fn sign(file: &mut File) -> io::Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (process, since) = (std::process::id(), local(SystemTime::now()));
    file.set_len(0)?;
    file.write_all(format!("process {process} on {}, since {since}\n", host.trim()).as_bytes())
}

fn held(folder: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    // Without the holder's name the message says less.
    let _ = file.rewind().and_then(|()| file.take(1024).read_to_string(&mut holder));
    let run = folder.file_name().unwrap_or_default().to_string_lossy();
    let holder = if holder.is_empty() { "another process" } else { holder.trim() };
    let message = format!("run {run} is being worked on by {holder}");
    let error = PluginError::locked(message).with_code(code::RUN_ACTIVE);
    error.hint("wait for its end: `transload history` shows it").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;

    #[test]
    fn the_second_process_learns_who_holds_the_run() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!RunLock::is_held(folder.path()));
        let lock = RunLock::take(folder.path()).unwrap();
        assert!(RunLock::is_held(folder.path()));
        let error = RunLock::take(folder.path()).err().unwrap();
        assert_eq!((error.exit, error.error.code.as_str()), (Exit::Locked, code::RUN_ACTIVE));
        let own = format!("process {} on ", std::process::id());
        assert!(error.to_string().contains(&own), "{error}");
        drop(lock);
        RunLock::take(folder.path()).unwrap();
    }
}
