//! The column that says from which table a row is, added to the batches of that table's reader.
//! Its cost is one copy of the name for each row of the longest batch, not of each batch.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::SchemaRef;
use transload_plugin_api::{Column, Error, ReadBatch, ReadTask, Result, schema_of};

/// Rows with the name of their table.
pub(crate) struct NamedRows {
    task: Box<dyn ReadTask>,
    schema: SchemaRef,
    /// Where the name stands.
    at: usize,
    /// It is the only column.
    alone: bool,
    name: String,
    /// The name, over and over; as long as the longest batch so far.
    names: Option<StringArray>,
}

impl NamedRows {
    /// The rows of `task` with the table's name as column `at` of `columns`. If that is the only
    /// one (`alone`), `task` reads one that is not asked for, because rows need one.
    pub(crate) fn new(
        task: Box<dyn ReadTask>,
        columns: &[Column],
        at: usize,
        alone: bool,
        name: String,
    ) -> Self {
        Self { task, schema: schema_of(columns), at, alone, name, names: None }
    }

    fn names(&mut self, rows: usize) -> ArrayRef {
        let known = self.names.take().filter(|names| names.len() >= rows);
        let names = known.unwrap_or_else(|| {
            StringArray::from_iter_values(std::iter::repeat_n(&self.name, rows))
        });
        let names = self.names.insert(names);
        Arc::new(names.slice(0, rows))
    }
}

impl ReadTask for NamedRows {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        let Some(mut read) = self.task.next_batch()? else { return Ok(None) };
        let rows = read.batch.num_rows();
        let mut arrays = if self.alone { Vec::new() } else { read.batch.columns().to_vec() };
        arrays.insert(self.at, self.names(rows));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        read.batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Error::defect(error.to_string()))?;
        Ok(Some(read))
    }
}
