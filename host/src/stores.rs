//! The two sides of a job, opened: a reader and a writer with what their plugins declare.

use serde::Serialize;
use transload_plugin_api::{Descriptor, Reader, WriteModeSpec, Writer};

use crate::{Error, Exit, Result, job::Job};

/// Which plugin stands on one side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Side {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// Its version.
    pub(crate) version: String,
    /// The connection used, if one was named.
    pub(crate) connection: Option<String>,
}

/// Both sides of a job.
pub(crate) struct Stores {
    /// The source.
    pub(crate) reader: Box<dyn Reader>,
    /// The destination.
    pub(crate) writer: Box<dyn Writer>,
    /// Who reads.
    pub(crate) reader_side: Side,
    /// Who writes.
    pub(crate) writer_side: Side,
    /// What the writer's plugin declares.
    pub(crate) writer_descriptor: Descriptor,
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
