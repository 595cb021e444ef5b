//! The memory that two processes share for the bodies of messages: some slots, used in turn. Nothing of
//! it is mapped: a side copies into it and out of it by system calls, so the other one can neither
//! change what was checked nor end this process by cutting it off. Its size is sealed.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::{fd::OwnedFd, unix::fs::FileExt},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create},
    io::pwritev,
};

/// Bytes of a slot.
pub(super) const SLOT: usize = 1 << 20;
/// How many slots there are.
pub(super) const SLOTS: u64 = 4;

/// Most parts that the system takes in one call.
const PARTS: usize = 512;

/// Shared memory of a fixed size. It takes as much as is used of it.
pub(super) struct SharedMemory(File);

impl SharedMemory {
    /// Fresh memory.
    pub(super) fn new() -> io::Result<Self> {
        let memory = memfd_create("rows", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, SLOTS * SLOT as u64)?;
        fcntl_add_seals(&memory, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(Self(memory.into()))
    }

    /// The memory behind a descriptor that another process sent.
    ///
    /// # Errors
    /// If its size can change.
    pub(super) fn received(memory: OwnedFd) -> io::Result<Self> {
        if !fcntl_get_seals(&memory)?.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(io::Error::other("the shared memory is not sealed"));
        }
        Ok(Self(memory.into()))
    }

    /// Another descriptor of it, for the other process.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }

    /// Fills a slot with these parts, which fit.
    pub(super) fn fill(&self, slot: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut at = slot * SLOT as u64;
        for parts in parts.chunks(PARTS) {
            let bytes: usize = parts.iter().map(|part| part.len()).sum();
            if pwritev(&self.0, parts, at)? != bytes {
                return Err(io::ErrorKind::WriteZero.into());
            }
            at += bytes as u64;
        }
        Ok(())
    }

    /// Copies the beginning of a slot.
    pub(super) fn copy(&self, slot: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, slot * SLOT as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_size_cannot_change_and_memory_without_a_seal_is_refused() {
        let memory = SharedMemory::new().unwrap();
        memory.fill(3, &[IoSlice::new(b"ro"), IoSlice::new(b"ws")]).unwrap();
        let other = File::from(memory.share().unwrap());
        assert!(other.set_len(0).is_err() && other.set_len(1 << 30).is_err());
        let mut rows = [0; 4];
        SharedMemory::received(other.into()).unwrap().copy(3, &mut rows).unwrap();
        assert_eq!(&rows, b"rows");
        let loose = memfd_create("loose", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(SharedMemory::received(loose).is_err());
        assert!(SharedMemory::received(tempfile::tempfile().unwrap().into()).is_err());
    }
}
