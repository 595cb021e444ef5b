//! Tests the Parquet codec from outside: files in memory, damaged files, and files that pyarrow,
//! DuckDB and Polars wrote or read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, its functions too"
)]

mod chunks;
mod damage;
mod foreign;
mod hostile;
mod memory;
mod nested;
mod round_trip;
