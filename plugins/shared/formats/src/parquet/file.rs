//! An opened Parquet file: its columns, its row groups, and the columns that cannot be read.

use std::sync::Arc;

use arrow_schema::{Fields, Schema};
use base64::{Engine, prelude::BASE64_STANDARD};
use parquet::{
    arrow::ARROW_SCHEMA_META_KEY,
    file::metadata::{FileMetaData, ParquetMetaData},
};
use transload_plugin_api::{Column, Error, LogicalType, Result, catch_panic};

use super::{
    footer,
    layout::{ColumnPath, Layout},
    types::{ColumnType, LeafType, Storage},
};
use crate::{Nesting, RandomAccess};

/// A Parquet file whose footer has been read and checked. Clones share it.
#[derive(Clone)]
pub struct ParquetFile {
    pub(super) file: Arc<dyn RandomAccess>,
    pub(super) metadata: Arc<ParquetMetaData>,
    contents: Arc<Contents>,
}

/// The content of the footer.
struct Contents {
    layout: Layout,
    row_groups: Vec<RowGroup>,
}

/// A row group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// Number of rows.
    pub rows: u64,
    /// Size of all its columns in the file, in bytes.
    pub bytes: u64,
    /// The number of its first row in the file, counted from 0.
    pub first_row: u64,
}

impl ParquetFile {
    /// Reads a file's footer: the last 64 KiB of the file, and the rest of the footer if it is
    /// longer.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Data`] for a file that is damaged or not a Parquet file, [`transload_plugin_api::ErrorKind::Unsupported`]
    /// for one that is encrypted, compressed with brotli or lzo, or has row groups beyond the limit,
    /// and the store's own.
    pub fn open(file: Arc<dyn RandomAccess>) -> Result<Self> {
        let metadata = footer::read(file.as_ref())?;
        let contents = Arc::new(Contents::of(&metadata, &Nesting::default()));
        Ok(Self { file, metadata, contents })
    }

    /// The same file with another way to read nested columns than [`Nested::Flatten`](crate::Nested).
    #[must_use]
    pub fn nesting(self, nesting: &Nesting) -> Self {
        if *nesting == Nesting::default() {
            return self;
        }
        let contents = Arc::new(Contents::of(&self.metadata, nesting));
        Self { contents, ..self }
    }

    /// The columns that can be read, in the file's order. `native` is the type in Parquet's terms.
    /// Those of a struct are called `struct.field`.
    pub fn columns(&self) -> &[Column] {
        &self.contents.layout.columns
    }

    /// How nested columns are read, a sentence each; of those that are `wanted`, if the job names
    /// columns.
    pub fn nested(&self, wanted: Option<&[String]>) -> Vec<String> {
        self.contents.layout.nested(wanted)
    }

    /// The row groups, in the file's order.
    pub fn row_groups(&self) -> &[RowGroup] {
        &self.contents.row_groups
    }

    /// Number of rows in all row groups.
    pub fn rows(&self) -> u64 {
        self.contents.row_groups.last().map_or(0, |group| group.first_row + group.rows)
    }

    /// The columns that [`ParquetFile::columns`] does not have, each with the reason: unsupported
    /// ones, those that share a name, and names with the character NUL.
    pub fn unreadable(&self) -> &[(String, String)] {
        &self.contents.layout.unreadable
    }

    /// The place of a column that is to be read as `wanted.logical`.
    pub(super) fn place(&self, wanted: &Column) -> Result<ColumnPath> {
        let layout = &self.contents.layout;
        let Some(at) = layout.columns.iter().position(|column| column.name == wanted.name) else {
            return Err(self.missing(&wanted.name));
        };
        let mut place = layout.places[at].clone();
        if place.column_type.logical() != wanted.logical {
            let column_type =
                read_instead(&place.column_type, &wanted.logical).ok_or_else(|| {
                    let (own, other) = (&layout.columns[at].logical, &wanted.logical);
                    let text = format!(
                        "column `{}` is `{own}` and cannot be read as `{other}`",
                        wanted.name
                    );
                    Error::schema(text).at(self.file.name())
                })?;
            place.column_type = column_type;
        }
        Ok(place)
    }

    /// The type of a column in Parquet's terms.
    pub(super) fn native(&self, name: &str) -> String {
        let column = self.columns().iter().find(|column| column.name == name);
        column.map(|column| column.native.clone()).unwrap_or_default()
    }

    fn missing(&self, name: &str) -> Error {
        if let Some((_, why)) =
            self.contents.layout.unreadable.iter().find(|(left, _)| left == name)
        {
            let text = format!("column `{name}` cannot be read: {why}");
            return Error::unsupported(text).at(self.file.name()).hint("leave it out of `columns`");
        }
        let names: Vec<_> = self
            .contents
            .layout
            .columns
            .iter()
            .map(|column| format!("`{}`", column.name))
            .collect();
        let text = format!("there is no column `{name}`; the file has {}", names.join(", "));
        Error::schema(text).at(self.file.name())
    }
}

impl Contents {
    fn of(metadata: &ParquetMetaData, nesting: &Nesting) -> Self {
        let arrow = arrow_fields(metadata.file_metadata());
        let fields = metadata.file_metadata().schema_descr().root_schema().get_fields();
        Self {
            layout: Layout::of(fields, arrow.as_ref(), nesting),
            row_groups: row_groups(metadata),
        }
    }
}

fn row_groups(metadata: &ParquetMetaData) -> Vec<RowGroup> {
    let mut first_row = 0;
    let groups = metadata.row_groups().iter().map(|group| {
        let rows = group.num_rows() as u64;
        let bytes = group.columns().iter().map(|chunk| chunk.compressed_size() as u64).sum();
        let group = RowGroup { rows, bytes, first_row };
        first_row += rows;
        group
    });
    groups.collect()
}

/// The Arrow schema in the footer, if there is a readable one.
/// <https://arrow.apache.org/docs/cpp/parquet.html#serialization-details>
fn arrow_fields(file: &FileMetaData) -> Option<Fields> {
    let pairs = file.key_value_metadata()?;
    let encoded = pairs.iter().find(|pair| pair.key == ARROW_SCHEMA_META_KEY)?.value.as_ref()?;
    let bytes = BASE64_STANDARD.decode(encoded).ok()?;
    let message = match bytes.strip_prefix(&[0xFF; 4]) {
        Some(rest) => rest.get(4..)?,
        None => &bytes,
    };
    let schema = arrow_ipc::root_as_message(message).ok()?.header_as_schema()?;
    // it is a hint, and arrow-ipc panics on some damaged ones
    let read = || arrow_ipc::convert::try_fb_to_schema(schema).ok();
    let schema: Option<Schema> = catch_panic(read).flatten();
    schema.map(|schema| schema.fields)
}

/// The types in which the columns of `wanted` are produced: the file's own types, except for a few
/// conversions that the reader makes exactly and at no cost:
/// - a timestamp of 12 bytes (`INT96`) in microseconds or in nanoseconds,
/// - bytes without annotation (`BYTE_ARRAY`) as text or JSON, because old writers did not mark
///   them,
/// - a list as JSON text.
///
/// A column that the file does not have is returned as wanted; [`super::ParquetDecoder::new`]
/// refuses it.
pub fn produced(file_columns: &[Column], wanted: &[Column]) -> Vec<Column> {
    let produce = |wanted: &Column| {
        let Some(own) = file_columns.iter().find(|column| column.name == wanted.name) else {
            return wanted.clone();
        };
        let mut column = own.clone();
        if let Some(logical) = instead(own, &wanted.logical) {
            column.logical = logical;
        }
        column
    };
    wanted.iter().map(produce).collect()
}

/// The type as which a column is read if `wanted` is requested.
fn instead(own: &Column, wanted: &LogicalType) -> Option<LogicalType> {
    if matches!(own.logical, LogicalType::List(_)) {
        return match wanted {
            LogicalType::Text { .. } => Some(LogicalType::TEXT),
            LogicalType::Json => Some(LogicalType::Json),
            _ => None,
        };
    }
    match (own.native.as_str(), wanted) {
        ("INT96", LogicalType::Timestamp { precision: 7.. }) => {
            Some(LogicalType::Timestamp { precision: 9 })
        }
        ("BYTE_ARRAY", LogicalType::Text { .. }) => Some(LogicalType::TEXT),
        ("BYTE_ARRAY", LogicalType::Json) => Some(LogicalType::Json),
        _ => None,
    }
}

/// The shape of the same column when read as one of the types that [`produced`] returns. That of a
/// list stays as it is: its values become texts afterwards.
fn read_instead(column_type: &ColumnType, wanted: &LogicalType) -> Option<ColumnType> {
    let ColumnType::Leaf(leaf) = column_type else {
        let is_text = matches!(wanted, LogicalType::Text { .. } | LogicalType::Json);
        return is_text.then(|| column_type.clone());
    };
    let storage = match (leaf.storage, &leaf.logical, wanted) {
        (Storage::Int96, _, LogicalType::Timestamp { .. }) => Storage::Int96,
        (Storage::Bytes, LogicalType::Binary, LogicalType::Text { .. } | LogicalType::Json) => {
            Storage::Text
        }
        _ => return None,
    };
    Some(ColumnType::Leaf(LeafType {
        storage,
        per_second: leaf.per_second,
        logical: wanted.clone(),
    }))
}
