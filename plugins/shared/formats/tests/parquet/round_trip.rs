//! Tests that every type reads back as written.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ListArray, RecordBatch, StringArray, UInt32Array, cast::AsArray,
    new_null_array, types::Int64Type,
};
use arrow_schema::DataType;
use transload_formats::{
    Encoder, ParquetCompression, ParquetDecoder, ParquetEncoder, ParquetOptions, ParquetStatistics,
    produced,
};
use transload_plugin_api::{
    Column, LogicalType, columns_of, schema_of,
    testing::{Rows, samples},
};

use crate::memory::{Memory, file_of, read, written};

/// All types that a file holds without refusing rows.
fn all_types() -> Vec<LogicalType> {
    let names = "boolean int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 \
                 decimal(2,0) decimal(9,2) decimal(10,0) decimal(18,17) decimal(19,0) \
                 decimal(38,10) decimal(39,0) decimal(76,20) numeric text text(5) binary date \
                 time time(0) time(9) duration timestamp timestamp(3) timestamp(9) timestamptz \
                 timestamptz(0) timestamptz(9) json uuid list<int32> list<text> \
                 list<decimal(15,2)> list<decimal(50,2)> list<timestamptz(9)> list<uint64> \
                 list<list<int64>> list<list<uuid>> list<numeric> list<json> list<boolean>";
    names.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

fn bare(columns: &[Column]) -> Vec<Column> {
    let bare = |column: &Column| Column { native: String::new(), ..column.clone() };
    columns.iter().map(bare).collect()
}

#[track_caller]
fn assert_back(batch: &RecordBatch, options: &ParquetOptions, when: &str) {
    let columns = columns_of(&batch.schema()).unwrap();
    let file = Memory::new(written(options, &columns, std::slice::from_ref(batch))).open().unwrap();
    assert_eq!(bare(file.columns()), columns, "{when}");
    assert_eq!(file.unreadable(), []);
    Rows::of(std::slice::from_ref(batch)).assert_equal(&Rows::of(&read(&file).unwrap()), when);
}

#[test]
fn every_type_reads_back_as_it_was() {
    let batch = samples::edge_batch(&all_types());
    assert_back(&batch, &ParquetOptions::default(), "the defaults");
}

#[test]
fn lists_are_read_as_json_where_a_text_is_wanted() {
    let batch =
        samples::edge_batch(&["list<int32>".parse().unwrap(), "list<float64>".parse().unwrap()]);
    let file = Memory::new(file_of(&batch)).open().unwrap();
    let wanted: Vec<_> = file
        .columns()
        .iter()
        .zip([LogicalType::Int64, LogicalType::TEXT, LogicalType::Json])
        .map(|(column, logical)| Column { logical, ..column.clone() })
        .collect();
    assert_eq!(produced(file.columns(), &wanted), wanted);
    let mut decoder = ParquetDecoder::new(&file, 0..1, 0, &wanted).unwrap();
    let found = decoder.next_batch().unwrap().unwrap();
    // JSON has no NaN and no infinities.
    assert!(found.dirty.iter().all(|row| row.reason.contains("NaN")), "{:?}", found.dirty);
    assert_eq!(found.batch.num_rows() + found.dirty.len(), batch.num_rows());
    for column in &found.batch.columns()[1..] {
        let texts = column.as_string::<i32>();
        assert!(texts.iter().flatten().all(|text| text.starts_with('[') && text.ends_with(']')));
    }
}

/// What the writer takes, the reader takes.
#[test]
fn values_beyond_the_limit_are_refused_and_others_read_back() {
    let texts = ["x".repeat(1_000), "x".repeat(1_001), "short".to_owned()];
    let lists = [Some(vec![Some(1i64)]), Some(vec![Some(2); 10]), Some(vec![Some(3); 100])];
    let columns = [
        Column::new("t", LogicalType::TEXT, true),
        Column::new("l", "list<int64>".parse().unwrap(), true),
    ];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let DataType::List(field) = columns[1].logical.data_type() else { panic!("a list") };
    let (_, offsets, values, nulls) = lists.into_parts();
    let lists = ListArray::new(field, offsets, values, nulls);
    let arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from(texts.to_vec())), Arc::new(lists)];
    let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
    let options = ParquetOptions { max_record: 1_000, ..ParquetOptions::default() };
    let mut encoder = ParquetEncoder::new(&options, &columns).unwrap();
    let mut out = Vec::new();
    encoder.start(&mut out).unwrap();
    encoder.encode(&batch, &mut out).unwrap();
    let refused = encoder.take_refused();
    encoder.commit(&mut out).unwrap();
    encoder.end(&mut out).unwrap();
    let refused: Vec<_> =
        refused.iter().map(|row| (row.row, row.column.as_deref().unwrap(), &*row.code)).collect();
    assert_eq!(refused, [(1, "t", "length"), (2, "l", "length")]);
    let file = Memory::new(out).open().unwrap();
    let decoder = ParquetDecoder::new(&file, 0..1, 0, file.columns()).unwrap();
    let read = decoder.max_value(1_000).next_batch().unwrap().unwrap();
    Rows::of(&[batch.slice(0, 1)]).assert_equal(&Rows::of(&[read.batch]), "the rest");
}

#[test]
fn every_option_makes_a_file_that_reads_back() {
    use ParquetCompression as C;
    use ParquetStatistics as S;
    let batch = samples::edge_batch(&all_types());
    for compression in [C::None, C::Snappy, C::Gzip, C::Zstd, C::Lz4] {
        for (dictionary, statistics, page_checksums, page_bytes) in [
            (true, S::Page, true, 100),
            (false, S::None, false, 1),
            (false, S::Chunk, true, 1 << 20),
        ] {
            let options = ParquetOptions {
                compression,
                dictionary,
                statistics,
                page_checksums,
                page_bytes,
                row_group_rows: 7,
                ..ParquetOptions::default()
            };
            assert_back(&batch, &options, &format!("{options:?}"));
        }
    }
}

/// T18: every width that a decimal can have, at its edges.
#[test]
fn t18_decimals_of_every_width() {
    let types: Vec<_> =
        (2..=76).map(|precision| LogicalType::Decimal { precision, scale: 1 }).collect();
    assert_back(&samples::edge_batch(&types), &ParquetOptions::default(), "decimals");
}

#[test]
fn columns_without_nulls_stay_so() {
    let types = all_types();
    let batch = samples::edge_batch(&types);
    for (index, logical) in types.iter().enumerate() {
        let array = batch.column(index + 1);
        let column = Column::new("c", logical.clone(), false);
        let valid: UInt32Array =
            (0..array.len() as u32).filter(|row| array.is_valid(*row as usize)).map(Some).collect();
        let array = arrow_select::take::take(array, &valid, None).unwrap();
        let schema = transload_plugin_api::schema_of(&[column]);
        let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
        assert_back(&batch, &ParquetOptions::default(), &logical.to_string());
    }
}

#[test]
fn rows_without_values_and_tables_without_rows() {
    let batch = samples::edge_batch(&all_types());
    let empty = batch.slice(0, 0);
    let file = Memory::new(file_of(&empty)).open().unwrap();
    assert_eq!((file.rows(), file.row_groups().len()), (0, 0));
    assert_eq!(bare(file.columns()), columns_of(&batch.schema()).unwrap());
    assert_eq!(read(&file).unwrap(), []);

    let nulls = batch.columns().iter().map(|array| new_null_array(array.data_type(), 3));
    let mut arrays: Vec<_> = nulls.collect();
    arrays[0] = std::sync::Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3]));
    let nulls = RecordBatch::try_new(batch.schema(), arrays).unwrap();
    assert_back(&nulls, &ParquetOptions::default(), "NULL alone");
}

#[test]
fn intervals_that_fit_read_back_and_others_are_refused() {
    use arrow_array::IntervalMonthDayNanoArray;
    use arrow_buffer::IntervalMonthDayNano as Span;
    use transload_formats::{Encoder, ParquetEncoder};
    let columns = [Column::new("i", LogicalType::Interval, true)];
    let schema = transload_plugin_api::schema_of(&columns);
    let most = i64::from(u32::MAX) * 1_000_000;
    let good =
        [Span::new(0, 0, 0), Span::new(i32::MAX, i32::MAX, most), Span::new(1, 2, 3_000_000)];
    let bad = [
        Span::new(-1, 0, 0),
        Span::new(0, -1, 0),
        Span::new(0, 0, -1_000_000),
        Span::new(0, 0, 1),
        Span::new(0, 0, most + 1_000_000),
    ];
    let batch = |spans: Vec<Option<Span>>| {
        let array = IntervalMonthDayNanoArray::from(spans);
        RecordBatch::try_new(schema.clone(), vec![std::sync::Arc::new(array)]).unwrap()
    };
    let fits = batch(good.iter().copied().map(Some).chain([None]).collect());
    assert_back(&fits, &ParquetOptions::default(), "intervals");

    let mixed = batch(good.iter().chain(&bad).copied().map(Some).chain([None]).collect());
    let mut out = Vec::new();
    let mut encoder = ParquetEncoder::new(&ParquetOptions::default(), &columns).unwrap();
    encoder.start(&mut out).unwrap();
    encoder.encode(&mixed, &mut out).unwrap();
    let refused = encoder.take_refused();
    assert_eq!(refused.iter().map(|row| row.row).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert_eq!(refused[0].column.as_deref(), Some("i"));
    assert_eq!(encoder.take_refused(), []);
    encoder.commit(&mut out).unwrap();
    encoder.end(&mut out).unwrap();
    let file = Memory::new(out).open().unwrap();
    Rows::of(&[fits]).assert_equal(&Rows::of(&read(&file).unwrap()), "the rows that fit");
}

/// T18: a row with a value beyond the digits of its type is refused; the value never changes.
#[test]
fn t18_decimals_beyond_their_digits_are_refused() {
    use arrow_array::Decimal128Array;
    use transload_formats::{Encoder, ParquetEncoder};
    for (precision, value) in
        [(5, 100_000), (12, 10i128.pow(12)), (5, 1 << 32), (20, 10i128.pow(20))]
    {
        let columns = [Column::new("d", LogicalType::Decimal { precision, scale: 2 }, true)];
        let array = Decimal128Array::from(vec![Some(1), Some(value), None, Some(-value)])
            .with_precision_and_scale(precision, 2)
            .unwrap();
        let schema = transload_plugin_api::schema_of(&columns);
        let batch = RecordBatch::try_new(schema, vec![std::sync::Arc::new(array)]).unwrap();
        let mut encoder = ParquetEncoder::new(&ParquetOptions::default(), &columns).unwrap();
        encoder.encode(&batch, &mut Vec::new()).unwrap();
        let refused: Vec<_> = encoder.take_refused().iter().map(|row| row.row).collect();
        assert_eq!(refused, [1, 3], "{precision} {value}");
    }
}
