//! The postgres plugin: reads and writes tables of a PostgreSQL database, 12 or later, by binary
//! COPY both ways.
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options`, `dialect` | the options of both roles; PostgreSQL's way of writing SQL |
//! | `connect`, `login` | opening a session within one time limit; proofs of a password |
//! | `endpoint` | TCP and TLS, and what a stop signal does to them |
//! | `stream`, `wire` | the bytes of a connection, with TLS or without; messages and their limits |
//! | `liveness`, `pooler` | whether a silent server is at work; poolers that cannot be used |
//! | `session`, `answer` | statements and COPY over one connection; small results |
//! | `failure` | what the server's errors mean |
//! | `check` | a connection tested stage by stage, and what can be done there |
//! | `catalog`, `types` | tables and keys in the database's catalog; its types and ours |
//! | `reader`, `query` | the statement of a split; the columns of a job's own query |
//! | `splits`, `snapshot` | how splits are chosen; the state that they share |
//! | `scan`, `decode`, `columns` | the rows of one split; their fields; values into Arrow |
//! | `writer`, `draft`, `target` | the database as a target; what a plan would do; its statements |
//! | `lock`, `stage` | the lock on the target; the stage of an overwrite |
//! | `load_plan`, `load`, `bisect` | how rows are loaded; by COPY; the search for refused rows |
//! | `mark` | what came of a chunk's transaction |
//! | `references` | rows without the parents that foreign keys ask for |
//! | `encode`, `numeric`, `decimal` | Arrow into the wire's form; numbers in it, exactly |

mod answer;
mod bisect;
mod blocker;
mod catalog;
mod cell_fault;
mod check;
mod columns;
mod connect;
mod decimal;
mod decode;
mod dialect;
mod digest;
mod draft;
mod encode;
mod endpoint;
mod failure;
mod liveness;
mod load;
mod load_plan;
mod lock;
mod login;
mod mark;
mod native;
mod numeric;
mod options;
mod pooler;
mod query;
mod reader;
mod references;
mod scan;
mod session;
mod snapshot;
mod splits;
mod stage;
mod stream;
mod target;
mod token;
mod trial;
mod types;
mod wire;
mod writer;

#[cfg(test)]
mod fuzz;

use transload_plugin_api::{
    Descriptor, Dialect, Host, Limits, LoadMethod, Options, Plugin, Reader, ReaderDescriptor,
    Result, SplitAbility, Writer, WriterDescriptor,
};

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresPlugin;

/// What help shows: a CSV file updates the rows of a table by its key.
const EXAMPLE: &str = r#"[reader]
plugin = "file"
path = "orders.csv"

[writer]
plugin = "postgres"
host = "localhost"
database = "shop"
user = "loader"
password = { env = "SHOP_PASSWORD" }
table = "orders"
write_mode = "upsert"
key = ["id"]
"#;

impl Plugin for PostgresPlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "postgres".to_owned(),
            example: EXAMPLE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "tables of a PostgreSQL database".to_owned(),
            dialect: Dialect::Postgres,
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
                modes: writer::modes(),
                loads: vec![LoadMethod::Copy],
                creates_table: true,
                runs_statements: true,
                job_names_key: false,
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
        writer::writer(&options, &host)
    }
}

transload_plugin_api::export_plugin!(PostgresPlugin);
