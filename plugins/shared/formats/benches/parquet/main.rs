//! Parquet in memory, one thread: how many rows of lineitem per second are encoded and decoded,
//! with each compression.
#![allow(missing_docs)] // the macros of the harness make public functions
#![allow(clippy::unwrap_used)] // a benchmark may panic

#[path = "../csv/lineitem.rs"]
mod lineitem;
mod memory;

use std::hint::black_box;

use arrow_array::RecordBatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use memory::Memory;
use transload_formats::{
    CsvDecoder, Decoder, Encoder, ParquetCompression, ParquetDecoder, ParquetEncoder,
    ParquetOptions,
};
use transload_plugin_api::Column;
use transload_values::CellWords;

fn batches(columns: &[Column], input: &[u8]) -> Vec<RecordBatch> {
    let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
    let dialect = lineitem::dialect();
    let mut decoder = CsvDecoder::new(&dialect, &names, columns, &CellWords::default()).unwrap();
    let (mut taken, mut batches) = (0, Vec::new());
    while taken < input.len() {
        taken += decoder.decode(&input[taken..], true).unwrap();
        batches.extend(decoder.flush().unwrap().map(|decoded| decoded.batch));
    }
    batches
}

fn encode(options: &ParquetOptions, columns: &[Column], batches: &[RecordBatch]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = ParquetEncoder::new(options, columns).unwrap();
    encoder.start(&mut out).unwrap();
    for chunk in batches.chunks(6) {
        for batch in chunk {
            encoder.encode(batch, &mut out).unwrap();
        }
        encoder.commit(&mut out).unwrap();
    }
    encoder.end(&mut out).unwrap();
    out
}

fn decode(memory: &std::sync::Arc<Memory>, columns: usize) -> usize {
    let file = memory.open();
    let columns = &file.columns()[..columns];
    let groups = 0..file.row_groups().len();
    let mut decoder = ParquetDecoder::new(&file, groups, 0, columns).unwrap();
    let mut rows = 0;
    while let Some(read) = decoder.next_batch().unwrap() {
        rows += black_box(read).batch.num_rows();
    }
    rows
}

fn lineitem(criterion: &mut Criterion) {
    use ParquetCompression as C;
    const ROWS: u64 = 200_000;
    let columns = lineitem::columns();
    let batches = batches(&columns, &lineitem::rows(ROWS));
    let mut group = criterion.benchmark_group("lineitem");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    for compression in [C::None, C::Snappy, C::Lz4, C::Zstd, C::Gzip] {
        let options = ParquetOptions { compression, ..ParquetOptions::default() };
        group.bench_function(format!("encode {compression:?}"), |bencher| {
            bencher.iter(|| encode(&options, &columns, black_box(&batches)).len());
        });
        let memory = Memory::new(encode(&options, &columns, &batches));
        group.bench_function(format!("decode {compression:?}"), |bencher| {
            bencher.iter(|| decode(&memory, columns.len()));
        });
    }
    let memory = Memory::new(encode(&ParquetOptions::default(), &columns, &batches));
    group.bench_function("decode two columns", |bencher| bencher.iter(|| decode(&memory, 2)));
    group.finish();
}

criterion_group!(benches, lineitem);
criterion_main!(benches);
