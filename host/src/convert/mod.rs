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

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::filter::filter_record_batch;
use transload_plugin_api::{Column, DirtyRow, RowError, schema_of};
use transload_values::{SHOWN, shorten};

use method::{Method, method};
pub(crate) use method::{Verdict, verdict};
pub(crate) use text::show;

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
            dirty.add(row, self.misfit(array, row, code));
        }
        if !self.target.nullable && array.null_count() > 0 {
            for row in (0..array.len()).filter(|row| array.is_null(*row)) {
                dirty.add(row, self.missing());
            }
        }
        Ok(converted.array)
    }

    fn misfit(&self, array: &ArrayRef, row: usize, code: &'static str) -> RowError {
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
        RowError::new(code, reason).column(&*self.target.name).value(value)
    }

    fn missing(&self) -> RowError {
        RowError::new("null", "NULL in a NOT NULL column").column(&*self.target.name)
    }
}

/// The dirty rows of a batch, each with all that is wrong with it.
struct DirtyCells {
    rows: BTreeMap<usize, DirtyRow>,
    count: usize,
}

impl DirtyCells {
    fn new(count: usize) -> Self {
        Self { rows: BTreeMap::new(), count }
    }

    fn add(&mut self, row: usize, error: RowError) {
        match self.rows.entry(row) {
            Entry::Occupied(dirty) => dirty.into_mut().more.push(error),
            Entry::Vacant(place) => drop(place.insert(DirtyRow::from(error).row(row as u64))),
        }
    }

    fn into_converted(
        self,
        schema: &SchemaRef,
        arrays: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<Converted, ArrowError> {
        if self.rows.is_empty() {
            let batch =
                RecordBatch::try_new_with_options(schema.clone(), arrays, &with_rows(rows))?;
            return Ok(Converted { batch, dirty: Vec::new(), kept: None });
        }
        let clean: Vec<_> = (0..self.count).map(|row| !self.rows.contains_key(&row)).collect();
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
        Ok(Converted { batch, dirty: self.rows.into_values().collect(), kept: Some(kept) })
    }
}
