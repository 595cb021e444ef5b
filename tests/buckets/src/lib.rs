//! Objects of a test's own in every kind of store that the `object-store` plugin knows, and how
//! they look from outside: through a client of the test's own, never through the plugin.
//!
//! - `bucket` has a prefix that nobody else uses, and what a test does to the objects below it;
//! - `login` says where the servers are and as whom one comes to them.
//!
//! Which servers there are environment variables say; `tests/run` starts them. The plugin's own
//! tests use it, and those of the whole program.

#![allow(clippy::expect_used)] // a test may fail loudly anywhere

mod bucket;
mod login;

pub use bucket::{Bucket, Kind};
pub use login::{AZURE, secrets};
