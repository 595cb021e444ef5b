//! Files in `files/` that were made to harm or to mislead, and odd ones that are right: each gives a
//! clear refusal, or exactly its rows.

use std::{fs, io::Write, path::Path, process::Command, sync::Arc};

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Int32Type, Int64Type},
};
use parquet::{
    data_type::{Int32Type as Int32Stored, Int64Type as Int64Stored},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
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

/// Each has a few kilobytes and would become gigabytes. Read in a process of its own, whose memory is
/// measured.
#[test]
fn bombs_are_refused_before_they_take_memory() {
    for name in ["list_ints", "list_dict", "list_60_columns", "flat_huge"] {
        let (outcome, peak) = alone(name);
        assert!(outcome.contains("PARQUET-LIMIT"), "{name}: {outcome}");
        assert!(peak < 512 << 10, "{name}: {peak} kB");
    }
}

/// Long texts that are stored once, and many rows that have them: honest, and read in batches of few
/// rows.
#[test]
fn repeated_long_texts_are_read_in_bounded_memory() {
    for name in ["repeated_by_dictionary", "repeated_by_delta"] {
        let (outcome, peak) = alone(name);
        assert_eq!(outcome, "400 rows", "{name}");
        assert!(peak < 512 << 10, "{name}: {peak} kB");
    }
}

#[test]
fn the_limit_of_a_value_can_be_raised_or_lowered() {
    let file = Memory::new(stored("repeated_by_dictionary")).open().unwrap();
    for (most, expected) in [(1 << 20, Ok(())), ((1 << 20) - 1, Err("PARQUET-LIMIT".to_owned()))] {
        let decoder = ParquetDecoder::new(&file, 0..1, 0, file.columns()).unwrap();
        let read = decoder.max_value(most).next_batch();
        assert_eq!(read.map(drop).map_err(|error| error.code), expected);
    }
}

/// What reading a file in another process says, and that process's largest memory in kB.
fn alone(name: &str) -> (String, u64) {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "hostile::read_alone", "--ignored", "--nocapture"];
    let output = Command::new(program).args(arguments).env(ALONE, name).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |key: &str| {
        let line = text.lines().find_map(|line| line.split_once(key).map(|(_, rest)| rest));
        line.unwrap_or_else(|| panic!("{name}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    (line("outcome: ").to_owned(), line("peak kB: ").parse().unwrap())
}

const ALONE: &str = "TRANSLOAD_TEST_ALONE";

#[test]
#[ignore = "a part of other tests, which run it in a process of its own"]
fn read_alone() {
    let name = std::env::var(ALONE).unwrap();
    let outcome = match count(&name) {
        Ok(rows) => format!("{rows} rows"),
        Err(error) => format!("{} {error}", error.code),
    };
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB");
    writeln!(std::io::stdout(), "outcome: {outcome}\npeak kB: {peak}").unwrap();
}

/// The rows of a file, without keeping them.
fn count(name: &str) -> Result<u64> {
    let file = Memory::new(stored(name)).open()?;
    let groups = 0..file.row_groups().len();
    let mut decoder = ParquetDecoder::new(&file, groups, 0, file.columns())?;
    let mut rows = 0;
    while let Some(found) = decoder.next_batch()? {
        assert_eq!((found.first_row, found.dirty.len()), (rows, 0));
        rows += found.rows;
    }
    Ok(rows)
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

/// What is out of its type's range stands in the dirty row as it is stored.
#[test]
fn a_number_out_of_range_is_in_its_dirty_row() {
    let schema = "message schema { required int32 a (INTEGER(8,true)); \
                  required int64 d (DECIMAL(4,2)); required int32 b; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in 0..3 {
        let mut open = group.next_column().unwrap().unwrap();
        match column {
            0 => drop(open.typed::<Int32Stored>().write_batch(&[1, 300, 3], None, None).unwrap()),
            1 => {
                let values = [1_000, 1_001, 1_234_567];
                open.typed::<Int64Stored>().write_batch(&values, None, None).unwrap();
            }
            _ => drop(open.typed::<Int32Stored>().write_batch(&[7, 8, 9], None, None).unwrap()),
        }
        open.close().unwrap();
    }
    group.close().unwrap();
    let file = Memory::new(writer.into_inner().unwrap()).open().unwrap();
    let mut decoder = ParquetDecoder::new(&file, 0..1, 0, file.columns()).unwrap();
    let found = decoder.next_batch().unwrap().unwrap();
    assert_eq!(found.batch.num_rows(), 1);
    let rows: Vec<_> = found
        .dirty
        .iter()
        .map(|row| (row.number.unwrap(), row.value.as_deref(), row.values.as_deref().unwrap()))
        .collect();
    let expected = [
        (2, Some("300"), r#"{"a":300,"d":10.01,"b":8}"#),
        (3, Some("1234567"), r#"{"a":3,"d":1234567,"b":9}"#),
    ];
    assert_eq!(rows, expected);
}
