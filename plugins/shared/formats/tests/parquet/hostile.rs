//! Files in `files/` that were made to harm or to mislead, and odd ones that are right: each gives a
//! clear refusal, or exactly its rows.

use std::{fs, path::Path};

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Int32Type, Int64Type},
};
use transload_formats::ParquetDecoder;
use transload_plugin_api::{Column, Error, LogicalType, Result};

use crate::memory::{Memory, read};

fn stored(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet/files");
    fs::read(folder.join(name).with_extension("parquet")).unwrap()
}

fn attempt(name: &str) -> Result<Vec<RecordBatch>> {
    read(&Memory::new(stored(name)).open()?)
}

#[track_caller]
fn refused(name: &str) -> Error {
    attempt(name).map(|batches| format!("{name} gave {} batches", batches.len())).unwrap_err()
}

/// The decoder panics on these. The error is about the file, not about the decoder.
#[test]
fn damage_that_makes_the_decoder_panic_is_an_error_of_the_data() {
    for (name, place) in [
        ("panic_bit_chunk", "row group 0"),
        ("panic_delta_byte_array", "row group 0"),
        ("panic_dict_missing", "row group 0"),
    ] {
        let error = refused(name);
        assert_eq!(error.code, "PARQUET-DAMAGED", "{name}: {error}");
        assert!(error.message.contains(place), "{name}: {error}");
        let told = format!("{error:?}");
        assert!(!told.contains(".cargo") && !told.contains("panicked"), "{told}");
    }
}

#[test]
fn a_chunk_of_another_type_than_its_column_is_refused() {
    let error = refused("silent_type_differs");
    assert_eq!(error.code, "PARQUET-DAMAGED");
    assert!(error.message.contains("another type"), "{error}");
}

/// Damaged levels announce fewer values than the page has: all later lists would be shifted.
#[test]
fn values_that_the_levels_do_not_announce_are_refused() {
    let error = refused("silent_list_shift");
    assert_eq!(error.code, "PARQUET-DAMAGED");
    assert!(error.message.contains("levels"), "{error}");
}

#[test]
fn row_groups_without_rows_are_no_damage() {
    let batches = attempt("empty_group_between").unwrap();
    let ids: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    assert!(batches.iter().all(|batch| batch.num_columns() == 4));
    let rows = attempt("empty_groups_only").unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

/// Its footer has empty lists without a type of elements.
#[test]
fn files_of_fastparquet_are_read() {
    for (name, groups) in [("fastparquet", 1), ("fastparquet_groups", 3)] {
        let file = Memory::new(stored(name)).open().unwrap();
        assert_eq!((file.row_groups().len(), file.unreadable()), (groups, &[][..]), "{name}");
        let batches = read(&file).unwrap();
        let batch = arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap();
        let texts = |at: usize| batch.column(at).as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3, 4, 5]);
        assert_eq!(texts(3), [Some("a"), None, Some("ü"), Some(""), Some("e")]);
        assert_eq!(texts(4), ["x", "y", "x", "x", "y"].map(Some));
        assert_eq!(batch.column(1).null_count(), 2);
    }
}

/// Row 2 is in the year 5,875,000; row 3 has nanoseconds.
#[test]
fn a_timestamp_out_of_range_makes_its_row_dirty_and_no_other() {
    let file = Memory::new(stored("int96")).open().unwrap();
    for (precision, dirty, kept) in
        [(6, &["row 2", "row 3"][..], &[1, 4][..]), (9, &["row 2"], &[1, 3, 4])]
    {
        let wanted = [
            file.columns()[0].clone(),
            Column::new("at", LogicalType::Timestamp { precision }, true),
        ];
        let mut decoder = ParquetDecoder::new(&file, 0..1, 0, &wanted).unwrap();
        let found = decoder.next_batch().unwrap().unwrap();
        let places: Vec<_> = found.dirty.iter().map(|row| row.place.clone().unwrap()).collect();
        assert_eq!(places, dirty);
        assert!(found.dirty.iter().all(|row| row.column.as_deref() == Some("at")));
        assert_eq!(found.batch.column(0).as_primitive::<Int32Type>().values(), kept);
        assert_eq!((found.rows, found.row_in_group_after, found.first_row), (4, 4, 0));
        let last = found.gaps.last().unwrap();
        assert_eq!((last.row, last.number), (1, kept[1] as u64 - 1));
        if precision == 6 {
            assert!(found.dirty[1].reason.contains("`timestamp(9)` in [reader.schema]"));
        }
    }
}

#[test]
fn columns_that_cannot_be_named_are_reported() {
    for (name, expected) in [
        ("double_name", &[("x", "more than one column has this name")][..]),
        ("nul_column_name", &[("", "its name contains the character NUL")]),
    ] {
        let file = Memory::new(stored(name)).open().unwrap();
        let found = file.unreadable();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((column, why), (part, reason)) in found.iter().zip(expected) {
            assert!(column.contains(part), "{column:?}");
            assert_eq!(why, reason);
        }
        let decoder = ParquetDecoder::new(&file, 0..1, 0, file.columns());
        assert!(decoder.unwrap().next_batch().unwrap().unwrap().batch.num_rows() > 0);
    }
}
