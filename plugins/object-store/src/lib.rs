//! The object store plugin: files in S3, Azure Blob Storage, Google Cloud Storage or a local folder.
//!
//! Formats are the business of `transload-formats`, sets of files that of `transload-files`; this
//! crate is the way into the store: which objects, read in ranges, written in parts.
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options`, `address` | every option, described once; what `url` says, names and keys |
//! | `login` | credentials: of the connection, the environment, profile files, the machine |
//! | `network` | which hosts may be contacted, what TLS trusts, what went wrong |
//! | `access`, `client` | the opened bucket; how its client is made |
//! | `signed_request` | requests that the client does not offer |
//! | `failure`, `error_chain` | what the store's errors mean, and what is below them |
//! | `check` | the way to the store stage by stage |
//! | `reader` | the reading side's verbs |
//! | `pages`, `local` | listings page by page; a local folder as a store |
//! | `listing` | keys, folders and patterns to a frozen list of objects |
//! | `objects`, `stream` | the store as `transload-files` reads it; one object read in order |
//! | `download`, `pinned_object`, `permits` | one range over as many requests as it takes; verified answers; how many at once |
//! | `writer`, `uploads` | the writing side's verbs; the bucket as `transload-files` writes to it |

mod access;
mod address;
mod check;
mod client;
mod download;
mod error_chain;
mod failure;
mod listing;
mod local;
mod login;
mod network;
mod objects;
mod options;
mod pages;
mod permits;
mod pinned_object;
mod reader;
mod signed_request;
mod stream;
mod uploads;
mod writer;

#[cfg(test)]
mod fuzz;

use transload_plugin_api::{
    Descriptor, Host, Options, Plugin, Reader, ReaderDescriptor, Result, SplitAbility, Writer,
};

/// The plugin `object-store`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectStorePlugin;

/// What help shows: files of a bucket are read, and only those of some partitions.
const EXAMPLE: &str = r#"[reader]
plugin = "object-store"
url = "s3://shop-data/orders/"
region = "eu-central-1"
partition_filter = "day >= 2026-11-01"

[writer]
plugin = "file"
path = "orders.csv"
"#;

impl Plugin for ObjectStorePlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "object-store".to_owned(),
            example: EXAMPLE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "files in S3, Azure Blob Storage, Google Cloud Storage or a local folder"
                .to_owned(),
            options: options::connection_specs(),
            addressing: options::addressing(),
            reader: Some(ReaderDescriptor {
                options: options::reader_specs(),
                types: transload_formats::types(),
                ability: SplitAbility::Seekable,
                parses_text: true,
            }),
            writer: Some(writer::descriptor(transload_formats::types())),
            ..Descriptor::default()
        }
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::ObjectReader::new(&options, &host)?))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::ObjectWriter::new(&options, &host)?))
    }
}

transload_plugin_api::export_plugin!(ObjectStorePlugin);
