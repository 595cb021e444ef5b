//! The conformance suite on the adbc plugin as a library.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

#[path = "../../plugins/adbc/tests/support/mod.rs"]
mod support;

use support::{Driver, subject::Adbc};
use transload_plugin_api::testing;

/// All cases but one, which compares the keys of the target: drivers do not tell them.
#[test]
fn adbc_conforms_through_its_library_with_the_driver_of_duckdb() {
    let (plugin, subject) = (transload_tests::load("adbc"), Adbc(Driver::Duckdb));
    let cases = testing::cases(&*plugin, &subject);
    let (left_out, tested): (Vec<_>, Vec<_>) =
        cases.iter().partition(|case| case.name == "check, inspect and discover");
    assert_eq!(left_out.len(), 1);
    tested.iter().for_each(|case| case.run());
}
