//! Tests the writing side of the object store plugin from outside, through the methods that a host
//! calls: with an S3 server (TRANSLOAD_TEST_S3), Azurite (TRANSLOAD_TEST_AZURE) and local folders.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its functions too")]

mod commit;
mod conformance;
mod faults;
mod host;
mod leftovers;
mod publishing;
mod resuming;
mod shapes;
mod soak;
mod subject;
