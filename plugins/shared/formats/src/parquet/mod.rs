//! Parquet: a file's columns and row groups, its rows as batches, batches as a file, and several
//! files joined without decoding them.
//!
//! arrow-rs encodes and decodes values. Everything around them is handled here: every count and
//! size in a file is checked before memory is allocated for it (`thrift`, `footer`, `header`,
//! `pages`), bytes come from a [`RandomAccess`] in bounded blocks (`blocks`), and the
//! meaning of values is determined by Parquet's own types (`types`), so that no value
//! changes silently.
//!
//! | module | content |
//! |---|---|
//! | `footer`, `thrift` | the end of a file, checked |
//! | `file` | [`ParquetFile`]: columns, row groups |
//! | `layout` | which columns its fields become |
//! | `types` | Parquet types to logical types and back, and values with them |
//! | `pages`, `header`, `decompressor`, `blocks` | the pages of a column chunk |
//! | `page_check`, `batch_size` | the levels and the values of a page, compared; what they become, bounded |
//! | `decode` | [`ParquetDecoder`]: rows as batches |
//! | `options`, `encode`, `row_group`, `dictionary`, `checksums` | [`ParquetEncoder`]: batches as a file |
//! | `join` | [`join_parquet`]: several files as one |

mod batch_size;
mod blocks;
mod checksums;
mod decode;
mod decompressor;
mod dictionary;
mod encode;
mod file;
mod footer;
mod header;
mod join;
mod layout;
mod options;
mod page_check;
mod pages;
mod row_group;
mod thrift;
mod types;

pub use decode::{ParquetBatch, ParquetDecoder};
pub use encode::ParquetEncoder;
pub(crate) use encode::in_parquet;
pub use file::{ParquetFile, RowGroup, produced};
pub use join::join as join_parquet;
pub use options::{ParquetCompression, ParquetOptions, ParquetStatistics};

use transload_plugin_api::{Error, code};

use crate::RandomAccess;

/// The error for a damaged file.
fn broken(file: &dyn RandomAccess, text: impl Into<String>) -> Error {
    Error::data(text).with_code(code::PARQUET_DAMAGED).at(file.name())
}
