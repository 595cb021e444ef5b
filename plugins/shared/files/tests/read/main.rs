//! Reading files from a store, tested from outside: the requests to the store, and the handling of
//! files that differ from those in the plan.
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
