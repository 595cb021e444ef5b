//! The conformance suite on the adbc plugin as a library.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

#[path = "../../plugins/adbc/tests/support/mod.rs"]
mod support;

use support::{Driver, subject::Adbc};
use transload_plugin_api::testing;

#[test]
fn adbc_conforms_through_its_library_with_the_driver_of_duckdb() {
    testing::all(&*transload_tests::load("adbc"), &Adbc(Driver::Duckdb));
}
