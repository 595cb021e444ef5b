//! The writing side, from rows to published objects.
//!
//! | module | what it holds |
//! |---|---|
//! | `writer` | [`FilesWriter`]: the verbs of a [`transload_plugin_api::Writer`] |
//! | `options` | what a job says of it |
//! | `destination`, `prior_state` | where it all goes, and how that looked before |
//! | `name_template` | names of objects |
//! | `partition`, `partition_part` | which row goes to which partition, by which part of a value |
//! | `task` | a task's objects: rolling, partitions, chunks |
//! | `task_memory` | how much a task keeps across chunks |
//! | `lines` | a batch as lines of text, for many partitions |
//! | `rolling` | when an object ends, and how many are open |
//! | `spill` | rows of partitions for which no object is open |
//! | `object` | one object: encoder, compression, chunk |
//! | `finished_task` | what a finished task leaves, so that it is not written again |
//! | `upload`, `entry` | its bytes on their way, in parts; the record of an upload |
//! | `run_folder` | what a run keeps beside the output until it is over |
//! | `manifest` | what is published, and by which run |
//! | `publish` | the commit, which can be repeated after any step |
//! | `abort` | the way back |
//! | `sweep` | what other runs have left, and what of it may go |
//! | `concurrent` | many requests, some at a time |
//! | `upload_store` | the seam to the stores |

mod abort;
mod concurrent;
mod destination;
mod entry;
mod finished_task;
mod lines;
mod manifest;
mod name_template;
mod object;
mod options;
mod partition;
mod partition_part;
mod prior_state;
mod publish;
mod rolling;
mod run_folder;
mod spill;
mod sweep;
mod task;
mod task_memory;
mod upload;
mod upload_store;
mod writer;

#[cfg(test)]
mod fuzz;

use transload_plugin_api::{Error, Result};

pub(crate) use self::{
    concurrent::ABREAST,
    entry::UploadEntry,
    run_folder::{FOLDER, RunFolder},
};
pub use self::{
    destination::Destination,
    name_template::encode as encode_name,
    options::writer_specs,
    upload_store::{
        Condition, ListedObject, ObjectInfo, OpenUpload, OwnershipProof, Part, PartPermit, Pending,
        Reply, UploadId, UploadStore,
    },
    writer::{FilesWriter, OpenUploads},
};

/// Digits of a hash, or of any bytes.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 128 random bits, by which nothing is taken for ours that is not.
pub(crate) fn random_word() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::other("no random numbers from the system").caused_by(&error))?;
    Ok(hexadecimal(&bytes))
}
