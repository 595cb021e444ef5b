//! The host's side of the plugin's reader: readers with a test's options and secrets, and tables as
//! texts.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;
use transload_plugin_api::{
    Cancel, Column, Host, Plugin, Reader, Result, Secret, Secrets, Split, SplitRequest,
};
use transload_plugin_object_store::ObjectStorePlugin;
use transload_tests_buckets::{Bucket, secrets};
use transload_values::ColumnRenderer;

/// Secrets provided by a test.
struct Fixed(HashMap<&'static str, &'static str>);

impl Secrets for Fixed {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok(self.0.get(key).map(|value| Secret::new(*value)))
    }
}

/// A host with these secrets.
pub(crate) fn host(secrets: &[(&'static str, &'static str)]) -> Host {
    Host::new(Arc::new(Fixed(secrets.iter().copied().collect())), Cancel::new())
}

/// The plugin's reader on a bucket, with these options in addition to the connection's.
pub(crate) trait Reading {
    fn reader(&self, more: Value) -> Box<dyn Reader> {
        self.reader_until(more, Cancel::new())
    }

    fn reader_until(&self, more: Value, cancel: Cancel) -> Box<dyn Reader>;

    /// The names that it lists, relative to the prefix.
    fn listed(&self, more: Value) -> Result<Vec<String>>;
}

impl Reading for Bucket {
    fn reader_until(&self, more: Value, cancel: Cancel) -> Box<dyn Reader> {
        ObjectStorePlugin.reader(self.options(more), Host::new(secrets(), cancel)).unwrap()
    }

    fn listed(&self, more: Value) -> Result<Vec<String>> {
        // Files of a folder are listed without the scheme.
        let base = format!("{}/", self.url.strip_prefix("file://").unwrap_or(&self.url));
        let found = self.reader(more).discover()?;
        Ok(found.into_iter().map(|it| it.name.strip_prefix(&base).unwrap().to_owned()).collect())
    }
}

/// The texts of all rows of all splits, `NULL` for NULL.
pub(crate) fn rows(reader: &dyn Reader, max: u32) -> Result<Vec<Vec<String>>> {
    let columns = reader.schema()?.columns;
    rows_of(reader, &columns, max)
}

/// The texts of these columns.
pub(crate) fn rows_of(
    reader: &dyn Reader,
    columns: &[Column],
    max: u32,
) -> Result<Vec<Vec<String>>> {
    let columns = reader.produces(columns)?;
    let splits = reader.splits(&SplitRequest::new(max, columns.clone()))?;
    let mut rows = Vec::new();
    for split in &splits {
        rows.extend(rows_of_split(reader, split, &columns)?);
    }
    Ok(rows)
}

pub(crate) fn rows_of_split(
    reader: &dyn Reader,
    split: &Split,
    columns: &[Column],
) -> Result<Vec<Vec<String>>> {
    let mut task = reader.open(split, columns, None)?;
    let mut rows = Vec::new();
    while let Some(found) = task.next_batch()? {
        assert!(found.dirty.is_empty(), "{:?}", found.dirty);
        let arrays = found.batch.columns().iter().zip(columns);
        let cells: Vec<_> =
            arrays.map(|(it, column)| ColumnRenderer::new(column, it.as_ref()).unwrap()).collect();
        let text = |cells: &ColumnRenderer<'_>, row: usize| {
            let mut out = Vec::new();
            match cells.is_null(row) {
                true => return "NULL".to_owned(),
                false => cells.render(row, &mut out),
            }
            String::from_utf8(out).unwrap()
        };
        let row = |row| cells.iter().map(|cells| text(cells, row)).collect::<Vec<_>>();
        rows.extend((0..found.batch.num_rows()).map(row));
    }
    Ok(rows)
}

/// Sorted, to compare rows regardless of their order.
pub(crate) fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}
