//! Reading files from a store, from outside: what is asked of the store, and what becomes of files
//! that are not what the plan has seen.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, its functions too"
)]

mod asked;
mod dealing;
mod parquet;
mod shelf;
mod unsampled;
