//! Writes the open row group: one writer per column, fed by two threads, because a task that writes
//! Parquet spends most of its time on encoding and compression.

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
    time::Instant,
};

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema};
use parquet::{
    arrow::arrow_writer::{
        ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
    },
    column::writer::ColumnCloseResult,
    errors::{ParquetError, Result as PageResult},
    file::{
        properties::WriterPropertiesBuilder,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::SchemaDescPtr,
};
use transload_plugin_api::{Column, LogicalType};

use super::{
    checksums::{Pages, with_checksums},
    dictionary::values_repeat,
    types,
};

/// Fewer values than this are not worth a second thread.
const CELLS_FOR_TWO: usize = 50_000;

/// How row groups are written.
pub(super) struct GroupPlan {
    pub(super) schema: SchemaDescPtr,
    pub(super) columns: Vec<Column>,
    pub(super) properties: WriterPropertiesBuilder,
    pub(super) dictionary: bool,
    pub(super) checksums: bool,
}

/// A row group that is being written.
pub(super) struct OpenGroup {
    columns: Vec<OpenColumn>,
    /// Keeps its pages if they are to have checksums.
    pages: Option<Pages>,
    rows: usize,
}

struct OpenColumn {
    writer: ArrowColumnWriter,
    /// The column's index in a batch.
    at: usize,
    logical: LogicalType,
    field: FieldRef,
    /// The cost of its last rows, used to divide the columns between the threads.
    cost: u64,
}

impl GroupPlan {
    /// The row group with this number. These batches are its first: a column whose values do not
    /// repeat in them is written without a dictionary.
    pub(super) fn open(&self, number: usize, batches: &[RecordBatch]) -> PageResult<OpenGroup> {
        let mut properties = self.properties.clone();
        if self.dictionary {
            for leaf in 0..self.columns.len() {
                if !values_repeat(batches.iter().map(|batch| batch.column(leaf))) {
                    let path = self.schema.column(leaf).path().clone();
                    properties = properties.set_column_dictionary_enabled(path, false);
                }
            }
        }
        let columns = self.columns.iter();
        let fields: Vec<_> =
            columns.map(|c| types::field(&c.name, &c.logical, c.nullable)).collect();
        // column writers take their properties from a file's writer; this one is used for nothing
        // else
        let root = self.schema.root_schema_ptr();
        let model = SerializedFileWriter::new(io::sink(), root, Arc::new(properties.build()))?;
        let mut factory =
            ArrowRowGroupWriterFactory::new(&model, Arc::new(Schema::new(fields.clone())));
        let pages = self.checksums.then(Pages::default);
        if let Some(pages) = &pages {
            factory = factory.with_page_store_factory(Arc::new(pages.clone()));
        }
        let writers = factory.create_column_writers(number)?.into_iter().zip(fields).enumerate();
        let columns = writers.map(|(at, (writer, field))| OpenColumn {
            writer,
            at,
            logical: self.columns[at].logical.clone(),
            field,
            cost: batches
                .first()
                .map_or(0, |batch| batch.column(at).get_buffer_memory_size() as u64),
        });
        Ok(OpenGroup { columns: columns.collect(), pages, rows: 0 })
    }
}

impl OpenGroup {
    /// Number of rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Approximate number of encoded bytes so far.
    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.writer.get_estimated_total_bytes()).sum()
    }

    pub(super) fn write(&mut self, batches: &[RecordBatch]) -> PageResult<()> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        self.rows += rows;
        let alone = thread::available_parallelism().map_or(1, usize::from) == 1;
        if alone || rows * self.columns.len() < CELLS_FOR_TWO {
            return self.columns.iter_mut().try_for_each(|column| column.write(batches));
        }
        let (ours, theirs) = halves(&mut self.columns);
        let write = |columns: Vec<&mut OpenColumn>| {
            columns.into_iter().try_for_each(|column| column.write(batches))
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| write(theirs));
            write(ours)?;
            let failed = |_| ParquetError::General("a column cannot be encoded".to_owned());
            other.join().map_err(failed)?
        })
    }

    /// Appends the column chunks to the file.
    pub(super) fn close<W: Write + Send>(
        self,
        mut target: SerializedRowGroupWriter<'_, W>,
    ) -> PageResult<()> {
        let chunks = self.columns.into_iter().map(|column| column.writer.close());
        let chunks: Vec<_> = chunks.collect::<PageResult<_>>()?;
        let mut pages = self.pages.map(|pages| pages.take().into_iter());
        for mut chunk in chunks {
            match pages.as_mut().and_then(Iterator::next) {
                None => chunk.append_to_row_group(&mut target)?,
                Some(pages) => {
                    let (chunk, close) = with_checksums(pages, noted(&mut chunk))?;
                    target.append_column(&chunk, close)?;
                }
            }
        }
        target.close().map(|_| ())
    }
}

impl OpenColumn {
    fn write(&mut self, batches: &[RecordBatch]) -> PageResult<()> {
        let start = Instant::now();
        for batch in batches {
            let array = types::to_physical(batch.column(self.at), &self.logical)?;
            for leaf in compute_leaves(&self.field, &array)? {
                self.writer.write(&leaf)?;
            }
        }
        self.cost = start.elapsed().as_nanos() as u64;
        Ok(())
    }
}

/// Divides the columns into two parts of about the same cost.
fn halves(columns: &mut [OpenColumn]) -> (Vec<&mut OpenColumn>, Vec<&mut OpenColumn>) {
    let mut sorted: Vec<_> = columns.iter_mut().collect();
    sorted.sort_by_key(|column| std::cmp::Reverse(column.cost));
    let (mut first, mut second, mut ahead) = (Vec::new(), Vec::new(), 0i64);
    for column in sorted {
        let cost = column.cost as i64;
        if ahead <= 0 {
            ahead += cost;
            first.push(column);
        } else {
            ahead -= cost;
            second.push(column);
        }
    }
    (first, second)
}

/// The metadata of a chunk, without its pages.
fn noted(chunk: &mut ArrowColumnChunk) -> ColumnCloseResult {
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
