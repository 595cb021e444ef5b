//! The conformance suite on the PostgreSQL plugin as a library.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

#[path = "../../plugins/postgres/tests/support/mod.rs"]
mod support;

use support::subject::Postgres;
use transload_plugin_api::testing;

#[test]
fn postgres_conforms_through_its_library() {
    testing::all(&*transload_tests::load("postgres"), &Postgres::new());
}
