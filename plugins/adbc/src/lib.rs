//! The adbc plugin: reads tables and queries, and adds rows to tables, by any ADBC driver, a shared library of its database's
//! vendor. Rows come and go as Arrow batches, as the driver has them.
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | the options of both roles |
//! | `locate` | the driver's library: by path, manifest or name |
//! | `driver` | the calls into it; the one file with `unsafe` |
//! | `store` | opening a database, and connections to it |
//! | `session`, `objects` | statements; the list of tables |
//! | `types` | the driver's Arrow types to logical ones |
//! | `reader`, `scan` | the source behind a `TableReader`; the rows of one split |
//! | `writer`, `load` | the target: what a plan would do; the rows of a chunk, without those refused |
//! | `dialect`, `failure` | standard SQL; what a driver's failures mean |

mod dialect;
mod driver;
mod failure;
mod load;
mod locate;
mod objects;
mod options;
mod reader;
mod scan;
mod session;
mod store;
mod types;
mod writer;

use transload_plugin_api::{
    ConflictEffect, Descriptor, Dialect, Guarantee, Host, KeyNeed, Limits, LoadMethod, Options,
    Plugin, Reader, ReaderDescriptor, Result, SplitAbility, WriteMode, WriteModeSpec, Writer,
    WriterDescriptor,
};

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdbcPlugin;

/// What help shows.
const EXAMPLE: &str = r#"[reader]
plugin = "adbc"
driver = "duckdb"
options = { path = "/data/shop.duckdb" }
table = "orders"

[writer]
plugin = "file"
path = "orders.parquet"
"#;

impl Plugin for AdbcPlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "adbc".to_owned(),
            example: EXAMPLE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "tables of any database with an ADBC driver".to_owned(),
            dialect: Dialect::Standard,
            options: options::connection_specs(),
            addressing: options::addressing(),
            reader: Some(ReaderDescriptor {
                options: options::reader_specs(),
                types: types::supported(),
                ability: SplitAbility::Bounded,
                parses_text: false,
            }),
            writer: Some(WriterDescriptor {
                options: options::writer_specs(),
                types: types::supported(),
                modes: vec![WriteModeSpec::new(
                    WriteMode::Insert,
                    KeyNeed::Nothing,
                    ConflictEffect::Dirty,
                    Guarantee::AtLeastOnce,
                    "bulk ingest, a transaction for each chunk; a row that the database refuses is \
                     dirty",
                )],
                loads: vec![LoadMethod::Copy],
                creates_table: true,
                runs_statements: true,
                job_names_key: false,
                limits: Limits { transactional: true, ..Limits::default() },
            }),
            ..Descriptor::default()
        }
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        reader::reader(&options, &host)
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        writer::writer(&options, &host)
    }
}

transload_plugin_api::export_plugin!(AdbcPlugin);
