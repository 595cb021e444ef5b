//! The postgres plugin: reads and writes tables of a PostgreSQL database, 12 or later, by binary
//! COPY both ways.
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | the options of both roles |
//! | `session` | one connection, the stop signal |
//! | `link`, `tls` | its bytes, and the rows among them; what is verified of a server |
//! | `check` | the way to the server stage by stage, and what can be done there |
//! | `catalog` | tables, columns, keys as the database tells them |
//! | `types` | the server's types to logical ones and back |
//! | `reader`, `splits` | schema and the statement of a split; how splits are chosen |
//! | `scan`, `decode` | the rows of one split; the wire's form into Arrow |
//! | `writer`, `draft`, `target` | the job's verbs; what a plan would do; its statements |
//! | `task`, `load`, `bisect` | one task's chunks; rows by COPY; the search for those refused |
//! | `encode` | Arrow into the wire's form |
//! | `numeric` | the wire's form of numbers, exactly |
//! | `dialect`, `failure` | PostgreSQL's way of writing SQL; what its errors mean |

mod bisect;
mod catalog;
mod check;
mod decode;
mod dialect;
mod draft;
mod encode;
mod failure;
mod link;
mod load;
mod numeric;
mod options;
mod reader;
mod scan;
mod session;
mod splits;
mod target;
mod task;
mod tls;
mod types;
mod writer;

use transload_plugin_api::{
    ConflictEffect, Descriptor, Guarantee, Host, KeyNeed, Limits, LoadMethod, Options, Plugin,
    Reader, ReaderDescriptor, Result, SplitAbility, WriteMode, WriteModeSpec, Writer,
    WriterDescriptor,
};

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresPlugin;

impl Plugin for PostgresPlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "postgres".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "tables of a PostgreSQL database".to_owned(),
            options: options::connection_specs(),
            reader: Some(ReaderDescriptor {
                options: options::reader_specs(),
                types: types::supported(),
                ability: SplitAbility::Bounded,
                parses_text: false,
            }),
            writer: Some(WriterDescriptor {
                options: options::writer_specs(),
                types: types::supported(),
                modes: modes(),
                loads: vec![LoadMethod::Copy],
                creates_table: true,
                runs_statements: true,
                limits: Limits {
                    identifier_bytes: Some(63),
                    decimal_digits: Some(76),
                    transactional: true,
                    ..Limits::default()
                },
            }),
            ..Descriptor::default()
        }
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        reader::reader(&options, &host)
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::PostgresWriter::new(&options, host)?))
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
            "COPY into the table; a row whose key is there is dirty",
        ),
        WriteModeSpec::new(
            WriteMode::Ignore,
            KeyNeed::UniqueKey,
            Effect::Skip,
            Guarantee::Convergent,
            "COPY, then INSERT ... ON CONFLICT (key) DO NOTHING; other constraints still refuse rows",
        ),
        WriteModeSpec::new(
            WriteMode::Upsert,
            KeyNeed::UniqueKey,
            Effect::Update,
            Guarantee::Convergent,
            "COPY, then INSERT ... ON CONFLICT (key) DO UPDATE; of equal keys the last row wins",
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

transload_plugin_api::export_plugin!(PostgresPlugin);
