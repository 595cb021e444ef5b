//! The file plugin: CSV, JSON lines, JSON arrays and Parquet, packed or not, in and out.
//!
//! Formats are the business of `transload-formats`, and so is reading a set of files; this crate
//! says which files those are, and how written ones are published.
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | the plugin's own options |
//! | `listing` | paths and patterns to a frozen list of files, and their bytes |
//! | `writer` | the writing side's verbs |
//! | `target`, `header` | one file or a folder; what may be added to |
//! | `stage`, `part`, `output` | the hidden folder of a run, a task's file in it, its growing end |
//! | `publish`, `manifest`, `durable` | the commit; the list of files in a folder; fsync and rename |

mod durable;
mod header;
mod listing;
mod manifest;
mod options;
mod output;
mod part;
mod publish;
mod stage;
mod target;
mod writer;

use std::sync::Arc;

use transload_files::FilesReader;
use transload_plugin_api::{
    ConflictEffect, Descriptor, Guarantee, Host, KeyNeed, Limits, Options, Plugin, Reader,
    ReaderDescriptor, Result, SplitAbility, WriteMode, WriteModeSpec, Writer, WriterDescriptor,
};

use listing::Files;

/// The plugin `file`.
pub struct FilePlugin;

/// A chunk is what can be cut off a file again; a larger one costs nothing but the replay.
const CHUNK_BYTES: u64 = 32 << 20;

impl Plugin for FilePlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "file".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "CSV, JSON and Parquet files, plain or compressed".to_owned(),
            reader: Some(ReaderDescriptor {
                options: options::reader_specs(),
                types: transload_formats::types(),
                ability: SplitAbility::Seekable,
                parses_text: true,
            }),
            writer: Some(WriterDescriptor {
                options: options::writer_specs(),
                types: transload_formats::types(),
                modes: modes(),
                limits: Limits {
                    chunk_bytes: Some(CHUNK_BYTES),
                    transactional: true,
                    ..Limits::default()
                },
                ..WriterDescriptor::default()
            }),
            ..Descriptor::default()
        }
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        let files = Arc::new(Files::new(options::ReaderOptions::parse(&options)?)?);
        Ok(Box::new(FilesReader::new(files, &options, &host)?))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::FileWriter::new(&options, &host)?))
    }
}

fn modes() -> Vec<WriteModeSpec> {
    let mode = |mode, doc| {
        let (needs, conflict) = (KeyNeed::Nothing, ConflictEffect::None);
        WriteModeSpec::new(mode, needs, conflict, Guarantee::AtomicJob, doc)
    };
    vec![
        mode(
            WriteMode::Insert,
            "a new file, or with `if_exists = \"append\"` more rows in an old one; all at once",
        ),
        mode(WriteMode::Overwrite, "the old file is replaced by the new one; all at once"),
    ]
}

transload_plugin_api::export_plugin!(FilePlugin);
