//! Sets of files as sources and as targets, in any store: what is common to the plugins `file` and
//! `object-store`. What is in a file is the business of `transload-formats`; how bytes get to a
//! disk or a bucket is the business of the plugins.
//!
//! Reading: a plugin implements [`Store`] (list files, read ranges), and [`FilesReader`] is its
//! [`Reader`](transload_plugin_api::Reader). Writing: a plugin implements [`UploadStore`] (begin,
//! send, complete or discard an upload), and [`FilesWriter`] is its
//! [`Writer`](transload_plugin_api::Writer).
//!
//! # Layout
//!
//! | module | what it holds |
//! |---|---|
//! | `store` | the seam to where files are read from: [`Store`], [`Listing`], [`StoredFile`] |
//! | `nearby` | which names lie beside one that is missing |
//! | `pattern` | name patterns, and which names are hidden |
//! | `partition` | folders named after values, `day=2026-11-21/` |
//! | `read` | columns, splits, batches with positions: [`FilesReader`] |
//! | `parquet` | a stored file as Parquet |
//! | `write` | names, uploads, staging, manifest, publishing, sweeping: [`FilesWriter`] |
//! | `disk` | a local folder as an [`UploadStore`] |

mod disk;
mod nearby;
mod parquet;
mod partition;
mod pattern;
mod read;
mod store;
mod write;

#[cfg(test)]
mod fuzz;

pub use disk::{DiskUploads, error_at, open_below, stat_below, unnamed_file};
pub use nearby::names_beside;
pub use parquet::open_parquet;
pub use partition::{
    PartitionFilter, PartitionMode, PartitionValue, Partitions, partition_specs, partitions,
};
pub use pattern::{Pattern, is_hidden, is_pattern, literal_prefix};
pub use read::FilesReader;
pub use store::{Listing, Store, StoredFile};
pub use write::{
    Condition, Destination, FilesWriter, ListedObject, ObjectInfo, OpenUpload, OpenUploads,
    OwnershipProof, Part, PartPermit, Pending, Reply, UploadId, UploadStore, encode_name,
    writer_specs,
};
