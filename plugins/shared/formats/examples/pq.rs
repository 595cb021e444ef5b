//! scratch
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#[path = "../benches/csv/lineitem.rs"]
#[allow(dead_code)]
mod lineitem;
#[path = "../benches/parquet/memory.rs"]
mod memory;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
struct C;
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for C {
    unsafe fn alloc(&self, l: Layout) -> *mut u8 {
        let n = LIVE.fetch_add(l.size(), Relaxed) + l.size();
        PEAK.fetch_max(n, Relaxed);
        unsafe { System.alloc(l) }
    }
    unsafe fn dealloc(&self, p: *mut u8, l: Layout) {
        LIVE.fetch_sub(l.size(), Relaxed);
        unsafe { System.dealloc(p, l) }
    }
}
#[global_allocator]
static A: C = C;
fn mark() -> usize {
    let l = LIVE.load(Relaxed);
    PEAK.store(l, Relaxed);
    l
}
fn peak(m: usize) -> usize {
    (PEAK.load(Relaxed) - m) >> 10
}
use memory::Memory;
use transload_formats::*;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(") ").next().unwrap().split(' ').collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn main() {
    let columns = lineitem::columns();
    let input = std::fs::read("/tmp/bench/lineitem.csv").unwrap();
    let names: Vec<_> = columns.iter().map(|c| c.name.clone()).collect();
    let mut decoder =
        CsvDecoder::new(&lineitem::dialect(), &names, &columns, &CellWords::default()).unwrap();
    let (mut taken, mut batches) =
        (input.iter().position(|b| *b == b'\n').unwrap() + 1, Vec::new());
    while taken < input.len() {
        taken += decoder.decode(&input[taken..], true).unwrap();
        batches.extend(decoder.flush().unwrap().map(|d| d.batch));
    }
    let mut options = ParquetOptions::default();
    if let Some(json) = std::env::args().nth(1) {
        options = serde_json::from_str(&json).unwrap();
    }
    let n: usize = std::env::args().nth(2).map_or(3, |s| s.parse().unwrap());
    for _ in 0..n {
        let (t, c) = (Instant::now(), cpu());
        let mut out = Vec::with_capacity(200 << 20);
        let mut encoder = ParquetEncoder::new(&options, &columns).unwrap();
        let m = mark();
        encoder.start(&mut out).unwrap();
        for chunk in batches.chunks(6) {
            for batch in chunk {
                encoder.encode(batch, &mut out).unwrap();
            }
            encoder.commit(&mut out).unwrap();
        }
        encoder.end(&mut out).unwrap();
        let (te, ce) = (t.elapsed().as_secs_f64(), cpu() - c);
        std::fs::write("/tmp/srv/parquet/out.parquet", &out).unwrap();
        let size = out.len();
        println!("peak {} KiB", peak(m));
        let memory = Memory::new(out);
        let (t, c) = (Instant::now(), cpu());
        let file = memory.open();
        let mut d =
            ParquetDecoder::new(&file, 0..file.row_groups().len(), 0, file.columns()).unwrap();
        let mut rows = 0;
        while let Some(b) = d.next_batch().unwrap() {
            rows += b.batch.num_rows();
        }
        println!(
            "encode {te:.3} s cpu {ce:.2}  {size} bytes; decode {:.3} s cpu {:.2} {rows} rows",
            t.elapsed().as_secs_f64(),
            cpu() - c
        );
    }
}
