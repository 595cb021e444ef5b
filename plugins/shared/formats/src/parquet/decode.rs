//! Decodes rows of a file into batches. Each wanted column of a row group has its own reader over
//! the pages of its chunk; no other part of the file is fetched.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};
use arrow_select::filter::filter;
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
use transload_plugin_api::{
    Column, DirtyRow, Error, Gap, LogicalType, Result, RowError, catch_panic, schema_of,
};
use transload_values::JsonRow;

use super::{
    batch_size::BatchSizes,
    blocks::Blocks,
    broken,
    file::ParquetFile,
    footer,
    layout::ColumnPath,
    pages::{Bounds, ChunkPages, ChunkPath, FirstError},
    types,
};
use crate::{BATCH_BYTES, BATCH_ROWS, MAX_RECORD, json::json_texts, row_numbers::RowNumbers};

/// A batch has fewer rows if a column's longest text could make it larger than this.
const BATCH_MOST: usize = 16 * BATCH_BYTES;
/// The most bytes that the lists of a batch may become, and its texts that share beginnings, unless
/// a single value may be larger. A batch with more is read with fewer rows.
pub(super) const BATCH_LISTS: u64 = 96 << 20;

/// Why the rows that are left of a batch do not make one.
const TOO_LARGE: &str = "its values exceed 2 GiB in one batch";

/// Reads row groups of a file, one after the other.
pub struct ParquetDecoder {
    file: ParquetFile,
    schema: SchemaRef,
    columns: Vec<Wanted>,
    /// The row groups that have not been opened.
    row_groups: Range<usize>,
    /// Number of rows of the next row group to skip.
    skip: u64,
    /// The most bytes of a value.
    max_value: u64,
    open: Option<OpenGroup>,
}

/// Rows of one row group.
#[derive(Clone, Debug)]
pub struct ParquetBatch {
    /// At most [`BATCH_ROWS`] rows of the requested columns.
    pub batch: RecordBatch,
    /// Number of rows that were read, dirty ones included.
    pub rows: u64,
    /// Rows with a value that its type cannot hold, in their order; `place` holds `row N`, counted
    /// from 1.
    pub dirty: Vec<DirtyRow>,
    /// The row group of the rows.
    pub row_group: usize,
    /// The number of rows of the row group that have been read, including this batch: the
    /// `skip_rows` for [`ParquetDecoder::new`] to resume after it.
    pub row_in_group_after: u64,
    /// The number of the batch's first clean row in the file, counted from 0.
    pub first_row: u64,
    /// Where the numbers of clean rows do not follow each other, counted from 0.
    pub gaps: Vec<Gap>,
}

/// A column to read.
struct Wanted {
    name: String,
    logical: LogicalType,
    /// The type of values that become JSON texts.
    json: Option<FieldRef>,
    /// The type in Parquet's terms.
    native: String,
    /// The bytes of such a text beside each value.
    beside: u64,
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
    bounds: Arc<Bounds>,
}

struct ColumnReader {
    reader: ParquetRecordBatchReader,
    /// The type of its values, in Parquet's terms.
    expected: String,
    /// The number of structs around the column.
    depth: usize,
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
            max_value: MAX_RECORD as u64,
            open: None,
        })
    }

    /// With another limit for the bytes of a value.
    #[must_use]
    pub fn max_value(self, max_value: usize) -> Self {
        Self { max_value: max_value as u64, ..self }
    }

    /// The next rows; a batch never spans row groups. `None` after the last one.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Data`] with file, row group and column for damaged bytes, and the store's own. The decoder is unusable afterwards.
    pub fn next_batch(&mut self) -> Result<Option<ParquetBatch>> {
        loop {
            if let Some(open) = &mut self.open {
                if open.row < open.rows {
                    match self.read() {
                        Err(error) => self.open_for_fewer(error)?,
                        read => return read.map(Some),
                    }
                    continue;
                }
                self.open = None;
            }
            let Some(number) = self.row_groups.next() else { return Ok(None) };
            self.open = Some(self.open(number, self.skip, BATCH_ROWS)?);
            self.skip = 0;
        }
    }

    /// Opens the row group again, for batches of fewer rows, if that is why reading failed.
    fn open_for_fewer(&mut self, error: Error) -> Result<()> {
        const FEWER: usize = 16;
        let Some(open) = self.open.take() else { return Err(error) };
        let exceeded = open.bounds.batches.get().is_some_and(BatchSizes::exceeded);
        if !exceeded || open.batch_rows == 1 {
            return Err(error);
        }
        let (number, row, rows) = (open.number, open.row, open.batch_rows / FEWER);
        drop(open);
        self.open = Some(self.open(number, row, rows.max(1))?);
        Ok(())
    }

    /// Opens a row group behind its first `skip` rows, for batches of at most `most` rows.
    fn open(&self, number: usize, skip: u64, most: usize) -> Result<OpenGroup> {
        let group = self.file.metadata.row_group(number);
        let rows = group.num_rows() as u64;
        if skip > rows {
            let text = format!("row group {number} has {rows} rows, cannot skip {skip}");
            return Err(Error::schema(text).at(self.file.file.name()));
        }
        let bounds = Arc::new(Bounds::new(self.max_value));
        let columns = Vec::with_capacity(self.columns.len());
        let mut open = OpenGroup { number, row: skip, rows, columns, batch_rows: most, bounds };
        if skip == rows || self.columns.is_empty() {
            return Ok(open);
        }
        let mut chunks = self.chunks(number, group, &open.bounds)?;
        open.batch_rows =
            batch_rows(rows, chunks.iter_mut().flatten())?.min(most).min(rows as usize);
        let lists = BATCH_LISTS.max(self.max_value.saturating_mul(2));
        open.bounds.batches.get_or_init(|| BatchSizes::new(open.batch_rows as u64, skip, lists));
        for (wanted, chunk) in self.columns.iter().zip(chunks) {
            open.columns.push(self.column_reader(wanted, chunk, number, skip, open.batch_rows)?);
        }
        Ok(open)
    }

    /// The pages of the leaves of each wanted column.
    fn chunks(
        &self,
        number: usize,
        group: &RowGroupMetaData,
        bounds: &Arc<Bounds>,
    ) -> Result<Vec<Vec<ChunkPages>>> {
        let leaves = || self.columns.iter().flat_map(|wanted| wanted.place.leaves.clone());
        let ranges: Option<Vec<_>> =
            leaves().map(|leaf| footer::range(group.column(leaf))).collect();
        let ranges = ranges.unwrap_or_default(); // checked when the file was opened
        let mut blocks = Blocks::open(&self.file.file, &ranges)?.into_iter();
        let chunks = self.columns.iter().map(|wanted| {
            let first_error = FirstError::default();
            let leaves = wanted.place.leaves.clone();
            let pages = leaves.zip(&mut blocks).map(|(leaf, blocks)| {
                let chunk = group.column(leaf);
                let column = match wanted.place.leaves.len() {
                    1 => wanted.name.clone(),
                    _ => chunk.column_path().string(),
                };
                let file = self.file.file.clone();
                let place = ChunkPath { file, row_group: number, column };
                let pages = ChunkPages::new(blocks, chunk, place, Arc::clone(bounds))?;
                Ok(pages.beside(wanted.beside).reporting(&first_error))
            });
            pages.collect::<Result<Vec<_>>>()
        });
        chunks.collect()
    }

    fn column_reader(
        &self,
        wanted: &Wanted,
        pages: Vec<ChunkPages>,
        number: usize,
        skip: u64,
        batch_rows: usize,
    ) -> Result<ColumnReader> {
        let group = self.file.metadata.row_group(number);
        let (file, column) = (self.file.file.clone(), wanted.name.clone());
        let place = ChunkPath { file, row_group: number, column };
        let first_error = pages.first().map(|it| it.first_error.clone()).unwrap_or_default();
        let rows = group.num_rows() as usize;
        let skip = skip as usize;
        let selection = (skip > 0).then(|| {
            RowSelection::from(vec![RowSelector::skip(skip), RowSelector::select(rows - skip)])
        });
        let pages = pages.into_iter().map(|pages| Mutex::new(Some(pages))).collect();
        let chunks = Chunks { rows, pages, group, metadata: &self.file.metadata };
        let expected = wanted.native.clone();
        let reader = guarded(&place, &first_error, &expected, &(0..rows), || {
            ParquetRecordBatchReader::try_new_with_row_groups(
                &wanted.levels,
                &chunks,
                batch_rows,
                selection,
            )
        })?;
        let depth = wanted.place.within.len();
        Ok(ColumnReader { reader, expected, depth, place, first_error })
    }

    /// Reads rows of the open row group, which is not at its end.
    fn read(&mut self) -> Result<ParquetBatch> {
        let Some(open) = &mut self.open else {
            return Err(Error::defect("no row group is open"));
        };
        let rows = (open.rows - open.row).min(open.batch_rows as u64) as usize;
        let first = open.row as usize;
        let stored = open.columns.iter_mut().map(|reader| reader.read(first..first + rows));
        let stored = stored.collect::<Result<Vec<ArrayRef>>>()?;
        let (arrays, faults) = convert(&self.columns, stored, rows)
            .map_err(|(column, text)| open.columns[column].place.broken(text))?;
        let clean = rows - faults.len();
        let options = RecordBatchOptions::new().with_row_count(Some(clean));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| {
                tracing::debug!(%error, "columns do not make a batch");
                let text = "its columns have different numbers of values";
                broken(&*self.file.file, format!("row group {}: {text}", open.number))
            })?;
        let before = self.file.row_groups()[open.number].first_row + open.row;
        let kept = (0..rows).filter(|row| !faults.contains_key(row));
        let mut numbers = RowNumbers::default();
        kept.enumerate().for_each(|(index, row)| numbers.push(index, before + row as u64));
        let (first_row, gaps, _) = numbers.take(before);
        open.row += rows as u64;
        Ok(ParquetBatch {
            batch,
            rows: rows as u64,
            dirty: dirty_rows(faults, before),
            row_group: open.number,
            row_in_group_after: open.row,
            first_row,
            gaps,
        })
    }
}

/// Rows at fault: all that is wrong with them, and their values.
type Faults = BTreeMap<usize, DirtyRow>;

/// Converts what is stored to the logical types, without the rows that have a value out of its
/// type's range.
///
/// # Errors
/// The column and the reason, if the values do not fit even so.
fn convert(
    columns: &[Wanted],
    stored: Vec<ArrayRef>,
    rows: usize,
) -> Result<(Vec<ArrayRef>, Faults), (usize, String)> {
    let logical = |(number, array): (usize, &ArrayRef)| {
        let wanted = &columns[number];
        let converted = types::to_logical(array.clone(), &wanted.place.column_type);
        let converted = converted.and_then(|array| match &wanted.json {
            None => Ok(array),
            Some(field) => json_texts(field, &array).map(|texts| Arc::new(texts) as ArrayRef),
        });
        converted.map_err(|reason| (number, reason))
    };
    let all =
        |stored: &[ArrayRef]| stored.iter().enumerate().map(logical).collect::<Result<_, _>>();
    if let Ok(arrays) = all(&stored) {
        return Ok((arrays, Faults::new()));
    }
    let mut faults = Faults::new();
    for (number, array) in stored.iter().enumerate() {
        if logical((number, array)).is_ok() {
            continue;
        }
        for row in 0..rows {
            let Err((_, reason)) = logical((number, &array.slice(row, 1))) else { continue };
            let code = if reason == types::NOT_UTF8 { "utf8" } else { "range" };
            let error = RowError::new(code, reason).column(columns[number].name.clone());
            let error = RowError { value: types::stored_number(array, row), ..error };
            match faults.entry(row) {
                Entry::Occupied(dirty) => dirty.into_mut().more.push(error),
                Entry::Vacant(place) => drop(place.insert(error.into())),
            }
        }
    }
    for (row, dirty) in &mut faults {
        let mut values = JsonRow::default();
        for (number, (array, wanted)) in stored.iter().zip(columns).enumerate() {
            match logical((number, &array.slice(*row, 1))) {
                Ok(value) => values.value(&wanted.name, &wanted.logical, value.as_ref(), 0),
                // A number as it is stored: without its scale or unit.
                Err(_) => match (array.as_binary_opt::<i32>(), types::stored_type(array)) {
                    (Some(stored), _) => values.bytes(&wanted.name, stored.value(*row)),
                    (None, Some(stored)) => values.value(&wanted.name, &stored, array, *row),
                    (None, None) => values.null(&wanted.name),
                },
            }
        }
        dirty.values = Some(values.finish());
    }
    let kept: BooleanArray = (0..rows).map(|row| Some(!faults.contains_key(&row))).collect();
    let stored = stored
        .iter()
        .enumerate()
        .map(|(number, array)| filter(array, &kept).map_err(|_| (number, TOO_LARGE.to_owned())));
    let stored = stored.collect::<Result<Vec<_>, _>>()?;
    Ok((all(&stored)?, faults))
}

fn dirty_rows(faults: Faults, before: u64) -> Vec<DirtyRow> {
    let placed = |(row, dirty): (usize, DirtyRow)| {
        let number = before + row as u64 + 1;
        dirty.place(format!("row {number}")).number(number)
    };
    faults.into_iter().map(placed).collect()
}

impl Wanted {
    fn new(file: &ParquetFile, column: &Column) -> Result<Self> {
        let place = file.place(column)?;
        let root = &file.metadata.file_metadata().schema().get_fields()[place.root];
        let levels = types::read_schema(root, &place.within, &place.column_type)
            .and_then(|schema| parquet_to_arrow_field_levels(&schema, ProjectionMask::all(), None))
            .map_err(|error| {
                tracing::debug!(%error, column = %column.name, "a column's schema is refused");
                let text =
                    format!("column `{}` cannot be read: its type is not supported", column.name);
                Error::unsupported(text).at(file.file.name()).hint("leave it out of `columns`")
            })?;
        let own = place.column_type.logical();
        let is_list = matches!(own, LogicalType::List(_));
        let is_json = place.column_type.is_nested() || (is_list && own != column.logical);
        let json = is_json.then(|| place.column_type.field(&column.name, true));
        let (name, logical) = (column.name.clone(), column.logical.clone());
        let beside = json.as_ref().map_or(0, |field| beside(field));
        let native = file.native(&column.name);
        Ok(Self { name, logical, json, native, beside, place, levels })
    }
}

impl ColumnReader {
    /// The next rows, as they are stored; their numbers in the row group.
    fn read(&mut self, rows: Range<usize>) -> Result<ArrayRef> {
        let Self { reader, expected, depth, place, first_error } = self;
        let batch = guarded(place, first_error, expected, &rows, || {
            reader.next().transpose().map_err(|error| ParquetError::External(Box::new(error)))
        })?;
        let array = batch.as_ref().and_then(|batch| batch.columns().first());
        match array {
            Some(array) if array.len() == rows.len() => {
                types::field_within(array.clone(), *depth).map_err(|text| place.broken(text))
            }
            found => {
                let (expected, found) = (rows.len(), found.map_or(0, Array::len));
                let first = rows.start + 1;
                Err(place.broken(format!(
                    "it has fewer values than the row group has rows: from row {first} on, expected \
                     {expected} of them, found {found}"
                )))
            }
        }
    }
}

/// Runs arrow-rs on bytes that may be damaged: a panic becomes an error. Its own words go to the log.
fn guarded<T>(
    place: &ChunkPath,
    first_error: &FirstError,
    expected: &str,
    rows: &Range<usize>,
    run: impl FnOnce() -> PageResult<T>,
) -> Result<T> {
    let outcome = catch_panic(run);
    if let Some(error) = first_error.take() {
        return Err(error);
    }
    match outcome {
        Some(Ok(value)) => return Ok(value),
        Some(Err(error)) => tracing::debug!(%error, column = %place.column, "decoding failed"),
        None => {}
    }
    let (first, last) = (rows.start + 1, rows.end);
    let text = format!(
        "rows {first} to {last} of the row group cannot be decoded: expected values of type \
         `{expected}`, found bytes that are not"
    );
    let hint =
        "write the file again with the program that made it, or leave the column out of `columns`";
    Err(place.broken(text).hint(hint))
}

/// The number of rows per batch for these chunks: about [`BATCH_BYTES`], as far as it can be
/// estimated.
fn batch_rows<'a>(rows: u64, chunks: impl Iterator<Item = &'a mut ChunkPages>) -> Result<usize> {
    let (mut bytes, mut longest) = (0, 0);
    for chunk in chunks {
        let widths = chunk.widths(rows)?;
        bytes += widths.usual;
        longest += widths.longest;
    }
    let most = |bytes: usize, limit: usize| limit / bytes.max(1);
    Ok(BATCH_ROWS.min(most(bytes, BATCH_BYTES)).min(most(longest, BATCH_MOST)).max(1))
}

/// The bytes of a JSON text beside each of its values, about: a value may stand between the names of
/// all fields around it, and in more digits than it has bytes.
fn beside(field: &Field) -> u64 {
    const VALUE: u64 = 24;
    let name = field.name().len() as u64 + 4;
    let within = match field.data_type() {
        DataType::Struct(fields) => fields.iter().map(|field| beside(field)).max().unwrap_or(0),
        DataType::List(item) | DataType::Map(item, _) => beside(item),
        _ => VALUE,
    };
    name + within
}

/// The column chunks of a column, in the interface that arrow-rs expects.
struct Chunks<'a> {
    rows: usize,
    pages: Vec<Mutex<Option<ChunkPages>>>,
    group: &'a RowGroupMetaData,
    metadata: &'a ParquetMetaData,
}

impl RowGroups for Chunks<'_> {
    fn num_rows(&self) -> usize {
        self.rows
    }

    fn column_chunks(&self, leaf: usize) -> PageResult<Box<dyn PageIterator>> {
        let pages = self.pages.get(leaf).and_then(|pages| pages.lock().take());
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
