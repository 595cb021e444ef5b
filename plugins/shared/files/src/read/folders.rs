//! The columns that folder names (`day=2026-11-21/`) give: one value for all rows of a file.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use transload_plugin_api::{Column, Error, Result, code, schema_of};
use transload_values::{BATCH_ROWS, CellWords, ColumnParser};

/// Where a column of the batch comes from.
enum From {
    /// The file's own columns, by number.
    File(usize),
    /// A folder's name; as many equal values as a batch usually has rows.
    Folder(Column, Option<String>, ArrayRef),
}

/// Completes the batches of one file.
pub(crate) struct Folders {
    columns: Vec<From>,
    of_files: Vec<Column>,
    schema: SchemaRef,
    words: CellWords,
}

impl Folders {
    /// For the wanted columns of a file whose folders say `values` for `names`.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if a value does not read as the wanted type.
    pub(crate) fn new(
        wanted: &[Column],
        names: &[String],
        values: &[Option<String>],
        words: &CellWords,
    ) -> Result<Self> {
        // a folder's name has the usual form, whatever the form of the values in the files
        let words = &words.clone().with_usual_forms();
        let (mut columns, mut of_files) = (Vec::new(), Vec::new());
        for column in wanted {
            match names.iter().position(|name| *name == column.name) {
                None => {
                    columns.push(From::File(of_files.len()));
                    of_files.push(column.clone());
                }
                Some(index) => {
                    let value = values.get(index).cloned().flatten();
                    let array = repeat(column, value.as_deref(), BATCH_ROWS, words)?;
                    columns.push(From::Folder(column.clone(), value, array));
                }
            }
        }
        Ok(Self { columns, of_files, schema: schema_of(wanted), words: words.clone() })
    }

    /// The wanted columns that the file itself has.
    pub(crate) fn of_files(&self) -> &[Column] {
        &self.of_files
    }

    /// A batch of the file's columns with those of its folders, in the wanted order.
    pub(crate) fn complete(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.of_files.len() == self.columns.len() {
            return Ok(batch);
        }
        let rows = batch.num_rows();
        let array = |from: &From| match from {
            From::File(index) => Ok(batch.column(*index).clone()),
            From::Folder(_, _, array) if array.len() >= rows => Ok(array.slice(0, rows)),
            From::Folder(column, value, _) => repeat(column, value.as_deref(), rows, &self.words),
        };
        let arrays = self.columns.iter().map(array).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Error::defect("batch").caused_by(&error))
    }
}

/// One value many times.
fn repeat(
    column: &Column,
    value: Option<&str>,
    rows: usize,
    words: &CellWords,
) -> Result<ArrayRef> {
    let mut builder = ColumnParser::new(column, words)?;
    for _ in 0..rows {
        let appended = match value {
            None => builder.append_null(),
            Some(text) => builder.append_text(text.as_bytes()),
        };
        appended.map_err(|error| {
            let (name, kind) = (&column.name, &column.logical);
            let value = value.unwrap_or("NULL");
            let message =
                format!("`{value}` in a folder's name is no {kind} for `{name}`: {}", error.reason);
            Error::data(message).with_code(code::FILE_PARTITION)
        })?;
    }
    Ok(builder.finish())
}
