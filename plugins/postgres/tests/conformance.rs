//! The conformance suite on the plugin, with a real server.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use support::subject::Postgres;
use transload_plugin_api::testing;
use transload_plugin_postgres::PostgresPlugin;

#[test]
fn conforms() {
    testing::all(&PostgresPlugin, &Postgres::new());
}
