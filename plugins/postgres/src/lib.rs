//! The postgres plugin: reads and writes tables of a PostgreSQL database, 12 or later, by binary
//! COPY both ways.
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options`, `dialect` | the options of both roles; PostgreSQL's way of writing SQL |
//! | `session`, `link`, `tls` | one connection; its bytes; what is verified of a server |
//! | `check` | the way to the server stage by stage, and what can be done there |
//! | `failure` | what the server's errors mean |
//! | `catalog`, `types` | tables and keys as the database tells them; its types and ours |
//! | `reader`, `splits` | schema and the statement of a split; how splits are chosen |
//! | `scan`, `decode`, `columns` | the rows of one split; their fields; values into Arrow |
//! | `writer`, `draft`, `target` | the job's verbs; what a plan would do; its statements |
//! | `task`, `load`, `bisect` | one task's chunks; rows by COPY; the search for those refused |
//! | `encode`, `numeric` | Arrow into the wire's form; numbers in it, exactly |

mod bisect;
mod catalog;
mod check;
mod columns;
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
    Descriptor, Host, Limits, LoadMethod, Options, Plugin, Reader, ReaderDescriptor, Result,
    SplitAbility, Writer, WriterDescriptor,
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
                modes: writer::modes(),
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

transload_plugin_api::export_plugin!(PostgresPlugin);
