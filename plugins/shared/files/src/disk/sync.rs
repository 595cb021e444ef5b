//! Many files made durable by one call instead of one call each. Right only where the call waits for
//! the disk and reports what could not be written: on local file systems of Linux 5.8 and later, by
//! a descriptor that was opened before the files were written.

use std::{
    fs, io,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use rustix::{
    fd::BorrowedFd,
    fs::{fstatfs, syncfs},
};

/// Fewer files are synced one by one: the whole file system may have more to write than they are.
const FEW: usize = 64;
/// ext2 to ext4, XFS, Btrfs, tmpfs.
const LOCAL: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];

/// What of a folder's files is still to be made durable.
#[derive(Default)]
pub(super) struct Deferred {
    /// Until the run is over: some of its tasks may have ended while others are about to.
    deferred: AtomicBool,
    /// Something was deferred since the last sync.
    unsynced: AtomicBool,
    /// Held while files are being synced: who finds nothing to do has to wait for that.
    syncing: Mutex<()>,
}

impl Deferred {
    /// Files need not be durable before [`Deferred::sync`], if they are many.
    pub(super) fn begin(&self, files: usize, folder: Option<BorrowedFd<'_>>) {
        if files > FEW && folder.is_some_and(reports) {
            self.deferred.store(true, Ordering::SeqCst);
        }
    }

    /// The run is over.
    pub(super) fn end(&self) {
        self.deferred.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_begun(&self) -> bool {
        self.deferred.load(Ordering::SeqCst)
    }

    /// Whether what has just been written is left to [`Deferred::sync`].
    pub(super) fn defers(&self) -> bool {
        let defers = self.is_begun();
        self.unsynced.fetch_or(defers, Ordering::SeqCst);
        defers
    }

    /// Makes all files durable that were written before.
    pub(super) fn sync(&self, folder: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let _syncing = self.syncing.lock();
        match folder {
            Some(folder) if self.unsynced.swap(false, Ordering::SeqCst) => Ok(syncfs(folder)?),
            _ => Ok(()),
        }
    }
}

/// Whether the file system reports by `syncfs` what it could not write.
fn reports(folder: BorrowedFd<'_>) -> bool {
    let local = fstatfs(folder).is_ok_and(|found| LOCAL.contains(&(found.f_type as u64)));
    local && fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|text| is_recent(&text))
}

fn is_recent(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|it| it.trim().parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    version >= (5, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_5_8_do_not_report() {
        for (release, recent) in [
            ("5.8.0-generic\n", true),
            ("6.18.44-x", true),
            ("5.7.19", false),
            ("4.19", false),
            ("", false),
        ] {
            assert_eq!(is_recent(release), recent, "{release}");
        }
    }
}
