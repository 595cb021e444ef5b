//! Tests chunks, row groups and positions: committed rows are in the file, rolled-back rows are
//! not, and reading can start anywhere.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type,
};
use transload_formats::{
    Encoder, ParquetDecoder, ParquetEncoder, ParquetFile, ParquetOptions, join_parquet, produced,
};
use transload_plugin_api::{Column, ErrorKind, LogicalType, schema_of};
use transload_values::BATCH_ROWS;

use crate::memory::{Memory, read, read_columns, written};

fn columns() -> Vec<Column> {
    vec![
        Column::new("id", LogicalType::Int64, false),
        Column::new("text", LogicalType::TEXT, true),
        Column::new("more", LogicalType::Int64, true),
    ]
}

fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let ids = Int64Array::from_iter_values(range.clone());
    let texts = StringArray::from_iter(
        range.clone().map(|id| (id % 5 > 0).then(|| format!("{id} {}", id * 7919 % 1000))),
    );
    let more = Int64Array::from_iter(range.map(|id| (id % 3 > 0).then_some(id * id)));
    let arrays: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(texts), Arc::new(more)];
    RecordBatch::try_new(schema_of(&columns()), arrays).unwrap()
}

fn options(row_group_rows: usize) -> ParquetOptions {
    ParquetOptions { row_group_rows, ..ParquetOptions::default() }
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn open(options: &ParquetOptions, batches: &[RecordBatch]) -> ParquetFile {
    Memory::new(written(options, &columns(), batches)).open().unwrap()
}

#[test]
fn row_groups_span_chunks_and_split_batches() {
    let file = open(&options(1000), &[rows(0..700), rows(700..1500), rows(1500..2300)]);
    let groups: Vec<_> =
        file.row_groups().iter().map(|group| (group.rows, group.first_row)).collect();
    assert_eq!(groups, [(1000, 0), (1000, 1000), (300, 2000)]);
    assert_eq!(file.rows(), 2300);
    let batches = read(&file).unwrap();
    assert_eq!(ids(&batches), (0..2300).collect::<Vec<_>>());
    let schema = schema_of(file.columns());
    assert!(batches.iter().all(|batch| batch.schema() == schema));
}

#[test]
fn a_chunk_rolled_back_is_not_in_the_file() {
    let mut out = Vec::new();
    let mut encoder = ParquetEncoder::new(&options(100), &columns()).unwrap();
    encoder.start(&mut out).unwrap();
    assert_eq!(out, b"PAR1");
    encoder.encode(&rows(0..150), &mut out).unwrap();
    encoder.commit(&mut out).unwrap();
    let after = out.len();
    assert!(after > 4, "a row group is finished");
    encoder.encode(&rows(1000..5000), &mut out).unwrap();
    encoder.rollback();
    assert_eq!(out.len(), after, "no bytes are written before a commit");
    encoder.encode(&rows(150..160), &mut out).unwrap();
    encoder.commit(&mut out).unwrap();
    encoder.end(&mut out).unwrap();
    let file = Memory::new(out).open().unwrap();
    assert_eq!(ids(&read(&file).unwrap()), (0..160).collect::<Vec<_>>());
}

#[test]
fn batches_of_other_columns_and_nulls_where_none_may_be_are_refused() {
    let mut encoder = ParquetEncoder::new(&options(100), &columns()).unwrap();
    let other = rows(0..3).project(&[0, 1]).unwrap();
    let error = encoder.encode(&other, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Schema);
    let fields = [Column::new("id", LogicalType::Int64, true)];
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
    let nulls = RecordBatch::try_new(schema_of(&fields), vec![nulls]).unwrap();
    let mut encoder = ParquetEncoder::new(&options(100), &columns()[..1]).unwrap();
    let error = encoder.encode(&nulls, &mut Vec::new()).unwrap_err();
    assert!(error.message.contains("`id` must not be NULL"), "{error}");
}

#[test]
fn reading_starts_anywhere() {
    let file = open(&options(10_000), &[rows(0..25_000)]);
    for skip in [0, 1, 8191, 8192, 9999, 10_000] {
        let mut decoder = ParquetDecoder::new(&file, 1..3, skip, file.columns()).unwrap();
        let mut next = 10_000 + skip;
        while let Some(read) = decoder.next_batch().unwrap() {
            assert!(read.batch.num_rows() <= BATCH_ROWS);
            assert_eq!(read.first_row, next, "after {skip}");
            assert_eq!(ids(std::slice::from_ref(&read.batch))[0], next as i64);
            next += read.batch.num_rows() as u64;
            let group = file.row_groups()[read.row_group];
            assert_eq!(read.row_in_group_after, next - group.first_row);
        }
        assert_eq!(next, 25_000);
    }
    let beyond = ParquetDecoder::new(&file, 1..3, 10_001, file.columns());
    assert_eq!(beyond.unwrap().next_batch().unwrap_err().kind, ErrorKind::Schema);
    assert!(ParquetDecoder::new(&file, 1..4, 0, file.columns()).is_err());
}

/// T39: columns are found by name, in the requested order.
#[test]
fn t39_columns_by_name_and_only_theirs_are_fetched() {
    let memory = Memory::new(written(&options(50_000), &columns(), &[rows(0..50_000)]));
    let file = memory.open().unwrap();
    memory.fetched();
    let alone: Vec<u64> = file
        .columns()
        .iter()
        .map(|column| {
            let wanted = std::slice::from_ref(column);
            let batches = read_columns(&file, wanted).unwrap();
            assert_eq!(batches[0].schema(), schema_of(wanted));
            memory.fetched()
        })
        .collect();
    read(&file).unwrap();
    assert_eq!(alone.iter().sum::<u64>(), memory.fetched(), "{alone:?}");
    assert!(alone.iter().all(|bytes| *bytes > 0), "{alone:?}");

    let mut swapped = vec![file.columns()[2].clone(), file.columns()[0].clone()];
    let batches = read_columns(&file, &swapped).unwrap();
    assert_eq!(batches[0].column(1).as_ref(), rows(0..BATCH_ROWS as i64).column(0).as_ref());
    swapped.push(swapped[0].clone());
    let twice = read_columns(&file, &swapped).unwrap_err();
    assert_eq!(
        (twice.kind, twice.message.as_str()),
        (ErrorKind::Schema, "column `more` is requested twice")
    );
    let missing = read_columns(&file, &[Column::new("x", LogicalType::TEXT, true)]).unwrap_err();
    assert_eq!(missing.message, "there is no column `x`; the file has `id`, `text`, `more`");
    let none = read_columns(&file, &[]).unwrap();
    assert_eq!(none.iter().map(RecordBatch::num_rows).sum::<usize>(), 50_000);
}

#[test]
fn a_type_that_is_not_produced_is_a_schema_error() {
    let file = open(&options(100), &[rows(0..10)]);
    let wanted = [Column::new("id", LogicalType::Int32, false)];
    assert_eq!(produced(file.columns(), &wanted), [file.columns()[0].clone()]);
    let error = read_columns(&file, &wanted).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Schema);
    assert_eq!(error.message, "column `id` is `int64` and cannot be read as `int32`");
}

/// T59: memory does not grow with the size of a row group.
#[test]
fn t59_large_row_groups_are_fetched_in_blocks() {
    let wide = |range: std::ops::Range<i64>| {
        let texts = range.clone().map(|id| {
            // incompressible values, so that the file is large
            let mut state = (id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
            let mut text = String::new();
            for _ in 0..500 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                text.push((b' ' + (state % 95) as u8) as char);
            }
            text
        });
        let texts = StringArray::from_iter_values(texts);
        let arrays: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from_iter_values(range)), Arc::new(texts)];
        RecordBatch::try_new(schema_of(&columns()[..2]), arrays).unwrap()
    };
    let batches: Vec<_> = (0..20).map(|chunk| wide(chunk * 5000..(chunk + 1) * 5000)).collect();
    let bytes = written(&options(1_000_000), &columns()[..2], &batches);
    assert!(bytes.len() > 36 << 20, "{}", bytes.len());
    let memory = Memory::new(bytes);
    let file = memory.open().unwrap();
    memory.fetched();
    let read = read(&file).unwrap();
    assert_eq!(ids(&read), (0..100_000).collect::<Vec<_>>());
    assert_eq!(
        read[3].column(1).as_ref(),
        batches
            .iter()
            .map(|b| b.column(1))
            .fold(None, |all: Option<ArrayRef>, next| {
                Some(match all {
                    None => next.clone(),
                    Some(all) => arrow_select::concat::concat(&[&all, next]).unwrap(),
                })
            })
            .unwrap()
            .slice(3 * read[0].num_rows(), read[3].num_rows())
            .as_ref()
    );
    let asked = memory.asked.lock().unwrap().clone();
    assert!(asked.len() > 1, "there was only one request");
    let largest =
        asked.iter().map(|ranges| ranges.iter().map(|r| r.end - r.start).sum::<u64>()).max();
    assert!(largest.unwrap() <= 33 << 20, "{largest:?}");
    let fetched: u64 = asked.iter().flatten().map(|range| range.end - range.start).sum();
    assert_eq!(fetched, file.row_groups()[0].bytes, "nothing is fetched twice");
}

#[test]
fn files_are_joined_without_decoding_them() {
    let parts: Vec<_> = [0..700, 700..700, 700..2000, 2000..2001]
        .into_iter()
        .enumerate()
        .map(|(number, range)| {
            let compression = transload_formats::ParquetCompression::Snappy;
            let options = match number {
                0 => ParquetOptions { compression, ..options(300) },
                _ => options(1000),
            };
            open(&options, &[rows(range)])
        })
        .collect();
    let mut out = Vec::new();
    assert_eq!(join_parquet(&parts, &mut out).unwrap(), 2001);
    let file = Memory::new(out).open().unwrap();
    assert_eq!(file.columns(), parts[0].columns());
    let groups: Vec<_> = file.row_groups().iter().map(|group| group.rows).collect();
    assert_eq!(groups, [300, 300, 100, 1000, 300, 1]);
    let read = read(&file).unwrap();
    assert_eq!(ids(&read), (0..2001).collect::<Vec<_>>());
    assert_eq!(read[1].column(1).as_ref(), rows(300..600).column(1).as_ref());
}

#[test]
fn files_of_other_schemas_are_not_joined() {
    let first = open(&options(100), &[rows(0..10)]);
    let fewer = &columns()[..2];
    let second =
        Memory::new(written(&options(100), fewer, &[rows(0..3).project(&[0, 1]).unwrap()]));
    let error = join_parquet(&[first, second.open().unwrap()], Vec::new()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Schema);
    assert!(error.message.ends_with("expected 3 columns, found 2"), "{error}");
}
