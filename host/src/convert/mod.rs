//! The columnar conversion between what a reader makes and what a writer takes.
//!
//! Each pair of types has one method and one verdict, decided in the plan. A value that the
//! target's type cannot hold exactly makes its row dirty; nothing is rounded, cut, clamped or
//! turned into NULL. Columns whose types agree pass without being touched.

mod applied;
mod check;
mod list;
mod method;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::filter::filter_record_batch;
use transload_plugin_api::{Column, DirtyRow, schema_of};
use transload_values::{SHOWN, shorten};

use method::{Method, method};
pub(crate) use method::{Verdict, verdict};

/// Conversions for all columns of a task, made once and used for every batch.
pub struct Converter {
    columns: Vec<Conversion>,
    schema: SchemaRef,
    /// Every column passes as it is: only the names may differ.
    idle: bool,
}

struct Conversion {
    source: Column,
    target: Column,
    method: Method,
}

/// A converted batch.
pub struct Converted {
    /// The rows that fit, in the target's schema.
    pub batch: RecordBatch,
    /// The rows that do not, by index in the batch given.
    pub dirty: Vec<DirtyRow>,
    /// Which rows of the batch given are left, in order; `None` if all are.
    pub kept: Option<Vec<u32>>,
}

impl Converter {
    /// A converter from the reader's columns to the writer's, pair by pair. The plan has refused
    /// impossible pairs; one that gets here all the same makes every value dirty.
    pub fn new(from: &[Column], to: &[Column]) -> Self {
        let pair = |(source, target): (&Column, &Column)| Conversion {
            source: source.clone(),
            target: target.clone(),
            method: method(&source.logical, &target.logical),
        };
        let columns: Vec<_> = from.iter().zip(to).map(pair).collect();
        let idle = columns.iter().all(|column| {
            column.method == Method::Same && (column.target.nullable || !column.source.nullable)
        });
        Self { columns, schema: schema_of(to), idle }
    }

    /// Converts one batch.
    ///
    /// # Errors
    /// Only for a batch whose columns are not those the converter was made for.
    pub fn convert(&self, batch: &RecordBatch) -> Result<Converted, ArrowError> {
        if self.idle {
            let batch = RecordBatch::try_new_with_options(
                self.schema.clone(),
                batch.columns().to_vec(),
                &with_rows(batch.num_rows()),
            )?;
            return Ok(Converted { batch, dirty: Vec::new(), kept: None });
        }
        let mut dirty = DirtyCells::new(batch.num_rows());
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, array) in self.columns.iter().zip(batch.columns()) {
            arrays.push(column.convert(array, &mut dirty)?);
        }
        dirty.into_converted(&self.schema, arrays, batch.num_rows())
    }
}

fn with_rows(rows: usize) -> arrow_array::RecordBatchOptions {
    arrow_array::RecordBatchOptions::new().with_row_count(Some(rows))
}

impl Conversion {
    fn convert(&self, array: &ArrayRef, dirty: &mut DirtyCells) -> Result<ArrayRef, ArrowError> {
        let converted = self.method.apply(array, &self.source.logical, &self.target.logical)?;
        for (row, code) in converted.misfits {
            dirty.add(row, || self.misfit(array, row, code));
        }
        if !self.target.nullable && array.null_count() > 0 {
            for row in (0..array.len()).filter(|row| array.is_null(*row)) {
                dirty.add(row, || self.missing(row));
            }
        }
        Ok(converted.array)
    }

    fn misfit(&self, array: &ArrayRef, row: usize, code: &'static str) -> DirtyRow {
        let value = text::show(array, &self.source.logical, row);
        let (source, target) = (&self.source.logical, &self.target.logical);
        let found = shorten(value.as_bytes(), SHOWN);
        let reason = match code {
            "length" => {
                let count = value.chars().count();
                format!("expected {target}, found {count} characters: `{found}`")
            }
            "parse" => format!("expected {target}, found `{found}`"),
            _ => format!("expected {target}, found {source} `{found}`"),
        };
        self.dirty(row, Some(value), code, reason)
    }

    fn missing(&self, row: usize) -> DirtyRow {
        let reason = "NULL in a NOT NULL column".to_owned();
        self.dirty(row, None, "null", reason)
    }

    fn dirty(&self, row: usize, value: Option<String>, code: &str, reason: String) -> DirtyRow {
        DirtyRow {
            row: row as u64,
            place: None,
            column: Some(self.target.name.clone()),
            value,
            code: code.to_owned(),
            reason,
        }
    }
}

/// The dirty rows of a batch: the first trouble of each row counts.
struct DirtyCells {
    clean: Option<Vec<bool>>,
    rows: Vec<DirtyRow>,
    count: usize,
}

impl DirtyCells {
    fn new(count: usize) -> Self {
        Self { clean: None, rows: Vec::new(), count }
    }

    fn add(&mut self, row: usize, dirty: impl FnOnce() -> DirtyRow) {
        let clean = self.clean.get_or_insert_with(|| vec![true; self.count]);
        if std::mem::replace(&mut clean[row], false) {
            self.rows.push(dirty());
        }
    }

    fn into_converted(
        mut self,
        schema: &SchemaRef,
        arrays: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<Converted, ArrowError> {
        let Some(clean) = self.clean else {
            let batch =
                RecordBatch::try_new_with_options(schema.clone(), arrays, &with_rows(rows))?;
            return Ok(Converted { batch, dirty: Vec::new(), kept: None });
        };
        // Non-null columns may hold NULLs until the filter has run.
        let loose = Arc::new(arrow_schema::Schema::new(
            schema
                .fields()
                .iter()
                .map(|f| f.as_ref().clone().with_nullable(true))
                .collect::<Vec<_>>(),
        ));
        let batch = RecordBatch::try_new_with_options(loose, arrays, &with_rows(rows))?;
        let mask = BooleanArray::new(BooleanBuffer::from(clean.as_slice()), None);
        let batch = filter_record_batch(&batch, &mask)?;
        let batch = RecordBatch::try_new_with_options(
            schema.clone(),
            batch.columns().to_vec(),
            &with_rows(batch.num_rows()),
        )?;
        let kept = (0..rows as u32).filter(|row| clean[*row as usize]).collect();
        self.rows.sort_by_key(|dirty| dirty.row);
        Ok(Converted { batch, dirty: self.rows, kept: Some(kept) })
    }
}
