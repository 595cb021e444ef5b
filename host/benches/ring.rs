//! The ring beside crossbeam-channel, flume and std's `sync_channel`: bare handles, and record
//! batches of real size, one producer and one consumer. `cargo bench -p transload`.
//!
//! `busy` gives both sides the work of a real task for each item, which is what matters: with it
//! all contenders should be equal, and the ring must not be the slower one.

#![allow(clippy::expect_used)] // a benchmark may fail loudly

use std::{hint::black_box, sync::Arc, thread};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use transload::testing::{Received, RingLimits, ring};

/// A handle as large as what passes through the ring for each batch.
type Handle = [u64; 14];

fn through_ring<T: Send>(
    items: u64,
    slots: usize,
    make: impl Fn(u64) -> T + Sync,
    take: impl Fn(&T),
) {
    let limits = RingLimits { slots, bytes: usize::MAX };
    let (mut sender, mut receiver, _gauge) = ring(limits);
    thread::scope(|scope| {
        scope.spawn(|| {
            for item in 0..items {
                if sender.send(make(item), 1).is_err() {
                    return;
                }
            }
            sender.finish();
        });
        while let Received::Item(item) = receiver.receive(None) {
            take(&item);
        }
    });
}

macro_rules! through_channel {
    ($name:ident, $make_channel:expr) => {
        fn $name<T: Send>(
            items: u64,
            slots: usize,
            make: impl Fn(u64) -> T + Sync,
            take: impl Fn(&T),
        ) {
            let (sender, receiver) = $make_channel(slots);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let sender = sender;
                    for item in 0..items {
                        if sender.send(make(item)).is_err() {
                            return;
                        }
                    }
                });
                while let Ok(item) = receiver.recv() {
                    take(&item);
                }
            });
        }
    };
}

through_channel!(through_crossbeam, crossbeam_channel::bounded);
through_channel!(through_flume, flume::bounded);
through_channel!(through_std, std::sync::mpsc::sync_channel);

fn handles(c: &mut Criterion) {
    const ITEMS: u64 = 100_000;
    let mut group = c.benchmark_group("handles");
    group.throughput(Throughput::Elements(ITEMS)).sample_size(20);
    let make = |item| -> Handle { [item; 14] };
    let take = |handle: &Handle| {
        black_box(handle[0]);
    };
    for slots in [16, 256] {
        group.bench_function(BenchmarkId::new("ring", slots), |b| {
            b.iter(|| through_ring(ITEMS, slots, make, take));
        });
        group.bench_function(BenchmarkId::new("crossbeam", slots), |b| {
            b.iter(|| through_crossbeam(ITEMS, slots, make, take));
        });
        group.bench_function(BenchmarkId::new("flume", slots), |b| {
            b.iter(|| through_flume(ITEMS, slots, make, take));
        });
        group.bench_function(BenchmarkId::new("std", slots), |b| {
            b.iter(|| through_std(ITEMS, slots, make, take));
        });
    }
    group.finish();
}

fn batch() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8192));
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..8192).map(|n| format!("customer {n}"))));
    let columns =
        (0..8).flat_map(|n| [(format!("n{n}"), numbers.clone()), (format!("t{n}"), texts.clone())]);
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// The work of one side on one batch: every number of it is looked at.
fn work(batch: &RecordBatch) -> i64 {
    let numbers = batch.columns().iter().filter_map(|c| c.as_any().downcast_ref::<Int64Array>());
    numbers.flat_map(|column| column.values().iter()).fold(0, |sum, n| sum ^ n.wrapping_mul(31))
}

fn batches(c: &mut Criterion) {
    const ITEMS: u64 = 500;
    let batch = batch();
    let mut group = c.benchmark_group("busy batches");
    group.throughput(Throughput::Elements(ITEMS * 8192)).sample_size(20);
    let make = |_| {
        black_box(work(&batch));
        batch.clone()
    };
    let take = |batch: &RecordBatch| {
        black_box(work(batch));
    };
    group.bench_function("ring", |b| b.iter(|| through_ring(ITEMS, 16, make, take)));
    group.bench_function("crossbeam", |b| b.iter(|| through_crossbeam(ITEMS, 16, make, take)));
    group.bench_function("flume", |b| b.iter(|| through_flume(ITEMS, 16, make, take)));
    group.bench_function("std", |b| b.iter(|| through_std(ITEMS, 16, make, take)));
    group.finish();
}

criterion_group!(benches, handles, batches);
criterion_main!(benches);
