//! Batches as a file. Batches of the open chunk are only held; a commit hands them to the column
//! writers, and what comes out are the bytes of finished row groups.

use std::{io, mem, sync::Arc};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::{Fields, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use parquet::{
    arrow::{
        ARROW_SCHEMA_META_KEY,
        arrow_writer::{
            ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
        },
        encode_arrow_schema,
    },
    column::writer::ColumnCloseResult,
    errors::{ParquetError, Result as PageResult},
    file::{
        metadata::KeyValue, properties::WriterPropertiesBuilder, writer::SerializedFileWriter,
    },
};
use transload_plugin_api::{Column, DirtyRow, Error, ErrorKind, Result, schema_of};

use super::{
    lay,
    options::ParquetOptions,
    repeats::repeats,
    seal::{Pages, sealed},
};
use crate::Encoder;

/// A row group ends at so many encoded bytes.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Writes batches as a Parquet file.
///
/// An interval that is negative or has parts of a millisecond is a refused row: Parquet's type
/// does not hold it. Everything else reads back as it was, by this crate's decoder; the types
/// for which Parquet has no word (`numeric`, `duration`, `text(n)`) are kept as an Arrow schema
/// in the footer, and are text and integers for readers that do not look there.
pub struct ParquetEncoder {
    columns: Vec<Column>,
    schema: SchemaRef,
    writer: SerializedFileWriter<Vec<u8>>,
    properties: WriterPropertiesBuilder,
    dictionary: bool,
    /// Where pages are kept if they are to have checksums.
    pages: Option<Pages>,
    /// The columns as arrow-rs is given them.
    laid: Fields,
    row_group_rows: usize,
    open: Option<OpenGroup>,
    /// Batches of the open chunk.
    held: Vec<RecordBatch>,
    refused: Vec<DirtyRow>,
}

/// The row group that is being written.
struct OpenGroup {
    columns: Vec<ArrowColumnWriter>,
    /// Where its pages are kept if they are to have checksums.
    pages: Option<Pages>,
    rows: usize,
}

impl ParquetEncoder {
    /// An encoder of these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for options that mean nothing.
    pub fn new(options: &ParquetOptions, columns: &[Column]) -> Result<Self> {
        // the store's own words are those of another store
        let own =
            |column: &Column| Column::new(&column.name, column.logical.clone(), column.nullable);
        let columns: Vec<_> = columns.iter().map(own).collect();
        let arrow = encode_arrow_schema(&schema_of(&columns));
        let footer = vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), arrow)];
        let properties = options.properties(footer)?;
        let laid = columns.iter().map(|c| lay::field(&c.name, &c.logical, c.nullable));
        let writer = lay::schema(&columns)
            .and_then(|schema| {
                SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.clone().build()))
            })
            .map_err(defect)?;
        Ok(Self {
            schema: schema_of(&columns),
            laid: laid.collect::<Vec<_>>().into(),
            properties,
            dictionary: options.dictionary,
            pages: options.page_checksums.then(Pages::default),
            writer,
            columns,
            row_group_rows: options.row_group_rows,
            open: None,
            held: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// The batch must have our columns; metadata is the host's affair.
    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let given = batch.schema();
        let same = given.fields().len() == self.columns.len()
            && given
                .fields()
                .iter()
                .zip(self.schema.fields())
                .all(|(given, own)| given.data_type().equals_datatype(own.data_type()));
        if !same {
            return Err(Error::new(
                ErrorKind::Schema,
                "the batch does not have the columns of the file",
            ));
        }
        for (column, array) in self.columns.iter().zip(batch.columns()) {
            if !column.nullable && array.null_count() > 0 {
                let text =
                    format!("column `{}` must not be NULL, and is in some rows", column.name);
                return Err(Error::new(ErrorKind::Schema, text));
            }
        }
        Ok(())
    }

    /// The rows of a batch that the file can hold; the others are refused.
    fn fit(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut keep: Option<Vec<bool>> = None;
        for (column, array) in self.columns.iter().zip(batch.columns()) {
            let Some((marks, why)) = lay::unfit(array, &column.logical) else { continue };
            let keep = keep.get_or_insert_with(|| vec![true; batch.num_rows()]);
            for row in (0..marks.len()).filter(|row| marks[*row]) {
                if mem::replace(&mut keep[row], false) {
                    self.refused.push(DirtyRow {
                        row: row as u64,
                        place: None,
                        column: Some(column.name.clone()),
                        value: None,
                        code: "range".to_owned(),
                        reason: why.clone(),
                    });
                }
            }
        }
        let Some(keep) = keep else { return Ok(batch.clone()) };
        self.refused.sort_by_key(|dirty| dirty.row);
        filter_record_batch(batch, &BooleanArray::from(keep)).map_err(|e| defect(e.into()))
    }

    /// Writes the first of some committed batches, which may end a row group in its middle.
    fn write(&mut self, batches: &[RecordBatch], out: &mut Vec<u8>) -> Result<()> {
        let Some(batch) = batches.first() else { return Ok(()) };
        let mut batch = batch.clone();
        while batch.num_rows() > 0 {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.open(batches)?,
            };
            let rows = batch.num_rows().min(self.row_group_rows - open.rows);
            open.write(&batch.slice(0, rows), &self.columns, &self.laid).map_err(defect)?;
            batch = batch.slice(rows, batch.num_rows() - rows);
            let full = open.rows >= self.row_group_rows || open.bytes() >= ROW_GROUP_BYTES;
            self.open = Some(open);
            if full {
                self.close(out)?;
            }
        }
        Ok(())
    }

    /// A row group that begins about like these batches: a column whose values do not repeat is
    /// written without a dictionary.
    fn open(&self, batches: &[RecordBatch]) -> Result<OpenGroup> {
        let mut properties = self.properties.clone();
        if self.dictionary {
            for leaf in 0..self.columns.len() {
                if !repeats(batches.iter().map(|batch| batch.column(leaf))) {
                    let path = self.writer.schema_descr().column(leaf).path().clone();
                    properties = properties.set_column_dictionary_enabled(path, false);
                }
            }
        }
        // column writers take their properties from a file's writer; this one is never used else
        let schema = self.writer.schema_descr().root_schema_ptr();
        let model = SerializedFileWriter::new(io::sink(), schema, Arc::new(properties.build()));
        let laid = Arc::new(Schema::new(self.laid.clone()));
        let mut factory = ArrowRowGroupWriterFactory::new(&model.map_err(defect)?, laid);
        if let Some(pages) = &self.pages {
            factory = factory.with_page_store_factory(Arc::new(pages.clone()));
        }
        let number = self.writer.flushed_row_groups().len();
        let columns = factory.create_column_writers(number).map_err(defect)?;
        Ok(OpenGroup { columns, pages: self.pages.clone(), rows: 0 })
    }

    /// Ends the open row group, if there is one.
    fn close(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let mut group = self.writer.next_row_group().map_err(defect)?;
        let chunks: PageResult<Vec<_>> =
            open.columns.into_iter().map(ArrowColumnWriter::close).collect();
        let mut pages = open.pages.map(|pages| pages.take().into_iter());
        for mut chunk in chunks.map_err(defect)? {
            let appended = match pages.as_mut().and_then(Iterator::next) {
                None => chunk.append_to_row_group(&mut group),
                Some(pages) => sealed(pages, taken(&mut chunk))
                    .and_then(|(chunk, close)| group.append_column(&chunk, close)),
            };
            appended.map_err(defect)?;
        }
        group.close().map_err(defect)?;
        self.take(out)
    }

    /// Hands out the bytes that are written.
    fn take(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.writer.flush()?;
        out.append(self.writer.inner_mut());
        Ok(())
    }
}

impl OpenGroup {
    fn write(&mut self, batch: &RecordBatch, columns: &[Column], laid: &Fields) -> PageResult<()> {
        let mut writers = self.columns.iter_mut();
        for ((array, column), field) in batch.columns().iter().zip(columns).zip(laid) {
            for leaf in compute_leaves(field, &lay::lay(array, &column.logical))? {
                if let Some(writer) = writers.next() {
                    writer.write(&leaf)?;
                }
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }
}

/// What was noted of a chunk, without its pages.
fn taken(chunk: &mut ArrowColumnChunk) -> ColumnCloseResult {
    let close = chunk.close_mut();
    ColumnCloseResult {
        bytes_written: close.bytes_written,
        rows_written: close.rows_written,
        metadata: close.metadata.clone(),
        bloom_filter: close.bloom_filter.take(),
        column_index: close.column_index.take(),
        offset_index: close.offset_index.take(),
    }
}

/// What arrow-rs refuses although it was checked.
fn defect(error: ParquetError) -> Error {
    Error::new(ErrorKind::Defect, "the Parquet file cannot be written").caused_by(&error)
}

impl Encoder for ParquetEncoder {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.take(out)
    }

    fn encode(&mut self, batch: &RecordBatch, _: &mut Vec<u8>) -> Result<()> {
        self.check(batch)?;
        let batch = self.fit(batch)?;
        self.held.push(batch);
        Ok(())
    }

    fn take_refused(&mut self) -> Vec<DirtyRow> {
        mem::take(&mut self.refused)
    }

    fn commit(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let held = mem::take(&mut self.held);
        (0..held.len()).try_for_each(|at| self.write(&held[at..], out))
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
