//! The Parquet codec from outside: files in memory, damaged files, and files that pyarrow, DuckDB
//! and Polars wrote or read.

mod chunks;
mod damage;
mod foreign;
mod memory;
mod round_trip;
