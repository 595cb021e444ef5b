//! The checksums of the rows of one side, divided by their keys' checksums into buckets. They are kept
//! in memory up to a limit, and beyond it in a file without a name. It holds no value of any row.

use std::{
    env,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use parking_lot::Mutex;
use transload_values::Checksum;

use crate::{Error, Exit, Result, journal};

/// One row: the checksum of its key and of all its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: Checksum,
    pub(super) row: Checksum,
}

/// Entries that are compared at once: a bucket of 500 million rows takes 16 MB.
pub(super) const BUCKETS: usize = 1 << 10;
/// The bytes of an entry in the file.
const BYTES: usize = 32;
/// The most entries in memory: 64 MiB.
const IN_MEMORY: usize = (64 << 20) / BYTES;

/// The rows of one side.
pub(super) struct Entries {
    state: Mutex<State>,
    in_memory: usize,
}

#[derive(Default)]
struct State {
    buckets: Vec<Vec<Entry>>,
    held: usize,
    spill: Option<Spill>,
}

/// What did not fit into memory.
struct Spill {
    file: File,
    end: u64,
    /// For each bucket, where its parts begin and how many entries they have.
    parts: Vec<Vec<(u64, usize)>>,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self::holding(IN_MEMORY)
    }

    fn holding(in_memory: usize) -> Self {
        let state = State { buckets: vec![Vec::new(); BUCKETS], ..State::default() };
        Self { state: Mutex::new(state), in_memory }
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn add(&self, entries: &[Entry]) -> Result<()> {
        let mut state = self.state.lock();
        for entry in entries {
            state.buckets[bucket_of(entry.key)].push(*entry);
        }
        state.held += entries.len();
        if state.held > self.in_memory { state.spill().map_err(failed) } else { Ok(()) }
    }

    /// The rows of one bucket, sorted. They are gone afterwards.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn take(&self, bucket: usize) -> Result<Vec<Entry>> {
        let mut state = self.state.lock();
        let mut entries = std::mem::take(&mut state.buckets[bucket]);
        if let Some(spill) = &mut state.spill {
            spill.read(bucket, &mut entries).map_err(failed)?;
        }
        entries.sort_unstable();
        Ok(entries)
    }
}

fn bucket_of(Checksum(key): Checksum) -> usize {
    (key >> (128 - BUCKETS.ilog2())) as usize
}

impl State {
    fn spill(&mut self) -> io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::new()?),
        };
        self.held = 0;
        for (bucket, entries) in self.buckets.iter_mut().enumerate() {
            spill.write(bucket, entries)?;
            entries.clear();
        }
        Ok(())
    }
}

impl Spill {
    /// A file that no other process can open, and that is gone with the process.
    fn new() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("transload-verify-{}", journal::new_run()));
        let file = journal::private().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self { file, end: 0, parts: vec![Vec::new(); BUCKETS] })
    }

    fn write(&mut self, bucket: usize, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(entries.len() * BYTES);
        for Entry { key, row } in entries {
            bytes.extend_from_slice(&key.0.to_be_bytes());
            bytes.extend_from_slice(&row.0.to_be_bytes());
        }
        self.file.write_all(&bytes)?;
        self.parts[bucket].push((self.end, entries.len()));
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn read(&mut self, bucket: usize, entries: &mut Vec<Entry>) -> io::Result<()> {
        for (begin, count) in &self.parts[bucket] {
            let mut bytes = vec![0; count * BYTES];
            self.file.seek(SeekFrom::Start(*begin))?;
            self.file.read_exact(&mut bytes)?;
            let (halves, _) = bytes.as_chunks::<16>();
            let checksum = |half: &[u8; 16]| Checksum(u128::from_be_bytes(*half));
            let entry =
                |pair: &[[u8; 16]]| Entry { key: checksum(&pair[0]), row: checksum(&pair[1]) };
            entries.extend(halves.chunks_exact(2).map(entry));
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(Exit::Failed, format!("cannot keep checksums of rows: {error}"))
        .at(env::temp_dir().display().to_string())
        .hint("name a folder with room for 32 bytes of each row: TMPDIR=DIR transload verify ...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_memory_comes_back() {
        let entry = |number: u128| Entry {
            key: Checksum(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            row: Checksum(number),
        };
        let small = Entries::holding(1_000);
        let rows: Vec<_> = (0..10_000).map(entry).collect();
        rows.chunks(300).for_each(|rows| small.add(rows).unwrap());
        assert!(small.state.lock().spill.as_ref().unwrap().end > 100_000);
        let mut found = Vec::new();
        for bucket in 0..BUCKETS {
            let entries = small.take(bucket).unwrap();
            assert!(entries.is_sorted());
            assert!(entries.iter().all(|entry| bucket_of(entry.key) == bucket));
            found.extend(entries);
        }
        found.sort_by_key(|entry| entry.row);
        assert_eq!(found, rows);
    }
}
