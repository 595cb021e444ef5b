//! The object store plugin's reading side from outside, on every kind of store that a test can
//! have: S3, Azure Blob Storage, a local folder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its functions too")]

mod access;
mod asked;
mod conformance;
mod faults;
mod formats;
mod google;
mod host;
mod listing;
mod partitions;
mod subject;
mod tls;
