//! The file plugin: CSV, JSON lines, JSON arrays and Parquet, packed or not, in and out.
//!
//! Formats are the business of `transload-formats`, sets of files that of `transload-files`: this
//! crate says which files of the disk are read, and where written ones go.
//!
//! # Layout
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | the plugin's own options |
//! | `listing` | paths and patterns to a frozen list of files, and their bytes |
//! | `destination` | one file or a folder |
//! | `pipe` | standard input and output, named pipes |
//! | `stream_writer` | the writer of a stream |

mod destination;
mod listing;
mod options;
mod pipe;
mod stream_writer;

use std::sync::Arc;

use transload_files::{FilesReader, FilesWriter};
use transload_plugin_api::{
    ConflictEffect, Descriptor, Guarantee, Host, KeyNeed, Limits, Options, Plugin, Reader,
    ReaderDescriptor, Result, SplitAbility, WriteMode, WriteModeSpec, Writer, WriterDescriptor,
};

use listing::Files;
use stream_writer::StreamWriter;

/// The plugin `file`.
pub struct FilePlugin;

/// A chunk is held back as text until it is whole. A larger one only costs memory: nothing is synced
/// at its end.
const CHUNK_BYTES: u64 = 2 << 20;

/// What help shows: a folder of compressed CSV files becomes one Parquet file.
const EXAMPLE: &str = r#"[reader]
plugin = "file"
path = "orders/*.csv.gz"
delimiter = ";"

[writer]
plugin = "file"
path = "orders.parquet"
"#;

impl Plugin for FilePlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "file".to_owned(),
            example: EXAMPLE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "CSV, JSON and Parquet files, plain or compressed".to_owned(),
            addressing: options::addressing(),
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
        let own = options::ReaderOptions::parse(&options)?;
        let files = Arc::new(Files::new(own, host.cancel().clone())?);
        Ok(Box::new(FilesReader::new(files, &options, &host)?))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        let own = options::WriterOptions::parse(&options)?;
        if let Some(stream) = destination::stream(&own)? {
            return Ok(Box::new(StreamWriter::new(&stream, &options, &host)?));
        }
        let destination = destination::resolve(&own)?;
        let open = destination::uploads(&destination);
        let writer = FilesWriter::new(open, destination, &options, &host)?;
        writer.check_format()?;
        Ok(Box::new(writer))
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
