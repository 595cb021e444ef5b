//! The conformance suite on the SQLite plugin as a library.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

#[path = "../../plugins/sqlite/tests/support/mod.rs"]
mod support;

use support::subject::Sqlite;
use transload_plugin_api::testing;

#[test]
fn sqlite_conforms_through_its_library() {
    testing::all(&*transload_tests::load("sqlite"), &Sqlite);
}

#[test]
fn sqlite_conforms_in_a_process_of_its_own() {
    testing::all(&*transload_tests::load_isolated("sqlite"), &Sqlite);
}
