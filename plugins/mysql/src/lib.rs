//! The mysql plugin: reads and writes tables of MySQL and MariaDB servers. It speaks the
//! servers' protocol itself, so that rows go from the wire into Arrow and back without a value
//! object in between.
//!
//! # Layout, in the order data takes
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | the options of both roles |
//! | `stream`, `wire` | plain or TLS, and how long a server is waited for; packets |
//! | `connect`, `login`, `proof` | opening a connection, its settings; the login; proofs of a password |
//! | `watch` | whether a silent server still works |
//! | `session`, `answer` | statements; what the server's packets say |
//! | `check` | the way to the server stage by stage, and what can be done there |
//! | `catalog` | tables, columns, keys as the server tells them |
//! | `types` | native types to logical ones and back |
//! | `reader`, `splits`, `query` | the source behind a `TableReader`; how a table is divided; a query's columns |
//! | `snapshot` | one state of a table for several splits |
//! | `scan`, `decode`, `cell`, `columns` | the rows of one split; rows into Arrow; single cells; keys |
//! | `writer`, `draft` | the target behind a `TableWriter`; what a plan would do |
//! | `load`, `bulk`, `insert` | the loader of a task; LOAD DATA from memory; INSERTs cut down to dirty rows |
//! | `mark` | whether a chunk is in, by keys of its rows |
//! | `rows`, `literal`, `rule` | rows as text; Arrow values as text; what a target's column asks of them |
//! | `stage`, `lock` | where rows go, and how an overwrite publishes them; the lock on a target |
//! | `text`, `refusal` | floats and escapes as the server reads them; why a value is refused |
//! | `random` | random numbers |
//! | `dialect`, `failure` | MySQL's way of writing SQL; what its errors mean |

mod answer;
mod bulk;
mod catalog;
mod cell;
mod check;
mod columns;
mod connect;
mod decode;
mod dialect;
mod digest;
mod draft;
mod failure;
mod insert;
mod literal;
mod load;
mod lock;
mod login;
mod mark;
mod native;
mod options;
mod proof;
mod query;
mod random;
mod reader;
mod refusal;
mod rights;
mod rows;
mod rule;
mod scan;
mod session;
mod snapshot;
mod splits;
mod stage;
mod stream;
mod text;
mod token;
mod trial;
mod types;
mod watch;
mod wire;
mod writer;

#[cfg(test)]
mod fuzz;

use transload_plugin_api::{
    ConflictEffect, Descriptor, Dialect, Guarantee, Host, KeyNeed, Limits, LoadMethod, Options,
    Plugin, Reader, ReaderDescriptor, Result, SplitAbility, WriteMode, WriteModeSpec, Writer,
    WriterDescriptor,
};

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct MysqlPlugin;

/// What help shows: a CSV file updates the rows of a table by its key.
const EXAMPLE: &str = r#"[reader]
plugin = "file"
path = "orders.csv"

[writer]
plugin = "mysql"
host = "localhost"
database = "shop"
user = "loader"
password = { env = "SHOP_PASSWORD" }
table = "orders"
write_mode = "upsert"
key = ["id"]
"#;

impl Plugin for MysqlPlugin {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "mysql".to_owned(),
            example: EXAMPLE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "tables of a MySQL or MariaDB server".to_owned(),
            dialect: Dialect::Mysql,
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
                loads: vec![LoadMethod::Insert, LoadMethod::Copy],
                creates_table: true,
                runs_statements: true,
                job_names_key: false,
                limits: Limits {
                    identifier_bytes: Some(64),
                    decimal_digits: Some(65),
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

fn modes() -> Vec<WriteModeSpec> {
    use ConflictEffect as Effect;
    vec![
        WriteModeSpec::new(
            WriteMode::Insert,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::AtLeastOnce,
            "LOAD DATA from memory or INSERT of many rows; a row whose key exists is dirty",
        ),
        WriteModeSpec::new(
            WriteMode::Ignore,
            KeyNeed::UniqueKey,
            Effect::Skip,
            Guarantee::Convergent,
            "INSERT ... ON DUPLICATE KEY UPDATE that changes nothing; bad values are still dirty",
        ),
        WriteModeSpec::new(
            WriteMode::Upsert,
            KeyNeed::UniqueKey,
            Effect::Update,
            Guarantee::Convergent,
            "INSERT ... ON DUPLICATE KEY UPDATE of the named columns",
        ),
        WriteModeSpec::new(
            WriteMode::Replace,
            KeyNeed::UniqueKey,
            Effect::Replace,
            Guarantee::Convergent,
            "REPLACE: rows that hold one of the new row's keys are deleted, then it is inserted",
        ),
        WriteModeSpec::new(
            WriteMode::Overwrite,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::AtomicJob,
            "rows go to a stage table, which takes the target's name when the job commits",
        ),
    ]
}

transload_plugin_api::export_plugin!(MysqlPlugin);
