//! The sqlite plugin: reads and writes tables of an SQLite database file. SQLite itself is built
//! in, so nothing has to be installed.
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | the options of both roles |
//! | `connect` | opening the file, waiting for other processes |
//! | `catalog` | tables, columns, keys as the database tells them |
//! | `types` | declared types to logical ones and back, affinity |
//! | `reader`, `splits`, `query` | the source behind a `TableReader`; how a table is divided; a query's columns |
//! | `scan`, `key` | the rows of one split; a key's value |
//! | `decode`, `fit` | stored values into Arrow; whether a value is of its type |
//! | `writer`, `draft` | the target behind a `TableWriter`; what a plan would do |
//! | `session`, `queue` | a task's handle to the one connection that writes; the turns of tasks |
//! | `load`, `bind`, `refusal` | rows into statements; Arrow values into parameters; what cannot be kept |
//! | `stage` | where rows go, and how an overwrite publishes them |
//! | `dialect`, `failure` | SQLite's way of writing SQL; what its errors mean |

mod bind;
mod catalog;
mod connect;
mod decode;
mod dialect;
mod digest;
mod draft;
mod failure;
mod fit;
mod key;
mod load;
mod options;
mod query;
mod queue;
mod reader;
mod refusal;
mod scan;
mod session;
mod splits;
mod stage;
mod trial;
mod types;
mod writer;

use transload_plugin_api::{
    ConflictEffect, Descriptor, Dialect, Guarantee, Host, KeyNeed, Limits, LoadMethod, Options,
    Plugin, Reader, ReaderDescriptor, Result, SplitAbility, WriteMode, WriteModeSpec, Writer,
    WriterDescriptor,
};

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlitePlugin;

/// What help shows: a CSV file is added to a table, which is created if it does not exist.
const EXAMPLE: &str = r#"[reader]
plugin = "file"
path = "orders.csv"

[writer]
plugin = "sqlite"
path = "shop.db"
table = "orders"
create_table = true
"#;

impl Plugin for SqlitePlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "sqlite".to_owned(),
            example: EXAMPLE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "tables of an SQLite database file".to_owned(),
            dialect: Dialect::Sqlite,
            options: options::connection_specs(),
            addressing: options::addressing(),
            reader: Some(ReaderDescriptor {
                options: options::reader_specs(),
                types: types::supported(),
                ability: SplitAbility::Seekable,
                parses_text: false,
            }),
            writer: Some(WriterDescriptor {
                options: options::writer_specs(),
                types: types::supported(),
                modes: modes(),
                loads: vec![LoadMethod::Insert],
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

fn modes() -> Vec<WriteModeSpec> {
    use ConflictEffect as Effect;
    vec![
        WriteModeSpec::new(
            WriteMode::Insert,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::AtLeastOnce,
            "INSERT; a row whose key exists is dirty",
        ),
        WriteModeSpec::new(
            WriteMode::Ignore,
            KeyNeed::UniqueKey,
            Effect::Skip,
            Guarantee::Convergent,
            "INSERT ... ON CONFLICT (key) DO NOTHING; other constraints still refuse rows",
        ),
        WriteModeSpec::new(
            WriteMode::Upsert,
            KeyNeed::UniqueKey,
            Effect::Update,
            Guarantee::Convergent,
            "INSERT ... ON CONFLICT (key) DO UPDATE",
        ),
        WriteModeSpec::new(
            WriteMode::Replace,
            KeyNeed::UniqueKey,
            Effect::Replace,
            Guarantee::Convergent,
            "rows that hold one of the new row's keys are deleted, then it is inserted",
        ),
        WriteModeSpec::new(
            WriteMode::Overwrite,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::AtomicJob,
            "rows go to a stage table; one transaction empties the table and copies them over",
        ),
    ]
}

transload_plugin_api::export_plugin!(SqlitePlugin);
