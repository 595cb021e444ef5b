//! Locks of folders: that of the target, held while a run publishes, and those of runs, held as long
//! as their process lives. The system releases them when the process ends, however it ends.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{FlockOperation, flock, fstat},
    io::Errno,
};
use transload_plugin_api::{Cancel, Result, Waiting};

/// How often a lock that another process holds is tried.
const GLANCE: Duration = Duration::from_millis(20);
/// How often a run's folder is made anew.
const TRIES: usize = 100;
/// After so long a wait is reported.
const SOON: Duration = Duration::from_secs(1);

/// A lock; dropping it releases it.
#[derive(Debug)]
pub(super) struct RunLock {
    folder: OwnedFd,
}

impl RunLock {
    /// The locked folder.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// Waits until no other run publishes into the folder. `None` where the file system has no locks.
pub(super) fn lock_folder(
    folder: OwnedFd,
    path: &Path,
    cancel: &Cancel,
) -> Result<Option<RunLock>> {
    let (begun, mut waiting) = (Instant::now(), None);
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(RunLock { folder })),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => {
                tracing::debug!(folder = %path.display(), %error, "the folder cannot be locked");
                return Ok(None);
            }
        }
        if waiting.is_none() && begun.elapsed() > SOON {
            let what = format!("waiting for another run that publishes into {}", path.display());
            waiting = Some(Waiting::new(what));
        }
        cancel.sleep(GLANCE)?;
    }
}

/// Makes a run's folder and takes its lock, together with other writers of the same run. `None`
/// where the file system has no locks.
pub(super) fn hold_new(
    path: &Path,
    make: impl Fn() -> io::Result<OwnedFd>,
) -> io::Result<Option<RunLock>> {
    let mut tries = 0;
    loop {
        match make().and_then(|folder| hold(folder, path)) {
            // Another run has swept the empty folder meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

fn hold(folder: OwnedFd, path: &Path) -> io::Result<Option<RunLock>> {
    match flock(&folder, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(io::ErrorKind::NotFound.into()),
        Err(_) => return Ok(None),
    }
    let (held, there) = (fstat(&folder)?, fs::symlink_metadata(path)?);
    if (held.st_ino, held.st_dev) != (there.ino(), there.dev()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Some(RunLock { folder }))
}

/// Whether no process holds a run's folder.
pub(super) fn is_free(folder: &OwnedFd) -> bool {
    flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Names this start of the machine: a lock proves nothing about processes of another machine.
pub(super) fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}
