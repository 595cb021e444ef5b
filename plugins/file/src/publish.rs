//! The commit of a run: staged parts become the target, in the tasks' order. Every step can be
//! repeated after a crash, and whoever looks sees the old state or the new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use transload_formats::{Compression, Encoding, Format, join_parquet};
use transload_plugin_api::{ChunkOutcome, Error, ErrorKind, Receipt, Result, WriteMode, WritePlan};

use crate::{
    durable::{self, Identity},
    header,
    listing::at,
    manifest::{Manifest, ManifestFile},
    part::PartReceipt,
    stage::{Before, Stage},
};

/// A task's number and what it said of its file.
type Part = (u32, PartReceipt);

/// The receipts in the tasks' order.
pub(crate) fn parts_of(receipts: &[Receipt]) -> Result<Vec<Part>> {
    let part = |receipt: &Receipt| {
        let part = serde_json::from_str(&receipt.data).map_err(|error| {
            let message = format!("the receipt of task {} is not ours", receipt.task);
            Error::new(ErrorKind::Defect, message).caused_by(&error)
        })?;
        Ok((receipt.task, part))
    };
    let mut parts = receipts.iter().map(part).collect::<Result<Vec<_>>>()?;
    parts.sort_by_key(|(task, _)| *task);
    Ok(parts)
}

/// What a commit works with.
pub(crate) struct Publication<'a> {
    pub(crate) plan: &'a WritePlan,
    pub(crate) stage: &'a Stage,
    pub(crate) before: &'a Before,
    pub(crate) encoding: &'a Encoding,
    pub(crate) parts: &'a [Part],
}

impl Publication<'_> {
    /// Makes the target file. The commit point is its rename.
    pub(crate) fn publish_file(&self, target: &Path) -> Result<ChunkOutcome> {
        if let Some(outcome) = self.earlier_attempt(target)? {
            return Ok(outcome);
        }
        let output = self.stage.output();
        self.assemble(target)?;
        if Identity::of(target)? != self.before.file {
            return Err(Error::new(ErrorKind::Exists, "the file has changed during the run")
                .with_code("FILE-CHANGED")
                .at(target.display().to_string())
                .hint("nothing was written to it; run the job again"));
        }
        if self.before.file.is_some() {
            keep_permissions(target, &output)?;
        }
        if let Some(identity) = Identity::of(&output)? {
            self.stage.note_publishing(&identity)?;
        }
        if self.before.file.is_none() {
            durable::rename_new(&output, target)?;
        } else {
            fs::rename(&output, target).map_err(|error| at(error, target))?;
        }
        durable::sync_folder(durable::folder_of(target))?;
        Ok(ChunkOutcome::Committed)
    }

    /// What an earlier call has come to, if it came as far as the rename.
    fn earlier_attempt(&self, target: &Path) -> Result<Option<ChunkOutcome>> {
        let Some(output) = self.stage.publishing()? else { return Ok(None) };
        if Identity::of(target)? == Some(output) {
            return Ok(Some(ChunkOutcome::AlreadyCommitted));
        }
        if Identity::of(&self.stage.output())?.is_some() {
            return Ok(None);
        }
        let evidence = format!(
            "the finished file of {} bytes was about to be renamed to {} and is neither there nor \
             in its staging folder",
            output.size,
            target.display()
        );
        Ok(Some(ChunkOutcome::Unknown { evidence }))
    }

    /// Joins old content and parts into the staged output, synced. Task 0's part is the base of a
    /// new file, so that a single task's rows are not copied.
    fn assemble(&self, target: &Path) -> Result<()> {
        let output = self.stage.output();
        if self.encoding.format() == Format::Parquet {
            return self.assemble_parquet(target, &output);
        }
        let (mut file, rest) = match self.parts.split_first() {
            _ if self.before.append => (self.copy_old(target, &output)?, self.parts),
            Some(((0, first), rest)) => (self.take_base(first, &output)?, rest),
            _ => (self.start_file(&output)?, self.parts),
        };
        let mut rows = if rest.len() < self.parts.len() { self.parts[0].1.rows } else { 0 };
        for (task, part) in rest {
            if rows > 0 && part.rows > 0 {
                self.write(&mut file, self.encoding.separator(), &output)?;
            }
            copy_part(&self.stage.ready(*task), part, &mut file)?;
            rows += part.rows;
        }
        let mut end = Vec::new();
        self.encoding.encoder(&self.plan.columns)?.end(&mut end)?;
        self.write(&mut file, &end, &output)?;
        durable::sync_file(&file, &output)?;
        self.stage.sync()
    }

    /// Parquet: the old file's row groups and those of the parts, behind each other. A single part
    /// is not copied.
    fn assemble_parquet(&self, target: &Path, output: &Path) -> Result<()> {
        let mut parts = self.parts.iter().filter(|(_, part)| part.rows > 0).collect::<Vec<_>>();
        if parts.is_empty() && !self.before.append {
            parts.extend(self.parts.first());
        }
        if let (&[(task, _)], false) = (parts.as_slice(), self.before.append) {
            let ready = self.stage.ready(*task);
            if Identity::of(&ready)?.is_some() {
                fs::rename(&ready, output).map_err(|error| at(error, &ready))?;
            }
            return self.stage.sync();
        }
        let mut files = Vec::new();
        if self.before.append {
            files.push(header::parquet_at(target)?);
        }
        for (task, part) in parts {
            let ready = self.stage.ready(*task);
            let found = Identity::of(&ready)?.map_or(0, |identity| identity.size);
            if found != part.size {
                return Err(wrong_part(&ready, part.size, found));
            }
            files.push(header::parquet_at(&ready)?);
        }
        let mut file = File::create(output).map_err(|error| at(error, output))?;
        if files.is_empty() {
            let encoder = &mut *self.encoding.encoder(&self.plan.columns)?;
            let mut empty = Vec::new();
            encoder.start(&mut empty)?;
            encoder.end(&mut empty)?;
            self.write(&mut file, &empty, output)?;
        } else {
            join_parquet(&files, &mut file)?;
        }
        durable::sync_file(&file, output)?;
        self.stage.sync()
    }

    fn copy_old(&self, target: &Path, output: &Path) -> Result<File> {
        fs::copy(target, output).map_err(|error| at(error, output))?;
        let mut file = open_at_end(output)?;
        let complete = ends_with_newline(target, self.encoding.compression());
        if !complete.map_err(|error| at(error, target))? {
            self.write(&mut file, b"\n", output)?;
        }
        Ok(file)
    }

    fn take_base(&self, first: &PartReceipt, output: &Path) -> Result<File> {
        let ready = self.stage.ready(0);
        if Identity::of(&ready)?.is_some() {
            fs::rename(&ready, output).map_err(|error| at(error, &ready))?;
        }
        let mut file = open_at_end(output)?;
        let found = file.metadata().map_err(|error| at(error, output))?.len();
        if found < first.size {
            return Err(wrong_part(output, first.size, found));
        }
        // An earlier attempt may have died while it added to it.
        file.set_len(first.size)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| at(error, output))?;
        Ok(file)
    }

    fn start_file(&self, output: &Path) -> Result<File> {
        let mut file = File::create(output).map_err(|error| at(error, output))?;
        let mut start = Vec::new();
        self.encoding.encoder(&self.plan.columns)?.start(&mut start)?;
        self.write(&mut file, &start, output)?;
        Ok(file)
    }

    fn write(&self, file: &mut File, text: &[u8], output: &Path) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let packed = self.encoding.pack(text)?;
        file.write_all(&packed).map_err(|error| at(error, output))
    }

    /// Adds the parts to the folder. The commit point is the manifest's rename; old files of an
    /// overwrite go after it.
    pub(crate) fn publish_folder(&self, folder: &Path) -> Result<ChunkOutcome> {
        let current = Manifest::read(folder)?;
        let outcome = match &current {
            Some(manifest) if manifest.run == self.plan.run => ChunkOutcome::AlreadyCommitted,
            _ if current != self.before.manifest => return Err(manifest_changed(folder)),
            _ => {
                let manifest = self.move_parts(folder)?;
                manifest.write(folder)?;
                ChunkOutcome::Committed
            }
        };
        if self.plan.mode == WriteMode::Overwrite {
            for old in self.before.manifest.iter().flat_map(|manifest| &manifest.files) {
                durable::remove(&folder.join(&old.name))?;
            }
            durable::sync_folder(folder)?;
        }
        Ok(outcome)
    }

    /// Gives every part with rows its final name; if none has any, the first part without.
    fn move_parts(&self, folder: &Path) -> Result<Manifest> {
        let kept = self.before.manifest.iter().filter(|_| self.plan.mode != WriteMode::Overwrite);
        let mut files: Vec<_> = kept.flat_map(|manifest| manifest.files.clone()).collect();
        let empty = self.parts.iter().all(|(_, part)| part.rows == 0);
        let taken = self.parts.iter().filter(|(_, part)| part.rows > 0);
        for (task, part) in taken.chain(self.parts.first().filter(|_| empty)) {
            let name = part_name(self.plan, self.encoding, *task);
            let (ready, path) = (self.stage.ready(*task), folder.join(&name));
            if Identity::of(&ready)?.is_some() {
                durable::rename_new(&ready, &path)?;
            }
            let found = Identity::of(&path)?.map_or(0, |identity| identity.size);
            if found != part.size {
                return Err(wrong_part(&path, part.size, found));
            }
            let PartReceipt { size, rows, sha256 } = part.clone();
            files.push(ManifestFile { name, size, rows, sha256 });
        }
        durable::sync_folder(folder)?;
        Ok(Manifest { run: self.plan.run.clone(), files })
    }
}

/// The final name of a task's file in a folder: with the run in it nobody else has it.
pub(crate) fn part_name(plan: &WritePlan, encoding: &Encoding, task: u32) -> String {
    format!("part-{}-{task:05}.{}", plan.run, encoding.extension())
}

/// Takes back the files that an unfinished commit has put into a folder. Right only while the
/// manifest is not the run's own.
pub(crate) fn withdraw_parts(
    folder: &Path,
    plan: &WritePlan,
    encoding: &Encoding,
    tasks: impl IntoIterator<Item = u32>,
) -> Result<()> {
    let path = |task| -> PathBuf { folder.join(part_name(plan, encoding, task)) };
    tasks.into_iter().try_for_each(|task| durable::remove(&path(task)))
}

fn manifest_changed(folder: &Path) -> Error {
    Error::new(ErrorKind::Exists, "another run has written to the folder during this one")
        .with_code("FILE-CHANGED")
        .at(folder.display().to_string())
        .hint("nothing was published; run the job again")
}

fn wrong_part(path: &Path, expected: u64, found: u64) -> Error {
    let message = format!("a finished part had {expected} bytes and has {found} now");
    Error::new(ErrorKind::Data, message).at(path.display().to_string())
}

fn open_at_end(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let mut file = file.map_err(|error| at(error, path))?;
    file.seek(SeekFrom::End(0)).map_err(|error| at(error, path))?;
    Ok(file)
}

/// Whether the last line of a file is complete. A packed file has to be read for that.
fn ends_with_newline(path: &Path, compression: Compression) -> io::Result<bool> {
    let mut file = File::open(path)?;
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

fn copy_part(ready: &Path, part: &PartReceipt, file: &mut File) -> Result<()> {
    let mut source = File::open(ready).map_err(|error| at(error, ready))?;
    let copied = io::copy(&mut source, file).map_err(|error| at(error, ready))?;
    if copied == part.size { Ok(()) } else { Err(wrong_part(ready, part.size, copied)) }
}

fn keep_permissions(from: &Path, to: &Path) -> Result<()> {
    fs::metadata(from)
        .and_then(|found| fs::set_permissions(to, found.permissions()))
        .map_err(|error| at(error, to))
}
