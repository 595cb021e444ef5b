//! What the suite needs to know about objects: the form of a table in each kind of store.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::json;
use transload_plugin_api::{
    Options, Secrets,
    testing::{DirtySource, Rows, Source, Subject, samples},
};
use transload_tests_buckets::{Bucket, secrets};
use transload_values::ColumnRenderer;

/// Tables in one kind of store, in two objects each.
pub(crate) struct Objects {
    pub(crate) bucket: fn() -> Bucket,
    pub(crate) format: &'static str,
}

impl Objects {
    fn content(&self, batch: &RecordBatch) -> String {
        let columns = samples::keyed_columns();
        let arrays = columns.iter().zip(batch.columns());
        let cells: Vec<_> =
            arrays.map(|(column, it)| ColumnRenderer::new(column, it.as_ref()).unwrap()).collect();
        let text = |cells: &ColumnRenderer<'_>, row| {
            let mut out = Vec::new();
            cells.render(row, &mut out);
            String::from_utf8(out).unwrap()
        };
        let line = |row| {
            let cell = |column: usize| text(&cells[column], row);
            let (id, name, size) = (cell(0), cell(1), cell(2));
            match self.format {
                "csv" => format!("{id},{name},{size}\n"),
                _ => format!("{{\"id\":{id},\"name\":\"{name}\",\"size\":{size}}}\n"),
            }
        };
        (0..batch.num_rows()).map(line).collect()
    }

    fn head(&self) -> &'static str {
        if self.format == "csv" { "id,name,size\n" } else { "" }
    }

    fn options(&self, bucket: &Bucket) -> Options {
        let options = bucket.options(json!({"format": self.format}));
        Options { schema: samples::keyed_columns(), ..options }
    }
}

impl Subject for Objects {
    fn source(&self, rows: u64) -> Source {
        let bucket = (self.bucket)();
        let batch = samples::keyed(1..=rows as i64, 1);
        let half = batch.num_rows() / 2;
        let parts = [batch.slice(0, half), batch.slice(half, batch.num_rows() - half)];
        for (number, part) in parts.iter().enumerate() {
            let name = format!("day={number}/part.{}", self.format);
            bucket.put(&name, format!("{}{}", self.head(), self.content(part)));
        }
        let mut options = self.options(&bucket);
        options.values.insert("partitions".to_owned(), json!("none"));
        Source::new(options).with_rows(Rows::of(&[batch])).keeping(bucket)
    }

    fn secrets(&self) -> Arc<dyn Secrets> {
        secrets()
    }

    fn dirty_sources(&self) -> Vec<DirtySource> {
        let (text, places) = match self.format {
            "csv" => ("id,name,size\n1,a,1\n2,b\n3,c,x\n4,d,4\n", [3, 4]),
            _ => ("{\"id\":1}\nwrong\n{\"id\":3,\"size\":\"x\"}\n{\"id\":4}\n", [2, 3]),
        };
        let bucket = (self.bucket)();
        bucket.put(&format!("x.{}", self.format), text);
        let mut options = self.options(&bucket);
        options.schema.iter_mut().for_each(|column| column.nullable = true);
        let places = places.map(|line| format!("line {line}")).to_vec();
        vec![DirtySource { source: Source::new(options).keeping(bucket), places }]
    }
}
