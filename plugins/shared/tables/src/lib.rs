//! The reading and writing of database tables, once for all SQL plugins: the readers and writers
//! themselves, above two traits that one database implements. No driver, and no I/O of its own but
//! opening a TCP connection (`tcp`, `connection_stages`) and reading certificates (`tls`).
//!
//! # How a plugin uses it
//!
//! 1. Parse the options: [`Sources`], [`TargetTable`], and [`Address`] for a server.
//! 2. Read: implement [`ReadDatabase`] and return [`Sources::into_reader`].
//! 3. Write: implement [`WriteDatabase`] with its [`Session`], [`Destination`] and [`Loader`], and
//!    return a [`TableWriter`].
//!
//! The plugin provides the session, catalog, types, dialect, and how rows are loaded and scanned.
//! The states of a run and of a chunk, locking, staging, publishing, reconnecting and unknown
//! outcomes are here and nowhere else.
//!
//! # Layout, in data's order
//!
//! | module | what it holds |
//! |---|---|
//! | `name`, `pattern` | [`TableName`]: `schema.table` as a job writes it; ranges of tables |
//! | `source` | [`Sources`] and [`TargetTable`]: the options that say what is read and written |
//! | `query` | the text of a job's own query: a single statement, without its end |
//! | `read_database` | [`ReadDatabase`]: what one database does in its own way when reading |
//! | `reader` | [`TableReader`]: schema, splits, opening a split, of one table or query |
//! | `sharded`, `origin_column` | several tables of one shape read as one; the column that names them |
//! | `write_database` | [`WriteDatabase`]: what one database does in its own way when writing |
//! | `writer`, `run` | [`TableWriter`]: the verbs of a job; how far a run has come |
//! | `receipt` | what tasks report to the job's commit: staged rows |
//! | `trial`, `missing` | what of a job is tried without effect; which table was meant |
//! | `leftover` | stage tables that killed runs have left |
//! | `running` | a statement while it runs: logged, and shown if it takes long |
//! | `task` | one task's chunks: the state machine around a transaction |
//! | `token` | commit tokens: the tables in the store that say which chunks are in, and who writes |
//! | `keeper` | keeps the session that holds the lock in use, where servers end silent ones |
//! | `draft` | [`Drafting`]: a plan compared with its target |
//! | `dialect` | [`Dialect`]: how one database quotes, binds and resolves conflicts |
//! | `statement` | builders for `CREATE TABLE`, `INSERT`, `DELETE` and `SELECT` |
//! | `key` | [`KeyValue`]: a key's value as it travels in splits and positions |
//! | `split` | [`KeyRange`]: half-open ranges that cover each row exactly once; [`divide_by_key`] |
//! | `bulk_load` | [`BulkLoadPolicy`]: when chunks are loaded batch by batch |
//! | `connection_stages` | [`ConnectionStages`]: the stages of connecting as findings of `check` |
//! | `address` | [`Address`]: a server's address and the user (feature `tls`) |
//! | `tcp`, `tls` | connections by TCP or a Unix socket; [`TlsSettings`]: what is verified of a server (feature `tls`) |
//!
//! Identifiers are always quoted and values always bound, so no name and no key can become SQL.
//!
//! ```
//! use transload_tables::{TableName, integer_ranges};
//!
//! let name: TableName = r#"ods."a.b""#.parse().unwrap();
//! assert_eq!((name.schema.as_deref(), name.table.as_str()), (Some("ods"), "a.b"));
//! assert_eq!(integer_ranges(&[(1, 10)], 4).len(), 4);
//! ```

#[cfg(feature = "tls")]
mod address;
mod bulk_load;
mod connection_stages;
mod dialect;
mod digest;
mod draft;
mod increment;
mod keeper;
mod key;
mod leftover;
#[cfg(test)]
mod memory;
mod missing;
mod name;
mod origin_column;
mod pattern;
mod query;
mod read_database;
mod reader;
mod receipt;
mod run;
mod running;
mod sharded;
mod source;
mod split;
mod statement;
mod task;
#[cfg(feature = "tls")]
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod trial;
mod write_database;
mod writer;

#[cfg(all(test, feature = "tls"))]
mod fuzz;

#[cfg(feature = "tls")]
pub use address::{Address, AddressRules};
pub use bulk_load::BulkLoadPolicy;
pub use connection_stages::ConnectionStages;
pub use dialect::Dialect;
pub use digest::{
    DigestKey, DigestRange, DigestSql, FEWEST, KeyOrder, KeySign, Keys, RangeDigest, TextKind,
    keys_condition, parts_of, sum_of,
};
pub use draft::{
    Draft, Drafting, Wording, destructive, is_keyed, known_columns, plain, replaced_reference,
};
pub use increment::KeySql;
pub use key::{KeyValue, decode_key, encode_key};
pub use name::TableName;
pub use query::Lexis;
pub use read_database::{Description, Division, ReadDatabase, ScanRequest, Snapshot, read_as};
pub use reader::TableReader;
pub use receipt::check_stage;
pub use running::{looking, running, running_often};
pub use source::{Relation, Source, Sources, TargetTable, source_specs, target_specs};
pub use split::{
    KeyRange, KeySplit, divide_by_key, equal_spans, integer_ranges, no_such_column, ranges_between,
    with_null_range,
};
pub(crate) use split::{decode_split, encode_split};
pub use statement::{ColumnDefinition, Conflict, Insert, Select, create_table, delete_matching};
#[cfg(feature = "tls")]
pub use tls::{TlsMode, TlsSettings};
pub use token::{SessionIdentity, check_noted};
pub use trial::TRYING;
pub use write_database::{Access, Commit, Destination, Loader, Session, TextRows, WriteDatabase};
pub use writer::TableWriter;
