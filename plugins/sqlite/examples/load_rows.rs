//! Writes 1.5 million rows of 16 columns through the plugin and says how long it took:
//! `cargo run --release -p transload-plugin-sqlite --example load_rows -- /tmp/rows.db [rows]`.
#![allow(clippy::print_stdout)] // an example that measures has to say something

use std::{sync::Arc, time::Instant};

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use transload_plugin_api::{
    Column, Counters, Host, LogicalType, Options, Plugin, Position, Result, TaskContext, WriteMode,
    WritePlan, schema_of,
};
use transload_plugin_sqlite::SqlitePlugin;

const BATCH: usize = 8192;
const BATCHES_A_CHUNK: usize = 6;

fn columns() -> Vec<Column> {
    let decimal = LogicalType::Decimal { precision: 15, scale: 2 };
    let text = |length| LogicalType::Text { length: Some(length) };
    [
        ("l_orderkey", LogicalType::Int64),
        ("l_partkey", LogicalType::Int64),
        ("l_suppkey", LogicalType::Int64),
        ("l_linenumber", LogicalType::Int64),
        ("l_quantity", decimal.clone()),
        ("l_extendedprice", decimal.clone()),
        ("l_discount", decimal.clone()),
        ("l_tax", decimal),
        ("l_returnflag", text(1)),
        ("l_linestatus", text(1)),
        ("l_shipdate", LogicalType::Date),
        ("l_commitdate", LogicalType::Date),
        ("l_receiptdate", LogicalType::Date),
        ("l_shipinstruct", text(25)),
        ("l_shipmode", text(10)),
        ("l_comment", text(44)),
    ]
    .map(|(name, logical)| Column::new(name, logical, false))
    .to_vec()
}

fn batch(first: usize) -> RecordBatch {
    let rows = first..first + BATCH;
    let integers = |factor: usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            rows.clone().map(|row| (row * factor % 200_000) as i64),
        ))
    };
    let decimals = |factor: usize, limit: usize| -> ArrayRef {
        let values = rows.clone().map(|row| (row * factor % limit) as i128);
        let array = Decimal128Array::from_iter_values(values).with_precision_and_scale(15, 2);
        Arc::new(array.unwrap_or_else(|error| panic!("{error}")))
    };
    let words = |words: &[&str]| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.clone().map(|row| words[row % words.len()])))
    };
    let dates = |shift: usize| -> ArrayRef {
        let days = rows.clone().map(|row| (8000 + (row + shift) % 2500) as i32);
        Arc::new(Date32Array::from_iter_values(days))
    };
    let comments = rows.clone().map(|row| format!("carefully final deposits {row} sleep"));
    let arrays = vec![
        integers(1),
        integers(7919),
        integers(104_729),
        integers(3),
        decimals(100, 5000),
        decimals(7_717, 9_000_000),
        decimals(1, 11),
        decimals(3, 9),
        words(&["N", "R", "A"]),
        words(&["O", "F"]),
        dates(0),
        dates(17),
        dates(31),
        words(&["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]),
        words(&["TRUCK", "MAIL", "REG AIR", "AIR", "FOB", "RAIL", "SHIP"]),
        Arc::new(StringArray::from_iter_values(comments)),
    ];
    RecordBatch::try_new(schema_of(&columns()), arrays).unwrap_or_else(|error| panic!("{error}"))
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/tmp/rows.db".to_owned());
    let rows: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_500_000);
    let options = Options::from_pairs([("path", path.as_str()), ("table", "lineitem")]);
    let writer = SqlitePlugin.writer(options.clone(), Host::detached())?;
    let plan = WritePlan {
        run: "example".to_owned(),
        columns: columns(),
        mode: WriteMode::Insert,
        create_table: true,
        tasks: 1,
        ..WritePlan::default()
    };
    let batches: Vec<_> = (0..rows.div_ceil(BATCH)).map(|at| batch(at * BATCH)).collect();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    writer.prepare(&plan)?;
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 })?;
    let mut inserted = 0;
    for (sequence, chunk) in batches.chunks(BATCHES_A_CHUNK).enumerate() {
        task.begin_chunk(sequence as u64)?;
        for batch in chunk {
            inserted += task.write(batch)?.inserted;
        }
        task.commit_chunk(&Position::default(), &Counters::default())?;
    }
    let receipt = task.finish()?;
    writer.commit(&plan, &[receipt])?;
    let cpu = cpu_seconds() - cpu;
    println!("wrote {inserted} rows in {:.2?}, {cpu:.2} s of the processor", start.elapsed());
    read_back(options)
}

/// Processor time of this thread, which another load on the machine does not lengthen as it does
/// the time on the wall. 0 where there is no such file.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn read_back(options: Options) -> Result<()> {
    let start = Instant::now();
    let reader = SqlitePlugin.reader(options, Host::detached())?;
    let columns = reader.produces(&reader.schema()?.columns)?;
    let request = transload_plugin_api::SplitRequest::new(1, columns.clone());
    let mut rows = 0;
    for split in reader.splits(&request)? {
        let mut task = reader.open(&split, &columns, None)?;
        while let Some(read) = task.next_batch()? {
            rows += read.batch.num_rows();
        }
    }
    println!("read {rows} rows in {:.2?}", start.elapsed());
    Ok(())
}
