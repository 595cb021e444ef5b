//! The two sides of a job, opened: a reader and a writer with what their plugins declare.

use serde::Serialize;
use transload_plugin_api::{Descriptor, Reader, WriteModeSpec, Writer};

use crate::{Error, Exit, Result, job::Job};

/// Which plugin stands on one side.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// The connection used, if one was named.
    pub connection: Option<String>,
}

/// Both sides of a job.
pub struct Stores {
    /// The source.
    pub reader: Box<dyn Reader>,
    /// The destination.
    pub writer: Box<dyn Writer>,
    /// Who reads.
    pub reader_side: Side,
    /// Who writes.
    pub writer_side: Side,
    /// What the writer's plugin declares.
    pub writer_descriptor: Descriptor,
}

impl Stores {
    /// The job's write mode, or the writer's first.
    pub(crate) fn write_mode(&self, job: &Job) -> Result<&WriteModeSpec> {
        let modes = self.writer_descriptor.writer.as_ref().map_or(&[][..], |writer| &writer.modes);
        modes.iter().find(|spec| spec.mode == job.writer.write_mode).ok_or_else(|| {
            let words: Vec<_> = modes.iter().map(|spec| spec.mode.word()).collect();
            let message = format!("plugin `{}` has no such write mode", self.writer_side.plugin);
            Error::new(Exit::Usage, message).hint(format!("it has: {}", words.join(", ")))
        })
    }

    /// The chunk size that suits the writer, in bytes.
    pub(crate) fn chunk_bytes(&self) -> Option<u64> {
        self.writer_descriptor.writer.as_ref()?.limits.chunk_bytes
    }
}
