//! One file out of the uploads of several tasks, in the tasks' order, behind the old rows if they
//! stay. Text is joined as text, Parquet by its row groups; nothing is decoded.
//!
//! The result is a staged file that [`super::DiskUploads`] can complete like any upload. Joining
//! again after a crash gives the same file: the first task's file is cut back to its own size. The
//! tasks' files need not survive a power cut: only the joined file is synced, once, before it is
//! renamed.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use transload_formats::{Compression, Encoding, Format, ParquetFile, join_parquet};
use transload_plugin_api::{Column, Error, Result};

use super::{DiskUploads, error_at, local_file::LocalFile};
use crate::write::{RunFolder, UploadEntry, UploadStore};

/// What is joined, and to what.
pub(crate) struct Joining<'a> {
    pub(crate) disk: &'a DiskUploads,
    pub(crate) run: &'a str,
    pub(crate) run_folder: &'a RunFolder,
    /// The key of the file.
    pub(crate) key: &'a str,
    /// The rows that the file has already stay.
    pub(crate) append: bool,
    pub(crate) encoding: &'a Encoding,
    pub(crate) columns: &'a [Column],
}

impl Joining<'_> {
    /// Makes one upload of those of all tasks, whole and synced.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if a task's file is not the one that it finished with.
    pub(crate) fn join(&self, entries: &[UploadEntry]) -> Result<UploadEntry> {
        let upload = match self.encoding.format() {
            Format::Parquet => self.join_parquet(entries)?,
            _ => self.join_text(entries)?,
        };
        let mut joined = UploadEntry::of_commit(self.key, self.run)?;
        joined.upload = upload;
        joined.rows = entries.iter().map(|entry| entry.rows).sum();
        self.disk.mark(&joined.upload, self.run);
        joined.version = self.disk.settle(joined.id(), true)?;
        joined.size = self.size(&joined.upload)?;
        Ok(joined)
    }

    /// The first task's file is the base of a new one, so that a single task's rows are not copied.
    fn join_text(&self, entries: &[UploadEntry]) -> Result<String> {
        let (upload, mut file, rest) = match entries.split_first() {
            Some((first, rest)) if first.task() == Some(0) && !self.append => {
                (first.upload.clone(), self.reopen(first)?, rest)
            }
            _ => {
                let upload = self.begin()?;
                let file = if self.append { self.copy_old(&upload)? } else { self.start(&upload)? };
                (upload, file, entries)
            }
        };
        let path = self.disk.path(&upload);
        let mut has_rows = rest.len() < entries.len();
        for entry in rest {
            if has_rows {
                self.write(&mut file, self.encoding.separator(), &path)?;
            }
            self.copy_part(entry, &mut file)?;
            has_rows = true;
        }
        let mut end = Vec::new();
        self.encoding.encoder(self.columns)?.end(&mut end)?;
        self.write(&mut file, &end, &path)?;
        Ok(upload)
    }

    /// The row groups of the old file and of the tasks' files, behind each other. A single task's
    /// file is not copied.
    fn join_parquet(&self, entries: &[UploadEntry]) -> Result<String> {
        for entry in entries {
            self.check_size(entry)?;
        }
        if let ([only], false) = (entries, self.append) {
            return Ok(only.upload.clone());
        }
        let old = self.append.then_some(self.key);
        let keys = old.into_iter().chain(entries.iter().map(|entry| entry.upload.as_str()));
        let files = keys.map(|key| parquet_at(self.disk, key)).collect::<Result<Vec<_>>>()?;
        let upload = self.begin()?;
        let path = self.disk.path(&upload);
        let mut file = self.disk.write(&upload)?;
        if files.is_empty() {
            let mut encoder = self.encoding.encoder(self.columns)?;
            let mut empty = Vec::new();
            encoder.start(&mut empty)?;
            encoder.end(&mut empty)?;
            self.write(&mut file, &empty, &path)?;
        } else {
            join_parquet(&files, &mut file)?;
        }
        Ok(upload)
    }

    /// Begins an upload of its own, noted so that another process can remove it.
    fn begin(&self) -> Result<String> {
        let mut entry = UploadEntry::of_commit(self.key, self.run)?;
        entry.upload = self.disk.begin(self.key, &entry.token)?;
        self.run_folder.note_begun(self.disk, 0, 0, &entry)?;
        Ok(entry.upload)
    }

    /// A task's file, cut back to what the task wrote: an earlier commit may have died while it
    /// added to it.
    fn reopen(&self, entry: &UploadEntry) -> Result<File> {
        let path = self.disk.path(&entry.upload);
        let mut file = self.disk.write(&entry.upload)?;
        let found = file.metadata().map_err(|error| error_at(error, &path))?.len();
        if found < entry.size {
            return Err(wrong_size(&path, entry.size, found));
        }
        file.set_len(entry.size)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| error_at(error, &path))?;
        Ok(file)
    }

    fn copy_old(&self, upload: &str) -> Result<File> {
        let (old, path) = (self.disk.path(self.key), self.disk.path(upload));
        let (mut from, mut file) = (self.disk.read(self.key)?, self.disk.write(upload)?);
        io::copy(&mut from, &mut file).map_err(|error| error_at(error, &old))?;
        let complete = ends_with_newline(from, self.encoding.compression());
        if !complete.map_err(|error| error_at(error, &old))? {
            self.write(&mut file, b"\n", &path)?;
        }
        Ok(file)
    }

    fn start(&self, upload: &str) -> Result<File> {
        let path = self.disk.path(upload);
        let mut file = self.disk.write(upload)?;
        let mut start = Vec::new();
        self.encoding.encoder(self.columns)?.start(&mut start)?;
        self.write(&mut file, &start, &path)?;
        Ok(file)
    }

    fn copy_part(&self, entry: &UploadEntry, file: &mut File) -> Result<()> {
        let path = self.disk.path(&entry.upload);
        let mut part = self.disk.read(&entry.upload)?;
        let copied = io::copy(&mut part, file).map_err(|error| error_at(error, &path))?;
        if copied == entry.size { Ok(()) } else { Err(wrong_size(&path, entry.size, copied)) }
    }

    fn check_size(&self, entry: &UploadEntry) -> Result<()> {
        let path = self.disk.path(&entry.upload);
        let found = self.size(&entry.upload)?;
        if found == entry.size { Ok(()) } else { Err(wrong_size(&path, entry.size, found)) }
    }

    fn size(&self, key: &str) -> Result<u64> {
        let metadata = self.disk.read(key)?.metadata();
        metadata.map(|it| it.len()).map_err(|error| error_at(error, &self.disk.path(key)))
    }

    fn write(&self, file: &mut File, text: &[u8], path: &Path) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        file.write_all(&self.encoding.pack(text)?).map_err(|error| error_at(error, path))
    }
}

/// The Parquet file under a key.
pub(super) fn parquet_at(disk: &DiskUploads, key: &str) -> Result<ParquetFile> {
    ParquetFile::open(Arc::new(LocalFile::new(disk.read(key)?, &disk.path(key))?))
}

fn wrong_size(path: &Path, expected: u64, found: u64) -> Error {
    let message = format!("a task's file had {expected} bytes and has {found} bytes now");
    Error::data(message).at(path.display().to_string())
}

/// Whether the last line of a file is complete. A compressed file has to be read for that.
fn ends_with_newline(mut file: File, compression: Compression) -> io::Result<bool> {
    file.rewind()?;
    if compression == Compression::None && file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
    }
    let mut text = compression.reader(file).map_err(io::Error::other)?;
    let mut block = vec![0; 64 << 10];
    let mut last = b'\n';
    loop {
        match text.read(&mut block)? {
            0 => return Ok(last == b'\n'),
            read => last = block[read - 1],
        }
    }
}
