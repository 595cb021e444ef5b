//! The writing side's verbs: those of files in any store, and a check of the way to this one.

use std::sync::Arc;

use serde::Deserialize;
use transload_files::{Destination, DiskUploads, FilesWriter, OpenUploads, UploadStore};
use transload_plugin_api::{
    ChunkOutcome, ConflictEffect, Count, Error, Finding, Guarantee, Host, KeyNeed, Limits, Options,
    Receipt, Result, TableInfo, TargetInfo, TaskContext, TypeSupport, WriteDraft, WriteMode,
    WriteModeSpec, WritePlan, WriteTask, Writer, WriterDescriptor,
};

use crate::{
    access::Access,
    address::{Address, Scheme, path_of},
    check, options,
    uploads::BucketUploads,
};

/// A chunk is held back until it is whole; a larger one costs memory.
const CHUNK_BYTES: u64 = 16 << 20;

/// What the plugin declares of its writer.
pub(crate) fn descriptor(types: Vec<TypeSupport>) -> WriterDescriptor {
    let mode = |mode, doc| {
        let (needs, conflict) = (KeyNeed::Nothing, ConflictEffect::None);
        WriteModeSpec::new(mode, needs, conflict, Guarantee::AtomicJob, doc)
    };
    let insert = "new objects, or with `if_exists = \"append\"` more objects beside the old";
    let overwrite = "the old objects are replaced: they are removed once the new ones are written";
    WriterDescriptor {
        options: options::writer_specs(),
        types,
        modes: vec![mode(WriteMode::Insert, insert), mode(WriteMode::Overwrite, overwrite)],
        limits: Limits { chunk_bytes: Some(CHUNK_BYTES), transactional: true, ..Limits::default() },
        ..WriterDescriptor::default()
    }
}

#[derive(Deserialize)]
struct OwnOptions {
    path: String,
}

/// Writes objects.
pub(crate) struct ObjectWriter {
    access: Arc<Access>,
    files: FilesWriter,
}

impl ObjectWriter {
    /// Looks at the options only.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for what is wrong with them.
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let access = Arc::new(Access::new(options, host)?);
        let own: OwnOptions = options.parse(&options::writer_specs())?;
        let key = key_below(&access.address, &own.path)?;
        let destination = Destination::new(key);
        let (opened, root) = (Arc::clone(&access), destination.root().to_owned());
        let open: OpenUploads = Box::new(move || -> Result<Arc<dyn UploadStore>> {
            Ok(match opened.address.scheme {
                Scheme::File => Arc::new(DiskUploads::new(&root)),
                _ => Arc::new(BucketUploads::new(&opened.bucket()?)?),
            })
        });
        let files = FilesWriter::new(open, destination, options, host)?;
        Ok(Self { access, files })
    }
}

/// The key of a path below the url; a final `/` stays.
///
/// # Errors
/// [`ErrorKind::Options`] for a path that leads elsewhere.
fn key_below(address: &Address, path: &str) -> Result<String> {
    let key = address.key(path);
    let folder = key.strip_suffix('/').unwrap_or(&key);
    if path.starts_with('/') || (!folder.is_empty() && path_of(folder).is_err()) {
        let message = format!("`path` is not below the url: `{}`", path.escape_debug());
        return Err(
            Error::options(message).hint("it is relative, without empty segments, `.` or `..`")
        );
    }
    Ok(key)
}

impl Writer for ObjectWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut findings, reached) = check::reach(&self.access)?;
        if reached {
            findings.extend(self.files.check()?);
        }
        Ok(findings)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.files.discover()
    }

    fn inspect(&self) -> Result<TargetInfo> {
        self.files.inspect()
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        self.files.draft(plan)
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.files.prepare(plan)
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        self.files.open(plan, task)
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        self.files.commit(plan, receipts)
    }

    fn abort(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<()> {
        self.files.abort(plan, receipts)
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.files.finalise(plan)
    }

    fn counts(&self) -> Result<Vec<Count>> {
        Ok(self.access.counts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn a_path_is_below_the_url() {
        let key = |url: &str, path: &str| key_below(&Address::parse(url).unwrap(), path);
        for (url, path, expected) in [
            ("s3://b", "", ""),
            ("s3://b/p", "", "p/"),
            ("s3://b/p/", "q/", "p/q/"),
            ("s3://b/p", "q/x.csv", "p/q/x.csv"),
            ("s3://b", "x.csv", "x.csv"),
            ("file:///tmp", "o/", "tmp/o/"),
        ] {
            assert_eq!(key(url, path).unwrap(), expected, "{url} {path}");
        }
        for path in ["..", "../x", "a//b", "a/./b/", "/x", "/", "a\n", "a//"] {
            assert_eq!(key("s3://b/p", path).unwrap_err().kind, ErrorKind::Options, "{path}");
        }
    }
}
