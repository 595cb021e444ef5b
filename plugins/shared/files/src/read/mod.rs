//! A set of files as a source: which columns they have, how they are divided, the batches of one
//! division. Where the files lie is a [`crate::Store`]'s business.
//!
//! | module | what it holds |
//! |---|---|
//! | `reader` | the verbs of a [`transload_plugin_api::Reader`] |
//! | `source` | the files' one format |
//! | `schema` | columns from headers, keys and a bounded sample, and from folder names |
//! | `splits` | pieces of files, cut at proven starts of records |
//! | `task` | batches with positions, piece after piece |
//! | `rows` | what the rows of a piece are, in any format |
//! | `text`, `input` | the rows of a text file; blocks of its text |
//! | `groups` | the rows of a Parquet file |
//! | `folders` | the columns that folder names give |

mod fingerprint;
mod folders;
mod groups;
mod input;
mod reader;
mod rows;
mod schema;
mod source;
mod splits;
mod task;
mod text;

pub use reader::FilesReader;
