//! Tests the reading side of the object store plugin from outside, on every kind of store: S3,
//! Azure Blob Storage, Google Cloud Storage (simulated), a local folder.
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
