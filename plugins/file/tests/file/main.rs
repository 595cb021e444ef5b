//! Tests the file plugin from outside, through the methods that a host calls.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its functions too")]

mod conformance;
mod folders;
mod host;
mod left_out;
mod links;
mod many_partitions;
mod nested;
mod parquet;
mod partitions;
mod racing;
mod reading;
mod resuming;
mod round_trip;
mod splitting;
mod streams;
mod subject;
mod writing;
