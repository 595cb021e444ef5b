//! Parquet files of one row.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use transload_formats::{Encoder, ParquetEncoder, ParquetOptions};
use transload_plugin_api::{Column, LogicalType, schema_of};

/// A file of one row with these columns.
pub(crate) fn file(columns: &[(&str, LogicalType)]) -> Vec<u8> {
    let value = |logical: &LogicalType| -> ArrayRef {
        match logical {
            LogicalType::Int64 => Arc::new(Int64Array::from(vec![1])),
            _ => Arc::new(StringArray::from(vec!["x"])),
        }
    };
    let arrays = columns.iter().map(|(_, logical)| value(logical)).collect();
    let columns: Vec<_> =
        columns.iter().map(|(name, logical)| Column::new(*name, logical.clone(), true)).collect();
    let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
    let mut encoder = ParquetEncoder::new(&ParquetOptions::default(), &columns).unwrap();
    let mut out = Vec::new();
    encoder.start(&mut out).unwrap();
    encoder.encode(&batch, &mut out).unwrap();
    encoder.commit(&mut out).unwrap();
    encoder.end(&mut out).unwrap();
    out
}
