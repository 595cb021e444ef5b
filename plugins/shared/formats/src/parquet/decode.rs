//! Decodes rows of a file into batches. Each wanted column of a row group has its own reader over
//! the pages of its chunk; no other part of the file is fetched.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use parking_lot::Mutex;
use parquet::{
    arrow::{
        FieldLevels, ProjectionMask,
        arrow_reader::{ParquetRecordBatchReader, RowGroups, RowSelection, RowSelector},
        parquet_to_arrow_field_levels,
    },
    column::page::{PageIterator, PageReader},
    errors::{ParquetError, Result as PageResult},
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};
use transload_plugin_api::{Column, Error, Result, schema_of};

use super::{
    blocks::Blocks,
    broken,
    file::{ColumnPath, ParquetFile},
    footer,
    pages::{ChunkPages, ChunkPath, FirstError},
    types,
};
use crate::{BATCH_BYTES, BATCH_ROWS};

/// A batch has fewer rows if a column's longest text could make it larger than this.
const BATCH_MOST: usize = 16 * BATCH_BYTES;

/// Reads row groups of a file, one after the other.
pub struct ParquetDecoder {
    file: ParquetFile,
    schema: SchemaRef,
    columns: Vec<Wanted>,
    /// The row groups that have not been opened.
    row_groups: Range<usize>,
    /// Number of rows of the next row group to skip.
    skip: u64,
    open: Option<OpenGroup>,
}

/// Rows of one row group.
#[derive(Clone, Debug)]
pub struct ParquetBatch {
    /// At most [`BATCH_ROWS`] rows of the requested columns.
    pub batch: RecordBatch,
    /// The row group of the rows.
    pub row_group: usize,
    /// The number of rows of the row group that have been read, including this batch: the
    /// `skip_rows` for [`ParquetDecoder::new`] to resume after it.
    pub row_in_group_after: u64,
    /// The number of the batch's first row in the file, counted from 0.
    pub first_row: u64,
}

/// A column to read.
struct Wanted {
    name: String,
    place: ColumnPath,
    levels: FieldLevels,
}

/// The current row group.
struct OpenGroup {
    number: usize,
    /// Number of rows skipped or read.
    row: u64,
    rows: u64,
    columns: Vec<ColumnReader>,
    batch_rows: usize,
}

struct ColumnReader {
    reader: ParquetRecordBatchReader,
    place: ChunkPath,
    first_error: FirstError,
}

impl ParquetDecoder {
    /// A decoder of `columns`, in that order, of some row groups. It skips `skip_rows` rows of the
    /// first one.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] if the file does not have a column in its type (see
    /// [`produced`](super::produced)) or one is requested twice, [`transload_plugin_api::ErrorKind::Unsupported`] for
    /// one whose type is not supported.
    pub fn new(
        file: &ParquetFile,
        row_groups: Range<usize>,
        skip_rows: u64,
        columns: &[Column],
    ) -> Result<Self> {
        if row_groups.end > file.row_groups().len() || row_groups.start > row_groups.end {
            let text = format!("there are no row groups {row_groups:?} in this file");
            return Err(Error::schema(text).at(file.file.name()));
        }
        let wanted = columns.iter().enumerate().map(|(at, column)| {
            if columns[..at].iter().any(|before| before.name == column.name) {
                let text = format!("column `{}` is requested twice", column.name);
                return Err(Error::schema(text).at(file.file.name()));
            }
            Wanted::new(file, column)
        });
        Ok(Self {
            schema: schema_of(columns),
            columns: wanted.collect::<Result<_>>()?,
            file: file.clone(),
            row_groups,
            skip: skip_rows,
            open: None,
        })
    }

    /// The next rows; a batch never spans row groups. `None` after the last one.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Data`] with file, row group and column for damaged bytes and for values that
    /// cannot be represented exactly, and the store's own. The decoder is unusable afterwards.
    pub fn next_batch(&mut self) -> Result<Option<ParquetBatch>> {
        loop {
            if let Some(open) = &mut self.open {
                if open.row < open.rows {
                    return self.read().map(Some);
                }
                self.open = None;
            }
            let Some(number) = self.row_groups.next() else { return Ok(None) };
            self.open = Some(self.open(number)?);
            self.skip = 0;
        }
    }

    fn open(&self, number: usize) -> Result<OpenGroup> {
        let group = self.file.metadata.row_group(number);
        let rows = group.num_rows() as u64;
        if self.skip > rows {
            let text = format!("row group {number} has {rows} rows, cannot skip {}", self.skip);
            return Err(Error::schema(text).at(self.file.file.name()));
        }
        let mut open =
            OpenGroup { number, row: self.skip, rows, columns: Vec::new(), batch_rows: BATCH_ROWS };
        if self.skip == rows || self.columns.is_empty() {
            return Ok(open);
        }
        let mut chunks = self.chunks(number, group)?;
        open.batch_rows = batch_rows(rows, &mut chunks)?;
        for (wanted, chunk) in self.columns.iter().zip(chunks) {
            open.columns.push(self.column_reader(wanted, chunk, number, open.batch_rows)?);
        }
        Ok(open)
    }

    /// The pages of the wanted columns.
    fn chunks(&self, number: usize, group: &RowGroupMetaData) -> Result<Vec<ChunkPages>> {
        let chunk = |wanted: &Wanted| group.column(wanted.place.leaf);
        let ranges: Option<Vec<_>> =
            self.columns.iter().map(|wanted| footer::range(chunk(wanted))).collect();
        let ranges = ranges.unwrap_or_default(); // checked when the file was opened
        let blocks = Blocks::open(&self.file.file, &ranges)?;
        let pages = self.columns.iter().zip(blocks).map(|(wanted, blocks)| {
            let place = ChunkPath {
                file: self.file.file.clone(),
                row_group: number,
                column: wanted.name.clone(),
            };
            ChunkPages::new(blocks, chunk(wanted), place)
        });
        pages.collect()
    }

    fn column_reader(
        &self,
        wanted: &Wanted,
        pages: ChunkPages,
        number: usize,
        batch_rows: usize,
    ) -> Result<ColumnReader> {
        let group = self.file.metadata.row_group(number);
        let (place, first_error) = (pages.place.clone(), pages.first_error.clone());
        let rows = group.num_rows() as usize;
        let skip = self.skip as usize;
        let selection = (skip > 0).then(|| {
            RowSelection::from(vec![RowSelector::skip(skip), RowSelector::select(rows - skip)])
        });
        let chunk =
            OneChunk { rows, pages: Mutex::new(Some(pages)), group, metadata: &self.file.metadata };
        let reader = guarded(&place, &first_error, || {
            ParquetRecordBatchReader::try_new_with_row_groups(
                &wanted.levels,
                &chunk,
                batch_rows,
                selection,
            )
        })?;
        Ok(ColumnReader { reader, place, first_error })
    }

    /// Reads rows of the open row group, which is not at its end.
    fn read(&mut self) -> Result<ParquetBatch> {
        let Some(open) = &mut self.open else {
            return Err(Error::defect("no row group is open"));
        };
        let rows = (open.rows - open.row).min(open.batch_rows as u64) as usize;
        let arrays = open.columns.iter_mut().zip(&self.columns);
        let arrays = arrays.map(|(reader, wanted)| reader.read(rows, wanted));
        let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| {
                broken(&*self.file.file, format!("row group {}: {error}", open.number))
            })?;
        let first_row = self.file.row_groups()[open.number].first_row + open.row;
        open.row += rows as u64;
        Ok(ParquetBatch { batch, row_group: open.number, row_in_group_after: open.row, first_row })
    }
}

impl Wanted {
    fn new(file: &ParquetFile, column: &Column) -> Result<Self> {
        let place = file.place(column)?;
        let root = &file.metadata.file_metadata().schema().get_fields()[place.root];
        let levels = types::read_schema(root, &place.column_type)
            .and_then(|schema| parquet_to_arrow_field_levels(&schema, ProjectionMask::all(), None))
            .map_err(|error| {
                let text = format!("column `{}` cannot be read", column.name);
                Error::unsupported(text).at(file.file.name()).caused_by(&error)
            })?;
        Ok(Self { name: column.name.clone(), place, levels })
    }
}

impl ColumnReader {
    fn read(&mut self, rows: usize, wanted: &Wanted) -> Result<ArrayRef> {
        let Self { reader, place, first_error } = self;
        let batch = guarded(place, first_error, || {
            reader.next().transpose().map_err(|error| ParquetError::External(Box::new(error)))
        })?;
        let array = batch.as_ref().and_then(|batch| batch.columns().first());
        match array {
            Some(array) if array.len() == rows => {
                types::to_logical(array.clone(), &wanted.place.column_type)
                    .map_err(|text| place.broken(text))
            }
            _ => Err(place.broken("it has fewer values than the row group has rows")),
        }
    }
}

/// Runs arrow-rs on bytes that may be damaged: a panic becomes an error.
fn guarded<T>(
    place: &ChunkPath,
    first_error: &FirstError,
    run: impl FnOnce() -> PageResult<T>,
) -> Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(run));
    if let Some(error) = first_error.take() {
        return Err(error);
    }
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(place.broken("it cannot be decoded").caused_by(&error)),
        Err(_) => Err(place.broken("it cannot be decoded: its levels or values are damaged")),
    }
}

/// The number of rows per batch for these chunks: about [`BATCH_BYTES`], as far as it can be
/// estimated.
fn batch_rows(rows: u64, chunks: &mut [ChunkPages]) -> Result<usize> {
    let (mut bytes, mut longest) = (0, 0);
    for chunk in chunks {
        let widths = chunk.widths(rows)?;
        bytes += widths.usual;
        longest += widths.longest;
    }
    let most = |bytes: usize, limit: usize| limit / bytes.max(1);
    Ok(BATCH_ROWS.min(most(bytes, BATCH_BYTES)).min(most(longest, BATCH_MOST)).max(1))
}

/// One column chunk, in the interface that arrow-rs expects.
struct OneChunk<'a> {
    rows: usize,
    pages: Mutex<Option<ChunkPages>>,
    group: &'a RowGroupMetaData,
    metadata: &'a ParquetMetaData,
}

impl RowGroups for OneChunk<'_> {
    fn num_rows(&self) -> usize {
        self.rows
    }

    fn column_chunks(&self, _: usize) -> PageResult<Box<dyn PageIterator>> {
        let pages = self.pages.lock().take();
        Ok(Box::new(OnePages(pages)))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.group))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

struct OnePages(Option<ChunkPages>);

impl Iterator for OnePages {
    type Item = PageResult<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|pages| Ok(Box::new(pages) as Box<dyn PageReader>))
    }
}

impl PageIterator for OnePages {}
