//! The distribution of files over splits.

use transload_plugin_api::LogicalType;

use crate::{
    parquet::file,
    shelf::{Shelf, splits},
};

#[test]
fn small_parquet_files_are_dealt_evenly() {
    // Most of each file is its footer, which is not part of a row group.
    let small = file(&[("id", LogicalType::Int64), ("name", LogicalType::TEXT)]);
    let files = (0..40).map(|number| (format!("{number:02}.parquet"), small.clone()));
    // Enough splits that nearly every file is checked for a row group to split at.
    let (_, splits) = splits(&Shelf::new(files).reader(&[]), 30);
    let labels: Vec<_> = splits.iter().map(|split| split.label.as_str()).collect();
    assert_eq!(labels.len(), 30, "{labels:?}");
}
