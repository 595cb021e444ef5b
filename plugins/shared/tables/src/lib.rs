//! What SQL plugins share: what is read and written, how a plan is held against its target,
//! quoting, statements, key-range splits. No driver, and no I/O but a knock at a server's port
//! (`stages`) and the reading of certificates (`tls`).
//!
//! # Layout, in the order a plugin uses it
//!
//! | module | what it holds |
//! |---|---|
//! | `name`, `pattern` | [`TableName`]: `schema.table` as a job writes it, quotes honoured; ranges of tables |
//! | `source` | [`Sources`] and [`Target`]: the options that say what is read and written |
//! | `sharded`, `origin` | [`TableReader`]: several tables of one shape read as one; the column that names them |
//! | `draft` | [`Drafting`]: a plan held against its target |
//! | `dialect` | [`Dialect`]: how one database quotes, binds and resolves conflicts |
//! | `statement` | builders for `CREATE TABLE`, `INSERT`, `DELETE` and `SELECT` |
//! | `key` | [`KeyValue`]: a key's value as it travels in splits and positions |
//! | `split` | [`KeyRange`]: half-open ranges that cover each row exactly once; how they travel |
//! | `care` | [`Care`]: when a bulk load is worth another try |
//! | `stages` | [`Stages`]: the way to a server as findings |
//! | `address` | [`Address`]: where a server is and as whom to log in (feature `tls`) |
//! | `tls` | [`TlsSettings`]: what is verified of a server (feature `tls`) |
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
mod draft;
mod key;
#[cfg(test)]
mod memory;
mod name;
mod origin_column;
mod pattern;
mod read_database;
mod reader;
mod run;
mod sharded;
mod source;
mod split;
mod statement;
mod task;
#[cfg(feature = "tls")]
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod write_database;
mod writer;

#[cfg(feature = "tls")]
pub use address::{Address, AddressRules};
pub use bulk_load::BulkLoadPolicy;
pub use connection_stages::ConnectionStages;
pub use dialect::Dialect;
pub use draft::{
    Draft, Drafting, Wording, destructive, is_keyed, known_columns, plain, replaced_reference,
};
pub use key::{KeyValue, decode_key, encode_key};
pub use name::TableName;
pub use read_database::{Description, Division, ReadDatabase, ScanRequest, Snapshot, read_as};
pub use reader::TableReader;
pub use source::{Relation, Source, Sources, TargetTable, source_specs, target_specs};
pub use split::{
    KeyRange, KeySplit, divide_by_key, equal_spans, integer_ranges, no_such_column, ranges_between,
    with_null_range,
};
pub(crate) use split::{decode_split, encode_split};
pub use statement::{ColumnDefinition, Conflict, Insert, Select, create_table, delete_matching};
#[cfg(feature = "tls")]
pub use tcp::connect_tcp;
#[cfg(feature = "tls")]
pub use tls::{TlsMode, TlsSettings};
pub use write_database::{Access, Commit, Destination, Loader, Session, WriteDatabase};
pub use writer::TableWriter;
