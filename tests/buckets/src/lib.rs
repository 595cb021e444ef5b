//! Objects for tests in every kind of store that the `object-store` plugin supports, seen from
//! outside: through a separate client, never through the plugin.
//!
//! - `bucket` provides a prefix for one test alone, and operations on the objects below it;
//! - `login` provides the addresses of the servers and their credentials.
//!
//! Environment variables hold the servers' addresses; `tests/run` starts them. Used by the tests of
//! the plugin and of the whole program.

#![allow(clippy::expect_used)] // a test may fail loudly anywhere

mod bucket;
mod login;

pub use bucket::{Bucket, Kind};
pub use login::{AZURE, secrets};
