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

use transload_formats::FilesReader;
use transload_plugin_api::{
    ConflictEffect, Descriptor, Guarantee, Host, KeyNeed, Limits, Options, Plugin, Reader,
    ReaderDescriptor, Result, SplitAbility, TypeSupport, WriteMode, WriteModeSpec, Writer,
    WriterDescriptor,
};

/// The plugin `file`.
pub struct FilePlugin;

/// A chunk is what can be cut off a file again; a larger one costs nothing but the replay.
const CHUNK_BYTES: u64 = 32 << 20;

impl Plugin for FilePlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "file".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "CSV and JSON files, plain or compressed".to_owned(),
            reader: Some(ReaderDescriptor {
                options: options::reader_specs(),
                types: types(),
                ability: SplitAbility::Seekable,
                parses_text: true,
            }),
            writer: Some(WriterDescriptor {
                options: options::writer_specs(),
                types: types(),
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
        let paths = options::ReaderOptions::parse(&options)?.path;
        let files = Arc::new(listing::Files { paths });
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

fn types() -> Vec<TypeSupport> {
    let number = &["CSV cell", "JSON number"][..];
    let text = &["CSV cell", "JSON string"][..];
    let mut types: Vec<_> =
        ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "decimal"]
            .map(|family| TypeSupport::new(family, number))
            .into();
    types.push(TypeSupport::new("boolean", &["CSV cell", "JSON true and false"]));
    for family in ["numeric", "float32", "float64"] {
        types.push(
            TypeSupport::new(family, number).note("NaN and infinities are dirty rows in JSON"),
        );
    }
    for family in ["text", "date", "time", "duration", "timestamp", "timestamptz", "uuid"] {
        types.push(TypeSupport::new(family, text));
    }
    types.push(TypeSupport::new("binary", text).note("hex or base64, see `binary`"));
    types.push(
        TypeSupport::new("json", &["CSV cell", "JSON value"])
            .note("the document `null` is a dirty row in JSON, where it would mean NULL"),
    );
    types
}

transload_plugin_api::export_plugin!(FilePlugin);
