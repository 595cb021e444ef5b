//! Joins several files into one by copying their column chunks, without decoding.

use std::{
    io::{Read, Write},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    column::writer::ColumnCloseResult,
    errors::{ParquetError, Result as PageResult},
    file::{
        metadata::{ColumnChunkMetaData, RowGroupMetaData},
        properties::WriterProperties,
        reader::{ChunkReader, Length},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
};
use transload_plugin_api::{Error, Result};

use super::{
    broken, file::ParquetFile, footer, options::CREATED_BY, pages::FirstError, types::native_name,
};

/// Writes one file with the row groups of all `parts`, in their order, and returns its number of
/// rows. All parts must have the schema of the first.
///
/// Statistics are copied; page indexes are not.
///
/// # Errors
/// [`transload_plugin_api::ErrorKind::Schema`] if a part has other columns, [`transload_plugin_api::ErrorKind::Unsupported`] if there are
/// more row groups than a file can have, and those of the stores and of `out`.
pub fn join(parts: &[ParquetFile], out: impl Write + Send) -> Result<u64> {
    let Some(first) = parts.first() else {
        return Err(Error::defect("there are no files to join"));
    };
    let own = first.metadata.file_metadata();
    let properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_key_value_metadata(own.key_value_metadata().cloned())
        .build();
    let schema = own.schema_descr().root_schema_ptr();
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(properties))
        .map_err(|error| failed(first, &FirstError::default(), &error))?;
    let mut rows = 0;
    for part in parts {
        check(first, part)?;
        rows += part.rows();
        let groups = part.metadata.row_groups().iter();
        for group in groups.filter(|group| group.num_rows() > 0) {
            let first_error = FirstError::default();
            let copied =
                writer.next_row_group().and_then(|target| copy(part, group, target, &first_error));
            copied.map_err(|error| failed(part, &first_error, &error))?;
        }
    }
    writer.finish().map_err(|error| failed(first, &FirstError::default(), &error))?;
    Ok(rows)
}

/// All parts must have the same schema, including every annotation.
fn check(first: &ParquetFile, part: &ParquetFile) -> Result<()> {
    let fields = |file: &ParquetFile| file.metadata.file_metadata().schema().get_fields().to_vec();
    let (expected, found) = (fields(first), fields(part));
    if expected == found {
        return Ok(());
    }
    let differing = expected.iter().zip(&found).find(|(expected, found)| expected != found);
    let text = match differing {
        Some((expected, found)) => format!(
            "column `{}` ({}) meets `{}` ({})",
            expected.name(),
            native_name(expected),
            found.name(),
            native_name(found)
        ),
        None => format!("expected {} columns, found {}", expected.len(), found.len()),
    };
    let text = format!("files with different schemas cannot be joined: {text}");
    Err(Error::schema(text).at(part.file.name()))
}

fn copy<W: Write + Send>(
    part: &ParquetFile,
    group: &RowGroupMetaData,
    mut target: SerializedRowGroupWriter<'_, W>,
    first_error: &FirstError,
) -> PageResult<()> {
    // without a defined order, minimum and maximum have no meaning
    let ordered = part.metadata.file_metadata().column_orders().is_some();
    for chunk in group.columns() {
        let close = ColumnCloseResult {
            bytes_written: chunk.compressed_size() as u64,
            rows_written: group.num_rows() as u64,
            metadata: carried(chunk, ordered)?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        let range = footer::range(chunk).unwrap_or_default(); // checked when the file was opened
        target.append_column(&Stored { part, range, first_error }, close)?;
    }
    target.close().map(|_| ())
}

fn carried(chunk: &ColumnChunkMetaData, ordered: bool) -> PageResult<ColumnChunkMetaData> {
    let mut builder = chunk.clone().into_builder();
    let start = footer::range(chunk).map(|range| range.start as i64);
    if start == Some(chunk.data_page_offset()) {
        builder = builder.set_dictionary_page_offset(None);
    }
    if !ordered {
        builder = builder.clear_statistics();
    }
    builder.build()
}

fn failed(part: &ParquetFile, first_error: &FirstError, error: &ParquetError) -> Error {
    if let Some(error) = first_error.take() {
        return error;
    }
    if let ParquetError::External(source) = error
        && let Some(error) = source.downcast_ref::<std::io::Error>()
    {
        let kind = Error::from(std::io::Error::from(error.kind())).kind;
        return Error::new(kind, error.to_string());
    }
    tracing::debug!(%error, "copying column chunks failed");
    broken(&*part.file, "its column chunks cannot be copied: expected whole pages")
}

/// A column chunk of a part, for arrow-rs to copy.
struct Stored<'a> {
    part: &'a ParquetFile,
    range: Range<u64>,
    first_error: &'a FirstError,
}

impl Length for Stored<'_> {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl ChunkReader for Stored<'_> {
    type T = Box<dyn Read + Send>;

    /// The chunk is read only from its start.
    fn get_read(&self, _: u64) -> PageResult<Self::T> {
        let read = self.part.file.read(self.range.clone());
        read.map_err(|error| self.first_error.lay_aside(error))
    }

    fn get_bytes(&self, _: u64, _: usize) -> PageResult<Bytes> {
        Err(ParquetError::General("a chunk is read as a stream".to_owned()))
    }
}
