//! CSV in memory, one thread: how many bytes per second are decoded, encoded and searched for
//! boundaries, and the cost of cells of each type.
#![allow(missing_docs)] // the macros of the harness make public functions
#![allow(clippy::unwrap_used)] // a benchmark may panic

mod lineitem;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use transload_formats::{
    BoundaryFinder, CsvDecoder, CsvDialect, CsvEncoder, Decoded, Decoder, Encoder,
};
use transload_plugin_api::{Column, LogicalType};
use transload_values::{BinaryText, CellWords};

fn decode(dialect: &CsvDialect, names: &[String], wanted: &[Column], input: &[u8]) -> Vec<Decoded> {
    let mut decoder = CsvDecoder::new(dialect, names, wanted, &CellWords::default()).unwrap();
    let (mut taken, mut found) = (0, Vec::new());
    while taken < input.len() {
        taken += decoder.decode(&input[taken..], true).unwrap();
        found.extend(decoder.flush().unwrap());
    }
    found
}

fn names(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

fn lineitem(criterion: &mut Criterion) {
    let (dialect, columns) = (lineitem::dialect(), lineitem::columns());
    let names = names(&columns);
    let input = lineitem::rows(100_000);
    let mut group = criterion.benchmark_group("lineitem");
    group.throughput(Throughput::Bytes(input.len() as u64)).sample_size(20);
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode(&dialect, &names, &columns, black_box(&input)).len());
    });
    group.bench_function("decode two columns", |bencher| {
        bencher.iter(|| decode(&dialect, &names, &columns[4..6], black_box(&input)).len());
    });
    let batches = decode(&dialect, &names, &columns, &input);
    group.bench_function("encode", |bencher| {
        let mut encoder = CsvEncoder::new(&dialect, &columns, BinaryText::Hex).unwrap();
        let mut out = Vec::with_capacity(input.len() * 2);
        bencher.iter(|| {
            out.clear();
            batches.iter().for_each(|part| encoder.encode(&part.batch, &mut out).unwrap());
            out.len()
        });
    });
    group.bench_function("boundaries", |bencher| {
        bencher.iter(|| {
            let mut finder = BoundaryFinder::new(&dialect, vec![input.len() as u64 - 100]);
            finder.push(black_box(&input));
            finder.finish()
        });
    });
    group.finish();
}

fn cells(criterion: &mut Criterion) {
    let cases = [
        ("boolean", "true"),
        ("int64", "-1234567"),
        ("float64", "12345.678"),
        ("decimal(15,2)", "12345.67"),
        ("decimal(60,2)", "12345.67"),
        ("numeric", "12345.67"),
        ("date", "2024-02-29"),
        ("timestamp", "2024-02-29 12:34:56.789"),
        ("timestamptz", "2024-02-29T12:34:56Z"),
        ("text", "some words of a text"),
        ("text", "\"some \"\"words\"\" of a text\""),
        ("json", r#""{""a"":1}""#),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
        ("binary", "00ff00ff00ff"),
    ];
    let mut group = criterion.benchmark_group("cells");
    group.sample_size(20);
    for (kind, text) in cases {
        let column = [Column::new("c", kind.parse::<LogicalType>().unwrap(), true)];
        let input = format!("{text}\n").repeat(100_000);
        group.throughput(Throughput::Elements(100_000));
        group.bench_function(format!("{kind} {text}"), |bencher| {
            let names = names(&column);
            let dialect = lineitem::dialect();
            bencher.iter(|| decode(&dialect, &names, &column, black_box(input.as_bytes())).len());
        });
    }
    group.finish();
}

criterion_group!(benches, lineitem, cells);
criterion_main!(benches);
