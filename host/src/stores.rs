//! The reader and the writer of a job, with what their plugins declare. Loading plugins is left to
//! `catalog`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{CountSpec, Descriptor, Reader, TypeSupport, WriteModeSpec, Writer};

use crate::{Error, Exit, Result, catalog::Trust, job::Job};

/// The plugin of one side, as plan and report name it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Side {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// Its version.
    pub(crate) version: String,
    /// Its library.
    pub(crate) path: PathBuf,
    /// The hash of what was loaded, in hexadecimal.
    pub(crate) sha256: String,
    /// Why its code may run.
    #[serde(default)]
    pub(crate) trust: Option<Trust>,
    /// The connection used, if one was named.
    pub(crate) connection: Option<String>,
    /// What its counts in the report mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) counts: Vec<CountSpec>,
}

/// The reader and the writer of a job.
pub(crate) struct Stores {
    /// The source.
    pub(crate) reader: Box<dyn Reader>,
    /// The destination.
    pub(crate) writer: Box<dyn Writer>,
    /// The reader's plugin.
    pub(crate) reader_side: Side,
    /// The writer's plugin.
    pub(crate) writer_side: Side,
    /// The descriptor of the reader's plugin.
    pub(crate) reader_descriptor: Descriptor,
    /// The descriptor of the writer's plugin.
    pub(crate) writer_descriptor: Descriptor,
    /// How long a source that was lost is tried again.
    pub(crate) reconnect_window: Duration,
    /// What the plan should warn of.
    pub(crate) warnings: Vec<String>,
}

impl Stores {
    /// What the writer declares about the job's write mode.
    ///
    /// # Errors
    /// If the writer does not have the mode.
    pub(crate) fn write_mode(&self, job: &Job) -> Result<&WriteModeSpec> {
        let modes = self.writer_descriptor.writer.as_ref().map_or(&[][..], |writer| &writer.modes);
        modes.iter().find(|spec| spec.mode == job.writer.write_mode).ok_or_else(|| {
            let words: Vec<_> = modes.iter().map(|spec| spec.mode.word()).collect();
            let message =
                format!("plugin `{}` does not have this write mode", self.writer_side.plugin);
            Error::new(Exit::Usage, message)
                .of_key("writer.write_mode")
                .hint(format!("it has: {}", words.join(", ")))
        })
    }

    /// Whether the reader makes its values from text. Its inspection is cheap then, too.
    pub(crate) fn parses_text(&self) -> bool {
        self.reader_descriptor.reader.as_ref().is_some_and(|reader| reader.parses_text)
    }

    /// The types that the writer supports.
    pub(crate) fn writer_types(&self) -> &[TypeSupport] {
        self.writer_descriptor.writer.as_ref().map_or(&[], |writer| &writer.types)
    }

    /// Whether the writer's store knows no keys, so that the job's key decides conflicts.
    pub(crate) fn job_names_key(&self) -> bool {
        self.writer_descriptor.writer.as_ref().is_some_and(|writer| writer.job_names_key)
    }

    /// The chunk size that the writer prefers, in bytes.
    pub(crate) fn chunk_bytes(&self) -> Option<u64> {
        self.writer_descriptor.writer.as_ref()?.limits.chunk_bytes
    }
}
