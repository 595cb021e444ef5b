//! Encodes batches as a file. Batches of the open chunk are only held; a commit passes them to the
//! column writers, which produce the bytes of finished row groups.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::filter::filter_record_batch;
use parquet::{
    arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema},
    errors::ParquetError,
    file::{metadata::KeyValue, writer::SerializedFileWriter},
    schema::types::{SchemaDescriptor, TypePtr},
};
use transload_plugin_api::{Column, DirtyRow, Error, Result, RowError, schema_of};

use super::{
    batch_size::BESIDE,
    decode::BATCH_LISTS,
    options::ParquetOptions,
    row_group::{GroupPlan, OpenGroup},
    types,
};
use crate::Encoder;

/// After this many batches, the size of the row group is checked again ...
const BATCHES_AT_ONCE: usize = 8;
/// ... and after batches of this share of its largest size.
const CHECKS: usize = 4;

/// Writes batches as a Parquet file.
///
/// A row with an interval that is negative or has fractions of a millisecond is refused, because
/// Parquet's type cannot represent it. Everything else reads back unchanged with this crate's
/// decoder. Types that Parquet does not have (`numeric`, `duration`, `text(n)`) are stored as an
/// Arrow schema in the footer; readers that ignore it see text and integers.
pub struct ParquetEncoder {
    schema: SchemaRef,
    plan: GroupPlan,
    writer: SerializedFileWriter<Vec<u8>>,
    row_group_rows: usize,
    row_group_bytes: usize,
    open: Option<OpenGroup>,
    max_record: usize,
    /// Batches of the open chunk.
    held: Vec<RecordBatch>,
    refused: Vec<DirtyRow>,
}

/// The columns with the types that a file has for them, in Parquet's terms: `DECIMAL(15,2)`,
/// `TIMESTAMP(MICROS,UTC)`.
///
/// # Errors
/// [`transload_plugin_api::ErrorKind::Unsupported`] for a type that Parquet cannot hold.
pub(crate) fn in_parquet(columns: &[Column]) -> Result<Vec<Column>> {
    let schema = types::write_schema(columns).map_err(defect)?;
    let native = |(column, field): (&Column, &TypePtr)| Column {
        native: types::short_name(field),
        ..column.clone()
    };
    Ok(columns.iter().zip(schema.get_fields()).map(native).collect())
}

impl ParquetEncoder {
    /// An encoder of these columns.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for options out of range.
    pub fn new(options: &ParquetOptions, columns: &[Column]) -> Result<Self> {
        // native type names belong to the source's store
        let own =
            |column: &Column| Column::new(&column.name, column.logical.clone(), column.nullable);
        let columns: Vec<_> = columns.iter().map(own).collect();
        let arrow = encode_arrow_schema(&schema_of(&columns));
        let footer = vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), arrow)];
        let properties = options.properties(footer)?;
        let writer = types::write_schema(&columns)
            .and_then(|schema| {
                SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.clone().build()))
            })
            .map_err(defect)?;
        Ok(Self {
            schema: schema_of(&columns),
            plan: GroupPlan {
                schema: Arc::new(SchemaDescriptor::new(writer.schema_descr().root_schema_ptr())),
                columns,
                properties,
                dictionary: options.dictionary,
                checksums: options.page_checksums,
            },
            writer,
            row_group_rows: options.row_group_rows,
            row_group_bytes: options.row_group_bytes,
            max_record: options.max_record,
            open: None,
            held: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// The batch must have the file's columns; metadata is the host's concern.
    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let given = batch.schema();
        let same = given.fields().len() == self.plan.columns.len()
            && given
                .fields()
                .iter()
                .zip(self.schema.fields())
                .all(|(given, own)| given.data_type().equals_datatype(own.data_type()));
        if !same {
            return Err(Error::schema("the batch does not have the columns of the file"));
        }
        for (column, array) in self.plan.columns.iter().zip(batch.columns()) {
            if !column.nullable && array.null_count() > 0 {
                let text = format!("column `{}` must not be NULL, but has NULLs", column.name);
                return Err(Error::schema(text));
            }
        }
        Ok(())
    }

    /// Returns the rows of a batch that the file can represent and the reader takes; the others are
    /// refused.
    fn fit(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut keep: Option<Vec<bool>> = None;
        let mut places: HashMap<usize, usize> = HashMap::new();
        let most = self.max_record as u64;
        let mut lists = vec![0; batch.num_rows()];
        for (column, array) in self.plan.columns.iter().zip(batch.columns()) {
            let wrong = types::unrepresentable(array, &column.logical);
            let wrong = wrong.map(|(marks, why)| (marks, "range", why));
            let large = too_large(array, most, &mut lists).map(|marks| {
                let why = format!(
                    "a value has more than {most} bytes: raise `max_record` here and in the reader"
                );
                (marks, "length", why)
            });
            for (marks, code, why) in wrong.into_iter().chain(large) {
                let keep = keep.get_or_insert_with(|| vec![true; batch.num_rows()]);
                for row in (0..marks.len()).filter(|row| marks[*row]) {
                    keep[row] = false;
                    let error = RowError::new(code, why.clone()).column(column.name.clone());
                    match places.entry(row) {
                        Entry::Occupied(at) => self.refused[*at.get()].more.push(error),
                        Entry::Vacant(at) => {
                            at.insert(self.refused.len());
                            self.refused.push(DirtyRow::from(error).row(row as u64));
                        }
                    }
                }
            }
        }
        let Some(keep) = keep else { return Ok(batch.clone()) };
        self.refused.sort_by_key(|dirty| dirty.row);
        filter_record_batch(batch, &BooleanArray::from(keep)).map_err(|e| defect(e.into()))
    }

    /// Writes committed batches; a row group may end within one of them.
    fn write(&mut self, batches: &[RecordBatch], out: &mut Vec<u8>) -> Result<()> {
        let mut left = batches.to_vec();
        while !left.is_empty() {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => {
                    let number = self.writer.flushed_row_groups().len();
                    self.plan.open(number, &left).map_err(defect)?
                }
            };
            let (now, later) = split(&left, self.row_group_rows - open.rows());
            open.write(&now).map_err(defect)?;
            let full = open.rows() >= self.row_group_rows || open.bytes() >= self.row_group_bytes;
            self.open = Some(open);
            if full {
                self.close(out)?;
            }
            left = later;
        }
        Ok(())
    }

    /// Ends the open row group, if there is one.
    fn close(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        // allocates once, because a buffer that grows by doubling takes more than it holds
        self.writer.inner_mut().reserve_exact(open.bytes());
        let target = self.writer.next_row_group().map_err(defect)?;
        open.close(target).map_err(defect)?;
        self.take(out)
    }

    /// Moves the written bytes to `out`.
    fn take(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.writer.flush()?;
        let written = mem::take(self.writer.inner_mut());
        if out.is_empty() {
            *out = written;
        } else {
            out.extend_from_slice(&written);
        }
        Ok(())
    }
}

/// The first `rows` rows, and the others.
fn split(batches: &[RecordBatch], rows: usize) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    let (mut now, mut later, mut left) = (Vec::new(), Vec::new(), rows);
    for batch in batches {
        let count = batch.num_rows().min(left);
        left -= count;
        if count > 0 {
            now.push(batch.slice(0, count));
        }
        if count < batch.num_rows() {
            later.push(batch.slice(count, batch.num_rows() - count));
        }
    }
    (now, later)
}

/// An error that arrow-rs reports although the batch was checked.
fn defect(error: ParquetError) -> Error {
    Error::defect("the Parquet file cannot be written").caused_by(&error)
}

/// Marks values of more than `most` bytes, and lists of a row that have more than the reader takes,
/// together with those that `lists` has of the columns before. `None` if no value is.
fn too_large(array: &ArrayRef, most: u64, lists: &mut [u64]) -> Option<Vec<bool>> {
    let rows = array.len();
    let is_list = matches!(array.data_type(), DataType::List(_));
    let is_bytes = matches!(array.data_type(), DataType::Utf8 | DataType::Binary);
    let is_small = || !is_bytes || bytes_of(array.as_ref(), 0, rows) <= most;
    if !is_list && is_small() {
        return None;
    }
    let marks = (0..rows).map(|row| {
        let bytes = bytes_of(array.as_ref(), row, row + 1);
        if !is_list {
            return bytes > most + BESIDE;
        }
        lists[row] += bytes;
        bytes > most || lists[row] > BATCH_LISTS
    });
    let marks: Vec<bool> = marks.collect();
    marks.contains(&true).then_some(marks)
}

/// The bytes of some values as the reader counts them.
fn bytes_of(array: &dyn Array, from: usize, to: usize) -> u64 {
    let beside = (to - from) as u64 * BESIDE;
    let span = |offsets: &[i32]| (offsets[from] as usize, offsets[to] as usize);
    let length = |(start, end): (usize, usize)| (end - start) as u64 + beside;
    match array.data_type() {
        DataType::Utf8 => length(span(array.as_string::<i32>().value_offsets())),
        DataType::Binary => length(span(array.as_binary::<i32>().value_offsets())),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (start, end) = span(list.value_offsets());
            bytes_of(list.values().as_ref(), start, end) + beside
        }
        DataType::FixedSizeBinary(width) => (to - from) as u64 * *width as u64 + beside,
        other => (to - from) as u64 * other.primitive_width().unwrap_or(1) as u64 + beside,
    }
}

impl Encoder for ParquetEncoder {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.take(out)
    }

    fn encode(&mut self, batch: &RecordBatch, _: &mut Vec<u8>) -> Result<()> {
        self.check(batch)?;
        let batch = self.fit(batch)?;
        if batch.num_rows() > 0 {
            self.held.push(batch);
        }
        Ok(())
    }

    fn take_refused(&mut self) -> Vec<DirtyRow> {
        mem::take(&mut self.refused)
    }

    fn commit(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let held = mem::take(&mut self.held);
        let (most, mut bytes, mut first) = (self.row_group_bytes / CHECKS, 0, 0);
        for (at, batch) in held.iter().enumerate() {
            bytes += batch.get_array_memory_size();
            let next = at + 1;
            if bytes >= most || next - first >= BATCHES_AT_ONCE || next == held.len() {
                self.write(&held[first..next], out)?;
                (bytes, first) = (0, next);
            }
        }
        Ok(())
    }

    fn rollback(&mut self) {
        self.held.clear();
        self.refused.clear();
    }

    fn held(&self) -> usize {
        self.open.as_ref().map_or(0, OpenGroup::bytes)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.close(out)?;
        self.writer.finish().map_err(defect)?;
        self.take(out)
    }
}
